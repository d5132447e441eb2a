//! Chains of multiplications and additions that never leave the registers.
//!
//! As many chains run side by side as hide the latency of an instruction, so that the units never wait.

/// Chains side by side.
#[cfg(target_arch = "x86_64")]
const CHAINS: usize = 16;

/// A loop that does nothing but one kind of instruction.
pub(crate) struct Kernel {
    /// Runs so many steps and returns the sum of what came out.
    pub(crate) run: fn(usize) -> f64,
    /// Multiplications and additions of a step.
    pub(crate) ops_per_step: usize,
}

#[cfg(not(target_arch = "x86_64"))]
mod kernels {
    use super::Kernel;

    pub(crate) fn f32_kernel() -> Option<Kernel> {
        None
    }

    pub(crate) fn bf16_kernel() -> Option<Kernel> {
        None
    }

    pub(crate) fn int8_kernel() -> Option<Kernel> {
        None
    }
}

#[cfg(target_arch = "x86_64")]
mod kernels {
    use std::arch::x86_64::{
        __m512bh, __m512i, _mm512_add_epi32, _mm512_add_ps, _mm512_dpbf16_ps, _mm512_dpbusd_epi32,
        _mm512_fmadd_ps, _mm512_reduce_add_epi32, _mm512_reduce_add_ps, _mm512_set1_epi8,
        _mm512_set1_epi16, _mm512_set1_ps, _mm512_setzero_ps, _mm512_setzero_si512,
    };
    use std::hint::black_box;

    use super::{CHAINS, Kernel};

    /// 16 fused multiplications and additions an instruction.
    pub(crate) fn f32_kernel() -> Option<Kernel> {
        is_x86_feature_detected!("avx512f").then_some(Kernel {
            // SAFETY: the processor has the instructions.
            run: |steps| unsafe { f32_steps(steps) },
            ops_per_step: CHAINS * 16 * 2,
        })
    }

    /// 32 products of bf16 an instruction.
    pub(crate) fn bf16_kernel() -> Option<Kernel> {
        let present = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bf16");
        present.then_some(Kernel {
            // SAFETY: the processor has the instructions.
            run: |steps| unsafe { bf16_steps(steps) },
            ops_per_step: CHAINS * 32 * 2,
        })
    }

    /// 64 products of bytes an instruction.
    pub(crate) fn int8_kernel() -> Option<Kernel> {
        let present = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vnni");
        present.then_some(Kernel {
            // SAFETY: the processor has the instructions.
            run: |steps| unsafe { int8_steps(steps) },
            ops_per_step: CHAINS * 64 * 2,
        })
    }

    #[target_feature(enable = "avx512f")]
    fn f32_steps(steps: usize) -> f64 {
        let one = black_box(_mm512_set1_ps(1.0));
        let mut chains = [_mm512_setzero_ps(); CHAINS];
        for _ in 0..steps {
            for chain in &mut chains {
                *chain = _mm512_fmadd_ps(one, one, *chain);
            }
        }
        let sum = chains
            .into_iter()
            .fold(_mm512_setzero_ps(), |sum, chain| _mm512_add_ps(sum, chain));
        _mm512_reduce_add_ps(sum).into()
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    fn bf16_steps(steps: usize) -> f64 {
        // 0x3f80 is 1 in bf16.
        let ones = black_box(_mm512_set1_epi16(0x3f80));
        // SAFETY: both are 64 bytes of which every pattern is a value.
        let one = unsafe { std::mem::transmute::<__m512i, __m512bh>(ones) };
        let mut chains = [_mm512_setzero_ps(); CHAINS];
        for _ in 0..steps {
            for chain in &mut chains {
                *chain = _mm512_dpbf16_ps(*chain, one, one);
            }
        }
        let sum = chains
            .into_iter()
            .fold(_mm512_setzero_ps(), |sum, chain| _mm512_add_ps(sum, chain));
        _mm512_reduce_add_ps(sum).into()
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    fn int8_steps(steps: usize) -> f64 {
        let one = black_box(_mm512_set1_epi8(1));
        let mut chains = [_mm512_setzero_si512(); CHAINS];
        for _ in 0..steps {
            for chain in &mut chains {
                *chain = _mm512_dpbusd_epi32(*chain, one, one);
            }
        }
        let sum = chains
            .into_iter()
            .fold(_mm512_setzero_si512(), |sum, chain| {
                _mm512_add_epi32(sum, chain)
            });
        _mm512_reduce_add_epi32(sum).into()
    }
}

pub(crate) use kernels::{bf16_kernel, f32_kernel, int8_kernel};

#[cfg(test)]
mod tests {
    use super::*;

    /// Every product is 1, so the sum is half the operations; the numbers stay small enough to be exact.
    #[test]
    fn the_operations_counted_are_those_done() {
        for kernel in [f32_kernel(), bf16_kernel(), int8_kernel()]
            .into_iter()
            .flatten()
        {
            let sum = (kernel.run)(10);
            let expected = 5.0 * kernel.ops_per_step as f64;
            assert_eq!(sum.to_bits(), expected.to_bits());
        }
    }
}
