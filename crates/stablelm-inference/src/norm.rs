//! Layer normalization: of a whole row, or of each head on its own.

use crate::backend::{Backend, BackendError};

/// Factors and shifts of one normalization.
pub(crate) struct Norm<B: Backend> {
    pub(crate) weight: B::Vector,
    pub(crate) bias: Option<B::Vector>,
    /// How many values are normalized together.
    pub(crate) group: usize,
    pub(crate) epsilon: f64,
}

impl<B: Backend> Norm<B> {
    pub(crate) fn forward(
        &self,
        backend: &B,
        input: &B::Tensor,
    ) -> Result<B::Tensor, BackendError> {
        let bias = self.bias.as_ref();
        backend.normalize(input, &self.weight, bias, self.group, self.epsilon)
    }
}
