//! Which format a file is in, by its first bytes.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::read::ReadError;
use crate::read::compression::{self, Compression};

/// The formats that hold rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Container {
    /// Text, whatever it is compressed with.
    Lines,
    Parquet,
    ArrowFile,
    ArrowStream,
}

/// The formats that a source may be in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Containers {
    Any,
    Lines,
    Parquet,
    Arrow,
}

const PARQUET_MAGIC: &[u8] = b"PAR1";
const ARROW_MAGIC: &[u8] = b"ARROW1";
/// What messages of a stream begin with, but for those of Arrow before 0.15.
const CONTINUATION: [u8; 4] = [0xff; 4];
/// Longest schema of an Arrow stream before 0.15, whose length is all that it begins with.
const MAX_OLD_SCHEMA_LEN: u32 = 1 << 20;

/// Recognizes a format by the first bytes; eight are enough.
pub(crate) fn detect(head: &[u8]) -> Container {
    if head.starts_with(PARQUET_MAGIC) {
        return Container::Parquet;
    }
    if head.starts_with(ARROW_MAGIC) {
        return Container::ArrowFile;
    }
    if compression::detect(head) != Compression::None {
        return Container::Lines;
    }
    if let Some((length, rest)) = head.split_first_chunk::<4>() {
        // What follows the length begins with the place of a table in it, a small number too.
        let is_old = (8..MAX_OLD_SCHEMA_LEN).contains(&u32::from_le_bytes(*length))
            && matches!(rest, [4..=255, 0, 0, 0, ..]);
        if *length == CONTINUATION || is_old {
            return Container::ArrowStream;
        }
    }
    Container::Lines
}

/// The format of a file. What is no file, such as a pipe, can be read once and holds lines.
pub(crate) fn of_file(path: &Path) -> io::Result<Container> {
    if !std::fs::metadata(path)?.is_file() {
        return Ok(Container::Lines);
    }
    let mut head = Vec::new();
    File::open(path)?.take(8).read_to_end(&mut head)?;
    Ok(detect(&head))
}

impl Containers {
    /// The format to read a file as, or why it can't be any.
    pub(crate) fn check(self, path: &Path) -> Result<Container, ReadError> {
        let found = of_file(path).map_err(ReadError::io(path))?;
        Ok(match (self, found) {
            (Self::Any, found) | (Self::Lines, found @ Container::Lines) => found,
            (Self::Lines, Container::Parquet) => {
                return Err(ReadError::NotJsonLines {
                    path: path.to_path_buf(),
                });
            }
            // Lines may begin with any bytes, and then the rows are what is wrong.
            (Self::Lines, Container::ArrowStream) => Container::Lines,
            (Self::Lines, Container::ArrowFile) => {
                return Err(ReadError::ArrowNotLines {
                    path: path.to_path_buf(),
                });
            }
            // The reader says what is wrong with a file that is none.
            (Self::Parquet, _) => Container::Parquet,
            (Self::Arrow, Container::ArrowFile) => Container::ArrowFile,
            (Self::Arrow, _) => Container::ArrowStream,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_told_apart() {
        for (head, expected) in [
            (b"PAR1\x15\x04\x15\x10".as_slice(), Container::Parquet),
            (b"ARROW1\0\0", Container::ArrowFile),
            (b"\xff\xff\xff\xff\x98\0\0\0", Container::ArrowStream),
            (b"\x98\x01\0\0\x10\0\0\0", Container::ArrowStream),
            (b"{\"text\":", Container::Lines),
            (b"", Container::Lines),
            (b"\x1f\x8b\x08\0\0\0\0\0", Container::Lines),
            (b"\x28\xb5\x2f\xfd\x04\0\0\0", Container::Lines),
            (b"\xef\xbb\xbf{}\n\n\n", Container::Lines),
        ] {
            assert_eq!(detect(head), expected, "{head:?}");
        }
    }
}
