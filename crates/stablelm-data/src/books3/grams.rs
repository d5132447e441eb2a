//! From a text to the hashes that fingerprints are made of.
//!
//! A text is folded to its letters alone: no case, accents, white space, punctuation or digits, so
//! that wrapped lines, hyphens, page numbers and other spellings of quotes change nothing. A *gram*
//! is [`GRAM_LETTERS`] letters in a row, hashed by a cyclic polynomial (Cohen, "Recursive hashing
//! functions for n-grams", 1997) and taken when its hash lies in a fixed share of all values
//! (Manber, "Finding similar files in a large file system", 1994). Whether a gram is taken depends
//! on its letters only, so an edit spoils no gram but those that it touches.

use std::ops::ControlFlow;

use crate::books3::fold;

/// Letters in a gram. Long enough that few phrases of everyday language fill it, short enough that
/// most grams survive when one word in twenty is changed.
pub(super) const GRAM_LETTERS: usize = 16;
/// One gram of `2^SAMPLE_BITS` is looked up.
pub(super) const SAMPLE_BITS: u32 = 5;
/// How far a letter has been rotated when it leaves the window.
const OUT_SHIFT: u32 = 16;
const _: () = assert!(OUT_SHIFT as usize == GRAM_LETTERS);
/// Bytes of text that are folded at a time: they and their letters stay in the nearest cache.
const CHUNK_LEN: usize = 8 * 1024;

/// Memory that serves for one text after another.
#[derive(Clone, Debug, Default)]
pub(crate) struct Letters {
    /// The last letters of the chunk before, then those of this chunk.
    codes: Vec<u8>,
}

/// A gram that was taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gram<'l> {
    /// Its hash, with all bits mixed.
    pub(super) key: u64,
    /// Number of its first letter in the text.
    pub(super) place: u64,
    pub(super) letters: &'l [u8],
}

/// Gives each taken gram of a text to `take` until it breaks; returns the number of letters read.
pub(super) fn take_grams(
    text: &str,
    letters: &mut Letters,
    mut take: impl FnMut(Gram<'_>) -> ControlFlow<()>,
) -> u64 {
    let codes = &mut letters.codes;
    // No character has more letters than bytes; eight places are written at once.
    codes.resize(GRAM_LETTERS + CHUNK_LEN + 8, 0);
    let (mut rest, mut hash) = (text, 0_u64);
    // Letters that are kept before the chunk, and letters before those.
    let (mut kept, mut before) = (0, 0_u64);
    while !rest.is_empty() {
        let (chunk, more) = rest.split_at(boundary_before(rest, CHUNK_LEN));
        rest = more;
        let end = fold_letters(chunk.as_bytes(), codes, kept);
        // The first letters of a text only fill the window.
        let full = end.min(GRAM_LETTERS).max(kept);
        for &code in &codes[kept..full] {
            hash = hash.rotate_left(1) ^ VALUES[usize::from(code)];
        }
        let is_first = kept < GRAM_LETTERS && full == GRAM_LETTERS;
        if let Some(key) = sampled(hash).filter(|_| is_first) {
            let letters = &codes[..full];
            let place = before;
            if take(Gram {
                key,
                place,
                letters,
            })
            .is_break()
            {
                return before + end as u64;
            }
        }
        for at in full..end {
            let out = VALUES[usize::from(codes[at - GRAM_LETTERS])];
            let value = VALUES[usize::from(codes[at])];
            hash = hash.rotate_left(1) ^ value ^ out.rotate_left(OUT_SHIFT);
            if let Some(key) = sampled(hash) {
                let first = at + 1 - GRAM_LETTERS;
                let letters = &codes[first..=at];
                let place = before + first as u64;
                if take(Gram {
                    key,
                    place,
                    letters,
                })
                .is_break()
                {
                    return before + end as u64;
                }
            }
        }
        let keep = end.saturating_sub(GRAM_LETTERS);
        codes.copy_within(keep..end, 0);
        kept = end - keep;
        before += keep as u64;
    }
    before + kept as u64
}

/// The last place up to `len` where a character ends.
fn boundary_before(text: &str, len: usize) -> usize {
    let mut at = len.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// The key of a hash that is taken.
fn sampled(hash: u64) -> Option<u64> {
    // The multiplier of splitmix64 and its second one (Steele, Lea and Flood, 2014).
    let mixed = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    if mixed >> (64 - SAMPLE_BITS) != 0 {
        return None;
    }
    let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    Some(mixed ^ (mixed >> 32))
}

/// What a letter adds to a hash: the values that splitmix64 gives from seed 0.
static VALUES: [u64; 256] = values();

const fn values() -> [u64; 256] {
    let mut values = [0; 256];
    let mut state = 0_u64;
    let mut index = 0;
    while index < values.len() {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        values[index] = value ^ (value >> 31);
        index += 1;
    }
    values
}

/// The lower-case letter of an ASCII byte; 0 for a byte that is no letter.
static ASCII: [u8; 256] = ascii();

const fn ascii() -> [u8; 256] {
    let mut letters = [0; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        if byte.is_ascii_alphabetic() {
            letters[byte as usize] = byte.to_ascii_lowercase();
        }
        byte += 1;
    }
    letters
}

/// Writes the letters of `text`, which is UTF-8, into `codes` from `at`; returns where they end.
fn fold_letters(text: &[u8], codes: &mut [u8], mut at: usize) -> usize {
    let mut rest = text;
    loop {
        // Written whether it is a letter or not, and overwritten if it was none: no branch to miss.
        while let Some((eight, more)) = rest.split_first_chunk::<8>() {
            if u64::from_le_bytes(*eight) & 0x8080_8080_8080_8080 != 0 {
                break;
            }
            let room = &mut codes[at..at + 8];
            let mut written = 0;
            for &byte in eight {
                let code = ASCII[usize::from(byte)];
                room[written & 7] = code;
                written += usize::from(code != 0);
            }
            at += written;
            rest = more;
        }
        let Some(&byte) = rest.first() else {
            return at;
        };
        if byte.is_ascii() {
            codes[at] = ASCII[usize::from(byte)];
            at += usize::from(codes[at] != 0);
            rest = &rest[1..];
        } else {
            rest = fold_char(rest, codes, &mut at);
        }
    }
}

/// Folds one character beyond ASCII.
fn fold_char<'t>(text: &'t [u8], codes: &mut [u8], at: &mut usize) -> &'t [u8] {
    let (c, len) = decode(text);
    let rest = text.get(len..).unwrap_or_default();
    // Han, kana and hangul have neither case nor look-alikes.
    let plain = matches!(u32::from(c), 0x3041..=0x30fe | 0x3400..=0x9fff | 0xac00..=0xd7a3);
    let shown = if plain { None } else { fold::to_ascii(c) };
    match shown.filter(|shown| shown.as_bytes()[0].is_ascii_lowercase()) {
        Some(shown) => {
            for byte in shown.bytes() {
                codes[*at] = byte;
                *at += 1;
            }
        }
        None if plain || (c.is_alphabetic() && !fold::is_invisible(c)) => {
            let lower = c.to_lowercase().next().unwrap_or(c);
            // Scripts of their own share 128 values; their grams stay as rare as ours.
            let value = u32::from(lower).wrapping_mul(0x9e37_79b1) >> 25;
            codes[*at] = 0x80 | value as u8;
            *at += 1;
        }
        None => {}
    }
    rest
}

