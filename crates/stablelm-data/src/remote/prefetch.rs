//! Files fetched ahead of the one who reads them, within limits of the disk.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use super::{RemoteError, RemoteFile, Remotes};
use crate::hash;

/// What may lie on the disk at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PrefetchLimits {
    /// Files, read or not, that were not released yet.
    pub(crate) files: usize,
    /// Their bytes.
    pub(crate) bytes: u64,
}

/// Remote files on the local disk, in their order.
///
/// Files are fetched by threads of its own, ahead as far as [`PrefetchLimits`] allow. A file that
/// is asked for is fetched in any case, also if it is larger than they are. What was fetched and
/// not asked for is removed in the end; what was fetched in part stays, to be continued.
#[derive(Debug)]
pub(crate) struct Prefetch {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    /// Number of the file that is next.
    next: usize,
    /// Bytes of the files that were handed out.
    held: HashMap<PathBuf, u64>,
}

#[derive(Debug)]
struct Shared {
    remotes: Arc<Remotes>,
    files: Vec<RemoteFile>,
    paths: Vec<PathBuf>,
    limits: PrefetchLimits,
    state: Mutex<State>,
    changed: Condvar,
    is_cancelled: AtomicBool,
    bytes_fetched: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    /// Files whose transfer was begun.
    started: usize,
    done: BTreeMap<usize, Result<(), RemoteError>>,
    /// Files and bytes on the disk or on their way there.
    files: usize,
    bytes: u64,
    /// Ranges on their way, which bounds the memory.
    ranges: usize,
    /// The file that is waited for.
    wanted: Option<usize>,
}

impl Prefetch {
    /// Begins to fetch `files` into `folder`, which is made.
    pub(crate) fn new(
        remotes: Arc<Remotes>,
        files: Vec<RemoteFile>,
        folder: &Path,
        limits: PrefetchLimits,
    ) -> Result<Self, RemoteError> {
        let url = files.first().map(RemoteFile::shown).unwrap_or_default();
        let io = |source| RemoteError::Io {
            url: url.clone(),
            path: folder.to_path_buf(),
            source,
        };
        fs::create_dir_all(folder).map_err(io)?;
        let num_threads = remotes.max_ranges().min(files.len());
        let shared = Arc::new(Shared {
            paths: local_paths(&files, folder),
            remotes,
            files,
            limits,
            state: Mutex::default(),
            changed: Condvar::new(),
            is_cancelled: AtomicBool::new(false),
            bytes_fetched: AtomicU64::new(0),
        });
        let mut prefetch = Self {
            shared,
            threads: Vec::new(),
            next: 0,
            held: HashMap::new(),
        };
        for _ in 0..num_threads {
            let shared = Arc::clone(&prefetch.shared);
            let builder = std::thread::Builder::new().name("prefetch".to_owned());
            let thread = builder.spawn(move || shared.work());
            prefetch.threads.push(thread.map_err(io)?);
        }
        Ok(prefetch)
    }

    /// The next file, once it is there; `None` after the last. A failed file is passed over.
    pub(crate) fn next(&mut self) -> Option<Result<(RemoteFile, PathBuf), RemoteError>> {
        let index = self.next;
        let file = self.shared.files.get(index)?.clone();
        self.next += 1;
        let outcome = self.shared.wait_for(index);
        if let Err(error) = outcome {
            return Some(Err(error));
        }
        let path = self.shared.paths[index].clone();
        self.held.insert(path.clone(), file.size);
        Some(Ok((file, path)))
    }

    /// Removes a file that was read, and makes room for another.
    pub(crate) fn release(&mut self, path: &Path) {
        let Some(bytes) = self.held.remove(path) else {
            return;
        };
        if let Err(error) = fs::remove_file(path) {
            tracing::warn!(path = %path.display(), %error, "a fetched file can't be removed");
        }
        self.shared.make_room(bytes);
    }

