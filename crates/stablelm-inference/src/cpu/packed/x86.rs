//! Vectors of 16 lanes in x86-64's registers.

#![expect(
    clippy::inline_always,
    reason = "vector code must take on the instructions of the function that calls it"
)]

use std::arch::x86_64::{
    __m256, __m256i, __m512, __m512i, _MM_HINT_T0, _MM_HINT_T1, _mm_loadu_si128, _mm_prefetch,
    _mm_unpackhi_epi64, _mm256_abs_epi8, _mm256_add_epi16, _mm256_add_epi32, _mm256_add_ps,
    _mm256_and_si256, _mm256_broadcastsi128_si256, _mm256_cvtepi32_ps, _mm256_cvtepu8_epi32,
    _mm256_cvtph_ps, _mm256_loadu_si256, _mm256_madd_epi16, _mm256_maddubs_epi16, _mm256_mul_ps,
    _mm256_or_si256, _mm256_set1_epi8, _mm256_set1_epi16, _mm256_set1_epi32, _mm256_set1_ps,
    _mm256_setzero_si256, _mm256_shuffle_epi8, _mm256_sign_epi8, _mm256_slli_epi16,
    _mm256_srai_epi16, _mm256_srli_epi16, _mm256_storeu_ps, _mm256_xor_si256, _mm512_add_epi16,
    _mm512_add_epi32, _mm512_add_ps, _mm512_and_si512, _mm512_cvtepi8_epi32, _mm512_cvtepi32_ps,
    _mm512_cvtepu8_epi32, _mm512_cvtph_ps, _mm512_dpbusd_epi32, _mm512_loadu_si512,
    _mm512_madd_epi16, _mm512_maddubs_epi16, _mm512_mul_ps, _mm512_or_si512, _mm512_set1_epi8,
    _mm512_set1_epi16, _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_si512, _mm512_slli_epi16,
    _mm512_slli_epi32, _mm512_srai_epi16, _mm512_srli_epi16, _mm512_storeu_ps,
};

