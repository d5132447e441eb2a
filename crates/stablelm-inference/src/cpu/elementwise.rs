//! What is done to activations value by value: normalization, rotation, nonlinearities, sums.
//!
//! One row stays on the calling thread; the many rows of a prompt are shared among all.

use crate::backend::Nonlinearity;
use crate::cpu::Rows;
use crate::cpu::level::Level;
use crate::cpu::pool::Pool;
use crate::cpu::simd::{self, Kernel, LANES, Simd, erf, sigmoid};
use crate::rotary::Angles;

#[cfg(test)]
mod tests;

/// How many values are worth a task of their own.
const TASK: usize = 16 * 1024;

/// What a normalization multiplies and adds, as wide as a row.
#[derive(Clone, Copy)]
pub(crate) struct Factors<'a> {
    pub(crate) weight: &'a [f32],
    pub(crate) bias: Option<&'a [f32]>,
}

/// Returns rows of which each run of `group` values has mean 0 and variance 1, scaled and shifted.
pub(crate) fn normalize(
    pool: &Pool,
    level: Level,
    input: &Rows,
    group: usize,
    epsilon: f64,
    factors: Factors<'_>,
) -> Rows {
    let width = input.width;
    let mut values = vec![0f32; input.values.len()];
    let task_len = TASK.div_ceil(width) * width;
    pool.for_each_chunk(&mut values, task_len, |task, output| {
        let input = &input.values[task * task_len..][..output.len()];
        for (input, output) in input
            .chunks_exact(width)
            .zip(output.chunks_exact_mut(width))
        {
            simd::run(
                level,
                Normalize {
                    input,
                    output,
                    group,
                    epsilon,
                    factors,
                },
            );
        }
    });
    Rows { width, values }
}

/// One row.
struct Normalize<'a> {
    input: &'a [f32],
    output: &'a mut [f32],
    group: usize,
    epsilon: f64,
    factors: Factors<'a>,
}

impl Kernel for Normalize<'_> {
    type Output = ();

    #[expect(clippy::inline_always, reason = "takes on the caller's instructions")]
    #[inline(always)]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "everything is made in f64 and rounded once"
    )]
    fn run<S: Simd>(self, _: S) {
        let groups = self.input.chunks_exact(self.group);
        for (input, output) in groups.zip(self.output.chunks_exact_mut(self.group)) {
            let count = self.group as f64;
            let mean = sum(input, |value| value) / count;
            let variance = sum(input, |value| (value - mean) * (value - mean)) / count;
            let scale = 1.0 / (variance + self.epsilon).sqrt();
            for (output, input) in output.iter_mut().zip(input) {
                *output = ((f64::from(*input) - mean) * scale) as f32;
            }
        }
        for (value, weight) in self.output.iter_mut().zip(self.factors.weight) {
            *value *= weight;
        }
        if let Some(bias) = self.factors.bias {
            add(self.output, bias);
        }
    }
}

/// Returns the sum of what `function` makes of the values.
#[expect(clippy::inline_always, reason = "takes on the caller's instructions")]
#[inline(always)]
fn sum(values: &[f32], function: impl Fn(f64) -> f64) -> f64 {
    let (chunks, rest) = values.as_chunks::<LANES>();
    let mut sums = [0f64; LANES];
    for chunk in chunks {
        for lane in 0..LANES {
            sums[lane] += function(f64::from(chunk[lane]));
        }
    }
    for (sum, value) in sums.iter_mut().zip(rest) {
        *sum += function(f64::from(*value));
    }
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            sums[lane] += sums[lane + width];
        }
        width /= 2;
    }
    sums[0]
}

/// Rotates the leading dimensions of each head of each row, one position a row.
pub(crate) fn rotate(pool: &Pool, rows: &mut Rows, head_dim: usize, angles: &Angles) {
    let (pairs, width) = (angles.pairs, rows.width);
    if pairs == 0 {
        return;
    }
    let rows_per_task = TASK.div_ceil(width);
    pool.for_each_chunk(&mut rows.values, rows_per_task * width, |task, rows| {
        let first = task * rows_per_task * pairs;
        let cos = angles.cos[first..].chunks_exact(pairs);
        let turns = cos.zip(angles.sin[first..].chunks_exact(pairs));
        for (row, (cos, sin)) in rows.chunks_exact_mut(width).zip(turns) {
            for head in row.chunks_exact_mut(head_dim) {
                let (low, rest) = head.split_at_mut(pairs);
                let turns = cos.iter().zip(sin);
                for ((a, b), (cos, sin)) in low.iter_mut().zip(rest).zip(turns) {
                    (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
                }
            }
        }
    });
}

/// Applies the nonlinearity to each value, and multiplies by the value of `factor` where there is one.
pub(crate) fn activate(
    pool: &Pool,
    level: Level,
    values: &mut [f32],
    nonlinearity: Nonlinearity,
    factor: Option<&[f32]>,
) {
    pool.for_each_chunk(values, TASK, |task, values| {
        let factor = factor.map(|factor| &factor[task * TASK..][..values.len()]);
        simd::run(
            level,
            Activate {
                values,
                nonlinearity,
                factor,
            },
        );
    });
}

struct Activate<'a> {
    values: &'a mut [f32],
    nonlinearity: Nonlinearity,
    factor: Option<&'a [f32]>,
}

