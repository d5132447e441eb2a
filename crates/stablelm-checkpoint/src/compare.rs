//! Two checkpoints held against each other, tensor by tensor, under the names of Hugging Face transformers.

use std::collections::BTreeSet;

use serde::Serialize;
use stablelm_model::{Dtype, TensorInfo, TensorSource, TensorSourceError, parameters};

use crate::cast::{cast, count_non_finite, values};
use crate::convert::plan::dtype_name;
use crate::open::Checkpoint;

/// Why two checkpoints could not be compared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompareError {
    /// A tensor could not be read.
    #[error("failed to read a tensor")]
    Read(#[from] TensorSourceError),
}

/// What a comparison found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// Every tensor of either checkpoint, sorted by name.
    pub tensors: Vec<TensorComparison>,
    /// The largest difference that still counts as equal.
    pub tolerance: f64,
    /// Number of tensors that count as equal.
    pub num_equal: usize,
}

/// One tensor's part of a comparison.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TensorComparison {
    /// The tensor.
    pub name: String,
    /// What was found.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// How two tensors of one name compare.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// The same bytes in the same dtype.
    Equal,
    /// Other bytes, or the same numbers in another dtype.
    Differs {
        /// The largest difference of two numbers; `None` when one of them is not a number.
        max_abs_diff: Option<f64>,
        /// The first checkpoint's dtype.
        #[serde(serialize_with = "dtype_name")]
        a: Dtype,
        /// The second checkpoint's dtype.
        #[serde(serialize_with = "dtype_name")]
        b: Dtype,
        /// Whether the difference is within the tolerance.
        tolerated: bool,
    },
    /// Other sizes.
    ShapeDiffers {
        /// The first checkpoint's sizes.
        a: Vec<usize>,
        /// The second checkpoint's sizes.
        b: Vec<usize>,
    },
    /// Missing from the second checkpoint.
    OnlyInA,
    /// Missing from the first checkpoint.
    OnlyInB,
}

impl Outcome {
    /// Returns whether the tensors count as equal.
    pub fn is_equal(&self) -> bool {
        matches!(
            self,
            Self::Equal
                | Self::Differs {
                    tolerated: true,
                    ..
                }
        )
    }
}

impl Comparison {
    /// Returns whether all tensors count as equal.
    pub fn equal(&self) -> bool {
        self.num_equal == self.tensors.len()
    }

    /// Returns the tensors that don't count as equal.
    pub fn differences(&self) -> impl Iterator<Item = &TensorComparison> {
        self.tensors
            .iter()
            .filter(|tensor| !tensor.outcome.is_equal())
    }
}

/// Compares every tensor of two checkpoints of any formats.
///
/// With a tolerance of 0, tensors are equal when dtype and bytes are. With a larger one only numbers count: they may
/// differ by as much, and their dtypes may differ.
pub fn compare(a: &Checkpoint, b: &Checkpoint, tolerance: f64) -> Result<Comparison, CompareError> {
    let (a, b) = (a.source(), b.source());
    let names: BTreeSet<&str> = a.names().into_iter().chain(b.names()).collect();
    let mut tensors = Vec::with_capacity(names.len());
    for name in names {
        let outcome = match (a.info(name), b.info(name)) {
            (Some(a_info), Some(b_info)) => outcome(name, (a, &a_info), (b, &b_info), tolerance)?,
            (_, None) => Outcome::OnlyInA,
            (None, _) => Outcome::OnlyInB,
        };
        tensors.push(TensorComparison {
            name: name.to_owned(),
            outcome,
        });
    }
    let num_equal = tensors
        .iter()
        .filter(|tensor| tensor.outcome.is_equal())
        .count();
    Ok(Comparison {
        tensors,
        tolerance,
        num_equal,
    })
}

fn outcome(
    name: &str,
    (a, a_info): (&dyn TensorSource, &TensorInfo),
    (b, b_info): (&dyn TensorSource, &TensorInfo),
    tolerance: f64,
) -> Result<Outcome, CompareError> {
    if a_info.shape != b_info.shape {
        return Ok(Outcome::ShapeDiffers {
            a: a_info.shape.clone(),
            b: b_info.shape.clone(),
        });
    }
    let (a_bytes, b_bytes) = (a.bytes(name)?, b.bytes(name)?);
    if a_info.dtype == b_info.dtype && a_bytes == b_bytes {
        return Ok(Outcome::Equal);
    }
    let pairs = values(&a_bytes, a_info.dtype).zip(values(&b_bytes, b_info.dtype));
    let max_abs_diff = max_abs_diff(pairs);
    Ok(Outcome::Differs {
        max_abs_diff,
        a: a_info.dtype,
        b: b_info.dtype,
        tolerated: tolerance > 0.0 && max_abs_diff.is_some_and(|diff| diff <= tolerance),
    })
}

