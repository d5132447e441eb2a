//! Weights in host memory, in the number format in which they are kept, and the way there from a file's bytes.
//!
//! bf16 and f16 stay as 16 raw bits; they are widened where they are used, exactly.

use std::fmt;
use std::ops::{Deref, Range};
use std::str::FromStr;

use bytemuck::Pod;
use bytes::Bytes;
use stablelm_model::{BlockFormat, Dtype};

/// The number format in which weight matrices are kept. Biases and normalizations are always f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WeightDtype {
    /// The file's own: the quantized blocks of a GGUF file; otherwise bf16 or f16 where every matrix has it, else f32.
    Auto,
    /// The upper half of a single, two bytes a weight.
    Bf16,
    /// IEEE 754 half precision, two bytes a weight.
    F16,
    /// IEEE 754 single precision, four bytes a weight.
    F32,
    /// 8 bits a weight and a scale for every 32, 8.5 bits together; bf16 for a matrix whose rows are not a multiple of
    /// 32 long.
    Q8_0,
    /// 4 bits a weight, a scale and a minimum for every 32, 4.625 bits together. The matrix that gives the logits, where
    /// an error meets no further layer that could make up for it, and rows that are not a multiple of 256 long, are kept
    /// as [`Q8_0`](Self::Q8_0).
    Q4K,
}

/// A weight dtype's name that is not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown weight dtype `{name}`, expected one of auto, bf16, f16, f32, q8_0, q4_k")]
pub struct UnknownWeightDtype {
    /// The name as given.
    pub name: String,
}

impl WeightDtype {
    const ALL: [Self; 6] = [
        Self::Auto,
        Self::Bf16,
        Self::F16,
        Self::F32,
        Self::Q8_0,
        Self::Q4K,
    ];

    /// Returns the name, as [`FromStr`] reads it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
            Self::F32 => "f32",
            Self::Q8_0 => "q8_0",
            Self::Q4K => "q4_k",
        }
    }
}

impl fmt::Display for WeightDtype {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl FromStr for WeightDtype {
    type Err = UnknownWeightDtype;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|dtype| dtype.as_str() == name)
            .ok_or_else(|| UnknownWeightDtype {
                name: name.to_owned(),
            })
    }
}

/// What we quantize to ourselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Q8_0,
    Q4K,
}

impl Encoding {
    pub(crate) fn format(self) -> BlockFormat {
        match self {
            Self::Q8_0 => BlockFormat::Q8_0,
            Self::Q4K => BlockFormat::Q4K,
        }
    }
}

/// The number format of matrices that are not quantized.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StoredDtype {
    F32,
    Bf16,
    F16,
}

impl StoredDtype {
    /// Decides `Auto` by the dtypes of those of the file's matrices that are not quantized.
    pub(crate) fn resolve(wanted: WeightDtype, found: impl IntoIterator<Item = Dtype>) -> Self {
        match wanted {
            WeightDtype::Bf16 | WeightDtype::Q8_0 | WeightDtype::Q4K => Self::Bf16,
            WeightDtype::F16 => Self::F16,
            WeightDtype::F32 => Self::F32,
            WeightDtype::Auto => {
                let mut found = found.into_iter();
                let Some(first) = found.next() else {
                    return Self::F32;
                };
                if found.any(|other| other != first) {
                    Self::F32
                } else {
                    Self::unchanged(first)
                }
            }
        }
    }

    /// Returns the format that holds numbers of a file's dtype without loss, or f32.
    pub(crate) fn unchanged(found: Dtype) -> Self {
        match found {
            Dtype::Bf16 => Self::Bf16,
            Dtype::F16 => Self::F16,
            _ => Self::F32,
        }
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
        }
    }
}

/// A matrix in C order.
pub(crate) struct StoredMatrix {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) values: StoredValues,
}

/// The numbers of a matrix, each kind in its own vector so that kernels are chosen once a matrix.
pub(crate) enum StoredValues {
    F32(Numbers<f32>),
    Bf16(Numbers<u16>),
    F16(Numbers<u16>),
}

/// Numbers of one width: our own, or a share of a file's memory map.
pub(crate) enum Numbers<T> {
    Owned(Vec<T>),
    /// Little-endian bytes, aligned for `T`.
    Shared(Bytes),
}

impl<T: Pod> Numbers<T> {
    /// Takes little-endian bytes as they are where that is possible, and copies them otherwise.
    fn from_bytes(bytes: Bytes, read: impl Fn(&[u8]) -> Vec<T>) -> Self {
        if cfg!(target_endian = "little") && bytemuck::try_cast_slice::<u8, T>(&bytes).is_ok() {
            Self::Shared(bytes)
        } else {
            Self::Owned(read(&bytes))
        }
    }

    fn is_shared(&self) -> bool {
        matches!(self, Self::Shared(_))
    }
}

