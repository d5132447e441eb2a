//! Draws the next token without sorting the vocabulary.
//!
//! [`distribution`](crate::distribution) says what may be drawn; this gives the same token, looking closely only at those
//! near the top. One pass over the vocabulary adds up all probability, another picks the tokens within some distance of the
//! likeliest one; the least distance that holds all that the rules can keep names the candidates, and only those are sorted.

use std::borrow::Cow;

use crate::exp::{exp_negative, largest, sum_exp};
use crate::logprobs::best_first;
use crate::random::uniform;
use crate::sample::{Sampling, keep_min_p, keep_top_k, keep_top_p, penalized, softmax};

/// How far below the best score, in nats, candidates are looked for at first: 2e-6 of its probability.
const REACH: f64 = 13.0;

/// Into how many steps that is divided.
const STEPS: usize = 26;

/// A margin for other roundings than those of a sorted sum.
const MARGIN: f64 = 1e-9;

/// Draws the token for a position of the sequence: its number is the length of `history`.
///
/// The conditions are those of [`distribution`](crate::distribution).
pub(crate) fn choose(
    logits: &[f32],
    history: &[u32],
    vocab_size: usize,
    sampling: &Sampling,
) -> Option<u32> {
    let is_greedy = sampling.is_greedy();
    let temperature = if is_greedy { 1.0 } else { sampling.temperature };
    let logits = &logits[..vocab_size.min(logits.len())];
    let penalized = penalized(logits, history, sampling.repetition_penalty);
    let scores = Scores::new(logits, penalized, temperature);
    if is_greedy {
        let mut best = scores.within(0.0);
        best.sort_unstable_by(best_first);
        return best.first().map(|(id, _)| *id);
    }
    let threshold = uniform(sampling.seed, history.len() as u64);
    draw(&scores, sampling, threshold)
}

fn draw(scores: &Scores<'_>, sampling: &Sampling, threshold: f64) -> Option<u32> {
    // Each rule looks at what the one before left: what top-k leaves is all there is to the others.
    let (mut ranked, outside) = match sampling.top_k {
        Some(top_k) => {
            let mut ranked = scores.candidates(|near| near.count >= top_k).0;
            keep_top_k(&mut ranked, top_k);
            ranked.sort_unstable_by(best_first);
            softmax(&mut ranked);
            (ranked, 0.0)
        }
        None => scores.likeliest(sampling, threshold),
    };
    if let Some(top_p) = sampling.top_p {
        keep_top_p(&mut ranked, outside, top_p);
    }
    if let Some(min_p) = sampling.min_p {
        keep_min_p(&mut ranked, min_p);
    }
    let inside: f64 = ranked.iter().map(|(_, probability)| probability).sum();
    let has_cut = sampling.top_p.is_some() || sampling.min_p.is_some();
    // Without a cut, what lies outside could be drawn as well; that it was not has been seen to.
    let sum = if has_cut { inside } else { inside + outside };
    let mut cumulative = 0.0;
    for (id, probability) in &ranked {
        cumulative += probability / sum;
        if cumulative > threshold {
            return Some(*id);
        }
    }
    // Rounding can leave the sum a hair under one.
    ranked.last().map(|(id, _)| *id)
}

/// Logits with penalties, divided by the temperature.
struct Scores<'a> {
    /// Minus infinity in place of those that are penalized.
    logits: Cow<'a, [f32]>,
    penalized: Vec<(usize, f64)>,
    temperature: f64,
    /// The highest score.
    best: f64,
}

/// What lies within some distance of the best score.
#[derive(Default)]
struct Near {
    distance: f64,
    count: usize,
    /// In multiples of the best token's probability.
    weight: f64,
}

impl<'a> Scores<'a> {
    fn new(logits: &'a [f32], mut penalized: Vec<(usize, f64)>, temperature: f64) -> Self {
        let mut logits = Cow::Borrowed(logits);
        for (index, score) in &mut penalized {
            logits.to_mut()[*index] = f32::NEG_INFINITY;
            *score /= temperature;
        }
        // Division keeps the order.
        let best = f64::from(largest(&logits)) / temperature;
        let best = penalized
            .iter()
            .map(|(_, score)| *score)
            .fold(best, f64::max);
        Self {
            logits,
            penalized,
            temperature,
            best,
        }
    }

