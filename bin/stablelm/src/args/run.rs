//! `stablelm run`

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{Json, Threads};

/// The precision of weights in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RunDtype {
    /// As in the file.
    Auto,
    /// bfloat16.
    Bf16,
    /// float16.
    F16,
    /// float32.
    F32,
}

/// Generate text from a prompt
///
/// Text streams to standard output as it is made. The prompt is PROMPT, a file, token ids, or standard input.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    stablelm run --model stablelm-3b \"The weather is always wonderful\"\n  \
    echo 'def fib(n):' | stablelm run --model stable-code-3b --greedy --max-new-tokens 128")]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch on the command line"
)]
pub(crate) struct Run {
    /// A folder with config.json and safetensors, a GPT-NeoX checkpoint, a GGUF file, or a hub id (org/name[@revision])
    #[arg(long, short, value_name = "M")]
    pub(crate) model: PathBuf,
    /// The text to continue
    #[arg(group = "prompt_source")]
    pub(crate) prompt: Option<String>,
    /// Read the prompt from a file; `-` is standard input
    #[arg(long, value_name = "FILE", group = "prompt_source")]
    pub(crate) prompt_file: Option<PathBuf>,
    /// Give the prompt as token ids, separated by commas
    #[arg(
        long,
        value_name = "IDS",
        value_delimiter = ',',
        group = "prompt_source"
    )]
    pub(crate) prompt_ids: Option<Vec<u32>>,
    /// Use this tokenizer.json (a path or a hub id) instead of the model's
    #[arg(long, value_name = "T")]
    pub(crate) tokenizer: Option<PathBuf>,
    /// Generate at most N tokens
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub(crate) max_new_tokens: usize,
    /// Divide logits by T before sampling; 0 is greedy
    #[arg(long, value_name = "T", default_value_t = 0.75)]
    pub(crate) temperature: f64,
    /// Sample from the likeliest tokens that hold this share of probability
    #[arg(long, value_name = "P", default_value_t = 0.95)]
    pub(crate) top_p: f64,
    /// Sample from the K likeliest tokens [default: all]
    #[arg(long, value_name = "K")]
    pub(crate) top_k: Option<usize>,
    /// Sample from tokens at least this share as likely as the likeliest [default: all]
    #[arg(long, value_name = "P")]
    pub(crate) min_p: Option<f64>,
    /// Divide the logits of tokens seen before by R (multiply, where negative)
    #[arg(long, value_name = "R", default_value_t = 1.0)]
    pub(crate) repetition_penalty: f64,
    /// Seed of the random choices [default: 0]
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub(crate) seed: u64,
    /// Always take the likeliest token
    #[arg(long)]
    pub(crate) greedy: bool,
    /// Stop before this text; may be given more than once
    #[arg(long, value_name = "STR")]
    pub(crate) stop: Vec<String>,
    /// Go on after an end-of-text token
    #[arg(long)]
    pub(crate) ignore_eos: bool,
    /// Where to compute: auto or cpu
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub(crate) device: String,
    /// Precision of the weights in memory
    #[arg(long, value_enum, value_name = "DTYPE", default_value = "auto")]
    pub(crate) dtype: RunDtype,
    /// Report the log-probability of each token, and of the K likeliest (needs --json)
    #[arg(long, value_name = "K", requires = "json")]
    pub(crate) logprobs: Option<usize>,
    /// Print the prompt before the text
    #[arg(long)]
    pub(crate) echo: bool,
    /// Say on standard error how fast it was
    #[arg(long)]
    pub(crate) stats: bool,
    #[command(flatten)]
    pub(crate) threads: Threads,
    #[command(flatten)]
    pub(crate) json: Json,
}
