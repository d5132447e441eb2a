//! A parameter's bytes from first to last, a few rows at a time, and what is counted of them on the way.

use std::borrow::Cow;

use stablelm_model::{Dtype, TensorInfo, TensorSource, TensorSourceError};

use crate::cast::{NonFiniteCount, count_non_finite};
use crate::convert::ConvertError;
use crate::hash::hexadecimal;
use crate::neox::source::NeoxReadError;
use crate::open::Checkpoint;
use crate::sha256::Sha256;
use crate::stored::{Chunks, Placement, matrix};

/// Why rows could not be read.
#[derive(Debug)]
pub(crate) enum RowsError {
    Inconsistent(NeoxReadError),
    Read(TensorSourceError),
}

impl From<NeoxReadError> for RowsError {
    fn from(error: NeoxReadError) -> Self {
        Self::Inconsistent(error)
    }
}

impl From<TensorSourceError> for RowsError {
    fn from(error: TensorSourceError) -> Self {
        Self::Read(error)
    }
}

impl From<RowsError> for ConvertError {
    fn from(error: RowsError) -> Self {
        match error {
            RowsError::Inconsistent(error) => Self::Inconsistent(error),
            RowsError::Read(error) => Self::Read(error),
        }
    }
}

/// A tensor that is read from its first row to its last.
pub(crate) enum Rows<'a> {
    /// From the files of a checkpoint.
    Chunks(Chunks<'a>),
    /// From any source.
    Source {
        source: &'a dyn TensorSource,
        name: String,
        row: usize,
        rows: usize,
        row_len: usize,
    },
}

impl<'a> Rows<'a> {
    pub(crate) fn new(
        checkpoint: &'a Checkpoint,
        name: &str,
        info: &TensorInfo,
        placement: &'a Placement,
    ) -> Self {
        match placement {
            Placement::Tiles(tiles) => {
                let extent = matrix(&info.shape);
                let chunks = Chunks::new(checkpoint.pieces(), tiles, extent, info.dtype);
                Self::Chunks(chunks)
            }
            Placement::Computed => Self::of_source(checkpoint.source(), name, info),
        }
    }

    pub(crate) fn of_source(source: &'a dyn TensorSource, name: &str, info: &TensorInfo) -> Self {
        let (rows, columns) = matrix(&info.shape);
        Self::Source {
            source,
            name: name.to_owned(),
            row: 0,
            rows,
            row_len: (columns * info.dtype.width()).max(1),
        }
    }

    /// Returns the next rows, `most` of them at most, or nothing at the end.
    pub(crate) fn next<'b>(
        &mut self,
        most: usize,
        buffer: &'b mut Vec<u8>,
    ) -> Result<Option<Cow<'b, [u8]>>, RowsError>
    where
        'a: 'b,
    {
        match self {
            Self::Chunks(chunks) => Ok(chunks.next_rows(most, buffer)?),
            Self::Source {
                source,
                name,
                row,
                rows,
                row_len,
            } => {
                let handy = (STEP_LEN / *row_len).clamp(1, most.max(1));
                let end = (*rows).min(*row + handy);
                if *row >= end {
                    return Ok(None);
                }
                let bytes = source.rows(name, *row..end)?;
                *row = end;
                buffer.clear();
                buffer.extend_from_slice(&bytes);
                Ok(Some(Cow::Borrowed(buffer)))
            }
        }
    }

    /// Has the checks of its files made, also where not all of it was read.
    pub(crate) fn check(&self) -> Result<(), RowsError> {
        match self {
            Self::Chunks(chunks) => Ok(chunks.check()?),
            Self::Source { .. } => Ok(()),
        }
    }
}

/// Bytes of one step through a tensor of any source.
const STEP_LEN: usize = 1 << 20;

/// What is counted of bytes that pass.
pub(crate) struct Tally {
    hasher: Sha256,
    non_finite: NonFiniteCount,
}

impl Tally {
    pub(crate) fn new() -> Self {
        Self {
            hasher: Sha256::new(),
            non_finite: NonFiniteCount::default(),
        }
    }

    pub(crate) fn hash(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
    }

    /// Hashes what is given of several streams, each with its own bytes, in less time than one after another.
    pub(crate) fn hash_each(streams: Vec<(&mut Self, &[u8])>) {
        let streams = streams.into_iter();
        let mut streams: Vec<_> = streams
            .map(|(tally, bytes)| (&mut tally.hasher, bytes))
            .collect();
        Sha256::update_each(&mut streams);
    }

    pub(crate) fn count(&mut self, bytes: &[u8], dtype: Dtype) {
        let count = count_non_finite(bytes, dtype);
        self.non_finite.nan += count.nan;
        self.non_finite.infinite += count.infinite;
    }

    /// Returns the digest in lower-case hexadecimal, and the count.
    pub(crate) fn finish(self) -> (String, NonFiniteCount) {
        (hexadecimal(&self.hasher.finish()), self.non_finite)
    }
}
