//! The container of PyTorch files: where each record lies, and whether its checksum holds.
//!
//! Two kinds are read. Since PyTorch 1.6 files are zip archives: sizes and checksums come from the central directory,
//! because PyTorch leaves them out of the local headers. Records are stored, so that their bytes can be used where they
//! lie; a compressed one, which PyTorch never writes, is unpacked into memory. A record's CRC-32 is taken of its bytes as
//! they are first used, while they are in a core's cache, and compared with the last of them: whoever reads a damaged
//! record to its end gets an error. (Doing it all while planning would read a large checkpoint twice.)
//!
//! Before, they were a stream: four pickles, the keys of the storages, then each storage's length and bytes. There is
//! no checksum; lengths are held against the file.

use std::collections::HashMap;
use std::io::{self, Cursor, Read};
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use zip::{CompressionMethod, ZipArchive};

use crate::mapped::MappedFile;
use crate::neox::pickle::{PickleError, Value, parse_from};

/// First bytes of what PyTorch wrote before 1.6: a pickle of the number `0x1950a86a20f9469cfc6c`.
const LEGACY_MAGIC: &[u8] = &[
    0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19,
];
/// Bytes of a record after whose checksum their pages are let go.
const CHECKED_LEN: usize = 8 << 20;
/// Largest compressed record that is unpacked: it must fit in memory.
const MAX_INFLATED_LEN: u64 = 4 << 30;

/// Why a PyTorch file's container could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// The stream format of PyTorch before 1.6, broken.
    #[error(
        "the file has the legacy stream format of PyTorch 1.5 and older, but {what} is not as it should be"
    )]
    Legacy {
        /// What is wrong.
        what: &'static str,
    },
    /// One of the stream's pickles can't be read.
    #[error("failed to read a pickle of the legacy stream format")]
    LegacyPickle(#[source] PickleError),
    /// A pickle without a container.
    #[error("the file is a bare pickle, expected a zip archive as PyTorch 1.6 and newer write it")]
    BarePickle,
    /// No directory of records, as in a file that is cut short.
    #[error("the file is not a complete zip archive")]
    Zip(#[source] io::Error),
    /// Two records have one name.
    #[error("the archive holds two records of one name")]
    DuplicateRecord,
    /// A record that should be there is not.
    #[error("the archive has no record `{record}`")]
    MissingRecord {
        /// The record.
        record: String,
    },
    /// A record that is compressed in a way that is not read, or is too large to be unpacked.
    #[error(
        "record `{record}` of {len} bytes is compressed ({method}), expected stored bytes as PyTorch writes them"
    )]
    Compressed {
        /// The record.
        record: String,
        /// The zip compression method.
        method: String,
        /// Its size when unpacked.
        len: u64,
    },
    /// A record claims bytes that the file does not have.
    #[error("record `{record}` of {len} bytes reaches over the end of the file")]
    OutOfFile {
        /// The record.
        record: String,
        /// Its size as stated.
        len: u64,
    },
    /// The bytes don't have the checksum they were written with.
    #[error("record `{record}` is damaged: its CRC-32 is {found:08x}, expected {expected:08x}")]
    Checksum {
        /// The record.
        record: String,
        /// The checksum in the directory.
        expected: u32,
        /// The checksum of the bytes.
        found: u32,
    },
    /// A compressed record can't be unpacked.
    #[error("record `{record}` is damaged: it can't be unpacked")]
    Inflate {
        /// The record.
        record: String,
        /// What the reader says.
        #[source]
        source: io::Error,
    },
    /// Storages in big-endian order.
    #[error(
        "the file was written on a big-endian machine, expected `little` in its record `byteorder`"
    )]
    BigEndian,
}

/// A PyTorch file with its records found.
#[derive(Debug)]
pub(crate) struct Archive {
    file: MappedFile,
    zip: Option<ZipArchive<Cursor<MappedFile>>>,
    /// By name without the leading folder.
    records: HashMap<String, Record>,
}

#[derive(Debug)]
struct Record {
    content: Content,
    /// Held while it is unpacked, so that it is unpacked once.
    busy: Mutex<()>,
}

#[derive(Debug)]
enum Content {
    /// Bytes of the file, and their checksum if it states one.
    Stored {
        bytes: Range<usize>,
        checksum: Option<Checksum>,
    },
    Deflated {
        index: usize,
        len: usize,
        inflated: OnceLock<Vec<u8>>,
    },
}

