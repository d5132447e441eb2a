//! Reads what the license checks look at: registries of the user, and a folder's small texts.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use stablelm_license::{Registry, Release, ReleaseFile};

use crate::error::CommandError;

/// The longest text that is read; longer ones are data.
const MAX_TEXT: u64 = 4 << 20;

/// The longest safetensors header that is read, the limit of the format's own library.
const MAX_HEADER: u64 = 100_000_000;

/// Returns the built-in registry with the user's files, the last one first.
pub(super) fn registry(files: &[PathBuf]) -> Result<Registry, CommandError> {
    let mut registry = Registry::builtin();
    for file in files {
        registry = registry
            .with_user(&read(file)?)
            .map_err(|error| in_file(file, error))?;
    }
    Ok(registry)
}

/// Reads a file whole.
pub(super) fn read(file: &Path) -> Result<Vec<u8>, CommandError> {
    fs::read(file).map_err(|error| in_file(file, error))
}

/// Says in which file something went wrong.
pub(super) fn in_file(
    file: &Path,
    error: impl std::error::Error + Send + Sync + 'static,
) -> CommandError {
    CommandError::input(
        anyhow::Error::new(error).context(format!("failed to read `{}`", file.display())),
    )
}

/// Reads names, sizes, small texts and safetensors headers below a folder. Nothing is hashed.
pub(super) fn release(folder: &Path) -> Result<Release, CommandError> {
    let mut release = Release::default();
    let mut waiting = vec![folder.to_owned()];
    while let Some(current) = waiting.pop() {
        let entries = fs::read_dir(&current).map_err(|error| in_file(&current, error))?;
        for entry in entries {
            let entry = entry.map_err(|error| in_file(&current, error))?;
            let kind = entry
                .file_type()
                .map_err(|error| in_file(&entry.path(), error))?;
            if kind.is_dir() {
                waiting.push(entry.path());
            } else if kind.is_file() {
                add(&mut release, folder, &entry.path())?;
            }
        }
    }
    Ok(release)
}

fn add(release: &mut Release, folder: &Path, path: &Path) -> Result<(), CommandError> {
    let relative = path.strip_prefix(folder).unwrap_or(path);
    let parts: Vec<_> = relative
        .components()
        .map(|part| part.as_os_str().to_string_lossy().into_owned())
        .collect();
    let name = parts.join("/");
    let size = fs::metadata(path)
        .map_err(|error| in_file(path, error))?
        .len();
    let has_extension = |extension: &str| {
        path.extension()
            .is_some_and(|found| found.eq_ignore_ascii_case(extension))
    };
    if has_extension("safetensors") {
        if let Some(entries) = header(path).map_err(|error| in_file(path, error))? {
            release.metadata.insert(name.clone(), entries);
        }
    } else if size <= MAX_TEXT
        && (path.extension().is_none()
            || ["md", "txt", "json", "cff", "toml", "html"]
                .into_iter()
                .any(has_extension))
    {
        let bytes = read(path)?;
        if let Ok(text) = String::from_utf8(bytes) {
            release.texts.insert(name.clone(), text);
        }
    }
    release.files.insert(
        name,
        ReleaseFile {
            size,
            sha256: String::new(),
        },
    );
    Ok(())
}

/// Reads `__metadata__` of a safetensors file; nothing where the header is not one.
fn header(path: &Path) -> std::io::Result<Option<BTreeMap<String, String>>> {
    #[derive(Deserialize)]
    struct Header {
        #[serde(default, rename = "__metadata__")]
        metadata: BTreeMap<String, String>,
    }
    let mut file = File::open(path)?;
    let mut len = [0; 8];
    if file.read_exact(&mut len).is_err() {
        return Ok(None);
    }
    let len = u64::from_le_bytes(len);
    if len > MAX_HEADER {
        return Ok(None);
    }
    let mut text = Vec::new();
    file.take(len).read_to_end(&mut text)?;
    let header: Option<Header> = serde_json::from_slice(&text).ok();
    Ok(header.map(|header| header.metadata))
}
