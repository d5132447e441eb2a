//! The text of kept documents, where a recipe asks for it.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field};

use crate::document::Split;
use crate::write::table::TableRow;

/// A kept document with its text.
#[derive(Debug)]
pub(crate) struct TextRow {
    pub(crate) split: Split,
    pub(crate) shard: u32,
    /// Number of the document in its shard, from 0.
    pub(crate) document: i64,
    pub(crate) subset: Option<String>,
    pub(crate) path: Arc<str>,
    pub(crate) row: i64,
    pub(crate) id: Option<String>,
    pub(crate) text: String,
}

impl TableRow for TextRow {
    fn fields() -> Vec<Field> {
        vec![
            Field::new("split", DataType::Utf8, false),
            Field::new("shard", DataType::Int32, false),
            Field::new("document", DataType::Int64, false),
            Field::new("subset", DataType::Utf8, true),
            Field::new("path", DataType::Utf8, false),
            Field::new("row", DataType::Int64, false),
            Field::new("id", DataType::Utf8, true),
            Field::new("text", DataType::Utf8, false),
        ]
    }

    fn columns(rows: &[Self]) -> Vec<ArrayRef> {
        vec![
            Arc::new(StringArray::from_iter_values(
                rows.iter().map(|row| row.split.as_str()),
            )),
            Arc::new(Int32Array::from_iter_values(
                rows.iter().map(|row| row.shard.cast_signed()),
            )),
            Arc::new(Int64Array::from_iter_values(
                rows.iter().map(|row| row.document),
            )),
            Arc::new(
                rows.iter()
                    .map(|row| row.subset.as_deref())
                    .collect::<StringArray>(),
            ),
            Arc::new(StringArray::from_iter_values(
                rows.iter().map(|row| &row.path),
            )),
            Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.row))),
            Arc::new(
                rows.iter()
                    .map(|row| row.id.as_deref())
                    .collect::<StringArray>(),
            ),
            Arc::new(StringArray::from_iter_values(
                rows.iter().map(|row| &row.text),
            )),
        ]
    }

    fn size(&self) -> usize {
        120 + self.text.len()
    }
}
