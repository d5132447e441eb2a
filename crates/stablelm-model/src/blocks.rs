//! Matrices in quantized blocks, as GGUF files hold them.
//!
//! The formats are those of ggml (`ggml-common.h`): a row is a run of blocks, each with its own scales.

use std::fmt;

use bytes::Bytes;

/// How a run of weights is quantized.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BlockFormat {
    /// 32 weights of 4 bits with one scale.
    Q4_0,
    /// 32 weights of 8 bits with one scale.
    Q8_0,
    /// 256 weights of 4 bits in 8 runs, each with a scale and a minimum of 6 bits.
    Q4K,
    /// 256 weights of 5 bits in 8 runs, each with a scale and a minimum of 6 bits.
    Q5K,
    /// 256 weights of 6 bits in 16 runs, each with a scale of 8 bits.
    Q6K,
}

impl BlockFormat {
    /// Returns the number of weights in a block.
    pub fn block_len(self) -> usize {
        match self {
            Self::Q4_0 | Self::Q8_0 => 32,
            Self::Q4K | Self::Q5K | Self::Q6K => 256,
        }
    }

    /// Returns the number of bytes of a block.
    pub fn block_bytes(self) -> usize {
        match self {
            Self::Q4_0 => 18,
            Self::Q8_0 => 34,
            Self::Q4K => 144,
            Self::Q5K => 176,
            Self::Q6K => 210,
        }
    }

    /// Returns the name used on our command line and in our JSON, for example `q8_0`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Q4_0 => "q4_0",
            Self::Q8_0 => "q8_0",
            Self::Q4K => "q4_k",
            Self::Q5K => "q5_k",
            Self::Q6K => "q6_k",
        }
    }
}

impl fmt::Display for BlockFormat {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

/// A matrix in quantized blocks, row after row.
#[derive(Clone, Debug)]
pub struct Blocks {
    /// How the weights are quantized.
    pub format: BlockFormat,
    /// Number of rows.
    pub rows: usize,
    /// Weights in a row, a multiple of the block's.
    pub columns: usize,
    /// The blocks.
    pub bytes: Bytes,
}

impl Blocks {
    /// Returns the number of bytes of one row.
    pub fn row_bytes(&self) -> usize {
        self.columns / self.format.block_len() * self.format.block_bytes()
    }
}
