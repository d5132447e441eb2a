//! Text in chunks of whole lines, for those who share the lines out among threads.
//!
//! Bytes go from the reader into the chunk and are not looked at but for the last line's end.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::document::RowError;
use crate::read::ReadError;

/// A stream of text, cut at the ends of lines.
///
/// Where a chunk ends depends on the text from its start on only: at the last line that ends within
/// the usual length, or with the first line where that is longer.
pub(crate) struct ChunkReader<R> {
    reader: R,
    path: PathBuf,
    chunk_len: usize,
    max_line_len: usize,
    /// Bytes that were read too far, never more than a usual chunk.
    rest: Vec<u8>,
    /// Bytes that were read, and how many of them were given out.
    bytes: u64,
    consumed: u64,
    broken_len: u64,
    ended: Option<End>,
}

enum End {
    File,
    Failed(io::Error),
}

/// What [`ChunkReader::next_chunk`] found.
#[derive(Debug, PartialEq)]
pub(crate) enum Found {
    /// Lines; only the last one of the stream may lack its end.
    Lines,
    /// In place of the next line, whose start is in the chunk: why it can't be read. After a
    /// damaged stream there is nothing more.
    Broken(RowError),
    /// The end.
    Nothing,
}

/// Bytes that serve again and again; what lies behind [`bytes`](Self::bytes) is rubbish.
#[derive(Default)]
pub(crate) struct Chunk {
    buffer: Vec<u8>,
    len: usize,
}

/// Bytes of a broken line that are kept.
const MAX_BROKEN_LEN: usize = 128 << 10;

impl Chunk {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buffer[..self.len]
    }

    fn start(&mut self, bytes: &[u8], usual_len: usize) {
        // One long line should not hold its memory for good.
        if self.buffer.len() > 4 * usual_len.max(bytes.len()) {
            self.buffer = Vec::new();
        }
        if self.buffer.len() < bytes.len() {
            self.buffer.resize(bytes.len(), 0);
        }
        self.buffer[..bytes.len()].copy_from_slice(bytes);
        self.len = bytes.len();
    }

    /// Reads until the chunk has `len` bytes; says why it has fewer.
    fn fill(&mut self, reader: &mut impl Read, len: usize) -> Option<End> {
        if self.buffer.len() < len {
            self.buffer.resize(len, 0);
        }
        while self.len < len {
            match reader.read(&mut self.buffer[self.len..len]) {
                Ok(0) => return Some(End::File),
                Ok(read) => self.len += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Some(End::Failed(error)),
            }
        }
        None
    }
}

impl<R: Read> ChunkReader<R> {
    /// Reads from a decompressed stream; `path` is for messages.
    ///
    /// A chunk has at most `chunk_len` bytes, more only where one line has more. A line longer than
    /// `max_line_len` is not held.
    pub(crate) fn new(reader: R, path: &Path, chunk_len: usize, max_line_len: usize) -> Self {
        Self {
            reader,
            path: path.to_path_buf(),
            chunk_len: chunk_len.max(1),
            max_line_len,
            rest: Vec::new(),
            bytes: 0,
            consumed: 0,
            broken_len: 0,
            ended: None,
        }
    }

    /// Says that so many bytes of the stream were passed over.
    pub(crate) fn starting_at(mut self, byte: u64) -> Self {
        self.bytes = byte;
        self.consumed = byte;
        self
    }

    /// Bytes of the stream up to the end of the last chunk.
    pub(crate) fn consumed(&self) -> u64 {
        self.consumed
    }

    /// Length of the last line that was broken.
    pub(crate) fn broken_len(&self) -> u64 {
        self.broken_len
    }

