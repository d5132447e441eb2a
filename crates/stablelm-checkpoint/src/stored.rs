//! Where a tensor's elements lie in files, and the copying of rectangles of them: what plans are made of.
//!
//! A parameter is a matrix (a bias is one of a single column) covered by [`Tile`]s, each of which lies in one stored
//! tensor with a stride for rows and one for columns. Merging ranks, taking fused rows apart and undoing a
//! transposition are all the same then: a list of tiles. Splitting is the intersection of two such lists.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use stablelm_model::Dtype;

use crate::neox::source::NeoxReadError;

/// A run of elements in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Index into the source's list of files.
    pub(crate) file: usize,
    /// The container's record; empty where the file is not a container.
    pub(crate) record: String,
    /// The first byte, in the record or in the file.
    pub(crate) start: usize,
    pub(crate) num_elements: usize,
}

/// A tensor as files hold it: elements are counted through all of its pieces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    /// Its name in the file.
    pub(crate) name: String,
    pub(crate) dtype: Dtype,
    pub(crate) pieces: Vec<Piece>,
}

/// A rectangle of a matrix, and where its elements are stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tile {
    pub(crate) stored: Arc<Stored>,
    /// The first row in the matrix.
    pub(crate) row: usize,
    /// The first column in the matrix.
    pub(crate) column: usize,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    /// The stored element that is the rectangle's first.
    pub(crate) start: usize,
    /// Stored elements from one row to the next.
    pub(crate) row_stride: usize,
    /// Stored elements from one column to the next.
    pub(crate) column_stride: usize,
}

/// How a parameter comes out of stored tensors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Placement {
    /// By copying.
    Tiles(Vec<Tile>),
    /// By adding up what the ranks hold.
    Computed,
}

/// A rectangle of one matrix that is a rectangle of another: where it lies in both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    /// The first row and column in the matrix that is covered by tiles.
    pub(crate) from: (usize, usize),
    /// The first row and column in the matrix that is to be made.
    pub(crate) to: (usize, usize),
    pub(crate) rows: usize,
    pub(crate) columns: usize,
}

/// Gives the bytes of pieces.
pub(crate) trait Pieces: Sync {
    /// Returns a piece's bytes for a use of the first `end`; once all are used its container's checks have passed.
    fn piece(&self, piece: &Piece, end: usize) -> Result<&[u8], NeoxReadError>;

    /// Says that a part of what [`piece`](Self::piece) returned is not needed any more.
    fn release(&self, file: usize, part: &[u8]);
}

impl Tile {
    pub(crate) fn num_elements(&self) -> usize {
        self.rows * self.columns
    }

    /// Returns the part of this tile that a window takes, placed in the window's target.
    pub(crate) fn through(&self, window: &Window) -> Option<Self> {
        let (row, column) = window.from;
        let rows = overlap(self.row, self.rows, row, window.rows)?;
        let columns = overlap(self.column, self.columns, column, window.columns)?;
        Some(Self {
            stored: Arc::clone(&self.stored),
            row: rows.start - row + window.to.0,
            column: columns.start - column + window.to.1,
            rows: rows.len(),
            columns: columns.len(),
            start: self.start
                + (rows.start - self.row) * self.row_stride
                + (columns.start - self.column) * self.column_stride,
            row_stride: self.row_stride,
            column_stride: self.column_stride,
        })
    }

    /// Whether a run of rows is a run of stored elements.
    fn is_run(&self) -> bool {
        (self.column_stride == 1 || self.columns == 1)
            && (self.row_stride == self.columns || self.rows == 1)
    }

    fn last_row(&self) -> usize {
        self.row + self.rows
    }
}

fn overlap(a: usize, a_len: usize, b: usize, b_len: usize) -> Option<Range<usize>> {
    let range = a.max(b)..(a + a_len).min(b + b_len);
    (range.start < range.end).then_some(range)
}

/// Returns rows and columns of a shape: a vector is a matrix of one column, and only a matrix has more.
pub(crate) fn matrix(shape: &[usize]) -> (usize, usize) {
    match shape {
        &[rows, columns] => (rows, columns),
        shape => (shape.iter().product(), 1),
    }
}

/// What is wrong with a list of tiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotCovered {
    pub(crate) expected: usize,
    pub(crate) found: usize,
}

