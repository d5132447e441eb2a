//! Documents as an Arrow record batch: what the stages that look at one document alone are given.
//!
//! A batch is a run of rows of one file, in order. Rows that are no documents are in it too, so that
//! nothing is lost on the way.

use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, ArrayRef, AsArray, RecordBatch, StringArray, StringBuilder, UInt8Array, UInt64Array,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt8Type, UInt64Type};

use crate::document::{BookShape, BrokenRow, Document};

/// The columns, in order.
static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let text = |name| Field::new(name, DataType::Utf8, true);
    Arc::new(Schema::new(vec![
        Field::new("row", DataType::UInt64, false),
        text("id"),
        text("subset"),
        text("url"),
        text("title"),
        text("file"),
        text("language"),
        text("license"),
        Field::new("book", DataType::UInt8, true),
        text("text"),
        text("error_name"),
        text("error"),
        text("raw"),
        Field::new("raw_len", DataType::UInt64, true),
    ]))
});
/// Columns that every document has or lacks, in the order of [`optional`].
const OPTIONAL: [usize; 7] = [1, 2, 3, 4, 5, 6, 7];
const BOOK: usize = 8;
const TEXT: usize = 9;
const ERROR_NAME: usize = 10;
const ERROR: usize = 11;
const RAW: usize = 12;
const RAW_LEN: usize = 13;

/// Gathers rows into a batch.
pub(crate) fn to_batch(rows: &[Result<Document, BrokenRow>]) -> RecordBatch {
    let strings = |value: &dyn Fn(&Result<Document, BrokenRow>) -> Option<&str>| -> ArrayRef {
        // `StringArray` grows by doubling from nothing, which for texts costs a copy or two.
        let bytes = rows.iter().filter_map(value).map(str::len).sum();
        let mut builder = StringBuilder::with_capacity(rows.len(), bytes);
        // The two lifetimes of the closure's argument and result are one.
        for row in rows {
            builder.append_option(value(row));
        }
        Arc::new(builder.finish())
    };
    let of = |field: fn(&Document) -> Option<&str>| {
        strings(&move |row| row.as_ref().ok().and_then(field))
    };
    let broken = |field: fn(&BrokenRow) -> &str| strings(&move |row| row.as_ref().err().map(field));
    let number = |row: &Result<Document, BrokenRow>| match row {
        Ok(document) => document.row,
        Err(broken) => broken.row,
    };
    let errors: StringArray = rows
        .iter()
        .map(|row| row.as_ref().err().map(|broken| broken.error.to_string()))
        .collect();
    let book = |document: &Document| {
        document
            .book
            .map(|shape| u8::from(shape == BookShape::Books3))
    };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(UInt64Array::from_iter_values(rows.iter().map(number))),
        of(|document| document.id.as_deref()),
        of(|document| document.subset.as_deref()),
        of(|document| document.url.as_deref()),
        of(|document| document.title.as_deref()),
        of(|document| document.file.as_deref()),
        of(|document| document.language.as_deref()),
        of(|document| document.license.as_deref()),
        Arc::new(
            rows.iter()
                .map(|row| row.as_ref().ok().and_then(book))
                .collect::<UInt8Array>(),
        ),
        of(|document| Some(&document.text)),
        broken(|row| row.error.name()),
        Arc::new(errors),
        broken(|row| &row.raw),
        Arc::new(
            rows.iter()
                .map(|row| row.as_ref().err().map(|broken| broken.len))
                .collect::<UInt64Array>(),
        ),
    ];
    RecordBatch::try_new(SCHEMA.clone(), columns).expect("the columns are those of the schema")
}

/// A row of a batch that is no document.
pub(crate) struct BrokenView<'b> {
    pub(crate) row: u64,
    pub(crate) name: &'b str,
    pub(crate) error: &'b str,
    pub(crate) raw: &'b str,
    pub(crate) len: u64,
}

/// Copies row `at` of a batch into `document`, whose memory serves again; `Err` if it is none.
pub(crate) fn read_row<'b>(
    batch: &'b RecordBatch,
    at: usize,
    document: &mut Document,
) -> Result<(), BrokenView<'b>> {
    let row = batch.column(0).as_primitive::<UInt64Type>().value(at);
    let string = |column: usize| {
        let column = batch.column(column).as_string::<i32>();
        column.is_valid(at).then(|| column.value(at))
    };
    if let Some(name) = string(ERROR_NAME) {
        return Err(BrokenView {
            row,
            name,
            error: string(ERROR).unwrap_or_default(),
            raw: string(RAW).unwrap_or_default(),
            len: batch.column(RAW_LEN).as_primitive::<UInt64Type>().value(at),
        });
    }
    document.row = row;
    for (column, field) in OPTIONAL.into_iter().zip(optional(document)) {
        match (string(column), &mut *field) {
            (None, _) => *field = None,
            (Some(value), Some(field)) => {
                field.clear();
                field.push_str(value);
            }
            (Some(value), None) => *field = Some(value.to_owned()),
        }
    }
    let book = batch.column(BOOK).as_primitive::<UInt8Type>();
    document.book = book.is_valid(at).then(|| match book.value(at) {
        0 => BookShape::Pg19,
        _ => BookShape::Books3,
    });
    document.text.clear();
    document.text.push_str(string(TEXT).unwrap_or_default());
    Ok(())
}

fn optional(document: &mut Document) -> [&mut Option<String>; 7] {
    [
        &mut document.id,
        &mut document.subset,
        &mut document.url,
        &mut document.title,
        &mut document.file,
        &mut document.language,
        &mut document.license,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::RowError;

    #[test]
    fn rows_come_back_as_they_went_in() {
        let full = Document {
            row: 7,
            id: Some("i".to_owned()),
            subset: Some("s".to_owned()),
            url: Some("u".to_owned()),
            title: Some("t".to_owned()),
            file: Some("f".to_owned()),
            language: Some("en".to_owned()),
            license: Some("MIT".to_owned()),
            book: Some(BookShape::Books3),
            text: "text".to_owned(),
        };
        let bare = Document {
            row: 9,
            ..Document::default()
        };
        let broken = BrokenRow::new(8, RowError::InvalidUtf8 { byte: 1 }, b"x\xff");
        let rows = [Ok(full.clone()), Err(broken), Ok(bare.clone())];
        let batch = to_batch(&rows);
        let mut found = Document::default();
        assert!(read_row(&batch, 0, &mut found).is_ok());
        assert_eq!(found, full);
        let view = read_row(&batch, 1, &mut found).err().unwrap();
        assert_eq!((view.row, view.name, view.len), (8, "invalid_utf8", 2));
        assert_eq!(
            (view.raw, view.error),
            ("x\u{fffd}", "invalid UTF-8 at byte 1 of the row")
        );
        assert!(read_row(&batch, 2, &mut found).is_ok());
        assert_eq!(found, bare);
    }
}
