//! Rotary position embedding: `(a, b) -> (a cos t - b sin t, b cos t + a sin t)` for the pairs `(i, i + n/2)` of the
//! first `n` dimensions of each head, with `t = position * theta^(-2i/n)`.
//!
//! Angles are computed in f64 and only their sine and cosine are rounded to f32: a table in the model's own dtype
//! is wrong at long range.

/// Sines and cosines of some positions, `[positions, pairs]` each.
pub(crate) struct Angles {
    pub(crate) pairs: usize,
    pub(crate) cos: Vec<f32>,
    pub(crate) sin: Vec<f32>,
}

/// The frequencies of one model.
#[derive(Clone, Debug)]
pub(crate) struct Rotary {
    frequencies: Vec<f64>,
}

impl Rotary {
    /// Takes the number of rotated dimensions and the base of the frequencies; an odd number rotates one more.
    pub(crate) fn new(rotary_ndims: usize, theta: f64) -> Self {
        let frequency = |pair: usize| theta.powf(-2.0 * pair as f64 / rotary_ndims as f64);
        Self {
            frequencies: (0..rotary_ndims.div_ceil(2)).map(frequency).collect(),
        }
    }

    /// Returns how many pairs of dimensions rotate.
    pub(crate) fn num_pairs(&self) -> usize {
        self.frequencies.len()
    }

    /// Returns the angles of some positions.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the rounding to f32 that the module is about"
    )]
    pub(crate) fn angles(&self, positions: impl IntoIterator<Item = usize>) -> Angles {
        let pairs = self.frequencies.len();
        let (mut cos, mut sin) = (Vec::new(), Vec::new());
        for position in positions {
            for frequency in &self.frequencies {
                let angle = position as f64 * frequency;
                cos.push(angle.cos() as f32);
                sin.push(angle.sin() as f32);
            }
        }
        Angles { pairs, cos, sin }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn angles_are_exact_far_beyond_the_reach_of_bf16() {
        // 20 rotated dimensions as in StableLM-3B-4E1T: the second frequency is 10000^(-1/10).
        let angles = Rotary::new(20, 10_000.0).angles(4000..4002);
        assert_eq!(angles.pairs, 10);
        let expected = (4001.0 * 10_000f64.powf(-0.1)).cos();
        assert!((f64::from(angles.cos[11]) - expected).abs() < 1e-7);
        assert!((f64::from(angles.sin[10]) - 4001f64.sin()).abs() < 1e-7);
    }
}
