//! Finds sentences, by spaCy's list of marks that end one.
//!
//! Source of the marks and of [`cut_at_words`]: `spacy/pipeline/sentencizer.pyx`, spaCy 3.8 (MIT),
//! with the parts that datatrove 0.10 makes of it (`split_into_sentences`): a text without a word is
//! one part.

use std::ops::Range;

use super::tables::{Flags, TABLES};

/// Tells `cut` where each sentence of `text` but the last ends; `words` are spaCy's.
///
/// A word that is one of the marks ends a sentence, and the next token that is no punctuation begins
/// another, even where it is white space.
pub(crate) fn cut_at_words(text: &str, words: &[Range<u32>], mut cut: impl FnMut(usize)) {
    // Single spaces between words are no tokens, all other white space is.
    let is_token = |gap: &str| !matches!(gap, "" | " ");
    let mut is_ended = false;
    let mut last = 0;
    for word in words {
        if is_ended && is_token(&text[last..word.start as usize]) {
            cut(last);
            is_ended = false;
        }
        let before = last;
        last = word.end as usize;
        let word = &text[word.start as usize..last];
        if is_mark(word) {
            is_ended = true;
        } else if is_ended && !word.chars().all(is_punctuation) {
            cut(before);
            is_ended = false;
        }
    }
    if is_ended && is_token(&text[last..]) {
        cut(last);
    }
}

/// Tells `cut` where each sentence of `text` but the last ends, where words are not spaCy's.
///
/// What stands between white space ends a sentence if one of the marks is in the punctuation at its
/// end, and the next of them that is not all punctuation begins another.
pub(crate) fn cut_at_chunks(text: &str, mut cut: impl FnMut(usize)) {
    let mut is_ended = false;
    let mut last = 0;
    for chunk in crate::text::split_whitespace(text) {
        let stem = chunk.trim_end_matches(is_punctuation);
        if is_ended && !stem.is_empty() {
            cut(last);
            is_ended = false;
        }
        is_ended |= chunk[stem.len()..].chars().any(ends_sentence);
        last = chunk.as_ptr().addr() - text.as_ptr().addr() + chunk.len();
    }
}

fn is_mark(word: &str) -> bool {
    let mut chars = word.chars();
    chars.next().is_some_and(ends_sentence) && chars.as_str().is_empty()
}

fn ends_sentence(c: char) -> bool {
    TABLES.flags(c).any(Flags::SENTENCE_END)
}

fn is_punctuation(c: char) -> bool {
    TABLES.flags(c).any(Flags::PUNCTUATION)
}
