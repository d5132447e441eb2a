//! Parquet tables with a column of text. Only the columns that are needed are read.

use std::fs::File;
use std::path::{Path, PathBuf};

use ::parquet::arrow::ProjectionMask;
use ::parquet::arrow::arrow_reader::{
    ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use ::parquet::file::metadata::RowGroupMetaData;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Int32Type, Int64Type, UInt32Type, UInt64Type};

use crate::document::{BrokenRow, Document, RowError};
use crate::read::{ColumnarError, RawRow, ReadError};

/// Most rows that are decoded at once.
const MAX_BATCH_ROWS: u64 = 1024;

/// Columns of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ParquetSchema {
    pub(crate) text: String,
    pub(crate) id: Option<String>,
    /// Whether a table without the id's column is refused.
    pub(crate) id_required: bool,
}

/// The rows of one file.
pub(crate) struct ParquetRows {
    reader: ParquetRecordBatchReader,
    path: PathBuf,
    columns: Vec<String>,
    /// Decoded rows that were not given out yet.
    batch: Option<(RecordBatch, usize)>,
    row: u64,
    num_rows: u64,
    file_len: u64,
}

impl ParquetRows {
    /// Opens a file and checks its columns.
    pub(crate) fn open(
        path: &Path,
        schema: &ParquetSchema,
        batch_bytes: usize,
    ) -> Result<Self, ReadError> {
        let io = |source| ReadError::Io {
            path: path.to_path_buf(),
            source,
        };
        let file = File::open(path).map_err(io)?;
        let file_len = file.metadata().map_err(io)?.len();
        let wanted = std::iter::once(&schema.text)
            .chain(&schema.id)
            .cloned()
            .collect();
        let columns: Vec<String> = wanted;
        let damaged = |error: ::parquet::errors::ParquetError| ReadError::Parquet {
            path: path.to_path_buf(),
            columns: columns.clone(),
            source: error.into(),
        };
        // The types that the writer's arrow had are of no interest, only those of the file.
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let builder = ParquetRecordBatchReaderBuilder::try_new_with_options(file, options)
            .map_err(damaged)?;
        let columns = present_columns(path, schema, builder.schema())?;
        let mask =
            ProjectionMask::columns(builder.parquet_schema(), columns.iter().map(String::as_str));
        let metadata = builder.metadata();
        let num_rows = u64::try_from(metadata.file_metadata().num_rows()).unwrap_or(0);
        let text_bytes: u64 = metadata
            .row_groups()
            .iter()
            .flat_map(RowGroupMetaData::columns)
            .filter(|column| *column.column_path().string() == schema.text)
            .map(|column| u64::try_from(column.uncompressed_size()).unwrap_or(0))
            .fold(0, u64::saturating_add);
        let mean = (text_bytes / num_rows.max(1)).max(1);
        let batch_rows = (batch_bytes as u64 / mean).clamp(1, MAX_BATCH_ROWS);
        let batch_rows = usize::try_from(batch_rows).expect("at most 1024");
        let reader = builder
            .with_projection(mask)
            .with_batch_size(batch_rows)
            .build()
            .map_err(|error| ReadError::Parquet {
                path: path.to_path_buf(),
                columns: columns.clone(),
                source: error.into(),
            })?;
        let path = path.to_path_buf();
        Ok(Self {
            reader,
            path,
            columns,
            batch: None,
            row: 0,
            num_rows,
            file_len,
        })
    }

    pub(crate) fn next_row(&mut self) -> Result<Option<RawRow>, ReadError> {
        loop {
            if let Some((batch, next)) = &mut self.batch
                && *next < batch.num_rows()
            {
                let at = *next;
                *next += 1;
                let row = self.row;
                self.row += 1;
                return Ok(Some(read_row(batch, &self.columns, at, row)));
            }
            match self.reader.next() {
                None => return Ok(None),
                Some(Ok(batch)) => self.batch = Some((batch, 0)),
                Some(Err(error)) => {
                    return Err(ReadError::Parquet {
                        path: self.path.clone(),
                        columns: self.columns.clone(),
                        source: ColumnarError::from(error),
                    });
                }
            }
        }
    }

    pub(crate) fn num_rows(&self) -> u64 {
        self.num_rows
    }

