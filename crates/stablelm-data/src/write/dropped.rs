//! Documents that were dropped, and why.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field};

use crate::write::table::TableRow;

/// A dropped document, without its text.
#[derive(Debug)]
pub(crate) struct DroppedRow {
    pub(crate) source: Arc<str>,
    pub(crate) subset: Option<String>,
    pub(crate) path: Arc<str>,
    pub(crate) row: i64,
    pub(crate) id: Option<String>,
    pub(crate) stage: Arc<str>,
    pub(crate) reason: String,
    pub(crate) value: Option<f64>,
    pub(crate) threshold: Option<f64>,
    /// The document that stays in place of this one: source, path and row.
    pub(crate) duplicate_of: Option<String>,
}

/// A dropped document with its text.
pub(crate) struct DroppedTextRow {
    pub(crate) dropped: DroppedRow,
    pub(crate) text: String,
}

impl TableRow for DroppedRow {
    fn fields() -> Vec<Field> {
        vec![
            Field::new("source", DataType::Utf8, false),
            Field::new("subset", DataType::Utf8, true),
            Field::new("path", DataType::Utf8, false),
            Field::new("row", DataType::Int64, false),
            Field::new("id", DataType::Utf8, true),
            Field::new("stage", DataType::Utf8, false),
            Field::new("reason", DataType::Utf8, false),
            Field::new("value", DataType::Float64, true),
            Field::new("threshold", DataType::Float64, true),
            Field::new("duplicate_of", DataType::Utf8, true),
        ]
    }

    fn columns(rows: &[Self]) -> Vec<ArrayRef> {
        columns(rows, |row| row)
    }

    fn size(&self) -> usize {
        120 + self.id.as_ref().map_or(0, String::len) + self.subset.as_ref().map_or(0, String::len)
    }
}

impl TableRow for DroppedTextRow {
    fn fields() -> Vec<Field> {
        let mut fields = DroppedRow::fields();
        fields.push(Field::new("text", DataType::Utf8, false));
        fields
    }

    fn columns(rows: &[Self]) -> Vec<ArrayRef> {
        let mut columns = columns(rows, |row| &row.dropped);
        let text = rows.iter().map(|row| row.text.as_str());
        columns.push(Arc::new(StringArray::from_iter_values(text)));
        columns
    }

    fn size(&self) -> usize {
        self.dropped.size() + self.text.len()
    }
}

fn columns<R>(rows: &[R], row: fn(&R) -> &DroppedRow) -> Vec<ArrayRef> {
    let rows = || rows.iter().map(row);
    vec![
        Arc::new(StringArray::from_iter_values(rows().map(|row| &row.source))),
        Arc::new(
            rows()
                .map(|row| row.subset.as_deref())
                .collect::<StringArray>(),
        ),
        Arc::new(StringArray::from_iter_values(rows().map(|row| &row.path))),
        Arc::new(Int64Array::from_iter_values(rows().map(|row| row.row))),
        Arc::new(rows().map(|row| row.id.as_deref()).collect::<StringArray>()),
        Arc::new(StringArray::from_iter_values(rows().map(|row| &row.stage))),
        Arc::new(StringArray::from_iter_values(rows().map(|row| &row.reason))),
        Arc::new(rows().map(|row| row.value).collect::<Float64Array>()),
        Arc::new(rows().map(|row| row.threshold).collect::<Float64Array>()),
        Arc::new(
            rows()
                .map(|row| row.duplicate_of.as_deref())
                .collect::<StringArray>(),
        ),
    ]
}
