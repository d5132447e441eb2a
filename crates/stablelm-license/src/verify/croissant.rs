//! Croissant 1.0 and 1.1: what the specification asks for and `mlcroissant` only warns about, or
//! does not look at.

use serde_json::Value;

use super::account::Accounts;
use super::cross;
use super::problems::{Check, Problems};
use crate::ledger::Ledger;
use crate::lint;
use crate::release::Release;
use crate::spdx;

const fn check(id: &'static str, clause: &'static str) -> Check {
    Check {
        id,
        clause,
        source: "https://docs.mlcommons.org/croissant/docs/croissant-spec-1.1.html",
    }
}

const REQUIRED: [(&str, &str); 6] = [
    ("name", "CROISSANT-NAME"),
    ("description", "CROISSANT-DESCRIPTION"),
    ("license", "CROISSANT-LICENSE-MISSING"),
    ("url", "CROISSANT-URL"),
    ("creator", "CROISSANT-CREATOR"),
    ("datePublished", "CROISSANT-DATE"),
];

/// The terms of the responsible AI vocabulary.
const RAI: [&str; 20] = [
    "annotationsPerItem",
    "annotatorDemographics",
    "dataAnnotationAnalysis",
    "dataAnnotationPlatform",
    "dataAnnotationProtocol",
    "dataBiases",
    "dataCollection",
    "dataCollectionMissingData",
    "dataCollectionRawData",
    "dataCollectionTimeframe",
    "dataCollectionType",
    "dataImputationProtocol",
    "dataLimitations",
    "dataManipulationProtocol",
    "dataPreprocessingProtocol",
    "dataReleaseMaintenancePlan",
    "dataSocialImpact",
    "dataUseCases",
    "machineAnnotationTools",
    "personalSensitiveInformation",
];

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
    let Some(fields) = value.as_object() else {
        return problems.unreadable(path, "it is no JSON object");
    };
    problems.read(path);
    form(path, &value, problems);
    for (name, id) in REQUIRED {
        if !is_given(&value[name]) {
            let reason = format!("`{name}` is missing");
            problems.error(check(id, "required properties"), path, reason, "add it");
        }
    }
    let day = value["datePublished"].as_str().unwrap_or_default();
    if !day.is_empty() && !lint::is_day(day.split('T').next().unwrap_or_default()) {
        let reason = format!("`datePublished` is `{day}`, expected a day as `YYYY-MM-DD`");
        problems.error(
            check("CROISSANT-DATE", "datePublished"),
            path,
            reason,
            "correct it",
        );
    }
    let url = value["url"].as_str().unwrap_or_default();
    if url == "./" {
        let reason = "`url` is the folder itself: nobody said where it is published".to_owned();
        let step = "give `url` in the recipe, or --url to `stablelm license bom`";
        problems.warning(check("CROISSANT-URL", "url"), path, reason, step);
    } else if !url.is_empty() && !url.contains("://") {
        let reason = format!("`url` is `{url}`, expected an address");
        problems.error(check("CROISSANT-URL", "url"), path, reason, "correct it");
    }
    licenses(path, &value, release, problems);
    for key in fields.keys() {
        let Some(term) = key.strip_prefix("rai:") else {
            continue;
        };
        if !RAI.contains(&term) {
            let step = lint::near(term, &RAI).map_or_else(
                || "see the vocabulary".to_owned(),
                |near| format!("was `rai:{near}` meant?"),
            );
            let reason = format!("`{key}` is no term of the vocabulary");
            problems.error(check("CROISSANT-RAI", "RAI 1.0"), path, reason, &step);
        }
    }
    files(path, &value, accounts, problems);
}

