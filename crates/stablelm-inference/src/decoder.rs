//! The network: embedding, layers, final normalization, head.
//!
//! With `a` attention, `m` the MLP and `n1`, `n2` the two normalizations, a layer is one of
//! - sequential: `x += a(n1 x); x += m(n2 x)`;
//! - parallel, one norm (StableLM 2 12B): `x += a(n1 x) + m(n1 x)`;
//! - parallel, two norms (GPT-NeoX): `x += a(n1 x) + m(n2 x)`.

use std::ops::ControlFlow;

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

/// Positions of a prompt that are fed at a time where a backend asks for nothing else.
pub(crate) const PREFILL_CHUNK: usize = 512;

/// Which positions' logits are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rows {
    /// The last position's.
    Last,
    /// Those of every position that is fed.
    All,
}

/// What is asked of [`Sequence::feed_likeliest`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Likeliest {
    /// The token to begin with.
    pub(crate) first: u32,
    /// Tokens from here on are not chosen.
    pub(crate) choosable: usize,
    /// How many are given at most.
    pub(crate) most: usize,
}

/// A network of any backend, ready to read sequences.
pub(crate) trait Network: Send + Sync {
    /// Begins a sequence that is expected to reach `reserve` positions.
    fn start(&self, reserve: usize) -> Result<Box<dyn Sequence + '_>, BackendError>;

    /// Makes place for sequences that are read side by side.
    fn start_many(&self) -> Box<dyn Sequences + '_>;

    /// Returns how many positions of a prompt are best fed at a time.
    fn prefill_chunk(&self) -> usize {
        PREFILL_CHUNK
    }
}

/// Sequences that are read side by side, counted from 0.
pub(crate) trait Sequences {
    /// Begins one more, that is expected to reach `reserve` positions.
    fn begin(&mut self, reserve: usize) -> Result<(), BackendError>;

    /// Feeds one of them, as [`Sequence::feed`] does.
    fn feed(&mut self, nth: usize, ids: &[u32], rows: Rows) -> Result<Vec<f32>, BackendError>;

    /// Feeds a token to each of some sequences, in their order, and returns the logits after it, row after row.
    ///
    /// After an error none of them has read its token.
    fn step(&mut self, tokens: &[(usize, u32)]) -> Result<Vec<f32>, BackendError>;

    /// Feeds tokens as [`step`](Self::step) does, and returns the likeliest one after each (of equals, the lowest), from
    /// `choosable` on none; `None` in its place says that logits were not finite.
    ///
    /// Where a backend leaves the choice to the caller, nothing is returned and nothing was done.
    fn step_likeliest(
        &mut self,
        _tokens: &[(usize, u32)],
        _choosable: usize,
    ) -> Result<Option<Vec<Option<u32>>>, BackendError> {
        Ok(None)
    }

    /// Forgets every position of a sequence from `len` on, as [`Sequence::truncate`] does.
    fn truncate(&mut self, nth: usize, len: usize);
}

/// One sequence that is being read.
pub(crate) trait Sequence {
    /// Feeds the next tokens and returns the logits asked for, row after row, in f32.
    ///
    /// `ids` are not empty, and name rows of the embedding.
    fn feed(&mut self, ids: &[u32], rows: Rows) -> Result<Vec<f32>, BackendError>;

    /// Feeds a token, then the likeliest one after it (of equals, the lowest), and so on.
    ///
    /// Each of the likeliest is given to `on_token` until that breaks or as many as asked for were given; `None` says that
    /// logits were not finite, and is the last. Returns how many were given, which is how many were fed: the first token,
    /// and all that were given but the last. `None` is returned where a backend leaves the choice to the caller, and has
    /// done nothing.
    fn feed_likeliest(
        &mut self,
        _likeliest: Likeliest,
        _on_token: &mut dyn FnMut(Option<u32>) -> ControlFlow<()>,
    ) -> Result<Option<usize>, BackendError> {
        Ok(None)
    }

    /// Forgets every position from `len` on, and what a failed [`feed`](Self::feed) left behind.
    fn truncate(&mut self, len: usize);
}

struct DecoderSequence<'a, B: Backend> {
    decoder: &'a Decoder<B>,
    cache: KvCache<B>,
}

impl<B: Backend> Network for Decoder<B> {
    fn start(&self, reserve: usize) -> Result<Box<dyn Sequence + '_>, BackendError> {
        let cache = self.new_cache(reserve)?;
        Ok(Box::new(DecoderSequence {
            decoder: self,
            cache,
        }))
    }

    fn start_many(&self) -> Box<dyn Sequences + '_> {
        Box::new(DecoderSequences {
            decoder: self,
            caches: Vec::new(),
        })
    }
}

