//! Golden values of Hugging Face transformers in f32, beside the repository and in `fixtures/inference`.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use serde_json::Value;
use stablelm_inference::{
    FinishReason, GenerateOptions, Generation, LoadOptions, Model, Sampling, WeightDtype,
    distribution, generate, load, score,
};
use stablelm_model::ModelConfig;

use crate::safetensors::Safetensors;

/// Largest difference allowed in a logit or log-probability; other f32 engines stay within 2e-5.
const TOLERANCE: f32 = 1e-3;

/// The same beside weights of 16 bits: they are those of the file, but the cache rounds keys and values to halves.
/// Transformers in bf16 strays by 0.05 to 0.26.
const CACHE_TOLERANCE: f32 = 3e-2;

/// One checkpoint with what transformers made of it.
struct Variant {
    folder: PathBuf,
    weights: Safetensors,
    golden: Value,
    tensors: Safetensors,
}

impl Variant {
    /// Returns `None` and says so where the golden values are not at hand.
    #[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
    fn open(name: &str) -> Option<Self> {
        let Some(oracles) = stablelm_testkit::shared_oracles() else {
            eprintln!("skipped: the golden values of `{name}` are not beside the repository");
            return None;
        };
        Some(Self::read(oracles.join("inference").join(name)))
    }

    /// Opens one of those in the repository; `crates/stablelm-inference/peers/make_oracles.py` makes them.
    fn fixture(name: &str) -> Self {
        Self::read(stablelm_testkit::fixtures().join("inference").join(name))
    }

    fn read(folder: PathBuf) -> Self {
        Self {
            weights: Safetensors::open(&folder.join("model.safetensors")),
            golden: read_json(&folder.join("golden.json")),
            tensors: Safetensors::open(&folder.join("golden.safetensors")),
            folder,
        }
    }

    fn model(&self, config: &str, dtype: WeightDtype) -> Model {
        let config = std::fs::read(self.folder.join(config)).unwrap();
        let config = ModelConfig::from_config_json(&config).unwrap();
        load(
            &config,
            &self.weights,
            &LoadOptions {
                dtype,
                ..LoadOptions::default()
            },
        )
        .unwrap()
    }

    fn prompts(&self) -> &Vec<Value> {
        self.golden["prompts"].as_array().unwrap()
    }
}

pub(crate) fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

pub(crate) fn ids(value: &Value) -> Vec<u32> {
    serde_json::from_value(value.clone()).unwrap()
}

pub(crate) fn floats(value: &Value) -> Vec<f32> {
    serde_json::from_value(value.clone()).unwrap()
}

pub(crate) fn greedy(model: &Model, prompt: &[u32], eos: Vec<u32>) -> Generation {
    let options = GenerateOptions {
        max_new_tokens: 64,
        sampling: Sampling::greedy(),
        eos_token_ids: eos,
        vocab_size: model.config().padded_vocab_size,
        logprobs: Some(5),
        prompt_logprobs: true,
    };
    generate(model, prompt, &options, &mut |_| ControlFlow::Continue(())).unwrap()
}

#[track_caller]
pub(crate) fn check_close(what: &str, found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        let difference = (found - expected).abs();
        assert!(
            difference <= tolerance,
            "{what}[{index}]: {found}, expected {expected}"
        );
    }
}

fn check_variant(name: &str, config: &str, dtype: WeightDtype) {
    if let Some(variant) = Variant::open(name) {
        check(&variant, config, dtype);
    }
}

/// Every number that transformers gives, and the greedy path token by token.
fn check(variant: &Variant, config: &str, dtype: WeightDtype) {
    let model = variant.model(config, dtype);
    for (index, golden) in variant.prompts().iter().enumerate() {
        let prompt = ids(&golden["ids"]);
        let tolerance = tolerance(&model, golden);
        let generation = greedy(&model, &prompt, Vec::new());
        assert_eq!(
            generation.ids,
            ids(&golden["greedy"]),
            "{} prompt {index}",
            variant.golden["variant"]
        );
        assert_eq!(generation.finish_reason, FinishReason::Length);
        let logprobs: Vec<f32> = generation
            .logprobs
            .iter()
            .map(|token| token.logprob)
            .collect();
        check_close(
            "greedy_logprob",
            &logprobs,
            &floats(&golden["greedy_logprob"]),
            tolerance,
        );
        let (top, values): (Vec<u32>, Vec<f32>) =
            generation.logprobs[0].top.iter().copied().unzip();
        if model.dtype() != "bf16" {
            // Close logits may change places when activations are rounded; the ranks' values below hold anyway.
            assert_eq!(top, ids(&golden["top5_ids"]));
        }
        check_close(
            "top5_logprob",
            &values,
            &floats(&golden["top5_logprob"]),
            tolerance,
        );
        check_prompt(variant, index, &generation, tolerance);
        check_logits(variant, index, &model.logits(&prompt).unwrap(), tolerance);
    }
}

