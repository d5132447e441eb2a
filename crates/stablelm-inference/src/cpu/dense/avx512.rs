//! Kernels for AVX-512: 32 registers of 16 singles, and products of bf16 pairs where the processor has them.

use std::arch::x86_64::{
    __m512, __m512bh, _MM_HINT_T1, _mm_prefetch, _mm256_loadu_si256, _mm512_add_ps,
    _mm512_and_si512, _mm512_castpd_ps, _mm512_castps_pd, _mm512_castsi512_ps, _mm512_cvtne2ps_pbh,
    _mm512_cvtph_ps, _mm512_dpbf16_ps, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_loadu_si512,
    _mm512_mask_storeu_ps, _mm512_maskz_loadu_ps, _mm512_reduce_add_ps, _mm512_set1_epi32,
    _mm512_set1_ps, _mm512_setzero_ps, _mm512_shuffle_f32x4, _mm512_slli_epi32, _mm512_storeu_ps,
    _mm512_unpackhi_pd, _mm512_unpackhi_ps, _mm512_unpacklo_pd, _mm512_unpacklo_ps,
};
use std::mem::{MaybeUninit, transmute};

use crate::cpu::dense::few::Task;
use crate::cpu::dense::format::{Bf16, F16, F32, Format};
use crate::cpu::dense::many::{GROUP, ROWS, Strip, Sums};
use crate::cpu::dense::rows::{Load, Vector, multiply as multiply_rows};

/// The level's registers.
pub(super) struct Avx512;

#[expect(
    clippy::inline_always,
    reason = "instructions are allowed by the function these land in"
)]
impl Vector for Avx512 {
    type Register = __m512;

    const LANES: usize = 16;

    #[inline(always)]
    unsafe fn zero() -> __m512 {
        // SAFETY: the caller's promise, as for all of these.
        unsafe { _mm512_setzero_ps() }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> __m512 {
        // SAFETY: the caller's promise.
        unsafe { _mm512_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn multiply_add(a: __m512, b: __m512, sum: __m512) -> __m512 {
        // SAFETY: the caller's promise.
        unsafe { _mm512_fmadd_ps(a, b, sum) }
    }

    #[inline(always)]
    unsafe fn add(a: __m512, b: __m512) -> __m512 {
        // SAFETY: the caller's promise.
        unsafe { _mm512_add_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn total(values: __m512) -> f32 {
        // SAFETY: the caller's promise.
        unsafe { _mm512_reduce_add_ps(values) }
    }
}

#[expect(
    clippy::inline_always,
    reason = "instructions are allowed by the function these land in"
)]
impl Load<Avx512> for Bf16 {
    #[inline(always)]
    unsafe fn load(from: *const u16) -> [__m512; 2] {
        // SAFETY: the caller's promise. A bf16 in the upper half of 32 bits is that number as f32.
        unsafe {
            let pairs = _mm512_loadu_si512(from.cast());
            let even = _mm512_slli_epi32::<16>(pairs);
            let odd = _mm512_and_si512(pairs, _mm512_set1_epi32(0xffff_0000_u32.cast_signed()));
            [_mm512_castsi512_ps(even), _mm512_castsi512_ps(odd)]
        }
    }
}

#[expect(
    clippy::inline_always,
    reason = "instructions are allowed by the function these land in"
)]
impl Load<Avx512> for F16 {
    #[inline(always)]
    unsafe fn load(from: *const u16) -> [__m512; 2] {
        // SAFETY: the caller's promise.
        unsafe {
            [
                _mm512_cvtph_ps(_mm256_loadu_si256(from.cast())),
                _mm512_cvtph_ps(_mm256_loadu_si256(from.add(16).cast())),
            ]
        }
    }
}

#[expect(
    clippy::inline_always,
    reason = "instructions are allowed by the function these land in"
)]
impl Load<Avx512> for F32 {
    #[inline(always)]
    unsafe fn load(from: *const f32) -> [__m512; 2] {
        // SAFETY: the caller's promise.
        unsafe { [_mm512_loadu_ps(from), _mm512_loadu_ps(from.add(16))] }
    }
}