struct DecoderSequences<'a, B: Backend> {
    decoder: &'a Decoder<B>,
    caches: Vec<KvCache<B>>,
}

impl<B: Backend> Sequences for DecoderSequences<'_, B> {
    fn begin(&mut self, reserve: usize) -> Result<(), BackendError> {
        let cache = self.decoder.new_cache(reserve)?;
        self.caches.push(cache);
        Ok(())
    }

    fn feed(&mut self, nth: usize, ids: &[u32], rows: Rows) -> Result<Vec<f32>, BackendError> {
        self.decoder.feed(&mut self.caches[nth], ids, rows)
    }

    fn step(&mut self, tokens: &[(usize, u32)]) -> Result<Vec<f32>, BackendError> {
        let ids: Vec<u32> = tokens.iter().map(|(_, id)| *id).collect();
        self.decoder.step(&mut of(&mut self.caches, tokens), &ids)
    }

    fn truncate(&mut self, nth: usize, len: usize) {
        self.decoder.truncate(&mut self.caches[nth], len);
    }
}

/// Returns the caches that tokens are for, in their order.
pub(crate) fn of<'a, C>(caches: &'a mut [C], tokens: &[(usize, u32)]) -> Vec<&'a mut C> {
    let mut wanted = tokens.iter().peekable();
    let mut is_wanted = |nth: &usize| wanted.next_if(|(wanted, _)| wanted == nth).is_some();
    let caches = caches.iter_mut().enumerate();
    let caches = caches.filter(|(nth, _)| is_wanted(nth));
    caches.map(|(_, cache)| cache).collect()
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
    /// Returns an empty cache.
    pub(crate) fn new_cache(&self, reserve: usize) -> Result<KvCache<B>, BackendError> {
        let layers = self.layers.len();
        KvCache::new(&self.backend, layers, self.shape, self.kv_dtype, reserve)
    }

    /// Feeds the next tokens of the sequence that `cache` holds, as [`Sequence::feed`] does.
    pub(crate) fn feed(
        &self,
        cache: &mut KvCache<B>,
        ids: &[u32],
        rows: Rows,
    ) -> Result<Vec<f32>, BackendError> {
        let backend = &self.backend;
        let angles = self.rotary.angles(cache.len..cache.len + ids.len());
        let mut stream = backend.embed(&self.embed_tokens, ids)?;
        for (layer, cache) in self.layers.iter().zip(&mut cache.layers) {
            layer.forward(backend, &mut stream, &angles, &mut [cache])?;
        }
        cache.len += ids.len();
        if rows == Rows::Last {
            stream = backend.row(&stream, ids.len() - 1)?;
        }
        self.logits(&stream)
    }

    /// Feeds the next token of each of several sequences, as [`Sequences::step`] does.
    pub(crate) fn step(
        &self,
        caches: &mut [&mut KvCache<B>],
        ids: &[u32],
    ) -> Result<Vec<f32>, BackendError> {
        let logits = self.step_or_stop(caches, ids);
        for cache in caches {
            match logits {
                Ok(_) => cache.len += 1,
                // Some layers may have read the token, and some not.
                Err(_) => self.truncate(cache, cache.len),
            }
        }
        logits
    }

    fn step_or_stop(
        &self,
        caches: &mut [&mut KvCache<B>],
        ids: &[u32],
    ) -> Result<Vec<f32>, BackendError> {
        let backend = &self.backend;
        let angles = self.rotary.angles(caches.iter().map(|cache| cache.len));
        let mut stream = backend.embed(&self.embed_tokens, ids)?;
        for (nth, layer) in self.layers.iter().enumerate() {
            let caches = caches.iter_mut().map(|cache| &mut cache.layers[nth]);
            let mut caches: Vec<&mut B::LayerCache> = caches.collect();
            layer.forward(backend, &mut stream, &angles, &mut caches)?;
        }
        self.logits(&stream)
    }

    fn logits(&self, stream: &B::Tensor) -> Result<Vec<f32>, BackendError> {
        let backend = &self.backend;
        let normed = self.final_norm.forward(backend, stream)?;
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
        caches: &mut [&mut B::LayerCache],
    ) -> Result<(), BackendError> {
        let normed = self.input_norm.forward(backend, stream)?;
        let attended = self.attention.forward(backend, &normed, angles, caches)?;
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
