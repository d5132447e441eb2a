//! CycloneDX 1.6 and 1.7: expressions and lists that the schema does not look into.

use serde_json::Value;

use super::account::Accounts;
use super::cross;
use super::problems::{Check, Problems};
use crate::finding::Severity;
use crate::release::Release;

const fn check(id: &'static str, clause: &'static str) -> Check {
    Check {
        id,
        clause,
        source: "https://cyclonedx.org/docs/1.7/json/",
    }
}

const VERSIONS: [&str; 2] = ["1.6", "1.7"];

pub(crate) fn check_document(
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
    if value["bomFormat"] != "CycloneDX" {
        return problems.unreadable(path, "`bomFormat` is not `CycloneDX`");
    }
    problems.read(path);
    let version = value["specVersion"].as_str().unwrap_or_default();
    if !VERSIONS.contains(&version) {
        let reason = format!("`specVersion` is `{version}`, we know 1.6 and 1.7");
        problems.error(check("CDX-FORM", "specVersion"), path, reason, "");
    }
    if version == "1.6" {
        mixed(path, &value, problems);
    }
    let mut components = Vec::new();
    let root = &value["metadata"]["component"];
    collect(root, &mut components);
    for component in value["components"].as_array().into_iter().flatten() {
        collect(component, &mut components);
    }
    for component in &components {
        one(path, component, release, problems);
        hashes(path, component, root, accounts, problems);
    }
    for list in [&value["licenses"], &value["metadata"]["licenses"]] {
        licenses(path, "the document", list, problems);
    }
    references(path, &value, &components, problems);
}

/// Returns a component and those inside of it.
fn collect<'a>(component: &'a Value, found: &mut Vec<&'a Value>) {
    if !component.is_object() {
        return;
    }
    found.push(component);
    for inner in component["components"].as_array().into_iter().flatten() {
        collect(inner, found);
    }
    // Ancestors are components too, with licenses of their own; nothing else is asked of them.
}

fn name(component: &Value) -> &str {
    component["name"].as_str().unwrap_or("?")
}

fn one(path: &str, component: &Value, release: &Release, problems: &mut Problems) {
    let name = name(component);
    for property in ["type", "name"] {
        if component[property].as_str().is_none_or(str::is_empty) {
            let reason = format!("a component (`{name}`) has no `{property}`");
            problems.error(check("CDX-FORM", "components"), path, reason, "add it");
        }
    }
    let kind = component["type"].as_str().unwrap_or_default();
    let list = &component["licenses"];
    if list.is_null() && matches!(kind, "machine-learning-model" | "data") {
        let severity = if kind == "data" {
            Severity::Warning
        } else {
            Severity::Error
        };
        let reason = format!("`{name}` has no `licenses`");
        let step = "name the license, or say that it is not known";
        problems.add(
            check("CDX-LICENSE-MISSING", "licenses"),
            severity,
            path,
            reason,
            step,
        );
    }
    licenses(path, name, list, problems);
    let ids: Vec<&str> = list
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(id_of)
        .collect();
    for reference in component["externalReferences"]
        .as_array()
        .into_iter()
        .flatten()
    {
        let url = reference["url"].as_str().unwrap_or_default();
        if reference["type"] == "license" {
            links(path, name, url, &ids, problems);
        }
    }
    let acknowledged = |wanted: &str| {
        list.as_array().into_iter().flatten().find(|choice| {
            choice["license"]["acknowledgement"] == wanted || choice["acknowledgement"] == wanted
        })
    };
    let license = acknowledged("concluded")
        .and_then(id_of)
        .or_else(|| ids.first().copied())
        .filter(|_| ids.len() == 1 || acknowledged("concluded").is_some());
    let creator = component["supplier"]["name"].as_str();
    let facts = cross::Facts {
        name,
        license,
        creator,
    };
    if kind != "file" {
        cross::component(path, "CDX", &facts, release, problems);
    }
}

fn id_of(choice: &Value) -> Option<&str> {
    choice["license"]["id"]
        .as_str()
        .or_else(|| choice["expression"].as_str())
}