/// The first character of valid UTF-8 and its length.
fn decode(text: &[u8]) -> (char, usize) {
    let head = &text[..text.len().min(4)];
    let valid = match std::str::from_utf8(head) {
        Ok(valid) => valid,
        Err(error) => std::str::from_utf8(&head[..error.valid_up_to()]).unwrap_or_default(),
    };
    let c = valid.chars().next().unwrap_or(char::REPLACEMENT_CHARACTER);
    (c, if valid.is_empty() { 1 } else { c.len_utf8() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(text: &str) -> Vec<(u64, u64)> {
        let mut keys = Vec::new();
        take_grams(text, &mut Letters::default(), |gram| {
            assert_eq!(gram.letters.len(), GRAM_LETTERS);
            keys.push((gram.place, gram.key));
            ControlFlow::Continue(())
        });
        keys
    }

    fn letters(text: &str) -> String {
        let mut codes = vec![0; 2 * text.len() + 16];
        let end = fold_letters(text.as_bytes(), &mut codes, 0);
        String::from_utf8_lossy(&codes[..end]).into_owned()
    }

    #[test]
    fn only_letters_count() {
        for (text, expected) in [
            ("Hello, World! 123", "helloworld"),
            ("exam-\nple\t\u{ad}text", "exampletext"),
            ("naïve café ﬁne æther ßo", "naivecafefineaethersso"),
            ("cafe\u{301}", "cafe"),
            ("¡²³ — “quote”…", "quote"),
            ("", ""),
        ] {
            assert_eq!(letters(text), expected, "{text}");
        }
        assert_eq!(letters("Ж").chars().count(), 1);
        let mut codes = [0; 32];
        assert_eq!(fold_letters("日本語".as_bytes(), &mut codes, 0), 3);
        assert!(codes[0] != codes[1] && codes[1] != codes[2]);
    }

    #[test]
    fn grams_do_not_depend_on_how_a_text_is_set() {
        let text = "It was the best of times, it was the worst of times. ".repeat(9)
            + &stablelm_testkit::corpus(5, 300)
                .iter()
                .map(|document| document.text.as_str())
                .collect::<Vec<_>>()
                .join("\n\n");
        let plain = keys(&text);
        let share = plain.len() as f64 / text.len() as f64;
        assert!((0.015..0.035).contains(&share), "{share}");
        let wrapped = text
            .to_uppercase()
            .replace(' ', "\n  ")
            .replace('.', " . 17 ");
        assert_eq!(keys(&wrapped), plain);
        // The same grams wherever the text begins.
        let shifted = keys(&format!("xyz {text}"));
        let shifted: Vec<_> = shifted.iter().filter(|(place, _)| *place >= 3).collect();
        let expected: Vec<_> = plain.iter().map(|(place, key)| (place + 3, *key)).collect();
        assert_eq!(shifted, expected.iter().collect::<Vec<_>>());
    }
}
