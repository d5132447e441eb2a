//! Reading memory as fast as a core can.

/// Bytes ahead of the place of reading that are asked for.
const AHEAD: usize = 4096;
/// Numbers in two cache lines.
const STEP: usize = 16;

/// Adds all numbers, wrapping; those behind the last full step are left out.
pub(crate) fn sum(values: &[u64]) -> u64 {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") {
        // SAFETY: the processor has the instructions.
        return unsafe { sum_avx512(values) };
    }
    sum_plain(values)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn sum_avx512(values: &[u64]) -> u64 {
    sum_plain(values)
}

/// Compiled for the features of its caller, so that the loop has the widest registers.
#[inline(always)]
#[expect(clippy::inline_always, reason = "features come from the caller")]
fn sum_plain(values: &[u64]) -> u64 {
    let mut sums = [0u64; STEP];
    for step in values.as_chunks::<STEP>().0 {
        prefetch(step.as_ptr());
        prefetch(step[STEP / 2..].as_ptr());
        for (sum, value) in sums.iter_mut().zip(step) {
            *sum = sum.wrapping_add(*value);
        }
    }
    sums.iter().fold(0, |sum, part| sum.wrapping_add(*part))
}

#[inline]
fn prefetch(place: *const u64) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch of any address, mapped or not, has no effect but on time.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(place.wrapping_byte_add(AHEAD).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (place, AHEAD);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_of_full_steps_is_read() {
        let values: Vec<u64> = (0..1600).collect();
        assert_eq!(sum(&values), 1599 * 800);
        assert_eq!(sum_plain(&values), 1599 * 800);
    }
}
