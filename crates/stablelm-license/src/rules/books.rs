//! Books3 stays out, and the folder can prove it.

use serde_json::Value;

use crate::component::RelationKind;
use crate::finding::Severity;
use crate::ledger::Exclusion;
use crate::registry::Registry;

use super::Check;
use super::view::View;

const BOOKS3: &str = "books3";

/// Kinds of sources that once held it.
const HOLDERS: [&str; 3] = ["pile", "redpajama", "pilev2"];

/// B3-01: no row of it is left.
pub(super) fn absent(view: &View) -> Check {
    let Some(ledger) = view.ledger else {
        return Check::absent();
    };
    let removed = view.subject().filter(|subject| subject.takedown.is_some());
    let has_data = !ledger.sources.is_empty() || !view.data.is_empty();
    if !has_data && ledger.exclusions.is_empty() && removed.is_none() {
        return Check::absent();
    }
    let mut check = Check::of("no row of Books3 is in use");
    if let Some(subject) = removed {
        let reason = format!("{} was taken down and must be absent", subject.name);
        check.add(Severity::Error, Some("ledger.json"), reason);
    }
    for exclusion in ledger.exclusions.iter().filter(|left| left.remaining > 0) {
        let reason = format!(
            "{} documents of {} remain",
            exclusion.remaining, exclusion.component
        );
        check.add(Severity::Error, Some("ledger.json"), reason);
    }
    let registry = Registry::builtin();
    for source in ledger.sources.iter().filter(|source| source.documents > 0) {
        let found = registry.data_component(&source.kind, source.subset.as_deref());
        let by_name = [Some(source.name.as_str()), source.subset.as_deref()]
            .into_iter()
            .flatten()
            .filter_map(|name| registry.get(name))
            .any(|known| known.id == BOOKS3);
        let is_books3 = source.component.as_deref() == Some(BOOKS3)
            || found.is_some_and(|component| component.id == BOOKS3)
            || by_name;
        if is_books3 {
            let reason = format!(
                "source `{}` is Books3: {} documents of it are in use",
                source.name, source.documents
            );
            check.add(Severity::Error, Some("ledger.json"), reason);
        }
    }
    let is_trained_on =
        |edge: &&crate::ledger::Edge| edge.to == BOOKS3 && edge.kind == RelationKind::TrainedOn;
    if let Some(edge) = ledger.edges.iter().find(is_trained_on) {
        let reason = format!("{} is recorded as trained on Books3", edge.from);
        check.add(Severity::Error, Some("ledger.json"), reason);
    }
    check
}

/// B3-02: the exclusion is counted.
pub(super) fn counted(view: &View) -> Check {
    let Some(ledger) = view.ledger.filter(|_| view.is_data()) else {
        return Check::absent();
    };
    let mut check = Check::of("the ledger counts what was excluded, by rule");
    if let Some(found) = exclusion(view) {
        let by_rule: u64 = found.by_rule.values().sum();
        if by_rule < found.documents_excluded {
            let reason = format!(
                "{} documents were excluded, but the rules account for {by_rule}",
                found.documents_excluded
            );
            check.add(Severity::Error, Some("ledger.json"), reason);
        }
        return check;
    }
    let could_hold = |kind: &str| HOLDERS.contains(&kind);
    let severity = if ledger.sources.iter().any(|source| could_hold(&source.kind)) {
        Severity::Error
    } else {
        Severity::Warning
    };
    check.add(
        severity,
        Some("ledger.json"),
        "the ledger does not count the exclusion of Books3",
    );
    check
}

/// B3-03: ledger and report agree.
pub(super) fn recomputed(view: &View) -> Check {
    let report = view.text("report.json").filter(|_| view.is_data());
    let Some((report, found)) = report.zip(exclusion(view)) else {
        return Check::absent();
    };
    let mut check = Check::of("report.json and ledger.json count the same");
    let file = Some("report.json");
    let Ok(report) = serde_json::from_str::<Value>(report) else {
        check.add(Severity::Error, file, "report.json can't be read");
        return check;
    };
    let counts = [
        ("documents_excluded", found.documents_excluded),
        ("quarantined", found.quarantined),
        ("remaining", found.remaining),
    ];
    for (key, expected) in counts {
        let counted = report["books3"][key].as_u64();
        if counted != Some(expected) {
            let counted = counted.map_or_else(|| "nothing".to_owned(), |count| count.to_string());
            let reason =
                format!("books3.{key}: the report says {counted}, the ledger says {expected}");
            check.add(Severity::Error, file, reason);
        }
    }
    check
}

fn exclusion<'a>(view: &View<'a>) -> Option<&'a Exclusion> {
    view.ledger?
        .exclusions
        .iter()
        .find(|exclusion| exclusion.component == BOOKS3)
}
