//! The tokenizer as a value: what it holds, and what can be asked about its vocabulary.

use std::fmt;
use std::sync::{Mutex, OnceLock};

use crate::decode::Decoder;
use crate::engine::{self, EngineError};
use crate::fast::{Foreign, Model, Worker};
use crate::load::TokenizerError;
use crate::special::{Literals, SpecialToken};

/// How the token is written that parts documents, in every StableLM and GPT-NeoX vocabulary.
const END_OF_DOCUMENT: &str = "<|endoftext|>";

/// One `tokenizer.json`, ready to encode and decode on any number of threads.
pub struct Tokenizer {
    pub(crate) bytes: Vec<u8>,
    pub(crate) sha256: String,
    pub(crate) vocab_size: usize,
    /// Sorted by id.
    pub(crate) special_tokens: Vec<SpecialToken>,
    pub(crate) literals: Literals,
    pub(crate) decoder: Decoder,
    /// The added tokens and their ids.
    pub(crate) added: Vec<(String, u32)>,
    /// Tokenizes special tokens in a text as plain text; read only when something asks for it.
    pub(crate) escaping: OnceLock<tokenizers::Tokenizer>,
    /// Turns them into their ids; the choice is a setting of the whole engine, and few need both.
    pub(crate) encoding: OnceLock<tokenizers::Tokenizer>,
    /// The fast engine, or why it can't stand in for the library.
    pub(crate) fast: Result<Model, Foreign>,
    /// Workers that `encode` has made and nobody uses now.
    pub(crate) idle: Mutex<Vec<Worker>>,
}

impl Tokenizer {
    /// Returns the SHA-256 of the file's bytes, in hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Returns the file as read, to be written beside a converted checkpoint.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the highest id plus one, added tokens included.
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    /// Returns the name of the code that encodes: `stablelm`, or `huggingface` for a tokenizer that
    /// only the library knows.
    pub fn engine(&self) -> &'static str {
        if self.fast.is_ok() {
            "stablelm"
        } else {
            "huggingface"
        }
    }

    /// Returns why the library encodes, if it does.
    pub fn why_not_fast(&self) -> Option<String> {
        self.fast.as_ref().err().map(ToString::to_string)
    }

    /// Returns the id of `<|endoftext|>`, which parts documents.
    ///
    /// It is found by name: 0 in GPT-NeoX, 100257 in StableLM 2.
    pub fn end_of_document(&self) -> Result<u32, TokenizerError> {
        self.token_id(END_OF_DOCUMENT)
            .ok_or_else(|| TokenizerError::NoEndOfDocument {
                expected: END_OF_DOCUMENT,
                special: self
                    .special_tokens
                    .iter()
                    .map(|token| token.text.clone())
                    .collect(),
            })
    }

    /// Returns the special tokens, sorted by id.
    pub fn special_tokens(&self) -> &[SpecialToken] {
        &self.special_tokens
    }

    /// Returns the id of a token, spelled as in the vocabulary.
    pub fn token_id(&self, token: &str) -> Option<u32> {
        let added = self.added.iter().find(|(text, _)| text == token);
        added
            .map(|&(_, id)| id)
            .or_else(|| self.library().ok()?.token_to_id(token))
    }

    /// Returns the library's tokenizer, which treats special tokens in a text as plain text.
    pub(crate) fn library(&self) -> Result<&tokenizers::Tokenizer, EngineError> {
        if let Some(library) = self.escaping.get() {
            return Ok(library);
        }
        let library = engine::read_escaping(&self.bytes)?;
        Ok(self.escaping.get_or_init(|| library))
    }
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Tokenizer")
            .field("sha256", &self.sha256)
            .field("vocab_size", &self.vocab_size)
            .field("special_tokens", &self.special_tokens)
            .finish_non_exhaustive()
    }
}
