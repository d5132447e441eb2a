//! Arrow IPC, files and streams, with a column of text.
//!
//! The bytes of each message are framed and checked here, and only then decoded by the library:
//! it trusts the lengths that a message claims. A batch is held as a whole, for its columns lie one
//! behind another.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::buffer::{Buffer, MutableBuffer};
use arrow::datatypes::SchemaRef;
use arrow::ipc::convert::try_fb_to_schema;
use arrow::ipc::reader::{FileDecoder, read_footer_length};
use arrow::ipc::{
    self, Block, Message, MessageHeader, MetadataVersion, root_as_footer, root_as_message,
};

use crate::read::container::Container;
use crate::read::limits::{MAX_BATCH_LEN, guarded, is_bomb};
use crate::read::schema::Schema;
use crate::read::table::{Columns, TableRows};
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
    decoder: FileDecoder,
    columns: Arc<Columns>,
    /// Messages of a file that are left, the next one last; a stream has one after another.
    blocks: Option<Vec<Place>>,
    /// The next row.
    row: u64,
    /// Rows before this one are passed over.
    start: u64,
    /// Decompressed bytes of all dictionaries, which stay.
    dictionary_len: u64,
}

/// Where a message lies.
#[derive(Clone, Copy, Debug)]
struct Place {
    offset: u64,
    /// Length of the head with what stands before it.
    head_len: u64,
    body_len: u64,
}

impl ArrowBatches {
    /// Opens a file, checks its columns, and passes over the batches before the row `start`.
    pub(crate) fn open(
        path: &Path,
        container: Container,
        schema: &Schema,
        start: u64,
    ) -> Result<Self, ReadError> {
        let file = File::open(path).map_err(ReadError::io(path))?;
        let len = file.metadata().map_err(ReadError::io(path))?.len();
        let mut source = Source {
            file,
            len,
            offset: 0,
        };
        let opened = guarded(|| match container {
            Container::ArrowFile => source.open_file(),
            _ => source.open_stream(),
        });
        let (found, blocks) = opened.map_err(|source| ReadError::Arrow {
            path: path.to_path_buf(),
            source,
        })?;
        let columns = Columns::find(path, schema, found.fields())?;
        // Footers name other versions than the messages do, and only those of the messages count;
        // with the first version the library does not compare them.
        let decoder =
            FileDecoder::new(found, MetadataVersion::V1).with_projection(columns.places.clone());
        Ok(Self {
            path: path.to_path_buf(),
            source,
            decoder,
            columns: Arc::new(columns),
            blocks,
            row: 0,
            start,
            dictionary_len: 0,
        })
    }

    /// The next rows with the number of the first one.
    pub(crate) fn next_batch(&mut self) -> Result<Option<(u64, TableRows)>, ReadError> {
        let found = guarded(|| self.read_batch());
        found.map_err(|source| ReadError::Arrow {
            path: self.path.clone(),
            source,
        })
    }

    /// The place in the file.
    pub(crate) fn bytes_read(&self) -> u64 {
        self.source.offset
    }

    fn read_batch(&mut self) -> Result<Option<(u64, TableRows)>, ColumnarError> {
        loop {
            let place = match &mut self.blocks {
                Some(blocks) => blocks.pop(),
                None => self.source.next_place()?,
            };
            let Some(place) = place else {
                return Ok(None);
            };
            let head = self.source.read_head(place)?;
            let message = parse_head(&head)?;
            let rows = message.header_as_record_batch().map(|batch| batch.length());
            if let Some(rows) = rows {
                let rows = u64::try_from(rows)
                    .map_err(|_| ColumnarError::refused("a batch of negative length".to_owned()))?;
                if self.row.saturating_add(rows) <= self.start {
                    self.row = self.row.saturating_add(rows);
                    self.source.offset = place.offset + place.head_len + place.body_len;
                    continue;
                }
            }
            let buffer = self.source.read_body(place, &head)?;
            if let Some(batch) = self.decode(&message, place, &buffer)? {
                let row = self.row;
                self.row += batch.num_rows() as u64;
                let columns = self.columns.clone();
                let batch = Some(batch);
                return Ok(Some((row, TableRows { batch, columns })));
            }
        }
    }

