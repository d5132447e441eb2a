//! As much of Thrift's compact protocol as it takes to check what a parquet file claims.
//!
//! The parquet library believes some numbers before it has seen the bytes behind them. These checks
//! come first. Format: `thrift-compact-protocol.md` of Apache Thrift, `parquet.thrift` of Apache
//! Parquet.

/// Deepest nesting of values.
const MAX_DEPTH: usize = 32;
/// Most columns and groups of a table.
const MAX_SCHEMA_ELEMENTS: u64 = 100_000;
/// Deepest nesting of groups in a schema, which the library follows by recursion.
const MAX_SCHEMA_DEPTH: usize = 64;

/// What a page header claims.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PageClaims {
    pub(crate) uncompressed_len: i64,
    pub(crate) compressed_len: i64,
    /// Values of a dictionary; 0 for other pages.
    pub(crate) dictionary_values: i64,
}

/// Reads the claims of a page header; `None` where the bytes are no header or end too early.
pub(crate) fn page_claims(bytes: &[u8]) -> Option<PageClaims> {
    let mut reader = Reader(bytes);
    let mut claims = PageClaims::default();
    let mut id = 0;
    while let Some(kind) = reader.field(&mut id)? {
        match (id, kind) {
            (2, I32) => claims.uncompressed_len = reader.zigzag()?,
            (3, I32) => claims.compressed_len = reader.zigzag()?,
            (7, STRUCT) => {
                let mut inner = 0;
                while let Some(kind) = reader.field(&mut inner)? {
                    if (inner, kind) == (1, I32) {
                        claims.dictionary_values = reader.zigzag()?;
                    } else {
                        reader.skip(kind, 0)?;
                    }
                }
            }
            _ => reader.skip(kind, 0)?,
        }
    }
    Some(claims)
}

/// Whether the schema of a footer is one that the library can follow. Bytes that are no footer are
/// left for it to refuse.
pub(crate) fn schema_is_sane(footer: &[u8]) -> bool {
    schema_children(footer).is_none_or(|children| {
        // How many groups around the current place still wait for how many children.
        let mut open: Vec<i64> = Vec::new();
        for count in children {
            while open.last() == Some(&0) {
                open.pop();
            }
            if let Some(waiting) = open.last_mut() {
                *waiting -= 1;
            }
            if count > 0 {
                open.push(count);
            }
            if open.len() > MAX_SCHEMA_DEPTH {
                return false;
            }
        }
        true
    })
}

/// The number of children of each element of the schema, in order. Too many elements become one
/// that is nested too deeply.
fn schema_children(footer: &[u8]) -> Option<Vec<i64>> {
    let mut reader = Reader(footer);
    let mut id = 0;
    while let Some(kind) = reader.field(&mut id)? {
        if (id, kind) != (2, LIST) {
            reader.skip(kind, 0)?;
            continue;
        }
        let (kind, len) = reader.list()?;
        if kind != STRUCT {
            return None;
        }
        if len > MAX_SCHEMA_ELEMENTS {
            return Some(vec![1; MAX_SCHEMA_DEPTH + 1]);
        }
        let mut children = Vec::new();
        for _ in 0..len {
            let (mut id, mut count) = (0, 0);
            while let Some(kind) = reader.field(&mut id)? {
                if (id, kind) == (5, I32) {
                    count = reader.zigzag()?;
                } else {
                    reader.skip(kind, 0)?;
                }
            }
            children.push(count);
        }
        return Some(children);
    }
    None
}

const TRUE: u8 = 1;
const FALSE: u8 = 2;
const BYTE: u8 = 3;
const I16: u8 = 4;
const I32: u8 = 5;
const I64: u8 = 6;
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const SET: u8 = 10;
const MAP: u8 = 11;
const STRUCT: u8 = 12;

struct Reader<'b>(&'b [u8]);

