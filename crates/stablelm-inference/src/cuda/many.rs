//! Decoding a token of each of several sequences: seven launches a layer (`many_layer.rs`), replayed as a CUDA graph.
//!
//! Everything that differs from step to step (tokens, angles, lengths and where caches lie) is in device memory, which one
//! copy a step fills, so that the graph for some number of sequences serves any of them, and caches that grow.

use std::iter;
use std::mem;
use std::sync::Arc;

use cudarc::driver::{CudaSlice, CudaStream, PinnedHostSlice};

use crate::backend::BackendError;
use crate::cuda::decode::{LINEAR, head};
use crate::cuda::driver::failed;
use crate::cuda::graphs::Graphs;
use crate::cuda::kernels::{self, Argument, Grid, Kernel, SequenceAddresses};
use crate::cuda::many_layer::{LayerStep, Product};
use crate::cuda::matrix::{Format, Matrix};
use crate::cuda::{Cuda, THREADS, address, blocks, int, single};
use crate::decoder::Decoder;
use crate::kv_cache::KvCache;
use crate::norm::Norm;

use Argument::{Float, Int, Pointer, Weight};

/// The most sequences of one step: `SEQUENCES` of the kernels.
pub(super) const MOST: usize = 16;

/// Into how many parts the columns of a matrix are cut at most, and how many runs of columns each part has at least: one
/// for each vector that a warp of a block asks for.
const PARTS: usize = 4;
const LEAST_RUNS: usize = 32;

/// Rows of a matrix that are one tile: `TILE_ROWS` of the kernels.
pub(super) const TILE_ROWS: usize = 8;

/// Into how many parts the positions of a cache are split at most, and how many blocks of `many_attend` each multiprocessor
/// has room for.
const SPLITS: usize = 32;
const ATTEND_BLOCKS: usize = 4;

/// Blocks that share the logits of a sequence.
const CHOICE_BLOCKS: u32 = 16;

/// Returns whether these kernels can run a network that those for one token can.
pub(super) fn fits(decoder: &Decoder<Cuda>) -> bool {
    let layers = decoder.layers.iter().all(|layer| {
        let (attention, mlp) = (&layer.attention, &layer.mlp);
        let projections = [&attention.query, &attention.key, &attention.value];
        let row_format = attention.query.weight.format.row_format();
        let others = [&attention.output, &mlp.up, &mlp.down];
        let mut matrices = projections.iter().chain(&others);
        projections
            .iter()
            .all(|projection| projection.weight.format.row_format() == row_format)
            && matrices.all(|linear| linear.weight.columns.is_multiple_of(8))
    });
    layers && head(decoder).columns.is_multiple_of(8)
}

/// Where in the state of a step what lies, in bytes.
#[derive(Clone, Copy)]
struct Layout {
    num_layers: usize,
    pairs: usize,
}

impl Layout {
    const COS: usize = MOST * size_of::<u32>();

    fn sin(self) -> usize {
        Self::COS + MOST * self.pairs * size_of::<f32>()
    }

    /// Where the caches of a layer are told of.
    fn sequences(self, layer: usize) -> usize {
        let first = self.sin() + MOST * self.pairs * size_of::<f32>();
        first + layer * MOST * size_of::<SequenceAddresses>()
    }

    fn len(self) -> usize {
        self.sequences(self.num_layers)
    }
}

/// What a step computes in, and the graphs of it.
pub(super) struct ManyStep {
    pub(super) stream: Arc<CudaStream>,
    layout: Layout,
    /// The state, and where the host writes it.
    state: CudaSlice<u8>,
    sent: PinnedHostSlice<u8>,
    pub(super) residual: CudaSlice<f32>,
    pub(super) normed: CudaSlice<u8>,
    pub(super) projected: CudaSlice<f32>,
    pub(super) attended: CudaSlice<u8>,
    pub(super) splits_left: CudaSlice<f32>,
    pub(super) splits_finished: CudaSlice<u32>,
    pub(super) inner: CudaSlice<u8>,
    /// What the last matrices of attention and MLP have left for the residual stream, in parts.
    pub(super) partial: CudaSlice<f32>,
    logits: CudaSlice<f32>,
    logits_on_host: PinnedHostSlice<f32>,
    chosen: CudaSlice<i32>,
    chosen_on_host: PinnedHostSlice<i32>,
    choice_partial: CudaSlice<f32>,
    choice_finished: CudaSlice<u32>,
    /// Whether kernels begin before those that they follow have ended.
    overlaps: bool,
    /// Of steps of so many sequences, without a choice at their end or with one among so many tokens.
    graphs: Graphs<(usize, Option<usize>)>,
}

