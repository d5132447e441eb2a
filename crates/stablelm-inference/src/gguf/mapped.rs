//! The bytes of a file, mapped.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use memmap2::Mmap;

/// A page at the least; pages that are larger are released less exactly.
const PAGE: usize = 4096;

/// The bytes of a whole file. Cloning shares them.
#[derive(Clone)]
pub(crate) struct MappedFile {
    bytes: Bytes,
    map: Option<Arc<Mmap>>,
}

/// What the bytes keep open.
struct Owner(Arc<Mmap>);

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl MappedFile {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if metadata.len() == 0 {
            // Such a file can't be mapped on every system.
            return Ok(Self::in_memory(Bytes::new()));
        }
        // SAFETY: the map is read only and never handed out beyond `&[u8]`. Bytes that another process changes
        // meanwhile would be read changed: every value taken from them is checked where it is used.
        let map = Arc::new(unsafe { Mmap::map(&file)? });
        Ok(Self {
            bytes: Bytes::from_owner(Owner(Arc::clone(&map))),
            map: Some(map),
        })
    }

    /// Takes bytes that are in memory as if they were a file's.
    pub(crate) fn in_memory(bytes: Bytes) -> Self {
        Self { bytes, map: None }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns a part of the bytes as a share of the map, which it keeps open.
    pub(crate) fn share(&self, part: Range<usize>) -> Bytes {
        self.bytes.slice(part)
    }

    /// Lets the pages go that lie wholly inside a part; they are read from the file when needed again.
    pub(crate) fn release(&self, part: Range<usize>) {
        let Some(map) = &self.map else { return };
        let (start, end) = (part.start.next_multiple_of(PAGE), part.end / PAGE * PAGE);
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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn shared_bytes_outlive_the_file_and_released_ones_come_back() {
        let path = std::env::temp_dir().join(format!("stablelm-mapped-{}", std::process::id()));
        let bytes: Vec<u8> = (0..40_000u32).map(|i| (i % 251) as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        let file = MappedFile::open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let shared = file.share(100..30_000);
        file.release(5..35_000);
        file.release(5..6);
        drop(file);
        assert_eq!(shared, bytes[100..30_000]);
    }

    #[test]
    fn a_folder_is_an_error() {
        assert!(MappedFile::open(&PathBuf::from("/")).is_err());
    }
}
