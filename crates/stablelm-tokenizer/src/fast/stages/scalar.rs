//! The stages in plain Rust, to be read beside the pattern:
//!
//! ```text
//! 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
//! ```

use super::Stages;
use crate::fast::split::{Splitter, Starts};
use crate::fast::unicode::{Class, Kinds};

pub(super) struct Scalar;

impl Stages for Scalar {
    fn split(&self, splitter: &mut Splitter, text: &[u8], kinds: &Kinds, starts: &mut Starts) {
        let text = str::from_utf8(text).expect("pieces of a text are text");
        splitter.split_by(text, starts, kinds, |rest, max_run| {
            let num_spaces = rest.bytes().take_while(|&byte| byte == b' ').count();
            match run_len(num_spaces, max_run) {
                0 => pretoken_len(rest, max_run, kinds),
                run => run,
            }
        });
    }
}

/// Returns how many of a maximal run of spaces are cut out of the text.
fn run_len(num_spaces: usize, max_run: usize) -> usize {
    match num_spaces {
        _ if max_run == 0 => 0,
        0 | 1 => 0,
        // One space is no run: it stays with the text after.
        _ if num_spaces % max_run == 1 => num_spaces - 1,
        _ => num_spaces,
    }
}

/// Returns the length of what the pattern matches at the start of a text.
fn pretoken_len(text: &str, max_run: usize, kinds: &Kinds) -> usize {
    let class = |character: char| kinds.of(u32::from(character)).class();
    let len_of = |text: &str, wanted: Class| -> usize {
        let characters = text
            .chars()
            .take_while(|&character| class(character) == wanted);
        characters.map(char::len_utf8).sum()
    };
    // 's|'t|'re|'ve|'m|'ll|'d
    for contraction in ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d"] {
        if text.starts_with(contraction) {
            return contraction.len();
        }
    }
    //  ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+
    let after_space = text.strip_prefix(' ').unwrap_or(text);
    for wanted in [Class::Letter, Class::Number, Class::Other] {
        let len = len_of(after_space, wanted);
        if len > 0 {
            return text.len() - after_space.len() + len;
        }
    }
    // \s+(?!\S)
    let len = len_of(text, Class::White);
    // A run of spaces ends the text before it.
    let run = text[..len].find("  ").filter(|_| max_run > 0);
    if len == text.len() || run.is_some() {
        return run.unwrap_or(len);
    }
    let last = text[..len].chars().next_back().map_or(0, char::len_utf8);
    if len > last {
        return len - last;
    }
    // \s+
    len
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fast::unicode::kinds;

    fn check(text: &str, expected: &[&str]) {
        let mut found = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (pretoken, after) = rest.split_at(pretoken_len(rest, 0, kinds()));
            found.push(pretoken);
            rest = after;
        }
        assert_eq!(found, expected);
    }

    #[test]
    fn the_pattern_matches_what_it_says() {
        check("it's we'll 'S", &["it", "'s", " we", "'ll", " '", "S"]);
        check(" 's''s\t's", &[" '", "s", "''", "s", "\t", "'s"]);
        check("a1 2²!?", &["a", "1", " 2²", "!?"]);
        check("\n\n x", &["\n\n", " x"]);
        check("a\t\tb \n", &["a", "\t", "\t", "b", " \n"]);
        check("\u{3000}\u{3000}漢", &["\u{3000}", "\u{3000}", "漢"]);
    }

    #[test]
    fn a_single_space_is_no_run() {
        let runs = [0, 1, 2, 24, 25, 26, 49].map(|num_spaces| run_len(num_spaces, 24));
        assert_eq!(runs, [0, 0, 2, 24, 24, 26, 48]);
        assert_eq!(run_len(30, 0), 0);
    }
}
