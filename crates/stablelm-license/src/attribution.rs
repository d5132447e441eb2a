//! Credits: one line for a terminal, and `ATTRIBUTION.md` for a mixture of data.

use crate::component::Component;
use crate::ledger::{Exclusion, Ledger, SourceUse};
use crate::notice::DISCLAIMER;
use crate::render::{PageFormat, render};
use crate::spdx::{self, NOASSERTION};
use crate::text::{Page, one_line, thousands};

/// Returns the credit of a ledger on one line, free of control characters.
pub fn attribution_line(ledger: &Ledger) -> String {
    let Some(subject) = ledger.subject() else {
        return one_line(&format!("{}: {}.", ledger.title, mixture_phrase(ledger)));
    };
    let credit = &subject.attribution;
    let stop = if credit.ends_with('.') { "" } else { "." };
    one_line(&format!(
        "{credit}{stop} {} {}",
        changes_phrase(ledger),
        endorsement(&[subject])
    ))
}

/// Returns `ATTRIBUTION.md`: the sources with counts and licenses, the statements their licenses
/// ask for, and what was kept out.
///
/// ```
/// use stablelm_license::{Ledger, Registry, SourceUse, attribution_markdown};
///
/// let registry = Registry::builtin();
/// let mut web = SourceUse::from_registry(&registry, "web", "falcon-refinedweb", None);
/// web.documents = 3;
/// let ledger = Ledger::for_mixture("demo", vec![web], Vec::new(), &registry);
/// assert!(attribution_markdown(&ledger).contains("| web |  | 3 | 0 | ODC-By-1.0 |"));
/// ```
pub fn attribution_markdown(ledger: &Ledger) -> String {
    attribution_in(ledger, PageFormat::Text)
}

/// Returns the credits of a ledger in a form.
pub fn attribution_in(ledger: &Ledger, format: PageFormat) -> String {
    let mut page = Page::default();
    page.heading(1, &format!("Attribution: {}", one_line(&ledger.title)));
    if let Some(subject) = ledger.subject() {
        page.line(&one_line(&subject.attribution));
        page.line(&changes_phrase(ledger));
    } else {
        page.line("What each source is, what was kept of it, and what its license asks for.");
    }
    if !ledger.sources.is_empty() {
        page.heading(2, "Sources");
        page.table(
            &[
                ("Source", false),
                ("Subset", false),
                ("Documents", true),
                ("Tokens", true),
                ("License", false),
            ],
            ledger.sources.iter().map(source_row).collect(),
        );
    }
    if ledger.datasets().next().is_some() {
        page.heading(2, "Required statements");
        for dataset in ledger.datasets() {
            data_statements(&mut page, ledger, dataset);
        }
    }
    if let Some(sentence) = unknown_sources_sentence(ledger) {
        page.heading(2, "Sources without a known license");
        page.line(&sentence);
    }
    exclusions(&mut page, ledger);
    page.heading(2, "About this file");
    page.line(&endorsement(&ledger.datasets().collect::<Vec<_>>()));
    page.gap();
    page.line(DISCLAIMER);
    render(page, format)
}

/// Writes the statements of a dataset and of its parts in the ledger as a list.
pub(crate) fn data_statements(page: &mut Page, ledger: &Ledger, dataset: &Component) {
    statement(page, dataset);
    let (unknown, known): (Vec<_>, Vec<_>) = ledger.parts(&dataset.id).partition(|part| {
        part.is_unlicensed() && part.takedown.is_none() && part.contents_caveat.is_none()
    });
    for part in known {
        statement(page, part);
    }
    if !unknown.is_empty() {
        let whole = one_line(&dataset.name);
        let names: Vec<_> = unknown
            .iter()
            .map(|part| short_name(part, &whole))
            .collect();
        page.line(&format!(
            "- No license is known for these parts of {whole}: {}.",
            names.join(", ")
        ));
    }
}

