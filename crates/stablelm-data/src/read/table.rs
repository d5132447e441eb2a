//! The fields of a row of a table, parquet or arrow.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StructArray};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Fields as ArrowFields, Int8Type, Int16Type, Int32Type, Int64Type,
    UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};

use crate::document::{BrokenRow, Document, RowError};
use crate::read::fields::{Fields, Meta, MetaFields, MetaSlot, Slot, Value};
use crate::read::jsonl::MAX_LINE_LEN;
use crate::read::schema::{Origin, Schema};
use crate::read::{ColumnarError, ReadError};

/// The columns of a file that are read, by their place in it, ascending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Columns {
    /// What each column of a batch is for.
    pub(crate) slots: Vec<Slot>,
    /// Where each lies among all columns of the file.
    pub(crate) places: Vec<usize>,
    names: Vec<String>,
}

impl Columns {
    /// Finds the columns of a schema, and refuses a file that lacks one it needs.
    pub(crate) fn find(
        path: &Path,
        schema: &Schema,
        found: &ArrowFields,
    ) -> Result<Self, ReadError> {
        let mut columns = Self::default();
        for (place, field) in found.iter().enumerate() {
            let Some(slot) = schema.slot(field.name()) else {
                continue;
            };
            check_type(path, schema, slot, field.name(), field.data_type())?;
            if is_readable(slot, field.data_type()) {
                columns.slots.push(slot);
                columns.places.push(place);
                columns.names.push(field.name().clone());
            }
        }
        let missing = |column: &str| ReadError::MissingColumn {
            path: path.to_path_buf(),
            column: column.to_owned(),
            present: found.iter().map(|field| field.name().clone()).collect(),
        };
        let has = |slot| columns.slots.contains(&slot);
        if !has(Slot::Text) && !has(Slot::SecondText) {
            return Err(missing(schema.text()));
        }
        match schema.id() {
            Some(id) if schema.id_required() && !has(Slot::Id) => Err(missing(id)),
            _ => Ok(columns),
        }
    }

    /// Every column, for a look at the file.
    pub(crate) fn all(found: &ArrowFields) -> Self {
        Self {
            slots: Vec::new(),
            places: (0..found.len()).collect(),
            names: found.iter().map(|field| field.name().clone()).collect(),
        }
    }

    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }
}

fn check_type(
    path: &Path,
    schema: &Schema,
    slot: Slot,
    name: &str,
    data_type: &DataType,
) -> Result<(), ReadError> {
    let expected = match slot {
        Slot::Text if !is_text(data_type) => "a string",
        Slot::Id if schema.id_required() && !is_readable(slot, data_type) => {
            "a string or a whole number"
        }
        _ => return Ok(()),
    };
    Err(ReadError::ColumnType {
        path: path.to_path_buf(),
        column: name.to_owned(),
        expected,
        found: data_type.to_string(),
    })
}

fn is_readable(slot: Slot, data_type: &DataType) -> bool {
    match (slot, data_type) {
        (Slot::Score, _) | (Slot::Meta, DataType::Struct(_)) => true,
        (Slot::License, DataType::List(item) | DataType::LargeList(item)) => {
            is_text(item.data_type())
        }
        (Slot::Text | Slot::SecondText | Slot::Meta, data_type) => is_text(data_type),
        (_, data_type) => is_text(data_type) || data_type.is_integer(),
    }
}

fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, values) => is_text(values),
        _ => false,
    }
}

/// What a reader of tables finds next.
#[derive(Debug)]
pub(crate) enum Batch {
    /// Rows, with the number of the first one.
    Rows(u64, TableRows),
    Damaged(DamagedRows),
}

/// Rows that can't be decoded.
#[derive(Debug)]
pub(crate) struct DamagedRows {
    /// The number of the first one.
    pub(crate) first: u64,
    /// How many there are; where nobody knows, the rows after them are counted as if it were one.
    pub(crate) rows: Option<u64>,
    pub(crate) error: ColumnarError,
    /// Whether nothing after them can be found.
    pub(crate) is_last: bool,
}

/// Rows of a table that follow one another.
#[derive(Clone, Debug, Default)]
pub(crate) struct TableRows {
    /// The columns that are read, and no others.
    pub(crate) batch: Option<RecordBatch>,
    pub(crate) columns: Arc<Columns>,
}

impl TableRows {
    pub(crate) fn num_rows(&self) -> usize {
        self.batch.as_ref().map_or(0, RecordBatch::num_rows)
    }

    /// The text bytes of a row, all columns together.
    pub(crate) fn row_len(&self, at: usize) -> usize {
        let columns = self.batch.iter().flat_map(RecordBatch::columns);
        columns
            .map(|column| text_at(column, at).map_or(0, str::len))
            .sum()
    }

    pub(crate) fn slice(&self, start: usize, len: usize) -> Self {
        Self {
            batch: self.batch.as_ref().map(|batch| batch.slice(start, len)),
            columns: self.columns.clone(),
        }
    }

