//! The layout of the REUSE specification 3.3: `REUSE.toml`, and `LICENSES/` with a text for each
//! license in use and no other.

use std::collections::{BTreeMap, BTreeSet};

use super::files::{Role, licenses_of, owners, role};
use super::terms::{Terms, UNKNOWN_REF, text_of};
use crate::component::Component;
use crate::ledger::Ledger;
use crate::spdx;
use crate::text::{Page, one_line, quoted};

/// What generated documents are under.
const GENERATED: &str = "CC0-1.0";

/// Documents that are made after the layout and lie beside it.
const LATER: [&str; 3] = ["*.spdx3.json", "*.cdx.json", "*.sig"];

/// What goes into a folder that is to keep to REUSE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReuseLayout {
    /// The content of `REUSE.toml`.
    pub toml: String,
    /// The content of each file in `LICENSES/`, by its name.
    pub licenses: BTreeMap<String, String>,
}

/// Says of each file of a folder under which license it is, and brings the texts.
///
/// `paths` are relative to the folder, with `/` between the parts. Weights are under the license of
/// the subject, the tokenizer under its own, data under those of its sources, generated documents
/// under CC0-1.0, and anything else under `LicenseRef-unknown`.
pub fn reuse_layout<'p>(ledger: &Ledger, paths: impl IntoIterator<Item = &'p str>) -> ReuseLayout {
    let mut groups: BTreeMap<(Vec<String>, String), BTreeSet<String>> = BTreeMap::new();
    for path in paths {
        let role = role(ledger, path);
        if matches!(role, Role::LicenseText | Role::AboutTheFolder) {
            continue;
        }
        groups
            .entry((copyright(ledger, role), expression(ledger, role)))
            .or_default()
            .insert(literal(path));
    }
    // Generated documents always come with the folder, so this license is always in use: by these
    // documents themselves or by the ones that are written next.
    let generated = (vec!["NONE".to_owned()], GENERATED.to_owned());
    let has_papers = groups.contains_key(&generated);
    groups
        .entry(generated)
        .or_default()
        .extend(LATER.map(str::to_owned));
    let mut page = Page::default();
    page.line("# Under which license each file is: https://reuse.software/spec-3.3/");
    page.line("version = 1");
    let mut used = BTreeSet::new();
    for ((copyright, license), paths) in &groups {
        annotation(&mut page, copyright, license, paths);
        if license != GENERATED || has_papers {
            used.extend(spdx::identifiers(license));
        }
    }
    ReuseLayout {
        toml: page.finish(),
        licenses: used
            .into_iter()
            .map(|id| (format!("{id}.txt"), text_of(ledger, id)))
            .collect(),
    }
}

fn annotation(page: &mut Page, copyright: &[String], license: &str, paths: &BTreeSet<String>) {
    page.gap();
    page.line("[[annotations]]");
    page.line("path = [");
    for path in paths {
        page.line(&format!("    {},", quoted(path)));
    }
    page.line("]");
    // Files may quote statements about others, which are not about themselves.
    page.line("precedence = \"override\"");
    let lines: Vec<String> = copyright.iter().map(|line| quoted(line)).collect();
    page.line(&format!("SPDX-FileCopyrightText = [{}]", lines.join(", ")));
    page.line(&format!("SPDX-License-Identifier = {}", quoted(license)));
}

/// Returns the expression of a role; what is not known in it is named so.
fn expression(ledger: &Ledger, role: Role<'_>) -> String {
    let known = |license: &&str| Terms::read(license) != Terms::Unknown;
    let licenses = licenses_of(ledger, role);
    let unknown = licenses.is_empty() || !licenses.iter().all(known);
    let known = Terms::all_of(licenses.into_iter().filter(known));
    match (known.expression(), unknown) {
        (None, _) => UNKNOWN_REF.to_owned(),
        (Some(text), false) => text.to_owned(),
        (Some(text), true) => format!("{text} AND {UNKNOWN_REF}"),
    }
}

/// Returns whose a file is: the notices it came with, else its makers with the year.
fn copyright(ledger: &Ledger, role: Role<'_>) -> Vec<String> {
    if role == Role::Paper {
        return vec!["NONE".to_owned()];
    }
    let mut lines: Vec<String> = Vec::new();
    for line in owners(ledger, role).into_iter().flat_map(owner_lines) {
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    if lines.is_empty() {
        lines.push("NOASSERTION".to_owned());
    }
    lines
}

fn owner_lines(component: &Component) -> Vec<String> {
    let notices: Vec<String> = component
        .copyright
        .iter()
        .map(|line| one_line(line))
        .filter(|line| !line.is_empty())
        .collect();
    if !notices.is_empty() {
        return notices;
    }
    component
        .creators
        .iter()
        .map(|creator| {
            let year = component.year.map(|year| format!("{year} "));
            one_line(&format!("{}{creator}", year.unwrap_or_default()))
        })
        .collect()
}

/// Returns a path as a pattern that matches only itself.
fn literal(path: &str) -> String {
    path.replace('\\', "\\\\").replace('*', "\\*")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Registry;

    fn layout(paths: &[&str]) -> ReuseLayout {
        let registry = Registry::builtin();
        let ledger = Ledger::for_model(registry.get("stablelm-3b-4e1t").expect("known"));
        reuse_layout(&ledger, paths.iter().copied())
    }

    #[test]
    fn the_texts_are_those_of_the_licenses_in_use_and_no_others() {
        let check = |paths: &[&str], expected: &[&str]| {
            let names: Vec<_> = layout(paths).licenses.into_keys().collect();
            assert_eq!(names, expected, "{paths:?}");
        };
        check(
            &["model.safetensors", "tokenizer.json", "README.md"],
            &["Apache-2.0.txt", "CC-BY-SA-4.0.txt", "CC0-1.0.txt"],
        );
        check(&["model.safetensors", "LICENSE"], &["CC-BY-SA-4.0.txt"]);
        check(
            &["model.safetensors", "train.py"],
            &["CC-BY-SA-4.0.txt", "LicenseRef-unknown.txt"],
        );
    }

    #[test]
    fn a_path_stands_for_itself_alone() {
        let toml = layout(&["a*\"\n.safetensors"]).toml;
        assert!(toml.contains(r#""a\\*\"\n.safetensors","#), "{toml}");
    }
}
