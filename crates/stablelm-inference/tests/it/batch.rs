//! Texts that are written side by side: each is what it would be alone.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;

use stablelm_inference::{
    Batch, FinishReason, GenerateError, GenerateOptions, Generation, KvDtype, Model, Sampling,
    Timings, WeightDtype, generate,
};

use crate::source::{BLOCK_SIZES, FORMATS, Weights, config, prompt};

fn model(fields: &str, dtype: WeightDtype, kv_dtype: Option<KvDtype>) -> Model {
    let config = config(&format!("{fields}, {BLOCK_SIZES}"));
    Weights::random(&config, 5).load_with_cache(&config, dtype, kv_dtype)
}

fn options(max_new_tokens: usize) -> GenerateOptions {
    GenerateOptions {
        max_new_tokens,
        sampling: Sampling {
            greedy: false,
            seed: 7,
            ..Sampling::greedy()
        },
        eos_token_ids: vec![3],
        vocab_size: 96,
        logprobs: Some(2),
        prompt_logprobs: true,
    }
}

/// Writes all texts, as many at a time as there is room for.
fn together(
    model: &Model,
    size: usize,
    prompts: &[Vec<u32>],
    options: &GenerateOptions,
) -> Vec<Result<Generation, GenerateError>> {
    let mut batch = Batch::new(model, NonZeroUsize::new(size).unwrap());
    let mut waiting = (0u64..).zip(prompts);
    let mut texts = BTreeMap::new();
    loop {
        while batch.has_room()
            && let Some((key, prompt)) = waiting.next()
        {
            if let Err(error) = batch.push(key, prompt, options) {
                texts.insert(key, Err(error));
            }
        }
        if batch.is_empty() {
            return texts.into_values().collect();
        }
        let finished = batch.step(&mut |_, _| ControlFlow::Continue(()));
        texts.extend(finished.unwrap());
    }
}

fn alone(model: &Model, prompt: &[u32], options: &GenerateOptions) -> Generation {
    generate(model, prompt, options, &mut |_| ControlFlow::Continue(())).unwrap()
}

fn without_timings(mut generation: Generation) -> Generation {
    generation.timings = Timings::default();
    generation
}

#[test]
fn each_text_is_the_very_one_that_is_written_alone() {
    let prompts: Vec<Vec<u32>> = [1, 40, 7, 128, 17, 3, 100, 2].map(prompt).into();
    for fields in [
        r#""model_type": "stablelm", "num_key_value_heads": 2, "qk_layernorm": true, "use_parallel_residual": true"#,
        r#""model_type": "gpt_neox""#,
    ] {
        for (dtype, kv_dtype) in FORMATS {
            let (model, options) = (model(fields, dtype, kv_dtype), options(30));
            let found = together(&model, Batch::EXACT, &prompts, &options);
            for (found, prompt) in found.into_iter().zip(&prompts) {
                let expected = without_timings(alone(&model, prompt, &options));
                assert_eq!(
                    without_timings(found.unwrap()),
                    expected,
                    "{fields} {dtype} {kv_dtype:?}"
                );
            }
        }
    }
}

#[test]
fn more_texts_than_are_exact_differ_by_rounding_alone() {
    let model = model(r#""model_type": "stablelm""#, WeightDtype::F32, None);
    let options = GenerateOptions {
        sampling: Sampling::greedy(),
        eos_token_ids: Vec::new(),
        ..options(20)
    };
    let prompts: Vec<Vec<u32>> = (1..12).map(prompt).collect();
    let found = together(&model, 9, &prompts, &options);
    for (found, prompt) in found.into_iter().zip(&prompts) {
        let (found, expected) = (found.unwrap(), alone(&model, prompt, &options));
        assert_eq!(found.ids, expected.ids);
        for (found, expected) in found.logprobs.iter().zip(&expected.logprobs) {
            assert!((found.logprob - expected.logprob).abs() < 1e-4);
        }
        assert_eq!(found.timings.decode_tokens, 19);
    }
}

#[test]
fn a_text_that_cannot_be_written_leaves_the_others_alone() {
    let config = config(&format!(r#""model_type": "stablelm", {BLOCK_SIZES}"#));
    let mut weights = Weights::random(&config, 5);
    // The embedding of token 9 is broken, and only of use to a prompt that has it.
    weights
        .tensors
        .get_mut("model.embed_tokens.weight")
        .unwrap()
        .1[9 * 256] = f32::NAN;
    let model = weights.load(&config, WeightDtype::F32);
    let options = GenerateOptions {
        vocab_size: 9,
        ..options(5)
    };
    let prompts = [vec![4], vec![9], vec![500], vec![], vec![5, 6]];
    let found = together(&model, 2, &prompts, &options);
    assert!(matches!(
        found[1],
        Err(GenerateError::NonFinite { position: 0 })
    ));
    assert!(matches!(
        found[2],
        Err(GenerateError::TokenOutOfRange { .. })
    ));
    assert!(matches!(found[3], Err(GenerateError::EmptyPrompt)));
    for nth in [0, 4] {
        let expected = without_timings(alone(&model, &prompts[nth], &options));
        assert_eq!(
            without_timings(found[nth].as_ref().unwrap().clone()),
            expected
        );
    }
}

#[test]
fn a_caller_can_end_one_text_and_take_its_place() {
    let model = model(r#""model_type": "stablelm""#, WeightDtype::F32, None);
    let options = GenerateOptions {
        eos_token_ids: Vec::new(),
        ..options(6)
    };
    let mut batch = Batch::new(&model, NonZeroUsize::new(2).unwrap());
    batch.push(1, &prompt(4), &options).unwrap();
    batch.push(2, &prompt(9), &options).unwrap();
    assert!(!batch.has_room());
    let end_the_first = |key, _: &_| {
        if key == 1 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    let finished = batch.step(&mut { end_the_first }).unwrap();
    let [(1, Ok(first))] = finished.as_slice() else {
        panic!("{finished:?}");
    };
    assert_eq!(
        (first.ids.len(), first.finish_reason),
        (1, FinishReason::Stop)
    );
    batch.push(3, &prompt(5), &options).unwrap();
    let mut texts = BTreeMap::new();
    while !batch.is_empty() {
        let finished = batch.step(&mut |_, _| ControlFlow::Continue(()));
        texts.extend(finished.unwrap());
    }
    for (key, len) in [(2, 9), (3, 5)] {
        let expected = alone(&model, &prompt(len), &options).ids;
        assert_eq!(texts[&key].as_ref().unwrap().ids, expected);
    }
}
