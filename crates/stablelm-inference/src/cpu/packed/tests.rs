//! Packed matrices beside candle's blocks and the plain product.

use std::num::NonZeroUsize;

use bytes::Bytes;
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};

use super::*;

const FORMATS: [(BlockFormat, GgmlDType); 5] = [
    (BlockFormat::Q8_0, GgmlDType::Q8_0),
    (BlockFormat::Q4_0, GgmlDType::Q4_0),
    (BlockFormat::Q4K, GgmlDType::Q4K),
    (BlockFormat::Q5K, GgmlDType::Q5K),
    (BlockFormat::Q6K, GgmlDType::Q6K),
];

fn pool(threads: usize) -> Pool {
    Pool::new(NonZeroUsize::new(threads).unwrap()).unwrap()
}

fn product(pool: &Pool, level: Level, input: &Rows, weight: &PackedMatrix) -> Vec<f32> {
    products(pool, level, input, &[weight]).swap_remove(0)
}

/// Numbers around 0 that look random, from a linear congruence.
fn numbers(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / 16_777_216.0 - 0.5
    };
    // A sum of three is a little like the normal distribution, which has few large values.
    (0..len).map(|_| next() + next() + next()).collect()
}

/// Returns a matrix that candle has quantized, and its weights as candle reads them.
fn quantized(format: usize, rows: usize, columns: usize) -> (Blocks, Vec<f32>) {
    let (format, dtype) = FORMATS[format];
    let weights = numbers(rows * columns, 7 + rows as u64);
    let tensor = Tensor::from_vec(weights, (rows, columns), &Device::Cpu).unwrap();
    let quantized = QTensor::quantize(&tensor, dtype).unwrap();
    let weights = quantized.dequantize(&Device::Cpu).unwrap();
    let blocks = Blocks {
        format,
        rows,
        columns,
        bytes: Bytes::from(quantized.data().unwrap().into_owned()),
    };
    let weights = weights.flatten_all().unwrap().to_vec1().unwrap();
    (blocks, weights)
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn packed_blocks_hold_the_weights_that_candle_reads() {
    for format in 0..FORMATS.len() {
        for rows in [1, 16, 37] {
            let (blocks, expected) = quantized(format, rows, 512);
            let packed = PackedMatrix::from_blocks(&pool(2), &blocks);
            let mut found = Vec::new();
            for row in 0..rows {
                packed.widen_row(row, &mut found);
            }
            assert_eq!(bits(&found), bits(&expected), "{}", blocks.format);
        }
    }
}

/// Any bytes are weights: scales that encoders do not make are read as they are.
#[test]
fn random_blocks_hold_the_weights_that_candle_reads() {
    for (format, dtype) in FORMATS {
        let (rows, columns) = (16, 1024);
        let len = rows * columns / format.block_len() * format.block_bytes();
        let mut bytes: Vec<u8> = numbers(len, 3)
            .iter()
            .map(|number| number.to_bits().to_le_bytes()[1])
            .collect();
        for block in bytes.chunks_exact_mut(format.block_bytes()) {
            // Half-precision factors must be finite to be compared.
            for at in [1, 3, format.block_bytes() - 1] {
                block[at] &= 0x3f;
            }
        }
        let data = candle_core::quantized::QStorage::from_data(
            std::borrow::Cow::Borrowed(&bytes),
            &Device::Cpu,
            dtype,
        );
        let tensor = QTensor::new(data.unwrap(), (rows, columns)).unwrap();
        let expected = tensor.dequantize(&Device::Cpu).unwrap();
        let expected: Vec<f32> = expected.flatten_all().unwrap().to_vec1().unwrap();
        let blocks = Blocks {
            format,
            rows,
            columns,
            bytes: Bytes::from(bytes),
        };
        let packed = PackedMatrix::from_blocks(&pool(1), &blocks);
        let mut found = Vec::new();
        for row in 0..rows {
            packed.widen_row(row, &mut found);
        }
        assert_eq!(bits(&found), bits(&expected), "{format}");
    }
}

/// The activations as they are quantized: the nearest of 255 multiples of a step.
fn rounded(input: &[f32]) -> Vec<f64> {
    let runs = input.chunks_exact(32).flat_map(|run| {
        let largest = run.iter().fold(0f32, |left, right| left.max(right.abs()));
        let step = f64::from(largest / 127.0);
        let inverse = 127.0 / largest;
        run.iter()
            .map(move |value| f64::from((value * inverse).round_ties_even()) * step)
    });
    runs.collect()
}

#[track_caller]
fn check_product(format: usize, positions: usize, rows: usize, columns: usize) {
    let (blocks, weights) = quantized(format, rows, columns);
    let pool = pool(2);
    let packed = PackedMatrix::from_blocks(&pool, &blocks);
    let input = Rows {
        width: columns,
        values: numbers(positions * columns, 99),
    };
    let activations = rounded(&input.values);
    let mut first = None;
    for level in Level::all() {
        let found = product(&pool, level, &input, &packed);
        for (position, found) in found.chunks_exact(rows).enumerate() {
            let activations = &activations[position * columns..][..columns];
            for (row, found) in found.iter().enumerate() {
                let weights = &weights[row * columns..][..columns];
                let products = weights.iter().zip(activations);
                let products = products.map(|(left, right)| f64::from(*left) * right);
                let (sum, size) = products.fold((0.0, 0.0), |(sum, size): (f64, f64), product| {
                    (sum + product, size + product.abs())
                });
                assert!(
                    (f64::from(*found) - sum).abs() <= 1e-6 * size,
                    "{} {level:?} at {position}, {row}: {found}, expected {sum}",
                    blocks.format
                );
            }
        }
        let first = first.get_or_insert_with(|| found.clone());
        assert_eq!(bits(&found), bits(first), "{} {level:?}", blocks.format);
    }
}

#[test]
fn products_are_those_of_the_weights_at_every_level() {
    for format in 0..FORMATS.len() {
        for positions in [1, 2, 3, 4, 5, 12, 13, 17, 29, 40] {
            check_product(format, positions, 19, 256);
        }
        check_product(format, 1, 1, 512);
        check_product(format, 16, 160, 768);
    }
    for columns in [32, 96, 160] {
        check_product(0, 3, 33, columns);
        check_product(1, 3, 33, columns);
    }
}

#[test]
fn products_do_not_depend_on_the_number_of_threads() {
    let (blocks, _) = quantized(2, 5000, 256);
    let input = Rows {
        width: 256,
        values: numbers(14 * 256, 1),
    };
    let [one, three] = [1, 3].map(|threads| {
        let pool = pool(threads);
        let packed = PackedMatrix::from_blocks(&pool, &blocks);
        product(&pool, Level::detect(), &input, &packed)
    });
    assert_eq!(bits(&one), bits(&three));
}

#[test]
fn matrices_multiplied_together_give_what_each_gives_alone() {
    let pool = pool(2);
    // Formats that share activations and formats that do not; rows that are not a whole number of panels.
    let packed: Vec<PackedMatrix> = [(2, 40), (4, 19), (3, 3), (2, 1), (0, 35)]
        .map(|(format, rows)| PackedMatrix::from_blocks(&pool, &quantized(format, rows, 512).0))
        .into();
    let together: Vec<&PackedMatrix> = packed.iter().collect();
    for positions in [1, 3, 14] {
        let input = Rows {
            width: 512,
            values: numbers(positions * 512, 2),
        };
        for level in Level::all() {
            let found = products(&pool, level, &input, &together);
            assert_eq!(found.len(), packed.len());
            for (found, packed) in found.iter().zip(&packed) {
                let alone = product(&pool, level, &input, packed);
                assert_eq!(bits(found), bits(&alone), "{} {level:?}", packed.format);
            }
        }
    }
}

/// Quantizes a matrix, and returns its weights.
fn encoded(encoding: Encoding, level: Level, weights: &[f32], columns: usize) -> Vec<f32> {
    let rows = weights.len() / columns;
    let matrix = StoredMatrix {
        rows,
        columns,
        values: crate::stored::StoredValues::F32(weights.to_vec().into()),
    };
    let packed = PackedMatrix::quantize(&pool(1), level, &matrix, encoding);
    let mut found = Vec::new();
    for row in 0..rows {
        packed.widen_row(row, &mut found);
    }
    found
}

fn squared_error(left: &[f32], right: &[f32]) -> f64 {
    let differences = left.iter().zip(right).map(|(left, right)| left - right);
    differences
        .map(|difference| f64::from(difference).powi(2))
        .sum()
}

#[test]
fn our_q8_0_is_that_of_candle() {
    let weights = numbers(37 * 160, 7 + 37);
    let (_, expected) = quantized(0, 37, 160);
    for level in Level::all() {
        let found = encoded(Encoding::Q8_0, level, &weights, 160);
        assert_eq!(bits(&found), bits(&expected), "{level:?}");
    }
}

#[test]
fn our_q4_k_is_no_worse_than_that_of_candle() {
    let weights = numbers(37 * 512, 7 + 37);
    let (_, theirs) = quantized(2, 37, 512);
    let theirs = squared_error(&theirs, &weights);
    let first = encoded(Encoding::Q4K, Level::Portable, &weights, 512);
    let ours = squared_error(&first, &weights);
    assert!(ours <= theirs, "{ours:e}, candle {theirs:e}");
    for level in Level::all() {
        let found = encoded(Encoding::Q4K, level, &weights, 512);
        assert_eq!(bits(&found), bits(&first), "{level:?}");
    }
}

#[test]
fn runs_of_equal_weights_are_kept() {
    for value in [0.0, 0.25, -0.25] {
        let weights = vec![value; 256];
        let found = encoded(Encoding::Q4K, Level::detect(), &weights, 256);
        for found in found {
            // A scale of 6 bits under a factor of 11 bits.
            assert!(
                (found - value).abs() <= 1e-3 * value.abs(),
                "{found}, {value}"
            );
        }
        let found = encoded(Encoding::Q8_0, Level::detect(), &weights, 256);
        for found in found {
            assert!(
                (found - value).abs() <= 1e-3 * value.abs(),
                "{found}, {value}"
            );
        }
    }
}