    /// The share of the file that its rows so far stand for.
    pub(crate) fn bytes_read(&self) -> u64 {
        let product = u128::from(self.file_len) * u128::from(self.row);
        u64::try_from(product / u128::from(self.num_rows.max(1))).unwrap_or(self.file_len)
    }
}

/// Names of all columns of a file, in order, with their types.
pub(crate) fn read_columns(path: &Path) -> Result<(u64, Vec<(String, String)>), ReadError> {
    let io = |source| ReadError::Io {
        path: path.to_path_buf(),
        source,
    };
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let builder = ParquetRecordBatchReaderBuilder::try_new_with_options(
        File::open(path).map_err(io)?,
        options,
    )
    .map_err(|error| ReadError::Parquet {
        path: path.to_path_buf(),
        columns: Vec::new(),
        source: error.into(),
    })?;
    let rows = u64::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or(0);
    let fields = builder.schema().fields().iter();
    Ok((
        rows,
        fields
            .map(|field| (field.name().clone(), field.data_type().to_string()))
            .collect(),
    ))
}

/// The columns to read: text first, then the id where there is one.
fn present_columns(
    path: &Path,
    schema: &ParquetSchema,
    found: &arrow::datatypes::SchemaRef,
) -> Result<Vec<String>, ReadError> {
    let missing = |column: &str| ReadError::MissingColumn {
        path: path.to_path_buf(),
        column: column.to_owned(),
        present: found
            .fields()
            .iter()
            .map(|field| field.name().clone())
            .collect(),
    };
    let wrong = |column: &str, expected, found: &DataType| ReadError::ColumnType {
        path: path.to_path_buf(),
        column: column.to_owned(),
        expected,
        found: found.to_string(),
    };
    let text = found
        .field_with_name(&schema.text)
        .map_err(|_| missing(&schema.text))?;
    if !is_text(text.data_type()) {
        return Err(wrong(&schema.text, "a string", text.data_type()));
    }
    let mut columns = vec![schema.text.clone()];
    let Some(id) = &schema.id else {
        return Ok(columns);
    };
    match found.field_with_name(id) {
        Ok(field) if is_text(field.data_type()) || is_whole(field.data_type()) => {
            columns.push(id.clone());
        }
        Ok(field) if schema.id_required => {
            return Err(wrong(id, "a string or a whole number", field.data_type()));
        }
        Err(_) if schema.id_required => return Err(missing(id)),
        Ok(_) | Err(_) => {}
    }
    Ok(columns)
}

fn is_text(found: &DataType) -> bool {
    matches!(
        found,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
    )
}

fn is_whole(found: &DataType) -> bool {
    matches!(
        found,
        DataType::Int32 | DataType::Int64 | DataType::UInt32 | DataType::UInt64
    )
}

fn read_row(batch: &RecordBatch, columns: &[String], at: usize, row: u64) -> RawRow {
    let column = |index: usize| {
        columns
            .get(index)
            .and_then(|name| batch.column_by_name(name))
    };
    let Some(text) = column(0).and_then(|column| name_at(column, at)) else {
        let key = columns.first().cloned().unwrap_or_default();
        let error = RowError::WrongType { key, found: "null" };
        return RawRow::Broken(BrokenRow::new(row, error, b""));
    };
    let id = column(1).and_then(|column| name_at(column, at));
    RawRow::Document(Document {
        row,
        id,
        subset: None,
        text,
    })
}

