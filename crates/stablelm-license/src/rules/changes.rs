//! CC BY-SA 4.0, sections 3(a)(1)(B), 2(a)(4) and 3(b): what was changed, and what follows.

use crate::changes::{self, ChangeKind, ChangeRecord};
use crate::compatibility::{Verdict, adapts};
use crate::component::{Component, RelationKind};
use crate::finding::Severity;
use crate::terms::LicenseExpression;

use super::Check;
use super::view::View;

/// Returns whether the earlier record is the beginning of the later one, so that every earlier
/// indication of changes is retained.
pub fn is_prefix(earlier: &[ChangeRecord], later: &[ChangeRecord]) -> bool {
    later.starts_with(earlier)
}

/// SA-06: changes are on record, the earlier ones first, and none was edited.
pub(super) fn record(view: &View) -> Check {
    let Some(ledger) = view.ledger else {
        return Check::absent();
    };
    if view.materials.is_empty() {
        return Check::absent();
    }
    let mut check = Check::of(format!("{} change records, chained", ledger.changes.len()));
    if let Err(error) = changes::verify(&ledger.changes) {
        check.add(Severity::Error, Some("ledger.json"), error.to_string());
    }
    match view.text("CHANGES.json") {
        Some(text) => changes_file(&mut check, text, &ledger.changes),
        None if ledger.changes.is_empty() => {}
        None => check.add(
            Severity::Error,
            Some("CHANGES.json"),
            "the ledger records changes, but there is no CHANGES.json",
        ),
    }
    for (path, entries) in view.headers() {
        let Some(text) = entries.get("stablelm.changes") else {
            continue;
        };
        // The header was written first, so it may be shorter, but nothing else.
        match serde_json::from_str::<Vec<ChangeRecord>>(text) {
            Err(_) => check.add(
                Severity::Error,
                Some(path),
                "the header's record of changes can't be read",
            ),
            Ok(header) => {
                if let Err(error) = changes::verify(&header) {
                    check.add(
                        Severity::Error,
                        Some(path),
                        format!("in the header, {error}"),
                    );
                }
                if !is_prefix(&header, &ledger.changes) {
                    check.add(
                        Severity::Error,
                        Some(path),
                        "the header's record of changes is not the beginning of the ledger's",
                    );
                }
            }
        }
    }
    derived_without_record(view, &mut check);
    check
}

fn changes_file(check: &mut Check, text: &str, ledger: &[ChangeRecord]) {
    let file = Some("CHANGES.json");
    let Ok(found) = serde_json::from_str::<Vec<ChangeRecord>>(text) else {
        return check.add(Severity::Error, file, "CHANGES.json can't be read");
    };
    if let Err(error) = changes::verify(&found) {
        check.add(Severity::Error, file, error.to_string());
    }
    if !is_prefix(ledger, &found) {
        let reason = if is_prefix(&found, ledger) {
            "CHANGES.json lacks the newest changes of the ledger"
        } else {
            "the ledger's record of changes is not the beginning of CHANGES.json"
        };
        check.add(Severity::Error, file, reason);
    } else if found.len() > ledger.len() {
        check.add(
            Severity::Error,
            Some("ledger.json"),
            "the ledger lacks the newest changes of CHANGES.json",
        );
    }
}

fn derived_without_record(view: &View, check: &mut Check) {
    let Some((subject, ledger)) = view.subject().zip(view.ledger) else {
        return;
    };
    let is_recorded = ledger
        .changes
        .iter()
        .any(|change| matches!(change.kind, ChangeKind::Finetune | ChangeKind::Merge));
    for base in ledger.related(&subject.id, RelationKind::DerivedFrom) {
        if !is_recorded && base.creators != subject.creators {
            let reason = format!(
                "{} derives from {}, but no record says that it was fine-tuned or merged",
                subject.name, base.name
            );
            check.add(Severity::Review, Some("CHANGES.json"), reason);
        }
    }
}

/// SA-11: technical modifications make no adapted material.
pub(super) fn technical(view: &View) -> Check {
    let Some(ledger) = view.ledger else {
        return Check::absent();
    };
    if view.share_alike().is_empty() || ledger.changes.is_empty() || is_adapted(view) {
        return Check::absent();
    }
    let mut check = Check::of(
        "only technical modifications are recorded; the copy stays licensed material under its license",
    );
    let coarser = |change: &&ChangeRecord| change.kind == ChangeKind::Quantize;
    if let Some(change) = ledger.changes.iter().find(coarser) {
        let reason = format!(
            "whether `{}` is only a technical modification is open: {}",
            change.kind.name(),
            change.detail
        );
        check.add(Severity::Review, None, reason);
    } else if let Some(change) = ledger
        .changes
        .iter()
        .find(|change| change.kind == ChangeKind::Dtype)
    {
        let reason = format!(
            "a change of the number type is taken as technical; whether it always is, is open: {}",
            change.detail
        );
        check.add(Severity::Info, None, reason);
    }
    check
}

/// SA-12: what was adapted from share-alike material goes out under the same elements.
pub(super) fn outbound(view: &View) -> Check {
    let Some(subject) = view.subject() else {
        return Check::absent();
    };
    let bases = view.share_alike();
    if bases.is_empty() || !is_adapted(view) {
        return Check::absent();
    }
    let mut check = Check::of(format!("outbound license {}", subject.license));
    let Ok(outbound) = LicenseExpression::parse(&subject.license) else {
        check.add(
            Severity::Error,
            Some("ledger.json"),
            format!("`{}` is no license expression", subject.license),
        );
        return check;
    };
    for base in bases {
        let owns = !base.creators.is_empty() && base.creators == subject.creators;
        if owns {
            "OK-OWNER: the licensor of the base made the result".clone_into(&mut check.evidence);
            continue;
        }
        judge(&mut check, base, &outbound);
    }
    check
}

fn judge(check: &mut Check, base: &Component, outbound: &LicenseExpression) {
    let Ok(license) = LicenseExpression::parse(&base.license) else {
        return;
    };
    let report = adapts(&license, outbound);
    let severity = match report.verdict {
        Verdict::Ok | Verdict::Obligations => return,
        Verdict::Review => Severity::Review,
        Verdict::Unknown | Verdict::Conflict => Severity::Error,
    };
    let why = report
        .findings
        .first()
        .map_or(String::new(), |judgment| judgment.finding.reason.clone());
    let reason = format!("adapted from {}: {why}", base.name);
    check.add(severity, Some("ledger.json"), reason);
}

/// SA-13: the adapter's license is included.
pub(super) fn adapters_license(view: &View) -> Check {
    let Some(subject) = view.subject() else {
        return Check::absent();
    };
    if view.share_alike().is_empty() || !is_adapted(view) {
        return Check::absent();
    }
    let mut check = Check::of(format!("text or address of {}", subject.license));
    let address = subject.license_address().unwrap_or_default();
    let has_address = view
        .documents()
        .any(|(_, text)| !address.is_empty() && text.contains(&address));
    if view.license_files().next().is_none() && !has_address {
        let reason = format!(
            "neither the text of {} nor its address is there",
            subject.license
        );
        check.add(Severity::Error, Some("LICENSE"), reason);
    }
    check
}

/// True when the folder holds adapted material and not just a copy.
fn is_adapted(view: &View) -> bool {
    let changed = view.ledger.is_some_and(|ledger| {
        ledger.changes.iter().any(|change| {
            matches!(
                change.kind,
                ChangeKind::Finetune | ChangeKind::Merge | ChangeKind::Filter
            )
        })
    });
    changed || view.materials.len() > 1
}