impl<T: Pod> Deref for Numbers<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            Self::Owned(values) => values,
            Self::Shared(bytes) => bytemuck::cast_slice(bytes),
        }
    }
}

impl<T> From<Vec<T>> for Numbers<T> {
    fn from(values: Vec<T>) -> Self {
        Self::Owned(values)
    }
}

impl StoredValues {
    /// True where both are in one number format.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }

    /// Converts little-endian bytes of a floating point dtype; rounds to nearest, ties to even.
    ///
    /// Bytes that are in the right dtype already are shared, not copied.
    pub(crate) fn from_bytes(bytes: Bytes, from: Dtype, to: StoredDtype) -> Option<Self> {
        fn rounded(values: Vec<f32>, round: fn(f32) -> u16) -> Numbers<u16> {
            values.into_iter().map(round).collect::<Vec<_>>().into()
        }
        Some(match (from, to) {
            (Dtype::F32, StoredDtype::F32) => Self::F32(Numbers::from_bytes(bytes, singles)),
            (Dtype::Bf16, StoredDtype::Bf16) => {
                Self::Bf16(Numbers::from_bytes(bytes, |bytes| halves(bytes).collect()))
            }
            (Dtype::F16, StoredDtype::F16) => {
                Self::F16(Numbers::from_bytes(bytes, |bytes| halves(bytes).collect()))
            }
            (_, StoredDtype::F32) => Self::F32(floats(&bytes, from)?.into()),
            (_, StoredDtype::Bf16) => Self::Bf16(rounded(floats(&bytes, from)?, bf16_from_f32)),
            (_, StoredDtype::F16) => Self::F16(rounded(floats(&bytes, from)?, f16_from_f32)),
        })
    }

    /// Appends the numbers of a range as f32.
    pub(crate) fn widen(&self, range: Range<usize>, output: &mut Vec<f32>) {
        match self {
            Self::F32(values) => output.extend_from_slice(&values[range]),
            Self::Bf16(bits) => {
                output.extend(bits[range].iter().map(|bits| f32_from_bf16(*bits)));
            }
            Self::F16(bits) => output.extend(bits[range].iter().map(|bits| f32_from_f16(*bits))),
        }
    }

    /// Returns the number of bytes.
    pub(crate) fn byte_len(&self) -> usize {
        match self {
            Self::F32(values) => size_of_val::<[f32]>(values),
            Self::Bf16(bits) | Self::F16(bits) => size_of_val::<[u16]>(bits),
        }
    }

    /// Returns whether the numbers lie in a file's memory map.
    pub(crate) fn is_shared(&self) -> bool {
        match self {
            Self::F32(values) => values.is_shared(),
            Self::Bf16(bits) | Self::F16(bits) => bits.is_shared(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::Bf16(bits) | Self::F16(bits) => bits.len(),
        }
    }
}

/// Reads little-endian bytes of a floating point dtype as f32, or returns `None` for another dtype.
#[expect(
    clippy::cast_possible_truncation,
    reason = "f64 weights are rounded to f32 on purpose"
)]
pub(crate) fn floats(bytes: &[u8], from: Dtype) -> Option<Vec<f32>> {
    Some(match from {
        Dtype::F32 => singles(bytes),
        Dtype::F64 => bytes
            .as_chunks()
            .0
            .iter()
            .map(|bytes| f64::from_le_bytes(*bytes) as f32)
            .collect(),
        Dtype::Bf16 => halves(bytes).map(f32_from_bf16).collect(),
        Dtype::F16 => halves(bytes).map(f32_from_f16).collect(),
        _ => return None,
    })
}

