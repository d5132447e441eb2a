//! The documents one by one: whether they read, and what each holds by itself.

use serde_json::Value;

use super::account::Accounts;
use super::problems::{Check, Problems};
use crate::changes::ChangeRecord;
use crate::detect::{Detection, MatchKind, detect};
use crate::finding::Severity;
use crate::ledger::Ledger;
use crate::lint;
use crate::release::Release;
use crate::spdx;

const fn rule(id: &'static str, clause: &'static str) -> Check {
    Check {
        id,
        clause,
        source: "https://creativecommons.org/licenses/by-sa/4.0/legalcode",
    }
}

/// More words than this beside a license are no heading.
const MAX_HEADING: usize = 8;

/// Documents that a folder of weights has to carry, with the clause that asks for each.
const REQUIRED: [(&str, &str); 4] = [
    ("README.md", "CC BY-SA 4.0, 3(a)(1)"),
    ("LICENSE", "CC BY-SA 4.0, 3(a)(1)(C)"),
    ("NOTICE", "CC BY-SA 4.0, 3(a)(1)(A)"),
    ("CHANGES.json", "CC BY-SA 4.0, 3(a)(1)(B)"),
];

pub(crate) fn run(release: &Release, accounts: &mut Accounts<'_>, problems: &mut Problems) {
    required(release, problems);
    for (path, text) in &release.texts {
        match path.as_str() {
            "README.md" | "CITATION.cff" => linted(path, text, problems),
            "ledger.json" => ledger(path, text, problems),
            "CHANGES.json" => changes(path, text, problems),
            "manifest.json" => manifest(path, text, accounts, problems),
            "model.safetensors.index.json" => index(path, text, release, accounts, problems),
            "LICENSE" | "LICENSE.txt" => license(path, text, release, problems),
            "config.json"
            | "generation_config.json"
            | "tokenizer.json"
            | "tokenizer_config.json" => {
                if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(text) {
                    problems.unreadable(path, error);
                }
            }
            "NOTICE" | "ATTRIBUTION.md" => problems.read(path),
            _ => {}
        }
    }
    for (path, metadata) in &release.metadata {
        problems.read(path);
        if metadata.get("format").is_none_or(|format| format != "pt") {
            let reason =
                "`__metadata__` does not say `\"format\": \"pt\"`; loaders refuse the file";
            let check = Check {
                id: "META-FORMAT",
                clause: "safetensors, __metadata__",
                source: "https://github.com/huggingface/safetensors",
            };
            problems.warning(check, path, reason.to_owned(), "convert it again");
        }
    }
}

/// Names what a folder of weights with a ledger, or with our header, has to carry and lacks.
fn required(release: &Release, problems: &mut Problems) {
    let ours = release
        .metadata
        .values()
        .any(|metadata| metadata.contains_key("stablelm.attribution"));
    let is_model = release
        .ledger
        .as_ref()
        .is_some_and(|ledger| ledger.subject.is_some());
    if !(ours || is_model && !release.metadata.is_empty()) {
        return;
    }
    for (name, clause) in REQUIRED {
        if !release.files.contains_key(name) {
            let reason = format!("`{name}` is missing");
            let step = "write it again: `stablelm license notice|card`, or convert again";
            problems.error(rule("PAPER-MISSING", clause), name, reason, step);
        }
    }
    if !release.files.contains_key("ledger.json") {
        let reason = "`ledger.json` is missing: nothing to compare the documents with".to_owned();
        problems.error(
            rule("PAPER-MISSING", "ledger"),
            "ledger.json",
            reason,
            "convert again",
        );
    }
}

/// Adds what the linter finds in a card or a citation.
pub(crate) fn linted(path: &str, text: &str, problems: &mut Problems) {
    problems.read(path);
    for found in lint::lint(path, text.as_bytes()) {
        let finding = found.finding;
        if matches!(finding.rule.as_str(), "CARD-YAML" | "CFF-YAML") {
            let place = finding.line.unwrap_or_default();
            problems.unreadable(path, format!("line {place}: {}", finding.reason));
        } else if finding.severity >= Severity::Warning {
            problems.findings.push(finding);
        }
    }
}

fn ledger(path: &str, text: &str, problems: &mut Problems) {
    match Ledger::from_json(text.as_bytes()) {
        Err(error) => {
            let cause = std::error::Error::source(&error)
                .map_or_else(|| error.to_string(), ToString::to_string);
            problems.unreadable(path, cause);
        }
        Ok(ledger) => {
            problems.read(path);
            if let Err(error) = ledger.verify_chain() {
                broken_chain(path, &error.to_string(), problems);
            }
        }
    }
}

