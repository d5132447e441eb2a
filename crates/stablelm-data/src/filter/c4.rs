//! The quality rules of C4 (Raffel et al. 2020, section 2.2), as datatrove 0.10.1 has them.
//!
//! Line by line, in this order: a line with too long a word goes; citations are taken out; a line
//! goes that doesn't end a sentence or has too few words; "lorem ipsum" drops the document; a line
//! on `javascript` goes; a curly bracket drops the document; a line on policies goes. So a bracket in
//! a line that went before does no harm. What is left needs enough sentences, and is the new text.
//! Sentences are those of the word splitter. `FineWeb` uses these rules with
//! `filter_no_terminal_punct = false`.

use std::borrow::Cow;
use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, MatchKind};
use memchr::memchr;
use serde::Serialize;
use serde_json::json;

use crate::document::Document;
use crate::filter::{Filter, Metrics, Outcome, Reason};
use crate::hash::{sha256, to_hex};
use crate::recipe::RecipeError;
use crate::recipe::fields::Fields;
use crate::text::digits::is_decimal;
use crate::text::{count_chars, split_lines, split_whitespace, strip};
use crate::words::{Scratch, WordSplitter};

/// The name of this filter in recipes.
pub(crate) const NAME: &str = "c4";

/// The keys of its table in recipes.
pub(crate) const KEYS: &[&str] = &[
    "name",
    "words",
    "split_paragraph",
    "remove_citations",
    "filter_no_terminal_punct",
    "min_num_sentences",
    "min_words_per_line",
    "max_word_length",
    "filter_lorem_ipsum",
    "filter_javascript",
    "filter_curly_bracket",
    "filter_policy",
];

/// The C4 quality rules on lines and sentences, under datatrove's names.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct C4 {
    /// The word splitter, whose sentences are counted.
    pub words: WordSplitter,
    /// Whether the rules look at lines; at sentences otherwise.
    pub split_paragraph: bool,
    /// Whether `[12]`, `[edit]` and `[citation needed]` are taken out.
    pub remove_citations: bool,
    /// Fewest sentences in what is left; 0 turns the rule off.
    pub min_num_sentences: u64,
    /// Fewest words in a line, counted before citations are taken out; 0 turns the rule off.
    pub min_words_per_line: u64,
    /// Longest word in a line, in characters; 0 turns the rule off.
    pub max_word_length: u64,
    /// Which rules drop lines.
    #[serde(flatten)]
    pub lines: C4LineRules,
    /// Which rules drop documents.
    #[serde(flatten)]
    pub documents: C4DocumentRules,
}

/// Which of C4's rules drop lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct C4LineRules {
    /// Lines that do not end in `.`, `?`, `!` or a quote, or end in `...`.
    pub filter_no_terminal_punct: bool,
    /// Lines with "javascript".
    pub filter_javascript: bool,
    /// Lines on terms of use, privacy policies and cookies.
    pub filter_policy: bool,
}

/// Which of C4's rules drop documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct C4DocumentRules {
    /// Documents with "lorem ipsum".
    pub filter_lorem_ipsum: bool,
    /// Documents with `{`.
    pub filter_curly_bracket: bool,
}

impl C4 {
    /// The published rules.
    pub fn published(words: WordSplitter) -> Self {
        Self {
            words,
            split_paragraph: true,
            remove_citations: true,
            min_num_sentences: 5,
            min_words_per_line: 3,
            max_word_length: 1000,
            lines: C4LineRules {
                filter_no_terminal_punct: true,
                filter_javascript: true,
                filter_policy: true,
            },
            documents: C4DocumentRules {
                filter_lorem_ipsum: true,
                filter_curly_bracket: true,
            },
        }
    }

