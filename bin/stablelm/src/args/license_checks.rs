//! `stablelm license lint|changes|sign|verify`

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::Json;

/// Look model cards and citation files over, with line and column
///
/// Exit code 1 when there are errors.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    stablelm license lint README.md CITATION.cff\n  \
    stablelm license lint converted-model --fix --strict")]
pub(crate) struct LicenseLint {
    /// Cards (`*.md`), citation files (`*.cff`), or folders with `README.md` or `CITATION.cff`
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// Apply the fixes that have only one reading; every other byte stays
    #[arg(long)]
    pub(crate) fix: bool,
    /// Fail on warnings too
    #[arg(long)]
    pub(crate) strict: bool,
    /// Write the findings to this file as SARIF 2.1.0
    #[arg(long, value_name = "FILE")]
    pub(crate) sarif: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) json: Json,
}

/// Show or extend the record of changes
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    stablelm license changes converted-model show\n  \
    stablelm license changes converted-model add --kind finetune --detail \"3 epochs on our notes\"")]
pub(crate) struct LicenseChanges {
    /// A model folder or a prepared data folder
    pub(crate) folder: PathBuf,
    #[command(subcommand)]
    pub(crate) command: LicenseChangesCommand,
}

/// What to do with the record of changes.
#[derive(Debug, Subcommand)]
pub(crate) enum LicenseChangesCommand {
    Show(LicenseChangesShow),
    Add(LicenseChangesAdd),
}

/// List the changes, oldest first
///
/// Exit code 1 when the record was edited.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    stablelm license changes converted-model show\n  \
    stablelm license changes converted-model show --json")]
pub(crate) struct LicenseChangesShow {
    #[command(flatten)]
    pub(crate) json: Json,
}

/// Append a change to CHANGES.json and ledger.json
///
/// Refuses when the record so far does not hold. The headers of weights keep what they say: convert
/// again to have the change there too.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    stablelm license changes model add --kind finetune --detail \"3 epochs on our notes\"\n  \
    stablelm license changes model add --kind merge --detail \"mean of two\" --tool mergekit")]
pub(crate) struct LicenseChangesAdd {
    /// What kind of change it is
    #[arg(long, value_enum, value_name = "KIND")]
    pub(crate) kind: RecordedChange,
    /// What was done, in a sentence
    #[arg(long, value_name = "TEXT")]
    pub(crate) detail: String,
    /// The program that made it; default: stablelm
    #[arg(long, value_name = "NAME")]
    pub(crate) tool: Option<String>,
    /// That program's version; default: ours for stablelm, else `unknown`
    #[arg(long, value_name = "VERSION")]
    pub(crate) tool_version: Option<String>,
    /// SHA-256 of what was changed, if known
    #[arg(long, value_name = "HEX")]
    pub(crate) from_sha256: Option<String>,
}

/// A kind of change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RecordedChange {
    /// The file format, with the same numbers.
    Format,
    /// The type the numbers are stored in.
    Dtype,
    /// How the tensors are divided over files.
    Reshard,
    /// Names of tensors or files.
    Rename,
    /// Numbers replaced by coarser ones.
    Quantize,
    /// Further training.
    Finetune,
    /// Combination with another model.
    Merge,
    /// Parts or documents left out.
    Filter,
}

/// Sign every file of a folder with a key (Model Signing 1.0)
///
/// Keys are PEM files on the curve P-256 or P-384 without a passphrase, such as
/// `openssl ecparam -name prime256v1 -genkey -noout -out key.pem` makes.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    stablelm license sign converted-model --key key.pem\n  \
    stablelm license sign converted-model --key key.pem --output converted-model.sig")]
pub(crate) struct LicenseSign {
    /// The folder
    pub(crate) folder: PathBuf,
    /// The private key (PEM: PKCS #8 or SEC 1)
    #[arg(long, value_name = "FILE")]
    pub(crate) key: PathBuf,
    /// Where the signature goes; default: `model.sig` in the folder
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Replace a signature that is there
    #[arg(long)]
    pub(crate) overwrite: bool,
    #[command(flatten)]
    pub(crate) json: Json,
}

/// Check a folder: every file, every document, whether they agree, the signature
///
/// Exit code 1 when something is wrong, 3 when a document can't be read.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    stablelm license verify converted-model\n  \
    stablelm license verify converted-model --key key.pub.pem --parent base-model")]
pub(crate) struct LicenseVerify {
    /// The folder
    pub(crate) folder: PathBuf,
    /// The public key the signature has to be from (PEM)
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// The signature; default: `model.sig` in the folder, if it is there
    #[arg(long, value_name = "FILE")]
    pub(crate) signature: Option<PathBuf>,
    /// What the folder was made from: its ledger, or the folder that holds it
    #[arg(long, value_name = "LEDGER|DIR")]
    pub(crate) parent: Option<PathBuf>,
    /// Fail on warnings too
    #[arg(long)]
    pub(crate) strict: bool,
    /// Write the findings to this file as SARIF 2.1.0
    #[arg(long, value_name = "FILE")]
    pub(crate) sarif: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) json: Json,
}
