//! ODC-By 1.0, CC BY-SA 4.0 section 4, and the Terms of Use of The Stack.

use crate::component::Component;
use crate::finding::Severity;
use crate::terms::LicenseClass;
use crate::text::one_line;

use super::Check;
use super::share::kept_notices;
use super::view::View;

fn databases<'a>(view: &View<'a>) -> Vec<&'a Component> {
    view.data_under(LicenseClass::DatabaseAttribution)
}

/// SA-14: a database with a substantial part of a share-alike database is share-alike.
pub(super) fn share_alike(view: &View) -> Check {
    let wholes: Vec<_> = view
        .data_under(LicenseClass::ShareAlike)
        .into_iter()
        .filter(|component| component.part_of.is_none())
        .collect();
    if !view.is_data() || wholes.is_empty() {
        return Check::absent();
    }
    let mut check = Check::of(format!("{} share-alike databases", wholes.len()));
    if let Some(other) = databases(view).first() {
        let reason = format!(
            "{} asks for share-alike and {} for ODC-By; the merged database can't keep both",
            wholes[0].name, other.name
        );
        check.add(Severity::Review, Some("ledger.json"), reason);
    }
    check
}

/// OB-01: a derivative database goes out under ODC-By.
pub(super) fn only_odc_by(view: &View) -> Check {
    let sources = databases(view);
    if !view.is_data() || sources.is_empty() {
        return Check::absent();
    }
    let mut check = Check::of("ODC-By-1.0 among the licenses in croissant.json");
    let Some(text) = view.text("croissant.json") else {
        check.add(
            Severity::Obligation,
            Some("croissant.json"),
            "nothing says under which license the data goes out",
        );
        return check;
    };
    if !names_odc_by(text) {
        let reason = format!(
            "croissant.json does not name ODC-By, which {} asks for",
            sources[0].name
        );
        check.add(Severity::Error, Some("croissant.json"), reason);
    }
    check
}

/// OB-02: the license or its address, in the data and in the documents.
pub(super) fn license_address(view: &View) -> Check {
    let sources = databases(view);
    if !view.is_data() || sources.is_empty() {
        return Check::absent();
    }
    let mut check = Check::of("the address of ODC-By in ATTRIBUTION.md and croissant.json");
    for name in ["ATTRIBUTION.md", "croissant.json"] {
        let is_there = view.text(name).is_some_and(names_odc_by);
        if !is_there {
            let reason = format!("{name} holds neither the text nor the address of ODC-By");
            check.add(Severity::Error, Some(name), reason);
        }
    }
    check
}

fn names_odc_by(text: &str) -> bool {
    text.contains("opendatacommons.org/licenses/by/") || text.contains("ODC-By-1.0")
}

/// OB-03: notices stay as they were.
pub(super) fn notices(view: &View) -> Check {
    kept_notices(view, &databases(view))
}

/// OB-04: notices stand where people look.
pub(super) fn notices_place(view: &View) -> Check {
    if databases(view).is_empty() {
        return Check::absent();
    }
    let mut check = Check::of("ATTRIBUTION.md or NOTICE at the top of the folder");
    if view.credits().is_none() {
        check.add(
            Severity::Error,
            None,
            "neither ATTRIBUTION.md nor NOTICE is at the top of the folder",
        );
    }
    check
}

/// OB-05: the sentence for works produced from a database.
pub(super) fn produced_work(view: &View) -> Check {
    let sources = databases(view);
    if sources.is_empty() {
        return Check::absent();
    }
    let mut check = Check::of(format!("{} statements of section 4.3", sources.len()));
    let (name, text) = document(view);
    for source in sources {
        if !text.contains(&one_line(&source.attribution)) {
            let reason = format!(
                "{name} lacks the statement about {}: \"{}\"",
                source.name,
                one_line(&source.attribution)
            );
            check.add(Severity::Error, Some(name), reason);
        }
    }
    check
}

/// OB-06: the contents have rights of their own.
pub(super) fn contents(view: &View) -> Check {
    let sources = databases(view);
    if sources.is_empty() {
        return Check::absent();
    }
    let mut check = Check::of("a caveat about the contents of each database");
    let (name, text) = document(view);
    for source in sources {
        match &source.contents_caveat {
            None => check.add(
                Severity::Warning,
                Some("ledger.json"),
                format!("nothing is said about the contents of {}", source.name),
            ),
            Some(caveat) if !text.contains(&one_line(caveat)) => check.add(
                Severity::Error,
                Some(name),
                format!(
                    "{name} does not say that the contents of {} keep their rights",
                    source.name
                ),
            ),
            Some(_) => {}
        }
    }
    check
}

/// The document that names the data: `ATTRIBUTION.md` of prepared data, `NOTICE` of a model.
fn document<'a>(view: &View<'a>) -> (&'static str, &'a str) {
    let name = if view.is_data() {
        "ATTRIBUTION.md"
    } else {
        "NOTICE"
    };
    (name, view.text(name).unwrap_or_default())
}

fn stack<'a>(view: &View<'a>) -> Vec<&'a Component> {
    view.data_under(LicenseClass::StackTerms)
}

/// TS-01: the license and the origin of each file stay with its row.
pub(super) fn per_file(view: &View) -> Check {
    let sources = stack(view);
    let Some(source) = sources.first() else {
        return Check::absent();
    };
    let mut check = Check::of("each row names its source and path, and the credit is given");
    let (name, text) = document(view);
    if !text.contains(&one_line(&source.attribution)) {
        let reason = format!("{name} lacks the credit of {}", source.name);
        check.add(Severity::Error, Some(name), reason);
    }
    let has_rows = view
        .release
        .files
        .keys()
        .any(|path| path.ends_with(".documents.parquet"));
    if view.is_data() && !has_rows {
        check.add(
            Severity::Error,
            None,
            "no `.documents.parquet` keeps the origin and license of each row",
        );
    }
    check
}

/// TS-02: the version of the dataset is on record, so that its age can be seen.
pub(super) fn newest_version(view: &View) -> Check {
    let sources = stack(view);
    if !view.is_data() || sources.is_empty() {
        return Check::absent();
    }
    let mut check = Check::of("the revision of the dataset is in the ledger");
    for source in sources {
        if source.claims.iter().all(|claim| claim.revision.is_none()) {
            let reason = format!(
                "the ledger records no revision of {}, so nobody can tell whether removals were followed",
                source.name
            );
            check.add(Severity::Warning, Some("ledger.json"), reason);
        }
    }
    check
}

/// TS-03: the terms go along, and recipients agree to them.
pub(super) fn terms_shipped(view: &View) -> Check {
    if !view.is_data() || stack(view).is_empty() {
        return Check::absent();
    }
    let mut check = Check::of("the Terms of Use are in the folder");
    let is_there = view
        .release
        .files
        .keys()
        .chain(view.release.texts.keys())
        .any(|path| {
            let lower = path.to_ascii_lowercase();
            lower.contains("terms") || lower.contains("tou")
        });
    if !is_there {
        check.add(
            Severity::Obligation,
            None,
            "before hosting this data for others, ship the Terms of Use of The Stack and have users agree",
        );
    }
    check
}