    /// Reads its table.
    pub(crate) fn parse(fields: &Fields<'_>) -> Result<Self, RecipeError> {
        let published = C4::published(fields.words()?);
        let flag = |key, default| Ok(fields.bool(key)?.unwrap_or(default));
        let whole = |key, default| Ok(fields.whole(key)?.unwrap_or(default));
        Ok(Self {
            words: published.words,
            split_paragraph: flag("split_paragraph", published.split_paragraph)?,
            remove_citations: flag("remove_citations", published.remove_citations)?,
            min_num_sentences: whole("min_num_sentences", published.min_num_sentences)?,
            min_words_per_line: whole("min_words_per_line", published.min_words_per_line)?,
            max_word_length: whole("max_word_length", published.max_word_length)?,
            lines: C4LineRules {
                filter_no_terminal_punct: flag(
                    "filter_no_terminal_punct",
                    published.lines.filter_no_terminal_punct,
                )?,
                filter_javascript: flag("filter_javascript", published.lines.filter_javascript)?,
                filter_policy: flag("filter_policy", published.lines.filter_policy)?,
            },
            documents: C4DocumentRules {
                filter_lorem_ipsum: flag(
                    "filter_lorem_ipsum",
                    published.documents.filter_lorem_ipsum,
                )?,
                filter_curly_bracket: flag(
                    "filter_curly_bracket",
                    published.documents.filter_curly_bracket,
                )?,
            },
        })
    }
}

impl Filter for C4 {
    fn name(&self) -> &'static str {
        NAME
    }

    fn apply(&self, document: &Document, scratch: &mut Scratch, metrics: &mut Metrics) -> Outcome {
        let text = &document.text;
        let mut page = Page::new(text, self);
        let reason = if self.split_paragraph {
            page.take_all(split_lines(text))
        } else {
            page.take_all(scratch.sentences(self.words, text).into_iter())
        };
        let reason = reason.or_else(|| self.judge_sentences(&page, scratch, metrics));
        if metrics.is_on() {
            metrics.note("lines", page.counts.to_json());
            metrics.note("n_sentences", scratch.count_sentences(self.words, text));
        }
        if let Some(reason) = reason {
            return Outcome::Drop(reason);
        }
        let left = strip(&page.kept);
        if metrics.is_on() {
            metrics.note("text_sha", to_hex(&sha256(left.as_bytes())[..8]));
        }
        if left == text {
            Outcome::Keep
        } else if left.len() == page.kept.len() {
            Outcome::Rewrite(page.kept)
        } else {
            Outcome::Rewrite(left.to_owned())
        }
    }
}

impl C4 {
    fn judge_sentences(
        &self,
        page: &Page<'_>,
        scratch: &mut Scratch,
        metrics: &mut Metrics,
    ) -> Option<Reason> {
        let enough = self.min_num_sentences;
        // No line has fewer than one sentence, so the sentences of many lines need no count.
        let mut sentences = page.counts.kept;
        if self.split_paragraph && (sentences < enough || metrics.is_on()) {
            let lines = page.ends.iter().scan(0, |start, &end| {
                let line = &page.kept[*start..end];
                *start = end + 1;
                Some(line)
            });
            let counts = lines.map(|line| scratch.count_sentences(self.words, line));
            sentences = counts.sum();
            metrics.note("n_sentences_kept", sentences);
        }
        let reason = Reason::measured("too_few_sentences", sentences as f64, enough as f64);
        (sentences < enough).then_some(reason)
    }
}

/// The phrases that drop lines and documents, in lower case.
const PHRASES: [(&str, Phrase); 8] = [
    ("lorem ipsum", Phrase::LoremIpsum),
    ("javascript", Phrase::Javascript),
    ("terms of use", Phrase::Policy),
    ("privacy policy", Phrase::Policy),
    ("cookie policy", Phrase::Policy),
    ("uses cookies", Phrase::Policy),
    ("use of cookies", Phrase::Policy),
    ("use cookies", Phrase::Policy),
];

#[derive(Clone, Copy)]
enum Phrase {
    LoremIpsum,
    Javascript,
    Policy,
}

static FINDER: LazyLock<AhoCorasick> = LazyLock::new(|| {
    AhoCorasick::builder()
        .ascii_case_insensitive(true)
        .match_kind(MatchKind::Standard)
        .build(PHRASES.map(|(phrase, _)| phrase))
        .expect("eight short phrases make a small automaton")
});

/// The only character beyond ASCII that Python's `lower()` makes a letter of a phrase of; the
/// dotted capital I becomes two characters, of which none of the phrases holds the second.
const KELVIN: char = '\u{212a}';

/// Which phrases a text holds, in any letter case.
#[derive(Clone, Copy, Default)]
struct Phrases {
    lorem_ipsum: bool,
    javascript: bool,
    policy: bool,
}

