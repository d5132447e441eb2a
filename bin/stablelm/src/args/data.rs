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
    Explain(Explain),
    Inspect(DataInspect),
    Verify(Verify),
    Fingerprint(Fingerprint),
    Remove(Remove),
}

/// What the long help of `data prepare` ends with.
const RECIPE_HELP: &str = r#"A recipe:
  name = "demo"
  seed = 1234
  creator = "Example Lab"              # for the papers; so is url

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
  kind = "pile"                        # falcon-refinedweb | redpajama | pilev2 | pes2o |
                                       # starcoderdata | jsonl | parquet | arrow
  paths = ["pile/*.jsonl.zst"]         # local, s3://, gs://, az://, hf://, https://
  weight = 1.0                         # or epochs = 4
  profile = "web"                      # or code | prose | papers | forum
  [[sources.filters]]                  # after those of the profile, in order:
  name = "gopher-quality"              # gopher-repetition | c4 | c4-paragraph | c4-badwords |
  words = "spacy-en"                   # fineweb-quality | refinedweb-lines | language | url |
                                       # code-quality | pii | decontaminate | length

  [dedup]
  exact = true
  [dedup.minhash]                      # nearly equal texts; defaults as FineWeb had them
  keep = "longest"                     # or first

Examples:
  stablelm data prepare recipe.toml --output prepared
  stablelm data prepare recipe.toml --output prepared --dry-run --sample 5000"#;

/// Run a recipe: raw documents in, tokens for GPT-NeoX training out
///
/// Reads the sources that RECIPE names, local or on object stores, leaves Books3 out whatever the recipe says, applies
/// filters and deduplication, splits by the hash of each text, and writes indexed datasets (`.bin`, `.idx`) with the
/// origin and license of every document beside them. Dropped rows and unreadable rows are listed, none is lost silently.
/// A run that was killed goes on with --resume.
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
    /// Replace the output if it exists, and begin anew if a run of it was broken off
    #[arg(long, conflicts_with = "resume")]
    pub(crate) overwrite: bool,
    /// Go on where a run was broken off; the result is that of an undisturbed run
    #[arg(long)]
    pub(crate) resume: bool,
    /// Resolve files and columns, estimate the result from a sample, write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Read N documents of each source for the estimate, and fetch the remote files that hold them; 0 fetches none
    /// [default: 1000]
    #[arg(long, value_name = "N", requires = "dry_run")]
    pub(crate) sample: Option<u64>,
    /// Keep batches and deduplication below this much memory [default: 256 MiB]
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
    /// A tokenizer.json, a folder that holds one, or a hub id (org/name, org/name@revision)
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

/// Say what every filter makes of each document, and why it is kept or dropped
///
/// Each filter of SOURCE is asked about the text as it came; `pipeline` is what the sequence of Books3 rules and filters
/// makes of it. Duplicates are not looked for: they depend on other documents. With --json, one object a line a document,
/// in input order, with everything that was measured.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    stablelm data explain pile/00.jsonl.zst --recipe recipe.toml --source pile --row 12\n  \
    stablelm data explain docs.jsonl --recipe recipe.toml --source web --json | jq -r .pipeline.reason | sort | uniq -c")]
pub(crate) struct Explain {
    /// A file in the form of the source's files
    pub(crate) input: PathBuf,
    /// The recipe, a TOML file
    #[arg(long)]
    pub(crate) recipe: PathBuf,
    /// The source of the recipe whose filters judge
    #[arg(long, value_name = "NAME")]
    pub(crate) source: String,
    /// Only the document in row N, counted from 0
    #[arg(long, value_name = "N", conflicts_with = "id")]
    pub(crate) row: Option<u64>,
    /// Only the documents with this id
    #[arg(long)]
    pub(crate) id: Option<String>,
    #[command(flatten)]
    pub(crate) threads: Threads,
    #[command(flatten)]
    pub(crate) json: Json,
}

/// Check a prepared folder against itself, its inputs and Books3
///
/// Computes every hash again, reads every index, token and row of provenance, adds the counts of the report up, and asks
/// the rules of Books3 about the inputs that can still be read and about the tokens themselves. What can't be checked is
/// listed. Exit code 1 when anything is off.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    stablelm data verify prepared\n  \
    stablelm data verify prepared --inputs recipes --json\n  \
    stablelm data verify prepared --remote")]
pub(crate) struct Verify {
    /// The prepared folder
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
    /// Where relative paths of inputs start, as those of the recipe did [default: this folder, or the one of DIR]
    #[arg(long, value_name = "FOLDER")]
    pub(crate) inputs: Option<PathBuf>,
    /// Fetch remote inputs, one at a time, into a temporary folder beside DIR and check them too
    #[arg(long)]
    pub(crate) remote: bool,
    #[command(flatten)]
    pub(crate) threads: Threads,
    #[command(flatten)]
    pub(crate) json: Json,
}

/// Make a list of text fingerprints that recipes can name under `[books3]`
///
/// The list holds hashes and names of works, not their texts, so that it can be given to others. A document that shares
/// enough of them with one work is excluded, whatever subset it lies in.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    stablelm data fingerprint books/*.txt --output books.fingerprints\n  \
    stablelm data fingerprint books3.jsonl.zst --output books3.fingerprints")]
pub(crate) struct Fingerprint {
    /// Text files of one work each, or JSON lines with a work in each `text`; compressed or not
    #[arg(required = true, value_name = "INPUT")]
    pub(crate) inputs: Vec<PathBuf>,
    /// Write the list to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// Replace the output if it exists
    #[arg(long)]
    pub(crate) overwrite: bool,
    #[command(flatten)]
    pub(crate) json: Json,
}

/// Look into an indexed dataset, a file of documents or a prepared folder
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    stablelm data inspect prepared\n  \
    stablelm data inspect prepared/tokens/pile_train_text_document.idx --document 7 --tokenizer tokenizer.json")]
pub(crate) struct DataInspect {
    /// An .idx or .bin file (or their common prefix), a parquet, Arrow or JSON lines file, or a prepared folder
    pub(crate) path: PathBuf,
    /// Show document N, counted from 0
    #[arg(long, value_name = "N")]
    pub(crate) document: Option<u64>,
    /// Decode tokens with this tokenizer.json (a path or a hub id)
    #[arg(long, value_name = "T")]
    pub(crate) tokenizer: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) json: Json,
}

/// Take documents out of a prepared folder, without tokenizing again
///
/// Writes a complete prepared folder without the documents that FILE names, and records the removal in its manifest. DIR
/// stays as it is; delete it when the texts must be gone. A line of FILE is a document's id, `path:row`,
/// `source/path:row` or the SHA-256 of its text in hex, as the tables of DIR show them; lines that begin with `#` are
/// comments.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    stablelm data remove prepared --ids takedown.txt --output prepared-2\n  \
    stablelm data remove prepared --ids takedown.txt --output prepared-2 --allow-missing --json | jq .missing")]
pub(crate) struct Remove {
    /// A prepared folder
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
    /// What to take out, one document a line
    #[arg(long, value_name = "FILE")]
    pub(crate) ids: PathBuf,
    /// Write what is left to this folder; it appears only when complete
    #[arg(long, value_name = "DIR2")]
    pub(crate) output: PathBuf,
    /// Replace the output if it exists
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// Pass over lines that match no document; by default they end the command with exit code 1
    #[arg(long)]
    pub(crate) allow_missing: bool,
    #[command(flatten)]
    pub(crate) json: Json,
}
