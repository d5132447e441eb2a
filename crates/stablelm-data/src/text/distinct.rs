//! Which pieces of a text are equal, with a hash that costs less than the pieces do.
//!
//! Equal hashes are never taken for equal pieces: whoever asks compares.

/// Gives things numbers from 0, in the order of their first occurrence; equal things get the same.
pub(crate) struct Numbering {
    /// The number plus one of a thing whose hash leads here or to a slot before; 0 where none is.
    slots: Vec<u32>,
    /// The hash of each thing, by its number.
    hashes: Vec<u64>,
}

impl Numbering {
    /// With room for about so many different things; more make it grow.
    pub(crate) fn with_room(things: usize) -> Self {
        Self {
            slots: vec![0; (2 * things).next_power_of_two().max(64)],
            hashes: Vec::new(),
        }
    }

    /// The number of a thing, which is the count of different things so far where it is a new one.
    /// `is_same` compares it with the thing of a number; it is asked where the hashes are equal.
    pub(crate) fn number(&mut self, hash: u64, mut is_same: impl FnMut(usize) -> bool) -> usize {
        if 2 * self.hashes.len() >= self.slots.len() {
            self.grow();
        }
        let mut slot = self.first_slot(hash);
        loop {
            let next = self.hashes.len();
            let Some(number) = self.slots[slot].checked_sub(1) else {
                self.slots[slot] = u32::try_from(next + 1).expect("no text has 4 GiB");
                self.hashes.push(hash);
                return next;
            };
            let number = number as usize;
            if self.hashes[number] == hash && is_same(number) {
                return number;
            }
            slot = (slot + 1) & (self.slots.len() - 1);
        }
    }

    fn grow(&mut self) {
        self.slots = vec![0; 4 * self.slots.len()];
        for (hash, number) in self.hashes.iter().zip(1..) {
            let mut slot = self.first_slot(*hash);
            while self.slots[slot] != 0 {
                slot = (slot + 1) & (self.slots.len() - 1);
            }
            self.slots[slot] = number;
        }
    }

    fn first_slot(&self, hash: u64) -> usize {
        let slots = self.slots.len() as u64;
        usize::try_from(hash & (slots - 1)).expect("it is below the number of slots")
    }
}

/// How much of a text lies in paragraphs, lines or n-grams that were there before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Repeats {
    pub(crate) pieces: u64,
    /// Those that an earlier one equals.
    pub(crate) repeated: u64,
    /// The characters of those.
    pub(crate) repeated_chars: u64,
}

impl Repeats {
    /// Counts the pieces that are equal to an earlier one.
    pub(crate) fn of<'t>(pieces: impl Iterator<Item = &'t str>) -> Self {
        let mut different: Vec<&str> = Vec::new();
        let mut numbering = Numbering::with_room(0);
        let mut repeats = Self::default();
        for piece in pieces {
            repeats.pieces += 1;
            let hash = hash_bytes(piece.as_bytes());
            let number = numbering.number(hash, |number| different[number] == piece);
            if number == different.len() {
                different.push(piece);
            } else {
                repeats.repeated += 1;
                repeats.repeated_chars += super::count_chars(piece);
            }
        }
        repeats
    }
}

/// A hash of bytes and their number.
pub(crate) fn hash_bytes(bytes: &[u8]) -> u64 {
    let word = |at: usize| {
        let bytes = bytes[at..at + 8].try_into().expect("eight bytes");
        u64::from_le_bytes(bytes)
    };
    let len = bytes.len();
    // Times an odd number without a pattern, so that lengths do not look like bytes.
    let mut hash = (len as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    // Where the length is no multiple, the last words overlap those before.
    match len {
        0..8 => {
            let mut padded = [0; 8];
            padded[..len].copy_from_slice(bytes);
            hash = mix(hash, u64::from_le_bytes(padded), 0);
        }
        8..=16 => hash = mix(hash, word(0), word(len - 8)),
        _ => {
            for at in (0..len - 16).step_by(16) {
                hash = mix(hash, word(at), word(at + 8));
            }
            hash = mix(hash, word(len - 16), word(len - 8));
        }
    }
    hash
}

/// A hash of an earlier hash and two numbers: their product, the upper half folded onto the lower.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the halves of a product are taken apart"
)]
pub(crate) fn mix(hash: u64, first: u64, second: u64) -> u64 {
    // Numbers without a pattern: the first digits of pi and of e as fractions of 2^64.
    const KEYS: (u64, u64) = (0x243f_6a88_85a3_08d3, 0xb7e1_5162_8aed_2a6b);
    let product = u128::from(first ^ hash ^ KEYS.0) * u128::from(second ^ KEYS.1);
    product as u64 ^ (product >> 64) as u64
}

/// A hash of a number that no other number has.
pub(crate) fn permute(number: u64) -> u64 {
    // Each step can be undone. The factor is 2^64 divided by the golden ratio, and odd.
    let number = (number ^ number >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    number ^ number >> 32
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn repeats_count_later_occurrences_and_their_characters() {
        let pieces = ["a", "\u{e9}\u{e9}", "a", "", "\u{e9}\u{e9}", "", "a"];
        let expected = Repeats {
            pieces: 7,
            repeated: 4,
            repeated_chars: 4,
        };
        assert_eq!(Repeats::of(pieces.into_iter()), expected);
        let numbers: Vec<_> = (0..2000)
            .map(|number| (number % 1000).to_string())
            .collect();
        let repeats = Repeats::of(numbers.iter().map(String::as_str));
        assert_eq!((repeats.pieces, repeats.repeated), (2000, 1000));
    }

    #[test]
    fn equal_hashes_make_no_equal_things() {
        let mut numbering = Numbering::with_room(4);
        let things = [7, 9, 7, 8, 9, 8];
        let mut different = Vec::new();
        let numbers = things.map(|thing| {
            let number = numbering.number(0, |number| different[number] == thing);
            if number == different.len() {
                different.push(thing);
            }
            number
        });
        assert_eq!(numbers, [0, 1, 0, 2, 1, 2]);
    }

    #[test]
    fn texts_of_every_length_have_different_hashes() {
        let text: Vec<u8> = (0..160_u8).collect();
        let mut distinct = HashSet::new();
        for start in 0..8 {
            for len in 0..150 {
                distinct.insert(hash_bytes(&text[start..start + len]));
            }
        }
        // The empty piece is there eight times.
        assert_eq!(distinct.len(), 8 * 149 + 1);
    }
}
