//! The stages that look at one document alone: a pure function from a batch of documents to a batch
//! of outcomes.

use std::sync::Arc;

use arrow::array::RecordBatch;
use stablelm_tokenizer::{EncodeError, Encoder, SpecialTokensInText, Tokenizer};

use crate::books3::{self, Books3Rules, Books3Scratch};
use crate::dedup::minhash::{Hasher, MinhashScratch};
use crate::document::{BrokenRow, Document};
use crate::filter::{Filter, FilterRecipe, Metrics, Outcome, Reason};
use crate::hash::sha256;
use crate::prepare::documents::{self, BrokenView};
use crate::prepare::keys::KeysBuilder;
use crate::prepare::outcomes::{Judged, RowsBuilder};
use crate::read::Schema;
use crate::read::json_row::RowParser;
use crate::recipe::{OutputRecipe, Recipe, SourceRecipe};
use crate::words::Scratch;
use crate::write::indexed::TokenDtype;

/// The stages of one source, in order.
pub(crate) struct Stages<'r> {
    pub(crate) schema: Schema,
    filters: Vec<&'r dyn Filter>,
    names: Vec<Arc<str>>,
    dedup: Option<usize>,
    output: OutputRecipe,
}

/// What the stages of all sources share; none of it changes while they work.
pub(crate) struct Shared<'t> {
    pub(crate) tokenizer: &'t Tokenizer,
    pub(crate) special: SpecialTokensInText,
    /// The end-of-document token, where one is appended.
    pub(crate) eod: Option<u32>,
    pub(crate) dtype: TokenDtype,
    pub(crate) books3: Books3Rules,
    pub(crate) minhash: Option<Hasher>,
}

impl<'r> Stages<'r> {
    pub(crate) const READ: usize = 0;
    pub(crate) const BOOKS3: usize = 1;
    const FIRST_FILTER: usize = 2;

    pub(crate) fn new(recipe: &'r Recipe, source: &'r SourceRecipe) -> Self {
        let filters: Vec<_> = source.filters.iter().map(FilterRecipe::as_filter).collect();
        let mut names: Vec<Arc<str>> = vec!["read".into(), books3::NAME.into()];
        names.extend(numbered_names(&filters).into_iter().map(Arc::from));
        let tokenize = names.len();
        names.push("tokenize".into());
        let dedup = (recipe.dedup.exact || recipe.dedup.minhash.is_some()).then_some(tokenize + 1);
        if dedup.is_some() {
            names.push("dedup".into());
        }
        Self {
            schema: Schema::of(source),
            filters,
            names,
            dedup,
            output: recipe.output,
        }
    }

    pub(crate) fn names(&self) -> &[Arc<str>] {
        &self.names
    }

    pub(crate) fn filters(&self) -> &[&'r dyn Filter] {
        &self.filters
    }

    /// The stage that drops duplicates, if there is one.
    pub(crate) fn dedup(&self) -> Option<usize> {
        self.dedup
    }

    fn tokenize(&self) -> usize {
        Self::FIRST_FILTER + self.filters.len()
    }
}

/// The names of filters in order, the second of a kind as `name-2`.
pub(crate) fn numbered_names(filters: &[&dyn Filter]) -> Vec<String> {
    let numbered = filters.iter().enumerate().map(|(index, filter)| {
        let before = filters[..index].iter();
        match before.filter(|other| other.name() == filter.name()).count() {
            0 => filter.name().to_owned(),
            again => format!("{}-{}", filter.name(), again + 1),
        }
    });
    numbered.collect()
}

/// What a thread keeps from batch to batch.
pub(crate) struct Worker<'t> {
    pub(crate) parser: RowParser,
    pub(crate) parsed: Vec<Result<Document, BrokenRow>>,
    encoder: Encoder<'t>,
    looks: Looks,
    minhash: MinhashScratch,
    document: Document,
    ids: Ids,
    bands: Vec<u8>,
    rows: RowsBuilder,
    keys: KeysBuilder,
}

