//! The product of one panel with a few positions, written once over vectors of 16 lanes.
//!
//! Sums over a run of columns are whole numbers, hence the same with any instructions. Whether they are multiplied by a
//! small one before they become f32 or after makes no difference: either way that is rounded once. What is done in f32 is
//! done lane by lane, in one order, without fused operations. So every [`Lanes`] gives the same bits.

use crate::cpu::packed::layout::{
    ACTIVATIONS, FACTORS, GROUP, PANEL, Shape, SubScales, VECTOR, array,
};

/// Words of 32 columns of one position: the quantized values, their scale, and two that follow from their sums.
pub(crate) const POSITION: usize = ACTIVATIONS / GROUP + 3;

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
    /// 16 sums of products of four, or of two and two in 16 bits.
    type Sums: Copy;
    /// 16 whole numbers of 8 bits, to multiply sums.
    type Small: Copy;
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

    unsafe fn no_sums() -> Self::Sums;

    /// Adds to each lane the products of its four bytes with the four signed bytes of `word`, which are at least -127.
    ///
    /// The largest that bytes can be, times the groups that are added, is at most 128: then sums of every other product
    /// fit 16 bits.
    unsafe fn multiply_add(sums: Self::Sums, bytes: Self::Bytes, word: u32) -> Self::Sums;

    unsafe fn add_sums(left: Self::Sums, right: Self::Sums) -> Self::Sums;

    /// Returns all sums together and twice `start`'s lower half (both halves are the same), multiplied by `small`.
    unsafe fn scaled<const N: usize>(
        sums: [Self::Sums; N],
        start: Option<u32>,
        small: Self::Small,
    ) -> Self::Floats;

    /// Returns 1 in every lane.
    unsafe fn one() -> Self::Small;

    /// Widens bytes with a sign.
    unsafe fn small_signed(from: &[u8; PANEL]) -> Self::Small;

    /// Widens bytes without a sign.
    unsafe fn small_unsigned(from: &[u8; PANEL]) -> Self::Small;

    /// Returns what sums of [`multiply_add_wide`](Self::multiply_add_wide) begin with; `start` is -128 times the sum of the
    /// words' bytes.
    unsafe fn begin_wide(start: i32) -> Self::Ints;

    /// Adds to each lane the products of its four bytes, each less 128, with the four signed bytes of `word`.
    ///
    /// The 128 may be left to what the sums begin with.
    unsafe fn multiply_add_wide(sums: Self::Ints, bytes: Self::Bytes, word: u32) -> Self::Ints;

    unsafe fn add_ints(left: Self::Ints, right: Self::Ints) -> Self::Ints;
    unsafe fn to_floats(ints: Self::Ints) -> Self::Floats;
    unsafe fn splat(value: f32) -> Self::Floats;
    unsafe fn add(left: Self::Floats, right: Self::Floats) -> Self::Floats;
    unsafe fn multiply(left: Self::Floats, right: Self::Floats) -> Self::Floats;

    /// Widens half-precision bits.
    unsafe fn halves(from: &[u8; FACTORS]) -> Self::Floats;

    /// Widens bytes without a sign.
    unsafe fn unsigned(from: &[u8; PANEL]) -> Self::Floats;

    unsafe fn store(values: Self::Floats, to: &mut [f32; PANEL]);

    /// Asks for the cache line that is needed some time after the one at `address`; it need not be one of ours.
    ///
    /// Called for line after line of a matrix, a line each time that one was used: a processor that sees lines out of their
    /// order, or several at once, takes longer to find that they are one stream, and reads up to a third less.
    unsafe fn prefetch_after(address: *const u8);
}

