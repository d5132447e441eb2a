//! `stablelm license bom`

use std::fs::{self, File};
use std::path::Path;
use std::time::SystemTime;

use anyhow::anyhow;
use serde_json::{Value, json};
use stablelm_license::{
    BomContext, CycloneDxVersion, Ledger, ReleaseFile, ReuseLayout, bom_cyclonedx, bom_spdx3,
    croissant, reuse_layout,
};

use crate::args::{BomFormat, LicenseBom};
use crate::commands::data_croissant;
use crate::error::CommandError;
use crate::output::{self, StagedDir};
use crate::papers;
use crate::settings;
use crate::ui::Ui;

pub(super) fn run(args: &LicenseBom, ui: &Ui) -> Result<(), CommandError> {
    let ledger = papers::ledger_of_subject(&args.subject)?;
    if let Some(gone) = ledger
        .subject()
        .filter(|subject| subject.takedown.is_some())
    {
        let what = anyhow!("{} was taken down; nothing may be made of it", gone.name);
        return Err(CommandError::refused(what));
    }
    if args.format != BomFormat::Croissant1_1 && (args.creator.is_some() || args.url.is_some()) {
        let what = anyhow!("--creator and --url are for --format croissant1.1");
        return Err(CommandError::usage(what));
    }
    let subject = Path::new(&args.subject);
    let text = match args.format {
        BomFormat::Reuse => return reuse(args, &ledger, ui),
        BomFormat::Croissant1_1 => croissant_text(args, subject, &ledger)?,
        BomFormat::Spdx3 => bom_spdx3(&ledger, &context(args, &ledger)?),
        BomFormat::Cdx1_6 => {
            bom_cyclonedx(&ledger, CycloneDxVersion::V1_6, &context(args, &ledger)?)
        }
        BomFormat::Cdx1_7 => {
            bom_cyclonedx(&ledger, CycloneDxVersion::V1_7, &context(args, &ledger)?)
        }
    };
    if let Some(path) = &args.output {
        output::write_new_file(path, text.as_bytes())?;
        ui.status("Wrote", &path.display().to_string());
    }
    if args.json.json {
        let document = args.output.is_none().then(|| {
            serde_json::from_str::<Value>(&text).expect("these formats are JSON, just printed")
        });
        ui.json(&answer(args, document.as_ref()))
    } else if args.output.is_none() {
        ui.answer(&text)
    } else {
        Ok(())
    }
}

fn answer(args: &LicenseBom, document: Option<&Value>) -> Value {
    use clap::ValueEnum as _;
    let format = args.format.to_possible_value();
    json!({
        "type": "bom",
        "format": format.as_ref().map(clap::builder::PossibleValue::get_name),
        "subject": args.subject,
        "output": args.output,
        "document": document,
    })
}

fn context(args: &LicenseBom, ledger: &Ledger) -> Result<BomContext, CommandError> {
    let subject = Path::new(&args.subject);
    Ok(BomContext {
        created: created(subject, ledger)?,
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        files: files(subject)?,
        facts: super::facts(&args.subject),
    })
}

/// Returns the files of a folder; a single file and a registry's entry have none.
fn files(subject: &Path) -> Result<std::collections::BTreeMap<String, ReleaseFile>, CommandError> {
    if !subject.is_dir() {
        return Ok(std::collections::BTreeMap::new());
    }
    let found = stablelm_data::list_files_with_hashes(subject).map_err(CommandError::input)?;
    Ok(found
        .into_iter()
        .map(|file| {
            let listed = ReleaseFile {
                size: file.bytes,
                sha256: file.sha256,
            };
            (file.path, listed)
        })
        .collect())
}

