//! The rules of `FineWeb` on lines (Penedo et al. 2024, section 3.6), as datatrove 0.10.1 has them.
//!
//! Lines lie between line feeds here, and those of nothing but white space do not count.

use serde::Serialize;

use crate::document::Document;
use crate::filter::verdict::{Verdict, ratio};
use crate::filter::{Filter, Metrics, Outcome, Reason};
use crate::recipe::RecipeError;
use crate::recipe::fields::Fields;
use crate::text::distinct::Repeats;
use crate::text::punctuation::is_terminal;
use crate::text::{count_chars, is_space, split_at_feeds, split_whitespace};
use crate::words::{Scratch, WordSplitter};

/// The name of this filter in recipes.
pub(crate) const NAME: &str = "fineweb-quality";

/// The keys of its table in recipes.
pub(crate) const KEYS: &[&str] = &[
    "name",
    "words",
    "line_punct_thr",
    "line_punct_exclude_zero",
    "stop_chars",
    "short_line_thr",
    "short_line_length",
    "char_duplicates_ratio",
    "new_line_ratio",
];

/// The rules of `FineWeb` on lines, under datatrove's names.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FinewebQuality {
    /// The word splitter.
    pub words: WordSplitter,
    /// Least share of lines that end a sentence.
    pub line_punct_thr: f64,
    /// Whether a document in which no line does is let pass.
    pub line_punct_exclude_zero: bool,
    /// What ends a sentence; nothing given means datatrove's 159 marks of many scripts.
    pub stop_chars: Option<Vec<String>>,
    /// Greatest share of short lines.
    pub short_line_thr: f64,
    /// The most characters that a short line has.
    pub short_line_length: u64,
    /// Greatest share of characters in lines that were there before.
    pub char_duplicates_ratio: f64,
    /// Most line feeds a word.
    pub new_line_ratio: f64,
}

impl FinewebQuality {
    /// The published thresholds.
    pub fn published(words: WordSplitter) -> Self {
        Self {
            words,
            line_punct_thr: 0.12,
            line_punct_exclude_zero: false,
            stop_chars: None,
            short_line_thr: 0.67,
            short_line_length: 30,
            char_duplicates_ratio: 0.01,
            new_line_ratio: 0.3,
        }
    }

    /// Reads its table.
    pub(crate) fn parse(fields: &Fields<'_>) -> Result<Self, RecipeError> {
        let published = FinewebQuality::published(fields.words()?);
        let number = |key, default| Ok(fields.number(key)?.unwrap_or(default));
        Ok(Self {
            words: published.words,
            line_punct_thr: number("line_punct_thr", published.line_punct_thr)?,
            line_punct_exclude_zero: fields
                .bool("line_punct_exclude_zero")?
                .unwrap_or(published.line_punct_exclude_zero),
            stop_chars: fields.strings("stop_chars")?,
            short_line_thr: number("short_line_thr", published.short_line_thr)?,
            short_line_length: fields
                .whole("short_line_length")?
                .unwrap_or(published.short_line_length),
            char_duplicates_ratio: number(
                "char_duplicates_ratio",
                published.char_duplicates_ratio,
            )?,
            new_line_ratio: number("new_line_ratio", published.new_line_ratio)?,
        })
    }
}

impl Filter for FinewebQuality {
    fn name(&self) -> &'static str {
        NAME
    }

    fn apply(&self, document: &Document, scratch: &mut Scratch, metrics: &mut Metrics) -> Outcome {
        let mut verdict = Verdict::new(metrics);
        self.judge(&document.text, scratch, metrics, &mut verdict);
        verdict.outcome()
    }
}

impl FinewebQuality {
    /// Tries the rules in order; returns whether it stopped before the last.
    fn judge(
        &self,
        text: &str,
        scratch: &mut Scratch,
        metrics: &mut Metrics,
        verdict: &mut Verdict,
    ) -> bool {
        let (mut lines, mut ended, mut short) = (0, 0, 0);
        for line in full_lines(text) {
            lines += 1;
            ended += u64::from(self.ends_sentence(line));
            short += u64::from(self.is_short(line));
        }
        if lines == 0 {
            return verdict.drop_if(true, Reason::named("empty"));
        }
        let share = ratio(ended, lines);
        metrics.note("fw_punct", share);
        let limit = self.line_punct_thr;
        let broken = share < limit && !(ended == 0 && self.line_punct_exclude_zero);
        if verdict.drop_if(broken, Reason::measured("line_punct_ratio", share, limit)) {
            return true;
        }
        let share = ratio(short, lines);
        metrics.note("fw_short", share);
        let limit = self.short_line_thr;
        let reason = Reason::measured("short_line_ratio", share, limit);
        if verdict.drop_if(share > limit, reason) {
            return true;
        }
        let feeds = memchr::memchr_iter(b'\n', text.as_bytes()).count() as u64;
        let repeated = Repeats::of(full_lines(text)).repeated_chars;
        let share = ratio(repeated, count_chars(text) - feeds);
        metrics.note("fw_chardup", share);
        let limit = self.char_duplicates_ratio;
        if verdict.drop_if(
            share > limit,
            Reason::measured("char_dup_ratio", share, limit),
        ) {
            return true;
        }
        if !metrics.is_on() && self.has_many_words(text, feeds) {
            return false;
        }
        let words = scratch.words(self.words, text).len() as u64;
        let share = ratio(feeds, words);
        metrics.note("fw_list", share);
        let limit = self.new_line_ratio;
        verdict.drop_if(share > limit, Reason::measured("list_ratio", share, limit))
    }

