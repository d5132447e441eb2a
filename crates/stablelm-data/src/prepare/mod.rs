//! From a recipe to a folder of tokens: the order of steps.
//!
//! Rows are read in order, judged one by one on all threads, compared with all texts before them in
//! order, encoded on all threads and written in order. So the same inputs give the same bytes for
//! any number of threads and any amount of memory.

mod judge;
mod output;
mod plan;
mod source;
mod tally;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use serde::Serialize;
use stablelm_tokenizer::{EncodeError, Tokenizer, TokenizerError};

use crate::dedup::exact::{DedupError, SeenTexts};
use crate::document::Split;
use crate::filter::Reason;
use crate::hash::{sha256, to_hex};
use crate::pipeline::{Pool, ThreadsError, Workers};
use crate::progress::Progress;
use crate::read::ReadError;
use crate::recipe::{Recipe, SourceKind, SourceRecipe};
use crate::report::Report;
use crate::report_html;
use crate::write::indexed::TokenDtype;
use crate::write::neox_yml::{self, NeoxData};
use crate::write::{WriteError, write_file};
use judge::{Encoding, Fate, Stages, encode, judge};
use output::{OutputSettings, SourceOutput, tokens_prefix};
use source::{SourceFile, SourceReader, find_files};
use tally::SourceTally;

pub use plan::{Estimate, FilePlan, PlanOptions, PreparePlan, SourcePlan, plan};
pub use source::InputFile;

pub(crate) const TOKENS: &str = "tokens";
pub(crate) const DROPPED: &str = "dropped";
pub(crate) const QUARANTINE: &str = "quarantine";
pub(crate) const TEXT: &str = "text";
pub(crate) const REPORT: &str = "report.json";
/// The copy of the tokenizer that `neox.yml` points to.
const TOKENIZER: &str = "tokenizer.json";
/// Where hashes of seen texts go when memory is short; gone when the run ends.
const SEEN: &str = "seen-texts.tmp";

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
    /// A folder that exists and is empty. The caller gives it its final name.
    pub output: &'a Path,
    /// Threads to work on; they never change the outcome.
    pub threads: NonZeroUsize,
    /// Bytes for batches and the hashes of seen texts; they never change the outcome.
    pub memory_limit: u64,
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
}

/// A source as the manifest names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
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

/// Runs a recipe into an empty folder.
///
/// Writes everything but the manifest, which [`write_manifest`](crate::write_manifest) writes last.
pub fn prepare(options: &PrepareOptions<'_>) -> Result<Prepared, PrepareError> {
    let PrepareOptions {
        recipe, tokenizer, ..
    } = *options;
    let workers = Workers::new(options.threads)?;
    let encoding = encoding(recipe, tokenizer)?;
    let files = recipe
        .sources
        .iter()
        .map(|source| find_files(recipe, source));
    let files = files.collect::<Result<Vec<_>, _>>()?;
    for folder in [TOKENS, DROPPED, QUARANTINE]
        .into_iter()
        .chain(recipe.output.text.then_some(TEXT))
    {
        let folder = options.output.join(folder);
        std::fs::create_dir_all(&folder).map_err(WriteError::io(&folder))?;
    }
    let total = files.iter().flatten().map(|file| file.len).sum();
    let mut run = Run {
        options,
        workers,
        encoding,
        seen: SeenTexts::new(options.output.join(SEEN), options.memory_limit / 2),
        progress: Progress::new("prepare", total),
        bytes_done: 0,
        inputs: Vec::new(),
    };
    let mut tallies = Vec::new();
    for (source, files) in recipe.sources.iter().zip(&files) {
        tallies.push(run.source(source, files)?);
    }
    let inputs = std::mem::take(&mut run.inputs);
    drop(run);
    finish(options, inputs, &tallies)
}

fn encoding<'t>(recipe: &Recipe, tokenizer: &'t Tokenizer) -> Result<Encoding<'t>, PrepareError> {
    let eod = recipe
        .tokenizer
        .append_eod
        .then(|| tokenizer.end_of_document())
        .transpose();
    let eod = eod.map_err(|source| PrepareError::NoEndOfDocument {
        tokenizer: recipe.tokenizer.source.clone(),
        source,
    })?;
    Ok(Encoding {
        tokenizer,
        encoders: Pool::default(),
        special: recipe.tokenizer.special_tokens_in_text,
        eod,
    })
}

/// What the sources of a run share.
struct Run<'a> {
    options: &'a PrepareOptions<'a>,
    workers: Workers,
    encoding: Encoding<'a>,
    seen: SeenTexts,
    progress: Progress,
    /// Bytes of the sources before the current one.
    bytes_done: u64,
    inputs: Vec<InputFile>,
}