/// Makes sure that tiles cover a matrix, each element once.
pub(crate) fn check_cover(tiles: &[Tile], rows: usize, columns: usize) -> Result<(), NotCovered> {
    let found = tiles.iter().map(Tile::num_elements).sum();
    let expected = rows * columns;
    let outside = |tile: &Tile| tile.last_row() > rows || tile.column + tile.columns > columns;
    let mut by_row: Vec<&Tile> = tiles.iter().collect();
    by_row.sort_by_key(|tile| tile.row);
    let overlaps = by_row.iter().enumerate().any(|(nth, tile)| {
        let later = by_row[nth + 1..].iter();
        let mut same_rows = later.take_while(|other| other.row < tile.last_row());
        same_rows
            .any(|other| overlap(tile.column, tile.columns, other.column, other.columns).is_some())
    });
    if found != expected || overlaps || tiles.iter().any(outside) {
        return Err(NotCovered { expected, found });
    }
    Ok(())
}

/// Reads a matrix of tiles from its first row to its last, a few rows at a time.
pub(crate) struct Chunks<'a> {
    source: &'a dyn Pieces,
    /// Sorted by row.
    tiles: Vec<&'a Tile>,
    rows: usize,
    columns: usize,
    width: usize,
    row: usize,
    /// The first tile that is not wholly behind.
    first: usize,
    /// What is behind and still held in memory.
    behind: Vec<Behind<'a>>,
}

/// A part of a piece that is not needed any more.
struct Behind<'a> {
    file: usize,
    piece: &'a [u8],
    range: Range<usize>,
}

/// Bytes of one chunk: what is hashed, searched and written one after the other stays in a core's cache meanwhile. A copy
/// is only made where rows don't lie together.
const CHUNK_LEN: usize = 256 << 10;

/// Bytes that are let go at a time: each time, all threads are made to forget where they were.
const RELEASE_LEN: usize = 4 << 20;

impl<'a> Chunks<'a> {
    pub(crate) fn new(
        source: &'a dyn Pieces,
        tiles: &'a [Tile],
        (rows, columns): (usize, usize),
        dtype: Dtype,
    ) -> Self {
        let mut tiles: Vec<&Tile> = tiles.iter().collect();
        tiles.sort_by_key(|tile| (tile.row, tile.column));
        Self {
            source,
            tiles,
            rows,
            columns,
            width: dtype.width(),
            row: 0,
            first: 0,
            behind: Vec::new(),
        }
    }

    /// Begins and ends at other rows than the first and last.
    pub(crate) fn of_rows(self, rows: Range<usize>) -> Self {
        Self {
            row: rows.start,
            rows: rows.end.min(self.rows),
            ..self
        }
    }

