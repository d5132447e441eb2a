//! Two checkpoints held against each other, tensor by tensor, under the names of Hugging Face transformers.

use std::collections::BTreeSet;
use std::io;
use std::num::NonZeroUsize;

use rayon::prelude::*;
use serde::Serialize;
use stablelm_model::{Dtype, Parameter, TensorInfo, TensorSource, TensorSourceError, parameters};

use crate::cast::{cast, values};
use crate::convert::plan::dtype_name;
use crate::hash::TensorHashes;
use crate::neox::source::NeoxReadError;
use crate::open::Checkpoint;
use crate::stored::{Placement, matrix};
use crate::stream::{Rows, RowsError, Tally};

/// Why two checkpoints could not be compared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompareError {
    /// A tensor could not be read.
    #[error("failed to read a tensor")]
    Read(#[from] TensorSourceError),
    /// A file is damaged.
    #[error("the checkpoint is not consistent")]
    Inconsistent(#[from] NeoxReadError),
}

impl From<RowsError> for CompareError {
    fn from(error: RowsError) -> Self {
        match error {
            RowsError::Inconsistent(error) => Self::Inconsistent(error),
            RowsError::Read(error) => Self::Read(error),
        }
    }
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
    compare_sides(&Side::Checkpoint(a), &Side::Checkpoint(b), tolerance)
}

/// Compares every tensor of two sources, of which at least one is no checkpoint: a GGUF file, for example.
pub fn compare_sources(
    a: &dyn TensorSource,
    b: &dyn TensorSource,
    tolerance: f64,
) -> Result<Comparison, CompareError> {
    compare_sides(&Side::Source(a), &Side::Source(b), tolerance)
}

/// One of the two that are compared.
enum Side<'a> {
    Checkpoint(&'a Checkpoint),
    Source(&'a dyn TensorSource),
}

impl<'a> Side<'a> {
    fn source(&self) -> &'a dyn TensorSource {
        match self {
            Self::Checkpoint(checkpoint) => checkpoint.source(),
            Self::Source(source) => *source,
        }
    }

    fn placement(&self, name: &str) -> Placement {
        let placement = match self {
            Self::Checkpoint(checkpoint) => checkpoint.placement(name),
            Self::Source(_) => None,
        };
        placement.unwrap_or(Placement::Computed)
    }

    fn rows<'p>(&self, name: &str, info: &TensorInfo, placement: &'p Placement) -> Rows<'p>
    where
        'a: 'p,
    {
        match self {
            Self::Checkpoint(checkpoint) => Rows::new(checkpoint, name, info, placement),
            Self::Source(source) => Rows::of_source(*source, name, info),
        }
    }
}

