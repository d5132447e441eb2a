//! A `tokenizer.json` in, a [`Tokenizer`] out.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

use sha2::{Digest as _, Sha256};

use crate::decode::Decoder;
use crate::engine::{self, EngineError};
use crate::fast::{Family, Model};
use crate::special::{Literals, SpecialToken};
use crate::tokenizer::Tokenizer;

/// The largest file that is read; the largest in use are a tenth of it.
const MAX_FILE_LEN: u64 = 256 << 20;

/// The largest id that is accepted, because tables grow with it.
const MAX_ID: u32 = (1 << 24) - 1;

/// Why a tokenizer can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// The file can't be read.
    #[error("failed to read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system reported.
        #[source]
        source: io::Error,
    },
    /// The file was read, but is no usable tokenizer.
    #[error("failed to load the tokenizer `{}`", path.display())]
    InFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Box<TokenizerError>,
    },
    /// The file is larger than any tokenizer.
    #[error("expected at most {limit} bytes, found {len} or more")]
    TooLarge {
        /// Bytes found before reading stopped.
        len: u64,
        /// Bytes that are accepted.
        limit: u64,
    },
    /// The bytes are no `tokenizer.json`, or one that the library doesn't know.
    #[error("expected a tokenizer.json of Hugging Face tokenizers, version 1.0")]
    Parse {
        /// What the library reported.
        #[source]
        source: EngineError,
    },
    /// A token has an id that no vocabulary needs.
    #[error("expected token ids up to {limit}, found {id}")]
    IdTooLarge {
        /// The highest id found.
        id: u32,
        /// The highest id accepted.
        limit: u32,
    },
    /// There is no token in the vocabulary.
    #[error("expected a vocabulary, found no token")]
    NoTokens,
    /// The vocabulary has no token that ends a document.
    #[error(
        "expected the token `{expected}` to end documents with, found the special tokens {}",
        list(special)
    )]
    NoEndOfDocument {
        /// The token looked for.
        expected: &'static str,
        /// The special tokens there are.
        special: Vec<String>,
    },
}

impl Tokenizer {
    /// Reads a `tokenizer.json` from its bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TokenizerError> {
        read(bytes.to_vec())
    }

    /// Reads a `tokenizer.json`, or the one in a folder; errors name the file.
    pub fn from_file(path: &Path) -> Result<Self, TokenizerError> {
        let path = if path.is_dir() {
            path.join("tokenizer.json")
        } else {
            path.to_owned()
        };
        match read_limited(&path) {
            Ok(bytes) => read(bytes).map_err(|error| TokenizerError::InFile {
                path,
                source: Box::new(error),
            }),
            Err(source) => Err(TokenizerError::Read { path, source }),
        }
    }
}

/// Reads at most one byte more than is accepted.
fn read_limited(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(MAX_FILE_LEN + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn read(bytes: Vec<u8>) -> Result<Tokenizer, TokenizerError> {
    if bytes.len() as u64 > MAX_FILE_LEN {
        return Err(TokenizerError::TooLarge {
            len: bytes.len() as u64,
            limit: MAX_FILE_LEN,
        });
    }
    let (escaping, file) =
        engine::read_escaping(&bytes).map_err(|source| TokenizerError::Parse { source })?;
    let highest_id = escaping
        .get_vocab(true)
        .into_values()
        .max()
        .ok_or(TokenizerError::NoTokens)?;
    if highest_id > MAX_ID {
        return Err(TokenizerError::IdTooLarge {
            id: highest_id,
            limit: MAX_ID,
        });
    }
    let special_tokens = special_tokens(&escaping);
    let added = escaping.get_added_vocabulary().get_added_tokens_decoder();
    let family = Family::new(&file, added.iter().map(|(&id, token)| (id, token)));
    Ok(Tokenizer {
        fast: family.map(Model::new),
        idle: Mutex::default(),
        sha256: hex(&Sha256::digest(&bytes)),
        bytes,
        vocab_size: highest_id as usize + 1,
        literals: Literals::new(&special_tokens),
        special_tokens,
        decoder: Decoder::new(&escaping, highest_id),
        escaping,
        encoding: OnceLock::new(),
    })
}

fn special_tokens(engine: &tokenizers::Tokenizer) -> Vec<SpecialToken> {
    let mut tokens: Vec<SpecialToken> = engine
        .get_added_vocabulary()
        .get_added_tokens_decoder()
        .iter()
        .filter(|(_, token)| token.special)
        .map(|(&id, token)| SpecialToken {
            id,
            text: token.content.clone(),
        })
        .collect();
    tokens.sort_by_key(|token| token.id);
    tokens
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        write!(text, "{byte:02x}").expect("writing to a string never fails");
    }
    text
}

fn list(tokens: &[String]) -> String {
    if tokens.is_empty() {
        return "(none)".to_owned();
    }
    let quoted: Vec<String> = tokens.iter().map(|token| format!("`{token}`")).collect();
    quoted.join(", ")
}
