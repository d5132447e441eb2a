//! Vectors of 16 lanes in x86-64's registers.

#![expect(
    clippy::inline_always,
    reason = "vector code must take on the instructions of the function that calls it"
)]

use std::arch::x86_64::{
    __m256, __m256i, __m512, __m512i, _MM_HINT_T0, _mm_loadu_si128, _mm_prefetch,
    _mm_unpackhi_epi64, _mm256_add_epi32, _mm256_add_ps, _mm256_and_si256, _mm256_cvtepi8_epi32,
    _mm256_cvtepi32_ps, _mm256_cvtepu8_epi32, _mm256_cvtph_ps, _mm256_loadu_si256,
    _mm256_madd_epi16, _mm256_maddubs_epi16, _mm256_mul_ps, _mm256_or_si256, _mm256_set1_epi8,
    _mm256_set1_epi16, _mm256_set1_epi32, _mm256_set1_ps, _mm256_slli_epi16, _mm256_srai_epi16,
    _mm256_srli_epi16, _mm256_storeu_ps, _mm512_add_epi32, _mm512_add_ps, _mm512_and_si512,
    _mm512_cvtepi8_epi32, _mm512_cvtepi32_ps, _mm512_cvtepu8_epi32, _mm512_cvtph_ps,
    _mm512_dpbusd_epi32, _mm512_loadu_si512, _mm512_madd_epi16, _mm512_maddubs_epi16,
    _mm512_mul_ps, _mm512_or_si512, _mm512_set1_epi8, _mm512_set1_epi16, _mm512_set1_epi32,
    _mm512_set1_ps, _mm512_slli_epi16, _mm512_srai_epi16, _mm512_srli_epi16, _mm512_storeu_ps,
};

use crate::cpu::packed::kernel::{Format, Lanes, multiply};
use crate::cpu::packed::layout::{FACTORS, PANEL, VECTOR};

/// One register of 512 bits, with VNNI's `vpdpbusd` or without.
struct Avx512<const VNNI: bool>;

/// Two registers of 256 bits.
struct Avx2;

/// Multiplies a panel by `P` positions; see [`multiply`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(crate) fn multiply_vnni<F: Format, const P: usize>(
    panel: &[u8],
    columns: usize,
    activations: &[u32],
) -> [[f32; PANEL]; P] {
    // SAFETY: the function's own instructions are those of the type.
    unsafe { multiply::<Avx512<true>, F, P>(panel, columns, activations) }
}

/// Multiplies a panel by `P` positions; see [`multiply`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
pub(crate) fn multiply_avx512<F: Format, const P: usize>(
    panel: &[u8],
    columns: usize,
    activations: &[u32],
) -> [[f32; PANEL]; P] {
    // SAFETY: the function's own instructions are those of the type.
    unsafe { multiply::<Avx512<false>, F, P>(panel, columns, activations) }
}

/// Multiplies a panel by `P` positions; see [`multiply`].
#[target_feature(enable = "avx2,f16c")]
pub(crate) fn multiply_avx2<F: Format, const P: usize>(
    panel: &[u8],
    columns: usize,
    activations: &[u32],
) -> [[f32; PANEL]; P] {
    // SAFETY: the function's own instructions are those of the type.
    unsafe { multiply::<Avx2, F, P>(panel, columns, activations) }
}

/// Moves bit `at` of 16-bit lanes to bit 4 and clears what does not belong to the `bits` bits of each byte.
macro_rules! high {
    ($high:expr, $at:expr, $bits:expr, $left:ident, $right:ident, $and:ident, $mask:ident) => {{
        let moved = match $at {
            0 => $left::<4>($high),
            1 => $left::<3>($high),
            2 => $left::<2>($high),
            3 => $left::<1>($high),
            4 => $high,
            5 => $right::<1>($high),
            6 => $right::<2>($high),
            _ => $right::<3>($high),
        };
        $and(moved, $mask(if $bits == 1 { 0x10 } else { 0x30 }))
    }};
}

