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

/// How far ahead of their use the weights of a single row are asked for, in bytes.
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

/// Multiplies rows of weights by [`Task::positions`] positions.
///
/// `ROWS` rows are read at a time, and `BLOCKS` blocks of each, with sums of their own so that no addition waits for
/// another. The order of a product's additions depends on `BLOCKS` alone.
///
/// # Safety
///
/// The processor has the instructions of `V`.
#[inline(always)]
pub(super) unsafe fn multiply<
    V: Vector,
    F: Load<V>,
    const POSITIONS: usize,
    const ROWS: usize,
    const BLOCKS: usize,
>(
    task: &mut Task<'_, F::Bits>,
) {
    let columns = task.columns;
    let padded = columns.next_multiple_of(block::<V>());
    let count = task.weights.len() / columns;
    assert_eq!(task.input.len(), POSITIONS * padded);
    assert_eq!(task.output.len(), POSITIONS * count);
    let ahead = match ROWS {
        1 => ahead_bytes(columns) / size_of::<F::Bits>(),
        _ => ROWS * columns,
    };
    for first in (0..count).step_by(ROWS) {
        // Rows that are not there repeat the last one.
        let mut rows = [task.weights.as_ptr(); ROWS];
        for (row, at) in rows.iter_mut().enumerate() {
            let row = (first + row).min(count - 1);
            *at = task.weights[row * columns..][..columns].as_ptr();
        }
        let tile = Tile::<F, POSITIONS, ROWS> {
            rows,
            columns,
            ahead,
            input: task.input.as_ptr(),
            input_stride: padded,
        };
        // SAFETY: rows and input are as long as was checked above.
        let products = unsafe { tile.products::<V, BLOCKS>() };
        let output = task.output[first * POSITIONS..].chunks_exact_mut(POSITIONS);
        for (products, output) in products.iter().zip(output) {
            output.copy_from_slice(products);
        }
    }
}

/// Some rows, and the activations of all positions.
struct Tile<F: Format, const POSITIONS: usize, const ROWS: usize> {
    rows: [*const F::Bits; ROWS],
    columns: usize,
    /// How many weights later those lie that are asked for.
    ahead: usize,
    /// Valid for whole blocks.
    input: *const f32,
    input_stride: usize,
}

impl<F: Format, const POSITIONS: usize, const ROWS: usize> Tile<F, POSITIONS, ROWS> {
    /// # Safety
    ///
    /// Rows and activations are there, and the processor has the instructions.
    #[inline(always)]
    unsafe fn products<V: Vector, const BLOCKS: usize>(&self) -> [[f32; POSITIONS]; ROWS]
    where
        F: Load<V>,
    {
        let whole = self.columns / block::<V>();
        let mut products = [[0f32; POSITIONS]; ROWS];
        // SAFETY: blocks below `whole` are inside of rows, and one more is inside of the activations.
        unsafe {
            let mut sums = [[[V::zero(); ROWS]; POSITIONS]; BLOCKS];
            let mut at = 0;
            while at + BLOCKS <= whole {
                for (i, sums) in sums.iter_mut().enumerate() {
                    self.prefetch::<V>(at + i);
                    self.add::<V>(sums, &self.rows, at + i, at + i);
                }
                at += BLOCKS;
            }
            while at < whole {
                self.add::<V>(&mut sums[0], &self.rows, at, at);
                at += 1;
            }
            let rest = self.columns - whole * block::<V>();
            if rest > 0 {
                // Two registers of the widest level; zeros meet the zeros after the activations.
                let mut padded = [[F::Bits::default(); 32]; ROWS];
                let mut rows = self.rows;
                for (row, padded) in rows.iter_mut().zip(&mut padded) {
                    row.add(whole * block::<V>())
                        .copy_to(padded.as_mut_ptr(), rest);
                    *row = padded.as_ptr();
                }
                self.add::<V>(&mut sums[0], &rows, 0, whole);
            }
            for (row, products) in products.iter_mut().enumerate() {
                for (position, product) in products.iter_mut().enumerate() {
                    let mut sum = sums[0][position][row];
                    for sums in &sums[1..] {
                        sum = V::add(sum, sums[position][row]);
                    }
                    *product = V::total(sum);
                }
            }
        }
        products
    }

    /// Adds the products of a block of each row with a block of the activations.
    #[inline(always)]
    unsafe fn add<V: Vector>(
        &self,
        sums: &mut [[V::Register; ROWS]; POSITIONS],
        rows: &[*const F::Bits; ROWS],
        row_block: usize,
        input_block: usize,
    ) where
        F: Load<V>,
    {
        // SAFETY: the caller's promise.
        unsafe {
            let (mut low, mut high) = ([V::zero(); ROWS], [V::zero(); ROWS]);
            for ((row, low), high) in rows.iter().zip(&mut low).zip(&mut high) {
                [*low, *high] = F::load(row.add(row_block * block::<V>()));
            }
            let input = self.input.add(input_block * block::<V>());
            self.add_half::<V>(sums, &low, input);
            self.add_half::<V>(sums, &high, input.add(V::LANES));
        }
    }

    /// Adds the products of a register of each row with one of the activations.
    #[inline(always)]
    unsafe fn add_half<V: Vector>(
        &self,
        sums: &mut [[V::Register; ROWS]; POSITIONS],
        weights: &[V::Register; ROWS],
        input: *const f32,
    ) {
        for (position, sums) in sums.iter_mut().enumerate() {
            // SAFETY: the caller's promise.
            unsafe {
                let activations = V::load(input.add(position * self.input_stride));
                for (sum, weights) in sums.iter_mut().zip(weights) {
                    *sum = V::multiply_add(*weights, activations, *sum);
                }
            }
        }
    }

    /// Asks for the weights that are multiplied some time after this block.
    ///
    /// A single row is one long run of memory, followed by the next row's, and each line of it is used once: it goes past
    /// the second level cache. Several rows are followed by as many, which are asked for a whole row before.
    #[inline(always)]
    fn prefetch<V: Vector>(&self, at: usize) {
        for row in self.rows {
            let weights = row
                .wrapping_add(at * block::<V>() + self.ahead)
                .cast::<i8>();
            for line in 0..(block::<V>() * size_of::<F::Bits>()).div_ceil(64) {
                let weights = weights.wrapping_add(line * 64);
                // SAFETY: a prefetch of any address is allowed.
                unsafe {
                    if ROWS == 1 {
                        _mm_prefetch::<_MM_HINT_NTA>(weights);
                    } else {
                        _mm_prefetch::<_MM_HINT_T1>(weights);
                    }
                }
            }
        }
    }
}
