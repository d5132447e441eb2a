//! The keys and values of every position so far, layer by layer.

use std::fmt;

use crate::backend::{Backend, BackendError, HeadShape};

/// The number format of cached keys and values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KvDtype {
    /// IEEE 754 single precision, four bytes a number: keys and values as they were computed.
    F32,
    /// IEEE 754 halves: half the memory and half the reading. Keys and values are rounded to 11 bits, a relative error
    /// of up to 2^-11; a magnitude above 65504 becomes that.
    F16,
    /// FP8 E4M3, a byte a number: a quarter of the memory. Keys and values are rounded to 4 bits, a relative error of up
    /// to 2^-4 (below 2^-6, an absolute one of up to 2^-10); a magnitude above 448 becomes that.
    F8,
}

impl KvDtype {
    #[cfg(test)]
    pub(crate) const ALL: [Self; 3] = [Self::F32, Self::F16, Self::F8];

    /// Returns the name: `f32`, `f16` or `f8`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::F8 => "f8",
        }
    }

    /// Returns what to take where nothing is said: f32 beside weights of f32, so that nothing is lost; f16 beside narrower
    /// ones, which lost more.
    pub(crate) fn beside(weights: &str) -> Self {
        if weights == "f32" {
            Self::F32
        } else {
            Self::F16
        }
    }

    /// Returns the bytes of a number.
    pub(crate) fn width(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
            Self::F8 => 1,
        }
    }
}

impl fmt::Display for KvDtype {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
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
