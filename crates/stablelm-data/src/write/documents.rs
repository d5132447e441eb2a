//! Where each document of an indexed dataset came from: one row a document, in its order.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field};

use crate::write::table::TableRow;

/// The provenance of one document.
#[derive(Debug)]
pub(crate) struct DocumentRow {
    /// Number of the document in its dataset, from 0.
    pub(crate) document: i64,
    pub(crate) source: Arc<str>,
    pub(crate) subset: Option<String>,
    pub(crate) path: Arc<str>,
    pub(crate) row: i64,
    pub(crate) id: Option<String>,
    pub(crate) text_sha256: String,
    pub(crate) license: Arc<str>,
    pub(crate) num_tokens: i32,
}

impl TableRow for DocumentRow {
    fn fields() -> Vec<Field> {
        vec![
            Field::new("document", DataType::Int64, false),
            Field::new("source", DataType::Utf8, false),
            Field::new("subset", DataType::Utf8, true),
            Field::new("path", DataType::Utf8, false),
            Field::new("row", DataType::Int64, false),
            Field::new("id", DataType::Utf8, true),
            Field::new("text_sha256", DataType::Utf8, false),
            Field::new("license", DataType::Utf8, false),
            Field::new("num_tokens", DataType::Int32, false),
        ]
    }

    fn columns(rows: &[Self]) -> Vec<ArrayRef> {
        let strings = |value: fn(&Self) -> &str| -> ArrayRef {
            Arc::new(StringArray::from_iter_values(rows.iter().map(value)))
        };
        let optional = |value: fn(&Self) -> Option<&str>| -> ArrayRef {
            Arc::new(rows.iter().map(value).collect::<StringArray>())
        };
        vec![
            Arc::new(Int64Array::from_iter_values(
                rows.iter().map(|row| row.document),
            )),
            strings(|row| &row.source),
            optional(|row| row.subset.as_deref()),
            strings(|row| &row.path),
            Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.row))),
            optional(|row| row.id.as_deref()),
            strings(|row| &row.text_sha256),
            strings(|row| &row.license),
            Arc::new(Int32Array::from_iter_values(
                rows.iter().map(|row| row.num_tokens),
            )),
        ]
    }

    fn size(&self) -> usize {
        160 + self.id.as_ref().map_or(0, String::len) + self.subset.as_ref().map_or(0, String::len)
    }
}
