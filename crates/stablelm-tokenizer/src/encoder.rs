//! Text to ids for those who encode much: one encoder a worker, into a buffer of the caller's.

use std::fmt;
use std::sync::PoisonError;

use rayon::iter::{IntoParallelRefIterator as _, ParallelIterator as _};

use crate::encode::EncodeError;
use crate::fast::{self, Instructions, Model, Worker};
use crate::special::{Literals, SpecialTokensInText};
use crate::tokenizer::Tokenizer;

/// An integer that holds a token id: [`u16`] or [`u32`].
///
/// Sealed, because the fast engine writes ids as they lie in memory.
pub trait TokenInt: sealed::Sealed + Copy + Send + 'static {
    /// The highest id that fits.
    const MAX_ID: u32;

    /// Returns the id, which is at most [`MAX_ID`](Self::MAX_ID), as this type.
    #[doc(hidden)]
    fn from_id(id: u32) -> Self;

    /// Appends ids of 16 bits.
    #[doc(hidden)]
    fn extend(ids: &mut Vec<Self>, more: &[u16]);
}

impl TokenInt for u16 {
    const MAX_ID: u32 = u16::MAX as u32;

    fn from_id(id: u32) -> Self {
        u16::try_from(id).expect("the vocabulary was found to fit")
    }

    fn extend(ids: &mut Vec<Self>, more: &[u16]) {
        ids.extend_from_slice(more);
    }
}

impl TokenInt for u32 {
    const MAX_ID: u32 = u32::MAX;

    fn from_id(id: u32) -> Self {
        id
    }

    fn extend(ids: &mut Vec<Self>, more: &[u16]) {
        ids.extend(more.iter().copied().map(u32::from));
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for u16 {}
    impl Sealed for u32 {}
}

/// How an [`Encoder`] works. Ids never depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncoderOptions {
    /// Bytes in which it remembers what it has seen; it never takes more.
    pub cache_bytes: usize,
    /// Instructions that it uses; the fastest there are when `None`.
    pub instructions: Option<Instructions>,
}

impl EncoderOptions {
    /// For one who encodes much: 24 MB, of which 16 MiB are for short pretokens.
    pub const BULK: Self = Self {
        cache_bytes: 24_000_000,
        instructions: None,
    };

    /// For one who encodes a prompt now and then.
    pub const SMALL: Self = Self {
        cache_bytes: 1 << 20,
        instructions: None,
    };
}

/// Encodes one text after another; a worker has one of its own.
///
/// What it remembers of earlier texts makes it faster and never changes an id.
pub struct Encoder<'t> {
    tokenizer: &'t Tokenizer,
    /// The fast engine and its memory; the library works where there is none.
    worker: Option<(&'t Model, Worker)>,
}

/// Longer texts go to the library: the fast engine numbers bytes with 32 bits, and NFC can make a
/// text three times as long.
const MAX_LEN: usize = 1 << 30;

impl Tokenizer {
    /// Returns an encoder that has seen no text, with [`EncoderOptions::BULK`].
    pub fn encoder(&self) -> Encoder<'_> {
        self.encoder_with(EncoderOptions::BULK)
    }

    /// Returns an encoder that has seen no text.
    ///
    /// Instructions that the processor lacks are those of [`Instructions::Portable`].
    pub fn encoder_with(&self, options: EncoderOptions) -> Encoder<'_> {
        let fastest = || Instructions::available().last().copied();
        let wanted = options.instructions.or_else(fastest);
        let stages = wanted.and_then(fast::stages).unwrap_or(fast::PORTABLE);
        let worker = self.fast.as_ref().ok().map(|model| {
            let worker = Worker::new(model, stages, options.cache_bytes);
            (model, worker)
        });
        Encoder {
            tokenizer: self,
            worker,
        }
    }
}