    /// Returns the likeliest tokens that hold all that the rules can keep, best first, with their probabilities; and the
    /// probability of all others.
    fn likeliest(&self, sampling: &Sampling, threshold: f64) -> (Vec<(u32, f64)>, f64) {
        let weight = |score: f64| exp_negative(score - self.best);
        let mut total = sum_exp(&self.logits, self.temperature, self.best);
        total += self
            .penalized
            .iter()
            .map(|(_, score)| weight(*score))
            .sum::<f64>();
        let holds = |near: &Near, share: f64| near.weight / total >= share + MARGIN;
        let is_enough = |near: &Near| match (sampling.top_p, sampling.min_p) {
            (Some(top_p), _) => holds(near, top_p),
            (None, Some(min_p)) => exp_negative(-near.distance) < min_p * (1.0 - MARGIN),
            (None, None) => holds(near, threshold),
        };
        let (mut ranked, are_all) = self.candidates(is_enough);
        ranked.sort_unstable_by(best_first);
        if are_all {
            softmax(&mut ranked);
            return (ranked, 0.0);
        }
        for (_, score) in &mut ranked {
            *score = weight(*score) / total;
        }
        let inside: f64 = ranked.iter().map(|(_, probability)| probability).sum();
        (ranked, (1.0 - inside).max(0.0))
    }

