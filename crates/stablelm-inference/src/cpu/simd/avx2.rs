//! [`Simd`] with AVX2, FMA and F16C: two registers for [`LANES`] numbers.

use std::arch::x86_64::{
    __m128i, __m256, __m256i, _CMP_LT_OQ, _MM_FROUND_NO_EXC, _MM_FROUND_TO_NEAREST_INT,
    _MM_HINT_T0, _mm_add_ps, _mm_add_ss, _mm_cvtss_f32, _mm_loadu_si128, _mm_max_ps, _mm_max_ss,
    _mm_movehdup_ps, _mm_movehl_ps, _mm_prefetch, _mm_storeu_si128, _mm256_add_epi16,
    _mm256_add_epi32, _mm256_add_ps, _mm256_and_si256, _mm256_blendv_ps, _mm256_castps256_ps128,
    _mm256_castsi256_ps, _mm256_castsi256_si128, _mm256_cmp_ps, _mm256_cvtepi8_epi16,
    _mm256_cvtph_ps, _mm256_cvtps_epi32, _mm256_cvtps_ph, _mm256_div_ps, _mm256_extractf128_ps,
    _mm256_extracti128_si256, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_max_ps, _mm256_min_ps,
    _mm256_mul_ps, _mm256_or_si256, _mm256_round_ps, _mm256_set1_epi16, _mm256_set1_epi32,
    _mm256_set1_ps, _mm256_slli_epi16, _mm256_slli_epi32, _mm256_storeu_ps, _mm256_sub_ps,
};

use super::{Kernel, LANES, MAX_HALF, Simd};
use crate::f8::F8_SCALE;

const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;

/// Exists only inside of [`run`].
#[derive(Clone, Copy)]
struct Avx2(());

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn run<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Avx2(()))
}

#[derive(Clone, Copy)]
struct Pair(__m256, __m256);

/// Returns two to the power of whole numbers, half of what [`Simd::power_of_two`] does.
#[target_feature(enable = "avx2")]
fn power_of_two(exponents: __m256) -> __m256 {
    let biased = _mm256_add_epi32(_mm256_cvtps_epi32(exponents), _mm256_set1_epi32(127));
    _mm256_castsi256_ps(_mm256_slli_epi32::<23>(biased))
}

/// Returns the halves of numbers of FP8 E4M3 divided by [`F8_SCALE`], as [`f8`](crate::f8) makes one.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn halves_from_f8(bits: __m128i) -> __m256i {
    let shifted = _mm256_slli_epi16::<7>(_mm256_cvtepi8_epi16(bits));
    // The sign is spread over two bits, of which the lower one is the exponent's.
    let halves = _mm256_and_si256(shifted, _mm256_set1_epi16(!0x4000));
    let carries = _mm256_add_epi16(halves, _mm256_set1_epi16(0x80));
    let nan = _mm256_and_si256(carries, _mm256_set1_epi16(0x4000));
    _mm256_or_si256(halves, nan)
}

#[expect(
    clippy::inline_always,
    reason = "takes on the instructions of the function that calls it"
)]
impl Simd for Avx2 {
    type Lanes = Pair;
    const MANY_REGISTERS: bool = false;

    #[inline(always)]
    fn prefetch<T>(self, place: *const T) {
        // SAFETY: `self` is proof of the instructions; this one never faults.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(place.cast()) }
    }

    #[inline(always)]
    fn splat(self, value: f32) -> Self::Lanes {
        // SAFETY: `self` is proof of the instructions.
        unsafe { Pair(_mm256_set1_ps(value), _mm256_set1_ps(value)) }
    }

    #[inline(always)]
    fn load(self, values: &[f32; LANES]) -> Self::Lanes {
        // SAFETY: `self` is proof of the instructions; the reference is to as many values.
        unsafe {
            let start = values.as_ptr();
            Pair(_mm256_loadu_ps(start), _mm256_loadu_ps(start.add(8)))
        }
    }

    #[inline(always)]
    fn store(self, lanes: Self::Lanes, values: &mut [f32; LANES]) {
        // SAFETY: `self` is proof of the instructions; the reference is to as many values.
        unsafe {
            let start = values.as_mut_ptr();
            _mm256_storeu_ps(start, lanes.0);
            _mm256_storeu_ps(start.add(8), lanes.1);
        }
    }

    #[inline(always)]
    fn load_halves(self, bits: &[u16; LANES]) -> Self::Lanes {
        // SAFETY: `self` is proof of the instructions; the reference is to as many values.
        unsafe {
            let start: *const __m128i = bits.as_ptr().cast();
            let upper = _mm_loadu_si128(start.add(1));
            Pair(
                _mm256_cvtph_ps(_mm_loadu_si128(start)),
                _mm256_cvtph_ps(upper),
            )
        }
    }

    #[inline(always)]
    fn store_halves(self, lanes: Self::Lanes, bits: &mut [u16; LANES]) {
        let most = self.splat(MAX_HALF);
        let least = self.splat(-MAX_HALF);
        let lanes = self.max(least, self.min(most, lanes));
        // SAFETY: `self` is proof of the instructions; the reference is to as many values.
        unsafe {
            let start: *mut __m128i = bits.as_mut_ptr().cast();
            _mm_storeu_si128(start, _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(lanes.0));
            _mm_storeu_si128(
                start.add(1),
                _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(lanes.1),
            );
        }
    }

