//! Sequences side by side on a device, beside the same ones alone.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;

use stablelm_model::{ModelConfig, parameters};

use super::device::{CONFIGS, Random, check, device, ids, random_model};
use crate::batch::Batch;
use crate::cuda::Cuda;
use crate::cuda::decode::CudaNetwork;
use crate::decoder::{Network, Rows, Sequence};
use crate::device::Device;
use crate::generate::{FinishReason, GenerateOptions, Generation, generate};
use crate::kv_cache::KvDtype;
use crate::model::Model;
use crate::sample::Sampling;
use crate::stored::WeightDtype;
use crate::weights;

/// Lengths of prompts: the cache of one, which begins with 256 positions, grows on the way.
fn prompt_len(nth: u32) -> u32 {
    if nth == 1 { 254 } else { 1 + nth }
}

#[test]
fn sequences_side_by_side_are_those_that_are_read_alone() {
    let Some((_, ordinal)) = device() else { return };
    // Activations are rounded to 16 bits side by side, and are not in a sequence alone; weights in blocks are as well.
    let others = [
        (WeightDtype::Bf16, None, 0.3),
        (WeightDtype::F16, None, 0.1),
        (WeightDtype::Q8_0, None, 0.3),
        (WeightDtype::Q4K, None, 0.3),
        (WeightDtype::F32, Some(KvDtype::F8), 0.1),
    ];
    for (config, other) in CONFIGS.into_iter().zip(others) {
        for (dtype, kv_dtype, tolerance) in [(WeightDtype::F32, None, 1e-3), other] {
            let model = random_model(config, Device::Cuda(ordinal), dtype, kv_dtype);
            for count in [2, 5] {
                let what = format!("{config} {dtype} {kv_dtype:?} {count}");
                check_beside_alone(&model, &what, count, tolerance);
            }
        }
    }
    // Two steps, of 16 and of 1.
    let model = random_model(CONFIGS[0], Device::Cuda(ordinal), WeightDtype::Bf16, None);
    check_beside_alone(&model, "two steps", 17, 0.3);
}

fn check_beside_alone(model: &Model, what: &str, count: u32, tolerance: f32) {
    let mut many = model.start_many();
    let mut alone: Vec<Box<dyn Sequence + '_>> = Vec::new();
    for nth in 0..count {
        let prompt = ids(nth, prompt_len(nth));
        many.begin(16).unwrap();
        many.feed(nth as usize, &prompt, Rows::Last).unwrap();
        let mut sequence = model.start(16).unwrap();
        sequence.feed(&prompt, Rows::Last).unwrap();
        alone.push(sequence);
    }
    for step in 0..5 {
        // Every other sequence leaves off for a step, and one is cut.
        let stays = |nth: &u32| step != 3 || nth.is_multiple_of(2);
        let numbers: Vec<u32> = (0..count).filter(stays).collect();
        if step == 4 {
            many.truncate(0, 2);
            alone[0].truncate(2);
        }
        let tokens = numbers
            .iter()
            .map(|nth| (*nth as usize, (nth * 31 + step * 7) % 300));
        let tokens: Vec<(usize, u32)> = tokens.collect();
        let logits = many.step(&tokens).unwrap();
        let width = logits.len() / tokens.len();
        for ((nth, id), found) in tokens.iter().zip(logits.chunks_exact(width)) {
            let expected = alone[*nth].feed(&[*id], Rows::Last).unwrap();
            check(
                &format!("{what} step {step} sequence {nth}"),
                found,
                &expected,
                tolerance,
                1e-3,
            );
        }
    }
}

fn options(max_new_tokens: usize, logprobs: Option<usize>) -> GenerateOptions {
    GenerateOptions {
        max_new_tokens,
        sampling: Sampling::greedy(),
        eos_token_ids: vec![11, 12, 13],
        // The vocabulary of one configuration is longer than that.
        vocab_size: 300,
        logprobs,
        prompt_logprobs: false,
    }
}

