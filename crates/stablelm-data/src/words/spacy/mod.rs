//! The words of spaCy's blank English tokenizer, version 3.8.
//!
//! spaCy cuts each chunk between white space on its own, by exceptions and by rules for prefixes,
//! suffixes and infixes ([`chunk`]); then it looks once more for exceptions in what came out
//! ([`matcher`]). Tokens of white space are no words. Most chunks are plain words or were seen
//! before, so a plain one is told by its letters alone, and a table of fixed size keeps the others.

mod cache;
mod chunk;
#[cfg(test)]
mod make_tables;
mod matcher;
pub(crate) mod sentences;
mod tables;
#[cfg(test)]
mod tests;
mod url;

use std::ops::Range;
use std::sync::LazyLock;

use self::cache::{Cache, Known};
use self::chunk::Exceptions;
use self::matcher::Matcher;
use self::tables::{TABLES, Tables};

static MATCHER: LazyLock<Matcher> = LazyLock::new(|| Matcher::new(&TABLES));

/// Cuts texts; one a thread, since it remembers what it cut.
pub(crate) struct SpacyEn {
    tables: &'static Tables,
    matcher: &'static Matcher,
    cache: Cache,
    /// Where the tokens of the current chunk end.
    ends: Vec<usize>,
    /// Room for [`chunk::cut`].
    suffixes: Vec<usize>,
    /// Runs of words, a chunk each, in which the matcher finds something.
    to_match: Vec<Range<usize>>,
}

impl Default for SpacyEn {
    fn default() -> Self {
        Self {
            tables: &TABLES,
            matcher: &MATCHER,
            cache: Cache::new(&TABLES),
            ends: Vec::new(),
            suffixes: Vec::new(),
            to_match: Vec::new(),
        }
    }
}

impl SpacyEn {
    /// Appends the byte ranges of the words of `text` to `words`, which must be empty.
    pub(crate) fn split(&mut self, text: &str, words: &mut Vec<Range<u32>>) {
        assert!(u32::try_from(text.len()).is_ok(), "no text has 4 GiB");
        self.to_match.clear();
        let bytes = text.as_bytes();
        let mut at = 0;
        loop {
            while let Some(space) = space_len(bytes, at) {
                at += space;
            }
            if at == bytes.len() {
                break;
            }
            let start = at;
            let mut classes = 0;
            while let Some(&byte) = bytes.get(at) {
                let class = CLASSES[usize::from(byte)];
                if class >= MAY_BE_SPACE && space_len(bytes, at).is_some() {
                    break;
                }
                classes |= class;
                at += 1;
            }
            if classes == LETTER && self.cache.is_plain(bytes, &(start..at)) {
                words.push(offset(start)..offset(at));
            } else {
                self.split_chunk(text, start..at, words);
            }
        }
        if !self.to_match.is_empty() {
            self.apply_matches(text, words);
        }
    }

    fn split_chunk(&mut self, text: &str, place: Range<usize>, words: &mut Vec<Range<u32>>) {
        let slot = match self.cache.find(text.as_bytes(), &place) {
            Known::Cut(known) => {
                let first_word = words.len();
                known.append_words(&place, words);
                if known.must_match() {
                    self.to_match.push(first_word..words.len());
                }
                return;
            }
            Known::New(slot) => slot,
        };
        self.ends.clear();
        let chunk = &text[place.clone()];
        chunk::cut(
            self.tables,
            chunk,
            Exceptions::Used,
            &mut self.ends,
            &mut self.suffixes,
        );
        let first_word = words.len();
        let mut start = place.start;
        for &end in &self.ends {
            let end = place.start + end;
            words.push(offset(start)..offset(end));
            start = end;
        }
        let found = self.matcher.find(text, &words[first_word..], self.tables);
        if !found.is_empty() {
            self.to_match.push(first_word..words.len());
        }
        if let Some(slot) = slot {
            self.cache.keep(slot, chunk, &self.ends, !found.is_empty());
        }
    }

    /// Turns the marked chunks into the exceptions in them, with an eye on their neighbors.
    fn apply_matches(&mut self, text: &str, words: &mut Vec<Range<u32>>) {
        let mut changed = Vec::with_capacity(words.len());
        let mut copied = 0;
        let reach = self.matcher.longest_sequence();
        for chunk in &self.to_match {
            let first = chunk.start.saturating_sub(reach);
            let end = words.len().min(chunk.end + reach);
            for found in self.matcher.find(text, &words[first..end], self.tables) {
                let found = first + found.start..first + found.end;
                // Matches in the neighbors come with the neighbors.
                if found.start < chunk.start || found.end > chunk.end {
                    continue;
                }
                changed.extend_from_slice(&words[copied..found.start]);
                let place = words[found.start].start..words[found.end - 1].end;
                let exception = &text[place.start as usize..place.end as usize];
                let ends = self.tables.exception(exception).unwrap_or_default();
                let mut start = place.start;
                for &end in ends {
                    let end = place.start + u32::from(end);
                    changed.push(start..end);
                    start = end;
                }
                copied = found.end;
            }
        }
        changed.extend_from_slice(&words[copied..]);
        *words = changed;
    }
}

/// Where a place of a text of less than 4 GiB lies.
#[expect(
    clippy::cast_possible_truncation,
    reason = "`split` refuses longer texts"
)]
fn offset(at: usize) -> u32 {
    at as u32
}

/// A letter of ASCII.
const LETTER: u8 = 1;
/// Any other byte of a word.
const OTHER: u8 = 2;
/// May begin a character of white space beyond ASCII.
const MAY_BE_SPACE: u8 = OTHER | 4;
/// White space of ASCII.
const SPACE: u8 = 8;

/// What each byte is.
const CLASSES: [u8; 256] = {
    let mut classes = [OTHER; 256];
    let mut byte = 0_u8;
    while byte < 0x80 {
        classes[byte as usize] = match byte {
            b'a'..=b'z' | b'A'..=b'Z' => LETTER,
            b'\t'..=b'\r' | 0x1c..=0x1f | b' ' => SPACE,
            _ => OTHER,
        };
        byte += 1;
    }
    // U+0085 and U+00A0, U+1680, U+2000 to U+205F, U+3000.
    classes[0xc2] = MAY_BE_SPACE;
    classes[0xe1] = MAY_BE_SPACE;
    classes[0xe2] = MAY_BE_SPACE;
    classes[0xe3] = MAY_BE_SPACE;
    classes
};

/// The length of the character of white space at `at`, if there is one.
#[inline]
fn space_len(bytes: &[u8], at: usize) -> Option<usize> {
    let byte = *bytes.get(at)?;
    match CLASSES[usize::from(byte)] {
        SPACE => Some(1),
        MAY_BE_SPACE => match (byte, bytes.get(at + 1)?, bytes.get(at + 2)) {
            (0xc2, 0x85 | 0xa0, _) => Some(2),
            (0xe1, 0x9a, Some(0x80))
            | (0xe2, 0x80, Some(0x80..=0x8a | 0xa8 | 0xa9 | 0xaf))
            | (0xe2, 0x81, Some(0x9f))
            | (0xe3, 0x80, Some(0x80)) => Some(3),
            _ => None,
        },
        _ => None,
    }
}