/// A value of a column as text; `None` for null.
fn name_at(column: &ArrayRef, at: usize) -> Option<String> {
    if column.is_null(at) {
        return None;
    }
    Some(match column.data_type() {
        DataType::Utf8 => column.as_string::<i32>().value(at).to_owned(),
        DataType::LargeUtf8 => column.as_string::<i64>().value(at).to_owned(),
        DataType::Utf8View => column.as_string_view().value(at).to_owned(),
        DataType::Int32 => column.as_primitive::<Int32Type>().value(at).to_string(),
        DataType::Int64 => column.as_primitive::<Int64Type>().value(at).to_string(),
        DataType::UInt32 => column.as_primitive::<UInt32Type>().value(at).to_string(),
        DataType::UInt64 => column.as_primitive::<UInt64Type>().value(at).to_string(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ::parquet::arrow::ArrowWriter;
    use arrow::array::{BinaryArray, Int64Array, LargeStringArray, StringArray, StringViewArray};

    use super::*;

    fn write(columns: Vec<(&str, ArrayRef)>) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("table.parquet");
        let batch = RecordBatch::try_from_iter_with_nullable(
            columns
                .into_iter()
                .map(|(name, column)| (name, column, true)),
        )
        .unwrap();
        let mut writer =
            ArrowWriter::try_new(File::create(&path).unwrap(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        (folder, path)
    }

    fn schema(id_required: bool) -> ParquetSchema {
        ParquetSchema {
            text: "text".into(),
            id: Some("id".into()),
            id_required,
        }
    }

    fn check(columns: Vec<(&str, ArrayRef)>, expected: &[(Option<&str>, Option<&str>)]) {
        let (_folder, path) = write(columns);
        let mut rows = ParquetRows::open(&path, &schema(false), 1).unwrap();
        let mut found = Vec::new();
        while let Some(row) = rows.next_row().unwrap() {
            found.push(match row {
                RawRow::Document(document) => (Some(document.text), document.id),
                RawRow::Broken(broken) => {
                    assert_eq!(broken.row, found.len() as u64);
                    (None, None)
                }
                RawRow::Line { .. } => unreachable!("tables have no lines"),
            });
        }
        let found: Vec<_> = found
            .iter()
            .map(|(text, id)| (text.as_deref(), id.as_deref()))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn every_kind_of_string_column_is_read() {
        let text = vec![Some("one"), None, Some("three")];
        let ids: ArrayRef = Arc::new(Int64Array::from(vec![Some(7), Some(8), None]));
        let arrays: [ArrayRef; 3] = [
            Arc::new(StringArray::from(text.clone())),
            Arc::new(LargeStringArray::from(text.clone())),
            Arc::new(StringViewArray::from(text)),
        ];
        for array in arrays {
            let expected = [
                (Some("one"), Some("7")),
                (None, None),
                (Some("three"), None),
            ];
            check(
                vec![("id", ids.clone()), ("more", ids.clone()), ("text", array)],
                &expected,
            );
        }
    }

    #[test]
    fn a_table_without_ids_is_read_unless_they_were_asked_for() {
        let text: ArrayRef = Arc::new(StringArray::from(vec!["one"]));
        check(vec![("text", text.clone())], &[(Some("one"), None)]);
        let (_folder, path) = write(vec![("text", text)]);
        let error = ParquetRows::open(&path, &schema(true), 1).err().unwrap();
        assert!(matches!(error, ReadError::MissingColumn { column, .. } if column == "id"));
    }

    #[test]
    fn a_missing_column_names_the_ones_that_are_there() {
        let text: ArrayRef = Arc::new(StringArray::from(vec!["one"]));
        let (_folder, path) = write(vec![("content", text.clone()), ("url", text)]);
        let message = ParquetRows::open(&path, &schema(false), 1)
            .err()
            .unwrap()
            .to_string();
        assert!(
            message.contains("no column `text`; its columns are `content`, `url`"),
            "{message}"
        );
    }

    #[test]
    fn bytes_are_not_text() {
        let (_folder, path) = write(vec![(
            "text",
            Arc::new(BinaryArray::from(vec![b"one".as_slice()])),
        )]);
        let error = ParquetRows::open(&path, &schema(false), 1).err().unwrap();
        assert!(matches!(error, ReadError::ColumnType { .. }), "{error}");
    }

    #[test]
    fn a_truncated_file_is_an_error_that_names_it() {
        let text: ArrayRef = Arc::new(StringArray::from(vec!["one"; 100]));
        let (_folder, path) = write(vec![("text", text)]);
        let bytes = std::fs::read(&path).unwrap();
        for len in [0, 3, bytes.len() / 2, bytes.len() - 1] {
            std::fs::write(&path, &bytes[..len]).unwrap();
            let error = ParquetRows::open(&path, &schema(false), 1).err().unwrap();
            assert!(error.to_string().contains("table.parquet"), "{error}");
        }
    }
}