/// Writes a text for each prompt, three at a time.
fn together(model: &Model, prompts: &[Vec<u32>], options: &GenerateOptions) -> Vec<Generation> {
    let mut batch = Batch::new(model, NonZeroUsize::new(3).unwrap());
    let mut waiting = (0u64..).zip(prompts);
    let mut texts = BTreeMap::new();
    loop {
        while batch.has_room()
            && let Some((key, prompt)) = waiting.next()
        {
            batch.push(key, prompt, options).unwrap();
        }
        if batch.is_empty() {
            return texts.into_values().collect();
        }
        let finished = batch.step(&mut |_, _| ControlFlow::Continue(()));
        let finished = finished.unwrap().into_iter();
        texts.extend(finished.map(|(key, text)| (key, text.unwrap())));
    }
}

#[test]
fn tokens_that_the_device_chooses_side_by_side_are_those_that_the_host_would() {
    let Some((_, ordinal)) = device() else { return };
    let prompts: Vec<Vec<u32>> = (0..5).map(|nth| ids(nth, prompt_len(nth))).collect();
    for config in CONFIGS {
        for dtype in [WeightDtype::F32, WeightDtype::Bf16] {
            let model = random_model(config, Device::Cuda(ordinal), dtype, None);
            let on_device = together(&model, &prompts, &options(12, None));
            // Log-probabilities need the logits, and the host chooses.
            let on_host = together(&model, &prompts, &options(12, Some(0)));
            for ((prompt, here), there) in prompts.iter().zip(on_device).zip(on_host) {
                assert_eq!(here.ids, there.ids, "{config} {dtype}");
                assert_eq!(here.finish_reason, there.finish_reason, "{config} {dtype}");
                if dtype == WeightDtype::F32 {
                    let mut go_on = |_: &_| ControlFlow::Continue(());
                    let alone = generate(&model, prompt, &options(12, None), &mut go_on).unwrap();
                    assert_eq!(here.ids, alone.ids, "{config}");
                }
            }
            let short = together(&model, &prompts[..1], &options(0, None));
            assert_eq!(short[0].finish_reason, FinishReason::Length);
        }
    }
}

/// Returns the logits of single tokens and of tokens side by side, whether launches could overlap, and whether they did.
fn overlapping(ordinal: u32, config: &str, overlaps: bool) -> (Vec<Vec<u32>>, bool, [bool; 2]) {
    let config = ModelConfig::from_config_json(config.as_bytes()).unwrap();
    let source = Random(parameters(&config).collect());
    let cuda = Cuda::new(ordinal, None, None, overlaps).unwrap();
    let (decoder, _) = weights::load(cuda, &config, &source, WeightDtype::Bf16, None).unwrap();
    let network = CudaNetwork::new(decoder);
    let mut rows = Vec::new();
    let mut sequence = network.start(16).unwrap();
    let mut many = network.start_many();
    for nth in 0..3 {
        many.begin(16).unwrap();
        many.feed(nth, &ids(5, 4), Rows::Last).unwrap();
    }
    for id in ids(9, 4) {
        rows.push(sequence.feed(&[id], Rows::Last).unwrap());
        rows.push(many.step(&[(0, id), (1, 7), (2, id + 1)]).unwrap());
    }
    let bits = rows
        .iter()
        .map(|row| row.iter().map(|logit| logit.to_bits()).collect());
    let overlap = network.overlap();
    let did = [&overlap.for_one, &overlap.for_many].map(|did| did.get() == Some(&true));
    (bits.collect(), overlap.is_possible, did)
}

#[test]
fn launches_that_overlap_give_the_same_logits_to_the_bit() {
    let Some((_, ordinal)) = device() else { return };
    for config in [CONFIGS[0], CONFIGS[2], CONFIGS[3]] {
        let (expected, _, did) = overlapping(ordinal, config, false);
        assert_eq!(did, [false; 2], "{config}");
        let (found, can, did) = overlapping(ordinal, config, true);
        assert_eq!(did, [can; 2], "{config}");
        assert_eq!(found, expected, "{config}");
    }
}
