//! From a recipe to a folder of tokens: the order of steps.
//!
//! 1. **Judge** ([`spooling`], [`judge`]): each document alone, on all threads. Outcomes go into
//!    spools in the order of the rows, with a journal beside them, from which a killed run goes on.
//! 2. **Merge** ([`duplicates`]): what needs all documents works on the keys in the spools.
//! 3. **Commit** ([`commit`]): the spools become the output.
//!
//! The same inputs give the same bytes for any number of threads, any amount of memory and any number
//! of interruptions.

pub(crate) mod commit;
mod documents;
mod duplicates;
mod journal;
pub(crate) mod judge;
mod keys;
mod outcomes;
mod plan;
mod sample;
pub(crate) mod source;
mod spool;
mod spooling;
pub(crate) mod tally;

use std::collections::BTreeMap;
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use stablelm_tokenizer::{EncodeError, Tokenizer, TokenizerError};

use crate::books3::Books3ListError;
use crate::dedup::DedupError;
use crate::dedup::minhash::Hasher;
use crate::document::Split;
use crate::hash::{Sha256Bytes, sha256, to_hex};
use crate::lists;
use crate::manifest::Removal;
use crate::pipeline::{ThreadsError, Workers};
use crate::progress::Progress;
use crate::read::ReadError;
use crate::recipe::{Recipe, SourceKind, SourceRecipe};
use crate::remote::{RemoteError, RemoteOptions, Remotes};
use crate::report::Report;
use crate::report_html;
use crate::write::indexed::TokenDtype;
use crate::write::neox_yml::{self, NeoxData, NeoxFile};
use crate::write::{WriteError, write_file};
use commit::{OutputSettings, Shard, SourceOutput};
use duplicates::{Duplicates, Place};
use journal::{Journal, SourceJournal};
use judge::{Shared, Stages};
use source::{SourceFile, find_files};
use spool::SpoolReader;
use spooling::{Spooling, rows_path, spool_source};
use tally::SourceTally;

pub use plan::{Estimate, Fetched, FilePlan, PlanOptions, PreparePlan, SourcePlan, plan};
pub use source::InputFile;

pub(crate) const TOKENS: &str = "tokens";
pub(crate) const DROPPED: &str = "dropped";
pub(crate) const QUARANTINE: &str = "quarantine";
pub(crate) const TEXT: &str = "text";
pub(crate) const REPORT: &str = "report.json";
/// The copy of the tokenizer that `neox.yml` points to.
pub(crate) const TOKENIZER: &str = "tokenizer.json";
/// Where a run keeps what it needs to go on after a crash; gone when the run ends.
const WORK: &str = "work.tmp";

/// Gives the SPDX expression for a kind of source and a subset of it.
pub type LicenseOf<'a> = &'a (dyn Fn(SourceKind, Option<&str>) -> Option<String> + Sync);

/// What [`prepare`] works with.
#[derive(Clone, Copy)]
pub struct PrepareOptions<'a> {
    /// What to do.
    pub recipe: &'a Recipe,
    /// Where the recipe came from; its folder is where relative paths start.
    pub recipe_path: &'a Path,
    /// The tokenizer that the recipe names.
    pub tokenizer: &'a Tokenizer,
    /// A folder that exists, and is empty or holds a run of the same recipe that was broken off. The
    /// caller gives it its final name.
    pub output: &'a Path,
    /// Threads to work on; they never change the outcome.
    pub threads: NonZeroUsize,
    /// Bytes for batches and the hashes of seen texts; they never change the outcome.
    pub memory_limit: u64,
    /// How remote paths are reached.
    pub remote: &'a RemoteOptions,
    /// Version of the command, part of the run's hash.
    pub tool_version: &'a str,
    /// Licenses of sources and subsets; `None` becomes `NOASSERTION`.
    pub license_of: LicenseOf<'a>,
}

/// A finished run, still without its manifest.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// What became of every document.
    pub report: Report,
    /// SHA-256 of recipe, tool version, tokenizer and inputs, in hex.
    pub run_hash: String,
    /// Every file that was read.
    pub inputs: Vec<InputFile>,
    /// Licenses a source, in the recipe's order.
    pub sources: Vec<SourceSummary>,
    /// The tokenizer of the run.
    pub tokenizer: TokenizerSummary,
    /// The version that [`PrepareOptions`] gave.
    pub tool_version: String,
    /// The recipe as resolved.
    pub recipe: serde_json::Value,
    /// What was taken out of the folder since, the latest last.
    pub removed: Vec<Removal>,
}

/// A source as the manifest names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceSummary {
    /// Its name.
    pub name: String,
    /// The schema of its files.
    pub kind: SourceKind,
    /// Documents in the token files.
    pub documents: u64,
    /// Tokens in the token files.
    pub tokens: u64,
    /// The same a subset and license.
    pub licenses: Vec<LicenseCount>,
}

