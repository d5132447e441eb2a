//! What is counted on the way. Tallies of parts of a source merge into that of the whole.

use std::collections::BTreeMap;

use crate::books3::{Books3Rules, RULES};
use crate::document::Split;
use crate::mixture;
use crate::prepare::commit::NO_LICENSE;
use crate::prepare::judge::Stages;
use crate::recipe::{Recipe, SourceKind};
use crate::report::{
    Books3Report, DroppedSample, Histogram, Mixture, Report, SourceReport, SplitReport,
    StageReport, SubsetReport,
};

/// Documents that are named a reason.
pub(crate) const MAX_SAMPLES: usize = 5;
/// Subsets that are counted apart; a file with a subset a row must not fill the memory.
const MAX_SUBSETS: usize = 1000;
/// Where all further subsets are counted.
pub(crate) const OTHER_SUBSETS: &str = "(other)";

/// Documents and tokens under one license.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LicenseTally {
    pub(crate) documents: u64,
    pub(crate) tokens: u64,
}

/// Documents dropped for one reason.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct DropTally {
    pub(crate) documents: u64,
    pub(crate) bytes: u64,
    pub(crate) samples: Vec<DroppedSample>,
}

/// What became of a source, or of a part of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct SourceTally {
    pub(crate) documents_in: u64,
    pub(crate) bytes_in: u64,
    pub(crate) documents_kept: u64,
    pub(crate) bytes_kept: u64,
    pub(crate) special_tokens_found: u64,
    pub(crate) quarantined: u64,
    pub(crate) unknown_subset_documents: u64,
    pub(crate) books3_remaining: u64,
    /// Rows in quarantine of which nobody can tell whether they are of Books3.
    pub(crate) books3_quarantined: u64,
    pub(crate) tokens_histogram: Histogram,
    pub(crate) characters_histogram: Histogram,
    /// By stage and reason.
    pub(crate) drops: BTreeMap<(usize, String), DropTally>,
    pub(crate) splits: [SplitReport; 3],
    pub(crate) subsets: BTreeMap<String, SubsetReport>,
    /// By subset and license.
    pub(crate) licenses: BTreeMap<(String, String), LicenseTally>,
}

impl SourceTally {
    /// Counts a document that a stage dropped; `sample` is only called while samples are wanted.
    pub(crate) fn drop(
        &mut self,
        stage: usize,
        reason: &str,
        bytes: u64,
        sample: impl FnOnce() -> DroppedSample,
    ) {
        let drop = self.drops.entry((stage, reason.to_owned())).or_default();
        drop.documents += 1;
        drop.bytes += bytes;
        if drop.samples.len() < MAX_SAMPLES {
            drop.samples.push(sample());
        }
    }

    /// The counts of a subset, or of all further ones when there are too many.
    pub(crate) fn subset(&mut self, name: &str) -> &mut SubsetReport {
        let known = self.subsets.len() < MAX_SUBSETS || self.subsets.contains_key(name);
        let name = if known { name } else { OTHER_SUBSETS };
        self.subsets.entry(name.to_owned()).or_default()
    }

    /// The counts of a license within a subset, or within all further ones.
    pub(crate) fn license(&mut self, subset: &str, license: &str) -> &mut LicenseTally {
        let key = (subset.to_owned(), license.to_owned());
        let known = self.licenses.len() < MAX_SUBSETS || self.licenses.contains_key(&key);
        let key = if known {
            key
        } else {
            let license = if self.licenses.len() < 2 * MAX_SUBSETS {
                license
            } else {
                NO_LICENSE
            };
            (OTHER_SUBSETS.to_owned(), license.to_owned())
        };
        self.licenses.entry(key).or_default()
    }

    /// Documents that a stage dropped, by reason.
    pub(crate) fn dropped_at(&self, stage: usize) -> impl Iterator<Item = (&str, u64)> {
        let drops = self.drops.iter().filter(move |((at, _), _)| *at == stage);
        drops.map(|((_, reason), drop)| (reason.as_str(), drop.documents))
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
                drops.map(|((_, reason), drop)| (reason.clone(), drop))
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
                    .map(|(reason, drop)| {
                        let samples = drop.samples.iter();
                        (reason, samples.map(|sample| sample.id.clone()).collect())
                    })
                    .collect(),
            });
        }
        reports
    }

    fn license_counts(&self) -> BTreeMap<String, SplitReport> {
        let mut counts = BTreeMap::<_, SplitReport>::new();
        for ((_, license), tally) in &self.licenses {
            let count = counts.entry(license.clone()).or_default();
            count.documents += tally.documents;
            count.tokens += tally.tokens;
        }
        counts
    }

    /// The first of each stage and reason, none longer than a glance.
    fn dropped_samples(&self) -> Vec<DroppedSample> {
        let firsts = self.drops.values().filter_map(|drop| drop.samples.first());
        firsts.cloned().collect()
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
            licenses: self.license_counts(),
            tokens_histogram: self.tokens_histogram.clone(),
            characters_histogram: self.characters_histogram.clone(),
            stages: self.stages(stages),
            dropped: self.dropped_samples(),
        }
    }
}

/// The report of a whole run, from the tallies of its sources in the recipe's order.
pub(crate) fn report(recipe: &Recipe, tallies: &[SourceTally], books3: &Books3Rules) -> Report {
    let sum = |value: fn(&SourceTally) -> u64| tallies.iter().map(value).sum::<u64>();
    let sources = recipe.sources.iter().zip(tallies).map(|(source, tally)| {
        tally.report(&source.name, source.kind, &Stages::new(recipe, source))
    });
    let mut by_rule: BTreeMap<_, _> = RULES.map(|rule| (rule.to_owned(), 0)).into();
    for (rule, documents) in tallies
        .iter()
        .flat_map(|tally| tally.dropped_at(Stages::BOOKS3))
    {
        *by_rule.entry(rule.to_owned()).or_default() += documents;
    }
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
            documents_checked: sum(|tally| {
                let unread = tally.dropped_at(Stages::READ);
                tally.documents_in - unread.map(|(_, documents)| documents).sum::<u64>()
            }),
            documents_excluded: by_rule.values().sum(),
            by_rule,
            remaining: sum(|tally| tally.books3_remaining),
            quarantined: sum(|tally| tally.books3_quarantined),
            titles: books3.titles(),
            fingerprints: books3.fingerprints(),
            lists_sha256: books3.lists_sha256().to_owned(),
        },
        mixture: mixture(recipe, tallies),
    }
}

fn mixture(recipe: &Recipe, tallies: &[SourceTally]) -> Mixture {
    let sources: Vec<_> = recipe
        .sources
        .iter()
        .zip(tallies)
        .map(|(source, tally)| (source.name.as_str(), source.sampling, tally.train_tokens()))
        .collect();
    mixture::plan(&sources, recipe.training_tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subset_or_license_a_row_does_not_fill_the_memory() {
        let mut tally = SourceTally::default();
        for document in 0..4 * MAX_SUBSETS {
            tally.subset(&document.to_string()).documents_in += 1;
            tally.license("", &document.to_string()).documents += 1;
        }
        assert_eq!(tally.subsets.len(), MAX_SUBSETS + 1);
        let others = 3 * MAX_SUBSETS as u64;
        assert_eq!(tally.subsets[OTHER_SUBSETS].documents_in, others);
        assert_eq!(tally.licenses.len(), 2 * MAX_SUBSETS + 1);
    }
}