/// Multiplies weight rows by one to six positions.
///
/// One position takes one row at a time: one stream of weights is read fastest. A product is four sums for any number of
/// positions, so that a position's products are the same whatever it is multiplied beside; two rows of more than two
/// positions would not have the registers.
#[target_feature(enable = "avx512f")]
pub(super) fn few<F: Load<Avx512>>(task: &mut Task<'_, F::Bits>) {
    match task.positions {
        1 => rows::<F, 1, 1, 4>(task),
        2 => rows::<F, 2, 2, 4>(task),
        3 => rows::<F, 3, 1, 4>(task),
        4 => rows::<F, 4, 1, 4>(task),
        5 => rows::<F, 5, 1, 4>(task),
        6 => rows::<F, 6, 1, 4>(task),
        _ => unreachable!("more positions are multiplied in blocks"),
    }
}

/// Out of line: in one large function the compiler does not keep the sums of each in registers.
#[inline(never)]
#[target_feature(enable = "avx512f")]
fn rows<F: Load<Avx512>, const POSITIONS: usize, const ROWS: usize, const BLOCKS: usize>(
    task: &mut Task<'_, F::Bits>,
) {
    // SAFETY: this function has the instructions.
    unsafe { multiply_rows::<Avx512, F, POSITIONS, ROWS, BLOCKS>(task) }
}

/// Widens a run of weights; plain code, for wider registers.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
pub(super) fn widen<F: Format>(bits: &[F::Bits], widened: &mut [f32]) {
    super::many::widen::<F>(bits, widened);
}

/// How a kernel multiplies the weights of a step by a group of positions.
trait Multiply {
    type Activation;
    type Weight: Copy;

    /// Columns of a step.
    const COLUMNS: usize;

    /// Repeats the weights of a whole step in all lanes.
    ///
    /// # Safety
    ///
    /// There are that many weights, and the processor has the instructions; as for all of these.
    unsafe fn repeat(weights: *const Self::Weight) -> __m512;

    /// Repeats the weight of a step that has only one.
    unsafe fn repeat_one(weight: Self::Weight) -> __m512;

    /// Adds the products of the weights and the activations of a group.
    unsafe fn add(sum: __m512, weights: __m512, activations: __m512) -> __m512;
}

struct Pairs;

struct Singles;

#[expect(
    clippy::inline_always,
    reason = "instructions are allowed by the function these land in"
)]
impl Multiply for Pairs {
    type Activation = u32;
    type Weight = u16;

    const COLUMNS: usize = 2;

    #[inline(always)]
    unsafe fn repeat(weights: *const u16) -> __m512 {
        // SAFETY: the caller's promise; a pair need not be aligned.
        unsafe { _mm512_castsi512_ps(_mm512_set1_epi32(weights.cast::<i32>().read_unaligned())) }
    }

    #[inline(always)]
    unsafe fn repeat_one(weight: u16) -> __m512 {
        // SAFETY: the caller's promise. The pair's second activation is zero as is this weight.
        unsafe { _mm512_castsi512_ps(_mm512_set1_epi32(i32::from(weight))) }
    }

    #[inline(always)]
    unsafe fn add(sum: __m512, weights: __m512, activations: __m512) -> __m512 {
        // SAFETY: the caller's promise; these types are the same 64 bytes.
        unsafe {
            let weights = transmute::<__m512, __m512bh>(weights);
            let activations = transmute::<__m512, __m512bh>(activations);
            _mm512_dpbf16_ps(sum, weights, activations)
        }
    }
}

#[expect(
    clippy::inline_always,
    reason = "instructions are allowed by the function these land in"
)]
impl Multiply for Singles {
    type Activation = f32;
    type Weight = f32;

    const COLUMNS: usize = 1;

