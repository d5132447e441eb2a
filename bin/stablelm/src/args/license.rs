//! `stablelm license ...`

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::Json;

/// Show licenses and write the papers that go with a model or with data
///
/// stablelm reports license facts with their sources and applies mechanical rules to them. It is not legal advice.
#[derive(Debug, Args)]
#[command(after_help = stablelm_license::DISCLAIMER)]
pub(crate) struct License {
    #[command(subcommand)]
    pub(crate) command: LicenseCommand,
}

/// The license verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum LicenseCommand {
    Show(LicenseSubject),
    Notice(LicenseNotice),
    Card(LicenseCard),
    Cite(LicenseCite),
}

/// Show license, creators, claims and their sources
///
/// Without SUBJECT: the components of the built-in registry.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    stablelm license show stabilityai/stablelm-3b-4e1t\n  \
    stablelm license show converted-model --json")]
pub(crate) struct LicenseSubject {
    /// A model folder, a prepared data folder, a safetensors file, or a component's id
    pub(crate) subject: Option<String>,
    #[command(flatten)]
    pub(crate) json: Json,
}

/// Where a document about a subject goes.
#[derive(Debug, Args)]
pub(crate) struct LicenseDocument {
    /// A model folder, a prepared data folder, a safetensors file, or a component's id
    pub(crate) subject: String,
    /// Write to this file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

/// Write the NOTICE: creators, license, source, changes
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    stablelm license notice converted-model\n  \
    stablelm license notice stabilityai/stablelm-3b-4e1t --output NOTICE")]
pub(crate) struct LicenseNotice {
    #[command(flatten)]
    pub(crate) document: LicenseDocument,
}

/// Write the model card (README.md with Hugging Face front matter)
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    stablelm license card converted-model\n  \
    stablelm license card converted-model --output README.md")]
pub(crate) struct LicenseCard {
    #[command(flatten)]
    pub(crate) document: LicenseDocument,
}

/// Write a citation of the model, its data and papers
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    stablelm license cite stabilityai/stablelm-3b-4e1t\n  \
    stablelm license cite converted-model --format cff --output CITATION.cff")]
pub(crate) struct LicenseCite {
    #[command(flatten)]
    pub(crate) document: LicenseDocument,
    /// The citation format
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "bibtex")]
    pub(crate) format: CiteFormat,
}

/// A citation format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CiteFormat {
    /// BibTeX.
    Bibtex,
    /// CITATION.cff 1.2.0.
    Cff,
}
