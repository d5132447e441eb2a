//! Does a model on this machine say what it said where it was trusted?
//!
//! A reference is a folder with `golden.json`: for each prompt the greedy path with log-probabilities, the five likeliest
//! tokens after the prompt, and the prompt's mean negative log-likelihood. It may come from another implementation, or
//! from `--save-check`.

use std::ops::ControlFlow;
use std::path::Path;

use anyhow::{Context as _, anyhow};
use serde::{Deserialize, Serialize};
use serde_json::json;
use stablelm_inference::{GenerateOptions, KvDtype, Model, Sampling, TokenLogprobs, generate};

use super::generate_error;
use crate::args::Run;
use crate::error::CommandError;
use crate::output;
use crate::ui::{Align, Progress, Table, Ui, show_progress};

/// The file of a reference folder.
const FILE: &str = "golden.json";

/// How many of the likeliest tokens a reference holds.
const NUM_TOP: usize = 5;

/// How far down the list we look for the reference's tokens.
const NUM_TOP_HERE: usize = 32;

/// Weights and sums in f32, in any order of summation; other engines stay within 2e-5.
const F32_TOLERANCE: f64 = 1e-3;

/// Where a reference does not say how far bf16 strays: what it does at a logit spread of 2.5.
const BF16_TOLERANCE: f64 = 0.3;

/// Quantized weights, and keys and values of 8 bits, stray about this much more than bf16 does.
const QUANTIZED_FACTOR: f64 = 2.0;

/// What a model is to say.
#[derive(Debug, Deserialize, Serialize)]
struct Reference {
    prompts: Vec<Said>,
}

/// What a model says to one prompt.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Said {
    ids: Vec<u32>,
    /// The likeliest token, again and again; tokens that end a text are like any other.
    #[serde(default)]
    greedy: Vec<u32>,
    #[serde(default)]
    greedy_logprob: Vec<f64>,
    /// After the prompt, best first.
    #[serde(default)]
    top5_ids: Vec<u32>,
    #[serde(default)]
    top5_logprob: Vec<f64>,
    /// `None` for a prompt of one token.
    #[serde(default)]
    mean_nll: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bf16_compute: Option<Stray>,
}

/// How far arithmetic in bf16 strays from the reference.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
struct Stray {
    max_abs_logit_diff: f64,
}

/// How one prompt went.
#[derive(Debug, Serialize)]
struct Outcome {
    prompt_tokens: usize,
    greedy_tokens: usize,
    /// The largest difference in a log-probability.
    worst_logprob_difference: f64,
    /// The place in the greedy path where another token is likeliest here.
    first_divergence: Option<usize>,
    /// How much likelier that other token is here.
    divergence_margin: Option<f64>,
    mean_nll_difference: Option<f64>,
    passed: bool,
}

/// Compares a model with a reference; returns whether it passes.
pub(super) fn check(
    model: &Model,
    folder: &Path,
    args: &Run,
    ui: &Ui,
) -> Result<bool, CommandError> {
    let path = folder.join(FILE);
    let reference = read(&path)?;
    let tolerance = args.tolerance;
    let tolerance =
        tolerance.unwrap_or_else(|| default_tolerance(model.dtype(), model.kv_dtype(), &reference));
    let mut outcomes = Vec::new();
    for (index, expected) in reference.prompts.iter().enumerate() {
        let here = say(model, &expected.ids, expected.greedy.len());
        let (here, steps) =
            here.map_err(|error| error.context(format!("`{}`, prompt {index}", path.display())))?;
        outcomes.push(compare(expected, &here, &steps, tolerance));
        show_progress(&progress(outcomes.len(), reference.prompts.len()));
    }
    let passed = outcomes.iter().all(|outcome| outcome.passed);
    if args.json.json {
        ui.json(&json!({
            "passed": passed,
            "tolerance": tolerance,
            "prompts": outcomes,
            "device": model.device().to_string(),
            "dtype": model.dtype(),
            "kv_dtype": model.kv_dtype().as_str(),
        }))?;
    } else {
        ui.answer(&for_people(&outcomes, tolerance, model))?;
    }
    Ok(passed)
}

