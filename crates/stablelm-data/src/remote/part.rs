//! A file on its way: written beside its place, continued after a stop, checked, then renamed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::{RemoteError, RemoteFile};
use crate::hash;

/// `NAME.part`, with `NAME.part.of` beside it that says which version of which file it is part of.
#[derive(Debug)]
pub(super) struct Part<'f> {
    remote: &'f RemoteFile,
    path: PathBuf,
    note: PathBuf,
    file: File,
    len: u64,
    /// Hash of what is there, where the whole hash is known.
    hasher: Option<Sha256>,
    /// Whether an earlier run began it.
    pub(super) was_resumed: bool,
}

impl<'f> Part<'f> {
    /// Continues the part beside `to` if it belongs to the same version, or begins a new one.
    pub(super) fn open(remote: &'f RemoteFile, to: &Path) -> Result<Self, RemoteError> {
        let (path, note) = (beside(to, ".part"), beside(to, ".part.of"));
        Self::open_at(remote, &path, &note).map_err(|source| RemoteError::Io {
            url: super::shown(&remote.url),
            path,
            source,
        })
    }

    fn open_at(remote: &'f RemoteFile, path: &Path, note: &Path) -> io::Result<Self> {
        let mut part = Self {
            remote,
            path: path.to_path_buf(),
            note: note.to_path_buf(),
            file: OpenOptions::new()
                .create(true)
                .append(true)
                .read(true)
                .open(path)?,
            len: 0,
            hasher: remote.sha256.as_ref().map(|_| Sha256::new()),
            was_resumed: false,
        };
        let version = version(remote);
        let len = part.file.metadata()?.len();
        let is_same = fs::read(note).is_ok_and(|said| said == version.as_bytes());
        // Without a version nobody can tell whether the file is still the same.
        let has_version = remote.etag.is_some() || remote.sha256.is_some();
        if is_same && has_version && len > 0 && len <= remote.size {
            if let Some(hasher) = &mut part.hasher {
                hash::feed(hasher, &mut File::open(path)?)?;
            }
            part.len = len;
            part.was_resumed = true;
        } else {
            part.file.set_len(0)?;
            fs::write(note, version)?;
        }
        Ok(part)
    }

    /// Bytes that are there.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Appends the bytes that follow.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), RemoteError> {
        self.file
            .write_all(bytes)
            .map_err(|source| self.io(source))?;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(bytes);
        }
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Checks the whole and gives it its name; a whole that is wrong is removed.
    pub(super) fn finish(mut self, to: &Path) -> Result<(), RemoteError> {
        let hasher = self.hasher.take();
        if let (Some(expected), Some(hasher)) = (&self.remote.sha256, hasher) {
            let found = hash::to_hex(&hasher.finalize());
            if !found.eq_ignore_ascii_case(expected) {
                self.discard();
                return Err(RemoteError::Checksum {
                    url: super::shown(&self.remote.url),
                    expected: expected.clone(),
                    found,
                });
            }
        }
        self.publish(to).map_err(|source| self.io(source))
    }

    fn publish(&self, to: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.path, to)?;
        fs::remove_file(&self.note)?;
        // The name is only safe once its folder is.
        #[cfg(unix)]
        if let Some(folder) = to.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            File::open(folder)?.sync_all()?;
        }
        Ok(())
    }

    /// Forgets what arrived, of a version that is not wanted.
    pub(super) fn discard(&self) {
        // Without its note a part is never continued, so nothing depends on success.
        let _ = fs::remove_file(&self.note);
        let _ = fs::remove_file(&self.path);
    }

    fn io(&self, source: io::Error) -> RemoteError {
        RemoteError::Io {
            url: super::shown(&self.remote.url),
            path: self.path.clone(),
            source,
        }
    }
}

fn beside(to: &Path, suffix: &str) -> PathBuf {
    let mut name = to.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// What must be equal for a part to be continued. The address is hashed: it may hold secrets.
fn version(remote: &RemoteFile) -> String {
    let url = hash::to_hex(&hash::sha256(remote.url.as_bytes()));
    let word = |word: &Option<String>| word.clone().unwrap_or_default();
    let (etag, sha256) = (word(&remote.etag), word(&remote.sha256));
    format!(
        "url {url}\nsize {}\netag {etag}\nsha256 {sha256}\n",
        remote.size
    )
}
