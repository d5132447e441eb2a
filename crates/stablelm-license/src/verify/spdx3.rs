//! SPDX 3.0.1: what the AI and dataset profiles ask for and schema and SHACL rules let pass.

use std::collections::BTreeMap;

use serde_json::Value;

use super::account::Accounts;
use super::cross;
use super::problems::{Check, Problems};
use crate::release::Release;

const VERSION: &str = "3.0.1";
const NO_ASSERTION: &str = "https://spdx.org/rdf/3.0.1/terms/ExpandedLicensing/NoAssertionLicense";

const fn check(id: &'static str, clause: &'static str) -> Check {
    Check {
        id,
        clause,
        source: "https://spdx.github.io/spdx-spec/v3.0.1/",
    }
}

/// A property that a profile asks for, and the rule that misses it.
type Required = (&'static str, &'static str);

const OF_MODELS: [Required; 5] = [
    ("suppliedBy", "SPDX3-SUPPLIED-BY"),
    ("releaseTime", "SPDX3-RELEASE-TIME"),
    ("software_packageVersion", "SPDX3-PACKAGE-VERSION"),
    ("software_downloadLocation", "SPDX3-DOWNLOAD-LOCATION"),
    ("software_primaryPurpose", "SPDX3-PRIMARY-PURPOSE"),
];

const OF_DATA: [Required; 6] = [
    ("dataset_datasetType", "SPDX3-DATASET-TYPE"),
    ("builtTime", "SPDX3-BUILT-TIME"),
    ("originatedBy", "SPDX3-ORIGINATED-BY"),
    ("releaseTime", "SPDX3-RELEASE-TIME"),
    ("software_downloadLocation", "SPDX3-DOWNLOAD-LOCATION"),
    ("software_primaryPurpose", "SPDX3-PRIMARY-PURPOSE"),
];

/// Properties that name other elements.
const REFERENCES: [&str; 7] = [
    "createdBy",
    "dataLicense",
    "from",
    "originatedBy",
    "rootElement",
    "suppliedBy",
    "to",
];

/// A document being looked over.
struct Document<'a> {
    path: &'a str,
    elements: Vec<&'a Value>,
    by_id: BTreeMap<&'a str, &'a Value>,
}

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
    let Some(graph) = value["@graph"].as_array() else {
        return problems.unreadable(path, "there is no list `@graph`");
    };
    problems.read(path);
    let elements: Vec<&Value> = graph.iter().filter(|value| value.is_object()).collect();
    let by_id = elements
        .iter()
        .filter_map(|element| Some((id(element)?, *element)))
        .collect();
    let document = Document {
        path,
        elements,
        by_id,
    };
    document.creation(problems);
    document.roots(problems);
    document.packages(problems);
    document.expressions(problems);
    document.references(problems);
    document.training(problems);
    document.hashes(accounts, problems);
    document.with_ledger(release, problems);
}

fn id(element: &Value) -> Option<&str> {
    element["spdxId"]
        .as_str()
        .or_else(|| element["@id"].as_str())
}

fn name(element: &Value) -> &str {
    element["name"]
        .as_str()
        .or_else(|| id(element))
        .unwrap_or("?")
}

/// True for what is there and not empty.
fn is_given(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.trim().is_empty(),
        Value::Array(items) => items.iter().any(is_given),
        _ => true,
    }
}

/// Returns one text or each of a list.
fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(items) => items.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

impl<'a> Document<'a> {
    fn of_type(&self, kind: &'a str) -> impl Iterator<Item = &'a Value> + '_ {
        self.elements
            .iter()
            .copied()
            .filter(move |element| element["type"] == kind)
    }

    fn error(&self, check: Check, reason: String, step: &str, problems: &mut Problems) {
        problems.error(check, self.path, reason, step);
    }

    fn creation(&self, problems: &mut Problems) {
        let mut found = false;
        for info in self.of_type("CreationInfo") {
            found = true;
            let version = info["specVersion"].as_str().unwrap_or_default();
            if version != VERSION {
                let reason = format!("`specVersion` is `{version}`, we know {VERSION}");
                self.error(check("SPDX3-FORM", "CreationInfo"), reason, "", problems);
            }
            for (property, id) in [
                ("created", "SPDX3-CREATED"),
                ("createdBy", "SPDX3-CREATED-BY"),
            ] {
                if !is_given(&info[property]) {
                    let reason = format!("the creation information has no `{property}`");
                    self.error(check(id, "CreationInfo"), reason, "add it", problems);
                }
            }
            let created = info["created"].as_str().unwrap_or_default();
            if !created.is_empty() && !is_moment(created) {
                let reason = format!("`created` is `{created}`, expected `YYYY-MM-DDThh:mm:ssZ`");
                self.error(check("SPDX3-CREATED", "CreationInfo"), reason, "", problems);
            }
        }
        if !found {
            let reason = "there is no `CreationInfo`".to_owned();
            self.error(
                check("SPDX3-FORM", "CreationInfo"),
                reason,
                "add it",
                problems,
            );
        }
    }

