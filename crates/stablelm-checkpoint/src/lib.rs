//! Weights in files: GPT-NeoX checkpoints and safetensors, read, written, converted and compared.
//!
//! [`open`] takes any checkpoint and gives its tensors under the names of Hugging Face transformers. [`plan`] says what a
//! conversion would write and checks all that can be checked; [`convert()`] then moves the bytes. Nothing that a file
//! holds is ever executed.
//!
//! ```
//! use std::collections::BTreeMap;
//! use std::num::NonZeroUsize;
//! use stablelm_checkpoint::{ConvertOptions, OpenOptions, Target, convert, open, plan, verify};
//!
//! # fn run(input: &std::path::Path, output: &std::path::Path) -> Result<(), Box<dyn std::error::Error>> {
//! let checkpoint = open(input, &OpenOptions::default())?;
//! let options = ConvertOptions {
//!     target: Target::Safetensors { max_shard_size: 5_000_000_000 },
//!     dtype: None,
//!     allow_drop: Vec::new(),
//!     metadata: BTreeMap::new(),
//!     sync: true,
//!     threads: NonZeroUsize::MIN,
//! };
//! let plan = plan(&checkpoint, &options)?;
//! convert(&plan, &checkpoint, output, None)?;
//! verify(&checkpoint, &open(output, &OpenOptions::default())?)?;
//! # Ok(())
//! # }
//! ```

mod cast;
mod compare;
mod convert;
#[cfg(fuzzing)]
pub mod fuzzing;
mod glob;
mod hash;
mod inspect;
mod inspect_file;
mod mapped;
mod neox;
mod open;
mod safetensors;
mod sha256;
mod stored;
mod stream;

pub use compare::{
    CompareError, Comparison, Outcome, TensorComparison, Verified, VerifyError, compare,
    compare_sources, verify, verify_hashed,
};
pub use convert::journal::{JOURNAL_FILE, Journal, JournalError};
pub use convert::plan::{DroppedTensor, Plan, PlannedFile, PlannedMove, PlannedTensor, plan};
pub use convert::run::{Converted, NonFinite, convert, write_metadata};
pub use convert::survey::{Survey, survey};
pub use convert::{ConvertError, ConvertOptions, Target};
pub use hash::{HashError, TENSORS_FILE, TensorHash, TensorHashes, sha256_of_files};
pub use inspect::{InspectedTensor, Inspection, inspect};
pub use inspect_file::{FileInspection, inspect_file};
pub use neox::archive::ArchiveError;
pub use neox::discover::NeoxLayout;
pub use neox::names::MlpNaming;
pub use neox::pickle::PickleError;
pub use neox::source::NeoxReadError;
pub use neox::torch_file::TorchFileError;
pub use open::{
    Checkpoint, Details, Format, InputOptions, OpenError, OpenOptions, open, open_input,
};
pub use safetensors::index::IndexError;
pub use safetensors::read::SafetensorsError;