fn singles(bytes: &[u8]) -> Vec<f32> {
    let singles = bytes.as_chunks().0.iter();
    singles.map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

fn halves(bytes: &[u8]) -> impl Iterator<Item = u16> {
    bytes
        .as_chunks()
        .0
        .iter()
        .map(|bytes| u16::from_le_bytes(*bytes))
}

/// Widens bf16 bits, exactly.
#[inline]
pub(crate) fn f32_from_bf16(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

/// Widens IEEE 754 half bits, exactly, without branches so that loops over it vectorize.
#[inline]
pub(crate) fn f32_from_f16(bits: u16) -> f32 {
    /// What to add to a half's exponent, in the place where a single keeps it.
    const REBIAS: u32 = (127 - 15) << 23;
    let magnitude = u32::from(bits & 0x7fff) << 13;
    let exponent = bits & 0x7c00;
    let normal = magnitude + REBIAS + if exponent == 0x7c00 { REBIAS } else { 0 };
    // A subnormal gets the exponent of the smallest normal and the implied one taken off again.
    let one_up = REBIAS + (1 << 23);
    let subnormal = (f32::from_bits(magnitude + one_up) - f32::from_bits(one_up)).to_bits();
    let positive = if exponent == 0 { subnormal } else { normal };
    f32::from_bits(positive | u32::from(bits & 0x8000) << 16)
}

/// Rounds to bf16, ties to even.
pub(crate) fn bf16_from_f32(value: f32) -> u16 {
    let bits = value.to_bits();
    if value.is_nan() {
        // Rounding could carry a NaN's payload away; the quiet bit keeps it one.
        return (bits >> 16) as u16 | 0x40;
    }
    ((bits + 0x7fff + (bits >> 16 & 1)) >> 16) as u16
}

/// Rounds to IEEE 754 half precision, ties to even; too large becomes infinite.
#[expect(
    clippy::cast_possible_truncation,
    reason = "every branch leaves at most 16 bits"
)]
pub(crate) fn f16_from_f32(value: f32) -> u16 {
    const REBIAS: u32 = (127 - 15) << 23;
    let sign = (value.to_bits() >> 16 & 0x8000) as u16;
    let magnitude = value.to_bits() & 0x7fff_ffff;
    let half = if value.is_nan() {
        0x7e00
    } else if magnitude >= 0x477f_f000 {
        // 65520 and above, which round past the largest half.
        0x7c00
    } else if magnitude < 0x3880_0000 {
        // Below the smallest normal half: adding 0.5 lets the hardware round at the right bit.
        (f32::from_bits(magnitude) + 0.5).to_bits() - 0.5f32.to_bits()
    } else {
        (magnitude - REBIAS + 0xfff + (magnitude >> 13 & 1)) >> 13
    };
    half as u16 | sign
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, Tensor};

    use super::*;

    fn as_f16(values: Vec<f32>) -> Vec<f32> {
        let len = values.len();
        let tensor = Tensor::from_vec(values, len, &Device::Cpu).unwrap();
        let halves = tensor.to_dtype(DType::F16).unwrap();
        halves.to_dtype(DType::F32).unwrap().to_vec1().unwrap()
    }

    #[test]
    fn every_half_widens_and_rounds_back_to_itself() {
        for bits in 0..=u16::MAX {
            let wide = f32_from_f16(bits);
            if wide.is_nan() {
                assert!(bits & 0x7fff > 0x7c00, "{bits:04x}");
                assert!(f32_from_f16(f16_from_f32(wide)).is_nan());
            } else {
                assert_eq!(f16_from_f32(wide), bits, "{bits:04x} {wide}");
            }
        }
        let spots = [
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x7bff, 65504.0),
            (0x0001, 2f32.powi(-24)),
        ];
        for (bits, expected) in spots {
            assert_eq!(f32_from_f16(bits).to_bits(), f32::to_bits(expected));
        }
        assert!(f32_from_f16(0xfc00) < f32::MIN);
    }

    #[test]
    fn rounding_to_half_agrees_with_the_tensor_library() {
        let values: Vec<f32> = (0..200_000u32)
            .map(|i| f32::from_bits(i.wrapping_mul(0x9e37_79b9)))
            .filter(|value| value.is_finite())
            .collect();
        for (value, expected) in values.iter().zip(as_f16(values.clone())) {
            let found = f32_from_f16(f16_from_f32(*value));
            assert_eq!(found.to_bits(), expected.to_bits(), "{value:e}");
        }
    }

    #[test]
    fn rounding_to_bf16_is_to_nearest_even() {
        for (value, expected) in [
            (1.0, 0x3f80),
            (f32::from_bits(0x3f80_8000), 0x3f80),
            (f32::from_bits(0x3f81_8000), 0x3f82),
            (f32::from_bits(0x3f80_8001), 0x3f81),
            (f32::MAX, 0x7f80),
            (-0.0, 0x8000),
        ] {
            assert_eq!(bf16_from_f32(value), expected, "{value:e}");
        }
        assert!(f32_from_bf16(bf16_from_f32(f32::NAN)).is_nan());
    }

    #[track_caller]
    fn check_auto(found: &[Dtype], expected: StoredDtype) {
        let resolved = StoredDtype::resolve(WeightDtype::Auto, found.iter().copied());
        assert_eq!(resolved, expected);
    }

    #[test]
    fn auto_keeps_sixteen_bits_where_all_matrices_agree() {
        check_auto(&[Dtype::Bf16, Dtype::Bf16], StoredDtype::Bf16);
        check_auto(&[Dtype::F16], StoredDtype::F16);
        check_auto(&[Dtype::F16, Dtype::Bf16], StoredDtype::F32);
        check_auto(&[Dtype::F64], StoredDtype::F32);
        assert_eq!("f16".parse(), Ok(WeightDtype::F16));
        assert!("q5_1".parse::<WeightDtype>().is_err());
        for dtype in WeightDtype::ALL {
            assert_eq!(dtype.to_string().parse(), Ok(dtype));
        }
    }
}