    /// Bytes that were fetched so far, or were there from an earlier run.
    #[cfg(all(test, feature = "remote"))]
    pub(crate) fn bytes_fetched(&self) -> u64 {
        self.shared.bytes_fetched.load(Ordering::Relaxed)
    }
}

impl Drop for Prefetch {
    fn drop(&mut self) {
        self.shared.is_cancelled.store(true, Ordering::Relaxed);
        self.shared.changed.notify_all();
        for thread in self.threads.drain(..) {
            // A panic was reported by the thread itself, and `drop` must not start another.
            let _ = thread.join();
        }
        let state = self.shared.lock();
        for (index, outcome) in &state.done {
            if outcome.is_ok() {
                let _ = fs::remove_file(&self.shared.paths[*index]);
            }
        }
    }
}

impl Shared {
    fn work(&self) {
        while let Some(index) = self.start() {
            let file = &self.files[index];
            let reported = AtomicU64::new(0);
            let progress = |bytes: u64| {
                let before = reported.swap(bytes, Ordering::Relaxed);
                // Begins again from zero when what was there turns out to be damaged.
                self.bytes_fetched
                    .fetch_add(bytes.saturating_sub(before), Ordering::Relaxed);
            };
            let path = &self.paths[index];
            let outcome = self
                .remotes
                .fetch_unless(file, path, &progress, &self.is_cancelled);
            let mut state = self.lock();
            state.ranges -= self.remotes.num_ranges(file);
            if outcome.is_err() {
                state.files -= 1;
                state.bytes -= file.size;
            }
            state.done.insert(index, outcome);
            drop(state);
            self.changed.notify_all();
        }
    }

    /// The next file to fetch, as soon as there is room for it.
    fn start(&self) -> Option<usize> {
        let mut state = self.lock();
        loop {
            let index = state.started;
            let file = self.files.get(index)?;
            if self.is_cancelled.load(Ordering::Relaxed) {
                return None;
            }
            let ranges = self.remotes.num_ranges(file);
            let has_memory = state.ranges + ranges <= self.remotes.max_ranges();
            let has_disk = state.files < self.limits.files
                && state.bytes.saturating_add(file.size) <= self.limits.bytes;
            let is_wanted = state.wanted == Some(index);
            if has_memory && (has_disk || is_wanted) {
                state.started += 1;
                state.files += 1;
                state.bytes += file.size;
                state.ranges += ranges;
                return Some(index);
            }
            state = self.wait(state);
        }
    }

    fn wait_for(&self, index: usize) -> Result<(), RemoteError> {
        let mut state = self.lock();
        state.wanted = Some(index);
        self.changed.notify_all();
        loop {
            if let Some(outcome) = state.done.remove(&index) {
                state.wanted = None;
                return outcome;
            }
            state = self.wait(state);
        }
    }

    fn make_room(&self, bytes: u64) {
        let mut state = self.lock();
        state.files -= 1;
        state.bytes -= bytes;
        drop(state);
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'s>(&self, state: MutexGuard<'s, State>) -> MutexGuard<'s, State> {
        self.changed
            .wait(state)
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where each file goes: the same place in every run, so that parts are found again.
fn local_paths(files: &[RemoteFile], folder: &Path) -> Vec<PathBuf> {
    let mut taken = HashSet::new();
    let paths = files.iter().map(|file| {
        let hash = hash::to_hex(&hash::sha256(file.url.as_bytes())[..8]);
        let shown = file.shown();
        let name = shown.rsplit('/').next().unwrap_or_default();
        let is_plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        // The end of a name says more than its start.
        let name: Vec<char> = name.chars().filter(is_plain).collect();
        let name: String = name[name.len().saturating_sub(100)..].iter().collect();
        let mut path = folder.join(format!("{hash}-{name}"));
        let mut number = 1;
        while !taken.insert(path.clone()) {
            number += 1;
            path = folder.join(format!("{hash}-{number}-{name}"));
        }
        path
    });
    paths.collect()
}