impl Phrases {
    fn of(text: &str) -> Self {
        let lower = if text.contains(KELVIN) {
            Cow::from(text.replace(KELVIN, "k"))
        } else {
            Cow::from(text)
        };
        let mut found = Self::default();
        // Matches may overlap: `javascripterms of use` holds two phrases.
        for hit in FINDER.find_overlapping_iter(lower.as_ref()) {
            match PHRASES[hit.pattern().as_usize()].1 {
                Phrase::LoremIpsum => found.lorem_ipsum = true,
                Phrase::Javascript => found.javascript = true,
                Phrase::Policy => found.policy = true,
            }
        }
        found
    }
}

/// What became of the lines.
#[derive(Default)]
struct LineCounts {
    total: u64,
    kept: u64,
    too_long_word: u64,
    no_terminal_punct: u64,
    too_few_words: u64,
    javascript: u64,
    policy: u64,
}

impl LineCounts {
    fn to_json(&self) -> serde_json::Value {
        json!({
            "total": self.total,
            "kept": self.kept,
            "too_long_word": self.too_long_word,
            "no_terminal_punc": self.no_terminal_punct,
            "too_few_words": self.too_few_words,
            "javascript": self.javascript,
            "policy": self.policy,
        })
    }
}

/// A document on its way through the rules on lines.
struct Page<'r> {
    rules: &'r C4,
    /// What stands anywhere in the document: lines of most need not be searched again.
    has_phrases: bool,
    has_brackets: bool,
    has_curly_brackets: bool,
    counts: LineCounts,
    /// The lines that are left, joined.
    kept: String,
    /// Where each of them ends.
    ends: Vec<usize>,
}

impl<'r> Page<'r> {
    fn new(text: &str, rules: &'r C4) -> Self {
        Self {
            rules,
            has_phrases: FINDER.is_match(text) || text.contains(KELVIN),
            has_brackets: memchr(b'[', text.as_bytes()).is_some(),
            has_curly_brackets: memchr(b'{', text.as_bytes()).is_some(),
            counts: LineCounts::default(),
            kept: String::with_capacity(text.len()),
            ends: Vec::new(),
        }
    }

    /// Takes line after line until one drops the document.
    fn take_all<'t>(&mut self, mut lines: impl Iterator<Item = &'t str>) -> Option<Reason> {
        lines.find_map(|line| self.take(strip(line)))
    }

    fn take(&mut self, stripped: &str) -> Option<Reason> {
        let rules = self.rules;
        self.counts.total += 1;
        if has_long_word(stripped, rules.max_word_length) {
            self.counts.too_long_word += 1;
            return None;
        }
        let line = if rules.remove_citations && self.has_brackets {
            remove_citations(stripped)
        } else {
            Cow::from(stripped)
        };
        if rules.lines.filter_no_terminal_punct && !ends_sentence(&line) {
            self.counts.no_terminal_punct += 1;
            return None;
        }
        if has_fewer_words(stripped, rules.min_words_per_line) {
            self.counts.too_few_words += 1;
            return None;
        }
        // A phrase can also come together where a citation was.
        let phrases = if self.has_phrases || matches!(line, Cow::Owned(_)) {
            Phrases::of(&line)
        } else {
            Phrases::default()
        };
        if rules.documents.filter_lorem_ipsum && phrases.lorem_ipsum {
            return Some(Reason::named("lorem_ipsum"));
        }
        if rules.lines.filter_javascript && phrases.javascript {
            self.counts.javascript += 1;
            return None;
        }
        if rules.documents.filter_curly_bracket && self.has_curly_brackets && line.contains('{') {
            return Some(Reason::named("curly_bracket"));
        }
        if rules.lines.filter_policy && phrases.policy {
            self.counts.policy += 1;
            return None;
        }
        self.keep(&line);
        None
    }

    fn keep(&mut self, line: &str) {
        if self.counts.kept > 0 {
            let between = if self.rules.split_paragraph {
                '\n'
            } else {
                ' '
            };
            self.kept.push(between);
        }
        self.kept.push_str(line);
        self.ends.push(self.kept.len());
        self.counts.kept += 1;
    }
}

fn has_long_word(line: &str, max: u64) -> bool {
    // No word has more characters than its line has bytes.
    max != 0
        && line.len() as u64 > max
        && split_whitespace(line).any(|word| count_chars(word) > max)
}

