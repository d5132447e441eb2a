//! Arrow IPC, files and streams, with a column of text.
//!
//! The bytes of each message are framed and checked here, and only then decoded by the library:
//! it trusts the lengths that a message claims. A batch is held as a whole, for its columns lie one
//! behind another.
//!
//! A batch that is damaged is passed over. Its head says how many rows that are; of a damaged head
//! nobody knows, and in a stream the next message can't be found either.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::buffer::{Buffer, MutableBuffer};
use arrow::datatypes::{DataType, Fields, SchemaRef};
use arrow::ipc::convert::try_fb_to_schema;
use arrow::ipc::reader::{FileDecoder, read_footer_length};
use arrow::ipc::{
    Block, Message, MessageHeader, MetadataVersion, RecordBatch as MessageBatch,
    Schema as MessageSchema, root_as_footer, root_as_message,
};

use crate::read::container::Container;
use crate::read::limits::{MAX_BATCH_LEN, guarded, is_bomb};
use crate::read::schema::Schema;
use crate::read::table::{Batch, Columns, DamagedRows, TableRows};
use crate::read::{ColumnarError, ReadError};

/// Longest head of a message, and longest footer.
const MAX_HEAD_LEN: u64 = 16 << 20;
/// What a file begins and ends with, its footer's length among it.
const MAGIC_LEN: u64 = 8;
const TAIL_LEN: usize = 10;
const CONTINUATION: [u8; 4] = [0xff; 4];

/// The batches of one file or stream.
pub(crate) struct ArrowBatches {
    path: PathBuf,
    source: Source,
    schema: SchemaRef,
    decoder: FileDecoder,
    columns: Arc<Columns>,
    /// Messages of a file that are left, the next one last; a stream has one after another.
    blocks: Option<Vec<Place>>,
    /// The next row.
    row: u64,
    /// Rows before this one are passed over.
    start: u64,
    dictionaries: Dictionaries,
}

/// The dictionaries of a file, which stay.
struct Dictionaries {
    /// Whether a column that is read needs any.
    are_needed: bool,
    /// Decompressed bytes of all of them.
    len: u64,
    /// Why one can't be read: then batches behind it would mean something else.
    lost: Option<String>,
}

/// Where a message lies.
#[derive(Clone, Copy, Debug)]
struct Place {
    offset: u64,
    /// Length of the head with what stands before it.
    head_len: u64,
    body_len: u64,
    /// What it holds, where the footer says that.
    kind: Option<Kind>,
}

impl Place {
    fn end(self) -> u64 {
        self.offset + self.head_len + self.body_len
    }
}

/// What a message holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Rows,
    Dictionary,
}

/// Why a message can't be read.
enum Fault {
    /// The system gave no bytes, which says nothing of the file.
    Io(io::Error),
    Damage(ColumnarError),
}

