//! A model card as a whole: front matter, then Markdown.

use std::ops::Range;

use super::report::{HUB_SOURCE, Report, Rule, YAML_SOURCE};
use super::yaml::{self, Node};
use super::{bibtex, front, prose, text};
use crate::component::Component;
use crate::finding::Severity;
use crate::registry::Registry;
use crate::text::one_line;

const MISSING: Rule = Rule {
    id: "CARD-FRONT-MATTER",
    clause: "model card metadata",
    severity: Severity::Error,
    source: HUB_SOURCE,
};
const BROKEN: Rule = Rule {
    id: "CARD-YAML",
    clause: "YAML 1.2",
    severity: Severity::Error,
    source: YAML_SOURCE,
};

/// What the rules look at.
pub(crate) struct Card<'a> {
    /// The whole text.
    pub(crate) text: &'a str,
    /// The front matter, when it is a map.
    pub(crate) front: Option<&'a Node>,
    /// The bytes after the front matter.
    pub(crate) body: Range<usize>,
    /// The components we know.
    pub(crate) registry: &'a Registry,
    /// The component the card is about, if we know it.
    pub(crate) subject: Option<&'a Component>,
}

impl<'a> Card<'a> {
    pub(crate) fn prose(&self) -> &'a str {
        &self.text[self.body.clone()]
    }

    /// Returns the license the front matter names, if it names one.
    pub(crate) fn license(&self) -> Option<&'a str> {
        let mut licenses = self.front?.get("license")?.texts();
        match (licenses.next(), licenses.next()) {
            (Some((_, only)), None) => Some(only),
            _ => None,
        }
    }
}

pub(crate) fn lint(text: &str, report: &mut Report<'_>) {
    let (front, body) = split(text, report);
    let front = front.and_then(|range| read(text, range, report));
    let registry = Registry::builtin();
    let subject = subject(front.as_ref(), &text[body.clone()], &registry);
    let card = Card {
        text,
        front: front.as_ref(),
        body,
        registry: &registry,
        subject,
    };
    front::lint(&card, report);
    prose::lint(&card, report);
    bibtex::lint(&card, report);
    text::lint(text, 0..text.len(), report);
}

/// Returns the bytes of the front matter, between its lines of dashes, and those of the body.
fn split(text: &str, report: &mut Report<'_>) -> (Option<Range<usize>>, Range<usize>) {
    let start = if text.starts_with('\u{feff}') { 3 } else { 0 };
    let mut lines = text[start..].split_inclusive('\n');
    let first = lines.next().unwrap_or_default();
    if first.trim_end() != "---" {
        let reason = "the card has no front matter, so the hub shows no license".to_owned();
        report.add(
            MISSING,
            0,
            reason,
            "begin with `---`, `license: ...`, `---`",
        );
        return (None, start..text.len());
    }
    let begin = start + first.len();
    let mut end = begin;
    for line in lines {
        if line.trim_end() == "---" {
            return (Some(begin..end), end + line.len()..text.len());
        }
        end += line.len();
    }
    let reason = "the front matter has no end".to_owned();
    report.add(MISSING, start, reason, "end it by a line `---`");
    (None, start..text.len())
}

fn read(text: &str, range: Range<usize>, report: &mut Report<'_>) -> Option<Node> {
    match yaml::parse(&text[range.clone()], range.start) {
        Err(error) => {
            report.add(BROKEN, error.at, format!("not YAML: {}", error.message), "");
            None
        }
        Ok(Some(node)) if matches!(node.value, yaml::Value::Map(_)) => Some(node),
        Ok(_) => {
            let reason = "the front matter holds no keys".to_owned();
            report.add(MISSING, range.start, reason, "write `license: ...`");
            None
        }
    }
}

/// Finds the component by the card's title, else by the model it is based on.
fn subject<'r>(front: Option<&Node>, body: &str, registry: &'r Registry) -> Option<&'r Component> {
    let heading = body.lines().find_map(|line| line.strip_prefix("# "));
    let title = heading.map(|heading| one_line(&heading.replace(['`', '*'], "")));
    let by_title = title.and_then(|title| {
        let plain = title
            .strip_suffix("(converted)")
            .unwrap_or(&title)
            .trim_end();
        registry.get(plain)
    });
    by_title.or_else(|| {
        let (_, base) = front?.get("base_model")?.texts().next()?;
        registry.get(base)
    })
}
