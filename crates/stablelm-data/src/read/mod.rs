//! Files in, rows out: one module a format, and the compression that text files come in.
//!
//! Readers stream. What one row can get wrong becomes a [`BrokenRow`] and the run goes on; what
//! makes a whole file useless is a [`ReadError`].

pub(crate) mod arrow_ipc;
pub(crate) mod chunks;
pub(crate) mod code;
pub(crate) mod compression;
pub(crate) mod container;
mod fields;
pub(crate) mod json_row;
mod json_tape;
pub(crate) mod json_text;
pub(crate) mod jsonl;
mod limits;
pub(crate) mod parquet;
mod parquet_gate;
pub(crate) mod pile;
pub(crate) mod python;
mod redpajama;
mod rows;
pub(crate) mod schema;
pub(crate) mod source_file;
pub(crate) mod table;
#[cfg(test)]
mod tests;
mod thrift;

use std::path::{Path, PathBuf};

use ::parquet::errors::ParquetError;
use arrow::error::ArrowError;

pub(crate) use rows::{FileRows, RawRow};
pub(crate) use schema::Schema;

/// Why a file can't be read at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The file can't be opened or read.
    #[error("failed to read `{}`", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// The file is parquet where JSON lines were expected.
    #[error("`{}` is a parquet file, expected JSON lines", path.display())]
    NotJsonLines {
        /// The file.
        path: PathBuf,
    },
    /// The file is arrow where JSON lines were expected.
    #[error("`{}` is an arrow file, expected JSON lines", path.display())]
    ArrowNotLines {
        /// The file.
        path: PathBuf,
    },
    /// The file has fewer bytes than an earlier part of the run read of it.
    #[error("`{}` has changed: it had {bytes} decompressed bytes and more", path.display())]
    Shorter {
        /// The file.
        path: PathBuf,
        /// How many bytes were read of it.
        bytes: u64,
    },
    /// The arrow file or stream is damaged or none.
    #[error("failed to read arrow file `{}`", path.display())]
    Arrow {
        /// The file.
        path: PathBuf,
        /// What the arrow reader says.
        #[source]
        source: ColumnarError,
    },
    /// The parquet file is damaged or none.
    #[error("failed to read parquet file `{}` (columns {})", path.display(), quote(columns))]
    Parquet {
        /// The file.
        path: PathBuf,
        /// The columns that were asked for.
        columns: Vec<String>,
        /// What the parquet reader says.
        #[source]
        source: ColumnarError,
    },
    /// A column that the source needs is not there.
    #[error("`{}` has no column `{column}`; its columns are {}", path.display(), quote(present))]
    MissingColumn {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
        /// Every column of the file.
        present: Vec<String>,
    },
    /// A column of another type than text.
    #[error("column `{column}` of `{}` is of type {found}, expected {expected}", path.display())]
    ColumnType {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
        /// What is possible.
        expected: &'static str,
        /// The type in the file.
        found: String,
    },
}

impl ReadError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { path, source }
    }
}

fn quote(names: &[String]) -> String {
    names
        .iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

/// What the parquet or arrow library says.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct ColumnarError(ColumnarCause);

#[derive(Debug, thiserror::Error)]
enum ColumnarCause {
    #[error(transparent)]
    Parquet(ParquetError),
    #[error(transparent)]
    Arrow(ArrowError),
    /// Our own checks.
    #[error("{0}")]
    Refused(String),
}

impl ColumnarError {
    pub(crate) fn refused(message: String) -> Self {
        Self(ColumnarCause::Refused(message))
    }
}

impl From<ParquetError> for ColumnarError {
    fn from(error: ParquetError) -> Self {
        Self(ColumnarCause::Parquet(error))
    }
}

impl From<ArrowError> for ColumnarError {
    fn from(error: ArrowError) -> Self {
        Self(ColumnarCause::Arrow(error))
    }
}