fn form(path: &str, value: &Value, problems: &mut Problems) {
    let kind = value["@type"].as_str().unwrap_or_default();
    if !matches!(
        kind,
        "sc:Dataset" | "Dataset" | "https://schema.org/Dataset"
    ) {
        let reason = format!("`@type` is `{kind}`, expected `sc:Dataset`");
        problems.error(check("CROISSANT-FORM", "@type"), path, reason, "correct it");
    }
    let conforms = texts(&value["conformsTo"]);
    if !conforms
        .iter()
        .any(|to| to.contains("mlcommons.org/croissant/1."))
    {
        let reason = "`conformsTo` names no version of Croissant".to_owned();
        let step = "add `http://mlcommons.org/croissant/1.1`";
        problems.error(check("CROISSANT-FORM", "conformsTo"), path, reason, step);
    }
    if !value["@context"].is_object() && !value["@context"].is_string() {
        let reason = "there is no `@context`".to_owned();
        problems.error(check("CROISSANT-FORM", "@context"), path, reason, "add it");
    }
}

fn is_given(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.trim().is_empty(),
        Value::Array(items) => items.iter().any(is_given),
        Value::Object(fields) => !fields.is_empty(),
        _ => true,
    }
}

/// Returns texts, and names or addresses of objects.
fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(items) => items.iter().flat_map(texts).collect(),
        Value::Object(_) => ["url", "@id", "name", "@value"]
            .iter()
            .find_map(|key| value[*key].as_str())
            .into_iter()
            .collect(),
        _ => Vec::new(),
    }
}

fn licenses(path: &str, value: &Value, release: &Release, problems: &mut Problems) {
    let known = release.ledger.as_ref().map(ledger_licenses);
    for license in texts(&value["license"]) {
        let is_address = (license.starts_with("https://") || license.starts_with("http://"))
            && !license.contains(char::is_whitespace);
        if !is_address {
            if let Err(reason) = cross::valid_expression(license) {
                let reason = format!(
                    "the license `{license}` is neither an address nor an SPDX expression: {reason}"
                );
                let check = check("CROISSANT-LICENSE", "license");
                problems.error(check, path, reason, "give the address of the license");
            }
            continue;
        }
        let (Some(linked), Some(known)) = (cross::license_of_address(license), &known) else {
            continue;
        };
        if !known.is_empty() && !known.iter().any(|id| id == &linked) {
            let reason = format!(
                "`{license}` is {linked}, the ledger has {}",
                known.join(", ")
            );
            let check = check("CROISSANT-LEDGER-LICENSE", "license");
            problems.error(check, path, reason, "make the document again");
        }
    }
}

fn ledger_licenses(ledger: &Ledger) -> Vec<String> {
    let mut ids: Vec<String> = Vec::new();
    let all = ledger
        .sources
        .iter()
        .map(|source| source.license.as_str())
        .chain(
            ledger
                .components
                .iter()
                .map(|component| component.license.as_str()),
        );
    for license in all {
        for id in spdx::identifiers(license) {
            if !ids.iter().any(|other| other == id) && ::spdx::license_id(id).is_some() {
                ids.push(id.to_owned());
            }
        }
    }
    ids
}

fn files(path: &str, value: &Value, accounts: &mut Accounts<'_>, problems: &mut Problems) {
    for file in value["distribution"].as_array().into_iter().flatten() {
        let kind = file["@type"].as_str().unwrap_or_default();
        if !kind.ends_with("FileObject") {
            continue;
        }
        let place = file["contentUrl"].as_str().unwrap_or_default();
        let name = file["name"].as_str().unwrap_or(place);
        if file["encodingFormat"].as_str().is_none_or(str::is_empty) {
            let reason = format!("the file `{name}` has no `encodingFormat`");
            problems.error(
                check("CROISSANT-FILE", "FileObject"),
                path,
                reason,
                "add it",
            );
        }
        let contained = !file["containedIn"].is_null();
        let sha256 = file["sha256"].as_str().unwrap_or_default();
        if sha256.is_empty() && file["md5"].as_str().is_none_or(str::is_empty) && !contained {
            let reason = format!("the file `{name}` has neither `sha256` nor `md5`");
            problems.error(
                check("CROISSANT-FILE", "FileObject"),
                path,
                reason,
                "add it",
            );
        }
        let is_local = !place.is_empty() && !place.contains("://") && !contained;
        if is_local && !sha256.is_empty() {
            let place = place.strip_prefix("./").unwrap_or(place);
            accounts.compare(place, sha256, path, problems);
        }
    }
}
