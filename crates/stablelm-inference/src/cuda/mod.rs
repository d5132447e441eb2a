//! A GPU of NVIDIA's as a backend: always compiled, and used where the driver is found at run time.
//!
//! Nothing but the driver is needed: kernels lie in the binary as PTX (`kernels.rs`), and cuBLASLt makes products of many
//! rows only where it is at hand (`blas.rs`). Everything is queued on one stream a device, so that memory can be given
//! back while it is still in use; each sequence that decodes has a stream of its own (`decode.rs`).

mod blas;
mod cache;
pub(crate) mod decode;
mod decode_layer;
pub(crate) mod driver;
mod graphs;
mod greedy;
mod kernels;
mod many;
mod many_layer;
mod matrix;
mod overlap;
mod retune;
mod sequences;
#[cfg(test)]
mod tests;
mod upload;

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use cudarc::driver::{
    CudaContext, CudaSlice, CudaStream, DevicePtr, DeviceRepr, ValidAsZeroBits, result, sys,
};
use stablelm_model::Blocks;

use crate::backend::{Backend, BackendError, HeadShape, Nonlinearity};
use crate::check::LoadError;
use crate::cpu::packed::Unpacked;
use crate::cpu::pool::Pool;
use crate::cuda::blas::{Blas, Product};
use crate::cuda::cache::LayerCache;
use crate::cuda::driver::failed;
use crate::cuda::kernels::{Argument, Grid, Kernel, Kernels, SequenceAddresses};
use crate::cuda::matrix::{Format, Matrix};
use crate::cuda::overlap::Overlap;
use crate::cuda::retune::Compiler;
use crate::cuda::upload::Upload;
use crate::kv_cache::KvDtype;
use crate::rotary::Angles;
use crate::stored::{Encoding, StoredMatrix};

use Argument::{Float, Int, Pointer, Weight};

/// Threads of a block of kernels that go number by number or row by row.
const THREADS: u32 = 256;

/// Up to this many positions, weights are read once for each; more are multiplied in tiles.
const FEW_POSITIONS: usize = 4;

/// Blocks for each multiprocessor where a kernel takes rows in turn: as many as fit one, at up to 128 registers a thread.
/// Together they have 64 KB of weights on their way, three times what covers the latency of memory.
const BLOCKS_PER_MULTIPROCESSOR: u32 = 2;

/// Sizes of heads that `attend` has variants for.
const ATTEND_SIZES: [usize; 5] = [64, 80, 128, 160, 224];

/// Sizes of heads that `attend_mma` has variants for, and positions that a block of it takes.
const MMA_SIZES: [usize; 4] = [64, 80, 128, 160];
const MMA_QUERIES: usize = 64;

/// Positions from which on tensor cores are worth their tiles of 16.
const MMA_POSITIONS: usize = 9;

/// Positions that a block of `attend` and of `gemm` takes, and rows that one of `gemm` takes.
const ATTEND_QUERIES: usize = 16;
const GEMM_TILE: usize = 64;

/// The largest head that `decode_attend`, `decode_head_norm` and `attend_each` have room for.
const LARGEST_HEAD: usize = 256;

/// One device, as one model uses it.
pub(crate) struct Cuda {
    context: Arc<CudaContext>,
    stream: Arc<CudaStream>,
    kernels: Kernels,
    overlap: Overlap,
    blas: Option<Blas>,
    upload: Upload,
    /// For what the processor does while weights are loaded.
    pool: Pool,
    num_multiprocessors: u32,
    /// The sines and cosines used last: those of one step are the same in all layers.
    turns: Mutex<Option<Turns>>,
}

struct Turns {
    cos: Vec<f32>,
    sin: Vec<f32>,
    on_device: Arc<[CudaSlice<f32>; 2]>,
}

/// Activations: rows of equal width, one after the other.
#[expect(
    clippy::struct_field_names,
    reason = "`rows` is how many there are, as everywhere"
)]
pub(crate) struct Rows {
    pub(crate) rows: usize,
    pub(crate) width: usize,
    pub(crate) values: CudaSlice<f32>,
}

/// Returns where memory lies on the device.
///
/// Nothing keeps track of its uses: all of them are queued on the stream that the memory was taken on, or come after the
/// host has waited for that stream.
pub(crate) fn address<T>(slice: &CudaSlice<T>, stream: &CudaStream) -> u64 {
    slice.device_ptr(stream).0
}

