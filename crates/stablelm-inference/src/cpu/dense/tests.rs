//! Every kernel against sums made one by one in f64.

use std::num::NonZeroUsize;

use crate::cpu::Rows;
use crate::cpu::dense::{few, many, products};
use crate::cpu::level::Level;
use crate::cpu::pool::Pool;
use crate::stored::{StoredMatrix, StoredValues, bf16_from_f32, f32_from_bf16, f32_from_f16};

/// Numbers between -1 and 1 of 16 random bits each.
fn noise(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut draw = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 48) as f32 / 32768.0 - 1.0
    };
    (0..len).map(|_| draw()).collect()
}

fn product(pool: &Pool, level: Level, input: &Rows, weight: &StoredMatrix) -> Vec<f32> {
    products(pool, level, input, &[weight]).swap_remove(0)
}

fn by_rows(pool: &Pool, level: Level, input: &Rows, weight: &StoredMatrix) -> Vec<f32> {
    few::products(pool, level, input, &[weight]).swap_remove(0)
}

/// Small whole numbers: every product and sum is exact, in any order and any of the formats.
fn wholes(len: usize, seed: usize) -> Vec<f32> {
    let whole = |i: usize| ((i * 7 + i / 13 + seed) % 11) as f32 - 5.0;
    (0..len).map(whole).collect()
}

/// A format of weights, and how its numbers are made from bits.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Bf16,
    F16,
    F32,
}

const KINDS: [Kind; 3] = [Kind::Bf16, Kind::F16, Kind::F32];

/// A matrix and its values as f32.
fn matrix(kind: Kind, rows: usize, columns: usize, values: &[f32]) -> (StoredMatrix, Vec<f32>) {
    // Sign, exponent and the upper bits of the fraction: exact for small whole numbers, near for the rest.
    let half = |value: &f32| {
        let bits = value.to_bits();
        let exponent = bits >> 23 & 0xff;
        let sign = bits >> 16 & 0x8000;
        let magnitude = if exponent < 113 {
            0
        } else {
            (exponent - 112) << 10 | bits >> 13 & 0x3ff
        };
        u16::try_from(sign | magnitude).unwrap()
    };
    let (stored, widened) = match kind {
        Kind::Bf16 => {
            let bits: Vec<u16> = values.iter().map(|x| bf16_from_f32(*x)).collect();
            let widened = bits.iter().map(|bits| f32_from_bf16(*bits)).collect();
            (StoredValues::Bf16(bits.into()), widened)
        }
        Kind::F16 => {
            let bits: Vec<u16> = values.iter().map(half).collect();
            let widened = bits.iter().map(|bits| f32_from_f16(*bits)).collect();
            (StoredValues::F16(bits.into()), widened)
        }
        Kind::F32 => (StoredValues::F32(values.to_vec().into()), values.to_vec()),
    };
    let matrix = StoredMatrix {
        rows,
        columns,
        values: stored,
    };
    (matrix, widened)
}

fn pool(threads: usize) -> Pool {
    Pool::new(NonZeroUsize::new(threads).unwrap()).unwrap()
}

/// Multiplies numbers of every kind at every level and compares with sums in f64.
#[track_caller]
fn check(pool: &Pool, positions: usize, rows: usize, columns: usize) {
    let seed = (positions * 1_000 + rows) * 1_000 + columns;
    let input = Rows {
        width: columns,
        values: noise(positions * columns, seed as u64),
    };
    let rounded = |x: &f32| f32_from_bf16(bf16_from_f32(*x));
    let rounded: Vec<f32> = input.values.iter().map(rounded).collect();
    for kind in KINDS {
        let (weight, widened) = matrix(kind, rows, columns, &noise(rows * columns, 7));
        for level in Level::all() {
            let pairs = kind == Kind::Bf16 && level == Level::Avx512Bf16;
            let ways = [
                (
                    by_rows as fn(&_, _, &_, &_) -> Vec<f32>,
                    positions <= 6,
                    false,
                ),
                (many::product, true, pairs),
            ];
            for (way, (multiply, possible, rounds)) in ways.into_iter().enumerate() {
                if !possible {
                    continue;
                }
                let input_read = if rounds { &rounded } else { &input.values };
                let products = multiply(pool, level, &input, &weight);
                assert_eq!(products.len(), positions * rows);
                for (at, found) in products.iter().enumerate() {
                    let input = &input_read[at / rows * columns..][..columns];
                    let weights = &widened[at % rows * columns..][..columns];
                    let expected: f64 = input
                        .iter()
                        .zip(weights)
                        .map(|(a, b)| f64::from(*a) * f64::from(*b))
                        .sum();
                    let error = (f64::from(*found) - expected).abs();
                    assert!(
                        error < 2e-6 * (columns as f64).sqrt().max(1.0),
                        "{kind:?} {level:?} way {way}, {positions} x {rows} x {columns} at {at}: {found} {expected}",
                    );
                }
            }
        }
    }
}

