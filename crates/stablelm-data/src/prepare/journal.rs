//! How far a run has come, in a file that is replaced as a whole, so that a killed run can go on.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::prepare::source::InputFile;
use crate::read::source_file::Position;
use crate::write::WriteError;

const JOURNAL: &str = "journal.json";

/// What lies safely in the spools.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Journal {
    /// What the run is: recipe, tool, tokenizer and inputs. Another run can't go on from here.
    pub(crate) run: String,
    /// One part a source that was begun, in the recipe's order.
    pub(crate) sources: Vec<SourceJournal>,
}

/// How far a source has come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SourceJournal {
    /// The files that were read to their end.
    pub(crate) inputs: Vec<InputFile>,
    /// Where to go on in the file after those.
    pub(crate) position: Position,
    /// Bytes of the spool of rows.
    pub(crate) rows_len: u64,
    /// Bytes of the spool of keys.
    pub(crate) keys_len: u64,
    /// Rows of both.
    pub(crate) documents: u64,
    pub(crate) kept: u64,
    pub(crate) done: bool,
}

impl Journal {
    /// The journal in `folder`; `None` where there is none.
    pub(crate) fn load(folder: &Path) -> io::Result<Option<Self>> {
        let bytes = match std::fs::read(folder.join(JOURNAL)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            bytes => bytes?,
        };
        let journal = serde_json::from_slice(&bytes);
        journal.map(Some).map_err(io::Error::from)
    }

    /// Whether any row was judged.
    pub(crate) fn has_progress(&self) -> bool {
        self.sources.iter().any(|source| source.documents > 0)
    }

    /// Puts the journal on the disk in place of the one before.
    pub(crate) fn store(&self, folder: &Path) -> Result<(), WriteError> {
        let path = folder.join(JOURNAL);
        let beside = folder.join("journal.json.new");
        let bytes = serde_json::to_vec(self).expect("a journal has only string keys");
        let write = || {
            let mut file = File::create(&beside)?;
            file.write_all(&bytes)?;
            file.sync_data()?;
            std::fs::rename(&beside, &path)?;
            File::open(folder)?.sync_all()
        };
        write().map_err(WriteError::io(&path))
    }
}