impl ManyStep {
    pub(super) fn new(decoder: &Decoder<Cuda>) -> Result<Self, BackendError> {
        let (backend, shape) = (&decoder.backend, decoder.shape);
        let make = |error| failed("prepare for decoding", error);
        let stream = backend.context.new_stream().map_err(make)?;
        let layout = Layout {
            num_layers: decoder.layers.len(),
            pairs: decoder.rotary.num_pairs(),
        };
        let hidden = decoder.embed_tokens.columns;
        let heads = shape.num_heads * shape.head_dim;
        let cached = shape.num_key_value_heads * shape.head_dim;
        let vocabulary = head(decoder).rows;
        let inner = decoder.layers.iter().map(|layer| layer.mlp.up.weight.rows);
        let splits = (1..=MOST).map(|count| count * splits(decoder, count));
        let split_heads = splits.max().unwrap_or(1) * shape.num_heads;
        // Rows are of at most 4 bytes a number.
        let rows = |width: usize| backend.zeros(MOST * width * 4);
        let choice_blocks = CHOICE_BLOCKS as usize;
        let step = Self {
            layout,
            state: backend.zeros(layout.len())?,
            sent: pinned(backend, layout.len())?,
            residual: backend.zeros(MOST * hidden)?,
            normed: rows(hidden)?,
            projected: backend.zeros(MOST * (heads + 2 * cached))?,
            attended: rows(heads)?,
            splits_left: backend.zeros(split_heads * (shape.head_dim + 2))?,
            splits_finished: backend.zeros(MOST * shape.num_key_value_heads)?,
            inner: rows(inner.max().unwrap_or(1))?,
            partial: backend.zeros(2 * PARTS * MOST * hidden)?,
            logits: backend.zeros(MOST * vocabulary)?,
            logits_on_host: pinned(backend, MOST * vocabulary)?,
            chosen: backend.zeros(MOST)?,
            chosen_on_host: pinned(backend, MOST)?,
            choice_partial: backend.zeros(MOST * 3 * choice_blocks)?,
            choice_finished: backend.zeros(MOST)?,
            overlaps: false,
            graphs: Graphs::default(),
            stream,
        };
        // What is queued on the device's stream must be done before another reads it.
        backend.wait()?;
        Ok(step)
    }

    /// Feeds a token to each of some sequences, at most [`MOST`], and adds their logits to `logits`.
    ///
    /// Each cache has room for its token, and nothing that is queued on the device's stream writes there.
    pub(super) fn run(
        &mut self,
        decoder: &Decoder<Cuda>,
        caches: &[&mut KvCache<Cuda>],
        ids: &[u32],
        logits: &mut Vec<f32>,
    ) -> Result<(), BackendError> {
        self.start(decoder, caches, ids, None)?;
        logits.extend_from_slice(self.read_logits(ids.len() * head(decoder).rows)?);
        Ok(())
    }

    fn read_logits(&mut self, len: usize) -> Result<&[f32], BackendError> {
        let decode = |error| failed("decode tokens", error);
        let written = self.logits.slice(..len);
        let copied = self.stream.memcpy_dtoh(&written, &mut self.logits_on_host);
        copied.map_err(decode)?;
        self.stream.synchronize().map_err(decode)?;
        Ok(&self.logits_on_host.as_slice().map_err(decode)?[..len])
    }

