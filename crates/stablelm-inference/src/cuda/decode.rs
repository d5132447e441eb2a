//! Decoding one token at a time: five launches a layer (`decode_layer.rs`), queued once and replayed as a CUDA graph.
//!
//! Many tokens at once go through the network as on any backend (`decoder.rs`); a single one takes the way of this file,
//! over the same cache. Token and position lie in device memory, so that the graph of one step serves every other, until
//! the cache has to grow and its addresses change. Sums are made in another order than by the kernels for many rows, so
//! the last bits of logits differ.

use std::mem;
use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock};

use cudarc::driver::{CudaSlice, CudaStream, PinnedHostSlice};

use crate::backend::BackendError;
use crate::cuda::cache::LayerCache;
use crate::cuda::decode_layer::LayerStep;
use crate::cuda::driver::failed;
use crate::cuda::graphs::Graphs;
use crate::cuda::greedy::Choice;
use crate::cuda::kernels::{self, Argument, Grid, Kernel};
use crate::cuda::many;
use crate::cuda::matrix::Matrix;
use crate::cuda::sequences::CudaSequences;
use crate::cuda::{Cuda, LARGEST_HEAD, THREADS, address, blocks, int, single};
use crate::decoder::{Decoder, Likeliest, Network, PREFILL_CHUNK, Rows, Sequence, Sequences};
use crate::kv_cache::KvCache;
use crate::norm::Norm;

use Argument::{Float, Int, Pointer, Weight};

/// Into how many parts the positions of the cache are split at most. With tiles of 128 positions, each of 4,096 positions
/// has a block of its own for every head.
pub(super) const SPLITS: usize = 32;

/// The most bytes of shared memory that a block has without asking for more.
const SHARED_BYTES: usize = 48 << 10;

/// The number that says "no nonlinearity" to `decode_up` and `many_multiply`.
pub(super) const LINEAR: i32 = -1;

/// A network on one device, with the fast way for single tokens where the network fits it.
pub(crate) struct CudaNetwork {
    decoder: Decoder<Cuda>,
    is_fused: bool,
    prefill_chunk: OnceLock<usize>,
    /// Whether several sequences take fused kernels as well.
    is_fused_for_many: bool,
}

impl CudaNetwork {
    pub(crate) fn new(decoder: Decoder<Cuda>) -> Self {
        let is_fused = fits(&decoder);
        if !is_fused {
            tracing::debug!(
                "the network does not fit the fused kernels: tokens go one kernel an operation"
            );
        }
        let is_fused_for_many = is_fused && many::fits(&decoder);
        Self {
            decoder,
            is_fused,
            is_fused_for_many,
            prefill_chunk: OnceLock::new(),
        }
    }

    #[cfg(test)]
    pub(super) fn overlap(&self) -> &crate::cuda::overlap::Overlap {
        &self.decoder.backend.overlap
    }
}

/// Returns whether the fused kernels can run a network.
fn fits(decoder: &Decoder<Cuda>) -> bool {
    let shape = decoder.shape;
    let hidden = decoder.embed_tokens.columns;
    // Shared memory holds a row, and a number of each warp.
    let row_fits = hidden * 4 + 512 <= SHARED_BYTES;
    let head_fits = shape.head_dim.is_multiple_of(8) && shape.head_dim <= LARGEST_HEAD;
    let gates_match = decoder.layers.iter().all(|layer| {
        let gate = layer.mlp.gate.as_ref();
        gate.is_none_or(|gate| gate.weight.format == layer.mlp.up.weight.format)
    });
    let norms_match = decoder.layers.iter().all(|layer| {
        let attention = &layer.attention;
        attention.query_norm.is_some() == attention.key_norm.is_some()
    });
    row_fits && head_fits && gates_match && norms_match
}

impl Network for CudaNetwork {
    fn start(&self, reserve: usize) -> Result<Box<dyn Sequence + '_>, BackendError> {
        if !self.is_fused {
            return self.decoder.start(reserve);
        }
        Ok(Box::new(CudaSequence {
            cache: self.decoder.new_cache(reserve)?,
            decoder: &self.decoder,
            step: None,
        }))
    }

    fn start_many(&self) -> Box<dyn Sequences + '_> {
        if self.is_fused_for_many {
            Box::new(CudaSequences::new(&self.decoder))
        } else {
            self.decoder.start_many()
        }
    }

    fn prefill_chunk(&self) -> usize {
        *self
            .prefill_chunk
            .get_or_init(|| prefill_chunk(&self.decoder))
    }
}