/// A record's CRC-32, taken from its first byte to its last as they are first used: bytes that have just been read are read
/// again at little cost.
#[derive(Debug)]
struct Checksum {
    expected: u32,
    /// How many bytes are in it.
    taken: AtomicUsize,
    hasher: Mutex<crc32fast::Hasher>,
    /// Of all bytes.
    found: OnceLock<u32>,
}

impl Checksum {
    fn new(expected: u32) -> Self {
        Self {
            expected,
            taken: AtomicUsize::new(0),
            hasher: Mutex::default(),
            found: OnceLock::new(),
        }
    }

    /// Takes the first `end` of the record's bytes. Returns the checksum when it is known and not the one expected.
    fn take(&self, bytes: &[u8], end: usize, file: &MappedFile) -> Option<u32> {
        let is_last = end == bytes.len();
        if self.taken.load(Ordering::Acquire) < end || (is_last && self.found.get().is_none()) {
            let mut hasher = self.hasher.lock().unwrap_or_else(PoisonError::into_inner);
            let start = self.taken.load(Ordering::Relaxed).min(end);
            for part in bytes[start..end].chunks(CHECKED_LEN) {
                hasher.update(part);
                if part.len() == CHECKED_LEN {
                    file.release(part);
                }
            }
            self.taken.fetch_max(end, Ordering::Release);
            if is_last {
                self.found.get_or_init(|| hasher.clone().finalize());
            }
        }
        let found = self.found.get().copied();
        found.filter(|&found| found != self.expected)
    }
}

impl Record {
    fn new(content: Content) -> Self {
        Self {
            content,
            busy: Mutex::new(()),
        }
    }
}

impl Archive {
    pub(crate) fn mapped(&self) -> &MappedFile {
        &self.file
    }

    pub(crate) fn is_legacy(&self) -> bool {
        self.zip.is_none()
    }

    /// Finds the records of a file and refuses those it can't use; `path` is only named in refusals.
    pub(crate) fn new(path: &Path, file: MappedFile) -> Result<Self, ArchiveError> {
        let bytes = file.bytes();
        if bytes.starts_with(LEGACY_MAGIC) {
            let records = legacy_records(path, bytes)?;
            return Ok(Self {
                file,
                zip: None,
                records,
            });
        }
        if bytes.first() == Some(&0x80) {
            return Err(ArchiveError::BarePickle);
        }
        let mut zip = ZipArchive::new(Cursor::new(file.clone()))
            .map_err(|error| ArchiveError::Zip(error.into()))?;
        if zip.has_duplicate_names() {
            return Err(ArchiveError::DuplicateRecord);
        }
        let mut records = HashMap::with_capacity(zip.len());
        for index in 0..zip.len() {
            let (name, record) = find_record(&mut zip, index, bytes.len())?;
            if records.insert(name, record).is_some() {
                return Err(ArchiveError::DuplicateRecord);
            }
        }
        let archive = Self {
            file,
            zip: Some(zip),
            records,
        };
        if let Ok(order) = archive.record("byteorder")
            && order != b"little"
        {
            return Err(ArchiveError::BigEndian);
        }
        Ok(archive)
    }

    /// Returns a record's bytes, after comparing their checksum when it has not been done yet.
    pub(crate) fn record(&self, name: &str) -> Result<&[u8], ArchiveError> {
        self.record_for(name, usize::MAX)
    }

    /// Returns a record's bytes for a use of the first `end`: the checksum is compared once all of them are used.
    pub(crate) fn record_for(&self, name: &str, end: usize) -> Result<&[u8], ArchiveError> {
        let record = self.find(name)?;
        match &record.content {
            Content::Stored { bytes, checksum } => {
                let bytes = &self.file.bytes()[bytes.clone()];
                let Some(checksum) = checksum else {
                    return Ok(bytes);
                };
                match checksum.take(bytes, end.min(bytes.len()), &self.file) {
                    None => Ok(bytes),
                    Some(found) => Err(ArchiveError::Checksum {
                        record: name.to_owned(),
                        expected: checksum.expected,
                        found,
                    }),
                }
            }
            Content::Deflated {
                index,
                len,
                inflated,
            } => {
                let _held = record.busy.lock().unwrap_or_else(PoisonError::into_inner);
                if inflated.get().is_none() {
                    let unpacked = self.inflate(name, *index, *len)?;
                    drop(inflated.set(unpacked));
                }
                Ok(inflated.get().map_or(&[], Vec::as_slice))
            }
        }
    }

