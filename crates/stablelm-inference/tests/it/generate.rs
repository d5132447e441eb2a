//! The rules of generation: where it ends, what it tells, what it refuses.

use std::num::NonZeroUsize;
use std::ops::ControlFlow;

use stablelm_inference::{
    FinishReason, GenerateError, GenerateOptions, Generation, LoadOptions, Model, Sampling,
    WeightDtype, generate, load,
};

use crate::source::{BLOCK_SIZES, FORMATS, Weights, config, prompt};

fn model() -> Model {
    let config = config(r#""model_type": "stablelm""#);
    Weights::random(&config, 9).load(&config, WeightDtype::F32)
}

fn options(max_new_tokens: usize) -> GenerateOptions {
    GenerateOptions {
        max_new_tokens,
        sampling: Sampling::greedy(),
        eos_token_ids: Vec::new(),
        vocab_size: 96,
        logprobs: None,
        prompt_logprobs: false,
    }
}

fn run(model: &Model, prompt: &[u32], options: &GenerateOptions) -> Generation {
    generate(model, prompt, options, &mut |_| ControlFlow::Continue(())).unwrap()
}

#[test]
fn ends_at_the_context() {
    let generation = run(&model(), &prompt(120), &options(100));
    assert_eq!(generation.ids.len(), 8);
    assert_eq!(generation.finish_reason, FinishReason::Length);
    let full = run(&model(), &prompt(128), &options(100));
    assert_eq!(
        (full.ids.len(), full.finish_reason),
        (0, FinishReason::Length)
    );
}

#[test]
fn ends_when_the_caller_has_enough() {
    let model = model();
    let all = run(&model, &prompt(4), &options(10)).ids;
    let mut seen = Vec::new();
    let generation = generate(&model, &prompt(4), &options(10), &mut |token| {
        seen.push(token.id);
        if seen.len() == 3 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    let generation = generation.unwrap();
    assert_eq!(generation.finish_reason, FinishReason::Stop);
    assert_eq!(
        (generation.ids.as_slice(), seen.as_slice()),
        (&all[..3], &all[..3])
    );
    assert_eq!(generation.timings.decode_tokens, 2);
    assert_eq!(generation.timings.prefill_tokens, 4);
}

#[test]
fn reads_the_prompt_alone_when_no_tokens_are_asked_for() {
    let generation = run(
        &model(),
        &prompt(5),
        &GenerateOptions {
            prompt_logprobs: true,
            logprobs: Some(2),
            ..options(0)
        },
    );
    assert_eq!(
        (generation.ids.len(), generation.finish_reason),
        (0, FinishReason::Length)
    );
    assert_eq!(generation.prompt_logprobs.len(), 5);
    assert_eq!(generation.prompt_logprobs[0], None);
    let second = generation.prompt_logprobs[1].as_ref().unwrap();
    assert_eq!((second.id, second.top.len()), (prompt(5)[1], 2));
    assert_eq!(generation.timings.decode_tokens, 0);
}

#[test]
fn padding_rows_are_never_chosen() {
    let model = model();
    for seed in 0..20 {
        let sampling = Sampling {
            greedy: false,
            temperature: 5.0,
            seed,
            ..Sampling::greedy()
        };
        let options = GenerateOptions {
            sampling,
            vocab_size: 7,
            logprobs: Some(50),
            ..options(10)
        };
        let generation = run(&model, &prompt(3), &options);
        assert!(generation.ids.iter().all(|id| *id < 7));
        assert!(generation.logprobs.iter().all(|token| token.top.len() == 7));
    }
}

#[test]
fn the_same_seed_gives_the_same_ids_and_another_seed_others() {
    let model = model();
    let ids = |seed| {
        let sampling = Sampling {
            greedy: false,
            temperature: 3.0,
            seed,
            ..Sampling::greedy()
        };
        let options = GenerateOptions {
            sampling,
            ..options(30)
        };
        run(&model, &prompt(3), &options).ids
    };
    assert_eq!(ids(1), ids(1));
    assert_ne!(ids(1), ids(2));
}

#[test]
fn the_number_of_threads_does_not_matter() {
    let config = config(r#""model_type": "stablelm", "intermediate_size": 3000"#);
    let weights = Weights::random(&config, 2);
    let model = weights.load(&config, WeightDtype::Bf16);
    let expected = (
        model.logits(&prompt(100)).unwrap(),
        run(&model, &prompt(5), &options(20)).ids,
    );
    for threads in [1, 3] {
        let options = LoadOptions {
            dtype: WeightDtype::Bf16,
            threads: NonZeroUsize::new(threads),
            ..LoadOptions::default()
        };
        let model = load(&config, &weights, &options).unwrap();
        let found = (
            model.logits(&prompt(100)).unwrap(),
            run(&model, &prompt(5), &self::options(20)).ids,
        );
        assert_eq!(found, expected);
    }
}

#[track_caller]
fn check_refused(prompt: &[u32], options: &GenerateOptions, expected: &str) {
    let error = generate(
        &model(),
        prompt,
        options,
        &mut |_| ControlFlow::Continue(()),
    )
    .unwrap_err();
    assert_eq!(error.to_string(), expected);
}

#[test]
fn prompts_that_cannot_be_read_are_refused() {
    check_refused(&[], &options(1), "the prompt has no tokens");
    let expected = "a prompt of 129 tokens does not fit the context of 128";
    check_refused(&prompt(129), &options(0), expected);
    let expected = "token 96 at position 1 of the prompt is not below the vocabulary size 96";
    check_refused(&[1, 96], &options(1), expected);
    let nothing = GenerateOptions {
        vocab_size: 0,
        ..options(1)
    };
    check_refused(&[1], &nothing, "the sampling settings are wrong");
}

#[test]
fn logits_that_are_not_numbers_are_an_error_with_their_position() {
    let config = config(&format!(r#""model_type": "stablelm", {BLOCK_SIZES}"#));
    // The embedding of token 7 is broken, so all is well until it is read; or what every token meets, so that none is.
    for (name, at, position) in [
        ("model.embed_tokens.weight", 7 * 256, 2),
        ("model.layers.1.input_layernorm.weight", 3, 0),
        ("model.layers.0.mlp.down_proj.weight", 1000, 0),
        ("model.layers.0.self_attn.k_proj.weight", 1000, 0),
        ("lm_head.weight", 256, 0),
    ] {
        let mut weights = Weights::random(&config, 9);
        weights.tensors.get_mut(name).unwrap().1[at] = f32::NAN;
        for (dtype, kv_dtype) in FORMATS {
            let model = weights.load_with_cache(&config, dtype, kv_dtype);
            let options = GenerateOptions {
                prompt_logprobs: true,
                ..options(1)
            };
            let error = generate(&model, &[1, 2, 7], &options, &mut |_| {
                ControlFlow::Continue(())
            });
            assert!(
                matches!(error, Err(GenerateError::NonFinite { position: found }) if found == position),
                "{name} {dtype} {kv_dtype:?}: {error:?}"
            );
        }
    }
}