/// Positions of a prompt fed at a time where memory allows: as many as give each multiprocessor of the largest devices tiles
/// of every matrix.
const LARGE_PREFILL_CHUNK: usize = 2048;

/// Returns how many positions of a prompt to feed at a time: many, if their activations take a quarter of what is free.
fn prefill_chunk(decoder: &Decoder<Cuda>) -> usize {
    let inner = decoder.layers.iter().map(|layer| layer.mlp.up.weight.rows);
    // The residual stream, its normalization, queries, keys, values and what is rounded of them; gate, up and their product.
    let numbers = 6 * decoder.embed_tokens.columns + 3 * inner.max().unwrap_or(0);
    let needed = LARGE_PREFILL_CHUNK * numbers * size_of::<f32>();
    match decoder.backend.context.mem_get_info() {
        Ok((free, _)) if needed <= free / 4 => LARGE_PREFILL_CHUNK,
        _ => PREFILL_CHUNK,
    }
}

/// A sequence whose single tokens take the fused kernels.
struct CudaSequence<'a> {
    decoder: &'a Decoder<Cuda>,
    cache: KvCache<Cuda>,
    /// Made with the first single token.
    step: Option<Step>,
}

impl Sequence for CudaSequence<'_> {
    fn feed(&mut self, ids: &[u32], rows: Rows) -> Result<Vec<f32>, BackendError> {
        match ids {
            [id] => self.decode(*id),
            _ => self.decoder.feed(&mut self.cache, ids, rows),
        }
    }

    fn feed_likeliest(
        &mut self,
        likeliest: Likeliest,
        on_token: &mut dyn FnMut(Option<u32>) -> ControlFlow<()>,
    ) -> Result<Option<usize>, BackendError> {
        let position = self.cache.len;
        self.prepare(position + 1)?;
        let (decoder, layers) = (self.decoder, &self.cache.layers);
        let step = self.step.as_mut().expect("it was prepared");
        // When the cache is full, it grows and another call goes on.
        let most = likeliest.most.min(step.capacity - position);
        let likeliest = Likeliest { most, ..likeliest };
        let given = step.run_likeliest(decoder, layers, position, likeliest, on_token)?;
        self.set_len(position + given);
        Ok(Some(given))
    }

    fn truncate(&mut self, len: usize) {
        self.decoder.truncate(&mut self.cache, len);
    }
}

impl CudaSequence<'_> {
    fn decode(&mut self, id: u32) -> Result<Vec<f32>, BackendError> {
        let position = self.cache.len;
        self.prepare(position + 1)?;
        let step = self.step.as_mut().expect("it was prepared");
        let logits = step.run(self.decoder, &self.cache.layers, id, position)?;
        self.set_len(position + 1);
        Ok(logits)
    }

    /// Makes room for `len` positions, and a step that writes there.
    fn prepare(&mut self, len: usize) -> Result<(), BackendError> {
        for layer in &mut self.cache.layers {
            layer.reserve(len)?;
        }
        let capacity = self.cache.layers.first().map_or(0, |layer| layer.capacity);
        // When the cache has grown, the old graphs write to where it was.
        if self
            .step
            .as_ref()
            .is_none_or(|step| step.capacity != capacity)
        {
            self.step = Some(Step::new(self.decoder, capacity)?);
        }
        Ok(())
    }

    fn set_len(&mut self, len: usize) {
        for layer in &mut self.cache.layers {
            layer.len = len;
        }
        self.cache.len = len;
    }
}

/// What a step computes in, and the graphs of it.
pub(super) struct Step {
    /// Positions that the cache has room for.
    capacity: usize,
    pub(super) stream: Arc<CudaStream>,
    /// The token and its position.
    pub(super) state: CudaSlice<i32>,
    pub(super) cos: CudaSlice<f32>,
    pub(super) sin: CudaSlice<f32>,
    pub(super) residual: CudaSlice<f32>,
    pub(super) queries: CudaSlice<f32>,
    pub(super) raw_keys: CudaSlice<f32>,
    pub(super) attended: CudaSlice<f32>,
    pub(super) partial: CudaSlice<f32>,
    pub(super) finished: CudaSlice<u32>,
    pub(super) inner: CudaSlice<f32>,
    pub(super) logits: CudaSlice<f32>,
    on_host: PinnedHostSlice<f32>,
    pub(super) choice: Choice,
    /// Whether kernels begin before those that they follow have ended.
    overlaps: bool,
    /// Of steps without a choice at their end, or with one among so many tokens.
    graphs: Graphs<Option<usize>>,
}

