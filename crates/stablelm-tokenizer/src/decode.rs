//! Ids to text.

use tokenizers::DecoderWrapper;

use crate::engine::EngineError;
use crate::special::SpecialTokensInOutput;
use crate::tokenizer::Tokenizer;

/// Why ids can't be turned into text.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// No token has the id. Rows that only pad a model's vocabulary have no token.
    #[error("expected the id of a token, below {vocab_size}, found {id}")]
    UnknownId {
        /// The id.
        id: u32,
        /// One more than the highest id of a token.
        vocab_size: usize,
    },
    /// The library refused the ids.
    #[error("failed to decode {num_ids} ids")]
    Engine {
        /// How many ids there were.
        num_ids: usize,
        /// What the library reported.
        #[source]
        source: EngineError,
    },
}

/// How tokens become text.
#[derive(Debug)]
pub(crate) enum Decoder {
    /// Each token stands for bytes, whatever is around it: the bytes by id.
    Bytes(Vec<Option<Box<[u8]>>>),
    /// Tokens have to be seen together, by the library.
    Library,
}

impl Decoder {
    /// Takes the tokens of a vocabulary whose tokens stand for bytes.
    pub(crate) fn of_tokens<'a>(
        tokens: impl Iterator<Item = (&'a str, u32)>,
        highest_id: u32,
    ) -> Self {
        let mut table = vec![None; highest_id as usize + 1];
        for (token, id) in tokens {
            table[id as usize] = Some(token_bytes(token));
        }
        Self::Bytes(table)
    }

    /// Takes the decoder of the library.
    pub(crate) fn of_library(engine: &tokenizers::Tokenizer, highest_id: u32) -> Self {
        match engine.get_decoder() {
            Some(DecoderWrapper::ByteLevel(_)) => {
                let bytes = |id| engine.id_to_token(id).map(|token| token_bytes(&token));
                Self::Bytes((0..=highest_id).map(bytes).collect())
            }
            _ => Self::Library,
        }
    }
}

impl Tokenizer {
    /// Returns the text of ids, with U+FFFD for bytes that are not UTF-8.
    pub fn decode(
        &self,
        ids: &[u32],
        special: SpecialTokensInOutput,
    ) -> Result<String, DecodeError> {
        match &self.decoder {
            Decoder::Bytes(table) => {
                let mut bytes = Vec::with_capacity(4 * ids.len());
                for &id in ids {
                    let token = self.bytes_of(table, id)?;
                    if special == SpecialTokensInOutput::Keep || !self.is_special(id) {
                        bytes.extend_from_slice(token);
                    }
                }
                Ok(String::from_utf8(bytes)
                    .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
            }
            Decoder::Library => {
                ids.iter().try_for_each(|&id| self.check_id(id))?;
                let skip_special = special == SpecialTokensInOutput::Skip;
                let failed = |source| DecodeError::Engine {
                    num_ids: ids.len(),
                    source,
                };
                let library = self.library().map_err(failed)?;
                let text = library.decode(ids, skip_special);
                text.map_err(EngineError::new).map_err(failed)
            }
        }
    }

    pub(crate) fn bytes_of<'a>(
        &self,
        table: &'a [Option<Box<[u8]>>],
        id: u32,
    ) -> Result<&'a [u8], DecodeError> {
        usize::try_from(id)
            .ok()
            .and_then(|place| table.get(place)?.as_deref())
            .ok_or_else(|| self.unknown_id(id))
    }

    /// Refuses an id that no token has; the library would leave it out in silence.
    pub(crate) fn check_id(&self, id: u32) -> Result<(), DecodeError> {
        let library = self
            .library()
            .map_err(|source| DecodeError::Engine { num_ids: 1, source })?;
        match library.id_to_token(id) {
            Some(_) => Ok(()),
            None => Err(self.unknown_id(id)),
        }
    }

    fn unknown_id(&self, id: u32) -> DecodeError {
        DecodeError::UnknownId {
            id,
            vocab_size: self.vocab_size,
        }
    }

    fn is_special(&self, id: u32) -> bool {
        self.special_tokens
            .binary_search_by_key(&id, |token| token.id)
            .is_ok()
    }
}

/// Returns the bytes that a byte-level token stands for.
///
/// A token with a character outside the byte alphabet, such as an added token of spaces, stands
/// for its own text.
fn token_bytes(token: &str) -> Box<[u8]> {
    let bytes: Option<Vec<u8>> = token.chars().map(byte_of).collect();
    bytes.unwrap_or_else(|| token.as_bytes().to_vec()).into()
}

/// Returns the byte that a character of the byte alphabet stands for.
///
/// The alphabet is that of GPT-2: bytes with a visible Latin-1 character are that character, and
/// the 68 others are U+0100 and up, in order.
pub(crate) fn byte_of(character: char) -> Option<u8> {
    match u32::from(character) {
        point @ (0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF) => u8::try_from(point).ok(),
        point @ 0x100..=0x120 => u8::try_from(point - 0x100).ok(),
        point @ 0x121..=0x142 => u8::try_from(point - 0x121 + 0x7F).ok(),
        0x143 => Some(0xAD),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn check(token: &str, expected: &[u8]) {
        assert_eq!(*token_bytes(token), *expected, "{token}");
    }

    #[test]
    fn tokens_stand_for_bytes() {
        check("Ġkeeper", b" keeper");
        check("Ċ", b"\n");
        check("Ã©", "é".as_bytes());
        check("Ń", &[0xAD]);
        check("    ", b"    ");
        check("Ġ漢", "Ġ漢".as_bytes());
    }

    #[test]
    fn the_byte_alphabet_is_that_of_the_library() {
        let alphabet: HashSet<char> = tokenizers::pre_tokenizers::byte_level::ByteLevel::alphabet()
            .into_iter()
            .collect();
        let ours: HashSet<char> = (0..0x200)
            .filter_map(char::from_u32)
            .filter(|&character| byte_of(character).is_some())
            .collect();
        assert_eq!(ours, alphabet);
        let bytes: HashSet<u8> = alphabet.into_iter().filter_map(byte_of).collect();
        assert_eq!(bytes.len(), 256);
    }
}