    /// Reads the next lines into a chunk.
    pub(crate) fn next_chunk(&mut self, chunk: &mut Chunk) -> Result<Found, ReadError> {
        chunk.start(&self.rest, self.chunk_len);
        self.rest.clear();
        self.fill(chunk, self.chunk_len);
        if let Some(at) = memchr::memrchr(b'\n', chunk.bytes()) {
            return Ok(self.cut(chunk, at + 1));
        }
        // A line that is longer than a chunk, or the last one.
        while self.ended.is_none() {
            if chunk.len > self.max_line_len {
                return self.skip_long_line(chunk);
            }
            let searched = chunk.len;
            let len = searched.saturating_add(self.chunk_len);
            self.fill(chunk, len.min(self.max_line_len.saturating_add(1)));
            if let Some(at) = memchr::memchr(b'\n', &chunk.bytes()[searched..]) {
                return Ok(self.cut(chunk, searched + at + 1));
            }
        }
        if chunk.len > self.max_line_len {
            return self.skip_long_line(chunk);
        }
        self.end(chunk, chunk.len as u64)
    }

    fn fill(&mut self, chunk: &mut Chunk, len: usize) {
        if self.ended.is_none() {
            let before = chunk.len;
            self.ended = chunk.fill(&mut self.reader, len);
            self.bytes += (chunk.len - before) as u64;
        }
    }

    /// Ends a chunk, and keeps what comes after it.
    fn cut(&mut self, chunk: &mut Chunk, end: usize) -> Found {
        self.rest.extend_from_slice(&chunk.bytes()[end..]);
        chunk.len = end;
        self.consumed += end as u64;
        Found::Lines
    }

    /// What is at the end of the stream, where the last line has no end.
    fn end(&mut self, chunk: &Chunk, line_len: u64) -> Result<Found, ReadError> {
        self.consumed += line_len;
        match self.ended.replace(End::File) {
            Some(End::Failed(error)) => {
                self.broken_len = line_len;
                self.damaged(error).map(Found::Broken)
            }
            _ if chunk.len == 0 => Ok(Found::Nothing),
            _ => Ok(Found::Lines),
        }
    }

    /// Reads to the end of a line that is too long, holding only its start.
    fn skip_long_line(&mut self, chunk: &mut Chunk) -> Result<Found, ReadError> {
        let start = chunk.bytes()[..chunk.len.min(MAX_BROKEN_LEN)].to_vec();
        let mut len = chunk.len as u64;
        let mut found = None;
        while found.is_none() && self.ended.is_none() {
            chunk.start(&[], self.chunk_len);
            self.fill(chunk, self.chunk_len);
            found = memchr::memchr(b'\n', chunk.bytes());
            len += found.map_or(chunk.len, |at| at + 1) as u64;
        }
        if let Some(at) = found {
            self.rest.extend_from_slice(&chunk.bytes()[at + 1..]);
        }
        chunk.start(&start, self.chunk_len);
        if found.is_none() && matches!(self.ended, Some(End::Failed(_))) {
            return self.end(chunk, len);
        }
        self.consumed += len;
        self.broken_len = len;
        Ok(Found::Broken(too_long(len, self.max_line_len)))
    }

    /// An error of the file system is one of the file, one of the decoder of the next row.
    fn damaged(&self, error: io::Error) -> Result<RowError, ReadError> {
        if error.raw_os_error().is_some() {
            return Err(ReadError::Io {
                path: self.path.clone(),
                source: error,
            });
        }
        Ok(RowError::DamagedStream {
            byte: self.bytes,
            message: error.to_string(),
        })
    }
}

/// A line of so many bytes, its end among them, is too long.
pub(crate) fn too_long(bytes: u64, max_line_len: usize) -> RowError {
    RowError::TooLong {
        bytes,
        limit: max_line_len as u64,
    }
}

