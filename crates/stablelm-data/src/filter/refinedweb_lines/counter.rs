//! Lines that only count something, such as `1,203 likes` or `3.5k views`.
//!
//! Written by hand after DCLM's expression, which is matched against the line in lower case:
//! `^\W*\d(?:,|\.|\d)*(?:K|k|M|m|B|b)?\s+(?:likes|shares|...)\W*$`. No part of it can match what
//! follows another part, so that one pass decides.

use crate::text::digits::{is_decimal, is_word};
use crate::text::is_space;

/// What is counted.
const COUNTED: [&str; 12] = [
    "likes",
    "shares",
    "comments",
    "retweets",
    "reposts",
    "quotes",
    "bookmarks",
    "upvotes",
    "downvotes",
    "downloads",
    "views",
    "followers",
];

/// Whether a line is a counter.
pub(super) fn is_counter(line: &str) -> bool {
    let rest = line.trim_start_matches(|c| !is_word(c));
    if !rest.starts_with(is_decimal) {
        return false;
    }
    let rest = rest.trim_start_matches(|c| c == ',' || c == '.' || is_decimal(c));
    let mut unit = rest.chars();
    let rest = match unit.next().map(lower) {
        Some('k' | 'm' | 'b') => unit.as_str(),
        _ => rest,
    };
    let word = rest.trim_start_matches(is_space);
    word.len() < rest.len()
        && COUNTED.iter().any(|counted| {
            let after = without_prefix(word, counted);
            after.is_some_and(|after| !after.contains(is_word))
        })
}

fn without_prefix<'l>(line: &'l str, prefix: &str) -> Option<&'l str> {
    let mut rest = line.chars();
    prefix
        .chars()
        .all(|expected| rest.next().map(lower) == Some(expected))
        .then_some(rest.as_str())
}

/// The lower case, where it is a single character: the only other letter of ASCII's is the Kelvin sign.
fn lower(c: char) -> char {
    match c {
        '\u{212a}' => 'k',
        c => c.to_ascii_lowercase(),
    }
}
