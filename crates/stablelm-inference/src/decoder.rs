//! The network: embedding, layers, final normalization, head.
//!
//! With `a` attention, `m` the MLP and `n1`, `n2` the two normalizations, a layer is one of
//! - sequential: `x += a(n1 x); x += m(n2 x)`;
//! - parallel, one norm (StableLM 2 12B): `x += a(n1 x) + m(n1 x)`;
//! - parallel, two norms (GPT-NeoX): `x += a(n1 x) + m(n2 x)`.

use crate::attention::Attention;
use crate::backend::{Backend, BackendError, HeadShape};
use crate::kv_cache::{KvCache, KvDtype};
use crate::mlp::Mlp;
use crate::norm::Norm;
use crate::rotary::{Angles, Rotary};

/// How the MLP of a layer stands to its attention.
pub(crate) enum Residual<B: Backend> {
    /// The MLP reads what attention wrote, through its own normalization.
    Sequential(Norm<B>),
    /// Both read the same residual through the same normalization.
    ParallelSharedNorm,
    /// Both read the same residual, the MLP through its own normalization.
    Parallel(Norm<B>),
}

/// One decoder layer.
pub(crate) struct Layer<B: Backend> {
    pub(crate) input_norm: Norm<B>,
    pub(crate) attention: Attention<B>,
    pub(crate) residual: Residual<B>,
    pub(crate) mlp: Mlp<B>,
}

/// A whole network on one device.
pub(crate) struct Decoder<B: Backend> {
    pub(crate) backend: B,
    pub(crate) shape: HeadShape,
    pub(crate) kv_dtype: KvDtype,
    pub(crate) rotary: Rotary,
    pub(crate) embed_tokens: B::Matrix,
    pub(crate) layers: Vec<Layer<B>>,
    pub(crate) final_norm: Norm<B>,
    /// `None` where the head is the embedding matrix.
    pub(crate) lm_head: Option<B::Matrix>,
}

/// Which positions' logits are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rows {
    /// The last position's.
    Last,
    /// Those of every position that is fed.
    All,
}

/// A network of any backend, ready to read sequences.
pub(crate) trait Network: Send + Sync {
    /// Begins a sequence that is expected to reach `reserve` positions.
    fn start(&self, reserve: usize) -> Result<Box<dyn Sequence + '_>, BackendError>;
}

/// One sequence that is being read.
pub(crate) trait Sequence {
    /// Feeds the next tokens and returns the logits asked for, row after row, in f32.
    ///
    /// `ids` are not empty, and name rows of the embedding.
    fn feed(&mut self, ids: &[u32], rows: Rows) -> Result<Vec<f32>, BackendError>;

    /// Forgets every position from `len` on, and what a failed [`feed`](Self::feed) left behind.
    fn truncate(&mut self, len: usize);
}

struct DecoderSequence<'a, B: Backend> {
    decoder: &'a Decoder<B>,
    cache: KvCache<B>,
}

impl<B: Backend> Network for Decoder<B> {
    fn start(&self, reserve: usize) -> Result<Box<dyn Sequence + '_>, BackendError> {
        let layers = self.layers.len();
        let cache = KvCache::new(&self.backend, layers, self.shape, self.kv_dtype, reserve)?;
        Ok(Box::new(DecoderSequence {
            decoder: self,
            cache,
        }))
    }
}

impl<B: Backend> Sequence for DecoderSequence<'_, B> {
    fn feed(&mut self, ids: &[u32], rows: Rows) -> Result<Vec<f32>, BackendError> {
        self.decoder.feed(&mut self.cache, ids, rows)
    }

    fn truncate(&mut self, len: usize) {
        self.decoder.truncate(&mut self.cache, len);
    }
}

impl<B: Backend> Decoder<B> {
    /// Feeds the next tokens of the sequence that `cache` holds, as [`Sequence::feed`] does.
    pub(crate) fn feed(
        &self,
        cache: &mut KvCache<B>,
        ids: &[u32],
        rows: Rows,
    ) -> Result<Vec<f32>, BackendError> {
        let backend = &self.backend;
        let angles = self.rotary.angles(cache.len, ids.len());
        let mut stream = backend.embed(&self.embed_tokens, ids)?;
        for (layer, cache) in self.layers.iter().zip(&mut cache.layers) {
            layer.forward(backend, &mut stream, &angles, cache)?;
        }
        cache.len += ids.len();
        if rows == Rows::Last {
            stream = backend.last_row(&stream)?;
        }
        let normed = self.final_norm.forward(backend, &stream)?;
        let head = self.lm_head.as_ref();
        let head = head.unwrap_or(&self.embed_tokens);
        backend.to_host(&backend.linear(&normed, head, None)?)
    }

    /// Forgets every position of a sequence from `len` on, as [`Sequence::truncate`] does.
    pub(crate) fn truncate(&self, cache: &mut KvCache<B>, len: usize) {
        cache.len = cache.len.min(len);
        for layer in &mut cache.layers {
            self.backend.truncate(layer, cache.len);
        }
    }
}

impl<B: Backend> Layer<B> {
    fn forward(
        &self,
        backend: &B,
        stream: &mut B::Tensor,
        angles: &Angles,
        cache: &mut B::LayerCache,
    ) -> Result<(), BackendError> {
        let normed = self.input_norm.forward(backend, stream)?;
        let attended = self.attention.forward(backend, &normed, angles, cache)?;
        let fed = match &self.residual {
            Residual::Sequential(norm) => {
                backend.add(stream, &attended)?;
                let normed = norm.forward(backend, stream)?;
                return backend.add(stream, &self.mlp.forward(backend, &normed)?);
            }
            Residual::ParallelSharedNorm => self.mlp.forward(backend, &normed)?,
            Residual::Parallel(norm) => {
                let normed = norm.forward(backend, stream)?;
                self.mlp.forward(backend, &normed)?
            }
        };
        backend.add(stream, &attended)?;
        backend.add(stream, &fed)
    }
}
