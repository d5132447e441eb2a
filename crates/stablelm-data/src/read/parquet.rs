//! Parquet tables with a column of text. Only the columns that are needed are read.
//!
//! One row group is read after another, in batches whose places do not depend on where reading
//! began, so that a run that goes on cuts the rows as one that was never stopped.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::parquet::arrow::ProjectionMask;
use ::parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder,
};
use ::parquet::file::metadata::RowGroupMetaData;
use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema as ArrowSchema};

use crate::read::limits::guarded;
use crate::read::parquet_gate::Gate;
use crate::read::schema::Schema;
use crate::read::table::{Columns, TableRows};
use crate::read::{ColumnarError, ReadError};

/// Most rows that are decoded at once.
const MAX_BATCH_ROWS: u64 = 1024;

/// The batches of one file.
pub(crate) struct ParquetBatches {
    path: PathBuf,
    gate: Gate,
    metadata: ArrowReaderMetadata,
    mask: ProjectionMask,
    columns: Arc<Columns>,
    /// The row group that is read next, and its first row.
    next_group: usize,
    next_group_row: u64,
    current: Option<Group>,
    /// Rows before this one are passed over.
    start: u64,
    batch_bytes: u64,
}

/// An open row group.
struct Group {
    reader: ParquetRecordBatchReader,
    /// The next row, and the one after the last.
    row: u64,
    end: u64,
}

impl ParquetBatches {
    /// Opens a file, checks its columns, and passes over the rows before `start`.
    pub(crate) fn open(
        path: &Path,
        schema: &Schema,
        batch_bytes: usize,
        start: u64,
    ) -> Result<Self, ReadError> {
        let no_columns = schema.columns();
        let (gate, metadata) = open_metadata(path).map_err(|error| error.at(path, &no_columns))?;
        let columns = Columns::find(path, schema, metadata.schema().fields())?;
        let metadata = guarded(|| as_views(&metadata))
            .map_err(|error| OpenError::Columnar(error).at(path, columns.names()))?;
        check_places(&metadata, &columns, gate.len())
            .map_err(|error| OpenError::Columnar(error).at(path, columns.names()))?;
        let mask = ProjectionMask::roots(metadata.parquet_schema(), columns.places.iter().copied());
        Ok(Self {
            path: path.to_path_buf(),
            gate,
            metadata,
            mask,
            columns: Arc::new(columns),
            next_group: 0,
            next_group_row: 0,
            current: None,
            start,
            batch_bytes: batch_bytes as u64,
        })
    }

    /// The next rows with the number of the first one.
    pub(crate) fn next_batch(&mut self) -> Result<Option<(u64, TableRows)>, ReadError> {
        let found = guarded(|| self.read_batch());
        found.map_err(|error| ReadError::Parquet {
            path: self.path.clone(),
            columns: self.columns.names().to_vec(),
            source: error,
        })
    }

    fn read_batch(&mut self) -> Result<Option<(u64, TableRows)>, ColumnarError> {
        loop {
            let Some(group) = &mut self.current else {
                if !self.open_group()? {
                    return Ok(None);
                }
                continue;
            };
            self.gate.start_batch();
            let Some(batch) = group.reader.next().transpose()? else {
                if group.row != group.end {
                    return Err(ColumnarError::refused(format!(
                        "a row group ends at row {}, but claims to go on to row {}",
                        group.row, group.end
                    )));
                }
                self.current = None;
                continue;
            };
            let row = group.row;
            group.row += batch.num_rows() as u64;
            if batch.num_rows() == 0 {
                return Err(ColumnarError::refused("a batch without rows".to_owned()));
            }
            return Ok(Some((row, self.rows(batch))));
        }
    }

    fn rows(&self, batch: RecordBatch) -> TableRows {
        TableRows {
            batch: Some(batch),
            columns: self.columns.clone(),
        }
    }

    /// Opens the next row group that has rows to give; false when there is none.
    fn open_group(&mut self) -> Result<bool, ColumnarError> {
        while let Some(group) = self.metadata.metadata().row_groups().get(self.next_group) {
            let rows = u64::try_from(group.num_rows()).unwrap_or(0);
            let first = self.next_group_row;
            let end = first.saturating_add(rows);
            let index = self.next_group;
            self.next_group += 1;
            self.next_group_row = end;
            if end <= self.start {
                continue;
            }
            let batch_rows = self.batch_rows(group);
            // Batches begin where they would if all of the group were read.
            let skipped = self.start.saturating_sub(first) / batch_rows * batch_rows;
            let as_usize = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
            let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(
                self.gate.clone(),
                self.metadata.clone(),
            );
            self.gate.start_batch();
            let reader = builder
                .with_projection(self.mask.clone())
                .with_row_groups(vec![index])
                .with_batch_size(as_usize(batch_rows))
                .with_offset(as_usize(skipped))
                .build()?;
            self.current = Some(Group {
                reader,
                row: first + skipped,
                end,
            });
            return Ok(true);
        }
        Ok(false)
    }