impl Fault {
    /// The damage, or an error that ends the run.
    fn into_damage(self, path: &Path) -> Result<ColumnarError, ReadError> {
        match self {
            Self::Io(error) => Err(ReadError::io(path)(error)),
            Self::Damage(error) => Ok(error),
        }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl<E: Into<ColumnarError>> From<E> for Fault {
    fn from(error: E) -> Self {
        Self::Damage(error.into())
    }
}

impl ArrowBatches {
    /// Opens a file, checks its columns, and passes over the batches before the row `start`.
    pub(crate) fn open(
        path: &Path,
        container: Container,
        schema: &Schema,
        start: u64,
    ) -> Result<Self, ReadError> {
        let find = |fields: &Fields| Columns::find(path, schema, fields);
        Self::open_for(path, container, find, start)
    }

    /// Opens a file for the columns that `find` finds.
    pub(crate) fn open_for(
        path: &Path,
        container: Container,
        find: impl FnOnce(&Fields) -> Result<Columns, ReadError>,
        start: u64,
    ) -> Result<Self, ReadError> {
        let file = File::open(path).map_err(ReadError::io(path))?;
        let len = file.metadata().map_err(ReadError::io(path))?.len();
        let mut source = Source {
            file,
            len,
            offset: 0,
        };
        let opened: Result<Opened, Fault> = guarded(|| match container {
            Container::ArrowFile => source.open_file(),
            _ => source.open_stream(),
        });
        let (schema, blocks) = match opened {
            Ok(opened) => opened,
            Err(fault) => {
                return Err(ReadError::Arrow {
                    path: path.to_path_buf(),
                    source: fault.into_damage(path)?,
                });
            }
        };
        let columns = find(schema.fields())?;
        // Footers name other versions than the messages do, and only those of the messages count;
        // with the first version the library does not compare them.
        let decoder = FileDecoder::new(schema.clone(), MetadataVersion::V1)
            .with_projection(columns.places.clone());
        let mut types = columns
            .places
            .iter()
            .map(|&at| schema.field(at).data_type());
        let dictionaries = Dictionaries {
            are_needed: types.any(has_dictionary),
            len: 0,
            lost: None,
        };
        Ok(Self {
            path: path.to_path_buf(),
            source,
            schema,
            decoder,
            columns: Arc::new(columns),
            blocks,
            row: 0,
            start,
            dictionaries,
        })
    }

    /// All columns of the file.
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The place in the file.
    pub(crate) fn bytes_read(&self) -> u64 {
        self.source.offset
    }

    /// The next rows. After rows that can't be decoded, the next batch is read.
    pub(crate) fn next_batch(&mut self) -> Result<Option<Batch>, ReadError> {
        loop {
            let place = match &mut self.blocks {
                Some(blocks) => Ok(blocks.pop()),
                None => guarded(|| self.source.next_place()),
            };
            let place = match place {
                Ok(Some(place)) => place,
                Ok(None) => return Ok(None),
                Err(fault) => {
                    let error = fault.into_damage(&self.path)?;
                    return Ok(Some(damaged(self.row, None, error, true)));
                }
            };
            let found = self.read_message(place)?;
            if self.blocks.is_none() {
                self.source.offset = place.end();
            }
            if found.is_some() {
                return Ok(found);
            }
        }
    }

    /// Reads a message; nothing if it has no rows that are wanted.
    fn read_message(&mut self, place: Place) -> Result<Option<Batch>, ReadError> {
        let first = self.row;
        let head: Result<_, Fault> = guarded(|| {
            self.source.check(place)?;
            let head = self.source.read_head(place)?;
            let (kind, rows) = look_at(&parse_head(&head)?)?;
            match place.kind {
                Some(announced) if announced != kind => Err(ColumnarError::refused(
                    "a message holds something else than the footer says".to_owned(),
                ))?,
                _ => Ok((head, kind, rows)),
            }
        });
        let (head, kind, rows) = match head {
            Ok(found) => found,
            Err(fault) => {
                let error = fault.into_damage(&self.path)?;
                if place.kind != Some(Kind::Rows) {
                    // It may have been a dictionary.
                    self.dictionaries.lost.get_or_insert(error.to_string());
                }
                if place.kind == Some(Kind::Dictionary) {
                    return Ok(None);
                }
                self.row += 1;
                let is_wanted = self.row > self.start;
                return Ok(is_wanted.then(|| damaged(first, None, error, false)));
            }
        };
        if kind == Kind::Dictionary {
            if self.dictionaries.are_needed
                && let Err(fault) = guarded(|| self.read_dictionary(place, &head))
            {
                let error = fault.into_damage(&self.path)?;
                self.dictionaries.lost.get_or_insert(error.to_string());
            }
            return Ok(None);
        }
        self.row += rows;
        if rows == 0 || self.row <= self.start {
            return Ok(None);
        }
        match guarded(|| self.read_rows(place, &head, rows)) {
            Ok(batch) => {
                let columns = self.columns.clone();
                let batch = Some(batch);
                Ok(Some(Batch::Rows(first, TableRows { batch, columns })))
            }
            Err(fault) => {
                let error = fault.into_damage(&self.path)?;
                Ok(Some(damaged(first, Some(rows), error, false)))
            }
        }
    }

    fn read_rows(&mut self, place: Place, head: &[u8], rows: u64) -> Result<RecordBatch, Fault> {
        if let Some(why) = self.dictionaries.lost.as_ref()
            && self.dictionaries.are_needed
        {
            let message = format!("a dictionary before it can't be read: {why}");
            return Err(ColumnarError::refused(message).into());
        }
        let buffer = self.source.read_body(place, head)?;
        let message = parse_head(head)?;
        let batch = message.header_as_record_batch();
        let batch = batch.ok_or_else(|| no_header("a batch"))?;
        check_buffers(&batch, &buffer[to_usize(place.head_len)..])?;
        let batch = self.decoder.read_record_batch(&block(place), &buffer)?;
        let batch = batch.filter(|batch| batch.num_rows() as u64 == rows);
        Ok(batch.ok_or_else(|| no_header("a batch of as many rows as it claims"))?)
    }

    fn read_dictionary(&mut self, place: Place, head: &[u8]) -> Result<(), Fault> {
        let buffer = self.source.read_body(place, head)?;
        let message = parse_head(head)?;
        let dictionary = message.header_as_dictionary_batch();
        let batch = dictionary.and_then(|dictionary| dictionary.data());
        let batch = batch.ok_or_else(|| no_header("a dictionary"))?;
        self.dictionaries.len += check_buffers(&batch, &buffer[to_usize(place.head_len)..])?;
        if self.dictionaries.len > MAX_BATCH_LEN {
            let message = "the dictionaries need too much memory".to_owned();
            return Err(ColumnarError::refused(message).into());
        }
        Ok(self.decoder.read_dictionary(&block(place), &buffer)?)
    }
}

fn damaged(first: u64, rows: Option<u64>, error: ColumnarError, is_last: bool) -> Batch {
    Batch::Damaged(DamagedRows {
        first,
        rows,
        error,
        is_last,
    })
}

/// A message as the library wants it described, in a buffer of its own.
fn block(place: Place) -> Block {
    let head_len = i32::try_from(place.head_len).expect("a head is limited");
    Block::new(0, head_len, place.body_len.cast_signed())
}

/// What a message holds, and how many rows.
fn look_at(message: &Message<'_>) -> Result<(Kind, u64), ColumnarError> {
    match message.header_type() {
        MessageHeader::RecordBatch => {
            let batch = message.header_as_record_batch();
            let batch = batch.ok_or_else(|| no_header("a batch"))?;
            let rows = u64::try_from(batch.length()).unwrap_or(u64::MAX);
            let mut nodes = batch.nodes().into_iter().flatten();
            // A row takes a byte and more, and none of rows are in a batch without.
            if rows > MAX_BATCH_LEN || rows == 0 && nodes.any(|node| node.length() != 0) {
                let message = format!("a batch claims {} rows", batch.length());
                return Err(ColumnarError::refused(message));
            }
            Ok((Kind::Rows, rows))
        }
        MessageHeader::DictionaryBatch => Ok((Kind::Dictionary, 0)),
        other => Err(ColumnarError::refused(format!(
            "a message of type {other:?} among the rows"
        ))),
    }
}

/// Whether a column needs dictionaries, of the types that are read.
fn has_dictionary(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(..) => true,
        DataType::List(item) | DataType::LargeList(item) => has_dictionary(item.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| has_dictionary(field.data_type())),
        _ => false,
    }
}

/// An open file, and how far it was read.
struct Source {
    file: File,
    len: u64,
    offset: u64,
}

type Opened = (SchemaRef, Option<Vec<Place>>);

impl Source {
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(offset))?;
        self.file.read_exact(buffer)?;
        self.offset = offset + buffer.len() as u64;
        Ok(())
    }

    /// Reads the footer of a file, which says where its messages lie.
    fn open_file(&mut self) -> Result<Opened, Fault> {
        let cut = || ColumnarError::refused("it is cut: a file ends with its footer".to_owned());
        let mut tail = [0; TAIL_LEN];
        let end = self.len.checked_sub(TAIL_LEN as u64).ok_or_else(cut)?;
        self.read_at(end, &mut tail)?;
        let footer_len = read_footer_length(tail)? as u64;
        if footer_len > MAX_HEAD_LEN {
            return Err(too_long("footer", footer_len).into());
        }
        let start = end.checked_sub(footer_len).ok_or_else(cut)?;
        let mut bytes = vec![0; to_usize(footer_len)];
        self.read_at(start, &mut bytes)?;
        let footer = root_as_footer(&bytes).map_err(|error| {
            ColumnarError::refused(format!("its footer can't be read: {error}"))
        })?;
        let schema = footer.schema().ok_or_else(|| no_header("a schema"))?;
        let schema = to_schema(&schema)?;
        let dictionaries = footer.dictionaries().into_iter().flatten();
        let batches = footer.recordBatches().into_iter().flatten();
        let dictionaries = dictionaries.map(|block| (block, Kind::Dictionary));
        let blocks = dictionaries.chain(batches.map(|block| (block, Kind::Rows)));
        let places: Option<Vec<_>> = blocks
            .map(|(block, kind)| {
                Some(Place {
                    offset: u64::try_from(block.offset()).ok()?,
                    head_len: u64::try_from(block.metaDataLength()).ok()?,
                    body_len: u64::try_from(block.bodyLength()).ok()?,
                    kind: Some(kind),
                })
            })
            .collect();
        let mut places = places.ok_or_else(|| no_header("the place of a message"))?;
        places.reverse();
        self.offset = MAGIC_LEN;
        Ok((schema, Some(places)))
    }

    /// Reads the first message of a stream, its schema.
    fn open_stream(&mut self) -> Result<Opened, Fault> {
        let place = self.next_place()?.ok_or_else(|| no_header("a schema"))?;
        let head = self.read_head(place)?;
        let message = parse_head(&head)?;
        let schema = message.header_as_schema();
        let schema = to_schema(&schema.ok_or_else(|| no_header("a schema"))?)?;
        self.offset = place.end();
        Ok((schema, None))
    }

    fn read_length(&mut self, offset: u64) -> Result<[u8; 4], Fault> {
        let mut length = [0; 4];
        if offset + 4 > self.len {
            return Err(ColumnarError::refused("it is cut within a message".to_owned()).into());
        }
        self.read_at(offset, &mut length)?;
        Ok(length)
    }

    /// Where the next message of a stream lies; nothing at its end.
    fn next_place(&mut self) -> Result<Option<Place>, Fault> {
        let offset = self.offset;
        if offset >= self.len {
            return Ok(None);
        }
        let mut length = self.read_length(offset)?;
        let mut prefix_len = 4;
        if length == CONTINUATION {
            length = self.read_length(offset + 4)?;
            prefix_len = 8;
        }
        let head_len = u64::from(u32::from_le_bytes(length));
        if head_len == 0 {
            return Ok(None);
        }
        let mut place = Place {
            offset,
            head_len: prefix_len + head_len,
            body_len: 0,
            kind: None,
        };
        self.check(place)?;
        let head = self.read_head(place)?;
        let body_len = parse_head(&head)?.bodyLength();
        place.body_len = u64::try_from(body_len).unwrap_or(u64::MAX);
        self.check(place)?;
        Ok(Some(place))
    }

    /// Whether a message lies within the file and may be held.
    fn check(&self, place: Place) -> Result<(), ColumnarError> {
        if place.head_len < 8 {
            return Err(no_header("a message"));
        }
        if place.head_len > MAX_HEAD_LEN {
            return Err(too_long("message head", place.head_len));
        }
        let end = place.offset.checked_add(place.head_len + 8);
        let end = end.and_then(|end| (end - 8).checked_add(place.body_len));
        if end.is_none_or(|end| end > self.len) {
            return Err(ColumnarError::refused(format!(
                "a message at byte {} goes on beyond the end of the file",
                place.offset
            )));
        }
        if place.body_len > MAX_BATCH_LEN {
            return Err(too_long("batch", place.body_len));
        }
        Ok(())
    }

    fn read_head(&mut self, place: Place) -> io::Result<Vec<u8>> {
        let mut head = vec![0; to_usize(place.head_len)];
        self.read_at(place.offset, &mut head)?;
        Ok(head)
    }

    /// The whole message in one buffer.
    fn read_body(&mut self, place: Place, head: &[u8]) -> io::Result<Buffer> {
        let len = to_usize(place.head_len + place.body_len);
        let mut buffer = MutableBuffer::from_len_zeroed(len);
        buffer[..head.len()].copy_from_slice(head);
        self.read_at(place.offset + place.head_len, &mut buffer[head.len()..])?;
        Ok(buffer.into())
    }
}

