//! Activations as signed bytes, laid out for the kernels.

use std::ops::Range;

use crate::cpu::Rows;
use crate::cpu::level::Level;
use crate::cpu::packed::kernel::POSITION;
use crate::cpu::packed::layout::{ACTIVATIONS, GROUP, Shape, SubScales};
use crate::cpu::pool::Pool;

/// The largest quantized activation.
const LARGEST: f32 = 127.0;

/// Below this, the reciprocal of a scale would not be finite.
const SMALLEST: f32 = 1e-30;

/// How many positions a kernel takes at once, for each of its widths: as many as there are registers for, then fewer.
pub(crate) fn widths(level: Level) -> &'static [usize] {
    match level {
        Level::Avx512Bf16 | Level::Avx512 => &[12, 4, 1],
        Level::Avx2 | Level::Portable => &[4, 1],
    }
}

/// Adding it leaves a whole number in the lower bits of an f32, rounded to even.
const ROUND: f32 = 12_582_912.0;

/// Positions quantized in runs of 32 columns, tile by tile.
pub(crate) struct Activations {
    words: Vec<u32>,
    columns: usize,
    positions: usize,
    widths: &'static [usize],
}

/// A few positions that are multiplied at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tile {
    pub(crate) first: usize,
    pub(crate) width: usize,
}

impl Activations {
    /// Quantizes each run of 32 columns of each position to -127..=127, ties to even, with a scale in f32.
    pub(crate) fn new(pool: &Pool, level: Level, input: &Rows, shape: Shape) -> Self {
        let (columns, positions) = (input.width, input.len());
        let words_of_position = columns / ACTIVATIONS * POSITION;
        let widths = widths(level);
        let mut words = vec![0u32; positions * words_of_position];
        pool.for_each_chunk(&mut words, widths[0] * words_of_position, |index, chunk| {
            let positions = chunk.len() / words_of_position;
            let mut rest = chunk;
            for tile in tiles(0..positions, widths) {
                let (words, after) = rest.split_at_mut(tile.width * words_of_position);
                rest = after;
                let first = index * widths[0] + tile.first;
                let rows = &input.values[first * columns..][..tile.width * columns];
                quantize(level, rows, columns, shape, words);
            }
        });
        Self {
            words,
            columns,
            positions,
            widths,
        }
    }

    pub(crate) fn tiles(&self) -> impl Iterator<Item = Tile> {
        tiles(0..self.positions, self.widths)
    }

    /// Returns a tile's words, as [`multiply`](crate::cpu::packed::kernel::multiply) takes them.
    pub(crate) fn words(&self, tile: Tile) -> &[u32] {
        let words_of_position = self.columns / ACTIVATIONS * POSITION;
        &self.words[tile.first * words_of_position..][..tile.width * words_of_position]
    }
}

/// Covers positions with tiles, the widest first.
fn tiles(positions: Range<usize>, widths: &'static [usize]) -> impl Iterator<Item = Tile> {
    let mut first = positions.start;
    std::iter::from_fn(move || {
        let left = positions.end - first;
        let width = *widths.iter().find(|width| **width <= left)?;
        let tile = Tile { first, width };
        first += width;
        Some(tile)
    })
}

/// Returns two words that products begin with, by the scale of 32 activations and the sums of the first and second half.
///
/// Weights that begin at 0 are `offset` too large, which makes their products `offset * sum` too large. Of whole bytes the
/// first word is that, negated; of smaller weights half of it, twice as 16 bits; there is one for each 16 columns where
/// runs are as short. Where runs have minima, the second word is the sum that these are multiplied with, negated, in f32.
fn starts(shape: Shape, scale: f32, first: i32, second: i32) -> [u32; 2] {
    let halved = |sum: i32| {
        let [low, high, ..] = (-shape.offset / 2 * sum).to_le_bytes();
        u32::from_le_bytes([low, high, low, high])
    };
    match shape.sub_scales {
        SubScales::None if shape.high_bits.is_none() => {
            [(-shape.offset * (first + second)).cast_unsigned(), 0]
        }
        SubScales::None => [halved(first + second), 0],
        SubScales::Signed => [halved(first), halved(second)],
        #[expect(clippy::cast_precision_loss, reason = "32 bytes")]
        SubScales::WithMinima => [0, (-scale * (first + second) as f32).to_bits()],
    }
}

