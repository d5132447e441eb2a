//! RefinedWeb's line-wise corrections: lines of menus and counters go, and documents that lose much.
//!
//! RefinedWeb (Penedo et al. 2023, appendix G.2) describes the rules and no thresholds; these are
//! those of DCLM's reimplementation (`baselines_configs/refinedweb.yaml`, `mappers/modifiers.py`).
//! Lines end at `\n` only. Each rule looks at what the one before it left, without white space at both ends of the
//! document:
//!
//! 1. more than half of a line's characters are upper case: the line goes;
//! 2. all of its characters are digits: it goes;
//! 3. it is a counter, such as `3 likes`: it goes;
//! 4. it has fewer than two words, and is not empty: it goes;
//! 5. in lines of at most ten words, some phrases are cut out, and the line goes if nothing is left;
//! 6. the document goes if it lost more than 5 % of its words.
//!
//! For the last rule, words stand between ASCII white space and start with a letter or number; DCLM
//! takes them from fastText. All other rules use Python's `str.split()`.

mod counter;
mod phrases;

use std::borrow::Cow;

use serde::Serialize;

use crate::document::Document;
use crate::filter::{Filter, Metrics, Outcome, Reason};
use crate::recipe::RecipeError;
use crate::recipe::fields::Fields;
use crate::text::digits::{is_decimal, is_word};
use crate::text::{is_space, split_whitespace};
use crate::words::Scratch;
use counter::is_counter;
use phrases::Place;

/// The name of this filter in recipes.
pub(crate) const NAME: &str = "refinedweb-lines";
/// The keys of its table in recipes.
pub(crate) const KEYS: &[&str] = &[
    "name",
    "max_uppercase_ratio",
    "max_numeric_ratio",
    "remove_counters",
    "min_line_words",
    "max_phrase_line_words",
    "phrases",
    "suffix_phrases",
    "prefix_phrases",
    "max_removed_ratio",
    "max_consecutive_newlines",
];

/// RefinedWeb's line-wise corrections; a threshold of 0 turns its rule off.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RefinedwebLines {
    /// Greatest share of upper case characters in a line.
    pub max_uppercase_ratio: f64,
    /// Greatest share of digits in a line.
    pub max_numeric_ratio: f64,
    /// Whether lines that are counters go.
    pub remove_counters: bool,
    /// Fewest words of a line that is not empty.
    pub min_line_words: u64,
    /// Most words of a line that phrases are cut out of.
    pub max_phrase_line_words: u64,
    /// Phrases that are cut out anywhere; `.` stands for any character, and case does not matter.
    pub phrases: Vec<String>,
    /// The same at the ends of lines.
    pub suffix_phrases: Vec<String>,
    /// The same at the starts of lines.
    pub prefix_phrases: Vec<String>,
    /// Greatest share of words that a document may lose.
    pub max_removed_ratio: f64,
    /// Longest run of `\n`, cut down before the lines are looked at; 0 leaves all. RefinedWeb sets 2,
    /// long before these rules.
    pub max_consecutive_newlines: u64,
}

impl RefinedwebLines {
    /// DCLM's thresholds.
    pub fn published() -> Self {
        Self {
            max_uppercase_ratio: 0.5,
            max_numeric_ratio: 0.999_999,
            remove_counters: true,
            min_line_words: 2,
            max_phrase_line_words: 10,
            phrases: vec!["items in cart".to_owned()],
            suffix_phrases: vec!["Read more...".to_owned()],
            prefix_phrases: vec!["Sign-in".to_owned()],
            max_removed_ratio: 0.05,
            max_consecutive_newlines: 0,
        }
    }

