//! Sixteen numbers at a time, with whatever instructions there are, and the functions made of them.
//!
//! A kernel is written once, over [`Simd`], and compiled for each [`Level`]. Levels differ in rounding alone: those
//! with a fused multiply-add round once where the others round twice.

use crate::cpu::level::Level;
use crate::f8::f32_from_f8;
use crate::stored::{f16_from_f32, f32_from_f16};

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(test)]
mod tests;

/// How many numbers a [`Simd::Lanes`] holds.
pub(crate) const LANES: usize = 16;

/// The largest finite half.
pub(crate) const MAX_HALF: f32 = 65504.0;

/// The instructions of one level. A value is proof that the processor has them.
pub(crate) trait Simd: Copy {
    /// [`LANES`] numbers.
    type Lanes: Copy;
    /// Whether there are registers for some 24 sums, rather than 8.
    const MANY_REGISTERS: bool;

    /// Asks for the memory at `place`, which need not be anyone's, to be brought near.
    fn prefetch<T>(self, place: *const T);
    fn splat(self, value: f32) -> Self::Lanes;
    fn load(self, values: &[f32; LANES]) -> Self::Lanes;
    fn store(self, lanes: Self::Lanes, values: &mut [f32; LANES]);
    /// Widens halves, exactly.
    fn load_halves(self, bits: &[u16; LANES]) -> Self::Lanes;
    /// Rounds to halves, ties to even; what is larger than [`MAX_HALF`] becomes that. A NaN stays one.
    fn store_halves(self, lanes: Self::Lanes, bits: &mut [u16; LANES]);
    /// Widens numbers of FP8 E4M3, exactly. A NaN stays one.
    fn load_f8(self, bits: &[u8; LANES]) -> Self::Lanes;
    fn add(self, left: Self::Lanes, right: Self::Lanes) -> Self::Lanes;
    fn sub(self, left: Self::Lanes, right: Self::Lanes) -> Self::Lanes;
    fn mul(self, left: Self::Lanes, right: Self::Lanes) -> Self::Lanes;
    fn div(self, left: Self::Lanes, right: Self::Lanes) -> Self::Lanes;
    /// Returns `left * right + addend`.
    fn mul_add(self, left: Self::Lanes, right: Self::Lanes, addend: Self::Lanes) -> Self::Lanes;
    /// Returns `left` where it is larger, else `right`: so `right` where either is NaN.
    fn max(self, left: Self::Lanes, right: Self::Lanes) -> Self::Lanes;
    /// Returns `left` where it is smaller, else `right`: so `right` where either is NaN.
    fn min(self, left: Self::Lanes, right: Self::Lanes) -> Self::Lanes;
    /// Rounds to whole numbers, ties to even.
    fn round(self, lanes: Self::Lanes) -> Self::Lanes;
    /// Returns two to the power of whole numbers of -127 to 128; the ends become zero and infinity.
    fn power_of_two(self, exponents: Self::Lanes) -> Self::Lanes;
    /// Returns `then` where `left` is less than `right`, else `otherwise`.
    fn if_less(
        self,
        left: Self::Lanes,
        right: Self::Lanes,
        then: Self::Lanes,
        otherwise: Self::Lanes,
    ) -> Self::Lanes;
    /// Adds up pairwise.
    fn sum(self, lanes: Self::Lanes) -> f32;
    fn largest(self, lanes: Self::Lanes) -> f32;
}

