//! How fast packed weights are multiplied: `just bench-kernels`.
//!
//! One position is bound by the memory that weights are read from, hence bytes a second (of weights); 512 positions by
//! arithmetic, hence operations a second (two for each weight and position). Shapes are those of StableLM 3B.

use std::num::NonZeroUsize;

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use stablelm_inference::packed_bench::{PackedProducts, PackedShape};
use stablelm_model::BlockFormat;

/// Together more than any cache holds.
const FROM_MEMORY: usize = 384 << 20;

/// The MLP's first matrices of StableLM 3B.
const ROWS: usize = 6912;
const COLUMNS: usize = 2560;

const FORMATS: [BlockFormat; 5] = [
    BlockFormat::Q8_0,
    BlockFormat::Q4_0,
    BlockFormat::Q4K,
    BlockFormat::Q5K,
    BlockFormat::Q6K,
];

fn main() {
    divan::main();
}

fn products(
    format: BlockFormat,
    positions: usize,
    level: usize,
    threads: usize,
    min_bytes: usize,
) -> PackedProducts {
    let shape = PackedShape {
        positions,
        rows: ROWS,
        columns: COLUMNS,
    };
    let threads = NonZeroUsize::new(threads).unwrap_or(NonZeroUsize::MIN);
    PackedProducts::new(shape, format, level, threads, min_bytes).expect("there are threads")
}

/// One position, with the best instructions.
#[divan::bench(args = FORMATS, consts = [1, 2])]
fn one_position<const THREADS: usize>(bencher: Bencher, format: BlockFormat) {
    let mut products = products(format, 1, usize::MAX, THREADS, FROM_MEMORY);
    bencher
        .counter(BytesCount::new(products.matrix_bytes()))
        .bench_local(|| products.next_product());
}

/// 512 positions, with the best instructions.
#[divan::bench(args = FORMATS, consts = [1, 2])]
fn prompt<const THREADS: usize>(bencher: Bencher, format: BlockFormat) {
    let mut products = products(format, 512, usize::MAX, THREADS, 1);
    bencher
        .counter(ItemsCount::new(2 * 512 * ROWS * COLUMNS))
        .bench_local(|| products.next_product());
}

/// 24 positions in `q4_k`, with each kind of instructions that this processor has.
#[divan::bench(args = PackedProducts::levels())]
fn prompt_with(bencher: Bencher, level: &str) {
    let level = PackedProducts::levels()
        .iter()
        .position(|name| name == level);
    let mut products = products(BlockFormat::Q4K, 24, level.unwrap_or_default(), 1, 1);
    bencher
        .counter(ItemsCount::new(2 * 24 * ROWS * COLUMNS))
        .bench_local(|| products.next_product());
}