    /// Feeds tokens as [`run`](Self::run) does, and adds the likeliest token after each to `chosen`.
    pub(super) fn run_likeliest(
        &mut self,
        decoder: &Decoder<Cuda>,
        caches: &[&mut KvCache<Cuda>],
        ids: &[u32],
        choosable: usize,
        chosen: &mut Vec<Option<u32>>,
    ) -> Result<(), BackendError> {
        let decode = |error| failed("decode tokens", error);
        self.start(decoder, caches, ids, Some(choosable))?;
        let copied = self
            .stream
            .memcpy_dtoh(&self.chosen, &mut self.chosen_on_host);
        copied.map_err(decode)?;
        self.stream.synchronize().map_err(decode)?;
        let on_host = self.chosen_on_host.as_slice().map_err(decode)?;
        chosen.extend(
            on_host[..ids.len()]
                .iter()
                .map(|id| u32::try_from(*id).ok()),
        );
        Ok(())
    }

    /// Sends the state and queues a step; the first time, it decides whether launches overlap.
    fn start(
        &mut self,
        decoder: &Decoder<Cuda>,
        caches: &[&mut KvCache<Cuda>],
        ids: &[u32],
        choosable: Option<usize>,
    ) -> Result<(), BackendError> {
        self.send(decoder, caches, ids)?;
        let overlap = &decoder.backend.overlap;
        let decided = overlap.decide(&overlap.for_many, |overlaps| {
            self.overlaps = overlaps;
            let mut graphs = Graphs::default();
            // One after the other, then as a graph; each leaves the same behind.
            for _ in 0..2 {
                graphs.run(&self.stream, (), || self.queue(decoder, ids.len(), None))?;
            }
            let logits = self.read_logits(ids.len() * head(decoder).rows)?;
            Ok(logits.to_vec())
        });
        self.overlaps = decided?;
        let mut graphs = mem::take(&mut self.graphs);
        let queue = || self.queue(decoder, ids.len(), choosable);
        let queued = graphs.run(&self.stream, (ids.len(), choosable), queue);
        self.graphs = graphs;
        queued
    }

    fn send(
        &mut self,
        decoder: &Decoder<Cuda>,
        caches: &[&mut KvCache<Cuda>],
        ids: &[u32],
    ) -> Result<(), BackendError> {
        let decode = |error| failed("decode tokens", error);
        let layout = self.layout;
        let sent = self.sent.as_mut_slice().map_err(decode)?;
        let mut write = |at: usize, bytes: &[u8]| sent[at..at + bytes.len()].copy_from_slice(bytes);
        write(0, bytemuck::cast_slice(ids));
        let angles = decoder.rotary.angles(caches.iter().map(|cache| cache.len));
        write(Layout::COS, bytemuck::cast_slice(&angles.cos));
        write(layout.sin(), bytemuck::cast_slice(&angles.sin));
        for layer in 0..layout.num_layers {
            let of = |cache: &&mut KvCache<Cuda>| SequenceAddresses::new(&cache.layers[layer]);
            let sequences: Vec<_> = caches.iter().map(of).collect();
            write(layout.sequences(layer), bytemuck::cast_slice(&sequences));
        }
        let copied = self.stream.memcpy_htod(&self.sent, &mut self.state);
        copied.map_err(decode)
    }

    /// Queues every kernel of a step of `count` sequences.
    fn queue(
        &self,
        decoder: &Decoder<Cuda>,
        count: usize,
        choosable: Option<usize>,
    ) -> Result<(), BackendError> {
        let table = &decoder.embed_tokens;
        let arguments = [
            self.at(&self.residual),
            Weight(table.address(&self.stream)),
            self.in_state(0),
            int(table.columns),
        ];
        let grid = Grid::new((blocks(count), 1), THREADS);
        let (kernel, variant) = (&kernels::EMBED, table.format.variant());
        let kernels = &decoder.backend.kernels;
        // The first of a step never begins early: what it follows are copies.
        // SAFETY: the residual has a row for each token, and the caller has checked that the table has those rows.
        unsafe { kernels.launch(&self.stream, kernel, variant, grid, &arguments)? };
        let mut parts = 0;
        for (nth, layer) in decoder.layers.iter().enumerate() {
            let queued = LayerStep {
                step: self,
                decoder,
                layer,
                nth,
                count,
            };
            parts = queued.queue(parts)?;
        }
        let head = head(decoder);
        self.queue_normalize(decoder, &decoder.final_norm, head.format, count, parts)?;
        let product = Product {
            output: self.at(&self.logits),
            linears: &[(head, None)],
            input: &self.normed,
            width: head.rows,
            parts: 1,
            nonlinearity: LINEAR,
            row_format: 0,
        };
        self.queue_product(decoder, count, &product)?;
        choosable.map_or(Ok(()), |choosable| {
            self.queue_choice(decoder, count, head.rows, choosable)
        })
    }

