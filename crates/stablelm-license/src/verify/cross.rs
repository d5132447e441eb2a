//! Whether the documents of a folder agree: license, makers, record of changes, tokenizer.

use std::collections::BTreeSet;

use super::papers::broken_chain;
use super::problems::{Check, Problems};
use super::reuse::tokenizer;
use crate::changes::{ChangeRecord, sha256_hex};
use crate::component::Component;
use crate::front_matter::FrontMatter;
use crate::ledger::Ledger;
use crate::lint::terms_of;
use crate::registry::Registry;
use crate::release::Release;
use crate::spdx::{self, NOASSERTION};
use crate::text::one_line;

const fn rule(id: &'static str, clause: &'static str) -> Check {
    Check {
        id,
        clause,
        source: "https://creativecommons.org/licenses/by-sa/4.0/legalcode",
    }
}

const LICENSE: &str = "CC BY-SA 4.0, 3(a)(1)(C)";
const CREATORS: &str = "CC BY-SA 4.0, 3(a)(1)(A)(i)";
const COPYRIGHT: &str = "CC BY-SA 4.0, 3(a)(1)(A)(ii)";
const CHANGES: &str = "CC BY-SA 4.0, 3(a)(1)(B)";
const WHICH: &str = "find out which is right, and make the other again";

/// What a document says about a component.
pub(crate) struct Facts<'a> {
    pub(crate) name: &'a str,
    pub(crate) license: Option<&'a str>,
    pub(crate) creator: Option<&'a str>,
}

pub(crate) fn check(release: &Release, parent: Option<&Ledger>, problems: &mut Problems) {
    let Some(ledger) = &release.ledger else {
        return;
    };
    changes_file(release, ledger, problems);
    metadata(release, ledger, problems);
    notice(release, ledger, problems);
    card(release, ledger, problems);
    citation(release, ledger, problems);
    registry(ledger, problems);
    if let Some(parent) = parent {
        with_parent(ledger, parent, problems);
    }
}

/// Says why a text is no SPDX license expression.
pub(crate) fn valid_expression(text: &str) -> Result<(), String> {
    if matches!(text, NOASSERTION | "NONE") {
        return Ok(());
    }
    match ::spdx::Expression::parse(text) {
        Ok(_) => Ok(()),
        Err(error) => Err(error.reason.to_string()),
    }
}

/// Returns the license that an address is the usual one of.
pub(crate) fn license_of_address(address: &str) -> Option<String> {
    if let Some(terms) = terms_of(address) {
        let id = format!("CC-{}", terms.to_uppercase().replace('/', "-"));
        return ::spdx::license_id(&id).map(|known| known.name.to_owned());
    }
    if let Some((_, rest)) = address.split_once("spdx.org/licenses/") {
        let id = rest.trim_end_matches(".html").trim_end_matches(".json");
        return ::spdx::license_id(id).map(|known| known.name.to_owned());
    }
    let known = [
        ("opendatacommons.org/licenses/by/1", "ODC-By-1.0"),
        ("apache.org/licenses/LICENSE-2.0", "Apache-2.0"),
        ("creativecommons.org/publicdomain/zero/1.0", "CC0-1.0"),
    ];
    known
        .iter()
        .find(|(part, _)| address.contains(part))
        .map(|(_, id)| (*id).to_owned())
}

/// Says that a text links another Creative Commons license than the one it should.
pub(crate) fn wrong_link(text: &str, license: &str) -> Option<String> {
    let own = terms_of(&spdx::license_url(license)?)?;
    text.match_indices("creativecommons.org/licenses/")
        .filter_map(|(at, _)| terms_of(&text[at..]))
        .map(|terms| trimmed_terms(&terms))
        .find(|terms| *terms != own)
        .map(|terms| {
            format!(
                "links CC {}, the license is {license}",
                terms.to_uppercase().replace('/', " ")
            )
        })
}

/// Takes off what belongs to the sentence around a link.
fn trimmed_terms(terms: &str) -> String {
    terms
        .trim_end_matches(|c: char| !c.is_ascii_digit())
        .to_owned()
}

