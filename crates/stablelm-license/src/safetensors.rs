//! What a safetensors file says about its own license, in the string map of its header.
//!
//! Three families of keys: `format` and `license`, which other tools read; `modelspec.*`, from
//! Stability AI's `ModelSpec` 1.0.1; and `stablelm.*`, our own. `modelspec.hash_sha256` is not here:
//! it is taken over the tensors, which only the writer of the file has seen.

use std::collections::BTreeMap;

use crate::attribution::attribution_line;
use crate::card::ModelFacts;
use crate::changes::{ChangeKind, ChangeRecord, sha256_hex};
use crate::component::{Claim, ClaimKind, ClaimStatus, Component, ComponentKind};
use crate::ledger::Ledger;
use crate::notice::{licensed_material, notice};
use crate::registry::Registry;
use crate::spdx::NOASSERTION;
use crate::text::one_line;

const MODELSPEC_VERSION: &str = "1.0.1";

/// Returns the header entries for the weights of a ledger.
///
/// The file's `__metadata__` takes nothing but strings, so the change records are JSON in a string.
pub fn safetensors_metadata(ledger: &Ledger, facts: &ModelFacts) -> BTreeMap<String, String> {
    let subject = ledger.subject();
    let license = subject.map_or(NOASSERTION, |subject| &subject.license);
    let mut entries: BTreeMap<String, String> = BTreeMap::new();
    let mut set = |key: &str, value: &str| {
        if !value.is_empty() {
            entries.insert(key.to_owned(), value.to_owned());
        }
    };
    set("format", "pt");
    set("license", license);
    set("modelspec.sai_model_spec", MODELSPEC_VERSION);
    set("modelspec.architecture", architecture(&facts.architecture));
    set("modelspec.implementation", &facts.library_name);
    set("modelspec.title", &one_line(&ledger.title));
    // The specification asks for this key of every text model.
    set(
        "modelspec.data_format",
        if facts.dtype.is_empty() {
            "mixed"
        } else {
            &facts.dtype
        },
    );
    set("modelspec.format_type", "general");
    set("modelspec.license", license);
    if let Some(subject) = subject {
        set("modelspec.author", &subject.creators_phrase());
        set("modelspec.language", &subject.languages.join(", "));
        set(
            "modelspec.date",
            subject.released.as_deref().unwrap_or_default(),
        );
        set("modelspec.merged_from", &merged_from(ledger));
        set("stablelm.component", &subject.id);
        set(
            "stablelm.source",
            subject.hf_id.as_deref().unwrap_or(&subject.url),
        );
        set(
            "stablelm.license_url",
            &subject.license_address().unwrap_or_default(),
        );
        set("stablelm.copyright", &subject.copyright.join("\n"));
    }
    set("stablelm.attribution", &attribution_line(ledger));
    set("stablelm.changes", &compact_changes(ledger));
    set(
        "stablelm.notice_sha256",
        &sha256_hex(notice(ledger).as_bytes()),
    );
    entries
}

/// Returns the ledger that a file written by us describes; `None` for any other file.
///
/// A component of the built-in registry is taken from there. When the file states another license
/// for it, that is kept as an observation and does not replace the registry's conclusion. Change
/// records are taken as they are; [`Ledger::verify_chain`] says whether they hold.
pub fn ledger_from_safetensors_metadata(metadata: &BTreeMap<String, String>) -> Option<Ledger> {
    let get = |key: &str| {
        metadata
            .get(key)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    };
    let attribution = get("stablelm.attribution")?;
    let title = get("modelspec.title").unwrap_or("Untitled model");
    let license = get("license")
        .or_else(|| get("modelspec.license"))
        .unwrap_or(NOASSERTION);
    let registry = Registry::builtin();
    let known = get("stablelm.component").and_then(|id| registry.get(id));
    let model = match known {
        Some(known) => observed(known.clone(), license),
        None => Component {
            id: get("stablelm.component").map_or_else(
                || Component::unknown(title, ComponentKind::Weights).id,
                str::to_owned,
            ),
            creators: get("modelspec.author")
                .filter(|author| *author != "unknown")
                .map(str::to_owned)
                .into_iter()
                .collect(),
            copyright: get("stablelm.copyright")
                .map(|text| text.lines().map(str::to_owned).collect())
                .unwrap_or_default(),
            license: license.to_owned(),
            license_url: get("stablelm.license_url").map(str::to_owned),
            url: get("stablelm.source").unwrap_or_default().to_owned(),
            languages: get("modelspec.language")
                .map(|list| list.split(", ").map(str::to_owned).collect())
                .unwrap_or_default(),
            attribution: credit_alone(attribution).to_owned(),
            claims: vec![claim(license)],
            ..Component::unknown(title, ComponentKind::Weights)
        },
    };
    let mut ledger = Ledger::for_model_in(&model, &registry);
    title.clone_into(&mut ledger.title);
    ledger.changes = get("stablelm.changes")
        .map(read_changes)
        .unwrap_or_default();
    Some(ledger)
}

/// Returns `ModelSpec`'s name of an architecture where it has one, else the class itself.
fn architecture(class: &str) -> &str {
    match class {
        "GPTNeoXForCausalLM" => "gpt-neo-x",
        "StableLmForCausalLM" => "stablelm",
        other => other,
    }
}

fn merged_from(ledger: &Ledger) -> String {
    if !ledger
        .changes
        .iter()
        .any(|change| change.kind == ChangeKind::Merge)
    {
        return String::new();
    }
    let names: Vec<_> = licensed_material(ledger)
        .iter()
        .map(|found| found.name.as_str())
        .collect();
    names.join(", ")
}

fn compact_changes(ledger: &Ledger) -> String {
    serde_json::to_string(&ledger.changes)
        .expect("records are made of strings, which always have a JSON form")
}

/// Returns an attribution line without what [`attribution_line`] adds to the credit.
fn credit_alone(line: &str) -> &str {
    line.rsplit_once(" Changes: ")
        .map_or(line, |(credit, _)| credit)
}

/// Reads change records. Text that is none becomes one record that holds it and fails
/// [`Ledger::verify_chain`], because a license may ask to keep what was said about changes.
fn read_changes(text: &str) -> Vec<ChangeRecord> {
    serde_json::from_str(text).unwrap_or_else(|_| {
        vec![ChangeRecord {
            when: String::new(),
            tool: "unknown".to_owned(),
            version: String::new(),
            kind: ChangeKind::Format,
            from_sha256: None,
            detail: format!("unreadable record of earlier changes: {text}"),
            previous: String::new(),
            sha256: String::new(),
        }]
    })
}

fn observed(mut component: Component, license: &str) -> Component {
    if component.license != license {
        component.claims.push(claim(license));
    }
    component
}

fn claim(license: &str) -> Claim {
    Claim {
        value: license.to_owned(),
        kind: ClaimKind::Observed,
        source: "the header of the safetensors file".to_owned(),
        revision: None,
        read: String::new(),
        evidence_sha256: None,
        status: ClaimStatus::Verified,
        note: None,
    }
}