fn changes(path: &str, text: &str, problems: &mut Problems) {
    match serde_json::from_str::<Vec<ChangeRecord>>(text) {
        Err(error) => problems.unreadable(path, error),
        Ok(chain) => {
            problems.read(path);
            if let Err(error) = crate::changes::verify(&chain) {
                broken_chain(path, &error.to_string(), problems);
            }
        }
    }
}

/// Says that a record of changes was edited.
pub(crate) fn broken_chain(path: &str, error: &str, problems: &mut Problems) {
    let check = rule("CHANGES-CHAIN", "CC BY-SA 4.0, 3(a)(1)(B)");
    let reason = format!("the record of changes does not hold: {error}");
    problems.error(check, path, reason, "get the file again from where it came");
}

/// Compares the list of files that `data prepare` wrote.
fn manifest(path: &str, text: &str, accounts: &mut Accounts<'_>, problems: &mut Problems) {
    let value: Value = match serde_json::from_str(text) {
        Ok(value) => value,
        Err(error) => return problems.unreadable(path, error),
    };
    problems.read(path);
    for file in value["outputs"].as_array().into_iter().flatten() {
        if let (Some(name), Some(sha256)) = (file["path"].as_str(), file["sha256"].as_str()) {
            accounts.compare(name, sha256, path, problems);
        }
    }
}

/// Names the shards that an index lists and the folder lacks.
fn index(
    path: &str,
    text: &str,
    release: &Release,
    accounts: &mut Accounts<'_>,
    problems: &mut Problems,
) {
    let value: Value = match serde_json::from_str(text) {
        Ok(value) => value,
        Err(error) => return problems.unreadable(path, error),
    };
    problems.read(path);
    let mut told: Vec<&str> = Vec::new();
    for shard in value["weight_map"]
        .as_object()
        .into_iter()
        .flat_map(|map| map.values())
    {
        let Some(shard) = shard.as_str().filter(|shard| !told.contains(shard)) else {
            continue;
        };
        told.push(shard);
        accounts.named(shard, "weights");
        if !release.files.contains_key(shard) {
            let check = Check {
                id: "FILE-MISSING",
                clause: "every file is accounted for",
                source: "https://github.com/huggingface/safetensors",
            };
            let reason = format!("`{path}` lists `{shard}`, which is not there");
            problems.error(
                check,
                shard,
                reason,
                "get the folder again from where it came",
            );
        }
    }
}

/// Compares the license text with the license that the ledger names.
fn license(path: &str, text: &str, release: &Release, problems: &mut Problems) {
    problems.read(path);
    let subject = release.ledger.as_ref().and_then(Ledger::subject);
    let Some(subject) = subject else {
        return;
    };
    let ids = spdx::identifiers(&subject.license);
    let is_listed = ids.iter().all(|id| ::spdx::license_id(id).is_some());
    if !is_listed || spdx::license_text(&subject.license).is_none() {
        return;
    }
    let detection = detect(text);
    license_matches(path, &detection, &subject.license, problems);
}

/// Says how a text differs from the license it should be.
pub(crate) fn license_matches(
    path: &str,
    detection: &Detection,
    expected: &str,
    problems: &mut Problems,
) {
    let clause = "CC BY-SA 4.0, 3(a)(1)(C)";
    let Some(found) = detection
        .matches
        .iter()
        .find(|found| found.id == expected || found.also.iter().any(|id| id == expected))
    else {
        let reason = match detection.expression() {
            Some(other) => format!("the text is that of {other}, expected {expected}"),
            None => format!("the text is that of no license we know, expected {expected}"),
        };
        problems.error(
            rule("LICENSE-OTHER", clause),
            path,
            reason,
            "put the right text there",
        );
        return;
    };
    let own_terms = detection.rest.iter().find(|rest| rest.words > MAX_HEADING);
    if let Some(rest) = own_terms {
        let reason = format!(
            "beside {expected} the file says, from line {}: `{}`",
            rest.line, rest.text
        );
        let step = "a license takes no further terms; keep other texts in files of their own";
        let rule = rule("LICENSE-EXTRA", "CC BY-SA 4.0, 2(a)(5)(C)");
        problems.warning(rule, path, reason, step);
    }
    if let MatchKind::Modified {
        similarity,
        differences,
        more,
    } = &found.kind
    {
        let mut told: Vec<String> = differences
            .iter()
            .take(3)
            .map(|difference| {
                format!(
                    "line {}: `{}` became `{}`",
                    difference.line, difference.removed, difference.inserted
                )
            })
            .collect();
        let left = differences.len() - told.len() + more;
        if left > 0 {
            told.push(format!("and {left} more"));
        }
        let reason = format!(
            "the text is not that of {expected} (similarity {similarity:.4}): {}",
            told.join("; ")
        );
        problems.error(
            rule("LICENSE-MODIFIED", clause),
            path,
            reason,
            "put the right text there",
        );
    }
}
