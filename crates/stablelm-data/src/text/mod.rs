//! Text rules as Python has them, which the published filters were written against.

pub(crate) mod digits;
pub(crate) mod distinct;
pub(crate) mod letters;
mod lines;
pub(crate) mod punctuation;

pub(crate) use lines::{split_at_feeds, split_lines};

/// Whether Python's `str.isspace`, `split` and `strip` take `c` for white space.
pub(crate) fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// Python's `str.strip()`.
pub(crate) fn strip(text: &str) -> &str {
    text.trim_matches(is_space)
}

/// Python's `len()`: the number of code points.
pub(crate) fn count_chars(text: &str) -> u64 {
    text.chars().count() as u64
}

/// The words of Python's `str.split()`.
pub(crate) fn split_whitespace(text: &str) -> impl Iterator<Item = &str> {
    let bytes = text.as_bytes();
    let mut at = 0;
    std::iter::from_fn(move || {
        let mut space = space_len(bytes, at);
        while space > 0 {
            at += space;
            space = space_len(bytes, at);
        }
        if at == bytes.len() {
            return None;
        }
        let start = at;
        // A byte inside a character never looks like the start of white space.
        while at < bytes.len() && space_len(bytes, at) == 0 {
            at += 1;
        }
        Some(&text[start..at])
    })
}

/// The length in bytes of the white space character at `at`, or 0 where there is none.
fn space_len(bytes: &[u8], at: usize) -> usize {
    let Some(&byte) = bytes.get(at) else {
        return 0;
    };
    if byte.is_ascii() {
        return usize::from(matches!(byte, b'\t'..=b'\r' | b'\x1c'..=b' '));
    }
    // The rest of `char::is_whitespace`, by its UTF-8.
    match bytes[at..] {
        [0xc2, 0x85 | 0xa0, ..] => 2,
        [0xe1, 0x9a, 0x80, ..]
        | [0xe2, 0x80, 0x80..=0x8a | 0xa8 | 0xa9 | 0xaf, ..]
        | [0xe2, 0x81, 0x9f, ..]
        | [0xe3, 0x80, 0x80, ..] => 3,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_at_python_white_space() {
        let words = |text| split_whitespace(text).collect::<Vec<_>>();
        assert_eq!(
            words(" a\u{1c}b\u{1f}c\u{85}d\u{a0}e\u{3000}f \n"),
            ["a", "b", "c", "d", "e", "f"]
        );
        assert_eq!(words("a\u{200b}b"), ["a\u{200b}b"]);
        assert!(words(" \t").is_empty());
        assert!(words("").is_empty());
    }

    #[test]
    fn every_character_splits_words_as_it_should() {
        for c in '\0'..=char::MAX {
            let text = format!("a{c}b");
            let split = split_whitespace(&text).count() == 2;
            assert_eq!(split, is_space(c), "{c:?}");
        }
    }
}
