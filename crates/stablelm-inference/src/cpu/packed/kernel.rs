//! The product of one panel with a few positions, written once over vectors of 16 lanes.
//!
//! Sums over a run of columns are whole numbers, hence the same with any instructions; what is done with them in f32
//! is done lane by lane, in one order, without fused operations. So every [`Lanes`] gives the same bits.

use crate::cpu::packed::layout::{ACTIVATIONS, FACTORS, GROUP, PANEL, Shape, SubScales, VECTOR};

/// Words of 32 columns of one position: the quantized values, their scale, and two numbers that follow from their sums.
pub(crate) const POSITION: usize = ACTIVATIONS / GROUP + 3;

/// How far ahead of the multiplication weights are asked for.
const PREFETCH: usize = 8192;

/// Bytes between two cache lines.
const LINE: usize = 64;

/// Vectors of 16 numbers, as one kind of instructions has them.
///
/// # Safety
///
/// Every function may only be called where the processor has the implementor's instructions.
pub(crate) trait Lanes {
    /// 64 bytes.
    type Bytes: Copy;
    /// 16 i32.
    type Ints: Copy;
    /// 16 f32.
    type Floats: Copy;

    /// Reads 64 bytes.
    unsafe fn bytes(from: &[u8; VECTOR]) -> Self::Bytes;

    /// Keeps the lower four bits of each byte.
    unsafe fn low_nibbles(bytes: Self::Bytes) -> Self::Bytes;

    /// Moves the upper four bits of each byte down.
    unsafe fn high_nibbles(bytes: Self::Bytes) -> Self::Bytes;

    /// Sets the bits above the fourth of `bytes` to the `bits` bits of `high` from bit `at` on.
    unsafe fn with_high(
        bytes: Self::Bytes,
        high: Self::Bytes,
        at: usize,
        bits: usize,
    ) -> Self::Bytes;

    /// Adds to each lane the products of its four bytes, which are at most 63 or, if `WIDE`, 255, with the four signed
    /// bytes of `word`.
    unsafe fn multiply_add<const WIDE: bool>(
        sums: Self::Ints,
        bytes: Self::Bytes,
        word: u32,
    ) -> Self::Ints;

    unsafe fn splat_int(value: i32) -> Self::Ints;
    unsafe fn add_ints(left: Self::Ints, right: Self::Ints) -> Self::Ints;
    unsafe fn to_floats(ints: Self::Ints) -> Self::Floats;
    unsafe fn splat(value: f32) -> Self::Floats;
    unsafe fn add(left: Self::Floats, right: Self::Floats) -> Self::Floats;
    unsafe fn multiply(left: Self::Floats, right: Self::Floats) -> Self::Floats;

    /// Widens half-precision bits.
    unsafe fn halves(from: &[u8; FACTORS]) -> Self::Floats;

    /// Widens bytes with a sign.
    unsafe fn signed(from: &[u8; PANEL]) -> Self::Floats;

    /// Widens bytes without a sign.
    unsafe fn unsigned(from: &[u8; PANEL]) -> Self::Floats;

    unsafe fn store(values: Self::Floats, to: &mut [f32; PANEL]);

    /// Asks for the cache line of an address that need not be one of ours.
    unsafe fn prefetch(address: *const u8);
}

/// A block format as a type, so that its numbers are constants of the kernels.
pub(crate) trait Format {
    const SHAPE: Shape;
}

macro_rules! formats {
    ($($name:ident = $shape:ident),*) => {$(
        pub(crate) struct $name;

        impl Format for $name {
            const SHAPE: Shape = Shape::$shape;
        }
    )*};
}

formats!(Q8_0 = Q8_0, Q4_0 = Q4_0, Q4K = Q4_K, Q5K = Q5_K, Q6K = Q6_K);

