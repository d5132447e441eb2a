//! What is counted on the way. Tallies of parts of a source merge into that of the whole.

use std::collections::BTreeMap;

use crate::document::Split;
use crate::filter::books3;
use crate::prepare::judge::Stages;
use crate::recipe::{Recipe, Sampling, SourceKind};
use crate::report::{
    Books3Report, Mixture, MixtureSource, Report, SourceReport, SplitReport, StageReport,
    SubsetReport,
};

/// Documents that are named a reason.
const MAX_SAMPLES: usize = 5;
/// Subsets that are counted apart; a file with a subset a row must not fill the memory.
const MAX_SUBSETS: usize = 1000;
/// Where all further subsets are counted.
const OTHER_SUBSETS: &str = "(other)";

/// Documents and tokens under one license.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LicenseTally {
    pub(crate) documents: u64,
    pub(crate) tokens: u64,
}

/// Documents dropped for one reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DropTally {
    pub(crate) documents: u64,
    pub(crate) bytes: u64,
    pub(crate) samples: Vec<String>,
}

/// What became of a source, or of a part of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SourceTally {
    pub(crate) documents_in: u64,
    pub(crate) bytes_in: u64,
    pub(crate) documents_kept: u64,
    pub(crate) bytes_kept: u64,
    pub(crate) special_tokens_found: u64,
    pub(crate) quarantined: u64,
    pub(crate) unknown_subset_documents: u64,
    pub(crate) books3_remaining: u64,
    /// By stage and reason.
    pub(crate) drops: BTreeMap<(usize, &'static str), DropTally>,
    pub(crate) splits: [SplitReport; 3],
    pub(crate) subsets: BTreeMap<String, SubsetReport>,
    /// By subset and license.
    pub(crate) licenses: BTreeMap<(String, String), LicenseTally>,
}

impl SourceTally {
    /// Adds the tally of the part that follows this one.
    pub(crate) fn merge(&mut self, next: Self) {
        self.documents_in += next.documents_in;
        self.bytes_in += next.bytes_in;
        self.documents_kept += next.documents_kept;
        self.bytes_kept += next.bytes_kept;
        self.special_tokens_found += next.special_tokens_found;
        self.quarantined += next.quarantined;
        self.unknown_subset_documents += next.unknown_subset_documents;
        self.books3_remaining += next.books3_remaining;
        for (key, drop) in next.drops {
            let mine = self.drops.entry(key).or_default();
            mine.documents += drop.documents;
            mine.bytes += drop.bytes;
            mine.samples.extend(drop.samples);
            mine.samples.truncate(MAX_SAMPLES);
        }
        for (mine, split) in self.splits.iter_mut().zip(next.splits) {
            mine.documents += split.documents;
            mine.tokens += split.tokens;
        }
        for (name, subset) in next.subsets {
            let mine = self
                .subsets
                .entry(bounded(&self.subsets, name))
                .or_default();
            mine.documents_in += subset.documents_in;
            mine.documents_kept += subset.documents_kept;
            mine.tokens += subset.tokens;
        }
        for ((subset, license), tally) in next.licenses {
            let full = self.licenses.len() >= MAX_SUBSETS;
            let known = self
                .licenses
                .contains_key(&(subset.clone(), license.clone()));
            let subset = if full && !known {
                OTHER_SUBSETS.to_owned()
            } else {
                subset
            };
            let mine = self.licenses.entry((subset, license)).or_default();
            mine.documents += tally.documents;
            mine.tokens += tally.tokens;
        }
    }

    /// Counts a document that a stage dropped; `sample` is only called while samples are wanted.
    pub(crate) fn drop(
        &mut self,
        stage: usize,
        reason: &'static str,
        bytes: u64,
        sample: impl FnOnce() -> String,
    ) {
        let drop = self.drops.entry((stage, reason)).or_default();
        drop.documents += 1;
        drop.bytes += bytes;
        if drop.samples.len() < MAX_SAMPLES {
            drop.samples.push(sample());
        }
    }

    pub(crate) fn tokens(&self) -> u64 {
        self.splits.iter().map(|split| split.tokens).sum()
    }

    fn train_tokens(&self) -> u64 {
        self.splits[Split::Train.index()].tokens
    }

    /// The funnel: what does not leave at a stage goes into the next one.
    pub(crate) fn stages(&self, stages: &Stages<'_>) -> Vec<StageReport> {
        let (mut documents, mut bytes) = (self.documents_in, self.bytes_in);
        let mut reports = Vec::new();
        for (index, name) in stages.names().iter().enumerate() {
            let drops = || {
                let drops = self
                    .drops
                    .iter()
                    .filter(move |((stage, _), _)| *stage == index);
                drops.map(|((_, reason), drop)| ((*reason).to_owned(), drop))
            };
            let (documents_in, bytes_in) = (documents, bytes);
            documents -= drops().map(|(_, drop)| drop.documents).sum::<u64>();
            bytes -= drops().map(|(_, drop)| drop.bytes).sum::<u64>();
            reports.push(StageReport {
                name: name.to_string(),
                documents_in,
                documents_out: documents,
                bytes_in,
                bytes_out: bytes,
                reasons: drops()
                    .map(|(reason, drop)| (reason, drop.documents))
                    .collect(),
                samples: drops()
                    .map(|(reason, drop)| (reason, drop.samples.clone()))
                    .collect(),
            });
        }
        reports
    }

