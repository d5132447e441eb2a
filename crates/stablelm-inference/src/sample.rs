//! From logits to the next token.
//!
//! The rules apply in the order of Hugging Face transformers: repetition penalty, temperature, top-k, top-p, min-p.
//! What is left is drawn from by one random number a position (see `random.rs`): the first token at which the
//! cumulative probability exceeds it, most likely tokens first, ties by id, in f64. The same logits and seed give the
//! same token on any device.

use crate::logprobs::best_first;

/// How the next token is chosen.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampling {
    /// Takes the most likely token, the lowest id among equals; all but the repetition penalty is then ignored.
    pub greedy: bool,
    /// Divides the logits; above 0. Exactly 0 means greedy.
    pub temperature: f64,
    /// Keeps the `k` most likely tokens, and those as likely as the last of them.
    pub top_k: Option<usize>,
    /// Keeps the fewest tokens whose probabilities reach this sum; above 0, at most 1.
    pub top_p: Option<f64>,
    /// Keeps tokens at least this share as likely as the most likely one; from 0 to 1.
    pub min_p: Option<f64>,
    /// Divides positive logits, and multiplies negative ones, of tokens seen before; 1 changes nothing.
    pub repetition_penalty: f64,
    /// Decides all draws.
    pub seed: u64,
}

/// Why sampling settings make no sense.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SamplingError {
    /// A setting is out of its range.
    #[error("`{name}` is {found}, expected {expected}")]
    OutOfRange {
        /// The setting.
        name: &'static str,
        /// Its value.
        found: f64,
        /// Its range.
        expected: &'static str,
    },
    /// No token may be drawn.
    #[error("`{name}` is 0, so no token is left to draw")]
    Nothing {
        /// The setting.
        name: &'static str,
    },
}

impl Sampling {
    /// Returns settings that always take the most likely token.
    pub fn greedy() -> Self {
        Self {
            greedy: true,
            temperature: 1.0,
            top_k: None,
            top_p: None,
            min_p: None,
            repetition_penalty: 1.0,
            seed: 0,
        }
    }

    /// Returns an error that names the first setting out of its range.
    pub fn validate(&self) -> Result<(), SamplingError> {
        let out_of_range = |name, found, expected| SamplingError::OutOfRange {
            name,
            found,
            expected,
        };
        if !(self.temperature.is_finite() && self.temperature >= 0.0) {
            let expected = "a number from 0 on";
            return Err(out_of_range("temperature", self.temperature, expected));
        }
        if let Some(top_p) = self.top_p.filter(|p| !(*p > 0.0 && *p <= 1.0)) {
            return Err(out_of_range("top_p", top_p, "a number above 0, at most 1"));
        }
        if let Some(min_p) = self.min_p.filter(|p| !(0.0..=1.0).contains(p)) {
            return Err(out_of_range("min_p", min_p, "a number from 0 to 1"));
        }
        if !(self.repetition_penalty.is_finite() && self.repetition_penalty > 0.0) {
            let expected = "a number above 0";
            return Err(out_of_range(
                "repetition_penalty",
                self.repetition_penalty,
                expected,
            ));
        }
        match self.top_k {
            Some(0) => Err(SamplingError::Nothing { name: "top_k" }),
            _ => Ok(()),
        }
    }

    /// Returns whether the most likely token is always taken.
    pub(crate) fn is_greedy(&self) -> bool {
        self.greedy || self.temperature == 0.0
    }
}

