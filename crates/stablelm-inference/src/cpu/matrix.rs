//! Reading weights of any stored dtype as f32.

use std::ops::Range;

use crate::stored::StoredMatrix;

/// How many partial sums a sum of products has, so that the compiler can use vector registers.
const LANES: usize = 16;

/// Appends the given rows to `output` as f32.
pub(crate) fn widen_rows(matrix: &StoredMatrix, rows: Range<usize>, output: &mut Vec<f32>) {
    let range = rows.start * matrix.columns..rows.end * matrix.columns;
    matrix.values.widen(range, output);
}

/// Returns the sum of products of two equally long runs, the weights widened on the way.
///
/// The order of additions depends on the length alone. Kept out of line, as is [`total`]: in a larger function the
/// compiler gives up on vector registers, and this loop is where decoding spends its time.
#[inline(never)]
pub(crate) fn dot<T: Copy>(weights: &[T], input: &[f32], widen: impl Fn(T) -> f32) -> f32 {
    let mut sums = [0f32; LANES];
    let (weight_chunks, weight_rest) = weights.as_chunks::<LANES>();
    let (input_chunks, input_rest) = input.as_chunks::<LANES>();
    for (weights, input) in weight_chunks.iter().zip(input_chunks) {
        for lane in 0..LANES {
            sums[lane] += widen(weights[lane]) * input[lane];
        }
    }
    let rest: f32 = weight_rest
        .iter()
        .zip(input_rest)
        .map(|(weight, input)| widen(*weight) * input)
        .sum();
    total(&sums) + rest
}

/// Adds up pairwise.
#[inline(never)]
fn total(sums: &[f32; LANES]) -> f32 {
    let mut sums = *sums;
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            sums[lane] += sums[lane + width];
        }
        width /= 2;
    }
    sums[0]
}
