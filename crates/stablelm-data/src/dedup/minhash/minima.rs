//! The least value of each permutation over many hashes: where the time of a signature goes.

use super::permutations::{LANES, PRIME, Permutations};

/// Lowers `minima` to the least value that each permutation gives one of `hashes`, of which the
/// bits of `mask` count. There are as many groups of minima as of permutations.
pub(super) fn lower(
    minima: &mut [[u64; LANES]],
    permutations: &Permutations,
    hashes: &[u64],
    mask: u64,
) {
    debug_assert_eq!(minima.len(), permutations.multipliers.len());
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512dq") && is_x86_feature_detected!("avx512vl") {
            // SAFETY: the instructions are there, and AVX-512 F and AVX2 are below them.
            return unsafe { x86::lower_avx512(minima, permutations, hashes, mask) };
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the instructions are there.
            return unsafe { x86::lower_avx2(minima, permutations, hashes, mask) };
        }
    }
    lower_here(minima, permutations, hashes, mask);
}

/// The same plain loop, compiled for more instructions.
#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{LANES, Permutations, lower_here};

    #[target_feature(enable = "avx512f,avx512dq,avx512vl")]
    pub(super) fn lower_avx512(
        minima: &mut [[u64; LANES]],
        permutations: &Permutations,
        hashes: &[u64],
        mask: u64,
    ) {
        lower_here(minima, permutations, hashes, mask);
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn lower_avx2(
        minima: &mut [[u64; LANES]],
        permutations: &Permutations,
        hashes: &[u64],
        mask: u64,
    ) {
        lower_here(minima, permutations, hashes, mask);
    }
}

#[expect(
    clippy::inline_always,
    reason = "it must take on the instructions of the function that calls it"
)]
#[inline(always)]
fn lower_here(minima: &mut [[u64; LANES]], permutations: &Permutations, hashes: &[u64], mask: u64) {
    let groups = permutations.multipliers.iter().zip(&permutations.addends);
    for (minima, (multipliers, addends)) in minima.iter_mut().zip(groups) {
        // A group stays in registers while all hashes pass by.
        let mut least = *minima;
        for &hash in hashes {
            for lane in 0..LANES {
                let product = hash
                    .wrapping_mul(multipliers[lane])
                    .wrapping_add(addends[lane]);
                least[lane] = least[lane].min(modulo_prime(product) & mask);
            }
        }
        *minima = least;
    }
}

/// `number mod (2^61 - 1)`: 2^61 is 1 there, so the upper three bits are added to the rest.
#[expect(
    clippy::inline_always,
    reason = "it must take on the instructions of the function that calls it"
)]
#[inline(always)]
fn modulo_prime(number: u64) -> u64 {
    let sum = (number & PRIME) + (number >> 61);
    // Below the prime, the difference wraps and is the greater one.
    sum.min(sum.wrapping_sub(PRIME))
}

#[cfg(test)]
mod tests {
    use super::super::permutations::DrawOrder;
    use super::*;

    /// The definition, number by number.
    fn least(permutations: &Permutations, at: usize, hashes: &[u64], mask: u64) -> u64 {
        let multiplier = permutations.multipliers.as_flattened()[at];
        let addend = permutations.addends.as_flattened()[at];
        let values = hashes
            .iter()
            .map(|hash| hash.wrapping_mul(multiplier).wrapping_add(addend) % PRIME);
        values.map(|value| value & mask).min().unwrap_or(u64::MAX)
    }

    #[test]
    fn the_modulus_is_exact_at_the_borders() {
        let borders = [0, 1, PRIME - 1, PRIME, PRIME + 1, 2 * PRIME, 8 * PRIME];
        for number in borders.into_iter().chain([u64::MAX, u64::MAX - 7, 1 << 61]) {
            assert_eq!(modulo_prime(number), number % PRIME, "{number}");
        }
    }

    #[test]
    fn every_set_of_instructions_gives_the_minima_of_the_definition() {
        let permutations = Permutations::draw(3, 21, DrawOrder::MultipliersFirst);
        let groups = permutations.multipliers.len();
        let mut state = 7_u64;
        let mut hashes = vec![0, u64::MAX, PRIME, PRIME + 1];
        hashes.extend(
            std::iter::repeat_with(|| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                state ^ (state >> 29)
            })
            .take(500),
        );
        for mask in [u64::MAX, u64::from(u32::MAX)] {
            for len in [0, 1, 2, 4, 100, hashes.len()] {
                let hashes = &hashes[..len];
                let check = |minima: Vec<[u64; LANES]>| {
                    for (at, &found) in minima.as_flattened().iter().enumerate() {
                        assert_eq!(found, least(&permutations, at, hashes, mask), "{at} {len}");
                    }
                };
                let fresh = || vec![[u64::MAX; LANES]; groups];
                let mut minima = fresh();
                lower_here(&mut minima, &permutations, hashes, mask);
                check(minima);
                let mut minima = fresh();
                lower(&mut minima, &permutations, hashes, mask);
                check(minima);
                #[cfg(target_arch = "x86_64")]
                if is_x86_feature_detected!("avx2") {
                    let mut minima = fresh();
                    // SAFETY: the instructions are there.
                    unsafe { x86::lower_avx2(&mut minima, &permutations, hashes, mask) };
                    check(minima);
                }
            }
        }
    }
}
