//! Citations in a card: entries of BibTeX between its code fences, or anywhere in the text.

use std::ops::Range;

use super::card::Card;
use super::report::{Report, Rule};
use crate::finding::Severity;

const SOURCE: &str = "https://ctan.org/pkg/bibtex";
const URL: Rule = Rule {
    id: "CARD-BIBTEX-URL",
    clause: "BibTeX, url",
    severity: Severity::Error,
    source: SOURCE,
};
const YEAR: Rule = Rule {
    id: "CARD-BIBTEX-YEAR",
    clause: "BibTeX, year",
    severity: Severity::Warning,
    source: SOURCE,
};
const KEY: Rule = Rule {
    id: "CARD-BIBTEX-KEY",
    clause: "BibTeX, citation key",
    severity: Severity::Warning,
    source: SOURCE,
};
const OPEN: Rule = Rule {
    id: "CARD-BIBTEX-OPEN",
    clause: "BibTeX",
    severity: Severity::Error,
    source: SOURCE,
};

const KINDS: [&str; 14] = [
    "article",
    "book",
    "booklet",
    "conference",
    "dataset",
    "inbook",
    "incollection",
    "inproceedings",
    "manual",
    "misc",
    "online",
    "software",
    "techreport",
    "unpublished",
];

/// Kinds of entry that are read without a year.
const UNDATED: [&str; 2] = ["booklet", "unpublished"];

pub(crate) fn lint(card: &Card<'_>, report: &mut Report<'_>) {
    let prose = card.prose();
    let mut is_first = true;
    for (at, _) in prose.match_indices('@') {
        is_first &= !entry(card.text, card.body.start + at, is_first, report);
    }
}

/// Looks one entry over, if the sign at this byte begins one; says whether it does. The first entry
/// is the card's own, and the maker knows its year.
fn entry(text: &str, at: usize, is_first: bool, report: &mut Report<'_>) -> bool {
    let rest = &text[at + 1..];
    let Some(open) = rest.find('{') else {
        return false;
    };
    let kind = rest[..open].trim().to_ascii_lowercase();
    if !KINDS.contains(&kind.as_str()) {
        return false;
    }
    let begin = at + 1 + open + 1;
    let Some(len) = closing(&text[begin..]) else {
        let reason = format!("the entry `@{kind}` has no end");
        report.add(OPEN, at, reason, "close its braces");
        return true;
    };
    let body = &text[begin..begin + len];
    let key = body.split(',').next().unwrap_or_default().trim();
    if key == "YourReferenceHere" || key.is_empty() {
        let reason = format!("the citation key is `{key}`, a placeholder");
        report.add(KEY, begin, reason, "name the work");
    }
    let fields = fields(body);
    let has = |names: &[&str]| {
        fields
            .iter()
            .any(|(name, _)| names.contains(&name.as_str()))
    };
    if !has(&["year", "date"]) && !UNDATED.contains(&kind.as_str()) {
        let reason = format!("the entry `{key}` has no year");
        let severity = if is_first {
            Severity::Warning
        } else {
            Severity::Info
        };
        let rule = Rule { severity, ..YEAR };
        report.add(rule, at, reason, "add `year={...}`");
    }
    for (name, value) in &fields {
        if matches!(name.as_str(), "url" | "howpublished" | "doi") {
            address(text, begin + value.start..begin + value.end, report);
        }
    }
    true
}

/// Returns how many bytes stand before the brace that closes an entry.
fn closing(body: &str) -> Option<usize> {
    let mut depth = 1_usize;
    for (at, character) in body.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

/// Returns the fields of an entry: their names in lower case, and where their values are.
fn fields(body: &str) -> Vec<(String, Range<usize>)> {
    let mut fields = Vec::new();
    let mut depth = 0_usize;
    let mut start = 0;
    let mut parts = Vec::new();
    for (at, character) in body.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(start..at);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(start..body.len());
    for part in parts {
        let Some((name, value)) = body[part.clone()].split_once('=') else {
            continue;
        };
        let begin = part.start + name.len() + 1;
        let trimmed = value.trim();
        let lead = value.len() - value.trim_start().len();
        let opened = trimmed.trim_start_matches(['{', '"']);
        let open = trimmed.len() - opened.len();
        let inner = opened.trim_end_matches(['}', '"']);
        let from = begin + lead + open;
        fields.push((name.trim().to_ascii_lowercase(), from..from + inner.len()));
    }
    fields
}

/// Finds `[address](address)` where an address belongs.
fn address(text: &str, range: Range<usize>, report: &mut Report<'_>) {
    let value = &text[range.clone()];
    let link = value.trim();
    let Some((shown, target)) = link
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(')'))
        .and_then(|rest| rest.split_once("]("))
    else {
        if link.contains("](") {
            let reason = format!("`{link}` is Markdown and no address");
            report.add(URL, range.start, reason, "write the address alone");
        }
        return;
    };
    let reason = format!("`{link}` is Markdown and no address");
    let is_address = |text: &str| {
        (text.starts_with("https://") || text.starts_with("http://"))
            && !text.contains(char::is_whitespace)
    };
    if is_address(target) && (shown == target || !is_address(shown)) {
        report.add_fix(URL, range, reason, target.to_owned());
    } else {
        report.add(URL, range.start, reason, "write the address alone");
    }
}
