//! Ids to text one at a time, for text that is shown while it is made.

use std::mem;

use tokenizers::step_decode_stream;

use crate::decode::{DecodeError, Decoder};
use crate::engine::EngineError;
use crate::tokenizer::Tokenizer;

/// Turns ids into text as they come, and never gives out half a character.
///
/// The parts joined are what [`Tokenizer::decode`] gives for all ids with special tokens kept.
/// Work is in proportion to the text, not to its square.
#[derive(Debug)]
pub struct DecodeStream<'a> {
    tokenizer: &'a Tokenizer,
    /// Bytes that do not end a character yet.
    pending: Vec<u8>,
    /// What the library needs to see again: ids, the text of the first of them, and how many.
    ids: Vec<u32>,
    prefix: String,
    prefix_len: usize,
}

impl Tokenizer {
    /// Returns a stream that has seen no ids.
    pub fn decode_stream(&self) -> DecodeStream<'_> {
        DecodeStream {
            tokenizer: self,
            pending: Vec::new(),
            ids: Vec::new(),
            prefix: String::new(),
            prefix_len: 0,
        }
    }
}

impl DecodeStream<'_> {
    /// Takes the next id and returns the text that is now complete, which may be empty.
    ///
    /// An id that no token has is refused and leaves the stream as it was.
    pub fn push(&mut self, id: u32) -> Result<String, DecodeError> {
        match &self.tokenizer.decoder {
            Decoder::Bytes(table) => {
                let bytes = self.tokenizer.bytes_of(table, id)?;
                self.pending.extend_from_slice(bytes);
                Ok(take_complete(&mut self.pending))
            }
            Decoder::Library => {
                self.tokenizer.check_id(id)?;
                let failed = |num_ids, source| DecodeError::Engine { num_ids, source };
                let library = self
                    .tokenizer
                    .library()
                    .map_err(|source| failed(1, source))?;
                let step = step_decode_stream(
                    library,
                    vec![id],
                    false,
                    &mut self.ids,
                    &mut self.prefix,
                    &mut self.prefix_len,
                );
                step.map(Option::unwrap_or_default)
                    .map_err(|error| failed(self.ids.len(), EngineError::new(error)))
            }
        }
    }

    /// Ends the text: returns what is left, with U+FFFD for a character that was never completed.
    ///
    /// The stream is then as new.
    pub fn finish(&mut self) -> String {
        let pending = mem::take(&mut self.pending);
        let mut rest = String::from_utf8_lossy(&pending).into_owned();

        let ids = mem::take(&mut self.ids);
        let prefix = mem::take(&mut self.prefix);
        self.prefix_len = 0;
        if ids.is_empty() {
            return rest;
        }
        if let Ok(Ok(text)) = self
            .tokenizer
            .library()
            .map(|library| library.decode(&ids, false))
        {
            rest.push_str(text.strip_prefix(&prefix).unwrap_or_default());
        }
        rest
    }
}

/// Takes the complete characters off the front of `pending`, with U+FFFD for broken bytes, and
/// leaves bytes that more bytes could still complete.
fn take_complete(pending: &mut Vec<u8>) -> String {
    let mut text = String::with_capacity(pending.len());
    let mut rest = pending.as_slice();
    loop {
        match str::from_utf8(rest) {
            Ok(valid) => {
                text.push_str(valid);
                pending.clear();
                return text;
            }
            Err(error) => {
                let (valid, after) = rest.split_at(error.valid_up_to());
                text.push_str(str::from_utf8(valid).expect("it was found to be valid"));
                let Some(len) = error.error_len() else {
                    let num_done = pending.len() - after.len();
                    pending.drain(..num_done);
                    return text;
                };
                text.push(char::REPLACEMENT_CHARACTER);
                rest = &after[len..];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pending: &[u8], text: &str, left: &[u8]) {
        let mut bytes = pending.to_vec();
        assert_eq!(take_complete(&mut bytes), text);
        assert_eq!(bytes, left);
    }

    #[test]
    fn keeps_back_what_may_become_a_character() {
        check(b"", "", b"");
        check(b"ab", "ab", b"");
        check(b"a\xF0\x9F", "a", b"\xF0\x9F");
        check("aé".as_bytes(), "aé", b"");
    }

    #[test]
    fn replaces_what_can_not() {
        check(b"\xFFa\xC3", "\u{FFFD}a", b"\xC3");
        check(b"\xF0\x9Fa", "\u{FFFD}a", b"");
        check(b"\xE2\x28\xA1", "\u{FFFD}(\u{FFFD}", b"");
    }
}