/// The lines of a chunk, their ends left on.
pub(crate) fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let ends = memchr::memchr_iter(b'\n', bytes).map(|at| at + 1);
    let tail = bytes.last().is_some_and(|&last| last != b'\n');
    let mut start = 0;
    ends.chain(tail.then_some(bytes.len())).map(move |end| {
        let line = &bytes[start..end];
        start = end;
        line
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads at most three bytes at a time, and fails where there is nothing more if asked to.
    struct Drip<'a>(&'a [u8], Option<fn() -> io::Error>);

    impl Read for Drip<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let len = buffer.len().min(3).min(self.0.len());
            buffer[..len].copy_from_slice(&self.0[..len]);
            self.0 = &self.0[len..];
            match self.1 {
                Some(error) if len == 0 => Err(error()),
                _ => Ok(len),
            }
        }
    }

    /// Lines as they come, with a bar between chunks, and how it ended.
    fn read(reader: Drip<'_>, chunk_len: usize, max_line_len: usize) -> (String, String) {
        let mut chunks = ChunkReader::new(reader, Path::new("file"), chunk_len, max_line_len);
        let (mut chunk, mut text, mut broken) = (Chunk::default(), String::new(), String::new());
        loop {
            match chunks.next_chunk(&mut chunk) {
                Ok(Found::Lines) => {
                    let lines: Vec<_> = lines(chunk.bytes()).collect();
                    assert_eq!(lines.concat(), chunk.bytes());
                    text.push_str(std::str::from_utf8(chunk.bytes()).unwrap());
                    text.push('|');
                }
                Ok(Found::Nothing) => return (text, broken),
                Ok(Found::Broken(error)) => {
                    assert!(chunks.broken_len() >= chunk.bytes().len() as u64);
                    broken.push_str(&error.to_string());
                }
                Err(error) => return (text, error.to_string()),
            }
        }
    }

    fn check(text: &str, chunk_len: usize, expected: &str) {
        let found = read(Drip(text.as_bytes(), None), chunk_len, 100);
        assert_eq!(found, (expected.to_owned(), String::new()), "{text:?}");
    }

    #[test]
    fn chunks_end_at_the_ends_of_lines() {
        check("", 4, "");
        check("a\nbc\nd", 100, "a\nbc\n|d|");
        check("abc\nabc\n", 4, "abc\n|abc\n|");
        check("abc\nabc", 4, "abc\n|abc|");
        check("a\nb\nc\n", 5, "a\nb\n|c\n|");
        check("0123456789\na\n", 4, "0123456789\n|a\n|");
        check("0123456789\na\nb\nc\n", 6, "0123456789\n|a\nb\nc\n|");
        check("\n\n\n", 1, "\n|\n|\n|");
        check("0123456789", 2, "0123456789|");
    }

    #[test]
    fn a_line_over_the_limit_is_broken_and_not_held() {
        let broken = |text: &str, chunk_len| read(Drip(text.as_bytes(), None), chunk_len, 8);
        let long = "the row has 13 bytes, more than the limit of 8";
        assert_eq!(
            broken("a\n0123456789ab\nb\n", 2),
            ("a\n|b\n|".into(), long.into())
        );
        let long = "the row has 12 bytes, more than the limit of 8";
        assert_eq!(broken("0123456789ab", 4), (String::new(), long.into()));
        assert_eq!(broken("01234567\nb\n", 2).0, "01234567\n|b\n|");
        assert_eq!(broken("01234567", 2).0, "01234567|");
    }

    #[test]
    fn an_error_comes_after_the_lines_before_it() {
        let decoder: fn() -> io::Error = || io::Error::other("crc");
        let found = read(Drip(b"a\nb\ncd", Some(decoder)), 100, 100);
        let message = "the compressed stream is damaged after 6 decompressed bytes: crc";
        assert_eq!(found, ("a\nb\n|".into(), message.into()));
        let system: fn() -> io::Error = || io::Error::from_raw_os_error(5);
        let found = read(Drip(b"a\nb\ncd", Some(system)), 100, 100);
        assert_eq!(found, ("a\nb\n|".into(), "failed to read `file`".into()));
        let found = read(Drip(b"0123456789", Some(decoder)), 2, 4);
        assert!(found.1.contains("after 10 decompressed bytes"), "{found:?}");
    }
}
