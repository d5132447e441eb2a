//! Rules that look at one document and keep it, or drop it for a named reason.

pub(crate) mod books3;
pub(crate) mod gopher_quality;
pub(crate) mod length;
mod letters;
mod punctuation;
mod python_text;

use serde::Serialize;

use crate::document::Document;
use gopher_quality::GopherQuality;
use length::Length;

/// A rule that looks at one document alone.
pub(crate) trait Filter: Send + Sync {
    /// The name used in recipes and reports.
    fn name(&self) -> &'static str;
    fn verdict(&self, document: &Document) -> Verdict;
}

/// What a filter says of a document.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Verdict {
    Keep,
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

/// A filter with its settings, as a recipe asks for it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "name", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum FilterRecipe {
    /// The rules of Gopher on words, symbols and lines.
    GopherQuality(GopherQuality),
    /// Bounds on the number of characters.
    Length(Length),
}

impl FilterRecipe {
    /// The names that a recipe can use today.
    pub const NAMES: [&str; 2] = [gopher_quality::NAME, length::NAME];

    pub(crate) fn as_filter(&self) -> &dyn Filter {
        match self {
            Self::GopherQuality(filter) => filter,
            Self::Length(filter) => filter,
        }
    }
}