/// Code to be compiled for a level.
///
/// `run`, and all that it calls with its [`Simd`], is `#[inline(always)]`: that is how it takes on the instructions.
pub(crate) trait Kernel {
    type Output;

    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// Runs `kernel` with the instructions of `level`, which this processor has: levels come from [`Level::detect`].
pub(crate) fn run<K: Kernel>(level: Level, kernel: K) -> K::Output {
    debug_assert!(level <= Level::detect());
    match level {
        Level::Portable => kernel.run(Portable),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a level is made only where the processor has its instructions.
        Level::Avx2 => unsafe { avx2::run(kernel) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Level::Avx512 | Level::Avx512Bf16 => unsafe { avx512::run(kernel) },
        #[cfg(not(target_arch = "x86_64"))]
        Level::Avx2 | Level::Avx512 | Level::Avx512Bf16 => kernel.run(Portable),
    }
}

/// Chebyshev fit of `2^x` over -0.5..0.5, highest power first; within 2e-9 before rounding.
const POWER: [f32; 7] = [
    1.546_144_5e-4,
    1.340_042_8e-3,
    9.618_057e-3,
    5.550_327e-2,
    0.240_226_5,
    std::f32::consts::LN_2,
    1.0,
];

/// Returns `2^x` to a relative 2e-7; zero below `2^-126`, infinity from `2^127.5` on. A NaN stays one.
#[expect(clippy::inline_always, reason = "takes on the caller's instructions")]
#[inline(always)]
pub(crate) fn exp2<S: Simd>(simd: S, x: S::Lanes) -> S::Lanes {
    let x = simd.max(simd.splat(-127.0), simd.min(simd.splat(128.0), x));
    let whole = simd.round(x);
    let value = polynomial(simd, simd.sub(x, whole), &POWER);
    simd.mul(value, simd.power_of_two(whole))
}

/// Returns the value of a polynomial, by Horner's rule.
#[expect(clippy::inline_always, reason = "takes on the caller's instructions")]
#[inline(always)]
fn polynomial<S: Simd>(simd: S, x: S::Lanes, coefficients: &[f32]) -> S::Lanes {
    let (first, rest) = coefficients.split_at(1);
    let mut value = simd.splat(first[0]);
    for coefficient in rest {
        value = simd.mul_add(value, x, simd.splat(*coefficient));
    }
    value
}

/// Returns `1 / (1 + e^-x)`.
#[expect(clippy::inline_always, reason = "takes on the caller's instructions")]
#[inline(always)]
pub(crate) fn sigmoid<S: Simd>(simd: S, x: S::Lanes) -> S::Lanes {
    let one = simd.splat(1.0);
    let power = exp2(simd, simd.mul(x, simd.splat(-std::f32::consts::LOG2_E)));
    simd.div(one, simd.add(one, power))
}

/// Chebyshev fit of `erf(sqrt(u)) / sqrt(u)` over 0..1, highest power first; within 2e-9.
const ERF_NEAR: [f32; 7] = [
    7.875_875e-5,
    -8.016_864_4e-4,
    5.189_087_4e-3,
    -2.685_421_2e-2,
    0.112_835_95,
    -0.376_126_26,
    std::f32::consts::FRAC_2_SQRT_PI,
];

/// Chebyshev fit of `log2(1 - erf(x))` over 1..4, highest power first; within 3e-8.
const ERF_FAR: [f32; 9] = [
    2.361_910_2e-6,
    -6.644_771e-5,
    8.610_085e-4,
    -6.866_646e-3,
    3.811_764_2e-2,
    -0.158_811_99,
    -0.911_532_3,
    -1.630_582_2,
    4.618_615_8e-4,
];

/// Returns the error function, within 2e-7 of it.
///
/// Up to 1 a polynomial in the square of `x`; beyond, `1 - 2^p(x)`, where `p` is fitted to the logarithm of the
/// complement: an error of `p` weighs only as much as that is worth.
#[expect(clippy::inline_always, reason = "takes on the caller's instructions")]
#[inline(always)]
pub(crate) fn erf<S: Simd>(simd: S, x: S::Lanes) -> S::Lanes {
    let zero = simd.splat(0.0);
    let one = simd.splat(1.0);
    let negative = simd.sub(zero, x);
    let size = simd.if_less(x, zero, negative, x);
    let near = simd.mul(x, polynomial(simd, simd.mul(x, x), &ERF_NEAR));
    // The complement is below half a unit in the last place of 1 from there on.
    let far = polynomial(simd, simd.min(simd.splat(4.0), size), &ERF_FAR);
    let far = simd.sub(one, exp2(simd, far));
    let far = simd.if_less(x, zero, simd.sub(zero, far), far);
    simd.if_less(one, size, far, near)
}

/// Plain code, for any processor; the compiler makes of it what it can.
#[derive(Clone, Copy)]
pub(crate) struct Portable;

impl Portable {
    fn map(left: [f32; LANES], function: impl Fn(f32) -> f32) -> [f32; LANES] {
        left.map(function)
    }

    fn zip(
        left: [f32; LANES],
        right: [f32; LANES],
        function: impl Fn(f32, f32) -> f32,
    ) -> [f32; LANES] {
        std::array::from_fn(|lane| function(left[lane], right[lane]))
    }

    /// Folds the upper half onto the lower one until one value is left.
    fn fold(mut lanes: [f32; LANES], function: impl Fn(f32, f32) -> f32) -> f32 {
        let mut width = LANES / 2;
        while width > 0 {
            for lane in 0..width {
                lanes[lane] = function(lanes[lane], lanes[lane + width]);
            }
            width /= 2;
        }
        lanes[0]
    }
}

impl Simd for Portable {
    type Lanes = [f32; LANES];
    const MANY_REGISTERS: bool = false;

    fn prefetch<T>(self, _: *const T) {}

    fn splat(self, value: f32) -> [f32; LANES] {
        [value; LANES]
    }

    fn load(self, values: &[f32; LANES]) -> [f32; LANES] {
        *values
    }

    fn store(self, lanes: [f32; LANES], values: &mut [f32; LANES]) {
        *values = lanes;
    }

    fn load_halves(self, bits: &[u16; LANES]) -> [f32; LANES] {
        bits.map(f32_from_f16)
    }

    fn store_halves(self, lanes: [f32; LANES], bits: &mut [u16; LANES]) {
        *bits = lanes.map(|value| f16_from_f32(value.clamp(-MAX_HALF, MAX_HALF)));
    }

    fn load_f8(self, bits: &[u8; LANES]) -> [f32; LANES] {
        bits.map(f32_from_f8)
    }

    fn add(self, left: [f32; LANES], right: [f32; LANES]) -> [f32; LANES] {
        Self::zip(left, right, |left, right| left + right)
    }

    fn sub(self, left: [f32; LANES], right: [f32; LANES]) -> [f32; LANES] {
        Self::zip(left, right, |left, right| left - right)
    }

    fn mul(self, left: [f32; LANES], right: [f32; LANES]) -> [f32; LANES] {
        Self::zip(left, right, |left, right| left * right)
    }

    fn div(self, left: [f32; LANES], right: [f32; LANES]) -> [f32; LANES] {
        Self::zip(left, right, |left, right| left / right)
    }

    #[expect(
        clippy::suboptimal_flops,
        reason = "without the instruction, a fused multiply-add is a library call"
    )]
    fn mul_add(
        self,
        left: [f32; LANES],
        right: [f32; LANES],
        addend: [f32; LANES],
    ) -> [f32; LANES] {
        std::array::from_fn(|lane| left[lane] * right[lane] + addend[lane])
    }