/// What looking at one text leaves for the next.
#[derive(Default)]
pub(crate) struct Looks {
    pub(crate) words: Scratch,
    pub(crate) books3: Books3Scratch,
}

/// Tokens in the type of the dataset.
#[derive(Default)]
struct Ids {
    short: Vec<u16>,
    long: Vec<u32>,
}

impl<'t> Worker<'t> {
    pub(crate) fn new(shared: &Shared<'t>) -> Self {
        Self {
            parser: RowParser::default(),
            parsed: Vec::new(),
            encoder: shared.tokenizer.encoder(),
            looks: Looks::default(),
            minhash: MinhashScratch::default(),
            document: Document::default(),
            ids: Ids::default(),
            bands: Vec::new(),
            rows: RowsBuilder::default(),
            keys: KeysBuilder::default(),
        }
    }
}

/// What became of a batch.
pub(crate) struct Outcomes {
    pub(crate) rows: RecordBatch,
    /// What tells duplicates apart, where they are looked for.
    pub(crate) keys: Option<RecordBatch>,
    pub(crate) kept: u64,
}

/// A text that can't be encoded under the recipe's policy, with its row.
#[derive(Debug)]
pub(crate) struct EncodeFailure {
    pub(crate) row: u64,
    pub(crate) source: EncodeError,
}

/// Where a document goes after the stages that look at its text.
enum Fate {
    Dropped(usize, Reason),
    Kept { special_tokens: u64 },
}

/// Judges the documents of a batch, all of them from one file.
pub(crate) fn judge(
    batch: &RecordBatch,
    file: u32,
    path: &str,
    stages: &Stages<'_>,
    shared: &Shared<'_>,
    worker: &mut Worker<'_>,
) -> Result<Outcomes, EncodeFailure> {
    let mut kept = 0;
    for at in 0..batch.num_rows() {
        let mut document = std::mem::take(&mut worker.document);
        let read = documents::read_row(batch, at, &mut document);
        let judged = match read {
            Err(broken) => {
                push_broken(&broken, stages, worker);
                Ok(false)
            }
            Ok(()) => judge_document(&mut document, path, stages, shared, worker),
        };
        let row = document.row;
        worker.document = document;
        kept += u64::from(judged.map_err(|source| EncodeFailure { row, source })?);
    }
    Ok(Outcomes {
        rows: worker.rows.finish(file),
        keys: stages.dedup.map(|_| worker.keys.finish(file)),
        kept,
    })
}

fn push_broken(broken: &BrokenView<'_>, stages: &Stages<'_>, worker: &mut Worker<'_>) {
    worker.rows.push(&Judged {
        row: broken.row,
        bytes_in: broken.len,
        broken: Some((broken.name, broken.error, broken.raw)),
        ..Judged::default()
    });
    if stages.dedup.is_some() {
        worker.keys.push(broken.row, None, 0, None);
    }
}

/// Judges one document and appends its row; says whether it was kept.
fn judge_document(
    document: &mut Document,
    path: &str,
    stages: &Stages<'_>,
    shared: &Shared<'_>,
    worker: &mut Worker<'_>,
) -> Result<bool, EncodeError> {
    let bytes_in = document.text.len() as u64;
    let fate = decide(document, path, stages, shared, worker)?;
    let mut judged = Judged {
        row: document.row,
        bytes_in,
        ..Judged::default()
    };
    match fate {
        Fate::Dropped(stage, reason) => {
            let stage_number = u16::try_from(stage).expect("a recipe has few filters");
            judged.dropped = Some((stage_number, reason));
            // Nothing of Books3 is kept anywhere.
            judged.show_text = stage != Stages::BOOKS3;
            judged.keep_text = stages.output.dropped_text && judged.show_text;
        }
        Fate::Kept { special_tokens } => {
            judged.special_tokens = special_tokens;
            judged.text_sha256 = Some(sha256(document.text.as_bytes()));
            judged.keep_text =
                stages.output.text || stages.dedup.is_some() && stages.output.dropped_text;
            judged.show_text = stages.dedup.is_some();
            judged.tokens = Some(match shared.dtype {
                TokenDtype::U16 => bytemuck::cast_slice(&worker.ids.short),
                TokenDtype::I32 => bytemuck::cast_slice(&worker.ids.long),
            });
        }
    }
    let hash = judged.text_sha256;
    judged.document = Some(document);
    worker.rows.push(&judged);
    if stages.dedup.is_some() {
        let characters = hash.map_or(0, |_| document.text.chars().count() as u64);
        let has_bands = hash.is_some()
            && shared.minhash.as_ref().is_some_and(|hasher| {
                worker.bands.clear();
                worker.looks.words.next_text();
                hasher.bands(
                    &document.text,
                    &mut worker.looks.words,
                    &mut worker.minhash,
                    &mut worker.bands,
                )
            });
        let bands = has_bands.then_some(worker.bands.as_slice());
        worker.keys.push(document.row, hash, characters, bands);
    }
    Ok(hash.is_some())
}

