//! Where tensors come from, without knowing which file format holds them.

use std::borrow::Cow;
use std::error::Error;
use std::ops::Range;

use bytes::Bytes;

use crate::blocks::Blocks;
use crate::dtype::Dtype;

/// What is known of a tensor before its bytes are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// The number format of the bytes.
    pub dtype: Dtype,
    /// The sizes, outermost first; empty for a scalar.
    pub shape: Vec<usize>,
}

impl TensorInfo {
    /// Returns the number of elements, or `None` when it does not fit `usize`.
    pub fn num_elements(&self) -> Option<usize> {
        self.shape
            .iter()
            .try_fold(1usize, |product, &size| product.checked_mul(size))
    }

    /// Returns the number of bytes, or `None` when it does not fit `usize`.
    pub fn byte_len(&self) -> Option<usize> {
        self.num_elements()?.checked_mul(self.dtype.width())
    }
}

/// A set of named tensors: a safetensors folder, a GPT-NeoX checkpoint, a GGUF file.
///
/// Names are those of Hugging Face transformers, whatever the file calls them; that is what lets two formats be
/// compared and any of them be run. Bytes are little endian, in C order, without holes.
pub trait TensorSource: Send + Sync {
    /// Returns every tensor's name, sorted.
    fn names(&self) -> Vec<&str>;

    /// Returns dtype and shape of a tensor, or `None` when there is none of that name.
    fn info(&self, name: &str) -> Option<TensorInfo>;

    /// Returns a tensor's bytes: borrowed where the file holds them as they are, owned where they had to be put
    /// together (ranks merged, strides removed).
    fn bytes(&self, name: &str) -> Result<Cow<'_, [u8]>, TensorSourceError>;

    /// Returns some rows of a tensor, which are all elements with those first indices.
    ///
    /// A source that puts tensors together does so for these rows only. Panics when there are not as many rows.
    fn rows(&self, name: &str, rows: Range<usize>) -> Result<Cow<'_, [u8]>, TensorSourceError> {
        let bytes = self.bytes(name)?;
        let shape = self.info(name).map(|info| info.shape);
        let num_rows = shape.and_then(|shape| shape.first().copied()).unwrap_or(1);
        let row_len = bytes.len() / num_rows.max(1);
        let range = rows.start * row_len..rows.end * row_len;
        Ok(match bytes {
            Cow::Borrowed(bytes) => Cow::Borrowed(&bytes[range]),
            Cow::Owned(bytes) => Cow::Owned(bytes[range].to_vec()),
        })
    }

    /// Returns the same bytes with a life of their own: a share of the memory map where [`bytes`](Self::bytes) borrows
    /// from one, so that weights can be used where the file holds them.
    fn shared(&self, name: &str) -> Result<Bytes, TensorSourceError> {
        Ok(Bytes::from(self.bytes(name)?.into_owned()))
    }

    /// Returns a matrix as the quantized blocks in which the file holds it, or `None` where it holds plain numbers.
    ///
    /// [`info`](Self::info) and [`bytes`](Self::bytes) then describe the same matrix as f32.
    fn blocks(&self, name: &str) -> Result<Option<Blocks>, TensorSourceError> {
        let _ = name;
        Ok(None)
    }

    /// Says that a tensor's bytes are not needed any more, so that pages of a memory map can go.
    ///
    /// They can still be read again, from the file.
    fn release(&self, name: &str) {
        let _ = name;
    }
}

/// Why a tensor could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TensorSourceError {
    /// No tensor has this name.
    #[error("there is no tensor `{name}`")]
    Missing {
        /// The name asked for.
        name: String,
    },
    /// The reader failed.
    #[error("failed to read tensor `{name}`")]
    Read {
        /// The name asked for.
        name: String,
        /// What the reader says.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

impl TensorSourceError {
    /// Wraps a reader's own error with the name of the tensor it was reading.
    pub fn read(name: &str, source: impl Error + Send + Sync + 'static) -> Self {
        Self::Read {
            name: name.to_owned(),
            source: Box::new(source),
        }
    }
}
