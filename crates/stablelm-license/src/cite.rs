//! How to cite a model and its data: BibTeX, CITATION.cff 1.2.0 and the style of the APA.

use crate::component::{Author, Citation, Component, ComponentKind};
use crate::ledger::Ledger;
use crate::notice::licensed_material;
use crate::spdx;
use crate::text::{Page, one_line, yaml};

/// Returns BibTeX entries: the model and what it was derived from, then the data with a citation
/// of its own.
///
/// ```
/// use stablelm_license::{Ledger, Registry, cite_bibtex};
///
/// let registry = Registry::builtin();
/// let ledger = Ledger::for_model(registry.get("stablelm-3b-4e1t").expect("known"));
/// assert!(cite_bibtex(&ledger).starts_with("@misc{StableLM-3B-4E1T,\n"));
/// ```
pub fn cite_bibtex(ledger: &Ledger) -> String {
    let mut keys: Vec<String> = Vec::new();
    let mut page = Page::default();
    for component in cited(ledger) {
        let citation = component
            .citation
            .clone()
            .unwrap_or_else(|| citation_of(component));
        let key = bibtex_key(&citation.key);
        if keys.contains(&key) {
            continue;
        }
        if !keys.is_empty() {
            page.gap();
        }
        bibtex_entry(&mut page, &key, &citation);
        keys.push(key);
    }
    page.finish()
}

/// Returns `CITATION.cff` of version 1.2.0.
pub fn cite_cff(ledger: &Ledger) -> String {
    let subject = ledger.subject();
    let mut page = Page::default();
    page.line("cff-version: \"1.2.0\"");
    page.line("message: Please cite this work and the data it was made from as below.");
    page.line(if subject.is_some() {
        "type: software"
    } else {
        "type: dataset"
    });
    let own = subject.map(|subject| {
        subject
            .citation
            .clone()
            .unwrap_or_else(|| citation_of(subject))
    });
    page.line(&format!(
        "title: {}",
        yaml(own.as_ref().map_or(&ledger.title, |own| &own.title))
    ));
    cff_authors(&mut page, "", own.as_ref().map_or(&[], |own| &own.authors));
    if let Some(subject) = subject {
        cff_address(&mut page, "", "url", &subject.url);
        if is_cff_license(&subject.license) {
            page.line(&format!("license: {}", subject.license));
        } else if let Some(address) = subject.license_address() {
            cff_address(&mut page, "", "license-url", &address);
        }
        if let Some(day) = subject.released.as_deref().filter(|day| is_day(day)) {
            page.line(&format!("date-released: \"{day}\""));
        }
    }
    let mut references = cited(ledger)
        .into_iter()
        .filter(|found| Some(&found.id) != ledger.subject.as_ref())
        .peekable();
    if references.peek().is_some() {
        page.line("references:");
    }
    for component in references {
        cff_reference(&mut page, component);
    }
    page.finish()
}

/// Returns references in the style of the American Psychological Association, a line each.
///
/// ```
/// use stablelm_license::{Ledger, Registry, cite_apa};
///
/// let registry = Registry::builtin();
/// let ledger = Ledger::for_model(registry.get("stablelm-3b-4e1t").expect("known"));
/// assert!(cite_apa(&ledger).starts_with(
///     "Tow, J., Bellagente, M., Mahan, D., & Riquelme, C. (2023). StableLM 3B 4E1T \
///      [Large language model]. https://huggingface.co/"
/// ));
/// ```
pub fn cite_apa(ledger: &Ledger) -> String {
    let mut page = Page::default();
    let mut keys: Vec<String> = Vec::new();
    for component in cited(ledger) {
        let citation = component
            .citation
            .clone()
            .unwrap_or_else(|| citation_of(component));
        if keys.contains(&citation.key) {
            continue;
        }
        page.line(&apa_reference(component, &citation));
        keys.push(citation.key);
    }
    page.finish()
}

