//! A `CITATION.cff`, against version 1.2.0 of the format.

use super::cff_rules as rules;
use super::report::{CFF_SOURCE, Report, Rule, YAML_SOURCE};
use super::text;
use super::yaml::{self, Kind, Node, Value};
use crate::finding::Severity;

const fn rule(id: &'static str, clause: &'static str) -> Rule {
    Rule {
        id,
        clause,
        severity: Severity::Error,
        source: CFF_SOURCE,
    }
}

const BROKEN: Rule = Rule {
    source: YAML_SOURCE,
    ..rule("CFF-YAML", "YAML 1.2")
};
const TWICE: Rule = rule("CFF-KEY-TWICE", "YAML 1.2, 3.2.1.1");
const MISSING: Rule = rule("CFF-KEY-MISSING", "valid keys");
const UNKNOWN: Rule = rule("CFF-KEY-UNKNOWN", "valid keys");
const VERSION: Rule = rule("CFF-VERSION", "cff-version");
const TYPE: Rule = rule("CFF-TYPE", "type");
const SHAPE: Rule = rule("CFF-SHAPE", "valid keys");
const LICENSE: Rule = rule("CFF-LICENSE", "license");
const AUTHOR: Rule = rule("CFF-AUTHOR", "authors");
const DATE: Rule = rule("CFF-DATE", "date-released");
const ADDRESS: Rule = rule("CFF-URL", "url");
const DOI: Rule = rule("CFF-DOI", "doi");
const ORCID: Rule = rule("CFF-ORCID", "orcid");
const IDENTIFIER: Rule = rule("CFF-IDENTIFIER", "identifiers");
const LICENSE_OR: Rule = Rule {
    severity: Severity::Info,
    ..rule("CFF-LICENSE-OR", "license")
};
const NO_DATE: Rule = Rule {
    severity: Severity::Warning,
    ..rule("CFF-DATE-MISSING", "date-released")
};
const PLACEHOLDER: Rule = Rule {
    severity: Severity::Warning,
    ..rule("CFF-PLACEHOLDER", "valid keys")
};
const PLAIN_HTTP: Rule = Rule {
    severity: Severity::Warning,
    ..rule("LINK-HTTP", "url")
};

pub(crate) fn lint(text: &str, report: &mut Report<'_>) {
    text::lint(text, 0..text.len(), report);
    if let Some(at) = text.find("YourReferenceHere") {
        let reason = "`YourReferenceHere` is a placeholder".to_owned();
        report.add(PLACEHOLDER, at, reason, "name the work");
    }
    let root = match yaml::parse(text, 0) {
        Ok(Some(root)) if matches!(root.value, Value::Map(_)) => root,
        Ok(_) => {
            report.add(
                BROKEN,
                0,
                "the file holds no keys".to_owned(),
                "see the format",
            );
            return;
        }
        Err(error) => {
            report.add(BROKEN, error.at, format!("not YAML: {}", error.message), "");
            return;
        }
    };
    keys(&root, &rules::KEYS, &rules::REQUIRED, "the file", report);
    version(&root, report);
    let kind = root.get("type").and_then(|node| Some((node, node.text()?)));
    if let Some((node, kind)) = kind.filter(|(_, kind)| !rules::TYPES.contains(kind)) {
        let reason = format!("`type` is `{kind}`, expected `software` or `dataset`");
        report.add(TYPE, node.start, reason, "a model says `software`");
    }
    if root.get("date-released").is_none() && root.get("preferred-citation").is_none() {
        let reason = "without `date-released` a citation has no year".to_owned();
        report.add(
            NO_DATE,
            root.start,
            reason,
            "add `date-released: YYYY-MM-DD`",
        );
    }
    work(&root, report);
    for reference in root.get("references").into_iter().flat_map(Node::items) {
        self::reference(reference, report);
    }
    if let Some(node) = root.get("preferred-citation") {
        reference(node, report);
    }
}

/// Checks that keys are known, there once, and not missing.
fn keys(node: &Node, known: &[&str], required: &[&str], what: &str, report: &mut Report<'_>) {
    let mut seen: Vec<&str> = Vec::new();
    for (key, value) in node.entries() {
        let name = key.text().unwrap_or_default();
        if seen.contains(&name) {
            let reason = format!("`{name}` is there twice");
            report.add(TWICE, key.start, reason, "keep one of them");
        } else if !known.contains(&name) {
            let step = rules::near(name, known).map_or_else(
                || "remove it".to_owned(),
                |near| format!("was `{near}` meant?"),
            );
            let reason = format!("{what} can't have a key `{name}`");
            report.add(UNKNOWN, key.start, reason, &step);
        } else if matches!(value.kind(), Kind::Null) || value.text() == Some("") {
            let reason = format!("`{name}` is empty");
            report.add(SHAPE, key.start, reason, "fill it or remove it");
        }
        seen.push(name);
    }
    for name in required.iter().filter(|name| !seen.contains(*name)) {
        let reason = format!("{what} has no `{name}`");
        report.add(MISSING, node.start, reason, "add it");
    }
}

