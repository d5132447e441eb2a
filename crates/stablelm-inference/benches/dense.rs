//! How fast dense weights are read and multiplied: `just bench-kernels`.
//!
//! The shapes are those of the 3B models. One position is bound by memory: bytes of weights a second, from matrices that
//! do not fit the cache. Many are bound by arithmetic: an item is a multiplication with its addition, two operations.

use std::num::NonZeroUsize;

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use stablelm_inference::WeightDtype;
use stablelm_inference::bench_support::{Instructions, Products, Shape};

/// More than any cache.
const BYTES: usize = 400 << 20;

const DTYPES: [WeightDtype; 3] = [WeightDtype::Bf16, WeightDtype::F16, WeightDtype::F32];

const THREADS: [NonZeroUsize; 2] = [NonZeroUsize::MIN, NonZeroUsize::MIN.saturating_add(1)];

/// `[rows, columns]` of the projections of attention, and of the MLP up and down.
const SHAPES: [[usize; 2]; 3] = [[2560, 2560], [6912, 2560], [2560, 6912]];

#[derive(Debug)]
struct Case {
    shape: Shape,
    dtype: WeightDtype,
    threads: NonZeroUsize,
    instructions: Instructions,
}

fn main() {
    divan::main();
}

fn cases(positions: &[usize], shapes: &[[usize; 2]]) -> Vec<Case> {
    let mut cases = Vec::new();
    for dtype in DTYPES {
        for instructions in Instructions::available() {
            for threads in THREADS {
                for &positions in positions {
                    for &[rows, columns] in shapes {
                        cases.push(Case {
                            shape: Shape {
                                positions,
                                rows,
                                columns,
                            },
                            dtype,
                            threads,
                            instructions,
                        });
                    }
                }
            }
        }
    }
    cases
}

/// One position, as when decoding.
#[divan::bench(args = cases(&[1], &SHAPES), max_time = 1)]
fn one(bencher: Bencher, case: &Case) {
    read(bencher, case);
}

fn read(bencher: Bencher, case: &Case) {
    let Shape { rows, columns, .. } = case.shape;
    let width = if case.dtype == WeightDtype::F32 { 4 } else { 2 };
    let mut products = Products::new(case.shape, case.dtype, case.threads, BYTES)
        .expect("there are threads to be had");
    bencher
        .counter(BytesCount::new(rows * columns * width))
        .bench_local(|| products.next(case.instructions));
}

/// A few positions, which share one reading of the weights, and fewer than a group.
#[divan::bench(args = cases(&[2, 4, 6, 8, 16], &SHAPES[1..2]), max_time = 1)]
fn few(bencher: Bencher, case: &Case) {
    read(bencher, case);
}

/// A prompt.
#[divan::bench(args = cases(&[128, 512], &SHAPES), max_time = 2)]
fn many(bencher: Bencher, case: &Case) {
    let Shape {
        positions,
        rows,
        columns,
    } = case.shape;
    let mut products = Products::new(case.shape, case.dtype, case.threads, BYTES)
        .expect("there are threads to be had");
    bencher
        .counter(ItemsCount::new(positions * rows * columns))
        .bench_local(|| products.next(case.instructions));
}
