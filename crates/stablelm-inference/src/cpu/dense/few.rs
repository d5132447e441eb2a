//! The product for a few positions: each weight row is read once, front to back, and multiplied by every position.
//!
//! Bound by memory: a row is one stream of cache lines, asked for well ahead. Several rows at once would be several
//! streams, which is slower for one position.

use crate::cpu::Rows;
use crate::cpu::dense::aligned::Aligned;
use crate::cpu::dense::format::{Bf16, F16, F32, Format};
use crate::cpu::level::Level;
use crate::cpu::matrix::dot;
use crate::cpu::pool::Pool;
use crate::stored::{StoredMatrix, StoredValues};

#[cfg(target_arch = "x86_64")]
use crate::cpu::dense::avx2::{self, Avx2};
#[cfg(target_arch = "x86_64")]
use crate::cpu::dense::avx512::{self, Avx512};
#[cfg(target_arch = "x86_64")]
use crate::cpu::dense::rows::{Load, block};

/// How many bytes of weights are worth a task of their own: a long run for the memory, short beside a matrix.
const TASK_BYTES: usize = 1024 * 1024;

/// Weight rows, the activations of a few positions, and where their products go.
pub(super) struct Task<'a, T> {
    /// Whole rows of `columns`.
    pub(super) weights: &'a [T],
    pub(super) columns: usize,
    pub(super) positions: usize,
    /// Position after position, each of a whole number of blocks; zeros after `columns`.
    pub(super) input: &'a [f32],
    /// For each row, its product with each position.
    pub(super) output: &'a mut [f32],
}

/// A format that every level has a kernel for.
#[cfg(target_arch = "x86_64")]
trait Kernels: Format + Load<Avx2> + Load<Avx512> {}

#[cfg(target_arch = "x86_64")]
impl<F: Format + Load<Avx2> + Load<Avx512>> Kernels for F {}

#[cfg(not(target_arch = "x86_64"))]
trait Kernels: Format {}

#[cfg(not(target_arch = "x86_64"))]
impl<F: Format> Kernels for F {}

/// Multiplies all matrices of one number format in one section of the pool, so that threads meet once.
pub(super) fn products(
    pool: &Pool,
    level: Level,
    input: &Rows,
    weights: &[&StoredMatrix],
) -> Vec<Vec<f32>> {
    let mut outputs = Vec::with_capacity(weights.len());
    for alike in weights.chunk_by(|left, right| left.values.is_like(&right.values)) {
        outputs.extend(match alike[0].values {
            StoredValues::F32(_) => in_format::<F32>(pool, level, input, alike),
            StoredValues::Bf16(_) => in_format::<Bf16>(pool, level, input, alike),
            StoredValues::F16(_) => in_format::<F16>(pool, level, input, alike),
        });
    }
    outputs
}

fn in_format<F: Kernels>(
    pool: &Pool,
    level: Level,
    input: &Rows,
    weights: &[&StoredMatrix],
) -> Vec<Vec<f32>> {
    let (positions, columns) = (input.len(), input.width);
    let rows_per_task = (TASK_BYTES / (columns * size_of::<F::Bits>())).max(1);
    let prepared = prepare::<F>(level, input);
    // By row first, so that a task writes one run of memory.
    let zeros = |weight: &&StoredMatrix| vec![0f32; weight.rows * positions];
    let mut by_row: Vec<Vec<f32>> = weights.iter().map(zeros).collect();
    let mut tasks = Vec::new();
    for (weight, output) in weights.iter().zip(&mut by_row) {
        let parts = F::bits(&weight.values).chunks(rows_per_task * columns);
        for (weights, output) in parts.zip(output.chunks_mut(rows_per_task * positions)) {
            tasks.push(Task {
                weights,
                columns,
                positions,
                input: &prepared,
                output,
            });
        }
    }
    pool.for_each_chunk(&mut tasks, 1, |_, tasks| {
        for task in tasks {
            multiply::<F>(level, task);
        }
    });
    if positions == 1 {
        return by_row;
    }
    let by_position = |by_row: Vec<f32>| {
        let position = |position| by_row[position..].iter().step_by(positions).copied();
        (0..positions).flat_map(position).collect()
    };
    by_row.into_iter().map(by_position).collect()
}

/// Copies the activations in the order in which the level's kernel has the weights in its registers.
fn prepare<F: Kernels>(level: Level, input: &Rows) -> Aligned<f32> {
    let block = match level {
        Level::Portable => 1,
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => block::<Avx2>(),
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 | Level::Avx512Bf16 => block::<Avx512>(),
        #[cfg(not(target_arch = "x86_64"))]
        _ => 1,
    };
    let padded = input.width.next_multiple_of(block);
    let mut prepared = Aligned::zeros(input.len() * padded);
    let rows = input.values.chunks_exact(input.width);
    for (row, prepared) in rows.zip(prepared.chunks_exact_mut(padded)) {
        prepared[..row.len()].copy_from_slice(row);
        if F::EVEN_FIRST && block > 1 {
            let mut odd = [0f32; 16];
            for block in prepared.chunks_exact_mut(block) {
                let half = block.len() / 2;
                for i in 0..half {
                    odd[i] = block[2 * i + 1];
                    block[i] = block[2 * i];
                }
                block[half..].copy_from_slice(&odd[..half]);
            }
        }
    }
    prepared
}

fn multiply<F: Kernels>(level: Level, task: &mut Task<'_, F::Bits>) {
    match level {
        Level::Portable => portable::<F>(task),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: this level is found only where its instructions are.
        Level::Avx2 => unsafe { avx2::few::<F>(task) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Level::Avx512 | Level::Avx512Bf16 => unsafe { avx512::few::<F>(task) },
        #[cfg(not(target_arch = "x86_64"))]
        _ => portable::<F>(task),
    }
}

fn portable<F: Format>(task: &mut Task<'_, F::Bits>) {
    let columns = task.columns;
    let rows = task.weights.chunks_exact(columns);
    for (row, output) in rows.zip(task.output.chunks_exact_mut(task.positions)) {
        for (input, output) in task.input.chunks_exact(columns).zip(output) {
            *output = dot(row, input, F::widen);
        }
    }
}