    fn report(&self, name: &str, kind: SourceKind, stages: &Stages<'_>) -> SourceReport {
        let splits = Split::ALL
            .into_iter()
            .map(|split| (split, self.splits[split.index()]));
        SourceReport {
            name: name.to_owned(),
            kind,
            documents_in: self.documents_in,
            documents_kept: self.documents_kept,
            bytes_in: self.bytes_in,
            bytes_kept: self.bytes_kept,
            tokens: self.tokens(),
            special_tokens_found: self.special_tokens_found,
            quarantined: self.quarantined,
            unknown_subset_documents: self.unknown_subset_documents,
            splits: splits.filter(|(_, split)| split.documents > 0).collect(),
            subsets: self.subsets.clone(),
            stages: self.stages(stages),
        }
    }
}

/// `name`, unless it would be one subset too many.
fn bounded(subsets: &BTreeMap<String, SubsetReport>, name: String) -> String {
    if subsets.len() < MAX_SUBSETS || subsets.contains_key(&name) {
        name
    } else {
        OTHER_SUBSETS.to_owned()
    }
}

/// The report of a whole run, from the tallies of its sources in the recipe's order.
pub(crate) fn report(recipe: &Recipe, tallies: &[SourceTally]) -> Report {
    let sum = |value: fn(&SourceTally) -> u64| tallies.iter().map(value).sum::<u64>();
    let sources = recipe.sources.iter().zip(tallies).map(|(source, tally)| {
        tally.report(
            &source.name,
            source.kind,
            &Stages::new(source, recipe.dedup),
        )
    });
    let excluded = |tally: &SourceTally| -> u64 {
        let drops = tally
            .drops
            .iter()
            .filter(|((stage, _), _)| *stage == Stages::BOOKS3);
        drops.map(|(_, drop)| drop.documents).sum()
    };
    let excluded = tallies.iter().map(excluded).sum();
    Report {
        name: recipe.name.clone(),
        seed: recipe.seed,
        documents_in: sum(|tally| tally.documents_in),
        documents_kept: sum(|tally| tally.documents_kept),
        bytes_in: sum(|tally| tally.bytes_in),
        bytes_kept: sum(|tally| tally.bytes_kept),
        tokens: sum(SourceTally::tokens),
        special_tokens_found: sum(|tally| tally.special_tokens_found),
        sources: sources.collect(),
        books3: Books3Report {
            documents_excluded: excluded,
            by_rule: BTreeMap::from([(books3::SUBSET_RULE.to_owned(), excluded)]),
            remaining: sum(|tally| tally.books3_remaining),
            quarantined: 0,
        },
        mixture: mixture(recipe, tallies),
    }
}

fn mixture(recipe: &Recipe, tallies: &[SourceTally]) -> Mixture {
    let all: u64 = tallies.iter().map(SourceTally::train_tokens).sum();
    let parts = || {
        let parts = recipe
            .sources
            .iter()
            .zip(tallies.iter().map(SourceTally::train_tokens));
        parts.filter(|&(_, tokens)| tokens > 0)
    };
    let weight = |sampling, tokens: u64| match sampling {
        Sampling::Weight(weight) => weight,
        Sampling::Epochs(epochs) => epochs * tokens as f64,
    };
    let total: f64 = parts()
        .map(|(source, tokens)| weight(source.sampling, tokens))
        .sum();
    // Sources all have weights or all have epochs; the parser sees to it.
    let training = match recipe.sources.first().map(|source| source.sampling) {
        Some(Sampling::Epochs(_)) => total,
        Some(Sampling::Weight(_)) | None => all as f64,
    };
    let sources = parts().map(|(source, tokens)| {
        let share = weight(source.sampling, tokens) / total;
        MixtureSource {
            name: source.name.clone(),
            weight: weight(source.sampling, tokens),
            share,
            train_tokens: tokens,
            epochs: share * training / tokens as f64,
        }
    });
    Mixture {
        training_tokens: whole(training),
        sources: sources.collect(),
    }
}

/// A number of tokens, rounded down.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the casts saturate, and no number of tokens is negative"
)]
fn whole(tokens: f64) -> u64 {
    tokens as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_of_two_parts_is_the_tally_of_the_whole() {
        let part = |first: u64, count: u64| {
            let mut tally = SourceTally {
                documents_in: count,
                ..SourceTally::default()
            };
            for document in first..first + count {
                tally.drop(1, "x", 10, || document.to_string());
                tally.splits[0].documents += 1;
                tally
                    .subsets
                    .entry((document % 3).to_string())
                    .or_default()
                    .documents_in += 1;
            }
            tally
        };
        let mut merged = part(0, 3);
        merged.merge(part(3, 7));
        assert_eq!(merged, part(0, 10));
        assert_eq!(merged.drops[&(1, "x")].samples, ["0", "1", "2", "3", "4"]);
    }

    #[test]
    fn a_subset_a_row_does_not_fill_the_memory() {
        let mut tally = SourceTally::default();
        for document in 0..2 * MAX_SUBSETS {
            let mut next = SourceTally::default();
            next.subsets
                .entry(document.to_string())
                .or_default()
                .documents_in += 1;
            tally.merge(next);
        }
        assert_eq!(tally.subsets.len(), MAX_SUBSETS + 1);
        assert_eq!(
            tally.subsets[OTHER_SUBSETS].documents_in,
            MAX_SUBSETS as u64
        );
    }
}
