//! Why a document is kept or dropped: what every filter of a source says of it, with what it measured.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::books3::{Books3ListError, Books3Rules};
use crate::dedup::minhash::{Hasher, MinhashScratch};
use crate::document::{BrokenRow, Document};
use crate::filter::{Metrics, Outcome};
use crate::hash::{sha256, to_hex};
use crate::lists;
use crate::pipeline::{ThreadsError, Workers};
use crate::prepare::PrepareError;
use crate::prepare::judge::{Looks, Stages, numbered_names, screen};
use crate::prepare::source::{Piece, SourceFile, SourceReader};
use crate::read::ReadError;
use crate::read::json_row::RowParser;
use crate::read::source_file::Position;
use crate::recipe::{Recipe, SourceRecipe};

/// Text that a thread works on at once.
const PIECE_BYTES: usize = 256 << 10;

/// What [`explain`] works with.
#[derive(Clone, Copy, Debug)]
pub struct ExplainOptions<'a> {
    /// A file in the form of the source's files.
    pub input: &'a Path,
    /// The recipe, its lists loaded.
    pub recipe: &'a Recipe,
    /// The source whose filters judge.
    pub source: &'a SourceRecipe,
    /// Which documents to explain.
    pub which: Which<'a>,
    /// Threads to work on; they never change the outcome.
    pub threads: NonZeroUsize,
}

/// Which documents to explain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which<'a> {
    /// All of them.
    All,
    /// The one in this row, from 0.
    Row(u64),
    /// Those with this id.
    Id(&'a str),
}

/// What became of one document, and why.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    /// Its id, where it has one.
    pub id: Option<String>,
    /// Its row, from 0.
    pub row: u64,
    /// What is wrong with a row that is no document.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What the rules against Books3 say of the text as it came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub books3: Option<Judgement>,
    /// What each filter says of the text as it came, by name; the second of a kind as `name-2`.
    pub filters: Map<String, Value>,
    /// The `MinHash` signature of the text as it came, where the recipe has `[dedup.minhash]`; null for
    /// texts with fewer words than a shingle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minhash: Option<Option<Vec<u64>>>,
    /// What the sequence of all stages makes of it.
    pub pipeline: PipelineOutcome,
}

/// What one filter says.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Judgement {
    /// Whether the document stays.
    pub keep: bool,
    /// Why not.
    pub reason: Option<String>,
    /// What was measured.
    pub metrics: Map<String, Value>,
}

/// What the sequence of stages makes of a document.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PipelineOutcome {
    /// Whether it is kept, as far as its own text decides.
    pub keep: bool,
    /// The stage that drops it.
    pub stage: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// SHA-256 of the text that is kept, in hex.
    pub text_sha256: Option<String>,
}

