//! Number formats of stored tensors and their widths.

use std::fmt;
use std::str::FromStr;

/// The number format of a tensor's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Dtype {
    /// IEEE 754 double precision.
    F64,
    /// IEEE 754 single precision.
    F32,
    /// IEEE 754 half precision.
    F16,
    /// The upper half of a single: 8 exponent bits, 7 mantissa bits.
    Bf16,
    /// Signed 64-bit integer.
    I64,
    /// Signed 32-bit integer.
    I32,
    /// Signed 16-bit integer.
    I16,
    /// Signed 8-bit integer.
    I8,
    /// Unsigned 8-bit integer.
    U8,
    /// One byte, 0 or 1.
    Bool,
}

impl Dtype {
    /// Returns the number of bytes of one element.
    pub fn width(self) -> usize {
        match self {
            Self::F64 | Self::I64 => 8,
            Self::F32 | Self::I32 => 4,
            Self::F16 | Self::Bf16 | Self::I16 => 2,
            Self::I8 | Self::U8 | Self::Bool => 1,
        }
    }

    /// Returns whether elements are floating point numbers, as weights are.
    pub fn is_float(self) -> bool {
        matches!(self, Self::F64 | Self::F32 | Self::F16 | Self::Bf16)
    }

    /// Returns the name that `config.json` uses, for example `bfloat16`.
    pub fn torch_name(self) -> &'static str {
        match self {
            Self::F64 => "float64",
            Self::F32 => "float32",
            Self::F16 => "float16",
            Self::Bf16 => "bfloat16",
            Self::I64 => "int64",
            Self::I32 => "int32",
            Self::I16 => "int16",
            Self::I8 => "int8",
            Self::U8 => "uint8",
            Self::Bool => "bool",
        }
    }

    /// Returns the name used on our command line and in our JSON, for example `bf16`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::F64 => "f64",
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::I64 => "i64",
            Self::I32 => "i32",
            Self::I16 => "i16",
            Self::I8 => "i8",
            Self::U8 => "u8",
            Self::Bool => "bool",
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

/// A number format's name that is not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown dtype `{name}`, expected one of f64, f32, f16, bf16, i64, i32, i16, i8, u8, bool")]
pub struct UnknownDtype {
    /// The name as given.
    pub name: String,
}

impl FromStr for Dtype {
    type Err = UnknownDtype;

    /// Reads our names and those of PyTorch (`bf16`, `bfloat16`, `torch.bfloat16`), in any letter case.
    fn from_str(name: &str) -> Result<Self, Self::Err> {
        const ALL: [Dtype; 10] = [
            Dtype::F64,
            Dtype::F32,
            Dtype::F16,
            Dtype::Bf16,
            Dtype::I64,
            Dtype::I32,
            Dtype::I16,
            Dtype::I8,
            Dtype::U8,
            Dtype::Bool,
        ];
        let lower = name.to_ascii_lowercase();
        let bare = lower.strip_prefix("torch.").unwrap_or(&lower);
        let known = ALL
            .into_iter()
            .find(|dtype| [dtype.as_str(), dtype.torch_name()].contains(&bare));
        known
            .or(match bare {
                "half" => Some(Self::F16),
                "float" => Some(Self::F32),
                _ => None,
            })
            .ok_or_else(|| UnknownDtype {
                name: name.to_owned(),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, expected: Option<Dtype>) {
        assert_eq!(name.parse::<Dtype>().ok(), expected, "{name}");
    }

    #[test]
    fn reads_our_names_and_those_of_pytorch() {
        check("bf16", Some(Dtype::Bf16));
        check("bfloat16", Some(Dtype::Bf16));
        check("torch.float16", Some(Dtype::F16));
        check("BF16", Some(Dtype::Bf16));
        check("float", Some(Dtype::F32));
        check("float8", None);
    }

    #[test]
    fn widths_are_in_bytes() {
        assert_eq!(
            [Dtype::F64, Dtype::F32, Dtype::Bf16, Dtype::U8].map(Dtype::width),
            [8, 4, 2, 1]
        );
    }
}
