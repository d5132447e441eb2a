//! The `NOTICE` that goes with every copy: who made what, under which terms, and what was changed.
//!
//! One fact or one required sentence a line, never wrapped, so that both people and checks find it.

use crate::attribution::{
    data_statements, endorsement, exclusion_sentences, license_with_address, statement,
    unknown_sources_sentence,
};
use crate::changes::ChangeRecord;
use crate::component::{Component, ComponentKind, RelationKind};
use crate::ledger::Ledger;
use crate::render::{PageFormat, render};
use crate::spdx;
use crate::text::{Page, one_line};

/// What our reports are and are not.
pub const DISCLAIMER: &str = "stablelm reports license facts with their sources and applies \
    mechanical rules to them. It is not legal advice, it cannot decide questions that courts have \
    not settled (such as whether a trained model is adapted material of its training data), and \
    an OK verdict is not a permission. Check the license texts, and ask a lawyer where it matters. \
    Facts were read from the named sources at the named revisions and may have changed.";

/// The heading over a notice that came with the material.
const PARENT_NOTICE: &str = "Notice that came with the material";

/// Returns the text of `NOTICE`.
pub fn notice(ledger: &Ledger) -> String {
    notice_in(ledger, PageFormat::Text)
}

/// Returns the notice in a form.
pub fn notice_in(ledger: &Ledger, format: PageFormat) -> String {
    let mut page = Page::default();
    page.underlined(&one_line(&ledger.title), '=');
    page.gap();
    page.line("Keep this notice with every copy of the files it came with, changed or not.");

    let materials = licensed_material(ledger);
    for component in &materials {
        page.underlined(
            &format!("Licensed material: {}", one_line(&component.name)),
            '-',
        );
        material(&mut page, component);
    }
    changes(&mut page, ledger);
    section(
        &mut page,
        ledger,
        &materials,
        ComponentKind::Tokenizer,
        "Tokenizer",
    );
    section(
        &mut page,
        ledger,
        &materials,
        ComponentKind::Code,
        "Code used, not included",
    );
    data(&mut page, ledger);

    page.underlined("Endorsement", '-');
    let in_use: Vec<_> = if materials.is_empty() {
        ledger.datasets().collect()
    } else {
        materials
    };
    page.line(&endorsement(&in_use));
    page.underlined("About this notice", '-');
    page.line(DISCLAIMER);
    parent_notices(&mut page, ledger);
    render(page, format)
}

/// Says where a component's license disclaims warranties.
pub(crate) fn warranty_sentence(component: &Component) -> String {
    if component.is_unlicensed() {
        return "No license is known, and nobody gives a warranty.".to_owned();
    }
    let place = spdx::warranty_clause(&component.license).map_or_else(
        || "the license".to_owned(),
        |clause| format!("{clause} of the license"),
    );
    format!(
        "The licensor gives no warranties: see the disclaimer of warranties and the limitation of \
         liability in {place}."
    )
}

/// Returns the subject and what it was derived from.
pub(crate) fn licensed_material(ledger: &Ledger) -> Vec<&Component> {
    let mut found: Vec<&Component> = ledger.subject().into_iter().collect();
    let mut next = 0;
    while let Some(component) = found.get(next).copied() {
        next += 1;
        for base in ledger.related(&component.id, RelationKind::DerivedFrom) {
            if !found.iter().any(|other| other.id == base.id) {
                found.push(base);
            }
        }
    }
    found
}

fn material(page: &mut Page, component: &Component) {
    page.line(&format!("Title: {}", one_line(&component.name)));
    page.line(&format!(
        "Creators: {}",
        one_line(&component.creators_phrase())
    ));
    // Byte for byte: the license asks to retain the notice as it was supplied.
    for copyright in &component.copyright {
        page.line(copyright);
    }
    if !component.url.is_empty() {
        page.line(&format!("Source: {}", one_line(&component.url)));
    }
    page.line(&format!(
        "License: {}",
        one_line(&license_with_address(component))
    ));
    page.line(&format!("Warranties: {}", warranty_sentence(component)));
    page.line(&format!("Credit: {}", one_line(&component.attribution)));
    if let Some(gate) = &component.gate {
        page.line(&format!(
            "Gate: {} <{}>",
            one_line(&gate.state),
            one_line(&gate.source)
        ));
    }
}

fn changes(page: &mut Page, ledger: &Ledger) {
    page.underlined("Changes", '-');
    if ledger.changes.is_empty() {
        page.line("None recorded.");
        return;
    }
    page.line("The material was changed. Earlier changes stand first; see also CHANGES.json.");
    for (index, change) in ledger.changes.iter().enumerate() {
        page.line(&format!("{}. {}", index + 1, change_sentence(change)));
    }
}