fn max_abs_diff(pairs: impl Iterator<Item = (f64, f64)>) -> Option<f64> {
    let mut max = 0.0f64;
    for (a, b) in pairs {
        #[expect(
            clippy::float_cmp,
            reason = "infinities of one sign are no distance apart"
        )]
        let diff = if a == b { 0.0 } else { (a - b).abs() };
        if !diff.is_finite() {
            return None;
        }
        max = max.max(diff);
    }
    Some(max)
}

/// What [`verify`] found in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// Number of tensors compared.
    pub tensors: usize,
    /// Number of numbers in them.
    pub parameters: u64,
}

/// Why a converted checkpoint is not what it should be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// A tensor could not be read.
    #[error("failed to read a tensor")]
    Read(#[from] TensorSourceError),
    /// The output lacks a tensor.
    #[error("tensor `{tensor}` is missing from the output")]
    Missing {
        /// The tensor.
        tensor: String,
    },
    /// The output has other sizes.
    #[error("tensor `{tensor}` has shape {found:?} in the output, expected {expected:?}")]
    Shape {
        /// The tensor.
        tensor: String,
        /// The input's sizes.
        expected: Vec<usize>,
        /// The output's sizes.
        found: Vec<usize>,
    },
    /// The output has other numbers.
    #[error("tensor `{tensor}` differs between input and output")]
    Differs {
        /// The tensor.
        tensor: String,
    },
    /// A tensor holds something other than numbers.
    #[error("tensor `{tensor}` holds {nan} NaN and {infinite} infinite numbers, expected none")]
    NonFinite {
        /// The tensor.
        tensor: String,
        /// How many are NaN.
        nan: u64,
        /// How many are infinite.
        infinite: u64,
    },
    /// A number of the architecture changed.
    #[error("`{key}` of the model differs between input and output")]
    Config {
        /// The key in `config.json`.
        key: String,
    },
}

/// Reads every tensor of both checkpoints again: each must be in the output, equal after a cast, and finite.
pub fn verify(input: &Checkpoint, output: &Checkpoint) -> Result<Verified, VerifyError> {
    check_config(input, output)?;
    let mut verified = Verified {
        tensors: 0,
        parameters: 0,
    };
    for parameter in parameters(input.config()) {
        let name = &parameter.name;
        let missing = || VerifyError::Missing {
            tensor: name.clone(),
        };
        let expected = input.source().info(name).ok_or_else(missing)?;
        let found = output.source().info(name).ok_or_else(missing)?;
        if expected.shape != found.shape {
            return Err(VerifyError::Shape {
                tensor: name.clone(),
                expected: expected.shape,
                found: found.shape,
            });
        }
        let bytes = output.source().bytes(name)?;
        let count = count_non_finite(&bytes, found.dtype);
        if count.nan + count.infinite > 0 {
            return Err(VerifyError::NonFinite {
                tensor: name.clone(),
                nan: count.nan,
                infinite: count.infinite,
            });
        }
        if cast(input.source().bytes(name)?, expected.dtype, found.dtype) != bytes {
            return Err(VerifyError::Differs {
                tensor: name.clone(),
            });
        }
        verified.tensors += 1;
        verified.parameters += parameter.num_elements() as u64;
    }
    Ok(verified)
}

fn check_config(input: &Checkpoint, output: &Checkpoint) -> Result<(), VerifyError> {
    let fields = |checkpoint: &Checkpoint| -> serde_json::Value {
        let mut config = checkpoint.config().clone();
        // GPT-NeoX configurations don't name these.
        config.bos_token_id = None;
        config.eos_token_ids = Vec::new();
        let text = config.to_config_json(Dtype::F32);
        serde_json::from_str(&text).expect("it was written as JSON")
    };
    let (expected, found) = (fields(input), fields(output));
    let keys = expected.as_object().into_iter().flatten();
    match keys
        .map(|(key, _)| key)
        .find(|key| expected.get(key) != found.get(key))
    {
        Some(key) => Err(VerifyError::Config { key: key.clone() }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pairs: &[(f64, f64)], expected: Option<f64>) {
        assert_eq!(max_abs_diff(pairs.iter().copied()), expected);
    }

    #[test]
    fn the_largest_difference_is_found() {
        check(&[(1.0, 1.5), (2.0, 1.0)], Some(1.0));
        check(&[], Some(0.0));
        check(&[(f64::INFINITY, f64::INFINITY)], Some(0.0));
        check(&[(f64::NAN, f64::NAN)], None);
        check(&[(f64::INFINITY, 0.0)], None);
    }
}