fn apa_reference(component: &Component, citation: &Citation) -> String {
    let mut names: Vec<String> = citation.authors.iter().map(apa_author).collect();
    if citation.others {
        names.push("et al.".to_owned());
    }
    let authors = match names.as_slice() {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] if citation.others => format!("{}, {last}", first.join(", ")),
        [first @ .., last] => format!("{}, & {last}", first.join(", ")),
    };
    let year = citation
        .year
        .map_or_else(|| "n.d.".to_owned(), |year| year.to_string());
    // A paper about the thing is no data set itself.
    let what = match component.kind {
        _ if citation.arxiv.is_some() => String::new(),
        ComponentKind::Weights => " [Large language model]".to_owned(),
        ComponentKind::Dataset => " [Data set]".to_owned(),
        ComponentKind::Tokenizer | ComponentKind::Code => " [Computer software]".to_owned(),
    };
    let publisher = match (&citation.institution, &citation.arxiv) {
        (Some(institution), _) => format!(" {institution}."),
        (None, Some(arxiv)) => format!(" arXiv:{arxiv}."),
        (None, None) => String::new(),
    };
    let stop = if authors.is_empty() || authors.ends_with('.') {
        ""
    } else {
        "."
    };
    let title = citation.title.trim_end_matches('.');
    let reference = if authors.is_empty() {
        format!("{title}{what}. ({year}).{publisher} {}", citation.url)
    } else {
        let end = if title.ends_with(['!', '?']) && what.is_empty() {
            ""
        } else {
            "."
        };
        format!(
            "{authors}{stop} ({year}). {title}{what}{end}{publisher} {}",
            citation.url
        )
    };
    one_line(&reference)
}

fn apa_author(author: &Author) -> String {
    match author {
        Author::Person { family, given } => {
            let initials: Vec<String> = given
                .split_whitespace()
                .filter_map(|name| name.chars().next())
                .map(|letter| format!("{letter}."))
                .collect();
            if initials.is_empty() {
                family.clone()
            } else {
                format!("{family}, {}", initials.join(" "))
            }
        }
        Author::Entity { name } => name.clone(),
    }
}

/// Returns what to cite: the licensed material, then datasets and their parts that ask for it.
fn cited(ledger: &Ledger) -> Vec<&Component> {
    let mut found = licensed_material(ledger);
    for dataset in ledger.datasets() {
        found.push(dataset);
        found.extend(
            ledger
                .parts(&dataset.id)
                .filter(|part| part.citation.is_some()),
        );
    }
    found
}

/// Makes a citation of what is known about a component.
fn citation_of(component: &Component) -> Citation {
    Citation {
        kind: "misc".to_owned(),
        key: component.id.clone(),
        authors: component
            .creators
            .iter()
            .map(|name| Author::Entity { name: name.clone() })
            .collect(),
        others: false,
        title: component.name.clone(),
        year: component.year,
        url: component.url.clone(),
        arxiv: None,
        institution: None,
    }
}

fn bibtex_entry(page: &mut Page, key: &str, citation: &Citation) {
    let kind: String = citation
        .kind
        .chars()
        .filter(char::is_ascii_alphabetic)
        .collect();
    page.line(&format!(
        "@{}{{{key},",
        if kind.is_empty() { "misc" } else { &kind }
    ));
    let mut authors: Vec<String> = citation.authors.iter().map(bibtex_author).collect();
    if citation.others {
        authors.push("others".to_owned());
    }
    if !authors.is_empty() {
        page.line(&format!("  author = {{{}}},", authors.join(" and ")));
    }
    page.line(&format!(
        "  title = {{{{{}}}}},",
        bibtex_text(&citation.title)
    ));
    if let Some(institution) = &citation.institution {
        page.line(&format!(
            "  institution = {{{}}},",
            bibtex_text(institution)
        ));
    }
    if let Some(year) = citation.year {
        page.line(&format!("  year = {{{year}}},"));
    }
    if let Some(arxiv) = &citation.arxiv {
        page.line(&format!("  eprint = {{{}}},", bibtex_address(arxiv)));
        page.line("  archiveprefix = {arXiv},");
    }
    if !citation.url.is_empty() {
        page.line(&format!("  url = {{{}}},", bibtex_address(&citation.url)));
    }
    page.line("}");
}

fn bibtex_author(author: &Author) -> String {
    match author {
        Author::Person { family, given } => {
            format!("{}, {}", bibtex_text(family), bibtex_text(given))
        }
        Author::Entity { name } => format!("{{{}}}", bibtex_text(name)),
    }
}

