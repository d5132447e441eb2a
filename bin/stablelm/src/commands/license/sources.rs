//! `stablelm license sources pin|update`

use std::fs;
use std::path::Path;

use anyhow::anyhow;
use serde_json::json;
use sha2::{Digest, Sha256};
use stablelm_license::{Component, Ledger, Registry, SourcesLock};

use super::{diff, folder};
use crate::args::{LicenseSources, SourcesCommand, SourcesFiles};
use crate::error::CommandError;
use crate::exit_status::ExitStatus;
use crate::ui::Ui;
use crate::{output, papers, settings};

pub(super) fn run(args: &LicenseSources, ui: &Ui) -> Result<ExitStatus, CommandError> {
    match &args.command {
        SourcesCommand::Pin(files) => pin(files, ui),
        SourcesCommand::Update(files) => update(files, ui),
    }
}

fn pin(args: &SourcesFiles, ui: &Ui) -> Result<ExitStatus, CommandError> {
    let lock = read_statements(args)?;
    output::write_new_file(&args.lock, lock.to_json().as_bytes())?;
    report(args, &lock, &[], ui)?;
    Ok(ExitStatus::Success)
}

fn update(args: &SourcesFiles, ui: &Ui) -> Result<ExitStatus, CommandError> {
    let bytes = folder::read(&args.lock)
        .map_err(|error| error.hint("`stablelm license sources pin` makes a new lock file"))?;
    let mut lock =
        SourcesLock::from_json(&bytes).map_err(|error| folder::in_file(&args.lock, error))?;
    let differences = lock.update(read_statements(args)?);
    output::write_file(&args.lock, lock.to_json().as_bytes())?;
    report(args, &lock, &differences, ui)?;
    if differences.is_empty() {
        Ok(ExitStatus::Success)
    } else {
        Ok(ExitStatus::Failed)
    }
}

fn report(
    args: &SourcesFiles,
    lock: &SourcesLock,
    differences: &[stablelm_license::Difference],
    ui: &Ui,
) -> Result<(), CommandError> {
    let without = lock
        .sources
        .iter()
        .filter(|pinned| pinned.evidence_sha256.is_none())
        .count();
    if args.json.json {
        ui.json(&json!({
            "type": "license-sources",
            "lock": args.lock.display().to_string(),
            "statements": lock.sources.len(),
            "without_evidence": without,
            "drift": !differences.is_empty(),
            "differences": differences,
        }))?;
    } else {
        let listed = if differences.is_empty() {
            String::new()
        } else {
            diff::differences_text(differences)
        };
        ui.answer(&format!(
            "{listed}{} statements pinned, {without} of them without evidence\n",
            lock.sources.len()
        ))?;
    }
    ui.status("Wrote", &args.lock.display().to_string());
    Ok(())
}

fn read_statements(args: &SourcesFiles) -> Result<SourcesLock, CommandError> {
    let mut components: Vec<Component> = Vec::new();
    for file in &args.files {
        for component in components_of(file)? {
            if !components.iter().any(|known| known.id == component.id) {
                components.push(component);
            }
        }
    }
    let mut lock = SourcesLock::pin(&components);
    for evidence in &args.evidence {
        // Addresses may hold an equals sign, file names seldom do.
        let (source, file) = evidence.rsplit_once('=').ok_or_else(|| {
            CommandError::usage(anyhow!("expected SOURCE=FILE, found `{evidence}`"))
        })?;
        let bytes = folder::read(Path::new(file))?;
        let today = settings::now_rfc3339()?;
        let today = today.split('T').next().unwrap_or_default();
        if lock.add_evidence(source, &sha256_hex(&bytes), today) == 0 {
            return Err(
                CommandError::input(anyhow!("no statement was read at `{source}`"))
                    .hint("give the source as the registry writes it"),
            );
        }
    }
    Ok(lock)
}

/// Returns the components of a registry file, a ledger or a folder with one.
fn components_of(file: &Path) -> Result<Vec<Component>, CommandError> {
    if fs::metadata(file).is_ok_and(|found| found.is_dir()) {
        return Ok(papers::ledger_of_subject(&file.to_string_lossy())?.components);
    }
    let bytes = folder::read(file)?;
    if let Ok(ledger) = Ledger::from_json(&bytes) {
        return Ok(ledger.components);
    }
    let registry = Registry::empty()
        .with_user(&bytes)
        .map_err(|error| folder::in_file(file, error))?;
    Ok(registry.components().cloned().collect())
}

fn sha256_hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    Sha256::digest(bytes)
        .iter()
        .fold(String::with_capacity(64), |mut text, byte| {
            write!(text, "{byte:02x}").expect("writing to a string can't fail");
            text
        })
}