/// Returns the tokens that may come next with their probabilities, most likely first, ties by id.
///
/// `history` is what the repetition penalty looks at; ids from `vocab_size` on are never drawn. Greedy settings leave
/// one token. `logits` are finite and not empty, `vocab_size` is not 0, and `sampling` has been validated.
pub fn distribution(
    logits: &[f32],
    history: &[u32],
    vocab_size: usize,
    sampling: &Sampling,
) -> Vec<(u32, f64)> {
    let mut scores: Vec<f64> = logits.iter().map(|logit| f64::from(*logit)).collect();
    for (id, score) in penalized(logits, history, sampling.repetition_penalty) {
        scores[id] = score;
    }
    scores.truncate(vocab_size);
    let mut ranked: Vec<(u32, f64)> = (0..).zip(scores).collect();
    if sampling.is_greedy() {
        let best = ranked.into_iter().min_by(best_first);
        return best.map(|(id, _)| (id, 1.0)).into_iter().collect();
    }
    for (_, score) in &mut ranked {
        *score /= sampling.temperature;
    }
    if let Some(top_k) = sampling.top_k {
        keep_top_k(&mut ranked, top_k);
    }
    ranked.sort_unstable_by(best_first);
    softmax(&mut ranked);
    if let Some(top_p) = sampling.top_p {
        keep_top_p(&mut ranked, 0.0, top_p);
    }
    if let Some(min_p) = sampling.min_p {
        keep_min_p(&mut ranked, min_p);
    }
    let sum: f64 = ranked.iter().map(|(_, probability)| probability).sum();
    for (_, probability) in &mut ranked {
        *probability /= sum;
    }
    ranked
}

/// Returns the scores that the penalty changes, by rising index.
pub(crate) fn penalized(logits: &[f32], history: &[u32], penalty: f64) -> Vec<(usize, f64)> {
    #[expect(clippy::float_cmp, reason = "exactly 1 is the setting for none")]
    if penalty == 1.0 {
        return Vec::new();
    }
    let mut seen = vec![false; logits.len()];
    let mut changed = Vec::new();
    for &id in history {
        let id = id as usize;
        if id < logits.len() && !seen[id] {
            seen[id] = true;
            let score = f64::from(logits[id]);
            let score = if score < 0.0 {
                score * penalty
            } else {
                score / penalty
            };
            changed.push((id, score));
        }
    }
    changed.sort_unstable_by_key(|(id, _)| *id);
    changed
}

/// Keeps the `top_k` best scores, and those equal to the last of them.
pub(crate) fn keep_top_k(ranked: &mut Vec<(u32, f64)>, top_k: usize) {
    if top_k >= ranked.len() {
        return;
    }
    let (_, kth, _) = ranked.select_nth_unstable_by(top_k - 1, best_first);
    let least = kth.1;
    ranked.retain(|(_, score)| *score >= least);
}

/// Turns scores, best first, into probabilities.
pub(crate) fn softmax(ranked: &mut [(u32, f64)]) {
    let best = ranked.first().map_or(0.0, |(_, score)| *score);
    for (_, score) in ranked.iter_mut() {
        *score = (*score - best).exp();
    }
    let sum: f64 = ranked.iter().map(|(_, value)| value).sum();
    for (_, value) in ranked {
        *value /= sum;
    }
}

/// Drops the unlikeliest tokens as long as what is dropped sums to at most `1 - top_p`; keeps one.
///
/// `dropped` is the probability of tokens that are not in the list any more.
pub(crate) fn keep_top_p(ranked: &mut Vec<(u32, f64)>, mut dropped: f64, top_p: f64) {
    while let [_, .., (_, last)] = ranked.as_slice() {
        dropped += last;
        if dropped > 1.0 - top_p {
            break;
        }
        ranked.pop();
    }
}

