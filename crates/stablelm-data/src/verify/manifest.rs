//! What is wanted of a manifest and a report.

use std::io;
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::manifest::MANIFEST;
use crate::prepare::REPORT;
use crate::recipe::{Books3Recipe, Sampling, SourceKind, SourceRecipe};
use crate::report::Report;
use crate::verify::VerifyError;

/// The copy of the tokenizer in a prepared folder.
pub(super) const TOKENIZER: &str = "tokenizer.json";

/// A manifest, as far as it can be checked.
#[derive(Debug, Deserialize)]
pub(super) struct ManifestFile {
    pub(super) run_hash: String,
    pub(super) tokenizer: TokenizerEntry,
    pub(super) recipe: Value,
    pub(super) inputs: Vec<FileEntry>,
    pub(super) outputs: Vec<FileEntry>,
    pub(super) sources: Vec<SourceEntry>,
}

#[derive(Debug, Deserialize)]
pub(super) struct TokenizerEntry {
    pub(super) sha256: String,
    pub(super) vocab_size: usize,
}

/// An input, which has a source, or an output.
#[derive(Debug, Deserialize)]
pub(super) struct FileEntry {
    #[serde(default)]
    pub(super) source: String,
    pub(super) path: String,
    pub(super) bytes: u64,
    pub(super) sha256: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct SourceEntry {
    pub(super) name: String,
    pub(super) kind: SourceKind,
    pub(super) documents: u64,
    pub(super) tokens: u64,
}

impl ManifestFile {
    /// The lists that the recipe names.
    pub(super) fn books3(&self) -> Books3Recipe {
        let names = |key: &str| {
            let names = self.recipe["books3"][key].as_array();
            let names = names.into_iter().flatten().filter_map(Value::as_str);
            names.map(str::to_owned).collect()
        };
        Books3Recipe {
            titles: names("titles"),
            fingerprints: names("fingerprints"),
        }
    }

    /// Whether each document ends with the end-of-document token.
    pub(super) fn appends_eod(&self) -> bool {
        self.recipe["tokenizer"]["append_eod"]
            .as_bool()
            .unwrap_or(true)
    }

    /// Whether a special token in a text may have become its id.
    pub(super) fn encodes_special_tokens(&self) -> bool {
        self.recipe["tokenizer"]["special_tokens_in_text"].as_str() == Some("encode")
    }

    /// How the files of a source are read; filters have no part in it.
    pub(super) fn source(&self, name: &str) -> Option<SourceRecipe> {
        let entry = self.sources.iter().find(|source| source.name == name)?;
        let recipes = self.recipe["sources"].as_array();
        let recipe = recipes
            .into_iter()
            .flatten()
            .find(|source| source["name"] == name);
        let key = |key: &str| {
            recipe
                .and_then(|recipe| recipe[key].as_str())
                .map(str::to_owned)
        };
        Some(SourceRecipe {
            name: entry.name.clone(),
            kind: entry.kind,
            paths: Vec::new(),
            sampling: Sampling::Weight(1.0),
            text: key("text"),
            id: key("id"),
            filters: Vec::new(),
        })
    }
}

pub(super) fn read(folder: &Path) -> Result<ManifestFile, VerifyError> {
    read_json(folder, MANIFEST)
}

pub(super) fn read_report(folder: &Path) -> Result<Report, VerifyError> {
    read_json(folder, REPORT)
}

fn read_json<T: DeserializeOwned>(folder: &Path, name: &'static str) -> Result<T, VerifyError> {
    let path = folder.join(name);
    let bytes = std::fs::read(&path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => VerifyError::NotPrepared {
            path: folder.to_path_buf(),
            missing: name,
        },
        _ => VerifyError::Io {
            path: path.clone(),
            source,
        },
    })?;
    serde_json::from_slice(&bytes).map_err(|source| VerifyError::Damaged { path, source })
}
