//! Takes documents out of a prepared folder: a new folder without them, and a record that they went.
//!
//! 1. **Select**: every provenance table is read once to find what the requests name.
//! 2. **Rewrite**: tokens and tables are copied document by document, without those. Nothing is
//!    tokenized; tokens of what stays are the same bytes.
//! 3. **Recount**: report, `neox.yml` and the manifest's sums are what they would be without them.
//!
//! Rows and tokens are streamed, so memory grows with the requests only.

mod counts;
mod requests;
mod rewrite;
mod tables;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use stablelm_tokenizer::{DecodeError, EncodeError, Tokenizer, TokenizerError};

use crate::document::Split;
use crate::hash::{sha256, to_hex};
use crate::manifest::{MANIFEST, Removal};
use crate::mixture;
use crate::prepare::{
    DROPPED, InputFile, Prepared, QUARANTINE, REPORT, SourceSummary, TEXT, TOKENIZER, TOKENS,
    TokenizerSummary,
};
use crate::read::ReadError;
use crate::recipe::Sampling;
use crate::report::{Mixture, Report};
use crate::report_html;
use crate::write::indexed_read::IndexedError;
use crate::write::neox_yml::{self, NeoxData, NeoxFile};
use crate::write::{WriteError, write_file};
use counts::SourceCounts;
use requests::Requests;
use rewrite::{Folders, rewrite_source, select};

/// What [`remove`] works with.
#[derive(Clone, Copy)]
pub struct RemoveOptions<'a> {
    /// A prepared folder, which stays as it is.
    pub folder: &'a Path,
    /// The requests: a file with one a line. A line is a document's id, `path:row`,
    /// `source/path:row` or the SHA-256 of its text in hex; blank lines and those that begin with
    /// `#` are none.
    pub ids: &'a Path,
    /// An empty folder for what is left. The caller gives it its final name.
    pub output: &'a Path,
    /// Whether requests that match no document are passed over.
    pub allow_missing: bool,
    /// Version of the command, part of the run's hash.
    pub tool_version: &'a str,
}

/// A folder without the documents, still without its manifest.
#[derive(Clone, Debug)]
pub struct Removed {
    /// What the folder holds now, with the record of this removal as the last.
    pub prepared: Prepared,
    /// Requests that match no document, in the order of the file.
    pub missing: Vec<String>,
    /// Documents that were taken out.
    pub documents: u64,
    /// Their tokens.
    pub tokens: u64,
    /// How many of their texts can't be recovered to the byte, as nothing but tokens is left of
    /// them: the report's bytes and characters are off by what the tokenizer changed in these.
    pub approximate: u64,
}

/// Why nothing can be taken out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RemoveError {
    /// The folder has no manifest or no report.
    #[error("`{}` is not a prepared folder: it has no `{missing}`", path.display())]
    NotPrepared {
        /// The folder.
        path: PathBuf,
        /// The file that is missing.
        missing: &'static str,
    },
    /// Requests match no document.
    #[error("requests that match no document of `{}`: {}", path.display(), requests.len())]
    NoMatch {
        /// The prepared folder.
        path: PathBuf,
        /// The requests, in the order of the file.
        requests: Vec<String>,
    },
    /// The file of requests is not text.
    #[error("`{}` is not UTF-8: invalid at byte {byte}", path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// First bad byte, from 0.
        byte: usize,
    },
    /// A file or folder can't be read or copied.
    #[error("failed to read `{}`", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The manifest or the report is no such thing.
    #[error("`{}` is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        #[source]
        source: serde_json::Error,
    },
    /// Files of the folder contradict each other.
    #[error("`{}` has {found} {what}, expected {expected}", path.display())]
    Inconsistent {
        /// The file.
        path: PathBuf,
        /// What is counted.
        what: &'static str,
        /// What another file says.
        expected: u64,
        /// What this one says.
        found: u64,
    },
    /// A table can't be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// An indexed dataset is damaged.
    #[error(transparent)]
    Indexed(#[from] IndexedError),
    /// An output can't be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The copy of the tokenizer can't be used.
    #[error("failed to load `{}`", path.display())]
    Tokenizer {
        /// The file.
        path: PathBuf,
        /// What the tokenizer says.
        #[source]
        source: TokenizerError,
    },
    /// A document to be removed holds ids that are none.
    #[error("failed to decode document {document} of `{}`", path.display())]
    Decode {
        /// The dataset, without `.bin` and `.idx`.
        path: PathBuf,
        /// The document, from 0.
        document: u64,
        /// What the tokenizer says.
        #[source]
        source: DecodeError,
    },
    /// The special tokens in a text to be removed can't be counted.
    #[error("failed to count the special tokens of a text")]
    Encode(#[source] EncodeError),
}

impl RemoveError {
    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { path, source }
    }
}

