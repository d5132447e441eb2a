//! From numbers to the blocks of `q8_0` and `q4_k`, one block of 16 rows at a time.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::needless_range_loop,
    reason = "numbers are clamped before; lanes are counted so that loops over them become vector instructions"
)]

use crate::cpu::level::Level;
use crate::cpu::packed::chunk::Chunk;
use crate::cpu::packed::layout::PANEL;
use crate::stored::{f16_from_f32, f32_from_f16};

/// Columns of a run in both formats.
const RUN: usize = 32;

/// Columns of a `q4_k` block.
const COLUMNS: usize = 256;

/// One number of every row.
type Lane = [f32; PANEL];

/// How finely scales are searched: steps on each side of the one that maps the largest weight to 15.
const STEPS: i32 = 8;

/// Adding it to an f32 leaves no room for a fraction.
const ROUND: f32 = 12_582_912.0;

/// The columns of a block, each with one number of every row.
pub(crate) struct Block(pub(crate) [Lane; COLUMNS]);

impl Block {
    pub(crate) fn zeros() -> Self {
        Self([[0.0; PANEL]; COLUMNS])
    }
}

/// Calls a plain function compiled for the level's instructions.
macro_rules! on_level {
    ($level:expr, $name:ident($($argument:ident),*)) => {{
        #[cfg(target_arch = "x86_64")]
        {
            if $level >= Level::Avx512 {
                // SAFETY: the level says that the instructions are there.
                return unsafe { x86::avx512::$name($($argument),*) };
            }
            if $level >= Level::Avx2 {
                // SAFETY: the level says that the instructions are there.
                return unsafe { x86::avx2::$name($($argument),*) };
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = $level;
        $name($($argument),*)
    }};
}
/// Quantizes 32 columns to -127..=127 with a half-precision factor, as ggml does: to the nearest of the multiples of
/// the largest weight's 127th part, ties away from 0.
pub(crate) fn q8_0(level: Level, block: &Block, chunk: &mut Chunk) {
    on_level!(level, q8_0_here(block, chunk));
}

/// Quantizes 256 columns to 0..=15 with a scale and a minimum for every 32 of them.
///
/// Scale and minimum of a run are those of least squares for the whole numbers that a trial scale gives; of several
/// trials the one with the least error counts, where weights count more the larger they are (llama.cpp,
/// `make_qkx2_quants` in `ggml-quants.c`).
pub(crate) fn q4_k(level: Level, block: &Block, chunk: &mut Chunk) {
    on_level!(level, q4_k_here(block, chunk));
}

/// The same plain code, compiled for more instructions.
#[cfg(target_arch = "x86_64")]
mod x86 {
    macro_rules! compiled_for {
        ($module:ident, $features:literal) => {
            pub(super) mod $module {
                use super::super::{Block, Chunk};

                #[target_feature(enable = $features)]
                pub(in super::super) fn q8_0_here(block: &Block, chunk: &mut Chunk) {
                    super::super::q8_0_here(block, chunk);
                }

                #[target_feature(enable = $features)]
                pub(in super::super) fn q4_k_here(block: &Block, chunk: &mut Chunk) {
                    super::super::q4_k_here(block, chunk);
                }
            }
        };
    }
    compiled_for!(avx512, "avx512f,avx512bw,avx512dq,avx512vl");
    compiled_for!(avx2, "avx2");
}

#[expect(
    clippy::inline_always,
    reason = "it must take on the instructions of the function that calls it"
)]
#[inline(always)]
fn q8_0_here(block: &Block, chunk: &mut Chunk) {
    let columns = &block.0[..RUN];
    let mut largest = [0f32; PANEL];
    for column in columns {
        for lane in 0..PANEL {
            largest[lane] = column[lane].abs().max(largest[lane]);
        }
    }
    let mut inverse = [0f32; PANEL];
    for lane in 0..PANEL {
        let step = largest[lane] / 127.0;
        chunk.factors[lane] = f16_from_f32(step);
        inverse[lane] = if step > 0.0 { 1.0 / step } else { 0.0 };
    }
    for (at, column) in columns.iter().enumerate() {
        let group = &mut chunk.groups[at / 4];
        for lane in 0..PANEL {
            // From -127 to 127, and the offset of the packed form.
            let away = 0.5f32.copysign(column[lane]);
            let steps = (column[lane] * inverse[lane] + away).clamp(-127.0, 127.0);
            group[lane * 4 + at % 4] = (steps as i32 + 128) as u8;
        }
    }
}

