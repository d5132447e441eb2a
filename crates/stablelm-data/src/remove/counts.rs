//! The sums of a source without what was taken out of it.

use crate::document::Split;
use crate::prepare::SourceSummary;
use crate::prepare::commit::NO_LICENSE;
use crate::prepare::tally::{MAX_SAMPLES, OTHER_SUBSETS};
use crate::report::{DroppedSample, Histogram, SourceReport, StageReport};
use crate::write::documents::DocumentRow;

/// The stage that removals are counted under, after all others.
pub(super) const STAGE: &str = "remove";
/// Why its documents went.
pub(super) const REASON: &str = "taken_down";

/// The report of a source, and what the manifest says of it.
pub(super) struct SourceCounts<'r> {
    pub(super) report: &'r mut SourceReport,
    summary: Option<&'r mut SourceSummary>,
    approximate: u64,
}

impl<'r> SourceCounts<'r> {
    pub(super) fn new(
        report: &'r mut SourceReport,
        summary: Option<&'r mut SourceSummary>,
    ) -> Self {
        if report.stages.last().is_none_or(|stage| stage.name != STAGE) {
            let last = report.stages.last();
            let (documents, bytes) = last.map_or((report.documents_in, report.bytes_in), |stage| {
                (stage.documents_out, stage.bytes_out)
            });
            report.stages.push(StageReport {
                name: STAGE.to_owned(),
                documents_in: documents,
                documents_out: documents,
                bytes_in: bytes,
                bytes_out: bytes,
                reasons: [].into(),
                samples: [].into(),
            });
        }
        Self {
            report,
            summary,
            approximate: 0,
        }
    }

    /// Takes out what the provenance of a document says.
    pub(super) fn take(&mut self, split: Split, row: &DocumentRow) {
        let tokens = u64::from(row.num_tokens.unsigned_abs());
        let report = &mut *self.report;
        report.documents_kept = report.documents_kept.saturating_sub(1);
        report.tokens = report.tokens.saturating_sub(tokens);
        take_value(&mut report.tokens_histogram, tokens);
        if let Some(counts) = report.splits.get_mut(&split) {
            counts.documents = counts.documents.saturating_sub(1);
            counts.tokens = counts.tokens.saturating_sub(tokens);
        }
        if let Some(subset) = &row.subset {
            let known = report.subsets.contains_key(subset);
            let subset = if known { subset } else { OTHER_SUBSETS };
            if let Some(counts) = report.subsets.get_mut(subset) {
                counts.documents_kept = counts.documents_kept.saturating_sub(1);
                counts.tokens = counts.tokens.saturating_sub(tokens);
            }
        }
        let license = self.take_license(row, tokens);
        if let Some(counts) = self.report.licenses.get_mut(&license) {
            counts.documents = counts.documents.saturating_sub(1);
            counts.tokens = counts.tokens.saturating_sub(tokens);
        }
        self.count_stage(row);
    }

    /// Takes a document out of the manifest's entry for its license; returns the license that it was
    /// counted under.
    fn take_license(&mut self, row: &DocumentRow, tokens: u64) -> String {
        let Some(summary) = &mut self.summary else {
            return row.license.to_string();
        };
        summary.documents = summary.documents.saturating_sub(1);
        summary.tokens = summary.tokens.saturating_sub(tokens);
        // The same steps as when it was counted: beyond a thousand subsets and licenses, sums only.
        let candidates = [
            (row.subset.as_deref(), &*row.license),
            (Some(OTHER_SUBSETS), &*row.license),
            (Some(OTHER_SUBSETS), NO_LICENSE),
        ];
        for (subset, license) in candidates {
            let mut licenses = summary.licenses.iter_mut();
            let found = licenses
                .find(|count| count.subset.as_deref() == subset && count.license == license);
            if let Some(count) = found {
                count.documents = count.documents.saturating_sub(1);
                count.tokens = count.tokens.saturating_sub(tokens);
                return license.to_owned();
            }
        }
        row.license.to_string()
    }

    fn count_stage(&mut self, row: &DocumentRow) {
        let id = row.id.clone();
        let id = id.unwrap_or_else(|| format!("{}:{}", row.path, row.row));
        let report = &mut *self.report;
        let stage = report
            .stages
            .last_mut()
            .expect("it was pushed at the start");
        stage.documents_out = stage.documents_out.saturating_sub(1);
        let documents = stage.reasons.entry(REASON.to_owned()).or_default();
        *documents += 1;
        let samples = stage.samples.entry(REASON.to_owned()).or_default();
        if samples.len() < MAX_SAMPLES {
            samples.push(id.clone());
        }
        if *documents == 1 {
            report.dropped.push(DroppedSample {
                stage: STAGE.to_owned(),
                reason: REASON.to_owned(),
                value: None,
                threshold: None,
                id,
                excerpt: String::new(),
            });
        }
    }

    /// Takes out what the text of a document says.
    pub(super) fn take_text(&mut self, text: &str, special_tokens: u64, is_exact: bool) {
        let bytes = text.len() as u64;
        let report = &mut *self.report;
        report.bytes_kept = report.bytes_kept.saturating_sub(bytes);
        report.special_tokens_found = report.special_tokens_found.saturating_sub(special_tokens);
        take_value(
            &mut report.characters_histogram,
            text.chars().count() as u64,
        );
        let stage = report
            .stages
            .last_mut()
            .expect("it was pushed at the start");
        stage.bytes_out = stage.bytes_out.saturating_sub(bytes);
        self.approximate += u64::from(!is_exact);
    }

    /// Drops entries of nothing; returns how many texts were known by their tokens only.
    pub(super) fn finish(self) -> u64 {
        self.report.splits.retain(|_, counts| counts.documents > 0);
        let licenses = &mut self.report.licenses;
        licenses.retain(|_, counts| counts.documents > 0);
        if let Some(summary) = self.summary {
            summary.licenses.retain(|count| count.documents > 0);
        }
        self.approximate
    }
}

/// Takes one value out of a histogram.
fn take_value(histogram: &mut Histogram, value: u64) {
    let bucket = value.checked_ilog2().unwrap_or(0) as usize;
    if let Some(count) = histogram.buckets.get_mut(bucket) {
        *count = count.saturating_sub(1);
    }
    while histogram.buckets.last() == Some(&0) {
        histogram.buckets.pop();
    }
}
