//! Every filter against what datatrove 0.10.1 says, with and without metrics.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;

use serde_json::{Map, Value, json};

use super::c4::C4;
use super::c4_paragraph::C4Paragraph;
use super::fineweb_quality::FinewebQuality;
use super::gopher_quality::GopherQuality;
use super::gopher_repetition::GopherRepetition;
use super::pii::Pii;
use super::{Filter, Metrics, Outcome};
use crate::document::Document;
use crate::hash::{sha256, to_hex};
use crate::words::{Scratch, WordSplitter};

/// The filters that the golden values were made with.
struct Filters {
    quality: GopherQuality,
    repetition: GopherRepetition,
    c4_fineweb: C4,
    c4_default: C4,
    /// Sentence by sentence, where the text needs two.
    c4_sentences: C4,
    fineweb: FinewebQuality,
    paragraph: C4Paragraph,
    pii: Pii,
}

impl Filters {
    fn published(words: WordSplitter) -> Self {
        let mut c4_fineweb = C4::published(words);
        c4_fineweb.lines.filter_no_terminal_punct = false;
        Self {
            quality: GopherQuality::published(words),
            repetition: GopherRepetition::published(words),
            c4_fineweb,
            c4_default: C4::published(words),
            c4_sentences: C4 {
                split_paragraph: false,
                min_num_sentences: 2,
                ..C4::published(words)
            },
            fineweb: FinewebQuality::published(words),
            paragraph: C4Paragraph::published(),
            pii: Pii::published(),
        }
    }
}

/// Compares document after document, and says at the end what was wrong.
struct Check {
    filters: Filters,
    scratch: Scratch,
    documents: usize,
    differences: Vec<String>,
}

impl Check {
    fn new() -> Self {
        Self {
            filters: Filters::published(WordSplitter::SpacyEn),
            scratch: Scratch::default(),
            documents: 0,
            differences: Vec::new(),
        }
    }

    fn document(&mut self, golden: &Value, text: &str) {
        self.documents += 1;
        self.scratch.next_text();
        self.metrics_and_outcomes(golden, text);
        self.addresses(golden, text);
        self.pipeline(golden, text);
    }

    fn metrics_and_outcomes(&mut self, golden: &Value, text: &str) {
        let filters = &self.filters;
        let named: [(&str, &dyn Filter); 7] = [
            ("gopher_quality", &filters.quality),
            ("gopher_repetition", &filters.repetition),
            ("c4_fineweb", &filters.c4_fineweb),
            ("c4_default", &filters.c4_default),
            ("c4_sentences", &filters.c4_sentences),
            ("fineweb", &filters.fineweb),
            ("c4_paragraph", &filters.paragraph),
        ];
        let mut found = Vec::new();
        for (name, filter) in named {
            // Not every file of golden values has all, and datatrove divides some texts by zero.
            if golden[name].is_null() {
                continue;
            }
            let mut metrics = Metrics::on();
            let (outcome, left) = judge(filter, text, &mut self.scratch, &mut metrics);
            let quick = judge(filter, text, &mut self.scratch, &mut Metrics::off());
            let id = &golden["id"];
            assert_eq!(quick, (outcome, left), "{id} {name} without metrics");
            found.push((name, quick.0, quick.1, metrics.into_map()));
        }
        for (name, outcome, left, mut metrics) in found {
            self.compare(golden, name, &outcome);
            let sha_name = format!("{name}_text_sha");
            if golden.get(&sha_name).is_some() {
                self.compare(golden, &sha_name, &sha(left.as_deref()));
                let noted = metrics.remove("text_sha").unwrap_or_default();
                self.compare(golden, &sha_name, &noted);
            }
            self.compare_metrics(golden, &metrics);
        }
    }

    fn addresses(&mut self, golden: &Value, text: &str) {
        let mut metrics = Metrics::on();
        let (_, rewritten) = judge(&self.filters.pii, text, &mut self.scratch, &mut metrics);
        let changed = rewritten.as_deref() != Some(text);
        self.compare(golden, "pii_changed", &changed.into());
        self.compare(golden, "pii_sha", &sha(rewritten.as_deref()));
    }

