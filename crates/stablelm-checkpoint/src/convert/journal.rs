//! The record of an unfinished conversion: which files are complete, and what the tensors in them hash to.
//!
//! Lines of JSON. The first names the conversion: a digest of its plan and of the input files' sizes and times, so that
//! nobody goes on with other weights. A line that was cut off by the end of the process counts as not written; a file
//! is on disk before its line is. Lines are written when a file is complete and ten seconds have passed: nobody needs to go
//! on with less, and removing a record that has come to the disk may wait there for all that was written before.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::convert::plan::Plan;
use crate::convert::run::NonFinite;
use crate::hash::hexadecimal;
use crate::open::Checkpoint;

/// The name of the record in the folder that is written.
pub const JOURNAL_FILE: &str = "convert.journal";

/// How long lines may wait before they are written.
const INTERVAL: Duration = Duration::from_secs(10);

/// Why the record of an unfinished conversion could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// It could not be read or written.
    #[error("failed to use `{}`", path.display())]
    Io {
        /// The record.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is of another conversion: other weights, other options, or another version of this program.
    #[error("`{}` is of another conversion: the input or the options have changed", path.display())]
    Other {
        /// The record.
        path: PathBuf,
    },
}

/// The record of a conversion that may be broken off and gone on with.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    /// Made with the first line that is written.
    file: Option<File>,
    /// Lines that are not written yet.
    pending: Vec<u8>,
    /// When lines were written last, or the conversion was begun.
    written: Instant,
    /// How long lines may wait.
    interval: Duration,
    started: String,
    files: BTreeSet<PathBuf>,
    pub(crate) tensors: BTreeMap<String, Noted>,
}

/// What is known of a parameter once it has been read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Noted {
    /// SHA-256 of the bytes as stored, ranks merged.
    pub(crate) source: String,
    /// SHA-256 of the bytes in the output.
    pub(crate) sha256: String,
    pub(crate) nan: u64,
    pub(crate) infinite: u64,
}

impl Noted {
    /// Returns what to say of a tensor that does not only hold numbers.
    pub(crate) fn warning(&self, tensor: &str) -> Option<NonFinite> {
        let count = self.nan + self.infinite;
        (count > 0).then(|| NonFinite {
            tensor: tensor.to_owned(),
            count,
            nan: self.nan,
        })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Conversion { key: String, started: String },
    Tensor { name: String, noted: Noted },
    File { path: PathBuf },
}

impl Journal {
    /// Begins the record in the folder that is to be written, or goes on with the one that is there.
    ///
    /// `now` is kept from the first time on, so that papers bear the same date however often a run is broken off.
    pub fn open(
        folder: &Path,
        plan: &Plan,
        checkpoint: &Checkpoint,
        now: &str,
    ) -> Result<Self, JournalError> {
        let path = folder.join(JOURNAL_FILE);
        let failed = |source| JournalError::Io {
            path: path.clone(),
            source,
        };
        let key = key(plan, checkpoint).map_err(failed)?;
        let text = match fs::read(&path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(failed(error)),
        };
        let mut lines = text
            .split_inclusive('\n')
            .filter(|line| line.ends_with('\n'))
            .map_while(|line| serde_json::from_str(line).ok());
        let mut journal = Self {
            started: now.to_owned(),
            files: BTreeSet::new(),
            tensors: BTreeMap::new(),
            file: None,
            pending: Vec::new(),
            written: Instant::now(),
            interval: INTERVAL,
            path: path.clone(),
        };
        if let Some(Line::Conversion {
            key: found,
            started,
        }) = lines.next()
        {
            if found != key {
                return Err(JournalError::Other { path });
            }
            journal.started = started;
        } else {
            if !text.is_empty() {
                fs::remove_file(&path).map_err(failed)?;
            }
            let started = journal.started.clone();
            journal.add(&Line::Conversion { key, started });
            return Ok(journal);
        }
        for line in lines {
            match line {
                Line::Tensor { name, noted } => drop(journal.tensors.insert(name, noted)),
                Line::File { path } => drop(journal.files.insert(path)),
                Line::Conversion { .. } => {}
            }
        }
        // A line that was cut off must not run into the next one.
        if !text.ends_with('\n') {
            journal.pending.push(b'\n');
        }
        Ok(journal)
    }

    /// Writes a line as soon as a file is complete.
    #[must_use]
    pub fn without_delay(self) -> Self {
        let interval = Duration::ZERO;
        Self { interval, ..self }
    }

    /// Returns when the conversion was begun.
    pub fn started(&self) -> &str {
        &self.started
    }

    /// Returns the files that are complete.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(PathBuf::as_path)
    }

    /// Ends the record: the folder can be given its name.
    pub fn remove(self) -> Result<(), JournalError> {
        match fs::remove_file(&self.path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(JournalError::Io {
                path: self.path,
                source,
            }),
            _ => Ok(()),
        }
    }

    pub(crate) fn has(&self, path: &Path) -> bool {
        self.files.contains(path)
    }

    pub(crate) fn note_tensor(&mut self, name: &str, noted: &Noted) {
        self.add(&Line::Tensor {
            name: name.to_owned(),
            noted: noted.clone(),
        });
    }

    /// Notes that a file is complete and on disk, and writes all that was noted if that was not done for a while.
    pub(crate) fn note_file(&mut self, path: &Path) -> Result<(), JournalError> {
        self.add(&Line::File {
            path: path.to_owned(),
        });
        self.files.insert(path.to_owned());
        if self.written.elapsed() < self.interval {
            return Ok(());
        }
        self.save()
    }

    /// Writes all that was noted, if there are complete files to go on with.
    pub(crate) fn save(&mut self) -> Result<(), JournalError> {
        if self.files.is_empty() {
            return Ok(());
        }
        self.written = Instant::now();
        self.write().map_err(|source| JournalError::Io {
            path: self.path.clone(),
            source,
        })
    }

    fn add(&mut self, line: &Line) {
        let text = serde_json::to_vec(line).expect("a line is plain data");
        self.pending.extend(text);
        self.pending.push(b'\n');
    }

    fn write(&mut self) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(File::options().create(true).append(true).open(&self.path)?),
        };
        file.write_all(&self.pending)?;
        self.pending.clear();
        Ok(())
    }
}

/// A digest of everything that the bytes of the output depend on.
fn key(plan: &Plan, checkpoint: &Checkpoint) -> io::Result<String> {
    let mut hasher = Sha256::new();
    hasher.update(env!("CARGO_PKG_VERSION"));
    let plan_json = serde_json::to_vec(plan).expect("a plan is plain data");
    hasher.update(plan_json);
    for (_, content) in &plan.small_files {
        hasher.update(content);
    }
    for path in checkpoint.files() {
        let metadata = fs::metadata(path)?;
        let modified = metadata.modified()?.duration_since(UNIX_EPOCH);
        let modified = modified.map_or(0, |since| since.as_nanos());
        let name = path.display();
        hasher.update(format!("{name}\0{}\0{modified}\n", metadata.len()));
    }
    Ok(hexadecimal(&hasher.finalize()))
}
