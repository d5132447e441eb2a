//! `stablelm run`

mod batch;
mod interactive;
mod interrupt;
mod lines;
mod prompt;
mod responder;
mod self_check;

use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use serde_json::{Map, Value, json};
use stablelm_inference::{
    Device, DeviceError, GenerateError, GenerateOptions, Generation, KvDtype, LoadError,
    LoadOptions, Model, Sampling, TokenLogprobs, WeightDtype,
};
use stablelm_license::attribution_line;
use stablelm_tokenizer::{SpecialTokensInOutput, Tokenizer};

use crate::args::{ModelArgs, Run, RunDtype, RunKvDtype};
use crate::chat::ChatTemplate;
use crate::error::CommandError;
use crate::exit_status::ExitStatus;
use crate::model_input::{self, ModelInput};
use crate::settings;
use crate::ui::Ui;

use interrupt::Interrupt;
use prompt::Prompt;
use responder::Responder;

/// How many tokens are made where nothing says so.
const DEFAULT_NEW_TOKENS: usize = 64;

pub(crate) fn run(args: &Run, ui: &Ui) -> Result<ExitStatus, CommandError> {
    let started = std::time::Instant::now();
    check(args)?;
    let input = ModelInput::open(&args.model)?;
    answer(args, &input, started, ui).map_err(|error| input.explain(error))
}

fn answer(
    args: &Run,
    input: &ModelInput,
    started: std::time::Instant,
    ui: &Ui,
) -> Result<ExitStatus, CommandError> {
    let tokenizer = input.tokenizer(args.tokenizer.as_deref())?;
    let prompt = prompt::read(args)?;
    let chat = chat_template(args, &prompt, input, tokenizer.as_ref())?;
    let threads = settings::threads(args.model.threads)?;
    let model = load(&args.model, input, threads)?;
    let load_s = started.elapsed().as_secs_f64();
    if let Some(ledger) = input.ledger()? {
        ui.note(&attribution_line(&ledger));
    }
    let mut options = options(args, input, tokenizer.as_ref());
    if let Some(chat) = &chat
        && !args.ignore_eos
    {
        let ends = chat.end_tokens();
        let ids = ends
            .iter()
            .filter_map(|end| tokenizer.as_ref()?.token_id(end));
        options.eos_token_ids.extend(ids);
    }
    if let (Prompt::Interactive, Some(_), None) = (&prompt, &chat, args.max_new_tokens) {
        options.max_new_tokens = usize::MAX;
    }
    let responder = Responder {
        args,
        ui,
        model: &model,
        tokenizer: tokenizer.as_ref(),
        chat,
        options,
        load_s,
        interrupt: Interrupt::listen(),
    };
    if let Some(folder) = &args.save_check {
        let prompts = responder.prompts(prompt)?;
        self_check::save(&model, &prompts, responder.options.max_new_tokens, folder)?;
        ui.status("Saved", &format!("`{}`", folder.display()));
        return Ok(ExitStatus::Success);
    }
    match prompt {
        Prompt::Check(folder) => {
            let passed = self_check::check(&model, &folder, args, ui)?;
            return Ok(if passed {
                ExitStatus::Success
            } else {
                ExitStatus::Failed
            });
        }
        Prompt::Given(prompt) => responder.answer(&prompt)?,
        Prompt::Interactive => {
            responder.converse()?;
            return Ok(ExitStatus::Success);
        }
        Prompt::Lines(lines) => responder.answer_lines(lines)?,
    }
    Ok(if responder.interrupt.is_asked() {
        ExitStatus::Interrupted
    } else {
        ExitStatus::Success
    })
}

/// Returns the model's chat template, where one is asked for or may be needed.
fn chat_template(
    args: &Run,
    prompt: &Prompt,
    input: &ModelInput,
    tokenizer: Option<&Tokenizer>,
) -> Result<Option<ChatTemplate>, CommandError> {
    let is_asked_for = args.is_chat();
    if !is_asked_for && matches!(prompt, Prompt::Given(_) | Prompt::Check(_)) {
        return Ok(None);
    }
    let model = &args.model.model;
    let tokenizer_path = args
        .tokenizer
        .clone()
        .or_else(|| model_input::find_tokenizer(model));
    let beside_tokenizer = tokenizer_path.and_then(|path| path.parent().map(Path::to_owned));
    let folders: Vec<PathBuf> = model_input::folder(model)
        .map(Path::to_owned)
        .into_iter()
        .chain(beside_tokenizer)
        .collect();
    let now = settings::source_date()?.unwrap_or_else(std::time::SystemTime::now);
    let mut found = ChatTemplate::find(args.chat_template.as_deref(), &folders, now)?;
    if let (None, Some(source)) = (&found, input.chat_template()) {
        let special_tokens = special_tokens(input, tokenizer);
        found = Some(ChatTemplate::new(
            model.clone(),
            source,
            special_tokens,
            now,
        )?);
    }
    if found.is_none() && is_asked_for {
        let model = model.display();
        let what = anyhow!(
            "`{model}` has no chat template in chat_template.jinja or tokenizer_config.json"
        );
        return Err(CommandError::input(what).hint(
            "leave --chat out for a model that only continues texts, or give --chat-template",
        ));
    }
    Ok(found)
}

