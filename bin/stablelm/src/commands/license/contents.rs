//! Reads a folder for the checks: hashes of all files, texts, and the headers of weights.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::ops::Range;
use std::path::Path;

use anyhow::{Context as _, anyhow};
use sha2::{Digest as _, Sha256};
use stablelm_license::verify::Unreadable;
use stablelm_license::{Ledger, Release, ReleaseFile};

use crate::error::CommandError;
use crate::papers::LEDGER_FILE;

/// Texts longer than this are hashed and not read.
const MAX_TEXT: u64 = 64 << 20;
/// No header of a safetensors file is longer.
const MAX_HEADER: u64 = 100_000_000;

/// Endings and names of what is read as text.
const TEXT_ENDINGS: [&str; 7] = [".md", ".json", ".cff", ".toml", ".txt", ".yml", ".jinja"];
const TEXT_NAMES: [&str; 3] = ["LICENSE", "NOTICE", "COPYING"];

/// What is in a folder.
pub(super) struct Contents {
    pub(super) release: Release,
    /// Documents that can't be read, with the reason.
    pub(super) unreadable: Vec<Unreadable>,
    /// Links, which no signature covers.
    pub(super) links: Vec<String>,
}

/// Reads a folder; every byte of it is hashed.
pub(super) fn read(folder: &Path) -> Result<Contents, CommandError> {
    if !folder.is_dir() {
        let what = format!("`{}` is not a folder", folder.display());
        return Err(CommandError::input(anyhow!(what))
            .hint("give the folder of a model or of prepared data"));
    }
    let mut found = Contents {
        release: Release::default(),
        unreadable: Vec::new(),
        links: Vec::new(),
    };
    walk(folder, "", &mut found).map_err(CommandError::input)?;
    found.release.ledger = found
        .release
        .texts
        .get(LEDGER_FILE)
        .and_then(|text| Ledger::from_json(text.as_bytes()).ok());
    Ok(found)
}

fn walk(folder: &Path, below: &str, found: &mut Contents) -> anyhow::Result<()> {
    let reading = || format!("failed to read `{}`", folder.display());
    for entry in fs::read_dir(folder).with_context(reading)? {
        let entry = entry.with_context(reading)?;
        let Ok(name) = entry.file_name().into_string() else {
            return Err(anyhow!(
                "the name of `{}` is not UTF-8",
                entry.path().display()
            ));
        };
        let path = if below.is_empty() {
            name
        } else {
            format!("{below}/{name}")
        };
        let kind = entry.file_type().with_context(reading)?;
        if kind.is_dir() {
            walk(&entry.path(), &path, found)?;
        } else if kind.is_symlink() {
            found.links.push(path);
        } else {
            file(&entry.path(), path, found)
                .with_context(|| format!("failed to read `{}`", entry.path().display()))?;
        }
    }
    Ok(())
}

fn file(file: &Path, path: String, found: &mut Contents) -> anyhow::Result<()> {
    let size = fs::metadata(file)?.len();
    let name = path.rsplit('/').next().unwrap_or(&path);
    let is_text = size <= MAX_TEXT
        && (TEXT_NAMES.contains(&name) || TEXT_ENDINGS.iter().any(|ending| name.ends_with(ending)));
    let sha256 = if is_text {
        let bytes = fs::read(file)?;
        let sha256 = hexadecimal(&Sha256::digest(&bytes));
        match String::from_utf8(bytes) {
            Ok(text) => {
                found.release.texts.insert(path.clone(), text);
            }
            Err(error) => found.unreadable.push(Unreadable {
                file: path.clone(),
                reason: error.to_string(),
            }),
        }
        sha256
    } else {
        sha256_of(file, 0..size)?
    };
    if name.ends_with(".safetensors") {
        match header(file, size)? {
            Ok(metadata) => {
                found.release.metadata.insert(path.clone(), metadata);
            }
            Err(reason) => found.unreadable.push(Unreadable {
                file: path.clone(),
                reason,
            }),
        }
    }
    found
        .release
        .files
        .insert(path, ReleaseFile { size, sha256 });
    Ok(())
}

/// Returns the SHA-256 of a part of a file.
pub(super) fn sha256_of(file: &Path, bytes: Range<u64>) -> io::Result<String> {
    let mut opened = File::open(file)?;
    opened.seek(SeekFrom::Start(bytes.start))?;
    let mut part = opened.take(bytes.end - bytes.start);
    let mut buffer = vec![0; 1 << 20];
    let mut hasher = Sha256::new();
    loop {
        let count = part.read(&mut buffer)?;
        if count == 0 {
            return Ok(hexadecimal(&hasher.finalize()));
        }
        hasher.update(&buffer[..count]);
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

/// Reads `__metadata__` of a safetensors file, or says why it is none.
fn header(file: &Path, size: u64) -> io::Result<Result<BTreeMap<String, String>, String>> {
    let mut opened = File::open(file)?;
    let mut length = [0; 8];
    if size < 8 {
        return Ok(Err("it is too short for a safetensors file".to_owned()));
    }
    opened.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    if length > MAX_HEADER || length > size - 8 {
        return Ok(Err(format!("its header would have {length} bytes")));
    }
    let mut text = Vec::new();
    opened.take(length).read_to_end(&mut text)?;
    Ok(parse_header(&text, size - 8 - length))
}

fn parse_header(text: &[u8], data: u64) -> Result<BTreeMap<String, String>, String> {
    let header: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(text).map_err(|error| format!("its header is not JSON: {error}"))?;
    let mut end = 0;
    let mut metadata = BTreeMap::new();
    for (name, value) in &header {
        if name == "__metadata__" {
            metadata = serde_json::from_value(value.clone())
                .map_err(|error| format!("`__metadata__` holds more than texts: {error}"))?;
        } else {
            let last = value["data_offsets"][1].as_u64();
            end = end.max(last.ok_or_else(|| format!("tensor `{name}` has no `data_offsets`"))?);
        }
    }
    if end == data {
        Ok(metadata)
    } else {
        Err(format!(
            "its tensors take {end} bytes, the file holds {data}"
        ))
    }
}