/// Multiplies a panel by `P` positions.
///
/// `activations` holds, for every 32 columns: the quantized values of the positions, word after word (the first of each
/// position, the second of each, and so on); each position's scale; each position's first number to start sums of a
/// run with; and each position's second, as [`starts`](crate::cpu::packed::activations::starts) makes them.
///
/// # Safety
///
/// The processor must have the instructions of `L`.
#[expect(
    clippy::inline_always,
    reason = "it must take on the instructions of the function that calls it"
)]
#[inline(always)]
pub(crate) unsafe fn multiply<L: Lanes, F: Format, const P: usize>(
    panel: &[u8],
    columns: usize,
    activations: &[u32],
) -> [[f32; PANEL]; P] {
    let chunks = panel.chunks_exact(F::SHAPE.chunk_bytes());
    let chunks = chunks.take(columns / F::SHAPE.chunk);
    let activations = activations.chunks_exact(F::SHAPE.chunk / ACTIVATIONS * POSITION * P);
    // SAFETY: the caller vouches for the instructions.
    unsafe {
        let mut sums = [L::splat(0.0); P];
        for (chunk, activations) in chunks.zip(activations) {
            let (quants, scales) = chunk.split_at(F::SHAPE.quants());
            for line in (0..F::SHAPE.scales()).step_by(LINE) {
                L::prefetch(scales.as_ptr().wrapping_add(PREFETCH + line));
            }
            add_chunk::<L, F, P>(&mut sums, quants, scales, activations);
        }
        let mut output = [[0f32; PANEL]; P];
        for (sums, output) in sums.into_iter().zip(&mut output) {
            L::store(sums, output);
        }
        output
    }
}

#[expect(
    clippy::inline_always,
    reason = "it must take on the instructions of the function that calls it"
)]
#[inline(always)]
unsafe fn add_chunk<L: Lanes, F: Format, const P: usize>(
    sums: &mut [L::Floats; P],
    quants: &[u8],
    scales: &[u8],
    activations: &[u32],
) {
    let shape = F::SHAPE;
    let runs_per_scale = ACTIVATIONS / shape.run;
    // SAFETY: the caller vouches for the instructions.
    unsafe {
        let factors = L::halves(array(scales, 0));
        let minimum_factors = if shape.minima() {
            L::halves(array(scales, FACTORS))
        } else {
            factors
        };
        let runs = quants.chunks_exact(F::SHAPE.run_bytes());
        for (run, quants) in runs.enumerate() {
            let within = run % runs_per_scale;
            let block = &activations[run / runs_per_scale * POSITION * P..][..POSITION * P];
            let (words, rest) = block.split_at(P * ACTIVATIONS / GROUP);
            let words = &words[within * shape.groups() * P..][..shape.groups() * P];
            let starts = &rest[(1 + within) * P..][..P];
            let products = run_products::<L, F, P>(quants, words, starts);
            let scale = match shape.sub_scales {
                SubScales::None => factors,
                SubScales::Signed => {
                    let small = L::signed(array(scales, shape.sub_scales_at() + run * PANEL));
                    L::multiply(factors, small)
                }
                SubScales::WithMinima => {
                    let small = L::unsigned(array(scales, shape.sub_scales_at() + run * PANEL));
                    L::multiply(factors, small)
                }
            };
            let minimum = if shape.minima() {
                let small = L::unsigned(array(scales, shape.sub_minima_at() + run * PANEL));
                L::multiply(minimum_factors, small)
            } else {
                scale
            };
            for p in 0..P {
                let mut product = L::multiply(L::to_floats(products[p]), scale);
                if shape.minima() {
                    let sum = L::to_floats(L::splat_int(rest[2 * P + p].cast_signed()));
                    product = L::add(product, L::multiply(sum, minimum));
                }
                let product = L::multiply(product, L::splat(f32::from_bits(rest[p])));
                sums[p] = L::add(sums[p], product);
            }
        }
    }
}

