//! The rules of Books3 once more over every row of the inputs that can still be read.

use std::path::Path;

use crate::books3::{Books3Rules, Books3Scratch};
use crate::pipeline::Pool;
use crate::read::{FileRows, RawRow, ReadError, Schema};
use crate::recipe::SourceRecipe;
use crate::remote::{FetchedCopy, Remotes};
use crate::verify::manifest::{FileEntry, ManifestFile};
use crate::verify::{BATCH_BYTES, RowSet, Run, chain};

const CHECK: &str = "books3";

pub(super) fn check(run: &mut Run<'_>, manifest: &ManifestFile, rules: &Books3Rules) {
    let folder = run.options.inputs;
    let (remote, local): (Vec<_>, Vec<_>) = manifest
        .inputs
        .iter()
        .partition(|input| Remotes::is_remote(&input.path));
    let hashed = run.workers.map(local, |input| {
        let path = folder.join(&input.path);
        let same = is_same(&path, input);
        (input, path, same)
    });
    for (input, path, same) in hashed {
        let checked = same.and_then(|()| check_input(run, manifest, input, &path, rules));
        if let Err(why) = checked {
            run.skip(format!("input `{}`", input.path), why);
        }
    }
    let fetching = run.options.remote;
    let fetching = fetching.map(|wanted| (Remotes::new(wanted.options.clone()), wanted.folder));
    for input in remote {
        let checked = match &fetching {
            None => Err("it is remote; `--remote` fetches and checks it".to_owned()),
            Some((remotes, folder)) => fetch(input, remotes, folder)
                .and_then(|copy| check_input(run, manifest, input, copy.path(), rules)),
        };
        if let Err(why) = checked {
            run.skip(format!("input `{}`", input.path), why);
        }
    }
    // Rows that are in the token files and in no input that was read.
    let named: Vec<_> = run.kept.keys().cloned().collect();
    for key in named {
        let known = manifest.inputs.iter().any(|input| {
            (input.source.as_str(), input.path.as_str()) == (key.0.as_str(), key.1.as_str())
        });
        if !known {
            let (source, path) = key;
            let found = format!("documents of source `{source}` from `{path}`");
            run.find(
                "provenance",
                "manifest.json",
                "inputs",
                "every file of documents",
                found,
            );
        }
    }
}

/// Fetches a remote input, if it is still the file that the run read.
fn fetch(input: &FileEntry, remotes: &Remotes, folder: &Path) -> Result<FetchedCopy, String> {
    let listed = remotes.expand(&input.path);
    let listed = listed.map_err(|error| chain(&error))?;
    let file = listed.iter().find(|file| file.shown() == input.path);
    let file = file.ok_or("it is not listed any more")?;
    is_as_long(file.size, input)?;
    let stage = format!("fetch {}", input.path);
    let copy = FetchedCopy::fetch(remotes, file, folder, &stage);
    let copy = copy.map_err(|error| chain(&error))?;
    is_same(copy.path(), input)?;
    Ok(copy)
}

/// Whether an input is still the file that the run read.
fn is_same(path: &Path, input: &FileEntry) -> Result<(), String> {
    let metadata = std::fs::metadata(path).map_err(|error| error.to_string())?;
    is_as_long(metadata.len(), input)?;
    let (_, sha256) = crate::hash::sha256_file(path).map_err(|error| error.to_string())?;
    if sha256 != input.sha256 {
        return Err(format!(
            "its SHA-256 is {sha256}, the run read {}",
            input.sha256
        ));
    }
    Ok(())
}

fn is_as_long(length: u64, input: &FileEntry) -> Result<(), String> {
    if length == input.bytes {
        return Ok(());
    }
    Err(format!(
        "it has {length} bytes, the run read {}",
        input.bytes
    ))
}

/// What a row of an input turns out to be.
struct Judged {
    row: u64,
    /// Whether it is a document with text, the only kind that the rules are asked about.
    is_document: bool,
    rule: Option<&'static str>,
}

fn check_input(
    run: &mut Run<'_>,
    manifest: &ManifestFile,
    input: &FileEntry,
    path: &Path,
    rules: &Books3Rules,
) -> Result<(), String> {
    let source = manifest.source(&input.source);
    let source = source.ok_or_else(|| format!("the manifest has no source `{}`", input.source))?;
    let key = (input.source.clone(), input.path.clone());
    let mut kept = run.kept.get(&key).cloned().unwrap_or_default();
    let mut rows = InputRows::open(path, &source).map_err(|error| chain(&error))?;
    let scratches = Pool::default();
    loop {
        let batch = rows.next_batch().map_err(|error| chain(&error))?;
        if batch.is_empty() {
            break;
        }
        let judged = run.workers.map(batch, |row| {
            scratches.with(Books3Scratch::default, |scratch| {
                judge(row, &rows.schema, &input.path, rules, scratch)
            })
        });
        for judged in judged {
            count(run, input, &judged, &mut kept);
        }
    }
    run.verification.checked.inputs += 1;
    let lost = kept.len();
    if lost > 0 {
        let found = format!("{lost} documents from rows that it does not have");
        run.find(
            "provenance",
            &input.path,
            "rows",
            "every row that a document came from",
            found,
        );
    }
    Ok(())
}

fn judge(
    row: RawRow,
    schema: &Schema,
    path: &str,
    rules: &Books3Rules,
    scratch: &mut Books3Scratch,
) -> Judged {
    match row.parse(schema) {
        Err(broken) => Judged {
            row: broken.row,
            is_document: false,
            rule: None,
        },
        Ok(document) => {
            let is_document = !document.text.is_empty();
            let reason = is_document
                .then(|| rules.judge(&document, path, scratch))
                .flatten();
            Judged {
                row: document.row,
                is_document,
                rule: reason.map(|reason| reason.name),
            }
        }
    }
}

fn count(run: &mut Run<'_>, input: &FileEntry, judged: &Judged, kept: &mut RowSet) {
    run.verification.checked.input_rows += 1;
    let is_kept = kept.remove(judged.row);
    let place = format!("row {}", judged.row);
    if !judged.is_document {
        if is_kept {
            let expected = "a document, as one in the token files came from it";
            run.find("provenance", &input.path, place, expected, "none");
        }
        return;
    }
    let books3 = &mut run.verification.books3;
    books3.documents_checked += 1;
    if let Some(rule) = judged.rule {
        books3.documents_excluded += 1;
        *books3.by_rule.entry(rule.to_owned()).or_default() += 1;
        if is_kept {
            books3.remaining += 1;
            let found = format!("kept, and excluded by `{rule}`");
            run.find(CHECK, &input.path, place, "no Books3", found);
        }
    }
}

/// The rows of one input; the only place here that knows how files are read.
struct InputRows {
    rows: FileRows,
    schema: Schema,
}

impl InputRows {
    fn open(path: &Path, source: &SourceRecipe) -> Result<Self, ReadError> {
        let schema = Schema::of(source);
        Ok(Self {
            rows: FileRows::open(path, &schema, BATCH_BYTES)?,
            schema,
        })
    }

    /// Rows for all threads; none after the last.
    fn next_batch(&mut self) -> Result<Vec<RawRow>, ReadError> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while bytes < BATCH_BYTES {
            let Some(row) = self.rows.next_row()? else {
                break;
            };
            bytes += row.size();
            batch.push(row);
        }
        Ok(batch)
    }
}
