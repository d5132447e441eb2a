//! Text to ids.

use crate::encoder::TokenInt;
use crate::engine::{self, EngineError};
use crate::special::SpecialTokensInText;
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
    /// The caller's integers can't hold every id.
    #[error("expected ids up to {max_id}, found a vocabulary of {vocab_size}")]
    TooNarrow {
        /// One more than the highest id of a token.
        vocab_size: usize,
        /// The highest id that fits.
        max_id: u32,
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
    /// May be called from many threads at once. Whoever encodes much is faster with an
    /// [`Encoder`](crate::Encoder) of its own.
    pub fn encode(
        &self,
        text: &str,
        special: SpecialTokensInText,
    ) -> Result<Encoding, EncodeError> {
        let mut encoder = self.idle_encoder();
        let mut ids = Vec::new();
        let special_tokens_found = encoder.0.encode_into(text, special, &mut ids)?;
        Ok(Encoding {
            ids,
            special_tokens_found,
        })
    }

    /// Appends the ids that the library gives.
    pub(crate) fn encode_by_library<I: TokenInt>(
        &self,
        text: &str,
        special: SpecialTokensInText,
        ids: &mut Vec<I>,
    ) -> Result<u64, EncodeError> {
        let failed = |source| EncodeError::Engine {
            len: text.len(),
            source,
        };
        let escaping = self.library().map_err(failed)?;
        let found = || self.literals.find_in(text);
        let num_found = found().count() as u64;
        let mut extend = |engine, text: &str, num_found| {
            let found = encode_with(engine, text)?;
            ids.extend(found.get_ids().iter().map(|&id| I::from_id(id)));
            Ok(num_found)
        };
        match special {
            SpecialTokensInText::Error if num_found > 0 => Err(self.literals.refuse(text)),
            SpecialTokensInText::Drop if num_found > 0 => {
                let (kept, num_cut) = self.literals.cut_from(text);
                extend(escaping, &kept, num_cut)
            }
            SpecialTokensInText::Error | SpecialTokensInText::Drop => extend(escaping, text, 0),
            SpecialTokensInText::Escape => {
                let present = found().map(|(_, token)| token);
                let encoded = encode_with(escaping, text)?;
                let made = present.filter(|token| encoded.get_ids().contains(&token.id));
                if let Some(token) = made.min_by_key(|token| token.id) {
                    return Err(EncodeError::NotEscaped {
                        token: token.text.clone(),
                    });
                }
                ids.extend(encoded.get_ids().iter().map(|&id| I::from_id(id)));
                Ok(num_found)
            }
            SpecialTokensInText::Encode => {
                let encoding = self.encoding.get_or_init(|| engine::to_encoding(escaping));
                extend(encoding, text, num_found)
            }
        }
    }
}

fn encode_with(
    engine: &tokenizers::Tokenizer,
    text: &str,
) -> Result<tokenizers::Encoding, EncodeError> {
    engine
        .encode_fast(text, false)
        .map_err(|error| EncodeError::Engine {
            len: text.len(),
            source: EngineError::new(error),
        })
}
