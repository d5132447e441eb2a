//! `stablelm license ...`

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::Json;
use super::license_checks::{LicenseChanges, LicenseLint, LicenseSign, LicenseVerify};

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
    Lint(LicenseLint),
    Changes(LicenseChanges),
    Sign(LicenseSign),
    Verify(LicenseVerify),
    Check(LicenseCheck),
    Diff(LicenseDiff),
    Sources(LicenseSources),
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
    /// A file of further components, `{"components": [...]}`; may be given again
    #[arg(long, value_name = "FILE")]
    pub(crate) registry: Vec<PathBuf>,
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

/// Write the card of a model or of prepared data (README.md)
///
/// With Hugging Face front matter.
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
/// date is `SOURCE_DATE_EPOCH`, else that of the last change, else the present. Files whose names end
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

/// Check whether licenses go together, and what they ask for
///
/// BASE and each WITH are a license expression (`CC-BY-SA-4.0`, `mit OR apache-2.0`), a component's id,
/// or a folder or ledger.json. Put `contents:` before a license that covers what lies in a database
/// and not the database. Exit code 1 for CONFLICT, and with --strict also for REVIEW and UNKNOWN.
#[derive(Debug, Args)]
#[command(after_help = concat!("Examples:\n  \
    stablelm license check --base CC-BY-SA-4.0 --with MIT --outbound CC-BY-SA-4.0 --context adapt\n  \
    stablelm license check --base stablelm-3b-4e1t --outbound Apache-2.0 --context adapt --json\n  \
    stablelm license check --base prepared --outbound ODC-By-1.0 --context data --strict\n\n",
    "stablelm reports license facts and applies mechanical rules. It is not legal advice, and an OK\n\
    verdict is not a permission. `stablelm license --help` has the full statement."))]
pub(crate) struct LicenseCheck {
    /// What is built on: an expression, a component's id, a folder or a ledger
    #[arg(long)]
    pub(crate) base: String,
    /// What comes in besides; may be given again
    #[arg(long = "with", value_name = "WITH")]
    pub(crate) with: Vec<String>,
    /// The license that the result goes out under; not needed for agg and private
    #[arg(long, value_name = "EXPRESSION")]
    pub(crate) outbound: Option<String>,
    /// What is done
    #[arg(long, value_enum)]
    pub(crate) context: CheckContext,
    /// How open questions of law are read
    #[arg(long, value_enum, default_value = "conservative")]
    pub(crate) posture: CheckPosture,
    /// Who asks: a creator's name or hub account, believed where a ledger or the registry records it
    #[arg(long, value_name = "ID")]
    pub(crate) owner: Option<String>,
    /// Publish data as a recipe (manifest, hashes and rules), without its text
    #[arg(long)]
    pub(crate) recipe_only: bool,
    /// Fail for REVIEW and UNKNOWN too
    #[arg(long)]
    pub(crate) strict: bool,
    /// A file of further components, `{"components": [...]}`; may be given again
    #[arg(long, value_name = "FILE")]
    pub(crate) registry: Vec<PathBuf>,
    /// Write the findings to this file as SARIF 2.1.0
    #[arg(long, value_name = "FILE")]
    pub(crate) sarif: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) json: Json,
}

/// What is done with the material.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CheckContext {
    /// Side by side in one release.
    Agg,
    /// Into one set of weights.
    Adapt,
    /// From data into weights.
    Train,
    /// Merged data published again.
    Data,
    /// Used inside, shared with nobody.
    Private,
}

/// How open questions of law are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CheckPosture {
    /// Training follows the licenses of its data.
    Conservative,
    /// Training may need no permission.
    Permissive,
}

/// Show what differs between two ledgers or two bills of materials
///
/// A and B are both ledgers (a folder, a ledger.json or a component's id), or both bills of
/// materials (CycloneDX or SPDX 3 as JSON). Exit code 1 when something drifted; changes that were
/// only appended to the record are listed and are no drift.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    stablelm license diff published converted\n  \
    stablelm license diff old.cdx.json new.spdx3.json --json")]
pub(crate) struct LicenseDiff {
    /// The earlier one
    pub(crate) a: String,
    /// The later one
    pub(crate) b: String,
    #[command(flatten)]
    pub(crate) json: Json,
}

/// Pin where and when each license statement was read
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    stablelm license sources pin registry.json\n  \
    stablelm license sources update registry.json --lock sources.lock.json")]
pub(crate) struct LicenseSources {
    #[command(subcommand)]
    pub(crate) command: SourcesCommand,
}

/// What to do with the pinned statements.
#[derive(Debug, Subcommand)]
pub(crate) enum SourcesCommand {
    /// Write a new lock file of every statement as it stands
    Pin(SourcesFiles),
    /// Bring a lock file up to date and list what differs; exit code 1 when something drifted
    Update(SourcesFiles),
}

/// The files with statements, and the lock.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    stablelm license sources pin registry.json\n  \
    stablelm license sources pin registry.json --evidence https://example.org/card=card.html")]
pub(crate) struct SourcesFiles {
    /// Registry files, ledgers or prepared folders
    #[arg(required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// The lock file
    #[arg(long, value_name = "FILE", default_value = "sources.lock.json")]
    pub(crate) lock: PathBuf,
    /// A saved copy of a source, as SOURCE=FILE: its hash and today are noted; may be given again
    #[arg(long, value_name = "SOURCE=FILE")]
    pub(crate) evidence: Vec<String>,
    #[command(flatten)]
    pub(crate) json: Json,
}
