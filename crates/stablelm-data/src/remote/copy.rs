//! One remote file on the local disk for as long as somebody looks at it.

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};

use super::{RemoteError, RemoteFile, Remotes};
use crate::progress::Progress;

/// A fetched file, deleted when dropped.
#[derive(Debug)]
pub(crate) struct FetchedCopy(PathBuf);

impl FetchedCopy {
    /// Fetches a file into `folder`, where one copy is at a time; `stage` names the work.
    pub(crate) fn fetch(
        remotes: &Remotes,
        file: &RemoteFile,
        folder: &Path,
        stage: &str,
    ) -> Result<Self, RemoteError> {
        let copy = Self(folder.join("fetched"));
        let progress = RefCell::new(Progress::new(stage, file.size));
        remotes.fetch(file, &copy.0, &|bytes| progress.borrow_mut().bytes(bytes))?;
        Ok(copy)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for FetchedCopy {
    fn drop(&mut self) {
        // After a fetch that failed there is none.
        drop(fs::remove_file(&self.0));
    }
}
