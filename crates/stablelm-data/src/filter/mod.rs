//! Rules that look at one document and keep it, rewrite it, or drop it for a named reason.

pub(crate) mod c4;
pub(crate) mod c4_badwords;
pub(crate) mod c4_paragraph;
pub(crate) mod code_quality;
pub(crate) mod decontaminate;
pub(crate) mod fineweb_quality;
pub(crate) mod gopher_quality;
pub(crate) mod gopher_repetition;
pub(crate) mod language;
pub(crate) mod length;
mod loaded;
#[cfg(test)]
mod oracle_tests;
#[cfg(test)]
mod parse_tests;
pub(crate) mod pii;
pub(crate) mod refinedweb_lines;
pub(crate) mod url;
mod verdict;

use serde::Serialize;
use serde_json::{Map, Value};
use toml::de::DeTable;

use crate::document::Document;
use crate::recipe::RecipeError;
use crate::recipe::fields::{Fields, Source};
use crate::words::Scratch;

/// A rule that looks at one document alone: the same document gives the same outcome.
pub(crate) trait Filter: Send + Sync {
    /// The name used in recipes and reports.
    fn name(&self) -> &'static str;

    /// Judges a document; `metrics` takes what was measured on the way, where somebody asked.
    ///
    /// `scratch` holds the words of this document's text; a filter that asks it for words of another
    /// text calls [`Scratch::next_text`] before and after.
    fn apply(&self, document: &Document, scratch: &mut Scratch, metrics: &mut Metrics) -> Outcome;
}

/// What a filter says of a document.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outcome {
    Keep,
    /// It stays, with this text.
    Rewrite(String),
    Drop(Reason),
}

/// Why a document was dropped: a stable name, what was measured, and the limit it broke.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Reason {
    pub(crate) name: &'static str,
    pub(crate) value: Option<f64>,
    pub(crate) threshold: Option<f64>,
}

impl Reason {
    pub(crate) const fn named(name: &'static str) -> Self {
        Self {
            name,
            value: None,
            threshold: None,
        }
    }

    pub(crate) const fn measured(name: &'static str, value: f64, threshold: f64) -> Self {
        Self {
            name,
            value: Some(value),
            threshold: Some(threshold),
        }
    }
}

/// What a filter measured, by name, kept only for those who ask.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics(Option<Map<String, Value>>);

impl Metrics {
    /// Forgets everything it is told.
    pub(crate) fn off() -> Self {
        Self(None)
    }

    /// Keeps everything it is told.
    pub(crate) fn on() -> Self {
        Self(Some(Map::new()))
    }

    /// Whether anybody wants to know: then a filter measures even what its verdict doesn't need.
    pub(crate) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Notes a value.
    pub(crate) fn note(&mut self, name: &str, value: impl Into<Value>) {
        if let Some(map) = &mut self.0 {
            map.insert(name.to_owned(), value.into());
        }
    }

    pub(crate) fn into_map(self) -> Map<String, Value> {
        self.0.unwrap_or_default()
    }
}

/// A filter with its settings, as a recipe asks for it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "name", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum FilterRecipe {
    /// The C4 quality rules on lines and sentences.
    C4(c4::C4),
    /// C4's list of bad words.
    C4Badwords(c4_badwords::C4Badwords),
    /// C4's rule on the length of paragraphs.
    C4Paragraph(c4_paragraph::C4Paragraph),
    /// The rules of StarCoder and RedPajama on source code.
    CodeQuality(code_quality::CodeQuality),
    /// N-grams shared with evaluation sets.
    Decontaminate(decontaminate::Decontaminate),
    /// FineWeb's rules on lines.
    FinewebQuality(fineweb_quality::FinewebQuality),
    /// Gopher's quality rules.
    GopherQuality(gopher_quality::GopherQuality),
    /// Gopher's repetition rules.
    GopherRepetition(gopher_repetition::GopherRepetition),
    /// The language a detector finds.
    Language(language::Language),
    /// Bounds on the number of characters.
    Length(length::Length),
    /// Replaces e-mail and IP addresses.
    Pii(pii::Pii),
    /// RefinedWeb's line-wise corrections.
    RefinedwebLines(refinedweb_lines::RefinedwebLines),
    /// Lists of domains and words in addresses.
    Url(url::Url),
}

