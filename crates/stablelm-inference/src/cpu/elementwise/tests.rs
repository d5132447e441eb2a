use std::num::NonZeroUsize;

use super::*;
use crate::rotary::Rotary;

fn pool(threads: usize) -> Pool {
    Pool::new(NonZeroUsize::new(threads).unwrap()).unwrap()
}

fn noise(len: usize, seed: u32) -> Vec<f32> {
    let draw = |i: u32| (i.wrapping_mul(0x9e37_79b9) ^ seed).wrapping_mul(0x85eb_ca6b) >> 8;
    (0..u32::try_from(len).unwrap())
        .map(|i| draw(i) as f32 / 8_388_608.0 - 1.0)
        .collect()
}

#[track_caller]
fn check(found: f32, expected: f64, tolerance: f64) {
    let error = (f64::from(found) - expected).abs();
    assert!(
        error < tolerance,
        "{found} is not {expected}, off by {error:e}"
    );
}

fn activated(level: Level, values: &[f32], nonlinearity: Nonlinearity) -> Vec<f32> {
    let mut values = values.to_vec();
    activate(&pool(1), level, &mut values, nonlinearity, None);
    values
}

#[test]
fn nonlinearities_have_their_textbook_values() {
    for level in Level::all() {
        let silu = activated(level, &[1.0, -200.0, 0.0], Nonlinearity::Silu);
        check(silu[0], 0.731_058_58, 2e-7);
        check(silu[1], 0.0, 1e-30);
        check(silu[2], 0.0, 1e-30);
        let gelu = activated(level, &[1.0, -2.0, 6.0, -6.0], Nonlinearity::Gelu);
        check(gelu[0], 0.841_344_75, 2e-7);
        check(gelu[1], -0.045_500_26, 3e-7);
        check(gelu[2], 6.0, 1e-6);
        check(gelu[3], 0.0, 1e-6);
        let tanh = activated(level, &[1.0, -2.0], Nonlinearity::GeluTanh);
        check(tanh[0], 0.841_191_99, 2e-7);
        check(tanh[1], -0.045_402_31, 2e-7);
    }
}

#[test]
fn a_factor_multiplies_wherever_a_value_lies() {
    let factor = noise(70_000 + 7, 1);
    let values = noise(factor.len(), 2);
    for level in Level::all() {
        let plain = activated(level, &values, Nonlinearity::Silu);
        for threads in [1, 2] {
            let mut found = values.clone();
            activate(
                &pool(threads),
                level,
                &mut found,
                Nonlinearity::Silu,
                Some(&factor),
            );
            let expected: Vec<f32> = plain.iter().zip(&factor).map(|(a, b)| a * b).collect();
            assert_eq!(found, expected);
        }
    }
}

/// Normalizes in f64, by the definition.
fn reference(row: &[f32], group: usize, factors: Factors<'_>, epsilon: f64) -> Vec<f64> {
    let mut output = Vec::new();
    for values in row.chunks(group) {
        let mean = values.iter().map(|x| f64::from(*x)).sum::<f64>() / group as f64;
        let squares = values.iter().map(|x| (f64::from(*x) - mean).powi(2));
        let deviation = (squares.sum::<f64>() / group as f64 + epsilon).sqrt();
        for value in values {
            let (column, weight) = (output.len(), factors.weight[output.len()]);
            let bias = factors.bias.map_or(0.0, |bias| bias[column]);
            let normal = (f64::from(*value) - mean) / deviation;
            output.push(normal * f64::from(weight) + f64::from(bias));
        }
    }
    output
}

#[test]
fn normalization_is_accurate_far_from_zero_and_with_outliers() {
    for (width, group) in [(1, 1), (6, 3), (20, 20), (33, 11), (160, 80), (2560, 2560)] {
        let (weight, bias) = (noise(width, 3), noise(width, 4));
        for (offset, outlier) in [(0.0, 0.0), (1000.0, 0.0), (0.0, 5000.0)] {
            let mut values: Vec<f32> = noise(3 * width, 5).iter().map(|x| x + offset).collect();
            values[width / 2] += outlier;
            let input = Rows { width, values };
            for bias in [None, Some(bias.as_slice())] {
                let weight = weight.as_slice();
                let factors = Factors { weight, bias };
                for level in Level::all() {
                    let found = normalize(&pool(1), level, &input, group, 1e-5, factors);
                    let rows = input.values.chunks(width);
                    let expected = rows.flat_map(|row| reference(row, group, factors, 1e-5));
                    for (found, expected) in found.values.iter().zip(expected) {
                        check(*found, expected, 4e-7 * expected.abs().max(1.0));
                    }
                }
            }
        }
    }
}

#[test]
fn rows_come_out_the_same_however_many_threads_there_are() {
    let width = 300;
    let input = Rows {
        width,
        values: noise(width * 500, 6),
    };
    let weight = noise(width, 7);
    let factors = Factors {
        weight: &weight,
        bias: None,
    };
    let angles = Rotary::new(20, 10_000.0).angles(3..503);
    let results: Vec<Rows> = [1, 2, 5]
        .map(|threads| {
            let pool = pool(threads);
            let mut rows = normalize(&pool, Level::detect(), &input, 60, 1e-5, factors);
            rotate(&pool, &mut rows, 60, &angles);
            add_rows(&pool, &mut rows.values, &input.values);
            rows
        })
        .into();
    for result in &results {
        assert_eq!(result.values, results[0].values);
    }
    // The last row alone, in plain terms.
    let row = &input.values[499 * width..];
    let normal = reference(row, 60, factors, 1e-5);
    let (cos, sin) = (angles.cos[499 * 10 + 2], angles.sin[499 * 10 + 2]);
    let (a, b) = (normal[60 + 2], normal[60 + 12]);
    let expected = a * f64::from(cos) - b * f64::from(sin) + f64::from(row[62]);
    check(results[0].values[499 * width + 62], expected, 1e-6);
    let expected = normal[60 + 25] + f64::from(row[85]);
    check(results[0].values[499 * width + 85], expected, 1e-6);
}
