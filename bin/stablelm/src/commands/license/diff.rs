//! `stablelm license diff`

use std::path::Path;

use serde_json::json;
use stablelm_license::{Difference, Ledger, diff_boms, diff_ledgers};

use super::folder;
use crate::args::LicenseDiff;
use crate::error::CommandError;
use crate::exit_status::ExitStatus;
use crate::papers;
use crate::ui::Ui;

pub(super) fn run(args: &LicenseDiff, ui: &Ui) -> Result<ExitStatus, CommandError> {
    let differences = match (bom(&args.a)?, bom(&args.b)?) {
        (Some(a), Some(b)) => diff_boms(&a, &b).map_err(|error| {
            CommandError::input(error)
                .context(format!("failed to compare `{}` and `{}`", args.a, args.b))
        })?,
        _ => diff_ledgers(&ledger(&args.a)?, &ledger(&args.b)?),
    };
    let has_drifted = differences.iter().any(|found| found.drift);
    if args.json.json {
        ui.json(&json!({
            "type": "license-diff",
            "drift": has_drifted,
            "differences": differences,
        }))?;
    } else {
        ui.answer(&differences_text(&differences))?;
    }
    if has_drifted {
        Ok(ExitStatus::Failed)
    } else {
        Ok(ExitStatus::Success)
    }
}

/// Lists differences for people.
pub(super) fn differences_text(differences: &[Difference]) -> String {
    if differences.is_empty() {
        return "no difference\n".to_owned();
    }
    let mut text = String::new();
    for found in differences {
        let kind = super::name_of(&found.kind);
        let change = match (&found.before, &found.after) {
            (Some(before), Some(after)) => format!("{before} -> {after}"),
            (Some(before), None) => format!("gone: {before}"),
            (None, Some(after)) => format!("new: {after}"),
            (None, None) => String::new(),
        };
        let mark = if found.drift { "" } else { " (no drift)" };
        text.push_str(&format!("{kind} {}: {change}{mark}\n", found.name));
    }
    text
}

/// Returns the bytes of a bill of materials; nothing for a folder, a ledger or an id.
fn bom(subject: &str) -> Result<Option<Vec<u8>>, CommandError> {
    let path = Path::new(subject);
    if !path.is_file() || path.extension().is_none_or(|end| end != "json") {
        return Ok(None);
    }
    let bytes = folder::read(path)?;
    Ok(Ledger::from_json(&bytes).is_err().then_some(bytes))
}

fn ledger(subject: &str) -> Result<Ledger, CommandError> {
    let path = Path::new(subject);
    if path.is_file() && path.extension().is_some_and(|end| end == "json") {
        // Not checked: that a record does not hold is one of the things to find.
        return Ledger::from_json(&folder::read(path)?).map_err(|error| {
            folder::in_file(path, error)
                .hint("compare two ledgers, or two bills of materials, not one of each")
        });
    }
    papers::ledger_of_subject(subject)
}