    #[inline(always)]
    unsafe fn repeat(weights: *const f32) -> __m512 {
        // SAFETY: the caller's promise.
        unsafe { _mm512_set1_ps(*weights) }
    }

    #[inline(always)]
    unsafe fn repeat_one(weight: f32) -> __m512 {
        // SAFETY: the caller's promise.
        unsafe { _mm512_set1_ps(weight) }
    }

    #[inline(always)]
    unsafe fn add(sum: __m512, weights: __m512, activations: __m512) -> __m512 {
        // SAFETY: the caller's promise.
        unsafe { _mm512_fmadd_ps(weights, activations, sum) }
    }
}

/// Adds products of bf16 pairs.
#[target_feature(enable = "avx512f,avx512bf16")]
pub(super) fn multiply_pairs(strip: &mut Strip<'_, u32, u16>) {
    strip.check(Pairs::COLUMNS);
    // SAFETY: checked, and this function has the instructions.
    unsafe { multiply::<Pairs>(strip) }
}

/// Adds products of singles.
#[target_feature(enable = "avx512f")]
pub(super) fn multiply_singles(strip: &mut Strip<'_, f32, f32>) {
    strip.check(Singles::COLUMNS);
    // SAFETY: checked, and this function has the instructions.
    unsafe { multiply::<Singles>(strip) }
}

/// Tiles of as many sums as registers hold beside a step's activations and weights, and enough to hide their latency.
#[expect(
    clippy::inline_always,
    reason = "instructions are allowed by the function this lands in"
)]
#[inline(always)]
unsafe fn multiply<M: Multiply>(strip: &mut Strip<'_, M::Activation, M::Weight>) {
    // SAFETY: the caller has checked the strip.
    unsafe {
        match strip.groups {
            1 => tiles::<M, 1, 12>(strip),
            2 => tiles::<M, 2, 12>(strip),
            3 => tiles::<M, 3, 8>(strip),
            4 => tiles::<M, 4, 6>(strip),
            _ => unreachable!("a strip has one to four groups"),
        }
    }
}

#[expect(
    clippy::inline_always,
    reason = "instructions are allowed by the function this lands in"
)]
#[inline(always)]
unsafe fn tiles<M: Multiply, const GROUPS: usize, const TILE_ROWS: usize>(
    strip: &mut Strip<'_, M::Activation, M::Weight>,
) {
    const { assert!(ROWS.is_multiple_of(TILE_ROWS)) };
    for first in (0..strip.rows).step_by(TILE_ROWS) {
        // SAFETY: the caller has checked the strip.
        unsafe { tile::<M, GROUPS, TILE_ROWS>(strip, first) };
    }
}

/// Adds the products of some rows and all groups. Rows that are not there repeat the last one; nobody reads their sums.
#[inline(always)]
unsafe fn tile<M: Multiply, const GROUPS: usize, const TILE_ROWS: usize>(
    strip: &mut Strip<'_, M::Activation, M::Weight>,
    first: usize,
) {
    /// Steps whose weights share a cache line, so that one row's next weights are asked for once.
    const LINE: usize = 16;
    // SAFETY: the caller has checked that rows, groups and sums are where the strip says.
    unsafe {
        let rows: [*const M::Weight; TILE_ROWS] = std::array::from_fn(|row| {
            let row = (first + row).min(strip.rows - 1);
            strip.weights.as_ptr().add(row * strip.row_stride)
        });
        let sums_at = strip.sums.as_mut_ptr().add(first * strip.sums_stride);
        let mut sums = [[_mm512_setzero_ps(); GROUPS]; TILE_ROWS];
        for (row, sums) in sums.iter_mut().enumerate() {
            for (group, sum) in sums.iter_mut().enumerate() {
                *sum = _mm512_loadu_ps(sums_at.add(row * strip.sums_stride + group * GROUP));
            }
        }
        let steps = strip.columns / M::COLUMNS;
        for start in (0..steps).step_by(LINE) {
            if strip.ahead > 0 {
                for row in rows {
                    let next = row.wrapping_add(start * M::COLUMNS + strip.ahead);
                    _mm_prefetch::<_MM_HINT_T1>(next.cast());
                }
            }
            for step in start..steps.min(start + LINE) {
                add_step::<M, GROUPS, TILE_ROWS, true>(&mut sums, rows, strip, step);
            }
        }
        if steps * M::COLUMNS < strip.columns {
            add_step::<M, GROUPS, TILE_ROWS, false>(&mut sums, rows, strip, steps);
        }
        for (row, sums) in sums.iter().enumerate() {
            for (group, sum) in sums.iter().enumerate() {
                _mm512_storeu_ps(sums_at.add(row * strip.sums_stride + group * GROUP), *sum);
            }
        }
    }
}