    /// Returns a record's size without reading it.
    pub(crate) fn record_len(&self, name: &str) -> Result<usize, ArchiveError> {
        Ok(match &self.find(name)?.content {
            Content::Stored { bytes, .. } => bytes.len(),
            Content::Deflated { len, .. } => *len,
        })
    }

    fn find(&self, name: &str) -> Result<&Record, ArchiveError> {
        self.records
            .get(name)
            .ok_or_else(|| ArchiveError::MissingRecord {
                record: name.to_owned(),
            })
    }

    fn inflate(&self, name: &str, index: usize, len: usize) -> Result<Vec<u8>, ArchiveError> {
        let damaged = |source| ArchiveError::Inflate {
            record: name.to_owned(),
            source,
        };
        // Clones share the bytes and the directory.
        let zip = self.zip.clone();
        let mut zip = zip.ok_or_else(|| damaged(io::ErrorKind::Unsupported.into()))?;
        let mut reader = zip.by_index(index).map_err(|error| damaged(error.into()))?;
        let mut output = Vec::new();
        // The reader compares the checksum when it reaches the end.
        let limit = len as u64 + 1;
        let read = reader.by_ref().take(limit).read_to_end(&mut output);
        if read.map_err(damaged)? == len {
            Ok(output)
        } else {
            Err(damaged(io::ErrorKind::UnexpectedEof.into()))
        }
    }
}

fn find_record(
    zip: &mut ZipArchive<Cursor<MappedFile>>,
    index: usize,
    file_len: usize,
) -> Result<(String, Record), ArchiveError> {
    let unreadable = |error: zip::result::ZipError| ArchiveError::Zip(error.into());
    let entry = zip.by_index_raw(index).map_err(unreadable)?;
    let full_name = entry.name().map_err(unreadable)?.into_owned();
    // The leading folder is the file's name at the time of saving, or `archive`.
    let name = full_name
        .split_once('/')
        .map_or(full_name.as_str(), |(_, rest)| rest)
        .to_owned();
    let (method, len) = (entry.compression(), entry.size());
    if method == CompressionMethod::Deflated
        && !entry.encrypted()
        && len <= MAX_INFLATED_LEN
        && let Ok(len) = usize::try_from(len)
    {
        let content = Content::Deflated {
            index,
            len,
            inflated: OnceLock::new(),
        };
        return Ok((name, Record::new(content)));
    }
    if method != CompressionMethod::Stored || len != entry.compressed_size() {
        return Err(ArchiveError::Compressed {
            record: name,
            method: method.to_string(),
            len,
        });
    }
    let bytes = entry.data_start().and_then(|start| {
        let start = usize::try_from(start).ok()?;
        let end = start.checked_add(usize::try_from(len).ok()?)?;
        (end <= file_len).then_some(start..end)
    });
    let Some(bytes) = bytes else {
        return Err(ArchiveError::OutOfFile { record: name, len });
    };
    let content = Content::Stored {
        bytes,
        checksum: Some(Checksum::new(entry.crc32())),
    };
    Ok((name, Record::new(content)))
}

