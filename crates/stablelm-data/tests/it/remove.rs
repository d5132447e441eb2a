//! Documents taken out of a prepared folder: what stays is the same, what went is told.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use stablelm_data::{
    IndexedDataset, InspectOptions, Inspection, RemoveError, RemoveOptions, Removed, Report,
    VerifyOptions, inspect, parse_recipe, remove, verify, write_manifest,
};
use stablelm_tokenizer::Tokenizer;

use crate::scratch::{hex_sha256, prepare, read_folder, read_table};

/// The fixtures, prepared with some more in the recipe.
struct Prepared {
    folder: tempfile::TempDir,
    inputs: PathBuf,
    report: Report,
}

type Row = BTreeMap<String, String>;

impl Prepared {
    fn new(more: &str) -> Self {
        let path = stablelm_testkit::fixtures().join("data/recipe.toml");
        let text = std::fs::read_to_string(&path).unwrap() + more;
        let recipe = parse_recipe(&text, &path).unwrap();
        let tokenizer = Tokenizer::from_file(&recipe.tokenizer_path()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("in");
        let prepared = prepare(&recipe, &tokenizer, &output, 2, 1 << 28).unwrap();
        write_manifest(&output, &prepared).unwrap();
        Self {
            folder,
            inputs: recipe.folder.clone(),
            report: prepared.report,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Takes what `lines` name out of `from`, into `to`.
    fn remove(
        &self,
        [from, to]: [&str; 2],
        lines: &str,
        allow_missing: bool,
    ) -> Result<Removed, RemoveError> {
        std::fs::write(self.path("ids"), lines).unwrap();
        std::fs::create_dir(self.path(to)).unwrap();
        let removed = remove(&RemoveOptions {
            folder: &self.path(from),
            ids: &self.path("ids"),
            output: &self.path(to),
            allow_missing,
            tool_version: "1.2.3",
        })?;
        write_manifest(&self.path(to), &removed.prepared).unwrap();
        Ok(removed)
    }

    fn verify(&self, name: &str) {
        let verification = verify(&VerifyOptions {
            folder: &self.path(name),
            inputs: &self.inputs,
            threads: NonZeroUsize::new(2).unwrap(),
            remote: None,
        });
        let verification = verification.unwrap();
        assert!(verification.passed, "{:#?}", verification.findings);
    }
}

/// Every kept document by source, path and row: its row of provenance and its tokens.
fn documents(folder: &Path) -> BTreeMap<String, (Row, Vec<u32>)> {
    let mut documents = BTreeMap::new();
    for name in read_folder(&folder.join("tokens")).keys() {
        let Some(stem) = name.strip_suffix(".idx") else {
            continue;
        };
        let prefix = folder.join("tokens").join(stem);
        let dataset = IndexedDataset::open(&prefix).unwrap();
        let rows = read_table(&folder.join(format!("tokens/{stem}.documents.parquet")));
        assert_eq!(rows.len() as u64, dataset.num_documents);
        for (number, mut row) in rows.into_iter().enumerate() {
            assert_eq!(row.remove("document").unwrap(), number.to_string());
            let tokens = dataset.read_document(number as u64).unwrap();
            let place = format!("{}/{}:{}", row["source"], row["path"], row["row"]);
            documents.insert(place, (row, tokens));
        }
    }
    documents
}

#[test]
fn without_requests_every_file_but_the_record_is_the_same() {
    for more in [
        "",
        "[output]\ntext = true\ndropped_text = true\nshard_tokens = 20000\n",
    ] {
        let prepared = Prepared::new(more);
        let removed = prepared
            .remove(["in", "out"], "# nothing\n\n", false)
            .unwrap();
        assert_eq!((removed.documents, removed.tokens), (0, 0));
        let mut before = read_folder(&prepared.path("in"));
        let mut after = read_folder(&prepared.path("out"));
        let recipe = |files: &BTreeMap<String, Vec<u8>>| {
            let page = String::from_utf8(files["report.html"].clone()).unwrap();
            let (_, recipe) = page.split_once("The recipe as resolved").unwrap();
            recipe.split_once("</details>").unwrap().0.to_owned()
        };
        assert!(recipe(&before).contains("append_eod"));
        assert_eq!(recipe(&before), recipe(&after));
        // The stage `remove` and the record are there, and nothing in them.
        for name in ["manifest.json", "report.json", "report.html"] {
            assert_ne!(before.remove(name), after.remove(name), "{name}");
        }
        let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&before), names(&after));
        for (name, bytes) in before {
            assert!(after[&name] == bytes, "{name}");
        }
        prepared.verify("out");
    }
}

#[test]
fn what_stays_keeps_its_tokens_and_the_sums_agree() {
    for more in [
        "",
        "[output]\ntext = true\ndropped_text = true\nshard_tokens = 20000\n",
    ] {
        let prepared = Prepared::new(more);
        let before = documents(&prepared.path("in"));
        let named = |name: fn(&Row) -> String, step: usize| {
            let rows = before
                .values()
                .map(|(row, _)| row)
                .skip(step)
                .step_by(7 * step);
            rows.map(name).collect::<Vec<_>>()
        };
        let mut lines = named(|row| format!("{}:{}", row["path"], row["row"]), 1);
        lines.extend(named(|row| row["text_sha256"].to_uppercase(), 2));
        lines.extend(named(|row| row["id"].clone(), 3));
        lines.extend(named(
            |row| format!("{}/{}:{}", row["source"], row["path"], row["row"]),
            5,
        ));
        let wanted: BTreeSet<&str> = lines.iter().map(String::as_str).collect();
        let goes = |place: &String, row: &Row| {
            let hash = row["text_sha256"].to_uppercase();
            let (source, rest) = place.split_once('/').unwrap();
            assert_eq!(source, row["source"]);
            let ways = [place, rest, &row["id"], hash.as_str()];
            ways.iter()
                .any(|name| *name != "null" && wanted.contains(*name))
        };
        let mut lines_left: Vec<_> = lines.iter().map(String::as_str).collect();
        lines_left.retain(|line| *line != "null");
        let removed = prepared
            .remove(["in", "out"], &lines_left.join("\n"), false)
            .unwrap();
        let after = documents(&prepared.path("out"));
        let expected: BTreeMap<_, _> = before
            .clone()
            .into_iter()
            .filter(|(place, (row, _))| !goes(place, row))
            .collect();
        assert!(expected.len() + 100 < before.len());
        assert_eq!(after, expected);
        assert_eq!(removed.documents, (before.len() - after.len()) as u64);
        let report = &removed.prepared.report;
        assert_eq!(report.documents_kept, after.len() as u64);
        assert_eq!(report.documents_in, prepared.report.documents_in);
        for source in &report.sources {
            let stage = source.stages.last().unwrap();
            assert_eq!(stage.name, "remove");
            assert_eq!(stage.documents_out, source.documents_kept);
            let lost = stage.documents_in - stage.documents_out;
            assert_eq!(stage.reasons["taken_down"], lost);
            let histograms = [&source.tokens_histogram, &source.characters_histogram];
            for histogram in histograms {
                assert_eq!(histogram.buckets.iter().sum::<u64>(), source.documents_kept);
            }
            let licenses = source.licenses.values().map(|count| count.documents);
            assert_eq!(licenses.sum::<u64>(), source.documents_kept);
        }
        prepared.verify("out");
        check_text(&prepared.path("out"), &after);
    }
}

/// The table of texts has a row for each document, under its new number.
fn check_text(folder: &Path, documents: &BTreeMap<String, (Row, Vec<u32>)>) {
    for source in ["pile", "refinedweb"] {
        let table = folder.join(format!("text/{source}.parquet"));
        if !table.is_file() {
            continue;
        }
        let rows = read_table(&table);
        let of_source = documents
            .values()
            .filter(|(row, _)| row["source"] == source);
        assert_eq!(rows.len(), of_source.count());
        let mut numbers: BTreeMap<_, Vec<u64>> = BTreeMap::new();
        for row in rows {
            let place = format!("{source}/{}:{}", row["path"], row["row"]);
            let hash = hex_sha256(row["text"].as_bytes());
            assert_eq!(documents[&place].0["text_sha256"], hash);
            let shard = (row["split"].clone(), row["shard"].clone());
            let of_shard = numbers.entry(shard).or_default();
            of_shard.push(row["document"].parse().unwrap());
        }
        for numbers in numbers.values() {
            assert!(numbers.iter().copied().eq(0..numbers.len() as u64));
        }
    }
}

#[test]
fn a_second_removal_adds_to_the_first() {
    let prepared = Prepared::new("[output]\ndropped_text = true\n");
    let before = documents(&prepared.path("in"));
    let places: Vec<_> = before.keys().cloned().collect();
    let first = prepared.remove(["in", "a"], &places[0], false).unwrap();
    let second = prepared.remove(["a", "b"], &places[1], false).unwrap();
    prepared.verify("b");
    let records = &second.prepared.removed;
    assert_eq!(records.len(), 2);
    assert_eq!(records[1].parent_run_hash, first.prepared.run_hash);
    assert_eq!(records[1].ids_sha256, hex_sha256(places[1].as_bytes()));
    assert_eq!((records[1].requested, records[1].documents), (1, 1));
    assert_eq!(records[1].tokens, before[&places[1]].1.len() as u64);
    let source = &before[&places[0]].0["source"];
    let report = &second.prepared.report;
    let source = report.sources.iter().find(|found| found.name == *source);
    let stages = &source.unwrap().stages;
    assert_eq!(
        stages.iter().filter(|stage| stage.name == "remove").count(),
        1
    );
    assert_eq!(stages.last().unwrap().reasons["taken_down"], 2);
    let found = inspect(&prepared.path("b"), &InspectOptions::default()).unwrap();
    let Inspection::Prepared(found) = found else {
        panic!("{found:?}")
    };
    assert_eq!(&found.removed, records);
}

#[test]
fn a_request_that_matches_nothing_is_named() {
    let prepared = Prepared::new("");
    let place = documents(&prepared.path("in")).into_keys().next().unwrap();
    let lines = format!("nobody\n{place}\nnothing:7\nnobody\n");
    let error = prepared.remove(["in", "out"], &lines, false).unwrap_err();
    let RemoveError::NoMatch { requests, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(requests, &["nobody", "nothing:7"]);
    assert!(read_folder(&prepared.path("out")).is_empty());
    let removed = prepared.remove(["in", "again"], &lines, true).unwrap();
    assert_eq!(removed.missing, ["nobody", "nothing:7"]);
    assert_eq!(
        (removed.documents, removed.prepared.removed[0].requested),
        (1, 3)
    );
    prepared.verify("again");
}

#[test]
fn a_source_may_lose_everything() {
    let prepared = Prepared::new("");
    let before = documents(&prepared.path("in"));
    let web = before
        .keys()
        .filter(|place| place.starts_with("refinedweb/"));
    let lines: Vec<_> = web.map(String::as_str).collect();
    prepared
        .remove(["in", "out"], &lines.join("\n"), false)
        .unwrap();
    prepared.verify("out");
    let after = documents(&prepared.path("out"));
    assert_eq!(after.len(), before.len() - lines.len());
    let yml = std::fs::read_to_string(prepared.path("out/neox.yml")).unwrap();
    assert!(!yml.contains("refinedweb"), "{yml}");
}
