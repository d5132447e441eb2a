//! The product for many positions: bound by arithmetic, so all that is read again stays in the cache.
//!
//! Vector registers run over positions. Activations are packed once a product, in groups of [`GROUP`] positions:
//! `[group][step][position]`, where a step is one column (f32), or two (pairs of bf16). Weights need no packing: a
//! kernel broadcasts them from their rows, which a task of [`ROWS`] rows widens before where their format asks for it.
//!
//! ```text
//! for each task of ROWS weight rows                              on all threads
//!   for each chunk of CHUNK positions                            sums [row][position] in the second level cache
//!     for each block of columns                                  weights in the second, activations in the first
//!       for each strip of up to four groups                      the kernel: tiles of sums in registers
//!     sums are transposed into the output
//! ```

use std::mem::MaybeUninit;
use std::ops::Range;

use crate::cpu::Rows;
use crate::cpu::dense::aligned::Aligned;
use crate::cpu::dense::format::{Bf16, F16, Format};
use crate::cpu::level::Level;
use crate::cpu::pool::Pool;
use crate::stored::{StoredMatrix, StoredValues};

#[cfg(target_arch = "x86_64")]
use crate::cpu::dense::{avx2, avx512};

/// Positions that lie side by side in packed activations: the lanes of the widest register.
pub(super) const GROUP: usize = 16;

/// Weight rows of a task: a multiple of the rows of every kernel's tile.
pub(super) const ROWS: usize = 48;

/// How many groups a kernel takes at most.
const STRIP_GROUPS: usize = 4;

/// How many groups of positions have their sums in the cache at a time.
const CHUNK_GROUPS: usize = 32;

/// What a kernel multiplies at a time: up to [`STRIP_GROUPS`] groups by up to [`ROWS`] rows, over one block of columns.
pub(super) struct Strip<'a, A, W> {
    /// Each group's steps of this block, `group_stride` values apart.
    pub(super) activations: &'a [A],
    pub(super) group_stride: usize,
    pub(super) groups: usize,
    /// Each row's columns of this block, `row_stride` values apart.
    pub(super) weights: &'a [W],
    pub(super) row_stride: usize,
    pub(super) rows: usize,
    pub(super) columns: usize,
    /// How much further the weights lie that are multiplied after these, or zero where they need not be asked for.
    pub(super) ahead: usize,
    /// What products are added to: [`ROWS`] rows, `sums_stride` apart, a value for each position.
    pub(super) sums: &'a mut [f32],
    pub(super) sums_stride: usize,
}

impl<A, W> Strip<'_, A, W> {
    /// Panics where a kernel would reach beyond the ends.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn check(&self, columns_per_step: usize) {
        let steps = self.columns.div_ceil(columns_per_step);
        assert!(self.groups > 0 && self.rows > 0 && self.rows <= ROWS);
        assert!((self.groups - 1) * self.group_stride + steps * GROUP <= self.activations.len());
        assert!((self.rows - 1) * self.row_stride + self.columns <= self.weights.len());
        assert!((ROWS - 1) * self.sums_stride + self.groups * GROUP <= self.sums.len());
    }
}

/// The products of one task and chunk of positions, and where they go.
pub(super) struct Sums<'a> {
    /// [`ROWS`] rows of `stride`.
    pub(super) values: &'a [f32],
    pub(super) stride: usize,
    pub(super) rows: usize,
    pub(super) positions: usize,
}

/// One way of multiplying.
trait Kernel: Sync {
    type Activation: Copy + Default + Send + Sync;
    type Weight: Copy + Sync;

    /// How many columns a value of packed activations holds.
    const COLUMNS_PER_STEP: usize;

    /// How many columns are multiplied before the next strip; four groups of them fit the first level cache.
    const BLOCK: usize;

    /// Packs up to [`GROUP`] positions of `columns` values; `packed` has zeros where there are none.
    fn pack(&self, rows: &[f32], columns: usize, packed: &mut [Self::Activation]);

