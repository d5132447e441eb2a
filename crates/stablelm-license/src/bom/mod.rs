//! Bills of materials: what a model or a data set is made of, in the formats of SPDX, `CycloneDX`
//! and REUSE.
//!
//! Each is a function of a ledger, of the files beside it and of the date it is given. What nobody
//! knows is said to be unknown: no license, date, maker or address is made up. Data that was taken
//! down or left out is in none of them as a part.

mod cyclonedx;
mod files;
mod reuse;
mod spdx3;
mod terms;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::card::ModelFacts;
use crate::changes::sha256_hex;
use crate::component::{Claim, Component, ComponentKind};
use crate::ledger::Ledger;
use crate::release::ReleaseFile;
use crate::spdx::NOASSERTION;
use crate::text::one_line;

pub use cyclonedx::{CycloneDxVersion, bom_cyclonedx};
pub use files::is_about_the_folder;
pub use reuse::{ReuseLayout, reuse_layout};
pub use spdx3::bom_spdx3;

/// What a bill of materials says beside its ledger.
#[derive(Clone, Debug, Default)]
pub struct BomContext {
    /// When the document is made: `YYYY-MM-DDThh:mm:ssZ`.
    pub created: String,
    /// The version of the program that makes it.
    pub tool_version: String,
    /// The files it goes with, by path relative to their folder; those about the folder itself
    /// ([`is_about_the_folder`]) are passed over.
    pub files: BTreeMap<String, ReleaseFile>,
    /// What is known of the model.
    pub facts: ModelFacts,
}

impl BomContext {
    /// Returns the files that documents list.
    fn listed(&self) -> impl Iterator<Item = (&str, &ReleaseFile)> {
        self.files
            .iter()
            .map(|(path, file)| (path.as_str(), file))
            .filter(|(path, _)| !is_about_the_folder(path))
    }

    /// Returns the file that holds all weights, if one does.
    fn weights(&self) -> Option<&ReleaseFile> {
        let mut found = self
            .listed()
            .filter(|(path, _)| has_ending(path, &[".safetensors", ".gguf"]));
        let (_, first) = found.next()?;
        found.next().is_none().then_some(first)
    }

    /// Returns a UUID (RFC 9562, version 8) that is the same for the same ledger, files and date.
    fn uuid(&self, ledger: &Ledger, kind: &str) -> String {
        let mut seed = format!("{kind}\n{}\n{}\n", self.created, ledger.to_json());
        for (path, file) in self.listed() {
            seed.push_str(&format!("{}  {path}\n", file.sha256));
        }
        let hash = sha256_hex(seed.as_bytes());
        format!(
            "{}-{}-8{}-8{}-{}",
            &hash[..8],
            &hash[8..12],
            &hash[12..15],
            &hash[15..18],
            &hash[18..30]
        )
    }
}

/// True for a path with one of these endings, as written.
fn has_ending(path: &str, endings: &[&str]) -> bool {
    endings.iter().any(|ending| path.ends_with(ending))
}

/// A JSON object that leaves out what is empty.
#[derive(Default)]
struct Object(Map<String, Value>);

impl Object {
    fn put(mut self, key: &str, value: impl Into<Value>) -> Object {
        let value = value.into();
        let is_empty = match &value {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Array(items) => items.is_empty(),
            Value::Object(fields) => fields.is_empty(),
            Value::Bool(_) | Value::Number(_) => false,
        };
        if !is_empty {
            self.0.insert(key.to_owned(), value);
        }
        self
    }

    fn build(self) -> Value {
        Value::Object(self.0)
    }
}

/// Returns a document as text, one field a line.
fn to_text(document: &Value) -> String {
    let mut text = serde_json::to_string_pretty(document).expect("a JSON value always prints");
    text.push('\n');
    text
}