/// Compares what a document says about a component with the ledger.
pub(crate) fn component(
    path: &str,
    format: &str,
    facts: &Facts<'_>,
    release: &Release,
    problems: &mut Problems,
) {
    let known = release
        .ledger
        .as_ref()
        .and_then(|ledger| find(ledger, facts.name));
    let Some(known) = known else {
        return;
    };
    if let Some(license) = facts.license
        && license != NOASSERTION
        && known.license != NOASSERTION
        && identifiers(license) != identifiers(&known.license)
    {
        let reason = format!(
            "`{path}` puts `{}` under {license}, the ledger says {}",
            facts.name, known.license
        );
        let id = match (format, known.kind) {
            (_, crate::component::ComponentKind::Tokenizer) => "TOKENIZER-LICENSE",
            ("SPDX3", _) => "SPDX3-LEDGER-LICENSE",
            _ => "CDX-LEDGER-LICENSE",
        };
        problems.error(rule(id, LICENSE), path, reason, WHICH);
    }
    if let Some(creator) = facts.creator
        && creator != NOASSERTION
        && !known.creators.is_empty()
        && !known
            .creators
            .iter()
            .any(|one| creator.contains(one.as_str()))
    {
        let reason = format!(
            "`{path}` says `{}` is from {creator}, the ledger says {}",
            facts.name,
            known.creators.join(", ")
        );
        let id = if format == "SPDX3" {
            "SPDX3-LEDGER-CREATOR"
        } else {
            "CDX-LEDGER-CREATOR"
        };
        problems.error(rule(id, CREATORS), path, reason, WHICH);
    }
}

fn find<'a>(ledger: &'a Ledger, name: &str) -> Option<&'a Component> {
    ledger.components.iter().find(|component| {
        one_line(&component.name) == name || component.hf_id.as_deref() == Some(name)
    })
}

fn identifiers(expression: &str) -> BTreeSet<&str> {
    spdx::identifiers(expression).into_iter().collect()
}

/// `CHANGES.json` holds what the ledger holds.
fn changes_file(release: &Release, ledger: &Ledger, problems: &mut Problems) {
    let Some(text) = release.texts.get("CHANGES.json") else {
        return;
    };
    let Ok(listed) = serde_json::from_str::<Vec<ChangeRecord>>(text) else {
        return;
    };
    if let Some(reason) = differing_changes(&listed, &ledger.changes) {
        let reason = format!("`CHANGES.json` and the ledger differ: {reason}");
        problems.error(
            rule("CHANGES-DIFFER", CHANGES),
            "CHANGES.json",
            reason,
            WHICH,
        );
    }
}

fn differing_changes(found: &[ChangeRecord], expected: &[ChangeRecord]) -> Option<String> {
    if found == expected {
        return None;
    }
    let position = found.iter().zip(expected).position(|(a, b)| a != b);
    Some(match position {
        Some(index) => format!(
            "record {index} is `{}` in one and `{}` in the other",
            found[index].detail, expected[index].detail
        ),
        None => format!("{} records and {}", found.len(), expected.len()),
    })
}

/// What the weights say about themselves is what the ledger says.
fn metadata(release: &Release, ledger: &Ledger, problems: &mut Problems) {
    let subject = ledger.subject();
    for (path, metadata) in &release.metadata {
        let get = |key: &str| metadata.get(key).map(String::as_str);
        for key in ["license", "modelspec.license"] {
            if let (Some(license), Some(subject)) = (get(key), subject)
                && license != subject.license
            {
                let reason = format!(
                    "`{key}` in the header is {license}, the ledger says {}",
                    subject.license
                );
                problems.error(rule("META-LICENSE", LICENSE), path, reason, WHICH);
            }
        }
        if let (Some(link), Some(subject)) = (get("stablelm.license_url"), subject)
            && let Some(reason) = wrong_link(link, &subject.license)
        {
            let reason = format!("`stablelm.license_url` {reason}");
            problems.error(rule("META-LICENSE-URL", LICENSE), path, reason, WHICH);
        }
        if let (Some(credit), Some(subject)) = (get("stablelm.attribution"), subject) {
            for creator in &subject.creators {
                if !credit.contains(creator.as_str()) {
                    let reason = format!("`stablelm.attribution` does not name {creator}");
                    problems.error(rule("META-CREATOR", CREATORS), path, reason, WHICH);
                }
            }
        }
        if let Some(text) = get("stablelm.changes") {
            header_changes(path, text, ledger, problems);
        }
        notice_hash(
            path,
            get("stablelm.notice_sha256"),
            release,
            ledger,
            problems,
        );
    }
}

