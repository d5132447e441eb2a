//! `stablelm bench`

use clap::Args;

use super::{Json, ModelArgs};

/// Measure how fast a model runs on this machine
///
/// Feeds random token ids (no tokenizer is needed) and decodes greedily. Prefill is the speed at which a prompt is read,
/// decoding the speed at which text comes. One unmeasured run comes first; figures are medians of the runs after it,
/// and the best is given beside them: on a busy machine the best says more of the engine, the median more of the machine.
/// `weight_bytes_per_token` times tokens a second is the memory bandwidth that decoding reached.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    stablelm bench --model stablelm-3b\n  \
    stablelm bench --model stablelm-3b --prompt-tokens 0 --context 2048 --json")]
pub(crate) struct Bench {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// Read prompts of N tokens; 0 leaves prefill out
    #[arg(long, value_name = "N", default_value_t = 512)]
    pub(crate) prompt_tokens: usize,
    /// Decode N tokens; 0 leaves decoding out
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub(crate) new_tokens: usize,
    /// Decode after N tokens: the more, the more attention has to read [default: as --prompt-tokens]
    #[arg(long, value_name = "N")]
    pub(crate) context: Option<usize>,
    /// Measure N times
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) repeat: u32,
    #[command(flatten)]
    pub(crate) json: Json,
}