/// Returns a size as kernels take it.
pub(crate) fn int(size: usize) -> Argument {
    Int(i32::try_from(size).expect("sizes of models and of steps are far below 2^31"))
}

fn blocks(count: usize) -> u32 {
    u32::try_from(count).expect("grids of models' sizes are far below 2^32 blocks")
}

fn nonlinearity_number(nonlinearity: Nonlinearity) -> i32 {
    match nonlinearity {
        Nonlinearity::Silu => 0,
        Nonlinearity::Gelu => 1,
        Nonlinearity::GeluTanh => 2,
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "kernels compute in f32, and an epsilon of any size has one near enough"
)]
fn single(value: f64) -> f32 {
    value as f32
}

impl Cuda {
    /// Opens a device.
    ///
    /// `threads` is for the work on weights before they are copied; kernels made for the device are kept in `kernel_cache`;
    /// `overlaps` lets launches overlap where the device can do that.
    pub(crate) fn new(
        ordinal: u32,
        threads: Option<NonZeroUsize>,
        kernel_cache: Option<&Path>,
        overlaps: bool,
    ) -> Result<Self, LoadError> {
        let devices = driver::devices()?;
        if devices.iter().all(|found| found.ordinal != ordinal) {
            return Err(crate::device::missing(ordinal, &devices).into());
        }
        let available = || thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let pool = Pool::new(threads.unwrap_or_else(available))?;
        Ok(Self::open(ordinal, pool, kernel_cache, overlaps)?)
    }

    fn open(
        ordinal: u32,
        pool: Pool,
        kernel_cache: Option<&Path>,
        overlaps: bool,
    ) -> Result<Self, BackendError> {
        let open = |error| failed(&format!("open device cuda:{ordinal}"), error);
        let context = CudaContext::new(ordinal as usize).map_err(open)?;
        // SAFETY: see `address`: the order of uses is kept by the streams alone.
        unsafe { context.disable_event_tracking() };
        keep_memory(&context).map_err(open)?;
        let stream = context.new_stream().map_err(open)?;
        let count = sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT;
        let num_multiprocessors = context.attribute(count).map_err(open)?.unsigned_abs();
        let (major, minor) = context.compute_capability().map_err(open)?;
        let capability = 10 * major + minor;
        let compiler = kernel_cache.and_then(|folder| Compiler::find(folder, capability));
        let driver = driver::driver_version().map_err(open)?;
        let overlap = Overlap::new(overlaps, capability, driver);
        tracing::debug!(
            device = context.name().map_err(open)?,
            num_multiprocessors,
            "opened cuda:{ordinal}"
        );
        Ok(Self {
            kernels: Kernels::new(&context, compiler, overlap.is_possible),
            overlap,
            blas: Blas::open(&stream)?,
            upload: Upload::new(&stream),
            pool,
            num_multiprocessors,
            turns: Mutex::new(None),
            context,
            stream,
        })
    }

    /// Takes memory for activations, whose values are of no interest yet.
    fn take<T: DeviceRepr>(&self, len: usize) -> Result<CudaSlice<T>, BackendError> {
        // SAFETY: every kernel writes all of its output before anything reads it.
        let taken = unsafe { self.stream.alloc(len) };
        taken.map_err(|error| failed(&format!("take memory for {len} numbers"), error))
    }

    fn take_rows(&self, rows: usize, width: usize) -> Result<Rows, BackendError> {
        let values = self.take(rows * width)?;
        Ok(Rows {
            rows,
            width,
            values,
        })
    }

    fn zeros<T: DeviceRepr + ValidAsZeroBits>(
        &self,
        len: usize,
    ) -> Result<CudaSlice<T>, BackendError> {
        let zeros = self.stream.alloc_zeros(len);
        zeros.map_err(|error| failed(&format!("take memory for {len} numbers"), error))
    }

    fn send<T: DeviceRepr>(&self, values: &[T]) -> Result<CudaSlice<T>, BackendError> {
        let sent = self.stream.clone_htod(values);
        sent.map_err(|error| failed("copy to the device", error))
    }

    fn at<T>(&self, slice: &CudaSlice<T>) -> Argument {
        Pointer(address(slice, &self.stream))
    }

    fn at_or_null<T>(&self, slice: Option<&CudaSlice<T>>) -> Argument {
        slice.map_or(Pointer(0), |slice| self.at(slice))
    }