    /// Queues a normalization, before which so many parts are added to the residual stream.
    pub(super) fn queue_normalize(
        &self,
        decoder: &Decoder<Cuda>,
        norm: &Norm<Cuda>,
        format: Format,
        count: usize,
        parts: usize,
    ) -> Result<(), BackendError> {
        let hidden = decoder.embed_tokens.columns;
        let arguments = [
            self.at(&self.normed),
            self.at(&self.residual),
            self.at(&self.partial),
            self.at(&norm.weight),
            self.at_or_null(norm.bias.as_ref()),
            int(hidden),
            int(parts),
            Int(format.row_format()),
            Float(single(norm.epsilon)),
        ];
        let grid = Grid {
            shared_bytes: blocks(hidden * 4),
            ..Grid::new((blocks(count), 1), THREADS)
        };
        // SAFETY: residual, output and the norm's factors are as wide as the embedding, there are at least as many parts, and
        // shared memory has room for a row.
        unsafe { self.launch(decoder, &kernels::MANY_NORMALIZE, "", grid, &arguments) }
    }

    /// Queues up to three matrices of one format side by side.
    pub(super) fn queue_product(
        &self,
        decoder: &Decoder<Cuda>,
        count: usize,
        product: &Product<'_>,
    ) -> Result<(), BackendError> {
        let linears = product.linears;
        let first = linears[0].0;
        let weight = |nth: usize| linears.get(nth).map_or(first, |(weight, _)| weight);
        let bias = |nth: usize| self.at_or_null(linears.get(nth).and_then(|(_, bias)| *bias));
        let rows = |nth: usize| int(linears.get(nth).map_or(0, |(weight, _)| weight.rows));
        let mut arguments = vec![product.output];
        let addresses = (0..3).map(|nth| Weight(weight(nth).address(&self.stream)));
        arguments.extend(addresses);
        arguments.push(self.at(product.input));
        arguments.extend((0..3).map(bias));
        arguments.extend((0..3).map(rows));
        arguments.extend([
            int(first.columns),
            int(product.width),
            int(product.parts),
            Int(product.nonlinearity),
            Int(product.row_format),
            int(count),
        ]);
        let tiles = linears.iter().map(|(weight, _)| tiles(weight)).sum();
        let grid = tile_grid(decoder, tiles, product.parts);
        let (kernel, variant) = (&kernels::MANY_MULTIPLY, first.format.variant());
        // SAFETY: the matrices have one format and as many columns as the input, whose rows are in the format that is
        // multiplied with; the output has room for the rows of all of them in each part.
        unsafe { self.launch(decoder, kernel, variant, grid, &arguments) }
    }

