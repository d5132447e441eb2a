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
    Bom(LicenseBom),
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
    stablelm license notice stabilityai/stablelm-3b-4e1t --output NOTICE\n  \
    stablelm license notice prepared --attribution --format html --output attribution.html")]
pub(crate) struct LicenseNotice {
    #[command(flatten)]
    pub(crate) document: LicenseDocument,
    /// The form of the text
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "text")]
    pub(crate) format: NoticeFormat,
    /// Write the credits of the data alone, as ATTRIBUTION.md has them
    #[arg(long)]
    pub(crate) attribution: bool,
}

/// The form of a notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum NoticeFormat {
    /// Plain text; with --attribution, Markdown.
    Text,
    /// Markdown.
    Md,
    /// One HTML file that needs nothing else.
    Html,
    /// One JSON document.
    Json,
}

/// Write the card of a model or of prepared data (README.md with Hugging Face front matter)
///
/// What people wrote is kept: everything outside of the lines `<!-- stablelm:begin generated -->`
/// and `<!-- stablelm:end generated -->`, and front-matter keys that are not ours. It is taken from
/// the README.md in SUBJECT, or from the file that --overwrite replaces.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    stablelm license card converted-model\n  \
    stablelm license card converted-model --output converted-model/README.md --overwrite")]
pub(crate) struct LicenseCard {
    #[command(flatten)]
    pub(crate) document: LicenseDocument,
    /// Replace the file if it exists
    #[arg(long, requires = "output")]
    pub(crate) overwrite: bool,
}

/// Write a bill of materials: what a model or data is made of, with licenses, claims and hashes
///
/// What nobody knows is said to be unknown, and data that has to be absent is in none of them. The
/// date is SOURCE_DATE_EPOCH, else that of the last change, else the present. Files whose names end
/// in .spdx3.json, .spdx.json, .cdx.json or .sig are about the folder and are not listed.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    stablelm license bom converted-model --format reuse --output converted-model\n  \
    stablelm license bom converted-model --format spdx3 --output converted-model/bom.spdx3.json\n  \
    stablelm license bom stabilityai/stablelm-3b-4e1t --format cdx1.7\n  \
    stablelm license bom prepared --format croissant1.1 --creator \"Example Lab\"")]
pub(crate) struct LicenseBom {
    /// A model folder, a prepared data folder, a safetensors file, or a component's id
    pub(crate) subject: String,
    /// The format to write
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub(crate) format: BomFormat,
    /// Write to this file instead of standard output; for reuse, REUSE.toml and LICENSES/ into
    /// this folder
    #[arg(short, long, value_name = "PATH")]
    pub(crate) output: Option<PathBuf>,
    /// Who made the data, for croissant1.1 [default: what the recipe says]
    #[arg(long, value_name = "NAME")]
    pub(crate) creator: Option<String>,
    /// Where the data is published, for croissant1.1 [default: what the recipe says]
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
    #[command(flatten)]
    pub(crate) json: Json,
}

/// The format of a bill of materials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum BomFormat {
    /// SPDX 3.0.1, JSON-LD.
    #[value(name = "spdx3")]
    Spdx3,
    /// CycloneDX 1.6, JSON.
    #[value(name = "cdx1.6")]
    Cdx1_6,
    /// CycloneDX 1.7, JSON, with citations of who claimed what.
    #[value(name = "cdx1.7")]
    Cdx1_7,
    /// Croissant 1.1 with the RAI extension, for prepared data.
    #[value(name = "croissant1.1")]
    Croissant1_1,
    /// REUSE 3.3: REUSE.toml and the license texts.
    #[value(name = "reuse")]
    Reuse,
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
    /// References in the style of the American Psychological Association.
    Apa,
}