fn licenses(path: &str, name: &str, list: &Value, problems: &mut Problems) {
    let Some(choices) = list.as_array() else {
        return;
    };
    if choices.is_empty() {
        let reason = format!("the list of licenses of `{name}` is empty");
        let step = "name the license, or leave the list out";
        problems.error(check("CDX-LICENSES-EMPTY", "licenses"), path, reason, step);
    }
    for choice in choices {
        if let Some(expression) = choice["expression"].as_str()
            && let Err(reason) = cross::valid_expression(expression)
        {
            let reason = format!("`{expression}` of `{name}` is no license expression: {reason}");
            let check = check("CDX-LICENSE-EXPRESSION", "licenses.expression");
            problems.error(check, path, reason, "correct it");
        }
        let license = &choice["license"];
        if let Some(id) = license["id"].as_str() {
            if spdx::license_id(id).is_none_or(|known| known.name != id) {
                let reason = format!("`{id}` of `{name}` is no SPDX identifier");
                let check = check("CDX-LICENSE-ID", "licenses.license.id");
                problems.error(check, path, reason, "write it as the SPDX list does");
            }
            if let Some(url) = license["url"].as_str() {
                links(path, name, url, &[id], problems);
            }
        }
        let has_none = license["id"].is_null()
            && license["name"]
                .as_str()
                .is_none_or(|name| name.trim().is_empty())
            && choice["expression"].is_null();
        if has_none {
            let reason = format!("a license of `{name}` has neither `id` nor `name`");
            problems.error(check("CDX-LICENSE-ID", "licenses"), path, reason, "name it");
        }
    }
}

fn links(path: &str, name: &str, url: &str, ids: &[&str], problems: &mut Problems) {
    // With several licenses any of them may be meant.
    if let [id] = ids
        && let Some(reason) = cross::wrong_link(url, id)
    {
        let reason = format!("`{name}` {reason}");
        let check = check("CDX-LICENSE-URL", "licenses.license.url");
        problems.error(check, path, reason, "link the license itself");
    }
}

/// Version 1.6 takes either license objects or one expression.
fn mixed(path: &str, value: &Value, problems: &mut Problems) {
    match value {
        Value::Object(fields) => {
            if let Some(choices) = fields.get("licenses").and_then(Value::as_array) {
                let expressions = choices
                    .iter()
                    .filter(|choice| !choice["expression"].is_null())
                    .count();
                if expressions > 1 || expressions == 1 && choices.len() > 1 {
                    let reason = "a list of licenses mixes expressions with others";
                    let check = check("CDX-LICENSES-MIXED", "licenses");
                    let step = "join them to one expression";
                    problems.error(check, path, reason.to_owned(), step);
                }
            }
            for inner in fields.values() {
                mixed(path, inner, problems);
            }
        }
        Value::Array(items) => {
            for inner in items {
                mixed(path, inner, problems);
            }
        }
        _ => {}
    }
}

fn hashes(
    path: &str,
    component: &Value,
    root: &Value,
    accounts: &mut Accounts<'_>,
    problems: &mut Problems,
) {
    for hash in component["hashes"].as_array().into_iter().flatten() {
        let is_sha256 = hash["alg"] == "SHA-256";
        let Some(sha256) = hash["content"].as_str().filter(|_| is_sha256) else {
            continue;
        };
        if component["type"] == "file" {
            accounts.compare(name(component), sha256, path, problems);
        } else if std::ptr::eq(component, root) {
            accounts.compare_weights(sha256, path, problems);
        }
    }
}

fn references(path: &str, value: &Value, components: &[&Value], problems: &mut Problems) {
    let known: Vec<&str> = components
        .iter()
        .filter_map(|component| component["bom-ref"].as_str())
        .chain(
            value["services"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|service| service["bom-ref"].as_str()),
        )
        .collect();
    let mut wanted: Vec<&str> = Vec::new();
    for dependency in value["dependencies"].as_array().into_iter().flatten() {
        wanted.extend(dependency["ref"].as_str());
        let targets = dependency["dependsOn"].as_array().into_iter().flatten();
        wanted.extend(targets.filter_map(Value::as_str));
    }
    for component in components {
        let sets = &component["modelCard"]["modelParameters"]["datasets"];
        let sets = sets.as_array().into_iter().flatten();
        wanted.extend(sets.filter_map(|set| set["ref"].as_str()));
    }
    for target in wanted {
        // An address of another document is not ours to look up.
        if !known.contains(&target) && !target.starts_with("urn:cdx:") {
            let reason = format!("`{target}` is named and not there");
            problems.error(
                check("CDX-REFERENCE", "bom-ref"),
                path,
                reason,
                "correct the name",
            );
        }
    }
}