    /// Returns the next rows, as many as are handy.
    pub(crate) fn next<'b>(
        &mut self,
        buffer: &'b mut Vec<u8>,
    ) -> Result<Option<Cow<'b, [u8]>>, NeoxReadError>
    where
        'a: 'b,
    {
        self.next_rows(usize::MAX, buffer)
    }

    /// Returns the next rows, `most` of them at most: a borrow of the file where it holds them as they are, else `buffer` with a copy.
    pub(crate) fn next_rows<'b>(
        &mut self,
        most: usize,
        buffer: &'b mut Vec<u8>,
    ) -> Result<Option<Cow<'b, [u8]>>, NeoxReadError>
    where
        'a: 'b,
    {
        if self.row >= self.rows || self.columns == 0 {
            self.release(0);
            self.check()?;
            return Ok(None);
        }
        self.release(RELEASE_LEN);
        let handy = (CHUNK_LEN / (self.columns * self.width)).clamp(1, most.max(1));
        let mut end = self.rows.min(self.row + handy);
        while self
            .tiles
            .get(self.first)
            .is_some_and(|tile| tile.last_row() <= self.row)
        {
            self.first += 1;
        }
        let tile = self.tiles[self.first];
        let rows = self.row;
        if tile.columns == self.columns && tile.is_run() {
            end = end.min(tile.last_row());
            let start = tile.start + (rows - tile.row) * tile.columns;
            let len = (end - rows) * tile.columns;
            if let Some(bytes) = self.lying_together(&tile.stored, start, len)? {
                self.row = end;
                return Ok(Some(Cow::Borrowed(bytes)));
            }
        }
        buffer.clear();
        buffer.resize((end - rows) * self.columns * self.width, 0);
        for nth in self.first..self.tiles.len() {
            let tile = self.tiles[nth];
            if tile.row >= end {
                break;
            }
            if tile.last_row() > rows {
                self.copy(tile, rows..end, buffer)?;
            }
        }
        self.row = end;
        Ok(Some(Cow::Borrowed(buffer)))
    }

    /// Returns a piece's bytes for a use of the first `elements`.
    fn piece(
        &self,
        stored: &Stored,
        piece: &Piece,
        elements: usize,
    ) -> Result<&'a [u8], NeoxReadError> {
        let bytes = self.source.piece(piece, elements * self.width);
        bytes.map_err(|error| error.named(&stored.name))
    }

    /// Has the containers' checks made, also where not all was used; at the end of the rows it is done unasked.
    pub(crate) fn check(&self) -> Result<(), NeoxReadError> {
        for tile in &self.tiles {
            for piece in &tile.stored.pieces {
                let checked = self.source.piece(piece, usize::MAX);
                checked.map_err(|error| error.named(&tile.stored.name))?;
            }
        }
        Ok(())
    }

    /// Returns stored elements as they lie in one piece.
    fn lying_together(
        &mut self,
        stored: &Stored,
        start: usize,
        len: usize,
    ) -> Result<Option<&'a [u8]>, NeoxReadError> {
        let mut before = 0;
        for piece in &stored.pieces {
            if start >= before && start + len <= before + piece.num_elements {
                let bytes = self.piece(stored, piece, start - before + len)?;
                let range = (start - before) * self.width..(start - before + len) * self.width;
                self.leave(piece.file, bytes, range.clone());
                return Ok(Some(&bytes[range]));
            }
            before += piece.num_elements;
        }
        Ok(None)
    }

    /// Copies what a tile has of some rows.
    fn copy(
        &mut self,
        tile: &Tile,
        rows: Range<usize>,
        output: &mut [u8],
    ) -> Result<(), NeoxReadError> {
        let range = overlap(tile.row, tile.rows, rows.start, rows.len());
        let Some(range) = range else { return Ok(()) };
        let first_of = |row: usize| tile.start + (row - tile.row) * tile.row_stride;
        let last = first_of(range.end - 1) + (tile.columns - 1) * tile.column_stride;
        let mut pieces = Vec::with_capacity(tile.stored.pieces.len());
        let mut before = 0;
        for piece in &tile.stored.pieces {
            let used = (last + 1).saturating_sub(before).min(piece.num_elements);
            let bytes = self.piece(&tile.stored, piece, used)?;
            pieces.push((before..before + piece.num_elements, bytes));
            before += piece.num_elements;
        }
        for row in range.clone() {
            let from = first_of(row);
            let to = ((row - rows.start) * self.columns + tile.column) * self.width;
            let to = &mut output[to..][..tile.columns * self.width];
            if tile.column_stride == 1 {
                copy_run(&pieces, from, to, self.width);
            } else {
                for (nth, element) in to.chunks_exact_mut(self.width).enumerate() {
                    copy_run(
                        &pieces,
                        from + nth * tile.column_stride,
                        element,
                        self.width,
                    );
                }
            }
        }
        // With whole rows side by side nothing else in the range is needed again soon.
        if let ([piece], [(_, bytes)], 1) = (
            tile.stored.pieces.as_slice(),
            pieces.as_slice(),
            tile.column_stride,
        ) {
            let end = (first_of(range.end) * self.width).min(bytes.len());
            let start = (first_of(range.start) * self.width).min(end);
            self.leave(piece.file, bytes, start..end);
        }
        Ok(())
    }

    /// Notes that a part of a piece is behind, after the chunk that is made of it.
    fn leave(&mut self, file: usize, piece: &'a [u8], range: Range<usize>) {
        let mut behind = self.behind.iter_mut();
        let before = behind.find(|behind| {
            behind.piece.as_ptr() == piece.as_ptr() && behind.range.end == range.start
        });
        match before {
            Some(before) => before.range.end = range.end,
            None => self.behind.push(Behind { file, piece, range }),
        }
    }

    /// Lets go of what is behind, where that is `least` bytes or more.
    fn release(&mut self, least: usize) {
        let source = self.source;
        self.behind.retain(|Behind { file, piece, range }| {
            if range.len() < least {
                return true;
            }
            source.release(*file, &piece[range.clone()]);
            false
        });
    }
}

