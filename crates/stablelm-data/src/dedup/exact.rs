//! Finds texts that were seen before, in bounded memory.
//!
//! A text stands for itself by the first 16 bytes of its SHA-256: among 10^12 texts the chance of
//! one false match is below 10^-14. Keys are held in a set; when that is full they go to disk as a
//! sorted run, of which memory keeps every 256th key. A look-up reads one block a run, and many
//! runs are merged into one.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::hash::Sha256Bytes;

const KEY_LEN: usize = 16;
/// Keys a block: one read of 4 KiB.
const BLOCK_KEYS: usize = 256;
/// Runs that are kept before they are merged.
const MAX_RUNS: usize = 8;
/// Memory a key takes in the set, counting empty slots and the copy made while growing.
const BYTES_PER_KEY: u64 = 64;
/// The least number of keys in memory; fewer would make a run of every block.
const MIN_KEYS: u64 = 64;

type Key = [u8; KEY_LEN];

/// The texts seen so far.
pub(crate) struct SeenTexts {
    recent: HashSet<Key>,
    max_recent: usize,
    runs: Vec<Run>,
    folder: PathBuf,
    next_run: u64,
}

/// Why texts can't be remembered.
#[derive(Debug, thiserror::Error)]
#[error("failed to keep the hashes of seen texts in `{}`", path.display())]
pub struct DedupError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl SeenTexts {
    /// Remembers nothing yet. `folder` is made when memory is not enough, and removed when this is
    /// dropped.
    pub(crate) fn new(folder: PathBuf, memory_limit: u64) -> Self {
        let max_recent = (memory_limit / BYTES_PER_KEY).max(MIN_KEYS);
        Self {
            recent: HashSet::new(),
            max_recent: usize::try_from(max_recent).unwrap_or(usize::MAX),
            runs: Vec::new(),
            folder,
            next_run: 0,
        }
    }

    /// Remembers a text by its hash; says whether it is the first of its kind.
    pub(crate) fn insert(&mut self, text_sha256: &Sha256Bytes) -> Result<bool, DedupError> {
        let key: Key = text_sha256[..KEY_LEN]
            .try_into()
            .expect("a hash has 32 bytes");
        if self.recent.contains(&key) {
            return Ok(false);
        }
        for run in &mut self.runs {
            if run.contains(&key).map_err(|source| run.error(source))? {
                return Ok(false);
            }
        }
        if self.recent.len() >= self.max_recent {
            self.spill()?;
        }
        self.recent.insert(key);
        Ok(true)
    }

    /// Moves the keys in memory into a run.
    fn spill(&mut self) -> Result<(), DedupError> {
        std::fs::create_dir_all(&self.folder).map_err(|source| DedupError {
            path: self.folder.clone(),
            source,
        })?;
        let mut keys: Vec<Key> = self.recent.drain().collect();
        keys.sort_unstable();
        let path = self.next_path();
        let run = Run::write(&path, keys.into_iter().map(Ok))
            .map_err(|source| DedupError { path, source })?;
        self.runs.push(run);
        if self.runs.len() > MAX_RUNS {
            self.merge()?;
        }
        Ok(())
    }

    /// Makes one run of all. No key is in two of them.
    fn merge(&mut self) -> Result<(), DedupError> {
        let path = self.next_path();
        let runs = std::mem::take(&mut self.runs);
        let merged = merge_runs(&path, &runs);
        let merged = merged.map_err(|source| DedupError { path, source })?;
        tracing::debug!(
            runs = runs.len(),
            keys = merged.num_keys,
            "merged runs of seen texts"
        );
        for run in runs {
            std::fs::remove_file(&run.path).map_err(|source| run.error(source))?;
        }
        self.runs.push(merged);
        Ok(())
    }

    fn next_path(&mut self) -> PathBuf {
        self.next_run += 1;
        self.folder.join(format!("run-{}", self.next_run))
    }
}

impl Drop for SeenTexts {
    fn drop(&mut self) {
        if self.next_run > 0 {
            self.runs.clear();
            if let Err(error) = std::fs::remove_dir_all(&self.folder) {
                tracing::warn!("failed to remove `{}`: {error}", self.folder.display());
            }
        }
    }
}

/// Sorted keys in a file, with the first key of each block in memory.
struct Run {
    file: File,
    path: PathBuf,
    fences: Vec<Key>,
    num_keys: u64,
}

