//! `stablelm bench`

use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::time::Instant;

use anyhow::anyhow;
use bytesize::ByteSize;
use serde_json::{Value, json};
use stablelm_inference::{GenerateOptions, Generation, Model, Sampling, Session};

use super::run::{generate_error, load};
use crate::args::Bench;
use crate::error::CommandError;
use crate::exit_status::ExitStatus;
use crate::model_input::ModelInput;
use crate::settings;
use crate::ui::{Progress, Ui, show_progress};

pub(crate) fn run(args: &Bench, ui: &Ui) -> Result<ExitStatus, CommandError> {
    let started = Instant::now();
    let threads = settings::threads(args.model.threads)?;
    let input = ModelInput::open(&args.model)?;
    let model = load(&args.model, &input, threads)?;
    let load_s = started.elapsed().as_secs_f64();
    let figures = Bencher::new(args, &model)?.measure(started)?;
    let report = report(args, &model, threads, load_s, &figures);
    if args.json.json {
        ui.json(&report)?;
    } else {
        ui.answer(&for_people(&report))?;
    }
    Ok(ExitStatus::Success)
}

/// One model and what to feed it.
struct Bencher<'a> {
    args: &'a Bench,
    session: Session<'a>,
    prompt: Vec<u32>,
    context: Vec<u32>,
    vocab_size: usize,
}

/// What was measured, run by run.
#[derive(Default)]
struct Figures {
    first_token_s: f64,
    /// Tokens a second.
    prefill: Vec<f64>,
    /// Tokens a second.
    decode: Vec<f64>,
    /// The fastest token of all runs.
    fastest_step_s: Option<f64>,
}

impl<'a> Bencher<'a> {
    fn new(args: &'a Bench, model: &'a Model) -> Result<Self, CommandError> {
        let config = model.config();
        let num_context = args.context.unwrap_or(args.prompt_tokens).max(1);
        // One token follows from the context alone, and takes no step of decoding.
        let num_decoded = num_context + args.new_tokens + usize::from(args.new_tokens > 0);
        let limit = config.max_position_embeddings;
        let needed = num_decoded.max(args.prompt_tokens);
        if needed > limit {
            let error = anyhow!("{needed} tokens are needed, and the model's context has {limit}");
            return Err(CommandError::usage(error)
                .hint("ask for fewer with --prompt-tokens, --context or --new-tokens"));
        }
        let vocab_size = config.padded_vocab_size;
        let session = Session::new(model, needed).map_err(generate_error)?;
        Ok(Self {
            args,
            session,
            prompt: random_ids(args.prompt_tokens, vocab_size, 1),
            context: random_ids(num_context, vocab_size, 2),
            vocab_size,
        })
    }

    fn measure(&mut self, started: Instant) -> Result<Figures, CommandError> {
        let mut figures = Figures::default();
        let mut progress = self.progress();
        show_progress(&progress);
        // Reads the weights for the first time: memory maps fill, buffers grow.
        self.generate(&self.context.clone(), 1, &mut || {})?;
        figures.first_token_s = started.elapsed().as_secs_f64();
        progress.done += 1;
        show_progress(&progress);
        if self.args.new_tokens > 0 {
            for _ in 0..self.args.repeat {
                self.decode(&mut figures)?;
                progress.done += 1;
                show_progress(&progress);
            }
        }
        if self.args.prompt_tokens > 0 {
            for _ in 0..self.args.repeat {
                self.session.truncate(0);
                let timings = self.generate(&self.prompt.clone(), 0, &mut || {})?.timings;
                let rate = timings.prefill_tokens as f64 / timings.prefill_s;
                figures.prefill.push(rate);
                progress.done += 1;
                show_progress(&progress);
            }
        }
        Ok(figures)
    }

    /// Decodes once. Of the context, the session reads its last token alone, before the time counts.
    fn decode(&mut self, figures: &mut Figures) -> Result<(), CommandError> {
        let mut last: Option<Instant> = None;
        let mut fastest = figures.fastest_step_s;
        let mut on_token = || {
            let now = Instant::now();
            if let Some(last) = last {
                let step = now.duration_since(last).as_secs_f64();
                fastest = Some(fastest.map_or(step, |fastest: f64| fastest.min(step)));
            }
            last = Some(now);
        };
        let new_tokens = self.args.new_tokens + 1;
        let timings = self
            .generate(&self.context.clone(), new_tokens, &mut on_token)?
            .timings;
        figures
            .decode
            .push(timings.decode_tokens as f64 / timings.decode_s);
        figures.fastest_step_s = fastest;
        Ok(())
    }

    fn generate(
        &mut self,
        prompt: &[u32],
        max_new_tokens: usize,
        on_token: &mut dyn FnMut(),
    ) -> Result<Generation, CommandError> {
        let options = GenerateOptions {
            max_new_tokens,
            sampling: Sampling::greedy(),
            eos_token_ids: Vec::new(),
            vocab_size: self.vocab_size,
            logprobs: None,
            prompt_logprobs: false,
        };
        let mut on_token = |_: &_| {
            on_token();
            ControlFlow::Continue(())
        };
        let generation = self.session.generate(prompt, &options, &mut on_token);
        generation.map_err(generate_error)
    }

