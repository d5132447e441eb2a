//! What became of a batch of documents, as Arrow record batches again.
//!
//! One batch has what the output needs of each row; a second, smaller one has what tells duplicates
//! apart. Both are written to the spool as they are, so that the steps that need all documents can
//! run wherever and whenever the spools of all parts are there.

use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, AsArray, BinaryBuilder, FixedSizeBinaryBuilder, Float64Builder, RecordBatch,
    StringBuilder, UInt16Builder, UInt32Array, UInt64Builder,
};
use arrow::datatypes::{
    DataType, Field, Float64Type, Schema, SchemaRef, UInt16Type, UInt32Type, UInt64Type,
};

use crate::document::Document;
use crate::filter::Reason;
use crate::hash::Sha256Bytes;

/// Bytes of a text that are kept to show what was dropped.
const EXCERPT_LEN: usize = 240;
/// Bytes of a text's SHA-256.
const HASH_LEN: i32 = 32;

static ROWS: LazyLock<SchemaRef> = LazyLock::new(|| {
    let text = |name| Field::new(name, DataType::Utf8, true);
    Arc::new(Schema::new(vec![
        Field::new("file", DataType::UInt32, false),
        Field::new("row", DataType::UInt64, false),
        text("id"),
        text("subset"),
        text("license"),
        Field::new("bytes_in", DataType::UInt64, false),
        Field::new("bytes_out", DataType::UInt64, false),
        Field::new("characters", DataType::UInt64, false),
        Field::new("special_tokens", DataType::UInt64, false),
        Field::new("stage", DataType::UInt16, true),
        text("reason"),
        Field::new("value", DataType::Float64, true),
        Field::new("threshold", DataType::Float64, true),
        Field::new("text_sha256", DataType::FixedSizeBinary(HASH_LEN), true),
        Field::new("tokens", DataType::Binary, true),
        text("excerpt"),
        text("text"),
        text("error"),
        text("raw"),
    ]))
});

/// A row that was judged, on its way into a batch.
#[derive(Debug, Default)]
pub(crate) struct Judged<'j> {
    pub(crate) row: u64,
    /// The document, for rows that are one; its text may be another than it came with.
    pub(crate) document: Option<&'j Document>,
    pub(crate) bytes_in: u64,
    pub(crate) special_tokens: u64,
    /// Where and why it was dropped; none for what is kept.
    pub(crate) dropped: Option<(u16, Reason)>,
    pub(crate) text_sha256: Option<Sha256Bytes>,
    /// Tokens in the type of the dataset, low byte first.
    pub(crate) tokens: Option<&'j [u8]>,
    /// The name of the error, its text and the row, for rows that are no document.
    pub(crate) broken: Option<(&'j str, &'j str, &'j str)>,
    /// Whether the text itself is wanted.
    pub(crate) keep_text: bool,
    /// Whether a piece of the text may be shown.
    pub(crate) show_text: bool,
}

/// Builds the batch of rows.
#[derive(Default)]
pub(crate) struct RowsBuilder {
    row: UInt64Builder,
    id: StringBuilder,
    subset: StringBuilder,
    license: StringBuilder,
    counts: [UInt64Builder; 4],
    stage: UInt16Builder,
    reason: StringBuilder,
    value: Float64Builder,
    threshold: Float64Builder,
    hashes: Vec<Option<Sha256Bytes>>,
    tokens: BinaryBuilder,
    excerpt: StringBuilder,
    text: StringBuilder,
    error: StringBuilder,
    raw: StringBuilder,
}

impl RowsBuilder {
    pub(crate) fn push(&mut self, judged: &Judged<'_>) {
        self.row.append_value(judged.row);
        let document = judged.document;
        let field = |field: fn(&Document) -> Option<&str>| document.and_then(field);
        self.id.append_option(field(|found| found.id.as_deref()));
        self.subset
            .append_option(field(|found| found.subset.as_deref()));
        self.license
            .append_option(field(|found| found.license.as_deref()));
        let text = document.map_or("", |found| found.text.as_str());
        let kept = judged.dropped.is_none() && judged.broken.is_none();
        let characters = if kept { text.chars().count() } else { 0 };
        let counts = [
            judged.bytes_in,
            text.len() as u64,
            characters as u64,
            judged.special_tokens,
        ];
        for (builder, count) in self.counts.iter_mut().zip(counts) {
            builder.append_value(count);
        }
        let stage = judged.dropped.as_ref().map(|(stage, _)| *stage);
        self.stage.append_option(stage.or(judged.broken.map(|_| 0)));
        let reason = judged.dropped.as_ref().map(|(_, reason)| *reason);
        let name = reason.map(|reason| reason.name);
        self.reason
            .append_option(name.or(judged.broken.map(|(name, _, _)| name)));
        self.value
            .append_option(reason.and_then(|reason| reason.value));
        self.threshold
            .append_option(reason.and_then(|reason| reason.threshold));
        self.hashes.push(judged.text_sha256);
        self.tokens.append_option(judged.tokens);
        let excerpt = judged.show_text.then(|| excerpt(text));
        self.excerpt.append_option(excerpt);
        self.text.append_option(judged.keep_text.then_some(text));
        self.error
            .append_option(judged.broken.map(|(_, error, _)| error));
        self.raw.append_option(judged.broken.map(|(_, _, raw)| raw));
    }

