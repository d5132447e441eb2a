//! Results as Markdown.

use std::fs;
use std::process::Command;

use crate::peers::{Measured, Peer};

/// Prints where and when all this was measured.
pub(crate) fn header() {
    let date = Command::new("date").args(["-u", "+%F"]).output();
    let date = date.map_or(String::new(), |output| {
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    });
    let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let processor = processor
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("unknown", |rest| rest.trim_start_matches([' ', '\t', ':']));
    println!(
        "{date}, {processor}. MB are 10^6 bytes of text; seconds are CPU seconds of one pinned core, best of each."
    );
}

/// Prints a heading, then a table: the first column is text, the others are numbers.
pub(crate) fn table(heading: &str, columns: &[String], rows: &[Vec<String>]) {
    println!("\n## {heading}\n");
    println!("| {} |", columns.join(" | "));
    println!("| --- |{}", " ---: |".repeat(columns.len() - 1));
    for row in rows {
        println!("| {} |", row.join(" | "));
    }
}

/// Returns a number with three digits that count.
pub(crate) fn number(value: f64) -> String {
    let digits = match value.abs() {
        large if large >= 100.0 => 0,
        middle if middle >= 10.0 => 1,
        _ => 2,
    };
    format!("{value:.digits$}")
}

/// Returns a ratio.
pub(crate) fn ratio(of: f64, to: f64) -> String {
    format!("{}x", number(of / to))
}

/// Returns which peers gave other ids than ours did over the same text, in words.
pub(crate) fn differences(measured: &[(Peer, &Measured)]) -> String {
    let (_, ours) = measured[0];
    let others = measured[1..].iter();
    let differing: Vec<String> = others
        .filter(|(_, other)| other.sha256 != ours.sha256)
        .map(|(peer, other)| format!("{peer} ({} ids, ours {})", other.tokens, ours.tokens))
        .collect();
    if differing.is_empty() {
        "the same".to_owned()
    } else {
        format!("**differ**: {}", differing.join(", "))
    }
}

/// Returns a SHA-256 for people: its first twelve digits.
pub(crate) fn short(sha256: &str) -> &str {
    &sha256[..12]
}
