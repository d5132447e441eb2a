//! `stablelm data verify`

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use stablelm_data::{RemoteInputs, Verification, VerifyError, VerifyOptions};

use crate::args::Verify;
use crate::error::CommandError;
use crate::exit_status::ExitStatus;
use crate::hub::HubSettings;
use crate::model_input;
use crate::output::StagedDir;
use crate::settings;
use crate::ui::Ui;

pub(crate) fn run(args: &Verify, hub: &HubSettings, ui: &Ui) -> Result<ExitStatus, CommandError> {
    model_input::require_path(&args.folder)?;
    let inputs = args
        .inputs
        .clone()
        .unwrap_or_else(|| find_inputs(&args.folder));
    // A name of its own, also where DIR is `.`.
    let folder = fs::canonicalize(&args.folder).unwrap_or_else(|_| args.folder.clone());
    let fetched = args
        .remote
        .then(|| StagedDir::temporary(&folder, "inputs"))
        .transpose()?;
    let remote = settings::remote(hub);
    let options = VerifyOptions {
        folder: &args.folder,
        inputs: &inputs,
        threads: settings::threads(args.threads)?,
        remote: fetched.as_ref().map(|fetched| RemoteInputs {
            options: &remote,
            folder: fetched.path(),
        }),
    };
    let verification = stablelm_data::verify(&options).map_err(|error: VerifyError| {
        CommandError::input(error).hint("give a folder that `stablelm data prepare` wrote")
    })?;
    if args.json.json {
        ui.json(&verification)?;
    } else {
        ui.answer(&text(&verification))?;
    }
    Ok(if verification.passed {
        ExitStatus::Success
    } else {
        ExitStatus::Failed
    })
}

/// The folder where the first local input lies: this one, or the one that holds the prepared folder.
fn find_inputs(folder: &Path) -> PathBuf {
    let beside = folder.parent().map(Path::to_path_buf).unwrap_or_default();
    let first = || -> Option<String> {
        let manifest = fs::read(folder.join("manifest.json")).ok()?;
        let manifest: serde_json::Value = serde_json::from_slice(&manifest).ok()?;
        let inputs = manifest["inputs"].as_array()?.iter();
        let mut paths = inputs.filter_map(|input| input["path"].as_str());
        let first = paths.find(|path| !stablelm_data::is_remote(path))?;
        Some(first.to_owned())
    };
    match first() {
        Some(first) if !Path::new(&first).exists() && beside.join(&first).exists() => beside,
        _ => PathBuf::new(),
    }
}

fn text(verification: &Verification) -> String {
    let mut text = String::new();
    let mut add = |line: std::fmt::Arguments<'_>| {
        text.write_fmt(line)
            .expect("writing to a string does not fail");
    };
    for finding in &verification.findings {
        let place = if finding.place.is_empty() { "" } else { ", " };
        add(format_args!(
            "{}: {}{place}{}: expected {}, found {}\n",
            finding.check, finding.file, finding.place, finding.expected, finding.found
        ));
    }
    if verification.more_findings > 0 {
        add(format_args!("and {} more\n", verification.more_findings));
    }
    for not_checked in &verification.not_checked {
        add(format_args!(
            "not checked: {}: {}\n",
            not_checked.what, not_checked.why
        ));
    }
    let checked = &verification.checked;
    add(format_args!(
        "checked {} files, {} datasets, {} documents, {} tokens, {} inputs with {} rows\n",
        checked.files,
        checked.datasets,
        checked.documents,
        checked.tokens,
        checked.inputs,
        checked.input_rows
    ));
    let books3 = &verification.books3;
    add(format_args!(
        "Books3: {} documents of the inputs judged, {} excluded, {} remaining in the tokens\n",
        books3.documents_checked, books3.documents_excluded, books3.remaining
    ));
    let outcome = if verification.passed {
        "all in order"
    } else {
        "something is off"
    };
    add(format_args!("{outcome}\n"));
    text
}
