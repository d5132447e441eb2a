//! Looks a model card or a citation file over: what is wrong, where, and how to put it right.
//!
//! Rules have stable ids. A fix is offered only where one reading is possible; applying fixes
//! leaves every other byte as it is, and applying them twice changes nothing more.
//!
//! ```
//! use stablelm_license::lint::{fixed, lint};
//!
//! let card = "---\nlicense: CC-BY-SA-4.0\n---\n# A model\n";
//! let found = lint("README.md", card.as_bytes());
//! let case = found.iter().find(|found| found.finding.rule == "CARD-LICENSE-ID");
//! let case = case.expect("the hub writes ids in lower case");
//! assert_eq!((case.finding.line, case.finding.column), (Some(2), Some(10)));
//! assert!(fixed(card, &found).starts_with("---\nlicense: cc-by-sa-4.0\n"));
//! ```

mod bibtex;
mod card;
mod cff;
mod cff_rules;
mod front;
mod place;
mod prose;
mod report;
mod text;
mod yaml;

use std::ops::Range;

use crate::finding::{Finding, Severity};
use place::Places;
use report::Report;

pub(crate) use cff_rules::{is_day, near};
pub use front::{HUB_LICENSES, is_hub_license};
pub(crate) use prose::terms_of;

/// Something found, and how to put it right if that is certain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lint {
    /// What was found.
    pub finding: Finding,
    /// The change that puts it right.
    pub fix: Option<Fix>,
}

/// A change to a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fix {
    /// The bytes to replace.
    pub bytes: Range<usize>,
    /// What to put there.
    pub replacement: String,
}

/// What a file is, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Document {
    /// A hub card: Markdown with front matter.
    Card,
    /// A `CITATION.cff`.
    Citation,
}

impl Document {
    /// Returns what a file of this name is; `None` when we have no rules for it.
    pub fn of_name(name: &str) -> Option<Document> {
        let name = name.rsplit('/').next().unwrap_or(name);
        let lower = name.to_ascii_lowercase();
        let extension = lower.rsplit('.').next().unwrap_or_default();
        match extension {
            "md" | "markdown" => Some(Document::Card),
            "cff" => Some(Document::Citation),
            _ => None,
        }
    }
}

/// Looks a file over; its name says what it is, and any name but `*.cff` means a card.
///
/// Never fails: bytes that are no text are a finding too. The findings are in the order of the text.
pub fn lint(name: &str, bytes: &[u8]) -> Vec<Lint> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => return vec![not_text(name, bytes, error.valid_up_to())],
    };
    let mut report = Report::new(name, text);
    match Document::of_name(name).unwrap_or(Document::Card) {
        Document::Card => card::lint(text, &mut report),
        Document::Citation => cff::lint(text, &mut report),
    }
    report.finish()
}

/// Returns a text with every certain fix applied.
///
/// Where two would change the same bytes, the first one does; the other is found again by the next
/// [`lint()`] if it is still needed.
pub fn fixed(text: &str, lints: &[Lint]) -> String {
    let mut fixes: Vec<&Fix> = lints.iter().filter_map(|lint| lint.fix.as_ref()).collect();
    fixes.sort_by_key(|fix| (fix.bytes.start, fix.bytes.end));
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for fix in fixes {
        let Some(before) = text.get(at..fix.bytes.start) else {
            continue;
        };
        if fix.bytes.end > text.len() {
            continue;
        }
        out.push_str(before);
        out.push_str(&fix.replacement);
        at = fix.bytes.end;
    }
    out.push_str(text.get(at..).unwrap_or_default());
    out
}

/// Applies fixes until none is left; at most a few rounds, since one fix seldom makes another.
pub fn fix(name: &str, text: &str) -> String {
    const ROUNDS: usize = 8;
    let mut text = text.to_owned();
    for _ in 0..ROUNDS {
        let next = fixed(&text, &lint(name, text.as_bytes()));
        if next == text {
            break;
        }
        text = next;
    }
    text
}

fn not_text(name: &str, bytes: &[u8], valid: usize) -> Lint {
    let start = std::str::from_utf8(&bytes[..valid]).unwrap_or_default();
    let (line, column) = Places::new(start).at(valid);
    Lint {
        finding: Finding {
            rule: "TEXT-UTF8".to_owned(),
            clause: "UTF-8".to_owned(),
            severity: Severity::Error,
            reason: format!("byte {valid} is not UTF-8"),
            source: report::YAML_SOURCE.to_owned(),
            file: Some(name.to_owned()),
            line: Some(line),
            column: Some(column),
            next_step: Some("save the file as UTF-8".to_owned()),
        },
        fix: None,
    }
}
