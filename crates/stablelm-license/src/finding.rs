//! What a check found: one rule, where it comes from, and what to do.

use serde::{Deserialize, Serialize};

/// How much a finding weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know; asks for nothing.
    Info,
    /// A duty that comes with the license, to be done when sharing.
    Obligation,
    /// A person has to look.
    Review,
    /// Probably wrong.
    Warning,
    /// A term is broken, or a document is wrong.
    Error,
}

/// One thing that a check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The rule's stable name, such as `SA-01`.
    pub rule: String,
    /// The clause of the license or the section of the standard that the rule comes from.
    pub clause: String,
    /// How much it weighs.
    pub severity: Severity,
    /// What was found, in a sentence.
    pub reason: String,
    /// Where the clause can be read.
    pub source: String,
    /// The file it was found in, relative to the folder that was checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The line, counted from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// The column in characters, counted from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_step: Option<String>,
}
