use std::num::NonZeroUsize;

use super::*;
use crate::f8::{f8_from_f32, f32_from_f8};
use crate::kv_cache::KvDtype;
use crate::stored::{f16_from_f32, f32_from_f16};

fn noise(len: usize, seed: u32) -> Vec<f32> {
    let draw = |i: u32| (i.wrapping_mul(0x9e37_79b9) ^ seed).wrapping_mul(0x85eb_ca6b) >> 8;
    (0..u32::try_from(len).unwrap())
        .map(|i| draw(i) as f32 / 8_388_608.0 - 1.0)
        .collect()
}

fn rows(count: usize, width: usize, seed: u32) -> Rows {
    Rows {
        width,
        values: noise(count * width, seed),
    }
}

fn shape(num_key_value_heads: usize, group: usize, head_dim: usize) -> HeadShape {
    HeadShape {
        num_heads: num_key_value_heads * group,
        num_key_value_heads,
        head_dim,
    }
}

/// A context and the queries of its last positions.
struct Case {
    shape: HeadShape,
    queries: Rows,
    keys: Rows,
    values: Rows,
}

impl Case {
    fn new(shape: HeadShape, context: usize, positions: usize) -> Self {
        let seed = u32::try_from(context * 131 + shape.head_dim).unwrap();
        let width = shape.num_key_value_heads * shape.head_dim;
        let mut queries = rows(positions, shape.num_heads * shape.head_dim, seed);
        // Scores of some size, so that weights differ by much.
        queries.values.iter_mut().for_each(|value| *value *= 8.0);
        Self {
            shape,
            queries,
            keys: rows(context, width, seed + 1),
            values: rows(context, width, seed + 2),
        }
    }

    fn attend(&self, threads: usize, level: Level, dtype: KvDtype) -> Rows {
        let pool = Pool::new(NonZeroUsize::new(threads).unwrap()).unwrap();
        let mut cache = HeadCaches::new(self.shape, dtype, 0);
        cache.append(&pool, level, &self.keys, &self.values);
        attend(&pool, level, &self.queries, &cache, self.shape)
    }

    /// Rounds keys and values as a cache does.
    fn rounded(&self, dtype: KvDtype) -> Self {
        let round = |rows: &Rows| Rows {
            width: rows.width,
            values: rows
                .values
                .iter()
                .map(|&value| match dtype {
                    KvDtype::F32 => value,
                    KvDtype::F16 => f32_from_f16(f16_from_f32(value)),
                    KvDtype::F8 => f32_from_f8(f8_from_f32(value)),
                })
                .collect(),
        };
        Self {
            shape: self.shape,
            queries: self.queries.clone(),
            keys: round(&self.keys),
            values: round(&self.values),
        }
    }

    /// Returns what the definition gives, in f64.
    fn reference(&self) -> Vec<f64> {
        let HeadShape {
            num_heads,
            num_key_value_heads,
            head_dim,
        } = self.shape;
        let past = self.keys.len() - self.queries.len();
        let mut output = Vec::new();
        for (position, row) in self.queries.values.chunks(self.queries.width).enumerate() {
            for (head, query) in row.chunks(head_dim).enumerate() {
                let column = head / (num_heads / num_key_value_heads) * head_dim;
                let seen = past + position + 1;
                let of = |rows: &'_ Rows, at: usize, dimension: usize| {
                    f64::from(rows.values[at * rows.width + column + dimension])
                };
                let score = |at: usize| {
                    let products = query
                        .iter()
                        .enumerate()
                        .map(|(i, q)| f64::from(*q) * of(&self.keys, at, i));
                    products.sum::<f64>() / (head_dim as f64).sqrt()
                };
                let scores: Vec<f64> = (0..seen).map(score).collect();
                let largest = scores.iter().copied().fold(f64::MIN, f64::max);
                let weights: Vec<f64> = scores.iter().map(|s| (s - largest).exp()).collect();
                let total: f64 = weights.iter().sum();
                for dimension in 0..head_dim {
                    let sum: f64 = (0..seen)
                        .map(|at| weights[at] * of(&self.values, at, dimension))
                        .sum();
                    output.push(sum / total);
                }
            }
        }
        output
    }

    #[track_caller]
    fn check(&self) {
        for dtype in KvDtype::ALL {
            let expected = self.rounded(dtype).reference();
            for level in Level::all() {
                let found = self.attend(1, level, dtype);
                assert_eq!(found.values.len(), expected.len());
                for (found, expected) in found.values.iter().zip(&expected) {
                    let error = (f64::from(*found) - expected).abs();
                    assert!(
                        error < 1e-5,
                        "{level:?} {dtype:?} {:?}, {} of {}: {found} is not {expected}",
                        self.shape,
                        self.queries.len(),
                        self.keys.len(),
                    );
                }
            }
        }
    }
}

