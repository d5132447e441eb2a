//! Greedy decoding: the device chooses the likeliest token and goes on with it, and the host reads tokens one step late.
//!
//! Nothing waits for the host then, and no logits are copied: while the host looks at a token, the step after it runs. A
//! step that turns out to be too much wrote one position of the cache, which the next one overwrites.

use std::ops::ControlFlow;
use std::sync::Arc;

use cudarc::driver::{CudaEvent, CudaSlice, CudaStream, PinnedHostSlice};

use crate::backend::BackendError;
use crate::cuda::cache::LayerCache;
use crate::cuda::decode::Step;
use crate::cuda::driver::failed;
use crate::cuda::kernels::{self, Grid};
use crate::cuda::{Cuda, THREADS, int};
use crate::decoder::{Decoder, Likeliest};

/// Blocks that share the logits; the last of them has a thread for each.
const BLOCKS: u32 = 64;

/// Where the device leaves what it chose, and the way of that to the host.
pub(super) struct Choice {
    chosen: CudaSlice<i32>,
    partial: CudaSlice<f32>,
    finished: CudaSlice<u32>,
    /// For every other step.
    on_host: [PinnedHostSlice<i32>; 2],
    copied: [CudaEvent; 2],
}

impl Choice {
    pub(super) fn new(backend: &Cuda) -> Result<Self, BackendError> {
        let make = |error| failed("prepare for decoding", error);
        // SAFETY: the device writes it before the host reads it.
        let pinned = || unsafe { backend.context.alloc_pinned_with_flags(1, 0) }.map_err(make);
        let event = || backend.context.new_event(None).map_err(make);
        Ok(Self {
            chosen: backend.zeros(1)?,
            partial: backend.zeros(3 * BLOCKS as usize)?,
            finished: backend.zeros(1)?,
            on_host: [pinned()?, pinned()?],
            copied: [event()?, event()?],
        })
    }

    /// Queues the choice after the head.
    pub(super) fn queue(
        &self,
        step: &Step,
        decoder: &Decoder<Cuda>,
        choosable: usize,
    ) -> Result<(), BackendError> {
        let arguments = [
            step.at(&self.chosen),
            step.at(&step.state),
            step.at(&step.logits),
            step.at(&self.partial),
            step.at(&self.finished),
            int(step.logits.len()),
            int(choosable.min(step.logits.len())),
        ];
        let grid = Grid::new((BLOCKS, 1), THREADS);
        // SAFETY: there are as many logits as given, and three partial results for each block.
        unsafe { step.launch(decoder, &kernels::DECODE_CHOOSE, "", grid, &arguments) }
    }

    fn copy(&mut self, stream: &Arc<CudaStream>, turn: usize) -> Result<(), BackendError> {
        let copy = |error| failed("copy a token", error);
        let place = &mut self.on_host[turn];
        stream.memcpy_dtoh(&self.chosen, place).map_err(copy)?;
        self.copied[turn].record(stream).map_err(copy)
    }

    /// Waits for a token; nothing where there was none to choose.
    fn wait(&self, turn: usize) -> Result<Option<u32>, BackendError> {
        let wait = |error| failed("decode a token", error);
        self.copied[turn].synchronize().map_err(wait)?;
        let chosen = self.on_host[turn].as_slice().map_err(wait)?;
        Ok(u32::try_from(chosen[0]).ok())
    }
}

impl Step {
    /// Feeds tokens as [`Sequence::feed_likeliest`](crate::decoder::Sequence::feed_likeliest) does, from `position` on;
    /// there is room for `likeliest.most` of them.
    pub(super) fn run_likeliest(
        &mut self,
        decoder: &Decoder<Cuda>,
        caches: &[LayerCache],
        position: usize,
        likeliest: Likeliest,
        on_token: &mut dyn FnMut(Option<u32>) -> ControlFlow<()>,
    ) -> Result<usize, BackendError> {
        self.set(decoder, caches, likeliest.first, position)?;
        let given = self.run_ahead(decoder, caches, likeliest, on_token);
        // The step that nobody waits for, or what an error left behind, may still run.
        let waited = self.stream.synchronize();
        waited.map_err(|error| failed("decode a token", error))?;
        given
    }

    fn run_ahead(
        &mut self,
        decoder: &Decoder<Cuda>,
        caches: &[LayerCache],
        likeliest: Likeliest,
        on_token: &mut dyn FnMut(Option<u32>) -> ControlFlow<()>,
    ) -> Result<usize, BackendError> {
        let stream = Arc::clone(&self.stream);
        let mut queued = 0;
        for given in 0..likeliest.most {
            while queued < likeliest.most.min(given + 2) {
                self.queue_or_replay(decoder, caches, Some(likeliest.choosable))?;
                self.choice.copy(&stream, queued % 2)?;
                queued += 1;
            }
            let token = self.choice.wait(given % 2)?;
            if on_token(token).is_break() || token.is_none() {
                return Ok(given + 1);
            }
        }
        Ok(likeliest.most)
    }
}
