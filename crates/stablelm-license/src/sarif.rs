//! Findings as SARIF 2.1.0, which code hosts and editors show.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::finding::{Finding, Severity};
use crate::rules;

/// Returns findings as one SARIF 2.1.0 document: the rules they come from, sorted by name, and a
/// result for each finding in the given order. The same findings give the same document.
///
/// `version` is the version of the tool.
pub fn sarif(findings: &[Finding], version: &str) -> Value {
    let mut used: BTreeMap<&str, &Finding> = BTreeMap::new();
    for finding in findings {
        used.entry(&finding.rule).or_insert(finding);
    }
    let index: BTreeMap<&str, usize> = used.keys().copied().zip(0..).collect();
    let listed: Vec<Value> = used.values().map(|finding| described(finding)).collect();
    let results: Vec<Value> = findings
        .iter()
        .map(|finding| result(finding, index[finding.rule.as_str()]))
        .collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {
                "driver": {
                    "name": "stablelm",
                    "version": version,
                    "rules": listed,
                }
            },
            "columnKind": "unicodeCodePoints",
            "results": results,
        }]
    })
}

fn described(finding: &Finding) -> Value {
    let known = rules::rule(&finding.rule);
    let title = known.map_or(finding.clause.as_str(), |rule| rule.title);
    let help = known.map_or_else(
        || {
            finding
                .next_step
                .clone()
                .unwrap_or_else(|| title.to_owned())
        },
        |rule| rule.help.to_owned(),
    );
    let severity = known.map_or(finding.severity, |rule| rule.severity);
    let clause = known.map_or(finding.clause.as_str(), |rule| rule.clause);
    let source = known.map_or(finding.source.as_str(), |rule| rule.source);
    let mut rule = json!({
        "id": finding.rule,
        "shortDescription": {"text": title},
        "fullDescription": {"text": format!("{clause}: {title}")},
        "help": {"text": format!("{help} ({clause}, {source})")},
        "defaultConfiguration": {"level": level(severity)},
        "properties": {"clause": clause, "source": source},
    });
    // The key takes nothing but an address.
    if source.starts_with("https://") && !source.contains(char::is_whitespace) {
        rule["helpUri"] = json!(source);
    }
    rule
}

fn result(finding: &Finding, index: usize) -> Value {
    let mut result = json!({
        "ruleId": finding.rule,
        "ruleIndex": index,
        "level": level(finding.severity),
        "message": {"text": message(finding)},
        "properties": {"clause": finding.clause, "source": finding.source},
    });
    if let Some(file) = &finding.file {
        let mut place = json!({"artifactLocation": {"uri": uri(file)}});
        if let Some(line) = finding.line {
            place["region"] = json!({"startLine": line});
            if let Some(column) = finding.column {
                place["region"]["startColumn"] = json!(column);
            }
        }
        result["locations"] = json!([{"physicalLocation": place}]);
    }
    result
}

fn message(finding: &Finding) -> String {
    match &finding.next_step {
        Some(step) => format!("{} ({}). {step}.", finding.reason, finding.clause),
        None => format!("{} ({}).", finding.reason, finding.clause),
    }
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning | Severity::Review => "warning",
        Severity::Obligation | Severity::Info => "note",
    }
}

/// Writes a relative path as a relative address.
fn uri(path: &str) -> String {
    use std::fmt::Write;
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'/') {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").expect("writing to a string can't fail");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_becomes_an_address() {
        assert_eq!(uri("a/b c%.md"), "a/b%20c%25.md");
    }
}
