//! Outputs that appear under their final name only when complete.
//!
//! A command writes into a folder beside the final one. When all is done it is synced and renamed; when anything goes
//! wrong, or the process is killed, the final name is untouched. A folder left behind by a killed process is found and
//! removed by the next run, unless the command can go on with it; one that another process is writing is left alone (it
//! holds a lock).

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::anyhow;

use crate::error::CommandError;

/// A folder that is being written.
#[derive(Debug)]
pub(crate) struct StagedDir {
    staging: PathBuf,
    target: PathBuf,
    overwrite: bool,
    done: bool,
    /// Whether all is to be on disk before the folder gets its name.
    sync: bool,
    /// Says of a folder that was not completed whether it stays, to be gone on with.
    stays: fn(&Path) -> bool,
    /// Held until the folder is renamed or removed.
    _lock: File,
}

/// What to do about an output, or the beginning of one, that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Existing {
    /// Leave it alone.
    Refuse,
    /// Begin anew.
    Overwrite,
    /// Go on with what was begun.
    Resume,
}

impl Existing {
    /// What the two flags say; the command line allows one of them.
    pub(crate) fn from_flags(overwrite: bool, resume: bool) -> Self {
        match (overwrite, resume) {
            (true, _) => Self::Overwrite,
            (false, true) => Self::Resume,
            (false, false) => Self::Refuse,
        }
    }
}

impl StagedDir {
    /// Begins to write the folder `target`, or goes on where a run was broken off.
    ///
    /// `is_resumable` says of a folder whether a run can go on in it; then the folder outlives a
    /// failure.
    pub(crate) fn resumable(
        target: &Path,
        existing: Existing,
        is_resumable: fn(&Path) -> bool,
    ) -> Result<Self, CommandError> {
        let overwrite = existing == Existing::Overwrite;
        refuse_existing(target, overwrite)?;
        let (staging, lock) = lock_staging(target)?;
        match existing {
            Existing::Refuse if is_resumable(&staging) => {
                let what = format!("an unfinished run of `{}` is there", target.display());
                return Err(CommandError::input(anyhow!(what))
                    .hint("go on with it by --resume, or begin anew by --overwrite"));
            }
            Existing::Resume if is_resumable(&staging) => {}
            _ => clear(&staging).map_err(|error| begin_error(target, error))?,
        }
        Ok(Self {
            staging,
            target: target.to_owned(),
            overwrite,
            done: false,
            sync: true,
            stays: is_resumable,
            _lock: lock,
        })
    }

    /// Begins to write the folder `target`.
    pub(crate) fn create(target: &Path, overwrite: bool) -> Result<Self, CommandError> {
        refuse_existing(target, overwrite)?;
        let (staging, lock) = open_staging(target)?;
        Ok(Self {
            staging,
            target: target.to_owned(),
            overwrite,
            done: false,
            sync: true,
            stays: |_| false,
            _lock: lock,
        })
    }

    /// Makes a folder beside `target` that never gets a name and is gone in the end.
    ///
    /// It lies on the same disk. Where `target` has no folder yet, the nearest one above is taken.
    /// What a killed process left in it is still there.
    pub(crate) fn temporary(target: &Path, suffix: &str) -> Result<Self, CommandError> {
        let mut beside = sibling(target, suffix);
        while !parent_of(&beside).is_dir() {
            let Some(name) = beside.file_name().map(ToOwned::to_owned) else {
                break;
            };
            beside = parent_of(&parent_of(&beside)).join(name);
        }
        let opened = lock_folder(&beside).map_err(anyhow::Error::new);
        let lock = opened.and_then(|lock| lock.ok_or_else(|| anyhow!("another process uses it")));
        let lock = lock.map_err(|error| {
            let what = format!("failed to make temporary folder `{}`", beside.display());
            CommandError::input(error.context(what))
        })?;
        Ok(Self {
            staging: beside,
            target: target.to_owned(),
            overwrite: false,
            done: false,
            sync: true,
            stays: |_| false,
            _lock: lock,
        })
    }

    /// Returns the folder to write into.
    pub(crate) fn path(&self) -> &Path {
        &self.staging
    }

    /// Lets the folder get its name as soon as the system has all bytes, whether or not the disk has them.
    pub(crate) fn without_sync(mut self) -> Self {
        self.sync = false;
        self
    }

    /// Syncs everything and gives the folder its name.
    pub(crate) fn commit(mut self) -> Result<(), CommandError> {
        self.finish().map_err(|error| {
            let target = self.target.display().to_string();
            CommandError::input(
                anyhow::Error::new(error).context(format!("failed to complete `{target}`")),
            )
        })
    }

