//! The encoders that are linked in, each called as its documentation says is fastest.
//!
//! Each keeps ids in the integers that it gives, so that none pays for a copy that another doesn't.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Error, Result};
use clap::ValueEnum;
use sha2::{Digest as _, Sha256};
use stablelm_tokenizer::{Encoder, SpecialTokensInText, Tokenizer};
use tokenizers_rc::pipeline::{EncodeOptions, PipelineToken, PipelineTokenizer};

/// An encoder that is linked in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Linked {
    /// `Encoder::encode_into` of stablelm-tokenizer.
    Ours,
    /// `encode_fast` of tokenizers 0.23.
    Hf,
    /// `encode_into` of the release candidate of tokenizers 1.0.
    HfRc,
}

impl fmt::Display for Linked {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Ours => "ours",
            Self::Hf => "hf",
            Self::HfRc => "hf-rc",
        })
    }
}

/// Appends ids to a buffer of its own.
pub(crate) trait Encode {
    /// Appends the ids of a text to the buffer.
    fn encode(&mut self, text: &str) -> Result<()>;

    /// Makes room for `len` ids, in memory that was written to before.
    fn reserve(&mut self, len: usize);

    /// Empties the buffer.
    fn clear(&mut self);

    /// Returns how many ids are in the buffer, and the SHA-256 of them as little-endian `u16`s.
    fn digest(&self) -> Result<(usize, String)>;
}

/// An encoder that has seen no text.
pub(crate) struct Fresh {
    /// The encoder.
    pub(crate) encoder: Box<dyn Encode>,
    /// How long reading the tokenizer took.
    pub(crate) load: Duration,
    /// How long making the encoder took after that.
    pub(crate) start: Duration,
}

/// Returns a fresh encoder.
///
/// What it reads is never freed: the process is there for one measurement.
pub(crate) fn fresh(which: Linked, tokenizer: &Path) -> Result<Fresh> {
    let begin = Instant::now();
    let load;
    let encoder: Box<dyn Encode> = match which {
        Linked::Ours => {
            let tokenizer: &'static Tokenizer = Box::leak(Box::new(ours(tokenizer)?));
            load = begin.elapsed();
            Box::new(Buffered::new(tokenizer.encoder(), 0_u16))
        }
        Linked::Hf => {
            let read = tokenizers::Tokenizer::from_file(file(tokenizer));
            let read = read.map_err(Error::from_boxed)?;
            load = begin.elapsed();
            Box::new(Buffered::new(read, 0_u32))
        }
        Linked::HfRc => {
            let canonical = tokenizers_rc::canonicalize_file(file(tokenizer))?;
            let read = tokenizers_rc::from_json(&canonical).map_err(Error::from_boxed)?;
            load = begin.elapsed();
            let with_options = (read, EncodeOptions::no_specials());
            Box::new(Buffered::new(with_options, PipelineToken::from(0)))
        }
    };
    Ok(Fresh {
        encoder,
        load,
        start: begin.elapsed().saturating_sub(load),
    })
}

/// Reads our tokenizer.
pub(crate) fn ours(tokenizer: &Path) -> Result<Tokenizer> {
    Tokenizer::from_file(tokenizer)
        .with_context(|| format!("failed to read `{}`", tokenizer.display()))
}

/// Returns the file that a path to a tokenizer means: itself, or the one in that folder.
pub(crate) fn file(tokenizer: &Path) -> PathBuf {
    if tokenizer.is_dir() {
        tokenizer.join("tokenizer.json")
    } else {
        tokenizer.to_owned()
    }
}

/// What is particular to an encoder: how it is called.
trait Append<I> {
    fn append(&mut self, text: &str, ids: &mut Vec<I>) -> Result<()>;
}

impl Append<u16> for Encoder<'static> {
    fn append(&mut self, text: &str, ids: &mut Vec<u16>) -> Result<()> {
        self.encode_into(text, SpecialTokensInText::Encode, ids)?;
        Ok(())
    }
}

impl Append<u32> for tokenizers::Tokenizer {
    fn append(&mut self, text: &str, ids: &mut Vec<u32>) -> Result<()> {
        let encoding = self.encode_fast(text, false).map_err(Error::from_boxed)?;
        ids.extend_from_slice(encoding.get_ids());
        Ok(())
    }
}

impl Append<PipelineToken> for (PipelineTokenizer, EncodeOptions) {
    fn append(&mut self, text: &str, ids: &mut Vec<PipelineToken>) -> Result<()> {
        self.0
            .encode_into(text, &self.1, ids)
            .map_err(Error::from_boxed)
    }
}

struct Buffered<E, I> {
    encoder: E,
    ids: Vec<I>,
    filler: I,
}

impl<E, I> Buffered<E, I> {
    fn new(encoder: E, filler: I) -> Self {
        Self {
            encoder,
            ids: Vec::new(),
            filler,
        }
    }
}

impl<E: Append<I>, I: Copy + Into<u32>> Encode for Buffered<E, I> {
    fn encode(&mut self, text: &str) -> Result<()> {
        self.encoder.append(text, &mut self.ids)
    }

    fn reserve(&mut self, len: usize) {
        self.ids.clear();
        self.ids.resize(len, self.filler);
        // The system gives memory when it is first written to, and zeros aren't always written.
        std::hint::black_box(&mut self.ids).fill(self.filler);
        self.ids.clear();
    }

    fn clear(&mut self) {
        self.ids.clear();
    }

    fn digest(&self) -> Result<(usize, String)> {
        let mut bytes = Vec::with_capacity(2 * self.ids.len());
        for id in &self.ids {
            let id: u32 = (*id).into();
            let id = u16::try_from(id).context("the vocabulary is too large to compare")?;
            bytes.extend_from_slice(&id.to_le_bytes());
        }
        let digest = Sha256::digest(&bytes);
        let hex: Vec<String> = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok((self.ids.len(), hex.concat()))
    }
}
