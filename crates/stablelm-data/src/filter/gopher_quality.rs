//! Gopher's quality rules (Rae et al. 2021, table A1), as datatrove 0.10.1 has them.
//!
//! The first broken rule in the order of [`GopherQuality::judge`] names the reason. A threshold
//! of 0 turns its rule off, as it does in datatrove. Whatever splits the words decides the outcome
//! more than any threshold, so a recipe always names its splitter. Where datatrove divides by zero,
//! which takes a text without words and `min_doc_words` turned off, no rule is broken here.

use std::ops::Range;

use memchr::{memchr_iter, memmem};
use serde::Serialize;

use crate::document::Document;
use crate::filter::verdict::{Verdict, ratio};
use crate::filter::{Filter, Metrics, Outcome};
use crate::hash::{sha256, to_hex};
use crate::recipe::RecipeError;
use crate::recipe::fields::Fields;
use crate::text::letters::is_letter;
use crate::text::punctuation::is_punctuation;
use crate::text::{count_chars, split_lines, strip};
use crate::words::{Scratch, WordSplitter};

/// The name of this filter in recipes.
pub(crate) const NAME: &str = "gopher-quality";

/// The keys of its table in recipes.
pub(crate) const KEYS: &[&str] = &[
    "name",
    "words",
    "min_doc_words",
    "max_doc_words",
    "min_avg_word_length",
    "max_avg_word_length",
    "max_symbol_word_ratio",
    "max_bullet_lines_ratio",
    "max_ellipsis_lines_ratio",
    "max_non_alpha_words_ratio",
    "min_stop_words",
    "stop_words",
];

/// Thresholds of the quality rules, under datatrove's names.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GopherQuality {
    /// The word splitter.
    pub words: WordSplitter,
    /// Fewest words that are not all symbols.
    pub min_doc_words: u64,
    /// Most words that are not all symbols.
    pub max_doc_words: u64,
    /// Least mean length of those words, in characters.
    pub min_avg_word_length: f64,
    /// Greatest mean length of those words.
    pub max_avg_word_length: f64,
    /// Most `#` a word, and most ellipses a word.
    pub max_symbol_word_ratio: f64,
    /// Greatest share of lines that start with a bullet.
    pub max_bullet_lines_ratio: f64,
    /// Greatest share of lines that end with an ellipsis.
    pub max_ellipsis_lines_ratio: f64,
    /// Least share of words with a letter (the name is datatrove's).
    pub max_non_alpha_words_ratio: f64,
    /// Fewest different stop words.
    pub min_stop_words: u64,
    /// The stop words, compared as they are written.
    pub stop_words: Vec<String>,
}

impl GopherQuality {
    /// The published thresholds.
    pub fn published(words: WordSplitter) -> Self {
        let stop_words = ["the", "be", "to", "of", "and", "that", "have", "with"];
        Self {
            words,
            min_doc_words: 50,
            max_doc_words: 100_000,
            min_avg_word_length: 3.0,
            max_avg_word_length: 10.0,
            max_symbol_word_ratio: 0.1,
            max_bullet_lines_ratio: 0.9,
            max_ellipsis_lines_ratio: 0.3,
            max_non_alpha_words_ratio: 0.8,
            min_stop_words: 2,
            stop_words: stop_words.map(str::to_owned).to_vec(),
        }
    }

    /// Reads its table.
    pub(crate) fn parse(fields: &Fields<'_>) -> Result<Self, RecipeError> {
        let mut filter = GopherQuality::published(fields.words()?);
        let whole = |key, value: &mut u64| -> Result<(), RecipeError> {
            *value = fields.whole(key)?.unwrap_or(*value);
            Ok(())
        };
        whole("min_doc_words", &mut filter.min_doc_words)?;
        whole("max_doc_words", &mut filter.max_doc_words)?;
        whole("min_stop_words", &mut filter.min_stop_words)?;
        let number = |key, value: &mut f64| -> Result<(), RecipeError> {
            *value = fields.number(key)?.unwrap_or(*value);
            Ok(())
        };
        number("min_avg_word_length", &mut filter.min_avg_word_length)?;
        number("max_avg_word_length", &mut filter.max_avg_word_length)?;
        number("max_symbol_word_ratio", &mut filter.max_symbol_word_ratio)?;
        number("max_bullet_lines_ratio", &mut filter.max_bullet_lines_ratio)?;
        number(
            "max_ellipsis_lines_ratio",
            &mut filter.max_ellipsis_lines_ratio,
        )?;
        number(
            "max_non_alpha_words_ratio",
            &mut filter.max_non_alpha_words_ratio,
        )?;
        if let Some(words) = fields.strings("stop_words")? {
            filter.stop_words = words;
        }
        Ok(filter)
    }
}

