//! A weight matrix in device memory.

use cudarc::driver::{CudaSlice, CudaStream};
use stablelm_model::BlockFormat;

use crate::backend::BackendError;
use crate::cpu::packed::Unpacked;
use crate::cuda::address;
use crate::cuda::kernels::WeightAddress;
use crate::cuda::upload::Upload;
use crate::stored::{StoredMatrix, StoredValues};

/// How a matrix's numbers are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    F32,
    Bf16,
    F16,
    Blocks(BlockFormat),
}

impl Format {
    /// Returns the variant of kernels that read it.
    pub(crate) fn variant(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
            Self::Blocks(format) => format.as_str(),
        }
    }

    /// Returns the number in `many_rows.cuh` of the format that rows of several sequences are multiplied in.
    pub(crate) fn row_format(self) -> i32 {
        match self {
            Self::F32 => 0,
            Self::F16 => 1,
            Self::Bf16 | Self::Blocks(_) => 2,
        }
    }

    /// Returns how many weights of a row 16 bytes hold.
    pub(crate) fn vector_len(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 | Self::F16 => 8,
            Self::Blocks(BlockFormat::Q4_0 | BlockFormat::Q4K) => 32,
            Self::Blocks(_) => 16,
        }
    }
}

/// A matrix, row after row, in the layout of `weights.cuh`.
pub(crate) struct Matrix {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) format: Format,
    quants: CudaSlice<u8>,
    factors: Option<CudaSlice<u8>>,
    subs: Option<CudaSlice<u8>>,
}

impl Matrix {
    pub(crate) fn plain(upload: &Upload, matrix: &StoredMatrix) -> Result<Self, BackendError> {
        let (format, bytes): (_, &[u8]) = match &matrix.values {
            StoredValues::F32(values) => (Format::F32, bytemuck::cast_slice(values)),
            StoredValues::Bf16(values) => (Format::Bf16, bytemuck::cast_slice(values)),
            StoredValues::F16(values) => (Format::F16, bytemuck::cast_slice(values)),
        };
        Ok(Self {
            rows: matrix.rows,
            columns: matrix.columns,
            format,
            quants: upload.bytes(bytes)?,
            factors: None,
            subs: None,
        })
    }

    pub(crate) fn unpacked(upload: &Upload, matrix: &Unpacked) -> Result<Self, BackendError> {
        let subs = Some(matrix.subs.as_slice()).filter(|subs| !subs.is_empty());
        Ok(Self {
            rows: matrix.rows,
            columns: matrix.columns,
            format: Format::Blocks(matrix.format),
            quants: upload.bytes(&matrix.quants)?,
            factors: Some(upload.bytes(bytemuck::cast_slice(&matrix.factors))?),
            subs: subs.map(|subs| upload.bytes(subs)).transpose()?,
        })
    }

    pub(crate) fn byte_len(&self) -> usize {
        let others = [&self.factors, &self.subs];
        let others = others.into_iter().flatten();
        self.quants.len() + others.map(CudaSlice::len).sum::<usize>()
    }

    pub(crate) fn address(&self, stream: &CudaStream) -> WeightAddress {
        let optional = |slice: &Option<CudaSlice<u8>>| {
            slice.as_ref().map_or(0, |slice| address(slice, stream))
        };
        WeightAddress {
            quants: address(&self.quants, stream),
            factors: optional(&self.factors),
            subs: optional(&self.subs),
        }
    }
}
