//! A prepared folder.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::inspect::{DocumentInspection, InspectError, InspectOptions, TokensInspection, tokens};
use crate::manifest::{MANIFEST, Removal};
use crate::prepare::{REPORT, TOKENS};
use crate::report::Report;
use crate::write::token_files;

/// What a prepared folder holds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PreparedInspection {
    /// The folder.
    pub path: PathBuf,
    /// Hash of the run, where there is a manifest.
    pub run_hash: Option<String>,
    /// Version of the command that made it.
    pub tool_version: Option<String>,
    /// What was taken out of the folder since it was prepared.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<Removal>,
    /// The report.
    pub report: Report,
    /// Its token files: sources in the recipe's order, splits and shards in theirs.
    pub tokens: Vec<TokensInspection>,
    /// The document that was asked for, counted over all token files in that order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document: Option<DocumentInspection>,
}

/// What is wanted of a manifest.
#[derive(Deserialize)]
struct ManifestHead {
    run_hash: String,
    tool_version: String,
    #[serde(default)]
    removed: Vec<Removal>,
}

pub(super) fn inspect(
    path: &Path,
    options: &InspectOptions<'_>,
) -> Result<PreparedInspection, InspectError> {
    let Some(report) = read_json::<Report>(&path.join(REPORT))? else {
        return Err(InspectError::NotPrepared {
            path: path.to_path_buf(),
        });
    };
    let manifest = read_json::<ManifestHead>(&path.join(MANIFEST))?;
    let mut files = Vec::new();
    let plain = InspectOptions {
        document: None,
        tokenizer: None,
    };
    for source in &report.sources {
        let found = token_files::find(path, &source.name);
        for file in found.map_err(|source| InspectError::Io {
            path: path.join(TOKENS),
            source,
        })? {
            let name = file.prefix;
            files.push((tokens::inspect(&path.join(&name), &plain)?, name));
        }
    }
    let document = options
        .document
        .map(|number| find_document(path, &files, number, options));
    Ok(PreparedInspection {
        path: path.to_path_buf(),
        run_hash: manifest.as_ref().map(|manifest| manifest.run_hash.clone()),
        tool_version: manifest
            .as_ref()
            .map(|manifest| manifest.tool_version.clone()),
        removed: manifest
            .map(|manifest| manifest.removed)
            .unwrap_or_default(),
        report,
        document: document.transpose()?,
        tokens: files.into_iter().map(|(tokens, _)| tokens).collect(),
    })
}

fn find_document(
    path: &Path,
    files: &[(TokensInspection, String)],
    number: u64,
    options: &InspectOptions<'_>,
) -> Result<DocumentInspection, InspectError> {
    let mut left = number;
    for (tokens, name) in files {
        if left < tokens.documents {
            let options = InspectOptions {
                document: Some(left),
                tokenizer: options.tokenizer,
            };
            let document = tokens::inspect(&tokens.prefix, &options)?.document;
            let file = Some(name.clone());
            return Ok(DocumentInspection {
                file,
                ..document.unwrap_or_default()
            });
        }
        left -= tokens.documents;
    }
    let documents = number - left;
    Err(InspectError::NoDocument {
        path: path.to_path_buf(),
        document: number,
        documents,
    })
}

/// Reads a small JSON file; `None` when there is none.
fn read_json<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<Option<T>, InspectError> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(InspectError::Io {
                path: path.to_path_buf(),
                source,
            });
        }
    };
    let parsed = serde_json::from_slice(&bytes);
    parsed.map(Some).map_err(|source| InspectError::Damaged {
        path: path.to_path_buf(),
        source,
    })
}