    /// Returns the tokens within the least distance that is enough, and whether they are all there are.
    fn candidates(&self, is_enough: impl Fn(&Near) -> bool) -> (Vec<(u32, f64)>, bool) {
        let mut found = self.within(REACH);
        let mut steps = [(0usize, 0f64); STEPS];
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "from 0 to the number of steps"
        )]
        let step_of = |score: f64| {
            let step = (self.best - score) * (STEPS as f64 / REACH);
            (step as usize).min(STEPS - 1)
        };
        for (_, score) in &found {
            let (count, weight) = &mut steps[step_of(*score)];
            *count += 1;
            *weight += exp_negative(score - self.best);
        }
        let mut near = Near::default();
        for (step, (count, weight)) in steps.into_iter().enumerate() {
            near.count += count;
            near.weight += weight;
            near.distance = (step + 1) as f64 * (REACH / STEPS as f64);
            if is_enough(&near) {
                found.retain(|(_, score)| step_of(*score) <= step);
                return (found, false);
            }
        }
        (self.within(f64::INFINITY), true)
    }

    /// Returns the tokens whose scores lie at most `distance` below the best, in no order.
    fn within(&self, distance: f64) -> Vec<(u32, f64)> {
        /// How many logits are passed over at once when none of them is near.
        const RUN: usize = 16;
        let id = |index: usize| u32::try_from(index).expect("ids are 32 bits");
        let is_in = |score: f64| score - self.best >= -distance;
        let mut found: Vec<(u32, f64)> = Vec::new();
        // A bound in the logits' own numbers, with room for rounding; what passes it is looked at exactly.
        let bound = (self.best - distance) * self.temperature;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a bound, made lower than exact"
        )]
        let bound = (bound - 1e-6 * bound.abs() - 1e-6) as f32;
        for (run, start) in self.logits.chunks(RUN).zip((0..).step_by(RUN)) {
            // A count, and not a question, is what vectors are made of.
            if run.iter().filter(|logit| **logit >= bound).count() == 0 {
                continue;
            }
            for (logit, index) in run.iter().zip(start..) {
                let score = f64::from(*logit) / self.temperature;
                if *logit >= bound && is_in(score) && *logit > f32::NEG_INFINITY {
                    found.push((id(index), score));
                }
            }
        }
        let penalized = self.penalized.iter().filter(|(_, score)| is_in(*score));
        found.extend(penalized.map(|(index, score)| (id(*index), *score)));
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::distribution;

    /// Draws from the whole distribution: the definition.
    fn draw_plainly(
        logits: &[f32],
        history: &[u32],
        vocab_size: usize,
        sampling: &Sampling,
    ) -> Option<u32> {
        let ranked = distribution(logits, history, vocab_size, sampling);
        let threshold = uniform(sampling.seed, history.len() as u64);
        let mut cumulative = 0.0;
        let drawn = ranked.iter().find(|(_, probability)| {
            cumulative += probability;
            cumulative > threshold
        });
        drawn.or(ranked.last()).map(|(id, _)| *id)
    }

    /// Numbers between 0 and 1.
    fn noise(seed: u64) -> impl FnMut() -> f64 {
        let mut position = 0;
        move || {
            position += 1;
            uniform(seed, position)
        }
    }

    /// Logits of many shapes: flat, steep, with ties, and with a few far above the rest.
    #[expect(clippy::cast_possible_truncation, reason = "made to be f32")]
    fn logits(seed: u64, len: usize) -> Vec<f32> {
        let mut noise = noise(seed);
        let spread = [0.01, 1.0, 6.0, 30.0][(seed % 4) as usize];
        let rounding = if seed.is_multiple_of(3) { 4.0 } else { 1e6 };
        let value = |noise: &mut dyn FnMut() -> f64| {
            // Three uniform numbers make something like a bell.
            let bell = noise() + noise() + noise() - 1.5;
            (spread * bell * rounding).round() / rounding
        };
        let mut logits: Vec<f32> = (0..len).map(|_| value(&mut noise) as f32).collect();
        if seed.is_multiple_of(5) {
            for index in 0..3.min(len) {
                logits[index * 7 % len] += 12.0;
            }
        }
        logits
    }

    #[test]
    fn the_token_is_the_one_that_sorting_everything_draws() {
        let mut distinct = std::collections::BTreeSet::new();
        for seed in 0..4000u64 {
            let len = [1, 3, 40, 513, 1500][(seed % 5) as usize];
            let logits = logits(seed, len);
            let mut noise = noise(seed ^ 0xabcd);
            let mut maybe = |value: f64| (noise() < 0.4).then_some(value);
            let sampling = Sampling {
                greedy: maybe(0.0).is_some() && seed % 7 == 0,
                temperature: maybe(0.75).unwrap_or(0.2 + (seed % 9) as f64 / 4.0),
                top_k: maybe(1.0).map(|_| 1 + (seed % 61) as usize),
                top_p: maybe(0.95).map(|p| {
                    if seed % 2 == 0 {
                        p
                    } else {
                        (seed % 100 + 1) as f64 / 100.0
                    }
                }),
                min_p: maybe(0.05).map(|p| {
                    if seed % 2 == 0 {
                        p
                    } else {
                        (seed % 11) as f64 / 10.0
                    }
                }),
                repetition_penalty: maybe(1.3).unwrap_or(1.0),
                seed,
            };
            let history: Vec<u32> = (0..u32::try_from(seed % 50).unwrap())
                .map(|i| i * 31 % 700)
                .collect();
            let vocab_size = len - usize::from(seed % 2 == 1 && len > 1);
            let found = choose(&logits, &history, vocab_size, &sampling);
            let expected = draw_plainly(&logits, &history, vocab_size, &sampling);
            assert_eq!(found, expected, "seed {seed}, {sampling:?}");
            distinct.insert(found);
        }
        assert!(distinct.len() > 200, "the draws differ");
    }

    #[test]
    fn few_tokens_are_looked_at_closely() {
        let logits = logits(2, 50_000);
        let scores = Scores::new(&logits, Vec::new(), 0.75);
        let sampling = Sampling {
            greedy: false,
            temperature: 0.75,
            top_p: Some(0.95),
            ..Sampling::greedy()
        };
        let (near, outside) = scores.likeliest(&sampling, 0.5);
        let kept = distribution(&logits, &[], 50_000, &sampling);
        assert!(
            kept.len() <= near.len() && near.len() < 25_000,
            "{}",
            near.len()
        );
        assert!(outside > 0.0 && outside < 0.05);
        for (near, kept) in near.iter().zip(&kept) {
            // Before top-p, and so not divided by what is left.
            assert_eq!(near.0, kept.0);
            assert!(near.1 < kept.1 && near.1 > 0.95 * kept.1 * (1.0 - 1e-9));
        }
    }
}
