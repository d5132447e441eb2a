//! `stablelm license card`

use std::fs;
use std::path::Path;

use stablelm_license::{CardTable, dataset_card, merged_card, model_card};

use crate::args::LicenseCard;
use crate::error::CommandError;
use crate::output;
use crate::papers;
use crate::ui::Ui;

pub(super) fn run(args: &LicenseCard, ui: &Ui) -> Result<(), CommandError> {
    let subject = &args.document.subject;
    let ledger = papers::ledger_of_subject(subject)?;
    let new = if ledger.subject.is_some() {
        model_card(&ledger, &super::facts(subject))
    } else {
        dataset_card(&ledger, &tables(Path::new(subject)))
    };
    let beside = Path::new(subject).join("README.md");
    let old = match &args.document.output {
        Some(output) if args.overwrite && output.exists() => Some(output.as_path()),
        _ => Some(beside.as_path()).filter(|file| file.is_file()),
    };
    let text = match old {
        Some(file) => {
            let old = fs::read_to_string(file).map_err(|error| {
                let what = format!("failed to read `{}`", file.display());
                CommandError::input(anyhow::Error::new(error).context(what))
            })?;
            merged_card(&new, &old)
        }
        None => new,
    };
    let Some(path) = &args.document.output else {
        return ui.answer(&text);
    };
    if args.overwrite {
        output::write_file(path, text.as_bytes())?;
    } else {
        output::write_new_file(path, text.as_bytes())?;
    }
    ui.status("Wrote", &path.display().to_string());
    Ok(())
}

/// Finds the tables of a prepared folder: where documents come from, and their texts if kept.
fn tables(folder: &Path) -> Vec<CardTable> {
    let names = |part: &str| -> Vec<String> {
        let entries = fs::read_dir(folder.join(part)).into_iter().flatten();
        entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect()
    };
    let tokens = names("tokens");
    let splits = ["train", "valid", "test"].into_iter().filter(|split| {
        let part = format!("_{split}_");
        tokens
            .iter()
            .any(|name| name.contains(&part) && name.ends_with(".documents.parquet"))
    });
    let documents: Vec<(String, String)> = splits
        .map(|split| {
            let files = format!("tokens/*_{split}_*.documents.parquet");
            (split.to_owned(), files)
        })
        .collect();
    let has_text = names("text").iter().any(|name| name.ends_with(".parquet"));
    let texts = has_text.then(|| vec![("all".to_owned(), "text/*.parquet".to_owned())]);
    [
        ("text", texts.unwrap_or_default()),
        ("documents", documents),
    ]
    .into_iter()
    .filter(|(_, files)| !files.is_empty())
    .map(|(name, files)| CardTable {
        name: name.to_owned(),
        files,
    })
    .collect()
}