/// Writes what a model says as a reference.
pub(super) fn save(
    model: &Model,
    prompts: &[Vec<u32>],
    max_new_tokens: usize,
    folder: &Path,
) -> Result<(), CommandError> {
    let mut said = Vec::new();
    for ids in prompts {
        said.push(say(model, ids, max_new_tokens)?.0);
        show_progress(&progress(said.len(), prompts.len()));
    }
    let reference = json!({
        "made_with": { "stablelm": env!("CARGO_PKG_VERSION") },
        "device": model.device().to_string(),
        "storage_dtype": model.dtype(),
        "prompts": said,
    });
    let mut text = serde_json::to_string_pretty(&reference).expect("numbers are finite");
    text.push('\n');
    std::fs::create_dir_all(folder)
        .with_context(|| format!("failed to make the folder `{}`", folder.display()))
        .map_err(CommandError::input)?;
    output::write_new_file(&folder.join(FILE), text.as_bytes())
}

fn read(path: &Path) -> Result<Reference, CommandError> {
    let bytes = std::fs::read(path)
        .with_context(|| format!("failed to read the reference `{}`", path.display()))
        .map_err(|error| {
            CommandError::input(error)
                .hint("make one from weights that you trust with --save-check DIR")
        })?;
    let reference: Reference = serde_json::from_slice(&bytes)
        .with_context(|| format!("`{}` is no reference", path.display()))
        .map_err(CommandError::input)?;
    let bad = |what: String| Err(CommandError::input(anyhow!("`{}`: {what}", path.display())));
    if reference.prompts.is_empty() {
        return bad("there are no prompts".to_owned());
    }
    for (index, said) in reference.prompts.iter().enumerate() {
        let pairs = [
            ("greedy", said.greedy.len(), said.greedy_logprob.len()),
            ("top5", said.top5_ids.len(), said.top5_logprob.len()),
        ];
        for (name, ids, logprobs) in pairs {
            if ids != logprobs {
                return bad(format!(
                    "prompt {index} has {ids} tokens and {logprobs} log-probabilities of `{name}`"
                ));
            }
        }
    }
    Ok(reference)
}

fn default_tolerance(dtype: &str, kv_dtype: KvDtype, reference: &Reference) -> f64 {
    let strays = reference
        .prompts
        .iter()
        .filter_map(|said| said.bf16_compute);
    let bf16 = strays
        .map(|stray| stray.max_abs_logit_diff)
        .reduce(f64::max);
    let bf16 = bf16.unwrap_or(BF16_TOLERANCE);
    match (dtype, kv_dtype) {
        ("f32", KvDtype::F32) => F32_TOLERANCE,
        ("f32" | "bf16" | "f16", KvDtype::F32 | KvDtype::F16) => bf16,
        _ => QUANTIZED_FACTOR * bf16.max(BF16_TOLERANCE),
    }
}

/// Lets a model speak; returns the greedy path's log-probabilities at length as well.
fn say(
    model: &Model,
    ids: &[u32],
    max_new_tokens: usize,
) -> Result<(Said, Vec<TokenLogprobs>), CommandError> {
    let options = GenerateOptions {
        // One more, for the likeliest tokens after the prompt.
        max_new_tokens: max_new_tokens.max(1),
        sampling: Sampling::greedy(),
        eos_token_ids: Vec::new(),
        // References are of all rows: padding is not masked elsewhere.
        vocab_size: model.config().padded_vocab_size,
        logprobs: Some(NUM_TOP_HERE),
        prompt_logprobs: ids.len() > 1,
    };
    let generation = generate(model, ids, &options, &mut |_| ControlFlow::Continue(()));
    let generation = generation.map_err(generate_error)?;
    let steps = generation.logprobs;
    let top = steps.first().map_or(&[][..], |first| &first.top);
    let top = &top[..NUM_TOP.min(top.len())];
    let prompt: Vec<f64> = generation
        .prompt_logprobs
        .iter()
        .flatten()
        .map(|token| f64::from(token.logprob))
        .collect();
    let path = || steps.iter().take(max_new_tokens);
    let said = Said {
        ids: ids.to_vec(),
        greedy: path().map(|token| token.id).collect(),
        greedy_logprob: path().map(|token| f64::from(token.logprob)).collect(),
        top5_ids: top.iter().map(|(id, _)| *id).collect(),
        top5_logprob: top.iter().map(|(_, logprob)| f64::from(*logprob)).collect(),
        mean_nll: (!prompt.is_empty()).then(|| -prompt.iter().sum::<f64>() / prompt.len() as f64),
        bf16_compute: None,
    };
    Ok((said, steps))
}

