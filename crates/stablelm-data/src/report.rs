//! The funnel of a run: what came in, what was dropped where and why, what came out.
//!
//! Nothing here depends on the machine or the time, so equal runs write equal reports.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::document::Split;
use crate::recipe::SourceKind;

/// What a run did, as in `report.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Name of the recipe.
    pub name: String,
    /// Seed of the recipe.
    pub seed: u64,
    /// Rows of all sources, broken ones too.
    pub documents_in: u64,
    /// Documents in the token files.
    pub documents_kept: u64,
    /// Bytes of text that came in.
    pub bytes_in: u64,
    /// Bytes of text that were kept.
    pub bytes_kept: u64,
    /// Tokens in the token files, end-of-document tokens too.
    pub tokens: u64,
    /// Special tokens that stood in texts.
    pub special_tokens_found: u64,
    /// One part a source, in the recipe's order.
    pub sources: Vec<SourceReport>,
    /// What was done about Books3.
    pub books3: Books3Report,
    /// What training on the train split will see.
    pub mixture: Mixture,
}

/// What became of one source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SourceReport {
    /// Its name.
    pub name: String,
    /// The schema of its files.
    pub kind: SourceKind,
    /// Rows, broken ones too.
    pub documents_in: u64,
    /// Documents in the token files.
    pub documents_kept: u64,
    /// Bytes of text that came in.
    pub bytes_in: u64,
    /// Bytes of text that were kept.
    pub bytes_kept: u64,
    /// Tokens in the token files.
    pub tokens: u64,
    /// Special tokens that stood in texts.
    pub special_tokens_found: u64,
    /// Rows that are in the quarantine table.
    pub quarantined: u64,
    /// Documents of subsets that the source's schema does not know; they are treated like others.
    pub unknown_subset_documents: u64,
    /// Documents and tokens a split.
    pub splits: BTreeMap<Split, SplitReport>,
    /// Documents and tokens a subset.
    pub subsets: BTreeMap<String, SubsetReport>,
    /// The stages, in order. What goes out of one goes into the next.
    pub stages: Vec<StageReport>,
}

/// What lies in one split of a source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitReport {
    /// Documents.
    pub documents: u64,
    /// Tokens.
    pub tokens: u64,
}

/// What became of one subset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubsetReport {
    /// Documents that came in.
    pub documents_in: u64,
    /// Documents in the token files.
    pub documents_kept: u64,
    /// Tokens in the token files.
    pub tokens: u64,
}

/// One step of the funnel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageReport {
    /// `read`, `books3`, the name of a filter, `dedup` or `tokenize`.
    pub name: String,
    /// Documents that came to it.
    pub documents_in: u64,
    /// Documents that passed.
    pub documents_out: u64,
    /// Bytes of text that came to it.
    pub bytes_in: u64,
    /// Bytes of text that passed.
    pub bytes_out: u64,
    /// Documents a reason.
    pub reasons: BTreeMap<String, u64>,
    /// The first few documents a reason, by id or `path:row`.
    pub samples: BTreeMap<String, Vec<String>>,
}

/// The proof that Books3 is out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Books3Report {
    /// Documents that were excluded.
    pub documents_excluded: u64,
    /// The same a rule.
    pub by_rule: BTreeMap<String, u64>,
    /// Documents in the token files that a rule would exclude, counted while writing.
    pub remaining: u64,
    /// Rows of which nobody can tell, kept out and in quarantine.
    pub quarantined: u64,
}

/// What training will see of each source.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Mixture {
    /// Tokens of a training run that the epochs below are for: with weights, as many as the train
    /// splits hold; with epochs, as many as they ask for.
    pub training_tokens: u64,
    /// One part a source with a train split.
    pub sources: Vec<MixtureSource>,
}

/// What training will see of one source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MixtureSource {
    /// Its name.
    pub name: String,
    /// Its weight beside the others, as in `neox.yml`.
    pub weight: f64,
    /// Its share of the training tokens.
    pub share: f64,
    /// Tokens in its train split.
    pub train_tokens: u64,
    /// How often each of them is seen.
    pub epochs: f64,
}

impl Report {
    /// The file's bytes: indented JSON with a final line end.
    pub fn to_json(&self) -> String {
        let json = serde_json::to_string_pretty(self);
        json.expect("a report has only string keys and finite numbers") + "\n"
    }
}
