//! The arithmetic of a tile: some rows of queries by some positions of the cache.

use std::ops::Range;

use crate::cpu::cache::Cached;
use crate::cpu::simd::{LANES, Simd, exp2};

/// How many positions a tile has: four vectors of scores a row.
pub(super) const TILE: usize = 64;

const BLOCKS: usize = TILE / LANES;

/// How many bytes of memory come at once.
const LINE: usize = 64;

/// Writes the products of each query with each key of a tile; there may be fewer than four blocks of them.
///
/// `queries` are rows of `width` values. The keys that come after those at hand are fetched meanwhile: to get them takes
/// longer than to use these.
#[expect(clippy::inline_always, reason = "takes on the caller's instructions")]
#[inline(always)]
pub(super) fn scores<S: Simd, T: Cached>(
    simd: S,
    queries: &[[f32; LANES]],
    keys: &[[T; LANES]],
    width: usize,
    output: &mut [[f32; TILE]],
) {
    let queries = queries.as_flattened();
    let mut keys = Keys {
        vectors: keys,
        width,
        fetch: true,
    };
    let mut row = 0;
    while row < output.len() {
        let (queries, output) = (&queries[row * width..], &mut output[row..]);
        let whole = keys.vectors.len() == BLOCKS * width;
        row += match (S::MANY_REGISTERS, whole, output.len()) {
            (true, true, 6..) => keys.scores::<S, 6, 4, 1>(simd, queries, output),
            (true, true, 4..) => keys.scores::<S, 4, 4, 1>(simd, queries, output),
            (true, true, _) => keys.scores::<S, 1, 4, 2>(simd, queries, output),
            (true, false, 4..) => keys.scores::<S, 4, 1, 2>(simd, queries, output),
            (false, true, 2..) => keys.scores::<S, 2, 2, 1>(simd, queries, output),
            (false, true, _) => keys.scores::<S, 1, 2, 2>(simd, queries, output),
            (_, false, _) => keys.scores::<S, 1, 1, 4>(simd, queries, output),
        };
        // Once is enough.
        keys.fetch = false;
    }
}

/// The keys of a tile.
struct Keys<'a, T> {
    vectors: &'a [[T; LANES]],
    width: usize,
    /// Whether to fetch the blocks after those at hand.
    fetch: bool,
}

impl<T: Cached> Keys<'_, T> {
    /// Writes the scores of `Q` queries, `B` blocks at a time, in `C` sums each, so that enough of them are on their
    /// way.
    #[expect(clippy::inline_always, reason = "takes on the caller's instructions")]
    #[inline(always)]
    fn scores<S: Simd, const Q: usize, const B: usize, const C: usize>(
        &self,
        simd: S,
        queries: &[f32],
        output: &mut [[f32; TILE]],
    ) -> usize {
        let width = self.width;
        let queries: [&[f32]; Q] = std::array::from_fn(|row| &queries[row * width..][..width]);
        for (step, keys) in self.vectors.chunks_exact(B * width).enumerate() {
            let keys: [&[[T; LANES]]; B] =
                std::array::from_fn(|block| &keys[block * width..][..width]);
            let mut sums = [[[simd.splat(0.0); C]; B]; Q];
            let mut dimension = 0;
            while dimension + C <= width {
                if Q <= 4 {
                    let ahead = if self.fetch { B * width } else { 0 };
                    for block in &keys {
                        simd.prefetch(block.as_ptr().wrapping_add(dimension + ahead));
                    }
                }
                for chain in 0..C {
                    let at = dimension + chain;
                    let mut loaded = [simd.splat(0.0); B];
                    for (loaded, block) in loaded.iter_mut().zip(&keys) {
                        *loaded = T::load(simd, &block[at]);
                    }
                    for (sums, query) in sums.iter_mut().zip(&queries) {
                        let query = simd.splat(query[at]);
                        for (sums, key) in sums.iter_mut().zip(loaded) {
                            sums[chain] = simd.mul_add(query, key, sums[chain]);
                        }
                    }
                }
                dimension += C;
            }
            for (output, sums) in output.iter_mut().zip(&sums) {
                let places = output.as_chunks_mut::<LANES>().0[step * B..].iter_mut();
                for (place, chains) in places.zip(sums) {
                    let (first, rest) = chains.split_at(1);
                    let sum = rest
                        .iter()
                        .fold(first[0], |sum, chain| simd.add(sum, *chain));
                    simd.store(sum, place);
                }
            }
        }
        Q
    }
}

/// Turns the scores of a row into weights, after bringing what there is of the row down to the new maximum.
#[expect(clippy::inline_always, reason = "takes on the caller's instructions")]
#[inline(always)]
pub(super) fn fold<S: Simd>(
    simd: S,
    scores: &mut [[f32; LANES]],
    maximum: &mut f32,
    sum: &mut f32,
    weighted: &mut [[f32; LANES]],
) {
    let mut largest = simd.splat(*maximum);
    for scores in &*scores {
        largest = simd.max(simd.load(scores), largest);
    }
    let largest = simd.largest(largest);
    if largest > *maximum {
        let factor = exp2(simd, simd.splat(*maximum - largest));
        for weighted in weighted {
            simd.store(simd.mul(simd.load(weighted), factor), weighted);
        }
        let mut factors = [0f32; LANES];
        simd.store(factor, &mut factors);
        *sum *= factors[0];
        *maximum = largest;
    }
    let largest = simd.splat(largest);
    let mut sums = simd.splat(0.0);
    for scores in scores {
        let weights = exp2(simd, simd.sub(simd.load(scores), largest));
        simd.store(weights, scores);
        sums = simd.add(sums, weights);
    }
    *sum += simd.sum(sums);
}

