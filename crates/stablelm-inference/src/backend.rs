//! The few operations that the decoder needs from a device.
//!
//! The network is written once, over [`Backend`]; a device implements these and knows nothing of layers. Activations
//! are rows of f32, one row a position. Whatever the weights are stored in, sums are made in f32.

use std::io;

use stablelm_model::Blocks;

use crate::kv_cache::KvDtype;
use crate::rotary::Angles;
use crate::stored::{Encoding, StoredMatrix};

/// How attention splits its rows into heads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HeadShape {
    pub(crate) num_heads: usize,
    /// Divides `num_heads`; query head `h` reads key head `h / (num_heads / num_key_value_heads)`.
    pub(crate) num_key_value_heads: usize,
    pub(crate) head_dim: usize,
}

/// The nonlinearities of the MLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nonlinearity {
    Silu,
    Gelu,
    GeluTanh,
}

/// One device's memory and arithmetic.
pub(crate) trait Backend: Send + Sync + 'static {
    /// A weight matrix in its stored dtype, `[out, in]`.
    type Matrix: Send + Sync;
    /// A bias or the factors of a normalization, in f32.
    type Vector: Send + Sync;
    /// Activations: `[positions, width]` in f32.
    type Tensor;
    /// The keys and values of one layer, position after position.
    type LayerCache: Send;

    /// Whether matrices that lie in a file's memory map as they should stay there.
    const USES_FILES_IN_PLACE: bool;

    /// Takes a matrix into the device's memory.
    fn load_matrix(&self, matrix: StoredMatrix) -> Result<Self::Matrix, BackendError>;

    /// Takes a quantized matrix into the device's memory, its weights unchanged.
    fn load_blocks(&self, blocks: &Blocks) -> Result<Self::Matrix, BackendError>;

    /// Quantizes a matrix into the device's memory; its columns are a multiple of the format's block.
    fn quantize(
        &self,
        matrix: &StoredMatrix,
        encoding: Encoding,
    ) -> Result<Self::Matrix, BackendError>;

    /// Returns the bytes that a matrix takes.
    fn byte_len(&self, matrix: &Self::Matrix) -> usize;

    /// Takes a vector into the device's memory.
    fn load_vector(&self, values: Vec<f32>) -> Result<Self::Vector, BackendError>;

    /// Returns the rows of `table` that `ids` name; the caller has checked that they exist.
    fn embed(&self, table: &Self::Matrix, ids: &[u32]) -> Result<Self::Tensor, BackendError>;

    /// Returns `input * transpose(weight) + bias`.
    fn linear(
        &self,
        input: &Self::Tensor,
        weight: &Self::Matrix,
        bias: Option<&Self::Vector>,
    ) -> Result<Self::Tensor, BackendError> {
        let mut products = self.linears(input, &[(weight, bias)])?;
        Ok(products.swap_remove(0))
    }

    /// Returns what [`linear`](Self::linear) gives for each matrix and bias, all made at once.
    fn linears(
        &self,
        input: &Self::Tensor,
        weights: &[(&Self::Matrix, Option<&Self::Vector>)],
    ) -> Result<Vec<Self::Tensor>, BackendError>;

    /// Normalizes each run of `group` values to mean 0 and variance 1, then scales and shifts.
    ///
    /// `weight` and `bias` are as wide as a row; `group` divides it (a row at once, or a head at a time).
    fn normalize(
        &self,
        input: &Self::Tensor,
        weight: &Self::Vector,
        bias: Option<&Self::Vector>,
        group: usize,
        epsilon: f64,
    ) -> Result<Self::Tensor, BackendError>;

    /// Rotates the leading dimensions of each head in place.
    fn rotate(
        &self,
        heads: &mut Self::Tensor,
        head_dim: usize,
        angles: &Angles,
    ) -> Result<(), BackendError>;

    /// Returns an empty cache with room for `reserve` positions; it grows beyond that.
    fn new_layer_cache(
        &self,
        shape: HeadShape,
        dtype: KvDtype,
        reserve: usize,
    ) -> Result<Self::LayerCache, BackendError>;

    /// Appends the keys and values of new positions.
    fn append(
        &self,
        cache: &mut Self::LayerCache,
        keys: &Self::Tensor,
        values: &Self::Tensor,
    ) -> Result<(), BackendError>;

    /// Forgets every position from `len` on; the caller has seen to it that there are as many.
    fn truncate(&self, cache: &mut Self::LayerCache, len: usize);

    /// Returns causal attention of `queries`, the last positions of `cache`, over all of its positions.
    fn attend(
        &self,
        queries: &Self::Tensor,
        cache: &Self::LayerCache,
        shape: HeadShape,
    ) -> Result<Self::Tensor, BackendError>;

    /// Adds `right` to `left`.
    fn add(&self, left: &mut Self::Tensor, right: &Self::Tensor) -> Result<(), BackendError>;

    /// Applies the nonlinearity to each value, and multiplies by the value of `factor` where there is one.
    fn activate(
        &self,
        values: &mut Self::Tensor,
        nonlinearity: Nonlinearity,
        factor: Option<&Self::Tensor>,
    ) -> Result<(), BackendError>;

    /// Appends each row of the keys and values to a cache of its own, and attends over that from the same row of `queries`.
    ///
    /// There are as many rows as caches. Each row gets what [`append`](Self::append) and [`attend`](Self::attend) give it;
    /// where a backend has no better way than these, `None` is returned and nothing was done.
    fn attend_each(
        &self,
        _queries: &Self::Tensor,
        _keys: &Self::Tensor,
        _values: &Self::Tensor,
        _caches: &mut [&mut Self::LayerCache],
        _shape: HeadShape,
    ) -> Result<Option<Self::Tensor>, BackendError> {
        Ok(None)
    }

    /// Returns one row alone.
    fn row(&self, tensor: &Self::Tensor, nth: usize) -> Result<Self::Tensor, BackendError>;

    /// Returns tensors of equal width, one after the other; there is at least one.
    fn stack(&self, tensors: &[Self::Tensor]) -> Result<Self::Tensor, BackendError>;

    /// Copies the values to host memory, row after row.
    fn to_host(&self, tensor: &Self::Tensor) -> Result<Vec<f32>, BackendError>;

    /// Waits until all weights are where they belong, and gives back what loading took.
    fn finish_loading(&self) -> Result<(), BackendError> {
        Ok(())
    }
}

/// A failure of the device or of the tensor library.
///
/// The text is the library's own, without the backtrace that it may carry.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct BackendError {
    message: String,
    #[source]
    source: Option<io::Error>,
    is_device: bool,
}

impl BackendError {
    /// Returns an error of a device that is not the processor.
    pub(crate) fn device(message: String) -> Self {
        Self {
            message,
            source: None,
            is_device: true,
        }
    }

    /// Returns whether the machine's device is to blame, such as one that is out of memory, and not what it was given.
    pub fn is_device(&self) -> bool {
        self.is_device
    }
}

impl From<candle_core::Error> for BackendError {
    fn from(error: candle_core::Error) -> Self {
        match error {
            candle_core::Error::WithBacktrace { inner, .. }
            | candle_core::Error::Context { inner, .. }
            | candle_core::Error::WithPath { inner, .. } => Self::from(*inner),
            candle_core::Error::Io(source) => Self {
                message: "failed to read".to_owned(),
                source: Some(source),
                is_device: false,
            },
            other => Self {
                message: other.to_string(),
                source: None,
                is_device: false,
            },
        }
    }
}
