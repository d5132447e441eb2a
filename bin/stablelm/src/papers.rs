//! License papers beside models and data: found, made and written.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use stablelm_checkpoint::{Checkpoint, OpenOptions};
use stablelm_license::{
    Ledger, ModelFacts, NOASSERTION, Registry, cite_cff, ledger_from_card,
    ledger_from_safetensors_metadata, license_text, model_card, notice, notice_not_retained,
};

use crate::error::CommandError;
use crate::output;

/// The file that says what a folder is made of; `convert` and `data prepare` write it and read it.
pub(crate) const LEDGER_FILE: &str = "ledger.json";

/// Size at which a `NOTICE` is no notice.
const MAX_NOTICE: usize = 1 << 20;

/// Finds out what a checkpoint is: from `--component`, its ledger, its safetensors header or its card.
///
/// What was done to it before stays on record, whatever `--component` says it is.
pub(crate) fn ledger_of_checkpoint(
    checkpoint: &Checkpoint,
    component: Option<&str>,
) -> Result<Ledger, CommandError> {
    let found = match ledger_beside(checkpoint.root())? {
        Some(ledger) => Some(ledger),
        None => ledger_from_safetensors_metadata(checkpoint.metadata())
            .map(|ledger| verified(ledger, checkpoint.root()))
            .transpose()?,
    };
    match (component, found) {
        (Some(id), found) => {
            let (changes, notices) = found
                .map(|ledger| (ledger.changes, ledger.notices))
                .unwrap_or_default();
            Ok(Ledger {
                changes,
                notices,
                ..ledger_of_component(id, &Registry::builtin())?
            })
        }
        (None, Some(ledger)) => Ok(ledger),
        (None, None) => Ok(ledger_of_card(checkpoint.root())
            .unwrap_or_else(|| Ledger::for_unknown(&title_of(checkpoint.root())))),
    }
}

/// Carries the `NOTICE` that came with a checkpoint over, where the new one would not retain it.
///
/// Licenses ask to retain it. One that can't be carried over as text stops the conversion.
pub(crate) fn keep_notice(ledger: &mut Ledger, root: &Path) -> Result<(), CommandError> {
    let mut files = folders_of(root).map(|folder| folder.join("NOTICE"));
    let Some(file) = files.find(|file| fs::symlink_metadata(file).is_ok()) else {
        return Ok(());
    };
    let refused = |why: &str| {
        let what = anyhow!("`{}` {why}, so the output would lack it", file.display());
        CommandError::refused(what).hint(
            "licenses ask to keep the notice of what they cover; its licensor may leave it out by \
             --i-am-the-licensor",
        )
    };
    let bytes = fs::read(&file).map_err(|error| refused(&format!("can't be read ({error})")))?;
    if bytes.len() > MAX_NOTICE {
        return Err(refused(&format!(
            "has {} bytes, more than the {MAX_NOTICE} that a notice may have",
            bytes.len()
        )));
    }
    let Ok(text) = String::from_utf8(bytes) else {
        return Err(refused("is not UTF-8 text"));
    };
    if let Some(lost) = notice_not_retained(ledger, &text).map(str::to_owned) {
        ledger.notices.push(lost);
    }
    Ok(())
}

/// Finds out what a file of ours is from the texts of its header, if it says so.
pub(crate) fn ledger_of_texts(
    texts: &BTreeMap<String, String>,
    file: &Path,
) -> Result<Option<Ledger>, CommandError> {
    let mut texts = texts.clone();
    // GGUF files say it under a key of their own.
    if let Some(license) = texts.get("modelspec.license").cloned() {
        texts.insert("license".to_owned(), license);
    }
    ledger_from_safetensors_metadata(&texts)
        .map(|ledger| verified(ledger, file))
        .transpose()
}

/// Returns a ledger whose record of changes is whole.
fn verified(ledger: Ledger, file: &Path) -> Result<Ledger, CommandError> {
    ledger.verify_chain().map_err(|error| {
        CommandError::failed(error)
            .context(format!(
                "the record of changes in `{}` does not hold",
                file.display()
            ))
            .hint("it was edited; get the file again from where it came")
    })?;
    Ok(ledger)
}

/// Finds out what a path or a registry id is.
pub(crate) fn ledger_of_subject(subject: &str) -> Result<Ledger, CommandError> {
    ledger_of_subject_in(subject, &Registry::builtin())
}