    fn finish(&mut self) -> io::Result<()> {
        if self.sync {
            sync_tree(&self.staging)?;
        }
        if self.overwrite && self.target.exists() {
            let old = sibling(&self.target, "replaced");
            fs::rename(&self.target, &old)?;
            fs::rename(&self.staging, &self.target)?;
            remove(&old)?;
        } else {
            fs::rename(&self.staging, &self.target)?;
        }
        self.done = true;
        if self.sync {
            sync_parent(&self.target)?;
        }
        Ok(())
    }
}

impl Drop for StagedDir {
    fn drop(&mut self) {
        if !self.done && !(self.stays)(&self.staging) {
            // Cleaning up is all that is left; the error that brought us here is the one to report.
            drop(fs::remove_dir_all(&self.staging));
        }
    }
}

/// Files with a common prefix that are being written.
#[derive(Debug)]
pub(crate) struct StagedPrefix {
    staged: StagedDir,
    parent: PathBuf,
    name: String,
}

impl StagedPrefix {
    /// Begins to write `prefix` + each of `suffixes`.
    pub(crate) fn create(
        prefix: &Path,
        suffixes: &[&str],
        overwrite: bool,
    ) -> Result<Self, CommandError> {
        let name = prefix.file_name().and_then(|name| name.to_str());
        let name = name.ok_or_else(|| {
            CommandError::usage(anyhow!(
                "output prefix `{}` does not end in a name",
                prefix.display()
            ))
        })?;
        let parent = parent_of(prefix);
        for suffix in suffixes {
            refuse_existing(&parent.join(format!("{name}{suffix}")), overwrite)?;
        }
        let (staging, lock) = open_staging(prefix)?;
        let staged = StagedDir {
            staging,
            target: prefix.to_owned(),
            overwrite,
            done: false,
            sync: true,
            stays: |_| false,
            _lock: lock,
        };
        Ok(Self {
            staged,
            parent,
            name: name.to_owned(),
        })
    }

    /// Returns the prefix to write at.
    pub(crate) fn path(&self) -> PathBuf {
        self.staged.path().join(&self.name)
    }

    /// Syncs every file and gives it its name.
    pub(crate) fn commit(self) -> Result<(), CommandError> {
        self.finish().map_err(|error| {
            let target = self.staged.target.display().to_string();
            CommandError::input(
                anyhow::Error::new(error).context(format!("failed to complete `{target}`")),
            )
        })
    }

    fn finish(&self) -> io::Result<()> {
        sync_tree(self.staged.path())?;
        for entry in fs::read_dir(self.staged.path())? {
            let entry = entry?;
            fs::rename(entry.path(), self.parent.join(entry.file_name()))?;
        }
        sync_parent(&self.staged.target)
    }
}

/// Writes one small file that must not exist, complete or not at all.
pub(crate) fn write_new_file(path: &Path, contents: &[u8]) -> Result<(), CommandError> {
    if fs::symlink_metadata(path).is_ok() {
        return Err(already_exists(path).hint("choose another name, or remove the file first"));
    }
    write_file(path, contents)
}

fn already_exists(target: &Path) -> CommandError {
    CommandError::input(anyhow!("output `{}` already exists", target.display()))
}

/// Writes one small file, complete or not at all.
pub(crate) fn write_file(path: &Path, contents: &[u8]) -> Result<(), CommandError> {
    let beside = sibling(path, "partial");
    let write = || {
        fs::write(&beside, contents)?;
        File::open(&beside)?.sync_all()?;
        fs::rename(&beside, path)?;
        sync_parent(path)
    };
    write().map_err(|error: io::Error| {
        drop(fs::remove_file(&beside));
        CommandError::input(
            anyhow::Error::new(error).context(format!("failed to write `{}`", path.display())),
        )
    })
}

/// Writes one small file into a folder that is being staged, which is synced as a whole, if at all.
pub(crate) fn write_staged(folder: &Path, name: &str, contents: &[u8]) -> Result<(), CommandError> {
    let path = folder.join(name);
    fs::write(&path, contents).map_err(|error| {
        CommandError::input(
            anyhow::Error::new(error).context(format!("failed to write `{}`", path.display())),
        )
    })
}

/// Returns an error when `target` exists, unless it may be replaced or is an empty folder.
pub(crate) fn refuse_existing(target: &Path, overwrite: bool) -> Result<(), CommandError> {
    let empty = fs::read_dir(target).is_ok_and(|mut entries| entries.next().is_none());
    if overwrite || empty || fs::symlink_metadata(target).is_err() {
        return Ok(());
    }
    Err(already_exists(target).hint("choose another name, or give --overwrite to replace it"))
}

/// Opens the folder beside `target`, locked and empty.
fn open_staging(target: &Path) -> Result<(PathBuf, File), CommandError> {
    let (staging, lock) = lock_staging(target)?;
    clear(&staging).map_err(|error| begin_error(target, error))?;
    Ok((staging, lock))
}

