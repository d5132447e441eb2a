//! Causal attention: `softmax(q k / sqrt(head_dim)) v`, each position over itself and all before it.
//!
//! Scores are made for a tile of positions at a time and folded into a running maximum, sum and weighted sum of values
//! (the online softmax of Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018, tiled as in Dao
//! and others, `FlashAttention`, 2022), so that each key and value is read once for all the rows that see it: the
//! queries of a block of positions, of all the query heads that share the key head. Scores are in base two: the factor
//! `log2(e)` is part of the scale, and weights are powers of two.
//!
//! What a task does depends on the shape and the number of positions, never on the number of threads: neither does the
//! result.

use std::cell::RefCell;
use std::ops::Range;

use crate::backend::HeadShape;
use crate::cpu::Rows;
use crate::cpu::cache::{Cached, HeadCache, HeadCaches, Heads};
use crate::cpu::level::Level;
use crate::cpu::pool::{Parts, Pool};
use crate::cpu::simd::{self, Kernel, LANES, Simd};

#[cfg(test)]
mod tests;
mod tiles;

use tiles::TILE;

/// How many rows are attended from at a time, if there are as many: they make use of a tile while it is near.
const ROWS: usize = 48;

/// How many positions of a context are one task where there is but one block of rows for each key head.
const CONTEXT: usize = 1024;

/// Less reading and arithmetic than this is not worth waking other threads for: values read times rows.
const INLINE: usize = 256 * 1024;

/// Attends from `queries`, the last positions of the cache.
pub(crate) fn attend(
    pool: &Pool,
    level: Level,
    queries: &Rows,
    cache: &HeadCaches,
    shape: HeadShape,
) -> Rows {
    let mut values = vec![0f32; queries.values.len()];
    let output = Parts::new(&mut values);
    match cache.heads() {
        Heads::F32(heads) => Attention::new(queries, cache, heads, shape).run(pool, level, &output),
        Heads::F16(heads) => Attention::new(queries, cache, heads, shape).run(pool, level, &output),
        Heads::F8(heads) => Attention::new(queries, cache, heads, shape).run(pool, level, &output),
    }
    Rows {
        width: queries.width,
        values,
    }
}

/// All of it.
struct Attention<'a, T> {
    queries: &'a Rows,
    heads: &'a [HeadCache<T>],
    head_dim: usize,
    /// How many query heads read a key head.
    group: usize,
    /// How many positions there are before the queries'.
    past: usize,
    /// How many positions are attended from at a time.
    block: usize,
    /// How many positions are attended to by one task.
    context: usize,
}

impl<'a, T: Cached> Attention<'a, T> {
    fn new(
        queries: &'a Rows,
        cache: &HeadCaches,
        heads: &'a [HeadCache<T>],
        shape: HeadShape,
    ) -> Self {
        let group = shape.num_heads / shape.num_key_value_heads;
        let block = (ROWS / group).max(1);
        Self {
            queries,
            heads,
            head_dim: shape.head_dim,
            group,
            past: cache.len() - queries.len(),
            block,
            context: if queries.len() <= block {
                CONTEXT
            } else {
                usize::MAX
            },
        }
    }

