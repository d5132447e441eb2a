//! One PyTorch file: a container, the tensors its pickle describes, and their bytes.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use crate::mapped::MappedFile;
use crate::neox::archive::{Archive, ArchiveError};
use crate::neox::pickle::{Pickle, PickleError, TensorView, Value, ValueId, parse};

/// Why a PyTorch file could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TorchFileError {
    /// The container is broken or of a kind that is not read.
    #[error("failed to read the container")]
    Archive(#[from] ArchiveError),
    /// The pickle was refused or is broken.
    #[error("failed to read the pickle")]
    Pickle(#[from] PickleError),
    /// The pickle is not a dictionary of tensors.
    #[error("the file does not hold {expected}")]
    Content {
        /// What it should hold.
        expected: &'static str,
    },
    /// A tensor is named twice.
    #[error("tensor `{tensor}` is stored twice")]
    DuplicateTensor {
        /// The tensor.
        tensor: String,
    },
    /// A storage has fewer bytes than the tensor's dtype and length need.
    #[error("storage `data/{storage}` of tensor `{tensor}` has {found} bytes, expected {expected}")]
    ShortStorage {
        /// The tensor.
        tensor: String,
        /// The storage's key.
        storage: String,
        /// Bytes that the storage is said to have.
        expected: u64,
        /// Bytes that it has.
        found: u64,
    },
    /// Shape, strides and offset point outside the storage, or repeat its elements.
    #[error(
        "tensor `{tensor}` with shape {shape:?}, strides {strides:?} and offset {offset} does not fit its storage of \
         {num_elements} elements"
    )]
    View {
        /// The tensor.
        tensor: String,
        /// Its sizes.
        shape: Vec<usize>,
        /// Elements between neighbors, for each dimension.
        strides: Vec<usize>,
        /// Its first element.
        offset: usize,
        /// The storage's length.
        num_elements: usize,
    },
}

/// An open PyTorch file.
#[derive(Debug)]
pub(crate) struct TorchFile {
    path: PathBuf,
    archive: Archive,
}

