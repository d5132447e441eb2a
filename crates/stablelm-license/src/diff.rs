//! What differs between two ledgers or two bills of materials.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;
use thiserror::Error;

use crate::component::{Claim, Component};
use crate::ledger::{Ledger, ObligationState};
use crate::rules::is_prefix;
use crate::spdx::NOASSERTION;

/// What kind of thing differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DifferenceKind {
    /// The title or the subject.
    Subject,
    /// A component came or went.
    Component,
    /// A license.
    License,
    /// A statement about a license.
    Claim,
    /// Who is credited, and how.
    Attribution,
    /// A takedown or a gate.
    State,
    /// An obligation.
    Obligation,
    /// The data that was used or kept out.
    Source,
    /// The record of changes.
    Change,
    /// A version.
    Version,
    /// A hash.
    Hash,
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// What kind of thing differs.
    pub kind: DifferenceKind,
    /// Which one.
    pub name: String,
    /// What it was; none when it is new.
    pub before: Option<String>,
    /// What it is now; none when it is gone.
    pub after: Option<String>,
    /// False for what only goes on, such as a change appended to the record.
    pub drift: bool,
}

/// Why bytes are not a bill of materials.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BomError {
    /// The bytes are not JSON.
    #[error("failed to read the bill of materials")]
    Json(#[source] serde_json::Error),
    /// It is neither of the known forms.
    #[error("expected CycloneDX (`bomFormat`) or SPDX 3 (`@graph`), found neither")]
    Form,
}

/// Compares two ledgers, in the order of the first and then of the second.
pub fn diff_ledgers(before: &Ledger, after: &Ledger) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut differ = |kind, name: &str, before: Option<String>, after: Option<String>| {
        if before != after {
            found.push(difference(kind, name, before, after));
        }
    };
    differ(
        DifferenceKind::Subject,
        "title",
        Some(before.title.clone()),
        Some(after.title.clone()),
    );
    differ(
        DifferenceKind::Subject,
        "subject",
        before.subject.clone(),
        after.subject.clone(),
    );
    let ids = union(&before.components, &after.components, |component| {
        &component.id
    });
    for id in ids {
        match (before.component(id), after.component(id)) {
            (Some(old), Some(new)) => components(old, new, &mut differ),
            (old, new) => {
                let license = |component: &Component| component.license.clone();
                differ(
                    DifferenceKind::Component,
                    id,
                    old.map(license),
                    new.map(license),
                );
            }
        }
    }
    obligations(before, after, &mut differ);
    sources(before, after, &mut differ);
    changes(before, after, &mut found);
    found
}

fn difference(
    kind: DifferenceKind,
    name: &str,
    before: Option<String>,
    after: Option<String>,
) -> Difference {
    Difference {
        kind,
        name: name.to_owned(),
        before,
        after,
        drift: true,
    }
}

fn components(
    old: &Component,
    new: &Component,
    differ: &mut impl FnMut(DifferenceKind, &str, Option<String>, Option<String>),
) {
    let id = &old.id;
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    differ(
        DifferenceKind::License,
        id,
        some(&old.license),
        some(&new.license),
    );
    for (old, new) in [
        (old.creators.join(", "), new.creators.join(", ")),
        (old.copyright.join("\n"), new.copyright.join("\n")),
        (old.attribution.clone(), new.attribution.clone()),
        (old.url.clone(), new.url.clone()),
    ] {
        differ(DifferenceKind::Attribution, id, some(&old), some(&new));
    }
    let state = |component: &Component| {
        let takedown = component.takedown.as_ref();
        let gate = component.gate.as_ref();
        let parts = [
            takedown.map(|takedown| format!("takedown {}", takedown.state)),
            gate.map(|gate| format!("gate {}", gate.state)),
        ];
        some(&parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
    };
    differ(DifferenceKind::State, id, state(old), state(new));
    let key = |claim: &Claim| format!("{:?} {}", claim.kind, claim.source).to_lowercase();
    let keys: BTreeSet<String> = old.claims.iter().chain(&new.claims).map(key).collect();
    for wanted in keys {
        let said = |claims: &[Claim]| {
            let texts: Vec<_> = claims
                .iter()
                .filter(|claim| key(claim) == wanted)
                .map(claim_text)
                .collect();
            some(&texts.join("; "))
        };
        let name = format!("{id}: {wanted}");
        differ(
            DifferenceKind::Claim,
            &name,
            said(&old.claims),
            said(&new.claims),
        );
    }
}

fn claim_text(claim: &Claim) -> String {
    let mut text = claim.value.clone();
    if let Some(revision) = &claim.revision {
        text.push_str(&format!(" at {revision}"));
    }
    if let Some(hash) = &claim.evidence_sha256 {
        text.push_str(&format!(" (sha256 {hash})"));
    }
    text
}

fn obligations(
    before: &Ledger,
    after: &Ledger,
    differ: &mut impl FnMut(DifferenceKind, &str, Option<String>, Option<String>),
) {
    let state = |ledger: &Ledger, rule: &str| {
        ledger
            .obligations
            .iter()
            .find(|obligation| obligation.rule == rule)
            .map(|obligation| state_name(obligation.state).to_owned())
    };
    for rule in union(&before.obligations, &after.obligations, |found| &found.rule) {
        differ(
            DifferenceKind::Obligation,
            rule,
            state(before, rule),
            state(after, rule),
        );
    }
}

fn state_name(state: ObligationState) -> &'static str {
    match state {
        ObligationState::Met => "met",
        ObligationState::Open => "open",
        ObligationState::Broken => "broken",
        ObligationState::NotApplicable => "not-applicable",
    }
}

