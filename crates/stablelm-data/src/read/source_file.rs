//! One file of a source, cut into pieces that a thread can work on, wherever reading begins.
//!
//! [`SourceFileReader`] reads and cuts, [`parse_piece`] makes documents. Where a piece ends depends
//! on the bytes from its start on and on nothing else, so that a run that goes on from a
//! [`Position`] meets the pieces that it would have met without the stop.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::document::{BrokenRow, Document, RowError};
use crate::read::ReadError;
use crate::read::arrow_ipc::ArrowBatches;
use crate::read::chunks::{Chunk, ChunkReader, Found, lines, too_long};
use crate::read::compression::{self, Compression, Count, Tally, TextReader};
use crate::read::container::Container;
use crate::read::json_row::RowParser;
use crate::read::jsonl::{MAX_LINE_LEN, trim};
use crate::read::parquet::ParquetBatches;
use crate::read::schema::{Origin, Schema};
use crate::read::table::{Batch, DamagedRows, TableRows};

/// Most rows in a piece of a table; a piece of tiny rows must still be read ahead of.
const MAX_TABLE_ROWS: usize = 8192;

/// Where the pieces are cut; part of what must stay the same when a run goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PieceLimits {
    /// Bytes of a piece, about.
    pub(crate) piece_len: usize,
    /// Longest line that is held in memory.
    pub(crate) max_line_len: usize,
}

impl Default for PieceLimits {
    fn default() -> Self {
        Self {
            piece_len: 1 << 19,
            max_line_len: usize::try_from(MAX_LINE_LEN).expect("a limit that fits in memory"),
        }
    }
}

/// A place between two pieces of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    /// Rows before it, blank lines too.
    pub(crate) row: u64,
    /// Decompressed bytes before it; 0 in a table.
    pub(crate) byte: u64,
    /// Whether nothing after it can be read.
    pub(crate) at_end: bool,
}

/// Rows that follow one another in a file.
#[derive(Default)]
pub(crate) struct Piece {
    first_row: u64,
    /// The place behind it.
    pub(crate) end: Position,
    kind: PieceKind,
    lines: Chunk,
    table: TableRows,
    origin: Arc<Origin>,
    max_line_len: usize,
}

#[derive(Debug, Default)]
enum PieceKind {
    #[default]
    Lines,
    Rows,
    Broken(BrokenRow),
}

/// One open file.
pub(crate) struct SourceFileReader {
    path: PathBuf,
    origin: Arc<Origin>,
    limits: PieceLimits,
    position: Position,
    compression: Compression,
    inner: Inner,
}

enum Inner {
    Lines {
        reader: ChunkReader<TextReader>,
        hash: Hash,
    },
    Table {
        batches: Batches,
        /// Rows that were decoded, the first of which is the next one.
        rest: TableRows,
    },
}

/// What is known of the bytes that were read.
enum Hash {
    All(Tally),
    /// Only the bytes from here on went by.
    From(u64, Count),
}

enum Batches {
    Parquet(Box<ParquetBatches>),
    Arrow(Box<ArrowBatches>),
}

impl SourceFileReader {
    /// Opens a file and goes to a position that an earlier reader of the same file gave.
    pub(crate) fn open(
        path: &Path,
        schema: &Schema,
        start: Position,
        limits: PieceLimits,
    ) -> Result<Self, ReadError> {
        let (inner, compression) = match schema.containers().check(path)? {
            Container::Lines => open_lines(path, start, limits)?,
            Container::Parquet => {
                let batches = ParquetBatches::open(path, schema, limits.piece_len, start.row)?;
                (
                    Inner::table(Batches::Parquet(Box::new(batches))),
                    Compression::None,
                )
            }
            container => {
                let batches = ArrowBatches::open(path, container, schema, start.row)?;
                (
                    Inner::table(Batches::Arrow(Box::new(batches))),
                    Compression::None,
                )
            }
        };
        Ok(Self {
            path: path.to_path_buf(),
            origin: Arc::new(Origin::of(path)),
            limits,
            position: start,
            compression,
            inner,
        })
    }

