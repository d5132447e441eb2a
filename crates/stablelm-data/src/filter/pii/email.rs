//! Finds what datatrove's regular expression for e-mail addresses matches.
//!
//! The expression is the known one of RFC 5322 without quoted names. A match is found from its `@`:
//! what may stand before and after is decided by single characters, so there is nothing to search.

use std::ops::Range;

use memchr::memchr;

use super::ipv4::{leading_octet, octet_len};
use crate::text::digits::is_word;

/// The first match at or after `from`.
pub(super) fn find(text: &str, from: usize) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let mut next = from;
    while let Some(at) = memchr(b'@', &bytes[next..]) {
        let at = next + at;
        if let Some(start) = name_start(text, from, at)
            && let Some(len) = domain_len(&bytes[at + 1..])
        {
            return Some(start..at + 1 + len);
        }
        next = at + 1;
    }
    None
}

/// Where a name that ends at `at` can start at the earliest: words joined by single dots, from a
/// boundary `\b` on.
fn name_start(text: &str, from: usize, at: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut start = None;
    let mut place = at;
    while place > from {
        let byte = bytes[place - 1];
        let before_dot = place < at && bytes[place] == b'.';
        if !(is_name(byte) || byte == b'.' && place < at && !before_dot) {
            break;
        }
        place -= 1;
        if byte != b'.' && is_boundary(text, place) {
            start = Some(place);
        }
    }
    start
}

/// Whether a word of Python starts or ends at `place`, where an ASCII character stands.
fn is_boundary(text: &str, place: usize) -> bool {
    let after = is_word(text.as_bytes()[place].into());
    let before = text[..place].chars().next_back().is_some_and(is_word);
    before != after
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+/=?^_`{|}~-".contains(&byte)
}

/// The length of the host name or address in brackets that `bytes` start with.
fn domain_len(bytes: &[u8]) -> Option<usize> {
    if bytes.first() == Some(&b'[') {
        return address_len(&bytes[1..]).map(|len| len + 1);
    }
    // Labels with a dot after them, and where the last of those started.
    let (mut place, mut last_label) = (0, None);
    loop {
        let (run, label) = label_len(&bytes[place..]);
        if label > 0 && label == run && bytes.get(place + run) == Some(&b'.') {
            last_label = Some(place);
            place += run + 1;
            continue;
        }
        if label > 0 {
            return (place > 0).then_some(place + label);
        }
        // Nothing follows the last dot: the label before it is the last, if it isn't the only one.
        let label = last_label.filter(|&label| label > 0)?;
        debug_assert!(label < place, "a label and a dot come before");
        return Some(place - 1);
    }
}

/// The letters, digits and hyphens that `bytes` start with; and how many of them make a label, which
/// starts and ends with a letter or digit.
fn label_len(bytes: &[u8]) -> (usize, usize) {
    let is_label = |&&byte: &&u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let run = bytes.iter().take_while(is_label).count();
    if bytes.first() == Some(&b'-') {
        return (run, 0);
    }
    let hyphens = bytes[..run].iter().rev().take_while(|&&byte| byte == b'-');
    (run, run - hyphens.count())
}

/// The length of an IPv4 address and `]`, where the last number may also be a name with a colon.
fn address_len(bytes: &[u8]) -> Option<usize> {
    let mut place = 0;
    for _ in 0..3 {
        place += leading_octet(&bytes[place..])? + 1;
    }
    let rest = &bytes[place..];
    let end = memchr(b']', rest)?;
    let inside = &rest[..end];
    let is_octet = octet_len(inside) == Some(end);
    let is_tagged = inside.strip_suffix(b":").is_some_and(|name| {
        let (run, label) = label_len(name);
        // Unlike a label, it may start with a hyphen.
        let ends_well = name.last().is_some_and(u8::is_ascii_alphanumeric);
        run == name.len() && (label > 0 || name.starts_with(b"-")) && ends_well
    });
    (is_octet || is_tagged).then_some(place + end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_are_those_of_the_expression() {
        fn check(text: &str, expected: &[&str]) {
            let mut found = Vec::new();
            let mut from = 0;
            while let Some(at) = find(text, from) {
                found.push(&text[at.clone()]);
                from = at.end;
            }
            assert_eq!(found, expected, "{text:?}");
        }
        check("", &[]);
        check("a@b", &[]);
        check("a@b.c", &["a@b.c"]);
        check("mail a.b+c@d-e.fg.h.", &["a.b+c@d-e.fg.h"]);
        check("a..b@c.d", &["b@c.d"]);
        check(".a@c.d", &["a@c.d"]);
        check("a.@c.d", &[]);
        check("a@b@c.d", &["b@c.d"]);
        check("a@b.c@d.e", &["a@b.c"]);
        check("!a@c.d", &["a@c.d"]);
        check("a!b@c.d", &["a!b@c.d"]);
        check("!@c.d", &[]);
        check("\u{e9}a@c.d", &[]);
        check("\u{e9}!a@c.d", &["!a@c.d"]);
        check("\u{e9}-@c.d", &["-@c.d"]);
        check("a@-c.d", &[]);
        check("a@c-.d", &[]);
        check("a@c.-d", &[]);
        check("a@c.d-", &["a@c.d"]);
        check("a@c.d-.e", &["a@c.d"]);
        check("a@c.d..e", &["a@c.d"]);
        check("a@c..d", &[]);
        check("a@c.d.-e", &["a@c.d"]);
        check("a@[1.2.3.4]", &["a@[1.2.3.4]"]);
        check("a@[1.2.3.256]", &[]);
        check("a@[01.002.3.x-y:]", &["a@[01.002.3.x-y:]"]);
        check("a@[1.2.3.-y:]", &["a@[1.2.3.-y:]"]);
        check("a@[1.2.3.y-:]", &[]);
        check("a@[1.2.3.:]", &[]);
        check("a@[1.2.3.4", &[]);
    }
}
