//! The text of a card: what its links and sentences say beside what the front matter says.

use std::ops::Range;

use super::card::Card;
use super::report::{HUB_SOURCE, Report, Rule};
use super::yaml::Node;
use crate::component::{ClaimKind, Component, ComponentKind, RelationKind};
use crate::finding::Severity;
use crate::spdx;

const CC_LINK: Rule = Rule {
    id: "CARD-CC-LINK",
    clause: "CC BY-SA 4.0, 3(a)(1)(C)",
    severity: Severity::Error,
    source: "https://creativecommons.org/licenses/by-sa/4.0/legalcode",
};
const PLAIN_HTTP: Rule = Rule {
    id: "LINK-HTTP",
    clause: "links",
    severity: Severity::Warning,
    source: "https://www.rfc-editor.org/rfc/rfc9110#section-4.2.2",
};
const NOT_IN_PROSE: Rule = Rule {
    id: "CARD-DATASET-PROSE",
    clause: "datasets",
    severity: Severity::Warning,
    source: HUB_SOURCE,
};
const NOT_IN_FRONT: Rule = Rule {
    id: "CARD-DATASET-FRONT",
    ..NOT_IN_PROSE
};
const BOOKS3: Rule = Rule {
    id: "CARD-BOOKS3",
    clause: "B3-01",
    severity: Severity::Error,
    source: "https://huggingface.co/datasets/the_pile_books3",
};
const REVISION: Rule = Rule {
    id: "CARD-CLAIM-REVISION",
    clause: "license",
    severity: Severity::Warning,
    source: HUB_SOURCE,
};

/// Hosts that answer on https.
const SECURE_HOSTS: [&str; 14] = [
    "arxiv.org",
    "creativecommons.org",
    "doi.org",
    "dx.doi.org",
    "github.com",
    "huggingface.co",
    "mlcommons.org",
    "opendatacommons.org",
    "opensource.org",
    "spdx.org",
    "stability.ai",
    "wandb.ai",
    "www.apache.org",
    "zenodo.org",
];

/// What says that something is not in the data.
const EXCLUDES: [&str; 12] = [
    "without",
    "exclud",
    "not include",
    "not part of",
    "not contain",
    "removed",
    "must be absent",
    "kept out",
    "left out",
    "except",
    "omit",
    "no books3",
];

/// Endings of dataset names that prose leaves out.
const ENDINGS: [&str; 6] = ["-1t", "-dev", "data", "-data", "-dataset", "_dataset"];

/// A name of fewer letters is found in too many words.
const MIN_STEM: usize = 4;

pub(crate) fn lint(card: &Card<'_>, report: &mut Report<'_>) {
    let links = links(card);
    cc_links(card, &links, report);
    plain_http(card, &links, report);
    datasets(card, &links, report);
    books3(card, report);
    revision(card, report);
}

/// Returns the bytes of every web address outside of code.
fn links(card: &Card<'_>) -> Vec<Range<usize>> {
    let mut links = Vec::new();
    let mut at = card.body.start;
    let mut in_code = false;
    for line in card.prose().split_inclusive('\n') {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        } else if !in_code {
            let mut from = 0;
            while let Some(start) = next_address(&line[from..]) {
                let start = from + start;
                let len = address_len(&line[start..]);
                links.push(at + start..at + start + len);
                from = start + len;
            }
        }
        at += line.len();
    }
    links
}

