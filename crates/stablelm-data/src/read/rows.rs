//! The rows of a file, one by one, for those who share no pieces out among threads.

use std::collections::VecDeque;
use std::path::Path;

use crate::document::{BrokenRow, Document};
use crate::read::ReadError;
use crate::read::compression::Compression;
use crate::read::json_row::RowParser;
use crate::read::schema::Schema;
use crate::read::source_file::{Piece, PieceLimits, Position, SourceFileReader, parse_piece};

/// A row as a reader gives it.
#[derive(Debug)]
pub(crate) enum RawRow {
    /// A line that is still to be parsed.
    Line {
        row: u64,
        bytes: Vec<u8>,
    },
    Document(Document),
    Broken(BrokenRow),
}

impl RawRow {
    /// Bytes it holds in memory, roughly.
    pub(crate) fn size(&self) -> usize {
        const OVERHEAD: usize = 96;
        OVERHEAD
            + match self {
                Self::Line { bytes, .. } => bytes.len(),
                Self::Document(document) => document.text.len(),
                Self::Broken(broken) => broken.raw.len(),
            }
    }

    /// Parses what is still to be parsed.
    pub(crate) fn parse(self, schema: &Schema) -> Result<Document, BrokenRow> {
        match self {
            Self::Line { row, bytes } => RowParser::default()
                .parse_line(&bytes, row, schema, &crate::read::schema::Origin::default())
                .map_err(|error| BrokenRow::new(row, error, &bytes)),
            Self::Document(document) => Ok(document),
            Self::Broken(broken) => Err(broken),
        }
    }
}

/// One open file, read row by row.
pub(crate) struct FileRows {
    reader: SourceFileReader,
    schema: Schema,
    parser: RowParser,
    piece: Piece,
    parsed: Vec<Result<Document, BrokenRow>>,
    rows: VecDeque<Result<Document, BrokenRow>>,
}

impl FileRows {
    /// Opens a file for its schema; `batch_bytes` bounds what is parsed at once.
    pub(crate) fn open(
        path: &Path,
        schema: &Schema,
        batch_bytes: usize,
    ) -> Result<Self, ReadError> {
        let usual = PieceLimits::default();
        let limits = PieceLimits {
            piece_len: usual.piece_len.min(batch_bytes),
            ..usual
        };
        Ok(Self {
            reader: SourceFileReader::open(path, schema, Position::default(), limits)?,
            schema: schema.clone(),
            parser: RowParser::default(),
            piece: Piece::default(),
            parsed: Vec::new(),
            rows: VecDeque::new(),
        })
    }

    /// The next row, or `None` after the last.
    pub(crate) fn next_row(&mut self) -> Result<Option<RawRow>, ReadError> {
        loop {
            match self.rows.pop_front() {
                Some(Ok(document)) => return Ok(Some(RawRow::Document(document))),
                Some(Err(broken)) => return Ok(Some(RawRow::Broken(broken))),
                None => {}
            }
            if !self.reader.next_piece(&mut self.piece)? {
                return Ok(None);
            }
            let Self {
                piece,
                schema,
                parser,
                parsed,
                rows,
                ..
            } = self;
            parse_piece(piece, schema, parser, parsed);
            rows.extend(parsed.drain(..));
        }
    }

    /// Bytes of the file that were read so far (an estimate for parquet).
    pub(crate) fn bytes_read(&self) -> u64 {
        self.reader.bytes_read()
    }

    /// Number of rows where the file says it.
    pub(crate) fn num_rows(&self) -> Option<u64> {
        self.reader.num_rows()
    }

    pub(crate) fn compression(&self) -> Compression {
        self.reader.compression()
    }
}
