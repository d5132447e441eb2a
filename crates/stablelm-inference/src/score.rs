//! How likely a model finds a given text.

use crate::decoder::Rows;
use crate::generate::{GenerateError, check_finite, check_ids};
use crate::logprobs::LogSoftmax;
use crate::model::Model;

/// How many positions' logits are held at once: 26 MB for 50,304 rows of vocabulary.
const SCORE_CHUNK: usize = 128;

/// Returns the log-probabilities of the tokens from position `first` on, each after all tokens before it.
///
/// Natural logarithms, normalized over every row of the vocabulary matrix. The token at position 0 follows nothing:
/// where `first` is 0, the first number is that of the token at position 1.
pub fn score(model: &Model, ids: &[u32], first: usize) -> Result<Vec<f32>, GenerateError> {
    check_ids(model.config(), ids)?;
    // The logits of a position are about the next one.
    let start = first.saturating_sub(1).min(ids.len() - 1);
    let (context, scored) = ids[..ids.len() - 1].split_at(start);
    let mut sequence = model.start(ids.len() - 1)?;
    for chunk in context.chunks(model.prefill_chunk()) {
        sequence.feed(chunk, Rows::Last)?;
    }
    let mut logprobs = Vec::with_capacity(scored.len());
    for chunk in scored.chunks(SCORE_CHUNK) {
        let logits = sequence.feed(chunk, Rows::All)?;
        for row in logits.chunks_exact(model.config().padded_vocab_size) {
            let position = start + logprobs.len();
            check_finite(row, position)?;
            logprobs.push(LogSoftmax::new(row).of(ids[position + 1]));
        }
    }
    Ok(logprobs)
}
