//! The feed-forward half of a layer: `down(act(up x))`, or `down(act(gate x) * up x)` with a gate.

use crate::backend::{Backend, BackendError, Nonlinearity};

/// A matrix and its bias, if it has one.
pub(crate) struct Linear<B: Backend> {
    pub(crate) weight: B::Matrix,
    pub(crate) bias: Option<B::Vector>,
}

impl<B: Backend> Linear<B> {
    pub(crate) fn forward(
        &self,
        backend: &B,
        input: &B::Tensor,
    ) -> Result<B::Tensor, BackendError> {
        backend.linear(input, &self.weight, self.bias.as_ref())
    }
}

/// Returns what each of several matrices makes of one input.
pub(crate) fn forward_all<B: Backend, const N: usize>(
    backend: &B,
    input: &B::Tensor,
    linears: [&Linear<B>; N],
) -> Result<[B::Tensor; N], BackendError> {
    let weights = linears.map(|linear| (&linear.weight, linear.bias.as_ref()));
    let outputs = backend.linears(input, &weights)?;
    Ok(outputs
        .try_into()
        .unwrap_or_else(|_| unreachable!("each matrix gives one output")))
}

/// One layer's feed-forward network.
pub(crate) struct Mlp<B: Backend> {
    /// StableLM has one, GPT-NeoX does not.
    pub(crate) gate: Option<Linear<B>>,
    pub(crate) up: Linear<B>,
    pub(crate) down: Linear<B>,
    pub(crate) nonlinearity: Nonlinearity,
}

impl<B: Backend> Mlp<B> {
    pub(crate) fn forward(
        &self,
        backend: &B,
        input: &B::Tensor,
    ) -> Result<B::Tensor, BackendError> {
        let (mut inner, factor) = match &self.gate {
            Some(gate) => {
                let [gate, up] = forward_all(backend, input, [gate, &self.up])?;
                (gate, Some(up))
            }
            None => (self.up.forward(backend, input)?, None),
        };
        backend.activate(&mut inner, self.nonlinearity, factor.as_ref())?;
        self.down.forward(backend, &inner)
    }
}