/// What is under one license in one subset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LicenseCount {
    /// SPDX expression, or `NOASSERTION`.
    pub license: String,
    /// The subset, for sources that have them.
    pub subset: Option<String>,
    /// Documents in the token files.
    pub documents: u64,
    /// Tokens in the token files.
    pub tokens: u64,
}

/// A tokenizer as the manifest names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenizerSummary {
    /// Path or hub id, as in the recipe.
    pub source: String,
    /// SHA-256 of its file, in hex.
    pub sha256: String,
    /// The program that encodes.
    pub engine: String,
    /// Number of ids.
    pub vocab_size: usize,
}

/// Why a run can't be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PrepareError {
    /// A pattern matches no file.
    #[error("source `{source_name}`: no file matches `{}`", pattern.display())]
    NoFiles {
        /// The source.
        source_name: String,
        /// The pattern, as seen from the working directory.
        pattern: PathBuf,
    },
    /// A pattern is none.
    #[error("source `{source_name}`: `{pattern}` is not a pattern: {message}")]
    Pattern {
        /// The source.
        source_name: String,
        /// The pattern, as written.
        pattern: String,
        /// What is wrong with it.
        message: &'static str,
    },
    /// A pattern matches a file of Books3, which is always excluded.
    #[error("source `{source_name}`: `{}` looks like Books3, which is always excluded", path.display())]
    Books3Refused {
        /// The source.
        source_name: String,
        /// The file.
        path: PathBuf,
    },
    /// The folder holds an unfinished run of something else.
    #[error("`{}` holds an unfinished run of another recipe, tool version, tokenizer or other inputs", output.display())]
    OtherRun {
        /// The folder.
        output: PathBuf,
    },
    /// A list of what is known of Books3 can't be used.
    #[error(transparent)]
    Books3List(#[from] Books3ListError),
    /// A remote path can't be listed, or a file behind it not fetched.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// Two addresses differ in nothing that outputs would show.
    #[error("source `{source_name}` has two addresses that are `{url}` without their queries")]
    SameAddress {
        /// The source.
        source_name: String,
        /// What both show.
        url: String,
    },
    /// A remote file was fetched, but can't be read.
    #[error("failed to read `{url}`")]
    RemoteFile {
        /// Its address.
        url: String,
        /// What is wrong with it.
        #[source]
        source: ReadError,
    },
    /// A file can't be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// An output can't be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The hashes of seen texts can't be kept.
    #[error(transparent)]
    Dedup(#[from] DedupError),
    /// The tokenizer has no end-of-document token.
    #[error("tokenizer `{tokenizer}` can't end documents")]
    NoEndOfDocument {
        /// The tokenizer, as the recipe names it.
        tokenizer: String,
        /// What the tokenizer says.
        #[source]
        source: TokenizerError,
    },
    /// A text can't be encoded, or holds a special token where none is allowed.
    #[error("failed to encode row {row} of `{path}`")]
    Encode {
        /// The file, as outputs show it.
        path: String,
        /// The row, from 0.
        row: u64,
        /// What the tokenizer says.
        #[source]
        source: EncodeError,
    },
    /// The system gives no threads.
    #[error(transparent)]
    Threads(#[from] ThreadsError),
}

/// Runs a recipe into an empty folder, or into one where a run of the same recipe was broken off.
///
/// Writes everything but the manifest, which [`write_manifest`](crate::write_manifest) writes last.
/// What is needed to go on after a crash lies in the folder meanwhile, and is gone in the end.
pub fn prepare(options: &PrepareOptions<'_>) -> Result<Prepared, PrepareError> {
    let recipe = options.recipe;
    let workers = Workers::new(options.threads)?;
    let shared = shared(recipe, options.tokenizer)?;
    let remotes = Arc::new(Remotes::new(options.remote.clone()));
    let files = recipe
        .sources
        .iter()
        .map(|source| find_files(recipe, source, &remotes));
    let files = files.collect::<Result<Vec<_>, _>>()?;
    let work = options.output.join(WORK);
    let run = run_key(options, &files);
    let mut journal = start(options.output, &work, run)?;
    for (index, (source, files)) in recipe.sources.iter().zip(&files).enumerate() {
        if journal.sources.len() == index {
            journal.sources.push(SourceJournal::default());
        }
        if !journal.sources[index].done {
            spool_source(
                &Spooling {
                    options,
                    workers: &workers,
                    remotes: &remotes,
                    shared: &shared,
                    work: &work,
                    index,
                    source,
                    files,
                },
                &mut journal,
            )?;
        }
    }
    let finished = commit_all(options, &shared, &files, &work, &journal)?;
    let inputs = journal.sources.into_iter();
    let inputs = inputs.flat_map(|source| source.inputs).collect();
    let prepared = finish(options, &shared, inputs, finished)?;
    std::fs::remove_dir_all(&work).map_err(WriteError::io(&work))?;
    Ok(prepared)
}

/// Whether a folder holds a run that was broken off after some work, and can go on.
pub fn is_resumable(output: &Path) -> bool {
    let journal = Journal::load(&output.join(WORK));
    journal.is_ok_and(|journal| journal.is_some_and(|journal| journal.has_progress()))
}

/// What a run is, as far as its journal must know.
fn run_key(options: &PrepareOptions<'_>, files: &[Vec<SourceFile>]) -> String {
    let files: Vec<_> = files
        .iter()
        .map(|files| {
            let files = files.iter();
            files
                .map(|file| {
                    let version = file.remote.as_ref().and_then(|file| file.etag.as_deref());
                    (&*file.shown, file.len, file.modified, version)
                })
                .collect::<Vec<_>>()
        })
        .collect();
    let run = serde_json::json!({
        "recipe": options.recipe,
        "tool_version": options.tool_version,
        "tokenizer": options.tokenizer.sha256(),
        "files": files,
    });
    to_hex(&sha256(run.to_string().as_bytes()))
}

/// Opens the journal of a run that was broken off, or begins a new one.
fn start(output: &Path, work: &Path, run: String) -> Result<Journal, PrepareError> {
    let journal = Journal::load(work).map_err(ReadError::io(work))?;
    let journal = match journal {
        Some(journal) if journal.run != run => {
            return Err(PrepareError::OtherRun {
                output: output.to_path_buf(),
            });
        }
        Some(journal) => journal,
        None => {
            let journal = Journal {
                run,
                sources: Vec::new(),
            };
            std::fs::create_dir_all(work).map_err(WriteError::io(work))?;
            journal.store(work)?;
            journal
        }
    };
    Ok(journal)
}

fn shared<'t>(recipe: &Recipe, tokenizer: &'t Tokenizer) -> Result<Shared<'t>, PrepareError> {
    let eod = recipe
        .tokenizer
        .append_eod
        .then(|| tokenizer.end_of_document())
        .transpose();
    let eod = eod.map_err(|source| PrepareError::NoEndOfDocument {
        tokenizer: recipe.tokenizer.source.clone(),
        source,
    })?;
    Ok(Shared {
        tokenizer,
        special: recipe.tokenizer.special_tokens_in_text,
        eod,
        dtype: TokenDtype::for_vocab_size(tokenizer.vocab_size()),
        books3: lists::books3_rules(recipe)?,
        minhash: recipe.dedup.minhash.as_ref().map(Hasher::new),
    })
}