    /// Returns a grid with a thread for each of `len` numbers.
    fn one_thread_each(len: usize) -> Grid {
        Grid::new((blocks(len.div_ceil(THREADS as usize)), 1), THREADS)
    }

    /// Returns how many blocks share `warps` pieces of work of a warp each.
    fn blocks_for_warps(&self, warps: usize) -> u32 {
        let needed = blocks(warps.div_ceil(THREADS as usize / 32));
        needed.clamp(1, self.num_multiprocessors * BLOCKS_PER_MULTIPROCESSOR)
    }

    /// Queues a kernel on the device's stream.
    ///
    /// # Safety
    ///
    /// As of [`Kernels::launch`].
    unsafe fn launch(
        &self,
        kernel: &Kernel,
        variant: &str,
        grid: Grid,
        arguments: &[Argument],
    ) -> Result<(), BackendError> {
        // SAFETY: the caller's.
        unsafe {
            self.kernels
                .launch(&self.stream, kernel, variant, grid, arguments)
        }
    }

    /// Writes `output = input * transpose(weight) + bias`.
    fn multiply(
        &self,
        input: &Rows,
        weight: &Matrix,
        bias: Option<&CudaSlice<f32>>,
    ) -> Result<Rows, BackendError> {
        debug_assert_eq!(input.width, weight.columns);
        let output = self.take_rows(input.rows, weight.rows)?;
        if input.rows > FEW_POSITIONS && self.multiply_by_library(input, weight, &output)? {
            if let Some(bias) = bias {
                self.add_in_place(&output, bias, weight.rows)?;
            }
            return Ok(output);
        }
        let mut arguments = vec![
            self.at(&output.values),
            Weight(weight.address(&self.stream)),
            self.at(&input.values),
            self.at_or_null(bias),
        ];
        let (kernel, grid) = if input.rows > FEW_POSITIONS {
            arguments.push(int(input.rows));
            let tiles = |len: usize| blocks(len.div_ceil(GEMM_TILE));
            let grid = Grid::new((tiles(weight.rows), tiles(input.rows)), THREADS);
            (&kernels::GEMM, grid)
        } else {
            let blocks = (
                self.blocks_for_warps(weight.rows.div_ceil(2)),
                blocks(input.rows),
            );
            (&kernels::GEMV, Grid::new(blocks, THREADS))
        };
        arguments.extend([int(weight.rows), int(weight.columns)]);
        // SAFETY: input, weight and output have the sizes given, and the bias is as long as the weight has rows.
        unsafe { self.launch(kernel, weight.format.variant(), grid, &arguments)? };
        Ok(output)
    }

    /// Multiplies by cuBLASLt; returns false where that can't be.
    fn multiply_by_library(
        &self,
        input: &Rows,
        weight: &Matrix,
        output: &Rows,
    ) -> Result<bool, BackendError> {
        let Some(blas) = &self.blas else {
            return Ok(false);
        };
        let rounded: Option<CudaSlice<u16>> = match weight.format {
            Format::F32 => None,
            Format::Bf16 | Format::F16 => {
                let len = input.rows * input.width;
                let rounded = self.take(len)?;
                let arguments = [self.at(&rounded), self.at(&input.values), int(len)];
                let (variant, grid) = (weight.format.variant(), Self::one_thread_each(len));
                // SAFETY: both have as many numbers as given.
                unsafe { self.launch(&kernels::ROUND, variant, grid, &arguments)? };
                Some(rounded)
            }
            Format::Blocks(_) => return Ok(false),
        };
        let single = || address(&input.values, &self.stream);
        let product = Product {
            output: address(&output.values, &self.stream),
            weight: weight.address(&self.stream).quants,
            input: rounded
                .as_ref()
                .map_or_else(single, |rounded| address(rounded, &self.stream)),
            positions: input.rows,
            rows: weight.rows,
            columns: weight.columns,
        };
        // SAFETY: all three live until the end of this function at least, are given back in the order of the stream, and
        // have the sizes given; the input is in the weights' format.
        unsafe { blas.multiply(weight.format, product) }
    }

    /// Adds `right`, repeated every `period` numbers, to `left`.
    fn add_in_place(
        &self,
        left: &Rows,
        right: &CudaSlice<f32>,
        period: usize,
    ) -> Result<(), BackendError> {
        let len = left.rows * left.width;
        let arguments = [self.at(&left.values), self.at(right), int(len), int(period)];
        let grid = Self::one_thread_each(len);
        // SAFETY: `left` has `len` numbers, and `right` a period of them.
        unsafe { self.launch(&kernels::ADD, "", grid, &arguments) }
    }

