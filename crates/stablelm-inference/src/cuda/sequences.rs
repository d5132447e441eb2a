//! Sequences side by side whose tokens take the fused kernels (`many.rs`), up to 16 in one step.

use crate::backend::BackendError;
use crate::cuda::Cuda;
use crate::cuda::many::{MOST, ManyStep};
use crate::decoder::{Decoder, Rows, Sequences, of};
use crate::kv_cache::KvCache;

/// More sequences than this are fed as on any backend: each step of [`MOST`] reads all weights.
const MOST_IN_STEPS: usize = 4 * MOST;

/// Sequences of one network.
pub(super) struct CudaSequences<'a> {
    decoder: &'a Decoder<Cuda>,
    caches: Vec<KvCache<Cuda>>,
    /// Made with the first tokens that are fed side by side.
    step: Option<ManyStep>,
    /// Whether a cache was made or has grown on the device's stream, and nobody has waited for that.
    has_grown: bool,
}

impl<'a> CudaSequences<'a> {
    pub(super) fn new(decoder: &'a Decoder<Cuda>) -> Self {
        Self {
            decoder,
            caches: Vec::new(),
            step: None,
            has_grown: false,
        }
    }

    /// Makes room for a token of each of some sequences, and feeds them with `run`, as many at a time as a step takes.
    fn feed_each<T>(
        &mut self,
        tokens: &[(usize, u32)],
        mut run: impl FnMut(&mut ManyStep, &[&mut KvCache<Cuda>], &[u32], &mut Vec<T>) -> Outcome,
    ) -> Result<Vec<T>, BackendError> {
        let mut caches = of(&mut self.caches, tokens);
        for layer in caches.iter_mut().flat_map(|cache| &mut cache.layers) {
            if layer.len == layer.capacity {
                self.has_grown = true;
                layer.reserve(layer.len + 1)?;
            }
        }
        if self.has_grown {
            self.decoder.backend.wait()?;
            self.has_grown = false;
        }
        if self.step.is_none() {
            self.step = Some(ManyStep::new(self.decoder)?);
        }
        let step = self.step.as_mut().expect("it was made above");
        let ids: Vec<u32> = tokens.iter().map(|(_, id)| *id).collect();
        let mut found = Vec::new();
        for (caches, ids) in caches.chunks(MOST).zip(ids.chunks(MOST)) {
            run(step, caches, ids, &mut found)?;
        }
        // Only now: after an error no sequence has read its token.
        for cache in caches {
            cache.len += 1;
            for layer in &mut cache.layers {
                layer.len = cache.len;
            }
        }
        Ok(found)
    }
}

type Outcome = Result<(), BackendError>;

impl Sequences for CudaSequences<'_> {
    fn begin(&mut self, reserve: usize) -> Result<(), BackendError> {
        self.has_grown = true;
        let cache = self.decoder.new_cache(reserve)?;
        self.caches.push(cache);
        Ok(())
    }

    fn feed(&mut self, nth: usize, ids: &[u32], rows: Rows) -> Result<Vec<f32>, BackendError> {
        self.decoder.feed(&mut self.caches[nth], ids, rows)
    }

    fn step(&mut self, tokens: &[(usize, u32)]) -> Result<Vec<f32>, BackendError> {
        let decoder = self.decoder;
        if tokens.len() > MOST_IN_STEPS {
            let ids: Vec<u32> = tokens.iter().map(|(_, id)| *id).collect();
            return decoder.step(&mut of(&mut self.caches, tokens), &ids);
        }
        self.feed_each(tokens, |step, caches, ids, logits| {
            step.run(decoder, caches, ids, logits)
        })
    }

    fn step_likeliest(
        &mut self,
        tokens: &[(usize, u32)],
        choosable: usize,
    ) -> Result<Option<Vec<Option<u32>>>, BackendError> {
        let decoder = self.decoder;
        if tokens.len() > MOST_IN_STEPS {
            return Ok(None);
        }
        let chosen = self.feed_each(tokens, |step, caches, ids, chosen| {
            step.run_likeliest(decoder, caches, ids, choosable, chosen)
        });
        chosen.map(Some)
    }

    fn truncate(&mut self, nth: usize, len: usize) {
        self.decoder.truncate(&mut self.caches[nth], len);
    }
}
