//! Record batches on disk, in order, in a file that can be cut back to any batch.
//!
//! A batch is a frame: its length (u64, little-endian), then an Arrow IPC stream of that one batch.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Cursor, Read, Write};
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;

use crate::write::WriteError;

/// Appends a batch to `frames` in the form of the file.
pub(crate) fn frame(batch: &RecordBatch, frames: &mut Vec<u8>) {
    let start = frames.len();
    frames.extend_from_slice(&[0; 8]);
    let mut writer =
        StreamWriter::try_new(&mut *frames, &batch.schema()).expect("writing to memory can't fail");
    writer.write(batch).expect("writing to memory can't fail");
    writer.finish().expect("writing to memory can't fail");
    drop(writer);
    let len = (frames.len() - start - 8) as u64;
    frames[start..start + 8].copy_from_slice(&len.to_le_bytes());
}

/// A spool being written.
pub(crate) struct SpoolWriter {
    file: File,
    path: PathBuf,
    len: u64,
}

impl SpoolWriter {
    /// Opens a spool and cuts it to `len` bytes, which earlier were safely on the disk.
    pub(crate) fn open(path: PathBuf, len: u64) -> Result<Self, WriteError> {
        let open = || -> io::Result<File> {
            let mut file = OpenOptions::new()
                .create(true)
                .truncate(false)
                .read(true)
                .write(true)
                .open(&path)?;
            if file.metadata()?.len() < len {
                let message = format!("the spool has fewer than {len} bytes");
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
            }
            file.set_len(len)?;
            io::Seek::seek(&mut file, io::SeekFrom::Start(len))?;
            Ok(file)
        };
        let file = open().map_err(WriteError::io(&path))?;
        Ok(Self { file, path, len })
    }

    /// Appends whole frames.
    pub(crate) fn append(&mut self, frames: &[u8]) -> Result<(), WriteError> {
        let written = self.file.write_all(frames);
        written.map_err(WriteError::io(&self.path))?;
        self.len += frames.len() as u64;
        Ok(())
    }

    /// Makes sure that everything so far lies on the disk; returns how much that is.
    pub(crate) fn sync(&mut self) -> Result<u64, WriteError> {
        self.file.sync_data().map_err(WriteError::io(&self.path))?;
        Ok(self.len)
    }
}

/// The batches of a spool, in order.
pub(crate) struct SpoolReader {
    file: BufReader<File>,
    left: u64,
    frame: Vec<u8>,
}

impl SpoolReader {
    /// Reads the first `len` bytes of a spool.
    pub(crate) fn open(path: &Path, len: u64) -> io::Result<Self> {
        let file = BufReader::with_capacity(256 << 10, File::open(path)?);
        Ok(Self {
            file,
            left: len,
            frame: Vec::new(),
        })
    }

    /// Bytes that were not read yet.
    pub(crate) fn left(&self) -> u64 {
        self.left
    }

    pub(crate) fn next_batch(&mut self) -> io::Result<Option<RecordBatch>> {
        if self.left == 0 {
            return Ok(None);
        }
        let mut len = [0; 8];
        self.file.read_exact(&mut len)?;
        let len = u64::from_le_bytes(len);
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, "the spool is damaged");
        let all = len.checked_add(8).filter(|&all| all <= self.left);
        self.left -= all.ok_or_else(damaged)?;
        self.frame.clear();
        (&mut self.file).take(len).read_to_end(&mut self.frame)?;
        if self.frame.len() as u64 != len {
            return Err(damaged());
        }
        let reader = StreamReader::try_new(Cursor::new(&self.frame), None);
        let batch = reader.and_then(|mut reader| reader.next().transpose());
        let batch = batch.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        batch.map(Some).ok_or_else(damaged)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, UInt64Array};

    use super::*;

    fn batch(number: u64) -> RecordBatch {
        let column: ArrayRef = Arc::new(UInt64Array::from(vec![number; 3]));
        RecordBatch::try_from_iter([("n", column)]).unwrap()
    }

    #[test]
    fn a_spool_is_cut_back_and_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let mut writer = SpoolWriter::open(path.clone(), 0).unwrap();
        let mut frames = Vec::new();
        frame(&batch(1), &mut frames);
        writer.append(&frames).unwrap();
        let kept = writer.sync().unwrap();
        writer.append(&frames).unwrap();
        writer.append(&frames[..frames.len() / 2]).unwrap();
        drop(writer);

        let mut writer = SpoolWriter::open(path.clone(), kept).unwrap();
        frames.clear();
        frame(&batch(2), &mut frames);
        writer.append(&frames).unwrap();
        let len = writer.sync().unwrap();
        let mut reader = SpoolReader::open(&path, len).unwrap();
        assert_eq!(reader.next_batch().unwrap(), Some(batch(1)));
        assert_eq!(reader.next_batch().unwrap(), Some(batch(2)));
        assert_eq!(reader.next_batch().unwrap(), None);
        assert!(SpoolWriter::open(path, len + 1).is_err());
    }
}