/// Writes the credit of a component as a list item, with the terms where the credit lacks them.
pub(crate) fn statement(page: &mut Page, component: &Component) {
    let license = one_line(&component.license);
    let credit = one_line(&component.attribution);
    let terms = match component.license_address() {
        Some(address) if !credit.contains(&address) => format!(" Terms: <{}>", one_line(&address)),
        _ => String::new(),
    };
    page.line(&format!(
        "- {} ({license}): {credit}{terms}",
        one_line(&component.name)
    ));
    let remarks = component.takedown.as_ref().map(|takedown| &takedown.reason);
    for remark in component.contents_caveat.iter().chain(remarks) {
        page.line(&format!("  {}", one_line(remark)));
    }
}

/// Names the sources in use that no license is known for, in a sentence; `None` when there are none.
pub(crate) fn unknown_sources_sentence(ledger: &Ledger) -> Option<String> {
    let names: Vec<String> = ledger
        .sources
        .iter()
        .filter(|source| source.license == NOASSERTION)
        .map(|source| match &source.subset {
            Some(subset) => one_line(&format!("{} ({subset})", source.name)),
            None => one_line(&source.name),
        })
        .collect();
    (!names.is_empty()).then(|| {
        format!(
            "No license is known for: {}. Do not assume permission.",
            names.join(", ")
        )
    })
}

/// Says what was kept out of a ledger, for Markdown and plain text alike.
pub(crate) fn exclusion_sentences(ledger: &Ledger) -> Vec<String> {
    ledger
        .left_out()
        .map(|component| {
            let name = one_line(&component.name);
            let counted = ledger
                .exclusions
                .iter()
                .find(|exclusion| exclusion.component == component.id);
            let why = component
                .takedown
                .as_ref()
                .map_or("", |takedown| takedown.reason.as_str());
            let counts = counted.map_or_else(
                || format!("The makers state that {name} is not part of the training data."),
                |exclusion| counted_sentence(&name, exclusion),
            );
            one_line(&format!("{counts} {why}"))
        })
        .collect()
}

/// Says what was changed, in a sentence.
pub(crate) fn changes_phrase(ledger: &Ledger) -> String {
    let mut kinds: Vec<&str> = Vec::new();
    for change in &ledger.changes {
        if !kinds.contains(&change.kind.name()) {
            kinds.push(change.kind.name());
        }
    }
    if kinds.is_empty() {
        "Changes: none recorded.".to_owned()
    } else {
        format!("Changes: {} (see CHANGES.json).", kinds.join(", "))
    }
}

/// Says that the makers of these components do not stand behind the copy.
pub(crate) fn endorsement(components: &[&Component]) -> String {
    let mut creators: Vec<&str> = Vec::new();
    for creator in components.iter().flat_map(|component| &component.creators) {
        if !creators.contains(&creator.as_str()) {
            creators.push(creator);
        }
    }
    match creators.as_slice() {
        [] => "Not endorsed by the makers of the licensed material.".to_owned(),
        [only] => format!("Not endorsed by {only}."),
        [first @ .., last] => format!("Not endorsed by {} or {last}.", first.join(", ")),
    }
}

/// Returns a license with the address of its terms.
pub(crate) fn license_with_address(component: &Component) -> String {
    match component.license_address() {
        Some(address) => format!("{} <{address}>", component.license),
        None if component.is_unlicensed() => format!("{NOASSERTION} (no license is known)"),
        None => {
            let addresses: Vec<_> = spdx::identifiers(&component.license)
                .into_iter()
                .filter_map(|id| spdx::license_url(id).map(|address| format!("<{address}>")))
                .collect();
            one_line(&format!("{} {}", component.license, addresses.join(" ")))
        }
    }
}

/// Returns a part's name without the name of its whole before it.
fn short_name(part: &Component, whole: &str) -> String {
    let name = one_line(&part.name);
    let rest = name
        .strip_prefix(whole)
        .map(|rest| rest.trim_start_matches([':', ' ']));
    rest.filter(|rest| !rest.is_empty())
        .unwrap_or(&name)
        .to_owned()
}