    /// Returns sines and cosines in device memory; those of the last call are kept.
    fn turns(&self, angles: &Angles) -> Result<Arc<[CudaSlice<f32>; 2]>, BackendError> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turns) = turns
            .as_ref()
            .filter(|turns| turns.cos == angles.cos && turns.sin == angles.sin)
        {
            return Ok(Arc::clone(&turns.on_device));
        }
        let on_device = Arc::new([self.send(&angles.cos)?, self.send(&angles.sin)?]);
        *turns = Some(Turns {
            cos: angles.cos.clone(),
            sin: angles.sin.clone(),
            on_device: Arc::clone(&on_device),
        });
        Ok(on_device)
    }

    /// Returns attention on tensor cores, over a cache of what halves can hold.
    fn attend_in_halves(
        &self,
        queries: &Rows,
        cache: &LayerCache,
        shape: HeadShape,
    ) -> Result<Rows, BackendError> {
        let output = self.take_rows(queries.rows, queries.width)?;
        let (key_cache, value_cache) = cache.addresses();
        let arguments = [
            self.at(&output.values),
            self.at(&queries.values),
            Pointer(key_cache),
            Pointer(value_cache),
            int(queries.rows),
            int(cache.len - queries.rows),
            int(shape.num_heads),
            int(shape.num_key_value_heads),
            int(cache.capacity),
            Float(scale(shape)),
        ];
        let tiles = blocks(queries.rows.div_ceil(MMA_QUERIES));
        let grid = Grid::new((blocks(shape.num_heads), tiles), 128);
        let variant = format!("{}_{}", cache.variant(), shape.head_dim);
        // SAFETY: queries and output are rows of all heads, and the cache holds the queries' own positions as well.
        unsafe { self.launch(&kernels::ATTEND_MMA, &variant, grid, &arguments)? };
        Ok(output)
    }

    /// Waits until everything that was queued is done.
    fn wait(&self) -> Result<(), BackendError> {
        let waited = self.stream.synchronize();
        waited.map_err(|error| failed("compute", error))?;
        let checked = self.context.check_err();
        checked.map_err(|error| failed("give memory back", error))
    }
}

/// Makes the driver keep memory that is given back, where it would hand it to the system whenever the host waits.
fn keep_memory(context: &CudaContext) -> Result<(), cudarc::driver::DriverError> {
    if !context.has_async_alloc() {
        return Ok(());
    }
    let threshold = u64::MAX;
    let attribute = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
    // SAFETY: the device is the context's; the attribute is a number of 8 bytes, and the driver copies it.
    unsafe {
        let pool = result::device::get_default_mem_pool(context.cu_device())?;
        let value = (&raw const threshold).cast_mut().cast();
        sys::cuMemPoolSetAttribute(pool, attribute, value).result()
    }
}

impl Backend for Cuda {
    type Matrix = Matrix;
    type Vector = CudaSlice<f32>;
    type Tensor = Rows;
    type LayerCache = LayerCache;

    const USES_FILES_IN_PLACE: bool = false;

    fn load_matrix(&self, matrix: StoredMatrix) -> Result<Matrix, BackendError> {
        Matrix::plain(&self.upload, &matrix)
    }

    fn load_blocks(&self, blocks: &Blocks) -> Result<Matrix, BackendError> {
        Matrix::unpacked(&self.upload, &Unpacked::from_blocks(&self.pool, blocks))
    }

    fn quantize(&self, matrix: &StoredMatrix, encoding: Encoding) -> Result<Matrix, BackendError> {
        let unpacked = Unpacked::quantize(&self.pool, matrix, encoding);
        Matrix::unpacked(&self.upload, &unpacked)
    }

    fn byte_len(&self, matrix: &Matrix) -> usize {
        matrix.byte_len()
    }

    fn load_vector(&self, values: Vec<f32>) -> Result<CudaSlice<f32>, BackendError> {
        self.send(&values)
    }

    fn embed(&self, table: &Matrix, ids: &[u32]) -> Result<Rows, BackendError> {
        let output = self.take_rows(ids.len(), table.columns)?;
        let ids = self.send(ids)?;
        let arguments = [
            self.at(&output.values),
            Weight(table.address(&self.stream)),
            self.at(&ids),
            int(table.columns),
        ];
        let grid = Grid::new((blocks(output.rows), 1), THREADS);
        // SAFETY: the output has a row for each id, and the caller has checked that the table has those rows.
        unsafe { self.launch(&kernels::EMBED, table.format.variant(), grid, &arguments)? };
        Ok(output)
    }

