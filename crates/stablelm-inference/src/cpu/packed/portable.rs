//! Vectors of 16 lanes in plain code.

use crate::cpu::packed::kernel::{Lanes, twice_lower_half};
use crate::cpu::packed::layout::{FACTORS, GROUP, PANEL, VECTOR};
use crate::stored::f32_from_f16;

/// Arrays, which the compiler puts into whatever registers there are.
pub(crate) struct Portable;

impl Lanes for Portable {
    type Bytes = [u8; VECTOR];
    type Ints = [i32; PANEL];
    type Sums = [i32; PANEL];
    type Small = [f32; PANEL];
    type Floats = [f32; PANEL];

    #[inline]
    unsafe fn bytes(from: &[u8; VECTOR]) -> [u8; VECTOR] {
        *from
    }

    #[inline]
    unsafe fn low_nibbles(bytes: [u8; VECTOR]) -> [u8; VECTOR] {
        bytes.map(|byte| byte & 15)
    }

    #[inline]
    unsafe fn high_nibbles(bytes: [u8; VECTOR]) -> [u8; VECTOR] {
        bytes.map(|byte| byte >> 4)
    }

    #[inline]
    unsafe fn with_high(
        mut bytes: [u8; VECTOR],
        high: [u8; VECTOR],
        at: usize,
        bits: usize,
    ) -> [u8; VECTOR] {
        let mask = (1u8 << bits) - 1;
        for (byte, high) in bytes.iter_mut().zip(high) {
            *byte |= (high >> at & mask) << 4;
        }
        bytes
    }

    #[inline]
    unsafe fn no_sums() -> [i32; PANEL] {
        [0; PANEL]
    }

    #[inline]
    unsafe fn multiply_add(sums: [i32; PANEL], bytes: [u8; VECTOR], word: u32) -> [i32; PANEL] {
        add_products(sums, bytes, word, i32::from)
    }

    #[inline]
    unsafe fn add_sums(left: [i32; PANEL], right: [i32; PANEL]) -> [i32; PANEL] {
        // SAFETY: plain code needs no instructions.
        unsafe { Self::add_ints(left, right) }
    }

    #[inline]
    unsafe fn scaled<const N: usize>(
        sums: [[i32; PANEL]; N],
        start: Option<u32>,
        small: [f32; PANEL],
    ) -> [f32; PANEL] {
        let start = start.map_or(0, twice_lower_half);
        // SAFETY: plain code needs no instructions.
        unsafe {
            let sums = sums
                .into_iter()
                .fold([start; PANEL], |left, right| Self::add_ints(left, right));
            Self::multiply(Self::to_floats(sums), small)
        }
    }

    #[inline]
    unsafe fn one() -> [f32; PANEL] {
        [1.0; PANEL]
    }

    #[inline]
    unsafe fn small_signed(from: &[u8; PANEL]) -> [f32; PANEL] {
        from.map(|byte| f32::from(byte.cast_signed()))
    }

    #[inline]
    unsafe fn small_unsigned(from: &[u8; PANEL]) -> [f32; PANEL] {
        from.map(f32::from)
    }

    #[inline]
    unsafe fn begin_wide(_start: i32) -> [i32; PANEL] {
        [0; PANEL]
    }

    #[inline]
    unsafe fn multiply_add_wide(
        sums: [i32; PANEL],
        bytes: [u8; VECTOR],
        word: u32,
    ) -> [i32; PANEL] {
        add_products(sums, bytes, word, |byte| i32::from(byte) - 128)
    }

    #[inline]
    unsafe fn add_ints(mut left: [i32; PANEL], right: [i32; PANEL]) -> [i32; PANEL] {
        for (left, right) in left.iter_mut().zip(right) {
            *left += right;
        }
        left
    }

    #[inline]
    unsafe fn to_floats(ints: [i32; PANEL]) -> [f32; PANEL] {
        #[expect(
            clippy::cast_precision_loss,
            reason = "sums of 32 products of bytes are below 2^24"
        )]
        ints.map(|int| int as f32)
    }

    #[inline]
    unsafe fn splat(value: f32) -> [f32; PANEL] {
        [value; PANEL]
    }

    #[inline]
    unsafe fn add(mut left: [f32; PANEL], right: [f32; PANEL]) -> [f32; PANEL] {
        for (left, right) in left.iter_mut().zip(right) {
            *left += right;
        }
        left
    }

    #[inline]
    unsafe fn multiply(mut left: [f32; PANEL], right: [f32; PANEL]) -> [f32; PANEL] {
        for (left, right) in left.iter_mut().zip(right) {
            *left *= right;
        }
        left
    }

    #[inline]
    unsafe fn halves(from: &[u8; FACTORS]) -> [f32; PANEL] {
        let mut floats = [0f32; PANEL];
        for (float, bytes) in floats.iter_mut().zip(from.as_chunks().0) {
            *float = f32_from_f16(u16::from_le_bytes(*bytes));
        }
        floats
    }

    #[inline]
    unsafe fn unsigned(from: &[u8; PANEL]) -> [f32; PANEL] {
        from.map(f32::from)
    }

    #[inline]
    unsafe fn store(values: [f32; PANEL], to: &mut [f32; PANEL]) {
        *to = values;
    }

    #[inline]
    unsafe fn prefetch_after(_address: *const u8) {}
}

/// Adds to each lane the products of its four bytes and those of `word`.
#[inline]
fn add_products(
    mut sums: [i32; PANEL],
    bytes: [u8; VECTOR],
    word: u32,
    weight: impl Fn(u8) -> i32,
) -> [i32; PANEL] {
    let right = word.to_le_bytes().map(|byte| i32::from(byte.cast_signed()));
    for (sum, left) in sums.iter_mut().zip(bytes.as_chunks::<GROUP>().0) {
        let products = left
            .iter()
            .zip(right)
            .map(|(left, right)| weight(*left) * right);
        *sum += products.sum::<i32>();
    }
    sums
}