impl<const VNNI: bool> Lanes for Avx512<VNNI> {
    type Bytes = __m512i;
    type Ints = __m512i;
    type Floats = __m512;

    #[inline(always)]
    unsafe fn bytes(from: &[u8; VECTOR]) -> __m512i {
        // SAFETY: the caller has the instructions.
        unsafe { _mm512_loadu_si512(from.as_ptr().cast()) }
    }

    #[inline(always)]
    unsafe fn low_nibbles(bytes: __m512i) -> __m512i {
        // SAFETY: the caller has the instructions.
        unsafe { _mm512_and_si512(bytes, _mm512_set1_epi8(15)) }
    }

    #[inline(always)]
    unsafe fn high_nibbles(bytes: __m512i) -> __m512i {
        // SAFETY: the caller has the instructions.
        unsafe { _mm512_and_si512(_mm512_srli_epi16::<4>(bytes), _mm512_set1_epi8(15)) }
    }

    #[inline(always)]
    unsafe fn with_high(bytes: __m512i, high: __m512i, at: usize, bits: usize) -> __m512i {
        // SAFETY: the caller has the instructions.
        unsafe {
            let high = high!(
                high,
                at,
                bits,
                _mm512_slli_epi16,
                _mm512_srli_epi16,
                _mm512_and_si512,
                _mm512_set1_epi8
            );
            _mm512_or_si512(bytes, high)
        }
    }

    #[inline(always)]
    unsafe fn multiply_add<const WIDE: bool>(sums: __m512i, bytes: __m512i, word: u32) -> __m512i {
        // SAFETY: the caller has the instructions.
        unsafe {
            let word = _mm512_set1_epi32(word.cast_signed());
            if VNNI {
                _mm512_dpbusd_epi32(sums, bytes, word)
            } else if WIDE {
                // Pairs of products of such bytes do not fit 16 bits: multiply even and odd ones as 16 bits.
                let even = _mm512_madd_epi16(
                    _mm512_and_si512(bytes, _mm512_set1_epi16(0xff)),
                    _mm512_srai_epi16::<8>(_mm512_slli_epi16::<8>(word)),
                );
                let odd =
                    _mm512_madd_epi16(_mm512_srli_epi16::<8>(bytes), _mm512_srai_epi16::<8>(word));
                _mm512_add_epi32(sums, _mm512_add_epi32(even, odd))
            } else {
                let pairs = _mm512_maddubs_epi16(bytes, word);
                _mm512_add_epi32(sums, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)))
            }
        }
    }

    #[inline(always)]
    unsafe fn splat_int(value: i32) -> __m512i {
        // SAFETY: the caller has the instructions.
        unsafe { _mm512_set1_epi32(value) }
    }

    #[inline(always)]
    unsafe fn add_ints(left: __m512i, right: __m512i) -> __m512i {
        // SAFETY: the caller has the instructions.
        unsafe { _mm512_add_epi32(left, right) }
    }

    #[inline(always)]
    unsafe fn to_floats(ints: __m512i) -> __m512 {
        // SAFETY: the caller has the instructions.
        unsafe { _mm512_cvtepi32_ps(ints) }
    }

    #[inline(always)]
    unsafe fn splat(value: f32) -> __m512 {
        // SAFETY: the caller has the instructions.
        unsafe { _mm512_set1_ps(value) }
    }

    #[inline(always)]
    unsafe fn add(left: __m512, right: __m512) -> __m512 {
        // SAFETY: the caller has the instructions.
        unsafe { _mm512_add_ps(left, right) }
    }

    #[inline(always)]
    unsafe fn multiply(left: __m512, right: __m512) -> __m512 {
        // SAFETY: the caller has the instructions.
        unsafe { _mm512_mul_ps(left, right) }
    }

    #[inline(always)]
    unsafe fn halves(from: &[u8; FACTORS]) -> __m512 {
        // SAFETY: the caller has the instructions.
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(from.as_ptr().cast())) }
    }

    #[inline(always)]
    unsafe fn signed(from: &[u8; PANEL]) -> __m512 {
        // SAFETY: the caller has the instructions.
        unsafe {
            let bytes = _mm_loadu_si128(from.as_ptr().cast());
            _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes))
        }
    }

    #[inline(always)]
    unsafe fn unsigned(from: &[u8; PANEL]) -> __m512 {
        // SAFETY: the caller has the instructions.
        unsafe {
            let bytes = _mm_loadu_si128(from.as_ptr().cast());
            _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes))
        }
    }

    #[inline(always)]
    unsafe fn store(values: __m512, to: &mut [f32; PANEL]) {
        // SAFETY: the caller has the instructions.
        unsafe { _mm512_storeu_ps(to.as_mut_ptr(), values) }
    }

    #[inline(always)]
    unsafe fn prefetch(address: *const u8) {
        // SAFETY: the caller has the instructions.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) }
    }
}