impl Kernel for Activate<'_> {
    type Output = ();

    #[expect(clippy::inline_always, reason = "takes on the caller's instructions")]
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        match self.nonlinearity {
            Nonlinearity::Silu => self.map::<S, Silu>(simd),
            Nonlinearity::Gelu => self.map::<S, Gelu>(simd),
            Nonlinearity::GeluTanh => self.map::<S, GeluTanh>(simd),
        }
    }
}

impl Activate<'_> {
    #[expect(clippy::inline_always, reason = "takes on the caller's instructions")]
    #[inline(always)]
    fn map<S: Simd, F: Function>(self, simd: S) {
        let (chunks, rest) = self.values.as_chunks_mut::<LANES>();
        match self.factor {
            None => {
                for chunk in chunks {
                    simd.store(F::of(simd, simd.load(chunk)), chunk);
                }
            }
            Some(factor) => {
                for (chunk, factor) in chunks.iter_mut().zip(factor.as_chunks::<LANES>().0) {
                    let value = F::of(simd, simd.load(chunk));
                    simd.store(simd.mul(value, simd.load(factor)), chunk);
                }
            }
        }
        if !rest.is_empty() {
            let mut filled = [0f32; LANES];
            filled[..rest.len()].copy_from_slice(rest);
            simd.store(F::of(simd, simd.load(&filled)), &mut filled);
            rest.copy_from_slice(&filled[..rest.len()]);
            if let Some(factor) = self.factor {
                for (value, factor) in rest.iter_mut().zip(factor.as_chunks::<LANES>().1) {
                    *value *= factor;
                }
            }
        }
    }
}

/// A function of one value; a type and no closure, because a closure is not sure to take on the instructions.
trait Function {
    fn of<S: Simd>(simd: S, x: S::Lanes) -> S::Lanes;
}

struct Silu;
struct Gelu;
struct GeluTanh;

#[expect(clippy::inline_always, reason = "takes on the caller's instructions")]
impl Function for Silu {
    #[inline(always)]
    fn of<S: Simd>(simd: S, x: S::Lanes) -> S::Lanes {
        simd.mul(x, sigmoid(simd, x))
    }
}

#[expect(clippy::inline_always, reason = "takes on the caller's instructions")]
impl Function for Gelu {
    #[inline(always)]
    fn of<S: Simd>(simd: S, x: S::Lanes) -> S::Lanes {
        let scaled = simd.mul(x, simd.splat(std::f32::consts::FRAC_1_SQRT_2));
        let half = simd.mul(x, simd.splat(0.5));
        simd.mul_add(half, erf(simd, scaled), half)
    }
}

#[expect(clippy::inline_always, reason = "takes on the caller's instructions")]
impl Function for GeluTanh {
    /// Hendrycks and Gimpel, "Gaussian Error Linear Units": `x (1 + tanh(u)) / 2` with
    /// `u = sqrt(2 / pi) (x + 0.044715 x^3)`; and `(1 + tanh(u)) / 2` is the sigmoid of `2 u`.
    #[inline(always)]
    fn of<S: Simd>(simd: S, x: S::Lanes) -> S::Lanes {
        let cube = simd.mul(x, simd.mul(x, x));
        let inner = simd.mul_add(simd.splat(0.044_715), cube, x);
        let twice = simd.splat(2.0 * (2.0 * std::f32::consts::FRAC_1_PI).sqrt());
        simd.mul(x, sigmoid(simd, simd.mul(twice, inner)))
    }
}

/// Adds `right` to `left`, value by value, on all threads.
pub(crate) fn add_rows(pool: &Pool, left: &mut [f32], right: &[f32]) {
    pool.for_each_chunk(left, TASK, |task, left| add(left, &right[task * TASK..]));
}

/// Adds `right` to `left`, value by value.
#[inline]
pub(crate) fn add(left: &mut [f32], right: &[f32]) {
    for (left, right) in left.iter_mut().zip(right) {
        *left += right;
    }
}
