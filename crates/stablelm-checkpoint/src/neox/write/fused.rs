//! A file that fails only once.

use std::io::{self, ErrorKind, Seek, SeekFrom, Write};

/// A file that only pretends to be written once writing has failed.
///
/// The container's writer tries to complete itself again after a failure; what goes wrong then it prints, or panics over.
#[derive(Debug)]
pub(super) struct Fused<W> {
    inner: W,
    failed: bool,
    position: u64,
    end: u64,
}

impl<W> Fused<W> {
    pub(super) fn new(inner: W) -> Self {
        Self {
            inner,
            failed: false,
            position: 0,
            end: 0,
        }
    }

    pub(super) fn into_inner(self) -> W {
        self.inner
    }

    fn advance(&mut self, len: usize) -> usize {
        self.position = self.position.saturating_add(len as u64);
        self.end = self.end.max(self.position);
        len
    }

    /// Stays behind everything ever written, where any position taken before is smaller.
    fn fail(&mut self) {
        self.failed = true;
        self.position = self.end;
    }
}

impl<W: Write> Write for Fused<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.failed {
            return Ok(self.advance(bytes.len()));
        }
        match self.inner.write(bytes) {
            Ok(len) => Ok(self.advance(len)),
            Err(error) => {
                if error.kind() != ErrorKind::Interrupted {
                    self.fail();
                }
                Err(error)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.failed {
            return Ok(());
        }
        self.inner.flush().inspect_err(|_| self.fail())
    }
}

impl<W: Seek> Seek for Fused<W> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        if self.failed {
            return Ok(self.end);
        }
        match self.inner.seek(to) {
            Ok(position) => {
                self.position = position;
                self.end = self.end.max(position);
                Ok(position)
            }
            Err(error) => {
                self.fail();
                Err(error)
            }
        }
    }
}
