//! The inputs, one after another, as pieces that a thread can work on.

use std::io::{BufRead, Cursor, Read};
use std::path::{Path, PathBuf};

use crate::document::RowError;
use crate::read::chunks::{Chunk, ChunkReader, Found};
use crate::read::compression::{self, Count};
use crate::read::container::{self, Container};
use crate::read::jsonl::MAX_LINE_LEN;
use crate::read::{FileRows, RawRow, ReadError, Schema};
use crate::recipe::SourceKind;
use crate::tokenize::{TokenizeError, TokenizeOptions};

/// The input that means standard input.
const STDIN: &str = "-";
const MAX_TABLE_ROWS: usize = 8192;

/// Where the pieces may be cut; never changes the outcome.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Bytes of a piece, about.
    pub(crate) chunk_len: usize,
    /// Longest line that is held in memory.
    pub(crate) max_line_len: usize,
}

impl Limits {
    /// Pieces for so many threads in so much memory.
    ///
    /// A thread holds a piece of at most four times the usual length, and there are two results a
    /// thread that wait for their turn, with at most four bytes a byte of text.
    pub(crate) fn new(memory_limit: u64, threads: usize) -> Self {
        let len = memory_limit / (16 * threads as u64);
        Self {
            chunk_len: usize::try_from(len.clamp(64 << 10, 512 << 10)).expect("at most 512 KiB"),
            max_line_len: usize::try_from(MAX_LINE_LEN).expect("a limit that fits in memory"),
        }
    }
}

/// Rows that follow one another in one input.
#[derive(Default)]
pub(crate) struct Piece {
    /// Number of the input.
    pub(crate) input: usize,
    /// Whether the input begins with it.
    pub(crate) is_first: bool,
    /// Bytes of all inputs up to its end, compressed as they are.
    pub(crate) bytes_read: u64,
    pub(crate) kind: PieceKind,
    pub(crate) lines: Chunk,
    pub(crate) rows: Vec<RawRow>,
}

/// What a piece holds.
#[derive(Debug, Default)]
pub(crate) enum PieceKind {
    /// Its lines.
    #[default]
    Lines,
    /// Its rows, of a table.
    Rows,
    /// One row that can't be read.
    Broken(RowError),
}

/// The inputs, read one after another.
pub(crate) struct Inputs<'a, 's> {
    paths: &'a [PathBuf],
    stdin: Option<Box<dyn BufRead + Send + 's>>,
    text_key: &'a str,
    limits: Limits,
    current: Option<Open<'s>>,
    next: usize,
    bytes_done: u64,
    /// Bytes of all files; 0 when standard input is one of them.
    pub(crate) total: u64,
}

enum Open<'s> {
    Lines {
        reader: ChunkReader<Box<dyn BufRead + Send + 's>>,
        count: Count,
        is_first: bool,
    },
    Table {
        rows: Box<FileRows>,
        is_first: bool,
    },
}

impl<'a, 's> Inputs<'a, 's> {
    /// Checks that the inputs are there.
    pub(crate) fn open(
        options: &TokenizeOptions<'a>,
        limits: Limits,
        stdin: Option<&'s mut (dyn BufRead + Send)>,
    ) -> Result<Self, TokenizeError> {
        let (files, stdins): (Vec<_>, Vec<_>) =
            options.inputs.iter().partition(|path| !is_stdin(path));
        if stdins.len() > 1 || (stdins.len() == 1 && stdin.is_none()) {
            return Err(TokenizeError::NoStdin);
        }
        let mut total = 0;
        for path in files {
            let metadata = std::fs::metadata(path).map_err(ReadError::io(path))?;
            total += metadata.len();
        }
        let has_stdin = !stdins.is_empty();
        Ok(Self {
            paths: options.inputs,
            stdin: stdin
                .filter(|_| has_stdin)
                .map(|stdin| -> Box<dyn BufRead + Send + 's> { Box::new(stdin) }),
            text_key: options.text_key,
            limits,
            current: None,
            next: 0,
            bytes_done: 0,
            total: if has_stdin { 0 } else { total },
        })
    }

    /// Reads the next piece; false when there is none.
    pub(crate) fn next_piece(&mut self, piece: &mut Piece) -> Result<bool, ReadError> {
        while self.next < self.paths.len() {
            let mut open = match self.current.take() {
                Some(open) => open,
                None => self.open_next()?,
            };
            if open.read(piece, self.limits)? {
                piece.input = self.next;
                piece.bytes_read = self.bytes_done + open.bytes_read();
                self.current = Some(open);
                return Ok(true);
            }
            self.bytes_done += open.bytes_read();
            self.next += 1;
        }
        Ok(false)
    }

    fn open_next(&mut self) -> Result<Open<'s>, ReadError> {
        let path = &self.paths[self.next];
        let Limits {
            chunk_len,
            max_line_len,
        } = self.limits;
        let lines = |reader, count| Open::Lines {
            reader: ChunkReader::new(reader, path, chunk_len, max_line_len),
            count,
            is_first: true,
        };
        if is_stdin(path) {
            let stdin = self.stdin.take().expect("it is there and used once");
            let reader = open_stdin(stdin).map_err(ReadError::io(path))?;
            return Ok(lines(reader, Count::default()));
        }
        let kind = match container::of_file(path).map_err(ReadError::io(path))? {
            Container::Lines => None,
            Container::Parquet => Some(SourceKind::Parquet),
            Container::ArrowFile | Container::ArrowStream => Some(SourceKind::Arrow),
        };
        if let Some(kind) = kind {
            let schema = Schema::of_text(kind, self.text_key);
            let rows = FileRows::open(path, &schema, chunk_len)?;
            return Ok(Open::Table {
                rows: Box::new(rows),
                is_first: true,
            });
        }
        let (reader, count) = compression::open_counted(path)?;
        Ok(lines(reader, count))
    }
}

impl Open<'_> {
    fn read(&mut self, piece: &mut Piece, limits: Limits) -> Result<bool, ReadError> {
        let first = match self {
            Self::Lines {
                reader, is_first, ..
            } => {
                piece.kind = match reader.next_chunk(&mut piece.lines)? {
                    Found::Lines => PieceKind::Lines,
                    Found::Broken(error) => PieceKind::Broken(error),
                    Found::Nothing => return Ok(false),
                };
                is_first
            }
            Self::Table { rows, is_first } => {
                piece.kind = PieceKind::Rows;
                piece.rows.clear();
                let mut bytes = 0;
                while bytes < limits.chunk_len && piece.rows.len() < MAX_TABLE_ROWS {
                    let Some(row) = rows.next_row()? else {
                        break;
                    };
                    bytes += row.size();
                    piece.rows.push(row);
                }
                if piece.rows.is_empty() {
                    return Ok(false);
                }
                is_first
            }
        };
        piece.is_first = std::mem::take(first);
        Ok(true)
    }

    fn bytes_read(&self) -> u64 {
        match self {
            Self::Lines { count, .. } => count.bytes(),
            Self::Table { rows, .. } => rows.bytes_read(),
        }
    }
}

fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == STDIN
}

fn open_stdin<'s>(
    stdin: Box<dyn BufRead + Send + 's>,
) -> std::io::Result<Box<dyn BufRead + Send + 's>> {
    let (head, rest) = compression::split_head(stdin)?;
    let compression = compression::detect(&head);
    compression::decompress(compression, Cursor::new(head).chain(rest))
}
