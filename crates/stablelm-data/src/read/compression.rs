//! Text files, whatever they are compressed with.
//!
//! The first bytes decide, never the name. Files of several members or frames are read to their
//! end. On the way the compressed bytes are counted, and hashed where the hash is wanted, so that a
//! file is read only once.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::hash::{feed, to_hex};
use crate::read::ReadError;
use crate::read::container::{self, Container};

/// How a text file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
    /// xz.
    Xz,
    /// bzip2.
    Bzip2,
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Xz => "xz",
            Self::Bzip2 => "bzip2",
        })
    }
}

/// The bytes that decide what a file is.
const HEAD_LEN: u64 = 6;
const BUFFER_LEN: usize = 256 * 1024;

/// A stream of text, decompressed.
pub(crate) type TextReader = Box<dyn BufRead + Send>;

/// Recognizes a compression by the first bytes.
pub(crate) fn detect(head: &[u8]) -> Compression {
    match head {
        [0x1f, 0x8b, ..] => Compression::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Compression::Zstd,
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Compression::Xz,
        [b'B', b'Z', b'h', b'1'..=b'9', ..] => Compression::Bzip2,
        _ => Compression::None,
    }
}

/// Opens a text file whose bytes are counted and hashed.
pub(crate) fn open(path: &Path) -> Result<(TextReader, Compression, Tally), ReadError> {
    let tally = Tally::default();
    let (reader, compression) = open_through(path, |inner| TallyReader {
        inner,
        tally: tally.clone(),
    })?;
    Ok((reader, compression, tally))
}

/// Opens a text file whose bytes are only counted.
pub(crate) fn open_counted(path: &Path) -> Result<(TextReader, Count), ReadError> {
    let count = Count::default();
    let (reader, _) = open_through(path, |inner| CountReader {
        inner,
        count: count.clone(),
    })?;
    Ok((reader, count))
}

fn open_through<R: Read + Send + 'static>(
    path: &Path,
    through: impl FnOnce(File) -> R,
) -> Result<(TextReader, Compression), ReadError> {
    let failed = |source| ReadError::Io {
        path: path.to_path_buf(),
        source,
    };
    let file = through(File::open(path).map_err(failed)?);
    let (head, reader) = split_head(BufReader::with_capacity(BUFFER_LEN, file)).map_err(failed)?;
    if container::detect(&head) == Container::Parquet {
        return Err(ReadError::NotJsonLines {
            path: path.to_path_buf(),
        });
    }
    let compression = detect(&head);
    let reader = decompress(compression, Cursor::new(head).chain(reader)).map_err(failed)?;
    Ok((reader, compression))
}

/// Opens a file that is not compressed at a byte of it; only what comes after it is counted.
pub(crate) fn open_plain_at(path: &Path, byte: u64) -> Result<(TextReader, Count), ReadError> {
    let count = Count::default();
    let mut inner = File::open(path).map_err(ReadError::io(path))?;
    inner
        .seek(SeekFrom::Start(byte))
        .map_err(ReadError::io(path))?;
    let file = CountReader {
        inner,
        count: count.clone(),
    };
    let reader = BufReader::with_capacity(BUFFER_LEN, file);
    Ok((Box::new(reader), count))
}

/// Takes the deciding bytes off a stream; fewer come only from a shorter stream.
pub(crate) fn split_head<R: BufRead>(mut reader: R) -> io::Result<(Vec<u8>, R)> {
    let mut head = Vec::new();
    reader.by_ref().take(HEAD_LEN).read_to_end(&mut head)?;
    Ok((head, reader))
}

/// Wraps a compressed stream.
pub(crate) fn decompress<'r>(
    compression: Compression,
    reader: impl BufRead + Send + 'r,
) -> io::Result<Box<dyn BufRead + Send + 'r>> {
    fn buffered<'r>(reader: impl Read + Send + 'r) -> Box<dyn BufRead + Send + 'r> {
        Box::new(BufReader::with_capacity(BUFFER_LEN, reader))
    }
    Ok(match compression {
        Compression::None => Box::new(reader),
        Compression::Gzip => buffered(flate2::bufread::MultiGzDecoder::new(reader)),
        Compression::Zstd => buffered(zstd::stream::read::Decoder::with_buffer(reader)?),
        Compression::Xz => buffered(liblzma::bufread::XzDecoder::new_multi_decoder(reader)),
        Compression::Bzip2 => buffered(bzip2::bufread::MultiBzDecoder::new(reader)),
    })
}

/// Counts and hashes what goes through a reader that others own by now.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally(Arc<Mutex<(u64, Sha256)>>);

impl Tally {
    pub(crate) fn bytes(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0
    }

    fn add(&self, bytes: &[u8]) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.0 += bytes.len() as u64;
        state.1.update(bytes);
    }

    /// Size and hash of the whole file, reading on from where the reader stopped.
    pub(crate) fn finish(&self, path: &Path) -> io::Result<(u64, String)> {
        let (mut bytes, mut hasher) = {
            let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            (state.0, state.1.clone())
        };
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(bytes))?;
        bytes += feed(&mut hasher, &mut file)?;
        Ok((bytes, to_hex(&hasher.finalize())))
    }
}

struct TallyReader {
    inner: File,
    tally: Tally,
}

impl Read for TallyReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.tally.add(&buffer[..read]);
        Ok(read)
    }
}

/// Counts what goes through a reader that others own by now.
#[derive(Clone, Debug, Default)]
pub(crate) struct Count(Arc<AtomicU64>);

impl Count {
    pub(crate) fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

struct CountReader {
    inner: File,
    count: Count,
}

impl Read for CountReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.count.0.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::hash::{sha256, to_hex};

    fn check(bytes: &[u8], compression: Compression, expected: &str) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, bytes).unwrap();
        let (mut reader, found, tally) = open(&path).unwrap();
        assert_eq!(found, compression);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, expected);
        assert_eq!(
            tally.finish(&path).unwrap(),
            (bytes.len() as u64, to_hex(&sha256(bytes)))
        );
    }

    fn gzip(text: &str) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    fn xz(text: &str) -> Vec<u8> {
        let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    fn bzip2(text: &str) -> Vec<u8> {
        let mut encoder = ::bzip2::write::BzEncoder::new(Vec::new(), ::bzip2::Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(text: &str) -> Vec<u8> {
        ::zstd::encode_all(text.as_bytes(), 1).unwrap()
    }

    #[test]
    fn every_compression_is_read_through_all_its_members() {
        check(b"", Compression::None, "");
        check(b"one\n", Compression::None, "one\n");
        for (compress, compression) in [
            (gzip as fn(&str) -> Vec<u8>, Compression::Gzip),
            (zstd, Compression::Zstd),
            (xz, Compression::Xz),
            (bzip2, Compression::Bzip2),
        ] {
            check(&compress("one\n"), compression, "one\n");
            let two = [compress("one\n"), compress("two\n")].concat();
            check(&two, compression, "one\ntwo\n");
        }
    }

    #[test]
    fn a_parquet_file_is_not_taken_for_text() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file.jsonl");
        std::fs::write(&path, b"PAR1....PAR1").unwrap();
        assert!(matches!(open(&path), Err(ReadError::NotJsonLines { .. })));
    }

    #[test]
    fn the_hash_covers_what_was_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let bytes = vec![b'x'; 3 * BUFFER_LEN];
        std::fs::write(&path, &bytes).unwrap();
        let (_, _, tally) = open(&path).unwrap();
        assert_eq!(tally.finish(&path).unwrap().1, to_hex(&sha256(&bytes)));
    }
}