use crate::cpu::packed::kernel::{Format, Lanes, multiply, twice_lower_half};
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
    type Sums = __m512i;
    type Small = __m512i;
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
    unsafe fn no_sums() -> __m512i {
        // SAFETY: the caller has the instructions.
        unsafe { _mm512_setzero_si512() }
    }

    #[inline(always)]
    unsafe fn multiply_add(sums: __m512i, bytes: __m512i, word: u32) -> __m512i {
        // SAFETY: the caller has the instructions.
        unsafe {
            let word = _mm512_set1_epi32(word.cast_signed());
            if VNNI {
                _mm512_dpbusd_epi32(sums, bytes, word)
            } else {
                _mm512_add_epi16(sums, _mm512_maddubs_epi16(bytes, word))
            }
        }
    }

    #[inline(always)]
    unsafe fn add_sums(left: __m512i, right: __m512i) -> __m512i {
        // SAFETY: the caller has the instructions.
        unsafe {
            if VNNI {
                _mm512_add_epi32(left, right)
            } else {
                _mm512_add_epi16(left, right)
            }
        }
    }

    #[inline(always)]
    unsafe fn scaled<const N: usize>(
        sums: [__m512i; N],
        start: Option<u32>,
        small: __m512i,
    ) -> __m512 {
        // SAFETY: the caller has the instructions.
        unsafe {
            if VNNI {
                let start = _mm512_set1_epi32(start.map_or(0, twice_lower_half));
                let sum = sums
                    .into_iter()
                    .fold(start, |left, right| _mm512_add_epi32(left, right));
                _mm512_mul_ps(_mm512_cvtepi32_ps(sum), _mm512_cvtepi32_ps(small))
            } else {
                let start = _mm512_set1_epi32(start.unwrap_or_default().cast_signed());
                let start = _mm512_madd_epi16(start, small);
                let sum = sums.into_iter().fold(start, |left, right| {
                    _mm512_add_epi32(left, _mm512_madd_epi16(right, small))
                });
                _mm512_cvtepi32_ps(sum)
            }
        }
    }

    #[inline(always)]
    unsafe fn one() -> __m512i {
        // SAFETY: the caller has the instructions.
        unsafe {
            if VNNI {
                _mm512_set1_epi32(1)
            } else {
                _mm512_set1_epi16(1)
            }
        }
    }

    #[inline(always)]
    unsafe fn small_signed(from: &[u8; PANEL]) -> __m512i {
        // SAFETY: the caller has the instructions.
        unsafe {
            let small = _mm512_cvtepi8_epi32(_mm_loadu_si128(from.as_ptr().cast()));
            if VNNI { small } else { twice(small) }
        }
    }

    #[inline(always)]
    unsafe fn small_unsigned(from: &[u8; PANEL]) -> __m512i {
        // SAFETY: the caller has the instructions.
        unsafe {
            let small = _mm512_cvtepu8_epi32(_mm_loadu_si128(from.as_ptr().cast()));
            if VNNI { small } else { twice(small) }
        }
    }

    #[inline(always)]
    unsafe fn begin_wide(start: i32) -> __m512i {
        // SAFETY: the caller has the instructions.
        unsafe { _mm512_set1_epi32(start) }
    }

    #[inline(always)]
    unsafe fn multiply_add_wide(sums: __m512i, bytes: __m512i, word: u32) -> __m512i {
        // SAFETY: the caller has the instructions.
        unsafe {
            let word = _mm512_set1_epi32(word.cast_signed());
            if VNNI {
                return _mm512_dpbusd_epi32(sums, bytes, word);
            }
            // Pairs of products of such bytes do not fit 16 bits: multiply even and odd ones as 16 bits.
            let even = _mm512_madd_epi16(
                _mm512_and_si512(bytes, _mm512_set1_epi16(0xff)),
                _mm512_srai_epi16::<8>(_mm512_slli_epi16::<8>(word)),
            );
            let odd =
                _mm512_madd_epi16(_mm512_srli_epi16::<8>(bytes), _mm512_srai_epi16::<8>(word));
            _mm512_add_epi32(sums, _mm512_add_epi32(even, odd))
        }
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
    unsafe fn prefetch_after(address: *const u8) {
        // As far as the first level cache holds beside the activations.
        let address = address.wrapping_add(8192).cast();
        // SAFETY: the caller has the instructions.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address) }
    }
}

impl Lanes for Avx2 {
    type Bytes = [__m256i; 2];
    type Ints = [__m256i; 2];
    type Sums = [__m256i; 2];
    type Small = [__m256i; 2];
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
    unsafe fn no_sums() -> [__m256i; 2] {
        // SAFETY: the caller has the instructions.
        unsafe { [_mm256_setzero_si256(); 2] }
    }

    #[inline(always)]
    unsafe fn multiply_add(sums: [__m256i; 2], bytes: [__m256i; 2], word: u32) -> [__m256i; 2] {
        // SAFETY: the caller has the instructions.
        unsafe {
            let word = _mm256_set1_epi32(word.cast_signed());
            [
                _mm256_add_epi16(sums[0], _mm256_maddubs_epi16(bytes[0], word)),
                _mm256_add_epi16(sums[1], _mm256_maddubs_epi16(bytes[1], word)),
            ]
        }
    }

    #[inline(always)]
    unsafe fn add_sums(left: [__m256i; 2], right: [__m256i; 2]) -> [__m256i; 2] {
        // SAFETY: the caller has the instructions.
        unsafe {
            [
                _mm256_add_epi16(left[0], right[0]),
                _mm256_add_epi16(left[1], right[1]),
            ]
        }
    }