impl Step {
    fn new(decoder: &Decoder<Cuda>, capacity: usize) -> Result<Self, BackendError> {
        let (backend, shape) = (&decoder.backend, decoder.shape);
        let make = |error| failed("prepare for decoding", error);
        let stream = backend.context.new_stream().map_err(make)?;
        let angles = decoder.rotary.angles(0..capacity);
        let vocabulary = head(decoder).rows;
        let inner = decoder.layers.iter().map(|layer| layer.mlp.up.weight.rows);
        // SAFETY: the device writes all of it before the host reads it.
        let on_host = unsafe { backend.context.alloc_pinned_with_flags(vocabulary, 0) };
        let step = Self {
            capacity,
            stream,
            state: backend.zeros(2)?,
            cos: sent_or_one(backend, &angles.cos)?,
            sin: sent_or_one(backend, &angles.sin)?,
            residual: backend.zeros(decoder.embed_tokens.columns)?,
            queries: backend.zeros(shape.num_heads * shape.head_dim)?,
            raw_keys: backend.zeros(shape.num_key_value_heads * shape.head_dim)?,
            attended: backend.zeros(shape.num_heads * shape.head_dim)?,
            partial: backend.zeros(shape.num_heads * SPLITS * (shape.head_dim + 2))?,
            finished: backend.zeros(shape.num_heads)?,
            inner: backend.zeros(inner.max().unwrap_or(1))?,
            logits: backend.zeros(vocabulary)?,
            on_host: on_host.map_err(make)?,
            choice: Choice::new(backend)?,
            overlaps: false,
            graphs: Graphs::default(),
        };
        // What is queued on the device's stream, the growing of the cache included, must be done before another reads it.
        backend.wait()?;
        Ok(step)
    }

    /// Feeds one token, and waits for its logits.
    fn run(
        &mut self,
        decoder: &Decoder<Cuda>,
        caches: &[LayerCache],
        id: u32,
        position: usize,
    ) -> Result<Vec<f32>, BackendError> {
        self.set(decoder, caches, id, position)?;
        self.queue_or_replay(decoder, caches, None)?;
        self.read_logits()
    }

    fn read_logits(&mut self) -> Result<Vec<f32>, BackendError> {
        let decode = |error| failed("decode a token", error);
        let stream = &self.stream;
        let copied = stream.memcpy_dtoh(&self.logits, &mut self.on_host);
        copied.map_err(decode)?;
        stream.synchronize().map_err(decode)?;
        let logits = self.on_host.as_slice().map_err(decode)?;
        Ok(logits.to_vec())
    }

    /// Says which token is the next, and where it is; the first time, it decides whether launches overlap.
    pub(super) fn set(
        &mut self,
        decoder: &Decoder<Cuda>,
        caches: &[LayerCache],
        id: u32,
        position: usize,
    ) -> Result<(), BackendError> {
        let position = i32::try_from(position).expect("a context is far below 2^31 positions");
        let state = [id.cast_signed(), position];
        let copied = self.stream.memcpy_htod(&state, &mut self.state);
        copied.map_err(|error| failed("decode a token", error))?;
        let overlap = &decoder.backend.overlap;
        let decided = overlap.decide(&overlap.for_one, |overlaps| {
            self.overlaps = overlaps;
            let mut graphs = Graphs::default();
            // One after the other, then as a graph. Without a choice, each leaves the same behind.
            for _ in 0..2 {
                graphs.run(&self.stream, (), || self.queue(decoder, caches, None))?;
            }
            self.read_logits()
        });
        self.overlaps = decided?;
        Ok(())
    }

    /// Queues a step, with a choice among so many tokens at its end or without one.
    pub(super) fn queue_or_replay(
        &mut self,
        decoder: &Decoder<Cuda>,
        caches: &[LayerCache],
        choosable: Option<usize>,
    ) -> Result<(), BackendError> {
        let mut graphs = mem::take(&mut self.graphs);
        let queue = || self.queue(decoder, caches, choosable);
        let queued = graphs.run(&self.stream, choosable, queue);
        self.graphs = graphs;
        queued
    }

