//! Bounds on the length of a document, in characters.

use serde::Serialize;

use crate::document::Document;
use crate::filter::{Filter, Reason, Verdict};

/// The name of this filter in recipes.
pub(crate) const NAME: &str = "length";

/// Drops documents that are shorter or longer than asked, in Unicode code points.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Length {
    /// Fewest characters.
    pub min_characters: Option<u64>,
    /// Most characters.
    pub max_characters: Option<u64>,
}

impl Filter for Length {
    fn name(&self) -> &'static str {
        NAME
    }

    fn verdict(&self, document: &Document) -> Verdict {
        let characters = document.text.chars().count() as u64;
        match (self.min_characters, self.max_characters) {
            (Some(min), _) if characters < min => {
                Verdict::Drop(Reason::measured("too_short", characters as f64, min as f64))
            }
            (_, Some(max)) if characters > max => {
                Verdict::Drop(Reason::measured("too_long", characters as f64, max as f64))
            }
            _ => Verdict::Keep,
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
            let found = match filter.verdict(&document) {
                Verdict::Keep => None,
                Verdict::Drop(reason) => Some(reason.name),
            };
            assert_eq!(found, expected, "{text:?}");
        }
        check("\u{e9}", Some("too_short"));
        check("\u{e9}\u{e9}", None);
        check("\u{e9}\u{e9}\u{e9}\u{e9}", None);
        check("abcde", Some("too_long"));
    }
}
