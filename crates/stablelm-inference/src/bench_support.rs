//! The kernels by themselves, for `benches`; no part of the interface.

use std::num::NonZeroUsize;

use crate::ThreadsError;
use crate::cpu::level::Level;
use crate::cpu::pool::Pool;
use crate::cpu::{Rows, dense};
use crate::stored::{StoredMatrix, StoredValues, WeightDtype, bf16_from_f32, f16_from_f32};

/// A kind of instructions that this processor has.
#[derive(Clone, Copy, Debug)]
pub struct Instructions(Level);

impl Instructions {
    /// Returns all of them, the plainest first.
    pub fn available() -> impl Iterator<Item = Self> {
        Level::all().map(Self)
    }
}

/// What is multiplied: `positions` rows of `columns` by a matrix `[rows, columns]`.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Rows of activations.
    pub positions: usize,
    /// Outputs.
    pub rows: usize,
    /// Inputs.
    pub columns: usize,
}

/// Activations and matrices that take turns, so that they do not stay in the cache.
pub struct Products {
    pool: Pool,
    input: Rows,
    matrices: Vec<StoredMatrix>,
    turn: usize,
}

impl Products {
    /// Makes matrices of the given shape and dtype (f32 for [`WeightDtype::Auto`]), together at least `min_bytes`.
    pub fn new(
        shape: Shape,
        dtype: WeightDtype,
        threads: NonZeroUsize,
        min_bytes: usize,
    ) -> Result<Self, ThreadsError> {
        let noise = |i: usize| (i * 7_919 % 10_007) as f32 / 5_000.0 - 1.0;
        let len = shape.rows * shape.columns;
        let floats = || (0..len).map(noise);
        let matrix = |_| StoredMatrix {
            rows: shape.rows,
            columns: shape.columns,
            values: match dtype {
                WeightDtype::Bf16 => {
                    StoredValues::Bf16(floats().map(bf16_from_f32).collect::<Vec<_>>().into())
                }
                WeightDtype::F16 => {
                    StoredValues::F16(floats().map(f16_from_f32).collect::<Vec<_>>().into())
                }
                _ => StoredValues::F32(floats().collect::<Vec<_>>().into()),
            },
        };
        let width = if matches!(dtype, WeightDtype::Bf16 | WeightDtype::F16) {
            2
        } else {
            4
        };
        Ok(Self {
            pool: Pool::new(threads)?,
            input: Rows {
                width: shape.columns,
                values: (0..shape.positions * shape.columns).map(noise).collect(),
            },
            matrices: (0..min_bytes.div_ceil(len * width).max(1))
                .map(matrix)
                .collect(),
            turn: 0,
        })
    }

    /// Multiplies by the next matrix.
    pub fn next(&mut self, instructions: Instructions) -> Vec<f32> {
        self.turn = (self.turn + 1) % self.matrices.len();
        let weight = &self.matrices[self.turn];
        dense::products(&self.pool, instructions.0, &self.input, &[weight]).swap_remove(0)
    }
}