impl Reader<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(byte)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    fn zigzag(&mut self) -> Option<i64> {
        let value = self.varint()?;
        Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    /// The type of the next field, whose number goes into `id`; `None` at the end of the struct.
    #[expect(
        clippy::option_option,
        reason = "nothing left is not the end of a struct"
    )]
    fn field(&mut self, id: &mut i64) -> Option<Option<u8>> {
        let head = self.byte()?;
        if head == 0 {
            return Some(None);
        }
        *id = match head >> 4 {
            0 => self.zigzag()?,
            delta => id.checked_add(i64::from(delta))?,
        };
        Some(Some(head & 0x0f))
    }

    fn list(&mut self) -> Option<(u8, u64)> {
        let head = self.byte()?;
        let len = match head >> 4 {
            15 => self.varint()?,
            len => u64::from(len),
        };
        Some((head & 0x0f, len))
    }

    fn skip_bytes(&mut self, len: u64) -> Option<()> {
        self.0 = self.0.get(usize::try_from(len).ok()?..)?;
        Some(())
    }

    fn skip(&mut self, kind: u8, depth: usize) -> Option<()> {
        if depth > MAX_DEPTH {
            return None;
        }
        match kind {
            TRUE | FALSE => Some(()),
            BYTE => self.skip_bytes(1),
            I16 | I32 | I64 => self.varint().map(drop),
            DOUBLE => self.skip_bytes(8),
            BINARY => {
                let len = self.varint()?;
                self.skip_bytes(len)
            }
            LIST | SET => {
                let (kind, len) = self.list()?;
                self.skip_items(&[kind], len, depth)
            }
            MAP => match self.varint()? {
                0 => Some(()),
                len => {
                    let kinds = self.byte()?;
                    self.skip_items(&[kinds >> 4, kinds & 0x0f], len, depth)
                }
            },
            STRUCT => {
                let mut id = 0;
                while let Some(kind) = self.field(&mut id)? {
                    self.skip(kind, depth + 1)?;
                }
                Some(())
            }
            _ => None,
        }
    }

    fn skip_items(&mut self, kinds: &[u8], len: u64, depth: usize) -> Option<()> {
        // Each item has a byte at least.
        if len > self.0.len() as u64 {
            return None;
        }
        for _ in 0..len {
            for &kind in kinds {
                match kind {
                    // In a list, unlike in a struct, a truth value is a byte of its own.
                    TRUE | FALSE => self.skip_bytes(1)?,
                    kind => self.skip(kind, depth + 1)?,
                }
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_claims_of_a_page_header_are_read() {
        // A dictionary page: type 2, 200 bytes from 100, statistics to skip, 7 values.
        let header = [
            0x15, 4, 0x15, 0x90, 3, 0x15, 0xc8, 1, 0x4c, 0x15, 14, 0x15, 0, 0, 0,
        ];
        let expected = PageClaims {
            uncompressed_len: 200,
            compressed_len: 100,
            dictionary_values: 7,
        };
        assert_eq!(page_claims(&header), Some(expected));
        for len in 0..header.len() {
            assert_eq!(page_claims(&header[..len]), None, "{len}");
        }
    }

    /// A footer whose schema has these numbers of children.
    pub(crate) fn footer(children: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x15, 2, 0x19, 0xfc];
        let mut len = children.len();
        while len >= 0x80 {
            bytes.push(u8::try_from(len & 0x7f).unwrap() | 0x80);
            len >>= 7;
        }
        bytes.push(u8::try_from(len).unwrap());
        for count in children {
            bytes.extend([0x48, 1, b'a', 0x15, count * 2, 0]);
        }
        bytes.push(0);
        bytes
    }

    #[test]
    fn deep_and_large_schemas_are_found() {
        assert!(schema_is_sane(&footer(&[3, 0, 1, 0, 0])));
        assert!(schema_is_sane(&footer(&[1; 60])));
        assert!(!schema_is_sane(&footer(&[1; 70])));
        assert!(!schema_is_sane(&footer(&vec![0; 100_001])));
        assert!(schema_is_sane(&footer(&vec![0; 1000])));
        assert!(schema_is_sane(b"no footer"));
    }
}
