//! `stablelm data ...`

use std::path::PathBuf;

use bytesize::ByteSize;
use clap::{Args, Subcommand, ValueEnum};

use super::{Json, Threads};

/// Prepare training data: filter, deduplicate, tokenize, account for every row
#[derive(Debug, Args)]
pub(crate) struct Data {
    #[command(subcommand)]
    pub(crate) command: DataCommand,
}

/// The data verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum DataCommand {
    Prepare(Prepare),
    Tokenize(Tokenize),
    Inspect(DataInspect),
}

/// What the long help of `data prepare` ends with.
const RECIPE_HELP: &str = r#"A recipe:
  name = "demo"
  seed = 1234

  [tokenizer]
  source = "tokenizer.json"            # relative to the recipe
  append_eod = true
  special_tokens_in_text = "escape"    # escape | drop | error | encode

  [split]                              # by the hash of each text
  train = 0.98
  valid = 0.01
  test = 0.01

  [[sources]]
  name = "pile"
  kind = "pile"                        # pile | falcon-refinedweb | jsonl | parquet
  paths = ["pile/*.jsonl.zst"]
  weight = 1.0                         # or epochs = 4
  [[sources.filters]]
  name = "gopher-quality"              # or "length"
  words = "whitespace"

  [dedup]
  exact = true

Examples:
  stablelm data prepare recipe.toml --output prepared
  stablelm data prepare recipe.toml --output prepared --dry-run --sample 5000"#;

/// Run a recipe: raw documents in, tokens for GPT-NeoX training out
///
/// Reads the sources that RECIPE names, leaves Books3 out whatever the recipe says, applies filters and exact
/// deduplication, splits by the hash of each text, and writes indexed datasets (`.bin`, `.idx`) with the origin and
/// license of every document beside them. Dropped rows and unreadable rows are listed, none is lost silently.
#[derive(Debug, Args)]
#[command(after_long_help = RECIPE_HELP)]
#[command(after_help = "Examples:\n  \
    stablelm data prepare recipe.toml --output prepared\n  \
    stablelm data prepare recipe.toml --output prepared --dry-run --sample 5000")]
pub(crate) struct Prepare {
    /// The recipe, a TOML file; the long help shows one
    pub(crate) recipe: PathBuf,
    /// Write the prepared data to this folder; it appears only when complete
    #[arg(long, value_name = "DIR")]
    pub(crate) output: PathBuf,
    /// Replace the output if it exists
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// Resolve files and columns, estimate the result from a sample, write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Read N documents of each source for the estimate [default: 1000]
    #[arg(long, value_name = "N", requires = "dry_run")]
    pub(crate) sample: Option<u64>,
    /// Keep batches and deduplication below this much memory [default: 1 GiB]
    #[arg(long, value_name = "SIZE")]
    pub(crate) memory_limit: Option<ByteSize>,
    #[command(flatten)]
    pub(crate) threads: Threads,
    #[command(flatten)]
    pub(crate) json: Json,
}

/// What to do with special tokens that stand literally in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SpecialTokens {
    /// Tokenize them as plain text.
    Escape,
    /// Cut them out.
    Drop,
    /// Stop.
    Error,
    /// Encode them as control tokens, as gpt-neox does.
    Encode,
}

/// Tokenize JSON lines into an indexed dataset, as gpt-neox does
///
/// Writes `PREFIX_text_document.bin` and `.idx`. With `--append-eod --special-tokens encode` both
/// are byte-equal to gpt-neox's `--append-eod --dataset-impl mmap`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    stablelm data tokenize docs.jsonl.zst --output tokens/docs --tokenizer tokenizer.json --append-eod\n  \
    zstdcat *.zst | stablelm data tokenize - --output tokens/docs --tokenizer tokenizer.json --stats")]
pub(crate) struct Tokenize {
    /// JSON lines files, compressed or not; `-` is standard input
    #[arg(required = true, value_name = "INPUT")]
    pub(crate) inputs: Vec<PathBuf>,
    /// Start of the output files' names
    #[arg(long, value_name = "PREFIX")]
    pub(crate) output: PathBuf,
    /// A tokenizer.json, or a folder that holds one
    #[arg(long, value_name = "T")]
    pub(crate) tokenizer: PathBuf,
    /// The JSON key that holds the text
    #[arg(long, value_name = "KEY", default_value = "text")]
    pub(crate) text_key: String,
    /// End every document with the end-of-document token
    #[arg(long)]
    pub(crate) append_eod: bool,
    /// What to do with special tokens that stand in a text
    #[arg(long, value_enum, value_name = "POLICY", default_value = "escape")]
    pub(crate) special_tokens: SpecialTokens,
    /// Replace the output if it exists
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// Say how fast reading, parsing, encoding and writing were
    ///
    /// In MB of text a second. The seconds of each are summed over all threads, so that a figure is the speed of one
    /// core, whatever --threads says; writing lasts until the files lie on the disk. The wall time comes last.
    #[arg(long)]
    pub(crate) stats: bool,
    #[command(flatten)]
    pub(crate) threads: Threads,
    #[command(flatten)]
    pub(crate) json: Json,
}

/// Look into an indexed dataset, a file of documents or a prepared folder
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    stablelm data inspect prepared\n  \
    stablelm data inspect prepared/tokens/pile_train_text_document.idx --document 7 --tokenizer tokenizer.json")]
pub(crate) struct DataInspect {
    /// An .idx or .bin file (or their common prefix), a parquet or JSON lines file, or a prepared folder
    pub(crate) path: PathBuf,
    /// Show document N, counted from 0
    #[arg(long, value_name = "N")]
    pub(crate) document: Option<u64>,
    /// Decode tokens with this tokenizer.json
    #[arg(long, value_name = "T")]
    pub(crate) tokenizer: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) json: Json,
}