    fn roots(&self, problems: &mut Problems) {
        let documents = self.of_type("SpdxDocument").count();
        if documents != 1 {
            let reason = format!("there are {documents} `SpdxDocument`, expected one");
            self.error(check("SPDX3-FORM", "SpdxDocument"), reason, "", problems);
        }
        for kind in ["SpdxDocument", "software_Sbom"] {
            for element in self.of_type(kind) {
                if !is_given(&element["rootElement"]) {
                    let reason = format!("`{kind}` does not say what it is about");
                    let check = check("SPDX3-ROOT-ELEMENT", "ElementCollection, rootElement");
                    self.error(check, reason, "add `rootElement`", problems);
                }
            }
        }
    }

    fn packages(&self, problems: &mut Problems) {
        let models = self
            .of_type("ai_AIPackage")
            .map(|it| (it, &OF_MODELS[..], "AI profile"));
        let data = self
            .of_type("dataset_DatasetPackage")
            .map(|it| (it, &OF_DATA[..], "dataset profile"));
        let all: Vec<_> = models.chain(data).collect();
        for (package, required, profile) in all {
            let name = name(package);
            for (property, id) in required {
                if !is_given(&package[property]) {
                    let reason =
                        format!("`{name}` has no `{property}`, which the {profile} asks for");
                    self.error(check(id, profile), reason, "add it", problems);
                }
            }
            let makers = texts(&package["originatedBy"]).len();
            if profile == "dataset profile" && makers > 1 {
                let reason = format!("`{name}` has {makers} `originatedBy`, expected one");
                self.error(
                    check("SPDX3-ORIGINATED-BY", profile),
                    reason,
                    "keep one",
                    problems,
                );
            }
            for (kind, id) in [
                ("hasDeclaredLicense", "SPDX3-DECLARED-LICENSE"),
                ("hasConcludedLicense", "SPDX3-CONCLUDED-LICENSE"),
            ] {
                let count = self.related(package, kind).len();
                if count != 1 {
                    let reason =
                        format!("`{name}` has {count} `{kind}`, the {profile} asks for one");
                    let step = "add the relation; `NoAssertionLicense` when it is not known";
                    self.error(check(id, profile), reason, step, problems);
                }
            }
        }
    }