/// What is wanted of a manifest.
#[derive(Deserialize)]
struct ManifestFile {
    run_hash: String,
    tokenizer: TokenizerSummary,
    recipe: Value,
    inputs: Vec<InputFile>,
    sources: Vec<SourceSummary>,
    #[serde(default)]
    removed: Vec<Removal>,
}

/// Writes a prepared folder without some of its documents into an empty folder.
///
/// Writes everything but the manifest, which [`write_manifest`](crate::write_manifest) writes last.
/// When a request matches nothing and that is not allowed, nothing is written.
pub fn remove(options: &RemoveOptions<'_>) -> Result<Removed, RemoveError> {
    let manifest: ManifestFile = read_json(options.folder, MANIFEST)?;
    let mut report: Report = read_json(options.folder, REPORT)?;
    let bytes = std::fs::read(options.ids).map_err(RemoveError::io(options.ids))?;
    let mut requests = Requests::parse(&bytes).map_err(|error| RemoveError::NotUtf8 {
        path: options.ids.to_path_buf(),
        byte: error.valid_up_to(),
    })?;
    let names: Vec<_> = report
        .sources
        .iter()
        .map(|source| source.name.clone())
        .collect();
    let selected = select(options.folder, &names, &mut requests)?;
    let missing = requests.missing();
    if !missing.is_empty() && !options.allow_missing {
        return Err(RemoveError::NoMatch {
            path: options.folder.to_path_buf(),
            requests: missing,
        });
    }

    let tokenizer = options.folder.join(TOKENIZER);
    let tokenizer = Tokenizer::from_file(&tokenizer).map_err(|source| RemoveError::Tokenizer {
        path: tokenizer,
        source,
    })?;
    let folders = Folders {
        from: options.folder,
        to: options.output,
        tokenizer: &tokenizer,
        append_eod: manifest.recipe["tokenizer"]["append_eod"]
            .as_bool()
            .unwrap_or(true),
        requests: &requests,
        selected: &selected,
    };
    let mut sources = manifest.sources.clone();
    let (mut files, approximate) = rewrite_all(&folders, &mut report, &mut sources)?;
    for source in &mut report.sources {
        // The start of a text that was to go may still stand here.
        let samples = source.dropped.iter_mut();
        for sample in samples.filter(|sample| requests.names(&sample.id)) {
            sample.excerpt.clear();
        }
    }
    let removal = Removal {
        parent_run_hash: manifest.run_hash.clone(),
        ids_sha256: to_hex(&sha256(&bytes)),
        requested: requests.len(),
        documents: selected.documents,
        tokens: selected.tokens,
    };
    let run_hash = run_hash(&removal, options.tool_version);
    recount(&mut report, &manifest.recipe);
    for split in Split::ALL {
        files.entry(split).or_default();
    }
    write_summaries(options.output, &report, &manifest.recipe, &run_hash, files)?;
    let mut removed = manifest.removed;
    removed.push(removal);
    Ok(Removed {
        prepared: Prepared {
            report,
            run_hash,
            inputs: manifest.inputs,
            sources,
            tokenizer: manifest.tokenizer,
            tool_version: options.tool_version.to_owned(),
            recipe: manifest.recipe,
            removed,
        },
        missing,
        documents: selected.documents,
        tokens: selected.tokens,
        approximate,
    })
}

/// The token files of each split.
type Files = BTreeMap<Split, Vec<NeoxFile>>;

