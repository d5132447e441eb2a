//! The kernel for a few positions, over the vector registers of a level.
//!
//! Every function is inlined into one that is compiled for the level's instructions.
#![expect(
    clippy::inline_always,
    reason = "instructions are allowed by the function these land in"
)]

use std::arch::x86_64::{_MM_HINT_NTA, _MM_HINT_T1, _mm_prefetch};

use crate::cpu::dense::few::Task;
use crate::cpu::dense::format::Format;

/// How far ahead of their use weights are asked for, in bytes.
///
/// As far as leaves room in the first level cache for the activations, which are needed again for the next row.
fn ahead_bytes(columns: usize) -> usize {
    if columns <= 4096 { 8192 } else { 4096 }
}

/// A level's vector registers of singles. The processor must have the instructions; as for [`Load`].
pub(super) trait Vector {
    type Register: Copy;

    const LANES: usize;

    unsafe fn zero() -> Self::Register;

    unsafe fn load(from: *const f32) -> Self::Register;

    /// Returns `a * b + sum`, rounded once.
    unsafe fn multiply_add(
        a: Self::Register,
        b: Self::Register,
        sum: Self::Register,
    ) -> Self::Register;

    unsafe fn add(a: Self::Register, b: Self::Register) -> Self::Register;

    /// Returns the sum of all lanes.
    unsafe fn total(values: Self::Register) -> f32;
}

/// How a format's weights come into a level's registers.
pub(super) trait Load<V: Vector>: Format {
    /// Widens a block, which needs no alignment: the weights of two registers, in the order of
    /// [`Format::EVEN_FIRST`].
    unsafe fn load(from: *const Self::Bits) -> [V::Register; 2];
}

/// How many weights a step takes.
pub(super) const fn block<V: Vector>() -> usize {
    2 * V::LANES
}

/// Sums of each product: four blocks are on their way, so that no addition waits for another. The order of the additions
/// is the same for any number of positions.
const BLOCKS: usize = 4;

/// Bytes of weights that several groups of positions read one after the other: they stay in the second level cache, and
/// the activations of a group in the first.
const CHUNK_BYTES: usize = 128 * 1024;

/// Splits a task among groups of at most `most` positions, and gives `multiply` each group's share.
pub(super) fn in_groups<T>(
    task: &mut Task<'_, T>,
    most: usize,
    multiply: impl Fn(&mut Share<'_, T>),
) {
    let (columns, positions) = (task.columns, task.positions);
    let padded = task.input.len() / positions;
    let rows = if positions <= most {
        usize::MAX / columns
    } else {
        (CHUNK_BYTES / (columns * size_of::<T>())).max(1)
    };
    let chunks = task.weights.chunks(rows * columns);
    let outputs = task.output.chunks_mut(rows.saturating_mul(positions));
    for (weights, output) in chunks.zip(outputs) {
        for first in (0..positions).step_by(most) {
            let count = most.min(positions - first);
            multiply(&mut Share {
                weights,
                columns,
                input: &task.input[first * padded..][..count * padded],
                padded,
                output,
                positions,
                first,
            });
        }
    }
}

/// Some rows of weights, and some of the positions they are multiplied by.
pub(super) struct Share<'a, T> {
    weights: &'a [T],
    columns: usize,
    /// A run for each position, of a whole number of blocks.
    input: &'a [f32],
    padded: usize,
    /// For each row, its product with every position of the task.
    output: &'a mut [f32],
    /// How many positions the task has.
    positions: usize,
    /// The first of the share's.
    first: usize,
}

impl<T> Share<'_, T> {
    /// Returns how many positions the share has.
    pub(super) fn len(&self) -> usize {
        self.input.len() / self.padded
    }
}

