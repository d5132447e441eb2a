//! Gopher's quality rules, as datatrove 0.10 has them, over words split at white space.
//!
//! The first broken rule in the order of [`GopherQuality::verdict`] names the reason. A threshold
//! of 0 turns its rule off, as it does in datatrove. Whatever splits the words decides the outcome
//! more than any threshold, so a recipe always names its splitter.

use std::collections::HashSet;

use serde::Serialize;

use crate::document::Document;
use crate::filter::letters::is_letter;
use crate::filter::punctuation::is_punctuation;
use crate::filter::python_text::{is_space, split_lines, split_whitespace};
use crate::filter::{Filter, Reason, Verdict};

/// The name of this filter in recipes.
pub(crate) const NAME: &str = "gopher-quality";

/// How a document is cut into words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum WordSplitter {
    /// At Unicode white space, as Python's `str.split()` does.
    Whitespace,
}

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
}

impl Filter for GopherQuality {
    fn name(&self) -> &'static str {
        NAME
    }

    fn verdict(&self, document: &Document) -> Verdict {
        let metrics = measure(&document.text, &self.stop_words);
        judge(self, &metrics).map_or(Verdict::Keep, Verdict::Drop)
    }
}

/// What the rules look at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct GopherMetrics {
    pub(crate) n_words: u64,
    pub(crate) n_non_symbol_words: u64,
    pub(crate) avg_word_length: f64,
    pub(crate) hash_ratio: f64,
    pub(crate) ellipsis_ratio: f64,
    pub(crate) n_lines: u64,
    pub(crate) bullet_lines_ratio: f64,
    pub(crate) ellipsis_lines_ratio: f64,
    pub(crate) alpha_words_ratio: f64,
    pub(crate) stop_words: u64,
}

fn judge(limits: &GopherQuality, metrics: &GopherMetrics) -> Option<Reason> {
    // Documents and thresholds have far fewer than 2^53 words, so doubles hold the counts exactly.
    let below = |name, value: f64, limit: f64| {
        (limit != 0.0 && value < limit).then(|| Reason::measured(name, value, limit))
    };
    let above = |name, value: f64, limit: f64| {
        (limit != 0.0 && value > limit).then(|| Reason::measured(name, value, limit))
    };
    let words = metrics.n_non_symbol_words as f64;
    let symbols = limits.max_symbol_word_ratio;
    below("gopher_short_doc", words, limits.min_doc_words as f64)
        .or_else(|| above("gopher_long_doc", words, limits.max_doc_words as f64))
        .or_else(|| {
            let limit = limits.min_avg_word_length;
            below("gopher_below_avg_threshold", metrics.avg_word_length, limit)
        })
        .or_else(|| {
            let limit = limits.max_avg_word_length;
            above("gopher_above_avg_threshold", metrics.avg_word_length, limit)
        })
        .or_else(|| above("gopher_too_many_hashes", metrics.hash_ratio, symbols))
        .or_else(|| above("gopher_too_many_ellipsis", metrics.ellipsis_ratio, symbols))
        .or_else(|| {
            let limit = limits.max_bullet_lines_ratio;
            above("gopher_too_many_bullets", metrics.bullet_lines_ratio, limit)
        })
        .or_else(|| {
            let limit = limits.max_ellipsis_lines_ratio;
            above(
                "gopher_too_many_end_ellipsis",
                metrics.ellipsis_lines_ratio,
                limit,
            )
        })
        .or_else(|| {
            let limit = limits.max_non_alpha_words_ratio;
            below(
                "gopher_below_alpha_threshold",
                metrics.alpha_words_ratio,
                limit,
            )
        })
        .or_else(|| {
            let limit = limits.min_stop_words as f64;
            below("gopher_enough_stop_words", metrics.stop_words as f64, limit)
        })
}

/// Measures one text in a pass over its words and one over its lines.
pub(crate) fn measure(text: &str, stop_words: &[String]) -> GopherMetrics {
    let mut metrics = GopherMetrics::default();
    let mut characters = 0_u64;
    let mut alpha = 0_u64;
    let mut seen = HashSet::new();
    for word in split_whitespace(text) {
        metrics.n_words += 1;
        if word.chars().any(|c| !is_punctuation(c)) {
            metrics.n_non_symbol_words += 1;
            characters += word.chars().count() as u64;
        }
        alpha += u64::from(word.chars().any(is_letter));
        if let Some(index) = stop_words.iter().position(|stop| stop == word) {
            seen.insert(index);
        }
    }
    metrics.stop_words = seen.len() as u64;
    metrics.avg_word_length = ratio(characters, metrics.n_non_symbol_words);
    metrics.alpha_words_ratio = ratio(alpha, metrics.n_words);
    metrics.hash_ratio = ratio(count(text, "#"), metrics.n_words);
    metrics.ellipsis_ratio = ratio(
        count(text, "...") + count(text, "\u{2026}"),
        metrics.n_words,
    );

    let (mut bullets, mut ellipses) = (0, 0);
    for line in split_lines(text) {
        metrics.n_lines += 1;
        bullets += u64::from(
            line.trim_start_matches(is_space)
                .starts_with(['\u{2022}', '-']),
        );
        let end = line.trim_end_matches(is_space);
        ellipses += u64::from(end.ends_with("...") || end.ends_with('\u{2026}'));
    }
    metrics.bullet_lines_ratio = ratio(bullets, metrics.n_lines);
    metrics.ellipsis_lines_ratio = ratio(ellipses, metrics.n_lines);
    metrics
}

fn count(text: &str, pattern: &str) -> u64 {
    text.matches(pattern).count() as u64
}

/// The quotient, and 0 where there is nothing to divide by.
fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};

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
        let found = match filter.verdict(&document) {
            Verdict::Keep => None,
            Verdict::Drop(reason) => Some(reason.name),
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

    /// The metrics of datatrove 0.10.1 that do not depend on how words are split.
    #[test]
    fn lines_are_measured_as_datatrove_measures_them() {
        let Some(oracles) = stablelm_testkit::shared_oracles() else {
            eprintln!("skipped: there are no golden values beside the repository");
            return;
        };
        let lines = |name: &str| {
            let file = std::fs::File::open(oracles.join("data").join(name)).unwrap();
            let lines = BufReader::new(flate2::read::MultiGzDecoder::new(file)).lines();
            lines.map(|line| serde_json::from_str::<serde_json::Value>(&line.unwrap()).unwrap())
        };
        let mut checked = 0;
        for (document, golden) in lines("docs.jsonl.gz").zip(lines("datatrove_decisions.jsonl.gz"))
        {
            let metrics = measure(document["text"].as_str().unwrap(), &[]);
            assert_eq!(golden["n_splitlines"], metrics.n_lines, "{}", golden["id"]);
            for (name, found) in [
                ("bullet_ratio", metrics.bullet_lines_ratio),
                ("ellipsis_line_ratio", metrics.ellipsis_lines_ratio),
            ] {
                let expected = golden[name].as_f64().unwrap_or(0.0);
                assert!(
                    (found - expected).abs() < 1e-12,
                    "{name} of {}",
                    golden["id"]
                );
            }
            checked += 1;
        }
        assert_eq!(checked, 1170);
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