impl FilterRecipe {
    /// The names that a recipe can use.
    pub const NAMES: [&str; 13] = [
        c4::NAME,
        c4_badwords::NAME,
        c4_paragraph::NAME,
        code_quality::NAME,
        decontaminate::NAME,
        fineweb_quality::NAME,
        gopher_quality::NAME,
        gopher_repetition::NAME,
        language::NAME,
        length::NAME,
        pii::NAME,
        refinedweb_lines::NAME,
        url::NAME,
    ];

    pub(crate) fn as_filter(&self) -> &dyn Filter {
        match self {
            Self::C4(filter) => filter,
            Self::C4Badwords(filter) => filter,
            Self::C4Paragraph(filter) => filter,
            Self::CodeQuality(filter) => filter,
            Self::Decontaminate(filter) => filter,
            Self::FinewebQuality(filter) => filter,
            Self::GopherQuality(filter) => filter,
            Self::GopherRepetition(filter) => filter,
            Self::Language(filter) => filter,
            Self::Length(filter) => filter,
            Self::Pii(filter) => filter,
            Self::RefinedwebLines(filter) => filter,
            Self::Url(filter) => filter,
        }
    }

    /// Reads the files that the filter looks into, by the names that the recipe has for them.
    pub(crate) fn load(
        &mut self,
        read: &dyn Fn(&str) -> std::io::Result<Vec<u8>>,
    ) -> std::io::Result<()> {
        match self {
            Self::C4Badwords(filter) => filter.load(read).map_err(std::io::Error::other),
            Self::Decontaminate(filter) => filter.load(read),
            Self::Url(filter) => filter.load(read),
            _ => Ok(()),
        }
    }

    /// Reads one table of `[[sources.filters]]`; messages call it `called`.
    pub(crate) fn parse(
        source: Source<'_>,
        table: &DeTable<'_>,
        called: &str,
    ) -> Result<Self, RecipeError> {
        let name = table.iter().find(|(key, _)| key.get_ref() == "name");
        let name = name.and_then(|(_, value)| value.get_ref().as_str());
        let fields = |known: &[&'static str]| Fields::new(source, called.to_owned(), table, known);
        Ok(match name {
            Some(c4::NAME) => Self::C4(c4::C4::parse(&fields(c4::KEYS)?)?),
            Some(c4_badwords::NAME) => {
                Self::C4Badwords(c4_badwords::C4Badwords::parse(&fields(c4_badwords::KEYS)?)?)
            }
            Some(c4_paragraph::NAME) => Self::C4Paragraph(c4_paragraph::C4Paragraph::parse(
                &fields(c4_paragraph::KEYS)?,
            )?),
            Some(code_quality::NAME) => Self::CodeQuality(code_quality::CodeQuality::parse(
                &fields(code_quality::KEYS)?,
            )?),
            Some(decontaminate::NAME) => Self::Decontaminate(decontaminate::Decontaminate::parse(
                &fields(decontaminate::KEYS)?,
            )?),
            Some(fineweb_quality::NAME) => Self::FinewebQuality(
                fineweb_quality::FinewebQuality::parse(&fields(fineweb_quality::KEYS)?)?,
            ),
            Some(gopher_quality::NAME) => Self::GopherQuality(
                gopher_quality::GopherQuality::parse(&fields(gopher_quality::KEYS)?)?,
            ),
            Some(gopher_repetition::NAME) => Self::GopherRepetition(
                gopher_repetition::GopherRepetition::parse(&fields(gopher_repetition::KEYS)?)?,
            ),
            Some(language::NAME) => {
                Self::Language(language::Language::parse(&fields(language::KEYS)?)?)
            }
            Some(length::NAME) => Self::Length(length::Length::parse(&fields(length::KEYS)?)?),
            Some(pii::NAME) => Self::Pii(pii::Pii::parse(&fields(pii::KEYS)?)?),
            Some(refinedweb_lines::NAME) => Self::RefinedwebLines(
                refinedweb_lines::RefinedwebLines::parse(&fields(refinedweb_lines::KEYS)?)?,
            ),
            Some(url::NAME) => Self::Url(url::Url::parse(&fields(url::KEYS)?)?),
            _ => {
                // The keys of a filter that nobody knows can't be checked.
                let fields = Fields::unchecked(source, called.to_owned(), table);
                fields.required_string("name")?;
                return Err(fields.unknown_name("name", "filter", &Self::NAMES));
            }
        })
    }
}
