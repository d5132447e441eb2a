//! `stablelm run`

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{Json, Threads};

/// The precision of weights in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RunDtype {
    /// As in the file, quantized weights of GGUF files included.
    Auto,
    /// bfloat16.
    Bf16,
    /// float16.
    F16,
    /// float32.
    F32,
    /// 8.5 bits a weight: rounded to 8 bits with a scale for every 32 as the model is loaded.
    #[value(name = "q8_0")]
    Q8_0,
    /// 4.6 bits a weight: 4 bits with a scale and a minimum for every 32; the output matrix as `q8_0`.
    #[value(name = "q4_k")]
    Q4K,
}

/// The precision of cached keys and values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RunKvDtype {
    /// `f32` beside weights of f32, else `f16`.
    Auto,
    /// float32.
    F32,
    /// float16.
    F16,
    /// 8-bit floats (FP8 E4M3): half the memory of `f16`, and less exact.
    F8,
}

/// Which model, where, and in what precision.
#[derive(Debug, Args)]
pub(crate) struct ModelArgs {
    /// A folder with config.json and safetensors, a GPT-NeoX checkpoint, a GGUF file, or a hub id (org/name, org/name@revision)
    #[arg(long, short, value_name = "M")]
    pub(crate) model: PathBuf,
    /// Where to compute: auto, cpu, cuda or cuda:N
    ///
    /// `cuda` is the NVIDIA GPU with the most memory, `cuda:N` the one that the driver counts as N, from 0; nothing but the
    /// driver has to be installed. `auto` is such a GPU where there is one, else the processor.
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub(crate) device: String,
    /// Precision of the weights in memory
    #[arg(long, value_enum, value_name = "DTYPE", default_value = "auto")]
    pub(crate) dtype: RunDtype,
    /// Precision of the keys and values that are cached for each token
    ///
    /// They are read for every token that follows, and in long contexts take much of the memory. `f8` rounds each number by
    /// up to a sixteenth of it, and none is larger than 448.
    #[arg(long, value_enum, value_name = "DTYPE", default_value = "auto")]
    pub(crate) kv_dtype: RunKvDtype,
    /// Base of the rotary frequencies, in place of the model's own
    ///
    /// For GGUF files that do not say it: llama.cpp's converter leaves it out of StableLM's, and stable-code has 1000000.
    #[arg(long, value_name = "THETA")]
    pub(crate) rope_theta: Option<f64>,
    #[command(flatten)]
    pub(crate) threads: Threads,
}

/// Generate text from a prompt, or talk to a chat model
///
/// Text streams to standard output as it is made; everything else goes to standard error. The prompt is PROMPT, a file,
/// token ids, or standard input. Without any of them on a terminal it converses: with a chat model, or with --chat, each
/// line is a message and the model remembers what was said; with others each line is a prompt of its own.
///
/// Tokens are chosen by the rules of Hugging Face transformers, in its order: repetition penalty, temperature, top-k,
/// top-p, min-p. The same seed, device and dtypes give the same text.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    stablelm run --model stablelm-3b \"The weather is always wonderful\"\n  \
    echo 'def fib(n):' | stablelm run --model stable-code-3b --greedy --max-new-tokens 128\n  \
    stablelm run --model stablelm-zephyr-3b --chat \"Name three lighthouses\" --max-new-tokens 200\n  \
    stablelm run --model stablelm-zephyr-3b\n  \
    stablelm run --model stablelm-3b --prompts questions.jsonl > answers.jsonl\n  \
    stablelm run --model stablelm-3b --prompts questions.jsonl --save-check reference\n  \
    stablelm run --model converted --self-check reference")]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch on the command line"
)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
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
    /// Answer each line of a JSON lines file with a line of JSON; `-` is standard input
    ///
    /// A line has `prompt` (text), `prompt_ids`, or `messages` (a list of objects with role and content, for the chat
    /// template), and an `id` if you like. Answers come in the order of the lines, each as --json alone would print it,
    /// with the line's number and `id`. A line that can't be answered gives an object with `error`; the others are
    /// answered, and the exit code is 3.
    #[arg(long, value_name = "FILE", group = "prompt_source")]
    pub(crate) prompts: Option<PathBuf>,
    /// Answer N lines of --prompts side by side [default: 4 on the processor, 16 on a GPU]
    ///
    /// Weights are read once for a token of each: on the processor, four answers together take about half the time of one
    /// after another. There up to 4 change nothing about an answer; more, or a GPU, can change the last bits of its
    /// log-probabilities, and so the choice between two tokens that are as likely.
    #[arg(
        long,
        value_name = "N",
        requires = "prompts",
        conflicts_with = "save_check"
    )]
    pub(crate) batch_size: Option<NonZeroUsize>,
    /// Read prompts from standard input line by line, even where it is no terminal
    #[arg(long, short, group = "prompt_source", conflicts_with_all = ["json", "echo"])]
    pub(crate) interactive: bool,
    /// Compare the model with the reference in DIR instead, and exit with 1 when it differs
    ///
    /// DIR holds golden.json: prompts with their greedy path and log-probabilities, from another implementation or from
    /// --save-check. Tells the worst difference of each prompt and where its path first turns another way; a turn between
    /// two tokens that are equally likely within the tolerance is none. Finds conversions and settings that went wrong.
    #[arg(long, value_name = "DIR", group = "prompt_source")]
    pub(crate) self_check: Option<PathBuf>,
    /// Let log-probabilities differ by X [default: 0.001 for f32; else what the reference says of bf16, or 0.3]
    #[arg(long, value_name = "X", requires = "self_check")]
    pub(crate) tolerance: Option<f64>,
    /// Write what the model says to the prompt, or to those of --prompts, as a reference for --self-check
    #[arg(long, value_name = "DIR", conflicts_with_all = ["self_check", "interactive", "json", "echo"])]
    pub(crate) save_check: Option<PathBuf>,
    /// Take the prompt for a user's message, and put it into the model's chat template
    ///
    /// The template is that of `chat_template.jinja` or `tokenizer_config.json`. The answer then also ends at the tokens
    /// that end a turn.
    #[arg(long)]
    pub(crate) chat: bool,
    /// Begin the chat with a system message; implies --chat
    #[arg(long, value_name = "TEXT")]
    pub(crate) system: Option<String>,
    /// Use the chat template of this file instead of the model's; implies --chat
    #[arg(long, value_name = "FILE")]
    pub(crate) chat_template: Option<PathBuf>,
    /// Use this tokenizer.json (a path or a hub id) instead of the model's
    #[arg(long, value_name = "T")]
    pub(crate) tokenizer: Option<PathBuf>,
    /// Generate at most N tokens [default: 64; in an interactive chat, as many as the context has room for]
    #[arg(long, value_name = "N")]
    pub(crate) max_new_tokens: Option<usize>,
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
    pub(crate) json: Json,
}

impl Run {
    /// Returns whether the prompt is a message of a chat.
    pub(crate) fn is_chat(&self) -> bool {
        self.chat || self.system.is_some() || self.chat_template.is_some()
    }
}