/// Multiplies a share of `POSITIONS` positions, row by row.
///
/// # Safety
///
/// The processor has the instructions of `V`.
#[inline(always)]
pub(super) unsafe fn multiply<V: Vector, F: Load<V>, const POSITIONS: usize>(
    share: &mut Share<'_, F::Bits>,
) {
    let columns = share.columns;
    assert_eq!(share.padded, columns.next_multiple_of(block::<V>()));
    assert_eq!(share.input.len(), POSITIONS * share.padded);
    let rows = share.weights.chunks_exact(columns);
    for (row, output) in rows.zip(share.output.chunks_exact_mut(share.positions)) {
        let row = Row::<F, POSITIONS> {
            weights: row.as_ptr(),
            columns,
            ahead: ahead_bytes(columns) / size_of::<F::Bits>(),
            is_read_again: share.positions > POSITIONS,
            input: share.input.as_ptr(),
            input_stride: share.padded,
        };
        // SAFETY: the row and the input are as long as was checked above.
        let products = unsafe { row.products::<V>() };
        output[share.first..][..POSITIONS].copy_from_slice(&products);
    }
}

/// A row, and the activations of some positions.
struct Row<F: Format, const POSITIONS: usize> {
    weights: *const F::Bits,
    columns: usize,
    /// How many weights later those lie that are asked for.
    ahead: usize,
    /// Whether other positions are going to read the same weights.
    is_read_again: bool,
    /// Valid for whole blocks.
    input: *const f32,
    input_stride: usize,
}

impl<F: Format, const POSITIONS: usize> Row<F, POSITIONS> {
    /// # Safety
    ///
    /// The row and the activations are there, and the processor has the instructions.
    #[inline(always)]
    unsafe fn products<V: Vector>(&self) -> [f32; POSITIONS]
    where
        F: Load<V>,
    {
        let whole = self.columns / block::<V>();
        let mut products = [0f32; POSITIONS];
        // SAFETY: blocks below `whole` are inside of the row, and one more is inside of the activations.
        unsafe {
            let mut sums = [[V::zero(); POSITIONS]; BLOCKS];
            let mut at = 0;
            while at + BLOCKS <= whole {
                for (i, sums) in sums.iter_mut().enumerate() {
                    self.prefetch::<V>(at + i);
                    let weights = self.weights.add((at + i) * block::<V>());
                    self.add::<V>(sums, weights, at + i);
                }
                at += BLOCKS;
            }
            while at < whole {
                self.add::<V>(&mut sums[0], self.weights.add(at * block::<V>()), at);
                at += 1;
            }
            let rest = self.columns - whole * block::<V>();
            if rest > 0 {
                // Two registers of the widest level; zeros meet the zeros after the activations.
                let mut padded = [F::Bits::default(); 32];
                let weights = self.weights.add(whole * block::<V>());
                weights.copy_to(padded.as_mut_ptr(), rest);
                self.add::<V>(&mut sums[0], padded.as_ptr(), whole);
            }
            for (position, product) in products.iter_mut().enumerate() {
                let mut sum = sums[0][position];
                for sums in &sums[1..] {
                    sum = V::add(sum, sums[position]);
                }
                *product = V::total(sum);
            }
        }
        products
    }

    /// Adds the products of a block of weights with one of the activations.
    #[inline(always)]
    unsafe fn add<V: Vector>(
        &self,
        sums: &mut [V::Register; POSITIONS],
        weights: *const F::Bits,
        at: usize,
    ) where
        F: Load<V>,
    {
        // SAFETY: the caller's promise.
        unsafe {
            let halves = F::load(weights);
            for (half, weights) in halves.into_iter().enumerate() {
                let input = self.input.add(at * block::<V>() + half * V::LANES);
                for (position, sum) in sums.iter_mut().enumerate() {
                    let activations = V::load(input.add(position * self.input_stride));
                    *sum = V::multiply_add(weights, activations, *sum);
                }
            }
        }
    }

    /// Asks for the weights that are multiplied some time after this block.
    ///
    /// Rows are one long run of memory. Where each line of it is used once, it goes past the second level cache.
    #[inline(always)]
    fn prefetch<V: Vector>(&self, at: usize) {
        let weights = self
            .weights
            .wrapping_add(at * block::<V>() + self.ahead)
            .cast::<i8>();
        for line in 0..(block::<V>() * size_of::<F::Bits>()).div_ceil(64) {
            let weights = weights.wrapping_add(line * 64);
            // SAFETY: a prefetch of any address is allowed.
            unsafe {
                if self.is_read_again {
                    _mm_prefetch::<_MM_HINT_T1>(weights);
                } else {
                    _mm_prefetch::<_MM_HINT_NTA>(weights);
                }
            }
        }
    }
}
