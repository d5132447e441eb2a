//! `stablelm data remove`

use std::fs;
use std::path::Path;
use std::time::UNIX_EPOCH;

use serde::Serialize;
use stablelm_data::{RemoveError, RemoveOptions, Report};
use stablelm_license::Registry;

use crate::args::Remove;
use crate::commands::data_prepare::{report_text, write_papers};
use crate::error::CommandError;
use crate::exit_status::ExitStatus;
use crate::model_input;
use crate::output::StagedDir;
use crate::settings;
use crate::ui::Ui;

/// The answer of `--json`.
#[derive(Serialize)]
struct Answer<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    run_hash: &'a str,
    documents: u64,
    tokens: u64,
    /// Requests that match no document.
    missing: &'a [String],
    /// Removed texts that only their tokens tell, so that the report's bytes are off by a little.
    approximate: u64,
    report: &'a Report,
}

pub(crate) fn run(args: &Remove, ui: &Ui) -> Result<ExitStatus, CommandError> {
    model_input::require_path(&args.folder)?;
    model_input::require_path(&args.ids)?;
    let staged = StagedDir::create(&args.output, args.overwrite)?;
    let options = RemoveOptions {
        folder: &args.folder,
        ids: &args.ids,
        output: staged.path(),
        allow_missing: args.allow_missing,
        tool_version: env!("CARGO_PKG_VERSION"),
    };
    let warn = |missing: &[String]| {
        for request in missing {
            ui.warn(&format!("no document matches `{request}`"));
        }
    };
    let removed = stablelm_data::remove(&options).map_err(|error| match error {
        RemoveError::NoMatch { ref requests, .. } => {
            warn(requests);
            CommandError::failed(error).hint(
                "correct these lines, or pass over them by --allow-missing; nothing was written",
            )
        }
        other => CommandError::input(other),
    })?;
    warn(&removed.missing);
    let prepared = &removed.prepared;
    let date = date(&args.folder)?;
    write_papers(staged.path(), prepared, &Registry::builtin(), date)?;
    stablelm_data::write_manifest(staged.path(), prepared).map_err(CommandError::input)?;
    staged.commit()?;
    if args.json.json {
        ui.json(&Answer {
            kind: "removed",
            run_hash: &prepared.run_hash,
            documents: removed.documents,
            tokens: removed.tokens,
            missing: &removed.missing,
            approximate: removed.approximate,
            report: &prepared.report,
        })?;
    } else {
        ui.answer(&report_text(&prepared.report))?;
    }
    let (documents, tokens) = (removed.documents, removed.tokens);
    let output = args.output.display();
    ui.status(
        "Removed",
        &format!("{documents} documents, {tokens} tokens; the rest is in {output}"),
    );
    Ok(ExitStatus::Success)
}

/// Returns the day that the data bears: that of the folder it comes from, so that a run tomorrow gives the same bytes.
fn date(folder: &Path) -> Result<String, CommandError> {
    let moment = settings::source_date()?;
    let published = || {
        let bytes = fs::read(folder.join("croissant.json")).ok()?;
        let document: serde_json::Value = serde_json::from_slice(&bytes).ok()?;
        document["datePublished"].as_str().map(str::to_owned)
    };
    if moment.is_none()
        && let Some(date) = published()
    {
        return Ok(date);
    }
    let moment = moment.unwrap_or(UNIX_EPOCH);
    let text = humantime::format_rfc3339_seconds(moment).to_string();
    Ok(text.split('T').next().unwrap_or_default().to_owned())
}