/// Beside bf16 weights a prompt's activations may be rounded to bf16, as transformers does: it may stray as far.
#[expect(clippy::cast_possible_truncation, reason = "a bound")]
fn tolerance(model: &Model, golden: &Value) -> f32 {
    match model.dtype() {
        "f32" => TOLERANCE,
        "bf16" => golden["bf16_compute"]["max_abs_logit_diff"]
            .as_f64()
            .unwrap() as f32,
        _ => CACHE_TOLERANCE,
    }
}

fn check_prompt(variant: &Variant, index: usize, generation: &Generation, tolerance: f32) {
    let (first, rest) = generation.prompt_logprobs.split_first().unwrap();
    assert_eq!(*first, None);
    if rest.is_empty() {
        return;
    }
    let nlls: Vec<f32> = rest
        .iter()
        .map(|token| -token.as_ref().unwrap().logprob)
        .collect();
    let each = format!("p{index}.token_nll");
    // Of the longest prompt only the mean is kept.
    if variant.tensors.has(&each) {
        let expected = variant.tensors.floats(&each);
        check_close("token_nll", &nlls, &expected, tolerance);
    }
    let mean = nlls.iter().map(|nll| f64::from(*nll)).sum::<f64>() / nlls.len() as f64;
    let expected = variant.prompts()[index]["mean_nll"].as_f64().unwrap();
    assert!((mean - expected).abs() < f64::from(tolerance));
}

fn check_logits(variant: &Variant, index: usize, logits: &[Vec<f32>], tolerance: f32) {
    let expected = variant.tensors.floats(&format!("p{index}.logits_last"));
    check_close("logits_last", logits.last().unwrap(), &expected, tolerance);
    let all = format!("p{index}.logits_all");
    if variant.tensors.has(&all) {
        check_close(
            "logits_all",
            &logits.concat(),
            &variant.tensors.floats(&all),
            tolerance,
        );
    }
}

#[test]
fn stablelm_3b_in_every_dialect_of_its_configuration() {
    for config in ["config.json", "config.epoch.json", "config.v5.json"] {
        check_variant("3b-4e1t", config, WeightDtype::F32);
    }
}

#[test]
fn stablelm_2_1_6b_in_every_dialect_of_its_configuration() {
    for config in ["config.json", "config.epoch.json", "config.v5.json"] {
        check_variant("2-1_6b", config, WeightDtype::F32);
    }
}

#[test]
fn stablelm_alpha_in_every_dialect_of_its_configuration() {
    for config in ["config.json", "config.v5.json"] {
        check_variant("alpha-neox", config, WeightDtype::F32);
    }
}

#[test]
fn a_padded_and_tied_vocabulary() {
    check_variant("vocab-50304", "config.json", WeightDtype::F32);
}

#[test]
fn stable_code_3b_with_a_large_rotary_base_and_a_prompt_of_6001_tokens() {
    check(
        &Variant::fixture("stable-code-3b"),
        "config.json",
        WeightDtype::F32,
    );
}

#[test]
fn stablelm_2_12b_with_norms_of_heads_and_grouped_keys() {
    check(&Variant::fixture("2-12b"), "config.json", WeightDtype::F32);
}

#[test]
fn gpt_neox_whose_mlp_reads_what_attention_added() {
    check(
        &Variant::fixture("neox-sequential"),
        "config.json",
        WeightDtype::F32,
    );
}

#[test]
fn sixteen_bit_files_in_their_own_dtype() {
    check_variant("3b-4e1t", "config.json", WeightDtype::Auto);
    check_variant("vocab-50304", "config.json", WeightDtype::Auto);
    check_variant("alpha-neox", "config.json", WeightDtype::Auto);
}

#[test]
fn weights_rounded_to_bf16_stay_closer_than_bf16_compute_does() {
    if let Some(variant) = Variant::open("2-1_6b") {
        check_bf16(&variant);
    }
    for name in ["stable-code-3b", "2-12b", "neox-sequential"] {
        check_bf16(&Variant::fixture(name));
    }
}

