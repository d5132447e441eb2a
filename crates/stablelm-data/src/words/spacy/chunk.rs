//! Cuts one chunk, that is what stands between white space, as spaCy's tokenizer does.
//!
//! Source: `_split_affixes` and `_attach_tokens` of `spacy/tokenizer.pyx`, spaCy 3.8, with its
//! regular expressions turned into code. The tokens of a chunk leave no gap, so their ends say all.

use super::tables::{Flags, Tables};
use super::url;

/// Whether exceptions count; without them spaCy cuts the exceptions themselves, see `matcher`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exceptions {
    /// As in a text.
    Used,
    /// As when an exception is added.
    Ignored,
}

/// Appends where the tokens of `chunk` end. `suffixes` is only room to work in.
pub(super) fn cut(
    tables: &Tables,
    chunk: &str,
    exceptions: Exceptions,
    ends: &mut Vec<usize>,
    suffixes: &mut Vec<usize>,
) {
    let exception = |text: &str| match exceptions {
        Exceptions::Used => tables.exception(text),
        Exceptions::Ignored => None,
    };
    suffixes.clear();
    let (mut first, mut last) = (0, chunk.len());
    let mut stem = exception(chunk);
    while first < last && stem.is_none() {
        let text = &chunk[first..last];
        let prefix = prefix_len(tables, text);
        let rest = &text[prefix..];
        if prefix > 0 {
            stem = exception(rest);
            if stem.is_some() {
                ends.push(first + prefix);
                first += prefix;
                break;
            }
        }
        let suffix = suffix_len(tables, rest);
        if prefix + suffix == 0 {
            break;
        }
        if suffix > 0 {
            // An exception may begin with what looks like a prefix.
            stem = exception(&text[..text.len() - suffix]);
            if stem.is_some() {
                suffixes.push(last);
                last -= suffix;
                break;
            }
            suffixes.push(last);
            last -= suffix;
        }
        if prefix > 0 {
            ends.push(first + prefix);
            first += prefix;
        }
        stem = exception(&chunk[first..last]);
    }
    let stem_text = &chunk[first..last];
    match stem {
        Some(stem) => ends.extend(stem.iter().map(|&end| first + usize::from(end))),
        None if stem_text.is_empty() => {}
        None if url::is_url(tables, stem_text) => ends.push(last),
        None => cut_at_infixes(tables, stem_text, first, ends),
    }
    ends.extend(suffixes.iter().rev());
}

/// Whether one of the rules for prefixes, suffixes and infixes finds something in `text`.
pub(super) fn has_affix(tables: &Tables, text: &str) -> bool {
    let mut before = None;
    prefix_len(tables, text) > 0
        || suffix_len(tables, text) > 0
        || text.char_indices().any(|(at, c)| {
            let infix = infix_len(tables, before, &text[at..]);
            before = Some(c);
            infix > 0
        })
}

fn prefix_len(tables: &Tables, text: &str) -> usize {
    let Some(first) = text.chars().next() else {
        return 0;
    };
    let next = || text.as_bytes().get(1).copied();
    match first {
        '+' if !next().is_some_and(|byte| byte.is_ascii_digit()) => 1,
        '.' => several_dots(text.bytes()),
        'U' if text.starts_with("US$") => 3,
        'C' | 'A' if next() == Some(b'$') => 2,
        _ if tables.flags(first).any(Flags::PREFIX) => first.len_utf8(),
        _ => 0,
    }
}

/// The length of a run of two or more full stops, else 0.
fn several_dots(bytes: impl Iterator<Item = u8>) -> usize {
    match bytes.take_while(|&byte| byte == b'.').count() {
        1 => 0,
        dots => dots,
    }
}