/// What the outputs of a source came to.
struct Committed {
    tally: SourceTally,
    shards: Vec<Shard>,
}

/// Writes the outputs of all sources from their spools.
fn commit_all(
    options: &PrepareOptions<'_>,
    shared: &Shared<'_>,
    files: &[Vec<SourceFile>],
    work: &Path,
    journal: &Journal,
) -> Result<Vec<Committed>, PrepareError> {
    let recipe = options.recipe;
    let wants_dedup = recipe.dedup.exact || recipe.dedup.minhash.is_some();
    let duplicates = wants_dedup
        .then(|| {
            let limit = options.memory_limit / 2;
            duplicates::find(work, &journal.sources, recipe.dedup, limit)
        })
        .transpose()?;
    let mut cursor = duplicates.as_ref().map(Duplicates::cursor).transpose()?;
    // A run that was broken off while writing these begins them anew.
    for folder in [TOKENS, DROPPED, QUARANTINE, TEXT] {
        let folder = options.output.join(folder);
        match std::fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(WriteError::io(&folder)(error).into());
            }
            _ => {}
        }
        if !folder.ends_with(TEXT) || recipe.output.text {
            std::fs::create_dir_all(&folder).map_err(WriteError::io(&folder))?;
        }
    }
    let total = journal.sources.iter().map(|source| source.rows_len).sum();
    let mut progress = Progress::new("write", total);
    let mut document = 0;
    let mut bytes = 0;
    let mut committed = Vec::new();
    for (index, source) in recipe.sources.iter().enumerate() {
        let stages = Stages::new(recipe, source);
        let settings = OutputSettings {
            folder: options.output,
            wanted: recipe.output,
            dtype: shared.dtype,
            license_of: options.license_of,
        };
        let mut output = SourceOutput::create(settings, source, &files[index], &stages)?;
        let mut tally = SourceTally::default();
        let path = rows_path(work, index);
        let len = journal.sources[index].rows_len;
        let mut reader = SpoolReader::open(&path, len).map_err(WriteError::io(&path))?;
        while let Some(batch) = reader.next_batch().map_err(WriteError::io(&path))? {
            for at in 0..batch.num_rows() {
                let found = cursor.as_mut().map(|cursor| cursor.duplicate(document));
                let found = found.transpose()?.flatten();
                let duplicate =
                    found.map(|(reason, place)| (reason, name_place(recipe, files, place)));
                let split = |text: &Sha256Bytes| recipe.split.assign(text, recipe.seed);
                output.write(&outcomes::row(&batch, at), duplicate, split, &mut tally)?;
                document += 1;
            }
            progress.bytes(bytes + len - reader.left());
        }
        bytes += len;
        let shards = output.finish()?;
        committed.push(Committed { tally, shards });
    }
    Ok(committed)
}

