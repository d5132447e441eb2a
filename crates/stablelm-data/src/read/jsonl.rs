//! JSON lines: one object a line.
//!
//! A byte order mark, carriage returns and blank lines are accepted.

use std::io::{self, BufRead, Read};
use std::path::PathBuf;

use serde::de::DeserializeSeed;

use crate::document::{BrokenRow, RowError};
use crate::read::compression::TextReader;
use crate::read::{RawRow, ReadError};

/// Longest line that is held in memory, and longest text of any row.
///
/// A thread holds a few copies of a row at most, so that a bomb of one line stays within a few
/// hundred megabytes; the longest books have a tenth of this.
pub(crate) const MAX_LINE_LEN: u64 = 32 * 1024 * 1024;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A stream of lines.
pub(crate) struct JsonLines<R = TextReader> {
    reader: R,
    path: PathBuf,
    max_line_len: u64,
    /// Rows that were read, blank ones too.
    row: u64,
    bytes: u64,
    done: bool,
}

impl<R: BufRead> JsonLines<R> {
    /// Reads lines from a decompressed stream; `path` is for messages.
    pub(crate) fn new(reader: R, path: PathBuf) -> Self {
        let max_line_len = MAX_LINE_LEN;
        Self {
            reader,
            path,
            max_line_len,
            row: 0,
            bytes: 0,
            done: false,
        }
    }

    /// The next line that is not blank.
    pub(crate) fn next_row(&mut self) -> Result<Option<RawRow>, ReadError> {
        while !self.done {
            let mut line = Vec::new();
            let limit = self.max_line_len + 1;
            match (&mut self.reader).take(limit).read_until(b'\n', &mut line) {
                Ok(0) => self.done = true,
                Ok(read) => {
                    self.bytes += read as u64;
                    let row = self.row;
                    self.row += 1;
                    if read as u64 == limit && line.last() != Some(&b'\n') {
                        return self.skip_long_line(row, line).map(Some);
                    }
                    let trimmed = trim(&line, row == 0);
                    if !trimmed.is_empty() {
                        let bytes = if trimmed.len() == line.len() {
                            line
                        } else {
                            trimmed.to_vec()
                        };
                        return Ok(Some(RawRow::Line { row, bytes }));
                    }
                }
                Err(error) => return self.damaged(error, &line).map(Some),
            }
        }
        Ok(None)
    }

    /// Reads past the rest of a line that is too long, holding none of it.
    fn skip_long_line(&mut self, row: u64, mut line: Vec<u8>) -> Result<RawRow, ReadError> {
        let mut bytes = line.len() as u64;
        line.truncate(128 * 1024);
        let mut rest = Vec::new();
        loop {
            rest.clear();
            match (&mut self.reader)
                .take(1 << 20)
                .read_until(b'\n', &mut rest)
            {
                Ok(read) => {
                    self.bytes += read as u64;
                    bytes += read as u64;
                    if read == 0 || rest.last() == Some(&b'\n') {
                        break;
                    }
                }
                Err(error) => return self.damaged(error, &line),
            }
        }
        let error = RowError::TooLong {
            bytes,
            limit: self.max_line_len,
        };
        let mut broken = BrokenRow::new(row, error, &line);
        broken.len = bytes;
        Ok(RawRow::Broken(broken))
    }

    /// An error of the file system ends the run, one of the decoder ends the file.
    fn damaged(&mut self, error: io::Error, line: &[u8]) -> Result<RawRow, ReadError> {
        self.done = true;
        if error.raw_os_error().is_some() {
            return Err(ReadError::Io {
                path: self.path.clone(),
                source: error,
            });
        }
        let byte = self.bytes + line.len() as u64;
        tracing::warn!(
            path = %self.path.display(),
            row = self.row,
            byte,
            "the compressed stream is damaged, the rest of the file is lost: {error}"
        );
        let damage = RowError::DamagedStream {
            byte,
            message: error.to_string(),
        };
        Ok(RawRow::Broken(BrokenRow::new(self.row, damage, line)))
    }
}

/// A line without what may stand around its object; blank lines become empty.
pub(crate) fn trim(line: &[u8], is_first: bool) -> &[u8] {
    let marked = line.strip_prefix(BYTE_ORDER_MARK).filter(|_| is_first);
    marked.unwrap_or(line).trim_ascii()
}

/// Parses one line into what a seed makes of it, and names what is wrong with it.
pub(crate) fn parse<'l, S: DeserializeSeed<'l>>(
    line: &'l [u8],
    seed: S,
) -> Result<S::Value, RowError> {
    let line = std::str::from_utf8(line).map_err(|error| RowError::InvalidUtf8 {
        byte: error.valid_up_to(),
    })?;
    let mut deserializer = serde_json::Deserializer::from_str(line);
    let parsed = seed.deserialize(&mut deserializer);
    parsed
        .and_then(|row| deserializer.end().map(|()| row))
        .map_err(|error| {
            let mut message = error.to_string();
            // Every row is line 1 to the parser, and our own message names the column.
            if let Some(at) = message.rfind(" at line 1 column ") {
                message.truncate(at);
            }
            match error.classify() {
                serde_json::error::Category::Data => RowError::NotAnObject { message },
                _ => RowError::BadJson {
                    column: error.column(),
                    message,
                },
            }
        })
}

#[cfg(test)]
mod tests {
    use proptest::test_runner::Config as ProptestConfig;

    use super::*;

    fn rows(bytes: &[u8]) -> Vec<(u64, String)> {
        let mut lines = JsonLines::new(bytes, PathBuf::new());
        lines.max_line_len = 16;
        let mut rows = Vec::new();
        while let Some(row) = lines.next_row().unwrap() {
            rows.push(match row {
                RawRow::Line { row, bytes } => (row, String::from_utf8_lossy(&bytes).into_owned()),
                RawRow::Broken(broken) => (broken.row, broken.error.name().to_owned()),
                RawRow::Document(_) => unreachable!("lines are not parsed here"),
            });
        }
        rows
    }

    #[test]
    fn marks_returns_and_blank_lines_are_accepted_and_counted() {
        let found = rows(b"\xef\xbb\xbf{1}\r\n\r\n  \n{2}\n{3}");
        assert_eq!(
            found,
            [(0, "{1}".into()), (3, "{2}".into()), (4, "{3}".into())]
        );
        assert!(rows(b"").is_empty());
    }

    #[test]
    fn a_line_over_the_limit_is_quarantined_and_the_next_one_read() {
        let long = [b"{1}\n".as_slice(), &[b'x'; 40], b"\n{2}\n"].concat();
        assert_eq!(
            rows(&long),
            [(0, "{1}".into()), (1, "too_long".into()), (2, "{2}".into())]
        );
        assert_eq!(rows(b"0123456789abcdef\n{2}\n").len(), 2);
        assert_eq!(rows(&[b'x'; 17]), [(0, "too_long".into())]);
    }

    proptest::proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn no_bytes_make_the_reader_panic(line: Vec<u8>) {
            let _ = rows(&line);
        }
    }
}