fn change_sentence(change: &ChangeRecord) -> String {
    let from = change
        .from_sha256
        .as_ref()
        .map_or_else(String::new, |hash| format!(" (from sha256 {hash})"));
    one_line(&format!(
        "{}, {}, by {} {}: {}{from}",
        change.when,
        change.kind.name(),
        change.tool,
        change.version,
        change.detail
    ))
}

/// Appends what came with the material and says more than the rest of this notice.
fn parent_notices(page: &mut Page, ledger: &Ledger) {
    for text in &ledger.notices {
        page.underlined(PARENT_NOTICE, '-');
        // Byte for byte, as it was supplied.
        page.line(text.trim_end_matches('\n'));
    }
}

/// Returns what of a parent's `NOTICE` the notice of a ledger would not retain: its whole text, or
/// nothing when each of its lines is there.
///
/// Of a notice that was made here and carries an older one, only the older one counts, as the rest
/// is made again.
///
/// ```
/// use stablelm_license::{Ledger, notice, notice_not_retained};
///
/// let mut ledger = Ledger::for_unknown("x");
/// assert_eq!(notice_not_retained(&ledger, &notice(&ledger)), None);
/// let theirs = "Portions (c) Somebody\n";
/// assert_eq!(notice_not_retained(&ledger, theirs), Some(theirs));
/// ledger.notices.push(theirs.to_owned());
/// assert_eq!(notice_not_retained(&ledger, theirs), None);
/// ```
pub fn notice_not_retained<'t>(ledger: &Ledger, parent: &'t str) -> Option<&'t str> {
    let ours = notice(ledger);
    if ours.contains(parent.trim()) {
        return None;
    }
    let heading = format!("\n{PARENT_NOTICE}\n");
    let (made, carried) = parent.split_once(&heading).unwrap_or((parent, ""));
    let kept: std::collections::HashSet<&str> = ours.lines().map(str::trim).collect();
    let all_kept = |text: &str| text.lines().all(|line| kept.contains(line.trim()));
    if all_kept(made) {
        let (_, carried) = carried.split_once('\n').unwrap_or_default();
        let is_kept = carried.trim().is_empty() || ours.contains(carried.trim());
        return (!is_kept && !all_kept(carried)).then_some(carried);
    }
    Some(parent)
}

fn section(
    page: &mut Page,
    ledger: &Ledger,
    materials: &[&Component],
    kind: ComponentKind,
    title: &str,
) {
    let members: Vec<_> = ledger
        .components
        .iter()
        .filter(|component| component.kind == kind)
        .filter(|component| !materials.iter().any(|material| material.id == component.id))
        .collect();
    if members.is_empty() {
        return;
    }
    page.underlined(title, '-');
    for component in members {
        statement(page, component);
        for copyright in &component.copyright {
            page.line(copyright);
        }
    }
}

fn data(page: &mut Page, ledger: &Ledger) {
    let sentences = exclusion_sentences(ledger);
    let unknown = unknown_sources_sentence(ledger);
    if ledger.datasets().next().is_none() && sentences.is_empty() && unknown.is_none() {
        return;
    }
    page.underlined("Training data", '-');
    for dataset in ledger.datasets() {
        data_statements(page, ledger, dataset);
    }
    for sentence in unknown.into_iter().chain(sentences) {
        page.line(&sentence);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::changes::{ChangeKind, NewChange};
    use crate::registry::Registry;

    #[test]
    fn a_copyright_notice_is_kept_byte_for_byte() {
        let registry = Registry::builtin();
        let mut model = registry.get("fixture-model").expect("known").clone();
        model.copyright = vec!["(c) 2026  Ünusual   spacing\tinc.".to_owned()];
        let text = notice(&Ledger::for_model(&model));
        assert!(
            text.contains("\n(c) 2026  Ünusual   spacing\tinc.\n"),
            "{text}"
        );
    }

    #[test]
    fn the_base_of_a_fine_tune_is_licensed_material_too() {
        let registry = Registry::builtin();
        let text = notice(&Ledger::for_model(
            registry.get("stablelm-zephyr-3b").expect("known"),
        ));
        assert!(text.contains("Licensed material: StableLM Zephyr 3B"));
        assert!(text.contains("Licensed material: StableLM-3B-4E1T"));
    }

    #[test]
    fn every_change_has_its_line() {
        let mut ledger = Ledger::for_unknown("x");
        for (kind, detail) in [(ChangeKind::Format, "first"), (ChangeKind::Dtype, "second")] {
            ledger.record(NewChange {
                when: "2026-11-23T12:00:00Z".to_owned(),
                tool: "stablelm".to_owned(),
                version: "0.1.0".to_owned(),
                kind,
                from_sha256: Some("ab".repeat(32)),
                detail: detail.to_owned(),
            });
        }
        let text = notice(&ledger);
        assert!(text.contains("1. 2026-11-23T12:00:00Z, format, by stablelm 0.1.0: first (from"));
        assert!(text.contains("2. 2026-11-23T12:00:00Z, dtype, by stablelm 0.1.0: second (from"));
    }
}