impl Run {
    /// Writes keys that come in order.
    fn write(path: &Path, keys: impl Iterator<Item = io::Result<Key>>) -> io::Result<Self> {
        let mut writer = BufWriter::with_capacity(1 << 18, File::create(path)?);
        let mut fences = Vec::new();
        let mut num_keys = 0_u64;
        for key in keys {
            let key = key?;
            if num_keys.is_multiple_of(BLOCK_KEYS as u64) {
                fences.push(key);
            }
            writer.write_all(&key)?;
            num_keys += 1;
        }
        writer.flush()?;
        drop(writer);
        Ok(Self {
            file: File::open(path)?,
            path: path.to_path_buf(),
            fences,
            num_keys,
        })
    }

    fn contains(&mut self, key: &Key) -> io::Result<bool> {
        let Some(block) = self
            .fences
            .partition_point(|fence| fence <= key)
            .checked_sub(1)
        else {
            return Ok(false);
        };
        let first = block as u64 * BLOCK_KEYS as u64;
        let len = (self.num_keys - first).min(BLOCK_KEYS as u64);
        let len = usize::try_from(len).expect("a block is small");
        let mut bytes = [0; BLOCK_KEYS * KEY_LEN];
        let bytes = &mut bytes[..len * KEY_LEN];
        self.file.seek(SeekFrom::Start(first * KEY_LEN as u64))?;
        self.file.read_exact(bytes)?;
        let (keys, _) = bytes.as_chunks::<KEY_LEN>();
        Ok(keys.binary_search(key).is_ok())
    }

    fn error(&self, source: io::Error) -> DedupError {
        DedupError {
            path: self.path.clone(),
            source,
        }
    }
}

fn merge_runs(path: &Path, runs: &[Run]) -> io::Result<Run> {
    let mut readers = Vec::new();
    for run in runs {
        readers.push((
            BufReader::with_capacity(1 << 16, File::open(&run.path)?),
            run.num_keys,
        ));
    }
    let mut next = |index: usize| -> io::Result<Option<Key>> {
        let (reader, left) = &mut readers[index];
        if *left == 0 {
            return Ok(None);
        }
        *left -= 1;
        let mut key = [0; KEY_LEN];
        reader.read_exact(&mut key)?;
        Ok(Some(key))
    };
    let mut heap = BinaryHeap::new();
    for index in 0..runs.len() {
        heap.extend(next(index)?.map(|key| Reverse((key, index))));
    }
    let keys = std::iter::from_fn(|| {
        let Reverse((key, index)) = heap.pop()?;
        match next(index) {
            Ok(following) => {
                heap.extend(following.map(|key| Reverse((key, index))));
                Some(Ok(key))
            }
            Err(error) => Some(Err(error)),
        }
    });
    Run::write(path, keys)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::sha256;

    /// Numbers below `range` from a fixed sequence, most of them more than once.
    fn numbers(count: u64, range: u64) -> impl Iterator<Item = u64> {
        let mut state = 1_u64;
        std::iter::repeat_with(move || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % range
        })
        .take(usize::try_from(count).unwrap())
    }

    #[test]
    fn a_tiny_memory_finds_the_same_duplicates_as_a_set() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("seen");
        let mut seen = SeenTexts::new(folder.clone(), 1);
        let mut expected = HashSet::new();
        for number in numbers(12_000, 7_000) {
            let first = seen.insert(&sha256(&number.to_le_bytes())).unwrap();
            assert_eq!(first, expected.insert(number), "{number}");
        }
        assert!(folder.is_dir());
        assert!(seen.next_run > MAX_RUNS as u64, "runs were merged");
        assert!(seen.runs.len() <= MAX_RUNS);
        let on_disk: u64 = seen.runs.iter().map(|run| run.num_keys).sum();
        assert_eq!(on_disk + seen.recent.len() as u64, expected.len() as u64);
        drop(seen);
        assert!(!folder.exists());
    }

    #[test]
    fn enough_memory_touches_no_disk() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("seen");
        let mut seen = SeenTexts::new(folder.clone(), 1 << 20);
        for number in numbers(5_000, 5_000) {
            seen.insert(&sha256(&number.to_le_bytes())).unwrap();
        }
        assert!(!folder.exists());
    }
}
