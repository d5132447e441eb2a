//! The rule that keeps a URL in one piece.
//!
//! Source: `URL_PATTERN` of `spacy/lang/tokenizer_exceptions.py`, spaCy 3.8 (MIT; there after Diego
//! Perini's expression, MIT), read so that no part of a text is looked at more than twice: a host
//! has neither `@` nor the sign that ends it.

use super::tables::{Flags, Tables};

/// Whether `text`, which has no white space, is a URL, with or without its scheme.
pub(super) fn is_url(tables: &Tables, text: &str) -> bool {
    if !text.contains('.') {
        return false;
    }
    // What stands before a host: nothing, a scheme, or anything with an `@` behind it.
    let after_scheme = scheme_len(tables, text);
    let after_user = text.match_indices('@').map(|(at, _)| at + 1);
    [Some(0), after_scheme]
        .into_iter()
        .flatten()
        .chain(after_user.filter(|&at| at > 1))
        .any(|start| is_host_and_path(tables, &text[start..]))
}

/// The length of a scheme with its `://`.
fn scheme_len(tables: &Tables, text: &str) -> Option<usize> {
    let is_part = |c: char| matches!(c, '+' | '-' | '.' | '_') || tables.flags(c).any(Flags::WORD);
    let end = text.find(|c| !is_part(c))?;
    let long_enough = text[..end].chars().nth(1).is_some();
    (long_enough && text[end..].starts_with("://")).then_some(end + 3)
}

fn is_host_and_path(tables: &Tables, text: &str) -> bool {
    let end = text.find(['/', '?', '#', ':', '@']).unwrap_or(text.len());
    let (host, rest) = text.split_at(end);
    is_rest(tables, rest) && (is_domain(tables, host) || is_address(tables, host))
}

/// A port and a path, or one of them, or nothing.
fn is_rest(tables: &Tables, text: &str) -> bool {
    let path = match text.strip_prefix(':') {
        None => text,
        Some(port) => {
            let is_digit = |c: char| tables.flags(c).any(Flags::DIGIT);
            // Five digits at most: the look at a sixth bounds the work.
            let digits = port.chars().take(6).take_while(|&c| is_digit(c));
            let (count, len) =
                digits.fold((0, 0), |(count, len), c| (count + 1, len + c.len_utf8()));
            if !(2..=5).contains(&count) {
                return false;
            }
            &port[len..]
        }
    };
    path.is_empty() || path.starts_with(['/', '?', '#'])
}

/// Labels with full stops, and a top-level domain in lower case.
fn is_domain(tables: &Tables, host: &str) -> bool {
    let Some((labels, tld)) = host.rsplit_once('.') else {
        return false;
    };
    let mut count = 0;
    let is_tld = tld.chars().take(64).all(|c| {
        count += 1;
        tables.flags(c).any(Flags::TLD)
    });
    is_tld && (2..=63).contains(&count) && labels.split('.').all(is_label)
}

/// A label of 64 characters at most, with `_` and `-` inside only.
fn is_label(label: &str) -> bool {
    let is_outer = |c: char| c.is_ascii_alphanumeric() || ('\u{a1}'..='\u{ffff}').contains(&c);
    let mut count = 0;
    label.starts_with(is_outer)
        && label.ends_with(is_outer)
        && label.chars().take(65).all(|c| {
            count += 1;
            is_outer(c) || c == '_' || c == '-'
        })
        && count <= 64
}

/// Four numbers with full stops, outside the ranges that nobody outside can reach.
fn is_address(tables: &Tables, host: &str) -> bool {
    let is_digit = |c: char| tables.flags(c).any(Flags::DIGIT);
    let mut parts = host.split('.');
    let mut part = || parts.next().unwrap_or_default();
    let (a, b, c, d) = (part(), part(), part(), part());
    if parts.next().is_some() {
        return false;
    }
    let is_private = matches!((a, b), ("10" | "127", _) | ("169", "254") | ("192", "168"))
        || (a == "172" && is_172_private(b, is_digit));
    !is_private
        && is_number(a, 223, is_digit, Zeros::Refused)
        && is_number(b, 255, is_digit, Zeros::Allowed)
        && is_number(c, 255, is_digit, Zeros::Allowed)
        && is_number(d, 254, is_digit, Zeros::Refused)
}

fn is_172_private(text: &str, is_digit: impl Fn(char) -> bool) -> bool {
    let mut chars = text.chars();
    let (first, second) = (chars.next(), chars.next());
    chars.next().is_none()
        && match (first, second) {
            (Some('1'), Some('6'..='9')) | (Some('3'), Some('0' | '1')) => true,
            (Some('2'), Some(second)) => is_digit(second),
            _ => false,
        }
}

/// Whether a number may begin with 0, be 0, or have a digit of another script there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Zeros {
    Allowed,
    Refused,
}

/// Whether `text` is a number up to `most`, as the patterns for octets have it: `\d` in them is a
/// digit of any script.
fn is_number(text: &str, most: u32, is_digit: impl Fn(char) -> bool, zeros: Zeros) -> bool {
    let mut chars = text.chars();
    let digits = [chars.next(), chars.next(), chars.next()];
    if chars.next().is_some() {
        return false;
    }
    let is_first = |c: char| match zeros {
        Zeros::Allowed => is_digit(c),
        Zeros::Refused => ('1'..='9').contains(&c),
    };
    match digits {
        [Some(a), None, _] => is_first(a),
        [Some(a), Some(b), None] => is_first(a) && is_digit(b),
        [Some('1'), Some(b), Some(c)] => is_digit(b) && is_digit(c),
        [Some('2'), Some(b), Some(c)] => {
            let (tens, ones) = (most / 10 % 10, most % 10);
            match b.to_digit(10) {
                Some(b) if b < tens => is_digit(c),
                Some(b) if b == tens => c.to_digit(10).is_some_and(|c| c <= ones),
                _ => false,
            }
        }
        _ => false,
    }
}
