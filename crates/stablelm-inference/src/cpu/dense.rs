//! `output = input * transpose(weight)`, with weights as they lie in the file: bf16, f16 or f32, `[out, in]`.
//!
//! A few positions are bound by the reading of weights, many by arithmetic, so there are two ways: [`few`] streams each
//! weight row once and keeps activations in f32; [`many`] works in blocks that stay in the cache. Both give the same
//! for any number of threads: each output is one sum, made in an order that depends on the number of columns alone.

mod aligned;
mod few;
mod format;
mod many;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod rows;

#[cfg(test)]
mod tests;

use crate::cpu::Rows;
use crate::cpu::level::Level;
use crate::cpu::pool::Pool;
use crate::stored::StoredMatrix;

/// Up to this many positions, weights are read once and multiplied row by row; above, as blocks of a matrix.
pub(crate) const FEW_POSITIONS: usize = 6;

/// Returns `input * transpose(weight)` for each of the weights, position after position.
///
/// Sums are made in f32. Activations are f32 too, except where many positions meet bf16 weights on a processor that
/// multiplies pairs of bf16: there they are rounded to bf16, to nearest even.
pub(crate) fn products(
    pool: &Pool,
    level: Level,
    input: &Rows,
    weights: &[&StoredMatrix],
) -> Vec<Vec<f32>> {
    if input.len() <= FEW_POSITIONS {
        return few::products(pool, level, input, weights);
    }
    let product = |weight: &&StoredMatrix| many::product(pool, level, input, weight);
    weights.iter().map(product).collect()
}
