//! What a training run sees of each source: shares, repeats, and the samples GPT-NeoX lays out.
//!
//! GPT-NeoX normalizes the weights `w` of its data paths and asks path `i` for
//! `ceil(n * w_i / sum(w) * 1.005)` samples of a run of `n` samples
//! (`get_normalized_weights_and_num_samples` in `megatron/data/data_utils.py`). A sample is
//! `seq_length` tokens and the one after them, so samples overlap by a token and documents run on
//! across them. It then repeats the documents of the path until they hold that many samples
//! (`_num_epochs` in `megatron/data/gpt2_dataset.py`).

use crate::recipe::Sampling;
use crate::report::{Mixture, MixtureSource};

/// Tokens of a sample, as published for StableLM-3B-4E1T and written to `neox.yml`.
pub(crate) const SEQ_LENGTH: u64 = 4096;

/// Samples that GPT-NeoX lays out beyond a path's share, so that blending never runs dry.
const SPARE: f64 = 1.005;

/// Up to so many epochs, repeated tokens are worth almost as much as new ones: Muennighoff et al.
/// 2023, "Scaling Data-Constrained Language Models", arXiv 2305.16264.
const MAX_USEFUL_EPOCHS: f64 = 4.0;

/// Plans what a run of `training_tokens` sees of sources, each a name, how often its recipe wants
/// it, and the tokens of its train split.
///
/// Without a number of tokens, weights are planned for a run as long as all train splits together,
/// and epochs for the run that they add up to. Sources without tokens are left out.
pub(crate) fn plan(sources: &[(&str, Sampling, u64)], training_tokens: Option<u64>) -> Mixture {
    let sources = || sources.iter().filter(|(_, _, tokens)| *tokens > 0);
    let weight = |sampling, tokens: u64| match sampling {
        Sampling::Weight(weight) => weight,
        Sampling::Epochs(epochs) => epochs * tokens as f64,
    };
    let total: f64 = sources()
        .map(|&(_, sampling, tokens)| weight(sampling, tokens))
        .sum();
    let training_tokens = training_tokens.unwrap_or_else(|| {
        // Sources all have weights or all have epochs; the parser sees to it.
        match sources().next() {
            Some((_, Sampling::Epochs(_), _)) => whole(total),
            Some((_, Sampling::Weight(_), _)) | None => {
                sources().map(|(_, _, tokens)| tokens).sum()
            }
        }
    });
    let samples = training_tokens.div_ceil(SEQ_LENGTH);
    let sources = sources().map(|&(name, sampling, train_tokens)| {
        let weight = weight(sampling, train_tokens);
        let share = weight / total;
        let seen = share * training_tokens as f64;
        let epochs = seen / train_tokens as f64;
        let neox_samples = whole((samples as f64 * share * SPARE).ceil());
        MixtureSource {
            name: name.to_owned(),
            weight,
            share,
            train_tokens,
            epochs,
            tokens_seen: whole(seen),
            neox_samples,
            neox_epochs: neox_epochs(train_tokens, neox_samples),
            warning: warning(epochs),
        }
    });
    Mixture {
        training_tokens,
        sources: sources.collect(),
    }
}

/// How often GPT-NeoX repeats a path's documents until they hold `samples` samples: the smallest
/// number of at least 1 for which `(epochs * tokens - 1) / SEQ_LENGTH`, rounded down, reaches them.
fn neox_epochs(tokens: u64, samples: u64) -> u64 {
    let wanted = u128::from(samples) * u128::from(SEQ_LENGTH) + 1;
    let epochs = wanted.div_ceil(u128::from(tokens)).max(1);
    u64::try_from(epochs).unwrap_or(u64::MAX)
}

fn warning(epochs: f64) -> Option<String> {
    (epochs > MAX_USEFUL_EPOCHS).then(|| {
        format!(
            "every token is seen {epochs:.1} times; repeats beyond {MAX_USEFUL_EPOCHS} epochs add \
             little (Muennighoff et al. 2023, arXiv 2305.16264)"
        )
    })
}

