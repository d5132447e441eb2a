//! CC BY-SA 4.0, section 3(a): credit, notices, the license and its address.

use crate::component::Component;
use crate::finding::Severity;
use crate::front_matter::FrontMatter;
use crate::spdx;
use crate::text::one_line;

use super::Check;
use super::view::{View, place_at, place_of};

/// SA-01: the creators are named.
pub(super) fn creators(view: &View) -> Check {
    if view.is_data() {
        return data_credits(view);
    }
    let materials = view.credited();
    let Some(subject) = materials.first() else {
        return Check::absent();
    };
    let mut check = Check::of(format!(
        "{} named in NOTICE, card and headers",
        one_line(&subject.creators_phrase())
    ));
    for material in &materials {
        if material.creators.is_empty() {
            let reason = format!("the ledger names no creator of {}", material.name);
            check.add(Severity::Review, Some("ledger.json"), reason);
        }
        for creator in material
            .creators
            .iter()
            .filter(|name| !view.is_to_be_removed(name))
        {
            let is_subject = view
                .subject()
                .is_some_and(|subject| subject.id == material.id);
            in_documents(view, &mut check, material, creator, is_subject);
        }
    }
    check
}

fn in_documents(
    view: &View,
    check: &mut Check,
    material: &Component,
    creator: &str,
    is_subject: bool,
) {
    let name = one_line(creator);
    let wanted: &[&str] = if is_subject {
        &["NOTICE", "README.md"]
    } else {
        &["NOTICE"]
    };
    for document in wanted {
        let text = view.text(document);
        let body = text.map(|text| FrontMatter::split(text).map_or(text, |(_, body)| body));
        match body {
            Some(body) if body.contains(&name) => {}
            Some(_) => check.add(
                Severity::Error,
                Some(document),
                format!(
                    "{document} does not name {name}, creator of {}",
                    material.name
                ),
            ),
            None => check.add(
                Severity::Error,
                Some(document),
                format!(
                    "there is no {document} to name {name}, creator of {}",
                    material.name
                ),
            ),
        }
    }
    if !is_subject {
        return;
    }
    for (path, entries) in view.headers() {
        if !entries.values().any(|value| value.contains(&name)) {
            let reason = format!(
                "the header does not name {name}, creator of {}",
                material.name
            );
            check.add(Severity::Error, Some(path), reason);
        }
    }
}

fn data_credits(view: &View) -> Check {
    use crate::terms::LicenseClass::{Attribution, ShareAlike};
    let mut sources = view.data_under(ShareAlike);
    sources.extend(view.data_under(Attribution));
    if sources.is_empty() {
        return Check::absent();
    }
    let mut check = Check::of(format!("{} credits in ATTRIBUTION.md", sources.len()));
    let (name, text) = view.credits().unwrap_or(("ATTRIBUTION.md", ""));
    for source in sources
        .into_iter()
        .filter(|source| !source.attribution.is_empty())
    {
        let credit = one_line(&source.attribution);
        if !text.contains(&credit) && !view.is_to_be_removed(&credit) {
            let reason = format!("{name} lacks the credit of {}: \"{credit}\"", source.name);
            check.add(Severity::Error, Some(name), reason);
        }
    }
    check
}

/// SA-02: copyright notices are kept byte for byte.
pub(super) fn copyrights(view: &View) -> Check {
    kept_notices(view, &view.credited())
}

/// Looks for copyright notices in `NOTICE`.
pub(super) fn kept_notices(view: &View, components: &[&Component]) -> Check {
    let notices: Vec<(&Component, &String)> = components
        .iter()
        .flat_map(|component| {
            component
                .copyright
                .iter()
                .map(move |line| (*component, line))
        })
        .filter(|(_, line)| !view.is_to_be_removed(line))
        .collect();
    if notices.is_empty() {
        return Check::absent();
    }
    let mut check = Check::of(format!("{} copyright notices in NOTICE", notices.len()));
    let text = view.text("NOTICE").unwrap_or_default();
    for (component, line) in notices {
        if !text.contains(line.as_str()) {
            let reason = format!(
                "NOTICE lacks the copyright notice of {}: \"{}\"",
                component.name,
                one_line(line)
            );
            check.add(Severity::Error, Some("NOTICE"), reason);
        }
    }
    check
}

/// SA-03: a notice refers to the license.
pub(super) fn license_notice(view: &View) -> Check {
    in_notice(view, "the license", |material, text| {
        text.contains(&one_line(&material.license))
            || material
                .license_address()
                .is_some_and(|address| text.contains(&address))
    })
}

/// SA-04: a notice refers to the disclaimer of warranties.
pub(super) fn warranty_notice(view: &View) -> Check {
    in_notice(view, "the disclaimer of warranties of", |_, text| {
        text.to_lowercase().contains("disclaimer of warranties")
    })
}

/// SA-05: the address of the licensed material.
pub(super) fn source_address(view: &View) -> Check {
    in_notice(view, "the address of", |material, text| {
        material.url.is_empty()
            || view.is_to_be_removed(&material.url)
            || text.contains(&one_line(&material.url))
    })
}