    /// Returns what an element is related to in one way.
    fn related(&self, from: &Value, kind: &str) -> Vec<&'a str> {
        let from = id(from);
        self.elements
            .iter()
            .filter(|element| {
                element["relationshipType"] == kind && element["from"].as_str() == from
            })
            .flat_map(|element| texts(&element["to"]))
            .collect()
    }

    fn expressions(&self, problems: &mut Problems) {
        for license in self.of_type("simplelicensing_LicenseExpression") {
            let text = license["simplelicensing_licenseExpression"]
                .as_str()
                .unwrap_or_default();
            let rule = check("SPDX3-LICENSE-EXPRESSION", "SimpleLicensing");
            if let Err(reason) = cross::valid_expression(text) {
                let reason = format!("`{text}` is no license expression: {reason}");
                self.error(rule, reason, "correct it", problems);
                continue;
            }
            let version = &license["simplelicensing_licenseListVersion"];
            let version = version.as_str().unwrap_or_default();
            if !version.is_empty() && version.split('.').count() != 3 {
                let reason = format!("`{version}` is no version of the license list");
                let check = check("SPDX3-LIST-VERSION", "SimpleLicensing");
                self.error(check, reason, "write it like `3.29.0`", problems);
            }
            let custom: Vec<&str> = license["simplelicensing_customIdToUri"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|entry| entry["key"].as_str())
                .collect();
            for id in crate::spdx::identifiers(text) {
                if id.starts_with("LicenseRef-") && !custom.contains(&id) {
                    let reason = format!("nothing says what `{id}` is");
                    let check = check("SPDX3-LICENSE-TEXT", "SimpleLicensing, customIdToUri");
                    problems.warning(check, self.path, reason, "add its text");
                }
            }
        }
    }

    fn references(&self, problems: &mut Problems) {
        let imported: Vec<&str> = self
            .elements
            .iter()
            .flat_map(|element| element["import"].as_array().into_iter().flatten())
            .filter_map(|entry| entry["externalSpdxId"].as_str())
            .collect();
        for element in &self.elements {
            for property in REFERENCES {
                for target in texts(&element[property]) {
                    let is_term = target.starts_with("https://spdx.org/rdf/")
                        || target.starts_with("https://spdx.org/licenses/")
                        || matches!(target, "NoneElement" | "NoAssertionElement");
                    if !is_term && !self.by_id.contains_key(target) && !imported.contains(&target) {
                        let reason = format!(
                            "`{property}` of `{}` names `{target}`, which is not there",
                            name(element)
                        );
                        let check = check("SPDX3-REFERENCE", "references");
                        self.error(check, reason, "correct the name", problems);
                    }
                }
            }
        }
    }

    fn training(&self, problems: &mut Problems) {
        if self.of_type("dataset_DatasetPackage").next().is_none() {
            return;
        }
        let models: Vec<&Value> = self.of_type("ai_AIPackage").collect();
        let trained = models.iter().any(|model| {
            !self.related(model, "trainedOn").is_empty()
                || !self.related(model, "testedOn").is_empty()
        });
        if !models.is_empty() && !trained {
            let reason = "no model says by `trainedOn` what it was trained on".to_owned();
            let check = check("SPDX3-TRAINED-ON", "AI profile, trainedOn");
            self.error(check, reason, "relate the model to its data", problems);
        }
    }

    fn hashes(&self, accounts: &mut Accounts<'_>, problems: &mut Problems) {
        for element in &self.elements {
            for hash in element["verifiedUsing"].as_array().into_iter().flatten() {
                let is_sha256 = hash["algorithm"] == "sha256";
                let Some(sha256) = hash["hashValue"].as_str().filter(|_| is_sha256) else {
                    continue;
                };
                match element["type"].as_str() {
                    Some("software_File") => {
                        accounts.compare(name(element), sha256, self.path, problems);
                    }
                    Some("ai_AIPackage") => {
                        accounts.compare_weights(sha256, self.path, problems);
                    }
                    _ => {}
                }
            }
        }
    }

    /// Compares licenses, makers and links with the ledger and within the document.
    fn with_ledger(&self, release: &Release, problems: &mut Problems) {
        for package in self.elements.iter().filter(|element| is_package(element)) {
            let licenses: Vec<&str> = ["hasConcludedLicense", "hasDeclaredLicense"]
                .iter()
                .flat_map(|kind| self.related(package, kind))
                .filter_map(|license| self.expression(license))
                .collect();
            for text in texts(&package["software_attributionText"]) {
                for license in &licenses {
                    if let Some(reason) = cross::wrong_link(text, license) {
                        let reason = format!("the attribution of `{}` {reason}", name(package));
                        let check = check("SPDX3-LICENSE-URL", "software_attributionText");
                        self.error(check, reason, "link the license itself", problems);
                    }
                }
            }
            let concluded = self.related(package, "hasConcludedLicense");
            let concluded = concluded
                .first()
                .and_then(|license| self.expression(license));
            let supplier = package["suppliedBy"]
                .as_str()
                .and_then(|agent| self.by_id.get(agent))
                .map(|agent| name(agent));
            let facts = cross::Facts {
                name: name(package),
                license: concluded,
                creator: supplier,
            };
            cross::component(self.path, "SPDX3", &facts, release, problems);
        }
    }

    fn expression(&self, license: &str) -> Option<&'a str> {
        if license == NO_ASSERTION {
            return Some(crate::spdx::NOASSERTION);
        }
        self.by_id.get(license)?["simplelicensing_licenseExpression"].as_str()
    }
}

fn is_package(element: &Value) -> bool {
    matches!(
        element["type"].as_str(),
        Some("ai_AIPackage" | "dataset_DatasetPackage" | "software_Package")
    )
}

/// True for `YYYY-MM-DDThh:mm:ssZ`.
fn is_moment(text: &str) -> bool {
    text.len() == 20
        && text
            .bytes()
            .enumerate()
            .all(|(position, byte)| match position {
                4 | 7 => byte == b'-',
                10 => byte == b'T',
                13 | 16 => byte == b':',
                19 => byte == b'Z',
                _ => byte.is_ascii_digit(),
            })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_has_no_fraction() {
        assert!(is_moment("2026-11-23T00:00:00Z"));
        assert!(!is_moment("2026-11-23T00:00:00.5Z"));
        assert!(!is_moment("2026-11-23"));
    }
}