/// Finds the object's pickle and the storages of the stream format.
fn legacy_records(path: &Path, bytes: &[u8]) -> Result<HashMap<String, Record>, ArchiveError> {
    let broken = |what| ArchiveError::Legacy { what };
    let mut position = 0;
    let mut pickles = Vec::with_capacity(5);
    // The magic number, the protocol, facts of the system, the object, the keys of its storages.
    for _ in 0..5 {
        let (pickle, len) =
            parse_from(&bytes[position..], path).map_err(ArchiveError::LegacyPickle)?;
        pickles.push((position..position + len, pickle));
        position += len;
    }
    let (_, protocol) = &pickles[1];
    if protocol.size(protocol.root()) != Some(1001) {
        return Err(broken("its protocol"));
    }
    let (_, system) = &pickles[2];
    let order = system.get(system.root(), "little_endian");
    if order.is_some_and(|id| system.truth(id) == Some(false)) {
        return Err(ArchiveError::BigEndian);
    }
    let (_, keys) = &pickles[4];
    let Value::List(list) = keys.value(keys.root()) else {
        return Err(broken("the list of its storages"));
    };
    let (object_bytes, object) = &pickles[3];
    let widths: HashMap<&str, usize> = object
        .storages()
        .map(|storage| (storage.key, storage.dtype.width()))
        .collect();
    let stored = |bytes| {
        Record::new(Content::Stored {
            bytes,
            checksum: None,
        })
    };
    let mut records = HashMap::with_capacity(list.len() + 1);
    records.insert("data.pkl".to_owned(), stored(object_bytes.clone()));
    for &id in list {
        let key = keys.text(id).ok_or(broken("the key of a storage"))?;
        let width = widths.get(key).ok_or(broken("the key of a storage"))?;
        let rest = bytes.get(position..).unwrap_or_default();
        let count = rest
            .first_chunk::<8>()
            .ok_or(broken("the length of a storage"))?;
        let len = usize::try_from(u64::from_le_bytes(*count)).ok();
        let end = len
            .and_then(|count| count.checked_mul(*width))
            .and_then(|len| len.checked_add(position + 8))
            .filter(|&end| end <= bytes.len())
            .ok_or(broken("the length of a storage"))?;
        let name = format!("data/{key}");
        if records.insert(name, stored(position + 8..end)).is_some() {
            return Err(ArchiveError::DuplicateRecord);
        }
        position = end;
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use zip::write::{SimpleFileOptions, ZipWriter};

    use super::*;

    fn archive(records: &[(&str, &[u8])], method: CompressionMethod) -> Vec<u8> {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        let options = SimpleFileOptions::default().compression_method(method);
        for (name, content) in records {
            zip.start_file(format!("x/{name}"), options).unwrap();
            zip.write_all(content).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }

    #[test]
    fn a_checksum_is_compared_with_the_last_bytes_in_whatever_parts_they_are_used() {
        let content: Vec<u8> = (0..40_000u32).map(|i| (i % 251) as u8).collect();
        let whole = archive(&[("data/0", &content)], CompressionMethod::Stored);
        let mut damaged = whole.clone();
        let at = damaged.windows(40).position(|part| part == &content[..40]);
        damaged[at.unwrap() + 123] ^= 1;
        for (bytes, fails) in [(&whole, false), (&damaged, true)] {
            for ends in [
                [1_000, 20_000, 40_000],
                [30_000, 10, usize::MAX],
                [0, 7, 50_000],
            ] {
                let file = tempfile::NamedTempFile::new().unwrap();
                std::fs::write(file.path(), bytes).unwrap();
                let mapped = MappedFile::open(file.path()).unwrap();
                let archive = Archive::new(file.path(), mapped).unwrap();
                let [first, second, last] = ends.map(|end| archive.record_for("data/0", end));
                assert_eq!(first.unwrap().len(), content.len());
                assert!(second.is_ok());
                assert_eq!(last.is_err(), fails);
                // From then on nothing of it is handed on.
                assert_eq!(archive.record_for("data/0", 1).is_err(), fails);
                assert_eq!(archive.record("data/0").is_err(), fails);
            }
        }
    }

    #[track_caller]
    fn check(bytes: &[u8], expected: &str) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        let archive = Archive::new(file.path(), MappedFile::open(file.path()).unwrap());
        let found = archive.and_then(|archive| archive.record("data/0").map(<[u8]>::to_vec));
        match found {
            Ok(bytes) => assert_eq!(String::from_utf8_lossy(&bytes), expected),
            Err(error) => assert!(error.to_string().contains(expected), "{error}"),
        }
    }

    #[test]
    fn records_are_found_checked_and_refused_by_name() {
        let records: [(&str, &[u8]); 3] = [
            ("data.pkl", b"."),
            ("byteorder", b"little"),
            ("data/0", b"numbers, numbers, numbers"),
        ];
        let good = archive(&records, CompressionMethod::Stored);
        check(&good, "numbers, numbers, numbers");
        let packed = archive(&records, CompressionMethod::Deflated);
        assert_ne!(packed, good);
        check(&packed, "numbers, numbers, numbers");
        let stored = |records: &[(&str, &[u8])]| archive(records, CompressionMethod::Stored);
        check(&stored(&[("data.pkl", b".")]), "no record `data/0`");
        check(
            &stored(&[("byteorder", b"big"), ("data/0", b"")]),
            "big-endian",
        );
        check(&good[..good.len() - 30], "not a complete zip");
        check(b"", "not a complete zip");
        check(b"\x80\x02}.", "bare pickle");
        check(LEGACY_MAGIC, "legacy stream format");

        let mut damaged = good.clone();
        let place = good.windows(7).position(|window| window == b"numbers");
        damaged[place.unwrap()] ^= 1;
        check(&damaged, "record `data/0` is damaged");
    }
}
