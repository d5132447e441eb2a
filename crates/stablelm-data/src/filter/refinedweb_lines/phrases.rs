//! Phrases that are cut out of lines, with a white space character before or behind them.
//!
//! As DCLM's `substring_line_modifier` has them: Python regular expressions that ignore case, in which
//! a phrase is not escaped, so that each `.` of `Read more...` is any character.

use crate::text::is_space;

/// Where in a line a phrase is cut out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Everywhere, with one white space character before it.
    Anywhere,
    /// At the start, with one behind it.
    Prefix,
    /// At the end, with one before it.
    Suffix,
}

/// The line without the phrases; `None` where none stands in it.
pub(super) fn cut(line: &str, place: Place, phrases: &[String]) -> Option<String> {
    match place {
        Place::Anywhere => cut_anywhere(line, phrases),
        Place::Prefix => {
            let rest = &line[length(line, phrases)?..];
            Some(rest.strip_prefix(is_space).unwrap_or(rest).to_owned())
        }
        Place::Suffix => {
            let is_suffix = |at: usize| {
                let rest = &line[at..];
                let mut alternatives = phrases.iter();
                alternatives.any(|phrase| match_len(rest, phrase) == Some(rest.len()))
            };
            let at = line
                .char_indices()
                .map(|(at, _)| at)
                .find(|&at| is_suffix(at))?;
            let before = &line[..at];
            Some(before.strip_suffix(is_space).unwrap_or(before).to_owned())
        }
    }
}

fn cut_anywhere(line: &str, phrases: &[String]) -> Option<String> {
    let mut cut = String::new();
    let (mut kept, mut at) = (0, 0);
    while let Some(c) = line[at..].chars().next() {
        match length(&line[at..], phrases) {
            Some(length) if length > 0 => {
                let before = &line[kept..at];
                cut.push_str(before.strip_suffix(is_space).unwrap_or(before));
                at += length;
                kept = at;
            }
            _ => at += c.len_utf8(),
        }
    }
    (kept > 0).then(|| cut + &line[kept..])
}

/// Bytes of `text` that the first phrase to match at its start takes.
fn length(text: &str, phrases: &[String]) -> Option<usize> {
    phrases.iter().find_map(|phrase| match_len(text, phrase))
}

fn match_len(text: &str, phrase: &str) -> Option<usize> {
    let mut rest = text.chars();
    phrase
        .chars()
        .all(|expected| {
            let found = rest.next();
            found.is_some_and(|found| expected == '.' || fold(found) == fold(expected))
        })
        .then(|| text.len() - rest.as_str().len())
}

/// What Python's `re.IGNORECASE` takes for the same letter of ASCII.
fn fold(c: char) -> char {
    match c {
        '\u{130}' | '\u{131}' => 'i',
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        c if c.is_ascii() => c.to_ascii_lowercase(),
        c => c.to_lowercase().next().unwrap_or(c),
    }
}
