//! Sorts more records than memory holds: sorted runs on disk, merged while they are read.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::error::DedupError;

/// Runs that are read at the same time; more are merged in passes.
const MAX_FAN_IN: u64 = 128;
/// The least and the greatest buffer that one run is read through.
const BUFFER: std::ops::RangeInclusive<u64> = 1 << 12..=1 << 20;
/// The least number of records in memory; fewer would make a run of every record.
const MIN_RECORDS: u64 = 16;

/// A folder for runs, made when the first one is written and removed with the last of its users.
#[derive(Debug)]
pub(super) struct RunFolder {
    path: PathBuf,
    is_made: AtomicBool,
    next_run: AtomicU64,
}

impl RunFolder {
    pub(super) fn new(path: PathBuf) -> Arc<Self> {
        Arc::new(Self {
            path,
            is_made: AtomicBool::new(false),
            next_run: AtomicU64::new(0),
        })
    }

    /// A path for one more run. What an earlier process left there is removed first.
    fn next_path(&self) -> Result<PathBuf, DedupError> {
        let error = |source| DedupError::new(&self.path, source);
        if !self.is_made.load(Ordering::Relaxed) {
            remove_folder(&self.path).map_err(error)?;
            std::fs::create_dir_all(&self.path).map_err(error)?;
            self.is_made.store(true, Ordering::Relaxed);
        }
        let number = self.next_run.fetch_add(1, Ordering::Relaxed);
        Ok(self.path.join(format!("run-{number}")))
    }
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        if let Err(error) = remove_folder(&self.path) {
            tracing::warn!("failed to remove `{}`: {error}", self.path.display());
        }
    }
}

fn remove_folder(path: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Takes records in any order and gives them back sorted.
#[derive(Debug)]
pub(super) struct Sorter<const N: usize> {
    folder: Arc<RunFolder>,
    memory_limit: u64,
    recent: Vec<[u64; N]>,
    max_recent: usize,
    runs: Vec<Run>,
}

impl<const N: usize> Sorter<N> {
    /// Holds nothing yet. Touches the disk only when `memory_limit`, in bytes, is not enough.
    pub(super) fn new(folder: &Arc<RunFolder>, memory_limit: u64) -> Self {
        let max_recent = (memory_limit / record_len::<N>()).max(MIN_RECORDS);
        Self {
            folder: Arc::clone(folder),
            memory_limit,
            recent: Vec::new(),
            max_recent: usize::try_from(max_recent).unwrap_or(usize::MAX),
            runs: Vec::new(),
        }
    }

    pub(super) fn push(&mut self, record: [u64; N]) -> Result<(), DedupError> {
        if self.recent.len() == self.max_recent {
            self.spill()?;
        } else if self.recent.len() == self.recent.capacity() {
            // A vector left to itself would grow beyond the limit.
            let more = self.recent.len().max(1 << 10);
            let more = more.min(self.max_recent - self.recent.len());
            self.recent.reserve_exact(more);
        }
        self.recent.push(record);
        Ok(())
    }

    /// Takes over what another one holds.
    pub(super) fn absorb(&mut self, other: Self) -> Result<(), DedupError> {
        self.runs.extend(other.runs);
        other
            .recent
            .into_iter()
            .try_for_each(|record| self.push(record))
    }

    /// Ends the collecting.
    pub(super) fn finish(mut self) -> Result<Sorted<N>, DedupError> {
        if self.runs.is_empty() {
            self.recent.sort_unstable();
            return Ok(Sorted::Memory(self.recent.into_iter()));
        }
        self.spill()?;
        self.recent = Vec::new();
        let fan_in = (self.memory_limit / BUFFER.start()).clamp(2, MAX_FAN_IN);
        let fan_in = usize::try_from(fan_in).expect("it is small");
        while self.runs.len() > fan_in {
            // No more than needed, so that the last pass reads as much as possible only once.
            let group = fan_in.min(self.runs.len() - fan_in + 1);
            let group = self.runs.drain(..group).collect();
            let records = Merge::<N>::new(group, self.memory_limit)?;
            let run = Run::write(&self.folder, records)?;
            self.runs.push(run);
        }
        Ok(Sorted::Disk(Merge::new(self.runs, self.memory_limit)?))
    }

    fn spill(&mut self) -> Result<(), DedupError> {
        if self.recent.is_empty() {
            return Ok(());
        }
        self.recent.sort_unstable();
        let records = self.recent.drain(..).map(Ok);
        self.runs.push(Run::write(&self.folder, records)?);
        Ok(())
    }
}

/// Records in order, equal ones beside each other.
pub(super) enum Sorted<const N: usize> {
    Memory(std::vec::IntoIter<[u64; N]>),
    Disk(Merge<N>),
}

impl<const N: usize> Iterator for Sorted<N> {
    type Item = Result<[u64; N], DedupError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Memory(records) => records.next().map(Ok),
            Self::Disk(records) => records.next(),
        }
    }
}