/// Why nothing can be explained.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExplainError {
    /// The input can't be read.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// A list of what is known of Books3 can't be used.
    #[error(transparent)]
    Books3List(#[from] Books3ListError),
    /// The system gives no threads.
    #[error(transparent)]
    Threads(#[from] ThreadsError),
    /// Nothing was found where it was asked for.
    #[error("`{path}` has no document with {what}")]
    NotFound {
        /// The input.
        path: String,
        /// The row or id.
        what: String,
    },
    /// Whoever was to take the explanations can't.
    #[error("failed to write an explanation")]
    Sink(#[source] std::io::Error),
}

/// Explains the documents of a file, in its order.
pub fn explain(
    options: &ExplainOptions<'_>,
    mut sink: impl FnMut(&Explanation) -> std::io::Result<()> + Send,
) -> Result<(), ExplainError> {
    let workers = Workers::new(options.threads)?;
    let books3 = lists::books3_rules(options.recipe)?;
    let hasher = options.recipe.dedup.minhash.as_ref().map(Hasher::new);
    let hasher = hasher.as_ref();
    let stages = Stages::new(options.recipe, options.source);
    let file = SourceFile::local(options.input);
    let file = file.map_err(|error| PrepareError::from(ReadError::io(options.input)(error)))?;
    let path: Arc<str> = file.shown.clone();
    let files = [file];
    let start = (0, Position::default());
    let name = &options.source.name;
    let mut reader = SourceReader::new(name, &files, &stages.schema, PIECE_BYTES, start, None);
    let mut found = 0_u64;
    workers.map_in_order(
        |piece: &mut Piece| Ok::<_, ExplainError>(reader.next_piece(piece)?),
        || (Looks::default(), RowParser::default()),
        |(looks, parser), piece, explanations: &mut Vec<Explanation>| {
            explanations.clear();
            let mut rows = Vec::new();
            piece.parse(&stages.schema, parser, &mut rows);
            for row in rows {
                if is_wanted(&row, options.which) {
                    explanations.push(explain_row(row, &path, &stages, &books3, hasher, looks));
                }
            }
        },
        |explanations| {
            found += explanations.len() as u64;
            explanations
                .iter()
                .try_for_each(&mut sink)
                .map_err(ExplainError::Sink)
        },
    )?;
    let what = match options.which {
        Which::Row(row) if found == 0 => format!("row {row}"),
        Which::Id(id) if found == 0 => format!("id `{id}`"),
        _ => return Ok(()),
    };
    let path = options.input.display().to_string();
    Err(ExplainError::NotFound { path, what })
}

fn is_wanted(row: &Result<Document, BrokenRow>, which: Which<'_>) -> bool {
    match (row, which) {
        (_, Which::All) => true,
        (Ok(document), Which::Row(wanted)) => document.row == wanted,
        (Err(broken), Which::Row(wanted)) => broken.row == wanted,
        (Ok(document), Which::Id(wanted)) => document.id.as_deref() == Some(wanted),
        (Err(_), Which::Id(_)) => false,
    }
}

fn explain_row(
    row: Result<Document, BrokenRow>,
    path: &str,
    stages: &Stages<'_>,
    books3: &Books3Rules,
    hasher: Option<&Hasher>,
    looks: &mut Looks,
) -> Explanation {
    let dropped = |stage: &str, reason: &str| PipelineOutcome {
        keep: false,
        stage: Some(stage.to_owned()),
        reason: Some(reason.to_owned()),
        text_sha256: None,
    };
    let mut document = match row {
        Ok(document) => document,
        Err(broken) => {
            return Explanation {
                id: None,
                row: broken.row,
                error: Some(broken.error.to_string()),
                books3: None,
                filters: Map::new(),
                minhash: None,
                pipeline: dropped(&stages.names()[Stages::READ], broken.error.name()),
            };
        }
    };
    let filters = judge_alone(&document, stages, looks);
    let minhash = hasher.map(|hasher| {
        hasher.signature(
            &document.text,
            &mut looks.words,
            &mut MinhashScratch::default(),
        )
    });
    let excluded = books3.judge(&document, path, &mut looks.books3);
    let pipeline = if document.text.is_empty() {
        dropped(&stages.names()[Stages::READ], "empty")
    } else if let Some((stage, reason)) = screen(&mut document, path, stages, books3, looks) {
        dropped(&stages.names()[stage], reason.name)
    } else {
        PipelineOutcome {
            keep: true,
            stage: None,
            reason: None,
            text_sha256: Some(to_hex(&sha256(document.text.as_bytes()))),
        }
    };
    Explanation {
        id: document.id,
        row: document.row,
        error: None,
        books3: Some(Judgement {
            keep: excluded.is_none(),
            reason: excluded.map(|reason| reason.name.to_owned()),
            metrics: Map::new(),
        }),
        filters,
        minhash,
        pipeline,
    }
}

/// What every filter says of the text as it came.
fn judge_alone(document: &Document, stages: &Stages<'_>, looks: &mut Looks) -> Map<String, Value> {
    let names = numbered_names(stages.filters());
    let judged = names
        .into_iter()
        .zip(stages.filters())
        .map(|(name, filter)| {
            let mut metrics = Metrics::on();
            looks.words.next_text();
            let outcome = filter.apply(document, &mut looks.words, &mut metrics);
            let reason = match outcome {
                Outcome::Drop(reason) => Some(reason.name.to_owned()),
                Outcome::Keep | Outcome::Rewrite(_) => None,
            };
            let judgement = Judgement {
                keep: reason.is_none(),
                reason,
                metrics: metrics.into_map(),
            };
            let value = serde_json::to_value(judgement);
            (name, value.expect("a judgement has only string keys"))
        });
    judged.collect()
}
