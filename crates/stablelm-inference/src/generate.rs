//! Continues a prompt: prefill, then one token at a time.

use std::ops::ControlFlow;
use std::time::Instant;

use stablelm_model::ModelConfig;

use crate::backend::BackendError;
use crate::decoder::Rows;
use crate::draw::choose;
use crate::logprobs::{LogSoftmax, TokenLogprobs};
use crate::model::Model;
use crate::sample::{Sampling, SamplingError};
use crate::session::Session;

/// How many positions are fed at once; bounds the memory of activations and of prompt logits.
pub(crate) const PREFILL_CHUNK: usize = 512;

/// How far ahead the cache is reserved; beyond that it grows by doubling.
const RESERVED_TOKENS: usize = 256;

/// What to generate and what to tell of it.
#[derive(Clone, Debug, PartialEq)]
pub struct GenerateOptions {
    /// How many tokens to add at most. 0 only reads the prompt.
    pub max_new_tokens: usize,
    /// How each is chosen.
    pub sampling: Sampling,
    /// Tokens that end the text.
    pub eos_token_ids: Vec<u32>,
    /// The tokenizer's number of ids; padding rows from here on are never chosen. At least 1.
    pub vocab_size: usize,
    /// Asks for log-probabilities of new tokens, with that many of the most likely in their places.
    pub logprobs: Option<usize>,
    /// Asks for the same of the prompt's tokens; `logprobs` says with how many.
    pub prompt_logprobs: bool,
}

/// One token as it is made.
#[derive(Clone, Debug, PartialEq)]
pub struct GeneratedToken {
    /// The token.
    pub id: u32,
    /// Its log-probabilities, if asked for.
    pub logprobs: Option<TokenLogprobs>,
}

/// Why generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FinishReason {
    /// A token that ends the text came, or the caller asked to stop.
    Stop,
    /// All tokens asked for were made, or the context is full.
    Length,
}

impl FinishReason {
    /// Returns `stop` or `length`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
        }
    }
}

/// How long it took.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Timings {
    /// Seconds from the first token fed to the prompt's last logits.
    pub prefill_s: f64,
    /// Seconds after that.
    pub decode_s: f64,
    /// Tokens of the prompt that were read.
    pub prefill_tokens: usize,
    /// Tokens of the prompt that a [`Session`] had read before.
    pub reused_tokens: usize,
    /// Tokens fed after the prompt: one less than were made, since the first follows from the prompt alone.
    pub decode_tokens: usize,
}

/// A continued prompt.
#[derive(Clone, Debug, PartialEq)]
pub struct Generation {
    /// The new tokens, one that ends the text included.
    pub ids: Vec<u32>,
    /// Why there are no more.
    pub finish_reason: FinishReason,
    /// For each new token, if asked for.
    pub logprobs: Vec<TokenLogprobs>,
    /// For each token of the prompt, if asked for; the first has none.
    pub prompt_logprobs: Vec<Option<TokenLogprobs>>,
    /// How long it took.
    pub timings: Timings,
}

