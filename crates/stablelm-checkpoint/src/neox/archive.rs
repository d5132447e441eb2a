//! The zip container of PyTorch files: where each record lies, and whether its checksum holds.
//!
//! Sizes and checksums come from the central directory, because PyTorch leaves them out of the local headers. Records
//! are stored, never compressed, so that their bytes can be used where they lie. A record's CRC-32 is compared when it
//! is first read: that costs one pass over bytes that are about to be read anyway, and no byte of a damaged record is
//! ever handed on. (Doing it all while planning would read a large checkpoint twice.)

use std::collections::HashMap;
use std::io::{self, Cursor, Read};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use zip::{CompressionMethod, ZipArchive};

use crate::mapped::MappedFile;

/// First bytes of what PyTorch wrote before 1.6: a pickle of the number `0x1950a86a20f9469cfc6c`.
const LEGACY_MAGIC: &[u8] = &[
    0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19,
];

/// Why a PyTorch file's container could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// The stream format of PyTorch before 1.6.
    #[error(
        "the file has the legacy stream format of PyTorch 1.5 and older, expected a zip archive as PyTorch 1.6 and \
         newer write it"
    )]
    Legacy,
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
    /// A compressed record, which PyTorch never writes.
    #[error(
        "record `{record}` is compressed ({method}), expected stored bytes as PyTorch writes them"
    )]
    Compressed {
        /// The record.
        record: String,
        /// The zip compression method.
        method: String,
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
    #[error("record `{record}` is damaged: its CRC-32 does not match")]
    Checksum {
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
    zip: ZipArchive<Cursor<MappedFile>>,
    /// By name without the leading folder.
    records: HashMap<String, Record>,
}

#[derive(Debug)]
struct Record {
    index: usize,
    bytes: Range<usize>,
    checked: AtomicBool,
}

impl Archive {
    pub(crate) fn mapped(&self) -> &MappedFile {
        &self.file
    }

    /// Finds the records of a file and refuses those it can't use as they lie.
    pub(crate) fn new(file: MappedFile) -> Result<Self, ArchiveError> {
        let bytes = file.bytes();
        if bytes.starts_with(LEGACY_MAGIC) {
            return Err(ArchiveError::Legacy);
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
            records.insert(name, record);
        }
        let archive = Self { file, zip, records };
        if let Ok(order) = archive.record("byteorder")
            && order != b"little"
        {
            return Err(ArchiveError::BigEndian);
        }
        Ok(archive)
    }

    /// Returns a record's bytes, after comparing their checksum when it has not been done yet.
    pub(crate) fn record(&self, name: &str) -> Result<&[u8], ArchiveError> {
        let record = self.find(name)?;
        if !record.checked.load(Ordering::Relaxed) {
            self.check(name, record.index)?;
            record.checked.store(true, Ordering::Relaxed);
        }
        Ok(&self.file.bytes()[record.bytes.clone()])
    }

    /// Returns a record's size without reading it.
    pub(crate) fn record_len(&self, name: &str) -> Result<usize, ArchiveError> {
        Ok(self.find(name)?.bytes.len())
    }

    fn find(&self, name: &str) -> Result<&Record, ArchiveError> {
        self.records
            .get(name)
            .ok_or_else(|| ArchiveError::MissingRecord {
                record: name.to_owned(),
            })
    }

    fn check(&self, name: &str, index: usize) -> Result<(), ArchiveError> {
        let damaged = |source| ArchiveError::Checksum {
            record: name.to_owned(),
            source,
        };
        // Clones share the bytes and the directory.
        let mut zip = self.zip.clone();
        let mut reader = zip.by_index(index).map_err(|error| damaged(error.into()))?;
        let mut buffer = vec![0; 1 << 16];
        // The reader compares the checksum when it reaches the end.
        while reader.read(&mut buffer).map_err(damaged)? > 0 {}
        Ok(())
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
    if entry.compression() != CompressionMethod::Stored || entry.size() != entry.compressed_size() {
        return Err(ArchiveError::Compressed {
            record: name,
            method: entry.compression().to_string(),
        });
    }
    let bytes = entry.data_start().and_then(|start| {
        let start = usize::try_from(start).ok()?;
        let end = start.checked_add(usize::try_from(entry.size()).ok()?)?;
        (end <= file_len).then_some(start..end)
    });
    let Some(bytes) = bytes else {
        return Err(ArchiveError::OutOfFile {
            record: name,
            len: entry.size(),
        });
    };
    let checked = AtomicBool::new(false);
    Ok((
        name,
        Record {
            index,
            bytes,
            checked,
        },
    ))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use zip::write::{SimpleFileOptions, ZipWriter};

    use super::*;

    fn archive(records: &[(&str, &[u8])]) -> Vec<u8> {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, content) in records {
            let name = format!("x/{name}");
            zip.start_file(name, SimpleFileOptions::default()).unwrap();
            zip.write_all(content).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }

    #[track_caller]
    fn check(bytes: &[u8], expected: &str) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        let archive = Archive::new(MappedFile::open(file.path()).unwrap());
        let found = archive.and_then(|archive| archive.record("data/0").map(<[u8]>::to_vec));
        match found {
            Ok(bytes) => assert_eq!(String::from_utf8_lossy(&bytes), expected),
            Err(error) => assert!(error.to_string().contains(expected), "{error}"),
        }
    }

    #[test]
    fn records_are_found_checked_and_refused_by_name() {
        let good = archive(&[
            ("data.pkl", b"."),
            ("byteorder", b"little"),
            ("data/0", b"numbers"),
        ]);
        check(&good, "numbers");
        check(&archive(&[("data.pkl", b".")]), "no record `data/0`");
        check(
            &archive(&[("byteorder", b"big"), ("data/0", b"")]),
            "big-endian",
        );
        check(&good[..good.len() - 30], "not a complete zip");
        check(b"", "not a complete zip");
        check(b"\x80\x02}.", "bare pickle");
        check(LEGACY_MAGIC, "legacy stream format");

        let mut damaged = good.clone();
        let place = good
            .windows(7)
            .position(|window| window == b"numbers")
            .unwrap();
        damaged[place] ^= 1;
        check(&damaged, "record `data/0` is damaged");
    }
}
