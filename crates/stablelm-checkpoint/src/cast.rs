//! Numbers in other widths: casts between float formats, and the search for NaN and infinity.

use std::borrow::Cow;

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use stablelm_model::Dtype;

/// Numbers converted at a time; small enough to stay in the first cache.
const CHUNK: usize = 2048;

/// Returns whether numbers of one format can be written in another.
pub(crate) fn can_cast(from: Dtype, to: Dtype) -> bool {
    from == to || (from.is_float() && to.is_float())
}

/// Converts little-endian numbers, rounding to nearest even; borrowed bytes stay borrowed when nothing changes.
///
/// Callers have asked [`can_cast`] before.
pub(crate) fn cast(bytes: Cow<'_, [u8]>, from: Dtype, to: Dtype) -> Cow<'_, [u8]> {
    if from == to {
        return bytes;
    }
    let len = bytes.len() / from.width() * to.width();
    if from == Dtype::F64 || to == Dtype::F64 {
        let mut output = Vec::with_capacity(len);
        for value in values(&bytes, from) {
            push(&mut output, value, to);
        }
        return Cow::Owned(output);
    }
    let mut output = vec![0; len];
    let mut singles = [0.0; CHUNK];
    let chunks = bytes.chunks(CHUNK * from.width());
    for (chunk, output) in chunks.zip(output.chunks_mut(CHUNK * to.width())) {
        let singles = &mut singles[..chunk.len() / from.width()];
        read_singles(chunk, from, singles);
        write_singles(singles, to, output);
    }
    Cow::Owned(output)
}

fn read_singles(bytes: &[u8], from: Dtype, singles: &mut [f32]) {
    let num_values = singles.len();
    match from {
        Dtype::F16 => {
            let mut halves = [f16::ZERO; CHUNK];
            for (half, pair) in halves.iter_mut().zip(bytes.chunks_exact(2)) {
                *half = f16::from_le_bytes([pair[0], pair[1]]);
            }
            halves[..num_values].convert_to_f32_slice(singles);
        }
        Dtype::Bf16 => {
            for (single, pair) in singles.iter_mut().zip(bytes.chunks_exact(2)) {
                *single = bf16::from_le_bytes([pair[0], pair[1]]).to_f32();
            }
        }
        _ => {
            for (single, four) in singles.iter_mut().zip(bytes.chunks_exact(4)) {
                *single = f32::from_le_bytes([four[0], four[1], four[2], four[3]]);
            }
        }
    }
}

fn write_singles(singles: &[f32], to: Dtype, output: &mut [u8]) {
    match to {
        Dtype::F16 => {
            let mut halves = [f16::ZERO; CHUNK];
            let halves = &mut halves[..singles.len()];
            halves.convert_from_f32_slice(singles);
            for (half, pair) in halves.iter().zip(output.as_chunks_mut::<2>().0) {
                *pair = half.to_le_bytes();
            }
        }
        Dtype::Bf16 => {
            for (single, pair) in singles.iter().zip(output.as_chunks_mut::<2>().0) {
                *pair = bf16::from_f32(*single).to_le_bytes();
            }
        }
        _ => {
            for (single, four) in singles.iter().zip(output.as_chunks_mut::<4>().0) {
                *four = single.to_le_bytes();
            }
        }
    }
}

/// Returns the numbers in a tensor's bytes, exactly, as long as they fit 53 bits.
pub(crate) fn values(bytes: &[u8], dtype: Dtype) -> Box<dyn Iterator<Item = f64> + '_> {
    match dtype {
        Dtype::F64 => Box::new(elements::<8>(bytes).map(f64::from_le_bytes)),
        Dtype::F32 => Box::new(elements::<4>(bytes).map(|b| f64::from(f32::from_le_bytes(b)))),
        Dtype::F16 => Box::new(elements::<2>(bytes).map(|b| f16::from_le_bytes(b).to_f64())),
        Dtype::Bf16 => Box::new(elements::<2>(bytes).map(|b| bf16::from_le_bytes(b).to_f64())),
        Dtype::I64 => Box::new(elements::<8>(bytes).map(|b| i64::from_le_bytes(b) as f64)),
        Dtype::I32 => Box::new(elements::<4>(bytes).map(|b| f64::from(i32::from_le_bytes(b)))),
        Dtype::I16 => Box::new(elements::<2>(bytes).map(|b| f64::from(i16::from_le_bytes(b)))),
        Dtype::I8 => Box::new(bytes.iter().map(|&b| f64::from(b.cast_signed()))),
        _ => Box::new(bytes.iter().map(|&b| f64::from(b))),
    }
}

