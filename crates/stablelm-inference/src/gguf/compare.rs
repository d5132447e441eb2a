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

/// Numbers that are compared at a time.
const STEP: usize = 1 << 20;

/// Compares every tensor of `file` with that of `original`, some rows at a time, as f32.
pub fn compare(
    original: &dyn TensorSource,
    file: &dyn TensorSource,
) -> Result<Vec<TensorError>, TensorSourceError> {
    let compare = |name: &str| {
        let relative_error = relative_error(original, file, name)?;
        original.release(name);
        file.release(name);
        Ok(TensorError {
            name: name.to_owned(),
            relative_error,
            is_quantized: file.blocks(name)?.is_some(),
        })
    };
    original.names().into_iter().map(compare).collect()
}

fn relative_error(
    original: &dyn TensorSource,
    file: &dyn TensorSource,
    name: &str,
) -> Result<f64, TensorSourceError> {
    let missing = || TensorSourceError::Missing {
        name: name.to_owned(),
    };
    let expected = original.info(name).ok_or_else(missing)?;
    let found = file.info(name).ok_or_else(missing)?;
    if expected.shape != found.shape {
        return Ok(f64::INFINITY);
    }
    let num_rows = expected.shape.first().copied().unwrap_or(1);
    let columns = expected.num_elements().unwrap_or(0) / num_rows.max(1);
    let step = (STEP / columns.max(1)).max(1);
    let (mut error, mut size) = (0f64, 0f64);
    for start in (0..num_rows).step_by(step) {
        let rows = start..(start + step).min(num_rows);
        let values = |source: &dyn TensorSource, dtype| {
            floats(&source.rows(name, rows.clone())?, dtype).ok_or_else(missing)
        };
        let expected = values(original, expected.dtype)?;
        let found = values(file, found.dtype)?;
        let squares = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>();
        let pairs = expected.iter().zip(&found);
        error += squares(&mut pairs.map(|(a, b)| f64::from(*a) - f64::from(*b)));
        size += squares(&mut expected.iter().map(|value| f64::from(*value)));
    }
    Ok(if size > 0.0 {
        (error / size).sqrt()
    } else {
        error.sqrt()
    })
}