fn next_address(text: &str) -> Option<usize> {
    let secure = text.find("https://");
    let plain = text.find("http://");
    match (secure, plain) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

fn address_len(text: &str) -> usize {
    let end = |c: char| {
        c.is_whitespace() || matches!(c, ')' | '"' | '\'' | '<' | '>' | ']' | '`' | '}' | '|')
    };
    let len = text.find(end).unwrap_or(text.len());
    // The stop of a sentence is not part of an address; the scheme always stays.
    let trimmed = text[..len].trim_end_matches(['.', ',', ';', ':']).len();
    trimmed.max(text.find("//").map_or(1, |at| at + 2))
}

/// Finds links to a Creative Commons license that is not the card's own.
fn cc_links(card: &Card<'_>, links: &[Range<usize>], report: &mut Report<'_>) {
    let own = card
        .license()
        .and_then(spdx::spdx_from_hub_id)
        .and_then(|id| Some((id, terms_of(&spdx::license_url(id)?)?)));
    let Some((id, own)) = own else {
        return;
    };
    for link in links {
        let address = &card.text[link.clone()];
        let Some(linked) = terms_of(address) else {
            continue;
        };
        if linked == own || names_license(&shown_text(card.text, link), &linked) {
            continue;
        }
        let paragraph = paragraph(card, link.start);
        let reason = format!(
            "the link leads to CC {}, the front matter says {id}",
            linked.to_uppercase().replace('/', " ")
        );
        if names_license(paragraph, &own) || paragraph.contains(&own) {
            let at = link.start + address.find(&linked).unwrap_or_default();
            report.add_fix(CC_LINK, at..at + linked.len(), reason, own.clone());
        } else {
            let rule = Rule {
                severity: Severity::Warning,
                ..CC_LINK
            };
            report.add(
                rule,
                link.start,
                reason,
                "say in the text what is under that license",
            );
        }
    }
}

/// Returns `by-sa/4.0` of an address of a Creative Commons license.
pub(crate) fn terms_of(address: &str) -> Option<String> {
    let rest = address.split_once("creativecommons.org/licenses/")?.1;
    let mut parts = rest.split('/');
    let (terms, version) = (parts.next()?, parts.next()?);
    let version = version.split(['#', '?']).next().unwrap_or_default();
    let is_terms = terms.starts_with("by") || terms.starts_with("nc") || terms.starts_with("sa");
    (is_terms && version.starts_with(|c: char| c.is_ascii_digit()))
        .then(|| format!("{terms}/{version}"))
}

/// True when a text names a license of these terms, in any of the usual spellings.
fn names_license(text: &str, terms: &str) -> bool {
    let plain = |text: &str| -> String {
        text.chars()
            .filter(char::is_ascii_alphanumeric)
            .map(|c| c.to_ascii_lowercase())
            .collect()
    };
    plain(text).contains(&format!("cc{}", plain(terms)))
}

/// Returns what is shown for a link: `[text](address)` or `<a href="address">text</a>`.
fn shown_text(text: &str, link: &Range<usize>) -> String {
    let before = &text[..link.start];
    if let Some(rest) = before.strip_suffix("](") {
        return rest.rfind('[').map_or("", |at| &rest[at + 1..]).to_owned();
    }
    let after = &text[link.end..];
    match after.split_once('>') {
        Some((quote, rest)) if quote.trim_matches(['"', '\'']).len() < 40 => {
            rest.split('<').next().unwrap_or_default().to_owned()
        }
        _ => String::new(),
    }
}

/// Returns the paragraph or list item around a byte.
fn paragraph<'a>(card: &Card<'a>, at: usize) -> &'a str {
    let is_break = |line: &str| {
        let line = line.trim_start();
        line.is_empty() || line.starts_with(['-', '*', '+', '#', '|'])
    };
    let mut start = card.body.start;
    let mut line_start = card.body.start;
    for line in card.prose().split_inclusive('\n') {
        let line_end = line_start + line.len();
        if is_break(line) {
            if line_start > at {
                return &card.text[start..line_start];
            }
            start = line_start;
        }
        line_start = line_end;
    }
    &card.text[start..card.body.end]
}

fn plain_http(card: &Card<'_>, links: &[Range<usize>], report: &mut Report<'_>) {
    for link in links {
        let address = &card.text[link.clone()];
        let Some(rest) = address.strip_prefix("http://") else {
            continue;
        };
        let host = rest.split(['/', '?', '#', ':']).next().unwrap_or_default();
        let is_local = host == "localhost" || host.starts_with("127.");
        if is_local {
            continue;
        }
        let reason = format!("`{address}` is not encrypted");
        if SECURE_HOSTS.contains(&host) {
            let scheme = link.start..link.start + "http".len();
            report.add_fix(PLAIN_HTTP, scheme, reason, "https".to_owned());
        } else {
            report.add(
                PLAIN_HTTP,
                link.start,
                reason,
                "use https if the host answers on it",
            );
        }
    }
}