/// Returns twice the lower 16 bits, which have a sign: what [`Lanes::scaled`] adds.
pub(crate) fn twice_lower_half(start: u32) -> i32 {
    let [low, high, ..] = start.to_le_bytes();
    2 * i32::from(i16::from_le_bytes([low, high]))
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
/// position, the second of each, and so on); each position's scale; and each position's first and second word, as
/// [`starts`](crate::cpu::packed::activations::starts) makes them.
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
            let (scales, quants) = chunk.split_at(F::SHAPE.scales());
            for line in (0..F::SHAPE.scales()).step_by(LINE) {
                L::prefetch_after(scales.as_ptr().wrapping_add(line));
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
    let words_per_block = POSITION * P;
    let quantized = P * ACTIVATIONS / GROUP;
    let runs_per_block = ACTIVATIONS / shape.run;
    // SAFETY: the caller vouches for the instructions.
    unsafe {
        let mut chunk_sums = [L::splat(0.0); P];
        let runs = quants.chunks_exact(F::SHAPE.run_bytes());
        for (run, quants) in runs.enumerate() {
            let within = run % runs_per_block;
            let block = &activations[run / runs_per_block * words_per_block..][..words_per_block];
            let (words, rest) = block.split_at(quantized);
            let words = &words[within * shape.groups() * P..][..shape.groups() * P];
            let starts = &rest[(1 + within) * P..][..P];
            let small = |at: usize| array(scales, at + run * PANEL);
            let small = match shape.sub_scales {
                SubScales::None => L::one(),
                SubScales::Signed => L::small_signed(small(shape.sub_scales_at())),
                SubScales::WithMinima => L::small_unsigned(small(shape.sub_scales_at())),
            };
            let products = run_products::<L, F, P>(quants, words, starts, small);
            if F::SHAPE.runs() == 1 {
                // The factors are this run's alone.
                let factors = L::halves(array(scales, 0));
                for p in 0..P {
                    let product = L::multiply(products[p], factors);
                    let scale = L::splat(f32::from_bits(rest[p]));
                    sums[p] = L::add(sums[p], L::multiply(product, scale));
                }
                return;
            }
            for p in 0..P {
                let scale = L::splat(f32::from_bits(rest[p]));
                chunk_sums[p] = L::add(chunk_sums[p], L::multiply(products[p], scale));
            }
        }
        add_scaled::<L, P>(sums, chunk_sums, L::halves(array(scales, 0)));
        if !shape.minima() {
            return;
        }
        let mut chunk_sums = [L::splat(0.0); P];
        let blocks = activations.chunks_exact(words_per_block);
        for (run, block) in blocks.take(F::SHAPE.runs()).enumerate() {
            let minima = L::unsigned(array(scales, shape.sub_minima_at() + run * PANEL));
            for p in 0..P {
                let sum = f32::from_bits(block[quantized + 2 * P + p]);
                chunk_sums[p] = L::add(chunk_sums[p], L::multiply(minima, L::splat(sum)));
            }
        }
        add_scaled::<L, P>(sums, chunk_sums, L::halves(array(scales, FACTORS)));
    }
}

/// Adds the sums of a chunk times its factors.
#[expect(
    clippy::inline_always,
    reason = "it must take on the instructions of the function that calls it"
)]
#[inline(always)]
unsafe fn add_scaled<L: Lanes, const P: usize>(
    sums: &mut [L::Floats; P],
    chunk_sums: [L::Floats; P],
    factors: L::Floats,
) {
    for (sums, chunk_sums) in sums.iter_mut().zip(chunk_sums) {
        // SAFETY: the caller vouches for the instructions.
        *sums = unsafe { L::add(*sums, L::multiply(chunk_sums, factors)) };
    }
}

