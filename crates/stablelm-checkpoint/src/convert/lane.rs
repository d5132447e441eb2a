//! A parameter on its way to the output, a few rows at a time, and what is noted of it.

use std::borrow::Cow;

use stablelm_model::Dtype;

use crate::cast::cast;
use crate::convert::ConvertError;
use crate::convert::journal::Noted;
use crate::convert::plan::Content;
use crate::open::Checkpoint;
use crate::stream::{Rows, Tally};

/// What is read, from its first row to its last.
pub(super) struct Lane<'a> {
    rows: Rows<'a>,
    buffer: Vec<u8>,
    from: Dtype,
    to: Dtype,
    source: Tally,
    /// Of the output, where that is something else.
    output: Option<Tally>,
}

/// Some rows.
pub(super) struct Piece<'b> {
    stored: Cow<'b, [u8]>,
    source: &'b mut Tally,
    /// As the output holds them, where that is something else.
    cast: Option<(Cow<'b, [u8]>, &'b mut Tally)>,
}

impl<'a> Lane<'a> {
    pub(super) fn new(checkpoint: &'a Checkpoint, content: &'a Content) -> Self {
        let Content {
            parameter,
            info,
            placement,
            dtype,
        } = content;
        Self {
            rows: Rows::new(checkpoint, parameter, info, placement),
            buffer: Vec::new(),
            from: info.dtype,
            to: *dtype,
            source: Tally::new(),
            output: (*dtype != info.dtype).then(Tally::new),
        }
    }

    /// Returns the next rows, cast and counted but not hashed, or nothing at the end.
    pub(super) fn next(&mut self) -> Result<Option<Piece<'_>>, ConvertError> {
        let Some(stored) = self.rows.next(usize::MAX, &mut self.buffer)? else {
            return Ok(None);
        };
        let cast = self.output.as_mut().map(|tally| {
            let bytes = cast(Cow::Borrowed(&*stored), self.from, self.to).into_owned();
            tally.count(&bytes, self.to);
            (Cow::Owned(bytes), tally)
        });
        if cast.is_none() {
            self.source.count(&stored, self.from);
        }
        Ok(Some(Piece {
            stored,
            source: &mut self.source,
            cast,
        }))
    }

    pub(super) fn finish(self) -> Noted {
        let (source, non_finite) = self.source.finish();
        let (sha256, non_finite) = match self.output {
            Some(output) => output.finish(),
            None => (source.clone(), non_finite),
        };
        Noted {
            source,
            sha256,
            nan: non_finite.nan,
            infinite: non_finite.infinite,
        }
    }
}

impl Piece<'_> {
    /// Returns the rows as the output holds them.
    pub(super) fn bytes(&self) -> &[u8] {
        match &self.cast {
            Some((bytes, _)) => bytes,
            None => &self.stored,
        }
    }

    /// Hashes the pieces of several parameters side by side.
    pub(super) fn hash_each<'b>(pieces: impl Iterator<Item = &'b mut Self>)
    where
        Self: 'b,
    {
        let (mut streams, mut casts) = (Vec::new(), Vec::new());
        for piece in pieces {
            streams.push((&mut *piece.source, &*piece.stored));
            if let Some((bytes, tally)) = &mut piece.cast {
                casts.push((&mut **tally, &**bytes));
            }
        }
        // Those of like length beside each other.
        streams.append(&mut casts);
        Tally::hash_each(streams);
    }
}