    /// Decodes a batch of rows, or keeps a dictionary.
    fn decode(
        &mut self,
        message: &Message<'_>,
        place: Place,
        buffer: &Buffer,
    ) -> Result<Option<RecordBatch>, ColumnarError> {
        let body = &buffer[to_usize(place.head_len)..];
        let block = Block::new(
            0,
            i32::try_from(place.head_len).expect("a head is limited"),
            place.body_len.cast_signed(),
        );
        match message.header_type() {
            MessageHeader::RecordBatch => {
                let batch = message.header_as_record_batch();
                let batch = batch.ok_or_else(|| no_header("a batch"))?;
                check_buffers(&batch, body)?;
                let batch = self.decoder.read_record_batch(&block, buffer)?;
                Ok(batch.filter(|batch| batch.num_rows() > 0))
            }
            MessageHeader::DictionaryBatch => {
                let dictionary = message.header_as_dictionary_batch();
                let batch = dictionary.and_then(|dictionary| dictionary.data());
                let batch = batch.ok_or_else(|| no_header("a dictionary"))?;
                self.dictionary_len += check_buffers(&batch, body)?;
                if self.dictionary_len > MAX_BATCH_LEN {
                    return Err(ColumnarError::refused(
                        "its dictionaries need too much memory".to_owned(),
                    ));
                }
                self.decoder.read_dictionary(&block, buffer)?;
                Ok(None)
            }
            MessageHeader::NONE => Ok(None),
            other => Err(ColumnarError::refused(format!(
                "a message of type {other:?} among the rows"
            ))),
        }
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
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<(), ColumnarError> {
        self.file.seek(SeekFrom::Start(offset)).map_err(to_error)?;
        self.file.read_exact(buffer).map_err(to_error)?;
        self.offset = offset + buffer.len() as u64;
        Ok(())
    }

    /// Reads the footer of a file, which says where its messages lie.
    fn open_file(&mut self) -> Result<Opened, ColumnarError> {
        let cut = || ColumnarError::refused("it is cut: a file ends with its footer".to_owned());
        let mut tail = [0; TAIL_LEN];
        let end = self.len.checked_sub(TAIL_LEN as u64).ok_or_else(cut)?;
        self.read_at(end, &mut tail)?;
        let footer_len = read_footer_length(tail)? as u64;
        if footer_len > MAX_HEAD_LEN {
            return Err(too_long("footer", footer_len));
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
        let places: Result<Vec<_>, _> = dictionaries
            .chain(batches)
            .map(|block| {
                let as_len = |number: i64| u64::try_from(number).ok();
                let place = Place {
                    offset: as_len(block.offset()).ok_or_else(cut)?,
                    head_len: as_len(block.metaDataLength().into()).ok_or_else(cut)?,
                    body_len: as_len(block.bodyLength()).ok_or_else(cut)?,
                };
                self.check(place).map(|()| place)
            })
            .collect();
        let mut places = places?;
        places.reverse();
        self.offset = MAGIC_LEN;
        Ok((schema, Some(places)))
    }

    /// Reads the first message of a stream, its schema.
    fn open_stream(&mut self) -> Result<Opened, ColumnarError> {
        let place = self.next_place()?.ok_or_else(|| no_header("a schema"))?;
        let head = self.read_head(place)?;
        let message = parse_head(&head)?;
        let schema = message.header_as_schema();
        let schema = to_schema(&schema.ok_or_else(|| no_header("a schema"))?)?;
        self.offset = place.offset + place.head_len + place.body_len;
        Ok((schema, None))
    }

    /// Where the next message of a stream lies; nothing at its end.
    fn next_place(&mut self) -> Result<Option<Place>, ColumnarError> {
        let offset = self.offset;
        if offset >= self.len {
            return Ok(None);
        }
        let mut length = [0; 4];
        self.read_at(offset, &mut length)?;
        let mut prefix_len = 4;
        if length == CONTINUATION {
            self.read_at(offset + 4, &mut length)?;
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

    fn read_head(&mut self, place: Place) -> Result<Vec<u8>, ColumnarError> {
        let mut head = vec![0; to_usize(place.head_len)];
        self.read_at(place.offset, &mut head)?;
        Ok(head)
    }

    /// The whole message in one buffer.
    fn read_body(&mut self, place: Place, head: &[u8]) -> Result<Buffer, ColumnarError> {
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

fn to_error(error: std::io::Error) -> ColumnarError {
    arrow::error::ArrowError::from(error).into()
}

fn no_header(what: &str) -> ColumnarError {
    ColumnarError::refused(format!("{what} was expected, and there is none"))
}

fn too_long(what: &str, len: u64) -> ColumnarError {
    ColumnarError::refused(format!("a {what} of {len} bytes is too long"))
}

fn to_schema(schema: &ipc::Schema<'_>) -> Result<SchemaRef, ColumnarError> {
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
fn check_buffers(batch: &ipc::RecordBatch<'_>, body: &[u8]) -> Result<u64, ColumnarError> {
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