/// Rewrites every source; returns its token files, and how many texts are known by their tokens only.
fn rewrite_all(
    folders: &Folders<'_>,
    report: &mut Report,
    sources: &mut [SourceSummary],
) -> Result<(Files, u64), RemoveError> {
    for folder in [TOKENS, DROPPED, QUARANTINE, TEXT] {
        if folders.from.join(folder).is_dir() {
            let folder = folders.to.join(folder);
            std::fs::create_dir_all(&folder).map_err(WriteError::io(&folder))?;
        }
    }
    copy(folders, TOKENIZER)?;
    let mut files = Files::new();
    let mut approximate = 0;
    for source in &mut report.sources {
        copy(folders, &format!("{QUARANTINE}/{}.parquet", source.name))?;
        let summary = sources
            .iter_mut()
            .find(|summary| summary.name == source.name);
        let mut counts = SourceCounts::new(source, summary);
        for (split, file) in rewrite_source(folders, &mut counts)? {
            files.entry(split).or_default().push(file);
        }
        approximate += counts.finish();
    }
    Ok((files, approximate))
}

fn copy(folders: &Folders<'_>, name: &str) -> Result<(), RemoveError> {
    let from = folders.from.join(name);
    let copied = std::fs::copy(&from, folders.to.join(name));
    copied.map(|_| ()).map_err(RemoveError::io(&from))
}

/// Sums up the sources anew.
fn recount(report: &mut Report, recipe: &Value) {
    let sources = &report.sources;
    report.documents_kept = sources.iter().map(|source| source.documents_kept).sum();
    report.bytes_kept = sources.iter().map(|source| source.bytes_kept).sum();
    report.tokens = sources.iter().map(|source| source.tokens).sum();
    let found = sources.iter().map(|source| source.special_tokens_found);
    report.special_tokens_found = found.sum();
    report.mixture = plan_mixture(report, recipe);
}

fn plan_mixture(report: &Report, recipe: &Value) -> Mixture {
    let parts = report.sources.iter().map(|source| {
        let recipes = recipe["sources"].as_array().into_iter().flatten();
        let mut named = recipes.filter(|recipe| recipe["name"] == source.name.as_str());
        let sampling = named
            .next()
            .map_or(&Value::Null, |found| &found["sampling"]);
        let sampling = match sampling["epochs"].as_f64() {
            Some(epochs) => Sampling::Epochs(epochs),
            None => Sampling::Weight(sampling["weight"].as_f64().unwrap_or(1.0)),
        };
        let train = source.splits.get(&Split::Train);
        let tokens = train.map_or(0, |split| split.tokens);
        (source.name.as_str(), sampling, tokens)
    });
    let parts: Vec<_> = parts.collect();
    mixture::plan(&parts, recipe["training_tokens"].as_u64())
}

fn write_summaries(
    output: &Path,
    report: &Report,
    recipe: &Value,
    run_hash: &str,
    splits: Files,
) -> Result<(), WriteError> {
    write_file(&output.join(REPORT), report.to_json().as_bytes())?;
    let page = report_html::render(report, Some(recipe), Some(run_hash));
    write_file(&output.join("report.html"), page.as_bytes())?;
    let yml = neox_yml::render(&NeoxData {
        mixture: &report.mixture,
        training_tokens: recipe["training_tokens"].as_u64(),
        splits,
        vocab_file: TOKENIZER,
    });
    write_file(&output.join("neox.yml"), yml.as_bytes())
}

/// The same run and the same file of requests give the same bytes.
fn run_hash(removal: &Removal, tool_version: &str) -> String {
    let run = serde_json::json!({
        "parent_run_hash": removal.parent_run_hash,
        "ids_sha256": removal.ids_sha256,
        "tool_version": tool_version,
    });
    to_hex(&sha256(run.to_string().as_bytes()))
}

fn read_json<T: DeserializeOwned>(folder: &Path, name: &'static str) -> Result<T, RemoveError> {
    let path = folder.join(name);
    let bytes = std::fs::read(&path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => RemoveError::NotPrepared {
            path: folder.to_path_buf(),
            missing: name,
        },
        _ => RemoveError::Io {
            path: path.clone(),
            source,
        },
    })?;
    serde_json::from_slice(&bytes).map_err(|source| RemoveError::Damaged { path, source })
}
