//! `stablelm convert`, `stablelm inspect`, `stablelm compare`

use std::num::NonZeroUsize;
use std::path::PathBuf;

use bytesize::ByteSize;
use clap::{Args, ValueEnum};

use super::{Json, Threads};

/// The format to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ConvertTo {
    /// Hugging Face safetensors.
    Safetensors,
    /// A GPT-NeoX checkpoint.
    Neox,
    /// A GGUF file for llama.cpp, tokenizer included.
    Gguf,
}

/// How a GPT-NeoX checkpoint is spread over files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ConvertLayout {
    /// One file a layer and rank, for `pipe_parallel_size` 1 and more.
    Layers,
    /// One file a rank, for `pipe_parallel_size` 0.
    Single,
}

/// The format to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ConvertFrom {
    /// Look at the files.
    Auto,
    /// A GPT-NeoX checkpoint.
    Neox,
    /// Hugging Face safetensors.
    Safetensors,
}

/// The dtype to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ConvertDtype {
    /// As it is.
    Keep,
    /// bfloat16.
    Bf16,
    /// float16.
    F16,
    /// float32.
    F32,
    /// 8 bits in blocks of 32, for GGUF.
    #[value(name = "q8_0")]
    Q8_0,
    /// 4 bits in blocks of 256, the head in 6, for GGUF.
    #[value(name = "q4_k")]
    Q4K,
}

/// Convert a checkpoint between GPT-NeoX, safetensors and GGUF, with its papers
///
/// Nothing in a .pt file is ever executed. Every check that needs no output (missing ranks and layers, shapes against
/// the configuration, tensors without a place) happens before the first byte is written. A run that was killed goes on
/// with --resume. Beside the weights, `tensors.json` holds the SHA-256 of every tensor.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    stablelm convert checkpoints/global_step955000 stablelm-3b --tokenizer tokenizer.json --verify\n  \
    stablelm convert stablelm-3b neox-tp4 --to neox --tensor-parallel 4\n  \
    stablelm convert neox-tp4 neox-tp2 --to neox --tensor-parallel 2 --layout single\n  \
    stablelm convert checkpoints stablelm-3b-f32 --master-weights\n  \
    stablelm convert stablelm-3b stablelm-3b-q4_k.gguf --to gguf --dtype q4_k")]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch on the command line"
)]
pub(crate) struct Convert {
    /// A GPT-NeoX checkpoint folder, or a safetensors folder or file
    pub(crate) input: PathBuf,
    /// The folder to write, or for `--to gguf` a file whose name ends in .gguf; it appears only when complete
    pub(crate) output: PathBuf,
    /// The format to write
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "safetensors")]
    pub(crate) to: ConvertTo,
    /// The format to read
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "auto")]
    pub(crate) from: ConvertFrom,
    /// The GPT-NeoX .yml, if the checkpoint does not hold one
    #[arg(long, value_name = "FILE")]
    pub(crate) neox_config: Option<PathBuf>,
    /// Take the fp32 weights of the optimizer, out of `zero_pp_rank_*_optim_states.pt`
    #[arg(long)]
    pub(crate) master_weights: bool,
    /// Give tensors of a GPT-NeoX checkpoint other names: a JSON object of names to known names
    ///
    /// Without the layer's number: `{"mlp.up_gate.weight": "mlp.linear1.weight"}`.
    #[arg(long, value_name = "FILE")]
    pub(crate) key_map: Option<PathBuf>,
    /// Put this tokenizer.json (or that of a folder, or of a hub id) beside the weights
    #[arg(long, value_name = "T")]
    pub(crate) tokenizer: Option<PathBuf>,
    /// The dtype to write
    #[arg(long, value_enum, value_name = "DTYPE", default_value = "keep")]
    pub(crate) dtype: ConvertDtype,
    /// Number of tensor-parallel ranks to write, for `--to neox`
    #[arg(long, value_name = "N", default_value = "1")]
    pub(crate) tensor_parallel: NonZeroUsize,
    /// How to spread over files, for `--to neox`
    #[arg(long, value_enum, value_name = "LAYOUT", default_value = "layers")]
    pub(crate) layout: ConvertLayout,
    /// Size at which safetensors files are split
    #[arg(long, value_name = "SIZE", default_value = "5GB")]
    pub(crate) max_shard_size: ByteSize,
    /// Leave out tensors that the target has no place for, by a glob on their GPT-NeoX names
    #[arg(long, value_name = "PATTERN")]
    pub(crate) allow_drop: Vec<String>,
    /// What these weights are: a component of the license registry, see `stablelm license show`
    #[arg(long, value_name = "ID")]
    pub(crate) component: Option<String>,
    #[command(flatten)]
    pub(crate) notice: ParentNotice,
    /// Read everything again and compare, before the output gets its name
    #[arg(long)]
    pub(crate) verify: bool,
    /// Do not wait until the output is on disk before it gets its name
    ///
    /// As `cp` does: faster by what the disk is behind. Should the machine stop within the next half minute, files of the
    /// output may then not be whole (convert again, without `--resume`), and a network disk that is full may go unnoticed.
    #[arg(long)]
    pub(crate) no_sync: bool,
    /// Print the plan, write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) existing: ExistingOutput,
    #[command(flatten)]
    pub(crate) threads: Threads,
    #[command(flatten)]
    pub(crate) json: Json,
}

/// What becomes of the NOTICE that came with a checkpoint.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct ParentNotice {
    /// Do not carry the input's NOTICE over: only its licensor may leave it out
    #[arg(long)]
    pub(crate) i_am_the_licensor: bool,
}

/// What to do about an output that is there.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct ExistingOutput {
    /// Replace the output if it exists, and begin anew if a run of it was broken off
    #[arg(long, conflicts_with = "resume")]
    pub(crate) overwrite: bool,
    /// Go on where a run was broken off; the result is that of an undisturbed run
    #[arg(long)]
    pub(crate) resume: bool,
}

/// Describe a checkpoint or a file of weights: architecture, layout, every tensor
///
/// A single PyTorch or safetensors file is described by itself: one layer's, a rank's state, an optimizer's shard.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    stablelm inspect checkpoints/global_step955000\n  \
    stablelm inspect checkpoints/global_step955000/mp_rank_00_model_states.pt\n  \
    stablelm inspect stablelm-3b-q4_k.gguf\n  \
    stablelm inspect stablelm-3b --json")]
pub(crate) struct Inspect {
    /// A GPT-NeoX checkpoint folder, a safetensors folder, or a .gguf, .safetensors or .pt file
    pub(crate) path: PathBuf,
    /// The GPT-NeoX .yml, if the checkpoint does not hold one
    #[arg(long, value_name = "FILE")]
    pub(crate) neox_config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) json: Json,
}

/// Compare two checkpoints of any formats, tensor by tensor
///
/// Ends with exit code 1 when they differ.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    stablelm compare checkpoints/global_step955000 stablelm-3b\n  \
    stablelm compare stablelm-3b stablelm-3b-q8_0.gguf --tolerance 0.02\n  \
    stablelm compare stablelm-3b-f32 stablelm-3b-bf16 --tolerance 0.01")]
pub(crate) struct Compare {
    /// One checkpoint
    pub(crate) a: PathBuf,
    /// The other
    pub(crate) b: PathBuf,
    /// Call tensors equal when no element differs by more than this
    #[arg(long, value_name = "X", default_value_t = 0.0)]
    pub(crate) tolerance: f64,
    #[command(flatten)]
    pub(crate) json: Json,
}