    /// Rows of a group that are worth decoding at once.
    fn batch_rows(&self, group: &RowGroupMetaData) -> u64 {
        let parts = self.metadata.parquet_schema();
        let bytes = (0..group.num_columns())
            .filter(|&leaf| {
                self.columns
                    .places
                    .contains(&parts.get_column_root_idx(leaf))
            })
            .map(|leaf| u64::try_from(group.column(leaf).uncompressed_size()).unwrap_or(0))
            .fold(0, u64::saturating_add);
        let rows = u64::try_from(group.num_rows()).unwrap_or(0).max(1);
        (self.batch_bytes / (bytes / rows).max(1)).clamp(1, MAX_BATCH_ROWS)
    }

    /// Rows of the file, as it claims.
    pub(crate) fn num_rows(&self) -> u64 {
        let rows = self.metadata.metadata().file_metadata().num_rows();
        u64::try_from(rows).unwrap_or(0)
    }

    /// The share of the file that its rows up to this one stand for.
    pub(crate) fn bytes_before(&self, row: u64) -> u64 {
        let product = u128::from(self.gate.len()) * u128::from(row);
        let share = product / u128::from(self.num_rows().max(1));
        u64::try_from(share).map_or(self.gate.len(), |share| share.min(self.gate.len()))
    }
}

/// Why a file can't be opened.
enum OpenError {
    Io(std::io::Error),
    Columnar(ColumnarError),
}

impl OpenError {
    fn at(self, path: &Path, columns: &[String]) -> ReadError {
        let path = path.to_path_buf();
        match self {
            Self::Io(source) => ReadError::Io { path, source },
            Self::Columnar(source) => ReadError::Parquet {
                path,
                columns: columns.to_vec(),
                source,
            },
        }
    }
}

fn open_metadata(path: &Path) -> Result<(Gate, ArrowReaderMetadata), OpenError> {
    let file = File::open(path).map_err(OpenError::Io)?;
    let gate = Gate::open(file).map_err(OpenError::Io)?;
    let gate = gate.map_err(|message| OpenError::Columnar(ColumnarError::refused(message)))?;
    // The types that the writer's arrow had are of no interest, only those of the file.
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let metadata = guarded(|| Ok(ArrowReaderMetadata::load(&gate, options)?));
    Ok((gate.clone(), metadata.map_err(OpenError::Columnar)?))
}

/// The same with texts as views of the pages they lie in: nothing is copied, and a value that a
/// dictionary repeats takes no memory again.
fn as_views(metadata: &ArrowReaderMetadata) -> Result<ArrowReaderMetadata, ColumnarError> {
    let fields = metadata.schema().fields().iter();
    let fields = fields.map(|field| match field.data_type() {
        DataType::Utf8 => Arc::new(Field::clone(field).with_data_type(DataType::Utf8View)),
        _ => field.clone(),
    });
    let schema = ArrowSchema::new(fields.collect::<Vec<_>>());
    let options = ArrowReaderOptions::new()
        .with_skip_arrow_metadata(true)
        .with_schema(Arc::new(schema));
    Ok(ArrowReaderMetadata::try_new(
        metadata.metadata().clone(),
        options,
    )?)
}

/// Checks that the bytes of every column that is read lie within the file.
fn check_places(
    metadata: &ArrowReaderMetadata,
    columns: &Columns,
    file_len: u64,
) -> Result<(), ColumnarError> {
    let schema = metadata.parquet_schema();
    let is_read = |leaf: usize| columns.places.contains(&schema.get_column_root_idx(leaf));
    for group in metadata.metadata().row_groups() {
        let leaves = group.columns().iter().enumerate();
        for (_, column) in leaves.filter(|(leaf, _)| is_read(*leaf)) {
            let start = column.dictionary_page_offset();
            let start = u64::try_from(start.unwrap_or(column.data_page_offset())).ok();
            let len = u64::try_from(column.compressed_size()).ok();
            let end = start
                .zip(len)
                .and_then(|(start, len)| start.checked_add(len));
            if end.is_none_or(|end| end > file_len) {
                return Err(ColumnarError::refused(format!(
                    "column `{}` lies outside of the file",
                    column.column_path()
                )));
            }
        }
    }
    Ok(())
}

/// Names of all columns of a file, in order, with their types.
pub(crate) fn read_columns(path: &Path) -> Result<(u64, Vec<(String, String)>), ReadError> {
    let (_, metadata) = open_metadata(path).map_err(|error| error.at(path, &[]))?;
    let rows = u64::try_from(metadata.metadata().file_metadata().num_rows()).unwrap_or(0);
    let fields = metadata.schema().fields().iter();
    Ok((
        rows,
        fields
            .map(|field| (field.name().clone(), field.data_type().to_string()))
            .collect(),
    ))
}
