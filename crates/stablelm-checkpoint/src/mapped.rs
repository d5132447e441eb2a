//! A file's bytes in memory, mapped: the one place that asks the operating system for them.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

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

    pub(crate) fn bytes(&self) -> &[u8] {
        self.map.as_deref().map_or(&[], |map| map)
    }
}

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
}