#[test]
fn every_number_of_columns_is_multiplied() {
    let pool = pool(1);
    for columns in 1..=70 {
        check(&pool, 1 + columns % 6, 1 + columns * 5 % 23, columns);
        check(&pool, 7 + columns % 13, 1 + columns * 5 % 23, columns);
    }
}

#[test]
fn every_number_of_positions_is_multiplied() {
    let pool = pool(1);
    for positions in 1..=130 {
        check(
            &pool,
            positions,
            1 + positions * 3 % 17,
            1 + positions * 11 % 37,
        );
    }
}

#[test]
fn every_number_of_rows_is_multiplied() {
    let pool = pool(1);
    for rows in 1..=110 {
        check(&pool, 1 + rows % 6, rows, 33);
        check(&pool, 10 + rows, rows, 33);
    }
}

#[test]
fn blocks_of_columns_and_chunks_of_positions_are_joined() {
    let pool = pool(2);
    check(&pool, 3, 50, 1_003);
    check(&pool, 20, 50, 1_003);
    check(&pool, 530, 49, 259);
    check(&pool, 64, 96, 512);
}

#[test]
fn whole_numbers_are_multiplied_exactly() {
    let pool = pool(2);
    for (positions, rows, columns) in [(1, 700, 200), (5, 300, 77), (9, 300, 1_000), (70, 60, 301)]
    {
        let input = Rows {
            width: columns,
            values: wholes(positions * columns, 3),
        };
        let weights = wholes(rows * columns, 8);
        let expected: Vec<f32> = (0..positions * rows)
            .map(|at| {
                let input = &input.values[at / rows * columns..][..columns];
                let weights = &weights[at % rows * columns..][..columns];
                input.iter().zip(weights).map(|(a, b)| a * b).sum()
            })
            .collect();
        for kind in KINDS {
            let (weight, _) = matrix(kind, rows, columns, &weights);
            for level in Level::all() {
                assert_eq!(
                    product(&pool, level, &input, &weight),
                    expected,
                    "{kind:?} {level:?}"
                );
            }
        }
    }
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let (one, four) = (pool(1), pool(4));
    for (positions, rows, columns) in [(1, 3_000, 200), (4, 1_111, 333), (40, 500, 777)] {
        let input = Rows {
            width: columns,
            values: noise(positions * columns, 5),
        };
        for kind in KINDS {
            let (weight, _) = matrix(kind, rows, columns, &noise(rows * columns, 6));
            for level in Level::all() {
                let bits = |pool| {
                    let products = product(pool, level, &input, &weight);
                    products.into_iter().map(f32::to_bits).collect::<Vec<_>>()
                };
                assert_eq!(bits(&one), bits(&four), "{kind:?} {level:?}");
            }
        }
    }
}

#[test]
fn matrices_multiplied_together_give_what_each_gives_alone() {
    let pool = pool(2);
    let columns = 150;
    let weights: Vec<StoredMatrix> = [(0, 7), (0, 3_000), (1, 5), (2, 1), (0, 33)]
        .map(|(kind, rows)| matrix(KINDS[kind], rows, columns, &noise(rows * columns, 4)).0)
        .into();
    let together: Vec<&StoredMatrix> = weights.iter().collect();
    for positions in [1, 3, 9] {
        let input = Rows {
            width: columns,
            values: noise(positions * columns, 1),
        };
        for level in Level::all() {
            let found = products(&pool, level, &input, &together);
            let alone = weights
                .iter()
                .map(|weight| product(&pool, level, &input, weight));
            assert_eq!(found, alone.collect::<Vec<_>>(), "{level:?}");
        }
    }
}
