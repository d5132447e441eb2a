//! The keys and values of every position so far, layer by layer.

use crate::backend::{Backend, BackendError, HeadShape};

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
        reserve: usize,
    ) -> Result<Self, BackendError> {
        let layer = |_| backend.new_layer_cache(shape, reserve);
        let layers = (0..num_layers).map(layer).collect::<Result<_, _>>()?;
        Ok(Self { layers, len: 0 })
    }
}
