//! The manifest of a prepared folder: what it was made from, and what it holds.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::hash::sha256_file;
use crate::prepare::{InputFile, Prepared, SourceSummary, TokenizerSummary};
use crate::write::{WriteError, write_file};

/// Name of the manifest in its folder.
pub(crate) const MANIFEST: &str = "manifest.json";

/// Why a manifest can't be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// A file of the folder can't be read.
    #[error("failed to read `{}`", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The manifest can't be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

#[derive(Serialize)]
struct Manifest<'p> {
    run_hash: &'p str,
    tool_version: &'p str,
    tokenizer: &'p TokenizerSummary,
    recipe: &'p serde_json::Value,
    inputs: &'p [InputFile],
    outputs: Vec<OutputFile>,
    sources: &'p [SourceSummary],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    removed: &'p [Removal],
}

/// One time that documents were taken out of a prepared folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removal {
    /// The run that the folder was before.
    pub parent_run_hash: String,
    /// SHA-256 of the file of requests, in hex.
    pub ids_sha256: String,
    /// Different requests in it.
    pub requested: u64,
    /// Documents that were taken out.
    pub documents: u64,
    /// Their tokens.
    pub tokens: u64,
}

/// A file of a prepared folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OutputFile {
    /// Its path below the folder, with `/`.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of it, in hex.
    pub sha256: String,
}

/// Lists the files that lie in a folder by now, sorted by path, each with size and hash.
pub fn list_files_with_hashes(folder: &Path) -> Result<Vec<OutputFile>, ManifestError> {
    let paths =
        list_files(folder).map_err(|(path, source)| ManifestError::Read { path, source })?;
    let hashed = paths.into_iter().map(|path| {
        let file = folder.join(&path);
        let (bytes, sha256) =
            sha256_file(&file).map_err(|source| ManifestError::Read { path: file, source })?;
        Ok(OutputFile {
            path,
            bytes,
            sha256,
        })
    });
    hashed.collect()
}

/// Writes `manifest.json` into a prepared folder, naming every file that lies there by now.
pub fn write_manifest(output: &Path, prepared: &Prepared) -> Result<(), ManifestError> {
    let mut outputs = list_files_with_hashes(output)?;
    outputs.retain(|file| file.path != MANIFEST);
    let manifest = Manifest {
        run_hash: &prepared.run_hash,
        tool_version: &prepared.tool_version,
        tokenizer: &prepared.tokenizer,
        recipe: &prepared.recipe,
        inputs: &prepared.inputs,
        outputs,
        sources: &prepared.sources,
        removed: &prepared.removed,
    };
    let json = serde_json::to_string_pretty(&manifest).expect("a manifest has only string keys");
    Ok(write_file(
        &output.join(MANIFEST),
        (json + "\n").as_bytes(),
    )?)
}

/// The files below a folder, with `/` between names on every system; fails with the folder that can't
/// be read.
pub(crate) fn list_files(folder: &Path) -> Result<BTreeSet<String>, (PathBuf, io::Error)> {
    let mut paths = BTreeSet::new();
    let mut folders = vec![(folder.to_path_buf(), String::new())];
    while let Some((folder, prefix)) = folders.pop() {
        let failed = |error| (folder.clone(), error);
        for entry in std::fs::read_dir(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            if entry.file_type().map_err(failed)?.is_dir() {
                folders.push((entry.path(), name + "/"));
            } else {
                paths.insert(name);
            }
        }
    }
    Ok(paths)
}