/// Opens the folder beside `target`, locked, with whatever is in it.
fn lock_staging(target: &Path) -> Result<(PathBuf, File), CommandError> {
    let staging = sibling(target, "partial");
    let open = || -> anyhow::Result<File> {
        fs::create_dir_all(parent_of(target))?;
        lock_folder(&staging)?
            .ok_or_else(|| anyhow!("another process is writing `{}`", target.display()))
    };
    let lock = open().map_err(|error| begin_error(target, error))?;
    Ok((staging, lock))
}

fn begin_error(target: &Path, error: impl Into<anyhow::Error>) -> CommandError {
    let what = format!("failed to begin output `{}`", target.display());
    CommandError::input(error.into().context(what))
}

fn clear(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        remove(&entry?.path())?;
    }
    Ok(())
}

/// Makes a folder and locks it; `None` when another process holds the lock.
fn lock_folder(folder: &Path) -> io::Result<Option<File>> {
    loop {
        fs::create_dir_all(folder)?;
        let lock = File::open(folder)?;
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => return Ok(None),
            // A file system without locks: go on without the protection.
            Ok(()) | Err(TryLockError::Error(_)) => {}
        }
        // Another process may have given the folder its final name between our opening and our locking.
        if fs::symlink_metadata(folder)
            .is_ok_and(|now| lock.metadata().is_ok_and(|ours| same_file(&now, &ours)))
        {
            return Ok(Some(lock));
        }
    }
}

fn same_file(a: &fs::Metadata, b: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

fn remove(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    }
}

fn parent_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Returns `dir/.name.suffix` for `dir/name`.
fn sibling(path: &Path, suffix: &str) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    parent_of(path).join(format!(".{name}.{suffix}"))
}

fn sync_tree(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() {
        for entry in fs::read_dir(path)? {
            sync_tree(&entry?.path())?;
        }
    }
    File::open(path)?.sync_all()
}

fn sync_parent(path: &Path) -> io::Result<()> {
    File::open(parent_of(path))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_appears_before_commit_and_nothing_stays_without() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("out");
        let staged = StagedDir::create(&target, false).unwrap();
        fs::write(staged.path().join("file"), "text").unwrap();
        assert!(!target.exists());
        drop(staged);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);

        let staged = StagedDir::create(&target, false).unwrap();
        fs::write(staged.path().join("file"), "text").unwrap();
        staged.commit().unwrap();
        assert_eq!(fs::read_to_string(target.join("file")).unwrap(), "text");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert_eq!(fs::read_dir(&target).unwrap().count(), 1);
    }

    #[test]
    fn an_existing_output_stays_unless_it_may_be_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("out");
        fs::create_dir(&target).unwrap();
        fs::write(target.join("old"), "").unwrap();
        assert!(StagedDir::create(&target, false).is_err());
        let staged = StagedDir::create(&target, true).unwrap();
        fs::write(staged.path().join("new"), "").unwrap();
        assert!(target.join("old").exists());
        staged.commit().unwrap();
        assert!(!target.join("old").exists() && target.join("new").exists());
    }

    #[test]
    fn what_a_killed_process_left_is_cleared_and_what_a_live_one_writes_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("out");
        let left = sibling(&target, "partial");
        fs::create_dir(&left).unwrap();
        fs::write(left.join("half"), "").unwrap();
        let staged = StagedDir::create(&target, false).unwrap();
        assert!(!staged.path().join("half").exists());
        assert!(
            StagedDir::create(&target, false).is_err(),
            "the first still holds the lock"
        );
    }

    #[test]
    fn a_temporary_folder_makes_no_others_and_goes() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["out", "not/there/out"] {
            let target = folder.path().join(name);
            let temporary = StagedDir::temporary(&target, "sample").unwrap();
            assert_eq!(temporary.path(), folder.path().join(".out.sample"));
            fs::write(temporary.path().join("file"), "text").unwrap();
            let second = StagedDir::temporary(&target, "sample").unwrap_err();
            assert!(format!("{second:?}").contains("another process"));
            drop(temporary);
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        }
    }

    #[test]
    fn files_with_a_prefix_appear_together() {
        let folder = tempfile::tempdir().unwrap();
        let staged =
            StagedPrefix::create(&folder.path().join("docs"), &["_a", "_b"], false).unwrap();
        for suffix in ["_a", "_b"] {
            fs::write(format!("{}{suffix}", staged.path().display()), suffix).unwrap();
        }
        staged.commit().unwrap();
        assert_eq!(
            fs::read_to_string(folder.path().join("docs_b")).unwrap(),
            "_b"
        );
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        let error = StagedPrefix::create(&folder.path().join("docs"), &["_a"], false).unwrap_err();
        assert_eq!(error.status().code(), 3);
    }
}
