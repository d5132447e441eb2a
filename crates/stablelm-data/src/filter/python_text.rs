//! Text rules as Python has them, which the published filters were written against.

/// Whether Python's `str.isspace`, `split` and `strip` take `c` for white space.
pub(crate) fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// The words of Python's `str.split()`.
pub(crate) fn split_whitespace(text: &str) -> impl Iterator<Item = &str> {
    text.split(is_space).filter(|word| !word.is_empty())
}

/// The lines of Python's `str.splitlines()`: without their ends, and none after a final end.
pub(crate) fn split_lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let Some((at, end)) = rest.char_indices().find(|&(_, c)| is_line_end(c)) else {
            return Some(std::mem::take(&mut rest));
        };
        let line = &rest[..at];
        let after = &rest[at + end.len_utf8()..];
        rest = match end {
            '\r' => after.strip_prefix('\n').unwrap_or(after),
            _ => after,
        };
        Some(line)
    })
}

fn is_line_end(c: char) -> bool {
    matches!(
        c,
        '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}'
    )
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
        check("a", &["a"]);
        check("a\n", &["a"]);
        check("a\n\nb", &["a", "", "b"]);
        check("a\r\nb\rc\n\rd", &["a", "b", "c", "", "d"]);
        check(
            "a\u{b}b\u{c}c\u{1c}d\u{1d}e\u{1e}f\u{85}g\u{2028}h\u{2029}i",
            &["a", "b", "c", "d", "e", "f", "g", "h", "i"],
        );
        check("a\u{1f}b", &["a\u{1f}b"]);
    }

    #[test]
    fn words_are_split_at_python_white_space() {
        let words = |text| split_whitespace(text).collect::<Vec<_>>();
        assert_eq!(
            words(" a\u{1c}b\u{1f}c\u{85}d\u{a0}e\u{3000}f \n"),
            ["a", "b", "c", "d", "e", "f"]
        );
        assert_eq!(words("a\u{200b}b"), ["a\u{200b}b"]);
        assert!(words(" \t").is_empty());
    }
}
