//! Products of many rows by cuBLASLt, where the library is at hand.
//!
//! Both factors have one number format, f32, bf16 or f16; sums and products are f32. With f32 factors nothing is rounded
//! to fewer bits on the way (no TF32).

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::c_void;
use std::sync::{Arc, Mutex, PoisonError};

use cudarc::cublaslt::result::{self, CublasError};
use cudarc::cublaslt::sys;
use cudarc::driver::{CudaSlice, CudaStream};

use crate::backend::BackendError;
use crate::cuda::address;
use crate::cuda::driver::failed;
use crate::cuda::matrix::Format;

/// Bytes that the library may compute in: what NVIDIA recommends for Hopper.
const WORKSPACE: usize = 32 << 20;

/// `CUBLAS_OP_T`: the number says that a factor is to be transposed.
const TRANSPOSED: i32 = 1;

/// The library, on one stream.
pub(crate) struct Blas {
    handle: sys::cublasLtHandle_t,
    workspace: CudaSlice<u8>,
    stream: Arc<CudaStream>,
    /// What the library found best for products of a kind: it thinks longer than the device multiplies.
    algorithms: Mutex<HashMap<Kind, Option<sys::cublasLtMatmulAlgo_t>>>,
}

/// Products that are made alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Kind {
    number: sys::cudaDataType,
    positions: usize,
    rows: usize,
    columns: usize,
}

// SAFETY: NVIDIA documents the handle as usable from several threads; the workspace is used in the stream's order.
unsafe impl Send for Blas {}
// SAFETY: as above.
unsafe impl Sync for Blas {}

/// `output[p, r] = sum over c of weight[r, c] * input[p, c]`, as addresses in device memory and sizes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Product {
    pub(crate) output: u64,
    pub(crate) weight: u64,
    /// In the format of the weights.
    pub(crate) input: u64,
    pub(crate) positions: usize,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
}

impl Blas {
    /// Returns `None` where the library is not at hand or does not start: our own kernels do without it.
    pub(crate) fn open(stream: &Arc<CudaStream>) -> Result<Option<Self>, BackendError> {
        // Any other call panics where the library is missing.
        // SAFETY: looks for the library and closes it again.
        if !unsafe { sys::is_culib_present() } {
            tracing::debug!("cuBLASLt was not found: products are made by our own kernels");
            return Ok(None);
        }
        let Ok(handle) = result::create_handle() else {
            tracing::debug!("cuBLASLt does not start: products are made by our own kernels");
            return Ok(None);
        };
        // SAFETY: what is in the memory is of no interest before the library writes there.
        let workspace = unsafe { stream.alloc::<u8>(WORKSPACE) };
        match workspace {
            Ok(workspace) => Ok(Some(Self {
                handle,
                workspace,
                stream: Arc::clone(stream),
                algorithms: Mutex::default(),
            })),
            Err(error) => {
                // SAFETY: nothing uses the handle.
                let _ = unsafe { result::destroy_handle(handle) };
                Err(failed("take memory for cuBLASLt", error))
            }
        }
    }

    /// Queues a product; returns false where the library has no way to make it.
    ///
    /// # Safety
    ///
    /// The addresses are of live device memory that holds as many numbers as the sizes say, in `format` (the output in
    /// f32), and nothing else writes there before the product has been made.
    pub(crate) unsafe fn multiply(
        &self,
        format: Format,
        product: Product,
    ) -> Result<bool, BackendError> {
        // SAFETY: the caller's.
        let multiplied = unsafe { self.try_multiply(format, product) };
        multiplied
            .map_err(|error| BackendError::device(format!("cuBLASLt failed to multiply: {error}")))
    }