/// Copies consecutive elements, which may cross from one piece into the next.
fn copy_run(pieces: &[(Range<usize>, &[u8])], mut from: usize, mut to: &mut [u8], width: usize) {
    for (range, bytes) in pieces {
        if from >= range.end || to.is_empty() {
            continue;
        }
        let count = (range.end - from).min(to.len() / width);
        let (now, later) = to.split_at_mut(count * width);
        now.copy_from_slice(&bytes[(from - range.start) * width..][..count * width]);
        (from, to) = (from + count, later);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    struct Memory(Vec<Vec<u8>>);

    impl Pieces for Memory {
        fn piece(&self, piece: &Piece, _end: usize) -> Result<&[u8], NeoxReadError> {
            Ok(&self.0[piece.file][piece.start..])
        }

        fn release(&self, _file: usize, _part: &[u8]) {}
    }

    /// Element number `row * columns + column` of a matrix, in two bytes.
    fn element(row: usize, column: usize, columns: usize) -> [u8; 2] {
        u16::try_from(row * columns + column).unwrap().to_le_bytes()
    }

    /// Stores a part of a matrix, its columns next to each other or its rows, cut into pieces of some elements.
    fn store(
        memory: &mut Memory,
        (rows, columns): (Range<usize>, Range<usize>),
        width: usize,
        transposed: bool,
        cut: usize,
    ) -> Tile {
        let mut bytes = Vec::new();
        let (outer, inner) = if transposed {
            (columns.clone(), rows.clone())
        } else {
            (rows.clone(), columns.clone())
        };
        for a in outer {
            for b in inner.clone() {
                let (row, column) = if transposed { (b, a) } else { (a, b) };
                bytes.extend(element(row, column, width));
            }
        }
        let mut pieces = Vec::new();
        for part in bytes.chunks(2 * cut) {
            pieces.push(Piece {
                file: memory.0.len(),
                record: String::new(),
                start: 3,
                num_elements: part.len() / 2,
            });
            memory.0.push([b"xyz", part, b"rest"].concat());
        }
        let (row_stride, column_stride) = if transposed {
            (1, rows.len())
        } else {
            (columns.len(), 1)
        };
        Tile {
            stored: Arc::new(Stored {
                name: "stored".to_owned(),
                dtype: Dtype::Bf16,
                pieces,
            }),
            row: rows.start,
            column: columns.start,
            rows: rows.len(),
            columns: columns.len(),
            start: 0,
            row_stride,
            column_stride,
        }
    }

    fn read(memory: &Memory, tiles: &[Tile], extent: (usize, usize), most: usize) -> Vec<u8> {
        let mut chunks = Chunks::new(memory, tiles, extent, Dtype::Bf16);
        let (mut output, mut buffer) = (Vec::new(), Vec::new());
        while let Some(bytes) = chunks.next_rows(most, &mut buffer).unwrap() {
            output.extend_from_slice(&bytes);
        }
        output
    }

    fn expected(rows: Range<usize>, columns: Range<usize>, width: usize) -> Vec<u8> {
        rows.flat_map(|row| columns.clone().map(move |column| (row, column)))
            .flat_map(|(row, column)| element(row, column, width))
            .collect()
    }

    proptest! {
        #[test]
        fn a_matrix_in_parts_reads_as_a_whole_and_any_window_of_it_too(
            rows in 1usize..12, columns in 1usize..9, row_cut in 0usize..12, column_cut in 0usize..9,
            cut in 1usize..40, transposed: bool, most in 1usize..5, at in (0usize..12, 0usize..9),
        ) {
            let (row_cut, column_cut) = (row_cut.min(rows), column_cut.min(columns));
            let mut memory = Memory(Vec::new());
            let mut tiles = Vec::new();
            for rows in [0..row_cut, row_cut..rows] {
                for columns_of in [0..column_cut, column_cut..columns] {
                    if !rows.is_empty() && !columns_of.is_empty() {
                        let part = (rows.clone(), columns_of);
                        tiles.push(store(&mut memory, part, columns, transposed, cut));
                    }
                }
            }
            tiles.reverse();
            prop_assert_eq!(check_cover(&tiles, rows, columns), Ok(()));
            let found = read(&memory, &tiles, (rows, columns), most);
            prop_assert_eq!(found, expected(0..rows, 0..columns, columns));

            let (row, column) = (at.0.min(rows - 1), at.1.min(columns - 1));
            let window = Window {
                from: (row, column), to: (0, 0), rows: rows - row, columns: columns - column,
            };
            let part: Vec<Tile> = tiles.iter().filter_map(|tile| tile.through(&window)).collect();
            let extent = (window.rows, window.columns);
            prop_assert_eq!(check_cover(&part, extent.0, extent.1), Ok(()));
            let found = read(&memory, &part, extent, most);
            prop_assert_eq!(found, expected(row..rows, column..columns, columns));

            // One part less, or one twice, is seen.
            let missing = check_cover(&tiles[1..], rows, columns);
            prop_assert!(missing.is_err());
            let mut twice = tiles.clone();
            twice[0] = tiles[tiles.len() - 1].clone();
            prop_assert_eq!(check_cover(&twice, rows, columns).is_err(), tiles.len() > 1);
        }
    }
}
