//! Every switch of the architecture, against the plain f64 forward pass.

use std::ops::ControlFlow;

use stablelm_inference::{GenerateOptions, Sampling, WeightDtype, generate};
use stablelm_model::ModelConfig;

use crate::reference;
use crate::source::{Weights, config, prompt};

/// Largest difference allowed between f32 and f64 logits, which spread over about 10 here.
const TOLERANCE: f64 = 1e-3;

#[track_caller]
fn check(fields: &str) {
    check_config(&config(fields));
}

#[track_caller]
fn check_config(config: &ModelConfig) {
    let weights = Weights::random(config, 77);
    let model = weights.load(config, WeightDtype::F32);
    for len in [1, 2, 5, 70] {
        let ids = prompt(len);
        let expected = reference::logits(config, &weights, &ids);
        let found = model.logits(&ids).unwrap();
        assert_eq!(found.len(), len);
        for (position, (found, expected)) in found.iter().zip(&expected).enumerate() {
            let worst = worst(found, expected);
            assert!(
                worst < TOLERANCE,
                "position {position} of {len}: off by {worst}"
            );
        }
    }
    decoding_equals_prefill(config, &weights);
}

/// Log-probabilities met one token at a time are those of the whole sequence read at once.
#[track_caller]
fn decoding_equals_prefill(config: &ModelConfig, weights: &Weights) {
    let model = weights.load(config, WeightDtype::F32);
    let options = GenerateOptions {
        max_new_tokens: 20,
        sampling: Sampling::greedy(),
        eos_token_ids: Vec::new(),
        vocab_size: config.padded_vocab_size,
        logprobs: Some(0),
        prompt_logprobs: true,
    };
    let mut go_on = |_: &_| ControlFlow::Continue(());
    let ids = prompt(12);
    let stepped = generate(&model, &ids, &options, &mut go_on).unwrap();
    let whole = [ids.clone(), stepped.ids.clone()].concat();
    let at_once = GenerateOptions {
        max_new_tokens: 0,
        ..options
    };
    let read = generate(&model, &whole, &at_once, &mut go_on).unwrap();
    assert!(read.ids.is_empty());
    for (stepped, read) in stepped.logprobs.iter().zip(&read.prompt_logprobs[12..]) {
        let read = read.as_ref().unwrap();
        assert_eq!(stepped.id, read.id);
        assert!((stepped.logprob - read.logprob).abs() < 1e-4);
    }
}

pub(crate) fn worst(found: &[f32], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let differences = found
        .iter()
        .zip(expected)
        .map(|(a, b)| (f64::from(*a) - b).abs());
    // `max` would pass over a NaN.
    differences.fold(0.0, |worst, difference| {
        if difference <= worst {
            worst
        } else {
            difference
        }
    })
}

#[test]
fn stablelm_as_in_3b() {
    check(r#""model_type": "stablelm""#);
}

#[test]
fn stablelm_with_qkv_bias_as_in_2_1_6b() {
    check(r#""model_type": "stablelm", "use_qkv_bias": true"#);
}

#[test]
fn stablelm_with_head_norms_parallel_residual_and_grouped_heads_as_in_2_12b() {
    check(
        r#""model_type": "stablelm", "qk_layernorm": true, "use_parallel_residual": true, "num_key_value_heads": 2"#,
    );
}

#[test]
fn each_switch_of_2_12b_alone() {
    check(r#""model_type": "stablelm", "qk_layernorm": true"#);
    check(r#""model_type": "stablelm", "use_parallel_residual": true"#);
    check(r#""model_type": "stablelm", "num_key_value_heads": 1"#);
}

#[test]
fn stablelm_with_tied_embeddings_and_another_base() {
    check(r#""model_type": "stablelm", "tie_word_embeddings": true, "rope_theta": 1000000"#);
}

#[test]
fn any_share_of_a_head_is_rotated() {
    for share in ["0.0", "0.5", "0.9", "1.0"] {
        check(&format!(
            r#""model_type": "stablelm", "partial_rotary_factor": {share}"#
        ));
    }
    // An odd number of twelve.
    check(r#""model_type": "gpt_neox", "rotary_pct": 0.25"#);
}

#[test]
fn neox_with_both_residual_forms() {
    check(r#""model_type": "gpt_neox""#);
    check(r#""model_type": "gpt_neox", "use_parallel_residual": false"#);
}

#[test]
fn neox_without_attention_bias_and_with_tied_embeddings() {
    check(r#""model_type": "gpt_neox", "attention_bias": false, "tie_word_embeddings": true"#);
}

#[test]
fn every_nonlinearity_in_both_families() {
    for act in ["silu", "gelu", "gelu_new"] {
        check(&format!(
            r#""model_type": "stablelm", "hidden_act": "{act}""#
        ));
        check(&format!(
            r#""model_type": "gpt_neox", "hidden_act": "{act}""#
        ));
    }
}

#[test]
fn a_large_epsilon_is_taken_seriously_by_every_norm() {
    check(r#""model_type": "stablelm", "qk_layernorm": true, "layer_norm_eps": 0.1"#);
}

#[test]
fn weights_of_sixteen_bits_stray_by_the_rounding_of_activations_alone() {
    let config = config(r#""model_type": "gpt_neox""#);
    let mut weights = Weights::random(&config, 5);
    for (_, values) in weights.tensors.values_mut() {
        for value in values {
            // Seven bits of mantissa and a moderate size: the same number in all three dtypes.
            *value = f32::from_bits(value.to_bits() & 0xffff_0000);
            if value.abs() < 1e-3 {
                *value = 0.0;
            }
        }
    }
    for len in [3, 40] {
        let ids = prompt(len);
        let expected = weights
            .load(&config, WeightDtype::F32)
            .logits(&ids)
            .unwrap();
        for dtype in [WeightDtype::Bf16, WeightDtype::F16] {
            let model = weights.load(&config, dtype);
            assert_eq!(model.dtype(), dtype.as_str());
            // Keys and values are cached in 11 bits, beside logits of up to 8; and many positions beside bf16 weights are rounded to bf16 where the processor multiplies pairs of bf16.
            let tolerance = if dtype == WeightDtype::Bf16 && len > 6 {
                0.2
            } else {
                0.02
            };
            let logits = model.logits(&ids).unwrap();
            for (found, expected) in logits.iter().flatten().zip(expected.iter().flatten()) {
                let error = (found - expected).abs();
                assert!(
                    error < tolerance,
                    "{dtype} of {len}: {found}, expected {expected}"
                );
            }
        }
    }
}