    /// # Safety
    ///
    /// As of [`multiply`](Self::multiply).
    unsafe fn try_multiply(&self, format: Format, product: Product) -> Result<bool, CublasError> {
        let number = match format {
            Format::F32 => sys::cudaDataType::CUDA_R_32F,
            Format::Bf16 => sys::cudaDataType::CUDA_R_16BF,
            Format::F16 => sys::cudaDataType::CUDA_R_16F,
            Format::Blocks(_) => return Ok(false),
        };
        let single = sys::cudaDataType::CUDA_R_32F;
        // The library counts columns first: our [rows, columns] in C order is its columns by rows, and what it has to
        // transpose. Its result, rows by positions, is our [positions, rows].
        let weights = Layout::new(number, product.columns, product.rows)?;
        let inputs = Layout::new(number, product.columns, product.positions)?;
        let outputs = Layout::new(single, product.rows, product.positions)?;
        let description = Description::new(single)?;
        let kind = Kind {
            number,
            positions: product.positions,
            rows: product.rows,
            columns: product.columns,
        };
        let mut algorithms = self
            .algorithms
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let algorithm = match algorithms.entry(kind) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => {
                let preference = Preference::new(WORKSPACE)?;
                // SAFETY: all handles are alive.
                let found = unsafe {
                    result::get_matmul_algo_heuristic(
                        self.handle,
                        description.0,
                        weights.0,
                        inputs.0,
                        outputs.0,
                        outputs.0,
                        preference.0,
                    )
                };
                // There is none for rows that do not begin where the library wants them to, for example.
                *new.insert(found.ok().map(|found| found.algo))
            }
        };
        drop(algorithms);
        let Some(algorithm) = algorithm else {
            return Ok(false);
        };
        let (one, zero) = (1f32, 0f32);
        // SAFETY: all handles are alive until the end of this function; the addresses are the caller's, and the
        // workspace is as long as the preference says.
        unsafe {
            result::matmul(
                self.handle,
                description.0,
                (&raw const one).cast(),
                (&raw const zero).cast(),
                product.weight as *const c_void,
                weights.0,
                product.input as *const c_void,
                inputs.0,
                product.output as *const c_void,
                outputs.0,
                product.output as *mut c_void,
                outputs.0,
                &raw const algorithm,
                address(&self.workspace, &self.stream) as *mut c_void,
                WORKSPACE,
                self.stream.cu_stream().cast(),
            )?;
        }
        Ok(true)
    }
}

impl Drop for Blas {
    fn drop(&mut self) {
        // SAFETY: the handle is ours, and this is the end of it.
        let _ = unsafe { result::destroy_handle(self.handle) };
    }
}

/// A matrix's format and size, column after column without gaps.
struct Layout(sys::cublasLtMatrixLayout_t);

impl Layout {
    fn new(kind: sys::cudaDataType, rows: usize, columns: usize) -> Result<Self, CublasError> {
        let pitch = i64::try_from(rows).unwrap_or(i64::MAX);
        result::create_matrix_layout(kind, rows as u64, columns as u64, pitch).map(Self)
    }
}

impl Drop for Layout {
    fn drop(&mut self) {
        // SAFETY: the handle is ours, and this is the end of it.
        let _ = unsafe { result::destroy_matrix_layout(self.0) };
    }
}

/// What is computed: the transposed first factor times the second, in f32.
struct Description(sys::cublasLtMatmulDesc_t);

impl Description {
    fn new(single: sys::cudaDataType) -> Result<Self, CublasError> {
        let compute = sys::cublasComputeType_t::CUBLAS_COMPUTE_32F;
        let description = Self(result::create_matmul_desc(compute, single)?);
        let transposed = TRANSPOSED;
        // SAFETY: the handle is alive, and the attribute is a number of that type.
        unsafe {
            result::set_matmul_desc_attribute(
                description.0,
                sys::cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_TRANSA,
                (&raw const transposed).cast(),
                size_of_val(&transposed),
            )?;
        }
        Ok(description)
    }
}

impl Drop for Description {
    fn drop(&mut self) {
        // SAFETY: the handle is ours, and this is the end of it.
        let _ = unsafe { result::destroy_matmul_desc(self.0) };
    }
}

/// What a way of computing it may use.
struct Preference(sys::cublasLtMatmulPreference_t);

impl Preference {
    fn new(workspace: usize) -> Result<Self, CublasError> {
        let preference = Self(result::create_matmul_pref()?);
        // SAFETY: the handle is alive, and the attribute is a number of that type.
        unsafe {
            result::set_matmul_pref_attribute(
                preference.0,
                sys::cublasLtMatmulPreferenceAttributes_t::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                (&raw const workspace).cast(),
                size_of_val(&workspace),
            )?;
        }
        Ok(preference)
    }
}

impl Drop for Preference {
    fn drop(&mut self) {
        // SAFETY: the handle is ours, and this is the end of it.
        let _ = unsafe { result::destroy_matmul_pref(self.0) };
    }
}