    fn progress(&self) -> Progress {
        let kinds = u64::from(self.args.new_tokens > 0) + u64::from(self.args.prompt_tokens > 0);
        Progress {
            stage: "bench".to_owned(),
            total: 1 + kinds * u64::from(self.args.repeat),
            unit: "runs".to_owned(),
            ..Progress::default()
        }
    }
}

/// Returns ids that are the same every time, by a linear congruential generator (Knuth's MMIX constants).
fn random_ids(len: usize, vocab_size: usize, seed: u64) -> Vec<u32> {
    let mut state = seed;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        u32::try_from((state >> 33) % vocab_size as u64).expect("31 bits fit")
    };
    (0..len).map(|_| next()).collect()
}

fn report(
    args: &Bench,
    model: &Model,
    threads: NonZeroUsize,
    load_s: f64,
    figures: &Figures,
) -> Value {
    json!({
        "prefill_tokens_per_s": median(&figures.prefill),
        "decode_tokens_per_s": median(&figures.decode),
        "prefill_tokens_per_s_best": best(&figures.prefill),
        "decode_tokens_per_s_best": best(&figures.decode),
        "decode_fastest_step_s": figures.fastest_step_s,
        "prefill_runs": figures.prefill,
        "decode_runs": figures.decode,
        "prompt_tokens": args.prompt_tokens,
        "new_tokens": args.new_tokens,
        "context": args.context.unwrap_or(args.prompt_tokens).max(1),
        "weight_bytes": model.weight_bytes(),
        "weight_bytes_per_token": model.weight_bytes_per_token(),
        "peak_rss_bytes": settings::peak_rss_bytes(),
        "load_s": load_s,
        "first_token_s": figures.first_token_s,
        "device": model.device().to_string(),
        "dtype": model.dtype(),
        "kv_dtype": model.kv_dtype().as_str(),
        "threads": threads,
    })
}

fn median(runs: &[f64]) -> Option<f64> {
    let mut sorted = runs.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        even if even % 2 == 0 => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
        _ => Some(sorted[middle]),
    }
}

fn best(runs: &[f64]) -> Option<f64> {
    runs.iter().copied().reduce(f64::max)
}

fn for_people(report: &Value) -> String {
    let number = |key: &str| report[key].as_f64();
    let count = |key: &str| report[key].as_u64().unwrap_or_default();
    let mut text = String::new();
    for (name, what) in [("prefill", "prompt_tokens"), ("decode", "new_tokens")] {
        let median = number(&format!("{name}_tokens_per_s"));
        let best = number(&format!("{name}_tokens_per_s_best"));
        let Some((median, best)) = median.zip(best) else {
            continue;
        };
        let after = if name == "decode" {
            format!(" after {}", count("context"))
        } else {
            String::new()
        };
        text.push_str(&format!(
            "{name:<8} {median:>9.2} tokens/s (best {best:.2}; {} tokens{after})\n",
            count(what)
        ));
    }
    if let Some(rate) = number("decode_tokens_per_s_best") {
        let per_token = count("weight_bytes_per_token");
        text.push_str(&format!(
            "weights  {:>9} a token, read at {:.1} GB/s\n",
            ByteSize::b(per_token).to_string(),
            per_token as f64 * rate / 1e9
        ));
    }
    if let Some(peak) = report["peak_rss_bytes"].as_u64() {
        let peak = ByteSize::b(peak).to_string();
        text.push_str(&format!("memory   {peak:>9} at most\n"));
    }
    text.push_str(&format!(
        "start    {:>9.2} s to load, {:.2} s to the first token\n",
        number("load_s").unwrap_or_default(),
        number("first_token_s").unwrap_or_default()
    ));
    let word = |key: &str| report[key].as_str().unwrap_or_default().to_owned();
    text.push_str(&format!(
        "with     {} on {}, keys and values in {}, {} threads\n",
        word("dtype"),
        word("device"),
        word("kv_dtype"),
        count("threads")
    ));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_between_the_two_in_it() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 9.0]), Some(3.0));
        assert_eq!(median(&[3.0, 1.0, 9.0, 5.0]), Some(4.0));
        assert_eq!(best(&[3.0, 9.0, 1.0]), Some(9.0));
    }

    #[test]
    fn random_ids_stay_in_the_vocabulary_and_repeat_with_the_seed() {
        let ids = random_ids(1000, 97, 5);
        assert!(ids.iter().all(|id| *id < 97));
        assert_eq!(ids, random_ids(1000, 97, 5));
        assert_ne!(ids, random_ids(1000, 97, 6));
        assert!(ids.iter().any(|id| *id > 90) && ids.iter().any(|id| *id < 7));
    }
}