impl Filter for GopherQuality {
    fn name(&self) -> &'static str {
        NAME
    }

    fn apply(&self, document: &Document, scratch: &mut Scratch, metrics: &mut Metrics) -> Outcome {
        let text = &document.text;
        let words = scratch.words(self.words, text);
        if metrics.is_on() {
            metrics.note("words_sha", sha_of_words(text, words));
        }
        let mut verdict = Verdict::new(metrics);
        self.judge(text, words, metrics, &mut verdict);
        verdict.outcome()
    }
}

impl GopherQuality {
    /// Tries the rules in order; returns whether it stopped before the last.
    fn judge(
        &self,
        text: &str,
        words: &[Range<u32>],
        metrics: &mut Metrics,
        verdict: &mut Verdict,
    ) -> bool {
        let found = WordCounts::of(text, words);
        let num_words = words.len() as u64;
        metrics.note("n_words", num_words);
        metrics.note("n_nonsymbol_words", found.non_symbol);
        let len = found.non_symbol as f64;
        let mean = ratio(found.chars, found.non_symbol);
        metrics.note("avg_word_len", mean);
        if verdict.below("gopher_short_doc", len, self.min_doc_words as f64)
            || verdict.above("gopher_long_doc", len, self.max_doc_words as f64)
            || verdict.below("gopher_below_avg_threshold", mean, self.min_avg_word_length)
            || verdict.above("gopher_above_avg_threshold", mean, self.max_avg_word_length)
        {
            return true;
        }
        let hashes = memchr_iter(b'#', text.as_bytes()).count() as u64;
        let hashes = ratio(hashes, num_words);
        metrics.note("hash_ratio", hashes);
        let limit = self.max_symbol_word_ratio;
        if verdict.above("gopher_too_many_hashes", hashes, limit) {
            return true;
        }
        let ellipses = count(text, "...") + count(text, ELLIPSIS);
        let ellipses = ratio(ellipses, num_words);
        metrics.note("ellipsis_ratio", ellipses);
        if verdict.above("gopher_too_many_ellipsis", ellipses, limit) {
            return true;
        }
        let lines = LineCounts::of(text);
        let bullets = ratio(lines.bullets, lines.lines);
        let cut = ratio(lines.ellipses, lines.lines);
        metrics.note("n_splitlines", lines.lines);
        metrics.note("bullet_ratio", bullets);
        metrics.note("ellipsis_line_ratio", cut);
        let (limit, cut_limit) = (self.max_bullet_lines_ratio, self.max_ellipsis_lines_ratio);
        if verdict.above("gopher_too_many_bullets", bullets, limit)
            || verdict.above("gopher_too_many_end_ellipsis", cut, cut_limit)
        {
            return true;
        }
        let alpha = ratio(found.alpha, num_words);
        metrics.note("alpha_ratio", alpha);
        let limit = self.max_non_alpha_words_ratio;
        if verdict.below("gopher_below_alpha_threshold", alpha, limit) {
            return true;
        }
        let enough = (!metrics.is_on()).then_some(self.min_stop_words);
        let stop_words = self.count_stop_words(text, words, enough);
        metrics.note("stop_words", stop_words);
        let (found, limit) = (stop_words as f64, self.min_stop_words as f64);
        verdict.below("gopher_enough_stop_words", found, limit)
    }

    /// How many different stop words there are; it looks no further once there are `enough`.
    fn count_stop_words(&self, text: &str, words: &[Range<u32>], enough: Option<u64>) -> u64 {
        let mut missing: Vec<&str> = self.stop_words.iter().map(String::as_str).collect();
        missing.sort_unstable();
        missing.dedup();
        let (all, mut found) = (missing.len(), 0);
        for word in words {
            if found == all as u64 || enough.is_some_and(|enough| found >= enough) {
                break;
            }
            let word = &text[word.start as usize..word.end as usize];
            if let Some(at) = missing.iter().position(|&stop| stop == word) {
                missing.swap_remove(at);
                found += 1;
            }
        }
        found
    }
}

