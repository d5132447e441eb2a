//! Reads the tables of a prepared folder back, row by row, as they were pushed.

use std::fs::File;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int32Type, Int64Type};
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use crate::document::Split;
use crate::read::{ColumnarError, ReadError};
use crate::write::documents::DocumentRow;
use crate::write::dropped::{DroppedRow, DroppedTextRow};
use crate::write::table::TableRow;
use crate::write::text::TextRow;

/// A row that can be read back.
pub(super) trait StoredRow: TableRow {
    /// Rows that are decoded at once.
    const BATCH_ROWS: usize;
    /// Reads row `at` of a batch with the fields of this kind of row.
    fn read(batch: &RecordBatch, at: usize) -> Self;
}

/// The rows of a table, in order.
pub(super) struct Rows<R> {
    reader: ParquetRecordBatchReader,
    batch: Option<RecordBatch>,
    next: usize,
    path: PathBuf,
    row: PhantomData<R>,
}

impl<R: StoredRow> Rows<R> {
    /// Opens a table and checks its columns.
    pub(super) fn open(path: &Path) -> Result<Self, ReadError> {
        let file = File::open(path).map_err(ReadError::io(path))?;
        let builder = ParquetRecordBatchReaderBuilder::try_new(file);
        let builder = builder.map_err(|error| damaged(path, error.into()))?;
        let present = builder.schema().fields().clone();
        for (at, wanted) in R::fields().iter().enumerate() {
            let Some(field) = present
                .get(at)
                .filter(|field| field.name() == wanted.name())
            else {
                return Err(ReadError::MissingColumn {
                    path: path.to_path_buf(),
                    column: wanted.name().clone(),
                    present: present.iter().map(|field| field.name().clone()).collect(),
                });
            };
            if field.data_type() != wanted.data_type() {
                return Err(ReadError::ColumnType {
                    path: path.to_path_buf(),
                    column: wanted.name().clone(),
                    expected: "that of a prepared table",
                    found: field.data_type().to_string(),
                });
            }
        }
        let reader = builder.with_batch_size(R::BATCH_ROWS).build();
        Ok(Self {
            reader: reader.map_err(|error| damaged(path, error.into()))?,
            batch: None,
            next: 0,
            path: path.to_path_buf(),
            row: PhantomData,
        })
    }

    pub(super) fn next_row(&mut self) -> Result<Option<R>, ReadError> {
        loop {
            if let Some(batch) = &self.batch
                && self.next < batch.num_rows()
            {
                self.next += 1;
                return Ok(Some(R::read(batch, self.next - 1)));
            }
            match self.reader.next() {
                None => return Ok(None),
                Some(Err(error)) => return Err(damaged(&self.path, error.into())),
                Some(Ok(batch)) => (self.batch, self.next) = (Some(batch), 0),
            }
        }
    }
}

/// Whether a table has a column of this name.
pub(super) fn has_column(path: &Path, name: &str) -> Result<bool, ReadError> {
    let file = File::open(path).map_err(ReadError::io(path))?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file);
    let builder = builder.map_err(|error| damaged(path, error.into()))?;
    Ok(builder.schema().column_with_name(name).is_some())
}

fn damaged(path: &Path, source: ColumnarError) -> ReadError {
    ReadError::Parquet {
        path: path.to_path_buf(),
        columns: Vec::new(),
        source,
    }
}

/// One row of a batch, by the number of the column.
#[derive(Clone, Copy)]
struct Cells<'b> {
    batch: &'b RecordBatch,
    at: usize,
}

impl<'b> Cells<'b> {
    fn optional(self, column: usize) -> Option<&'b str> {
        let strings = self.batch.column(column).as_string::<i32>();
        strings.is_valid(self.at).then(|| strings.value(self.at))
    }

    fn string(self, column: usize) -> &'b str {
        self.optional(column).unwrap_or_default()
    }

    fn owned(self, column: usize) -> Option<String> {
        self.optional(column).map(str::to_owned)
    }

    fn shared(self, column: usize) -> Arc<str> {
        self.string(column).into()
    }

    fn long(self, column: usize) -> i64 {
        let column = self.batch.column(column).as_primitive::<Int64Type>();
        column.value(self.at)
    }

    fn int(self, column: usize) -> i32 {
        let column = self.batch.column(column).as_primitive::<Int32Type>();
        column.value(self.at)
    }

    fn number(self, column: usize) -> Option<f64> {
        let column = self.batch.column(column).as_primitive::<Float64Type>();
        column.is_valid(self.at).then(|| column.value(self.at))
    }
}

impl StoredRow for DocumentRow {
    const BATCH_ROWS: usize = 4096;

    fn read(batch: &RecordBatch, at: usize) -> Self {
        let cells = Cells { batch, at };
        Self {
            document: cells.long(0),
            source: cells.shared(1),
            subset: cells.owned(2),
            path: cells.shared(3),
            row: cells.long(4),
            id: cells.owned(5),
            text_sha256: cells.string(6).to_owned(),
            license: cells.shared(7),
            num_tokens: cells.int(8),
        }
    }
}

impl StoredRow for DroppedRow {
    const BATCH_ROWS: usize = 4096;

    fn read(batch: &RecordBatch, at: usize) -> Self {
        let cells = Cells { batch, at };
        Self {
            source: cells.shared(0),
            subset: cells.owned(1),
            path: cells.shared(2),
            row: cells.long(3),
            id: cells.owned(4),
            stage: cells.shared(5),
            reason: cells.string(6).to_owned(),
            value: cells.number(7),
            threshold: cells.number(8),
            duplicate_of: cells.owned(9),
        }
    }
}

impl StoredRow for DroppedTextRow {
    // Few, as texts may be long.
    const BATCH_ROWS: usize = 64;

    fn read(batch: &RecordBatch, at: usize) -> Self {
        Self {
            dropped: DroppedRow::read(batch, at),
            text: Cells { batch, at }.string(10).to_owned(),
        }
    }
}

impl StoredRow for TextRow {
    const BATCH_ROWS: usize = 64;

    fn read(batch: &RecordBatch, at: usize) -> Self {
        let cells = Cells { batch, at };
        let split = cells.string(0);
        let split = Split::ALL.into_iter().find(|known| known.as_str() == split);
        Self {
            split: split.unwrap_or(Split::Train),
            shard: cells.int(1).cast_unsigned(),
            document: cells.long(2),
            subset: cells.owned(3),
            path: cells.shared(4),
            row: cells.long(5),
            id: cells.owned(6),
            text: cells.string(7).to_owned(),
        }
    }
}