/// Compares the datasets of the front matter with those that the text names.
fn datasets(card: &Card<'_>, links: &[Range<usize>], report: &mut Report<'_>) {
    let listed: Vec<(&Node, &str)> = card
        .front
        .and_then(|front| front.get("datasets"))
        .map(|value| value.texts().collect())
        .unwrap_or_default();
    let letters = letters(card.prose());
    for (node, id) in &listed {
        if !names_dataset(card, &letters, id) {
            let reason = format!("the text says nothing about the dataset `{id}`");
            report.add(
                NOT_IN_PROSE,
                node.start,
                reason,
                "name it where the training data is described",
            );
        }
    }
    let is_listed = |id: &str| {
        listed
            .iter()
            .any(|(_, other)| other.eq_ignore_ascii_case(id))
    };
    let mut told: Vec<String> = Vec::new();
    let mut tell = |rule: Rule, at: usize, name: &str, id: &str, report: &mut Report<'_>| {
        if !is_listed(id) && !told.iter().any(|other| other.eq_ignore_ascii_case(id)) {
            told.push(id.to_owned());
            let reason = format!("the text names the dataset {name}, the front matter does not");
            report.add(rule, at, reason, &format!("add `{id}` to `datasets`"));
        }
    };
    for component in card.registry.components() {
        let is_whole = component.kind == ComponentKind::Dataset && component.part_of.is_none();
        let Some(id) = component.hf_id.as_deref().filter(|_| is_whole) else {
            continue;
        };
        if let Some(at) = find_name(card.prose(), &component.name) {
            tell(
                NOT_IN_FRONT,
                card.body.start + at,
                &component.name,
                id,
                report,
            );
        }
    }
    // What is linked may be an ancestor or an evaluation, and no part of the training data.
    let by_link = Rule {
        severity: Severity::Info,
        ..NOT_IN_FRONT
    };
    for link in links {
        let address = &card.text[link.clone()];
        let Some((_, id)) = address.split_once("huggingface.co/datasets/") else {
            continue;
        };
        let id: Vec<&str> = id.split(['/', '?', '#']).take(2).collect();
        if let [organization, name] = id[..] {
            let id = format!("{organization}/{name}");
            tell(by_link, link.start, &id, &id, report);
        }
    }
}

fn letters(text: &str) -> String {
    text.chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect()
}

fn names_dataset(card: &Card<'_>, prose: &str, id: &str) -> bool {
    let known = card.registry.get(id);
    let own = id.rsplit('/').next().unwrap_or(id);
    let names = std::iter::once(own).chain(known.into_iter().flat_map(|component| {
        std::iter::once(component.name.as_str()).chain(component.aliases.iter().map(String::as_str))
    }));
    names.into_iter().any(|name| {
        let lower = name.to_ascii_lowercase();
        let stem = ENDINGS.iter().fold(lower.as_str(), |name, ending| {
            name.strip_suffix(ending).unwrap_or(name)
        });
        let stem = letters(stem);
        stem.len() >= MIN_STEM && prose.contains(&stem)
    })
}

/// Finds a name that stands by itself, outside of a longer name.
fn find_name(prose: &str, name: &str) -> Option<usize> {
    prose.match_indices(name).map(|(at, _)| at).find(|at| {
        let is_part = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '/');
        let before = prose[..*at].chars().next_back();
        let mut after = prose[at + name.len()..].chars();
        let next = after.next();
        // `The Pile v2` and `The Pile: Wikipedia` are other datasets.
        let is_longer = prose[at + name.len()..].starts_with(" v2")
            || next == Some(':') && after.next() == Some(' ');
        !before.is_some_and(is_part) && !next.is_some_and(is_part) && !is_longer
    })
}