    /// Adds products to sums.
    fn multiply(&self, strip: &mut Strip<'_, Self::Activation, Self::Weight>);

    fn level(&self) -> Level;
}

/// Pairs of bf16, summed in f32.
#[cfg(target_arch = "x86_64")]
struct Pairs;

#[cfg(target_arch = "x86_64")]
impl Kernel for Pairs {
    type Activation = u32;
    type Weight = u16;

    const COLUMNS_PER_STEP: usize = 2;
    const BLOCK: usize = 256;

    fn pack(&self, rows: &[f32], columns: usize, packed: &mut [u32]) {
        // SAFETY: this kernel is chosen at the level that has its instructions.
        unsafe { avx512::pack_pairs(rows, columns, packed) }
    }

    fn multiply(&self, strip: &mut Strip<'_, u32, u16>) {
        // SAFETY: as above.
        unsafe { avx512::multiply_pairs(strip) }
    }

    fn level(&self) -> Level {
        Level::Avx512Bf16
    }
}

/// Singles, with the instructions of a level.
struct Singles(Level);

impl Kernel for Singles {
    type Activation = f32;
    type Weight = f32;

    const COLUMNS_PER_STEP: usize = 1;
    const BLOCK: usize = 128;

    fn pack(&self, rows: &[f32], columns: usize, packed: &mut [f32]) {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: this level is found only where its instructions are.
            Level::Avx512 | Level::Avx512Bf16 => unsafe {
                avx512::pack_singles(rows, columns, packed);
            },
            _ => pack(rows, columns, packed),
        }
    }

    fn multiply(&self, strip: &mut Strip<'_, f32, f32>) {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: this level is found only where its instructions are.
            Level::Avx512 | Level::Avx512Bf16 => unsafe { avx512::multiply_singles(strip) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Level::Avx2 => unsafe { avx2::multiply_singles(strip) },
            _ => multiply(strip),
        }
    }

    fn level(&self) -> Level {
        self.0
    }
}

/// Weights in the format of a kernel.
trait Weights<W>: Sync {
    /// Whether the kernel reads the matrix itself.
    const IN_PLACE: bool;

    /// Returns the given part of the matrix and how far its rows are apart.
    fn panel<'a>(
        &'a self,
        rows: Range<usize>,
        columns: Range<usize>,
        scratch: &'a mut Vec<W>,
    ) -> (&'a [W], usize);
}

/// Weights that are in the kernel's format already.
struct Stored<'a, W> {
    values: &'a [W],
    columns: usize,
}

impl<W: Sync> Weights<W> for Stored<'_, W> {
    const IN_PLACE: bool = true;

    fn panel<'a>(
        &'a self,
        rows: Range<usize>,
        columns: Range<usize>,
        _scratch: &'a mut Vec<W>,
    ) -> (&'a [W], usize) {
        let start = rows.start * self.columns + columns.start;
        let end = (rows.end - 1) * self.columns + columns.end;
        (&self.values[start..end], self.columns)
    }
}

/// Weights that become f32 panel by panel.
struct Widened<'a, F: Format> {
    bits: &'a [F::Bits],
    columns: usize,
    level: Level,
}

impl<F: Format + Sync> Weights<f32> for Widened<'_, F> {
    const IN_PLACE: bool = false;

    fn panel<'a>(
        &'a self,
        rows: Range<usize>,
        columns: Range<usize>,
        scratch: &'a mut Vec<f32>,
    ) -> (&'a [f32], usize) {
        let stride = columns.len();
        scratch.resize(rows.len() * stride, 0.0);
        for (row, widened) in rows.zip(scratch.chunks_exact_mut(stride)) {
            let bits = &self.bits[row * self.columns..][columns.clone()];
            match self.level {
                #[cfg(target_arch = "x86_64")]
                // SAFETY: this level is found only where its instructions are.
                Level::Avx512 | Level::Avx512Bf16 => unsafe { avx512::widen::<F>(bits, widened) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: as above.
                Level::Avx2 => unsafe { avx2::widen::<F>(bits, widened) },
                _ => widen::<F>(bits, widened),
            }
        }
        (scratch, stride)
    }
}

