//! Deals documents to train, valid and test by their text alone.
//!
//! The point of a document is the first 8 bytes, little-endian, of
//! `sha256(seed as 8 little-endian bytes, sha256(text))`, read as a fraction of 2^64. Train takes
//! the points below its share, valid those above it, test the rest. So a document stays in its
//! split when files are reordered or added, and equal texts never lie on both sides.

use serde::Serialize;

use crate::document::Split;
use crate::hash::{Sha256Bytes, sha256};

/// Shares of documents a split, summing to 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct SplitShares {
    /// Share of the train split.
    pub train: f64,
    /// Share of the valid split.
    pub valid: f64,
    /// Share of the test split.
    pub test: f64,
}

impl SplitShares {
    /// The share of one split.
    pub fn share(&self, split: Split) -> f64 {
        match split {
            Split::Train => self.train,
            Split::Valid => self.valid,
            Split::Test => self.test,
        }
    }

    /// The split of the document whose text has this hash.
    pub(crate) fn assign(&self, text_sha256: &Sha256Bytes, seed: u64) -> Split {
        let point = point(text_sha256, seed);
        let mut below = 0.0;
        let mut last = Split::Train;
        for split in Split::ALL {
            if self.share(split) <= 0.0 {
                continue;
            }
            below += self.share(split);
            last = split;
            if point < below {
                break;
            }
        }
        // Shares that sum to a hair under 1 leave a gap, which the last split fills.
        last
    }
}

/// A number in 0..1 that only the text and the seed decide.
fn point(text_sha256: &Sha256Bytes, seed: u64) -> f64 {
    let mut input = [0; 40];
    input[..8].copy_from_slice(&seed.to_le_bytes());
    input[8..].copy_from_slice(text_sha256);
    let hash = sha256(&input);
    let first = u64::from_le_bytes(hash[..8].try_into().expect("a hash has 32 bytes"));
    // 53 bits fit a double exactly, so that 1 is never reached by rounding.
    (first >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARES: SplitShares = SplitShares {
        train: 0.8,
        valid: 0.15,
        test: 0.05,
    };

    fn count(shares: SplitShares, seed: u64) -> [u32; 3] {
        let mut counts = [0; 3];
        for document in 0_u32..20_000 {
            counts[shares
                .assign(&sha256(&document.to_le_bytes()), seed)
                .index()] += 1;
        }
        counts
    }

    #[test]
    fn shares_are_met_within_four_standard_deviations() {
        let [train, valid, test] = count(SHARES, 1234);
        for (found, share) in [(train, 0.8), (valid, 0.15), (test, 0.05)] {
            let expected = 20_000.0 * share;
            let deviation = (20_000.0_f64 * share * (1.0 - share)).sqrt();
            assert!(
                (f64::from(found) - expected).abs() < 4.0 * deviation,
                "{found} for {share}"
            );
        }
    }

    #[test]
    fn an_empty_split_gets_nothing_and_the_seed_matters() {
        let all = SplitShares {
            train: 1.0,
            valid: 0.0,
            test: 0.0,
        };
        assert_eq!(count(all, 7), [20_000, 0, 0]);
        let gap = SplitShares {
            train: 0.5,
            valid: 0.499_999_999,
            test: 0.0,
        };
        assert_eq!(count(gap, 7)[2], 0);
        assert_ne!(count(SHARES, 1), count(SHARES, 2));
    }

    #[test]
    fn the_definition_stays_as_it_is() {
        // sha256(d2 04 00 00 00 00 00 00, sha256("hello")) computed with Python's hashlib.
        let found = point(&sha256(b"hello"), 1234);
        assert!((found - GOLDEN_POINT).abs() < 1e-15, "{found}");
    }

    const GOLDEN_POINT: f64 = 0.294_780_790_048_181_03;
}
