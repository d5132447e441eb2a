//! `stablelm eval`

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Json, ModelArgs};

/// Measure how well a model knows a text
#[derive(Debug, Args)]
pub(crate) struct Eval {
    #[command(subcommand)]
    pub(crate) command: EvalCommand,
}

/// What to measure.
#[derive(Debug, Subcommand)]
pub(crate) enum EvalCommand {
    Perplexity(Perplexity),
}

/// Compute the perplexity of a text: how many tokens the model hesitates between
///
/// Perplexity is e to the mean negative log-likelihood (nll) of a token; lower is better. It can only be compared between
/// models with the same tokenizer; bits a byte can be compared between any. Each token but a document's first is scored
/// once. A window of at most --max-length tokens moves over each document in steps of --stride tokens, as in the guide of
/// Hugging Face transformers to the perplexity of fixed-length models: after the first window, only a window's last
/// --stride tokens are scored, and the ones before them are context. The shorter the stride, the more context a token has,
/// and the longer it takes.
///
/// FILE is a text, which is one document; or a .jsonl file with a document a line: an object with the text, or with token
/// ids as `ids`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    stablelm eval perplexity --model stablelm-3b book.txt\n  \
    stablelm eval perplexity --model stablelm-3b --stride 256 --max-length 1024 documents.jsonl --json")]
pub(crate) struct Perplexity {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// A text, or documents as JSON lines
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Move the window by N tokens, less than --max-length
    #[arg(long, value_name = "N", default_value = "512")]
    pub(crate) stride: NonZeroUsize,
    /// Use windows of at most N tokens [default: the model's context]
    #[arg(long, value_name = "N")]
    pub(crate) max_length: Option<NonZeroUsize>,
    /// Name of the field with the text, in JSON lines
    #[arg(long, value_name = "KEY", default_value = "text")]
    pub(crate) text_key: String,
    /// Use this tokenizer.json instead of the model's
    #[arg(long, value_name = "T")]
    pub(crate) tokenizer: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) json: Json,
}
