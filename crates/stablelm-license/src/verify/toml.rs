//! The part of TOML that `REUSE.toml` uses: tables in a list, texts, numbers and lists of texts.

use std::collections::BTreeMap;

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// One or more texts.
    Texts(Vec<String>),
    /// Anything else, as it stands.
    Other(String),
}

/// A table of the file: its name, and its values by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) name: String,
    pub(crate) values: BTreeMap<String, Value>,
}

impl Table {
    pub(crate) fn texts(&self, key: &str) -> &[String] {
        match self.values.get(key) {
            Some(Value::Texts(texts)) => texts,
            _ => &[],
        }
    }
}

/// Reads a file; the first table is the one without a name. An error says the line.
pub(crate) fn parse(text: &str) -> Result<Vec<Table>, String> {
    let mut tables = vec![Table::default()];
    let mut reader = Reader {
        rest: text,
        line: 1,
    };
    loop {
        reader.skip_space(true);
        if reader.rest.is_empty() {
            return Ok(tables);
        }
        if reader.take("[[") || reader.take("[") {
            let name = reader.until(']')?;
            reader.take("]");
            reader.take("]");
            tables.push(Table {
                name: name.trim().to_owned(),
                values: BTreeMap::new(),
            });
            continue;
        }
        let key = reader.key()?;
        reader.skip_space(false);
        if !reader.take("=") {
            return reader.error("expected `=`");
        }
        reader.skip_space(false);
        let value = reader.value()?;
        let last = tables.last_mut().expect("the list begins with one table");
        if last.values.insert(key.clone(), value).is_some() {
            return reader.error(&format!("`{key}` is there twice"));
        }
    }
}

struct Reader<'a> {
    rest: &'a str,
    line: usize,
}

impl Reader<'_> {
    fn error<T>(&self, what: &str) -> Result<T, String> {
        Err(format!("line {}: {what}", self.line))
    }

    fn skip(&mut self, len: usize) -> &str {
        let (taken, rest) = self.rest.split_at(len);
        self.line += taken.matches('\n').count();
        self.rest = rest;
        taken
    }

    fn take(&mut self, sign: &str) -> bool {
        let found = self.rest.starts_with(sign);
        if found {
            self.skip(sign.len());
        }
        found
    }

    /// Passes over spaces, and over comments and line ends when asked to.
    fn skip_space(&mut self, lines: bool) {
        loop {
            let space = |c: char| c == ' ' || c == '\t' || lines && (c == '\n' || c == '\r');
            let len = self.rest.len() - self.rest.trim_start_matches(space).len();
            self.skip(len);
            if !lines || !self.rest.starts_with('#') {
                return;
            }
            let len = self.rest.find('\n').unwrap_or(self.rest.len());
            self.skip(len);
        }
    }

    fn until(&mut self, end: char) -> Result<String, String> {
        let line = self.rest.lines().next().unwrap_or_default();
        let Some(len) = line.find(end) else {
            return self.error(&format!("expected `{end}`"));
        };
        Ok(self.skip(len).to_owned())
    }

    fn key(&mut self) -> Result<String, String> {
        if self.rest.starts_with(['"', '\'']) {
            return self.text();
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let len = self.rest.find(|c| !plain(c)).unwrap_or(self.rest.len());
        if len == 0 {
            return self.error("expected a key");
        }
        Ok(self.skip(len).to_owned())
    }

    fn value(&mut self) -> Result<Value, String> {
        if self.rest.starts_with(['"', '\'']) {
            return Ok(Value::Texts(vec![self.text()?]));
        }
        if !self.take("[") {
            let len = self.rest.find(['\n', '#']).unwrap_or(self.rest.len());
            let other = self.skip(len).trim().to_owned();
            return if other.is_empty() {
                self.error("expected a value")
            } else {
                Ok(Value::Other(other))
            };
        }
        let mut texts = Vec::new();
        loop {
            self.skip_space(true);
            if self.take("]") {
                return Ok(Value::Texts(texts));
            }
            texts.push(self.text()?);
            self.skip_space(true);
            if !self.take(",") && !self.rest.starts_with(']') {
                return self.error("expected `,` or `]`");
            }
        }
    }

    fn text(&mut self) -> Result<String, String> {
        for quotes in ["\"\"\"", "'''"] {
            if self.take(quotes) {
                let Some(len) = self.rest.find(quotes) else {
                    return self.error("a text has no end");
                };
                let text = self.skip(len).trim_start_matches('\n').to_owned();
                self.skip(quotes.len());
                return Ok(text);
            }
        }
        if self.take("'") {
            let text = self.until('\'')?;
            self.skip(1);
            return Ok(text);
        }
        if !self.take("\"") {
            return self.error("expected a text in quotes");
        }
        let mut text = String::new();
        let mut characters = self.rest.char_indices();
        while let Some((at, character)) = characters.next() {
            match character {
                '"' => {
                    self.skip(at + 1);
                    return Ok(text);
                }
                '\n' => break,
                '\\' => match characters.next().map(|(_, escaped)| escaped) {
                    Some('n') => text.push('\n'),
                    Some('t') => text.push('\t'),
                    Some(sign @ ('"' | '\\')) => text.push(sign),
                    Some(size @ ('u' | 'U')) => {
                        let len = if size == 'u' { 4 } else { 8 };
                        let digits: String =
                            characters.by_ref().take(len).map(|(_, c)| c).collect();
                        let code = u32::from_str_radix(&digits, 16).ok();
                        let Some(character) = code.and_then(char::from_u32) else {
                            return self.error("a character's code is wrong");
                        };
                        text.push(character);
                    }
                    _ => return self.error("an escape is unknown"),
                },
                other => text.push(other),
            }
        }
        self.error("a text has no end")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_reuse_needs_is_read() {
        let text = "# c\nversion = 1\n\n[[annotations]]\npath = [\n  \"a\", # x\n  'b\\c',\n]\n\
                    SPDX-License-Identifier = \"MIT\"\n";
        let tables = parse(text).expect("valid");
        assert_eq!(tables.len(), 2);
        assert_eq!(tables[0].values["version"], Value::Other("1".to_owned()));
        assert_eq!(tables[1].name, "annotations");
        assert_eq!(tables[1].texts("path"), ["a", "b\\c"]);
        assert_eq!(tables[1].texts("SPDX-License-Identifier"), ["MIT"]);
    }

    #[test]
    fn an_error_says_the_line() {
        let check = |text: &str, start: &str| {
            let error = parse(text).expect_err("not TOML");
            assert!(error.starts_with(start), "{error}");
        };
        check("version = 1\npath \"a\"\n", "line 2: expected `=`");
        check("a = \"b\n", "line 1: a text has no end");
        check("a = 1\na = 2\n", "line 2: `a` is there twice");
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "([a\"'=#\\[\\],.\\\\u0-9\n ]|\\PC){0,60}") {
            let _ = parse(&text);
        }
    }
}
