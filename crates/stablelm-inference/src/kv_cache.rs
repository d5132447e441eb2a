//! The keys and values of every position so far, layer by layer.

use crate::backend::{Backend, BackendError, HeadShape};

/// The number format of cached keys and values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KvDtype {
    F32,
    /// IEEE 754 halves: half the memory and half the reading. Keys and values are rounded to 11 bits, a relative error
    /// of up to 2^-12; a magnitude above 65504 becomes that.
    F16,
}

impl KvDtype {
    /// Returns f32 beside weights of f32, so that nothing is lost; f16 beside narrower ones, which lost more.
    pub(crate) fn beside(weights: &str) -> Self {
        if weights == "f32" {
            Self::F32
        } else {
            Self::F16
        }
    }
}

/// What a sequence has left behind in each layer.
pub(crate) struct KvCache<B: Backend> {
    pub(crate) layers: Vec<B::LayerCache>,
    /// Number of positions held.
    pub(crate) len: usize,
}

impl<B: Backend> KvCache<B> {
    /// Returns an empty cache; more than `reserve` positions make it grow, in steps that double.
    pub(crate) fn new(
        backend: &B,
        num_layers: usize,
        shape: HeadShape,
        dtype: KvDtype,
        reserve: usize,
    ) -> Result<Self, BackendError> {
        let layer = |_| backend.new_layer_cache(shape, dtype, reserve);
        let layers = (0..num_layers).map(layer).collect::<Result<_, _>>()?;
        Ok(Self { layers, len: 0 })
    }
}
