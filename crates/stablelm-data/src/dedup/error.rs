//! What can go wrong while texts are compared.

use std::io;
use std::path::{Path, PathBuf};

/// Why texts can't be remembered.
#[derive(Debug, thiserror::Error)]
#[error("failed to keep the hashes of seen texts in `{}`", path.display())]
pub struct DedupError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl DedupError {
    /// Names the file or folder that `source` is about.
    pub(crate) fn new(path: &Path, source: io::Error) -> Self {
        Self {
            path: path.to_path_buf(),
            source,
        }
    }
}
