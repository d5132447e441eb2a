//! Conversion in two steps: a plan that holds no weights and is checked in full, then the moving of bytes along it.

mod disk;
pub(crate) mod journal;
mod lane;
pub(crate) mod plan;
pub(crate) mod run;
pub(crate) mod survey;
pub(crate) mod target;

use std::collections::BTreeMap;
use std::io;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use stablelm_model::{ConfigError, Dtype, TensorSourceError};

use crate::convert::journal::JournalError;
use crate::neox::discover::NeoxLayout;
use crate::neox::source::NeoxReadError;

/// What to convert to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Target {
    /// Safetensors that Hugging Face transformers loads.
    Safetensors {
        /// Most bytes of tensors in one file; a larger tensor still gets one.
        max_shard_size: u64,
    },
    /// PyTorch files that GPT-NeoX loads.
    Neox {
        /// Number of ranks to split over.
        tensor_parallel: NonZeroUsize,
        /// How to spread over files.
        layout: NeoxLayout,
        /// The training step to name.
        step: u64,
    },
}

/// How to convert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConvertOptions {
    /// The format to write.
    pub target: Target,
    /// The dtype to write; `None` keeps each tensor's own.
    pub dtype: Option<Dtype>,
    /// Patterns (`*`, `?`) on names of tensors that may be left out when the target has no place for them. A GPT-NeoX
    /// name counts with and without its layer's number.
    pub allow_drop: Vec<String>,
    /// Goes into every safetensors file; `"format": "pt"` is added.
    pub metadata: BTreeMap<String, String>,
    /// Whether to wait until all is on disk.
    pub sync: bool,
    /// Threads to work with. The output does not depend on it.
    pub threads: NonZeroUsize,
}

/// Why a conversion was not planned or not finished.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConvertError {
    /// A stored tensor would be lost.
    #[error("tensor `{tensor}` in `{}` has no place in the target", path.display())]
    NoPlace {
        /// The tensor, as the file names it.
        tensor: String,
        /// The file.
        path: PathBuf,
    },
    /// A size of the model can't be spread over the ranks asked for.
    #[error("`{key}` = {value} is not a multiple of {tensor_parallel} tensor-parallel ranks")]
    NotDivisible {
        /// The size.
        key: &'static str,
        /// Its value.
        value: usize,
        /// The ranks asked for.
        tensor_parallel: usize,
    },
    /// GPT-NeoX has no setting for something the model has.
    #[error("the model's `{key}` can't be expressed in a GPT-NeoX checkpoint")]
    NotExpressible {
        /// The key in `config.json`.
        key: String,
    },
    /// The dtype asked for is not one of floats.
    #[error("can't convert tensor `{tensor}` from {from} to {to}")]
    Cast {
        /// The tensor.
        tensor: String,
        /// Its dtype.
        from: Dtype,
        /// The dtype asked for.
        to: Dtype,
    },
    /// Tensors of one GPT-NeoX matrix have different dtypes.
    #[error(
        "tensor `{tensor}` is {found} but would share a matrix with tensors of {expected}; choose one dtype"
    )]
    MixedDtypes {
        /// The tensor.
        tensor: String,
        /// The dtype of the matrix.
        expected: Dtype,
        /// The tensor's dtype.
        found: Dtype,
    },
    /// The configuration to be written would not be understood.
    #[error("the GPT-NeoX configuration for the target is not valid")]
    Config(#[source] ConfigError),
    /// A replicated tensor differs, or a file is damaged.
    #[error("the checkpoint is not consistent")]
    Inconsistent(#[source] NeoxReadError),
    /// A tensor could not be read.
    #[error("failed to read a tensor of the checkpoint")]
    Read(#[source] TensorSourceError),
    /// The plan would lose or repeat a part of a tensor: a mistake of this crate.
    #[error(
        "the plan moves {found} elements for tensor `{tensor}`, expected each of its {expected} once"
    )]
    NotCovered {
        /// The tensor.
        tensor: String,
        /// Its elements.
        expected: usize,
        /// Elements that are moved.
        found: usize,
    },
    /// The metadata for the header don't have the length of those that were planned.
    #[error("the header of `{}` needs {found} bytes, but {expected} are kept for it", path.display())]
    HeaderLength {
        /// The file.
        path: PathBuf,
        /// Bytes kept for the header.
        expected: usize,
        /// Bytes it needs.
        found: usize,
    },
    /// The record of an unfinished conversion could not be used.
    #[error("failed to use the record of the conversion")]
    Journal(#[source] JournalError),
    /// A file could not be written.
    #[error("failed to write `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No threads could be started.
    #[error("failed to start {threads} threads")]
    Threads {
        /// The number asked for.
        threads: usize,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Starts the threads to work with.
pub(crate) fn thread_pool(threads: usize) -> Result<rayon::ThreadPool, ConvertError> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    pool.map_err(|error| ConvertError::Threads {
        threads,
        source: io::Error::other(error),
    })
}
