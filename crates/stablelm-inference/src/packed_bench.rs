//! Packed products by themselves, for `benches`; no part of the interface.

use std::num::NonZeroUsize;

use bytes::Bytes;
use stablelm_model::{BlockFormat, Blocks};

use crate::ThreadsError;
use crate::cpu::Rows;
use crate::cpu::level::Level;
use crate::cpu::packed::{PackedMatrix, products};
use crate::cpu::pool::Pool;

/// What is multiplied: `positions` rows of `columns` by a matrix `[rows, columns]`.
#[derive(Clone, Copy, Debug)]
pub struct PackedShape {
    /// Rows of activations.
    pub positions: usize,
    /// Outputs.
    pub rows: usize,
    /// Inputs.
    pub columns: usize,
}

/// Activations, and matrices that take turns so that they do not stay in the cache.
pub struct PackedProducts {
    pool: Pool,
    level: Level,
    input: Rows,
    matrices: Vec<PackedMatrix>,
    turn: usize,
}

impl PackedProducts {
    /// Returns the instructions that this processor has, by name, the plainest first.
    pub fn levels() -> Vec<String> {
        Level::all().map(|level| format!("{level:?}")).collect()
    }

    /// Makes matrices of together at least `min_bytes`, or one.
    pub fn new(
        shape: PackedShape,
        format: BlockFormat,
        level: usize,
        threads: NonZeroUsize,
        min_bytes: usize,
    ) -> Result<Self, ThreadsError> {
        let pool = Pool::new(threads)?;
        let mut matrices = Vec::new();
        let mut len = 0;
        while matrices.is_empty() || len < min_bytes {
            let blocks = shape.rows * shape.columns / format.block_len();
            // Any bytes are weights; this one makes no infinite factors.
            let blocks = Blocks {
                format,
                rows: shape.rows,
                columns: shape.columns,
                bytes: Bytes::from(vec![0x35; blocks * format.block_bytes()]),
            };
            let matrix = PackedMatrix::from_blocks(&pool, &blocks);
            len += matrix.byte_len();
            matrices.push(matrix);
        }
        let noise = |i: usize| (i * 7_919 % 10_007) as f32 / 5_000.0 - 1.0;
        Ok(Self {
            pool,
            level: Level::all().nth(level).unwrap_or_else(Level::detect),
            input: Rows {
                width: shape.columns,
                values: (0..shape.positions * shape.columns).map(noise).collect(),
            },
            matrices,
            turn: 0,
        })
    }

    /// Returns the bytes of one matrix.
    pub fn matrix_bytes(&self) -> usize {
        self.matrices[0].byte_len()
    }

    /// Multiplies by the next matrix.
    pub fn next_product(&mut self) -> Vec<f32> {
        self.turn = (self.turn + 1) % self.matrices.len();
        let weight = &self.matrices[self.turn];
        products(&self.pool, self.level, &self.input, &[weight]).swap_remove(0)
    }
}