const ELLIPSIS: &str = "\u{2026}";

/// What the rules need to know of the words.
#[derive(Default)]
struct WordCounts {
    /// Words with a character that is no punctuation.
    non_symbol: u64,
    /// The characters of those.
    chars: u64,
    /// Words with a letter.
    alpha: u64,
}

impl WordCounts {
    fn of(text: &str, words: &[Range<u32>]) -> Self {
        let mut counts = Self::default();
        let ascii = text.is_ascii();
        for word in words {
            let word = &text[word.start as usize..word.end as usize];
            // Most words begin with a letter and are done here.
            let lettered = word.as_bytes()[0].is_ascii_alphabetic() || word.chars().any(is_letter);
            counts.alpha += u64::from(lettered);
            // No letter is punctuation but one digit is, so only words of letters are sure.
            if lettered || word.chars().any(|c| !is_punctuation(c)) {
                counts.non_symbol += 1;
                counts.chars += if ascii {
                    word.len() as u64
                } else {
                    count_chars(word)
                };
            }
        }
        counts
    }
}

/// What the rules need to know of the lines.
#[derive(Default)]
struct LineCounts {
    lines: u64,
    /// Lines that start with a bullet.
    bullets: u64,
    /// Lines that end in an ellipsis.
    ellipses: u64,
}

impl LineCounts {
    fn of(text: &str) -> Self {
        let mut counts = Self::default();
        for line in split_lines(text) {
            let line = strip(line);
            counts.lines += 1;
            counts.bullets += u64::from(line.starts_with(['\u{2022}', '-']));
            counts.ellipses += u64::from(line.ends_with("...") || line.ends_with(ELLIPSIS));
        }
        counts
    }
}

/// How often `pattern` is found, without overlaps.
fn count(text: &str, pattern: &str) -> u64 {
    memmem::find_iter(text.as_bytes(), pattern).count() as u64
}