pub(super) fn product(pool: &Pool, level: Level, input: &Rows, weight: &StoredMatrix) -> Vec<f32> {
    let (rows, columns) = (weight.rows, weight.columns);
    match &weight.values {
        #[cfg(target_arch = "x86_64")]
        StoredValues::Bf16(bits) if level == Level::Avx512Bf16 => {
            let values: &[u16] = bits;
            in_tiles(pool, &Pairs, input, rows, &Stored { values, columns })
        }
        StoredValues::Bf16(bits) => {
            let weights = Widened::<Bf16> {
                bits,
                columns,
                level,
            };
            in_tiles(pool, &Singles(level), input, rows, &weights)
        }
        StoredValues::F16(bits) => {
            let weights = Widened::<F16> {
                bits,
                columns,
                level,
            };
            in_tiles(pool, &Singles(level), input, rows, &weights)
        }
        StoredValues::F32(values) => {
            let values: &[f32] = values;
            in_tiles(
                pool,
                &Singles(level),
                input,
                rows,
                &Stored { values, columns },
            )
        }
    }
}

fn in_tiles<K: Kernel, M: Weights<K::Weight>>(
    pool: &Pool,
    kernel: &K,
    input: &Rows,
    rows: usize,
    weights: &M,
) -> Vec<f32> {
    let positions = input.len();
    let packed = Packed::new(pool, kernel, input);
    let mut output = Vec::with_capacity(positions * rows);
    let target = Target {
        start: output.spare_capacity_mut().as_mut_ptr(),
        width: rows,
    };
    let mut tasks = vec![(); rows.div_ceil(ROWS)];
    pool.for_each_chunk(&mut tasks, 1, |task, _| {
        let rows = task * ROWS..rows.min((task + 1) * ROWS);
        task_of_rows(kernel, &packed, weights, rows, &target);
    });
    // SAFETY: the tasks have written every row of weights for every position.
    unsafe { output.set_len(positions * rows) };
    output
}

/// Activations as kernels read them.
struct Packed<A> {
    /// `[group][step][position]`
    values: Aligned<A>,
    positions: usize,
    columns: usize,
    /// Values of a group.
    stride: usize,
}

impl<A: Copy + Default + Send> Packed<A> {
    fn new<K: Kernel<Activation = A>>(pool: &Pool, kernel: &K, input: &Rows) -> Self {
        let (positions, columns) = (input.len(), input.width);
        let stride = columns.div_ceil(K::COLUMNS_PER_STEP) * GROUP;
        let mut values = Aligned::<A>::zeros(positions.div_ceil(GROUP) * stride);
        pool.for_each_chunk(&mut values, stride, |group, packed| {
            let rows = group * GROUP..positions.min((group + 1) * GROUP);
            let rows = &input.values[rows.start * columns..rows.end * columns];
            kernel.pack(rows, columns, packed);
        });
        Self {
            values,
            positions,
            columns,
            stride,
        }
    }
}

/// Where products go: `[position][row]`, not yet written.
struct Target {
    start: *mut MaybeUninit<f32>,
    width: usize,
}

// SAFETY: each task writes weight rows of its own.
unsafe impl Sync for Target {}

