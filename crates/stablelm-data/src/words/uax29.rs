//! Words by the boundaries of Unicode Standard Annex 29.
//!
//! A segment between boundaries is a word if it holds a letter or a number; white space,
//! punctuation and symbols alone are none. DCLM's filters ask that of the first character only, so
//! `_name` is a word here and none there.

use std::ops::Range;

use unicode_segmentation::UnicodeSegmentation;

/// Appends the byte ranges of the words of `text` to `words`.
pub(crate) fn split(text: &str, words: &mut Vec<Range<u32>>) {
    let place = |at: usize| u32::try_from(at).expect("no text has 4 GiB");
    words.extend(
        text.unicode_word_indices()
            .map(|(at, word)| place(at)..place(at + word.len())),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_hold_a_letter_or_a_number() {
        fn check(text: &str, expected: &[&str]) {
            let mut words = Vec::new();
            split(text, &mut words);
            let found: Vec<_> = words
                .iter()
                .map(|word| &text[word.start as usize..word.end as usize])
                .collect();
            assert_eq!(found, expected, "{text:?}");
        }
        check("", &[]);
        check(" \n--- (...) ", &[]);
        check(
            "It can't be $3.50, _name!",
            &["It", "can't", "be", "3.50", "_name"],
        );
        check(
            "\u{fc}ber e\u{301}t\u{e9} a-b",
            &["\u{fc}ber", "e\u{301}t\u{e9}", "a", "b"],
        );
        check(
            "\u{6f22}\u{5b57} \u{ab}x\u{bb}",
            &["\u{6f22}", "\u{5b57}", "x"],
        );
    }
}