/// Returns the components that are in use: neither left out nor taken down.
///
/// A source of a mixture that is no known component becomes one of which only its name is known.
fn in_use(ledger: &Ledger) -> Vec<Component> {
    let mut found: Vec<Component> = ledger
        .components
        .iter()
        .filter(|component| is_in_use(ledger, component))
        .cloned()
        .collect();
    for source in ledger.sources.iter().filter(|one| one.component.is_none()) {
        let mut own = Component::unknown(&source.name, ComponentKind::Dataset);
        own.id = format!("source-{}", source.name);
        own.license.clone_from(&source.license);
        if !found.iter().any(|component| component.id == own.id) {
            found.push(own);
        }
    }
    found
}

fn is_in_use(ledger: &Ledger, component: &Component) -> bool {
    let is_left_out = ledger.left_out().any(|left| left.id == component.id);
    !is_left_out && component.takedown.is_none()
}

/// Returns an address that can be followed and stands in a document as it is.
fn web_address(address: &str) -> Option<&str> {
    let is_web = address.starts_with("https://") || address.starts_with("http://");
    let is_plain = address.chars().all(|c| {
        c.is_ascii_graphic() && !matches!(c, '"' | '<' | '>' | '\\' | '^' | '`' | '{' | '|' | '}')
    });
    // A bracket may only stand in an address of numbers, a percent sign only before two digits.
    let has_oddities = address.contains(['[', ']', '%']) || address.matches('#').count() > 1;
    let has_host = address
        .split_once("://")
        .is_some_and(|(_, rest)| rest.starts_with(|c: char| c.is_ascii_alphanumeric()));
    (is_web && is_plain && has_host && !has_oddities).then_some(address)
}

/// Returns a hub id that can be part of a package address.
fn hub_id(component: &Component) -> Option<&str> {
    let id = component.hf_id.as_deref()?;
    let is_plain = id.split('/').count() == 2
        && id.split('/').all(|part| {
            !part.is_empty()
                && part
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        });
    is_plain.then_some(id)
}

/// A date as exactly as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Moment {
    /// To the second or the day.
    Known(String),
    /// Only the year; the first of January stands for it.
    Year(String),
    /// Not at all; the beginning of 1970 stands for it.
    Unknown,
}

impl Moment {
    fn text(&self) -> &str {
        match self {
            Moment::Known(text) | Moment::Year(text) => text,
            Moment::Unknown => "1970-01-01T00:00:00Z",
        }
    }
}

/// Returns when a component was first published.
fn released(component: &Component) -> Moment {
    let day = component.released.as_deref().and_then(moment);
    match (day, component.year) {
        (Some(day), _) => Moment::Known(day),
        (None, Some(year)) if (1900..3000).contains(&year) => {
            Moment::Year(format!("{year}-01-01T00:00:00Z"))
        }
        _ => Moment::Unknown,
    }
}

/// Returns a day or a moment as `YYYY-MM-DDThh:mm:ssZ`; `None` when it is neither.
fn moment(text: &str) -> Option<String> {
    let (day, time) = text.split_once('T').unwrap_or((text, "00:00:00Z"));
    let number = |text: &str, width: usize| {
        let is_plain = text.len() == width && text.bytes().all(|byte| byte.is_ascii_digit());
        is_plain.then(|| text.parse::<u32>().ok()).flatten()
    };
    let mut parts = day.split('-');
    let (year, month, date) = (parts.next()?, parts.next()?, parts.next()?);
    let (year, month, date) = (number(year, 4)?, number(month, 2)?, number(date, 2)?);
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    let mut clock = time.strip_suffix('Z')?.split(':');
    let (hour, minute) = (number(clock.next()?, 2)?, number(clock.next()?, 2)?);
    let second = number(clock.next()?, 2)?;
    let is_real = year > 0
        && (1..=days).contains(&date)
        && hour < 24
        && minute < 60
        && second < 60
        && parts.next().is_none()
        && clock.next().is_none();
    is_real.then(|| format!("{day}T{time}"))
}

/// Returns when the last change was made.
fn last_change(ledger: &Ledger) -> Option<String> {
    ledger
        .changes
        .last()
        .and_then(|change| moment(&change.when))
}

