//! FP8 E4M3, a number in a byte: a sign, 4 bits of exponent with a bias of 7, 3 bits of mantissa.
//!
//! As in Micikevicius and others, "FP8 Formats for Deep Learning", 2022: there are no infinities, the largest number is
//! [`MAX_F8`], and all ones after the sign is NaN.

use crate::stored::f32_from_f16;

/// The largest number.
pub(crate) const MAX_F8: f32 = 448.0;

/// What [`half_from_f8`] leaves out.
pub(crate) const F8_SCALE: f32 = 256.0;

/// Returns the half of a number divided by [`F8_SCALE`], which every number has, subnormal ones too. NaN stays NaN.
#[inline]
fn half_from_f8(bits: u8) -> u16 {
    // A half has the same fields in other widths: the bias of 15 in place of 7 is what divides.
    let magnitude = u16::from(bits & 0x7f) << 7;
    // The carry of NaN alone, and no other number, gets as far as the top of the exponent.
    let nan = (magnitude + 0x80) & 0x4000;
    u16::from(bits & 0x80) << 8 | magnitude | nan
}

/// Widens a number, exactly.
#[inline]
pub(crate) fn f32_from_f8(bits: u8) -> f32 {
    f32_from_f16(half_from_f8(bits)) * F8_SCALE
}

/// Rounds to nearest, ties to even; what is larger than [`MAX_F8`] becomes that. NaN stays NaN.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a sign and the seven bits of a magnitude"
)]
#[inline]
pub(crate) fn f8_from_f32(value: f32) -> u8 {
    const REBIAS: u32 = (127 - 7) << 23;
    /// The smallest number that is not subnormal.
    const NORMAL: f32 = 0.015_625;
    /// Its last place is that of subnormal numbers: adding it lets the hardware round there.
    const ROUNDER: f32 = 16384.0;
    let sign = (value.to_bits() >> 24 & 0x80) as u8;
    let magnitude = value.to_bits() & 0x7fff_ffff;
    let bounded = magnitude.min(MAX_F8.to_bits());
    let rounded = if value.is_nan() {
        0x7f
    } else if magnitude < NORMAL.to_bits() {
        (f32::from_bits(magnitude) + ROUNDER).to_bits() - ROUNDER.to_bits()
    } else {
        (bounded - REBIAS + 0x7_ffff + (bounded >> 20 & 1)) >> 20
    };
    rounded as u8 | sign
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns what a code stands for, by the definition; `None` is NaN.
    fn defined(code: u8) -> Option<f64> {
        let (exponent, mantissa) = (i32::from(code >> 3 & 15), f64::from(code & 7));
        let magnitude = match (code & 0x7f, exponent) {
            (0x7f, _) => return None,
            (_, 0) => mantissa / 8.0 * 2f64.powi(1 - 7),
            _ => (1.0 + mantissa / 8.0) * 2f64.powi(exponent - 7),
        };
        Some(if code < 0x80 { magnitude } else { -magnitude })
    }

    /// Returns the nearest number by looking at each; of two as near, the even one.
    fn nearest(value: f32) -> u8 {
        // The largest is the nearest of infinity as well.
        let magnitude = f64::from(value.abs().min(1e9));
        let distance = |code: &u8| (defined(*code).unwrap() - magnitude).abs();
        let codes = (0..0x7fu8).min_by(|left, right| {
            let parity = (left & 1).cmp(&(right & 1));
            distance(left).total_cmp(&distance(right)).then(parity)
        });
        codes.unwrap() | if value.is_sign_negative() { 0x80 } else { 0 }
    }

    #[test]
    fn every_code_is_widened_exactly() {
        for code in 0..=255 {
            let found = f32_from_f8(code);
            match defined(code) {
                Some(expected) => {
                    let found = f64::from(found).to_bits();
                    assert_eq!(found, expected.to_bits(), "{code:#x}");
                }
                None => assert!(found.is_nan(), "{code:#x}"),
            }
            assert_eq!(f8_from_f32(found), code);
        }
        let largest = f32_from_f8(0x7e);
        assert_eq!((largest, f32_from_f8(1)), (MAX_F8, 2f32.powi(-9)));
    }

    #[test]
    fn numbers_are_rounded_to_the_nearest_and_ties_to_even() {
        let mut values: Vec<f32> = (0..100_000u32)
            .map(|i| f32::from_bits(i.wrapping_mul(0x9e37_79b9)))
            .filter(|value| !value.is_nan())
            .collect();
        // Most bits are those of numbers far too large or small: as many of a size that is near.
        values.extend((0..100_000u32).map(|i| f32::from_bits(0x3a00_0000 + i * 0x6e1)));
        // Each number, the middle between it and the next, and what lies right beside both.
        for code in 0..0x7e {
            let (low, high) = (f32_from_f8(code), f32_from_f8(code + 1));
            for value in [low, f32::midpoint(low, high)] {
                values.extend([value.next_down(), value, value.next_up()]);
            }
        }
        values.extend([448.0, 463.0, 464.0, 480.0, 1e9, f32::INFINITY]);
        values.push(f32::from_bits(1));
        for value in values {
            for value in [value, -value] {
                assert_eq!(f8_from_f32(value), nearest(value), "{value:e}");
            }
        }
        for bits in [0x7fc0_0000, 0x7f80_0001, 0x7fff_ffff] {
            let nan = f32::from_bits(bits);
            assert_eq!((f8_from_f32(nan), f8_from_f32(-nan)), (0x7f, 0xff));
        }
    }
}