    /// Reads the next piece; false when there is none.
    pub(crate) fn next_piece(&mut self, piece: &mut Piece) -> Result<bool, ReadError> {
        if self.position.at_end {
            return Ok(false);
        }
        piece.first_row = self.position.row;
        piece.origin = self.origin.clone();
        piece.max_line_len = self.limits.max_line_len;
        let found = match &mut self.inner {
            Inner::Lines { reader, .. } => read_lines(reader, piece, &mut self.position)?,
            Inner::Table { batches, rest } => {
                read_rows(batches, rest, piece, &mut self.position, self.limits)?
            }
        };
        piece.end = self.position;
        if found && let PieceKind::Broken(broken) = &piece.kind {
            warn_of_loss(&self.path, broken);
        }
        Ok(found)
    }

    /// The place behind the last piece.
    #[cfg(test)]
    pub(crate) fn position(&self) -> Position {
        self.position
    }

    /// Bytes of the file that were read so far (an estimate for parquet).
    pub(crate) fn bytes_read(&self) -> u64 {
        match &self.inner {
            Inner::Lines { hash, .. } => match hash {
                Hash::All(tally) => tally.bytes(),
                Hash::From(start, count) => start + count.bytes(),
            },
            Inner::Table { batches, .. } => match batches {
                Batches::Parquet(batches) => batches.bytes_before(self.position.row),
                Batches::Arrow(batches) => batches.bytes_read(),
            },
        }
    }

    /// Number of rows where the file says it.
    pub(crate) fn num_rows(&self) -> Option<u64> {
        match &self.inner {
            Inner::Table {
                batches: Batches::Parquet(batches),
                ..
            } => Some(batches.num_rows()),
            Inner::Table { .. } | Inner::Lines { .. } => None,
        }
    }

    pub(crate) fn compression(&self) -> Compression {
        self.compression
    }

    /// Size and SHA-256 of the whole file; reads what did not go by.
    pub(crate) fn finish(self) -> Result<(u64, String), ReadError> {
        let hash = match &self.inner {
            Inner::Lines {
                hash: Hash::All(tally),
                ..
            } => tally.finish(&self.path),
            Inner::Lines { .. } | Inner::Table { .. } => crate::hash::sha256_file(&self.path),
        };
        hash.map_err(ReadError::io(&self.path))
    }
}

impl Inner {
    fn table(batches: Batches) -> Self {
        Self::Table {
            batches,
            rest: TableRows::default(),
        }
    }
}

fn open_lines(
    path: &Path,
    start: Position,
    limits: PieceLimits,
) -> Result<(Inner, Compression), ReadError> {
    let PieceLimits {
        piece_len,
        max_line_len,
    } = limits;
    let chunks =
        |reader| ChunkReader::new(reader, path, piece_len, max_line_len).starting_at(start.byte);
    let (mut reader, compression, tally) = compression::open(path)?;
    if compression == Compression::None && start.byte > 0 {
        let (reader, count) = compression::open_plain_at(path, start.byte)?;
        let hash = Hash::From(start.byte, count);
        let reader = chunks(reader);
        return Ok((Inner::Lines { reader, hash }, compression));
    }
    let mut before = reader.by_ref().take(start.byte);
    let skipped = std::io::copy(&mut before, &mut std::io::sink());
    let skipped = skipped.map_err(ReadError::io(path))?;
    // What can't be read again will not be read; the position says so already.
    if skipped < start.byte && !start.at_end {
        return Err(ReadError::Shorter {
            path: path.to_path_buf(),
            bytes: start.byte,
        });
    }
    let hash = Hash::All(tally);
    let reader = chunks(reader);
    Ok((Inner::Lines { reader, hash }, compression))
}