/// Returns, for each position, the products of a run of columns times `small`.
#[expect(
    clippy::inline_always,
    reason = "it must take on the instructions of the function that calls it"
)]
#[inline(always)]
unsafe fn run_products<L: Lanes, F: Format, const P: usize>(
    quants: &[u8],
    words: &[u32],
    starts: &[u32],
    small: L::Small,
) -> [L::Floats; P] {
    let (vectors, _) = quants.as_chunks::<VECTOR>();
    // SAFETY: the caller vouches for the instructions.
    unsafe {
        if F::SHAPE.high_bits.is_none() {
            return wide_products::<L, P>(vectors, words, starts);
        }
        // The first and the second half of the groups, each of which fits 16 bits.
        let mut sums = [[L::no_sums(); 2]; P];
        // Written out: how far bits are moved must be a constant.
        add_nibbles::<L, F, P, 0>(&mut sums, vectors, words);
        add_nibbles::<L, F, P, 1>(&mut sums, vectors, words);
        if F::SHAPE.groups() > 4 {
            add_nibbles::<L, F, P, 2>(&mut sums, vectors, words);
            add_nibbles::<L, F, P, 3>(&mut sums, vectors, words);
        }
        let mut products = [L::splat(0.0); P];
        for p in 0..P {
            let start = (F::SHAPE.offset > 0).then_some(starts[p]);
            let [first, second] = sums[p];
            products[p] = match (F::SHAPE.high_bits, P) {
                (Some(0), 1) => L::scaled([L::add_sums(first, second)], start, small),
                (Some(0), _) => L::scaled([first], start, small),
                _ => L::scaled([first, second], start, small),
            };
        }
        products
    }
}

/// Adds the two groups of which vector `V` holds the lower bits.
#[expect(
    clippy::inline_always,
    reason = "it must take on the instructions of the function that calls it"
)]
#[inline(always)]
unsafe fn add_nibbles<L: Lanes, F: Format, const P: usize, const V: usize>(
    sums: &mut [[L::Sums; 2]; P],
    vectors: &[[u8; VECTOR]],
    words: &[u32],
) {
    let half = F::SHAPE.groups() / 2;
    let high_bits = F::SHAPE.high_bits.unwrap_or(0);
    // All products of four bits fit; of one position alone, they are summed apart so that half as many wait for each other.
    let second = usize::from(high_bits > 0 || P == 1);
    // SAFETY: the caller vouches for the instructions.
    unsafe {
        L::prefetch_after(vectors[V].as_ptr());
        let both = L::bytes(&vectors[V]);
        let (mut low, mut high) = (L::low_nibbles(both), L::high_nibbles(both));
        if high_bits > 0 {
            if V + 1 == half {
                L::prefetch_after(vectors[half].as_ptr());
            }
            let above = L::bytes(&vectors[half]);
            low = L::with_high(low, above, V * high_bits, high_bits);
            high = L::with_high(high, above, (V + half) * high_bits, high_bits);
        }
        for p in 0..P {
            sums[p][0] = L::multiply_add(sums[p][0], low, words[V * P + p]);
        }
        for p in 0..P {
            sums[p][second] = L::multiply_add(sums[p][second], high, words[(V + half) * P + p]);
        }
    }
}

/// Returns, for each position, the products of a run of weights that are whole bytes.
#[expect(
    clippy::inline_always,
    reason = "it must take on the instructions of the function that calls it"
)]
#[inline(always)]
unsafe fn wide_products<L: Lanes, const P: usize>(
    vectors: &[[u8; VECTOR]],
    words: &[u32],
    starts: &[u32],
) -> [L::Floats; P] {
    // SAFETY: the caller vouches for the instructions.
    unsafe {
        let mut sums = [L::begin_wide(0); P];
        // Of one position alone, half of the products are summed here, so that half as many wait for each other.
        let mut others = [L::begin_wide(0); P];
        for p in 0..P {
            sums[p] = L::begin_wide(starts[p].cast_signed());
        }
        let pairs = vectors
            .as_chunks::<2>()
            .0
            .iter()
            .zip(words.chunks_exact(2 * P));
        for ([even, odd], words) in pairs {
            L::prefetch_after(even.as_ptr());
            L::prefetch_after(odd.as_ptr());
            let (even, odd) = (L::bytes(even), L::bytes(odd));
            for p in 0..P {
                sums[p] = L::multiply_add_wide(sums[p], even, words[p]);
            }
            let sums = if P == 1 { &mut others } else { &mut sums };
            for p in 0..P {
                sums[p] = L::multiply_add_wide(sums[p], odd, words[P + p]);
            }
        }
        let mut products = [L::splat(0.0); P];
        for p in 0..P {
            if P == 1 {
                sums[p] = L::add_ints(sums[p], others[p]);
            }
            products[p] = L::to_floats(sums[p]);
        }
        products
    }
}