fn to_usize(len: u64) -> usize {
    usize::try_from(len).expect("lengths are limited")
}

fn no_header(what: &str) -> ColumnarError {
    ColumnarError::refused(format!("{what} was expected, and there is none"))
}

fn too_long(what: &str, len: u64) -> ColumnarError {
    ColumnarError::refused(format!("a {what} of {len} bytes is too long"))
}

fn to_schema(schema: &MessageSchema<'_>) -> Result<SchemaRef, ColumnarError> {
    if !schema.endianness().equals_to_target_endianness() {
        return Err(ColumnarError::refused(
            "its numbers have the other byte order".to_owned(),
        ));
    }
    Ok(Arc::new(try_fb_to_schema(*schema)?))
}

fn parse_head(head: &[u8]) -> Result<Message<'_>, ColumnarError> {
    let prefix_len = if head.starts_with(&CONTINUATION) {
        8
    } else {
        4
    };
    let bytes = head.get(prefix_len..).unwrap_or_default();
    root_as_message(bytes)
        .map_err(|error| ColumnarError::refused(format!("a message can't be read: {error}")))
}

/// Checks that the buffers of a batch lie in its body and hold what they claim, or nearly; returns
/// how many bytes they claim to become.
fn check_buffers(batch: &MessageBatch<'_>, body: &[u8]) -> Result<u64, ColumnarError> {
    let compressed = batch.compression().is_some();
    let mut total = 0_u64;
    for buffer in batch.buffers().into_iter().flatten() {
        let start = usize::try_from(buffer.offset()).ok();
        let len = usize::try_from(buffer.length()).ok();
        let bytes = start
            .zip(len)
            .and_then(|(start, len)| body.get(start..start.checked_add(len)?))
            .ok_or_else(|| {
                ColumnarError::refused("a buffer lies outside of its batch".to_owned())
            })?;
        let mut claimed = bytes.len() as u64;
        if compressed && !bytes.is_empty() {
            let (length, rest) = bytes.split_first_chunk::<8>().ok_or_else(|| {
                ColumnarError::refused("a compressed buffer has no length".to_owned())
            })?;
            // -1 means that the bytes are not compressed after all.
            claimed = match i64::from_le_bytes(*length) {
                -1 => rest.len() as u64,
                length => u64::try_from(length).unwrap_or(u64::MAX),
            };
            if is_bomb(claimed, rest.len() as u64) {
                return Err(ColumnarError::refused(format!(
                    "a buffer claims to hold {claimed} bytes in {}",
                    rest.len()
                )));
            }
        }
        total = total.saturating_add(claimed);
    }
    if total > MAX_BATCH_LEN {
        return Err(too_long("batch", total));
    }
    Ok(total)
}