/// Compares what the sentences of a card say about Books3.
fn books3(card: &Card<'_>, report: &mut Report<'_>) {
    let lower = card.prose().to_ascii_lowercase();
    let mut excluded: Option<usize> = None;
    let mut included: Option<usize> = None;
    let mut narrow: Option<usize> = None;
    for (at, _) in lower.match_indices("books3") {
        let sentence = sentence(&lower, at);
        let is_address = lower[..at]
            .rfind(char::is_whitespace)
            .is_some_and(|space| lower[space..at].contains("://"));
        if is_address {
            continue;
        }
        if EXCLUDES.iter().any(|word| sentence.contains(word)) {
            excluded = excluded.or(Some(at));
            let is_subset = sentence.contains("without the") && sentence.contains("subset");
            if is_subset && !sentence.contains("other subsets") {
                narrow = narrow.or(Some(at));
            }
        } else {
            included = included.or(Some(at));
        }
    }
    if let Some(at) = included {
        let reason = match excluded {
            Some(_) => "one sentence says that Books3 is left out, this one that it is there",
            None => "the text names Books3, which was taken down, as if it were in the data",
        };
        report.add(
            BOOKS3,
            card.body.start + at,
            reason.to_owned(),
            "say which of them holds",
        );
    }
    let leaves_it_out = |component: &Component| {
        component
            .relations
            .iter()
            .any(|relation| relation.kind == RelationKind::Excludes && relation.to == "books3")
    };
    let known = card.subject.filter(|subject| leaves_it_out(subject));
    if let (Some(at), Some(subject)) = (narrow, known) {
        let rule = Rule {
            severity: Severity::Warning,
            source: "https://github.com/Stability-AI/StableLM",
            ..BOOKS3
        };
        let reason = format!(
            "the text leaves out the Books3 subset; the repository of {} says \"without Books3 \
             and other subsets\": two claims, neither with a proof",
            subject.name
        );
        report.add(
            rule,
            card.body.start + at,
            reason,
            "name the source and revision of the claim",
        );
    }
}

fn sentence(text: &str, at: usize) -> &str {
    let start = text[..at]
        .rfind(". ")
        .or_else(|| text[..at].rfind("\n\n"))
        .map_or(0, |found| found + 1);
    let start = text[..at]
        .rfind("\n\n")
        .map_or(start, |found| start.max(found));
    let end = [". ", ".\n", "\n\n"]
        .iter()
        .filter_map(|stop| text[at..].find(stop))
        .min()
        .map_or(text.len(), |found| at + found);
    &text[start..end]
}

/// A license that was declared differently at different times is a claim about one revision.
fn revision(card: &Card<'_>, report: &mut Report<'_>) {
    let (Some(front), Some(subject)) = (card.front, card.subject) else {
        return;
    };
    let Some((key, _)) = front.entry("license") else {
        return;
    };
    let declared: Vec<(&str, &str)> = subject
        .claims
        .iter()
        .filter(|claim| claim.kind == ClaimKind::Declared)
        .filter_map(|claim| Some((claim.value.as_str(), claim.revision.as_deref()?)))
        .collect();
    let Some((first, rest)) = declared.split_first() else {
        return;
    };
    let Some(other) = rest
        .iter()
        .find(|other| !other.0.eq_ignore_ascii_case(first.0))
    else {
        return;
    };
    let names_one = declared
        .iter()
        .any(|(_, revision)| card.text.contains(revision));
    if names_one {
        return;
    }
    // Of a copy, the claim is the license's own; of the model itself, it is the maker's.
    let is_copy = front.get("base_model").is_some_and(|base| {
        base.texts()
            .any(|(_, id)| Some(id) == subject.hf_id.as_deref())
    });
    let rule = Rule {
        severity: if is_copy {
            Severity::Info
        } else {
            Severity::Warning
        },
        ..REVISION
    };
    let reason = format!(
        "the license of {} was declared as `{}` at {} and as `{}` at {}; the card does not say \
         which revision it is about",
        subject.name, first.0, first.1, other.0, other.1
    );
    report.add(rule, key.start, reason, "name the revision and the day");
}
