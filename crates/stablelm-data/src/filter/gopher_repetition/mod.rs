//! Gopher's repetition rules (Rae et al. 2021, table A1), as datatrove 0.10.1 has them.
//!
//! A paragraph or line is a duplicate from its second occurrence on. Lengths are characters, and
//! shares are of the whole text, white space included. A limit of 0 turns off the rules on
//! paragraphs and lines, as it does in datatrove; rules on n-grams are off where none are listed.

mod ngrams;

use std::collections::BTreeMap;

use memchr::memchr;
use serde::Serialize;
use serde_json::{Map, Value};

use self::ngrams::{NgramRepeats, TopNgrams};
use crate::document::Document;
use crate::filter::verdict::{Verdict, ratio};
use crate::filter::{Filter, Metrics, Outcome, Reason};
use crate::recipe::RecipeError;
use crate::recipe::fields::Fields;
use crate::text::distinct::Repeats;
use crate::text::{count_chars, strip};
use crate::words::{Scratch, WordSplitter};

/// The name of this filter in recipes.
pub(crate) const NAME: &str = "gopher-repetition";

/// The keys of its table in recipes.
pub(crate) const KEYS: &[&str] = &[
    "name",
    "words",
    "dup_line_frac",
    "dup_para_frac",
    "dup_line_char_frac",
    "dup_para_char_frac",
    "top_n_grams",
    "dup_n_grams",
];

/// The names of a rule on n-grams, by n from 1: how recipes and metrics call n, and the reasons.
struct NgramNames {
    n: &'static str,
    top: &'static str,
    duplicated: &'static str,
}

macro_rules! ngram_names {
    ($($n:literal)*) => {
        [$(NgramNames {
            n: stringify!($n),
            top: concat!("top_", $n, "_gram"),
            duplicated: concat!("duplicated_", $n, "_n_grams"),
        }),*]
    };
}

const NGRAMS: [NgramNames; 20] = ngram_names!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20);

/// The greatest shares of characters, by n.
type NgramLimits = BTreeMap<u8, f64>;

/// Thresholds of the repetition rules, under datatrove's names.
///
/// In a recipe, n-grams are a table by n: `top_n_grams = { 2 = 0.2, 3 = 0.18, 4 = 0.16 }`. They are
/// tried from the smallest n up.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GopherRepetition {
    /// The word splitter.
    pub words: WordSplitter,
    /// Greatest share of duplicate lines.
    pub dup_line_frac: f64,
    /// Greatest share of duplicate paragraphs.
    pub dup_para_frac: f64,
    /// Greatest share of characters in duplicate lines.
    pub dup_line_char_frac: f64,
    /// Greatest share of characters in duplicate paragraphs.
    pub dup_para_char_frac: f64,
    /// Greatest share of characters in occurrences of the most frequent n-gram, which may be one.
    pub top_n_grams: NgramLimits,
    /// Greatest share of characters in n-grams that were there before.
    pub dup_n_grams: NgramLimits,
}

impl GopherRepetition {
    /// The published thresholds.
    pub fn published(words: WordSplitter) -> Self {
        let dup_n_grams = [
            (5, 0.15),
            (6, 0.14),
            (7, 0.13),
            (8, 0.12),
            (9, 0.11),
            (10, 0.10),
        ];
        Self {
            words,
            dup_line_frac: 0.3,
            dup_para_frac: 0.3,
            dup_line_char_frac: 0.2,
            dup_para_char_frac: 0.2,
            top_n_grams: [(2, 0.2), (3, 0.18), (4, 0.16)].into(),
            dup_n_grams: dup_n_grams.into(),
        }
    }

    /// Reads its table.
    pub(crate) fn parse(fields: &Fields<'_>) -> Result<Self, RecipeError> {
        let published = GopherRepetition::published(fields.words()?);
        let number = |key, default| Ok(fields.number(key)?.unwrap_or(default));
        Ok(Self {
            dup_line_frac: number("dup_line_frac", published.dup_line_frac)?,
            dup_para_frac: number("dup_para_frac", published.dup_para_frac)?,
            dup_line_char_frac: number("dup_line_char_frac", published.dup_line_char_frac)?,
            dup_para_char_frac: number("dup_para_char_frac", published.dup_para_char_frac)?,
            top_n_grams: parse_limits(fields, "top_n_grams")?.unwrap_or(published.top_n_grams),
            dup_n_grams: parse_limits(fields, "dup_n_grams")?.unwrap_or(published.dup_n_grams),
            ..published
        })
    }
}