fn check_bf16(variant: &Variant) {
    let model = variant.model("config.json", WeightDtype::Bf16);
    assert_eq!(model.dtype(), "bf16");
    for (index, golden) in variant.prompts().iter().enumerate() {
        let logits = model.logits(&ids(&golden["ids"])).unwrap();
        let expected = variant.tensors.floats(&format!("p{index}.logits_last"));
        // Only the weights are rounded here; transformers rounds every activation as well.
        let strays = golden["bf16_compute"]["max_abs_logit_diff"]
            .as_f64()
            .unwrap();
        #[expect(clippy::cast_possible_truncation, reason = "a bound")]
        check_close(
            "logits_last",
            logits.last().unwrap(),
            &expected,
            strays as f32,
        );
    }
}

#[test]
fn texts_are_scored_from_any_position_on() {
    let Some(variant) = Variant::open("3b-4e1t") else {
        return;
    };
    let model = variant.model("config.json", WeightDtype::F32);
    for (index, golden) in variant.prompts().iter().enumerate() {
        let ids = ids(&golden["ids"]);
        let all = score(&model, &ids, 0).unwrap();
        if ids.len() == 1 {
            assert!(all.is_empty());
            continue;
        }
        let nlls: Vec<f32> = all.iter().map(|logprob| -logprob).collect();
        let expected = variant.tensors.floats(&format!("p{index}.token_nll"));
        check_close("token_nll", &nlls, &expected, TOLERANCE);
        for first in [1, 2, ids.len() / 2, ids.len() - 1] {
            let some = score(&model, &ids, first).unwrap();
            check_close("logprobs", &some, &all[first - 1..], TOLERANCE);
        }
        assert!(score(&model, &ids, ids.len()).unwrap().is_empty());
    }
}

#[test]
fn generation_stops_at_any_token_that_ends_the_text_and_keeps_it() {
    let beside = ["3b-4e1t", "2-1_6b", "alpha-neox", "vocab-50304"].map(Variant::open);
    let ours = ["stable-code-3b", "2-12b", "neox-sequential"].map(Variant::fixture);
    for variant in beside.into_iter().flatten().chain(ours) {
        let model = variant.model("config.json", WeightDtype::F32);
        for case in variant.golden["eos_stop"].as_array().unwrap() {
            let eos = match &case["eos_token_id"] {
                list @ Value::Array(_) => ids(list),
                one => vec![u32::try_from(one.as_u64().unwrap()).unwrap()],
            };
            let index = usize::try_from(case["prompt"].as_u64().unwrap()).unwrap();
            let generation = greedy(&model, &ids(&variant.prompts()[index]["ids"]), eos);
            let name = &variant.golden["variant"];
            assert_eq!(generation.ids, ids(&case["greedy"]), "{name}");
            assert_eq!(generation.finish_reason, FinishReason::Stop);
        }
    }
}

#[test]
fn sampling_rules_give_the_distributions_of_transformers() {
    let Some(variant) = Variant::open("3b-4e1t") else {
        return;
    };
    let model = variant.model("config.json", WeightDtype::F32);
    for (index, case) in variant.golden["sampling"]
        .as_array()
        .unwrap()
        .iter()
        .enumerate()
    {
        let options = &case["options"];
        let number = |key: &str| options[key].as_f64();
        let sampling = Sampling {
            greedy: false,
            temperature: number("temperature").unwrap_or(1.0),
            top_k: options["top_k"]
                .as_u64()
                .map(|k| usize::try_from(k).unwrap()),
            top_p: number("top_p"),
            min_p: number("min_p"),
            repetition_penalty: number("repetition_penalty").unwrap_or(1.0),
            seed: 0,
        };
        let prompt = usize::try_from(case["prompt"].as_u64().unwrap()).unwrap();
        let history = ids(&variant.prompts()[prompt]["ids"]);
        let logits = model.logits(&history).unwrap().pop().unwrap();
        let ranked = distribution(&logits, &history, logits.len(), &sampling);
        assert_eq!(
            Some(ranked.len() as u64),
            case["kept"].as_u64(),
            "{options}"
        );
        let mut found = vec![0f64; logits.len()];
        for (id, probability) in ranked {
            found[id as usize] = probability;
        }
        let expected = variant.tensors.floats(&format!("sampling{index}.probs"));
        for (id, (found, expected)) in found.iter().zip(expected).enumerate() {
            assert!(
                (found - f64::from(expected)).abs() < 1e-4,
                "{options} {id}: {found} {expected}"
            );
        }
    }
}