fn version(root: &Node, report: &mut Report<'_>) {
    let Some(node) = root.get("cff-version") else {
        return;
    };
    match (node.kind(), node.text()) {
        (Kind::Text, Some("1.2.0")) => {}
        (_, Some(other)) => {
            let reason = format!("`cff-version` is `{other}`, we know 1.2.0");
            report.add(VERSION, node.start, reason, "write `cff-version: 1.2.0`");
        }
        _ => report.add(
            VERSION,
            node.start,
            format!("`cff-version` holds {}", node.kind().phrase()),
            "write `cff-version: 1.2.0`",
        ),
    }
}

fn reference(node: &Node, report: &mut Report<'_>) {
    if node.kind() != Kind::Map {
        let reason = format!("a reference is {}, expected a map", node.kind().phrase());
        report.add(SHAPE, node.start, reason, "write its keys");
        return;
    }
    let known: Vec<&str> = rules::REFERENCE_KEYS.split_whitespace().collect();
    keys(
        node,
        &known,
        &["type", "title", "authors"],
        "a reference",
        report,
    );
    let kind = node.get("type").and_then(|node| Some((node, node.text()?)));
    if let Some((node, kind)) = kind
        && !rules::REFERENCE_TYPES
            .split_whitespace()
            .any(|known| known == kind)
    {
        let reason = format!("`{kind}` is no type of reference");
        report.add(
            TYPE,
            node.start,
            reason,
            "`data` for a dataset, `article` for a paper, else `generic`",
        );
    }
    work(node, report);
}

/// Checks what the file itself and its references have in common.
fn work(node: &Node, report: &mut Report<'_>) {
    for name in [
        "title",
        "message",
        "abstract",
        "commit",
        "notes",
        "institution-name",
    ] {
        if let Some(value) = node.get(name).filter(|value| value.kind() != Kind::Text) {
            // A list or a map would be lost; a number or a date was meant as text.
            if matches!(
                value.kind(),
                Kind::List | Kind::Map | Kind::Bool | Kind::Number
            ) {
                let reason = format!("`{name}` holds {}, expected text", value.kind().phrase());
                report.add(SHAPE, value.start, reason, "put it in quotes");
            }
        }
    }
    if let Some(value) = node.get("version")
        && !matches!(value.kind(), Kind::Text | Kind::Number)
    {
        let reason = format!("`version` holds {}, expected text", value.kind().phrase());
        report.add(SHAPE, value.start, reason, "put it in quotes");
    }
    for name in ["keywords", "languages"] {
        let Some(value) = node.get(name) else {
            continue;
        };
        let fits = value.kind() == Kind::List
            && value.items().iter().all(|item| item.kind() == Kind::Text);
        if !fits {
            let reason = format!("`{name}` is no list of texts");
            report.add(SHAPE, value.start, reason, "write a list; quote numbers");
        }
    }
    people(node, report);
    license(node, report);
    dates(node, report);
    addresses(node, report);
    identifiers(node, report);
}

fn people(node: &Node, report: &mut Report<'_>) {
    for name in [
        "authors",
        "contact",
        "editors",
        "recipients",
        "senders",
        "translators",
    ] {
        let Some(list) = node.get(name) else { continue };
        if list.kind() != Kind::List || list.items().is_empty() {
            let reason = format!(
                "`{name}` holds {}, expected a list of people",
                list.kind().phrase()
            );
            report.add(
                AUTHOR,
                list.start,
                reason,
                "write `- name: ...` or `- family-names: ...`",
            );
            continue;
        }
        for person in list.items() {
            one_person(person, report);
        }
    }
}

fn one_person(person: &Node, report: &mut Report<'_>) {
    if person.kind() != Kind::Map {
        let reason = format!("an author is {}, expected a map", person.kind().phrase());
        report.add(
            AUTHOR,
            person.start,
            reason,
            "write `- name: ...` or `- family-names: ...`",
        );
        return;
    }
    let is_entity = person.get("name").is_some();
    let known = if is_entity {
        rules::ENTITY_KEYS
    } else {
        rules::PERSON_KEYS
    };
    let known: Vec<&str> = known.split_whitespace().collect();
    let what = if is_entity { "an entity" } else { "a person" };
    keys(person, &known, &[], what, report);
    if !is_entity && person.entries().next().is_none() {
        report.add(
            AUTHOR,
            person.start,
            "an author has no name".to_owned(),
            "name it",
        );
    }
    for name in [
        "name",
        "family-names",
        "given-names",
        "name-particle",
        "name-suffix",
        "alias",
    ] {
        if let Some(value) = person.get(name)
            && !matches!(value.kind(), Kind::Text | Kind::Null)
        {
            let reason = format!("`{name}` holds {}, expected text", value.kind().phrase());
            report.add(SHAPE, value.start, reason, "put it in quotes");
        }
    }
    let orcid = person
        .get("orcid")
        .and_then(|node| Some((node, node.text()?)));
    if let Some((node, orcid)) = orcid.filter(|(_, orcid)| !rules::is_orcid(orcid)) {
        let reason = format!("`{orcid}` is no ORCID");
        report.add(
            ORCID,
            node.start,
            reason,
            "write `https://orcid.org/0000-...`",
        );
    }
    addresses(person, report);
}

