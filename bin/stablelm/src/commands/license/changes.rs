//! `stablelm license changes`

use std::fs;
use std::path::Path;

use anyhow::{Context as _, anyhow};
use serde_json::json;
use stablelm_license::{ChangeKind, ChangeRecord, Ledger, NewChange, notice};

use crate::args::{LicenseChanges, LicenseChangesAdd, LicenseChangesCommand, RecordedChange};
use crate::error::CommandError;
use crate::exit_status::ExitStatus;
use crate::output;
use crate::papers::LEDGER_FILE;
use crate::settings;
use crate::ui::Ui;

const CHANGES_FILE: &str = "CHANGES.json";
const NOTICE_FILE: &str = "NOTICE";

pub(super) fn run(args: &LicenseChanges, ui: &Ui) -> Result<ExitStatus, CommandError> {
    match &args.command {
        LicenseChangesCommand::Show(show) => self::show(&args.folder, show.json.json, ui),
        LicenseChangesCommand::Add(add) => self::add(&args.folder, add, ui),
    }
}

fn show(folder: &Path, json: bool, ui: &Ui) -> Result<ExitStatus, CommandError> {
    let ledger = read(folder)?;
    let broken = broken(folder, &ledger)?;
    if json {
        ui.json(
            &json!({ "changes": ledger.changes, "holds": broken.is_none(), "reason": broken }),
        )?;
    } else {
        let mut text = String::new();
        for change in &ledger.changes {
            text.push_str(&format!(
                "{}  {}  {} {}: {}\n",
                change.when,
                change.kind.name(),
                change.tool,
                change.version,
                change.detail
            ));
        }
        if ledger.changes.is_empty() {
            text.push_str("none recorded\n");
        }
        ui.answer(&text)?;
    }
    match broken {
        None => Ok(ExitStatus::Success),
        Some(reason) => Err(CommandError::failed(anyhow!(reason))
            .context(format!(
                "the record of changes in `{}` does not hold",
                folder.display()
            ))
            .hint("it was edited; get the folder again from where it came")),
    }
}

fn add(folder: &Path, args: &LicenseChangesAdd, ui: &Ui) -> Result<ExitStatus, CommandError> {
    let mut ledger = read(folder)?;
    if let Some(reason) = broken(folder, &ledger)? {
        return Err(CommandError::failed(anyhow!(reason))
            .context(format!(
                "nothing is appended to the record in `{}`",
                folder.display()
            ))
            .hint("it was edited; get the folder again from where it came"));
    }
    let detail = args.detail.trim();
    if detail.is_empty() {
        return Err(CommandError::usage(anyhow!("`--detail` says nothing")));
    }
    if let Some(hash) = args.from_sha256.as_deref().filter(|hash| !is_sha256(hash)) {
        return Err(CommandError::usage(anyhow!(
            "`--from-sha256 {hash}` is no SHA-256"
        )));
    }
    // Whether the notice is ours to write again.
    let old_notice = text(&folder.join(NOTICE_FILE))?;
    let is_generated = old_notice
        .as_ref()
        .is_some_and(|text| *text == notice(&ledger));
    ledger.record(new_change(args, detail)?);
    // Should we stop between the two, `CHANGES.json` is behind, and the next run says so.
    output::write_file(&folder.join(LEDGER_FILE), ledger.to_json().as_bytes())?;
    output::write_file(&folder.join(CHANGES_FILE), ledger.changes_json().as_bytes())?;
    let mut written = format!("{LEDGER_FILE}, {CHANGES_FILE}");
    if is_generated {
        output::write_file(&folder.join(NOTICE_FILE), notice(&ledger).as_bytes())?;
        written.push_str(", NOTICE");
    }
    ui.status(
        "Recorded",
        &format!("{} changes in {written}", ledger.changes.len()),
    );
    advise(folder, old_notice.is_some() && !is_generated, ui)?;
    Ok(ExitStatus::Success)
}

/// Says which other files do not tell the change yet.
fn advise(folder: &Path, is_own_notice: bool, ui: &Ui) -> Result<(), CommandError> {
    if is_own_notice {
        ui.warn("NOTICE is not as generated and was left alone: tell the change there too");
    }
    let entries = fs::read_dir(folder)
        .with_context(|| format!("failed to read `{}`", folder.display()))
        .map_err(CommandError::input)?;
    let names: Vec<String> = entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    let any = |ending: &str| names.iter().any(|name| name.ends_with(ending));
    if any(".safetensors") || any(".gguf") {
        ui.warn(
            "the headers of the weights do not tell the change; convert again to have it there",
        );
    }
    if any("README.md") {
        ui.note("write the card again to tell the change there: `stablelm license card`");
    }
    if any(".sig") {
        ui.warn("the signature no longer fits: sign again");
    }
    Ok(())
}

fn new_change(args: &LicenseChangesAdd, detail: &str) -> Result<NewChange, CommandError> {
    let own = env!("CARGO_PKG_VERSION");
    let (tool, version) = match &args.tool {
        None => ("stablelm", own),
        Some(tool) if tool == "stablelm" => ("stablelm", own),
        Some(tool) => (tool.as_str(), "unknown"),
    };
    Ok(NewChange {
        when: settings::now_rfc3339()?,
        tool: tool.to_owned(),
        version: args.tool_version.as_deref().unwrap_or(version).to_owned(),
        kind: kind(args.kind),
        from_sha256: args.from_sha256.clone(),
        detail: detail.to_owned(),
    })
}

fn kind(kind: RecordedChange) -> ChangeKind {
    match kind {
        RecordedChange::Format => ChangeKind::Format,
        RecordedChange::Dtype => ChangeKind::Dtype,
        RecordedChange::Reshard => ChangeKind::Reshard,
        RecordedChange::Rename => ChangeKind::Rename,
        RecordedChange::Quantize => ChangeKind::Quantize,
        RecordedChange::Finetune => ChangeKind::Finetune,
        RecordedChange::Merge => ChangeKind::Merge,
        RecordedChange::Filter => ChangeKind::Filter,
    }
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64
        && text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f'))
}

fn read(folder: &Path) -> Result<Ledger, CommandError> {
    let file = folder.join(LEDGER_FILE);
    let read = || -> anyhow::Result<Ledger> { Ok(Ledger::from_json(&fs::read(&file)?)?) };
    read()
        .with_context(|| format!("failed to read `{}`", file.display()))
        .map_err(|error| {
            CommandError::input(error)
                .hint("a folder that `convert` or `data prepare` wrote has one")
        })
}

/// Says what is wrong with the record in a folder.
fn broken(folder: &Path, ledger: &Ledger) -> Result<Option<String>, CommandError> {
    if let Err(error) = ledger.verify_chain() {
        return Ok(Some(error.to_string()));
    }
    let file = folder.join(CHANGES_FILE);
    let Some(text) = text(&file)? else {
        return Ok(None);
    };
    let listed: Vec<ChangeRecord> = serde_json::from_str(&text)
        .with_context(|| format!("failed to read `{}`", file.display()))
        .map_err(CommandError::input)?;
    Ok((listed != ledger.changes).then(|| {
        format!(
            "`{CHANGES_FILE}` and `{LEDGER_FILE}` differ: {} changes and {}",
            listed.len(),
            ledger.changes.len()
        )
    }))
}

fn text(file: &Path) -> Result<Option<String>, CommandError> {
    match fs::read_to_string(file) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(CommandError::input(
            anyhow::Error::new(error).context(format!("failed to read `{}`", file.display())),
        )),
    }
}