impl TorchFile {
    pub(crate) fn new(path: &Path, file: MappedFile) -> Result<Self, TorchFileError> {
        Ok(Self {
            path: path.to_owned(),
            archive: Archive::new(path, file)?,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the file is of the time before PyTorch 1.6.
    pub(crate) fn is_legacy(&self) -> bool {
        self.archive.is_legacy()
    }

    /// Reads the description of the contents; executes nothing.
    pub(crate) fn pickle(&self) -> Result<Pickle<'_>, TorchFileError> {
        Ok(parse(self.archive.record("data.pkl")?, &self.path)?)
    }

    /// Returns the tensors of a dictionary by name, each checked against its storage's size.
    pub(crate) fn tensors(
        &self,
        pickle: &Pickle<'_>,
        dict: ValueId,
    ) -> Result<Vec<(String, TensorView)>, TorchFileError> {
        let content = TorchFileError::Content {
            expected: "a dictionary of tensors by name",
        };
        let Some(entries) = pickle.entries(dict) else {
            return Err(content);
        };
        let mut tensors = Vec::with_capacity(entries.len());
        let mut names = std::collections::HashSet::with_capacity(entries.len());
        for &(key, value) in entries {
            let Some(name) = pickle.text(key) else {
                return Err(content);
            };
            match pickle.value(value) {
                Value::Tensor(view) => {
                    if !names.insert(name) {
                        return Err(TorchFileError::DuplicateTensor {
                            tensor: name.to_owned(),
                        });
                    }
                    self.check(name, view)?;
                    tensors.push((name.to_owned(), view.clone()));
                }
                // `_extra_state` of some modules is None.
                Value::None => {}
                _ => return Err(content),
            }
        }
        Ok(tensors)
    }

    /// Holds a tensor against the size of its storage.
    pub(crate) fn check(&self, name: &str, view: &TensorView) -> Result<(), TorchFileError> {
        let found = self.archive.record_len(&record_name(view))?;
        let expected = view.storage_len.checked_mul(view.dtype.width());
        if expected.is_none_or(|expected| found < expected) {
            return Err(TorchFileError::ShortStorage {
                tensor: name.to_owned(),
                storage: view.storage.clone(),
                expected: (view.storage_len as u64).saturating_mul(view.dtype.width() as u64),
                found: found as u64,
            });
        }
        if fits(view) {
            Ok(())
        } else {
            Err(TorchFileError::View {
                tensor: name.to_owned(),
                shape: view.shape.clone(),
                strides: view.strides.clone(),
                offset: view.offset,
                num_elements: view.storage_len,
            })
        }
    }

    pub(crate) fn mapped(&self) -> &MappedFile {
        self.archive.mapped()
    }

    /// Returns a record of the container for a use of its first `end` bytes, see [`Archive::record_for`].
    pub(crate) fn record_for(&self, name: &str, end: usize) -> Result<&[u8], TorchFileError> {
        Ok(self.archive.record_for(name, end)?)
    }

    /// Returns a checked tensor's bytes in C order: borrowed when they lie so, gathered otherwise.
    pub(crate) fn read(&self, view: &TensorView) -> Result<Cow<'_, [u8]>, TorchFileError> {
        let storage = self.archive.record(&record_name(view))?;
        let width = view.dtype.width();
        let num_elements: usize = view.shape.iter().product();
        let start = view.offset * width;
        if is_contiguous(view) {
            return Ok(Cow::Borrowed(&storage[start..start + num_elements * width]));
        }
        let mut output = Vec::with_capacity(num_elements * width);
        let mut place = vec![0; view.shape.len()];
        for _ in 0..num_elements {
            let element: usize = place
                .iter()
                .zip(&view.strides)
                .map(|(i, stride)| i * stride)
                .sum();
            let at = start + element * width;
            output.extend_from_slice(&storage[at..at + width]);
            advance(&mut place, &view.shape);
        }
        Ok(Cow::Owned(output))
    }
}

/// Returns the name of the record that holds a tensor's elements.
pub(crate) fn record_name(view: &TensorView) -> String {
    format!("data/{}", view.storage)
}

/// Whether every element lies in the storage and none is counted twice over: that bounds what a tensor can cost.
fn fits(view: &TensorView) -> bool {
    let mut num_elements = 1usize;
    let mut last = view.offset;
    for (&size, &stride) in view.shape.iter().zip(&view.strides) {
        if size == 0 {
            return view.offset <= view.storage_len;
        }
        let Some(product) = num_elements.checked_mul(size) else {
            return false;
        };
        let Some(end) = (size - 1)
            .checked_mul(stride)
            .and_then(|more| last.checked_add(more))
        else {
            return false;
        };
        (num_elements, last) = (product, end);
    }
    last < view.storage_len && num_elements <= view.storage_len
}

fn is_contiguous(view: &TensorView) -> bool {
    if view.shape.contains(&0) {
        return true;
    }
    let mut expected = 1;
    for (&size, &stride) in view.shape.iter().zip(&view.strides).rev() {
        if size != 1 && stride != expected {
            return false;
        }
        expected *= size;
    }
    true
}

/// Moves to the next element in C order.
fn advance(place: &mut [usize], shape: &[usize]) {
    for (index, &size) in place.iter_mut().zip(shape).rev() {
        *index += 1;
        if *index < size {
            return;
        }
        *index = 0;
    }
}

#[cfg(test)]
mod tests {
    use stablelm_model::Dtype;

    use super::*;

    #[track_caller]
    fn check(shape: &[usize], strides: &[usize], offset: usize, expected: (bool, bool)) {
        let view = TensorView {
            storage: "0".to_owned(),
            dtype: Dtype::F32,
            storage_len: 12,
            offset,
            shape: shape.to_vec(),
            strides: strides.to_vec(),
        };
        assert_eq!(
            (fits(&view), fits(&view) && is_contiguous(&view)),
            expected,
            "{view:?}"
        );
    }

    #[test]
    fn views_must_lie_inside_their_storage() {
        check(&[3, 4], &[4, 1], 0, (true, true));
        check(&[3, 4], &[1, 3], 0, (true, false));
        check(&[3, 3], &[4, 1], 1, (true, false));
        check(&[1, 12], &[77, 1], 0, (true, true));
        check(&[], &[], 11, (true, true));
        check(&[], &[], 12, (false, false));
        check(&[3, 4], &[4, 1], 1, (false, false));
        check(&[0, 4], &[4, 1], 12, (true, true));
        check(&[usize::MAX, 2], &[1, 1], 0, (false, false));
        check(&[2, 2], &[usize::MAX, 1], 0, (false, false));
        // One element shown a thousand times would cost more than the file holds.
        check(&[1000], &[0], 0, (false, false));
    }
}