    /// Reads its table.
    pub(crate) fn parse(fields: &Fields<'_>) -> Result<Self, RecipeError> {
        let default = Self::published();
        let number = |key, value| Ok(fields.number(key)?.unwrap_or(value));
        let whole = |key, value| Ok(fields.whole(key)?.unwrap_or(value));
        let strings = |key, value| {
            let phrases: Vec<String> = fields.strings(key)?.unwrap_or(value);
            if phrases.iter().any(String::is_empty) {
                return Err(fields.wrong(key, "a list of phrases, and none empty"));
            }
            Ok(phrases)
        };
        Ok(Self {
            max_uppercase_ratio: number("max_uppercase_ratio", default.max_uppercase_ratio)?,
            max_numeric_ratio: number("max_numeric_ratio", default.max_numeric_ratio)?,
            remove_counters: fields.bool("remove_counters")?.unwrap_or(true),
            min_line_words: whole("min_line_words", default.min_line_words)?,
            max_phrase_line_words: whole("max_phrase_line_words", default.max_phrase_line_words)?,
            phrases: strings("phrases", default.phrases)?,
            suffix_phrases: strings("suffix_phrases", default.suffix_phrases)?,
            prefix_phrases: strings("prefix_phrases", default.prefix_phrases)?,
            max_removed_ratio: number("max_removed_ratio", default.max_removed_ratio)?,
            max_consecutive_newlines: whole("max_consecutive_newlines", 0)?,
        })
    }
}

impl Filter for RefinedwebLines {
    fn name(&self) -> &'static str {
        NAME
    }

    fn apply(&self, document: &Document, _: &mut Scratch, metrics: &mut Metrics) -> Outcome {
        let text = &document.text;
        let before = count_words(text);
        metrics.note("words_before", before);
        let corrected = self.correct(text, metrics);
        let after = corrected.as_deref().map_or(0, count_words);
        // Texts have far fewer than 2^53 words, so doubles hold the counts exactly.
        let removed = (before as f64 - after as f64) / before as f64;
        metrics.note("words_after", after);
        metrics.note("removed_ratio", removed);
        let limit = self.max_removed_ratio;
        match corrected {
            // DCLM drops a document without words, and one of which nothing is left.
            None => Outcome::Drop(Reason::named("no_lines_left")),
            Some(_) if before == 0 => Outcome::Drop(Reason::named("no_words")),
            Some(_) if limit != 0.0 && removed > limit => {
                Outcome::Drop(Reason::measured("too_many_words_removed", removed, limit))
            }
            Some(corrected) if corrected == *text => Outcome::Keep,
            Some(corrected) => Outcome::Rewrite(corrected),
        }
    }
}

impl RefinedwebLines {
    /// The text that rules 1 to 5 leave, if they leave any.
    fn correct(&self, text: &str, metrics: &mut Metrics) -> Option<String> {
        let limited = limit_newlines(text, self.max_consecutive_newlines);
        let mut lines: Vec<Cow<'_, str>> = limited.split('\n').map(Cow::Borrowed).collect();
        let mut note = |name: &str, lines_before: usize, lines: &[Cow<'_, str>]| {
            metrics.note(name, lines_before.saturating_sub(lines.len()));
        };

        let count = lines.len();
        let limit = self.max_uppercase_ratio;
        lines.retain(|line| limit == 0.0 || share(line, char::is_uppercase) <= limit);
        note("uppercase_lines", count, &lines);
        strip_document(&mut lines)?;

        let count = lines.len();
        let limit = self.max_numeric_ratio;
        lines.retain(|line| limit == 0.0 || share(line, is_digit) <= limit);
        note("numeric_lines", count, &lines);
        strip_document(&mut lines)?;

        let count = lines.len();
        lines.retain(|line| !(self.remove_counters && is_counter(line)));
        note("counter_lines", count, &lines);
        strip_document(&mut lines)?;

        let count = lines.len();
        let min = usize::try_from(self.min_line_words).unwrap_or(usize::MAX);
        lines.retain(|line| line.is_empty() || has_words(line, min));
        note("short_lines", count, &lines);

        let count = lines.len();
        for (place, phrases) in [
            (Place::Anywhere, &self.phrases),
            (Place::Suffix, &self.suffix_phrases),
            (Place::Prefix, &self.prefix_phrases),
        ] {
            if !phrases.is_empty() {
                self.cut_phrases(place, phrases, &mut lines);
                strip_document(&mut lines)?;
            }
        }
        note("phrase_lines", count, &lines);
        let corrected = lines.join("\n");
        (!corrected.is_empty()).then_some(corrected)
    }

