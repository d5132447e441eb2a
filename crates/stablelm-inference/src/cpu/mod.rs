//! The processor as a backend: plain vectors of f32, threads in `parallel.rs`, large products through candle.

mod attend;
mod linear;
mod matrix;
pub(crate) mod parallel;

use candle_core::cpu::erf::erf_f32;

use crate::backend::{Backend, BackendError, HeadShape, Nonlinearity};
use crate::rotary::Angles;
use crate::stored::StoredMatrix;

/// Up to this many positions, weights are read once and multiplied row by row; above, as blocks of a matrix.
///
/// A few positions are bound by the reading of weights, many by arithmetic, which the library's kernels do faster.
const FEW_POSITIONS: usize = 6;

/// The processor.
pub(crate) struct Cpu;

/// Activations: rows of equal width, one after the other.
#[derive(Clone, Debug)]
pub(crate) struct Rows {
    width: usize,
    values: Vec<f32>,
}

impl Rows {
    fn len(&self) -> usize {
        self.values.len() / self.width
    }
}

/// Keys and values of one layer: a growing run of positions for each head.
pub(crate) struct HeadCaches {
    head_dim: usize,
    keys: Vec<Vec<f32>>,
    values: Vec<Vec<f32>>,
}

impl Backend for Cpu {
    type Matrix = StoredMatrix;
    type Vector = Vec<f32>;
    type Tensor = Rows;
    type LayerCache = HeadCaches;

    fn load_matrix(&self, matrix: StoredMatrix) -> Result<StoredMatrix, BackendError> {
        Ok(matrix)
    }

    fn load_vector(&self, values: Vec<f32>) -> Result<Vec<f32>, BackendError> {
        Ok(values)
    }

    fn embed(&self, table: &StoredMatrix, ids: &[u32]) -> Result<Rows, BackendError> {
        let width = table.columns;
        let mut values = Vec::with_capacity(ids.len() * width);
        for &id in ids {
            let id = id as usize;
            matrix::widen_rows(table, id..id + 1, &mut values);
        }
        Ok(Rows { width, values })
    }

    fn linear(
        &self,
        input: &Rows,
        weight: &StoredMatrix,
        bias: Option<&Vec<f32>>,
    ) -> Result<Rows, BackendError> {
        let mut values = if input.len() <= FEW_POSITIONS {
            linear::few(input, weight)
        } else {
            linear::many(input, weight)?
        };
        if let Some(bias) = bias {
            for row in values.chunks_exact_mut(weight.rows) {
                add_to(row, bias);
            }
        }
        Ok(Rows {
            width: weight.rows,
            values,
        })
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "sums are made in f64 and rounded once"
    )]
    fn normalize(
        &self,
        input: &Rows,
        weight: &Vec<f32>,
        bias: Option<&Vec<f32>>,
        group: usize,
        epsilon: f64,
    ) -> Result<Rows, BackendError> {
        let mut output = input.clone();
        for row in output.values.chunks_exact_mut(input.width) {
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
            multiply_by(row, weight);
            if let Some(bias) = bias {
                add_to(row, bias);
            }
        }
        Ok(output)
    }

    fn rotate(
        &self,
        heads: &mut Rows,
        head_dim: usize,
        angles: &Angles,
    ) -> Result<(), BackendError> {
        let pairs = angles.pairs;
        if pairs == 0 {
            return Ok(());
        }
        let turns = angles
            .cos
            .chunks_exact(pairs)
            .zip(angles.sin.chunks_exact(pairs));
        for (row, (cos, sin)) in heads.values.chunks_exact_mut(heads.width).zip(turns) {
            for head in row.chunks_exact_mut(head_dim) {
                let (low, rest) = head.split_at_mut(pairs);
                for (i, (a, b)) in low.iter_mut().zip(rest).enumerate() {
                    (*a, *b) = (*a * cos[i] - *b * sin[i], *b * cos[i] + *a * sin[i]);
                }
            }
        }
        Ok(())
    }

    fn new_layer_cache(
        &self,
        shape: HeadShape,
        reserve: usize,
    ) -> Result<HeadCaches, BackendError> {
        let len = reserve.saturating_mul(shape.head_dim);
        let heads = || {
            let head = |_| Vec::with_capacity(len);
            (0..shape.num_key_value_heads).map(head).collect()
        };
        Ok(HeadCaches {
            head_dim: shape.head_dim,
            keys: heads(),
            values: heads(),
        })
    }

    fn append(
        &self,
        cache: &mut HeadCaches,
        keys: &Rows,
        values: &Rows,
    ) -> Result<(), BackendError> {
        let head_dim = cache.head_dim;
        for (caches, rows) in [(&mut cache.keys, keys), (&mut cache.values, values)] {
            for row in rows.values.chunks_exact(rows.width) {
                for (cache, head) in caches.iter_mut().zip(row.chunks_exact(head_dim)) {
                    cache.extend_from_slice(head);
                }
            }
        }
        Ok(())
    }

    fn attend(
        &self,
        queries: &Rows,
        cache: &HeadCaches,
        shape: HeadShape,
    ) -> Result<Rows, BackendError> {
        attend::attend(queries, cache, shape)
    }

    fn add(&self, left: &mut Rows, right: &Rows) -> Result<(), BackendError> {
        add_to(&mut left.values, &right.values);
        Ok(())
    }

    fn multiply(&self, left: &mut Rows, right: &Rows) -> Result<(), BackendError> {
        multiply_by(&mut left.values, &right.values);
        Ok(())
    }

    fn activate(&self, values: &mut Rows, nonlinearity: Nonlinearity) -> Result<(), BackendError> {
        let function = match nonlinearity {
            Nonlinearity::Silu => silu,
            Nonlinearity::Gelu => gelu,
            Nonlinearity::GeluTanh => gelu_tanh,
        };
        parallel::for_each_chunk(&mut values.values, 16 * 1024, |_, chunk| {
            for value in chunk {
                *value = function(*value);
            }
        });
        Ok(())
    }

    fn last_row(&self, tensor: &Rows) -> Result<Rows, BackendError> {
        let start = tensor.values.len() - tensor.width;
        Ok(Rows {
            width: tensor.width,
            values: tensor.values[start..].to_vec(),
        })
    }

    fn to_host(&self, tensor: &Rows) -> Result<Vec<f32>, BackendError> {
        Ok(tensor.values.clone())
    }
}

fn add_to(left: &mut [f32], right: &[f32]) {
    for (left, right) in left.iter_mut().zip(right) {
        *left += right;
    }
}

fn multiply_by(left: &mut [f32], right: &[f32]) {
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