    #[inline(always)]
    unsafe fn scaled<const N: usize>(
        sums: [[__m256i; 2]; N],
        start: Option<u32>,
        small: [__m256i; 2],
    ) -> [__m256; 2] {
        // SAFETY: the caller has the instructions.
        unsafe {
            let times_small = |pairs: [__m256i; 2]| {
                [
                    _mm256_madd_epi16(pairs[0], small[0]),
                    _mm256_madd_epi16(pairs[1], small[1]),
                ]
            };
            let mut all = times_small(sums[0]);
            for sums in &sums[1..] {
                all = Self::add_ints(all, times_small(*sums));
            }
            if let Some(start) = start {
                let start = _mm256_set1_epi32(start.cast_signed());
                all = Self::add_ints(all, times_small([start; 2]));
            }
            Self::to_floats(all)
        }
    }

    #[inline(always)]
    unsafe fn one() -> [__m256i; 2] {
        // SAFETY: the caller has the instructions.
        unsafe { [_mm256_set1_epi16(1); 2] }
    }

    #[inline(always)]
    unsafe fn small_signed(from: &[u8; PANEL]) -> [__m256i; 2] {
        // SAFETY: the caller has the instructions.
        unsafe {
            let [low, high] = in_pairs::<1>(from);
            [_mm256_srai_epi16::<8>(low), _mm256_srai_epi16::<8>(high)]
        }
    }

    #[inline(always)]
    unsafe fn small_unsigned(from: &[u8; PANEL]) -> [__m256i; 2] {
        // SAFETY: the caller has the instructions.
        unsafe { in_pairs::<0>(from) }
    }

    #[inline(always)]
    unsafe fn begin_wide(_start: i32) -> [__m256i; 2] {
        // SAFETY: the caller has the instructions.
        unsafe { [_mm256_setzero_si256(); 2] }
    }

    #[inline(always)]
    unsafe fn multiply_add_wide(
        sums: [__m256i; 2],
        bytes: [__m256i; 2],
        word: u32,
    ) -> [__m256i; 2] {
        let mut result = sums;
        for (sums, bytes) in result.iter_mut().zip(bytes) {
            // SAFETY: the caller has the instructions.
            unsafe {
                // The sign goes to the other side, since the instruction takes one side without: at most 128 by 127.
                let signed = _mm256_xor_si256(bytes, _mm256_set1_epi8(-128));
                let word = _mm256_sign_epi8(_mm256_set1_epi32(word.cast_signed()), signed);
                let pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(signed), word);
                *sums = _mm256_add_epi32(*sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
            }
        }
        result
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
    unsafe fn prefetch_after(address: *const u8) {
        // 19 lines, measured on Zen 3: it starts the processor's own reading ahead, which does the rest.
        let address = address.wrapping_add(1216).cast();
        // SAFETY: the caller has the instructions.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(address) }
    }
}

/// Repeats the lower half of each lane in the upper one.
#[inline(always)]
unsafe fn twice(small: __m512i) -> __m512i {
    // SAFETY: the caller has the instructions.
    unsafe {
        let low = _mm512_and_si512(small, _mm512_set1_epi32(0xffff));
        _mm512_or_si512(low, _mm512_slli_epi32::<16>(small))
    }
}

/// Puts each byte twice into a lane of 32 bits, as byte `AT` of both halves, and zeros beside it.
#[inline(always)]
unsafe fn in_pairs<const AT: usize>(from: &[u8; PANEL]) -> [__m256i; 2] {
    const fn places(first: u8, at: usize) -> [u8; 32] {
        let (mut places, mut lane, mut from) = ([0x80; 32], at, first);
        while lane < 32 {
            places[lane] = from;
            places[lane + 2] = from;
            (lane, from) = (lane + 4, from + 1);
        }
        places
    }
    // SAFETY: the caller has the instructions.
    unsafe {
        let bytes = _mm256_broadcastsi128_si256(_mm_loadu_si128(from.as_ptr().cast()));
        let shuffle = |places: [u8; 32]| {
            _mm256_shuffle_epi8(bytes, _mm256_loadu_si256(places.as_ptr().cast()))
        };
        [
            shuffle(const { places(0, AT) }),
            shuffle(const { places(8, AT) }),
        ]
    }
}
