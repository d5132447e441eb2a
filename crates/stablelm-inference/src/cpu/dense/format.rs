//! The number formats of weights as types, so that a kernel is compiled for each.

use crate::stored::{StoredValues, f32_from_bf16, f32_from_f16};

/// A number format of weights.
pub(super) trait Format {
    /// How a weight is kept.
    type Bits: Copy + Default + Send + Sync;

    /// Whether vector kernels widen the weights of even number first, then those of odd number.
    const EVEN_FIRST: bool = false;

    fn widen(bits: Self::Bits) -> f32;

    /// Returns the weights of a matrix that is in this format; none of any other.
    fn bits(values: &StoredValues) -> &[Self::Bits];
}

/// The upper half of a single.
pub(super) struct Bf16;

/// IEEE 754 half precision.
pub(super) struct F16;

/// IEEE 754 single precision.
pub(super) struct F32;

impl Format for Bf16 {
    type Bits = u16;

    const EVEN_FIRST: bool = true;

    #[inline]
    fn widen(bits: u16) -> f32 {
        f32_from_bf16(bits)
    }

    fn bits(values: &StoredValues) -> &[u16] {
        match values {
            StoredValues::Bf16(bits) => bits,
            _ => &[],
        }
    }
}

impl Format for F16 {
    type Bits = u16;

    #[inline]
    fn widen(bits: u16) -> f32 {
        f32_from_f16(bits)
    }

    fn bits(values: &StoredValues) -> &[u16] {
        match values {
            StoredValues::F16(bits) => bits,
            _ => &[],
        }
    }
}

impl Format for F32 {
    type Bits = f32;

    #[inline]
    fn widen(bits: f32) -> f32 {
        bits
    }

    fn bits(values: &StoredValues) -> &[f32] {
        match values {
            StoredValues::F32(bits) => bits,
            _ => &[],
        }
    }
}