fn parse_limits(
    fields: &Fields<'_>,
    key: &'static str,
) -> Result<Option<NgramLimits>, RecipeError> {
    let sizes = NGRAMS.map(|names| names.n);
    let Some(table) = fields.table(key, key, &sizes)? else {
        return Ok(None);
    };
    let mut limits = NgramLimits::new();
    for (n, size) in (1..).zip(sizes) {
        if let Some(limit) = table.number(size)? {
            limits.insert(n, limit);
        }
    }
    Ok(Some(limits))
}

impl Filter for GopherRepetition {
    fn name(&self) -> &'static str {
        NAME
    }

    fn apply(&self, document: &Document, scratch: &mut Scratch, metrics: &mut Metrics) -> Outcome {
        let text = &document.text;
        if text.is_empty() {
            return Outcome::Drop(Reason::named("empty"));
        }
        let mut verdict = Verdict::new(metrics);
        let chars = count_chars(text);
        let stopped = self.judge_paragraphs(text, chars, metrics, &mut verdict)
            || self.judge_lines(text, chars, metrics, &mut verdict)
            || self.judge_ngrams(text, chars, scratch, metrics, &mut verdict);
        debug_assert!(!stopped || !metrics.is_on());
        verdict.outcome()
    }
}

/// Each of these returns whether there is no need to look further.
impl GopherRepetition {
    fn judge_paragraphs(
        &self,
        text: &str,
        chars: u64,
        metrics: &mut Metrics,
        verdict: &mut Verdict,
    ) -> bool {
        let found = Repeats::of(Pieces::new(strip(text), 2));
        let share = ratio(found.repeated, found.pieces);
        let char_share = ratio(found.repeated_chars, chars);
        metrics.note("dup_para_frac", share);
        metrics.note("dup_para_char_frac", char_share);
        verdict.above("dup_para_frac", share, self.dup_para_frac)
            || verdict.above("dup_para_char_frac", char_share, self.dup_para_char_frac)
    }

    fn judge_lines(
        &self,
        text: &str,
        chars: u64,
        metrics: &mut Metrics,
        verdict: &mut Verdict,
    ) -> bool {
        let found = Repeats::of(Pieces::new(text, 1));
        let share = ratio(found.repeated, found.pieces);
        let char_share = ratio(found.repeated_chars, chars);
        metrics.note("dup_line_frac", share);
        metrics.note("dup_line_char_frac", char_share);
        verdict.above("dup_line_frac", share, self.dup_line_frac)
            || verdict.above("dup_line_char_frac", char_share, self.dup_line_char_frac)
    }

    fn judge_ngrams(
        &self,
        text: &str,
        chars: u64,
        scratch: &mut Scratch,
        metrics: &mut Metrics,
        verdict: &mut Verdict,
    ) -> bool {
        let words = scratch.words(self.words, text);
        let mut shares = Map::new();
        let mut top = TopNgrams::new(text, words);
        for (&n, &limit) in &self.top_n_grams {
            let is_fine = |found| ratio(found, chars) <= limit;
            if !metrics.is_on() && top.is_surely(n.into(), is_fine) {
                continue;
            }
            // A text with fewer words than n has no such n-gram and no such rule.
            let share = top.chars(n.into()).map(|found| ratio(found, chars));
            let names = &NGRAMS[usize::from(n) - 1];
            shares.insert(names.n.to_owned(), share.into());
            let share = share.unwrap_or_default();
            let broken = share > limit;
            if verdict.drop_if(broken, Reason::measured(names.top, share, limit)) {
                return true;
            }
        }
        metrics.note("top_ngram", Value::Object(std::mem::take(&mut shares)));

        let Some((&smallest, _)) = self.dup_n_grams.first_key_value() else {
            return false;
        };
        let repeats = NgramRepeats::new(text, words, smallest.into());
        for (&n, &limit) in &self.dup_n_grams {
            let share = ratio(repeats.chars(n.into()), chars);
            let names = &NGRAMS[usize::from(n) - 1];
            shares.insert(names.n.to_owned(), share.into());
            let broken = share > limit;
            if verdict.drop_if(broken, Reason::measured(names.duplicated, share, limit)) {
                return true;
            }
        }
        metrics.note("dup_ngram", Value::Object(shares));
        false
    }
}