fn read_lines(
    reader: &mut ChunkReader<TextReader>,
    piece: &mut Piece,
    position: &mut Position,
) -> Result<bool, ReadError> {
    let found = reader.next_chunk(&mut piece.lines)?;
    position.byte = reader.consumed();
    match found {
        Found::Lines => {
            position.row += lines(piece.lines.bytes()).count() as u64;
            piece.kind = PieceKind::Lines;
        }
        Found::Broken(error) => {
            let is_damage = matches!(error, RowError::DamagedStream { .. });
            let mut broken = BrokenRow::new(position.row, error, piece.lines.bytes());
            broken.len = reader.broken_len();
            position.row += 1;
            position.at_end = is_damage;
            piece.kind = PieceKind::Broken(broken);
        }
        Found::Nothing => {
            position.at_end = true;
            return Ok(false);
        }
    }
    Ok(true)
}

fn read_rows(
    batches: &mut Batches,
    rest: &mut TableRows,
    piece: &mut Piece,
    position: &mut Position,
    limits: PieceLimits,
) -> Result<bool, ReadError> {
    while rest.num_rows() == 0 {
        let found = match batches {
            Batches::Parquet(batches) => batches.next_batch()?,
            Batches::Arrow(batches) => batches.next_batch()?,
        };
        let (first, rows) = match found {
            None => {
                position.at_end = true;
                return Ok(false);
            }
            Some(Batch::Rows(first, rows)) => (first, rows),
            Some(Batch::Damaged(damaged)) => {
                piece.kind = PieceKind::Broken(broken_rows(&damaged, position));
                return Ok(true);
            }
        };
        // Only the first batch can begin before the position.
        let known = usize::try_from(position.row.saturating_sub(first)).unwrap_or(usize::MAX);
        let known = known.min(rows.num_rows());
        *rest = rows.slice(known, rows.num_rows() - known);
    }
    let (mut len, mut bytes) = (0, 0);
    while len < rest.num_rows().min(MAX_TABLE_ROWS) && bytes < limits.piece_len {
        bytes += rest.row_len(len);
        len += 1;
    }
    piece.kind = PieceKind::Rows;
    piece.table = rest.slice(0, len);
    *rest = rest.slice(len, rest.num_rows() - len);
    position.row += len as u64;
    Ok(true)
}

/// Says so where more is lost than a row.
fn warn_of_loss(path: &Path, broken: &BrokenRow) {
    let (row, error) = (broken.row, &broken.error);
    if matches!(
        error,
        RowError::DamagedStream { .. } | RowError::DamagedRows { .. }
    ) {
        tracing::warn!(path = %path.display(), row, "a part of a file is lost: {error}");
    }
}

/// One row for all that can't be decoded, and the position behind them.
fn broken_rows(damaged: &DamagedRows, position: &mut Position) -> BrokenRow {
    let row = position.row;
    // All of it lies behind the position, unless the file is another by now.
    let before = row.saturating_sub(damaged.first);
    let rows = damaged.rows.map(|rows| rows.saturating_sub(before));
    position.row = row.saturating_add(rows.unwrap_or(1));
    position.at_end = damaged.is_last;
    let message = damaged.error.to_string();
    BrokenRow::new(row, RowError::DamagedRows { rows, message }, b"")
}

/// Makes documents of the rows of a piece, in order; blank lines are left out.
pub(crate) fn parse_piece(
    piece: &mut Piece,
    schema: &Schema,
    parser: &mut RowParser,
    rows: &mut Vec<Result<Document, BrokenRow>>,
) {
    match &piece.kind {
        PieceKind::Broken(broken) => rows.push(Err(broken.clone())),
        PieceKind::Rows => {
            let table = std::mem::take(&mut piece.table);
            table.parse(piece.first_row, schema, &piece.origin, rows);
        }
        PieceKind::Lines => {
            for (line, row) in lines(piece.lines.bytes()).zip(piece.first_row..) {
                let whole = line.strip_suffix(b"\n").unwrap_or(line);
                let content = trim(whole, row == 0);
                if content.is_empty() {
                    continue;
                }
                let parsed = if whole.len() > piece.max_line_len {
                    Err(too_long(line.len() as u64, piece.max_line_len))
                } else {
                    parser.parse_line(content, row, schema, &piece.origin)
                };
                rows.push(parsed.map_err(|error| BrokenRow::new(row, error, content)));
            }
        }
    }
}
