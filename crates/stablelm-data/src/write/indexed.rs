//! Writes indexed datasets: the `.bin` and `.idx` that GPT-NeoX and Megatron train from.
//!
//! `.bin` holds token ids back to back. `.idx` holds, little-endian: the magic `MMIDIDX\0\0`, a
//! version (u64, 1), the type of a token (u8), the number of sequences (u64), the number of
//! document bounds (u64, documents + 1), the length of each sequence in tokens (i32), its place in
//! the `.bin` in bytes (i64), and the number of the first sequence of each document (i64), closed
//! by the number of sequences. Here each document is one sequence.

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::pipeline::Aside;
use crate::write::WriteError;

pub(crate) const MAGIC: &[u8; 9] = b"MMIDIDX\0\0";
pub(crate) const VERSION: u64 = 1;
/// Where the lengths begin in an index.
pub(crate) const HEADER_LEN: u64 = 34;
const BUFFER_LEN: usize = 128 << 10;
/// Bytes of tokens that are carried to the disk at once while others are written.
const SYNC_LEN: usize = 16 << 20;

/// The type of a token in a `.bin`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenDtype {
    /// Two bytes, unsigned.
    U16,
    /// Four bytes, signed.
    I32,
}

impl TokenDtype {
    /// The type that GPT-NeoX takes for a vocabulary of this size.
    pub fn for_vocab_size(vocab_size: usize) -> Self {
        if vocab_size < 65_500 {
            Self::U16
        } else {
            Self::I32
        }
    }

    /// Bytes of a token.
    pub fn size(self) -> u64 {
        match self {
            Self::U16 => 2,
            Self::I32 => 4,
        }
    }

    pub(crate) fn code(self) -> u8 {
        match self {
            Self::U16 => 8,
            Self::I32 => 4,
        }
    }

    pub(crate) fn from_code(code: u8) -> Option<Self> {
        match code {
            8 => Some(Self::U16),
            4 => Some(Self::I32),
            _ => None,
        }
    }
}

impl fmt::Display for TokenDtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::U16 => "u16",
            Self::I32 => "i32",
        })
    }
}

/// `prefix` with another ending, keeping the dots it has.
pub(crate) fn with_suffix(prefix: &Path, suffix: &str) -> PathBuf {
    let mut path = prefix.as_os_str().to_owned();
    path.push(suffix);
    PathBuf::from(path)
}

/// An indexed dataset being written, in memory that does not grow.
pub(crate) struct IndexedWriter {
    dtype: TokenDtype,
    bin: BufWriter<File>,
    bin_path: PathBuf,
    idx_path: PathBuf,
    /// Lengths wait here until their number is known.
    lengths: BufWriter<File>,
    lengths_path: PathBuf,
    num_documents: u64,
    num_tokens: u64,
    bytes: Vec<u8>,
    aside: Option<Aside>,
    /// Bytes that were written since it was asked to sync.
    unsynced: usize,
}

impl IndexedWriter {
    /// Starts `<prefix>.bin` and `<prefix>.idx`.
    pub(crate) fn create(prefix: &Path, dtype: TokenDtype) -> Result<Self, WriteError> {
        let create = |path: &Path| {
            let file = File::create(path).map_err(WriteError::io(path))?;
            Ok(BufWriter::with_capacity(BUFFER_LEN, file))
        };
        let bin_path = with_suffix(prefix, ".bin");
        let lengths_path = with_suffix(prefix, ".lengths");
        Ok(Self {
            dtype,
            bin: create(&bin_path)?,
            idx_path: with_suffix(prefix, ".idx"),
            lengths: create(&lengths_path)?,
            bin_path,
            lengths_path,
            num_documents: 0,
            num_tokens: 0,
            bytes: Vec::new(),
            aside: None,
            unsynced: 0,
        })
    }

    pub(crate) fn num_documents(&self) -> u64 {
        self.num_documents
    }

    pub(crate) fn num_tokens(&self) -> u64 {
        self.num_tokens
    }