/// Returns the texts that a template may ask for, of a model that has no `tokenizer_config.json`.
fn special_tokens(input: &ModelInput, tokenizer: Option<&Tokenizer>) -> Map<String, Value> {
    let config = input.config();
    let named = [
        ("bos_token", config.bos_token_id),
        ("eos_token", config.eos_token_ids.first().copied()),
    ];
    let text = |(name, id): (&str, Option<u32>)| {
        let text = tokenizer?
            .decode(&[id?], SpecialTokensInOutput::Keep)
            .ok()?;
        Some((name.to_owned(), Value::from(text)))
    };
    named.into_iter().filter_map(text).collect()
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
    if args.is_chat() && args.prompt_ids.is_some() {
        return usage("--prompt-ids is a prompt in full: it goes into no chat template".to_owned());
    }
    if args
        .tolerance
        .is_some_and(|tolerance| tolerance.is_nan() || tolerance < 0.0)
    {
        return usage("--tolerance is no number from 0 on".to_owned());
    }
    if args.top_k == Some(0) {
        return usage("--top-k is 0, expected 1 or more".to_owned());
    }
    Ok(())
}

/// Loads an opened model as the command line says.
pub(super) fn load(
    args: &ModelArgs,
    input: &ModelInput,
    threads: NonZeroUsize,
) -> Result<Model, CommandError> {
    let device = Device::find(&args.device).map_err(device_error)?;
    let dtype = match args.dtype {
        RunDtype::Auto => WeightDtype::Auto,
        RunDtype::Bf16 => WeightDtype::Bf16,
        RunDtype::F16 => WeightDtype::F16,
        RunDtype::F32 => WeightDtype::F32,
        RunDtype::Q8_0 => WeightDtype::Q8_0,
        RunDtype::Q4K => WeightDtype::Q4K,
    };
    let kv_dtype = match args.kv_dtype {
        RunKvDtype::Auto => None,
        RunKvDtype::F32 => Some(KvDtype::F32),
        RunKvDtype::F16 => Some(KvDtype::F16),
        RunKvDtype::F8 => Some(KvDtype::F8),
    };
    let model = stablelm_inference::load(
        input.config(),
        input.source(),
        &LoadOptions {
            device,
            dtype,
            kv_dtype,
            threads: Some(threads),
            kernel_cache: settings::cache_folder().map(|cache| cache.join("kernels")),
            overlapping_launches: settings::overlapping_launches(),
        },
    );
    model.map_err(|error| {
        let what = format!("failed to load `{}`", args.model.display());
        match error {
            LoadError::Threads(error) => CommandError::environment(error),
            LoadError::Device(error) => device_error(error),
            LoadError::Backend(error) if error.is_device() => failed_device(error),
            error => CommandError::input(error),
        }
        .context(what)
    })
}

/// Maps an error about a device's name to what the user can do about it.
fn device_error(error: DeviceError) -> CommandError {
    let hint = match &error {
        DeviceError::Unknown { .. } => return CommandError::usage(error),
        DeviceError::NoDriver => {
            "install NVIDIA's driver, or use --device auto to take what there is, --device cpu for the processor"
        }
        DeviceError::OldDriver { .. } => "install a newer driver, or use --device cpu",
        DeviceError::Missing { .. } => {
            "choose one of those; CUDA_VISIBLE_DEVICES decides which the driver counts"
        }
        _ => "see what `nvidia-smi` says, or use --device cpu",
    };
    CommandError::environment(error).hint(hint)
}

/// Maps an error of a device that is there to what the user can do about it.
fn failed_device(error: impl Into<anyhow::Error>) -> CommandError {
    CommandError::environment(error)
        .hint("a smaller --dtype takes less memory; --device cpu does without the GPU")
}

fn options(args: &Run, input: &ModelInput, tokenizer: Option<&Tokenizer>) -> GenerateOptions {
    let rows = input.config().padded_vocab_size;
    GenerateOptions {
        max_new_tokens: args.max_new_tokens.unwrap_or(DEFAULT_NEW_TOKENS),
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

/// Maps a generation error to what the user can do about it.
pub(super) fn generate_error(error: GenerateError) -> CommandError {
    match &error {
        GenerateError::PromptTooLong { .. } => {
            CommandError::input(error).hint("shorten the prompt; nothing is cut silently")
        }
        GenerateError::EmptyPrompt => {
            CommandError::input(error).hint("give a PROMPT, or pipe one in")
        }
        GenerateError::Backend(cause) if cause.is_device() => failed_device(error),
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