/// The first 16 hex digits of the SHA-256 of the words joined by U+001F: two splitters agree on a
/// text where these do.
fn sha_of_words(text: &str, words: &[Range<u32>]) -> String {
    let words = words
        .iter()
        .map(|word| &text[word.start as usize..word.end as usize]);
    let joined = words.collect::<Vec<_>>().join("\u{1f}");
    to_hex(&sha256(joined.as_bytes())[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<&str>) {
        let filter = GopherQuality::published(WordSplitter::Whitespace);
        check_with(&filter, text, expected);
    }

    fn check_with(filter: &GopherQuality, text: &str, expected: Option<&str>) {
        let document = Document {
            text: text.to_owned(),
            ..Document::default()
        };
        let found = match filter.apply(&document, &mut Scratch::default(), &mut Metrics::off()) {
            Outcome::Drop(reason) => Some(reason.name),
            _ => None,
        };
        assert_eq!(
            found,
            expected,
            "{:?}",
            text.chars().take(60).collect::<String>()
        );
    }

    /// `words` words with two stop words, each line ten words long.
    fn prose(words: usize) -> String {
        let words: Vec<_> = ["the", "with"]
            .into_iter()
            .chain(std::iter::repeat("river"))
            .take(words)
            .collect();
        words.chunks(10).map(|line| line.join(" ") + "\n").collect()
    }

    #[test]
    fn counts_of_words_are_bounded_on_both_sides() {
        check("", Some("gopher_short_doc"));
        check(&prose(49), Some("gopher_short_doc"));
        check(&prose(50), None);
        check(&prose(100_000), None);
        check(&prose(100_001), Some("gopher_long_doc"));
    }

    #[test]
    fn words_of_symbols_do_not_count_as_words() {
        check(
            &(prose(49) + "--- *** \u{2026}\u{3002}"),
            Some("gopher_short_doc"),
        );
        check(&(prose(49) + "1 --- ***"), None);
    }

    #[test]
    fn mean_word_length_is_bounded_on_both_sides() {
        // 48 words of two letters and two of 4 and 3: (96 + 7) / 50 < 3.
        check(
            &("ab ".repeat(48) + "with the"),
            Some("gopher_below_avg_threshold"),
        );
        // 50 words with 150 letters are just enough.
        check(&("abc ".repeat(47) + "to with the"), None);
        let long = "abcdefghij ".repeat(97);
        check(&format!("{long} the with {}", "x".repeat(23)), None);
        check(
            &format!("{long} the with {}", "x".repeat(24)),
            Some("gopher_above_avg_threshold"),
        );
    }

    #[test]
    fn hashes_are_counted_per_word() {
        check(
            &("the with river river# ".to_owned() + &"river# ".repeat(4) + &prose(42)),
            None,
        );
        check(
            &("river### ".repeat(2) + &prose(48)),
            Some("gopher_too_many_hashes"),
        );
    }

    #[test]
    fn both_ellipses_are_counted_and_dots_do_not_overlap() {
        check(
            &("river... river\u{2026} river..... river... river\u{2026} ".to_owned() + &prose(45)),
            None,
        );
        check(
            &("river...... river\u{2026} river... river... river\u{2026} ".to_owned() + &prose(45)),
            Some("gopher_too_many_ellipsis"),
        );
    }

    #[test]
    fn bullets_may_be_indented() {
        let bullets =
            "  - river stone the with hill ford\n\u{2022} hill ford river stone\n".repeat(9);
        check(&format!("{bullets}river\nriver\n"), None);
        check(
            &format!("{bullets}river\n"),
            Some("gopher_too_many_bullets"),
        );
    }

    #[test]
    fn lines_may_end_in_an_ellipsis_three_times_in_ten() {
        let full = "the river with many stones runs past here\n".repeat(7);
        let cut = "the river with many stones runs past here... \n".repeat(3);
        check(&format!("{full}{cut}"), None);
        let fewer = "the river with many stones runs past here\n".repeat(6);
        check(
            &format!("{fewer}{cut}"),
            Some("gopher_too_many_end_ellipsis"),
        );
    }

    #[test]
    fn four_words_in_five_need_a_letter() {
        check(&("1234 ".repeat(10) + &prose(40)), None);
        check(
            &("1234 ".repeat(11) + &prose(40)),
            Some("gopher_below_alpha_threshold"),
        );
        // A combining vowel is alphabetic for Unicode, but not a letter for Python.
        check(
            &("\u{93f}\u{93f}\u{93f} ".repeat(11) + &prose(40)),
            Some("gopher_below_alpha_threshold"),
        );
    }

    #[test]
    fn two_different_stop_words_are_needed_as_written() {
        check(&("river ".repeat(50) + "the with"), None);
        check(
            &("river ".repeat(50) + "the the the"),
            Some("gopher_enough_stop_words"),
        );
        check(
            &("river ".repeat(50) + "the With"),
            Some("gopher_enough_stop_words"),
        );
        check(
            &("river ".repeat(50) + "the with,"),
            Some("gopher_enough_stop_words"),
        );
    }

    #[test]
    fn the_first_broken_rule_names_the_reason() {
        // Short, with long words, hashes, bullets and no stop words.
        check("- ######## abcdefghijklmnop...\n", Some("gopher_short_doc"));
        // Enough words, all of them too long, and every later rule broken too.
        check(
            &"- abcdefghijklmnop#...\n".repeat(50),
            Some("gopher_above_avg_threshold"),
        );
        check(&"- abcd#...\n".repeat(60), Some("gopher_too_many_hashes"));
        check(&"- abcd...\n".repeat(60), Some("gopher_too_many_ellipsis"));
        check(&"- abcdefgh\n".repeat(60), Some("gopher_too_many_bullets"));
    }

    #[test]
    fn zero_turns_a_rule_off() {
        let filter = GopherQuality {
            min_doc_words: 0,
            min_avg_word_length: 0.0,
            max_non_alpha_words_ratio: 0.0,
            min_stop_words: 0,
            ..GopherQuality::published(WordSplitter::Whitespace)
        };
        check_with(&filter, "12 34", None);
        check_with(&filter, " ", None);
    }
}
