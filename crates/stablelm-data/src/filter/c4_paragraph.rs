//! The rule of mC4 (Xue et al. 2021) on the length of paragraphs, as datatrove 0.10.1 has it.

use serde::Serialize;

use crate::document::Document;
use crate::filter::{Filter, Metrics, Outcome, Reason};
use crate::recipe::RecipeError;
use crate::recipe::fields::Fields;
use crate::text::{count_chars, split_at_feeds};
use crate::words::Scratch;

/// The name of this filter in recipes.
pub(crate) const NAME: &str = "c4-paragraph";

/// The keys of its table in recipes.
pub(crate) const KEYS: &[&str] = &["name", "min_paragraphs", "min_paragraph_len"];

/// The reason, by the fewest paragraphs that a recipe may ask for.
const REASONS: [&str; 9] = [
    "< 1 paragraphs",
    "< 2 paragraphs",
    "< 3 paragraphs",
    "< 4 paragraphs",
    "< 5 paragraphs",
    "< 6 paragraphs",
    "< 7 paragraphs",
    "< 8 paragraphs",
    "< 9 paragraphs",
];

/// Asks for some paragraphs, lines that is, of some length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct C4Paragraph {
    /// How many long lines are needed, from 1 to 9.
    pub min_paragraphs: u8,
    /// What makes a line long, in characters.
    pub min_paragraph_len: u64,
}

impl C4Paragraph {
    /// The published rule.
    pub fn published() -> Self {
        Self {
            min_paragraphs: 3,
            min_paragraph_len: 200,
        }
    }

    /// Reads its table.
    pub(crate) fn parse(fields: &Fields<'_>) -> Result<Self, RecipeError> {
        let mut filter = C4Paragraph::published();
        if let Some(paragraphs) = fields.whole("min_paragraphs")? {
            let paragraphs = u8::try_from(paragraphs).ok();
            filter.min_paragraphs = paragraphs
                .filter(|&paragraphs| (1..=REASONS.len()).contains(&paragraphs.into()))
                .ok_or_else(|| fields.wrong("min_paragraphs", "a whole number from 1 to 9"))?;
        }
        if let Some(len) = fields.whole("min_paragraph_len")? {
            filter.min_paragraph_len = len;
        }
        Ok(filter)
    }
}

impl Filter for C4Paragraph {
    fn name(&self) -> &'static str {
        NAME
    }

    fn apply(&self, document: &Document, _: &mut Scratch, metrics: &mut Metrics) -> Outcome {
        let enough = usize::from(self.min_paragraphs);
        let lines = split_at_feeds(&document.text);
        let long = lines.filter(|line| {
            // A character has four bytes at most.
            let (bytes, min) = (line.len() as u64, self.min_paragraph_len);
            bytes >= min && (bytes >= 4 * min || count_chars(line) >= min)
        });
        let found = if metrics.is_on() {
            long.count()
        } else {
            long.take(enough).count()
        };
        metrics.note("long_paragraphs", found);
        if found >= enough {
            return Outcome::Keep;
        }
        let name = REASONS[enough - 1];
        Outcome::Drop(Reason::measured(name, found as f64, enough as f64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_lines_need_two_hundred_characters() {
        fn check(lens: &[usize], expected: Option<(&str, f64)>) {
            let lines = lens.iter().map(|&len| "\u{e9}".repeat(len));
            let document = Document {
                text: lines.collect::<Vec<_>>().join("\n"),
                ..Document::default()
            };
            let filter = C4Paragraph::published();
            let found = match filter.apply(&document, &mut Scratch::default(), &mut Metrics::off())
            {
                Outcome::Drop(reason) => Some((reason.name, reason.value.unwrap())),
                _ => None,
            };
            assert_eq!(found, expected, "{lens:?}");
        }
        check(&[200, 0, 200, 3, 200], None);
        check(&[200, 200, 199], Some(("< 3 paragraphs", 2.0)));
        check(&[1000, 1000], Some(("< 3 paragraphs", 2.0)));
        check(&[0], Some(("< 3 paragraphs", 0.0)));
    }
}