    /// Whether there are surely words enough for so many line feeds, without cutting the text.
    fn has_many_words(&self, text: &str, feeds: u64) -> bool {
        // Both leave at least one word of what stands between white space.
        if !matches!(self.words, WordSplitter::SpacyEn | WordSplitter::Whitespace) {
            return false;
        }
        let mut counts = split_whitespace(text).zip(1..);
        counts.any(|(_, words)| ratio(feeds, words) <= self.new_line_ratio)
    }

    fn ends_sentence(&self, line: &str) -> bool {
        match &self.stop_chars {
            None => line.ends_with(is_terminal),
            Some(marks) => marks.iter().any(|mark| line.ends_with(mark)),
        }
    }

    fn is_short(&self, line: &str) -> bool {
        // A character has one byte at least and four at most.
        let (bytes, max) = (line.len() as u64, self.short_line_length);
        bytes <= max || (bytes <= 4 * max && count_chars(line) <= max)
    }
}

/// The lines with a character that is no white space.
fn full_lines(text: &str) -> impl Iterator<Item = &str> {
    split_at_feeds(text).filter(|line| !line.chars().all(is_space))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_with(filter: &FinewebQuality, text: &str, expected: Option<&str>) {
        let document = Document {
            text: text.to_owned(),
            ..Document::default()
        };
        for mut metrics in [Metrics::off(), Metrics::on()] {
            let found = match filter.apply(&document, &mut Scratch::default(), &mut metrics) {
                Outcome::Drop(reason) => Some(reason.name),
                _ => None,
            };
            assert_eq!(found, expected, "{text:?}");
        }
    }

    fn check(text: &str, expected: Option<&str>) {
        let filter = FinewebQuality::published(WordSplitter::Whitespace);
        check_with(&filter, text, expected);
    }

    /// Lines of five words, with their number.
    fn lines(count: usize, end: &str) -> String {
        let lines = (0..count).map(|at| format!("the river {at} runs past here{end}\n"));
        lines.collect()
    }

    #[test]
    fn lines_of_white_space_do_not_count() {
        check("", Some("empty"));
        check(" \n\u{a0}\n", Some("empty"));
        check(&lines(3, " with its many stones."), None);
    }

    #[test]
    fn a_line_ends_with_a_mark_of_any_script_and_nothing_after_it() {
        check(&lines(9, " with its many stones"), Some("line_punct_ratio"));
        check(
            &lines(9, " with its many stones. "),
            Some("line_punct_ratio"),
        );
        check(
            &lines(9, " with its many stones.\""),
            Some("line_punct_ratio"),
        );
        check(&lines(9, " with its many stones\u{3002}"), None);
        let mut filter = FinewebQuality {
            line_punct_exclude_zero: true,
            ..FinewebQuality::published(WordSplitter::Whitespace)
        };
        check_with(&filter, &lines(9, " with its many stones"), None);
        filter.stop_chars = Some(vec!["stones".into()]);
        filter.line_punct_exclude_zero = false;
        check_with(&filter, &lines(9, " with its many stones"), None);
    }

    #[test]
    fn short_and_repeated_lines_are_counted_in_characters() {
        check(&lines(9, "."), Some("short_line_ratio"));
        // With the dot and three words in front, 31 characters and then 30.
        let accents = |count| format!("a b c {}.\n", "\u{e9}".repeat(count));
        check(&accents(24), None);
        check(&accents(23), Some("short_line_ratio"));
        let long = lines(9, " with its many stones.");
        check(&(long.clone() + &long), Some("char_dup_ratio"));
    }

    #[test]
    fn lines_need_words() {
        let text = format!("{}.\n", "stone".repeat(10));
        check(&text, Some("list_ratio"));
        check(
            &format!("{}.\n\n\n\n", "a lot of stones ".repeat(3)),
            Some("list_ratio"),
        );
    }
}