    fn linears(
        &self,
        input: &Rows,
        weights: &[(&Matrix, Option<&CudaSlice<f32>>)],
    ) -> Result<Vec<Rows>, BackendError> {
        let products = weights.iter();
        let products = products.map(|(weight, bias)| self.multiply(input, weight, *bias));
        products.collect()
    }

    fn normalize(
        &self,
        input: &Rows,
        weight: &CudaSlice<f32>,
        bias: Option<&CudaSlice<f32>>,
        group: usize,
        epsilon: f64,
    ) -> Result<Rows, BackendError> {
        let output = self.take_rows(input.rows, input.width)?;
        let arguments = [
            self.at(&output.values),
            self.at(&input.values),
            self.at(weight),
            self.at_or_null(bias),
            int(input.width),
            int(group),
            Float(single(epsilon)),
        ];
        let grid = Grid::new((blocks(input.rows * (input.width / group)), 1), THREADS);
        // SAFETY: input and output have the same size; weight and bias are as long as a row, which the group divides.
        unsafe { self.launch(&kernels::NORMALIZE, "", grid, &arguments)? };
        Ok(output)
    }

    fn rotate(
        &self,
        heads: &mut Rows,
        head_dim: usize,
        angles: &Angles,
    ) -> Result<(), BackendError> {
        if angles.pairs == 0 {
            return Ok(());
        }
        let turns = self.turns(angles)?;
        let arguments = [
            self.at(&heads.values),
            self.at(&turns[0]),
            self.at(&turns[1]),
            int(heads.rows),
            int(heads.width),
            int(head_dim),
            int(angles.pairs),
        ];
        let grid = Self::one_thread_each(heads.rows * (heads.width / head_dim) * angles.pairs);
        // SAFETY: there is a row of angles for each row of heads, and twice as many dimensions as pairs in a head.
        unsafe { self.launch(&kernels::ROTATE, "", grid, &arguments) }
    }

    fn new_layer_cache(
        &self,
        shape: HeadShape,
        dtype: KvDtype,
        reserve: usize,
    ) -> Result<LayerCache, BackendError> {
        LayerCache::new(&self.stream, shape, dtype, reserve)
    }

    fn append(
        &self,
        cache: &mut LayerCache,
        keys: &Rows,
        values: &Rows,
    ) -> Result<(), BackendError> {
        cache.reserve(cache.len + keys.rows)?;
        let (key_cache, value_cache) = cache.addresses();
        let arguments = [
            Pointer(key_cache),
            Pointer(value_cache),
            self.at(&keys.values),
            self.at(&values.values),
            int(cache.len),
            int(keys.rows),
            int(cache.shape.num_key_value_heads),
            int(cache.shape.head_dim),
            int(cache.capacity),
        ];
        let grid = Self::one_thread_each(keys.rows * keys.width);
        // SAFETY: keys and values are of the cache's shape, and it has room for them.
        unsafe { self.launch(&kernels::APPEND, cache.variant(), grid, &arguments)? };
        cache.len += keys.rows;
        Ok(())
    }

    fn truncate(&self, cache: &mut LayerCache, len: usize) {
        cache.len = cache.len.min(len);
    }

    fn attend(
        &self,
        queries: &Rows,
        cache: &LayerCache,
        shape: HeadShape,
    ) -> Result<Rows, BackendError> {
        if cache.dtype != KvDtype::F32
            && MMA_SIZES.contains(&shape.head_dim)
            && queries.rows >= MMA_POSITIONS
        {
            return self.attend_in_halves(queries, cache, shape);
        }
        let mut sizes = ATTEND_SIZES.into_iter();
        let Some(size) = sizes.find(|size| *size >= shape.head_dim) else {
            return Err(BackendError::device(format!(
                "heads of {} dimensions are not supported on CUDA, at most 224",
                shape.head_dim
            )));
        };
        let output = self.take_rows(queries.rows, queries.width)?;
        let (key_cache, value_cache) = cache.addresses();
        let arguments = [
            self.at(&output.values),
            self.at(&queries.values),
            Pointer(key_cache),
            Pointer(value_cache),
            int(queries.rows),
            int(cache.len - queries.rows),
            int(shape.num_heads),
            int(shape.num_key_value_heads),
            int(shape.head_dim),
            int(cache.capacity),
            Float(scale(shape)),
        ];
        let tiles = blocks(queries.rows.div_ceil(ATTEND_QUERIES));
        let grid = Grid::new((blocks(shape.num_heads), tiles), 128);
        let variant = format!("{}_{size}", cache.variant());
        // SAFETY: queries and output are rows of all heads, and the cache holds the queries' own positions as well.
        unsafe { self.launch(&kernels::ATTEND, &variant, grid, &arguments)? };
        Ok(output)
    }