fn compare_sides(a: &Side<'_>, b: &Side<'_>, tolerance: f64) -> Result<Comparison, CompareError> {
    let (a_source, b_source) = (a.source(), b.source());
    let names: BTreeSet<&str> = a_source
        .names()
        .into_iter()
        .chain(b_source.names())
        .collect();
    let mut tensors = Vec::with_capacity(names.len());
    for name in names {
        let outcome = match (a_source.info(name), b_source.info(name)) {
            (Some(a_info), Some(b_info)) => outcome(name, (a, &a_info), (b, &b_info), tolerance)?,
            (_, None) => Outcome::OnlyInA,
            (None, _) => Outcome::OnlyInB,
        };
        a_source.release(name);
        b_source.release(name);
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
    (a, a_info): (&Side<'_>, &TensorInfo),
    (b, b_info): (&Side<'_>, &TensorInfo),
    tolerance: f64,
) -> Result<Outcome, CompareError> {
    if a_info.shape != b_info.shape {
        return Ok(Outcome::ShapeDiffers {
            a: a_info.shape.clone(),
            b: b_info.shape.clone(),
        });
    }
    let mut equal = a_info.dtype == b_info.dtype;
    let mut max = Some(0f64);
    side_by_side(name, (a, a_info), (b, b_info), &mut |a_bytes, b_bytes| {
        if a_info.dtype == b_info.dtype && a_bytes == b_bytes && equal {
            return true;
        }
        equal = false;
        let pairs = values(a_bytes, a_info.dtype).zip(values(b_bytes, b_info.dtype));
        max = max_abs_diff(pairs).and_then(|diff| Some(max?.max(diff)));
        max.is_some()
    })?;
    if equal {
        return Ok(Outcome::Equal);
    }
    Ok(Outcome::Differs {
        max_abs_diff: max,
        a: a_info.dtype,
        b: b_info.dtype,
        tolerated: tolerance > 0.0 && max.is_some_and(|diff| diff <= tolerance),
    })
}

/// Reads two tensors of one shape a few rows at a time, for as long as `see` wants more.
fn side_by_side(
    name: &str,
    (a, a_info): (&Side<'_>, &TensorInfo),
    (b, b_info): (&Side<'_>, &TensorInfo),
    see: &mut dyn FnMut(&[u8], &[u8]) -> bool,
) -> Result<(), CompareError> {
    let (a_placement, b_placement) = (a.placement(name), b.placement(name));
    let mut a_rows = a.rows(name, a_info, &a_placement);
    let mut b_rows = b.rows(name, b_info, &b_placement);
    let (mut a_buffer, mut b_buffer) = (Vec::new(), Vec::new());
    let (_, columns) = matrix(&a_info.shape);
    let row_len = |info: &TensorInfo| (columns * info.dtype.width()).max(1);
    'reading: while let Some(a_bytes) = a_rows.next(usize::MAX, &mut a_buffer)? {
        let mut left = &*a_bytes;
        while !left.is_empty() {
            let rows = left.len() / row_len(a_info);
            let Some(b_bytes) = b_rows.next(rows, &mut b_buffer)? else {
                break 'reading;
            };
            let taken = b_bytes.len() / row_len(b_info) * row_len(a_info);
            let (now, later) = left.split_at(taken.min(left.len()));
            if !see(now, &b_bytes) {
                break 'reading;
            }
            left = later;
        }
    }
    // What differs because a file is damaged is not a difference.
    a_rows.check()?;
    b_rows.check()?;
    Ok(())
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
    /// A file is damaged.
    #[error("the checkpoint is not consistent")]
    Inconsistent(#[from] NeoxReadError),
    /// No threads could be started.
    #[error("failed to start the threads to verify with")]
    Threads(#[source] io::Error),
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
    /// The bytes read are not those that were written.
    #[error("tensor `{tensor}` hashes to {found}, expected {expected} as it was written")]
    Hash {
        /// The tensor.
        tensor: String,
        /// SHA-256 as noted.
        expected: String,
        /// SHA-256 of what is there.
        found: String,
    },
    /// The number of parameters changed.
    #[error("the output has {found} parameters, expected {expected}")]
    Parameters {
        /// The input's.
        expected: u64,
        /// The output's.
        found: u64,
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
    verify_hashed(input, output, None, NonZeroUsize::MIN)
}

/// Does what [`verify`] does on several threads, and holds what is read against the digests of what was written.
pub fn verify_hashed(
    input: &Checkpoint,
    output: &Checkpoint,
    hashes: Option<&TensorHashes>,
    threads: NonZeroUsize,
) -> Result<Verified, VerifyError> {
    check_config(input, output)?;
    let parameters: Vec<Parameter> = parameters(input.config()).collect();
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads.get())
        .build();
    let pool = pool.map_err(|error| VerifyError::Threads(io::Error::other(error)))?;
    // The first error in the model's order, whichever thread meets one first.
    let results: Vec<Result<(), VerifyError>> = pool.install(|| {
        parameters
            .par_iter()
            .map(|parameter| verify_tensor(input, output, &parameter.name, hashes))
            .collect()
    });
    results.into_iter().collect::<Result<(), _>>()?;
    let count = parameters
        .iter()
        .map(|parameter| parameter.num_elements() as u64);
    let verified = Verified {
        tensors: parameters.len(),
        parameters: count.sum(),
    };
    let (expected, found) = (verified.parameters, output.config().num_parameters());
    if expected != found {
        return Err(VerifyError::Parameters { expected, found });
    }
    Ok(verified)
}

fn verify_tensor(
    input: &Checkpoint,
    output: &Checkpoint,
    name: &str,
    hashes: Option<&TensorHashes>,
) -> Result<(), VerifyError> {
    let tensor = || name.to_owned();
    let missing = || VerifyError::Missing { tensor: tensor() };
    let expected = input.source().info(name).ok_or_else(missing)?;
    let found = output.source().info(name).ok_or_else(missing)?;
    if expected.shape != found.shape {
        return Err(VerifyError::Shape {
            tensor: tensor(),
            expected: expected.shape,
            found: found.shape,
        });
    }
    let mut tally = Tally::new();
    let mut equal = true;
    let sides = (
        (&Side::Checkpoint(output), &found),
        (&Side::Checkpoint(input), &expected),
    );
    let compared = side_by_side(name, sides.0, sides.1, &mut |written, source| {
        tally.count(written, found.dtype);
        if hashes.is_some() {
            tally.hash(written);
        }
        equal &= *cast(source.into(), expected.dtype, found.dtype) == *written;
        true
    });
    compared.map_err(|error| match error {
        CompareError::Read(error) => VerifyError::Read(error),
        CompareError::Inconsistent(error) => VerifyError::Inconsistent(error),
    })?;
    let (sha256, count) = tally.finish();
    if count.nan + count.infinite > 0 {
        return Err(VerifyError::NonFinite {
            tensor: tensor(),
            nan: count.nan,
            infinite: count.infinite,
        });
    }
    if !equal {
        return Err(VerifyError::Differs { tensor: tensor() });
    }
    let noted = hashes.map(|hashes| hashes.tensors.get(name));
    match noted {
        None => Ok(()),
        Some(Some(noted)) if noted.sha256 == sha256 => Ok(()),
        Some(noted) => Err(VerifyError::Hash {
            tensor: tensor(),
            expected: noted.map_or_else(String::new, |noted| noted.sha256.clone()),
            found: sha256,
        }),
    }
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
