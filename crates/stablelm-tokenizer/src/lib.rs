//! Text to token ids and back, through one `tokenizer.json`.
//!
//! Ids are those of Hugging Face tokenizers 0.23, whose types stay inside this crate. The family of
//! GPT-2 and GPT-NeoX is encoded by an engine of our own ([`Encoder`], [`Instructions`]), all others
//! by the library. Literal special tokens in a text are treated as the caller says and counted,
//! nothing is added, cut off or padded, and streamed text never shows half a character.
//!
//! ```
//! use stablelm_tokenizer::{SpecialTokensInOutput, SpecialTokensInText, Tokenizer};
//!
//! # let folder = stablelm_testkit::fixtures().join("tokenizer");
//! let tokenizer = Tokenizer::from_file(&folder)?;
//! let text = "The keeper lit the lamp at dusk.";
//! let encoding = tokenizer.encode(text, SpecialTokensInText::Escape)?;
//! assert_eq!(tokenizer.decode(&encoding.ids, SpecialTokensInOutput::Keep)?, text);
//! assert_eq!(encoding.special_tokens_found, 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod decode;
mod encode;
mod encoder;
mod engine;
mod fast;
mod load;
mod special;
mod stream;
mod tokenizer;

pub use decode::DecodeError;
pub use encode::{EncodeError, Encoding};
pub use encoder::{Encoder, EncoderOptions, TokenInt};
pub use engine::EngineError;
pub use fast::Instructions;
pub use load::TokenizerError;
pub use special::{
    SpecialToken, SpecialTokensInOutput, SpecialTokensInText, UnknownSpecialTokensInText,
};
pub use stream::DecodeStream;
pub use tokenizer::Tokenizer;
