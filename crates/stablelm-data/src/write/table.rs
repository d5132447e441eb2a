//! Parquet tables of our own, with the same bytes for the same rows.
//!
//! Rows are gathered into pages and row groups by their own number and size, never by how they
//! arrived, and nothing of the machine or the moment is written.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::parquet::arrow::ArrowWriter;
use ::parquet::basic::{Compression, ZstdLevel};
use ::parquet::file::properties::WriterProperties;
use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{Field, Schema};

use crate::read::ColumnarError;
use crate::write::WriteError;

const BATCH_ROWS: usize = 4096;
const BATCH_BYTES: usize = 4 << 20;
const GROUP_ROWS: usize = 64 * BATCH_ROWS;
const GROUP_BYTES: usize = 64 << 20;

/// A row of one kind of table.
pub(crate) trait TableRow: Sized {
    fn fields() -> Vec<Field>;
    /// The columns of some rows, in the order of the fields.
    fn columns(rows: &[Self]) -> Vec<ArrayRef>;
    /// Bytes that the row holds, roughly.
    fn size(&self) -> usize;
}

/// A table being written.
pub(crate) struct TableWriter<R> {
    writer: ArrowWriter<File>,
    /// The same open file, to put it on the disk in the end.
    file: File,
    path: PathBuf,
    schema: Arc<Schema>,
    rows: Vec<R>,
    bytes: usize,
    group_rows: usize,
    group_bytes: usize,
}

impl<R: TableRow> TableWriter<R> {
    pub(crate) fn create(path: PathBuf) -> Result<Self, WriteError> {
        let file = File::create(&path).map_err(WriteError::io(&path))?;
        let handle = file.try_clone().map_err(WriteError::io(&path))?;
        let schema = Arc::new(Schema::new(R::fields()));
        let level = ZstdLevel::try_new(3).expect("3 is a level of zstd");
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(level))
            .set_created_by("stablelm-data".to_owned())
            .build();
        let writer = ArrowWriter::try_new(file, schema.clone(), Some(properties))
            .map_err(|error| failed(&path, error))?;
        Ok(Self {
            writer,
            file: handle,
            path,
            schema,
            rows: Vec::new(),
            bytes: 0,
            group_rows: 0,
            group_bytes: 0,
        })
    }

    pub(crate) fn push(&mut self, row: R) -> Result<(), WriteError> {
        self.bytes += row.size();
        self.rows.push(row);
        if self.rows.len() >= BATCH_ROWS || self.bytes >= BATCH_BYTES {
            self.write_rows()?;
        }
        Ok(())
    }

    /// Writes what is left and makes sure that it lies on the disk.
    pub(crate) fn finish(mut self) -> Result<(), WriteError> {
        self.write_rows()?;
        let path = &self.path;
        self.writer.finish().map_err(|error| failed(path, error))?;
        // Taking the file back out of the writer would turn a full disk into a mere message.
        self.writer.sync().map_err(WriteError::io(path))?;
        self.file.sync_all().map_err(WriteError::io(path))
    }

    fn write_rows(&mut self) -> Result<(), WriteError> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let batch = RecordBatch::try_new(self.schema.clone(), R::columns(&self.rows))
            .map_err(|error| failed(&self.path, error))?;
        self.writer
            .write(&batch)
            .map_err(|error| failed(&self.path, error))?;
        self.group_rows += self.rows.len();
        self.group_bytes += self.bytes;
        self.rows.clear();
        self.bytes = 0;
        if self.group_rows >= GROUP_ROWS || self.group_bytes >= GROUP_BYTES {
            self.writer
                .flush()
                .map_err(|error| failed(&self.path, error))?;
            self.group_rows = 0;
            self.group_bytes = 0;
        }
        Ok(())
    }
}

fn failed(path: &Path, error: impl Into<ColumnarError>) -> WriteError {
    WriteError::Table {
        path: path.to_path_buf(),
        source: error.into(),
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::error::Error;
    use std::io;

    use super::*;
    use crate::write::indexed::{IndexedWriter, TokenDtype, with_suffix};
    use crate::write::quarantine::QuarantineRow;

    /// A path where every write fails as on a full disk.
    fn full(folder: &Path, name: &str) -> PathBuf {
        let path = folder.join(name);
        std::os::unix::fs::symlink("/dev/full", &path).unwrap();
        path
    }

    fn check(error: &WriteError) {
        let first: &dyn Error = error;
        let causes = std::iter::successors(Some(first), |error| (*error).source());
        let kinds: Vec<_> = causes
            .filter_map(|error| error.downcast_ref::<io::Error>())
            .map(io::Error::kind)
            .collect();
        assert!(kinds.contains(&io::ErrorKind::StorageFull), "{error:?}");
    }

    #[test]
    fn a_full_disk_is_among_the_causes() {
        let folder = tempfile::tempdir().unwrap();
        let path = full(folder.path(), "table.parquet");
        let row = QuarantineRow {
            path: "p".into(),
            row: 0,
            error: "e".into(),
            raw: "r".into(),
        };
        let written = TableWriter::create(path).and_then(|mut writer| {
            writer.push(row)?;
            writer.finish()
        });
        check(&written.unwrap_err());

        let prefix = folder.path().join("tokens");
        full(folder.path(), "tokens.bin");
        let mut writer = IndexedWriter::create(&prefix, TokenDtype::U16).unwrap();
        writer.push_bytes(&[1, 0]).unwrap();
        check(&writer.finish().unwrap_err());
        assert!(!with_suffix(&prefix, ".idx").exists());
    }
}
