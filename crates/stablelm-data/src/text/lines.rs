//! Lines as Python's `str.splitlines()` cuts them.

use memchr::{memchr, memchr_iter};

/// The lines of Python's `str.splitlines()`: without their ends, and none after a final end.
pub(crate) fn split_lines(text: &str) -> impl Iterator<Item = &str> {
    let bytes = text.as_bytes();
    let find_feed = |from: usize| memchr(b'\n', &bytes[from..]).map(|at| (from + at, 1));
    let find_odd = |from: usize| find_odd_end(&bytes[from..]).map(|(at, len)| (from + at, len));
    let mut start = 0;
    // Place and length of the next ends of both kinds: most texts have no odd ones.
    let (mut feed, mut odd) = (find_feed(0), find_odd(0));
    std::iter::from_fn(move || {
        if start == bytes.len() {
            return None;
        }
        let line = start;
        let (end, len) = match (feed, odd) {
            (Some(feed), Some(odd)) => feed.min(odd),
            (feed, odd) => feed.or(odd).unwrap_or((bytes.len(), 0)),
        };
        start = end + len;
        if bytes[end..].starts_with(b"\r\n") {
            start += 1;
        }
        if feed.is_some_and(|(at, _)| at < start) {
            feed = find_feed(start);
        }
        if odd.is_some_and(|(at, _)| at < start) {
            odd = find_odd(start);
        }
        Some(&text[line..end])
    })
}

/// What lies between line feeds, as Python's `text.split("\n")` has it.
pub(crate) fn split_at_feeds(text: &str) -> impl Iterator<Item = &str> {
    let ends = memchr_iter(b'\n', text.as_bytes()).chain([text.len()]);
    ends.scan(0, |start, end| {
        let line = &text[*start..end];
        *start = end + 1;
        Some(line)
    })
}

/// Place and length of the first line end that is no line feed.
fn find_odd_end(bytes: &[u8]) -> Option<(usize, usize)> {
    // Blocks without any such byte, nearly all of them, are passed by vector instructions.
    const BLOCK: usize = 32;
    let mut at = 0;
    while at < bytes.len() {
        let end = bytes.len().min(at + BLOCK);
        if bytes[at..end]
            .iter()
            .fold(false, |any, &byte| any | may_start_an_end(byte))
        {
            let found = (at..end).find_map(|at| Some((at, odd_end_len(&bytes[at..])?)));
            if found.is_some() {
                return found;
            }
        }
        at = end;
    }
    None
}

#[expect(
    clippy::needless_bitwise_bool,
    reason = "vector instructions have no lazy operators"
)]
fn may_start_an_end(byte: u8) -> bool {
    let (feeds, separators) = (byte.wrapping_sub(0x0b), byte.wrapping_sub(0x1c));
    (feeds < 3) | (separators < 3) | (byte == 0xc2) | (byte == 0xe2)
}

fn odd_end_len(bytes: &[u8]) -> Option<usize> {
    match bytes {
        [b'\x0b'..=b'\r' | b'\x1c'..=b'\x1e', ..] => Some(1),
        // U+0085, U+2028 and U+2029.
        [0xc2, 0x85, ..] => Some(2),
        [0xe2, 0x80, 0xa8 | 0xa9, ..] => Some(3),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_where_python_ends_them() {
        fn check(text: &str, expected: &[&str]) {
            assert_eq!(split_lines(text).collect::<Vec<_>>(), expected, "{text:?}");
        }
        check("", &[]);
        check("\n", &[""]);
        check("\r", &[""]);
        check("\r\n", &[""]);
        check("\r\n\r\n", &["", ""]);
        check("a", &["a"]);
        check("a\n", &["a"]);
        check("a\n\nb", &["a", "", "b"]);
        check("a\r\nb\rc\n\rd", &["a", "b", "c", "", "d"]);
        check("a\r\rb\r\n", &["a", "", "b"]);
        check(
            "a\u{b}b\u{c}c\u{1c}d\u{1d}e\u{1e}f\u{85}g\u{2028}h\u{2029}i",
            &["a", "b", "c", "d", "e", "f", "g", "h", "i"],
        );
        check("a\u{1f}b", &["a\u{1f}b"]);
        check(
            "\u{2026}\u{e9}\u{2028}\u{2029}\n\u{e9}",
            &["\u{2026}\u{e9}", "", "", "\u{e9}"],
        );
    }

    #[test]
    fn line_feeds_lie_between_lines() {
        for text in ["", "\n", "a", "a\n\nb\r\n", "\n\u{2028}\n\u{e9}"] {
            let expected: Vec<_> = text.split('\n').collect();
            assert_eq!(split_at_feeds(text).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn only_the_known_characters_end_a_line() {
        for c in '\0'..=char::MAX {
            // The second place lies in another block.
            let text = format!("a{c}b{}{c}c", "-".repeat(31));
            let ends = matches!(
                c,
                '\n'..='\r' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}'
            );
            let expected = if ends { 3 } else { 1 };
            assert_eq!(split_lines(&text).count(), expected, "{c:?}");
        }
    }
}
