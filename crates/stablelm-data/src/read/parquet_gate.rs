//! A parquet file whose claims are checked before the library believes them.
//!
//! The library reserves what a header says, up to gigabytes, before it decompresses anything, and
//! follows a schema by recursion. Here each read is held against the size of the file, and each
//! page header against what pages have.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use ::parquet::errors::{ParquetError, Result};
use ::parquet::file::reader::{ChunkReader, Length};

use crate::read::limits::{MAX_BATCH_LEN, is_bomb};
use crate::read::thrift::{PageClaims, page_claims, schema_is_sane};

/// Longest footer that is read.
const MAX_FOOTER_LEN: u64 = 16 << 20;
/// Length of the footer's length and the magic.
const TAIL_LEN: u64 = 8;
/// Bytes of a file that are looked at for a page header.
const HEADER_LEN: usize = 64 << 10;
/// Most values of a dictionary; writers stop far below.
const MAX_DICTIONARY_VALUES: i64 = 1 << 22;

/// An open file, shared by all that read columns of it.
#[derive(Clone)]
pub(crate) struct Gate {
    file: Arc<File>,
    len: u64,
    /// Bytes of pages that were let through since the last batch.
    batch_len: Arc<AtomicU64>,
    failure: Arc<Mutex<Option<io::Error>>>,
}

impl Gate {
    /// Opens a file and checks its footer.
    pub(crate) fn open(file: File) -> io::Result<std::result::Result<Self, String>> {
        let len = file.metadata()?.len();
        let gate = Self {
            file: Arc::new(file),
            len,
            batch_len: Arc::default(),
            failure: Arc::default(),
        };
        Ok(gate.check_footer()?.map(|()| gate))
    }

    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Starts counting anew.
    pub(crate) fn start_batch(&self) {
        self.batch_len.store(0, Ordering::Relaxed);
    }

    /// What the system said when it could not read. The library makes an error of its own of that,
    /// which looks like damage, and damage is what a run goes on after.
    pub(crate) fn take_failure(&self) -> Option<io::Error> {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.take()
    }

    /// Keeps an error of the system for [`Self::take_failure`].
    fn noting<T>(&self, result: io::Result<T>) -> io::Result<T> {
        result.map_err(|error| {
            let copy = io::Error::new(error.kind(), error.to_string());
            let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
            *failure = Some(error);
            copy
        })
    }

    /// Says what is wrong with the footer; what is no footer is left to the library.
    fn check_footer(&self) -> io::Result<std::result::Result<(), String>> {
        let Some(end) = self.len.checked_sub(TAIL_LEN) else {
            return Ok(Ok(()));
        };
        let mut length = [0; 4];
        self.read_at(end)?.read_exact(&mut length)?;
        let length = u64::from(u32::from_le_bytes(length));
        if length > MAX_FOOTER_LEN {
            return Ok(Err(format!(
                "its footer has {length} bytes, more than the limit of {MAX_FOOTER_LEN}"
            )));
        }
        let Some(start) = end.checked_sub(length) else {
            return Ok(Ok(()));
        };
        let mut footer = Vec::new();
        self.read_at(start)?.take(length).read_to_end(&mut footer)?;
        Ok(if schema_is_sane(&footer) {
            Ok(())
        } else {
            Err("its schema is too large or nested too deeply".to_owned())
        })
    }

    fn read_at(&self, start: u64) -> io::Result<File> {
        self.noting(self.file.try_clone().and_then(|mut file| {
            file.seek(SeekFrom::Start(start))?;
            Ok(file)
        }))
    }
}

impl Length for Gate {
    fn len(&self) -> u64 {
        self.len
    }
}

impl ChunkReader for Gate {
    type T = HeaderReader;

    fn get_read(&self, start: u64) -> Result<HeaderReader> {
        Ok(HeaderReader {
            inner: BufReader::with_capacity(1 << 10, self.read_at(start)?),
            gate: self.clone(),
            start,
            // The end of the file is read in the same way, and is no header.
            is_checked: start == self.len.saturating_sub(TAIL_LEN),
        })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<bytes::Bytes> {
        if start
            .checked_add(length as u64)
            .is_none_or(|end| end > self.len)
        {
            return Err(ParquetError::EOF(format!(
                "{length} bytes at {start} of a file of {} bytes",
                self.len
            )));
        }
        let mut buffer = Vec::with_capacity(length);
        let mut bytes = self.read_at(start)?.take(length as u64);
        self.noting(bytes.read_to_end(&mut buffer).and_then(|read| {
            // It was long enough when it was opened.
            let cut = || io::Error::new(io::ErrorKind::UnexpectedEof, "the file was cut");
            (read == length).then_some(()).ok_or_else(cut)
        }))?;
        Ok(buffer.into())
    }
}

/// Reads a page header, after a look at it.
pub(crate) struct HeaderReader {
    inner: BufReader<File>,
    gate: Gate,
    start: u64,
    is_checked: bool,
}

impl HeaderReader {
    fn check(&mut self) -> io::Result<()> {
        let refuse = |message: String| Err(io::Error::new(io::ErrorKind::InvalidData, message));
        let gate = self.gate.clone();
        let mut claims = page_claims(gate.noting(self.inner.fill_buf())?);
        if claims.is_none() {
            // A header with long statistics.
            let mut header = Vec::new();
            let mut bytes = gate.read_at(self.start)?.take(HEADER_LEN as u64);
            gate.noting(bytes.read_to_end(&mut header))?;
            gate.noting(self.inner.seek(SeekFrom::Start(self.start)))?;
            claims = page_claims(&header);
        }
        let Some(PageClaims {
            uncompressed_len,
            compressed_len,
            dictionary_values,
        }) = claims
        else {
            return refuse(format!("no page header at byte {}", self.start));
        };
        let (Ok(uncompressed), Ok(compressed)) = (
            u64::try_from(uncompressed_len),
            u64::try_from(compressed_len),
        ) else {
            return refuse(format!("a page of negative length at byte {}", self.start));
        };
        if is_bomb(uncompressed, compressed) {
            return refuse(format!(
                "a page at byte {} claims to hold {uncompressed} bytes in {compressed}",
                self.start
            ));
        }
        // Whatever a dictionary holds for us has four bytes or more a value.
        if dictionary_values > MAX_DICTIONARY_VALUES.min(uncompressed_len / 4) {
            return refuse(format!(
                "a page at byte {} claims {dictionary_values} values in {uncompressed} bytes",
                self.start
            ));
        }
        let before = self
            .gate
            .batch_len
            .fetch_add(uncompressed, Ordering::Relaxed);
        if before.saturating_add(uncompressed) > MAX_BATCH_LEN {
            return refuse(format!(
                "rows up to byte {} need too much memory",
                self.start
            ));
        }
        Ok(())
    }
}

impl Read for HeaderReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !std::mem::replace(&mut self.is_checked, true) {
            self.check()?;
        }
        let read = self.inner.read(buffer);
        self.gate.noting(read)
    }
}