/// Drops tokens that are less than `min_p` times as likely as the first.
pub(crate) fn keep_min_p(ranked: &mut Vec<(u32, f64)>, min_p: f64) {
    let least = min_p * ranked.first().map_or(0.0, |(_, best)| *best);
    ranked.retain(|(_, probability)| *probability >= least);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::choose;

    fn random() -> Sampling {
        Sampling {
            greedy: false,
            ..Sampling::greedy()
        }
    }

    #[track_caller]
    fn check(sampling: &Sampling, history: &[u32], expected: &[u32]) {
        let logits = [0.0, 2.0, 1.0, 2.0, -1.0, 9.0];
        let ranked = distribution(&logits, history, 5, sampling);
        let ids: Vec<u32> = ranked.iter().map(|(id, _)| *id).collect();
        assert_eq!(ids, expected);
        let sum: f64 = ranked.iter().map(|(_, probability)| probability).sum();
        assert!((sum - 1.0).abs() < 1e-12);
    }

    #[test]
    fn each_rule_keeps_what_it_says() {
        check(&random(), &[], &[1, 3, 2, 0, 4]);
        check(&Sampling::greedy(), &[], &[1]);
        let top_k = |k| Sampling {
            top_k: Some(k),
            ..random()
        };
        check(&top_k(1), &[], &[1, 3]); // as likely as the last kept
        check(&top_k(3), &[], &[1, 3, 2]);
        check(&top_k(99), &[], &[1, 3, 2, 0, 4]);
        // Probabilities: 0.398, 0.398, 0.146, 0.054, 0.020.
        let top_p = |p| Sampling {
            top_p: Some(p),
            ..random()
        };
        check(&top_p(0.75), &[], &[1, 3]);
        check(&top_p(0.9), &[], &[1, 3, 2]);
        check(&top_p(1e-9), &[], &[1]);
        check(&top_p(1.0), &[], &[1, 3, 2, 0, 4]);
        let min_p = |p| Sampling {
            min_p: Some(p),
            ..random()
        };
        check(&min_p(0.3), &[], &[1, 3, 2]);
        check(&min_p(1.0), &[], &[1, 3]);
    }

    #[test]
    fn repetition_pushes_seen_tokens_down_whatever_their_sign() {
        let penalty = |repetition_penalty| Sampling {
            repetition_penalty,
            ..random()
        };
        check(&penalty(4.0), &[1, 1, 4, 77], &[3, 2, 1, 0, 4]);
        check(
            &Sampling {
                greedy: true,
                ..penalty(3.0)
            },
            &[1, 3],
            &[2],
        );
    }

    #[test]
    fn draws_follow_the_distribution() {
        let logits = [0.0, 1.0, 2.0, -1.0];
        let sampling = Sampling {
            temperature: 0.8,
            seed: 11,
            ..random()
        };
        let mut counts = [0u32; 4];
        let draws = 20_000;
        for position in 0..draws {
            let history = vec![0; position];
            counts[choose(&logits, &history, 4, &sampling).unwrap() as usize] += 1;
        }
        for (id, probability) in distribution(&logits, &[], 4, &sampling) {
            let share = f64::from(counts[id as usize]) / draws as f64;
            // Three standard deviations of a binomial share.
            let margin = 3.0 * (probability * (1.0 - probability) / draws as f64).sqrt();
            assert!(
                (share - probability).abs() < margin,
                "{id}: {share} {probability}"
            );
        }
    }

    #[track_caller]
    fn check_invalid(change: impl Fn(&mut Sampling), expected: &str) {
        let mut sampling = random();
        change(&mut sampling);
        assert_eq!(sampling.validate().unwrap_err().to_string(), expected);
    }

    #[test]
    fn settings_out_of_range_are_named() {
        check_invalid(
            |s| s.temperature = -1.0,
            "`temperature` is -1, expected a number from 0 on",
        );
        check_invalid(
            |s| s.temperature = f64::NAN,
            "`temperature` is NaN, expected a number from 0 on",
        );
        check_invalid(
            |s| s.top_p = Some(0.0),
            "`top_p` is 0, expected a number above 0, at most 1",
        );
        check_invalid(
            |s| s.min_p = Some(1.5),
            "`min_p` is 1.5, expected a number from 0 to 1",
        );
        check_invalid(
            |s| s.repetition_penalty = 0.0,
            "`repetition_penalty` is 0, expected a number above 0",
        );
        check_invalid(
            |s| s.top_k = Some(0),
            "`top_k` is 0, so no token is left to draw",
        );
        assert_eq!(random().validate(), Ok(()));
    }
}