fn header_changes(path: &str, text: &str, ledger: &Ledger, problems: &mut Problems) {
    let chain = match serde_json::from_str::<Vec<ChangeRecord>>(text) {
        Ok(chain) => chain,
        Err(error) => return broken_chain(path, &error.to_string(), problems),
    };
    if let Err(error) = crate::changes::verify(&chain) {
        broken_chain(path, &error.to_string(), problems);
    }
    let rest = ledger.changes.strip_prefix(&chain[..]);
    match rest {
        Some([]) => {}
        // `license changes add` writes beside the weights, not into them.
        Some(later) => {
            let reason = format!(
                "the header does not hold the last {} of {} changes",
                later.len(),
                ledger.changes.len()
            );
            let step = "convert again to have them in the header too";
            problems.warning(rule("META-CHANGES-BEHIND", CHANGES), path, reason, step);
        }
        None => {
            let reason = differing_changes(&chain, &ledger.changes).unwrap_or_default();
            let reason = format!("header and ledger differ: {reason}");
            problems.error(rule("META-CHANGES", CHANGES), path, reason, WHICH);
        }
    }
}

/// The header holds the hash of the notice that was written with it.
fn notice_hash(
    path: &str,
    expected: Option<&str>,
    release: &Release,
    ledger: &Ledger,
    problems: &mut Problems,
) {
    let (Some(expected), Some(text)) = (expected, release.texts.get("NOTICE")) else {
        return;
    };
    let found = sha256_hex(text.as_bytes());
    // Changes recorded later are in the notice and not in the header.
    let is_current = *text == crate::notice::notice(ledger);
    if found != expected && !is_current {
        let reason = format!(
            "it is not the notice `{path}` was written with: expected sha256 {expected}, found {found}"
        );
        problems.error(rule("NOTICE-CHANGED", COPYRIGHT), "NOTICE", reason, WHICH);
    }
}

/// The notice names whose the material is, its license, its changes and its tokenizer's license.
fn notice(release: &Release, ledger: &Ledger, problems: &mut Problems) {
    let Some(text) = release.texts.get("NOTICE") else {
        return;
    };
    let mut lacks = |id, clause, what: String| {
        let reason = format!("the notice does not {what}");
        let step = "write it again: `stablelm license notice`";
        problems.error(rule(id, clause), "NOTICE", reason, step);
    };
    for component in crate::notice::licensed_material(ledger) {
        for creator in &component.creators {
            if !text.contains(&one_line(creator)) {
                lacks("NOTICE-CREATOR", CREATORS, format!("name {creator}"));
            }
        }
        for notice in &component.copyright {
            if !text.contains(notice.as_str()) {
                lacks("NOTICE-COPYRIGHT", COPYRIGHT, format!("hold `{notice}`"));
            }
        }
        let license = &component.license;
        if !text.contains(license.as_str()) {
            lacks(
                "NOTICE-LICENSE",
                LICENSE,
                format!("name the license {license}"),
            );
        }
    }
    for change in &ledger.changes {
        let told =
            |line: &str| line.contains(&change.when) && line.contains(&one_line(&change.detail));
        if !text.lines().any(told) {
            lacks(
                "NOTICE-CHANGE",
                CHANGES,
                format!("tell the change `{}`", change.detail),
            );
        }
    }
    if let Some(tokenizer) = tokenizer(ledger) {
        let name = one_line(&tokenizer.name);
        let told = |line: &str| line.contains(&name) && line.contains(&tokenizer.license);
        if !text.lines().any(told) {
            let what = format!("put {name} under {}, as the ledger does", tokenizer.license);
            lacks("TOKENIZER-LICENSE", "Apache-2.0, 4", what);
        }
    }
    if let Some(subject) = ledger.subject()
        && let Some(reason) = text
            .lines()
            .filter(|line| line.starts_with("License: ") || line.starts_with("Credit: "))
            .find_map(|line| {
                wrong_link(line, &subject.license).filter(|_| line.contains(&subject.license))
            })
    {
        problems.error(
            rule("NOTICE-LICENSE-URL", LICENSE),
            "NOTICE",
            format!("the notice {reason}"),
            WHICH,
        );
    }
}

