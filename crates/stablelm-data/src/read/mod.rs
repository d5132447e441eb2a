//! Files in, rows out: one module a format, and the compression that text files come in.
//!
//! Readers stream. What one row can get wrong becomes a [`BrokenRow`] and the run goes on; what
//! makes a whole file useless is a [`ReadError`].

pub(crate) mod chunks;
pub(crate) mod compression;
pub(crate) mod json_text;
pub(crate) mod jsonl;
pub(crate) mod parquet;
pub(crate) mod pile;

use std::path::{Path, PathBuf};

use ::parquet::errors::ParquetError;
use arrow::error::ArrowError;

use crate::document::{BrokenRow, Document};
use crate::recipe::{SourceKind, SourceRecipe};
use compression::{Compression, Tally};
use jsonl::{JsonLines, JsonSchema};
use parquet::{ParquetRows, ParquetSchema};

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

/// A row as a reader gives it, before any work that can be shared out.
#[derive(Debug)]
pub(crate) enum RawRow {
    /// A line that is still to be parsed.
    Line {
        row: u64,
        bytes: Vec<u8>,
    },
    /// A row of a table.
    Document(Document),
    Broken(BrokenRow),
}

impl RawRow {
    /// Bytes it holds in memory, roughly.
    pub(crate) fn size(&self) -> usize {
        const OVERHEAD: usize = 96;
        OVERHEAD
            + match self {
                Self::Line { bytes, .. } => bytes.len(),
                Self::Document(document) => document.text.len(),
                Self::Broken(broken) => broken.raw.len(),
            }
    }

    /// Parses what is still to be parsed.
    pub(crate) fn parse(self, schema: &Schema) -> Result<Document, BrokenRow> {
        match (self, schema) {
            (Self::Line { row, bytes }, Schema::Json(schema)) => {
                jsonl::parse_line(&bytes, row, schema)
                    .map_err(|error| BrokenRow::new(row, error, &bytes))
            }
            // Only readers of lines give lines.
            (Self::Line { row, bytes }, Schema::Parquet(_)) => Ok(Document {
                row,
                text: String::from_utf8_lossy(&bytes).into_owned(),
                ..Document::default()
            }),
            (Self::Document(document), _) => Ok(document),
            (Self::Broken(broken), _) => Err(broken),
        }
    }
}

/// Where the parts of a document lie in a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Schema {
    Json(JsonSchema),
    Parquet(ParquetSchema),
}

impl Schema {
    /// The schema of a source, with the names that its recipe gives.
    pub(crate) fn of(source: &SourceRecipe) -> Self {
        let text = source.text.clone().unwrap_or_else(|| "text".to_owned());
        let explicit_id = source.id.clone();
        match source.kind {
            SourceKind::Pile => Self::Json(JsonSchema { text, id: None }),
            SourceKind::Jsonl => {
                let id = Some(explicit_id.unwrap_or_else(|| "id".to_owned()));
                Self::Json(JsonSchema { text, id })
            }
            SourceKind::FalconRefinedweb => Self::Parquet(ParquetSchema {
                text: "content".to_owned(),
                id: Some("url".to_owned()),
                id_required: true,
            }),
            SourceKind::Parquet => {
                let id_required = explicit_id.is_some();
                let id = Some(explicit_id.unwrap_or_else(|| "id".to_owned()));
                Self::Parquet(ParquetSchema {
                    text,
                    id,
                    id_required,
                })
            }
        }
    }

    /// The columns or keys that are read.
    pub(crate) fn columns(&self) -> Vec<String> {
        let (text, id) = match self {
            Self::Json(schema) => (&schema.text, &schema.id),
            Self::Parquet(schema) => (&schema.text, &schema.id),
        };
        std::iter::once(text).chain(id).cloned().collect()
    }
}

/// One open file, read row by row.
pub(crate) enum FileRows {
    Json(Box<JsonLines>),
    Parquet(Box<ParquetRows>),
}

impl FileRows {
    /// Opens a file for its schema; `batch_bytes` bounds what a table reader decodes at once.
    pub(crate) fn open(
        path: &Path,
        schema: &Schema,
        batch_bytes: usize,
    ) -> Result<Self, ReadError> {
        match schema {
            Schema::Json(_) => {
                let (reader, compression, tally) = compression::open(path)?;
                let lines = JsonLines::new(reader, path.to_path_buf(), compression, Some(tally));
                Ok(Self::Json(Box::new(lines)))
            }
            Schema::Parquet(schema) => Ok(Self::Parquet(Box::new(ParquetRows::open(
                path,
                schema,
                batch_bytes,
            )?))),
        }
    }

    /// The next row, or `None` after the last.
    pub(crate) fn next_row(&mut self) -> Result<Option<RawRow>, ReadError> {
        match self {
            Self::Json(lines) => lines.next_row(),
            Self::Parquet(rows) => rows.next_row(),
        }
    }

    /// Bytes of the file that were read so far (an estimate for tables).
    pub(crate) fn bytes_read(&self) -> u64 {
        match self {
            Self::Json(lines) => lines.tally().map_or(0, Tally::bytes),
            Self::Parquet(rows) => rows.bytes_read(),
        }
    }

    /// Number of rows where the file says it.
    pub(crate) fn num_rows(&self) -> Option<u64> {
        match self {
            Self::Json(_) => None,
            Self::Parquet(rows) => Some(rows.num_rows()),
        }
    }

    pub(crate) fn compression(&self) -> Compression {
        match self {
            Self::Json(lines) => lines.compression(),
            Self::Parquet(_) => Compression::None,
        }
    }

    /// Size and SHA-256 of the whole file; reads what the rows left unread.
    pub(crate) fn finish(self, path: &Path) -> Result<(u64, String), ReadError> {
        let hash = match &self {
            Self::Json(lines) => match lines.tally() {
                Some(tally) => tally.finish(path),
                None => crate::hash::sha256_file(path),
            },
            Self::Parquet(_) => crate::hash::sha256_file(path),
        };
        hash.map_err(|source| ReadError::Io {
            path: path.to_path_buf(),
            source,
        })
    }
}