fn quantize(level: Level, rows: &[f32], columns: usize, shape: Shape, words: &mut [u32]) {
    #[cfg(target_arch = "x86_64")]
    {
        if level >= Level::Avx512 {
            // SAFETY: the level says that the instructions are there.
            return unsafe { quantize_avx512(rows, columns, shape, words) };
        }
        if level >= Level::Avx2 {
            // SAFETY: the level says that the instructions are there.
            return unsafe { quantize_avx2(rows, columns, shape, words) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = level;
    quantize_here(rows, columns, shape, words);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn quantize_avx512(rows: &[f32], columns: usize, shape: Shape, words: &mut [u32]) {
    quantize_here(rows, columns, shape, words);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn quantize_avx2(rows: &[f32], columns: usize, shape: Shape, words: &mut [u32]) {
    quantize_here(rows, columns, shape, words);
}

/// Quantizes the rows of a tile.
#[expect(
    clippy::inline_always,
    reason = "it must take on the instructions of the function that calls it"
)]
#[inline(always)]
fn quantize_here(rows: &[f32], columns: usize, shape: Shape, words: &mut [u32]) {
    let width = rows.len() / columns;
    for (position, row) in rows.chunks_exact(columns).enumerate() {
        let blocks = words.chunks_exact_mut(POSITION * width);
        for (values, block) in row.as_chunks::<ACTIVATIONS>().0.iter().zip(blocks) {
            let (scale, bytes) = quantize_run(values);
            let (quantized, rest) = block.split_at_mut(width * ACTIVATIONS / GROUP);
            for (word, bytes) in bytes.as_chunks::<GROUP>().0.iter().enumerate() {
                quantized[word * width + position] =
                    u32::from_le_bytes(bytes.map(i8::cast_unsigned));
            }
            let sum = |bytes: &[i8]| bytes.iter().map(|byte| i32::from(*byte)).sum::<i32>();
            let [first, second] = starts(shape, scale, sum(&bytes[..16]), sum(&bytes[16..]));
            rest[position] = scale.to_bits();
            rest[width + position] = first;
            rest[2 * width + position] = second;
        }
    }
}

/// Returns the scale and the quantized values of a run.
#[expect(
    clippy::inline_always,
    reason = "it must take on the instructions of the function that calls it"
)]
#[inline(always)]
fn quantize_run(values: &[f32; ACTIVATIONS]) -> (f32, [i8; ACTIVATIONS]) {
    let mut maxima = [0f32; 16];
    for values in values.as_chunks::<16>().0 {
        for (largest, value) in maxima.iter_mut().zip(values) {
            *largest = value.abs().max(*largest);
        }
    }
    let largest = maxima.iter().fold(0f32, |left, right| left.max(*right));
    if values.iter().any(|value| value.is_nan()) {
        // What is no number stays none, and is found where the logits are.
        return (f32::NAN, [0; ACTIVATIONS]);
    }
    let inverse = if largest > SMALLEST {
        LARGEST / largest
    } else {
        0.0
    };
    let scale = if largest > SMALLEST {
        largest / LARGEST
    } else {
        0.0
    };
    let mut bytes = [0i8; ACTIVATIONS];
    for (byte, value) in bytes.iter_mut().zip(values) {
        *byte = (value * inverse + ROUND).to_bits().to_le_bytes()[0].cast_signed();
    }
    (scale, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_cover_all_positions_in_order() {
        for widths in [&[12usize, 4, 1][..], &[4, 1]] {
            for positions in 0..40 {
                let mut next = 0;
                for tile in tiles(0..positions, widths) {
                    assert_eq!(tile.first, next);
                    next += tile.width;
                }
                assert_eq!(next, positions);
            }
        }
    }

    #[test]
    fn values_are_rounded_to_the_nearest_of_255_steps() {
        let mut values = [0f32; ACTIVATIONS];
        values[..6].copy_from_slice(&[-254.0, 1.0, 3.0, 2.9, -1.0, 100.0]);
        let (scale, bytes) = quantize_run(&values);
        assert_eq!(scale.to_bits(), 2f32.to_bits());
        // 0.5 and -0.5 go to the even 0, 1.5 to 2.
        assert_eq!(bytes[..7], [-127, 0, 2, 1, 0, 50, 0]);
        let (scale, bytes) = quantize_run(&[0.0; ACTIVATIONS]);
        assert_eq!((scale.to_bits(), bytes), (0, [0; ACTIVATIONS]));
    }

    #[test]
    fn what_is_not_finite_makes_the_scale_so() {
        let mut values = [1f32; ACTIVATIONS];
        values[9] = f32::INFINITY;
        let (scale, _) = quantize_run(&values);
        assert!(scale.is_infinite());
        values[20] = f32::NAN;
        assert_eq!(quantize_run(&values).1, [0; ACTIVATIONS]);
        assert!(quantize_run(&values).0.is_nan());
    }
}