    fn pipeline(&mut self, golden: &Value, text: &str) {
        let filters = &self.filters;
        let stages: [(&str, &dyn Filter); 4] = [
            ("gopher_quality", &filters.quality),
            ("gopher_repetition", &filters.repetition),
            ("c4", &filters.c4_fineweb),
            ("fineweb", &filters.fineweb),
        ];
        if golden["pipeline"].is_null() {
            return;
        }
        let mut left = Some(text.to_owned());
        let mut found = json!({"outcome": "kept", "stage": null, "reason": null});
        for (stage, filter) in stages {
            let before = left.expect("the loop ends where nothing is left");
            let outcome;
            self.scratch.next_text();
            (outcome, left) = judge(filter, &before, &mut self.scratch, &mut Metrics::off());
            if left.is_none() {
                found = json!({"outcome": "dropped", "stage": stage, "reason": outcome[1]});
                break;
            }
        }
        found["final_text_sha"] = sha(left.as_deref());
        self.compare(golden, "pipeline", &found);
    }

    /// Compares the golden metrics that a filter gives under the same name.
    fn compare_metrics(&mut self, golden: &Value, found: &Map<String, Value>) {
        for (name, found) in found {
            match (found, &golden[name]) {
                // Those of texts without words, and sentences of very long ones.
                (_, Value::Null) => {}
                (Value::Object(found), golden) => self.compare_metrics(golden, found),
                (found, _) => self.compare(golden, name, found),
            }
        }
    }

    fn compare(&mut self, golden: &Value, name: &str, found: &Value) {
        let (id, golden) = (&golden["id"], &golden[name]);
        let same = match (found.as_f64(), golden.as_f64()) {
            // Both divide the same whole numbers.
            (Some(found), Some(golden)) => (found - golden).abs() <= 1e-12 * golden.abs(),
            _ => found == golden,
        };
        if !same {
            let difference = format!("{id} {name}: found {found}, golden {golden}");
            self.differences.push(difference);
        }
    }

    fn finish(self, documents: usize) {
        let found = self.differences;
        let shown = found[..found.len().min(40)].join("\n");
        assert!(found.is_empty(), "{} differences:\n{shown}", found.len());
        assert_eq!(self.documents, documents);
    }
}

/// The outcome as datatrove's files have it, and the text that goes on.
fn judge(
    filter: &dyn Filter,
    text: &str,
    scratch: &mut Scratch,
    metrics: &mut Metrics,
) -> (Value, Option<String>) {
    let document = Document {
        text: text.to_owned(),
        ..Document::default()
    };
    match filter.apply(&document, scratch, metrics) {
        Outcome::Keep => (json!(["keep", null]), Some(document.text)),
        Outcome::Rewrite(text) => (json!(["keep", null]), Some(text)),
        Outcome::Drop(reason) => (json!(["drop", reason.name]), None),
    }
}

fn sha(text: Option<&str>) -> Value {
    text.map(|text| to_hex(&sha256(text.as_bytes())[..8]))
        .into()
}

fn read_lines(path: PathBuf) -> impl Iterator<Item = Value> {
    let file = File::open(path).unwrap();
    let lines = BufReader::new(flate2::read::MultiGzDecoder::new(file)).lines();
    lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap())
}

#[test]
fn outcomes_reasons_metrics_and_texts_are_datatroves() {
    let Some(oracles) = stablelm_testkit::shared_oracles() else {
        eprintln!("skipped: there are no golden values beside the repository");
        return;
    };
    let folder = oracles.join("data");
    let documents = read_lines(folder.join("docs.jsonl.gz"));
    let decisions = read_lines(folder.join("datatrove_decisions.jsonl.gz"));
    let mut check = Check::new();
    for (document, golden) in documents.zip(decisions) {
        assert_eq!(document["id"], golden["id"]);
        check.document(&golden, document["text"].as_str().unwrap());
    }
    check.finish(1170);
}

/// Texts made to be hard out of pieces in the public domain: odd white space, citations and
/// brackets, words repeated and cut in other places, addresses that are nearly some.
#[test]
fn hard_texts_are_judged_as_by_datatrove() {
    let mut check = Check::new();
    for line in include_str!("oracle_cases.jsonl").lines() {
        let golden: Value = serde_json::from_str(line).unwrap();
        check.document(&golden, golden["text"].as_str().unwrap());
    }
    check.finish(50);
}
