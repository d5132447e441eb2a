//! Lines of JSON for a SIMD parser, which takes most of them.

use std::mem;

use simd_json::{Buffers, INPUT_PADDING, Tape};

/// Longest line for this parser, whose index of a line can be many times as long as the line.
pub(crate) const MAX_LEN: usize = 1 << 20;

/// A parser that keeps its memory from line to line.
pub(crate) struct TapeParser {
    /// A copy of the line, which the parser writes unescaped strings into.
    line: Vec<u8>,
    buffers: Buffers,
    tape: Tape<'static>,
}

impl Default for TapeParser {
    fn default() -> Self {
        Self {
            line: Vec::new(),
            buffers: Buffers::default(),
            tape: Tape(Vec::new()),
        }
    }
}

impl TapeParser {
    /// What `find` finds in a line; nothing if the line is too long or no JSON.
    pub(crate) fn parse<T>(
        &mut self,
        line: &[u8],
        find: impl FnOnce(&Tape<'_>) -> Option<T>,
    ) -> Option<T> {
        if line.len() > MAX_LEN {
            return None;
        }
        self.line.clear();
        self.line.extend_from_slice(line);
        self.line.resize(line.len() + INPUT_PADDING, 0);
        let mut tape = mem::replace(&mut self.tape, Tape(Vec::new())).reset();
        let parsed =
            simd_json::fill_tape_padded(&mut self.line, line.len(), &mut self.buffers, &mut tape);
        let found = parsed.ok().and_then(|()| find(&tape));
        self.tape = tape.reset();
        found
    }
}