/// What lies between runs of at least `feeds` line feeds, as `re.split` has it: with the empty
/// pieces before a first and after a last run.
struct Pieces<'t> {
    rest: Option<&'t str>,
    feeds: usize,
}

impl<'t> Pieces<'t> {
    fn new(text: &'t str, feeds: usize) -> Self {
        Self {
            rest: Some(text),
            feeds,
        }
    }
}

impl<'t> Iterator for Pieces<'t> {
    type Item = &'t str;

    fn next(&mut self) -> Option<&'t str> {
        let text = self.rest?;
        let bytes = text.as_bytes();
        let mut at = 0;
        while let Some(found) = memchr(b'\n', &bytes[at..]) {
            let start = at + found;
            let run = bytes[start..].iter().take_while(|&&byte| byte == b'\n');
            let run = run.count();
            if run >= self.feeds {
                self.rest = Some(&text[start + run..]);
                return Some(&text[..start]);
            }
            at = start + run;
        }
        self.rest = None;
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<&str>) {
        let filter = GopherRepetition::published(WordSplitter::Whitespace);
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

    /// A hundred words that are all different.
    fn prose() -> String {
        let words: Vec<_> = (100..200).map(|number| format!("word{number}")).collect();
        words.join(" ")
    }

    #[test]
    fn paragraphs_and_lines_count_from_their_second_occurrence() {
        let prose = prose();
        check(&prose, None);
        check("", Some("empty"));
        check("a b c\n\na b c\n\na b c", Some("dup_para_frac"));
        check(
            &format!("{prose}\n\n1\n\n2\n\n{prose}"),
            Some("dup_para_char_frac"),
        );
        check("x\ny\nx\ny\nx", Some("dup_line_frac"));
        check(
            &format!("{prose}\n1\n2\n{prose}"),
            Some("dup_line_char_frac"),
        );
    }

    #[test]
    fn line_feeds_at_the_ends_make_empty_lines() {
        check("\n\n\n", Some("dup_line_frac"));
        // "", the text and "": one line in three is a duplicate.
        check(&format!("\n{}\n", prose()), Some("dup_line_frac"));
        check(&format!("\n{}", prose()), None);
    }

    #[test]
    fn the_most_frequent_ngram_counts_where_it_is_there_once() {
        check("one two", Some("top_2_gram"));
        check(
            &format!("{} {}", "ab cd ".repeat(60), prose()),
            Some("top_2_gram"),
        );
        check(" a", None);
    }

    #[test]
    fn ngrams_that_were_there_before_count_as_joined_words() {
        let again = "river stone hill ford water ";
        check(
            &format!(
                "{again} {} {again} {}",
                prose(),
                prose().replace("word", "name")
            ),
            None,
        );
        // The same letters cut in other places.
        let cut = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda my";
        let other = "alph abeta gamm adelta epsilo nzeta et atheta iot akappa lambd amy";
        let rest = &prose()[..100];
        check(
            &format!("{cut} {other} {rest}"),
            Some("duplicated_6_n_grams"),
        );
    }

    #[test]
    fn pieces_are_those_of_a_split_at_runs() {
        fn check(text: &str, feeds: usize, expected: &[&str]) {
            assert_eq!(Pieces::new(text, feeds).collect::<Vec<_>>(), expected);
        }
        check("", 1, &[""]);
        check("\n\n", 1, &["", ""]);
        check("a\n\n\nb\nc\n", 1, &["a", "b", "c", ""]);
        check("a\n\n\nb\nc\n\n", 2, &["a", "b\nc", ""]);
    }
}