    #[inline(always)]
    fn load_f8(self, bits: &[u8; LANES]) -> Self::Lanes {
        // SAFETY: `self` is proof of the instructions; the reference is to as many values.
        let lanes = unsafe {
            let halves = halves_from_f8(_mm_loadu_si128(bits.as_ptr().cast()));
            Pair(
                _mm256_cvtph_ps(_mm256_castsi256_si128(halves)),
                _mm256_cvtph_ps(_mm256_extracti128_si256::<1>(halves)),
            )
        };
        self.mul(lanes, self.splat(F8_SCALE))
    }

    #[inline(always)]
    fn add(self, left: Self::Lanes, right: Self::Lanes) -> Self::Lanes {
        // SAFETY: `self` is proof of the instructions.
        unsafe {
            Pair(
                _mm256_add_ps(left.0, right.0),
                _mm256_add_ps(left.1, right.1),
            )
        }
    }

    #[inline(always)]
    fn sub(self, left: Self::Lanes, right: Self::Lanes) -> Self::Lanes {
        // SAFETY: `self` is proof of the instructions.
        unsafe {
            Pair(
                _mm256_sub_ps(left.0, right.0),
                _mm256_sub_ps(left.1, right.1),
            )
        }
    }

    #[inline(always)]
    fn mul(self, left: Self::Lanes, right: Self::Lanes) -> Self::Lanes {
        // SAFETY: `self` is proof of the instructions.
        unsafe {
            Pair(
                _mm256_mul_ps(left.0, right.0),
                _mm256_mul_ps(left.1, right.1),
            )
        }
    }

    #[inline(always)]
    fn div(self, left: Self::Lanes, right: Self::Lanes) -> Self::Lanes {
        // SAFETY: `self` is proof of the instructions.
        unsafe {
            Pair(
                _mm256_div_ps(left.0, right.0),
                _mm256_div_ps(left.1, right.1),
            )
        }
    }

    #[inline(always)]
    fn mul_add(self, left: Self::Lanes, right: Self::Lanes, addend: Self::Lanes) -> Self::Lanes {
        // SAFETY: `self` is proof of the instructions.
        unsafe {
            Pair(
                _mm256_fmadd_ps(left.0, right.0, addend.0),
                _mm256_fmadd_ps(left.1, right.1, addend.1),
            )
        }
    }

    #[inline(always)]
    fn max(self, left: Self::Lanes, right: Self::Lanes) -> Self::Lanes {
        // SAFETY: `self` is proof of the instructions.
        unsafe {
            Pair(
                _mm256_max_ps(left.0, right.0),
                _mm256_max_ps(left.1, right.1),
            )
        }
    }

    #[inline(always)]
    fn min(self, left: Self::Lanes, right: Self::Lanes) -> Self::Lanes {
        // SAFETY: `self` is proof of the instructions.
        unsafe {
            Pair(
                _mm256_min_ps(left.0, right.0),
                _mm256_min_ps(left.1, right.1),
            )
        }
    }

    #[inline(always)]
    fn round(self, lanes: Self::Lanes) -> Self::Lanes {
        // SAFETY: `self` is proof of the instructions.
        unsafe {
            Pair(
                _mm256_round_ps::<NEAREST>(lanes.0),
                _mm256_round_ps::<NEAREST>(lanes.1),
            )
        }
    }

    #[inline(always)]
    fn power_of_two(self, exponents: Self::Lanes) -> Self::Lanes {
        // SAFETY: `self` is proof of the instructions.
        unsafe { Pair(power_of_two(exponents.0), power_of_two(exponents.1)) }
    }

    #[inline(always)]
    fn if_less(
        self,
        left: Self::Lanes,
        right: Self::Lanes,
        then: Self::Lanes,
        otherwise: Self::Lanes,
    ) -> Self::Lanes {
        // SAFETY: `self` is proof of the instructions.
        unsafe {
            let less = _mm256_cmp_ps::<_CMP_LT_OQ>(left.0, right.0);
            let upper = _mm256_cmp_ps::<_CMP_LT_OQ>(left.1, right.1);
            Pair(
                _mm256_blendv_ps(otherwise.0, then.0, less),
                _mm256_blendv_ps(otherwise.1, then.1, upper),
            )
        }
    }

    #[inline(always)]
    fn sum(self, lanes: Self::Lanes) -> f32 {
        let halves = self.add(lanes, Pair(lanes.1, lanes.0)).0;
        // SAFETY: `self` is proof of the instructions.
        unsafe {
            let quarters = _mm_add_ps(
                _mm256_castps256_ps128(halves),
                _mm256_extractf128_ps::<1>(halves),
            );
            let pairs = _mm_add_ps(quarters, _mm_movehl_ps(quarters, quarters));
            _mm_cvtss_f32(_mm_add_ss(pairs, _mm_movehdup_ps(pairs)))
        }
    }

    #[inline(always)]
    fn largest(self, lanes: Self::Lanes) -> f32 {
        let halves = self.max(lanes, Pair(lanes.1, lanes.0)).0;
        // SAFETY: `self` is proof of the instructions.
        unsafe {
            let quarters = _mm_max_ps(
                _mm256_castps256_ps128(halves),
                _mm256_extractf128_ps::<1>(halves),
            );
            let pairs = _mm_max_ps(quarters, _mm_movehl_ps(quarters, quarters));
            _mm_cvtss_f32(_mm_max_ss(pairs, _mm_movehdup_ps(pairs)))
        }
    }
}
