//! REUSE 3.3: under which license each file is, and the texts of these licenses.

use std::collections::BTreeSet;

use super::account::Accounts;
use super::cross;
use super::papers::license_matches;
use super::problems::{Check, Problems};
use super::toml::{self, Table};
use crate::component::{ComponentKind, RelationKind};
use crate::detect::detect;
use crate::ledger::Ledger;
use crate::release::Release;
use crate::spdx;

const fn rule(id: &'static str) -> Check {
    Check {
        id,
        clause: "REUSE 3.3",
        source: "https://reuse.software/spec-3.3/",
    }
}

const FILE: &str = "REUSE.toml";
const LICENSE_KEY: &str = "SPDX-License-Identifier";
const TEXTS: &str = "LICENSES/";

pub(crate) fn check(release: &Release, accounts: &mut Accounts<'_>, problems: &mut Problems) {
    let Some(text) = release.texts.get(FILE) else {
        return;
    };
    let tables = match toml::parse(text) {
        Ok(tables) => tables,
        Err(reason) => return problems.unreadable(FILE, reason),
    };
    problems.read(FILE);
    let annotations: Vec<&Table> = tables
        .iter()
        .filter(|table| table.name == "annotations")
        .collect();
    let mut used: BTreeSet<&str> = BTreeSet::new();
    for annotation in &annotations {
        for expression in annotation.texts(LICENSE_KEY) {
            if let Err(reason) = cross::valid_expression(expression) {
                let reason = format!("`{expression}` is no license expression: {reason}");
                problems.error(rule("REUSE-EXPRESSION"), FILE, reason, "correct it");
            }
        }
    }
    for path in release.files.keys().filter(|path| is_covered(path)) {
        let annotation = annotations.iter().rev().find(|annotation| {
            annotation
                .texts("path")
                .iter()
                .any(|glob| matches(glob, path))
        });
        let Some(annotation) = annotation else {
            if !release.files.contains_key(&format!("{path}.license")) {
                let reason = format!("`{FILE}` says nothing about `{path}`");
                problems.error(
                    rule("REUSE-UNCOVERED"),
                    path,
                    reason,
                    "add it, or a `.license` file",
                );
            }
            continue;
        };
        accounts.named(path, "named by REUSE.toml");
        let licenses = annotation.texts(LICENSE_KEY);
        let copyright = annotation.texts("SPDX-FileCopyrightText");
        if licenses.is_empty() || copyright.is_empty() {
            let reason = format!("`{FILE}` gives `{path}` no license or no copyright");
            problems.error(rule("REUSE-UNCOVERED"), path, reason, "add both");
        }
        used.extend(
            licenses
                .iter()
                .flat_map(|license| spdx::identifiers(license)),
        );
        ledger_license(path, licenses, release, problems);
    }
    texts(release, &used, problems);
}

/// Compares the licenses of the weights and of the tokenizer with the ledger.
fn ledger_license(path: &str, licenses: &[String], release: &Release, problems: &mut Problems) {
    let Some(ledger) = &release.ledger else {
        return;
    };
    let component = if path.ends_with(".safetensors") {
        ledger.subject()
    } else if path == "tokenizer.json" {
        tokenizer(ledger)
    } else {
        None
    };
    let Some(component) = component else {
        return;
    };
    let stated: BTreeSet<&str> = licenses
        .iter()
        .flat_map(|text| spdx::identifiers(text))
        .collect();
    let known: BTreeSet<&str> = spdx::identifiers(&component.license).into_iter().collect();
    if component.license != spdx::NOASSERTION && stated != known {
        let reason = format!(
            "`{FILE}` puts `{path}` under {}, the ledger says {}",
            licenses.join(" AND "),
            component.license
        );
        let id = if component.kind == ComponentKind::Tokenizer {
            "TOKENIZER-LICENSE"
        } else {
            "REUSE-LEDGER-LICENSE"
        };
        problems.error(rule(id), path, reason, "find out which is right");
    }
}