/// The same, with components that the user knows.
pub(crate) fn ledger_of_subject_in(
    subject: &str,
    registry: &Registry,
) -> Result<Ledger, CommandError> {
    let path = Path::new(subject);
    if !path.exists() {
        return ledger_of_component(subject, registry);
    }
    if let Some(ledger) = ledger_beside(path)? {
        return Ok(ledger);
    }
    let checkpoint = stablelm_checkpoint::open(path, &OpenOptions { neox_config: None });
    let checkpoint = checkpoint.map_err(|error| {
        CommandError::input(error)
            .context(format!("`{subject}` has no {LEDGER_FILE} and is not a checkpoint"))
            .hint("give a model folder, a prepared data folder, or an id listed by `stablelm license show`")
    })?;
    ledger_of_checkpoint(&checkpoint, None)
}

/// Returns whether nobody knows under which license the subject is.
pub(crate) fn is_unlicensed(ledger: &Ledger) -> bool {
    ledger
        .subject()
        .is_some_and(|subject| subject.license == NOASSERTION)
}

/// Returns what the papers say about a model.
pub(crate) fn facts_of(checkpoint: &Checkpoint, dtype: &str, tokenizer: &str) -> ModelFacts {
    let config = checkpoint.config();
    ModelFacts {
        architecture: config.architecture.class_name().to_owned(),
        parameters: config.num_parameters(),
        dtype: dtype.to_owned(),
        context: config.max_position_embeddings as u64,
        tokenizer: tokenizer.to_owned(),
        library_name: "transformers".to_owned(),
    }
}

/// Writes the papers of a model into a folder: card, license text, notice, changes, citation, ledger.
pub(crate) fn write_model_papers(
    folder: &Path,
    ledger: &Ledger,
    facts: &ModelFacts,
) -> Result<(), CommandError> {
    let mut files = vec![
        ("README.md", model_card(ledger, facts)),
        ("NOTICE", notice(ledger)),
        ("CHANGES.json", ledger.changes_json()),
        ("CITATION.cff", cite_cff(ledger)),
        (LEDGER_FILE, ledger.to_json()),
    ];
    let license = ledger
        .subject()
        .map_or(NOASSERTION, |subject| subject.license.as_str());
    files.push(("LICENSE", license_file(license)));
    write_all(folder, &files)
}

/// Writes small text files into a folder that is being staged.
pub(crate) fn write_all(folder: &Path, files: &[(&str, String)]) -> Result<(), CommandError> {
    for (name, text) in files {
        output::write_staged(folder, name, text.as_bytes())?;
    }
    Ok(())
}

fn license_file(license: &str) -> String {
    match license_text(license) {
        Some(text) => text.to_owned(),
        None if license == NOASSERTION => {
            "No license is known for these weights. Without one, nobody may share them.\n\
             See NOTICE, and ask whoever trained them.\n"
                .to_owned()
        }
        None => format!(
            "SPDX-License-Identifier: {license}\n\nThe text of this license is not part of stablelm; see NOTICE.\n"
        ),
    }
}

fn ledger_of_component(id: &str, registry: &Registry) -> Result<Ledger, CommandError> {
    if let Some(component) = registry.get(id) {
        return Ok(Ledger::for_model_in(component, registry));
    }
    let error = CommandError::input(anyhow!(
        "`{id}` is neither a path nor a component of the license registry"
    ));
    let near = registry.nearest(id);
    let error = match near.first() {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => error,
    };
    Err(error.hint("`stablelm license show` lists the components"))
}

/// Returns where papers of a path lie: its folder, and the one above a `global_stepN` folder.
fn folders_of(path: &Path) -> impl Iterator<Item = &Path> {
    let folder = if path.is_dir() {
        path
    } else {
        path.parent().unwrap_or(path)
    };
    let is_step = folder
        .file_name()
        .is_some_and(|name| name.to_string_lossy().starts_with("global_step"));
    let above = if is_step { folder.parent() } else { None };
    [Some(folder), above].into_iter().flatten()
}

/// Reads the ledger in a folder, or in the one above a `global_stepN` folder, or beside a file.
fn ledger_beside(path: &Path) -> Result<Option<Ledger>, CommandError> {
    for folder in folders_of(path) {
        let file = folder.join(LEDGER_FILE);
        let bytes = match fs::read(&file) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(in_file(&file, error)),
        };
        let ledger = Ledger::from_json(&bytes).map_err(|error| in_file(&file, error))?;
        return verified(ledger, &file).map(Some);
    }
    Ok(None)
}

fn ledger_of_card(folder: &Path) -> Option<Ledger> {
    let card = fs::read_to_string(folder.join("README.md")).ok()?;
    ledger_from_card(&card, &Registry::builtin())
}

fn in_file(file: &Path, error: impl std::error::Error + Send + Sync + 'static) -> CommandError {
    CommandError::input(
        anyhow::Error::new(error).context(format!("failed to read `{}`", file.display())),
    )
}

fn title_of(path: &Path) -> String {
    let absolute: PathBuf = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    absolute.file_name().map_or_else(
        || "model".to_owned(),
        |name| name.to_string_lossy().into_owned(),
    )
}