/// Adds the products of one step, which has all of its columns or one.
#[expect(
    clippy::inline_always,
    reason = "instructions are allowed by the function this lands in"
)]
#[inline(always)]
unsafe fn add_step<M: Multiply, const GROUPS: usize, const TILE_ROWS: usize, const WHOLE: bool>(
    sums: &mut [[__m512; GROUPS]; TILE_ROWS],
    rows: [*const M::Weight; TILE_ROWS],
    strip: &Strip<'_, M::Activation, M::Weight>,
    step: usize,
) {
    // SAFETY: the caller has checked that each group and row has this step.
    unsafe {
        let mut activations = [_mm512_setzero_ps(); GROUPS];
        for (group, activations) in activations.iter_mut().enumerate() {
            let at = group * strip.group_stride + step * GROUP;
            *activations = _mm512_loadu_ps(strip.activations.as_ptr().add(at).cast());
        }
        for (row, sums) in rows.into_iter().zip(sums) {
            let at = row.add(step * M::COLUMNS);
            let weights = if WHOLE {
                M::repeat(at)
            } else {
                M::repeat_one(*at)
            };
            for (sum, activations) in sums.iter_mut().zip(activations) {
                *sum = M::add(*sum, weights, activations);
            }
        }
    }
}

/// Packs positions side by side, as pairs of bf16.
#[target_feature(enable = "avx512f,avx512bf16")]
pub(super) fn pack_pairs(rows: &[f32], columns: usize, packed: &mut [u32]) {
    pack(rows, columns, 2, packed, |row| {
        let low = load_part(row);
        let high = load_part(row.get(16..).unwrap_or_default());
        let pairs = _mm512_cvtne2ps_pbh(high, low);
        // SAFETY: these types are the same 64 bytes.
        unsafe { transmute::<__m512bh, __m512>(pairs) }
    });
}

/// Packs positions side by side.
#[target_feature(enable = "avx512f")]
pub(super) fn pack_singles(rows: &[f32], columns: usize, packed: &mut [f32]) {
    pack(rows, columns, 1, packed, |row| load_part(row));
}

/// Transposes 16 steps of 16 positions at a time; `load` gives one position's next 16 steps.
#[target_feature(enable = "avx512f")]
fn pack<T>(
    rows: &[f32],
    columns: usize,
    columns_per_step: usize,
    packed: &mut [T],
    load: impl Fn(&[f32]) -> __m512,
) {
    let steps = columns.div_ceil(columns_per_step);
    assert!(rows.len() <= GROUP * columns && packed.len() == steps * GROUP);
    assert_eq!(size_of::<T>(), 4);
    for first in (0..steps).step_by(16) {
        let mut positions = [_mm512_setzero_ps(); GROUP];
        for (row, position) in rows.chunks_exact(columns).zip(&mut positions) {
            *position = load(&row[first * columns_per_step..]);
        }
        for (step, values) in (first..steps).zip(transpose(&positions)) {
            // SAFETY: there are 16 values for each of `steps` steps.
            unsafe { _mm512_storeu_ps(packed.as_mut_ptr().add(step * GROUP).cast(), values) };
        }
    }
}