impl Tokenizer {
    /// Returns the ids of many texts, encoded on the threads of the current `rayon` pool.
    ///
    /// The first text that is refused ends it. Ids are in the order of the texts, and the same for
    /// any number of threads.
    pub fn encode_batch<I: TokenInt>(
        &self,
        texts: &[&str],
        special: SpecialTokensInText,
    ) -> Result<Vec<Vec<I>>, EncodeError> {
        let encode = |encoder: &mut IdleEncoder<'_>, text: &&str| {
            let mut ids = Vec::new();
            let encoded = encoder.0.encode_into(text, special, &mut ids);
            encoded.map(|_| ids)
        };
        let texts = texts.par_iter();
        let encoded: Vec<_> = texts.map_init(|| self.idle_encoder(), encode).collect();
        // Which failure is first must not depend on which thread was.
        encoded.into_iter().collect()
    }

    /// Returns a small encoder, one that was used before if there is one.
    pub(crate) fn idle_encoder(&self) -> IdleEncoder<'_> {
        let idle = self
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        let encoder = match (self.fast.as_ref(), idle) {
            (Ok(model), Some(worker)) => Encoder {
                tokenizer: self,
                worker: Some((model, worker)),
            },
            _ => self.encoder_with(EncoderOptions::SMALL),
        };
        IdleEncoder(encoder)
    }
}

/// An encoder that goes back to its tokenizer when it is dropped.
pub(crate) struct IdleEncoder<'t>(pub(crate) Encoder<'t>);

impl Drop for IdleEncoder<'_> {
    fn drop(&mut self) {
        let worker = self.0.worker.take().map(|(_, worker)| worker);
        let mut idle = self
            .0
            .tokenizer
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        idle.extend(worker);
    }
}

impl Encoder<'_> {
    /// Appends the ids of a text to `ids`; none is added before or after them.
    ///
    /// Returns how many special tokens stood literally in the text. `ids` is as it was when the text
    /// is refused.
    pub fn encode_into<I: TokenInt>(
        &mut self,
        text: &str,
        special: SpecialTokensInText,
        ids: &mut Vec<I>,
    ) -> Result<u64, EncodeError> {
        let vocab_size = self.tokenizer.vocab_size;
        if vocab_size as u64 > u64::from(I::MAX_ID) + 1 {
            return Err(EncodeError::TooNarrow {
                vocab_size,
                max_id: I::MAX_ID,
            });
        }
        if text.len() > MAX_LEN {
            return self.tokenizer.encode_by_library(text, special, ids);
        }
        match &mut self.worker {
            Some((model, worker)) => {
                let literals = &self.tokenizer.literals;
                encode_fast(model, worker, literals, text, special, ids)
            }
            None => self.tokenizer.encode_by_library(text, special, ids),
        }
    }
}

fn encode_fast<I: TokenInt>(
    model: &Model,
    worker: &mut Worker,
    literals: &Literals,
    text: &str,
    special: SpecialTokensInText,
    ids: &mut Vec<I>,
) -> Result<u64, EncodeError> {
    // Without a special token in the text, all policies are the same.
    let before = ids.len();
    if worker.encode_simple(model, text, ids) {
        return Ok(0);
    }
    ids.truncate(before);
    let num_found = literals.find_in(text).count() as u64;
    match special {
        _ if num_found == 0 => worker.encode(model, text, false, ids),
        SpecialTokensInText::Escape => worker.encode(model, text, false, ids),
        SpecialTokensInText::Encode => worker.encode(model, text, true, ids),
        SpecialTokensInText::Error => return Err(literals.refuse(text)),
        SpecialTokensInText::Drop => {
            let (kept, num_cut) = literals.cut_from(text);
            worker.encode(model, &kept, false, ids);
            return Ok(num_cut);
        }
    }
    Ok(num_found)
}

impl fmt::Debug for Encoder<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Encoder")
            .field("engine", &self.tokenizer.engine())
            .finish_non_exhaustive()
    }
}
