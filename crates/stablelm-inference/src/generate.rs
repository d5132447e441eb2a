//! Continues a prompt: prefill, then one token at a time.

use std::ops::ControlFlow;
use std::time::Instant;

use stablelm_model::ModelConfig;

use crate::backend::BackendError;
use crate::decoder::{Likeliest, PREFILL_CHUNK, Rows};
use crate::draw::choose;
use crate::logprobs::{LogSoftmax, TokenLogprobs};
use crate::model::Model;
use crate::sample::{Sampling, SamplingError};
use crate::session::Session;

/// How far ahead the cache is reserved; beyond that it grows by doubling.
pub(crate) const RESERVED_TOKENS: usize = 256;

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
    let mut text = Text::new(session.model(), prompt, options)?;
    let started = Instant::now();
    let reused_tokens = if options.prompt_logprobs {
        session.truncate(0);
        0
    } else {
        session.reuse(prompt)
    };
    let mut logits = text.prefill(reused_tokens, &mut |ids, rows| session.feed(ids, rows))?;
    text.timings.prefill_s = started.elapsed().as_secs_f64();
    let decoding = Instant::now();
    while text.finish_reason.is_none() {
        text.add(&logits, on_token)?;
        if text.is_plainly_greedy() {
            while text.finish_reason.is_none() && text.add_likeliest(session, on_token)? {}
        }
        if text.finish_reason.is_none() {
            logits = session.feed(&[text.last()], Rows::Last)?;
        }
    }
    text.timings.decode_s = decoding.elapsed().as_secs_f64();
    Ok(text.into_generation())
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

/// How positions are fed: the ids of the next ones, and which logits to return.
pub(crate) type Feed<'a> = dyn FnMut(&[u32], Rows) -> Result<Vec<f32>, GenerateError> + 'a;

/// A text that is being written.
pub(crate) struct Text<'a> {
    options: &'a GenerateOptions,
    padded_vocab_size: usize,
    prefill_chunk: usize,
    prompt_len: usize,
    /// How long the history may get.
    most: usize,
    /// The prompt and what was added to it.
    history: Vec<u32>,
    logprobs: Vec<TokenLogprobs>,
    prompt_logprobs: Vec<Option<TokenLogprobs>>,
    /// Why nothing is added any more.
    pub(crate) finish_reason: Option<FinishReason>,
    /// The seconds are the caller's to fill in.
    pub(crate) timings: Timings,
}

impl<'a> Text<'a> {
    /// Begins with a prompt, after making sure that it can be continued.
    pub(crate) fn new(
        model: &Model,
        prompt: &[u32],
        options: &'a GenerateOptions,
    ) -> Result<Self, GenerateError> {
        let config = model.config();
        check_ids(config, prompt)?;
        options.sampling.validate()?;
        if options.vocab_size == 0 {
            return Err(SamplingError::Nothing { name: "vocab_size" }.into());
        }
        let most = prompt.len().saturating_add(options.max_new_tokens);
        Ok(Self {
            options,
            padded_vocab_size: config.padded_vocab_size,
            prefill_chunk: model.prefill_chunk(),
            prompt_len: prompt.len(),
            most: most.min(config.max_position_embeddings),
            history: prompt.to_vec(),
            logprobs: Vec::new(),
            prompt_logprobs: Vec::new(),
            finish_reason: None,
            timings: Timings::default(),
        })
    }

    /// Feeds the prompt from position `start` on, before which it has been read, and returns the last logits.
    pub(crate) fn prefill(
        &mut self,
        mut start: usize,
        feed: &mut Feed<'_>,
    ) -> Result<Vec<f32>, GenerateError> {
        let (rows, chunk) = if self.options.prompt_logprobs {
            (Rows::All, PREFILL_CHUNK)
        } else {
            (Rows::Last, self.prefill_chunk)
        };
        self.timings.reused_tokens = start;
        self.timings.prefill_tokens = self.prompt_len - start;
        let mut last = Vec::new();
        for chunk in self.history[start..].chunks(chunk) {
            let logits = feed(chunk, rows)?;
            if rows == Rows::All {
                if start == 0 {
                    self.prompt_logprobs.push(None);
                }
                for (row, position) in logits.chunks_exact(self.padded_vocab_size).zip(start..) {
                    check_finite(row, position)?;
                    if let Some(next) = self.history.get(position + 1) {
                        let logprobs = self.token_logprobs(row, *next);
                        self.prompt_logprobs.push(Some(logprobs));
                    }
                }
            }
            last = logits;
            start += chunk.len();
        }
        self.finish_if_full();
        let last = last.split_off(last.len() - self.padded_vocab_size);
        check_finite(&last, self.history.len() - 1)?;
        Ok(last)
    }

