//! A sequence that is continued again and again: only what is new is read.

use std::fmt;
use std::ops::ControlFlow;

use crate::decoder::{Likeliest, Rows, Sequence};
use crate::generate::{GenerateError, GenerateOptions, GeneratedToken, Generation, write};
use crate::model::Model;

/// A model's memory of one sequence: the tokens read so far, with their keys and values.
///
/// Each prompt is the whole text, as for [`generate`](crate::generate()). What it has in common with the tokens read
/// before is not read again; where it differs, the old tokens are forgotten. Rounding can differ in the last bits from
/// that of a prompt read in one piece, as it does between prompts of different lengths.
pub struct Session<'a> {
    model: &'a Model,
    sequence: Box<dyn Sequence + 'a>,
    /// What the sequence holds.
    ids: Vec<u32>,
}

impl<'a> Session<'a> {
    /// Begins an empty sequence that is expected to reach `reserve` tokens; more make it grow, in steps that double.
    pub fn new(model: &'a Model, reserve: usize) -> Result<Self, GenerateError> {
        Ok(Self {
            model,
            sequence: model.start(reserve)?,
            ids: Vec::new(),
        })
    }

    /// Returns the tokens read so far. The last one that was generated has not been read yet.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Forgets every token from `len` on; keeps the memory.
    pub fn truncate(&mut self, len: usize) {
        self.ids.truncate(len);
        self.sequence.truncate(self.ids.len());
    }

    /// Continues `prompt` as [`generate`](crate::generate()) does, reading only what the session has not.
    ///
    /// After an error the session holds the tokens that were read before it, and can be used on. Asking for the
    /// prompt's log-probabilities makes it read all of the prompt again.
    pub fn generate(
        &mut self,
        prompt: &[u32],
        options: &GenerateOptions,
        on_token: &mut dyn FnMut(&GeneratedToken) -> ControlFlow<()>,
    ) -> Result<Generation, GenerateError> {
        write(self, prompt, options, on_token)
    }

    pub(crate) fn model(&self) -> &'a Model {
        self.model
    }

    /// Keeps what `prompt` begins with, all but its last token at most, and returns its length.
    pub(crate) fn reuse(&mut self, prompt: &[u32]) -> usize {
        let common = self.ids.iter().zip(prompt).take_while(|(a, b)| a == b);
        // The last token is read again in any case: its logits are not kept.
        let len = common.count().min(prompt.len().saturating_sub(1));
        self.truncate(len);
        len
    }

    /// Reads tokens as [`Sequence::feed_likeliest`] does; returns false where nothing was done.
    pub(crate) fn feed_likeliest(
        &mut self,
        likeliest: Likeliest,
        on_token: &mut dyn FnMut(Option<u32>) -> ControlFlow<()>,
    ) -> Result<bool, GenerateError> {
        let mut ids = vec![likeliest.first];
        let mut give = |token: Option<u32>| {
            ids.extend(token);
            on_token(token)
        };
        match self.sequence.feed_likeliest(likeliest, &mut give) {
            Ok(None) => Ok(false),
            Ok(Some(fed)) => {
                self.ids.extend_from_slice(&ids[..fed]);
                Ok(true)
            }
            Err(error) => {
                self.sequence.truncate(self.ids.len());
                Err(error.into())
            }
        }
    }

    /// Reads the next tokens and returns the logits asked for.
    pub(crate) fn feed(&mut self, ids: &[u32], rows: Rows) -> Result<Vec<f32>, GenerateError> {
        match self.sequence.feed(ids, rows) {
            Ok(logits) => {
                self.ids.extend_from_slice(ids);
                Ok(logits)
            }
            Err(error) => {
                // Some layers may have read the tokens, and some not.
                self.sequence.truncate(self.ids.len());
                Err(error.into())
            }
        }
    }
}

impl fmt::Debug for Session<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Session")
            .field("model", &self.model)
            .field("ids", &self.ids)
            .finish_non_exhaustive()
    }
}