/// A document as tables name it: source, path and row.
fn name_place(recipe: &Recipe, files: &[Vec<SourceFile>], place: Place) -> String {
    let source = place.source as usize;
    let path = &files[source][place.file as usize].shown;
    format!("{}/{path}:{}", recipe.sources[source].name, place.row)
}

/// Writes what covers the whole run.
fn finish(
    options: &PrepareOptions<'_>,
    shared: &Shared<'_>,
    inputs: Vec<InputFile>,
    committed: Vec<Committed>,
) -> Result<Prepared, PrepareError> {
    let PrepareOptions {
        recipe,
        tokenizer,
        output,
        ..
    } = *options;
    let (tallies, shards): (Vec<_>, Vec<_>) = committed
        .into_iter()
        .map(|source| (source.tally, source.shards))
        .unzip();
    let report = tally::report(recipe, &tallies, &shared.books3);
    write_file(&output.join(REPORT), report.to_json().as_bytes())?;
    // The tokenizer lies beside the tokens, so that `neox.yml` works wherever the folder goes.
    write_file(&output.join(TOKENIZER), tokenizer.bytes())?;
    let yml = neox_yml::render(&NeoxData {
        mixture: &report.mixture,
        training_tokens: recipe.training_tokens,
        splits: token_files(recipe, &shards),
        vocab_file: TOKENIZER,
    });
    write_file(&output.join("neox.yml"), yml.as_bytes())?;

    let tokenizer = TokenizerSummary {
        source: recipe.tokenizer.source.clone(),
        sha256: tokenizer.sha256().to_owned(),
        engine: tokenizer.engine().to_owned(),
        vocab_size: tokenizer.vocab_size(),
    };
    let recipe_json = serde_json::to_value(recipe).expect("a recipe has only finite numbers");
    let run_hash = run_hash(&recipe_json, options.tool_version, &tokenizer, &inputs);
    let page = report_html::render(&report, Some(&recipe_json), Some(&run_hash));
    write_file(&output.join("report.html"), page.as_bytes())?;
    let sources = recipe.sources.iter().zip(&tallies);
    Ok(Prepared {
        report,
        run_hash,
        inputs,
        sources: sources
            .map(|(source, tally)| summarize(source, tally))
            .collect(),
        tokenizer,
        tool_version: options.tool_version.to_owned(),
        recipe: recipe_json,
        removed: Vec::new(),
    })
}

/// Token files of each split, by source.
fn token_files(recipe: &Recipe, shards: &[Vec<Shard>]) -> BTreeMap<Split, Vec<NeoxFile>> {
    let of = |split: Split| {
        let sources = recipe.sources.iter().zip(shards);
        let files = sources.flat_map(move |(source, shards)| {
            let shards = shards.iter().filter(move |shard| shard.split == split);
            shards.map(move |shard| NeoxFile {
                source: source.name.clone(),
                prefix: shard.prefix.clone(),
                tokens: shard.tokens,
            })
        });
        files.collect()
    };
    Split::ALL
        .into_iter()
        .map(|split| (split, of(split)))
        .collect()
}

/// The one value that two runs share exactly if they must give the same bytes.
fn run_hash(
    recipe: &serde_json::Value,
    tool_version: &str,
    tokenizer: &TokenizerSummary,
    inputs: &[InputFile],
) -> String {
    let run = serde_json::json!({
        "recipe": recipe,
        "tool_version": tool_version,
        "tokenizer": tokenizer,
        "inputs": inputs,
    });
    to_hex(&sha256(run.to_string().as_bytes()))
}

fn summarize(source: &SourceRecipe, tally: &SourceTally) -> SourceSummary {
    let licenses = tally
        .licenses
        .iter()
        .map(|((subset, license), counts)| LicenseCount {
            license: license.clone(),
            subset: (!subset.is_empty()).then(|| subset.clone()),
            documents: counts.documents,
            tokens: counts.tokens,
        });
    SourceSummary {
        name: source.name.clone(),
        kind: source.kind,
        documents: tally.documents_kept,
        tokens: tally.tokens(),
        licenses: licenses.collect(),
    }
}
