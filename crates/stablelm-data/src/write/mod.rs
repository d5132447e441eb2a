//! Tokens and tables to files: one module a format.

pub(crate) mod documents;
pub(crate) mod dropped;
pub(crate) mod indexed;
pub(crate) mod indexed_read;
pub(crate) mod neox_yml;
pub(crate) mod quarantine;
pub(crate) mod table;
pub(crate) mod text;
pub(crate) mod token_files;

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::read::ColumnarError;

/// Why an output can't be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The system refuses.
    #[error("failed to write `{}`", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// A table can't be written.
    #[error("failed to write table `{}`", path.display())]
    Table {
        /// The file.
        path: PathBuf,
        /// What the parquet writer says.
        #[source]
        source: ColumnarError,
    },
    /// A token id that the indexed dataset can't hold.
    #[error("token id {id} does not fit the type {dtype} of `{}`", path.display())]
    TokenId {
        /// The file.
        path: PathBuf,
        /// The id.
        id: u32,
        /// The type of the dataset.
        dtype: indexed::TokenDtype,
    },
    /// A document with more tokens than an index can say.
    #[error("a document of {tokens} tokens is too long for `{}`", path.display())]
    TooManyTokens {
        /// The file.
        path: PathBuf,
        /// Its tokens.
        tokens: usize,
    },
}

impl WriteError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { path, source }
    }
}

/// Writes a small file and makes sure that it lies on the disk.
pub(crate) fn write_file(path: &Path, bytes: &[u8]) -> Result<(), WriteError> {
    let write = || {
        let mut file = File::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(WriteError::io(path))
}
