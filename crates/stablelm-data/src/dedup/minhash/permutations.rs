//! The random permutations that a signature takes its minima under.
//!
//! They are those that the published tools draw from NumPy's `RandomState(seed).randint`, so that
//! signatures equal theirs. The generator is MT19937 of Matsumoto and Nishimura, "Mersenne Twister:
//! A 623-dimensionally equidistributed uniform pseudorandom number generator" (1998); its bounded
//! numbers are NumPy's legacy ones: 64 bits, masked, those above the bound thrown away.

/// The Mersenne prime 2^61 - 1.
pub(super) const PRIME: u64 = (1 << 61) - 1;
/// The number of permutations is a multiple of this, so that they can be worked on in groups.
pub(super) const LANES: usize = 8;

/// `(hash * multiplier + addend) mod 2^64 mod (2^61 - 1)` for each pair.
#[derive(Debug)]
pub(super) struct Permutations {
    pub(super) multipliers: Vec<[u64; LANES]>,
    pub(super) addends: Vec<[u64; LANES]>,
}

/// In which order the numbers are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DrawOrder {
    /// All multipliers, then all addends, as datatrove does it.
    MultipliersFirst,
    /// A multiplier and an addend for each permutation, as BigCode's near deduplication does it.
    InPairs,
}

impl Permutations {
    /// Draws `count` of them; the last group is filled up with zeros.
    pub(super) fn draw(seed: u32, count: usize, order: DrawOrder) -> Self {
        let mut generator = Mt19937::new(seed);
        let (multipliers, addends): (Vec<_>, Vec<_>) = match order {
            DrawOrder::MultipliersFirst => {
                let multipliers = generator.take(count, 1);
                (multipliers, generator.take(count, 0))
            }
            DrawOrder::InPairs => std::iter::repeat_with(|| {
                let multiplier = generator.next_between(1, PRIME);
                (multiplier, generator.next_between(0, PRIME))
            })
            .take(count)
            .unzip(),
        };
        Self {
            multipliers: in_groups(&multipliers),
            addends: in_groups(&addends),
        }
    }
}

fn in_groups(numbers: &[u64]) -> Vec<[u64; LANES]> {
    let groups = numbers.chunks(LANES).map(|numbers| {
        let mut group = [0; LANES];
        group[..numbers.len()].copy_from_slice(numbers);
        group
    });
    groups.collect()
}

const STATE_LEN: usize = 624;
const SHIFT_LEN: usize = 397;

struct Mt19937 {
    state: [u32; STATE_LEN],
    next: usize,
}

impl Mt19937 {
    fn new(seed: u32) -> Self {
        let mut state = [seed; STATE_LEN];
        let mut last = seed;
        for (number, place) in (1_u32..).zip(&mut state[1..]) {
            last = (last ^ (last >> 30))
                .wrapping_mul(1_812_433_253)
                .wrapping_add(number);
            *place = last;
        }
        Self {
            state,
            next: STATE_LEN,
        }
    }

    fn take(&mut self, count: usize, low: u64) -> Vec<u64> {
        std::iter::repeat_with(|| self.next_between(low, PRIME))
            .take(count)
            .collect()
    }

    /// A number from `low` up to but without `high`.
    fn next_between(&mut self, low: u64, high: u64) -> u64 {
        let range = high - 1 - low;
        let mask = u64::MAX >> range.leading_zeros();
        loop {
            let number = self.next_u64() & mask;
            if number <= range {
                return low + number;
            }
        }
    }

    fn next_u64(&mut self) -> u64 {
        let high = u64::from(self.next_u32());
        (high << 32) | u64::from(self.next_u32())
    }

    fn next_u32(&mut self) -> u32 {
        if self.next == STATE_LEN {
            self.twist();
            self.next = 0;
        }
        let mut number = self.state[self.next];
        self.next += 1;
        number ^= number >> 11;
        number ^= (number << 7) & 0x9d2c_5680;
        number ^= (number << 15) & 0xefc6_0000;
        number ^ (number >> 18)
    }

    fn twist(&mut self) {
        for index in 0..STATE_LEN {
            let following = self.state[(index + 1) % STATE_LEN];
            let joined = (self.state[index] & 0x8000_0000) | (following & 0x7fff_ffff);
            let odd = if joined & 1 == 1 { 0x9908_b0df } else { 0 };
            self.state[index] = self.state[(index + SHIFT_LEN) % STATE_LEN] ^ (joined >> 1) ^ odd;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flat(groups: &[[u64; LANES]], count: usize) -> Vec<u64> {
        groups.as_flattened()[..count].to_vec()
    }

    #[test]
    fn seed_1_gives_the_parameters_of_datatrove() {
        let Some(oracles) = stablelm_testkit::shared_oracles() else {
            eprintln!("skipped: there are no golden values beside the repository");
            return;
        };
        let path = oracles.join("data/minhash_params_seed1.json");
        let golden: serde_json::Value =
            serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let drawn = Permutations::draw(1, 112, DrawOrder::MultipliersFirst);
        for (name, found) in [("a", &drawn.multipliers), ("b", &drawn.addends)] {
            let expected: Vec<u64> = serde_json::from_value(golden[name].clone()).unwrap();
            assert_eq!(flat(found, 112), expected, "{name}");
        }
    }

    /// First and last of each, from NumPy 2.4.6.
    #[test]
    fn other_seeds_and_counts_give_the_numbers_of_numpy() {
        fn check(seed: u32, count: usize, order: DrawOrder, expected: [u64; 4]) {
            let drawn = Permutations::draw(seed, count, order);
            let (a, b) = (flat(&drawn.multipliers, count), flat(&drawn.addends, count));
            assert_eq!(
                [a[0], a[count - 1], b[0], b[count - 1]],
                expected,
                "{seed} {count} {order:?}"
            );
        }
        check(
            1,
            112,
            DrawOrder::MultipliersFirst,
            [
                775_169_054_918_279_404,
                223_865_076_026_037_746,
                1_062_448_801_025_099_917,
                1_097_409_548_522_419_201,
            ],
        );
        check(
            42,
            112,
            DrawOrder::MultipliersFirst,
            [
                2_297_359_619_001_564_596,
                668_164_788_960_253_724,
                1_008_993_515_362_167_465,
                2_171_473_285_054_116_309,
            ],
        );
        check(
            7,
            250,
            DrawOrder::MultipliersFirst,
            [
                1_407_639_518_939_636_933,
                1_523_680_284_191_896_503,
                375_700_857_818_661_833,
                1_614_632_709_055_507_233,
            ],
        );
        check(
            42,
            9000,
            DrawOrder::MultipliersFirst,
            [
                2_297_359_619_001_564_596,
                1_050_434_071_774_983_648,
                711_638_714_908_796_913,
                1_319_677_430_654_950_411,
            ],
        );
        check(
            u32::MAX,
            13,
            DrawOrder::MultipliersFirst,
            [
                1_800_993_050_274_709_795,
                1_368_756_502_451_979_146,
                1_047_173_058_740_498_476,
                1_854_747_921_990_304_215,
            ],
        );
        check(
            42,
            256,
            DrawOrder::InPairs,
            [
                2_297_359_619_001_564_596,
                2_092_141_031_243_851_673,
                1_396_682_528_897_996_046,
                797_693_216_700_694_537,
            ],
        );
    }
}
