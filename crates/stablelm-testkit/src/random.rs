//! A small random number generator whose sequence never changes.
//!
//! `SplitMix64` (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", 2014): a
//! counter that grows by a fixed odd number, and a bijective mix of it. Good enough to choose
//! words with, and written here so that no release of a library can change the fixtures.

/// What the counter grows by: 2^64 divided by the golden ratio, made odd.
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// A stream of random choices.
#[derive(Clone, Debug)]
pub(crate) struct Random {
    counter: u64,
}

impl Random {
    /// Returns the stream of one item, independent of how many items there are.
    pub(crate) fn for_item(seed: u64, index: u64) -> Self {
        Self {
            counter: mix(seed) ^ mix(index.wrapping_add(STEP)),
        }
    }

    /// Returns the next number, any of 2^64.
    pub(crate) fn next_u64(&mut self) -> u64 {
        self.counter = self.counter.wrapping_add(STEP);
        mix(self.counter)
    }

    /// Returns a number below `end`, which must not be zero.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        assert!(end > 0, "there is no number below zero");
        // The bias is `end` in 2^64, far too small to see in prose.
        let wide = u128::from(self.next_u64()) * end as u128;
        usize::try_from(wide >> 64).expect("the product's upper half is below `end`")
    }

    /// Returns a number between `low` and `high`, both included.
    pub(crate) fn between(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high - low + 1)
    }

    /// Returns one of the items, of which there must be at least one.
    pub(crate) fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }

    /// Returns `count` different places below `end`, in random order.
    pub(crate) fn places(&mut self, count: usize, end: usize) -> Vec<usize> {
        let mut places: Vec<usize> = (0..end).collect();
        for at in 0..count {
            let other = at + self.below(end - at);
            places.swap(at, other);
        }
        places.truncate(count);
        places
    }
}

fn mix(counter: u64) -> u64 {
    let mut z = counter;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_the_published_sequence_for_seed_1234567() {
        // Test vector widely used for SplitMix64 (Rosetta Code, "Pseudo-random numbers/Splitmix64").
        let mut random = Random { counter: 1_234_567 };
        assert_eq!(random.next_u64(), 6_457_827_717_110_365_317);
        assert_eq!(random.next_u64(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn places_are_different_and_below_the_end() {
        let mut random = Random::for_item(3, 4);
        for _ in 0..100 {
            let mut places = random.places(5, 9);
            places.sort_unstable();
            places.dedup();
            assert_eq!(places.len(), 5);
            assert!(places.iter().all(|&place| place < 9));
        }
    }
}
