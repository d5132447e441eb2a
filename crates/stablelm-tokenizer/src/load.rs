//! A `tokenizer.json` in, a [`Tokenizer`] out.

use std::borrow::Borrow;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

use sha2::{Digest as _, Sha256};

use crate::decode::Decoder;
use crate::engine::{self, EngineError};
use crate::fast::{Family, File, Foreign, Model};
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
    fs::File::open(path)?
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
    let family = match serde_json::from_slice::<File<'_>>(&bytes) {
        Ok(file) => Family::new(&file).map(|family| (family, file)),
        Err(error) => Err(Foreign::File(error.to_string())),
    };
    match family {
        Ok((family, file)) => {
            let parts = Parts::of_family(&file)?;
            let fast = Ok(Model::new(family));
            drop(file);
            Ok(parts.assemble(bytes, OnceLock::new(), fast))
        }
        Err(why) => {
            let library = engine::read_escaping(&bytes);
            let library = library.map_err(|source| TokenizerError::Parse { source })?;
            let parts = Parts::of_library(&library)?;
            Ok(parts.assemble(bytes, library.into(), Err(why)))
        }
    }
}

/// What is known of a vocabulary, whoever read it.
struct Parts {
    highest_id: u32,
    added: Vec<(String, u32)>,
    special_tokens: Vec<SpecialToken>,
    decoder: Decoder,
}

impl Parts {
    fn of_family(file: &File<'_>) -> Result<Self, TokenizerError> {
        let vocab = file.model.vocab.iter();
        let vocab = vocab.map(|(token, &id)| (Borrow::<str>::borrow(token), id));
        let added = || {
            let tokens = file.added_tokens.iter();
            tokens.map(|token| (token.content.as_str(), token.id, token.special))
        };
        let tokens = vocab.chain(added().map(|(token, id, _)| (token, id)));
        let highest_id = check_ids(tokens.clone().map(|(_, id)| id))?;
        Ok(Self {
            decoder: Decoder::of_tokens(tokens, highest_id),
            ..Self::of_added(highest_id, added())
        })
    }

    fn of_library(library: &tokenizers::Tokenizer) -> Result<Self, TokenizerError> {
        let highest_id = check_ids(library.get_vocab(true).into_values())?;
        let tokens = library.get_added_vocabulary().get_added_tokens_decoder();
        let added = tokens
            .iter()
            .map(|(&id, token)| (token.content.as_str(), id, token.special));
        Ok(Self {
            decoder: Decoder::of_library(library, highest_id),
            ..Self::of_added(highest_id, added)
        })
    }

    fn of_added<'a>(
        highest_id: u32,
        added: impl Iterator<Item = (&'a str, u32, bool)> + Clone,
    ) -> Self {
        let special = added.clone().filter(|&(_, _, is_special)| is_special);
        let mut special_tokens: Vec<_> = special
            .map(|(text, id, _)| SpecialToken {
                id,
                text: text.to_owned(),
            })
            .collect();
        special_tokens.sort_by_key(|token| token.id);
        Self {
            highest_id,
            added: added.map(|(text, id, _)| (text.to_owned(), id)).collect(),
            special_tokens,
            decoder: Decoder::Library,
        }
    }

    fn assemble(
        self,
        bytes: Vec<u8>,
        escaping: OnceLock<tokenizers::Tokenizer>,
        fast: Result<Model, Foreign>,
    ) -> Tokenizer {
        Tokenizer {
            sha256: hex(&Sha256::digest(&bytes)),
            bytes,
            vocab_size: self.highest_id as usize + 1,
            literals: Literals::new(&self.special_tokens),
            special_tokens: self.special_tokens,
            decoder: self.decoder,
            added: self.added,
            escaping,
            encoding: OnceLock::new(),
            fast,
            idle: Mutex::default(),
        }
    }
}

/// Returns the highest id, if there is one and tables can be that long.
fn check_ids(ids: impl Iterator<Item = u32>) -> Result<u32, TokenizerError> {
    let id = ids.max().ok_or(TokenizerError::NoTokens)?;
    if id > MAX_ID {
        return Err(TokenizerError::IdTooLarge { id, limit: MAX_ID });
    }
    Ok(id)
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
