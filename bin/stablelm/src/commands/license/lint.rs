//! `stablelm license lint`

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use serde::Serialize;
use stablelm_license::lint::{self, Lint};
use stablelm_license::{Finding, Severity};

use super::findings;
use crate::args::LicenseLint;
use crate::error::CommandError;
use crate::exit_status::ExitStatus;
use crate::output;
use crate::ui::Ui;

/// Files that are looked for in a folder.
const NAMES: [&str; 2] = ["README.md", "CITATION.cff"];

#[derive(Serialize)]
struct Answer {
    passed: bool,
    errors: usize,
    warnings: usize,
    files: Vec<LintedFile>,
}

#[derive(Serialize)]
struct LintedFile {
    path: String,
    /// Whether `--fix` changed it.
    fixed: bool,
    findings: Vec<Shown>,
}

#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    finding: Finding,
    /// Whether `--fix` would put it right.
    fixable: bool,
}

pub(super) fn run(args: &LicenseLint, ui: &Ui) -> Result<ExitStatus, CommandError> {
    let mut files = Vec::new();
    for path in found(&args.paths)? {
        files.push(one(&path, args.fix)?);
    }
    let all = || files.iter().flat_map(|file| &file.findings);
    let (errors, warnings) = findings::count(all().map(|shown| &shown.finding));
    let fixable = all().filter(|shown| shown.fixable).count();
    let passed = errors == 0 && (warnings == 0 || !args.strict);
    if let Some(file) = &args.sarif {
        let named = |file: &LintedFile| {
            let path = file.path.clone();
            file.findings
                .iter()
                .map(|shown| Finding {
                    file: Some(path.clone()),
                    ..shown.finding.clone()
                })
                .collect::<Vec<_>>()
        };
        let findings: Vec<_> = files.iter().flat_map(named).collect();
        findings::write_sarif(file, &findings)?;
    }
    if args.json.json {
        let answer = Answer {
            passed,
            errors,
            warnings,
            files,
        };
        ui.json(&answer)?;
    } else {
        let mut text = String::new();
        for file in &files {
            for shown in &file.findings {
                text.push_str(&findings::line(&shown.finding, &file.path));
            }
        }
        text.push_str(&format!(
            "{}, {} in {}\n",
            findings::counted(errors, "error"),
            findings::counted(warnings, "warning"),
            findings::counted(files.len(), "file")
        ));
        ui.answer(&text)?;
        if fixable > 0 {
            ui.note(&format!("{fixable} of them can be put right by --fix"));
        }
    }
    Ok(if passed {
        ExitStatus::Success
    } else {
        ExitStatus::Failed
    })
}

/// Returns the files to look at: those named, and those of a folder.
fn found(paths: &[PathBuf]) -> Result<Vec<PathBuf>, CommandError> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            let name = path.to_string_lossy();
            if path.exists() && lint::Document::of_name(&name).is_none() {
                let error = anyhow!("`{name}` is neither a card nor a citation file");
                return Err(
                    CommandError::input(error).hint("give `*.md` or `*.cff` files, or a folder")
                );
            }
            files.push(path.clone());
            continue;
        }
        let inside: Vec<_> = NAMES
            .iter()
            .map(|name| path.join(name))
            .filter(|file| file.exists())
            .collect();
        if inside.is_empty() {
            let what = format!(
                "`{}` holds neither `README.md` nor `CITATION.cff`",
                path.display()
            );
            return Err(CommandError::input(anyhow!(what)));
        }
        files.extend(inside);
    }
    Ok(files)
}

fn one(path: &Path, fix: bool) -> Result<LintedFile, CommandError> {
    let bytes = fs::read(path)
        .with_context(|| format!("failed to read `{}`", path.display()))
        .map_err(CommandError::input)?;
    let name = path.to_string_lossy().into_owned();
    let mut lints = lint::lint(&name, &bytes);
    let mut fixed = false;
    if fix && let Ok(text) = std::str::from_utf8(&bytes) {
        let new = lint::fix(&name, text);
        if new != text {
            output::write_file(path, new.as_bytes())?;
            lints = lint::lint(&name, new.as_bytes());
            fixed = true;
        }
    }
    lints.sort_by_key(|lint| (lint.finding.line, lint.finding.column));
    Ok(LintedFile {
        path: name,
        fixed,
        findings: lints.into_iter().map(shown).collect(),
    })
}

fn shown(lint: Lint) -> Shown {
    let mut finding = lint.finding;
    // The file is named once, above.
    finding.file = None;
    Shown {
        fixable: lint.fix.is_some() && finding.severity > Severity::Info,
        finding,
    }
}