/// Leaves out records that equal the one before.
pub(super) fn distinct<const N: usize>(
    records: impl Iterator<Item = Result<[u64; N], DedupError>>,
) -> impl Iterator<Item = Result<[u64; N], DedupError>> {
    let mut last = None;
    records.filter(move |record| match record {
        Ok(record) => last.replace(*record) != Some(*record),
        Err(_) => true,
    })
}

const fn record_len<const N: usize>() -> u64 {
    size_of::<[u64; N]>() as u64
}

/// Sorted records in a file, which goes when this does.
#[derive(Debug)]
struct Run {
    path: PathBuf,
    /// Keeps the folder.
    _folder: Arc<RunFolder>,
}

impl Run {
    fn write<const N: usize>(
        folder: &Arc<RunFolder>,
        records: impl Iterator<Item = Result<[u64; N], DedupError>>,
    ) -> Result<Self, DedupError> {
        let run = Self {
            path: folder.next_path()?,
            _folder: Arc::clone(folder),
        };
        let file = File::create_new(&run.path).map_err(|source| run.error(source))?;
        let mut writer = BufWriter::with_capacity(1 << 18, file);
        for record in records {
            let record = record?.map(u64::to_le_bytes);
            writer
                .write_all(record.as_flattened())
                .map_err(|source| run.error(source))?;
        }
        writer.flush().map_err(|source| run.error(source))?;
        Ok(run)
    }

