//! A table of a recipe, read key by key, so that each mistake names its key and line.

use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::recipe::error::RecipeError;
use crate::words::WordSplitter;

/// The text that spans point into.
#[derive(Clone, Copy)]
pub(crate) struct Source<'t> {
    pub(crate) path: &'t Path,
    pub(crate) text: &'t str,
}

impl Source<'_> {
    /// The line of a span, from 1.
    pub(crate) fn line(self, span: &Range<usize>) -> usize {
        let before = self.text.as_bytes().iter().take(span.start);
        1 + before.filter(|&&byte| byte == b'\n').count()
    }
}

/// One table, in which only known keys stand.
#[derive(Clone)]
pub(crate) struct Fields<'t> {
    source: Source<'t>,
    /// How messages call this table.
    name: String,
    table: &'t DeTable<'t>,
}

impl<'t> Fields<'t> {
    pub(crate) fn new(
        source: Source<'t>,
        name: String,
        table: &'t DeTable<'t>,
        known: &[&'static str],
    ) -> Result<Self, RecipeError> {
        for key in table.keys() {
            if !known.contains(&key.get_ref().as_ref()) {
                return Err(RecipeError::UnknownKey {
                    path: source.path.to_path_buf(),
                    line: source.line(&key.span()),
                    key: key.get_ref().as_ref().into(),
                    table: name.into(),
                    nearest: nearest(key.get_ref(), known),
                });
            }
        }
        Ok(Self::unchecked(source, name, table))
    }

    /// A table whose keys nobody knows.
    pub(crate) fn unchecked(source: Source<'t>, name: String, table: &'t DeTable<'t>) -> Self {
        Self {
            source,
            name,
            table,
        }
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// The line of a key's value; 0 where there is none.
    pub(crate) fn line(&self, key: &str) -> usize {
        self.get(key)
            .map_or(0, |value| self.source.line(&value.span()))
    }

    pub(crate) fn string(&self, key: &str) -> Result<Option<&'t str>, RecipeError> {
        self.read(key, "a string", DeValue::as_str)
    }

    pub(crate) fn required_string(&self, key: &'static str) -> Result<&'t str, RecipeError> {
        let value = self.string(key)?.ok_or_else(|| self.missing(key))?;
        if value.is_empty() {
            return Err(self.wrong(key, "a string with characters"));
        }
        Ok(value)
    }

    pub(crate) fn bool(&self, key: &str) -> Result<Option<bool>, RecipeError> {
        self.read(key, "true or false", DeValue::as_bool)
    }

    /// A whole number, 0 or more.
    pub(crate) fn whole(&self, key: &str) -> Result<Option<u64>, RecipeError> {
        self.read(key, "a whole number of 0 or more", |value| {
            let integer = value.as_integer()?;
            u64::from_str_radix(integer.as_str(), integer.radix()).ok()
        })
    }

    /// A finite number, 0 or more.
    pub(crate) fn number(&self, key: &str) -> Result<Option<f64>, RecipeError> {
        self.read(key, "a number of 0 or more", |value| {
            let number = match value.as_integer() {
                Some(integer) => {
                    u64::from_str_radix(integer.as_str(), integer.radix()).ok()? as f64
                }
                None => value.as_float()?.as_str().parse().ok()?,
            };
            (number.is_finite() && number >= 0.0).then_some(number)
        })
    }

    pub(crate) fn strings(&self, key: &str) -> Result<Option<Vec<String>>, RecipeError> {
        self.read(key, "a list of strings", |value| {
            let strings = value.as_array()?.iter();
            strings
                .map(|item| item.get_ref().as_str().map(str::to_owned))
                .collect()
        })
    }

    /// The splitter that `words` names; it must be named.
    pub(crate) fn words(&self) -> Result<WordSplitter, RecipeError> {
        let name = self.required_string("words")?;
        let known = WordSplitter::ALL.map(WordSplitter::as_str);
        WordSplitter::ALL
            .into_iter()
            .find(|splitter| splitter.as_str() == name)
            .ok_or_else(|| self.unknown_name("words", "word splitter", &known))
    }

    pub(crate) fn table(
        &self,
        key: &str,
        name: &str,
        known: &[&'static str],
    ) -> Result<Option<Fields<'t>>, RecipeError> {
        let table = self.read(key, "a table", DeValue::as_table)?;
        table
            .map(|table| Self::new(self.source, name.to_owned(), table, known))
            .transpose()
    }

    /// An array of tables, each with its name and still without a check of its keys.
    pub(crate) fn tables(&self, key: &str) -> Result<Vec<&'t DeTable<'t>>, RecipeError> {
        let tables = self.read(key, "an array of tables", |value| {
            value
                .as_array()?
                .iter()
                .map(|item| item.get_ref().as_table())
                .collect()
        })?;
        Ok(tables.unwrap_or_default())
    }

    pub(crate) fn missing(&self, key: &'static str) -> RecipeError {
        RecipeError::MissingKey {
            path: self.source.path.to_path_buf(),
            key,
            table: self.name.as_str().into(),
        }
    }

    /// The value of `key` is not what was `expected`.
    pub(crate) fn wrong(&self, key: &str, expected: &str) -> RecipeError {
        RecipeError::Value {
            path: self.source.path.to_path_buf(),
            line: self.line(key),
            key: key.into(),
            table: self.name.as_str().into(),
            expected: expected.into(),
            found: self
                .get(key)
                .map_or_else(|| "missing".into(), |value| self.show(value)),
        }
    }

    pub(crate) fn unknown_name(
        &self,
        key: &str,
        what: &'static str,
        known: &[&'static str],
    ) -> RecipeError {
        let name = self
            .get(key)
            .and_then(|value| value.get_ref().as_str())
            .unwrap_or_default();
        RecipeError::UnknownName {
            path: self.source.path.to_path_buf(),
            line: self.line(key),
            what,
            name: name.into(),
            table: self.name.as_str().into(),
            nearest: nearest(name, known),
        }
    }

    pub(crate) fn source(&self) -> Source<'t> {
        self.source
    }

    fn get(&self, key: &str) -> Option<&'t Spanned<DeValue<'t>>> {
        self.table
            .iter()
            .find(|(name, _)| name.get_ref() == key)
            .map(|(_, value)| value)
    }

    fn read<T>(
        &self,
        key: &str,
        expected: &str,
        convert: impl FnOnce(&'t DeValue<'t>) -> Option<T>,
    ) -> Result<Option<T>, RecipeError> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        convert(value.get_ref())
            .map(Some)
            .ok_or_else(|| self.wrong(key, expected))
    }

    /// A value as written for short ones, its type for the rest.
    fn show(&self, value: &Spanned<DeValue<'_>>) -> Box<str> {
        match self.source.text.get(value.span()) {
            Some(text) if text.len() <= 40 && !text.contains('\n') => format!("`{text}`").into(),
            _ => format!("a value of type {}", value.get_ref().type_str()).into(),
        }
    }
}

/// The known word that looks most like `word`, if any looks like it at all.
fn nearest(word: &str, known: &[&'static str]) -> Option<&'static str> {
    let alike = |known: &&'static str| strsim::jaro_winkler(word, known);
    let best = known
        .iter()
        .copied()
        .max_by(|a, b| alike(a).total_cmp(&alike(b)))?;
    (alike(&best) > 0.7).then_some(best)
}