    /// Writes a row for each of the queries'.
    fn run(&self, pool: &Pool, level: Level, output: &Parts<'_, f32>) {
        let positions = self.queries.len();
        let blocks = positions.div_ceil(self.block);
        let contexts = (self.past + positions).div_ceil(self.context);
        let tasks = blocks * contexts * self.heads.len();
        let task = |task: usize, then: &dyn Fn(usize, usize, &Partial)| {
            let (task, head) = (task / self.heads.len(), task % self.heads.len());
            // The last positions see the most: they go first, so that threads end together.
            let (block, context) = (blocks - 1 - task / contexts, task % contexts);
            let start = block * self.block;
            SCRATCH.with_borrow_mut(|scratch| {
                let task = Task {
                    attention: self,
                    head,
                    positions: start..positions.min(start + self.block),
                    context: context * self.context,
                    scratch,
                };
                simd::run(level, task);
                then(head, start, &scratch.partial);
            });
        };
        let work = self.queries.values.len() * (self.past + positions);
        let run = |work_of_task: &(dyn Fn(usize) + Sync)| {
            if work <= INLINE {
                (0..tasks).for_each(work_of_task);
            } else {
                pool.run(tasks, work_of_task);
            }
        };
        if contexts == 1 {
            run(&|number| {
                task(number, &|head, start, partial| {
                    // SAFETY: each task has its own head and positions.
                    unsafe { self.write(head, start, partial, output) };
                });
            });
            return;
        }
        let mut partials: Vec<Partial> = Vec::new();
        partials.resize_with(tasks, Partial::default);
        let parts = Parts::new(&mut partials);
        run(&|number| {
            task(number, &|_, _, partial| {
                // SAFETY: each task has its own place.
                let place = unsafe { parts.part(number..number + 1) };
                place[0] = partial.clone();
            });
        });
        for head in 0..self.heads.len() {
            let of_head = partials.iter().skip(head).step_by(self.heads.len());
            let whole = Partial::merge(of_head);
            // SAFETY: no other thread is at work.
            unsafe { self.write(head, 0, &whole, output) };
        }
    }

    /// Writes what the queries of a head attend to, from position `start` on.
    ///
    /// # Safety
    /// No other thread writes the same head of the same positions.
    unsafe fn write(&self, head: usize, start: usize, partial: &Partial, output: &Parts<'_, f32>) {
        let vectors = self.head_dim.div_ceil(LANES);
        let rows = partial.weighted.chunks_exact(vectors);
        for (row, (weighted, sum)) in rows.zip(&partial.sums).enumerate() {
            let position = start + row / self.group;
            let column = (head * self.group + row % self.group) * self.head_dim;
            let place = position * self.queries.width + column;
            // SAFETY: the caller says so.
            let output = unsafe { output.part(place..place + self.head_dim) };
            for (output, weighted) in output.iter_mut().zip(weighted.as_flattened()) {
                *output = weighted / sum;
            }
        }
    }
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// What a task works with; kept from task to task, since a task may be over in less time than memory takes to get.
#[derive(Default)]
struct Scratch {
    rows: Vec<[f32; LANES]>,
    scores: Vec<[f32; TILE]>,
    partial: Partial,
}

/// What some rows attend to in a part of the context.
#[derive(Clone, Default)]
struct Partial {
    /// The largest score of each row.
    maxima: Vec<f32>,
    /// The sum of the weights of each row: powers of two of scores less the maximum.
    sums: Vec<f32>,
    /// The sum of values times weights of each row.
    weighted: Vec<[f32; LANES]>,
}

impl Partial {
    /// Makes it that of rows that have seen nothing.
    fn reset(&mut self, rows: usize, vectors: usize) {
        self.maxima.clear();
        self.maxima.resize(rows, LOWEST);
        self.sums.clear();
        self.sums.resize(rows, 0.0);
        self.weighted.clear();
        self.weighted.resize(rows * vectors, [0.0; LANES]);
    }

    /// Joins the parts of a context, in their order.
    fn merge<'a>(parts: impl Iterator<Item = &'a Self> + Clone) -> Self {
        let mut parts = parts.peekable();
        let mut whole = Self::default();
        let Some(first) = parts.peek() else {
            return whole;
        };
        let rows = first.sums.len();
        let vectors = first.weighted.len() / rows;
        whole.reset(rows, vectors);
        for part in parts.clone() {
            for (maximum, other) in whole.maxima.iter_mut().zip(&part.maxima) {
                *maximum = maximum.max(*other);
            }
        }
        for part in parts {
            for row in 0..rows {
                let weight = (part.maxima[row] - whole.maxima[row]).exp2();
                whole.sums[row] += part.sums[row] * weight;
                let range = row * vectors..(row + 1) * vectors;
                let sums = whole.weighted[range.clone()].as_flattened_mut();
                for (sum, value) in sums.iter_mut().zip(part.weighted[range].as_flattened()) {
                    *sum += value * weight;
                }
            }
        }
        whole
    }
}

/// Lower than any score, and finite: a difference of two of them is zero, not NaN.
const LOWEST: f32 = -1e38;