/// Loads the first 16 values, zeros where there are fewer.
#[target_feature(enable = "avx512f")]
fn load_part(values: &[f32]) -> __m512 {
    // SAFETY: only lanes that `values` has are read.
    unsafe { _mm512_maskz_loadu_ps(first_lanes(values.len()), values.as_ptr()) }
}

fn first_lanes(count: usize) -> u16 {
    if count < 16 {
        (1 << count) - 1
    } else {
        u16::MAX
    }
}

/// Writes sums to `[position][row]`, positions `width` apart.
///
/// # Safety
///
/// `output` is valid for writes of all rows of all positions, and nobody else uses them.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn spread(sums: &Sums<'_>, output: *mut MaybeUninit<f32>, width: usize) {
    assert!(sums.positions <= sums.stride && sums.stride.is_multiple_of(GROUP));
    assert!(sums.rows <= ROWS && sums.values.len() >= ROWS * sums.stride);
    for first_position in (0..sums.positions).step_by(GROUP) {
        for first_row in (0..sums.rows).step_by(16) {
            let rows: [__m512; 16] = std::array::from_fn(|row| {
                let at = (first_row + row) * sums.stride + first_position;
                // SAFETY: the sums have a multiple of 16 rows and a multiple of 16 positions.
                unsafe { _mm512_loadu_ps(sums.values.as_ptr().add(at)) }
            });
            let lanes = first_lanes(sums.rows - first_row);
            let positions = first_position..sums.positions;
            for (position, values) in positions.zip(transpose(&rows)) {
                // SAFETY: the caller's promise; only lanes of rows that there are get written.
                unsafe {
                    let output = output.add(position * width + first_row);
                    _mm512_mask_storeu_ps(output.cast(), lanes, values);
                }
            }
        }
    }
}

/// Transposes 16 rows of 16 values: first within blocks of 4 by 4, then the blocks.
#[target_feature(enable = "avx512f")]
fn transpose(rows: &[__m512; 16]) -> [__m512; 16] {
    // Register 4q + j: columns j, 4 + j, 8 + j, 12 + j of rows 4q..4q + 4.
    let mut columns = *rows;
    for (rows, columns) in rows.chunks_exact(4).zip(columns.chunks_exact_mut(4)) {
        let low = _mm512_castps_pd(_mm512_unpacklo_ps(rows[0], rows[1]));
        let high = _mm512_castps_pd(_mm512_unpackhi_ps(rows[0], rows[1]));
        let next_low = _mm512_castps_pd(_mm512_unpacklo_ps(rows[2], rows[3]));
        let next_high = _mm512_castps_pd(_mm512_unpackhi_ps(rows[2], rows[3]));
        columns[0] = _mm512_castpd_ps(_mm512_unpacklo_pd(low, next_low));
        columns[1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low, next_low));
        columns[2] = _mm512_castpd_ps(_mm512_unpacklo_pd(high, next_high));
        columns[3] = _mm512_castpd_ps(_mm512_unpackhi_pd(high, next_high));
    }
    let mut transposed = *rows;
    for j in 0..4 {
        let [a, b, c, d] = [columns[j], columns[4 + j], columns[8 + j], columns[12 + j]];
        let first = _mm512_shuffle_f32x4::<0x44>(a, b);
        let second = _mm512_shuffle_f32x4::<0xee>(a, b);
        let next_first = _mm512_shuffle_f32x4::<0x44>(c, d);
        let next_second = _mm512_shuffle_f32x4::<0xee>(c, d);
        transposed[j] = _mm512_shuffle_f32x4::<0x88>(first, next_first);
        transposed[4 + j] = _mm512_shuffle_f32x4::<0xdd>(first, next_first);
        transposed[8 + j] = _mm512_shuffle_f32x4::<0x88>(second, next_second);
        transposed[12 + j] = _mm512_shuffle_f32x4::<0xdd>(second, next_second);
    }
    transposed
}
