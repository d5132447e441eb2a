//! Patterns on tensor names: `*` stands for any run of characters, `?` for one.

/// Returns whether a pattern matches a whole name.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut p, mut n) = (0, 0);
    // Where to go on after a mismatch: the last star and the first name byte it has not yet taken.
    let mut retry: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p, n));
                p += 1;
            }
            Some(&byte) if byte == b'?' || byte == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match retry {
                Some((star, taken)) => {
                    retry = Some((star, taken + 1));
                    p = star + 1;
                    n = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, name: &str, expected: bool) {
        assert_eq!(matches(pattern, name), expected, "{pattern} on {name}");
    }

    #[test]
    fn stars_and_question_marks_stand_for_characters() {
        check("*attention.dense.bias", "2.attention.dense.bias", true);
        check("*.attention.*.bias", "31.attention.dense.bias", true);
        check("?.attention.dense.bias", "12.attention.dense.bias", false);
        check("attention.dense.bias", "2.attention.dense.bias", false);
        check("*", "", true);
        check("", "", true);
        check("", "x", false);
        check("*a*b", "aabab", true);
        check("*a*b", "aaba", false);
    }
}
