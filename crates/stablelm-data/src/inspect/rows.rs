//! A file of JSON lines, a parquet table, or an Arrow IPC file or stream.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use ::parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float64Type, Int32Type, Int64Type};
use arrow::error::ArrowError;
use arrow::util::display::array_value_to_string;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::document::{BrokenRow, RowError};
use crate::inspect::{DocumentInspection, InspectError, InspectOptions, arrow_rows};
use crate::read::compression::{self, Compression};
use crate::read::container::{self, Container};
use crate::read::jsonl::JsonLines;
use crate::read::parquet::read_columns;
use crate::read::{FileRows, RawRow, ReadError, Schema};
use crate::recipe::SourceKind;

/// Where texts are usually kept, most usual first.
pub(super) const TEXT_NAMES: [&str; 2] = ["text", "content"];
/// Keys that are listed; a file with new keys in each row must not fill the memory.
const MAX_KEYS: usize = 1000;

/// What a file of rows holds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RowsInspection {
    /// The file.
    pub path: PathBuf,
    /// `jsonl`, `parquet`, `arrow-file` or `arrow-stream`.
    pub format: &'static str,
    /// Its compression.
    pub compression: Compression,
    /// Its size.
    pub bytes: u64,
    /// Rows, blank lines left out.
    pub rows: u64,
    /// Rows that are no JSON object, or that can't be decoded.
    pub broken_rows: u64,
    /// Columns, or keys of the objects.
    pub columns: Vec<ColumnInspection>,
    /// Lengths of the texts, where a column `text` or `content` holds them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lengths: Option<LengthsInspection>,
    /// The document that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document: Option<DocumentInspection>,
}

/// One column, or one key of the objects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ColumnInspection {
    /// Its name.
    pub name: String,
    /// Its type; for JSON, all types that occur.
    #[serde(rename = "type")]
    pub data_type: String,
}

/// Lengths of texts in bytes of UTF-8.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LengthsInspection {
    /// The column of the texts.
    pub column: String,
    /// Number of texts.
    pub texts: u64,
    /// The shortest one.
    pub min_bytes: u64,
    /// The longest one.
    pub max_bytes: u64,
    /// Their mean.
    pub mean_bytes: f64,
    /// Their sum.
    pub total_bytes: u64,
}

impl LengthsInspection {
    pub(super) fn add(&mut self, bytes: u64) {
        self.min_bytes = if self.texts == 0 {
            bytes
        } else {
            self.min_bytes.min(bytes)
        };
        self.max_bytes = self.max_bytes.max(bytes);
        self.total_bytes += bytes;
        self.texts += 1;
        self.mean_bytes = self.total_bytes as f64 / self.texts as f64;
    }
}

pub(super) fn inspect(
    path: &Path,
    options: &InspectOptions<'_>,
) -> Result<RowsInspection, InspectError> {
    let io = |source| InspectError::Io {
        path: path.to_path_buf(),
        source,
    };
    let bytes = std::fs::metadata(path).map_err(io)?.len();
    match container::of_file(path).map_err(io)? {
        Container::Lines => inspect_jsonl(path, bytes, options),
        Container::Parquet => inspect_parquet(path, bytes, options),
        container => arrow_rows::inspect(path, container, bytes, options),
    }
}

fn inspect_jsonl(
    path: &Path,
    bytes: u64,
    options: &InspectOptions<'_>,
) -> Result<RowsInspection, InspectError> {
    let (reader, compression, _) = compression::open(path)?;
    let mut lines = JsonLines::new(reader, path.to_path_buf());
    let (mut rows, mut broken_rows) = (0, 0);
    let mut keys: BTreeMap<String, Vec<&'static str>> = BTreeMap::new();
    let mut lengths = TEXT_NAMES.map(|name| LengthsInspection {
        column: name.to_owned(),
        ..LengthsInspection::default()
    });
    let mut document = None;
    while let Some(row) = lines.next_row()? {
        let object = match row {
            RawRow::Line { bytes, .. } => serde_json::from_slice::<Map<String, Value>>(&bytes).ok(),
            RawRow::Document(_) | RawRow::Broken(_) => None,
        };
        let number = rows;
        rows += 1;
        let Some(object) = object else {
            broken_rows += 1;
            continue;
        };
        for (key, value) in &object {
            if keys.len() >= MAX_KEYS && !keys.contains_key(key) {
                continue;
            }
            let types = keys.entry(key.clone()).or_default();
            let name = type_name(value);
            if !types.contains(&name) {
                types.push(name);
            }
        }
        for lengths in &mut lengths {
            if let Some(text) = object.get(&lengths.column).and_then(Value::as_str) {
                lengths.add(text.len() as u64);
            }
        }
        if options.document == Some(number) {
            let text = TEXT_NAMES
                .iter()
                .find_map(|name| object.get(*name)?.as_str());
            document = Some(DocumentInspection {
                document: number,
                text: text.map(str::to_owned),
                values: Some(Value::Object(object)),
                ..DocumentInspection::default()
            });
        }
    }
    check_document(path, options.document, document.is_some(), rows)?;
    let column = |(name, types): (String, Vec<&str>)| ColumnInspection {
        name,
        data_type: types.join(" or "),
    };
    Ok(RowsInspection {
        path: path.to_path_buf(),
        format: "jsonl",
        compression,
        bytes,
        rows,
        broken_rows,
        columns: keys.into_iter().map(column).collect(),
        lengths: lengths.into_iter().find(|lengths| lengths.texts > 0),
        document,
    })
}