#[expect(
    clippy::inline_always,
    reason = "it must take on the instructions of the function that calls it"
)]
#[inline(always)]
fn q4_k_here(block: &Block, chunk: &mut Chunk) {
    let mut scales = [[0f32; PANEL]; COLUMNS / RUN];
    let mut minima = [[0f32; PANEL]; COLUMNS / RUN];
    for (run, columns) in block.0.as_chunks::<RUN>().0.iter().enumerate() {
        (scales[run], minima[run]) = scale_and_minimum(columns);
    }
    let (factors, scale_units) = sixths(&scales, &mut chunk.scales);
    let (minimum_factors, minimum_units) = sixths(&minima, &mut chunk.minima);
    chunk.factors = factors;
    chunk.minimum_factors = minimum_factors;
    for (run, columns) in block.0.as_chunks::<RUN>().0.iter().enumerate() {
        let mut inverse = [0f32; PANEL];
        let mut minimum = [0f32; PANEL];
        for lane in 0..PANEL {
            let scale = scale_units[lane] * f32::from(chunk.scales[run][lane]);
            inverse[lane] = if scale > 0.0 { 1.0 / scale } else { 0.0 };
            minimum[lane] = minimum_units[lane] * f32::from(chunk.minima[run][lane]);
        }
        for (at, column) in columns.iter().enumerate() {
            let at = run * RUN + at;
            let group = &mut chunk.groups[at / 4];
            for lane in 0..PANEL {
                let level = nearest((column[lane] + minimum[lane]) * inverse[lane], 15.0);
                group[lane * 4 + at % 4] = level as u8;
            }
        }
    }
}

/// Rounds to a whole number, ties to even, from 0 to `largest`.
#[expect(
    clippy::inline_always,
    reason = "it must take on the instructions of the function that calls it"
)]
#[inline(always)]
fn nearest(value: f32, largest: f32) -> f32 {
    value.clamp(0.0, largest) + ROUND - ROUND
}

/// Splits the runs' scales into a half-precision factor a row and whole numbers of 6 bits; returns the factor's bits and
/// its value.
#[expect(
    clippy::inline_always,
    reason = "it must take on the instructions of the function that calls it"
)]
#[inline(always)]
fn sixths(values: &[Lane; COLUMNS / RUN], small: &mut [[u8; PANEL]]) -> ([u16; PANEL], Lane) {
    let mut largest = [0f32; PANEL];
    for values in values {
        for lane in 0..PANEL {
            largest[lane] = values[lane].max(largest[lane]);
        }
    }
    let mut factors = [0u16; PANEL];
    let mut units = [0f32; PANEL];
    let mut inverse = [0f32; PANEL];
    for lane in 0..PANEL {
        factors[lane] = f16_from_f32(largest[lane] / 63.0);
        units[lane] = f32_from_f16(factors[lane]);
        inverse[lane] = if units[lane] > 0.0 {
            1.0 / units[lane]
        } else {
            0.0
        };
    }
    for (values, small) in values.iter().zip(small) {
        for lane in 0..PANEL {
            small[lane] = nearest(values[lane] * inverse[lane], 63.0) as u8;
        }
    }
    (factors, units)
}

/// What is summed over the columns of a run, each counted with its importance.
#[derive(Default)]
struct Sums {
    importance: Lane,
    weight: Lane,
    square: Lane,
}