    /// Appends a document whose tokens lie in `tokens` as they lie in a file; returns its length as
    /// the index says it.
    pub(crate) fn push_bytes(&mut self, tokens: &[u8]) -> Result<i32, WriteError> {
        let size = usize::try_from(self.dtype.size()).expect("2 or 4");
        let length = tokens.len() / size;
        self.push_all(tokens, &[length])?;
        Ok(i32::try_from(length).expect("the index took it"))
    }

    /// Appends documents of the lengths given, whose tokens lie in `tokens` as they lie in a file.
    pub(crate) fn push_all(&mut self, tokens: &[u8], lengths: &[usize]) -> Result<(), WriteError> {
        self.bytes.clear();
        let mut num_tokens = 0;
        for &length in lengths {
            let short = i32::try_from(length).map_err(|_| WriteError::TooManyTokens {
                path: self.bin_path.clone(),
                tokens: length,
            })?;
            self.bytes.extend(short.to_le_bytes());
            num_tokens += length as u64;
        }
        debug_assert_eq!(num_tokens * self.dtype.size(), tokens.len() as u64);
        self.bin
            .write_all(tokens)
            .map_err(WriteError::io(&self.bin_path))?;
        self.lengths
            .write_all(&self.bytes)
            .map_err(WriteError::io(&self.lengths_path))?;
        self.num_documents += lengths.len() as u64;
        self.num_tokens += num_tokens;
        self.ask_to_sync(tokens.len());
        Ok(())
    }

    /// Has the system carry the tokens to the disk while they are written, so that the end is not
    /// one long wait. A failure to do so is told by [`finish`](Self::finish).
    pub(crate) fn sync_meanwhile(&mut self) -> Result<(), WriteError> {
        let file = self.bin.get_ref().try_clone();
        let aside = file.and_then(|file| Aside::start(move || file.sync_data()));
        self.aside = Some(aside.map_err(WriteError::io(&self.bin_path))?);
        Ok(())
    }

    fn ask_to_sync(&mut self, written: usize) {
        self.unsynced += written;
        if let Some(aside) = &self.aside
            && self.unsynced >= SYNC_LEN
        {
            self.unsynced = 0;
            aside.ask();
        }
    }

    /// Writes the index and makes sure that both files lie on the disk.
    pub(crate) fn finish(self) -> Result<(), WriteError> {
        let Self {
            aside,
            bin,
            bin_path,
            lengths,
            lengths_path,
            idx_path,
            ..
        } = self;
        let sync = |writer: BufWriter<File>| {
            aside.map_or(Ok(()), Aside::finish)?;
            writer.into_inner()?.sync_all()
        };
        sync(bin).map_err(WriteError::io(&bin_path))?;
        lengths
            .into_inner()
            .map_err(io::Error::from)
            .map_err(WriteError::io(&lengths_path))?;
        write_index(&idx_path, &lengths_path, self.dtype, self.num_documents)
            .map_err(WriteError::io(&idx_path))?;
        std::fs::remove_file(&lengths_path).map_err(WriteError::io(&lengths_path))
    }
}

fn write_index(
    path: &Path,
    lengths: &Path,
    dtype: TokenDtype,
    num_documents: u64,
) -> io::Result<()> {
    let mut idx = BufWriter::with_capacity(BUFFER_LEN, File::create(path)?);
    idx.write_all(MAGIC)?;
    idx.write_all(&VERSION.to_le_bytes())?;
    idx.write_all(&[dtype.code()])?;
    idx.write_all(&num_documents.to_le_bytes())?;
    idx.write_all(&(num_documents + 1).to_le_bytes())?;
    io::copy(
        &mut BufReader::with_capacity(BUFFER_LEN, File::open(lengths)?),
        &mut idx,
    )?;

    let mut reader = BufReader::with_capacity(BUFFER_LEN, File::open(lengths)?);
    let mut pointer = 0_u64;
    for _ in 0..num_documents {
        idx.write_all(&pointer.to_le_bytes())?;
        let mut length = [0; 4];
        reader.read_exact(&mut length)?;
        pointer += u64::from(u32::from_le_bytes(length)) * dtype.size();
    }
    for document in 0..=num_documents {
        idx.write_all(&document.to_le_bytes())?;
    }
    idx.into_inner()?.sync_all()
}
