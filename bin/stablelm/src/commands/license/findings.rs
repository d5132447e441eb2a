//! How findings are shown to people.

use std::path::Path;

use stablelm_license::{Finding, Severity, sarif};

use crate::error::CommandError;
use crate::output;

/// Returns one finding: where, how bad, which rule, what, and what to do.
pub(super) fn line(finding: &Finding, file: &str) -> String {
    let place = match (finding.line, finding.column) {
        (Some(line), Some(column)) => format!("{file}:{line}:{column}"),
        _ => file.to_owned(),
    };
    let place = if place.is_empty() {
        String::new()
    } else {
        format!("{place}: ")
    };
    let severity = match finding.severity {
        Severity::Info => "info",
        Severity::Obligation => "obligation",
        Severity::Review => "review",
        Severity::Warning => "warning",
        Severity::Error => "error",
    };
    let mut text = format!("{place}{severity}[{}]: {}\n", finding.rule, finding.reason);
    if let Some(step) = &finding.next_step {
        text.push_str(&format!("  {step}\n"));
    }
    text
}

/// Returns how many findings are errors and how many are warnings or ask for a person.
pub(super) fn count<'a>(findings: impl Iterator<Item = &'a Finding>) -> (usize, usize) {
    let mut errors = 0;
    let mut warnings = 0;
    for finding in findings {
        match finding.severity {
            Severity::Error => errors += 1,
            Severity::Warning | Severity::Review => warnings += 1,
            Severity::Info | Severity::Obligation => {}
        }
    }
    (errors, warnings)
}

/// Returns a count with its word.
pub(super) fn counted(count: usize, word: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{count} {word}{ending}")
}

/// Writes findings as SARIF.
pub(super) fn write_sarif(file: &Path, findings: &[Finding]) -> Result<(), CommandError> {
    let mut text = serde_json::to_string_pretty(&sarif(findings, env!("CARGO_PKG_VERSION")))
        .expect("findings are made of strings and numbers");
    text.push('\n');
    output::write_new_file(file, text.as_bytes())
}
