//! Reads the provenance of a dataset, a row at a time.

use std::fs::File;
use std::path::{Path, PathBuf};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Int32Type, Int64Type};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use crate::read::ReadError;

const COLUMNS: [(&str, DataType); 7] = [
    ("document", DataType::Int64),
    ("source", DataType::Utf8),
    ("subset", DataType::Utf8),
    ("path", DataType::Utf8),
    ("row", DataType::Int64),
    ("id", DataType::Utf8),
    ("num_tokens", DataType::Int32),
];

/// The provenance of one document, as far as it is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Provenance {
    pub(super) document: i64,
    pub(super) source: String,
    pub(super) subset: Option<String>,
    pub(super) path: String,
    pub(super) row: i64,
    pub(super) id: Option<String>,
    pub(super) num_tokens: i32,
}

/// The rows of a provenance table, in order.
pub(super) struct ProvenanceRows {
    reader: ParquetRecordBatchReader,
    batch: Option<RecordBatch>,
    next: usize,
    path: PathBuf,
}

impl ProvenanceRows {
    pub(super) fn open(path: &Path) -> Result<Self, ReadError> {
        let file = File::open(path).map_err(ReadError::io(path))?;
        let damaged = |error: parquet::errors::ParquetError| damaged(path, error.into());
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(damaged)?;
        let fields = builder.schema().fields().clone();
        for (name, expected) in &COLUMNS {
            let Some((_, field)) = fields.find(name) else {
                return Err(ReadError::MissingColumn {
                    path: path.to_path_buf(),
                    column: (*name).to_owned(),
                    present: fields.iter().map(|field| field.name().clone()).collect(),
                });
            };
            if field.data_type() != expected {
                return Err(ReadError::ColumnType {
                    path: path.to_path_buf(),
                    column: (*name).to_owned(),
                    expected: "that of a provenance table",
                    found: field.data_type().to_string(),
                });
            }
        }
        let mask = ProjectionMask::columns(
            builder.parquet_schema(),
            COLUMNS.iter().map(|(name, _)| *name),
        );
        let reader = builder.with_projection(mask).with_batch_size(4096).build();
        Ok(Self {
            reader: reader.map_err(damaged)?,
            batch: None,
            next: 0,
            path: path.to_path_buf(),
        })
    }

    pub(super) fn next_row(&mut self) -> Result<Option<Provenance>, ReadError> {
        loop {
            if let Some(batch) = &self.batch
                && self.next < batch.num_rows()
            {
                self.next += 1;
                return Ok(Some(row_of(batch, self.next - 1)));
            }
            match self.reader.next() {
                None => return Ok(None),
                Some(Err(error)) => return Err(damaged(&self.path, error.into())),
                Some(Ok(batch)) => (self.batch, self.next) = (Some(batch), 0),
            }
        }
    }
}

/// Number of rows that a table says it has.
pub(super) fn num_rows(path: &Path) -> Result<u64, ReadError> {
    let file = File::open(path).map_err(ReadError::io(path))?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file);
    let builder = builder.map_err(|error| damaged(path, error.into()))?;
    let rows = builder.metadata().file_metadata().num_rows();
    Ok(u64::try_from(rows).unwrap_or(0))
}

fn damaged(path: &Path, source: crate::read::ColumnarError) -> ReadError {
    ReadError::Parquet {
        path: path.to_path_buf(),
        columns: COLUMNS.iter().map(|(name, _)| (*name).to_owned()).collect(),
        source,
    }
}

/// The columns were checked when the table was opened.
fn row_of(batch: &RecordBatch, row: usize) -> Provenance {
    let column = |name: &str| {
        batch
            .column_by_name(name)
            .expect("the table was opened with it")
    };
    let string = |name: &str| {
        let strings = column(name).as_string::<i32>();
        (!strings.is_null(row)).then(|| strings.value(row).to_owned())
    };
    let long = |name: &str| column(name).as_primitive::<Int64Type>().value(row);
    Provenance {
        document: long("document"),
        source: string("source").unwrap_or_default(),
        subset: string("subset"),
        path: string("path").unwrap_or_default(),
        row: long("row"),
        id: string("id"),
        num_tokens: column("num_tokens").as_primitive::<Int32Type>().value(row),
    }
}
