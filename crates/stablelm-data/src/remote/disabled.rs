//! Stands in for the network where the crate is built without the feature `remote`.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use super::{RemoteError, RemoteFile, RemoteOptions};

/// Refuses every remote path.
#[derive(Debug)]
pub(crate) struct Remotes;

#[expect(
    clippy::unused_self,
    reason = "the same functions as with a network client"
)]
impl Remotes {
    pub(crate) fn new(_: RemoteOptions) -> Self {
        Self
    }

    pub(crate) fn is_remote(path: &str) -> bool {
        super::is_remote(path)
    }

    pub(crate) fn expand(&self, pattern: &str) -> Result<Vec<RemoteFile>, RemoteError> {
        Err(not_built(pattern))
    }

    pub(crate) fn fetch(
        &self,
        file: &RemoteFile,
        _: &Path,
        _: &dyn Fn(u64),
    ) -> Result<(), RemoteError> {
        Err(not_built(&file.url))
    }

    pub(crate) fn fetch_unless(
        &self,
        file: &RemoteFile,
        _: &Path,
        _: &dyn Fn(u64),
        _: &AtomicBool,
    ) -> Result<(), RemoteError> {
        Err(not_built(&file.url))
    }

    pub(super) fn num_ranges(&self, _: &RemoteFile) -> usize {
        1
    }

    pub(super) fn max_ranges(&self) -> usize {
        1
    }
}

fn not_built(url: &str) -> RemoteError {
    RemoteError::NotBuilt {
        url: super::shown(url),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remote_paths_are_refused_by_name() {
        assert!(Remotes::is_remote("s3://bucket/x.json"));
        let remotes = Remotes::new(RemoteOptions::default());
        let error = remotes.expand("https://host/x.json?signature=a");
        let text = error.unwrap_err().to_string();
        let expected = "failed to read `https://host/x.json`: built without the feature `remote`";
        assert_eq!(text, expected);
    }
}
