//! Works from files to a list of fingerprints, for the command that makes one.

use std::io::{self, BufRead, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::books3::build::Builder;
use crate::books3::list::BLOCK_LETTERS;
use crate::hash::{sha256, to_hex};
use crate::read::{ReadError, compression};
use crate::write::{WriteError, write_file};

/// Longest work that is held in memory.
const MAX_WORK_LEN: u64 = 256 * 1024 * 1024;

/// What [`build_fingerprints`] works with.
#[derive(Clone, Copy, Debug)]
pub struct FingerprintOptions<'a> {
    /// Text files of one work each, or JSON lines with a work in each `text`; compressed or not.
    pub inputs: &'a [PathBuf],
    /// The list. The caller gives it its final name.
    pub output: &'a Path,
    /// Letters of a work that one hash stands for: more make a smaller list that finds only longer
    /// excerpts. [`DEFAULT_BLOCK_LETTERS`](crate::DEFAULT_BLOCK_LETTERS) unless memory is short.
    pub block_letters: u32,
}

/// What a list of fingerprints holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FingerprintSummary {
    /// Works in the list.
    pub works: u64,
    /// Works left out, as nobody could recognize so few letters.
    pub too_short: u64,
    /// Bytes of their texts.
    pub text_bytes: u64,
    /// Bytes of the list.
    pub bytes: u64,
    /// SHA-256 of the list, in hex.
    pub sha256: String,
}

/// Why a list of fingerprints can't be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FingerprintError {
    /// Blocks of a length that lists can't have.
    #[error(
        "blocks of {found} letters, expected {} to {}",
        BLOCK_LETTERS.start(),
        BLOCK_LETTERS.end()
    )]
    BlockLetters {
        /// The length that was asked for.
        found: u32,
    },
    /// A file can't be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A line is no object with a string `text`.
    #[error("line {line} of `{}` holds no work", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What the JSON parser says.
        #[source]
        source: serde_json::Error,
    },
    /// A work is longer than what is held in memory.
    #[error("line {line} of `{}` has more than {MAX_WORK_LEN} bytes", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
    },
    /// No file held a work that is long enough.
    #[error("the inputs hold no work that is long enough to be recognized")]
    NoWorks,
    /// The list can't be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// What is wanted of a line.
#[derive(Deserialize)]
struct Line<'l> {
    #[serde(borrow)]
    text: std::borrow::Cow<'l, str>,
    title: Option<String>,
    meta: Option<serde_json::Value>,
}

/// Makes a list of fingerprints of works; only hashes and the works' names are written.
///
/// A work is called by its `title`, its `meta.title` or its file. The memory that this takes grows
/// with the list: about sixteen bytes for every block.
pub fn build_fingerprints(
    options: &FingerprintOptions<'_>,
) -> Result<FingerprintSummary, FingerprintError> {
    let found = options.block_letters;
    let mut builder = Builder::new(found).ok_or(FingerprintError::BlockLetters { found })?;
    let mut summary = FingerprintSummary::default();
    for path in options.inputs {
        add_file(path, &mut |name, text| {
            summary.text_bytes += text.len() as u64;
            if !builder.add(name, text) {
                summary.too_short += 1;
            }
        })?;
    }
    summary.works = builder.works();
    if summary.works == 0 {
        return Err(FingerprintError::NoWorks);
    }
    let bytes = builder.finish();
    write_file(options.output, &bytes)?;
    summary.bytes = bytes.len() as u64;
    summary.sha256 = to_hex(&sha256(&bytes));
    Ok(summary)
}

fn add_file(path: &Path, add: &mut dyn FnMut(&str, &str)) -> Result<(), FingerprintError> {
    let (mut reader, _, _) = compression::open(path)?;
    let head = reader.fill_buf().map_err(ReadError::io(path))?;
    let first = head.iter().find(|byte| !byte.is_ascii_whitespace());
    if first != Some(&b'{') {
        let mut bytes = Vec::new();
        read_limited(&mut reader, &mut bytes, None).map_err(ReadError::io(path))?;
        if bytes.len() as u64 > MAX_WORK_LEN {
            let path = path.to_path_buf();
            return Err(FingerprintError::TooLong { path, line: 1 });
        }
        add(&stem_of(path), &String::from_utf8_lossy(&bytes));
        return Ok(());
    }
    let mut bytes = Vec::new();
    for line in 1.. {
        bytes.clear();
        let read = read_limited(&mut reader, &mut bytes, Some(b'\n'));
        if read.map_err(ReadError::io(path))? == 0 {
            break;
        }
        if bytes.len() as u64 > MAX_WORK_LEN {
            let path = path.to_path_buf();
            return Err(FingerprintError::TooLong { path, line });
        }
        if bytes.trim_ascii().is_empty() {
            continue;
        }
        let work: Line<'_> =
            serde_json::from_slice(&bytes).map_err(|source| FingerprintError::Line {
                path: path.to_path_buf(),
                line,
                source,
            })?;
        let meta = work
            .meta
            .as_ref()
            .and_then(|meta| meta.get("title")?.as_str());
        let name = work.title.as_deref().or(meta);
        let by_place = || format!("{}:{line}", stem_of(path));
        add(&name.map_or_else(by_place, str::to_owned), &work.text);
    }
    Ok(())
}

/// Reads to the end or to a byte, and one byte more than a work may have at most.
fn read_limited(
    reader: &mut dyn BufRead,
    bytes: &mut Vec<u8>,
    end: Option<u8>,
) -> io::Result<usize> {
    let mut limited = reader.take(MAX_WORK_LEN + 1);
    match end {
        Some(end) => limited.read_until(end, bytes),
        None => limited.read_to_end(bytes),
    }
}

/// The name of a file without what its format adds.
fn stem_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.split('.').next().unwrap_or_default().to_owned()
}