impl Run<'_> {
    fn source(
        &mut self,
        source: &SourceRecipe,
        files: &[SourceFile],
    ) -> Result<SourceTally, PrepareError> {
        let recipe = self.options.recipe;
        let stages = Stages::new(source, recipe.dedup);
        let settings = OutputSettings {
            folder: self.options.output,
            wanted: recipe.output,
            dtype: TokenDtype::for_vocab_size(self.options.tokenizer.vocab_size()),
            license_of: self.options.license_of,
        };
        let mut output = SourceOutput::create(settings, source, files, &stages)?;
        let batch_bytes = batch_bytes(self.options.memory_limit);
        let mut reader = SourceReader::new(&source.name, files, &stages.schema, batch_bytes);
        let mut tally = SourceTally::default();
        let Self {
            workers,
            encoding,
            seen,
            progress,
            bytes_done,
            ..
        } = self;
        workers.read_ahead(
            || Ok(reader.next_batch()?),
            |batch| {
                let judged = workers.map(batch.rows, |(file, row)| (file, judge(row, &stages)));
                let mut fates = Vec::with_capacity(judged.len());
                for (file, fate) in judged {
                    fates.push((file, drop_duplicate(fate, &stages, seen)?));
                }
                let encoded = workers.map(fates, |(file, fate)| {
                    encode(fate, &stages, encoding)
                        .map(|fate| (file, fate))
                        .map_err(|(row, source)| {
                            let path = files[file].shown.to_string();
                            PrepareError::Encode { path, row, source }
                        })
                });
                let mut part = SourceTally::default();
                for fate in encoded {
                    let (file, fate) = fate?;
                    let split = |text: &[u8; 32]| recipe.split.assign(text, recipe.seed);
                    output.write(file, fate, split, &mut part)?;
                }
                tally.merge(part);
                progress.bytes(*bytes_done + batch.bytes_read);
                Ok::<_, PrepareError>(())
            },
        )?;
        output.finish()?;
        self.inputs.extend(reader.into_inputs());
        self.bytes_done += files.iter().map(|file| file.len).sum::<u64>();
        tracing::info!(
            source = source.name,
            documents_in = tally.documents_in,
            documents_kept = tally.documents_kept,
            tokens = tally.tokens(),
            "prepared a source"
        );
        Ok(tally)
    }
}

/// Batches in flight take several times their text: two of rows, one of documents, one of tokens.
fn batch_bytes(memory_limit: u64) -> usize {
    let bytes = (memory_limit / 16).clamp(64 << 10, 32 << 20);
    usize::try_from(bytes).expect("at most 32 MiB")
}

/// The one step that needs the order of rows.
fn drop_duplicate(
    fate: Fate,
    stages: &Stages<'_>,
    seen: &mut SeenTexts,
) -> Result<Fate, DedupError> {
    match (fate, stages.dedup()) {
        (
            Fate::Passed {
                document,
                text_sha256,
            },
            Some(stage),
        ) => Ok(if seen.insert(&text_sha256)? {
            Fate::Passed {
                document,
                text_sha256,
            }
        } else {
            let reason = Reason::named("exact_duplicate");
            Fate::Dropped {
                document,
                stage,
                reason,
            }
        }),
        (fate, _) => Ok(fate),
    }
}

/// Writes what covers the whole run.
fn finish(
    options: &PrepareOptions<'_>,
    inputs: Vec<InputFile>,
    tallies: &[SourceTally],
) -> Result<Prepared, PrepareError> {
    let PrepareOptions {
        recipe,
        tokenizer,
        output,
        ..
    } = *options;
    let report = tally::report(recipe, tallies);
    write_file(&output.join(REPORT), report.to_json().as_bytes())?;
    let page = report_html::render(&report);
    write_file(&output.join("report.html"), page.as_bytes())?;
    // The tokenizer lies beside the tokens, so that `neox.yml` works wherever the folder goes.
    write_file(&output.join(TOKENIZER), tokenizer.bytes())?;
    let yml = neox_yml::render(&NeoxData {
        mixture: &report.mixture,
        splits: split_prefixes(&report),
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
    let sources = recipe.sources.iter().zip(tallies);
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
    })
}

/// Token files of each split, by source.
fn split_prefixes(report: &Report) -> BTreeMap<Split, Vec<(String, String)>> {
    let of = |split: Split| {
        let sources = report
            .sources
            .iter()
            .filter(move |source| source.splits.contains_key(&split));
        sources
            .map(move |source| (source.name.clone(), tokens_prefix(&source.name, split)))
            .collect()
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
