//! The keys and values of one layer, laid out for the kernels that read them.
//!
//! Each head has its own runs of memory, positions in order. Values lie position after position. Keys lie in blocks of
//! [`LANES`] positions, dimension after dimension within a block: scores of as many positions are then sums over whole
//! vectors, of which no part has to be added up across. Both are filled up with zeros to a whole number of vectors, so
//! that kernels have no ends to care for, whatever the size of a head.

use crate::backend::HeadShape;
use crate::cpu::Rows;
use crate::cpu::level::Level;
use crate::cpu::pool::Pool;
use crate::cpu::simd::{self, Kernel, LANES, Simd};
use crate::f8::f8_from_f32;
use crate::kv_cache::KvDtype;

#[cfg(test)]
mod tests;

/// How many values are worth a task of their own.
const TASK: usize = 16 * 1024;

/// Keys and values of one layer.
pub(crate) struct HeadCaches {
    head_dim: usize,
    /// Number of positions.
    len: usize,
    heads: Heads,
}

/// The heads, in the number format that the cache is kept in.
pub(crate) enum Heads {
    F32(Vec<HeadCache<f32>>),
    /// IEEE 754 halves.
    F16(Vec<HeadCache<u16>>),
    /// FP8 E4M3.
    F8(Vec<HeadCache<u8>>),
}

/// A run of positions of one head.
pub(crate) struct HeadCache<T> {
    /// `[block][dimension][position within the block]`; beyond the last position, anything.
    pub(crate) keys: Vec<[T; LANES]>,
    /// `[position][dimension]`.
    pub(crate) values: Vec<[T; LANES]>,
}

/// A number format of caches.
pub(crate) trait Cached: Copy + Default + Send + Sync + 'static {
    fn load<S: Simd>(simd: S, values: &[Self; LANES]) -> S::Lanes;
    /// Rounds to nearest; what the format has no room for becomes its largest number.
    fn store<S: Simd>(simd: S, lanes: S::Lanes, values: &mut [Self; LANES]);
}

#[expect(clippy::inline_always, reason = "takes on the caller's instructions")]
impl Cached for f32 {
    #[inline(always)]
    fn load<S: Simd>(simd: S, values: &[f32; LANES]) -> S::Lanes {
        simd.load(values)
    }

    #[inline(always)]
    fn store<S: Simd>(simd: S, lanes: S::Lanes, values: &mut [f32; LANES]) {
        simd.store(lanes, values);
    }
}

#[expect(clippy::inline_always, reason = "takes on the caller's instructions")]
impl Cached for u16 {
    #[inline(always)]
    fn load<S: Simd>(simd: S, values: &[u16; LANES]) -> S::Lanes {
        simd.load_halves(values)
    }

    #[inline(always)]
    fn store<S: Simd>(simd: S, lanes: S::Lanes, values: &mut [u16; LANES]) {
        simd.store_halves(lanes, values);
    }
}

#[expect(clippy::inline_always, reason = "takes on the caller's instructions")]
impl Cached for u8 {
    #[inline(always)]
    fn load<S: Simd>(simd: S, values: &[u8; LANES]) -> S::Lanes {
        simd.load_f8(values)
    }

    #[inline(always)]
    fn store<S: Simd>(simd: S, lanes: S::Lanes, values: &mut [u8; LANES]) {
        // The same plain code at every level: a number is rounded once, and read for every position after it.
        let mut singles = [0f32; LANES];
        simd.store(lanes, &mut singles);
        *values = singles.map(f8_from_f32);
    }
}

impl HeadCaches {
    /// Returns an empty cache with room for `reserve` positions; it grows beyond that, in steps that double.
    pub(crate) fn new(shape: HeadShape, dtype: KvDtype, reserve: usize) -> Self {
        fn heads<T: Copy>(shape: HeadShape, reserve: usize) -> Vec<HeadCache<T>> {
            let vectors = shape.head_dim.div_ceil(LANES);
            let head = |_| HeadCache {
                keys: Vec::with_capacity(reserve.div_ceil(LANES).saturating_mul(vectors * LANES)),
                values: Vec::with_capacity(reserve.saturating_mul(vectors)),
            };
            (0..shape.num_key_value_heads).map(head).collect()
        }
        Self {
            head_dim: shape.head_dim,
            len: 0,
            heads: match dtype {
                KvDtype::F32 => Heads::F32(heads(shape, reserve)),
                KvDtype::F16 => Heads::F16(heads(shape, reserve)),
                KvDtype::F8 => Heads::F8(heads(shape, reserve)),
            },
        }
    }

