//! The corpus: packages to documents, one JSONL file a kind, the same for the same packages.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::sources::{self, Kind, Source};
use crate::{extract, packages};

/// Each kind must reach this many bytes of text.
const LEAST_TEXT: usize = 25_000_000;

/// A document is no shorter and no longer than this many bytes.
const DOCUMENT_LEN: std::ops::RangeInclusive<usize> = 500..=20_000;

/// A long file is cut into documents of about these many bytes, chosen by the hash of what is left.
const CUTS: [usize; 8] = [900, 1_200, 1_600, 2_400, 3_200, 4_800, 8_000, 16_000];

/// Returns where the documents of a kind lie.
pub(crate) fn path(folder: &Path, kind: Kind) -> PathBuf {
    folder.join(format!("{kind}.jsonl"))
}

/// Makes every file of the corpus that is not there yet.
pub(crate) fn build(folder: &Path) -> Result<()> {
    let missing: Vec<Kind> = Kind::ALL
        .into_iter()
        .filter(|kind| !path(folder, *kind).exists())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let unpacked = folder.join("unpacked");
    fs::create_dir_all(&unpacked)?;
    let names: BTreeSet<&str> = sources::all().map(|source| source.package).collect();
    packages::unpack(&unpacked, &names)?;
    for kind in missing {
        write(folder, &unpacked, kind)?;
    }
    // Two gigabytes, and packages are soon fetched again.
    Ok(fs::remove_dir_all(unpacked)?)
}

/// Returns the texts of a JSONL file: as many whole documents as fit into `limit` bytes of text.
pub(crate) fn read(path: &Path, limit: usize) -> Result<Vec<String>> {
    let file = File::open(path).with_context(|| format!("failed to open `{}`", path.display()))?;
    let (mut texts, mut len) = (Vec::new(), 0);
    for line in BufReader::new(file).lines() {
        let row: Value = serde_json::from_str(&line?)?;
        let text = row["text"].as_str().context("a row has no `text`")?;
        len += text.len();
        if len > limit {
            break;
        }
        texts.push(text.to_owned());
    }
    Ok(texts)
}

fn write(folder: &Path, unpacked: &Path, kind: Kind) -> Result<()> {
    // By hash: one of each text, and an order that no source rules.
    let mut documents: BTreeMap<[u8; 32], String> = BTreeMap::new();
    for source in sources::all().filter(|source| source.kind == kind) {
        let taken = collect(unpacked, source, &mut documents)?;
        eprintln!(
            "{kind}: {:.1} MB of {}{}",
            taken as f64 / 1e6,
            source.package,
            source.within
        );
    }
    let path = path(folder, kind);
    let beside = path.with_extension("part");
    let mut file = BufWriter::new(File::create(&beside)?);
    let mut len = 0;
    for text in documents.into_values() {
        len += text.len();
        if len > kind.cap() {
            break;
        }
        writeln!(file, "{}", json!({ "text": text }))?;
    }
    ensure!(len >= LEAST_TEXT, "only {len} bytes of {kind} were found");
    file.flush()?;
    fs::rename(beside, path)?;
    Ok(())
}

/// Takes the documents of a source, at most as many as it may give; returns their length.
fn collect(
    unpacked: &Path,
    source: Source,
    documents: &mut BTreeMap<[u8; 32], String>,
) -> Result<usize> {
    let folder = unpacked.join(source.package);
    let mut files: Vec<PathBuf> = packages::files(&folder)?;
    files.retain(|file| {
        let path = format!("/{}", file.strip_prefix(&folder).unwrap_or(file).display());
        let path = path.strip_suffix(".gz").unwrap_or(&path);
        path.contains(source.within)
            && path.ends_with(source.suffix)
            && !path.contains("/changelog")
    });
    // By hash of the name, so that a limit cuts through the alphabet.
    files.sort_by_cached_key(|file| {
        hash(
            file.strip_prefix(&folder)
                .unwrap_or(file)
                .as_os_str()
                .as_encoded_bytes(),
        )
    });
    let mut taken = 0;
    for (position, file) in files.iter().enumerate() {
        let Some(text) = extract::text(fs::read(file)?, source.format, position) else {
            continue;
        };
        for document in cut(&text) {
            let beyond_ascii = document.bytes().filter(|byte| !byte.is_ascii()).count();
            if (beyond_ascii as f64) < source.kind.least_beyond_ascii() * document.len() as f64 {
                continue;
            }
            if taken + document.len() > source.limit_kb * 1_000 {
                return Ok(taken);
            }
            if documents
                .insert(hash(document.as_bytes()), document.to_owned())
                .is_none()
            {
                taken += document.len();
            }
        }
    }
    Ok(taken)
}

/// Cuts a text into documents, at the ends of lines where there are any; too short a rest is left out.
fn cut(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text.trim();
    std::iter::from_fn(move || {
        if rest.len() < *DOCUMENT_LEN.start() {
            return None;
        }
        let choice = usize::from(hash(&rest.as_bytes()[..*DOCUMENT_LEN.start()])[0]);
        let mut at = rest.len().min(CUTS[choice % CUTS.len()]);
        if rest.len() > at {
            while !rest.is_char_boundary(at) {
                at -= 1;
            }
            at = rest[..at]
                .rfind('\n')
                .filter(|line_end| DOCUMENT_LEN.contains(line_end))
                .unwrap_or(at);
        }
        let (document, after) = rest.split_at(at);
        rest = after.trim_start_matches('\n');
        Some(document)
    })
}

fn hash(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_neither_short_nor_long() {
        let text = "नमस्ते, a line of text\n".repeat(10_000);
        let documents: Vec<&str> = cut(&text).collect();
        assert!(
            documents
                .iter()
                .all(|document| DOCUMENT_LEN.contains(&document.len()))
        );
        assert!(documents.len() > 20);
    }
}
