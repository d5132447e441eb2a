//! Bounds on the length of a document, in characters.

use serde::Serialize;

use crate::document::Document;
use crate::filter::{Filter, Metrics, Outcome, Reason};
use crate::recipe::RecipeError;
use crate::recipe::fields::Fields;
use crate::words::Scratch;

/// The name of this filter in recipes.
pub(crate) const NAME: &str = "length";
/// The keys of its table in recipes.
pub(crate) const KEYS: &[&str] = &["name", "min_characters", "max_characters"];

/// Drops documents that are shorter or longer than asked, in Unicode code points.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Length {
    /// Fewest characters.
    pub min_characters: Option<u64>,
    /// Most characters.
    pub max_characters: Option<u64>,
}

impl Length {
    /// Reads its table.
    pub(crate) fn parse(fields: &Fields<'_>) -> Result<Self, RecipeError> {
        let filter = Self {
            min_characters: fields.whole("min_characters")?,
            max_characters: fields.whole("max_characters")?,
        };
        if filter == Self::default() {
            return Err(fields.missing("min_characters"));
        }
        Ok(filter)
    }
}

impl Filter for Length {
    fn name(&self) -> &'static str {
        NAME
    }

    fn apply(&self, document: &Document, _: &mut Scratch, metrics: &mut Metrics) -> Outcome {
        let characters = document.text.chars().count() as u64;
        metrics.note("characters", characters);
        match (self.min_characters, self.max_characters) {
            (Some(min), _) if characters < min => {
                Outcome::Drop(Reason::measured("too_short", characters as f64, min as f64))
            }
            (_, Some(max)) if characters > max => {
                Outcome::Drop(Reason::measured("too_long", characters as f64, max as f64))
            }
            _ => Outcome::Keep,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_inclusive_and_count_characters() {
        fn check(text: &str, expected: Option<&str>) {
            let filter = Length {
                min_characters: Some(2),
                max_characters: Some(4),
            };
            let document = Document {
                text: text.to_owned(),
                ..Document::default()
            };
            let found = match filter.apply(&document, &mut Scratch::default(), &mut Metrics::off())
            {
                Outcome::Drop(reason) => Some(reason.name),
                _ => None,
            };
            assert_eq!(found, expected, "{text:?}");
        }
        check("\u{e9}", Some("too_short"));
        check("\u{e9}\u{e9}", None);
        check("\u{e9}\u{e9}\u{e9}\u{e9}", None);
        check("abcde", Some("too_long"));
    }
}