fn sources(
    before: &Ledger,
    after: &Ledger,
    differ: &mut impl FnMut(DifferenceKind, &str, Option<String>, Option<String>),
) {
    let used = |ledger: &Ledger| -> BTreeMap<String, String> {
        let entries = ledger.sources.iter().map(|source| {
            let name = match &source.subset {
                Some(subset) => format!("{}/{subset}", source.name),
                None => source.name.clone(),
            };
            let text = format!(
                "{}, {} documents, {} tokens",
                source.license, source.documents, source.tokens
            );
            (name, text)
        });
        let left_out = ledger.exclusions.iter().map(|left| {
            let text = format!(
                "{} excluded, {} quarantined, {} remaining",
                left.documents_excluded, left.quarantined, left.remaining
            );
            (format!("kept out: {}", left.component), text)
        });
        entries.chain(left_out).collect()
    };
    let (old, new) = (used(before), used(after));
    for name in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
        differ(
            DifferenceKind::Source,
            name,
            old.get(name).cloned(),
            new.get(name).cloned(),
        );
    }
}

fn changes(before: &Ledger, after: &Ledger, found: &mut Vec<Difference>) {
    let count = |ledger: &Ledger| Some(format!("{} records", ledger.changes.len()));
    if !is_prefix(&before.changes, &after.changes) {
        found.push(difference(
            DifferenceKind::Change,
            "the earlier record is not the beginning of the later one",
            count(before),
            count(after),
        ));
    }
    for change in after.changes.iter().skip(before.changes.len()) {
        let name = format!("{} {}", change.when, change.kind.name());
        let after = Some(change.detail.clone());
        found.push(Difference {
            drift: false,
            ..difference(DifferenceKind::Change, &name, None, after)
        });
    }
}

/// Returns the names in two lists, each once, those of the first list first.
fn union<'a, T>(
    before: &'a [T],
    after: &'a [T],
    name: impl Fn(&'a T) -> &'a String,
) -> Vec<&'a str> {
    let mut names: Vec<&str> = Vec::new();
    for found in before.iter().chain(after).map(name) {
        if !names.contains(&found.as_str()) {
            names.push(found);
        }
    }
    names
}

/// What a bill of materials says of one component.
#[derive(Debug, Default)]
struct Entry {
    name: String,
    versions: BTreeSet<String>,
    licenses: BTreeSet<String>,
    hashes: BTreeSet<String>,
}

/// Compares two bills of materials, each CycloneDX or SPDX 3 as JSON, by component name in any
/// letter case. A component without a license is one of which none is known.
///
/// # Errors
/// When one of them is neither.
pub fn diff_boms(before: &[u8], after: &[u8]) -> Result<Vec<Difference>, BomError> {
    let (old, new) = (entries(before)?, entries(after)?);
    let mut found = Vec::new();
    for key in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
        let (before, after) = (old.get(key), new.get(key));
        let name = before.or(after).map_or("", |entry| entry.name.as_str());
        let (Some(before), Some(after)) = (before, after) else {
            let licenses = |entry: &Entry| joined(&entry.licenses).unwrap_or_default();
            found.push(difference(
                DifferenceKind::Component,
                name,
                before.map(licenses),
                after.map(licenses),
            ));
            continue;
        };
        for (kind, before, after) in [
            (DifferenceKind::License, &before.licenses, &after.licenses),
            (DifferenceKind::Version, &before.versions, &after.versions),
            (DifferenceKind::Hash, &before.hashes, &after.hashes),
        ] {
            if before != after {
                found.push(difference(kind, name, joined(before), joined(after)));
            }
        }
    }
    Ok(found)
}

fn joined(set: &BTreeSet<String>) -> Option<String> {
    (!set.is_empty()).then(|| set.iter().cloned().collect::<Vec<_>>().join(", "))
}