/// Why a prompt could not be continued.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GenerateError {
    /// There is nothing to continue.
    #[error("the prompt has no tokens")]
    EmptyPrompt,
    /// The prompt is longer than the model can look back.
    #[error("a prompt of {prompt} tokens does not fit the context of {context}")]
    PromptTooLong {
        /// Tokens of the prompt.
        prompt: usize,
        /// Tokens of the context.
        context: usize,
    },
    /// A token of the prompt is not in the vocabulary.
    #[error(
        "token {id} at position {position} of the prompt is not below the vocabulary size {vocab_size}"
    )]
    TokenOutOfRange {
        /// Where it is, from 0.
        position: usize,
        /// The token.
        id: u32,
        /// Rows of the embedding.
        vocab_size: usize,
    },
    /// A setting of the sampling is out of its range.
    #[error("the sampling settings are wrong")]
    Sampling(#[from] SamplingError),
    /// The weights are broken, or activations overflow.
    #[error("the logits at position {position} are not finite; the weights may be broken")]
    NonFinite {
        /// The position in the sequence, from 0.
        position: usize,
    },
    /// The device failed.
    #[error("the device failed")]
    Backend(#[from] BackendError),
}

/// Continues `prompt`, calling `on_token` with each new token as it is made.
///
/// Stops after `max_new_tokens`, at the end of the context, after a token of `eos_token_ids` (which is kept), or when
/// `on_token` breaks. The same model, prompt and options give the same tokens.
pub fn generate(
    model: &Model,
    prompt: &[u32],
    options: &GenerateOptions,
    on_token: &mut dyn FnMut(&GeneratedToken) -> ControlFlow<()>,
) -> Result<Generation, GenerateError> {
    let reserve = prompt.len() + options.max_new_tokens.min(RESERVED_TOKENS);
    let reserve = reserve.min(model.config().max_position_embeddings);
    Session::new(model, reserve)?.generate(prompt, options, on_token)
}

/// Continues a prompt in a session.
pub(crate) fn write(
    session: &mut Session<'_>,
    prompt: &[u32],
    options: &GenerateOptions,
    on_token: &mut dyn FnMut(&GeneratedToken) -> ControlFlow<()>,
) -> Result<Generation, GenerateError> {
    let config = session.model().config();
    check_ids(config, prompt)?;
    options.sampling.validate()?;
    if options.vocab_size == 0 {
        return Err(SamplingError::Nothing { name: "vocab_size" }.into());
    }
    let room = config.max_position_embeddings - prompt.len();
    let max_new_tokens = options.max_new_tokens.min(room);
    let started = Instant::now();
    let mut writer = Writer {
        padded_vocab_size: config.padded_vocab_size,
        session,
        options,
        history: prompt.to_vec(),
        logprobs: Vec::new(),
    };
    let reused_tokens = if options.prompt_logprobs {
        writer.session.truncate(0);
        0
    } else {
        writer.session.reuse(prompt)
    };
    let (logits, prompt_logprobs) = writer.prefill()?;
    let prefill_s = started.elapsed().as_secs_f64();
    let decoding = Instant::now();
    let finish_reason = writer.decode(logits, max_new_tokens, on_token)?;
    let ids = writer.history.split_off(prompt.len());
    Ok(Generation {
        timings: Timings {
            prefill_s,
            decode_s: decoding.elapsed().as_secs_f64(),
            prefill_tokens: prompt.len() - reused_tokens,
            reused_tokens,
            decode_tokens: ids.len().saturating_sub(1),
        },
        ids,
        finish_reason,
        logprobs: writer.logprobs,
        prompt_logprobs,
    })
}

/// Refuses a prompt that the model can't read.
pub(crate) fn check_ids(config: &ModelConfig, ids: &[u32]) -> Result<(), GenerateError> {
    if ids.is_empty() {
        return Err(GenerateError::EmptyPrompt);
    }
    let (prompt, context) = (ids.len(), config.max_position_embeddings);
    if prompt > context {
        return Err(GenerateError::PromptTooLong { prompt, context });
    }
    let vocab_size = config.padded_vocab_size;
    match ids.iter().position(|id| *id as usize >= vocab_size) {
        None => Ok(()),
        Some(position) => Err(GenerateError::TokenOutOfRange {
            position,
            id: ids[position],
            vocab_size,
        }),
    }
}

/// A sequence that is being written.
struct Writer<'a, 'm> {
    session: &'a mut Session<'m>,
    padded_vocab_size: usize,
    options: &'a GenerateOptions,
    /// The prompt and what was added to it.
    history: Vec<u32>,
    logprobs: Vec<TokenLogprobs>,
}

impl Writer<'_, '_> {
    /// Feeds what the session does not hold of the prompt; returns the last logits and the prompt's log-probabilities.
    fn prefill(&mut self) -> Result<(Vec<f32>, Vec<Option<TokenLogprobs>>), GenerateError> {
        let rows = if self.options.prompt_logprobs {
            Rows::All
        } else {
            Rows::Last
        };
        let mut last = Vec::new();
        let mut logprobs = Vec::new();
        let mut start = self.session.ids().len();
        for chunk in self.history[start..].chunks(PREFILL_CHUNK) {
            let logits = self.session.feed(chunk, rows)?;
            if rows == Rows::All {
                if start == 0 {
                    logprobs.push(None);
                }
                for (row, position) in logits.chunks_exact(self.padded_vocab_size).zip(start..) {
                    check_finite(row, position)?;
                    if let Some(next) = self.history.get(position + 1) {
                        logprobs.push(Some(self.token_logprobs(row, *next)));
                    }
                }
            }
            last = logits;
            start += chunk.len();
        }
        let last = last.split_off(last.len() - self.padded_vocab_size);
        check_finite(&last, self.history.len() - 1)?;
        Ok((last, logprobs))
    }

    /// Adds tokens to the history until there is a reason not to.
    fn decode(
        &mut self,
        mut logits: Vec<f32>,
        max_new_tokens: usize,
        on_token: &mut dyn FnMut(&GeneratedToken) -> ControlFlow<()>,
    ) -> Result<FinishReason, GenerateError> {
        let options = self.options;
        for index in 0..max_new_tokens {
            if index > 0 {
                let last = self.history.len() - 1;
                logits = self.session.feed(&self.history[last..], Rows::Last)?;
                check_finite(&logits, last)?;
            }
            let id = choose(
                &logits,
                &self.history,
                options.vocab_size,
                &options.sampling,
            )
            .expect("a vocabulary with ids leaves at least one of them");
            let logprobs = options.logprobs.map(|_| self.token_logprobs(&logits, id));
            self.history.push(id);
            let token = GeneratedToken { id, logprobs };
            let flow = on_token(&token);
            self.logprobs.extend(token.logprobs);
            if flow.is_break() || options.eos_token_ids.contains(&id) {
                return Ok(FinishReason::Stop);
            }
        }
        Ok(FinishReason::Length)
    }

    fn token_logprobs(&self, logits: &[f32], id: u32) -> TokenLogprobs {
        let num_top = self.options.logprobs.unwrap_or(0);
        LogSoftmax::new(logits).token(id, num_top, self.options.vocab_size)
    }
}

/// Refuses logits that no probability can be made of.
pub(crate) fn check_finite(logits: &[f32], position: usize) -> Result<(), GenerateError> {
    // Without a way out in the middle, compilers look at many at a time.
    let all = |chunk: &[f32]| {
        chunk
            .iter()
            .fold(true, |all, logit| all & logit.is_finite())
    };
    if logits.chunks(256).all(all) {
        Ok(())
    } else {
        Err(GenerateError::NonFinite { position })
    }
}
