//! Parquet tables with a column of text. Only the columns that are needed are read.
//!
//! One row group is read after another, in batches whose places do not depend on where reading
//! began, so that a run that goes on cuts the rows as one that was never stopped. Of a group that is
//! damaged, the rows from the damage on are lost, and no others.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::parquet::arrow::ProjectionMask;
use ::parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder,
};
use ::parquet::basic::Compression;
use ::parquet::file::metadata::RowGroupMetaData;
use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema as ArrowSchema};

use crate::read::limits::guarded;
use crate::read::parquet_gate::Gate;
use crate::read::schema::Schema;
use crate::read::table::{Batch, Columns, DamagedRows, TableRows};
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

/// A row group that is being read.
struct Group {
    index: usize,
    /// Nothing before its first batch.
    reader: Option<ParquetRecordBatchReader>,
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
        check_rows(&metadata)
            .and_then(|()| check_codecs(&metadata, &columns))
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

    /// The next rows. After rows that can't be decoded, the next row group is read.
    pub(crate) fn next_batch(&mut self) -> Result<Option<Batch>, ReadError> {
        loop {
            let group = self.current.take().or_else(|| self.next_group());
            let Some(mut group) = group else {
                return Ok(None);
            };
            let first = group.row;
            let found = guarded(|| self.read_batch(&mut group));
            if let Some(error) = self.gate.take_failure() {
                return Err(ReadError::io(&self.path)(error));
            }
            let batch = match found {
                Ok(batch) => batch,
                Err(error) => {
                    return Ok(Some(Batch::Damaged(DamagedRows {
                        first,
                        rows: Some(group.end - first),
                        error,
                        is_last: false,
                    })));
                }
            };
            group.row += batch.num_rows() as u64;
            let is_wanted = group.row > self.start;
            self.current = Some(group).filter(|group| group.row < group.end);
            if is_wanted {
                let columns = self.columns.clone();
                let batch = Some(batch);
                return Ok(Some(Batch::Rows(first, TableRows { batch, columns })));
            }
        }
    }

    /// Decodes the next rows of a group. All batches of a group are decoded, wanted or not, so that
    /// one that can't be is found in the same place wherever reading began.
    fn read_batch(&self, group: &mut Group) -> Result<RecordBatch, ColumnarError> {
        self.gate.start_batch();
        let reader = match &mut group.reader {
            Some(reader) => reader,
            slot => slot.insert(self.open_group(group.index)?),
        };
        let (row, end) = (group.row, group.end);
        let batch = reader.next().transpose()?;
        let len = batch.as_ref().map_or(0, RecordBatch::num_rows) as u64;
        let batch = batch.filter(|_| len > 0).ok_or_else(|| {
            let message = format!("a row group claims to go on from row {row} to row {end}");
            ColumnarError::refused(message)
        })?;
        self.gate.start_batch();
        let mut has_more = || matches!(reader.next(), Some(Ok(_)));
        if len > end - row || len == end - row && has_more() {
            let message = format!("a row group goes on beyond row {end}, where it claims to end");
            return Err(ColumnarError::refused(message));
        }
        Ok(batch)
    }

    fn open_group(&self, index: usize) -> Result<ParquetRecordBatchReader, ColumnarError> {
        let group = self.metadata.metadata().row_group(index);
        self.check_places(group)?;
        let rows = usize::try_from(self.batch_rows(group)).unwrap_or(usize::MAX);
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(
            self.gate.clone(),
            self.metadata.clone(),
        );
        Ok(builder
            .with_projection(self.mask.clone())
            .with_row_groups(vec![index])
            .with_batch_size(rows)
            .build()?)
    }

    /// The next row group that has rows to give.
    fn next_group(&mut self) -> Option<Group> {
        while let Some(group) = self.metadata.metadata().row_groups().get(self.next_group) {
            let rows = u64::try_from(group.num_rows()).unwrap_or(0);
            let (index, row) = (self.next_group, self.next_group_row);
            let end = row.saturating_add(rows);
            self.next_group += 1;
            self.next_group_row = end;
            if end > self.start.max(row) {
                let reader = None;
                return Some(Group {
                    index,
                    reader,
                    row,
                    end,
                });
            }
        }
        None
    }

    /// Checks that the bytes of every column that is read lie within the file.
    fn check_places(&self, group: &RowGroupMetaData) -> Result<(), ColumnarError> {
        for leaf in self.leaves(group) {
            let column = group.column(leaf);
            let start = column.dictionary_page_offset();
            let start = u64::try_from(start.unwrap_or(column.data_page_offset())).ok();
            let len = u64::try_from(column.compressed_size()).ok();
            let end = start
                .zip(len)
                .and_then(|(start, len)| start.checked_add(len));
            if end.is_none_or(|end| end > self.gate.len()) {
                return Err(ColumnarError::refused(format!(
                    "column `{}` lies outside of the file",
                    column.column_path()
                )));
            }
        }
        Ok(())
    }

    /// The leaves of a group that are read.
    fn leaves(&self, group: &RowGroupMetaData) -> impl Iterator<Item = usize> {
        let parts = self.metadata.parquet_schema();
        let places = &self.columns.places;
        (0..group.num_columns()).filter(|&leaf| places.contains(&parts.get_column_root_idx(leaf)))
    }

    /// Rows of a group that are worth decoding at once.
    fn batch_rows(&self, group: &RowGroupMetaData) -> u64 {
        let bytes = self
            .leaves(group)
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

/// Checks that no column is compressed in a way that this version can't undo, which is no damage.
fn check_codecs(metadata: &ArrowReaderMetadata, columns: &Columns) -> Result<(), ColumnarError> {
    let schema = metadata.parquet_schema();
    for group in metadata.metadata().row_groups() {
        for (leaf, column) in group.columns().iter().enumerate() {
            let codec = column.compression();
            if columns.places.contains(&schema.get_column_root_idx(leaf))
                && matches!(codec, Compression::BROTLI(_) | Compression::LZO)
            {
                return Err(ColumnarError::refused(format!(
                    "column `{}` is compressed with {codec}, expected gzip, lz4, snappy, zstd or nothing",
                    column.column_path()
                )));
            }
        }
    }
    Ok(())
}

/// Checks that the rows of all groups can be counted.
fn check_rows(metadata: &ArrowReaderMetadata) -> Result<(), ColumnarError> {
    let mut groups = metadata.metadata().row_groups().iter();
    let total = groups.try_fold(0_i64, |total, group| {
        let rows = group.num_rows();
        total.checked_add(rows).filter(|_| rows >= 0)
    });
    total.map(drop).ok_or_else(|| {
        ColumnarError::refused("its row groups claim numbers of rows that can't be".to_owned())
    })
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
