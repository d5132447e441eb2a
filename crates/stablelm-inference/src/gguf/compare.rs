//! How far the numbers of a file stray from those it was made of.

use stablelm_model::{TensorSource, TensorSourceError};

use crate::stored::floats;

/// A tensor of a file beside the one that it was made of.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorError {
    /// The tensor.
    pub name: String,
    /// The length of the difference, by the length of the original (both Euclidean).
    pub relative_error: f64,
    /// Whether the file holds it in blocks.
    is_quantized: bool,
}

impl TensorError {
    /// Returns whether the number format of the file explains the error: rounding to 8 bits of mantissa, or blocks of
    /// four bits and more.
    pub fn is_within_format(&self) -> bool {
        self.relative_error <= if self.is_quantized { 0.15 } else { 0.005 }
    }
}

/// Compares every tensor of `file` with that of `original`, one at a time, as f32.
pub fn compare(
    original: &dyn TensorSource,
    file: &dyn TensorSource,
) -> Result<Vec<TensorError>, TensorSourceError> {
    let compare = |name: &str| {
        let expected = values(original, name)?;
        let found = values(file, name)?;
        let squares = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>();
        let pairs = expected.iter().zip(&found);
        let error = squares(&mut pairs.map(|(a, b)| f64::from(*a) - f64::from(*b)));
        let size = squares(&mut expected.iter().map(|value| f64::from(*value)));
        original.release(name);
        file.release(name);
        let relative_error = match (expected.len() == found.len(), size > 0.0) {
            (false, _) => f64::INFINITY,
            (true, true) => (error / size).sqrt(),
            (true, false) => error.sqrt(),
        };
        Ok(TensorError {
            name: name.to_owned(),
            relative_error,
            is_quantized: file.blocks(name)?.is_some(),
        })
    };
    original.names().into_iter().map(compare).collect()
}

fn values(source: &dyn TensorSource, name: &str) -> Result<Vec<f32>, TensorSourceError> {
    let missing = || TensorSourceError::Missing {
        name: name.to_owned(),
    };
    let info = source.info(name).ok_or_else(missing)?;
    floats(&source.bytes(name)?, info.dtype).ok_or_else(missing)
}
