//! Apache-2.0, MIT and BSD: license texts, notices and marked changes of what is in the folder.

use crate::component::Component;
use crate::finding::Severity;
use crate::terms::LicenseClass;
use crate::text::one_line;

use super::Check;
use super::share::kept_notices;
use super::view::{View, has_class};

fn under<'a>(view: &View<'a>, class: LicenseClass) -> Vec<&'a Component> {
    view.included()
        .into_iter()
        .filter(|component| has_class(component, &[class]))
        .collect()
}

/// True when one of the license texts, or `NOTICE`, holds all the words.
fn has_text(view: &View, words: &[&str]) -> bool {
    view.license_files()
        .chain(view.text("NOTICE").map(|text| ("NOTICE", text)))
        .any(|(_, text)| words.iter().all(|word| text.contains(word)))
}

/// AP-01: a copy of Apache-2.0.
pub(super) fn apache_copy(view: &View) -> Check {
    let found = under(view, LicenseClass::Apache);
    let Some(component) = found.first() else {
        return Check::absent();
    };
    let mut check = Check::of("a copy of the license");
    if !has_text(view, &["Apache License", "Version 2.0"]) {
        let reason = format!("no copy of Apache-2.0 goes with {}", component.name);
        check.add(
            Severity::Obligation,
            Some("LICENSES/Apache-2.0.txt"),
            reason,
        );
    }
    check
}

/// AP-02: what the upstream NOTICE says.
pub(super) fn apache_notice(view: &View) -> Check {
    let found = under(view, LicenseClass::Apache);
    if found.is_empty() {
        return Check::absent();
    }
    let mut check = Check::of("NOTICE credits it");
    let text = view.text("NOTICE").unwrap_or_default();
    for component in found {
        if !text.contains(&one_line(&component.name)) {
            let reason = format!("NOTICE does not mention {}", component.name);
            check.add(Severity::Warning, Some("NOTICE"), reason);
        }
    }
    check
}

/// AP-03: changed files say so.
pub(super) fn apache_changes(view: &View) -> Check {
    let is_changed = view.ledger.is_some_and(|ledger| !ledger.changes.is_empty());
    let subject = view
        .subject()
        .filter(|subject| has_class(subject, &[LicenseClass::Apache]));
    let Some(subject) = subject.filter(|_| is_changed) else {
        return Check::absent();
    };
    let mut check = Check::of("CHANGES.json says what was changed");
    if view.text("CHANGES.json").is_none() {
        let reason = format!("{} was changed, and no CHANGES.json says so", subject.name);
        check.add(Severity::Error, Some("CHANGES.json"), reason);
    }
    check
}

/// AP-04: copyright and attribution notices stay.
pub(super) fn apache_notices_kept(view: &View) -> Check {
    kept_notices(view, &under(view, LicenseClass::Apache))
}

/// MB-01: the copyright notice stays.
pub(super) fn notice_kept(view: &View) -> Check {
    let found = under(view, LicenseClass::Permissive);
    if found.is_empty() {
        return Check::absent();
    }
    let mut check = Check::of("copyright notices kept");
    for component in found {
        if component.copyright.is_empty() {
            let reason = format!("the ledger holds no copyright notice of {}", component.name);
            check.add(Severity::Obligation, Some("ledger.json"), reason);
        }
        for line in &component.copyright {
            if !has_text(view, &[line]) {
                let reason = format!(
                    "the copyright notice of {} is gone: \"{}\"",
                    component.name,
                    one_line(line)
                );
                check.add(Severity::Error, Some("NOTICE"), reason);
            }
        }
    }
    check
}

/// MB-02: the permission stays.
pub(super) fn permission_kept(view: &View) -> Check {
    let found = under(view, LicenseClass::Permissive);
    let Some(component) = found.first() else {
        return Check::absent();
    };
    let mut check = Check::of("the license text is there");
    let is_there = [
        "Permission is hereby granted",
        "Redistribution and use",
        "Permission to use, copy, modify",
        "Permission is granted to anyone",
    ]
    .iter()
    .any(|words| has_text(view, &[words]));
    if !is_there {
        let reason = format!(
            "the text of {} does not go with {}",
            component.license, component.name
        );
        check.add(Severity::Obligation, Some("LICENSE"), reason);
    }
    check
}