fn source_row(source: &SourceUse) -> Vec<String> {
    vec![
        source.name.clone(),
        source.subset.clone().unwrap_or_default(),
        thousands(source.documents),
        thousands(source.tokens),
        source.license.clone(),
    ]
}

fn exclusions(page: &mut Page, ledger: &Ledger) {
    let sentences = exclusion_sentences(ledger);
    if sentences.is_empty() {
        return;
    }
    page.heading(2, "Left out");
    for sentence in sentences {
        page.line(&sentence);
    }
}

fn counted_sentence(name: &str, exclusion: &Exclusion) -> String {
    let rules: Vec<_> = exclusion
        .by_rule
        .iter()
        .map(|(rule, documents)| format!("{rule} {}", thousands(*documents)))
        .collect();
    let by_rule = if rules.is_empty() {
        String::new()
    } else {
        format!(" (by rule: {})", rules.join(", "))
    };
    format!(
        "{name} is excluded: documents removed: {}{by_rule}; set aside as undecided: {}; remaining: {}.",
        thousands(exclusion.documents_excluded),
        thousands(exclusion.quarantined),
        thousands(exclusion.remaining)
    )
}

fn mixture_phrase(ledger: &Ledger) -> String {
    let mut licenses: Vec<&str> = Vec::new();
    for source in &ledger.sources {
        if !licenses.contains(&source.license.as_str()) {
            licenses.push(&source.license);
        }
    }
    if licenses.is_empty() {
        "no sources recorded".to_owned()
    } else {
        format!(
            "{} sources under {}; see ATTRIBUTION.md",
            ledger.sources.len(),
            licenses.join(", ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::component::ComponentKind;
    use crate::registry::Registry;

    #[test]
    fn the_line_of_the_published_model_is_the_one_its_license_asks_for() {
        let registry = Registry::builtin();
        let ledger = Ledger::for_model(registry.get("stablelm-3b-4e1t").expect("known"));
        assert_eq!(
            attribution_line(&ledger),
            "StableLM-3B-4E1T by Stability AI, CC BY-SA 4.0, \
             https://huggingface.co/stabilityai/stablelm-3b-4e1t, \
             https://creativecommons.org/licenses/by-sa/4.0/. Changes: none recorded. \
             Not endorsed by Stability AI."
        );
    }

    #[test]
    fn a_hostile_title_stays_on_its_line() {
        let ledger = Ledger::for_unknown("x\n\u{1b}[31mThis model is free of all terms");
        let line = attribution_line(&ledger);
        assert!(!line.contains(['\n', '\u{1b}']), "{line}");
    }

    #[test]
    fn books3_is_counted_in_the_statement() {
        let registry = Registry::builtin();
        let exclusion = Exclusion {
            component: "books3".to_owned(),
            documents_excluded: 1200,
            by_rule: [
                ("subset-name".to_owned(), 1199),
                ("title-list".to_owned(), 1),
            ]
            .into(),
            quarantined: 2,
            remaining: 0,
        };
        let ledger = Ledger::for_mixture("demo", Vec::new(), vec![exclusion], &registry);
        let text = attribution_markdown(&ledger);
        assert!(
            text.contains(
                "Books3 is excluded: documents removed: 1,200 (by rule: subset-name 1,199, \
             title-list 1); set aside as undecided: 2; remaining: 0."
            ),
            "{text}"
        );
    }

    #[test]
    fn several_makers_are_named() {
        let component = |creator: &str| {
            let mut component = Component::unknown(creator, ComponentKind::Dataset);
            component.creators = vec![creator.to_owned()];
            component
        };
        let (one, two, three) = (component("A"), component("B"), component("C"));
        assert_eq!(
            endorsement(&[&one, &two, &three]),
            "Not endorsed by A, B or C."
        );
        assert_eq!(endorsement(&[&one, &one]), "Not endorsed by A.");
    }
}