    fn max(self, left: [f32; LANES], right: [f32; LANES]) -> [f32; LANES] {
        Self::zip(
            left,
            right,
            |left, right| if left > right { left } else { right },
        )
    }

    fn min(self, left: [f32; LANES], right: [f32; LANES]) -> [f32; LANES] {
        Self::zip(
            left,
            right,
            |left, right| if left < right { left } else { right },
        )
    }

    fn round(self, lanes: [f32; LANES]) -> [f32; LANES] {
        /// Numbers of this size have no fraction, so that adding it rounds.
        const WHOLE: f32 = 12_582_912.0;
        Self::map(lanes, |value| (value + WHOLE) - WHOLE)
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "whole numbers of 0 to 255"
    )]
    fn power_of_two(self, exponents: [f32; LANES]) -> [f32; LANES] {
        Self::map(exponents, |exponent| {
            f32::from_bits(((exponent + 127.0) as u32) << 23)
        })
    }

    fn if_less(
        self,
        left: [f32; LANES],
        right: [f32; LANES],
        then: [f32; LANES],
        otherwise: [f32; LANES],
    ) -> [f32; LANES] {
        std::array::from_fn(|lane| {
            if left[lane] < right[lane] {
                then[lane]
            } else {
                otherwise[lane]
            }
        })
    }

    fn sum(self, lanes: [f32; LANES]) -> f32 {
        Self::fold(lanes, |left, right| left + right)
    }

    fn largest(self, lanes: [f32; LANES]) -> f32 {
        Self::fold(lanes, f32::max)
    }
}