    /// Queues every kernel of a step.
    fn queue(
        &self,
        decoder: &Decoder<Cuda>,
        caches: &[LayerCache],
        choosable: Option<usize>,
    ) -> Result<(), BackendError> {
        let table = &decoder.embed_tokens;
        let arguments = [
            self.at(&self.residual),
            Weight(table.address(&self.stream)),
            self.at(&self.state),
            int(table.columns),
        ];
        let grid = Cuda::one_thread_each(table.columns);
        let (kernel, variant) = (&kernels::DECODE_EMBED, table.format.variant());
        let kernels = &decoder.backend.kernels;
        // The first of a step never begins early: what it follows are copies, or a graph.
        // SAFETY: the residual is as wide as the table, and the caller has checked that the table has the token's row.
        unsafe { kernels.launch(&self.stream, kernel, variant, grid, &arguments)? };
        for (layer, cache) in decoder.layers.iter().zip(caches) {
            let queued = LayerStep {
                step: self,
                decoder,
                layer,
                cache,
            };
            queued.queue()?;
        }
        let output = self.at(&self.logits);
        self.queue_up(
            decoder,
            &decoder.final_norm,
            head(decoder),
            None,
            LINEAR,
            output,
        )?;
        choosable.map_or(Ok(()), |choosable| {
            self.choice.queue(self, decoder, choosable)
        })
    }

    /// Queues a normalization and a matrix.
    pub(super) fn queue_up(
        &self,
        decoder: &Decoder<Cuda>,
        norm: &Norm<Cuda>,
        weight: &Matrix,
        bias: Option<&CudaSlice<f32>>,
        nonlinearity: i32,
        output: Argument,
    ) -> Result<(), BackendError> {
        let [norm_weight, norm_bias] = self.norm(norm);
        let arguments = [
            output,
            self.at(&self.residual),
            norm_weight,
            norm_bias,
            Weight(weight.address(&self.stream)),
            self.at_or_null(bias),
            int(weight.columns),
            int(weight.rows),
            Int(nonlinearity),
            Float(single(norm.epsilon)),
        ];
        let grid = Self::grid(decoder, weight.rows.div_ceil(2), weight.columns);
        let variant = weight.format.variant();
        // SAFETY: the residual, and the norm's factors, are as wide as the matrix; output and bias are as long as it has
        // rows; and shared memory has room for a row.
        unsafe { self.launch(decoder, &kernels::DECODE_UP, variant, grid, &arguments) }
    }

    /// Returns a grid for so many pieces of work of a warp each, with shared memory for a row of `shared` numbers.
    pub(super) fn grid(decoder: &Decoder<Cuda>, warps: usize, shared: usize) -> Grid {
        Grid {
            blocks: (decoder.backend.blocks_for_warps(warps), 1),
            threads: THREADS,
            shared_bytes: blocks(shared * 4),
            begins_early: false,
        }
    }

    /// Queues a kernel that follows another one of the step.
    ///
    /// # Safety
    ///
    /// As of [`Kernels::launch`](kernels::Kernels::launch).
    pub(super) unsafe fn launch(
        &self,
        decoder: &Decoder<Cuda>,
        kernel: &Kernel,
        variant: &str,
        grid: Grid,
        arguments: &[Argument],
    ) -> Result<(), BackendError> {
        let kernels = &decoder.backend.kernels;
        let begins_early = self.overlaps;
        let grid = Grid {
            begins_early,
            ..grid
        };
        // SAFETY: the caller's; a kernel that begins early waits before it touches what others write.
        unsafe { kernels.launch(&self.stream, kernel, variant, grid, arguments) }
    }

    pub(super) fn at<T>(&self, slice: &CudaSlice<T>) -> Argument {
        Pointer(address(slice, &self.stream))
    }

    pub(super) fn at_or_null<T>(&self, slice: Option<&CudaSlice<T>>) -> Argument {
        slice.map_or(Pointer(0), |slice| self.at(slice))
    }

    pub(super) fn norm(&self, norm: &Norm<Cuda>) -> [Argument; 2] {
        [self.at(&norm.weight), self.at_or_null(norm.bias.as_ref())]
    }
}

/// Returns the matrix that gives the logits.
pub(super) fn head(decoder: &Decoder<Cuda>) -> &Matrix {
    decoder.lm_head.as_ref().unwrap_or(&decoder.embed_tokens)
}

/// Copies numbers to the device; where there are none, one that nothing reads.
fn sent_or_one(backend: &Cuda, values: &[f32]) -> Result<CudaSlice<f32>, BackendError> {
    if values.is_empty() {
        backend.zeros(1)
    } else {
        backend.send(values)
    }
}