    fn error(&self, source: io::Error) -> DedupError {
        DedupError::new(&self.path, source)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // Space is given back early; what stays goes with the folder.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Reads one run.
#[derive(Debug)]
struct RunReader<const N: usize> {
    reader: BufReader<File>,
    left: u64,
    run: Run,
}

impl<const N: usize> RunReader<N> {
    fn new(run: Run, buffer_len: u64) -> Result<Self, DedupError> {
        let file = File::open(&run.path).map_err(|source| run.error(source))?;
        let len = file.metadata().map_err(|source| run.error(source))?.len();
        let buffer_len = usize::try_from(buffer_len).expect("buffers are small");
        Ok(Self {
            reader: BufReader::with_capacity(buffer_len, file),
            left: len / record_len::<N>(),
            run,
        })
    }

    fn next(&mut self) -> Result<Option<[u64; N]>, DedupError> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let mut bytes = [[0; 8]; N];
        self.reader
            .read_exact(bytes.as_flattened_mut())
            .map_err(|source| self.run.error(source))?;
        Ok(Some(bytes.map(u64::from_le_bytes)))
    }
}

/// Reads several runs as one.
#[derive(Debug)]
pub(super) struct Merge<const N: usize> {
    readers: Vec<RunReader<N>>,
    /// The next record of each run that has one.
    heap: BinaryHeap<Reverse<([u64; N], usize)>>,
}

impl<const N: usize> Merge<N> {
    fn new(runs: Vec<Run>, memory_limit: u64) -> Result<Self, DedupError> {
        let buffer_len = memory_limit / runs.len().max(1) as u64;
        let buffer_len = buffer_len.clamp(*BUFFER.start(), *BUFFER.end());
        let mut readers = Vec::with_capacity(runs.len());
        let mut heap = BinaryHeap::with_capacity(runs.len());
        for (index, run) in runs.into_iter().enumerate() {
            let mut reader = RunReader::new(run, buffer_len)?;
            heap.extend(reader.next()?.map(|record| Reverse((record, index))));
            readers.push(reader);
        }
        Ok(Self { readers, heap })
    }
}

impl<const N: usize> Iterator for Merge<N> {
    type Item = Result<[u64; N], DedupError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut top = self.heap.peek_mut()?;
        let Reverse((record, index)) = *top;
        match self.readers[index].next() {
            Ok(Some(following)) => *top = Reverse((following, index)),
            Ok(None) => {
                PeekMut::pop(top);
            }
            Err(error) => {
                drop(top);
                self.heap.clear();
                return Some(Err(error));
            }
        }
        Some(Ok(record))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sorted(sorter: Sorter<2>) -> Vec<[u64; 2]> {
        sorter.finish().unwrap().map(Result::unwrap).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn parts_and_limits_change_nothing(
            records in prop::collection::vec(prop::array::uniform2(0_u64..50), 0..900),
            cut in 0_usize..900,
            limit in 0_u64..20_000,
        ) {
            let parent = tempfile::tempdir().unwrap();
            let folder = RunFolder::new(parent.path().join("runs"));
            let other_folder = RunFolder::new(parent.path().join("other"));
            let mut first = Sorter::new(&folder, limit);
            let mut second = Sorter::new(&other_folder, limit / 2);
            drop((folder, other_folder));
            for (index, &record) in records.iter().enumerate() {
                let part = if index < cut { &mut first } else { &mut second };
                part.push(record).unwrap();
            }
            second.absorb(first).unwrap();
            let mut expected = records;
            expected.sort_unstable();
            prop_assert_eq!(sorted(second), expected);
            prop_assert_eq!(parent.path().read_dir().unwrap().count(), 0);
        }
    }

    #[test]
    fn many_runs_are_merged_in_passes() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("runs");
        let mut sorter = Sorter::new(&RunFolder::new(path.clone()), 1);
        let numbers = (0..5_000_u64).map(|number| number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        for number in numbers.clone() {
            sorter.push([number, 1]).unwrap();
        }
        assert!(sorter.runs.len() > 300);
        let mut expected: Vec<_> = numbers.map(|number| [number, 1]).collect();
        expected.sort_unstable();
        assert_eq!(sorted(sorter), expected);
        assert!(!path.exists());
    }

    #[test]
    fn what_an_earlier_process_left_is_removed() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("runs");
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("run-0"), "half a record").unwrap();
        let mut sorter = Sorter::new(&RunFolder::new(path.clone()), 1);
        for number in 0..40 {
            sorter.push([number, 0]).unwrap();
        }
        assert_eq!(sorted(sorter).len(), 40);
        std::fs::create_dir(&path).unwrap();
        drop(Sorter::<2>::new(&RunFolder::new(path.clone()), 1 << 20));
        assert!(!path.exists());
    }

    #[test]
    fn enough_memory_touches_no_disk() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("runs");
        let mut sorter = Sorter::new(&RunFolder::new(path.clone()), 1 << 16);
        for number in (0..4_096).rev() {
            sorter.push([number, 0]).unwrap();
        }
        assert_eq!(sorter.recent.capacity(), 4_096);
        assert!(!path.exists());
        assert_eq!(sorted(sorter)[4_095], [4_095, 0]);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("file");
        std::fs::write(&path, "").unwrap();
        let mut sorter = Sorter::new(&RunFolder::new(path.join("runs")), 1);
        let error = (0..40).find_map(|number| sorter.push([number]).err());
        assert!(error.unwrap().to_string().contains("file/runs"));
    }
}