/// Returns the scale of a run, and what to subtract after scaling.
#[expect(
    clippy::inline_always,
    reason = "it must take on the instructions of the function that calls it"
)]
#[inline(always)]
fn scale_and_minimum(columns: &[Lane; RUN]) -> (Lane, Lane) {
    let mut low = [0f32; PANEL];
    let mut high = columns[0];
    let mut squares = [0f32; PANEL];
    for column in columns {
        for lane in 0..PANEL {
            low[lane] = column[lane].min(low[lane]);
            high[lane] = column[lane].max(high[lane]);
            squares[lane] += column[lane] * column[lane];
        }
    }
    let mut typical = [0f32; PANEL];
    for lane in 0..PANEL {
        typical[lane] = (squares[lane] / RUN as f32).sqrt();
    }
    let mut sums = Sums::default();
    let mut importance = [[0f32; PANEL]; RUN];
    for (column, importance) in columns.iter().zip(&mut importance) {
        for lane in 0..PANEL {
            importance[lane] = typical[lane] + column[lane].abs();
            let weighted = importance[lane] * column[lane];
            sums.importance[lane] += importance[lane];
            sums.weight[lane] += weighted;
            sums.square[lane] += weighted * column[lane];
        }
    }
    // To begin with, every weight is the lowest: that is exact where they are all equal and negative.
    let mut best = Best {
        error: [0.0; PANEL],
        scale: [0.0; PANEL],
        minimum: [0.0; PANEL],
    };
    for lane in 0..PANEL {
        let minimum = -low[lane];
        best.minimum[lane] = minimum;
        best.error[lane] = sums.square[lane]
            + minimum * minimum * sums.importance[lane]
            + 2.0 * minimum * sums.weight[lane];
    }
    for step in -STEPS..=STEPS {
        let mut inverse = [0f32; PANEL];
        for lane in 0..PANEL {
            let range = high[lane] - low[lane];
            let levels = 15.0 + step as f32 / STEPS as f32;
            inverse[lane] = if range > 0.0 { levels / range } else { 0.0 };
        }
        best.fit(columns, &importance, &sums, &low, &inverse);
    }
    (best.scale, best.minimum)
}

/// The best fit so far.
struct Best {
    error: Lane,
    scale: Lane,
    minimum: Lane,
}

impl Best {
    /// Fits scale and minimum to the levels that a trial scale gives, and keeps them where they are better.
    #[expect(
        clippy::inline_always,
        reason = "it must take on the instructions of the function that calls it"
    )]
    #[inline(always)]
    fn fit(
        &mut self,
        columns: &[Lane; RUN],
        importance: &[Lane; RUN],
        sums: &Sums,
        low: &Lane,
        inverse: &Lane,
    ) {
        let mut level_sum = [0f32; PANEL];
        let mut level_square = [0f32; PANEL];
        let mut cross = [0f32; PANEL];
        for (column, importance) in columns.iter().zip(importance) {
            for lane in 0..PANEL {
                let level = nearest((column[lane] - low[lane]) * inverse[lane], 15.0);
                let weighted = importance[lane] * level;
                level_sum[lane] += weighted;
                level_square[lane] += weighted * level;
                cross[lane] += weighted * column[lane];
            }
        }
        for lane in 0..PANEL {
            let (count, sum) = (sums.importance[lane], level_sum[lane]);
            let determinant = count * level_square[lane] - sum * sum;
            // Least squares for `scale * level - minimum`, then for `scale * level` where a minimum would have to be
            // added.
            let mut scale = (count * cross[lane] - sums.weight[lane] * sum) / determinant;
            let mut minimum =
                (sum * cross[lane] - level_square[lane] * sums.weight[lane]) / determinant;
            if !(determinant > 0.0 && minimum >= 0.0) {
                minimum = 0.0;
                scale = cross[lane] / level_square[lane];
            }
            let error =
                sums.square[lane] + scale * scale * level_square[lane] + minimum * minimum * count
                    - 2.0 * scale * cross[lane]
                    + 2.0 * minimum * sums.weight[lane]
                    - 2.0 * scale * minimum * sum;
            if scale > 0.0 && scale.is_finite() && error < self.error[lane] {
                self.error[lane] = error;
                self.scale[lane] = scale;
                self.minimum[lane] = minimum;
            }
        }
    }
}