/// Returns the moment a document bears: the one that is set, else that of the last change, else
/// the day of the data, else the present.
fn created(subject: &Path, ledger: &Ledger) -> Result<String, CommandError> {
    let changed = || {
        let last = ledger.changes.last()?;
        humantime::parse_rfc3339(&last.when).ok()
    };
    let published = || {
        let day = published(subject)?;
        humantime::parse_rfc3339(&format!("{day}T00:00:00Z")).ok()
    };
    let moment = match settings::source_date()? {
        Some(moment) => moment,
        None => changed().or_else(published).unwrap_or_else(SystemTime::now),
    };
    Ok(humantime::format_rfc3339_seconds(moment).to_string())
}

/// Returns the day that prepared data bears.
fn published(folder: &Path) -> Option<String> {
    let bytes = fs::read(folder.join("croissant.json")).ok()?;
    let document: Value = serde_json::from_slice(&bytes).ok()?;
    document["datePublished"].as_str().map(str::to_owned)
}

fn croissant_text(
    args: &LicenseBom,
    subject: &Path,
    ledger: &Ledger,
) -> Result<String, CommandError> {
    if ledger.subject.is_some() {
        let what = anyhow!("Croissant describes data, and `{}` is none", args.subject);
        return Err(CommandError::input(what)
            .hint("give a folder that `stablelm data prepare` wrote, or take --format spdx3"));
    }
    let prepared = data_croissant::read(subject)?;
    let created = created(subject, ledger)?;
    let day = created.split('T').next().unwrap_or_default().to_owned();
    let mut dataset =
        data_croissant::dataset(subject, &prepared, day).map_err(CommandError::input)?;
    if args.creator.is_some() {
        dataset.creator.clone_from(&args.creator);
    }
    if args.url.is_some() {
        dataset.url.clone_from(&args.url);
    }
    let document = croissant(ledger, &dataset);
    Ok(serde_json::to_string_pretty(&document).expect("a JSON value always prints") + "\n")
}

fn reuse(args: &LicenseBom, ledger: &Ledger, ui: &Ui) -> Result<(), CommandError> {
    let files = files(Path::new(&args.subject))?;
    let layout = reuse_layout(ledger, files.keys().map(String::as_str));
    if let Some(folder) = &args.output {
        write_layout(folder, &layout)?;
        ui.status(
            "Wrote",
            &format!(
                "REUSE.toml and {} license texts to {}",
                layout.licenses.len(),
                folder.display()
            ),
        );
    }
    if args.json.json {
        let document = args.output.is_none().then(|| {
            let mut texts = serde_json::Map::new();
            texts.insert("REUSE.toml".to_owned(), json!(layout.toml));
            for (name, text) in &layout.licenses {
                texts.insert(format!("LICENSES/{name}"), json!(text));
            }
            Value::Object(texts)
        });
        ui.json(&answer(args, document.as_ref()))
    } else if args.output.is_none() {
        ui.answer(&layout.toml)
    } else {
        Ok(())
    }
}

/// Writes both parts of a layout into a folder that may hold other files, complete or not at all.
fn write_layout(folder: &Path, layout: &ReuseLayout) -> Result<(), CommandError> {
    let (texts, toml) = (folder.join("LICENSES"), folder.join("REUSE.toml"));
    output::refuse_existing(&toml, false)?;
    output::refuse_existing(&texts, false)?;
    let failed = |error: std::io::Error| {
        let what = format!(
            "failed to write the license texts to `{}`",
            folder.display()
        );
        CommandError::input(anyhow::Error::new(error).context(what))
    };
    fs::create_dir_all(folder).map_err(failed)?;
    let staged = StagedDir::temporary(&texts, "partial")?;
    let write = || {
        let new = staged.path().join("LICENSES");
        if new.exists() {
            fs::remove_dir_all(&new)?;
        }
        fs::create_dir(&new)?;
        for (name, text) in &layout.licenses {
            fs::write(new.join(name), text)?;
            File::open(new.join(name))?.sync_all()?;
        }
        File::open(&new)?.sync_all()?;
        fs::rename(&new, &texts)
    };
    write().map_err(failed)?;
    // The statement comes last: without it the texts say nothing.
    output::write_file(&toml, layout.toml.as_bytes())
}