fn elements<const WIDTH: usize>(bytes: &[u8]) -> impl Iterator<Item = [u8; WIDTH]> + '_ {
    bytes
        .chunks_exact(WIDTH)
        .map(|chunk| chunk.try_into().expect("chunks have this very size"))
}

/// Appends a number in a float format, rounded once, to nearest even.
pub(crate) fn push(output: &mut Vec<u8>, value: f64, dtype: Dtype) {
    match dtype {
        Dtype::F64 => output.extend(value.to_le_bytes()),
        Dtype::F16 => output.extend(f16::from_f32(round_to_odd(value)).to_le_bytes()),
        Dtype::Bf16 => output.extend(bf16::from_f32(round_to_odd(value)).to_le_bytes()),
        _ => output.extend(single(value).to_le_bytes()),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "rounding is the purpose")]
fn single(value: f64) -> f32 {
    value as f32
}

/// Narrows to a single so that rounding it again to a half gives what rounding the double would have given.
#[expect(
    clippy::float_cmp,
    reason = "whether the value is exact is the question"
)]
fn round_to_odd(value: f64) -> f32 {
    let nearest = single(value);
    let bits = nearest.to_bits();
    if !nearest.is_finite() || f64::from(nearest) == value || bits & 1 == 1 {
        return nearest;
    }
    // An even neighbor was chosen although the value is not exact: take the odd one on its other side.
    let away = f64::from(nearest).abs() < value.abs();
    f32::from_bits(if away { bits + 1 } else { bits - 1 })
}

/// Counts of numbers that are none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct NonFiniteCount {
    pub(crate) nan: u64,
    pub(crate) infinite: u64,
}

/// Counts NaN and infinity in the bytes of a float tensor.
pub(crate) fn count_non_finite(bytes: &[u8], dtype: Dtype) -> NonFiniteCount {
    let mut count = NonFiniteCount::default();
    for part in bytes.chunks(CHUNK * 8) {
        // Nearly always there is none, which is quickly seen.
        if !is_finite(part, dtype) {
            let more = count_in(part, dtype);
            count.nan += more.nan;
            count.infinite += more.infinite;
        }
    }
    count
}

/// Whether no number has the exponent of NaN and infinity.
fn is_finite(bytes: &[u8], dtype: Dtype) -> bool {
    // No early end: that lets the compiler look at many numbers at once.
    let halves = |exponent: u16| {
        let (pairs, _) = bytes.as_chunks::<2>();
        let found = pairs.iter().fold(0u16, |found, pair| {
            found | u16::from(u16::from_le_bytes(*pair) & exponent == exponent)
        });
        found == 0
    };
    match dtype {
        Dtype::F16 => halves(0x7c00),
        Dtype::Bf16 => halves(0x7f80),
        Dtype::F32 => {
            let (fours, _) = bytes.as_chunks::<4>();
            let found = fours.iter().fold(0u32, |found, four| {
                found | u32::from(u32::from_le_bytes(*four) & 0x7f80_0000 == 0x7f80_0000)
            });
            found == 0
        }
        _ => false,
    }
}