    /// Makes a document of each row.
    pub(crate) fn parse(
        &self,
        first_row: u64,
        schema: &Schema,
        origin: &Origin,
        rows: &mut Vec<Result<Document, BrokenRow>>,
    ) {
        for (at, row) in (0..self.num_rows()).zip(first_row..) {
            let document = self
                .fields(at)
                .and_then(|fields| schema.document(fields, row, origin));
            rows.push(document.map_err(|error| BrokenRow::new(row, error, b"")));
        }
    }

    fn fields(&self, at: usize) -> Result<Fields<'_>, RowError> {
        let mut fields = Fields::default();
        let columns = self.batch.iter().flat_map(RecordBatch::columns);
        for (&slot, column) in self.columns.slots.iter().zip(columns) {
            match (slot, column.as_struct_opt()) {
                (Slot::Meta, Some(meta)) => fields.meta = struct_at(meta, at),
                (Slot::Meta, None) => {
                    fields.meta = text_at(column, at).map_or(Meta::Missing, Meta::parse);
                }
                _ => {
                    let value = value_at(column, at);
                    let is_null = value.is_none();
                    if let Some(Value::Text(text)) = &value
                        && text.len() as u64 > MAX_LINE_LEN
                    {
                        return Err(RowError::TooLong {
                            bytes: text.len() as u64,
                            limit: MAX_LINE_LEN,
                        });
                    }
                    if !is_null || slot == Slot::Text {
                        fields.set(slot, value.unwrap_or(Value::Other("null")));
                    }
                }
            }
        }
        Ok(fields)
    }
}

/// A value of a column; nothing for null.
fn value_at(column: &ArrayRef, at: usize) -> Option<Value<'_>> {
    if let Some(text) = text_at(column, at) {
        return Some(Value::Text(Cow::Borrowed(text)));
    }
    if column.is_null(at) {
        return None;
    }
    let list = match column.data_type() {
        DataType::List(_) => column.as_list::<i32>().value(at),
        DataType::LargeList(_) => column.as_list::<i64>().value(at),
        // A null behind a key of a dictionary.
        DataType::Dictionary(..) => return None,
        _ => {
            let number = whole_at(column, at).map(Value::Number);
            return Some(number.unwrap_or(Value::Other("a value of another type")));
        }
    };
    let texts = (0..list.len()).filter_map(|at| text_at(&list, at));
    Some(Value::List(texts.map(str::to_owned).collect()))
}

/// A text of a column; nothing for null and other types.
pub(crate) fn text_at(column: &dyn Array, at: usize) -> Option<&str> {
    if column.is_null(at) {
        return None;
    }
    Some(match column.data_type() {
        DataType::Utf8 => column.as_string::<i32>().value(at),
        DataType::LargeUtf8 => column.as_string::<i64>().value(at),
        DataType::Utf8View => column.as_string_view().value(at),
        DataType::Dictionary(..) => {
            let dictionary = column.as_any_dictionary();
            let key = key_at(dictionary.keys(), at)?;
            let values = dictionary.values();
            return (key < values.len()).then(|| text_at(values, key))?;
        }
        _ => return None,
    })
}

fn key_at(keys: &dyn Array, at: usize) -> Option<usize> {
    macro_rules! key {
        ($($variant:ident $type:ty),*) => {
            match keys.data_type() {
                $(DataType::$variant => usize::try_from(keys.as_primitive::<$type>().value(at)).ok(),)*
                _ => None,
            }
        };
    }
    key!(
        Int8 Int8Type, Int16 Int16Type, Int32 Int32Type, Int64 Int64Type,
        UInt8 UInt8Type, UInt16 UInt16Type, UInt32 UInt32Type, UInt64 UInt64Type
    )
}

/// A whole number as it is written.
fn whole_at(column: &dyn Array, at: usize) -> Option<String> {
    fn show<T: ArrowPrimitiveType>(column: &dyn Array, at: usize) -> String
    where
        T::Native: ToString,
    {
        column.as_primitive::<T>().value(at).to_string()
    }
    Some(match column.data_type() {
        DataType::Int8 => show::<Int8Type>(column, at),
        DataType::Int16 => show::<Int16Type>(column, at),
        DataType::Int32 => show::<Int32Type>(column, at),
        DataType::Int64 => show::<Int64Type>(column, at),
        DataType::UInt8 => show::<UInt8Type>(column, at),
        DataType::UInt16 => show::<UInt16Type>(column, at),
        DataType::UInt32 => show::<UInt32Type>(column, at),
        DataType::UInt64 => show::<UInt64Type>(column, at),
        _ => return None,
    })
}

/// A `meta` with columns of its own: those that are null are not there.
fn struct_at(meta: &StructArray, at: usize) -> Meta {
    if meta.is_null(at) {
        return Meta::Missing;
    }
    let mut fields = MetaFields::default();
    for (field, column) in meta.fields().iter().zip(meta.columns()) {
        let Some(value) = value_at(column, at) else {
            continue;
        };
        fields.add_key(field.name());
        if let Some(slot) = MetaSlot::of(field.name()) {
            fields.set(slot, value);
        }
    }
    Meta::Found(fields)
}