/// Returns the tokenizer of the subject, else the only one of the ledger.
pub(crate) fn tokenizer(ledger: &Ledger) -> Option<&crate::component::Component> {
    let of_subject = ledger.subject().and_then(|subject| {
        ledger
            .related(&subject.id, RelationKind::UsesTokenizer)
            .next()
    });
    let mut all = ledger
        .components
        .iter()
        .filter(|component| component.kind == ComponentKind::Tokenizer);
    of_subject.or_else(|| all.next().filter(|_| all.next().is_none()))
}

fn texts(release: &Release, used: &BTreeSet<&str>, problems: &mut Problems) {
    let there: BTreeSet<&str> = release
        .files
        .keys()
        .filter_map(|path| path.strip_prefix(TEXTS))
        .filter_map(|name| name.strip_suffix(".txt"))
        .collect();
    for id in used.difference(&there) {
        let reason = format!("the text of {id} is not in `{TEXTS}`");
        let path = format!("{TEXTS}{id}.txt");
        problems.error(rule("REUSE-TEXT-MISSING"), &path, reason, "add it");
    }
    for id in there.difference(used) {
        let reason = format!("no file is under {id}");
        let path = format!("{TEXTS}{id}.txt");
        problems.error(rule("REUSE-TEXT-UNUSED"), &path, reason, "remove the text");
    }
    for id in there {
        let path = format!("{TEXTS}{id}.txt");
        if let Some(text) = release.texts.get(&path)
            && ::spdx::license_id(id).is_some()
        {
            license_matches(&path, &detect(text), id, problems);
        }
    }
}

/// True for files that the specification asks a license for.
fn is_covered(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let ignored = name.starts_with("LICENSE")
        || name.starts_with("LICENCE")
        || name.starts_with("COPYING")
        || name.ends_with(".license")
        || name == FILE
        || path.starts_with(TEXTS)
        || path.starts_with(".git/")
        || is_spdx_document(name);
    !ignored
}

/// `*.spdx.json` and its kin; a file named `*.spdx3.json` is covered.
fn is_spdx_document(name: &str) -> bool {
    ["rdf", "json", "xml", "yml", "yaml"]
        .iter()
        .any(|kind| name.ends_with(&format!(".spdx.{kind}")))
        || name
            .rsplit_once('.')
            .is_some_and(|(_, kind)| kind == "spdx")
}

/// `*` is anything within a folder, `**` anything at all, `\` takes a sign as it is.
fn matches(glob: &str, path: &str) -> bool {
    let glob: Vec<char> = glob.chars().collect();
    let path: Vec<char> = path.chars().collect();
    // `reach[i]` says whether the pattern so far matches the first `i` signs of the path.
    let mut reach = vec![false; path.len() + 1];
    reach[0] = true;
    let mut at = 0;
    while at < glob.len() {
        let next = match glob[at] {
            '*' => {
                let deep = glob.get(at + 1) == Some(&'*');
                at += usize::from(deep);
                let mut any = false;
                (0..=path.len())
                    .map(|index| {
                        let stopped = !deep && index > 0 && path[index - 1] == '/';
                        any = reach[index] || any && !stopped;
                        any
                    })
                    .collect()
            }
            sign => {
                let escaped = sign == '\\' && at + 1 < glob.len();
                at += usize::from(escaped);
                let sign = glob[at];
                let mut next = vec![false; path.len() + 1];
                for index in 0..path.len() {
                    next[index + 1] = reach[index] && path[index] == sign;
                }
                next
            }
        };
        reach = next;
        at += 1;
    }
    reach[path.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_stays_in_its_folder_unless_it_is_double() {
        let check = |glob: &str, path: &str, expected| {
            assert_eq!(matches(glob, path), expected, "{glob} {path}");
        };
        check("a.txt", "a.txt", true);
        check("*.txt", "a.txt", true);
        check("*.txt", "b/a.txt", false);
        check("**", "b/a.txt", true);
        check("**/a.txt", "b/c/a.txt", true);
        check("b/*", "b/a.txt", true);
        check("b/*", "b/c/a.txt", false);
        check("\\*", "*", true);
        check("\\*", "a", false);
        check("", "a", false);
    }

    #[test]
    fn an_spdx_3_name_is_covered() {
        assert!(is_covered("bom.spdx3.json"));
        assert!(!is_covered("bom.spdx.json"));
        assert!(!is_covered("LICENSES/MIT.txt"));
    }
}
