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
    /// Documents and tokens in the token files a license, as an SPDX expression.
    pub licenses: BTreeMap<String, SplitReport>,
    /// Kept documents by their number of tokens.
    pub tokens_histogram: Histogram,
    /// Kept documents by their number of characters.
    pub characters_histogram: Histogram,
    /// The stages, in order. What goes out of one goes into the next.
    pub stages: Vec<StageReport>,
    /// A few dropped documents, the first of each stage and reason.
    pub dropped: Vec<DroppedSample>,
}

/// How many values lie in each power of two: the bucket `i` counts those from `2^i` to `2^(i+1)-1`,
/// and the first also counts 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Histogram {
    /// Counts, without empty buckets at the end.
    pub buckets: Vec<u64>,
}

impl Histogram {
    /// Counts one value.
    pub(crate) fn count(&mut self, value: u64) {
        let bucket = value.checked_ilog2().unwrap_or(0) as usize;
        if self.buckets.len() <= bucket {
            self.buckets.resize(bucket + 1, 0);
        }
        self.buckets[bucket] += 1;
    }
}

/// A dropped document, to look at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DroppedSample {
    /// The stage that dropped it.
    pub stage: String,
    /// Why.
    pub reason: String,
    /// What was measured, where something was.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub value: Option<f64>,
    /// The limit that it broke.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub threshold: Option<f64>,
    /// Its id, or `path:row`.
    pub id: String,
    /// The start of its text; empty for Books3.
    pub excerpt: String,
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
    /// Documents that the rules looked at.
    pub documents_checked: u64,
    /// Documents that were excluded.
    pub documents_excluded: u64,
    /// The same a rule.
    pub by_rule: BTreeMap<String, u64>,
    /// Documents in the token files that a rule would exclude, counted while writing.
    pub remaining: u64,
    /// Rows of which nobody can tell, kept out and in quarantine.
    pub quarantined: u64,
    /// Titles in the list of the rule `title`.
    pub titles: u64,
    /// Works in the list of the rule `fingerprint`.
    pub fingerprints: u64,
    /// SHA-256 of both lists, in hex, so that a later check can tell whether it used the same.
    pub lists_sha256: String,
}

/// What training will see of each source.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Mixture {
    /// Tokens of a training run that the epochs below are for: the recipe's `training_tokens`, or
    /// with weights as many as the train splits hold, with epochs as many as they ask for.
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
    /// Tokens of the run that come from it, repeats too.
    #[serde(default)]
    pub tokens_seen: u64,
    /// Samples of 4,096 tokens that GPT-NeoX lays out for it: its share and 0.5 % to spare.
    #[serde(default)]
    pub neox_samples: u64,
    /// How often GPT-NeoX repeats its documents to lay them out.
    #[serde(default)]
    pub neox_epochs: u64,
    /// Says so where it is seen more often than is of use.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub warning: Option<String>,
}

impl Report {
    /// The file's bytes: indented JSON with a final line end.
    pub fn to_json(&self) -> String {
        let json = serde_json::to_string_pretty(self);
        json.expect("a report has only string keys and finite numbers") + "\n"
    }
}