impl Lanes for Avx2 {
    type Bytes = [__m256i; 2];
    type Ints = [__m256i; 2];
    type Floats = [__m256; 2];

    #[inline(always)]
    unsafe fn bytes(from: &[u8; VECTOR]) -> [__m256i; 2] {
        // SAFETY: the caller has the instructions.
        unsafe {
            let address = from.as_ptr();
            [
                _mm256_loadu_si256(address.cast()),
                _mm256_loadu_si256(address.add(32).cast()),
            ]
        }
    }

    #[inline(always)]
    unsafe fn low_nibbles(bytes: [__m256i; 2]) -> [__m256i; 2] {
        // SAFETY: the caller has the instructions.
        unsafe {
            let mask = _mm256_set1_epi8(15);
            [
                _mm256_and_si256(bytes[0], mask),
                _mm256_and_si256(bytes[1], mask),
            ]
        }
    }

    #[inline(always)]
    unsafe fn high_nibbles(bytes: [__m256i; 2]) -> [__m256i; 2] {
        // SAFETY: the caller has the instructions.
        unsafe {
            Self::low_nibbles([
                _mm256_srli_epi16::<4>(bytes[0]),
                _mm256_srli_epi16::<4>(bytes[1]),
            ])
        }
    }

    #[inline(always)]
    unsafe fn with_high(
        bytes: [__m256i; 2],
        high: [__m256i; 2],
        at: usize,
        bits: usize,
    ) -> [__m256i; 2] {
        let mut result = bytes;
        for (bytes, high) in result.iter_mut().zip(high) {
            // SAFETY: the caller has the instructions.
            unsafe {
                let high = high!(
                    high,
                    at,
                    bits,
                    _mm256_slli_epi16,
                    _mm256_srli_epi16,
                    _mm256_and_si256,
                    _mm256_set1_epi8
                );
                *bytes = _mm256_or_si256(*bytes, high);
            }
        }
        result
    }