    /// The batch; `file` is the number of the file that its rows are from.
    pub(crate) fn finish(&mut self, file: u32) -> RecordBatch {
        let rows = self.hashes.len();
        let mut hashes = FixedSizeBinaryBuilder::with_capacity(rows, HASH_LEN);
        for hash in self.hashes.drain(..) {
            match hash {
                Some(hash) => hashes.append_value(hash).expect("a hash has 32 bytes"),
                None => hashes.append_null(),
            }
        }
        let [bytes_in, bytes_out, characters, special] = &mut self.counts;
        let columns: Vec<arrow::array::ArrayRef> = vec![
            Arc::new(UInt32Array::from_value(file, rows)),
            Arc::new(self.row.finish()),
            Arc::new(self.id.finish()),
            Arc::new(self.subset.finish()),
            Arc::new(self.license.finish()),
            Arc::new(bytes_in.finish()),
            Arc::new(bytes_out.finish()),
            Arc::new(characters.finish()),
            Arc::new(special.finish()),
            Arc::new(self.stage.finish()),
            Arc::new(self.reason.finish()),
            Arc::new(self.value.finish()),
            Arc::new(self.threshold.finish()),
            Arc::new(hashes.finish()),
            Arc::new(self.tokens.finish()),
            Arc::new(self.excerpt.finish()),
            Arc::new(self.text.finish()),
            Arc::new(self.error.finish()),
            Arc::new(self.raw.finish()),
        ];
        RecordBatch::try_new(ROWS.clone(), columns).expect("the columns are those of the schema")
    }
}

fn excerpt(text: &str) -> &str {
    let mut end = text.len().min(EXCERPT_LEN);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// One row of a batch of rows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OutcomeRow<'b> {
    pub(crate) file: u32,
    pub(crate) row: u64,
    pub(crate) id: Option<&'b str>,
    pub(crate) subset: Option<&'b str>,
    pub(crate) license: Option<&'b str>,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) characters: u64,
    pub(crate) special_tokens: u64,
    /// The stage that dropped it; none for what is kept.
    pub(crate) stage: Option<u16>,
    pub(crate) reason: Option<&'b str>,
    pub(crate) value: Option<f64>,
    pub(crate) threshold: Option<f64>,
    pub(crate) text_sha256: Option<&'b Sha256Bytes>,
    pub(crate) tokens: Option<&'b [u8]>,
    pub(crate) excerpt: Option<&'b str>,
    pub(crate) text: Option<&'b str>,
    pub(crate) error: Option<&'b str>,
    pub(crate) raw: Option<&'b str>,
}

/// Reads row `at` of a batch of rows.
pub(crate) fn row(batch: &RecordBatch, at: usize) -> OutcomeRow<'_> {
    let string = |column: usize| {
        let column = batch.column(column).as_string::<i32>();
        column.is_valid(at).then(|| column.value(at))
    };
    let count = |column: usize| batch.column(column).as_primitive::<UInt64Type>().value(at);
    let number = |column: usize| {
        let column = batch.column(column).as_primitive::<Float64Type>();
        column.is_valid(at).then(|| column.value(at))
    };
    let stage = batch.column(9).as_primitive::<UInt16Type>();
    let hash = batch.column(13).as_fixed_size_binary();
    let tokens = batch.column(14).as_binary::<i32>();
    OutcomeRow {
        file: batch.column(0).as_primitive::<UInt32Type>().value(at),
        row: count(1),
        id: string(2),
        subset: string(3),
        license: string(4),
        bytes_in: count(5),
        bytes_out: count(6),
        characters: count(7),
        special_tokens: count(8),
        stage: stage.is_valid(at).then(|| stage.value(at)),
        reason: string(10),
        value: number(11),
        threshold: number(12),
        text_sha256: hash.is_valid(at).then(|| {
            let bytes = hash.value(at);
            bytes.try_into().expect("a hash has 32 bytes")
        }),
        tokens: tokens.is_valid(at).then(|| tokens.value(at)),
        excerpt: string(15),
        text: string(16),
        error: string(17),
        raw: string(18),
    }
}
