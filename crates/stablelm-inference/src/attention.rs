//! The attention half of a layer: project, normalize per head, rotate, remember, attend, project.

use crate::backend::{Backend, BackendError, HeadShape};
use crate::mlp::{Linear, forward_all};
use crate::norm::Norm;
use crate::rotary::Angles;

/// One layer's attention.
pub(crate) struct Attention<B: Backend> {
    pub(crate) shape: HeadShape,
    pub(crate) query: Linear<B>,
    pub(crate) key: Linear<B>,
    pub(crate) value: Linear<B>,
    pub(crate) output: Linear<B>,
    /// StableLM 2 12B normalizes queries and keys head by head.
    pub(crate) query_norm: Option<Norm<B>>,
    pub(crate) key_norm: Option<Norm<B>>,
}

impl<B: Backend> Attention<B> {
    /// Returns the attention of new positions over themselves and all that their cache holds, which they join.
    ///
    /// All are of one sequence where there is one cache; else each is of its own.
    pub(crate) fn forward(
        &self,
        backend: &B,
        input: &B::Tensor,
        angles: &Angles,
        caches: &mut [&mut B::LayerCache],
    ) -> Result<B::Tensor, BackendError> {
        let head_dim = self.shape.head_dim;
        let projections = [&self.query, &self.key, &self.value];
        let [queries, keys, values] = forward_all(backend, input, projections)?;
        let heads = |projected: B::Tensor, norm: Option<&Norm<B>>| {
            let mut heads = match norm {
                Some(norm) => norm.forward(backend, &projected)?,
                None => projected,
            };
            backend.rotate(&mut heads, head_dim, angles)?;
            Ok::<_, BackendError>(heads)
        };
        let queries = heads(queries, self.query_norm.as_ref())?;
        let keys = heads(keys, self.key_norm.as_ref())?;
        let attended = match caches {
            [cache] => {
                backend.append(cache, &keys, &values)?;
                backend.attend(&queries, cache, self.shape)?
            }
            caches => match backend.attend_each(&queries, &keys, &values, caches, self.shape)? {
                Some(attended) => attended,
                None => self.attend_one_by_one(backend, &queries, &keys, &values, caches)?,
            },
        };
        self.output.forward(backend, &attended)
    }

    /// Does what [`Backend::attend_each`] does with the other operations.
    fn attend_one_by_one(
        &self,
        backend: &B,
        queries: &B::Tensor,
        keys: &B::Tensor,
        values: &B::Tensor,
        caches: &mut [&mut B::LayerCache],
    ) -> Result<B::Tensor, BackendError> {
        let mut attended = Vec::with_capacity(caches.len());
        for (nth, cache) in caches.iter_mut().enumerate() {
            backend.append(cache, &backend.row(keys, nth)?, &backend.row(values, nth)?)?;
            attended.push(backend.attend(&backend.row(queries, nth)?, cache, self.shape)?);
        }
        backend.stack(&attended)
    }
}