fn compare(expected: &Said, here: &Said, steps: &[TokenLogprobs], tolerance: f64) -> Outcome {
    let mut worst = 0f64;
    let paths = expected.greedy.iter().zip(&here.greedy);
    let first_divergence = paths.clone().position(|(expected, here)| expected != here);
    // A path that the context cuts short here diverges there.
    let is_shorter = here.greedy.len() < expected.greedy.len();
    let first_divergence = first_divergence.or_else(|| is_shorter.then_some(here.greedy.len()));
    let common = first_divergence.unwrap_or(expected.greedy.len());
    let logprobs = expected.greedy_logprob.iter().zip(&here.greedy_logprob);
    for (expected, here) in logprobs.take(common) {
        worst = worst.max((expected - here).abs());
    }
    if let Some(first) = steps.first() {
        for (id, expected) in expected.top5_ids.iter().zip(&expected.top5_logprob) {
            worst = worst.max((expected - at_most(first, *id)).abs());
        }
    }
    let nll = expected.mean_nll.zip(here.mean_nll);
    let mean_nll_difference = nll.map(|(expected, here)| (expected - here).abs());
    worst = worst.max(mean_nll_difference.unwrap_or(0.0));
    let divergence_margin = first_divergence.and_then(|at| {
        let step = steps.get(at)?;
        Some(f64::from(step.logprob) - at_most(step, expected.greedy[at]))
    });
    // Two tokens change places where each strays by the tolerance, towards the other.
    let is_path_kept = first_divergence.is_none()
        || divergence_margin.is_some_and(|margin| margin <= 2.0 * tolerance);
    Outcome {
        prompt_tokens: expected.ids.len(),
        greedy_tokens: expected.greedy.len(),
        worst_logprob_difference: worst,
        first_divergence,
        divergence_margin,
        mean_nll_difference,
        passed: worst <= tolerance && is_path_kept,
    }
}

/// Returns a token's log-probability, or that of the last in the list, which is likelier than it.
fn at_most(step: &TokenLogprobs, id: u32) -> f64 {
    let found = step.top.iter().find(|(top, _)| *top == id);
    let found = found.or(step.top.last());
    f64::from(found.map_or(f32::NEG_INFINITY, |(_, logprob)| *logprob))
}

fn progress(done: usize, total: usize) -> Progress {
    Progress {
        stage: "prompts".to_owned(),
        done: done as u64,
        total: total as u64,
        unit: "prompts".to_owned(),
        ..Progress::default()
    }
}