/// Adds the values of a tile's positions, times the weights of each row, to the sums of the rows.
///
/// `seen` says how many of the positions a row sees, no fewer than the row before it: the values of others are not
/// touched, since even a weight of zero would let one that is not a number through. `values` and `weighted` are rows
/// of `vectors` vectors. Those of the next tile are fetched meanwhile.
#[expect(clippy::inline_always, reason = "takes on the caller's instructions")]
#[inline(always)]
pub(super) fn add_values<S: Simd, T: Cached>(
    simd: S,
    weights: &[[f32; TILE]],
    seen: impl Fn(usize) -> usize,
    values: &[[T; LANES]],
    vectors: usize,
    weighted: &mut [[f32; LANES]],
) {
    let mut first = 0;
    while first < weights.len() {
        let rows = match (S::MANY_REGISTERS, weights.len() - first) {
            (true, 4..) => 4,
            (false, 2..) => 2,
            _ => 1,
        };
        // What all of these rows see, then what only the later ones do.
        let common = seen(first);
        let mut tile = Tile {
            simd,
            weights: &weights[first..],
            values,
            vectors,
            ahead: if first == 0 { TILE * vectors } else { 0 },
            positions: 0..common,
            weighted: &mut weighted[first * vectors..],
        };
        match rows {
            4 => tile.add::<4, 5>(),
            2 => tile.add::<2, 2>(),
            _ => tile.add::<1, 5>(),
        }
        for row in first + 1..first + rows {
            if seen(row) > common {
                let mut tile = Tile {
                    simd,
                    weights: &weights[row..],
                    values,
                    vectors,
                    ahead: 0,
                    positions: common..seen(row),
                    weighted: &mut weighted[row * vectors..],
                };
                tile.add::<1, 1>();
            }
        }
        first += rows;
    }
}

/// Some positions of a tile, for the first few of the rows.
struct Tile<'a, S, T> {
    simd: S,
    weights: &'a [[f32; TILE]],
    values: &'a [[T; LANES]],
    vectors: usize,
    /// How many vectors further on to fetch.
    ahead: usize,
    positions: Range<usize>,
    weighted: &'a mut [[f32; LANES]],
}

impl<S: Simd, T: Cached> Tile<'_, S, T> {
    /// Adds values to `R` rows, up to `V` vectors at a time.
    #[expect(clippy::inline_always, reason = "takes on the caller's instructions")]
    #[inline(always)]
    fn add<const R: usize, const V: usize>(&mut self) {
        let mut first = 0;
        while first < self.vectors {
            first += match self.vectors - first {
                left if left >= V => self.add_vectors::<R, V>(first),
                4.. if V > 4 => self.add_vectors::<R, 4>(first),
                2.. if V > 2 => self.add_vectors::<R, 2>(first),
                _ => self.add_vectors::<R, 1>(first),
            };
        }
    }

    /// Adds `V` vectors of values to `R` rows, from the vector `first` on.
    #[expect(clippy::inline_always, reason = "takes on the caller's instructions")]
    #[inline(always)]
    fn add_vectors<const R: usize, const V: usize>(&mut self, first: usize) -> usize {
        let (simd, vectors) = (self.simd, self.vectors);
        let weights: [&[f32]; R] =
            std::array::from_fn(|row| &self.weights[row][self.positions.clone()]);
        let mut sums = [[simd.splat(0.0); V]; R];
        for (row, sums) in sums.iter_mut().enumerate() {
            for (vector, sum) in sums.iter_mut().enumerate() {
                *sum = simd.load(&self.weighted[row * vectors + first + vector]);
            }
        }
        let values = self.positions.start * vectors..self.positions.end * vectors;
        for (position, values) in self.values[values].chunks_exact(vectors).enumerate() {
            let values: &[[T; LANES]; V] = values[first..].first_chunk().expect("within the row");
            let mut loaded = [simd.splat(0.0); V];
            for line in (0..V).step_by(LINE / size_of::<[T; LANES]>()) {
                simd.prefetch(values.as_ptr().wrapping_add(line + self.ahead));
            }
            for (loaded, values) in loaded.iter_mut().zip(values) {
                *loaded = T::load(simd, values);
            }
            for (sums, weights) in sums.iter_mut().zip(&weights) {
                let weight = simd.splat(weights[position]);
                for (sum, value) in sums.iter_mut().zip(loaded) {
                    *sum = simd.mul_add(weight, value, *sum);
                }
            }
        }
        for (row, sums) in sums.into_iter().enumerate() {
            for (vector, sum) in sums.into_iter().enumerate() {
                simd.store(sum, &mut self.weighted[row * vectors + first + vector]);
            }
        }
        V
    }
}
