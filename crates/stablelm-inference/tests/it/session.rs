//! Sequences that are continued: what is kept, what is forgotten, and that neither shows in the answer.

use std::ops::ControlFlow;

use stablelm_inference::{
    GenerateError, GenerateOptions, Generation, Model, Sampling, Session, WeightDtype, generate,
};

use crate::source::{Weights, config, prompt};

fn model(fields: &str) -> Model {
    let config = config(fields);
    Weights::random(&config, 9).load(&config, WeightDtype::F32)
}

fn options(max_new_tokens: usize) -> GenerateOptions {
    GenerateOptions {
        max_new_tokens,
        sampling: Sampling::greedy(),
        eos_token_ids: Vec::new(),
        vocab_size: 96,
        logprobs: Some(3),
        prompt_logprobs: false,
    }
}

fn go_on(session: &mut Session<'_>, prompt: &[u32], max_new_tokens: usize) -> Generation {
    let options = options(max_new_tokens);
    let generation = session.generate(prompt, &options, &mut |_| ControlFlow::Continue(()));
    generation.unwrap()
}

/// Continues a prompt in a session, and says how many tokens of it should not be read again.
#[track_caller]
fn check(session: &mut Session<'_>, model: &Model, prompt: &[u32], reused: usize) -> Vec<u32> {
    let found = go_on(session, prompt, 6);
    let fresh = generate(model, prompt, &options(6), &mut |_| {
        ControlFlow::Continue(())
    });
    let fresh = fresh.unwrap();
    assert_eq!(found.ids, fresh.ids);
    for (found, fresh) in found.logprobs.iter().zip(&fresh.logprobs) {
        // The same numbers, summed in other orders by the kernels for few and for many positions.
        assert!((found.logprob - fresh.logprob).abs() < 1e-4);
    }
    assert_eq!(found.timings.reused_tokens, reused);
    assert_eq!(found.timings.prefill_tokens, prompt.len() - reused);
    assert_eq!(fresh.timings.reused_tokens, 0);
    let all = [prompt, &found.ids[..5]].concat();
    assert_eq!(session.ids(), all, "the last token is not read yet");
    [prompt, &found.ids].concat()
}

#[test]
fn only_what_is_new_is_read() {
    for fields in [
        r#""model_type": "stablelm""#,
        r#""model_type": "stablelm", "num_key_value_heads": 2, "use_parallel_residual": true"#,
        r#""model_type": "gpt_neox", "architectures": ["GPTNeoXForCausalLM"]"#,
    ] {
        let model = model(fields);
        let mut session = Session::new(&model, 4).unwrap();
        let text = check(&mut session, &model, &prompt(40), 0);
        // A turn is added to all that was said: only its tokens and the last one said are new.
        let longer = [&text[..], &[7, 8, 9]].concat();
        check(&mut session, &model, &longer, 45);
        // The same again: the last token's logits were not kept.
        check(&mut session, &model, &longer, longer.len() - 1);
        // A turn is taken back and said otherwise.
        let other = [&text[..42], &[1; 3]].concat();
        check(&mut session, &model, &other, 42);
        check(&mut session, &model, &text[..10], 9);
        check(&mut session, &model, &[95], 0);
    }
}

#[test]
fn prompt_log_probabilities_read_all_of_the_prompt() {
    let model = model(r#""model_type": "stablelm""#);
    let mut session = Session::new(&model, 64).unwrap();
    go_on(&mut session, &prompt(20), 1);
    let options = GenerateOptions {
        prompt_logprobs: true,
        ..options(1)
    };
    let again = session.generate(&prompt(20), &options, &mut |_| ControlFlow::Continue(()));
    let again = again.unwrap();
    assert_eq!(again.prompt_logprobs.len(), 20);
    assert_eq!(again.timings.reused_tokens, 0);
}

#[test]
fn a_session_goes_on_after_a_refused_prompt_and_after_forgetting() {
    let model = model(r#""model_type": "stablelm""#);
    let mut session = Session::new(&model, 64).unwrap();
    go_on(&mut session, &prompt(20), 1);
    let error = session.generate(&[1; 200], &options(1), &mut |_| ControlFlow::Continue(()));
    assert!(matches!(
        error,
        Err(GenerateError::PromptTooLong { prompt: 200, .. })
    ));
    assert_eq!(session.ids(), prompt(20));
    session.truncate(8);
    assert_eq!(session.ids(), &prompt(20)[..8]);
    check(&mut session, &model, &prompt(20), 8);
    session.truncate(0);
    check(&mut session, &model, &prompt(20), 0);
}
