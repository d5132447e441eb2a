//! Kernels for AVX2 with FMA: 16 registers of 8 singles.

use std::arch::x86_64::{
    __m256, _MM_HINT_T0, _mm_loadu_si128, _mm_prefetch, _mm256_add_ps, _mm256_and_si256,
    _mm256_castsi256_ps, _mm256_cvtph_ps, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_loadu_si256,
    _mm256_set1_epi32, _mm256_set1_ps, _mm256_setzero_ps, _mm256_slli_epi32, _mm256_storeu_ps,
};
use std::mem::transmute;

use crate::cpu::dense::few::Task;
use crate::cpu::dense::format::{Bf16, F16, F32, Format};
use crate::cpu::dense::many::{GROUP, ROWS, Strip};
use crate::cpu::dense::rows::{Load, Vector, multiply as multiply_rows};

/// The level's registers.
pub(super) struct Avx2;

#[expect(
    clippy::inline_always,
    reason = "instructions are allowed by the function these land in"
)]
impl Vector for Avx2 {
    type Register = __m256;

    const LANES: usize = 8;

    #[inline(always)]
    unsafe fn zero() -> __m256 {
        // SAFETY: the caller's promise, as for all of these.
        unsafe { _mm256_setzero_ps() }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> __m256 {
        // SAFETY: the caller's promise.
        unsafe { _mm256_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn multiply_add(a: __m256, b: __m256, sum: __m256) -> __m256 {
        // SAFETY: the caller's promise.
        unsafe { _mm256_fmadd_ps(a, b, sum) }
    }

    #[inline(always)]
    unsafe fn add(a: __m256, b: __m256) -> __m256 {
        // SAFETY: the caller's promise.
        unsafe { _mm256_add_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn total(values: __m256) -> f32 {
        // SAFETY: these types are the same 32 bytes.
        let lanes = unsafe { transmute::<__m256, [f32; 8]>(values) };
        let pair = |lane: usize| lanes[lane] + lanes[lane + 4];
        (pair(0) + pair(2)) + (pair(1) + pair(3))
    }
}

#[expect(
    clippy::inline_always,
    reason = "instructions are allowed by the function these land in"
)]
impl Load<Avx2> for Bf16 {
    #[inline(always)]
    unsafe fn load(from: *const u16) -> [__m256; 2] {
        // SAFETY: the caller's promise. A bf16 in the upper half of 32 bits is that number as f32.
        unsafe {
            let pairs = _mm256_loadu_si256(from.cast());
            let even = _mm256_slli_epi32::<16>(pairs);
            let odd = _mm256_and_si256(pairs, _mm256_set1_epi32(0xffff_0000_u32.cast_signed()));
            [_mm256_castsi256_ps(even), _mm256_castsi256_ps(odd)]
        }
    }
}

#[expect(
    clippy::inline_always,
    reason = "instructions are allowed by the function these land in"
)]
impl Load<Avx2> for F16 {
    #[inline(always)]
    unsafe fn load(from: *const u16) -> [__m256; 2] {
        // SAFETY: the caller's promise.
        unsafe {
            [
                _mm256_cvtph_ps(_mm_loadu_si128(from.cast())),
                _mm256_cvtph_ps(_mm_loadu_si128(from.add(8).cast())),
            ]
        }
    }
}

#[expect(
    clippy::inline_always,
    reason = "instructions are allowed by the function these land in"
)]
impl Load<Avx2> for F32 {
    #[inline(always)]
    unsafe fn load(from: *const f32) -> [__m256; 2] {
        // SAFETY: the caller's promise.
        unsafe { [_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(8))] }
    }
}