/// Returns text with BibTeX's own characters escaped; braces and backslashes are left out.
fn bibtex_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in one_line(text).chars() {
        match character {
            '{' | '}' | '\\' => {}
            '&' | '%' | '$' | '#' | '_' => {
                out.push('\\');
                out.push(character);
            }
            _ => out.push(character),
        }
    }
    out
}

fn bibtex_address(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_whitespace() && !c.is_control() && !matches!(c, '{' | '}' | '\\'))
        .collect()
}

fn bibtex_key(key: &str) -> String {
    key.chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':') {
                c
            } else {
                '-'
            }
        })
        .collect()
}

fn cff_authors(page: &mut Page, indent: &str, authors: &[Author]) {
    page.line(&format!("{indent}authors:"));
    for author in authors {
        match author {
            Author::Person { family, given } => {
                page.line(&format!("{indent}  - family-names: {}", yaml(family)));
                page.line(&format!("{indent}    given-names: {}", yaml(given)));
            }
            Author::Entity { name } => page.line(&format!("{indent}  - name: {}", yaml(name))),
        }
    }
    if authors.is_empty() {
        // The format asks for at least one.
        page.line(&format!("{indent}  - name: unknown"));
    }
}

fn cff_reference(page: &mut Page, component: &Component) {
    let citation = component
        .citation
        .clone()
        .unwrap_or_else(|| citation_of(component));
    let indent = "    ";
    page.line("  - type: data");
    page.line(&format!("{indent}title: {}", yaml(&citation.title)));
    cff_authors(page, indent, &citation.authors);
    if let Some(year) = citation.year {
        page.line(&format!("{indent}year: {year}"));
    }
    cff_address(page, indent, "url", &citation.url);
    if is_cff_license(&component.license) {
        page.line(&format!("{indent}license: {}", component.license));
    } else if let Some(address) = component.license_address() {
        cff_address(page, indent, "license-url", &address);
    }
    let others = if citation.others { " and others" } else { "" };
    let notes = format!("{}{others}; license: {}", component.name, component.license);
    page.line(&format!("{indent}notes: {}", yaml(&one_line(&notes))));
}

fn cff_address(page: &mut Page, indent: &str, key: &str, address: &str) {
    let is_web = address.starts_with("https://") || address.starts_with("http://");
    if is_web && !address.contains(|c: char| c.is_whitespace() || c.is_control()) {
        page.line(&format!("{indent}{key}: {}", yaml(address)));
    }
}

/// True for the identifiers we know that CFF 1.2.0 lists too; it takes no expressions.
fn is_cff_license(license: &str) -> bool {
    // Its list is older than this license.
    const TOO_NEW: &str = "CDLA-Permissive-2.0";
    spdx::is_plain_identifier(license)
        && spdx::hub_license_id(license).is_some()
        && license != TOO_NEW
}

fn is_day(text: &str) -> bool {
    text.len() == 10
        && text
            .bytes()
            .enumerate()
            .all(|(position, byte)| match position {
                4 | 7 => byte == b'-',
                _ => byte.is_ascii_digit(),
            })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Registry;

    #[test]
    fn text_cannot_leave_its_field() {
        let check = |text: &str, expected: &str| assert_eq!(bibtex_text(text), expected);
        check("A & B_1", "A \\& B\\_1");
        check("x}, url = {evil\\", "x, url = evil");
        assert_eq!(bibtex_address("https://a/b} c"), "https://a/bc");
        assert_eq!(bibtex_key("a b,c"), "a-b-c");
    }

    #[test]
    fn an_unknown_model_still_has_an_author_entry_in_cff() {
        let text = cite_cff(&Ledger::for_unknown("x"));
        assert!(text.contains("authors:\n  - name: unknown\n"), "{text}");
        assert!(!text.contains("license"), "{text}");
    }

    #[test]
    fn each_key_is_cited_once() {
        let registry = Registry::builtin();
        let text = cite_bibtex(&Ledger::for_model(
            registry.get("stablelm-3b-4e1t").expect("known"),
        ));
        for key in [
            "StableLM-3B-4E1T",
            "penedo2023refinedweb",
            "gao2020pile",
            "raffel2019exploring",
        ] {
            assert_eq!(text.matches(&format!("{{{key},")).count(), 1, "{key}");
        }
    }
}
