//! What tells duplicates apart, as an Arrow record batch: one row a row of the file.

use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryBuilder, FixedSizeBinaryBuilder, RecordBatch, UInt32Array,
    UInt64Builder,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt32Type, UInt64Type};

use crate::hash::Sha256Bytes;

static KEYS: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("file", DataType::UInt32, false),
        Field::new("row", DataType::UInt64, false),
        Field::new("text_sha256", DataType::FixedSizeBinary(32), true),
        Field::new("characters", DataType::UInt64, false),
        Field::new("bands", DataType::Binary, true),
    ]))
});

/// Builds the batch of keys.
#[derive(Default)]
pub(crate) struct KeysBuilder {
    row: UInt64Builder,
    hashes: Vec<Option<Sha256Bytes>>,
    characters: UInt64Builder,
    bands: BinaryBuilder,
}

impl KeysBuilder {
    /// Appends a row; one without a hash is no duplicate of anything.
    pub(crate) fn push(
        &mut self,
        row: u64,
        text_sha256: Option<Sha256Bytes>,
        characters: u64,
        bands: Option<&[u8]>,
    ) {
        self.row.append_value(row);
        self.hashes.push(text_sha256);
        self.characters.append_value(characters);
        self.bands.append_option(bands);
    }

    pub(crate) fn finish(&mut self, file: u32) -> RecordBatch {
        let rows = self.hashes.len();
        let mut hashes = FixedSizeBinaryBuilder::with_capacity(rows, 32);
        for hash in self.hashes.drain(..) {
            match hash {
                Some(hash) => hashes.append_value(hash).expect("a hash has 32 bytes"),
                None => hashes.append_null(),
            }
        }
        let columns: Vec<ArrayRef> = vec![
            Arc::new(UInt32Array::from_value(file, rows)),
            Arc::new(self.row.finish()),
            Arc::new(hashes.finish()),
            Arc::new(self.characters.finish()),
            Arc::new(self.bands.finish()),
        ];
        RecordBatch::try_new(KEYS.clone(), columns).expect("the columns are those of the schema")
    }
}

/// One row of a batch of keys.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyRow<'b> {
    pub(crate) file: u32,
    pub(crate) row: u64,
    pub(crate) text_sha256: Option<&'b Sha256Bytes>,
    pub(crate) characters: u64,
    pub(crate) bands: Option<&'b [u8]>,
}

/// Reads row `at` of a batch of keys.
pub(crate) fn row(batch: &RecordBatch, at: usize) -> KeyRow<'_> {
    let hash = batch.column(2).as_fixed_size_binary();
    let bands = batch.column(4).as_binary::<i32>();
    KeyRow {
        file: batch.column(0).as_primitive::<UInt32Type>().value(at),
        row: batch.column(1).as_primitive::<UInt64Type>().value(at),
        text_sha256: hash.is_valid(at).then(|| {
            let bytes = hash.value(at);
            bytes.try_into().expect("a hash has 32 bytes")
        }),
        characters: batch.column(3).as_primitive::<UInt64Type>().value(at),
        bands: bands.is_valid(at).then(|| bands.value(at)),
    }
}