    fn add(&self, left: &mut Rows, right: &Rows) -> Result<(), BackendError> {
        self.add_in_place(left, &right.values, left.rows * left.width)
    }

    fn activate(
        &self,
        values: &mut Rows,
        nonlinearity: Nonlinearity,
        factor: Option<&Rows>,
    ) -> Result<(), BackendError> {
        let len = values.rows * values.width;
        let arguments = [
            self.at(&values.values),
            self.at_or_null(factor.map(|factor| &factor.values)),
            int(len),
            Int(nonlinearity_number(nonlinearity)),
        ];
        let grid = Self::one_thread_each(len);
        // SAFETY: both have as many numbers as given.
        unsafe { self.launch(&kernels::ACTIVATE, "", grid, &arguments) }
    }

    fn attend_each(
        &self,
        queries: &Rows,
        keys: &Rows,
        values: &Rows,
        caches: &mut [&mut LayerCache],
        shape: HeadShape,
    ) -> Result<Option<Rows>, BackendError> {
        if !shape.head_dim.is_multiple_of(8) || shape.head_dim > LARGEST_HEAD {
            return Ok(None);
        }
        let output = self.take_rows(queries.rows, queries.width)?;
        let mut sequences = Vec::with_capacity(caches.len());
        for cache in caches.iter_mut() {
            cache.reserve(cache.len + 1)?;
            sequences.push(SequenceAddresses::new(cache));
            cache.len += 1;
        }
        let variant = caches[0].variant();
        let sequences = self.send(&sequences)?;
        let arguments = [
            self.at(&output.values),
            self.at(&queries.values),
            self.at(&keys.values),
            self.at(&values.values),
            self.at(&sequences),
            int(shape.num_heads),
            int(shape.num_key_value_heads),
            int(shape.head_dim),
            Float(scale(shape)),
        ];
        let grid = Grid::new(
            (blocks(shape.num_key_value_heads), blocks(queries.rows)),
            128,
        );
        // SAFETY: there is a row of all heads for each sequence, whose cache has room for one more position, and no two
        // sequences share a cache.
        unsafe { self.launch(&kernels::ATTEND_EACH, variant, grid, &arguments)? };
        Ok(Some(output))
    }

    fn row(&self, tensor: &Rows, nth: usize) -> Result<Rows, BackendError> {
        let row = tensor
            .values
            .slice(nth * tensor.width..(nth + 1) * tensor.width);
        let values = self.stream.clone_dtod(&row);
        Ok(Rows {
            rows: 1,
            width: tensor.width,
            values: values.map_err(|error| failed("copy on the device", error))?,
        })
    }

    fn stack(&self, tensors: &[Rows]) -> Result<Rows, BackendError> {
        let rows = tensors.iter().map(|tensor| tensor.rows).sum();
        let mut stacked = self.take_rows(rows, tensors[0].width)?;
        let mut start = 0;
        for tensor in tensors {
            let len = tensor.rows * tensor.width;
            let mut place = stacked.values.slice_mut(start..start + len);
            let copied = self.stream.memcpy_dtod(&tensor.values, &mut place);
            copied.map_err(|error| failed("copy on the device", error))?;
            start += len;
        }
        Ok(stacked)
    }

    fn to_host(&self, tensor: &Rows) -> Result<Vec<f32>, BackendError> {
        let values = self.stream.clone_dtoh(&tensor.values);
        let values = values.map_err(|error| failed("copy from the device", error))?;
        self.wait()?;
        Ok(values)
    }

    fn finish_loading(&self) -> Result<(), BackendError> {
        self.wait()?;
        self.upload.finish();
        Ok(())
    }
}

/// Returns what scores are multiplied by.
fn scale(shape: HeadShape) -> f32 {
    single(1.0 / (shape.head_dim as f64).sqrt())
}
