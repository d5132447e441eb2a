//! Runs of words as numbers, and a table that knows where each comes from.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::Range;

use twox_hash::XxHash64;

/// The runs of words of all examples, each with the file and line that it was first seen in.
#[derive(Debug, Default)]
pub(super) struct Index {
    places: HashMap<u64, (u32, u32), BuildHasherDefault<AsIs>>,
}

impl Index {
    pub(super) fn insert(&mut self, run: u64, (file, line): (usize, usize)) {
        let narrow = |number| u32::try_from(number).unwrap_or(u32::MAX);
        let place = (narrow(file), narrow(line));
        self.places.entry(run).or_insert(place);
    }

    pub(super) fn get(&self, run: u64) -> Option<(usize, usize)> {
        let &(file, line) = self.places.get(&run)?;
        Some((file as usize, line as usize))
    }
}

/// Takes a number that is a hash already for its own hash.
#[derive(Debug, Default)]
pub(super) struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("the keys are numbers of 64 bits");
    }
}

/// The hash of one word of a text.
pub(super) fn hash(text: &str, word: &Range<u32>) -> u64 {
    XxHash64::oneshot(0, &text.as_bytes()[word.start as usize..word.end as usize])
}

/// Hashes of all runs of `n` words, each made from the one before it in constant time.
///
/// A run's hash is a polynomial in [`BASE`], modulo 2^64, with the hashes of its words as coefficients.
pub(super) struct Rolling<'w> {
    words: &'w [u64],
    n: usize,
    /// The place value of the first word of a run.
    first: u64,
    /// The sum over the words of the next run but its last.
    sum: u64,
    at: usize,
}

/// Odd, so that no word's hash loses bits: 2^64 over the golden ratio.
const BASE: u64 = 0x9e37_79b9_7f4a_7c15;

impl<'w> Rolling<'w> {
    pub(super) fn over(words: &'w [u64], n: usize) -> Self {
        let shift = |sum: u64, &word: &u64| sum.wrapping_mul(BASE).wrapping_add(word);
        Self {
            words,
            n,
            first: (1..n).fold(1_u64, |power, _| power.wrapping_mul(BASE)),
            sum: words.iter().take(n - 1).fold(0, shift),
            at: 0,
        }
    }
}

impl Iterator for Rolling<'_> {
    /// The place of the first word, and the hash.
    type Item = (usize, u64);

    fn next(&mut self) -> Option<Self::Item> {
        let at = self.at;
        let last = *self.words.get(at + self.n - 1)?;
        let run = self.sum.wrapping_mul(BASE).wrapping_add(last);
        self.sum = run.wrapping_sub(self.words[at].wrapping_mul(self.first));
        self.at += 1;
        Some((at, run ^ (run >> 32)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_runs_have_equal_hashes_wherever_they_stand() {
        let words = [3, u64::MAX, 7, 3, u64::MAX, 7, 8];
        for n in 1..=words.len() {
            let rolled: Vec<_> = Rolling::over(&words, n).collect();
            assert_eq!(rolled.len(), words.len() + 1 - n);
            for &(at, run) in &rolled {
                let alone = Rolling::over(&words[at..at + n], n).next();
                assert_eq!(alone, Some((0, run)), "{n} at {at}");
            }
        }
        let of_three: Vec<_> = Rolling::over(&words, 3).map(|(_, run)| run).collect();
        assert_eq!(of_three[0], of_three[3]);
        assert_ne!(of_three[0], of_three[1]);
        assert_eq!(Rolling::over(&words, 8).next(), None);
        assert_eq!(Rolling::over(&[], 1).next(), None);
    }
}
