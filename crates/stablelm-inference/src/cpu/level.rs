//! Which instructions this processor has, found out at run time.

/// The instructions that kernels may use, each level with all that stands below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(
    not(target_arch = "x86_64"),
    expect(dead_code, reason = "elsewhere only the plain code runs")
)]
pub(crate) enum Level {
    /// Whatever the compiler makes of plain code.
    Portable,
    /// AVX2, FMA and F16C.
    Avx2,
    /// AVX-512 F, BW, DQ and VL.
    Avx512,
    /// AVX-512 with BF16 and VNNI.
    Avx512Bf16,
}

impl Level {
    /// Returns the highest level that this processor has.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn detect() -> Self {
        let avx2 = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c");
        let avx512 = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl");
        let bf16 = is_x86_feature_detected!("avx512bf16") && is_x86_feature_detected!("avx512vnni");
        match (avx2, avx512, bf16) {
            (true, true, true) => Self::Avx512Bf16,
            (true, true, false) => Self::Avx512,
            (true, false, _) => Self::Avx2,
            (false, ..) => Self::Portable,
        }
    }

    /// Returns the highest level that this processor has.
    #[cfg(not(target_arch = "x86_64"))]
    pub(crate) fn detect() -> Self {
        Self::Portable
    }

    /// Returns every level that this processor has, so that tests and benchmarks can run them all.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        let levels = [Self::Portable, Self::Avx2, Self::Avx512, Self::Avx512Bf16];
        levels.into_iter().filter(|level| *level <= Self::detect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_rise_to_the_highest() {
        let levels: Vec<Level> = Level::all().collect();
        assert_eq!(levels.first(), Some(&Level::Portable));
        assert_eq!(levels.last(), Some(&Level::detect()));
    }
}