/// The rows of a block of positions, over a part of the context.
struct Task<'a, T> {
    attention: &'a Attention<'a, T>,
    head: usize,
    /// Which of the queries.
    positions: Range<usize>,
    /// Where the part of the context begins; a whole number of tiles.
    context: usize,
    scratch: &'a mut Scratch,
}

impl<T: Cached> Task<'_, T> {
    /// Makes rows of the queries, scaled and filled up with zeros, and empties the rest.
    fn prepare(&mut self) {
        let Attention {
            queries,
            head_dim,
            group,
            ..
        } = *self.attention;
        let scale = std::f32::consts::LOG2_E / (head_dim as f32).sqrt();
        let vectors = head_dim.div_ceil(LANES);
        let count = self.positions.len() * group;
        let Scratch {
            rows,
            scores,
            partial,
            ..
        } = &mut *self.scratch;
        rows.clear();
        rows.resize(count * vectors, [0.0; LANES]);
        let range = self.positions.start * queries.width..self.positions.end * queries.width;
        let first = self.head * group * head_dim;
        let heads = queries.values[range]
            .chunks_exact(queries.width)
            .flat_map(|row| row[first..][..group * head_dim].chunks_exact(head_dim));
        for (row, query) in rows.chunks_exact_mut(vectors).zip(heads) {
            for (scaled, value) in row.as_flattened_mut().iter_mut().zip(query) {
                *scaled = value * scale;
            }
        }
        scores.resize(count, [0.0; TILE]);
        partial.reset(count, vectors);
    }
}

impl<T: Cached> Kernel for Task<'_, T> {
    type Output = ();

    #[expect(clippy::inline_always, reason = "takes on the caller's instructions")]
    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        self.prepare();
        let Attention {
            heads,
            head_dim,
            group,
            past,
            context,
            ..
        } = *self.attention;
        let cache = &heads[self.head];
        let vectors = head_dim.div_ceil(LANES);
        let end = (past + self.positions.end).min(self.context.saturating_add(context));
        let Scratch {
            rows,
            scores,
            partial,
        } = self.scratch;
        for start in (self.context..end).step_by(TILE) {
            let len = TILE.min(end - start);
            let width = vectors * LANES;
            let tile = Tile {
                first_seen: past + self.positions.start + 1,
                group,
                vectors,
                start,
                len,
            };
            let blocks = start / LANES..(start + len).div_ceil(LANES);
            let keys = &cache.keys[blocks.start * width..blocks.end * width];
            let values = &cache.values[start * vectors..][..len * vectors];
            tile.attend(simd, rows, keys, values, scores, partial);
        }
    }
}

/// A tile of a task.
struct Tile {
    /// How many positions the first row sees.
    first_seen: usize,
    group: usize,
    vectors: usize,
    start: usize,
    len: usize,
}

impl Tile {
    /// Attends to the positions of the tile.
    #[expect(clippy::inline_always, reason = "takes on the caller's instructions")]
    #[inline(always)]
    fn attend<S: Simd, T: Cached>(
        &self,
        simd: S,
        rows: &[[f32; LANES]],
        keys: &[[T; LANES]],
        values: &[[T; LANES]],
        scores: &mut [[f32; TILE]],
        partial: &mut Partial,
    ) {
        let vectors = self.vectors;
        tiles::scores(simd, rows, keys, vectors * LANES, scores);
        let row_seen = |row: usize| {
            let seen = self.first_seen + row / self.group;
            seen.saturating_sub(self.start).min(self.len)
        };
        for (row, scores) in scores.iter_mut().enumerate() {
            scores[row_seen(row)..].fill(f32::NEG_INFINITY);
            tiles::fold(
                simd,
                &mut scores.as_chunks_mut::<LANES>().0[..self.len.div_ceil(LANES)],
                &mut partial.maxima[row],
                &mut partial.sums[row],
                &mut partial.weighted[row * vectors..][..vectors],
            );
        }
        let weighted = &mut partial.weighted;
        tiles::add_values(simd, scores, row_seen, values, vectors, weighted);
    }
}