fn has_fewer_words(line: &str, min: u64) -> bool {
    let mut words = split_whitespace(line);
    (0..min).any(|_| words.next().is_none())
}

fn ends_sentence(line: &str) -> bool {
    line.ends_with(['.', '?', '!', '"', '\'']) && !line.ends_with("...")
}

/// Takes out what Wikipedia puts in square brackets: numbers of any script, none at all, `edit` and
/// `citation needed`. What comes together by that is not looked at again.
fn remove_citations(line: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let mut copied = 0;
    let mut from = 0;
    while let Some(at) = memchr(b'[', &line.as_bytes()[from..]) {
        let at = from + at;
        let inside = &line[at + 1..];
        let rest = inside
            .trim_start_matches(is_decimal)
            .strip_prefix(']')
            .or_else(|| inside.strip_prefix("edit]"))
            .or_else(|| inside.strip_prefix("citation needed]"));
        from = at + 1;
        if let Some(rest) = rest {
            out.push_str(&line[copied..at]);
            from = line.len() - rest.len();
            copied = from;
        }
    }
    if copied == 0 {
        return Cow::from(line);
    }
    out.push_str(&line[copied..]);
    Cow::from(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(filter: &C4, text: &str) -> Outcome {
        let document = Document {
            text: text.to_owned(),
            ..Document::default()
        };
        filter.apply(&document, &mut Scratch::default(), &mut Metrics::off())
    }

    fn rules() -> C4 {
        C4 {
            min_num_sentences: 0,
            ..C4::published(WordSplitter::Whitespace)
        }
    }

    /// `expected` is the new text.
    fn check(text: &str, expected: &str) {
        let expected = if text == expected {
            Outcome::Keep
        } else {
            Outcome::Rewrite(expected.to_owned())
        };
        assert_eq!(apply(&rules(), text), expected, "{text:?}");
    }

    fn check_dropped(text: &str, expected: &'static str) {
        let expected = Outcome::Drop(Reason::named(expected));
        assert_eq!(apply(&rules(), text), expected, "{text:?}");
    }

    #[test]
    fn lines_need_an_end_and_three_words() {
        check("Here it is.\nIs it there?", "Here it is.\nIs it there?");
        check("Here it is.\n\n", "Here it is.");
        check(
            "Here it is\n One two.\nGo on then... \nHe said \"no\"",
            "He said \"no\"",
        );
        check(" One two three!\u{85}Nothing here", "One two three!");
    }

    #[test]
    fn words_may_have_a_thousand_characters() {
        let word = "\u{e9}".repeat(1000);
        let text = format!("One {word} two.");
        check(&text, &text);
        check(&format!("One {word}e two."), "");
    }

    #[test]
    fn citations_are_taken_out_and_the_line_is_not_stripped_again() {
        check("One two three[12].", "One two three.");
        check(
            "One two[] three[edit][citation needed][\u{661}].",
            "One two three.",
        );
        check("One two [[1]] [a] [1 three.", "One two [] [a] [1 three.");
        check("One two three. [1]", "");
        // Words are counted before.
        check("One [1] two.", "One  two.");
    }

    #[test]
    fn phrases_count_in_any_letter_case() {
        check("We use JavaScript here.\nOne two three.", "One two three.");
        check("We use java[1]script here.", "");
        check(
            "See our Privacy Policy now.\nOne two three.",
            "One two three.",
        );
        check("We use coo\u{212a}ies here.", "");
        check_dropped("This is Lorem Ipsum text.", "lorem_ipsum");
    }

    #[test]
    fn a_bracket_counts_only_in_a_line_that_came_so_far() {
        check_dropped("One two { three.", "curly_bracket");
        check("One two { three\nOne two three.", "One two three.");
        check("In javascript { is one.\nOne two three.", "One two three.");
        check_dropped("We use cookies { here.", "curly_bracket");
    }

    #[test]
    fn every_line_is_a_sentence_at_least() {
        let filter = C4::published(WordSplitter::Whitespace);
        assert_eq!(
            apply(&filter, &["One two three."; 5].join("\n")),
            Outcome::Keep
        );
        let expected = Outcome::Drop(Reason::measured("too_few_sentences", 4.0, 5.0));
        assert_eq!(apply(&filter, &["One two three."; 4].join("\n")), expected);
    }
}