fn count_in(bytes: &[u8], dtype: Dtype) -> NonFiniteCount {
    let mut count = NonFiniteCount::default();
    let mut tally = |bits: u64, exponent: u64, mantissa: u64| {
        if bits & exponent == exponent {
            if bits & mantissa == 0 {
                count.infinite += 1;
            } else {
                count.nan += 1;
            }
        }
    };
    match dtype {
        Dtype::F16 => {
            for element in elements(bytes) {
                tally(u16::from_le_bytes(element).into(), 0x7c00, 0x03ff);
            }
        }
        Dtype::Bf16 => {
            for element in elements(bytes) {
                tally(u16::from_le_bytes(element).into(), 0x7f80, 0x007f);
            }
        }
        Dtype::F32 => {
            for element in elements(bytes) {
                tally(u32::from_le_bytes(element).into(), 0x7f80_0000, 0x007f_ffff);
            }
        }
        Dtype::F64 => {
            for element in elements(bytes) {
                tally(u64::from_le_bytes(element), 0x7ff << 52, (1 << 52) - 1);
            }
        }
        _ => {}
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(values_in: &[f32], to: Dtype, expected: &[f64]) {
        let bytes: Vec<u8> = values_in.iter().flat_map(|v| v.to_le_bytes()).collect();
        let out = cast(Cow::Borrowed(&bytes), Dtype::F32, to);
        let found: Vec<f64> = values(&out, to).collect();
        assert_eq!(found, expected, "{to}");
        let mut pushed = Vec::new();
        for value in values_in {
            push(&mut pushed, f64::from(*value), to);
        }
        assert_eq!(pushed, out.as_ref(), "{to}");
    }

    #[test]
    fn casts_round_to_nearest_even() {
        check(&[1.0, -0.5], Dtype::F64, &[1.0, -0.5]);
        // bf16 has 8 bits of mantissa: 257 lies halfway between 256 and 258.
        check(&[257.0, 259.0, 3.0], Dtype::Bf16, &[256.0, 260.0, 3.0]);
        // f16 has 11: 2049 lies halfway between 2048 and 2050.
        check(
            &[2049.0, 2051.0, 1e6],
            Dtype::F16,
            &[2048.0, 2052.0, f64::INFINITY],
        );
    }

    #[test]
    fn a_double_is_rounded_once() {
        // Just above halfway between two bf16 numbers, by less than a single can show.
        let value = 257.0 + 1e-9;
        let mut bytes = Vec::new();
        push(&mut bytes, value, Dtype::Bf16);
        assert_eq!(values(&bytes, Dtype::Bf16).next(), Some(258.0));
    }

    #[test]
    fn every_half_survives_the_way_through_singles() {
        for dtype in [Dtype::F16, Dtype::Bf16] {
            let bytes: Vec<u8> = (0..=u16::MAX)
                .filter(|bits| bits & 0x7fff <= 0x7c00)
                .flat_map(u16::to_le_bytes)
                .collect();
            let wide = cast(Cow::Borrowed(&bytes), dtype, Dtype::F32);
            assert_eq!(cast(wide, Dtype::F32, dtype), bytes, "{dtype}");
        }
    }

    #[test]
    fn nan_and_infinity_are_counted() {
        let bytes: Vec<u8> = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1.0, f32::MAX]
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect();
        let expected = NonFiniteCount {
            nan: 1,
            infinite: 2,
        };
        assert_eq!(count_non_finite(&bytes, Dtype::F32), expected);
        // The largest single rounds up to infinity in half precision.
        for (dtype, infinite) in [(Dtype::F64, 2), (Dtype::F16, 3), (Dtype::Bf16, 3)] {
            let out = cast(Cow::Borrowed(&bytes), Dtype::F32, dtype);
            assert_eq!(count_non_finite(&out, dtype).infinite, infinite, "{dtype}");
            assert_eq!(count_non_finite(&out, dtype).nan, 1, "{dtype}");
        }
    }
}
