//! Rows that are no documents, kept for a person to look at.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field};

use crate::write::table::TableRow;

/// A row that could not be read.
#[derive(Debug)]
pub(crate) struct QuarantineRow {
    pub(crate) path: Arc<str>,
    pub(crate) row: i64,
    pub(crate) error: String,
    pub(crate) raw: String,
}

impl TableRow for QuarantineRow {
    fn fields() -> Vec<Field> {
        vec![
            Field::new("path", DataType::Utf8, false),
            Field::new("row", DataType::Int64, false),
            Field::new("error", DataType::Utf8, false),
            Field::new("raw", DataType::Utf8, false),
        ]
    }

    fn columns(rows: &[Self]) -> Vec<ArrayRef> {
        vec![
            Arc::new(StringArray::from_iter_values(
                rows.iter().map(|row| &row.path),
            )),
            Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.row))),
            Arc::new(StringArray::from_iter_values(
                rows.iter().map(|row| &row.error),
            )),
            Arc::new(StringArray::from_iter_values(
                rows.iter().map(|row| &row.raw),
            )),
        ]
    }

    fn size(&self) -> usize {
        64 + self.error.len() + self.raw.len()
    }
}
