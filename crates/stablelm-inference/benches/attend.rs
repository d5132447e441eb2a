//! What a processor spends beside the products with weights: `cargo bench -p stablelm-inference --bench attend`.
//!
//! The shape is that of `StableLM-3B-4E1T`: 32 heads of 80, f16 cache. Each decode step reads the cache of one of
//! several layers, so that it comes from memory; bytes are those of keys and values, items floating point operations.

use std::num::NonZeroUsize;

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use stablelm_inference::bench::{Attention, Layer, Sections};

const THREADS: [usize; 2] = [1, 2];

fn main() {
    divan::main();
}

fn threads(count: usize) -> NonZeroUsize {
    NonZeroUsize::new(count).expect("not zero")
}

/// A section of the pool in which all of its threads meet.
#[divan::bench(args = [2, 4])]
fn section(bencher: Bencher, count: usize) {
    let sections = Sections::new(threads(count)).expect("threads start");
    bencher.bench_local(|| sections.run());
}

/// One position over a context, in one layer.
#[divan::bench(args = [8, 512, 2048, 4096], consts = THREADS)]
fn decode<const COUNT: usize>(bencher: Bencher, context: usize) {
    // At least 200 MB.
    let bytes = context * 2 * 2560 * 2;
    let layers = (200_000_000 / bytes).clamp(1, 1000);
    let mut attention = Attention::new(threads(COUNT), context, 1, layers).expect("threads start");
    bencher
        .counter(BytesCount::new(bytes))
        .bench_local(|| attention.run());
}

/// A whole prompt over itself, in one layer.
#[divan::bench(args = [512, 2048], consts = THREADS)]
fn prefill<const COUNT: usize>(bencher: Bencher, context: usize) {
    let mut attention = Attention::new(threads(COUNT), context, context, 1).expect("threads start");
    // Two products of two operations each, over half of the pairs.
    let operations = context * (context + 1) / 2 * 2560 * 4;
    bencher
        .counter(ItemsCount::new(operations))
        .bench_local(|| attention.run());
}

/// Norms, rotation, nonlinearity and sums of one layer.
#[divan::bench(args = [1, 512], consts = THREADS)]
fn elementwise<const COUNT: usize>(bencher: Bencher, positions: usize) {
    let mut layer = Layer::new(threads(COUNT), positions).expect("threads start");
    bencher.bench_local(|| layer.run());
}
