//! Text to ids.

use crate::engine::{self, EngineError};
use crate::special::{SpecialToken, SpecialTokensInText};
use crate::tokenizer::Tokenizer;

/// The ids of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoding {
    /// The ids, in the order of the text.
    pub ids: Vec<u32>,
    /// How many special tokens stood literally in the text.
    pub special_tokens_found: u64,
}

/// Why a text can't be encoded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// A special token stands in the text, and the caller wants none.
    #[error("expected no special token in the text, found `{token}` at byte {offset}")]
    SpecialToken {
        /// The first special token.
        token: String,
        /// Where it starts, in bytes from the start of the text.
        offset: usize,
    },
    /// The vocabulary makes the special id from plain text too, so that it can't be escaped.
    #[error("failed to tokenize the special token `{token}` as plain text")]
    NotEscaped {
        /// The special token.
        token: String,
    },
    /// The library refused the text.
    #[error("failed to tokenize a text of {len} bytes")]
    Engine {
        /// The length of the text in bytes.
        len: usize,
        /// What the library reported.
        #[source]
        source: EngineError,
    },
}

impl Tokenizer {
    /// Returns the ids of a text; none is added before or after them.
    ///
    /// May be called from many threads at once.
    pub fn encode(
        &self,
        text: &str,
        special: SpecialTokensInText,
    ) -> Result<Encoding, EncodeError> {
        let found = || self.literals.find_in(text);
        match special {
            SpecialTokensInText::Error => match found().next() {
                Some((offset, token)) => Err(EncodeError::SpecialToken {
                    token: token.text.clone(),
                    offset,
                }),
                None => self.encode_plain(text, 0),
            },
            SpecialTokensInText::Drop if found().next().is_some() => {
                let (kept, num_cut) = self.literals.cut_from(text);
                self.encode_plain(&kept, num_cut)
            }
            SpecialTokensInText::Drop => self.encode_plain(text, 0),
            SpecialTokensInText::Escape => {
                let mut present: Vec<&SpecialToken> = found().map(|(_, token)| token).collect();
                let encoding = self.encode_plain(text, present.len() as u64)?;
                present.sort_by_key(|token| token.id);
                present.dedup();
                match present
                    .into_iter()
                    .find(|token| encoding.ids.contains(&token.id))
                {
                    Some(token) => Err(EncodeError::NotEscaped {
                        token: token.text.clone(),
                    }),
                    None => Ok(encoding),
                }
            }
            SpecialTokensInText::Encode => {
                let encoding = self
                    .encoding
                    .get_or_init(|| engine::to_encoding(&self.escaping));
                encode_with(encoding, text, found().count() as u64)
            }
        }
    }

    fn encode_plain(&self, text: &str, special_tokens_found: u64) -> Result<Encoding, EncodeError> {
        encode_with(&self.escaping, text, special_tokens_found)
    }
}

fn encode_with(
    engine: &tokenizers::Tokenizer,
    text: &str,
    special_tokens_found: u64,
) -> Result<Encoding, EncodeError> {
    let encoded = engine
        .encode_fast(text, false)
        .map_err(|error| EncodeError::Engine {
            len: text.len(),
            source: EngineError::new(error),
        })?;
    Ok(Encoding {
        ids: encoded.get_ids().to_vec(),
        special_tokens_found,
    })
}
