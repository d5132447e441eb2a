//! The stages that look at one document alone, as pure functions from row to fate.

use std::sync::Arc;

use stablelm_tokenizer::{EncodeError, Encoder, SpecialTokensInText, Tokenizer};

use crate::document::{BrokenRow, Document};
use crate::filter::{Filter, FilterRecipe, Reason, Verdict, books3};
use crate::hash::{Sha256Bytes, sha256};
use crate::pipeline::Pool;
use crate::read::{RawRow, Schema};
use crate::recipe::{DedupRecipe, SourceRecipe};

/// The stages of one source, in order.
pub(crate) struct Stages<'r> {
    pub(crate) schema: Schema,
    filters: Vec<&'r dyn Filter>,
    names: Vec<Arc<str>>,
    dedup: Option<usize>,
}

impl<'r> Stages<'r> {
    pub(crate) const READ: usize = 0;
    pub(crate) const BOOKS3: usize = 1;
    const FIRST_FILTER: usize = 2;

    pub(crate) fn new(source: &'r SourceRecipe, dedup: DedupRecipe) -> Self {
        let filters: Vec<_> = source.filters.iter().map(FilterRecipe::as_filter).collect();
        let mut names: Vec<Arc<str>> = vec!["read".into(), books3::NAME.into()];
        for (index, filter) in filters.iter().enumerate() {
            let before = filters[..index]
                .iter()
                .filter(|other| other.name() == filter.name());
            names.push(match before.count() {
                0 => filter.name().into(),
                again => format!("{}-{}", filter.name(), again + 1).into(),
            });
        }
        let dedup = dedup.exact.then_some(names.len());
        if dedup.is_some() {
            names.push("dedup".into());
        }
        names.push("tokenize".into());
        Self {
            schema: Schema::of(source),
            filters,
            names,
            dedup,
        }
    }

    pub(crate) fn names(&self) -> &[Arc<str>] {
        &self.names
    }

    /// The stage that drops duplicates, if there is one.
    pub(crate) fn dedup(&self) -> Option<usize> {
        self.dedup
    }

    pub(crate) fn tokenize(&self) -> usize {
        self.names.len() - 1
    }
}

/// What becomes of a row.
#[derive(Debug)]
pub(crate) enum Fate {
    /// It is no document.
    Broken(BrokenRow),
    /// A stage dropped it.
    Dropped {
        document: Document,
        stage: usize,
        reason: Reason,
    },
    /// It passed every stage so far.
    Passed {
        document: Document,
        text_sha256: Sha256Bytes,
    },
    /// It is kept, with these tokens.
    Encoded {
        document: Document,
        text_sha256: Sha256Bytes,
        ids: Vec<u32>,
        special_tokens_found: u64,
    },
}

/// Reads a row and applies Books3 and the source's filters.
pub(crate) fn judge(row: RawRow, stages: &Stages<'_>) -> Fate {
    let document = match row.parse(&stages.schema) {
        Ok(document) => document,
        Err(broken) => return Fate::Broken(broken),
    };
    if document.text.is_empty() {
        return Fate::Dropped {
            document,
            stage: Stages::READ,
            reason: Reason::named("empty"),
        };
    }
    if let Verdict::Drop(reason) = books3::verdict(&document) {
        return Fate::Dropped {
            document,
            stage: Stages::BOOKS3,
            reason,
        };
    }
    for (index, filter) in stages.filters.iter().enumerate() {
        if let Verdict::Drop(reason) = filter.verdict(&document) {
            return Fate::Dropped {
                document,
                stage: Stages::FIRST_FILTER + index,
                reason,
            };
        }
    }
    let text_sha256 = sha256(document.text.as_bytes());
    Fate::Passed {
        document,
        text_sha256,
    }
}

/// How documents become tokens.
pub(crate) struct Encoding<'t> {
    pub(crate) tokenizer: &'t Tokenizer,
    /// Encoders remember, so there are only as many as threads that encode.
    pub(crate) encoders: Pool<Encoder<'t>>,
    pub(crate) special: SpecialTokensInText,
    /// The end-of-document token, where one is appended.
    pub(crate) eod: Option<u32>,
}

/// Turns what passed into tokens; drops a text that has none.
pub(crate) fn encode(
    fate: Fate,
    stages: &Stages<'_>,
    with: &Encoding<'_>,
) -> Result<Fate, (u64, EncodeError)> {
    let Fate::Passed {
        document,
        text_sha256,
    } = fate
    else {
        return Ok(fate);
    };
    let mut ids = Vec::new();
    let special_tokens_found = with
        .encoders
        .with(
            || with.tokenizer.encoder(),
            |encoder| encoder.encode_into(&document.text, with.special, &mut ids),
        )
        .map_err(|error| (document.row, error))?;
    if ids.is_empty() {
        let reason = Reason::named("no_tokens");
        return Ok(Fate::Dropped {
            document,
            stage: stages.tokenize(),
            reason,
        });
    }
    ids.extend(with.eod);
    Ok(Fate::Encoded {
        document,
        text_sha256,
        ids,
        special_tokens_found,
    })
}