    /// Adds the token that the logits after the last one lead to.
    pub(crate) fn add(
        &mut self,
        logits: &[f32],
        on_token: &mut dyn FnMut(&GeneratedToken) -> ControlFlow<()>,
    ) -> Result<(), GenerateError> {
        let options = self.options;
        check_finite(logits, self.history.len() - 1)?;
        let id = choose(logits, &self.history, options.vocab_size, &options.sampling)
            .expect("a vocabulary with ids leaves at least one of them");
        let logprobs = options.logprobs.map(|_| self.token_logprobs(logits, id));
        self.push(GeneratedToken { id, logprobs }, on_token);
        Ok(())
    }

    /// Whether the likeliest token is added each time, and nothing else is asked of the logits.
    pub(crate) fn is_plainly_greedy(&self) -> bool {
        let sampling = &self.options.sampling;
        let penalizes = (sampling.repetition_penalty - 1.0).abs() > 0.0;
        sampling.is_greedy() && !penalizes && self.options.logprobs.is_none()
    }

    /// Returns how many ids there are to choose from.
    pub(crate) fn vocab_size(&self) -> usize {
        self.options.vocab_size
    }

    /// Adds the likeliest token, as the device has chosen it; there is none where logits were not finite.
    pub(crate) fn add_chosen(
        &mut self,
        id: Option<u32>,
        on_token: &mut dyn FnMut(&GeneratedToken) -> ControlFlow<()>,
    ) -> Result<(), GenerateError> {
        let position = self.history.len() - 1;
        let id = id.ok_or(GenerateError::NonFinite { position })?;
        let logprobs = None;
        self.push(GeneratedToken { id, logprobs }, on_token);
        Ok(())
    }

    /// Adds likeliest tokens as the device chooses them; returns false where it does not.
    fn add_likeliest(
        &mut self,
        session: &mut Session<'_>,
        on_token: &mut dyn FnMut(&GeneratedToken) -> ControlFlow<()>,
    ) -> Result<bool, GenerateError> {
        let likeliest = Likeliest {
            first: self.last(),
            choosable: self.options.vocab_size,
            most: self.most - self.history.len(),
        };
        let mut added = Ok(());
        let has_chosen = session.feed_likeliest(likeliest, &mut |id| {
            added = self.add_chosen(id, on_token);
            match (&added, self.finish_reason) {
                (Ok(()), None) => ControlFlow::Continue(()),
                _ => ControlFlow::Break(()),
            }
        })?;
        added.map(|()| has_chosen)
    }

    fn push(
        &mut self,
        token: GeneratedToken,
        on_token: &mut dyn FnMut(&GeneratedToken) -> ControlFlow<()>,
    ) {
        self.history.push(token.id);
        let flow = on_token(&token);
        self.logprobs.extend(token.logprobs);
        self.finish_if_full();
        if flow.is_break() || self.options.eos_token_ids.contains(&token.id) {
            self.finish_reason = Some(FinishReason::Stop);
        }
    }

    fn finish_if_full(&mut self) {
        if self.history.len() >= self.most {
            self.finish_reason = Some(FinishReason::Length);
        }
    }

    /// Returns the token that was added last, or the prompt's last one.
    pub(crate) fn last(&self) -> u32 {
        self.history[self.history.len() - 1]
    }

    pub(crate) fn into_generation(mut self) -> Generation {
        let ids = self.history.split_off(self.prompt_len);
        self.timings.decode_tokens = ids.len().saturating_sub(1);
        Generation {
            ids,
            finish_reason: self.finish_reason.unwrap_or(FinishReason::Length),
            logprobs: self.logprobs,
            prompt_logprobs: self.prompt_logprobs,
            timings: self.timings,
        }
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