    #[inline(always)]
    unsafe fn multiply_add<const WIDE: bool>(
        sums: [__m256i; 2],
        bytes: [__m256i; 2],
        word: u32,
    ) -> [__m256i; 2] {
        let mut result = sums;
        for (sums, bytes) in result.iter_mut().zip(bytes) {
            // SAFETY: the caller has the instructions.
            unsafe {
                let word = _mm256_set1_epi32(word.cast_signed());
                let products = if WIDE {
                    // Pairs of products of such bytes do not fit 16 bits: multiply even and odd ones as 16 bits.
                    let even = _mm256_madd_epi16(
                        _mm256_and_si256(bytes, _mm256_set1_epi16(0xff)),
                        _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(word)),
                    );
                    let odd = _mm256_madd_epi16(
                        _mm256_srli_epi16::<8>(bytes),
                        _mm256_srai_epi16::<8>(word),
                    );
                    _mm256_add_epi32(even, odd)
                } else {
                    let pairs = _mm256_maddubs_epi16(bytes, word);
                    _mm256_madd_epi16(pairs, _mm256_set1_epi16(1))
                };
                *sums = _mm256_add_epi32(*sums, products);
            }
        }
        result
    }

    #[inline(always)]
    unsafe fn splat_int(value: i32) -> [__m256i; 2] {
        // SAFETY: the caller has the instructions.
        unsafe { [_mm256_set1_epi32(value); 2] }
    }

    #[inline(always)]
    unsafe fn add_ints(left: [__m256i; 2], right: [__m256i; 2]) -> [__m256i; 2] {
        // SAFETY: the caller has the instructions.
        unsafe {
            [
                _mm256_add_epi32(left[0], right[0]),
                _mm256_add_epi32(left[1], right[1]),
            ]
        }
    }

    #[inline(always)]
    unsafe fn to_floats(ints: [__m256i; 2]) -> [__m256; 2] {
        // SAFETY: the caller has the instructions.
        unsafe { [_mm256_cvtepi32_ps(ints[0]), _mm256_cvtepi32_ps(ints[1])] }
    }

    #[inline(always)]
    unsafe fn splat(value: f32) -> [__m256; 2] {
        // SAFETY: the caller has the instructions.
        unsafe { [_mm256_set1_ps(value); 2] }
    }

    #[inline(always)]
    unsafe fn add(left: [__m256; 2], right: [__m256; 2]) -> [__m256; 2] {
        // SAFETY: the caller has the instructions.
        unsafe {
            [
                _mm256_add_ps(left[0], right[0]),
                _mm256_add_ps(left[1], right[1]),
            ]
        }
    }

    #[inline(always)]
    unsafe fn multiply(left: [__m256; 2], right: [__m256; 2]) -> [__m256; 2] {
        // SAFETY: the caller has the instructions.
        unsafe {
            [
                _mm256_mul_ps(left[0], right[0]),
                _mm256_mul_ps(left[1], right[1]),
            ]
        }
    }

    #[inline(always)]
    unsafe fn halves(from: &[u8; FACTORS]) -> [__m256; 2] {
        // SAFETY: the caller has the instructions.
        unsafe {
            let address = from.as_ptr();
            [
                _mm256_cvtph_ps(_mm_loadu_si128(address.cast())),
                _mm256_cvtph_ps(_mm_loadu_si128(address.add(16).cast())),
            ]
        }
    }

    #[inline(always)]
    unsafe fn signed(from: &[u8; PANEL]) -> [__m256; 2] {
        // SAFETY: the caller has the instructions.
        unsafe {
            let bytes = _mm_loadu_si128(from.as_ptr().cast());
            Self::to_floats([
                _mm256_cvtepi8_epi32(bytes),
                _mm256_cvtepi8_epi32(_mm_unpackhi_epi64(bytes, bytes)),
            ])
        }
    }

    #[inline(always)]
    unsafe fn unsigned(from: &[u8; PANEL]) -> [__m256; 2] {
        // SAFETY: the caller has the instructions.
        unsafe {
            let bytes = _mm_loadu_si128(from.as_ptr().cast());
            Self::to_floats([
                _mm256_cvtepu8_epi32(bytes),
                _mm256_cvtepu8_epi32(_mm_unpackhi_epi64(bytes, bytes)),
            ])
        }
    }

    #[inline(always)]
    unsafe fn store(values: [__m256; 2], to: &mut [f32; PANEL]) {
        // SAFETY: the caller has the instructions.
        unsafe {
            let address = to.as_mut_ptr();
            _mm256_storeu_ps(address, values[0]);
            _mm256_storeu_ps(address.add(8), values[1]);
        }
    }

    #[inline(always)]
    unsafe fn prefetch(address: *const u8) {
        // SAFETY: the caller has the instructions.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) }
    }
}