/// Multiplies all positions by the given weight rows.
fn task_of_rows<K: Kernel, M: Weights<K::Weight>>(
    kernel: &K,
    packed: &Packed<K::Activation>,
    weights: &M,
    rows: Range<usize>,
    target: &Target,
) {
    let columns = packed.columns;
    let mut scratch = Vec::new();
    let chunk = CHUNK_GROUPS * GROUP;
    for first in (0..packed.positions).step_by(chunk) {
        let positions = (packed.positions - first).min(chunk);
        let groups = positions.div_ceil(GROUP);
        let stride = groups * GROUP;
        let mut sums = Aligned::<f32>::zeros(ROWS * stride);
        for start in (0..columns).step_by(K::BLOCK) {
            let block = start..columns.min(start + K::BLOCK);
            let next = if block.end < columns {
                block.len()
            } else {
                ROWS * columns - start
            };
            let (panel, row_stride) = weights.panel(rows.clone(), block.clone(), &mut scratch);
            for strip in strips(groups) {
                let group = first / GROUP + strip.start;
                let at = group * packed.stride + start / K::COLUMNS_PER_STEP * GROUP;
                kernel.multiply(&mut Strip {
                    activations: &packed.values[at..],
                    group_stride: packed.stride,
                    groups: strip.len(),
                    weights: panel,
                    row_stride,
                    rows: rows.len(),
                    columns: block.len(),
                    ahead: if strip.start == 0 && M::IN_PLACE {
                        next
                    } else {
                        0
                    },
                    sums: &mut sums[strip.start * GROUP..],
                    sums_stride: stride,
                });
            }
        }
        let sums = Sums {
            values: &sums,
            stride,
            rows: rows.len(),
            positions,
        };
        // SAFETY: these positions and rows are inside of the output.
        let output = unsafe { target.start.add(first * target.width + rows.start) };
        // SAFETY: no other task writes these rows.
        unsafe { spread(kernel.level(), &sums, output, target.width) };
    }
}

/// Divides groups evenly among as few strips as will do.
fn strips(groups: usize) -> impl Iterator<Item = Range<usize>> {
    let count = groups.div_ceil(STRIP_GROUPS);
    (0..count).map(move |strip| strip * groups / count..(strip + 1) * groups / count)
}

/// Writes sums to `[position][row]`, positions `width` apart.
///
/// # Safety
///
/// `output` is valid for writes of all rows of all positions, and nobody else uses them.
unsafe fn spread(level: Level, sums: &Sums<'_>, output: *mut MaybeUninit<f32>, width: usize) {
    match level {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: this level is found only where its instructions are; the rest is the caller's promise.
        Level::Avx512 | Level::Avx512Bf16 => unsafe { avx512::spread(sums, output, width) },
        _ => {
            for position in 0..sums.positions {
                for row in 0..sums.rows {
                    let sum = sums.values[row * sums.stride + position];
                    // SAFETY: the caller's promise.
                    let output = unsafe { output.add(position * width + row) };
                    // SAFETY: as above.
                    unsafe { output.write(MaybeUninit::new(sum)) };
                }
            }
        }
    }
}

/// Packs positions side by side.
fn pack(rows: &[f32], columns: usize, packed: &mut [f32]) {
    for (position, row) in rows.chunks_exact(columns).enumerate() {
        for (value, packed) in row.iter().zip(packed.chunks_exact_mut(GROUP)) {
            packed[position] = *value;
        }
    }
}

#[inline]
pub(super) fn widen<F: Format>(bits: &[F::Bits], widened: &mut [f32]) {
    for (bits, widened) in bits.iter().zip(widened) {
        *widened = F::widen(*bits);
    }
}

/// The kernel in plain code, two rows at a time.
fn multiply(strip: &mut Strip<'_, f32, f32>) {
    for group in 0..strip.groups {
        let activations = &strip.activations[group * strip.group_stride..];
        let activations = activations.as_chunks::<GROUP>().0;
        let row = |row: usize| &strip.weights[row * strip.row_stride..][..strip.columns];
        for first in (0..strip.rows).step_by(2) {
            let last = (first + 1).min(strip.rows - 1);
            let products = two_rows(row(first), row(last), activations);
            for (row, products) in products.iter().enumerate() {
                let at = (first + row) * strip.sums_stride + group * GROUP;
                for (sum, product) in strip.sums[at..][..GROUP].iter_mut().zip(products) {
                    *sum += product;
                }
            }
        }
    }
}

/// Out of line so that the compiler keeps the sums in registers.
#[inline(never)]
fn two_rows(a: &[f32], b: &[f32], activations: &[[f32; GROUP]]) -> [[f32; GROUP]; 2] {
    let (mut of_a, mut of_b) = ([0f32; GROUP], [0f32; GROUP]);
    for ((a, b), activations) in a.iter().zip(b).zip(activations) {
        for lane in 0..GROUP {
            of_a[lane] += a * activations[lane];
            of_b[lane] += b * activations[lane];
        }
    }
    [of_a, of_b]
}