/// Returns the entry of a component, made when it is new.
fn entry<'a>(found: &'a mut BTreeMap<String, Entry>, name: &str) -> &'a mut Entry {
    let entry = found.entry(name.to_lowercase()).or_default();
    if entry.name.is_empty() {
        name.clone_into(&mut entry.name);
    }
    entry
}

fn entries(bytes: &[u8]) -> Result<BTreeMap<String, Entry>, BomError> {
    let document: Value = serde_json::from_slice(bytes).map_err(BomError::Json)?;
    let mut found = BTreeMap::new();
    if document["bomFormat"] == "CycloneDX" {
        cyclonedx(&document["metadata"]["component"], &mut found, 0);
        for component in list(&document["components"]) {
            cyclonedx(component, &mut found, 0);
        }
    } else if document["@graph"].is_array() {
        spdx3(list(&document["@graph"]), &mut found);
    } else {
        return Err(BomError::Form);
    }
    for entry in found.values_mut() {
        if entry.licenses.is_empty() {
            entry.licenses.insert(NOASSERTION.to_owned());
        }
    }
    Ok(found)
}

/// How deep components may lie in one another before we stop looking.
const MAX_DEPTH: usize = 64;

fn cyclonedx(component: &Value, found: &mut BTreeMap<String, Entry>, depth: usize) {
    let Some(name) = component["name"].as_str().filter(|_| depth < MAX_DEPTH) else {
        return;
    };
    let entry = entry(found, name);
    entry.versions.extend(text(&component["version"]));
    for license in list(&component["licenses"]) {
        let named = &license["license"];
        let value = text(&license["expression"])
            .or_else(|| text(&named["id"]))
            .or_else(|| text(&named["name"]));
        entry.licenses.extend(value);
    }
    for hash in list(&component["hashes"]) {
        entry
            .hashes
            .extend(hash_text(&hash["alg"], &hash["content"]));
    }
    for inner in list(&component["components"]) {
        cyclonedx(inner, found, depth + 1);
    }
}

fn spdx3(graph: &[Value], found: &mut BTreeMap<String, Entry>) {
    let id = |element: &Value| text(&element["spdxId"]).or_else(|| text(&element["@id"]));
    let kind = |element: &Value| {
        text(&element["type"])
            .or_else(|| text(&element["@type"]))
            .unwrap_or_default()
    };
    let by_id: BTreeMap<String, &Value> = graph
        .iter()
        .filter_map(|element| Some((id(element)?, element)))
        .collect();
    let resolve = |value: &Value| -> Value {
        let known = value.as_str().and_then(|id| by_id.get(id));
        known.map_or_else(|| value.clone(), |element| (*element).clone())
    };
    for element in graph
        .iter()
        .filter(|element| kind(element).ends_with("Package"))
    {
        let Some(name) = text(&element["name"]) else {
            continue;
        };
        let entry = entry(found, &name);
        entry
            .versions
            .extend(text(&element["software_packageVersion"]));
        for hash in list(&element["verifiedUsing"]) {
            let hash = resolve(hash);
            entry
                .hashes
                .extend(hash_text(&hash["algorithm"], &hash["hashValue"]));
        }
        let own = id(element);
        let licenses = graph.iter().filter(|other| {
            let relation = other["relationshipType"].as_str().unwrap_or_default();
            matches!(relation, "hasDeclaredLicense" | "hasConcludedLicense")
                && text(&other["from"]) == own
        });
        for target in licenses.flat_map(|relation| list(&relation["to"])) {
            let license = resolve(target);
            let value = text(&license["simplelicensing_licenseExpression"])
                .or_else(|| text(&license["name"]))
                .or_else(|| text(&license).map(|iri| license_of_iri(&iri)));
            entry.licenses.extend(value);
        }
    }
}

/// The listed individuals of SPDX stand for what expressions write in words.
fn license_of_iri(iri: &str) -> String {
    match iri.rsplit('/').next() {
        Some("NoAssertionLicense") => NOASSERTION.to_owned(),
        Some("NoneLicense") => "NONE".to_owned(),
        Some(id) if iri.starts_with("https://spdx.org/licenses/") => {
            id.trim_end_matches(".html").to_owned()
        }
        _ => iri.to_owned(),
    }
}

fn hash_text(algorithm: &Value, value: &Value) -> Option<String> {
    let algorithm = text(algorithm)?.to_lowercase().replace(['-', '_'], "");
    Some(format!("{algorithm}:{}", text(value)?.to_lowercase()))
}

fn list(value: &Value) -> &[Value] {
    match value {
        Value::Array(items) => items,
        Value::Null => &[],
        one => std::slice::from_ref(one),
    }
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}
