//! Log-probabilities: the log-softmax of the model's own logits, before any sampling rule.

use std::cmp::Ordering;

/// The log-probability of one token and of the most likely ones in its place.
///
/// Natural logarithms, normalized over every row of the vocabulary matrix, padding included.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenLogprobs {
    /// The token.
    pub id: u32,
    /// Its log-probability.
    pub logprob: f32,
    /// The most likely tokens, best first, ties by id; padding rows are left out.
    pub top: Vec<(u32, f32)>,
}

/// Normalizes a row of logits.
pub(crate) struct LogSoftmax<'a> {
    logits: &'a [f32],
    log_sum: f64,
}

impl<'a> LogSoftmax<'a> {
    pub(crate) fn new(logits: &'a [f32]) -> Self {
        let max = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        let exponentials = logits.iter().map(|logit| (f64::from(*logit) - max).exp());
        let log_sum = exponentials.sum::<f64>().ln() + max;
        Self { logits, log_sum }
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "computed in f64 and rounded once"
    )]
    fn of(&self, id: u32) -> f32 {
        (f64::from(self.logits[id as usize]) - self.log_sum) as f32
    }

    /// Returns the log-probabilities of `id` and of the best `num_top` ids below `vocab_size`.
    pub(crate) fn token(&self, id: u32, num_top: usize, vocab_size: usize) -> TokenLogprobs {
        TokenLogprobs {
            id,
            logprob: self.of(id),
            top: self.top(num_top, vocab_size),
        }
    }

    fn top(&self, num_top: usize, vocab_size: usize) -> Vec<(u32, f32)> {
        let mut ids: Vec<u32> = (0..).take(vocab_size.min(self.logits.len())).collect();
        let num_top = num_top.min(ids.len());
        if num_top == 0 {
            return Vec::new();
        }
        let logit = |id: u32| self.logits[id as usize];
        let best_first = |a: &u32, b: &u32| best_first(&(*a, logit(*a)), &(*b, logit(*b)));
        ids.select_nth_unstable_by(num_top - 1, best_first);
        ids.truncate(num_top);
        ids.sort_unstable_by(best_first);
        ids.into_iter().map(|id| (id, self.of(id))).collect()
    }
}

/// Orders by falling score, then by rising id.
pub(crate) fn best_first<T: PartialOrd>(a: &(u32, T), b: &(u32, T)) -> Ordering {
    let scores = b.1.partial_cmp(&a.1).unwrap_or(Ordering::Equal);
    scores.then(a.0.cmp(&b.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_sum_to_one_and_padding_counts_but_does_not_show() {
        let logits = [1.0, 3.0, 3.0, -2.0, 9.0];
        let softmax = LogSoftmax::new(&logits);
        let sum: f32 = (0..5).map(|id| softmax.of(id).exp()).sum();
        assert!((sum - 1.0).abs() < 1e-6);
        let token = softmax.token(3, 3, 4);
        let ids: Vec<u32> = token.top.iter().map(|(id, _)| *id).collect();
        assert_eq!((token.id, ids), (3, vec![1, 2, 0]));
        assert!((token.top[0].1 + 6.0).abs() < 0.01, "{:?}", token.top);
        assert!(softmax.token(0, 0, 5).top.is_empty());
        assert_eq!(softmax.token(0, 99, 5).top.len(), 5);
    }
}
