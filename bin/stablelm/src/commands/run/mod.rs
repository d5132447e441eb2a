//! `stablelm run`

mod prompt;
mod session;

use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::anyhow;
use serde_json::{Value, json};
use stablelm_inference::{
    DeviceError, GenerateError, GenerateOptions, Generation, LoadError, LoadOptions, Model,
    Sampling, TokenLogprobs, WeightDtype,
};
use stablelm_license::attribution_line;
use stablelm_tokenizer::Tokenizer;

use crate::args::{Run, RunDtype};
use crate::error::CommandError;
use crate::exit_status::ExitStatus;
use crate::model_input::{self, ModelInput};
use crate::settings;
use crate::ui::Ui;

use prompt::Prompt;
use session::Session;

pub(crate) fn run(args: &Run, ui: &Ui) -> Result<ExitStatus, CommandError> {
    let started = std::time::Instant::now();
    check(args)?;
    let input = ModelInput::open(&args.model)?;
    let tokenizer = tokenizer(args)?;
    let prompt = prompt::read(args)?;
    let threads = settings::threads(args.threads)?;
    let model = load(args, &input, threads)?;
    let load_s = started.elapsed().as_secs_f64();
    if let Some(ledger) = input.ledger()? {
        ui.note(&attribution_line(&ledger));
    }
    let interrupted = interrupt_flag();
    let session = Session {
        args,
        ui,
        model: &model,
        tokenizer: tokenizer.as_ref(),
        options: options(args, &input, tokenizer.as_ref()),
        load_s,
        interrupted: &interrupted,
    };
    match prompt {
        Prompt::Given(prompt) => session.answer(&prompt)?,
        Prompt::Interactive => session.converse()?,
    }
    let stopped = interrupted.load(Ordering::Relaxed);
    Ok(if stopped {
        ExitStatus::Interrupted
    } else {
        ExitStatus::Success
    })
}

fn check(args: &Run) -> Result<(), CommandError> {
    let usage = |text: String| Err(CommandError::usage(anyhow!(text)));
    if !(args.temperature >= 0.0 && args.temperature.is_finite()) {
        return usage(format!(
            "--temperature is {}, expected 0 or more",
            args.temperature
        ));
    }
    if !(args.top_p > 0.0 && args.top_p <= 1.0) {
        return usage(format!(
            "--top-p is {}, expected more than 0 and at most 1",
            args.top_p
        ));
    }
    if args
        .min_p
        .is_some_and(|min_p| !(0.0..=1.0).contains(&min_p))
    {
        return usage(format!(
            "--min-p is {}, expected a share between 0 and 1",
            args.min_p.unwrap_or_default()
        ));
    }
    if !(args.repetition_penalty > 0.0 && args.repetition_penalty.is_finite()) {
        return usage(format!(
            "--repetition-penalty is {}, expected more than 0",
            args.repetition_penalty
        ));
    }
    if args.top_k == Some(0) {
        return usage("--top-k is 0, expected 1 or more".to_owned());
    }
    Ok(())
}

fn load(args: &Run, input: &ModelInput, threads: NonZeroUsize) -> Result<Model, CommandError> {
    let device = args
        .device
        .parse()
        .map_err(|error: DeviceError| match error {
            DeviceError::NotBuilt { .. } => CommandError::environment(error)
                .hint("use --device cpu, or --device auto to take what there is"),
            _ => CommandError::usage(error),
        })?;
    let dtype = match args.dtype {
        RunDtype::Auto => WeightDtype::Auto,
        RunDtype::Bf16 => WeightDtype::Bf16,
        RunDtype::F16 => WeightDtype::F16,
        RunDtype::F32 => WeightDtype::F32,
    };
    let model = stablelm_inference::load(
        input.config(),
        input.source(),
        &LoadOptions {
            device,
            dtype,
            threads: Some(threads),
        },
    );
    model.map_err(|error| {
        let what = format!("failed to load `{}`", args.model.display());
        match error {
            LoadError::Threads(error) => CommandError::environment(error),
            error => CommandError::input(error),
        }
        .context(what)
    })
}

fn tokenizer(args: &Run) -> Result<Option<Tokenizer>, CommandError> {
    let path = args
        .tokenizer
        .clone()
        .or_else(|| model_input::find_tokenizer(&args.model));
    path.map(|path| model_input::load_tokenizer(&path))
        .transpose()
}

fn options(args: &Run, input: &ModelInput, tokenizer: Option<&Tokenizer>) -> GenerateOptions {
    let rows = input.config().padded_vocab_size;
    GenerateOptions {
        max_new_tokens: args.max_new_tokens,
        sampling: Sampling {
            greedy: args.greedy || args.temperature == 0.0,
            temperature: args.temperature,
            top_k: args.top_k,
            top_p: Some(args.top_p).filter(|top_p| *top_p < 1.0),
            min_p: args.min_p,
            repetition_penalty: args.repetition_penalty,
            seed: args.seed,
        },
        eos_token_ids: if args.ignore_eos {
            Vec::new()
        } else {
            input.eos_token_ids().to_vec()
        },
        // Rows beyond the tokenizer's ids are padding and never trained to mean anything.
        vocab_size: tokenizer.map_or(rows, |tokenizer| tokenizer.vocab_size().min(rows)),
        logprobs: args.logprobs,
        prompt_logprobs: args.echo && args.logprobs.is_some(),
    }
}

/// Returns a flag that Ctrl-C sets, so that what was printed stays and the exit code says why it ended.
fn interrupt_flag() -> Arc<AtomicBool> {
    let flag = Arc::new(AtomicBool::new(false));
    let setter = Arc::clone(&flag);
    let installed = ctrlc::set_handler(move || {
        if setter.swap(true, Ordering::Relaxed) {
            // A second Ctrl-C does not wait for the token in the making.
            std::process::abort();
        }
    });
    // Without a handler, Ctrl-C ends the process at once, which is well enough.
    drop(installed);
    flag
}

/// Maps a generation error to what the user can do about it.
fn generate_error(error: GenerateError) -> CommandError {
    match &error {
        GenerateError::PromptTooLong { .. } => {
            CommandError::input(error).hint("shorten the prompt; nothing is cut silently")
        }
        GenerateError::EmptyPrompt => {
            CommandError::input(error).hint("give a PROMPT, or pipe one in")
        }
        _ => CommandError::input(error),
    }
}

fn logprob_json(logprobs: &TokenLogprobs) -> Value {
    json!({ "id": logprobs.id, "logprob": logprobs.logprob, "top": logprobs.top })
}

/// Returns how generation went on after a token: stop when asked to.
fn go_on_unless(stop: bool) -> ControlFlow<()> {
    if stop {
        ControlFlow::Break(())
    } else {
        ControlFlow::Continue(())
    }
}

fn timings_json(generation: &Generation, load_s: f64) -> Value {
    let timings = &generation.timings;
    let rate = |tokens: usize, seconds: f64| {
        if seconds > 0.0 {
            tokens as f64 / seconds
        } else {
            0.0
        }
    };
    json!({
        "load_s": load_s,
        "prefill_s": timings.prefill_s,
        "decode_s": timings.decode_s,
        "prefill_tokens_per_s": rate(timings.prefill_tokens, timings.prefill_s),
        "decode_tokens_per_s": rate(timings.decode_tokens, timings.decode_s),
    })
}