    /// Returns the number of positions.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn heads(&self) -> &Heads {
        &self.heads
    }

    /// Appends the keys and values of new positions.
    pub(crate) fn append(&mut self, pool: &Pool, level: Level, keys: &Rows, values: &Rows) {
        let new = New {
            first: self.len,
            head_dim: self.head_dim,
            keys,
            values,
        };
        match &mut self.heads {
            Heads::F32(heads) => new.append_to(heads, pool, level),
            Heads::F16(heads) => new.append_to(heads, pool, level),
            Heads::F8(heads) => new.append_to(heads, pool, level),
        }
        self.len += keys.len();
    }
}

impl HeadCaches {
    /// Forgets every position from `len` on.
    pub(crate) fn truncate(&mut self, len: usize) {
        fn truncate<T>(heads: &mut [HeadCache<T>], len: usize, vectors: usize) {
            for head in heads {
                head.keys.truncate(len.div_ceil(LANES) * vectors * LANES);
                head.values.truncate(len * vectors);
            }
        }
        let vectors = self.head_dim.div_ceil(LANES);
        match &mut self.heads {
            Heads::F32(heads) => truncate(heads, len, vectors),
            Heads::F16(heads) => truncate(heads, len, vectors),
            Heads::F8(heads) => truncate(heads, len, vectors),
        }
        self.len = self.len.min(len);
    }
}

/// Positions that join a cache.
#[derive(Clone, Copy)]
struct New<'a> {
    /// How many positions there are already.
    first: usize,
    head_dim: usize,
    keys: &'a Rows,
    values: &'a Rows,
}

impl New<'_> {
    fn append_to<T: Cached>(self, heads: &mut [HeadCache<T>], pool: &Pool, level: Level) {
        let heads_per_task = TASK.div_ceil(self.keys.len() * self.head_dim);
        pool.for_each_chunk(heads, heads_per_task, |task, heads| {
            simd::run(
                level,
                Append {
                    new: self,
                    first_head: task * heads_per_task,
                    heads,
                },
            );
        });
    }
}

/// Appends to some heads.
struct Append<'a, T> {
    new: New<'a>,
    /// The number of `heads[0]`.
    first_head: usize,
    heads: &'a mut [HeadCache<T>],
}

impl<T: Cached> Kernel for Append<'_, T> {
    type Output = ();

    #[expect(clippy::inline_always, reason = "takes on the caller's instructions")]
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let New {
            first,
            head_dim,
            keys,
            values,
        } = self.new;
        let vectors = head_dim.div_ceil(LANES);
        let (width, blocks) = (vectors * LANES, (first + keys.len()).div_ceil(LANES));
        let mut converted = vec![[T::default(); LANES]; vectors];
        for (index, cache) in self.heads.iter_mut().enumerate() {
            let columns = (self.first_head + index) * head_dim..;
            cache.keys.resize(blocks * width, [T::default(); LANES]);
            for (row, position) in keys.values.chunks_exact(keys.width).zip(first..) {
                convert(simd, &row[columns.clone()][..head_dim], &mut converted);
                let (block, lane) = (position / LANES, position % LANES);
                let block = &mut cache.keys[block * width..][..width];
                for (place, value) in block.iter_mut().zip(converted.as_flattened()) {
                    place[lane] = *value;
                }
            }
            for row in values.values.chunks_exact(values.width) {
                convert(simd, &row[columns.clone()][..head_dim], &mut converted);
                cache.values.extend_from_slice(&converted);
            }
        }
    }
}

/// Converts values to vectors, the last of which is filled up with zeros.
#[expect(clippy::inline_always, reason = "takes on the caller's instructions")]
#[inline(always)]
fn convert<S: Simd, T: Cached>(simd: S, values: &[f32], converted: &mut [[T; LANES]]) {
    let (whole, rest) = values.as_chunks::<LANES>();
    for (converted, values) in converted.iter_mut().zip(whole) {
        T::store(simd, simd.load(values), converted);
    }
    if !rest.is_empty() {
        let mut filled = [0f32; LANES];
        filled[..rest.len()].copy_from_slice(rest);
        T::store(simd, simd.load(&filled), &mut converted[whole.len()]);
    }
}