fn inspect_parquet(
    path: &Path,
    bytes: u64,
    options: &InspectOptions<'_>,
) -> Result<RowsInspection, InspectError> {
    let (rows, columns) = read_columns(path)?;
    let column = |(name, data_type)| ColumnInspection { name, data_type };
    let columns: Vec<_> = columns.into_iter().map(column).collect();
    let text = text_column(&columns);
    let lengths = text.map(|text| parquet_lengths(path, text)).transpose()?;
    let (lengths, broken_rows) = lengths.unzip();
    let document = match options.document {
        None => None,
        Some(number) => parquet_row(path, number)?.map(|values| DocumentInspection {
            document: number,
            text: text
                .and_then(|text| values.get(text)?.as_str())
                .map(str::to_owned),
            values: Some(Value::Object(values)),
            ..DocumentInspection::default()
        }),
    };
    check_document(path, options.document, document.is_some(), rows)?;
    Ok(RowsInspection {
        path: path.to_path_buf(),
        format: "parquet",
        compression: Compression::None,
        bytes,
        rows,
        broken_rows: broken_rows.unwrap_or(0),
        columns,
        lengths,
        document,
    })
}

/// The column that holds texts, by its name and type.
pub(super) fn text_column(columns: &[ColumnInspection]) -> Option<&'static str> {
    TEXT_NAMES.into_iter().find(|name| {
        let mut columns = columns.iter();
        columns.any(|column| column.name == *name && column.data_type.contains("Utf8"))
    })
}

pub(super) fn check_document(
    path: &Path,
    wanted: Option<u64>,
    found: bool,
    documents: u64,
) -> Result<(), InspectError> {
    match wanted {
        Some(document) if !found => Err(InspectError::NoDocument {
            path: path.to_path_buf(),
            document,
            documents,
        }),
        _ => Ok(()),
    }
}

/// Lengths of the texts, and the number of rows that can't be decoded.
fn parquet_lengths(path: &Path, text: &str) -> Result<(LengthsInspection, u64), InspectError> {
    let schema = Schema::of_text(SourceKind::Parquet, text);
    let mut rows = FileRows::open(path, &schema, 1 << 20)?;
    let mut lengths = LengthsInspection {
        column: text.to_owned(),
        ..LengthsInspection::default()
    };
    let mut damaged = 0_u64;
    while let Some(row) = rows.next_row()? {
        match row {
            RawRow::Document(document) => lengths.add(document.text.len() as u64),
            RawRow::Broken(BrokenRow {
                error: RowError::DamagedRows { rows, .. },
                ..
            }) => damaged = damaged.saturating_add(rows.unwrap_or(1)),
            RawRow::Broken(_) | RawRow::Line { .. } => {}
        }
    }
    Ok((lengths, damaged))
}

/// All values of one row of a table; `None` when it has no such row.
pub(super) fn parquet_row(
    path: &Path,
    number: u64,
) -> Result<Option<Map<String, Value>>, InspectError> {
    let damaged = |error: crate::read::ColumnarError| ReadError::Parquet {
        path: path.to_path_buf(),
        columns: Vec::new(),
        source: error,
    };
    let file = File::open(path).map_err(|source| InspectError::Io {
        path: path.to_path_buf(),
        source,
    })?;
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let builder = ParquetRecordBatchReaderBuilder::try_new_with_options(file, options)
        .map_err(|error| damaged(error.into()))?;
    let Ok(offset) = usize::try_from(number) else {
        return Ok(None);
    };
    let mut reader = builder
        .with_offset(offset)
        .with_limit(1)
        .with_batch_size(1)
        .build()
        .map_err(|error| damaged(error.into()))?;
    let Some(batch) = reader.next() else {
        return Ok(None);
    };
    let batch = batch.map_err(|error| damaged(error.into()))?;
    if batch.num_rows() == 0 {
        return Ok(None);
    }
    let values = values_of(&batch).map_err(|error| damaged(error.into()))?;
    Ok(Some(values))
}

/// All values of the first row of a batch.
pub(super) fn values_of(batch: &RecordBatch) -> Result<Map<String, Value>, ArrowError> {
    let schema = batch.schema();
    let columns = schema.fields().iter().zip(batch.columns());
    columns
        .map(|(field, column)| Ok((field.name().clone(), first_value(column)?)))
        .collect()
}

/// Numbers, texts and truth values as they are, everything else as arrow displays it.
fn first_value(column: &ArrayRef) -> Result<Value, ArrowError> {
    if column.is_null(0) {
        return Ok(Value::Null);
    }
    Ok(match column.data_type() {
        DataType::Utf8 => column.as_string::<i32>().value(0).into(),
        DataType::Int32 => column.as_primitive::<Int32Type>().value(0).into(),
        DataType::Int64 => column.as_primitive::<Int64Type>().value(0).into(),
        DataType::Float64 => column.as_primitive::<Float64Type>().value(0).into(),
        DataType::Boolean => column.as_boolean().value(0).into(),
        _ => array_value_to_string(column, 0)?.into(),
    })
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