/// Returns, for each position, `starts` and the products of a run of columns.
#[expect(
    clippy::inline_always,
    reason = "it must take on the instructions of the function that calls it"
)]
#[inline(always)]
unsafe fn run_products<L: Lanes, F: Format, const P: usize>(
    quants: &[u8],
    words: &[u32],
    starts: &[u32],
) -> [L::Ints; P] {
    let groups = F::SHAPE.groups();
    let (vectors, _) = quants.as_chunks::<VECTOR>();
    // SAFETY: the caller vouches for the instructions.
    unsafe {
        // A few at a time: they take turns with the multiplications in waiting for memory.
        for line in (0..F::SHAPE.run_bytes()).step_by(LINE) {
            L::prefetch(quants.as_ptr().wrapping_add(PREFETCH + line));
        }
        let mut products = [L::splat_int(0); P];
        // Of one position alone, half of the products are summed here, so that half as many wait for each other.
        let mut others = [L::splat_int(0); P];
        if !F::SHAPE.minima() {
            for p in 0..P {
                products[p] = L::splat_int(starts[p].cast_signed());
            }
        }
        let Some(high_bits) = F::SHAPE.high_bits else {
            for pair in 0..groups / 2 {
                let group = 2 * pair;
                let weights = L::bytes(&vectors[group]);
                add_group::<L, P, true>(&mut products, weights, &words[group * P..][..P]);
                let sums = if P == 1 { &mut others } else { &mut products };
                let weights = L::bytes(&vectors[group + 1]);
                add_group::<L, P, true>(sums, weights, &words[(group + 1) * P..][..P]);
            }
            return joined::<L, P>(products, others);
        };
        let half = groups / 2;
        let high = if high_bits > 0 {
            L::bytes(&vectors[half])
        } else {
            L::bytes(&vectors[0])
        };
        // Written out: how far bits are moved must be a constant.
        add_nibbles::<L, F, P, 0>(&mut products, &mut others, vectors, high, words);
        add_nibbles::<L, F, P, 1>(&mut products, &mut others, vectors, high, words);
        if half > 2 {
            add_nibbles::<L, F, P, 2>(&mut products, &mut others, vectors, high, words);
            add_nibbles::<L, F, P, 3>(&mut products, &mut others, vectors, high, words);
        }
        joined::<L, P>(products, others)
    }
}

/// Adds up what was summed apart.
#[expect(
    clippy::inline_always,
    reason = "it must take on the instructions of the function that calls it"
)]
#[inline(always)]
unsafe fn joined<L: Lanes, const P: usize>(
    mut products: [L::Ints; P],
    others: [L::Ints; P],
) -> [L::Ints; P] {
    if P == 1 {
        // SAFETY: the caller vouches for the instructions.
        products[0] = unsafe { L::add_ints(products[0], others[0]) };
    }
    products
}

/// Adds the two groups of which vector `V` holds the lower bits.
#[expect(
    clippy::inline_always,
    reason = "it must take on the instructions of the function that calls it"
)]
#[inline(always)]
unsafe fn add_nibbles<L: Lanes, F: Format, const P: usize, const V: usize>(
    products: &mut [L::Ints; P],
    others: &mut [L::Ints; P],
    vectors: &[[u8; VECTOR]],
    high: L::Bytes,
    words: &[u32],
) {
    let half = F::SHAPE.groups() / 2;
    let high_bits = F::SHAPE.high_bits.unwrap_or(0);
    // SAFETY: the caller vouches for the instructions.
    unsafe {
        let both = L::bytes(&vectors[V]);
        let mut weights = L::low_nibbles(both);
        if high_bits > 0 {
            weights = L::with_high(weights, high, V * high_bits, high_bits);
        }
        add_group::<L, P, false>(products, weights, &words[V * P..][..P]);
        let mut weights = L::high_nibbles(both);
        if high_bits > 0 {
            weights = L::with_high(weights, high, (V + half) * high_bits, high_bits);
        }
        let sums = if P == 1 { others } else { products };
        add_group::<L, P, false>(sums, weights, &words[(V + half) * P..][..P]);
    }
}

#[expect(
    clippy::inline_always,
    reason = "it must take on the instructions of the function that calls it"
)]
#[inline(always)]
unsafe fn add_group<L: Lanes, const P: usize, const WIDE: bool>(
    products: &mut [L::Ints; P],
    weights: L::Bytes,
    words: &[u32],
) {
    for p in 0..P {
        // SAFETY: the caller vouches for the instructions.
        products[p] = unsafe { L::multiply_add::<WIDE>(products[p], weights, words[p]) };
    }
}

/// Returns `N` bytes from `at` on.
#[expect(
    clippy::inline_always,
    reason = "it must take on the instructions of the function that calls it"
)]
#[inline(always)]
fn array<const N: usize>(bytes: &[u8], at: usize) -> &[u8; N] {
    bytes[at..]
        .first_chunk()
        .expect("a chunk's scales are as long as its shape says")
}