/// The front matter of the card names the license of the ledger.
fn card(release: &Release, ledger: &Ledger, problems: &mut Problems) {
    let (Some(text), Some(subject)) = (release.texts.get("README.md"), ledger.subject()) else {
        return;
    };
    let Some((front, body)) = FrontMatter::split(text) else {
        return;
    };
    let stated = front.list("license");
    let expected = match spdx::hub_license_id(&subject.license) {
        Some(id) => id,
        None if subject.license == NOASSERTION => "unknown",
        None => "other",
    };
    if !stated.is_empty() && !stated.iter().any(|id| id == expected) {
        let reason = format!(
            "the card says `license: {}`, the ledger {} (`{expected}`)",
            stated.join(", "),
            subject.license
        );
        problems.error(
            rule("CARD-LEDGER-LICENSE", LICENSE),
            "README.md",
            reason,
            WHICH,
        );
    }
    for creator in &subject.creators {
        if !body.contains(creator.as_str()) {
            let reason = format!("the card does not name {creator}");
            problems.error(rule("CARD-CREATOR", CREATORS), "README.md", reason, WHICH);
        }
    }
}

/// The citation file names the license of the ledger, if any.
fn citation(release: &Release, ledger: &Ledger, problems: &mut Problems) {
    let (Some(text), Some(subject)) = (release.texts.get("CITATION.cff"), ledger.subject()) else {
        return;
    };
    let stated: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("license:"))
        .map(|value| value.trim().trim_matches(['"', '\'']))
        .filter(|value| !value.is_empty())
        .collect();
    for license in stated {
        if subject.license != NOASSERTION && !identifiers(&subject.license).contains(license) {
            let reason = format!(
                "the citation says {license}, the ledger {}",
                subject.license
            );
            problems.error(
                rule("CFF-LEDGER-LICENSE", LICENSE),
                "CITATION.cff",
                reason,
                WHICH,
            );
        }
    }
}

/// What the ledger says about known components is what the registry says, with its sources.
fn registry(ledger: &Ledger, problems: &mut Problems) {
    let registry = Registry::builtin();
    for component in &ledger.components {
        let Some(known) = registry.get(&component.id) else {
            continue;
        };
        if known.license != component.license {
            let source = known
                .claims
                .last()
                .map_or("", |claim| claim.source.as_str());
            let reason = format!(
                "the ledger puts `{}` under {}, the registry says {} ({source})",
                component.name, component.license, known.license
            );
            let id = match component.kind {
                crate::component::ComponentKind::Tokenizer => "TOKENIZER-LICENSE",
                _ => "LEDGER-REGISTRY",
            };
            let step = "if the license changed, record where that was read as a claim";
            problems.error(rule(id, LICENSE), "ledger.json", reason, step);
        }
    }
}

/// Nothing that the parent said may be lost.
fn with_parent(ledger: &Ledger, parent: &Ledger, problems: &mut Problems) {
    if !ledger.changes.starts_with(&parent.changes) {
        let reason = differing_changes(&ledger.changes, &parent.changes).unwrap_or_default();
        let reason = format!("the changes of the parent are not the first ones here: {reason}");
        let step = "keep every earlier change, in order";
        problems.error(rule("PARENT-CHANGES", CHANGES), "ledger.json", reason, step);
    }
    let Some(material) = parent.subject() else {
        return;
    };
    let holds = |test: &dyn Fn(&Component) -> bool| ledger.components.iter().any(test);
    for creator in &material.creators {
        if !holds(&|component| component.creators.contains(creator)) {
            let reason = format!("{creator}, who made the parent, is not named");
            problems.error(
                rule("PARENT-CREATOR", CREATORS),
                "ledger.json",
                reason,
                "name them",
            );
        }
    }
    for notice in &material.copyright {
        if !holds(&|component| component.copyright.contains(notice)) {
            let reason = format!("the parent's notice `{notice}` is gone");
            let step = "keep it byte for byte";
            problems.error(
                rule("PARENT-COPYRIGHT", COPYRIGHT),
                "ledger.json",
                reason,
                step,
            );
        }
    }
    if !holds(&|component| component.license == material.license) {
        let reason = format!(
            "nothing here is under {}, the parent's license",
            material.license
        );
        let step = "name the parent among the components";
        problems.error(rule("PARENT-LICENSE", LICENSE), "ledger.json", reason, step);
    }
}