    fn cut_phrases(&self, place: Place, phrases: &[String], lines: &mut Vec<Cow<'_, str>>) {
        let most = usize::try_from(self.max_phrase_line_words).unwrap_or(usize::MAX);
        lines.retain_mut(|line| {
            if line.is_empty() || has_words(line, most.saturating_add(1)) {
                return true;
            }
            if let Some(cut) = phrases::cut(line, place, phrases) {
                *line = Cow::Owned(cut);
            }
            !line.chars().all(is_space)
        });
    }
}

/// What Python's `"\n".join(lines).strip()` leaves; `None` if that is nothing.
fn strip_document(lines: &mut Vec<Cow<'_, str>>) -> Option<()> {
    let is_blank = |line: &Cow<'_, str>| line.chars().all(is_space);
    let first = lines.iter().position(|line| !is_blank(line))?;
    let last = lines.iter().rposition(|line| !is_blank(line))?;
    lines.truncate(last + 1);
    lines.drain(..first);
    trim(lines.first_mut()?, |line| line.trim_start_matches(is_space));
    trim(lines.last_mut()?, |line| line.trim_end_matches(is_space));
    Some(())
}

fn trim(line: &mut Cow<'_, str>, trimmed: impl Fn(&str) -> &str) {
    match line {
        Cow::Borrowed(line) => *line = trimmed(line),
        Cow::Owned(line) => *line = trimmed(line).to_owned(),
    }
}

/// The text with no run of `\n` longer than `most`.
fn limit_newlines(text: &str, most: u64) -> Cow<'_, str> {
    let Ok(most) = usize::try_from(most) else {
        return Cow::Borrowed(text);
    };
    if most == 0 || !text.contains(&"\n".repeat(most + 1)) {
        return Cow::Borrowed(text);
    }
    let mut limited = String::with_capacity(text.len());
    let mut run = 0;
    for c in text.chars() {
        run = if c == '\n' { run + 1 } else { 0 };
        if run <= most {
            limited.push(c);
        }
    }
    Cow::Owned(limited)
}

/// The share of a line's characters that `is` is true of; 0 for an empty line.
fn share(line: &str, is: fn(char) -> bool) -> f64 {
    let (mut all, mut some) = (0_u32, 0_u32);
    for c in line.chars() {
        all += 1;
        some += u32::from(is(c));
    }
    f64::from(some) / f64::from(all.max(1))
}

/// Whether a line has at least `count` words.
fn has_words(line: &str, count: usize) -> bool {
    count == 0 || split_whitespace(line).nth(count - 1).is_some()
}

/// The words of fastText's tokenizer that start with a letter or number.
fn count_words(text: &str) -> u64 {
    let is_end = |c: char| matches!(c, ' ' | '\n' | '\r' | '\t' | '\u{b}' | '\u{c}' | '\0');
    let words = text.split(is_end).filter_map(|word| word.chars().next());
    words.filter(|&first| is_alphanumeric(first)).count() as u64
}

/// Python's `str.isalnum()` of one character.
fn is_alphanumeric(c: char) -> bool {
    is_word(c) && c != '_'
}

/// Python's `str.isdigit()` of one character: decimal digits, and those in circles or raised.
fn is_digit(c: char) -> bool {
    let code = u32::from(c);
    let is_other = || {
        let mut ranges = OTHER_DIGITS.iter();
        ranges.any(|&(first, last)| (first..=last).contains(&code))
    };
    is_decimal(c) || (!c.is_ascii() && is_other())
}

/// First and last code point of each run of digits that are not decimal.
///
/// Origin: `str.isdigit` and not `str.isdecimal` in Python 3.11 (Unicode 14.0).
#[rustfmt::skip]
const OTHER_DIGITS: [(u32, u32); 20] = [
    (0xb2, 0xb3), (0xb9, 0xb9), (0x1369, 0x1371), (0x19da, 0x19da), (0x2070, 0x2070),
    (0x2074, 0x2079), (0x2080, 0x2089), (0x2460, 0x2468), (0x2474, 0x247c), (0x2488, 0x2490),
    (0x24ea, 0x24ea), (0x24f5, 0x24fd), (0x24ff, 0x24ff), (0x2776, 0x277e), (0x2780, 0x2788),
    (0x278a, 0x2792), (0x10a40, 0x10a43), (0x10e60, 0x10e68), (0x11052, 0x1105a), (0x1f100, 0x1f10a),
];

#[cfg(test)]
mod tests;
