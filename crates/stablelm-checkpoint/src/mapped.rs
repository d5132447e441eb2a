//! A file's bytes in memory, mapped: the one place that asks the operating system for them.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use memmap2::Mmap;

/// The bytes of a whole file. Cloning shares them.
#[derive(Clone, Debug)]
pub(crate) struct MappedFile {
    // An empty file can't be mapped on every system.
    map: Option<Arc<Mmap>>,
}

impl MappedFile {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if metadata.len() == 0 {
            return Ok(Self { map: None });
        }
        // SAFETY: the map is read only and never handed out beyond `&[u8]`. Bytes that another process changes
        // meanwhile would be read changed: every value taken from them is checked where it is used, and a checkpoint
        // that is written while it is converted can't give a right answer in any case.
        let map = unsafe { Mmap::map(&file)? };
        Ok(Self {
            map: Some(Arc::new(map)),
        })
    }

    /// Takes bytes as if they were a file's.
    #[cfg(fuzzing)]
    pub(crate) fn in_memory(bytes: &[u8]) -> Self {
        let map = memmap2::MmapMut::map_anon(bytes.len().max(1));
        let mut map = map.expect("there is memory for what the fuzzer made");
        map[..bytes.len()].copy_from_slice(bytes);
        let map = map.make_read_only();
        let map = map.expect("memory of our own may be read");
        let map = (!bytes.is_empty()).then(|| Arc::new(map));
        Self { map }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.map.as_deref().map_or(&[], |map| map)
    }

    /// Returns `part` of these bytes as a share of the map, which it keeps open.
    pub(crate) fn share(&self, part: &[u8]) -> Bytes {
        Bytes::from_owner(self.clone()).slice_ref(part)
    }

    /// Lets the pages go that lie wholly inside `part` of these bytes; they are read from the file when needed again.
    pub(crate) fn release(&self, part: &[u8]) {
        let Some(map) = &self.map else { return };
        let page = 4096;
        // What was unpacked into memory is not in the map.
        if !map.as_ptr_range().contains(&part.as_ptr()) {
            return;
        }
        let start = (part.as_ptr().addr() - map.as_ptr().addr()).next_multiple_of(page);
        let end = (part.as_ptr().addr() + part.len() - map.as_ptr().addr()) / page * page;
        if start < end {
            release_range(map, start, end - start);
        }
    }
}

#[cfg(unix)]
fn release_range(map: &Mmap, start: usize, len: usize) {
    use memmap2::UncheckedAdvice;
    // SAFETY: the map is of a file and only ever read: pages that go come back with the file's bytes.
    let released = unsafe { map.unchecked_advise_range(UncheckedAdvice::DontNeed, start, len) };
    if let Err(error) = released {
        tracing::debug!(%error, "mapped pages could not be released");
    }
}

#[cfg(not(unix))]
fn release_range(_map: &Mmap, _start: usize, _len: usize) {}

impl AsRef<[u8]> for MappedFile {
    fn as_ref(&self) -> &[u8] {
        self.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_has_no_bytes_and_a_folder_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("empty");
        std::fs::write(&path, b"").unwrap();
        assert_eq!(MappedFile::open(&path).unwrap().bytes(), b"");
        assert!(MappedFile::open(folder.path()).is_err());
    }

    #[test]
    fn shared_bytes_outlive_the_file_and_released_ones_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bytes");
        let bytes: Vec<u8> = (0..40_000u32).map(|i| (i % 251) as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        let file = MappedFile::open(&path).unwrap();
        let shared = file.share(&file.bytes()[100..30_000]);
        file.release(&file.bytes()[5..35_000]);
        file.release(&file.bytes()[5..6]);
        drop(file);
        assert_eq!(shared, bytes[100..30_000]);
    }
}
