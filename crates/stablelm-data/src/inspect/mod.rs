//! A look at anything that preparing data reads or writes.

mod arrow_rows;
mod prepared;
mod rows;
mod tokens;

use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Map, Value};
use stablelm_tokenizer::{DecodeError, Tokenizer};

use crate::read::ReadError;
use crate::write::indexed_read::IndexedError;

pub use prepared::PreparedInspection;
pub use rows::{ColumnInspection, LengthsInspection, RowsInspection};
pub use tokens::TokensInspection;

/// What [`inspect`] works with.
#[derive(Clone, Copy, Default)]
pub struct InspectOptions<'a> {
    /// A document to show, from 0.
    pub document: Option<u64>,
    /// What decodes the tokens of that document.
    pub tokenizer: Option<&'a Tokenizer>,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Inspection {
    /// An indexed dataset.
    Tokens(TokensInspection),
    /// A file of JSON lines, a parquet table, or an Arrow IPC file or stream.
    Rows(RowsInspection),
    /// A prepared folder.
    Prepared(Box<PreparedInspection>),
}

/// One document.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DocumentInspection {
    /// Its number, from 0.
    pub document: u64,
    /// The token file that it lies in, for a prepared folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Its tokens, for an indexed dataset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ids: Option<Vec<u32>>,
    /// Its text, decoded where it was tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Where it came from: its row of the provenance table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provenance: Option<Map<String, Value>>,
    /// Every value of its row, for a file of rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub values: Option<Value>,
}

/// Why nothing can be shown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InspectError {
    /// A file can't be opened or read.
    #[error("failed to read `{}`", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// A file of rows can't be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// An indexed dataset is damaged.
    #[error(transparent)]
    Indexed(#[from] IndexedError),
    /// A folder without a report.
    #[error("`{}` is not a prepared folder: it has no `report.json`", path.display())]
    NotPrepared {
        /// The folder.
        path: PathBuf,
    },
    /// A file of a prepared folder that says something else than it should.
    #[error("`{}` is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        #[source]
        source: serde_json::Error,
    },
    /// The tokens belong to another tokenizer.
    #[error("failed to decode document {document} of `{}`", path.display())]
    Decode {
        /// The dataset, without `.bin` and `.idx`.
        path: PathBuf,
        /// The document, from 0.
        document: u64,
        /// What the tokenizer says.
        #[source]
        source: DecodeError,
    },
    /// A document beyond the last one.
    #[error("`{}` has no document {document}: it has {documents}", path.display())]
    NoDocument {
        /// The file or folder.
        path: PathBuf,
        /// The number that was asked for, from 0.
        document: u64,
        /// How many there are.
        documents: u64,
    },
}

/// Looks at an indexed dataset (its `.idx`, its `.bin` or their common prefix), a file of JSON
/// lines, a parquet table, an Arrow IPC file or stream, or a prepared folder.
pub fn inspect(path: &Path, options: &InspectOptions<'_>) -> Result<Inspection, InspectError> {
    if path.is_dir() {
        return Ok(Inspection::Prepared(Box::new(prepared::inspect(
            path, options,
        )?)));
    }
    if let Some(prefix) = tokens::prefix(path) {
        return Ok(Inspection::Tokens(tokens::inspect(&prefix, options)?));
    }
    Ok(Inspection::Rows(rows::inspect(path, options)?))
}
