//! The command line as typed. No work happens here, and no default asks the system.

mod bench;
mod checkpoint;
mod data;
mod eval;
mod license;
mod license_checks;
mod run;

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

pub(crate) use bench::Bench;
pub(crate) use checkpoint::{
    Compare, Convert, ConvertDtype, ConvertFrom, ConvertLayout, ConvertTo, Inspect,
};
pub(crate) use data::{
    Data, DataCommand, DataInspect, Explain, Fingerprint, Prepare, Remove, SpecialTokens, Tokenize,
    Verify,
};
pub(crate) use eval::{Eval, EvalCommand, Perplexity};
pub(crate) use license::{
    BomFormat, CheckContext, CheckPosture, CiteFormat, License, LicenseBom, LicenseCard,
    LicenseCheck, LicenseCommand, LicenseDiff, LicenseDocument, LicenseSources, NoticeFormat,
    SourcesCommand, SourcesFiles,
};
pub(crate) use license_checks::{
    LicenseChanges, LicenseChangesAdd, LicenseChangesCommand, LicenseLint, LicenseSign,
    LicenseVerify, RecordedChange,
};
pub(crate) use run::{ModelArgs, Run, RunDtype, RunKvDtype};

/// Carry a StableLM model through its life: data, checkpoints, inference, licenses
///
/// Filtered, licensed, tokenized data goes into GPT-NeoX training; the checkpoint that comes out becomes safetensors;
/// the model runs; license and attribution travel with every file.
#[derive(Debug, Parser)]
#[command(
    name = "stablelm",
    version,
    propagate_version = true,
    max_term_width = 100
)]
#[command(
    after_help = "Start with `stablelm demo`: the whole way on built-in files, in under a minute."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Data(Data),
    Convert(Convert),
    Inspect(Inspect),
    Compare(Compare),
    Run(Box<Run>),
    Bench(Bench),
    Eval(Eval),
    License(License),
    Demo(Demo),
    Completions(Completions),
}

/// Options of every command.
#[derive(Clone, Copy, Debug, Default, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Print no progress or status; twice: errors only
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) quiet: u8,
    /// Print what is going on inside; twice: everything
    #[arg(short, long, global = true, action = ArgAction::Count, conflicts_with = "quiet")]
    pub(crate) verbose: u8,
    /// Use color in messages [default: auto]
    #[arg(long, global = true, value_enum, value_name = "WHEN")]
    pub(crate) color: Option<When>,
    /// Show progress bars [default: auto]
    #[arg(long, global = true, value_enum, value_name = "WHEN")]
    pub(crate) progress: Option<When>,
    /// Never use the network: hub ids are looked up in the cache only
    #[arg(long, global = true)]
    pub(crate) offline: bool,
}

/// When to do something that only suits a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum When {
    /// On a terminal.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// How a command answers.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(crate) struct Json {
    /// Print the answer as one JSON document
    #[arg(long)]
    pub(crate) json: bool,
}

/// How many threads a command uses.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(crate) struct Threads {
    /// Use N threads [default: all cores]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<std::num::NonZeroUsize>,
}

/// Show the whole way on built-in files: data, checkpoint, text, licenses
///
/// Runs the commands that a user would type, prints each before running it, and says where to look. Nothing is
/// downloaded.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  stablelm demo\n  stablelm demo --output /tmp/stablelm-demo --overwrite"
)]
pub(crate) struct Demo {
    /// Write everything below this folder
    #[arg(long, value_name = "DIR", default_value = "demo-output")]
    pub(crate) output: PathBuf,
    /// Replace the folder if it exists
    #[arg(long)]
    pub(crate) overwrite: bool,
}

/// Print a completion script for a shell
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  stablelm completions bash > ~/.local/share/bash-completion/completions/stablelm\n  \
                  stablelm completions fish | source"
)]
pub(crate) struct Completions {
    /// The shell to write for
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}
