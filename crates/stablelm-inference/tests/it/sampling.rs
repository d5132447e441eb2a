//! Properties that the choice of tokens must have whatever the logits.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use stablelm_inference::{GenerateOptions, Sampling, WeightDtype, distribution, generate};

use crate::source::{Noise, Weights, config, prompt};

fn random() -> Sampling {
    Sampling {
        greedy: false,
        ..Sampling::greedy()
    }
}

fn noise(len: usize, seed: u64) -> Vec<f32> {
    let mut noise = Noise(seed);
    (0..len).map(|_| 6.0 * noise.next()).collect()
}

#[test]
fn distributions_are_sorted_sum_to_one_and_shrink_with_each_rule() {
    for seed in 1..50 {
        let logits = noise(200, seed);
        let mut sampling = random();
        let mut sizes = vec![distribution(&logits, &[3, 4], 150, &sampling).len()];
        sampling.top_k = Some(60);
        sizes.push(distribution(&logits, &[3, 4], 150, &sampling).len());
        sampling.top_p = Some(0.8);
        sizes.push(distribution(&logits, &[3, 4], 150, &sampling).len());
        sampling.min_p = Some(0.2);
        let ranked = distribution(&logits, &[3, 4], 150, &sampling);
        sizes.push(ranked.len());
        assert_eq!(sizes[..2], [150, 60]);
        assert!(
            sizes.is_sorted_by(|a, b| a >= b) && sizes[3] >= 1,
            "{sizes:?}"
        );
        assert!(ranked.is_sorted_by(|a, b| a.1 > b.1 || (a.1 >= b.1 && a.0 < b.0)));
        let sum: f64 = ranked.iter().map(|(_, probability)| probability).sum();
        assert!((sum - 1.0).abs() < 1e-12);
    }
}

#[test]
fn a_low_temperature_is_greedy_and_zero_exactly_so() {
    for seed in 1..20 {
        let logits = noise(64, seed);
        let best = distribution(&logits, &[], 64, &Sampling::greedy())[0].0;
        for temperature in [0.0, 1e-4] {
            let sampling = Sampling {
                temperature,
                ..random()
            };
            let ranked = distribution(&logits, &[], 64, &sampling);
            assert_eq!(ranked[0].0, best);
            assert!(ranked[0].1 > 0.99);
        }
    }
}

#[test]
fn tokens_are_drawn_as_often_as_the_model_says() {
    let config = config(r#""model_type": "stablelm""#);
    let model = Weights::random(&config, 4).load(&config, WeightDtype::F32);
    let ids = prompt(6);
    let draws = 2000u32;
    let mut counts = BTreeMap::<u32, u32>::new();
    for seed in 0..u64::from(draws) {
        let options = GenerateOptions {
            max_new_tokens: 1,
            sampling: Sampling {
                temperature: 1.5,
                seed,
                ..random()
            },
            eos_token_ids: Vec::new(),
            vocab_size: 96,
            logprobs: None,
            prompt_logprobs: false,
        };
        let generation = generate(&model, &ids, &options, &mut |_| ControlFlow::Continue(()));
        *counts.entry(generation.unwrap().ids[0]).or_default() += 1;
    }
    let logits = model.logits(&ids).unwrap().pop().unwrap();
    let sampling = Sampling {
        temperature: 1.5,
        ..random()
    };
    for (id, probability) in distribution(&logits, &ids, 96, &sampling) {
        let share = f64::from(counts.get(&id).copied().unwrap_or(0)) / f64::from(draws);
        // Four standard deviations: 96 shares are looked at, and the seeds are fixed.
        let margin = 4.0 * (probability / f64::from(draws)).sqrt() + 1e-3;
        assert!(
            (share - probability).abs() < margin,
            "{id}: {share}, expected {probability}"
        );
    }
}