/// Says what was done to the material, a sentence each.
fn change_sentences(ledger: &Ledger) -> Vec<String> {
    ledger
        .changes
        .iter()
        .map(|change| {
            one_line(&format!(
                "{}: {} by {} {}: {}",
                change.when,
                change.kind.name(),
                change.tool,
                change.version,
                change.detail
            ))
        })
        .collect()
}

/// Says who claimed what, in a sentence.
fn claim_sentence(claim: &Claim) -> String {
    let kind = serde_json::to_value(claim.kind).expect("an enum of names has a JSON form");
    let status = serde_json::to_value(claim.status).expect("an enum of names has a JSON form");
    let optional = |before: &str, text: Option<&str>| match text {
        Some(text) if !text.is_empty() => format!("{before}{text}"),
        _ => String::new(),
    };
    one_line(&format!(
        "{} ({}, {}): {}{}{}{}",
        claim.value,
        kind.as_str().unwrap_or_default(),
        status.as_str().unwrap_or_default(),
        claim.source,
        optional(" at ", claim.revision.as_deref()),
        optional(", read ", Some(&claim.read)),
        optional("; ", claim.note.as_deref())
    ))
}

/// Returns the makers of a component as one name, or what stands for an unknown one.
fn maker(component: &Component) -> String {
    if component.creators.is_empty() {
        NOASSERTION.to_owned()
    } else {
        one_line(&component.creators_phrase())
    }
}

/// Returns a name made of letters, digits, `.`, `_` and `-`.
fn slug(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_ascii_alphanumeric() || matches!(character, '.' | '_' | '-') {
            out.push(character);
        } else if !out.ends_with('-') {
            out.push('-');
        }
    }
    let trimmed = out.trim_matches('-');
    if trimmed.is_empty() {
        "unnamed".to_owned()
    } else {
        trimmed.to_owned()
    }
}

/// Names that are each given once, each with the next number to try after it.
#[derive(Default)]
struct Names(BTreeMap<String, u32>);

impl Names {
    /// Returns a name like the wanted one that nothing has yet.
    fn unique(&mut self, wanted: &str) -> String {
        let wanted = slug(wanted);
        let mut next = self.0.get(&wanted).copied().unwrap_or(1);
        let name = loop {
            let name = if next == 1 {
                wanted.clone()
            } else {
                format!("{wanted}-{next}")
            };
            next += 1;
            if !self.0.contains_key(&name) {
                break name;
            }
        };
        self.0.insert(name.clone(), 2);
        self.0.insert(wanted, next);
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_becomes_a_moment_and_nothing_else_does() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(moment(text).as_deref(), expected, "{text}");
        };
        check("2023-09-29", Some("2023-09-29T00:00:00Z"));
        check("2024-02-29", Some("2024-02-29T00:00:00Z"));
        check("2023-02-29", None);
        check("2026-11-23T12:00:00Z", Some("2026-11-23T12:00:00Z"));
        check("2026-11-23T12:00:00.5Z", None);
        check("2026-11-23T24:00:00Z", None);
        check("yesterday", None);
        check("2023-13-01", None);
        check("2023-9-29", None);
        check("", None);
    }

    #[test]
    fn only_plain_addresses_are_kept() {
        let check = |text: &str, expected: bool| {
            assert_eq!(web_address(text).is_some(), expected, "{text}");
        };
        check("https://huggingface.co/stabilityai/stablelm-3b-4e1t", true);
        check("http://a.b/c?d=e#f", true);
        check("javascript:alert(1)", false);
        check("https://", false);
        check("https://a b", false);
        check("https://a/\"><script>", false);
        check("https://a/%zz", false);
        check("", false);
    }

    #[test]
    fn a_name_is_given_once() {
        let mut names = Names::default();
        assert_eq!(names.unique("a b"), "a-b");
        assert_eq!(names.unique("a/b"), "a-b-2");
        assert_eq!(names.unique("\u{202e}"), "unnamed");
    }
}
