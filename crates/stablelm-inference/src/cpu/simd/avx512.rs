//! [`Simd`] with AVX-512.

use std::arch::x86_64::{
    __m512, _CMP_LT_OQ, _MM_FROUND_NO_EXC, _MM_FROUND_TO_NEAREST_INT, _MM_HINT_T0, _mm_loadu_si128,
    _mm_prefetch, _mm256_loadu_si256, _mm256_storeu_si256, _mm512_add_epi32, _mm512_add_ps,
    _mm512_castsi512_ps, _mm512_cmp_ps_mask, _mm512_cvtph_ps, _mm512_cvtps_epi32, _mm512_cvtps_ph,
    _mm512_div_ps, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_mask_blend_ps, _mm512_max_ps,
    _mm512_min_ps, _mm512_mul_ps, _mm512_reduce_add_ps, _mm512_reduce_max_ps, _mm512_roundscale_ps,
    _mm512_set1_epi32, _mm512_set1_ps, _mm512_slli_epi32, _mm512_storeu_ps, _mm512_sub_ps,
};

use super::avx2::halves_from_f8;
use super::{Kernel, LANES, MAX_HALF, Simd};
use crate::f8::F8_SCALE;

const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;

/// Exists only inside of [`run`].
#[derive(Clone, Copy)]
struct Avx512(());

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
pub(super) fn run<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Avx512(()))
}

#[expect(
    clippy::inline_always,
    reason = "takes on the instructions of the function that calls it"
)]
impl Simd for Avx512 {
    type Lanes = __m512;
    const MANY_REGISTERS: bool = true;

    #[inline(always)]
    fn prefetch<T>(self, place: *const T) {
        // SAFETY: `self` is proof of the instructions; this one never faults.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(place.cast()) }
    }

    #[inline(always)]
    fn splat(self, value: f32) -> Self::Lanes {
        // SAFETY: `self` is proof of the instructions.
        unsafe { _mm512_set1_ps(value) }
    }

    #[inline(always)]
    fn load(self, values: &[f32; LANES]) -> Self::Lanes {
        // SAFETY: `self` is proof of the instructions; the reference is to as many values.
        unsafe { _mm512_loadu_ps(values.as_ptr()) }
    }

    #[inline(always)]
    fn store(self, lanes: Self::Lanes, values: &mut [f32; LANES]) {
        // SAFETY: `self` is proof of the instructions; the reference is to as many values.
        unsafe { _mm512_storeu_ps(values.as_mut_ptr(), lanes) }
    }

    #[inline(always)]
    fn load_halves(self, bits: &[u16; LANES]) -> Self::Lanes {
        // SAFETY: `self` is proof of the instructions; the reference is to as many values.
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(bits.as_ptr().cast())) }
    }

    #[inline(always)]
    fn store_halves(self, lanes: Self::Lanes, bits: &mut [u16; LANES]) {
        let most = self.splat(MAX_HALF);
        let least = self.splat(-MAX_HALF);
        let lanes = self.max(least, self.min(most, lanes));
        // SAFETY: `self` is proof of the instructions; the reference is to as many values.
        unsafe {
            let halves = _mm512_cvtps_ph::<NEAREST>(lanes);
            _mm256_storeu_si256(bits.as_mut_ptr().cast(), halves);
        }
    }

    #[inline(always)]
    fn load_f8(self, bits: &[u8; LANES]) -> Self::Lanes {
        // SAFETY: `self` is proof of the instructions; the reference is to as many values.
        let lanes = unsafe {
            let bits = _mm_loadu_si128(bits.as_ptr().cast());
            _mm512_cvtph_ps(halves_from_f8(bits))
        };
        self.mul(lanes, self.splat(F8_SCALE))
    }

    #[inline(always)]
    fn add(self, left: Self::Lanes, right: Self::Lanes) -> Self::Lanes {
        // SAFETY: `self` is proof of the instructions.
        unsafe { _mm512_add_ps(left, right) }
    }

    #[inline(always)]
    fn sub(self, left: Self::Lanes, right: Self::Lanes) -> Self::Lanes {
        // SAFETY: `self` is proof of the instructions.
        unsafe { _mm512_sub_ps(left, right) }
    }

    #[inline(always)]
    fn mul(self, left: Self::Lanes, right: Self::Lanes) -> Self::Lanes {
        // SAFETY: `self` is proof of the instructions.
        unsafe { _mm512_mul_ps(left, right) }
    }

    #[inline(always)]
    fn div(self, left: Self::Lanes, right: Self::Lanes) -> Self::Lanes {
        // SAFETY: `self` is proof of the instructions.
        unsafe { _mm512_div_ps(left, right) }
    }

    #[inline(always)]
    fn mul_add(self, left: Self::Lanes, right: Self::Lanes, addend: Self::Lanes) -> Self::Lanes {
        // SAFETY: `self` is proof of the instructions.
        unsafe { _mm512_fmadd_ps(left, right, addend) }
    }

    #[inline(always)]
    fn max(self, left: Self::Lanes, right: Self::Lanes) -> Self::Lanes {
        // SAFETY: `self` is proof of the instructions.
        unsafe { _mm512_max_ps(left, right) }
    }

    #[inline(always)]
    fn min(self, left: Self::Lanes, right: Self::Lanes) -> Self::Lanes {
        // SAFETY: `self` is proof of the instructions.
        unsafe { _mm512_min_ps(left, right) }
    }

    #[inline(always)]
    fn round(self, lanes: Self::Lanes) -> Self::Lanes {
        // SAFETY: `self` is proof of the instructions.
        unsafe { _mm512_roundscale_ps::<NEAREST>(lanes) }
    }

    #[inline(always)]
    fn power_of_two(self, exponents: Self::Lanes) -> Self::Lanes {
        // SAFETY: `self` is proof of the instructions.
        unsafe {
            let biased = _mm512_add_epi32(_mm512_cvtps_epi32(exponents), _mm512_set1_epi32(127));
            _mm512_castsi512_ps(_mm512_slli_epi32::<23>(biased))
        }
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
            let less = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(left, right);
            _mm512_mask_blend_ps(less, otherwise, then)
        }
    }

    #[inline(always)]
    fn sum(self, lanes: Self::Lanes) -> f32 {
        // SAFETY: `self` is proof of the instructions.
        unsafe { _mm512_reduce_add_ps(lanes) }
    }

    #[inline(always)]
    fn largest(self, lanes: Self::Lanes) -> f32 {
        // SAFETY: `self` is proof of the instructions.
        unsafe { _mm512_reduce_max_ps(lanes) }
    }
}