fn for_people(outcomes: &[Outcome], tolerance: f64, model: &Model) -> String {
    let mut table = Table::new(&[
        ("prompt", Align::Right),
        ("tokens", Align::Right),
        ("worst difference", Align::Right),
        ("greedy path", Align::Left),
        ("", Align::Left),
    ]);
    for (index, outcome) in outcomes.iter().enumerate() {
        let path = match (outcome.first_divergence, outcome.divergence_margin) {
            (None, _) => format!("the same {} tokens", outcome.greedy_tokens),
            (Some(at), Some(margin)) => format!("another at {at}, by {margin:.4}"),
            (Some(at), None) => format!("ends at {at}: the context is full"),
        };
        table.row(vec![
            index.to_string(),
            outcome.prompt_tokens.to_string(),
            format!("{:.6}", outcome.worst_logprob_difference),
            path,
            if outcome.passed { "ok" } else { "FAILED" }.to_owned(),
        ]);
    }
    let failed = outcomes.iter().filter(|outcome| !outcome.passed).count();
    let verdict = match failed {
        0 => format!("all {} prompts are as in the reference", outcomes.len()),
        failed => format!(
            "{failed} of {} prompts are not as in the reference",
            outcomes.len()
        ),
    };
    format!(
        "{}{verdict}: log-probabilities within {tolerance}, {} on {}\n",
        table.render(),
        model.dtype(),
        model.device()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(greedy: &[u32], logprob: f64) -> Said {
        Said {
            ids: vec![1, 2],
            greedy: greedy.to_vec(),
            greedy_logprob: vec![logprob; greedy.len()],
            top5_ids: vec![7, 8],
            top5_logprob: vec![-1.0, -1.5],
            mean_nll: Some(2.0),
            bf16_compute: None,
        }
    }

    /// One step a token: it is likeliest, 8 is next, 9 is last.
    fn steps(greedy: &[u32], gap: f32) -> Vec<TokenLogprobs> {
        let step = |id: &u32| TokenLogprobs {
            id: *id,
            logprob: -1.0,
            top: vec![(*id, -1.0), (8, -1.0 - gap), (9, -6.0)],
        };
        greedy.iter().map(step).collect()
    }

    #[track_caller]
    fn check(here: (&[u32], f64), gap: f32, divergence: Option<usize>, passed: bool) {
        let expected = said(&[7, 8, 8], -1.0);
        let outcome = compare(&expected, &said(here.0, here.1), &steps(here.0, gap), 0.3);
        assert_eq!(
            (outcome.first_divergence, outcome.passed),
            (divergence, passed),
            "{outcome:?}"
        );
    }

    #[test]
    fn differences_and_other_paths_fail_unless_they_are_small() {
        check((&[7, 8, 8], -1.0), 0.5, None, true);
        check((&[7, 8, 8], -1.2), 0.5, None, true);
        check((&[7, 8, 8], -1.4), 0.5, None, false);
        // 7 is likelier than 8 by half a nat: each may stray by 0.3.
        check((&[7, 8, 7], -1.0), 0.5, Some(2), true);
        check((&[7, 7, 7], -1.0), 0.5, Some(1), true);
        check((&[7, 8], -1.0), 0.5, Some(2), false);
        let mut other = said(&[7, 8, 8], -1.0);
        other.mean_nll = Some(2.5);
        let outcome = compare(
            &said(&[7, 8, 8], -1.0),
            &other,
            &steps(&[7, 8, 8], 0.5),
            0.3,
        );
        assert!(!outcome.passed);
        assert!((outcome.worst_logprob_difference - 0.5).abs() < 1e-9);
    }

    #[test]
    fn a_token_far_down_the_list_is_far_off() {
        let mut expected = said(&[7], -1.0);
        expected.top5_ids = vec![7, 4];
        let outcome = compare(&expected, &said(&[7], -1.0), &steps(&[7], 0.5), 0.3);
        assert!((outcome.worst_logprob_difference - 4.5).abs() < 1e-6);
    }

    #[test]
    fn tolerance_follows_the_dtype_and_the_reference() {
        let mut reference = Reference {
            prompts: vec![said(&[], 0.0), said(&[], 0.0)],
        };
        let check = |dtype: &str, kv_dtype, reference: &Reference, expected: f64| {
            let found = default_tolerance(dtype, kv_dtype, reference);
            assert!((found - expected).abs() < 1e-9, "{dtype} {kv_dtype}");
        };
        check("f32", KvDtype::F32, &reference, 0.001);
        check("f32", KvDtype::F16, &reference, 0.3);
        check("bf16", KvDtype::F16, &reference, 0.3);
        reference.prompts[1].bf16_compute = Some(Stray {
            max_abs_logit_diff: 0.2,
        });
        check("f16", KvDtype::F16, &reference, 0.2);
        check("q8_0", KvDtype::F16, &reference, 0.6);
        check("bf16", KvDtype::F8, &reference, 0.6);
    }
}