#[test]
fn every_context_of_a_single_position() {
    for context in (1..70).chain([127, 128, 129, 200, 255, 256, 257, 300]) {
        Case::new(shape(2, 1, 20), context, 1).check();
    }
}

#[test]
fn every_size_of_a_head() {
    for head_dim in (1..40).chain([63, 64, 65, 80, 96, 112, 128, 144, 160, 176]) {
        Case::new(shape(1, 2, head_dim), 70, 1).check();
        Case::new(shape(1, 1, head_dim), 70, 7).check();
    }
}

#[test]
fn every_number_of_positions() {
    for positions in 1..70 {
        Case::new(shape(1, 1, 20), positions, positions).check();
        Case::new(shape(1, 3, 12), positions + 90, positions).check();
    }
}

#[test]
fn groups_of_query_heads_share_a_key_head() {
    for group in [1, 2, 3, 4, 5, 6, 7, 8, 50] {
        for positions in [1, 2, 30] {
            Case::new(shape(2, group, 16), 100, positions).check();
        }
    }
}

#[test]
fn contexts_of_several_tasks() {
    for (context, positions) in [(1024, 1), (1025, 1), (2100, 1), (2100, 3), (1030, 20)] {
        Case::new(shape(2, 2, 20), context, positions).check();
    }
}

#[test]
fn the_number_of_threads_changes_nothing() {
    for (context, positions) in [(3000, 1), (500, 400), (1100, 5)] {
        let case = Case::new(shape(3, 2, 24), context, positions);
        for dtype in KvDtype::ALL {
            let one = case.attend(1, Level::detect(), dtype);
            for threads in [2, 3, 7] {
                let several = case.attend(threads, Level::detect(), dtype);
                assert_eq!(several.values, one.values, "{threads} threads");
            }
        }
    }
}

#[test]
fn the_first_position_sees_only_itself() {
    let mut case = Case::new(shape(1, 1, 2), 2, 2);
    case.queries.values = vec![1.0, 0.0, 0.0, 1.0];
    case.keys.values = vec![3.0, 1.0, 50.0, 500.0];
    case.values.values = vec![5.0, 6.0, 7.0, 8.0];
    for level in Level::all() {
        assert_eq!(
            case.attend(1, level, KvDtype::F16).values,
            [5.0, 6.0, 7.0, 8.0]
        );
    }
}

#[test]
fn scores_far_apart_leave_one_position() {
    let context = 200;
    let mut case = Case::new(shape(1, 1, 4), context, 1);
    case.queries.values = vec![1000.0; 4];
    // Ever larger scores: the maximum moves in every tile.
    case.keys.values = (0..context * 4).map(|i| (i / 4) as f32).collect();
    let last = case.values.values[(context - 1) * 4..].to_vec();
    for level in Level::all() {
        assert_eq!(case.attend(1, level, KvDtype::F32).values, last);
    }
}

#[test]
fn a_value_that_is_not_a_number_shows() {
    let mut case = Case::new(shape(1, 1, 4), 70, 1);
    case.keys.values[5] = f32::NAN;
    for level in Level::all() {
        for dtype in KvDtype::ALL {
            let found = case.attend(1, level, dtype);
            assert!(found.values.iter().all(|value| value.is_nan()));
        }
    }
}

#[test]
fn no_position_sees_a_later_one_whatever_that_holds() {
    let mut case = Case::new(shape(1, 2, 20), 150, 100);
    let whole = case.attend(1, Level::detect(), KvDtype::F32);
    for later in 140 * 20..150 * 20 {
        case.keys.values[later] = f32::NAN;
        case.values.values[later] = f32::NAN;
    }
    for level in Level::all() {
        let found = case.attend(1, level, KvDtype::F32);
        let (seen, broken) = found.values.split_at(90 * 40);
        for (found, whole) in seen.iter().zip(&whole.values) {
            assert!((found - whole).abs() < 1e-5, "{level:?}");
        }
        assert!(broken.iter().all(|value| value.is_nan()));
    }
}
