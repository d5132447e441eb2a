//! A folder as the checks see it: its files, the texts among them, and the headers of its weights.
//!
//! Nothing here opens a file; the caller fills it.

use std::collections::BTreeMap;

use crate::ledger::Ledger;

/// A folder to be checked: a model to be released, or prepared data.
#[derive(Clone, Debug, Default)]
pub struct Release {
    /// Every file, by its path relative to the folder, with `/` between the parts.
    pub files: BTreeMap<String, ReleaseFile>,
    /// The content of the small text files among them, such as `README.md` and `NOTICE`.
    pub texts: BTreeMap<String, String>,
    /// `__metadata__` of each safetensors file.
    pub metadata: BTreeMap<String, BTreeMap<String, String>>,
    /// The ledger, if the folder has one.
    pub ledger: Option<Ledger>,
}

/// One file of a release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseFile {
    /// Its length in bytes.
    pub size: u64,
    /// The SHA-256 of its bytes, in lower-case hexadecimal.
    pub sha256: String,
}
