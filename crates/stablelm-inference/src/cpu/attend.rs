//! Causal attention: `softmax(q k / sqrt(head_dim)) v`, each position over itself and all before it.

use std::sync::{Mutex, PoisonError};

use candle_core::{Device, Tensor};

use crate::backend::{BackendError, HeadShape};
use crate::cpu::dense::FEW_POSITIONS;
use crate::cpu::level::Level;
use crate::cpu::matrix::dot;
use crate::cpu::pool::Pool;
use crate::cpu::{HeadCaches, Rows};

/// How many positions are attended from at a time; bounds the memory of scores to this times the context.
const BLOCK: usize = 64;

/// Attends from `queries`, the last positions of the cache.
pub(crate) fn attend(
    pool: &Pool,
    _level: Level,
    queries: &Rows,
    cache: &HeadCaches,
    shape: HeadShape,
) -> Result<Rows, BackendError> {
    let (positions, head_dim) = (queries.len(), shape.head_dim);
    let group = shape.num_heads / shape.num_key_value_heads;
    let scale = 1.0 / (head_dim as f32).sqrt();
    // Head by head first, so that a task writes one run of memory.
    let mut by_head = vec![0f32; queries.values.len()];
    let failure = Mutex::new(None);
    pool.for_each_chunk(&mut by_head, positions * head_dim, |head, output| {
        let scaled: Vec<f32> = queries
            .values
            .chunks_exact(queries.width)
            .flat_map(|row| &row[head * head_dim..][..head_dim])
            .map(|value| value * scale)
            .collect();
        let head = Head {
            width: head_dim,
            queries: &scaled,
            keys: &cache.keys[head / group],
            values: &cache.values[head / group],
        };
        if positions <= FEW_POSITIONS {
            head.few(output);
        } else if let Err(error) = head.many(output) {
            *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        }
    });
    let failure = failure.into_inner();
    if let Some(error) = failure.unwrap_or_else(PoisonError::into_inner) {
        return Err(error);
    }
    let mut values = Vec::with_capacity(by_head.len());
    for position in 0..positions {
        for head in by_head.chunks_exact(positions * head_dim) {
            values.extend_from_slice(&head[position * head_dim..][..head_dim]);
        }
    }
    Ok(Rows {
        width: queries.width,
        values,
    })
}

/// One query head with the keys and values it reads.
struct Head<'a> {
    /// The model's `head_dim`.
    width: usize,
    queries: &'a [f32],
    keys: &'a [f32],
    values: &'a [f32],
}

impl Head<'_> {
    /// Returns how many positions the first query sees, itself included.
    fn first_visible(&self) -> usize {
        (self.keys.len() - self.queries.len()) / self.width + 1
    }

    fn few(&self, output: &mut [f32]) {
        let head_dim = self.width;
        let rows = self.queries.chunks_exact(head_dim);
        let visible_counts = self.first_visible()..;
        for ((query, output), visible) in rows
            .zip(output.chunks_exact_mut(head_dim))
            .zip(visible_counts)
        {
            let keys = self.keys.chunks_exact(head_dim).take(visible);
            let mut weights: Vec<f32> = keys.map(|key| dot(key, query, |x| x)).collect();
            softmax(&mut weights);
            for (weight, value) in weights.iter().zip(self.values.chunks_exact(head_dim)) {
                for (output, value) in output.iter_mut().zip(value) {
                    *output += weight * value;
                }
            }
        }
    }

    fn many(&self, output: &mut [f32]) -> Result<(), BackendError> {
        let head_dim = self.width;
        let context = self.keys.len() / head_dim;
        let keys = Tensor::from_slice(self.keys, (context, head_dim), &Device::Cpu)?;
        let values = Tensor::from_slice(self.values, (context, head_dim), &Device::Cpu)?;
        let blocks = self.queries.chunks(BLOCK * head_dim);
        for (index, (queries, output)) in
            blocks.zip(output.chunks_mut(BLOCK * head_dim)).enumerate()
        {
            let len = queries.len() / head_dim;
            let first_visible = self.first_visible() + index * BLOCK;
            let visible = first_visible + len - 1;
            let queries = Tensor::from_slice(queries, (len, head_dim), &Device::Cpu)?;
            let keys = keys.narrow(0, 0, visible)?.t()?;
            let mut weights = queries.matmul(&keys)?.flatten_all()?.to_vec1::<f32>()?;
            for (row, weights) in weights.chunks_exact_mut(visible).enumerate() {
                let (seen, hidden) = weights.split_at_mut(first_visible + row);
                softmax(seen);
                hidden.fill(0.0);
            }
            let weights = Tensor::from_vec(weights, (len, visible), &Device::Cpu)?;
            let product = weights.matmul(&values.narrow(0, 0, visible)?)?;
            output.copy_from_slice(&product.flatten_all()?.to_vec1::<f32>()?);
        }
        Ok(())
    }
}

fn softmax(values: &mut [f32]) {
    let max = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0f32;
    for value in values.iter_mut() {
        *value = (*value - max).exp();
        sum += *value;
    }
    let scale = 1.0 / sum;
    for value in values {
        *value *= scale;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(len: usize, seed: u32) -> Vec<f32> {
        let draw = |i: u32| (i.wrapping_mul(0x9e37_79b9) ^ seed).wrapping_mul(0x85eb_ca6b) >> 8;
        (0..u32::try_from(len).unwrap())
            .map(|i| draw(i) as f32 / 8_388_608.0 - 1.0)
            .collect()
    }

    #[test]
    fn blocks_of_positions_give_what_single_positions_give() {
        let (head_dim, context, positions) = (20, 300, 150);
        let (keys, values) = (noise(context * head_dim, 1), noise(context * head_dim, 2));
        let queries = noise(positions * head_dim, 3);
        let head = Head {
            width: head_dim,
            queries: &queries,
            keys: &keys,
            values: &values,
        };
        let mut single = vec![0f32; queries.len()];
        head.few(&mut single);
        let mut blocks = vec![0f32; queries.len()];
        head.many(&mut blocks).unwrap();
        for (a, b) in single.iter().zip(&blocks) {
            assert!((a - b).abs() < 1e-5, "{a} {b}");
        }
    }

    #[test]
    fn the_first_position_sees_only_itself() {
        let head = Head {
            width: 2,
            queries: &[1.0, 0.0, 0.0, 1.0],
            keys: &[3.0, 1.0, 50.0, 50.0],
            values: &[5.0, 6.0, 7.0, 8.0],
        };
        let mut output = [0f32; 4];
        head.few(&mut output);
        assert_eq!(
            output.map(f32::to_bits),
            [5f32, 6.0, 7.0, 8.0].map(f32::to_bits)
        );
    }
}
