//! The keys and values of one layer in device memory.
//!
//! `[head][position][dimension]`, with room for `capacity` positions a head, in f32, in halves or in FP8 E4M3.

use cudarc::driver::{CudaSlice, CudaStream, result};
use std::sync::Arc;

use crate::backend::{BackendError, HeadShape};
use crate::cuda::address;
use crate::cuda::driver::failed;
use crate::cuda::kernels::Argument;
use crate::kv_cache::KvDtype;

/// The least number of positions that there is room for.
const LEAST: usize = 256;

/// Keys and values of one layer.
pub(crate) struct LayerCache {
    pub(crate) shape: HeadShape,
    pub(crate) dtype: KvDtype,
    /// Number of positions held.
    pub(crate) len: usize,
    /// Number of positions that there is room for.
    pub(crate) capacity: usize,
    stream: Arc<CudaStream>,
    keys: CudaSlice<u8>,
    values: CudaSlice<u8>,
}

impl LayerCache {
    pub(crate) fn new(
        stream: &Arc<CudaStream>,
        shape: HeadShape,
        dtype: KvDtype,
        reserve: usize,
    ) -> Result<Self, BackendError> {
        let capacity = reserve.max(LEAST);
        let bytes = capacity * head_bytes(shape, dtype) * shape.num_key_value_heads;
        Ok(Self {
            shape,
            dtype,
            len: 0,
            capacity,
            stream: Arc::clone(stream),
            keys: zeros(stream, bytes)?,
            values: zeros(stream, bytes)?,
        })
    }

    /// Makes room for `len` positions, in steps that double.
    pub(crate) fn reserve(&mut self, len: usize) -> Result<(), BackendError> {
        if len <= self.capacity {
            return Ok(());
        }
        let mut grown = Self::new(
            &self.stream,
            self.shape,
            self.dtype,
            len.max(2 * self.capacity),
        )?;
        grown.len = self.len;
        let position = head_bytes(self.shape, self.dtype);
        for head in 0..self.shape.num_key_value_heads {
            for (from, to) in [(&self.keys, &grown.keys), (&self.values, &grown.values)] {
                let from = address(from, &self.stream) + (head * self.capacity * position) as u64;
                let to = address(to, &self.stream) + (head * grown.capacity * position) as u64;
                let (bytes, stream) = (self.len * position, self.stream.cu_stream());
                if bytes > 0 {
                    // SAFETY: both heads have room for as many positions, and the old memory is given back in the order
                    // of the same stream.
                    unsafe { result::memcpy_dtod_async(to, from, bytes, stream) }
                        .map_err(|error| failed("copy the cache", error))?;
                }
            }
        }
        *self = grown;
        Ok(())
    }

    /// Returns where keys and values lie.
    pub(crate) fn addresses(&self) -> (u64, u64) {
        let stream = &self.stream;
        (address(&self.keys, stream), address(&self.values, stream))
    }

    /// Returns the variant of kernels that read it.
    pub(crate) fn variant(&self) -> &'static str {
        self.dtype.as_str()
    }

    /// Returns its format's number in `cached.cuh`.
    pub(crate) fn format(&self) -> Argument {
        Argument::Int(match self.dtype {
            KvDtype::F32 => 0,
            KvDtype::F16 => 1,
            KvDtype::F8 => 2,
        })
    }
}

/// Returns the bytes of one position of one head.
fn head_bytes(shape: HeadShape, dtype: KvDtype) -> usize {
    shape.head_dim * dtype.width()
}

fn zeros(stream: &Arc<CudaStream>, bytes: usize) -> Result<CudaSlice<u8>, BackendError> {
    let zeros = stream.alloc_zeros::<u8>(bytes);
    zeros.map_err(|error| failed(&format!("take {bytes} bytes for the cache"), error))
}