/// The length of the longest suffix.
fn suffix_len(tables: &Tables, text: &str) -> usize {
    let Some(last) = text.chars().next_back() else {
        return 0;
    };
    let before = &text[..text.len() - last.len_utf8()];
    match last {
        '.' => match several_dots(text.bytes().rev()) {
            0 => usize::from(is_last_dot_apart(tables, before)),
            dots => dots,
        },
        '+' => usize::from(ends_with_digit(before)),
        's' | 'S' if before.ends_with('\'') => 2,
        's' | 'S' if before.ends_with('\u{2019}') => 4,
        '\u{2026}' if before.ends_with(last) => 6,
        _ => {
            let flags = tables.flags(last);
            let unit = if flags.any(Flags::UNIT_END) {
                unit_len(tables.units(last), text)
            } else {
                0
            };
            match unit {
                0 if flags.any(Flags::SUFFIX) => last.len_utf8(),
                unit => unit,
            }
        }
    }
}

/// Whether a single full stop is a suffix of what stands `before` it.
fn is_last_dot_apart(tables: &Tables, before: &str) -> bool {
    let mut chars = before.chars().rev();
    let Some(last) = chars.next() else {
        return false;
    };
    let flags = tables.flags(last);
    if flags.any(Flags::BEFORE_LAST_DOT) {
        return true;
    }
    let Some(second) = chars.next() else {
        return false;
    };
    (flags.any(Flags::UPPER) && tables.flags(second).any(Flags::UPPER))
        || (second == '°' && matches!(last, 'F' | 'f' | 'C' | 'c' | 'K' | 'k'))
}

fn unit_len(units: &[&str], text: &str) -> usize {
    let is_unit = |unit: &&&str| text.strip_suffix(**unit).is_some_and(ends_with_digit);
    units.iter().find(is_unit).map_or(0, |unit| unit.len())
}

fn ends_with_digit(text: &str) -> bool {
    text.bytes()
        .next_back()
        .is_some_and(|byte| byte.is_ascii_digit())
}

/// Appends the ends of the tokens of `text`, which begins at `offset` of the chunk.
fn cut_at_infixes(tables: &Tables, text: &str, offset: usize, ends: &mut Vec<usize>) {
    let mut start = 0;
    let mut at = 0;
    let mut before = None;
    while let Some(c) = text[at..].chars().next() {
        let infix = infix_len(tables, before, &text[at..]);
        // spaCy takes no infix from the start of a text, and does not look at its inside either.
        if infix > 0 && at > 0 {
            if start < at {
                ends.push(offset + at);
            }
            start = at + infix;
            ends.push(offset + start);
        }
        if infix > c.len_utf8() {
            before = text[..at + infix].chars().next_back();
            at += infix;
        } else {
            before = Some(c);
            at += c.len_utf8();
        }
    }
    if start < text.len() {
        ends.push(offset + text.len());
    }
}

/// The length of the infix that `text` begins with, where `before` is the character before it.
fn infix_len(tables: &Tables, before: Option<char>, text: &str) -> usize {
    let mut chars = text.chars();
    let Some(first) = chars.next() else {
        return 0;
    };
    if first.is_ascii_alphanumeric() {
        return 0;
    }
    let flags = |c: Option<char>| c.map_or(Flags::default(), |c| tables.flags(c));
    let is_digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
    let is_alpha = |c: Option<char>| flags(c).any(Flags::ALPHA);
    let next = chars.clone().next();
    match first {
        '.' => match several_dots(text.bytes()) {
            0 if flags(before).any(Flags::BEFORE_INNER_DOT) => {
                usize::from(flags(next).any(Flags::AFTER_INNER_DOT))
            }
            dots => dots,
        },
        '+' | '-' | '*' | '^' if is_digit(before) && (is_digit(next) || next == Some('-')) => 1,
        ',' if is_alpha(before) => usize::from(is_alpha(next)),
        '-' | '~' | '\u{2013}' | '\u{2014}' if is_alpha(before) || is_digit(before) => {
            let longest = match first {
                '-' => 3,
                '\u{2014}' => 2,
                _ => 1,
            };
            let mut rest = chars;
            for count in 1..=longest {
                match rest.next() {
                    next if is_alpha(next) => return count * first.len_utf8(),
                    Some(next) if next == first => {}
                    _ => break,
                }
            }
            0
        }
        ':' | '<' | '>' | '=' | '/' if is_alpha(before) || is_digit(before) => {
            usize::from(is_alpha(next))
        }
        _ if tables.flags(first).any(Flags::INFIX) => first.len_utf8(),
        _ => 0,
    }
}
