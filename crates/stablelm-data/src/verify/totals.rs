//! The sums of report and manifest beside what lies in the files.

use std::collections::BTreeMap;

use crate::manifest::MANIFEST;
use crate::prepare::{DROPPED, QUARANTINE, REPORT};
use crate::report::{Report, SourceReport, StageReport};
use crate::verify::manifest::ManifestFile;
use crate::verify::{Run, chain, table};

const CHECK: &str = "totals";

pub(super) fn check(run: &mut Run<'_>, manifest: &ManifestFile, report: &Report) {
    let sum = |value: fn(&SourceReport) -> u64| report.sources.iter().map(value).sum::<u64>();
    for (place, found, expected) in [
        (
            "documents_in",
            report.documents_in,
            sum(|source| source.documents_in),
        ),
        (
            "documents_kept",
            report.documents_kept,
            sum(|source| source.documents_kept),
        ),
        ("bytes_in", report.bytes_in, sum(|source| source.bytes_in)),
        (
            "bytes_kept",
            report.bytes_kept,
            sum(|source| source.bytes_kept),
        ),
        ("tokens", report.tokens, sum(|source| source.tokens)),
    ] {
        run.expect(CHECK, REPORT, place, &expected, &found);
    }
    for source in &report.sources {
        check_source(run, source);
        check_stages(run, source);
        check_tables(run, source);
        let Some(entry) = manifest
            .sources
            .iter()
            .find(|entry| entry.name == source.name)
        else {
            let place = format!("source `{}`", source.name);
            run.find(CHECK, MANIFEST, place, "an entry, as in the report", "none");
            continue;
        };
        let place = |what: &str| format!("source `{}`, {what}", source.name);
        run.expect(
            CHECK,
            MANIFEST,
            &place("documents"),
            &source.documents_kept,
            &entry.documents,
        );
        run.expect(
            CHECK,
            MANIFEST,
            &place("tokens"),
            &source.tokens,
            &entry.tokens,
        );
    }
    let known = |name: &String| report.sources.iter().any(|source| source.name == *name);
    let strangers: Vec<_> = run
        .splits
        .keys()
        .filter(|(name, _)| !known(name))
        .cloned()
        .collect();
    for (source, split) in strangers {
        let place = format!("source `{source}`, split `{split}`");
        run.find(CHECK, REPORT, place, "an entry for its token files", "none");
    }
}

/// The splits of a source beside its token files.
fn check_source(run: &mut Run<'_>, source: &SourceReport) {
    let place = |what: &str| format!("source `{}`, {what}", source.name);
    let mut said: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for (split, counts) in &source.splits {
        said.insert(split.as_str().to_owned(), (counts.documents, counts.tokens));
    }
    let counted = run
        .splits
        .iter()
        .filter(|((name, _), _)| *name == source.name);
    let counted: BTreeMap<String, (u64, u64)> = counted
        .map(|((_, split), counts)| (split.clone(), *counts))
        .collect();
    for split in said
        .keys()
        .chain(counted.keys())
        .collect::<std::collections::BTreeSet<_>>()
    {
        let (found, expected) = (
            said.get(split).copied().unwrap_or_default(),
            counted.get(split).copied().unwrap_or_default(),
        );
        let of = |what: &str| place(&format!("split `{split}`, {what}"));
        run.expect(CHECK, REPORT, &of("documents"), &expected.0, &found.0);
        run.expect(CHECK, REPORT, &of("tokens"), &expected.1, &found.1);
    }
    let documents = counted.values().map(|counts| counts.0).sum();
    let tokens = counted.values().map(|counts| counts.1).sum();
    run.expect(
        CHECK,
        REPORT,
        &place("documents_kept"),
        &documents,
        &source.documents_kept,
    );
    run.expect(CHECK, REPORT, &place("tokens"), &tokens, &source.tokens);
}

/// The funnel: what goes out of one stage goes into the next, and the reasons account for the rest.
fn check_stages(run: &mut Run<'_>, source: &SourceReport) {
    let mut left = source.documents_in;
    for stage in &source.stages {
        let StageReport {
            name,
            documents_in,
            documents_out,
            reasons,
            ..
        } = stage;
        let place = |what: &str| format!("source `{}`, stage `{name}`, {what}", source.name);
        run.expect(CHECK, REPORT, &place("documents_in"), &left, documents_in);
        let dropped: u64 = reasons.values().sum();
        let out = documents_in.saturating_sub(dropped);
        run.expect(CHECK, REPORT, &place("documents_out"), &out, documents_out);
        left = *documents_out;
    }
    let place = format!("source `{}`, documents_kept", source.name);
    run.expect(CHECK, REPORT, &place, &left, &source.documents_kept);
}

/// The tables of what was dropped and what could not be read have a row for each.
fn check_tables(run: &mut Run<'_>, source: &SourceReport) {
    let lost = source.documents_in.saturating_sub(source.documents_kept);
    let dropped = lost.saturating_sub(source.quarantined);
    for (folder, expected) in [(DROPPED, dropped), (QUARANTINE, source.quarantined)] {
        let file = format!("{folder}/{}.parquet", source.name);
        match table::num_rows(&run.options.folder.join(&file)) {
            Ok(found) => run.expect(CHECK, &file, "number of rows", &expected, &found),
            Err(error) => run.find(CHECK, &file, "", "a table", chain(&error)),
        }
    }
}
