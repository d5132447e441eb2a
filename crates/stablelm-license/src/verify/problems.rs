//! Collects what is wrong.

use super::Unreadable;
use crate::finding::{Finding, Severity};

/// A rule's stable name and where it comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Check {
    pub(crate) id: &'static str,
    pub(crate) clause: &'static str,
    pub(crate) source: &'static str,
}

/// What is wrong so far.
#[derive(Default)]
pub(crate) struct Problems {
    pub(crate) findings: Vec<Finding>,
    pub(crate) unreadable: Vec<Unreadable>,
    pub(crate) documents: Vec<String>,
}

impl Problems {
    /// Adds an error about a file.
    pub(crate) fn error(&mut self, check: Check, file: &str, reason: String, step: &str) {
        self.add(check, Severity::Error, file, reason, step);
    }

    /// Adds something that is probably wrong.
    pub(crate) fn warning(&mut self, check: Check, file: &str, reason: String, step: &str) {
        self.add(check, Severity::Warning, file, reason, step);
    }

    pub(crate) fn add(
        &mut self,
        check: Check,
        severity: Severity,
        file: &str,
        reason: String,
        step: &str,
    ) {
        let finding = Finding {
            rule: check.id.to_owned(),
            clause: check.clause.to_owned(),
            severity,
            reason,
            source: check.source.to_owned(),
            file: (!file.is_empty()).then(|| file.to_owned()),
            line: None,
            column: None,
            next_step: (!step.is_empty()).then(|| step.to_owned()),
        };
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }

    /// Notes that a document can't be read.
    pub(crate) fn unreadable(&mut self, file: &str, reason: impl std::fmt::Display) {
        self.unreadable.push(Unreadable {
            file: file.to_owned(),
            reason: reason.to_string(),
        });
    }

    /// Notes that a document was read.
    pub(crate) fn read(&mut self, file: &str) {
        self.documents.push(file.to_owned());
    }
}