fn in_notice(view: &View, what: &str, is_there: impl Fn(&Component, &str) -> bool) -> Check {
    let materials = view.credited();
    if materials.is_empty() {
        return Check::absent();
    }
    let Some(text) = view.text("NOTICE") else {
        let mut check = Check::of("NOTICE");
        check.add(
            Severity::Error,
            Some("NOTICE"),
            format!(
                "there is no NOTICE to refer to {what} {}",
                materials[0].name
            ),
        );
        return check;
    };
    let mut check = Check::of("NOTICE refers to it");
    for material in materials {
        if !is_there(material, text) {
            let reason = format!("NOTICE does not refer to {what} {}", material.name);
            check.add(Severity::Error, Some("NOTICE"), reason);
        }
    }
    check
}

/// SA-07: the license is named, with its text or address, and never another one.
pub(super) fn license(view: &View) -> Check {
    let materials = view.credited();
    let Some(subject) = materials.first() else {
        return Check::absent();
    };
    let mut check = Check::of(format!(
        "{} named, text or address included",
        subject.license
    ));
    let address = subject.license_address().unwrap_or_default();
    let has_text = view
        .license_files()
        .any(|(_, text)| !text.trim().is_empty());
    let has_address = view
        .documents()
        .any(|(_, text)| !address.is_empty() && text.contains(&address));
    if !has_text && !has_address {
        let reason = format!(
            "neither the text of {} nor its address {address} is there",
            subject.license
        );
        check.add(Severity::Error, Some("LICENSE"), reason);
    }
    let allowed = allowed_licenses(view);
    for (name, text) in view.documents() {
        for (at, found) in creative_commons_links(text) {
            if !allowed.iter().any(|known| same_terms(known, found)) {
                let reason = format!(
                    "links https://creativecommons.org/licenses/{found}, which is no license of \
                     anything here; {} is at {address}",
                    subject.license
                );
                check.add_at(
                    Severity::Error,
                    Some(name),
                    Some(place_at(text, at)),
                    reason,
                );
            }
        }
    }
    for (path, entries) in view.headers() {
        for found in entries
            .values()
            .flat_map(|value| creative_commons_links(value))
        {
            if !allowed.iter().any(|known| same_terms(known, found.1)) {
                let reason = format!(
                    "the header links https://creativecommons.org/licenses/{}, which is no license \
                     of anything here",
                    found.1
                );
                check.add(Severity::Error, Some(path), reason);
            }
        }
    }
    declared(view, &mut check);
    check
}

/// Compares what the card and the headers declare with the ledger.
fn declared(view: &View, check: &mut Check) {
    let Some(subject) = view.subject() else {
        return;
    };
    let differs = |value: &str| {
        let known = crate::terms::term(value);
        let both_unknown = known.is_unknown() && subject.is_unlicensed();
        known.id != subject.license && !both_unknown && !subject.license.contains(' ')
    };
    if let Some(readme) = view.text("README.md")
        && let Some((front, _)) = FrontMatter::split(readme)
        && let Some(value) = front.first("license")
        && value != "other"
        && differs(value)
    {
        let reason = format!(
            "the card says `{value}`, the ledger says {}",
            subject.license
        );
        let place = place_of(readme, "license:");
        check.add_at(Severity::Error, Some("README.md"), place, reason);
    }
    for (path, entries) in view.headers() {
        for key in ["license", "modelspec.license"] {
            if let Some(value) = entries.get(key).filter(|value| differs(value)) {
                let reason = format!(
                    "the header's `{key}` says `{value}`, the ledger says {}",
                    subject.license
                );
                check.add(Severity::Error, Some(path), reason);
            }
        }
    }
}

/// Returns the paths below `creativecommons.org/licenses/` that a component may be linked by.
fn allowed_licenses(view: &View) -> Vec<String> {
    let components = view.ledger.map_or(&[][..], |ledger| &ledger.components);
    components
        .iter()
        .flat_map(|component| {
            let usual = spdx::identifiers(&component.license)
                .into_iter()
                .filter_map(spdx::license_url);
            let texts = [&component.attribution].into_iter().cloned();
            usual.chain(component.license_address()).chain(texts)
        })
        .flat_map(|address| {
            creative_commons_links(&address)
                .map(|(_, path)| path.to_owned())
                .collect::<Vec<_>>()
        })
        .collect()
}

/// True when two paths such as `by-sa/4.0` name the same terms; without a version, any version.
fn same_terms(known: &str, found: &str) -> bool {
    let split = |path: &str| {
        let (terms, version) = path.split_once('/').unwrap_or((path, ""));
        (terms.to_ascii_lowercase(), version.to_owned())
    };
    let (known, found) = (split(known), split(found));
    known.0 == found.0 && (found.1.is_empty() || known.1 == found.1)
}

/// Returns the Creative Commons licenses that a text links, as `by-sa/4.0`, with their place.
fn creative_commons_links(text: &str) -> impl Iterator<Item = (usize, &str)> {
    const BASE: &str = "creativecommons.org/licenses/";
    text.match_indices(BASE).map(move |(at, _)| {
        let rest = &text[at + BASE.len()..];
        let end = |text: &str| {
            text.find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '.'))
                .unwrap_or(text.len())
        };
        let terms = end(rest);
        let version = rest[terms..]
            .strip_prefix('/')
            .map(|rest| &rest[..end(rest)])
            .filter(|version| version.starts_with(|c: char| c.is_ascii_digit()));
        let len = version.map_or(terms, |version| {
            terms + 1 + version.trim_end_matches('.').len()
        });
        (at, rest[..len].trim_end_matches('.'))
    })
}