/// Multiplies weight rows by one to six positions.
///
/// Few rows at a time read the weights fastest, and several read the activations less often, which may not fit the first
/// level cache: as many as have registers for their sums. A product is one sum for any number of positions, so that a
/// position's products are the same whatever it is multiplied beside.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn few<F: Load<Avx2>>(task: &mut Task<'_, F::Bits>) {
    match task.positions {
        1 => rows::<F, 1, 4, 1>(task),
        2 => rows::<F, 2, 4, 1>(task),
        3 => rows::<F, 3, 2, 1>(task),
        4 => rows::<F, 4, 2, 1>(task),
        5 => rows::<F, 5, 2, 1>(task),
        6 => rows::<F, 6, 2, 1>(task),
        _ => unreachable!("more positions are multiplied in blocks"),
    }
}

/// Out of line: in one large function the compiler does not keep the sums of each in registers.
#[inline(never)]
#[target_feature(enable = "avx2,fma,f16c")]
fn rows<F: Load<Avx2>, const POSITIONS: usize, const ROWS: usize, const BLOCKS: usize>(
    task: &mut Task<'_, F::Bits>,
) {
    // SAFETY: this function has the instructions.
    unsafe { multiply_rows::<Avx2, F, POSITIONS, ROWS, BLOCKS>(task) }
}

/// Widens a run of weights; plain code, for wider registers.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn widen<F: Format>(bits: &[F::Bits], widened: &mut [f32]) {
    super::many::widen::<F>(bits, widened);
}

/// Adds products of singles: tiles of six rows by one group, twelve of the sixteen registers.
#[target_feature(enable = "avx2,fma")]
pub(super) fn multiply_singles(strip: &mut Strip<'_, f32, f32>) {
    strip.check(1);
    for group in 0..strip.groups {
        for first in (0..strip.rows).step_by(TILE_ROWS) {
            // SAFETY: checked above.
            unsafe { tile(strip, group, first) };
        }
    }
}

const TILE_ROWS: usize = 6;

const _: () = assert!(ROWS.is_multiple_of(TILE_ROWS));

/// Adds the products of some rows and one group. Rows that are not there repeat the last one; nobody reads their sums.
///
/// # Safety
///
/// Rows, groups and sums are where the strip says.
#[target_feature(enable = "avx2,fma")]
unsafe fn tile(strip: &mut Strip<'_, f32, f32>, group: usize, first: usize) {
    /// Steps whose weights share a cache line, so that one row's next weights are asked for once.
    const LINE: usize = 16;
    // SAFETY: the caller's promise.
    unsafe {
        let rows: [*const f32; TILE_ROWS] = std::array::from_fn(|row| {
            let row = (first + row).min(strip.rows - 1);
            strip.weights.as_ptr().add(row * strip.row_stride)
        });
        let activations = strip.activations.as_ptr().add(group * strip.group_stride);
        let mut sums = [[_mm256_setzero_ps(); 2]; TILE_ROWS];
        for start in (0..strip.columns).step_by(LINE) {
            if strip.ahead > 0 && group == 0 {
                for row in rows {
                    _mm_prefetch::<_MM_HINT_T0>(row.wrapping_add(start + strip.ahead).cast());
                }
            }
            for column in start..strip.columns.min(start + LINE) {
                let low = _mm256_loadu_ps(activations.add(column * GROUP));
                let high = _mm256_loadu_ps(activations.add(column * GROUP + 8));
                for (row, sums) in sums.iter_mut().enumerate() {
                    let weight = _mm256_set1_ps(*rows[row].add(column));
                    sums[0] = _mm256_fmadd_ps(weight, low, sums[0]);
                    sums[1] = _mm256_fmadd_ps(weight, high, sums[1]);
                }
            }
        }
        for (row, [low, high]) in sums.into_iter().enumerate() {
            let at = (first + row) * strip.sums_stride + group * GROUP;
            let at = strip.sums.as_mut_ptr().add(at);
            _mm256_storeu_ps(at, _mm256_add_ps(_mm256_loadu_ps(at), low));
            _mm256_storeu_ps(at.add(8), _mm256_add_ps(_mm256_loadu_ps(at.add(8)), high));
        }
    }
}
