//! `output = input * transpose(weight)`: row by row for a few positions, in blocks for many.

use std::ops::Range;

use candle_core::{Device, Tensor};

use crate::backend::BackendError;
use crate::cpu::Rows;
use crate::cpu::level::Level;
use crate::cpu::matrix::{dot, widen_rows};
use crate::cpu::pool::Pool;
use crate::stored::{StoredMatrix, StoredValues, f32_from_bf16, f32_from_f16};

/// How many multiplications are worth a task of their own.
const TASK: usize = 64 * 1024;

/// How many weights are held as f32 at a time; 8 MiB of them.
const BLOCK: usize = 2 * 1024 * 1024;

/// Up to this many positions, weights are read once and multiplied row by row; above, as blocks of a matrix.
///
/// A few positions are bound by the reading of weights, many by arithmetic, which the library's kernels do faster.
pub(crate) const FEW_POSITIONS: usize = 6;

/// Returns `input * transpose(weight)`, position after position.
pub(crate) fn product(
    pool: &Pool,
    _level: Level,
    input: &Rows,
    weight: &StoredMatrix,
) -> Result<Vec<f32>, BackendError> {
    if input.len() <= FEW_POSITIONS {
        Ok(few(pool, input, weight))
    } else {
        many(pool, input, weight)
    }
}

/// Reads each weight row once and multiplies it by every position.
fn few(pool: &Pool, input: &Rows, weight: &StoredMatrix) -> Vec<f32> {
    let positions = input.len();
    let rows_per_task = (TASK / weight.columns).max(1);
    // By output first, so that a task writes one run of memory.
    let mut by_row = vec![0f32; weight.rows * positions];
    pool.for_each_chunk(&mut by_row, rows_per_task * positions, |task, chunk| {
        let first = task * rows_per_task;
        let rows = first..first + chunk.len() / positions;
        match &weight.values {
            StoredValues::F32(values) => rows_by_positions(values, rows, input, |x| x, chunk),
            StoredValues::Bf16(bits) => rows_by_positions(bits, rows, input, f32_from_bf16, chunk),
            StoredValues::F16(bits) => rows_by_positions(bits, rows, input, f32_from_f16, chunk),
        }
    });
    if positions == 1 {
        return by_row;
    }
    let by_position = |position| by_row[position..].iter().step_by(positions).copied();
    (0..positions).flat_map(by_position).collect()
}

fn rows_by_positions<T: Copy>(
    weights: &[T],
    rows: Range<usize>,
    input: &Rows,
    widen: impl Fn(T) -> f32 + Copy,
    output: &mut [f32],
) {
    let columns = input.width;
    let positions = input.len();
    let weights = weights[rows.start * columns..rows.end * columns].chunks_exact(columns);
    for (row, output) in weights.zip(output.chunks_exact_mut(positions)) {
        for (input, output) in input.values.chunks_exact(columns).zip(output) {
            *output = dot(row, input, widen);
        }
    }
}

/// Widens a block of weight rows at a time and multiplies it by all positions at once.
fn many(pool: &Pool, input: &Rows, weight: &StoredMatrix) -> Result<Vec<f32>, BackendError> {
    let (positions, columns) = (input.len(), input.width);
    let left = Tensor::from_slice(&input.values, (positions, columns), &Device::Cpu)?;
    let rows_per_block = (BLOCK / columns).max(1);
    let mut output = vec![0f32; positions * weight.rows];
    for start in (0..weight.rows).step_by(rows_per_block) {
        let rows = start..(start + rows_per_block).min(weight.rows);
        let mut block = Vec::with_capacity(rows.len() * columns);
        widen_rows(weight, rows.clone(), &mut block);
        let right = Tensor::from_vec(block, (rows.len(), columns), &Device::Cpu)?;
        let product = pool.install(|| left.matmul(&right.t()?))?;
        let product = product.flatten_all()?.to_vec1::<f32>()?;
        let products = product.chunks_exact(rows.len());
        for (output, product) in output.chunks_exact_mut(weight.rows).zip(products) {
            output[rows.clone()].copy_from_slice(product);
        }
    }
    Ok(output)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Small whole numbers: every product and sum is exact, in any order and any of the dtypes.
    fn wholes(len: usize, seed: usize) -> Vec<f32> {
        (0..len)
            .map(|i| ((i * 7 + seed) % 11) as f32 - 5.0)
            .collect()
    }

    #[track_caller]
    fn check(positions: usize, rows: usize, columns: usize) {
        let pool = Pool::new(std::num::NonZeroUsize::MIN).unwrap();
        let input = Rows {
            width: columns,
            values: wholes(positions * columns, 3),
        };
        let weights = wholes(rows * columns, 8);
        let expected: Vec<f32> = (0..positions * rows)
            .map(|i| {
                let input = &input.values[i / rows * columns..][..columns];
                let weights = &weights[i % rows * columns..][..columns];
                input.iter().zip(weights).map(|(a, b)| a * b).sum()
            })
            .collect();
        let bf16 = |value: &f32| (value.to_bits() >> 16) as u16;
        for values in [
            StoredValues::Bf16(weights.iter().map(bf16).collect::<Vec<_>>().into()),
            StoredValues::F32(weights.clone().into()),
        ] {
            let weight = StoredMatrix {
                rows,
                columns,
                values,
            };
            assert_eq!(few(&pool, &input, &weight), expected);
            assert_eq!(many(&pool, &input, &weight).unwrap(), expected);
        }
    }

    #[test]
    fn both_ways_give_the_product() {
        check(1, 5, 3);
        check(3, 7, 33);
        check(2, 700, 200);
        check(9, 3000, 1000);
    }
}