/// Sends a document through the stages, up to the one that drops it.
fn decide(
    document: &mut Document,
    path: &str,
    stages: &Stages<'_>,
    shared: &Shared<'_>,
    worker: &mut Worker<'_>,
) -> Result<Fate, EncodeError> {
    if document.text.is_empty() {
        return Ok(Fate::Dropped(Stages::READ, Reason::named("empty")));
    }
    if let Some((stage, reason)) = screen(document, path, stages, &shared.books3, &mut worker.looks)
    {
        return Ok(Fate::Dropped(stage, reason));
    }
    let special_tokens = encode(&document.text, shared, worker)?;
    let Some(special_tokens) = special_tokens else {
        let reason = Reason::named("no_tokens");
        return Ok(Fate::Dropped(stages.tokenize(), reason));
    };
    Ok(Fate::Kept { special_tokens })
}

/// Applies Books3 and the filters; returns the stage that drops the document and its reason.
///
/// Books3 is looked for in the text as it came and again in what the filters left of it.
pub(crate) fn screen(
    document: &mut Document,
    path: &str,
    stages: &Stages<'_>,
    books3: &Books3Rules,
    looks: &mut Looks,
) -> Option<(usize, Reason)> {
    if let Some(reason) = books3.judge(document, path, &mut looks.books3) {
        return Some((Stages::BOOKS3, reason));
    }
    let mut rewritten = false;
    looks.words.next_text();
    for (index, filter) in stages.filters.iter().enumerate() {
        match filter.apply(document, &mut looks.words, &mut Metrics::off()) {
            Outcome::Keep => {}
            Outcome::Rewrite(text) => {
                document.text = text;
                looks.words.next_text();
                rewritten = true;
            }
            Outcome::Drop(reason) => return Some((Stages::FIRST_FILTER + index, reason)),
        }
    }
    if !rewritten {
        return None;
    }
    let again = books3.judge(document, path, &mut looks.books3);
    again.map(|reason| (Stages::BOOKS3, reason))
}

/// Fills the worker's ids with the tokens of a text; `None` when it has none.
fn encode(
    text: &str,
    shared: &Shared<'_>,
    worker: &mut Worker<'_>,
) -> Result<Option<u64>, EncodeError> {
    let ids = &mut worker.ids;
    ids.short.clear();
    ids.long.clear();
    let special = match shared.dtype {
        TokenDtype::U16 => worker
            .encoder
            .encode_into(text, shared.special, &mut ids.short)?,
        TokenDtype::I32 => worker
            .encoder
            .encode_into(text, shared.special, &mut ids.long)?,
    };
    if ids.short.is_empty() && ids.long.is_empty() {
        return Ok(None);
    }
    if let Some(eod) = shared.eod {
        match shared.dtype {
            TokenDtype::U16 => ids
                .short
                .push(u16::try_from(eod).expect("it is in a small vocabulary")),
            TokenDtype::I32 => ids.long.push(eod),
        }
    }
    // The file has the low byte first, whatever the machine has.
    ids.short.iter_mut().for_each(|id| *id = id.to_le());
    ids.long.iter_mut().for_each(|id| *id = id.to_le());
    Ok(Some(special))
}
