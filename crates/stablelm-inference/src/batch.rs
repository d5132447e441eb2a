//! Several prompts continued side by side: the weights are read once for a token of each.

use std::fmt;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::time::Instant;

use crate::decoder::{Rows, Sequences};
use crate::generate::{
    GenerateError, GenerateOptions, GeneratedToken, Generation, RESERVED_TOKENS, Text,
};
use crate::model::Model;

/// Texts that are written side by side, each in a place that another takes when it is finished.
///
/// A prompt is read by itself, and gets the tokens that [`generate`](crate::generate()) would give it: on the processor
/// the very same, as long as no more than [`Batch::EXACT`] texts are written at once; else rounding can differ in the
/// last bits, and with it the choice between two tokens that are as likely.
pub struct Batch<'a> {
    model: &'a Model,
    sequences: Box<dyn Sequences + 'a>,
    /// Those that there are sequences for.
    places: Vec<Option<Place<'a>>>,
    size: NonZeroUsize,
}

/// A text that is being written.
struct Place<'a> {
    key: u64,
    text: Text<'a>,
    next: Next,
    decoding: Instant,
}

/// What the text's last token has led to.
enum Next {
    /// The logits after it.
    Logits(Vec<f32>),
    /// The likeliest token, unless logits were not finite.
    Likeliest(Option<u32>),
}

/// A text that has come to its end, under the key that it was pushed with.
pub type Finished = (u64, Result<Generation, GenerateError>);

impl<'a> Batch<'a> {
    /// How many texts the processor writes at once with the results of one alone: with more, products are made in blocks.
    pub const EXACT: usize = 4;

    /// Makes room for `size` texts.
    pub fn new(model: &'a Model, size: NonZeroUsize) -> Self {
        Self {
            model,
            sequences: model.start_many(),
            places: Vec::new(),
            size,
        }
    }

    /// Returns whether another prompt can be pushed.
    pub fn has_room(&self) -> bool {
        self.free_place() < self.size.get()
    }

    /// Returns whether no text is being written.
    pub fn is_empty(&self) -> bool {
        self.places.iter().all(Option::is_none)
    }

    fn free_place(&self) -> usize {
        let free = self.places.iter().position(Option::is_none);
        free.unwrap_or(self.places.len())
    }

    /// Reads a prompt into a free place.
    ///
    /// After an error the place is free, as it was.
    ///
    /// # Panics
    ///
    /// Panics if there is no room.
    pub fn push(
        &mut self,
        key: u64,
        prompt: &[u32],
        options: &'a GenerateOptions,
    ) -> Result<(), GenerateError> {
        assert!(self.has_room(), "every place is taken");
        let mut text = Text::new(self.model, prompt, options)?;
        let started = Instant::now();
        let nth = self.free_place();
        if nth == self.places.len() {
            let reserve = prompt.len() + options.max_new_tokens.min(RESERVED_TOKENS);
            let context = self.model.config().max_position_embeddings;
            self.sequences.begin(reserve.min(context))?;
            self.places.push(None);
        }
        self.sequences.truncate(nth, 0);
        let sequences = &mut self.sequences;
        let mut feed = |ids: &[u32], rows: Rows| Ok(sequences.feed(nth, ids, rows)?);
        let logits = text.prefill(0, &mut feed)?;
        text.timings.prefill_s = started.elapsed().as_secs_f64();
        self.places[nth] = Some(Place {
            key,
            text,
            next: Next::Logits(logits),
            decoding: Instant::now(),
        });
        Ok(())
    }

    /// Adds a token to each text, calling `on_token` with its key and the token, and returns those that end with it.
    ///
    /// A text ends as in [`generate`](crate::generate()). One whose logits are not finite ends with an error; an error of
    /// the device ends all of them.
    pub fn step(
        &mut self,
        on_token: &mut dyn FnMut(u64, &GeneratedToken) -> ControlFlow<()>,
    ) -> Result<Vec<Finished>, GenerateError> {
        let mut finished = Vec::new();
        let mut tokens = Vec::new();
        for (nth, place) in self.places.iter_mut().enumerate() {
            let Some(Place {
                key, text, next, ..
            }) = place
            else {
                continue;
            };
            let mut on_token = |token: &GeneratedToken| on_token(*key, token);
            let added = match (text.finish_reason, &*next) {
                // There was no room for a single token.
                (Some(_), _) => Ok(()),
                (None, Next::Logits(logits)) => text.add(logits, &mut on_token),
                (None, Next::Likeliest(id)) => text.add_chosen(*id, &mut on_token),
            };
            if added.is_ok() && text.finish_reason.is_none() {
                tokens.push((nth, text.last()));
            } else if let Some(mut place) = place.take() {
                place.text.timings.decode_s = place.decoding.elapsed().as_secs_f64();
                finished.push((place.key, added.map(|()| place.text.into_generation())));
            }
        }
        if !tokens.is_empty() {
            self.feed(&tokens)?;
        }
        Ok(finished)
    }

    /// Feeds the last tokens of the texts that are being written, by their places.
    fn feed(&mut self, tokens: &[(usize, u32)]) -> Result<(), GenerateError> {
        let choosable = likeliest_below(self.places.iter().flatten());
        let places = self.places.iter_mut().flatten();
        if let Some(choosable) = choosable
            && let Some(chosen) = self.sequences.step_likeliest(tokens, choosable)?
        {
            for (place, id) in places.zip(chosen) {
                place.next = Next::Likeliest(id);
            }
            return Ok(());
        }
        let logits = self.sequences.step(tokens)?;
        let rows = logits.chunks_exact(self.model.config().padded_vocab_size);
        for (place, row) in places.zip(rows) {
            if let Next::Logits(logits) = &mut place.next {
                logits.clear();
                logits.extend_from_slice(row);
            } else {
                place.next = Next::Logits(row.to_vec());
            }
        }
        Ok(())
    }
}

/// Returns the number of ids to choose from, where all texts go on with the likeliest token among as many.
fn likeliest_below<'a>(mut places: impl Iterator<Item = &'a Place<'a>>) -> Option<usize> {
    let below = |place: &Place<'_>| {
        let text = &place.text;
        text.is_plainly_greedy().then(|| text.vocab_size())
    };
    let first = below(places.next()?)?;
    places
        .all(|place| below(place) == Some(first))
        .then_some(first)
}

impl fmt::Debug for Batch<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Batch")
            .field("model", &self.model)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}
