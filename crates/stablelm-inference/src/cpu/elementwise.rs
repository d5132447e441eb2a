//! What is done to activations value by value: normalization, rotation, nonlinearities, sums.

use candle_core::cpu::erf::erf_f32;

use crate::backend::Nonlinearity;
use crate::rotary::Angles;

/// What a normalization multiplies and adds, as wide as a row.
#[derive(Clone, Copy)]
pub(crate) struct Factors<'a> {
    pub(crate) weight: &'a [f32],
    pub(crate) bias: Option<&'a [f32]>,
}

/// Normalizes each run of `group` values of a row to mean 0 and variance 1, then scales and shifts.
#[expect(
    clippy::cast_possible_truncation,
    reason = "sums are made in f64 and rounded once"
)]
pub(crate) fn normalize(row: &mut [f32], group: usize, epsilon: f64, factors: Factors<'_>) {
    for values in row.chunks_exact_mut(group) {
        let sum: f64 = values.iter().map(|value| f64::from(*value)).sum();
        let mean = sum / group as f64;
        let square = |value: &f32| (f64::from(*value) - mean).powi(2);
        let variance = values.iter().map(square).sum::<f64>() / group as f64;
        let scale = 1.0 / (variance + epsilon).sqrt();
        for value in values {
            *value = ((f64::from(*value) - mean) * scale) as f32;
        }
    }
    multiply(row, factors.weight);
    if let Some(bias) = factors.bias {
        add(row, bias);
    }
}

/// Rotates the leading dimensions of each head of each row, one position a row.
pub(crate) fn rotate(values: &mut [f32], width: usize, head_dim: usize, angles: &Angles) {
    let pairs = angles.pairs;
    if pairs == 0 {
        return;
    }
    let turns = angles
        .cos
        .chunks_exact(pairs)
        .zip(angles.sin.chunks_exact(pairs));
    for (row, (cos, sin)) in values.chunks_exact_mut(width).zip(turns) {
        for head in row.chunks_exact_mut(head_dim) {
            let (low, rest) = head.split_at_mut(pairs);
            for (i, (a, b)) in low.iter_mut().zip(rest).enumerate() {
                (*a, *b) = (*a * cos[i] - *b * sin[i], *b * cos[i] + *a * sin[i]);
            }
        }
    }
}

/// Applies the nonlinearity to each value.
pub(crate) fn activate(values: &mut [f32], nonlinearity: Nonlinearity) {
    let function = match nonlinearity {
        Nonlinearity::Silu => silu,
        Nonlinearity::Gelu => gelu,
        Nonlinearity::GeluTanh => gelu_tanh,
    };
    for value in values {
        *value = function(*value);
    }
}

/// Adds `right` to `left`, value by value.
pub(crate) fn add(left: &mut [f32], right: &[f32]) {
    for (left, right) in left.iter_mut().zip(right) {
        *left += right;
    }
}

/// Multiplies `left` by `right`, value by value.
pub(crate) fn multiply(left: &mut [f32], right: &[f32]) {
    for (left, right) in left.iter_mut().zip(right) {
        *left *= right;
    }
}

fn silu(value: f32) -> f32 {
    value / (1.0 + (-value).exp())
}

fn gelu(value: f32) -> f32 {
    0.5 * value * (1.0 + erf_f32(value * std::f32::consts::FRAC_1_SQRT_2))
}

fn gelu_tanh(value: f32) -> f32 {
    // sqrt(2 / pi) (x + 0.044715 x^3), as in Hendrycks and Gimpel, "Gaussian Error Linear Units".
    let inner = (std::f32::consts::FRAC_2_PI).sqrt() * (value + 0.044_715 * value.powi(3));
    0.5 * value * (1.0 + inner.tanh())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(found: f32, expected: f32) {
        assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
    }

    #[test]
    fn nonlinearities_have_their_textbook_values() {
        check(silu(1.0), 0.731_058_6);
        check(silu(-200.0), 0.0);
        check(gelu(1.0), 0.841_344_8);
        check(gelu(-2.0), -0.045_500_26);
        check(gelu_tanh(1.0), 0.841_192);
    }
}