    /// Queues the choice of the likeliest tokens.
    fn queue_choice(
        &self,
        decoder: &Decoder<Cuda>,
        count: usize,
        vocabulary: usize,
        choosable: usize,
    ) -> Result<(), BackendError> {
        let arguments = [
            self.at(&self.chosen),
            Pointer(0),
            self.at(&self.logits),
            self.at(&self.choice_partial),
            self.at(&self.choice_finished),
            int(vocabulary),
            int(choosable.min(vocabulary)),
        ];
        let grid = Grid::new((CHOICE_BLOCKS, blocks(count)), THREADS);
        // SAFETY: there are as many logits as given for each sequence, three partial results for each block, and a counter
        // and a token for each sequence.
        unsafe { self.launch(decoder, &kernels::DECODE_CHOOSE, "", grid, &arguments) }
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

    fn in_state(&self, offset: usize) -> Argument {
        Pointer(address(&self.state, &self.stream) + offset as u64)
    }

    /// Returns where cosines and sines are, and the caches of a layer.
    pub(super) fn angles(&self) -> [Argument; 2] {
        [Layout::COS, self.layout.sin()].map(|offset| self.in_state(offset))
    }

    pub(super) fn sequences(&self, layer: usize) -> Argument {
        self.in_state(self.layout.sequences(layer))
    }
}

/// Returns host memory that the device reads and writes directly.
fn pinned<T: cudarc::driver::DeviceRepr + cudarc::driver::ValidAsZeroBits + Copy + Default>(
    backend: &Cuda,
    len: usize,
) -> Result<PinnedHostSlice<T>, BackendError> {
    let make = |error| failed("pin host memory", error);
    // SAFETY: all of it is written right below.
    let mut memory = unsafe { backend.context.alloc_pinned_with_flags(len, 0) }.map_err(make)?;
    let slice: &mut [T] = memory.as_mut_slice().map_err(make)?;
    slice.fill(T::default());
    Ok(memory)
}

fn tiles(weight: &Matrix) -> usize {
    weight.rows.div_ceil(TILE_ROWS)
}

/// Returns a grid of blocks that take so many tiles in turn, each of them always the same part of columns.
pub(super) fn tile_grid(decoder: &Decoder<Cuda>, tiles: usize, parts: usize) -> Grid {
    // As many warps as a block has share a tile.
    let most = decoder.backend.blocks_for_warps(tiles * parts * 8);
    let parts = blocks(parts);
    Grid::new((most.div_ceil(parts) * parts, 1), THREADS)
}

/// Returns into how many parts the columns of a matrix are cut, so that as few multiprocessors as can be wait for the last.
pub(super) fn parts(decoder: &Decoder<Cuda>, weight: &Matrix) -> usize {
    let runs = weight.columns.div_ceil(4 * weight.format.vector_len());
    let multiprocessors = decoder.backend.num_multiprocessors as usize;
    fewest_rounds(tiles(weight), runs, multiprocessors)
}

fn fewest_rounds(tiles: usize, runs: usize, multiprocessors: usize) -> usize {
    let can_be = (2..=PARTS).filter(|parts| runs / parts >= LEAST_RUNS);
    // In twelfths of the time of a tile.
    let time = |parts: &usize| (tiles * parts).div_ceil(multiprocessors) * 12 / parts;
    let best = iter::once(1).chain(can_be).min_by_key(time);
    best.unwrap_or(1)
}

/// Returns into how many parts the positions of `count` sequences are split: so that blocks fill the device.
pub(super) fn splits(decoder: &Decoder<Cuda>, count: usize) -> usize {
    let room = ATTEND_BLOCKS * decoder.backend.num_multiprocessors as usize;
    let heads = decoder.shape.num_key_value_heads * count;
    (room / heads).clamp(1, SPLITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_cut_where_that_spreads_tiles_better() {
        let check = |tiles, runs, expected| {
            assert_eq!(fewest_rounds(tiles, runs, 132), expected, "{tiles} {runs}");
        };
        // The projections of StableLM-3B-4E1T in bf16 and in q4_k, and its head.
        check(320, 80, 2);
        check(320, 216, 2);
        check(320, 20, 1);
        check(320, 54, 1);
        check(6288, 80, 1);
        // Few rows, many columns.
        check(8, 400, 4);
    }

    #[test]
    fn what_is_in_the_state_lies_one_after_the_other() {
        let layout = Layout {
            num_layers: 3,
            pairs: 10,
        };
        assert_eq!(Layout::COS, 64);
        assert_eq!(layout.sin(), 64 + 640);
        assert_eq!(layout.sequences(0), 64 + 1280);
        assert_eq!(layout.sequences(2) - layout.sequences(1), 16 * 24);
        assert_eq!(layout.len(), 64 + 1280 + 3 * 16 * 24);
        // The kernels' struct begins with addresses.
        assert!(layout.sequences(0).is_multiple_of(8));
    }
}
