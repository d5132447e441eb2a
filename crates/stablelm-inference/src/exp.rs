//! Sums of exponentials over a vocabulary, many times as fast as one call of `exp` each.
//!
//! Plain arithmetic without branches, in a fixed order, so that compilers make vectors of it and every machine gets the
//! same bits. Within two units in the last place of the mathematical value.

/// How many sums go side by side.
const LANES: usize = 8;

/// Adding this leaves the nearest integer in a number's lowest bits: 1.5 * 2^52.
const TO_INTEGER: f64 = 6_755_399_441_055_744.0;

/// The upper bits of ln 2, few enough that a product with an exponent is exact; and the rest.
const LN_2_UPPER: f64 = f64::from_bits(0x3fe6_2e42_fee0_0000);
const LN_2_LOWER: f64 = f64::from_bits(0x3dea_39ef_3579_3c76);

/// Below this the result is less than twice the smallest normal number, and taken for 0.
const LEAST: f64 = -708.0;

/// Returns e to the `x`, which is at most 0.
///
/// `e^x = 2^n e^r` with `|r| <= ln(2) / 2`, and `e^r` by its series up to `r^13 / 13!`.
#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "vectors are made of it where it is called"
)]
pub(crate) fn exp_negative(x: f64) -> f64 {
    let bounded = if x < LEAST { LEAST } else { x };
    let shifted = bounded * std::f64::consts::LOG2_E + TO_INTEGER;
    let n = shifted - TO_INTEGER;
    let r = (bounded - n * LN_2_UPPER) - n * LN_2_LOWER;
    let mut series = 1.0 / 6_227_020_800.0;
    for factorial in [
        479_001_600.0,
        39_916_800.0,
        3_628_800.0,
        362_880.0,
        40_320.0,
        5_040.0,
        720.0,
        120.0,
        24.0,
        6.0,
        2.0,
        1.0,
        1.0,
    ] {
        series = series * r + 1.0 / factorial;
    }
    // The integer's lowest bits become the exponent's.
    let power = f64::from_bits((shifted.to_bits() << 52).wrapping_add(1023 << 52));
    let value = series * power;
    if x < LEAST { 0.0 } else { value }
}

/// Returns the sum of e to the `value / temperature - best`, where no power is above 0.
///
/// The same on every machine, bit for bit: wider registers only take more of the lanes at once.
pub(crate) fn sum_exp(values: &[f32], temperature: f64, best: f64) -> f64 {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has what the function asks for.
            return unsafe { wide::sum_exp_avx512(values, temperature, best) };
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has what the function asks for.
            return unsafe { wide::sum_exp_avx2(values, temperature, best) };
        }
    }
    sum_exp_plain(values, temperature, best)
}

#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "each caller compiles it for registers of its own"
)]
fn sum_exp_plain(values: &[f32], temperature: f64, best: f64) -> f64 {
    let mut lanes = [0f64; LANES];
    let (whole, rest) = values.as_chunks::<LANES>();
    for chunk in whole {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane += exp_negative(f64::from(*value) / temperature - best);
        }
    }
    for (lane, value) in lanes.iter_mut().zip(rest) {
        *lane += exp_negative(f64::from(*value) / temperature - best);
    }
    lanes.iter().sum()
}

/// The same code for wider registers.
#[cfg(target_arch = "x86_64")]
mod wide {
    #[target_feature(enable = "avx2")]
    pub(super) fn sum_exp_avx2(values: &[f32], temperature: f64, best: f64) -> f64 {
        super::sum_exp_plain(values, temperature, best)
    }

    #[target_feature(enable = "avx512f")]
    pub(super) fn sum_exp_avx512(values: &[f32], temperature: f64, best: f64) -> f64 {
        super::sum_exp_plain(values, temperature, best)
    }
}

/// Returns the largest value; there is at least one, and all are finite.
pub(crate) fn largest(values: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; 2 * LANES];
    let (whole, rest) = values.as_chunks::<{ 2 * LANES }>();
    for chunk in whole {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane = if *value > *lane { *value } else { *lane };
        }
    }
    let both = lanes.iter().chain(rest);
    both.copied().fold(f32::NEG_INFINITY, f32::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_standard_library() {
        let mut x = 0.0f64;
        while x > -800.0 {
            let (found, expected) = (exp_negative(x), x.exp());
            assert!(
                (found - expected).abs() <= 4.0 * f64::EPSILON * expected + 2.0 * f64::MIN_POSITIVE,
                "{x}: {found:e}, expected {expected:e}"
            );
            x -= 0.001_234_567;
        }
        for (x, expected) in [
            (0.0, 1.0f64),
            (-0.0, 1.0),
            (f64::NEG_INFINITY, 0.0),
            (-1e300, 0.0),
        ] {
            assert_eq!(exp_negative(x).to_bits(), expected.to_bits(), "{x}");
        }
    }

    #[test]
    fn sums_and_maxima_are_over_all_values_whatever_their_number() {
        for len in [1u16, 7, 8, 15, 16, 17, 100] {
            let values: Vec<f32> = (0..len)
                .map(|i| f32::from(i * 37 % 101) / 9.0 - 5.0)
                .collect();
            let best = values.iter().copied().fold(f32::MIN, f32::max);
            assert_eq!(largest(&values).to_bits(), best.to_bits());
            let best = f64::from(best);
            let expected: f64 = values
                .iter()
                .map(|value| (f64::from(*value) - best).exp())
                .sum();
            let found = sum_exp(&values, 1.0, best);
            assert!((found - expected).abs() < 1e-12 * expected);
            // Wide registers give the very same sum.
            let plain = sum_exp_plain(&values, 0.7, best / 0.7);
            assert_eq!(sum_exp(&values, 0.7, best / 0.7).to_bits(), plain.to_bits());
        }
    }
}
