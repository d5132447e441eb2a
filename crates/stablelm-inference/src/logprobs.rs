//! Log-probabilities: the log-softmax of the model's own logits, before any sampling rule.

use std::cmp::Ordering;

use crate::exp::{largest, sum_exp};

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

/// Up to how many of the most likely tokens are kept in order while looking for them.
const FEW: usize = 64;

/// Normalizes a row of logits.
pub(crate) struct LogSoftmax<'a> {
    logits: &'a [f32],
    log_sum: f64,
}

impl<'a> LogSoftmax<'a> {
    pub(crate) fn new(logits: &'a [f32]) -> Self {
        let max = f64::from(largest(logits));
        let log_sum = sum_exp(logits, 1.0, max).ln() + max;
        Self { logits, log_sum }
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "computed in f64 and rounded once"
    )]
    pub(crate) fn of(&self, id: u32) -> f32 {
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
        let logits = &self.logits[..vocab_size.min(self.logits.len())];
        let num_top = num_top.min(logits.len());
        // Most tokens are worse than the worst of the best so far, and only compared with it.
        let mut best: Vec<(u32, f32)> = Vec::with_capacity(num_top.min(FEW) + 1);
        if num_top > FEW {
            best.extend((0..).zip(logits.iter().copied()));
            best.sort_unstable_by(best_first);
            best.truncate(num_top);
        } else if num_top > 0 {
            for (id, &logit) in (0..).zip(logits) {
                if best.len() < num_top || logit > best[num_top - 1].1 {
                    let at = best.partition_point(|(_, better)| *better >= logit);
                    best.insert(at, (id, logit));
                    best.truncate(num_top);
                }
            }
        }
        let of = |(id, _)| (id, self.of(id));
        best.into_iter().map(of).collect()
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

    #[test]
    fn few_and_many_of_the_best_are_found_in_the_same_order() {
        let logits: Vec<f32> = (0..500u32).map(|i| (i * 173 % 91) as f32).collect();
        let softmax = LogSoftmax::new(&logits);
        let all = softmax.token(0, 450, 450).top;
        assert!(all.is_sorted_by(|a, b| a.1 > b.1 || (a.1 >= b.1 && a.0 < b.0)));
        for num_top in [1, 2, 5, FEW, FEW + 1, 449] {
            assert_eq!(softmax.token(0, num_top, 450).top, all[..num_top]);
        }
    }
}
