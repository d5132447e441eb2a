//! Compares a source of tensors with the configuration before anything is loaded.

use std::collections::BTreeSet;
use std::fmt;

use stablelm_model::{Dtype, ModelConfig, Parameter, TensorSource, TensorSourceError, parameters};

use crate::backend::BackendError;
use crate::cpu::pool::ThreadsError;
use crate::device::DeviceError;

/// Buffers that old checkpoints carry and that follow from the configuration.
const HARMLESS: [&str; 3] = [
    ".rotary_emb.inv_freq",
    ".attention.bias",
    ".attention.masked_bias",
];

/// How many mismatches are collected at most, so that a configuration of absurd size can't take all memory.
const MOST_MISMATCHES: usize = 10_000;

/// Why a model could not be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// Names or shapes are not those of the configuration.
    #[error(
        "the tensors are not those of the configuration: {}",
        Listed(mismatches)
    )]
    Mismatch {
        /// Every tensor that is missing, too many, or of another shape or dtype; the first ten thousand.
        mismatches: Vec<TensorMismatch>,
    },
    /// The configuration asks for a nonlinearity that is not implemented.
    #[error("the nonlinearity `{name}` is not supported")]
    UnsupportedActivation {
        /// Its name in `config.json`.
        name: &'static str,
    },
    /// A tensor could not be read.
    #[error(transparent)]
    Source(#[from] TensorSourceError),
    /// A tensor has fewer or more bytes than its shape and dtype need.
    #[error("tensor `{name}` has {found} bytes, expected {expected}")]
    WrongLength {
        /// The tensor.
        name: String,
        /// The number of bytes of its shape and dtype.
        expected: usize,
        /// The number of bytes the source gave.
        found: usize,
    },
    /// The system gives no threads to compute on.
    #[error(transparent)]
    Threads(#[from] ThreadsError),
    /// The device can't be had.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The device failed.
    #[error("failed to load weights onto the device")]
    Backend(#[from] BackendError),
}

/// A tensor that is not as the configuration says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TensorMismatch {
    /// The configuration needs it, the source lacks it.
    Missing {
        /// The tensor.
        name: String,
        /// The shape it should have.
        expected: Vec<usize>,
    },
    /// The source has it, the configuration has no place for it.
    Unknown {
        /// The tensor.
        name: String,
        /// The shape it has.
        found: Vec<usize>,
    },
    /// The shapes differ.
    Shape {
        /// The tensor.
        name: String,
        /// The shape it should have.
        expected: Vec<usize>,
        /// The shape it has.
        found: Vec<usize>,
    },
    /// It does not hold floating point numbers.
    Dtype {
        /// The tensor.
        name: String,
        /// The dtype it has.
        found: Dtype,
    },
}

impl fmt::Display for TensorMismatch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { name, expected } => {
                write!(
                    formatter,
                    "`{name}` is missing, expected shape {expected:?}"
                )
            }
            Self::Unknown { name, found } => write!(
                formatter,
                "`{name}` of shape {found:?} has no place in the network"
            ),
            Self::Shape {
                name,
                expected,
                found,
            } => write!(
                formatter,
                "`{name}` has shape {found:?}, expected {expected:?}"
            ),
            Self::Dtype { name, found } => write!(
                formatter,
                "`{name}` has dtype {found}, expected a floating point dtype"
            ),
        }
    }
}

/// Prints the first few of many.
struct Listed<'a>(&'a [TensorMismatch]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 6;
        for (index, mismatch) in self.0.iter().take(SHOWN).enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(formatter, "{separator}{mismatch}")?;
        }
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(formatter, "; and {more} more"),
        }
    }
}

/// Compares names, shapes and dtypes with the configuration; reads no bytes.
pub(crate) fn check(config: &ModelConfig, source: &dyn TensorSource) -> Result<(), LoadError> {
    let mut known = BTreeSet::new();
    let mut mismatches = Vec::new();
    for Parameter { name, shape, .. } in parameters(config) {
        match source.info(&name) {
            None => mismatches.push(TensorMismatch::Missing {
                name: name.clone(),
                expected: shape,
            }),
            Some(info) if info.shape != shape => mismatches.push(TensorMismatch::Shape {
                name: name.clone(),
                expected: shape,
                found: info.shape,
            }),
            Some(info) if !info.dtype.is_float() => mismatches.push(TensorMismatch::Dtype {
                name: name.clone(),
                found: info.dtype,
            }),
            Some(_) => {}
        }
        if mismatches.len() >= MOST_MISMATCHES {
            return Err(LoadError::Mismatch { mismatches });
        }
        known.insert(name);
    }
    for name in source.names() {
        let harmless = HARMLESS.iter().any(|suffix| name.ends_with(suffix));
        if !harmless && !known.contains(name) {
            mismatches.push(TensorMismatch::Unknown {
                name: name.to_owned(),
                found: source.info(name).map(|info| info.shape).unwrap_or_default(),
            });
        }
    }
    if mismatches.is_empty() {
        Ok(())
    } else {
        Err(LoadError::Mismatch { mismatches })
    }
}
