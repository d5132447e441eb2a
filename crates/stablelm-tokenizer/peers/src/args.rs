//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

use crate::encoders::Linked;

/// Times our tokenizer beside its peers.
#[derive(Debug, Parser)]
pub(crate) struct Args {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Build the corpus, time everyone, print the tables
    Compare(Compare),
    /// Take one measurement in this process and print it as JSON
    Measure(Measure),
}

/// A part of the comparison, with a table of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// First and second pass over the corpus, and whether ids are equal.
    Passes,
    /// One document of a megabyte after another.
    Adversarial,
    /// Two encoding threads against one.
    Threads,
    /// The whole of `stablelm data tokenize`.
    Command,
}

/// Options of `compare`.
#[derive(Debug, clap::Args)]
pub(crate) struct Compare {
    /// A tokenizer.json, or a folder that holds one
    #[arg(long, value_name = "T", default_value = "fixtures/tokenizer")]
    pub(crate) tokenizer: PathBuf,
    /// Where corpus and wheels are kept
    #[arg(long, default_value = "target/bench-tokenizer")]
    pub(crate) folder: PathBuf,
    /// The command that the part `command` times
    #[arg(long, default_value = "target/release/stablelm")]
    pub(crate) stablelm: PathBuf,
    /// The parts to run
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "passes,adversarial,threads,command"
    )]
    pub(crate) parts: Vec<Part>,
    /// How often each fast encoder is timed; the best counts
    #[arg(long, default_value_t = 3)]
    pub(crate) rounds: usize,
    /// How much of each kind the slow reference, tokenizers 0.23, encodes
    #[arg(long, value_name = "BYTES", default_value_t = usize::MAX)]
    pub(crate) hf_bytes: usize,
    /// The core everything with one thread is pinned to
    #[arg(long, default_value_t = 1)]
    pub(crate) core: usize,
    /// The core of a second thread
    #[arg(long, default_value_t = 0)]
    pub(crate) second_core: usize,
}

/// Options of `measure`.
#[derive(Debug, clap::Args)]
pub(crate) struct Measure {
    /// The encoder
    #[arg(value_enum)]
    pub(crate) encoder: Linked,
    /// A JSONL file of documents
    pub(crate) documents: PathBuf,
    /// A tokenizer.json, or a folder that holds one
    #[arg(long, value_name = "T", default_value = "fixtures/tokenizer")]
    pub(crate) tokenizer: PathBuf,
    /// How often to encode the documents
    #[arg(long, default_value_t = 2)]
    pub(crate) passes: usize,
    /// How many bytes of text to take
    #[arg(long, value_name = "BYTES", default_value_t = usize::MAX)]
    pub(crate) limit: usize,
}