/// A number of tokens, rounded down.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the casts saturate, and no number of tokens is negative"
)]
fn whole(tokens: f64) -> u64 {
    tokens as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shares and epochs of sources `a`, `b`, ... with these samplings and train tokens.
    fn check(sources: &[(Sampling, u64)], tokens: Option<u64>, expected: &[(f64, f64)]) -> Mixture {
        let names = ["a", "b", "c"];
        let sources: Vec<_> = names
            .iter()
            .zip(sources)
            .map(|(name, &(sampling, tokens))| (*name, sampling, tokens))
            .collect();
        let mixture = plan(&sources, tokens);
        assert_eq!(mixture.sources.len(), expected.len());
        for (source, (share, epochs)) in mixture.sources.iter().zip(expected) {
            assert!((source.share - share).abs() < 1e-12, "{source:?}");
            assert!((source.epochs - epochs).abs() < 1e-9, "{source:?}");
        }
        mixture
    }

    #[test]
    fn weights_without_a_budget_are_for_one_pass_over_all_tokens() {
        let sources = [(Sampling::Weight(3.0), 1000), (Sampling::Weight(1.0), 3000)];
        let mixture = check(&sources, None, &[(0.75, 3.0), (0.25, 1.0 / 3.0)]);
        assert_eq!(mixture.training_tokens, 4000);
        assert_eq!(mixture.sources[0].tokens_seen, 3000);
    }

    #[test]
    fn epochs_without_a_budget_are_kept() {
        let sources = [(Sampling::Epochs(2.0), 100), (Sampling::Epochs(0.5), 400)];
        let mixture = check(&sources, None, &[(0.5, 2.0), (0.5, 0.5)]);
        assert_eq!(mixture.training_tokens, 400);
    }

    #[test]
    fn a_budget_stretches_epochs_in_proportion() {
        let sources = [(Sampling::Epochs(2.0), 100), (Sampling::Epochs(0.5), 400)];
        let mixture = check(&sources, Some(4000), &[(0.5, 20.0), (0.5, 5.0)]);
        let warnings = mixture
            .sources
            .iter()
            .map(|source| source.warning.as_deref());
        assert!(warnings.eq([
            Some(
                "every token is seen 20.0 times; repeats beyond 4 epochs add little \
                 (Muennighoff et al. 2023, arXiv 2305.16264)"
            ),
            Some(
                "every token is seen 5.0 times; repeats beyond 4 epochs add little \
                 (Muennighoff et al. 2023, arXiv 2305.16264)"
            ),
        ]));
    }

    #[test]
    fn four_epochs_are_no_reason_to_warn() {
        let mixture = check(&[(Sampling::Weight(1.0), 10)], Some(40), &[(1.0, 4.0)]);
        assert_eq!(mixture.sources[0].warning, None);
    }

    #[test]
    fn sources_without_tokens_take_no_share() {
        let sources = [(Sampling::Weight(9.0), 0), (Sampling::Weight(1.0), 5)];
        let mixture = check(&sources, None, &[(1.0, 1.0)]);
        assert_eq!(mixture.sources[0].name, "b");
        assert_eq!(plan(&[], Some(7)).sources, []);
    }

    /// Checked against `get_normalized_weights_and_num_samples` and `_num_epochs` of GPT-NeoX,
    /// with its arithmetic done by hand: 1000 samples, weights 3 and 1.
    #[test]
    fn samples_and_repeats_are_those_of_gpt_neox() {
        let sources = [
            (Sampling::Weight(3.0), 2_000_000),
            (Sampling::Weight(1.0), 900_000),
        ];
        let budget = Some(1000 * SEQ_LENGTH);
        let mixture = check(&sources, budget, &[(0.75, 1.536), (0.25, 1024.0 / 900.0)]);
        // ceil(753.75) samples need 3,088,385 tokens; ceil(251.25) need 1,032,193.
        let neox: Vec<_> = mixture
            .sources
            .iter()
            .map(|source| (source.neox_samples, source.neox_epochs))
            .collect();
        assert_eq!(neox, [(754, 2), (252, 2)]);
    }

    #[test]
    fn repeats_are_counted_as_the_loop_of_gpt_neox_does() {
        for tokens in [1, 2, 4095, 4096, 4097, 8193, 100_000] {
            for samples in [0, 1, 2, 3, 24, 25] {
                let mut epochs = 1;
                while (epochs * tokens - 1) / SEQ_LENGTH < samples {
                    epochs += 1;
                }
                assert_eq!(neox_epochs(tokens, samples), epochs, "{tokens} {samples}");
            }
        }
    }
}