fn license(node: &Node, report: &mut Report<'_>) {
    let Some((key, value)) = node.entry("license") else {
        return;
    };
    if matches!(value.kind(), Kind::Map | Kind::Bool | Kind::Number) {
        let reason = format!(
            "`license` holds {}, expected an SPDX identifier",
            value.kind().phrase()
        );
        report.add(LICENSE, value.start, reason, "write an SPDX identifier");
        return;
    }
    let items: Vec<(&Node, &str)> = value.texts().collect();
    if items.len() > 1 {
        let reason = "a list of licenses means that any of them may be chosen (OR)".to_owned();
        let step = "if all of them apply, describe that by `license-url`";
        report.add(LICENSE_OR, key.start, reason, step);
    }
    for (item, id) in items {
        if rules::is_license(id) {
            continue;
        }
        if let Some(right) = rules::license_in_case(id) {
            let reason = format!("the format writes `{id}` as `{right}`");
            report.add_fix(LICENSE, item.start..item.end, reason, right.to_owned());
        } else if id.split_whitespace().count() > 1 {
            let reason =
                format!("`{id}` is an expression, and the format takes single identifiers");
            report.add(
                LICENSE,
                item.start,
                reason,
                "name each, or use `license-url`",
            );
        } else {
            let reason = format!("`{id}` is not on the license list of the format");
            report.add(LICENSE, item.start, reason, "use `license-url` instead");
        }
    }
}

fn dates(node: &Node, report: &mut Report<'_>) {
    for name in rules::DATES {
        let date = node.get(name).and_then(|node| Some((node, node.text()?)));
        if let Some((node, date)) = date.filter(|(_, date)| !rules::is_day(date)) {
            let reason = format!("`{name}` is `{date}`, expected a day as `YYYY-MM-DD`");
            report.add(DATE, node.start, reason, "write it like `2023-09-29`");
        }
    }
    let year = node.get("year");
    if let Some(year) = year.filter(|year| year.kind() != Kind::Number) {
        let number = year.text().is_some_and(|text| text.parse::<i32>().is_ok());
        if !number {
            let reason = format!("`year` is `{}`", year.text().unwrap_or("no number"));
            report.add(DATE, year.start, reason, "write a number");
        }
    }
}

fn addresses(node: &Node, report: &mut Report<'_>) {
    for name in rules::ADDRESSES {
        let address = node.get(name).and_then(|node| Some((node, node.text()?)));
        let Some((node, address)) = address else {
            continue;
        };
        let scheme = address
            .split_once("://")
            .map(|(scheme, rest)| (scheme, rest.is_empty()));
        let is_address = matches!(scheme, Some(("https" | "http" | "ftp" | "sftp", false)))
            && !address.contains(char::is_whitespace);
        if !is_address {
            let reason = format!("`{name}` is `{address}`, expected an address");
            report.add(
                ADDRESS,
                node.start,
                reason,
                "write it with its scheme, `https://`",
            );
        } else if scheme == Some(("http", false)) {
            let reason = format!("`{address}` is not encrypted");
            report.add(
                PLAIN_HTTP,
                node.start,
                reason,
                "use https if the host answers on it",
            );
        }
    }
    let doi = node.get("doi").and_then(|node| Some((node, node.text()?)));
    if let Some((node, doi)) = doi.filter(|(_, doi)| !rules::is_doi(doi)) {
        let bare = ["https://doi.org/", "http://doi.org/", "doi:"]
            .iter()
            .find_map(|prefix| doi.strip_prefix(prefix))
            .filter(|bare| rules::is_doi(bare));
        let reason = format!("`{doi}` is no DOI");
        match bare {
            Some(bare) => report.add_fix(DOI, node.start..node.end, reason, bare.to_owned()),
            None => report.add(
                DOI,
                node.start,
                reason,
                "write it like `10.5281/zenodo.1234`",
            ),
        }
    }
}

fn identifiers(node: &Node, report: &mut Report<'_>) {
    for identifier in node.get("identifiers").into_iter().flat_map(Node::items) {
        let kind = identifier
            .get("type")
            .and_then(Node::text)
            .unwrap_or_default();
        let value = identifier
            .get("value")
            .and_then(Node::text)
            .unwrap_or_default();
        let fits = match kind {
            "doi" => rules::is_doi(value),
            "url" => value.contains("://"),
            "swh" => value.starts_with("swh:1:"),
            "other" => !value.is_empty(),
            _ => {
                let reason = format!("an identifier is of type `{kind}`");
                report.add(
                    IDENTIFIER,
                    identifier.start,
                    reason,
                    "one of doi, url, swh, other",
                );
                continue;
            }
        };
        if !fits {
            let reason = format!("`{value}` is no identifier of type `{kind}`");
            report.add(
                IDENTIFIER,
                identifier.start,
                reason,
                "correct its `value` or `type`",
            );
        }
    }
}
