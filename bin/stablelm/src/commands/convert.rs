//! `stablelm convert`

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::anyhow;
use serde_json::json;
use stablelm_checkpoint::{
    Checkpoint, ConvertOptions, Converted, Format, InputOptions, JOURNAL_FILE, Journal,
    JournalError, NeoxLayout, NonFinite, Plan, TENSORS_FILE, Target, TensorHashes, VerifyError,
};
use stablelm_license::{ChangeKind, Ledger, ModelFacts, NewChange, safetensors_metadata};
use stablelm_model::Dtype;
use stablelm_tokenizer::Tokenizer;

use super::convert_gguf;
use crate::args::{Convert, ConvertDtype, ConvertFrom, ConvertLayout, ConvertTo};
use crate::error::CommandError;
use crate::exit_status::ExitStatus;
use crate::model_input;
use crate::output::{self, Existing, StagedDir};
use crate::papers;
use crate::settings;
use crate::ui::Ui;

pub(crate) fn run(args: &Convert, ui: &Ui) -> Result<ExitStatus, CommandError> {
    let started = Instant::now();
    let checkpoint = open(args)?;
    check_from(args, &checkpoint)?;
    if !args.dry_run {
        output::refuse_existing(&args.output, args.existing.overwrite)?;
    }
    let tokenizer = tokenizer(args, &checkpoint)?;
    let mut ledger = papers::ledger_of_checkpoint(&checkpoint, args.component.as_deref())?;
    if !args.notice.i_am_the_licensor {
        papers::keep_notice(&mut ledger, checkpoint.root())?;
    }
    if args.to == ConvertTo::Gguf {
        return to_gguf(args, &checkpoint, tokenizer.as_ref(), ledger, started, ui);
    }
    let conversion = Conversion {
        args,
        checkpoint: &checkpoint,
        tokenizer: tokenizer.as_ref(),
        ledger: &ledger,
    };
    let mut options = options(args, &checkpoint)?;
    if args.dry_run {
        let plan = stablelm_checkpoint::plan(&checkpoint, &options).map_err(CommandError::input)?;
        return dry_run(args, &plan, ui);
    }
    // The weights' digest is known only when they have been read: until then the header keeps room for it.
    let (_, metadata) = conversion.papers(&options, UNKNOWN_DIGEST, &settings::now_rfc3339()?);
    options.metadata = metadata;
    let plan = stablelm_checkpoint::plan(&checkpoint, &options).map_err(CommandError::input)?;
    if papers::is_unlicensed(&ledger) {
        ui.warn("no license is known for these weights; say which they are with --component ID");
    }
    let existing = Existing::from_flags(args.existing.overwrite, args.existing.resume);
    let staged = StagedDir::resumable(&args.output, existing, is_resumable)?;
    let converted = conversion.write(&options, &plan, staged.path(), ui);
    let converted = converted.inspect_err(|error| {
        // What is wrong with the input stays so: there is nothing to go on with.
        if error.status() != ExitStatus::Environment {
            drop(std::fs::remove_file(staged.path().join(JOURNAL_FILE)));
        }
    })?;
    let staged = if args.no_sync {
        staged.without_sync()
    } else {
        staged
    };
    staged.commit()?;
    warn_of_non_finite(&converted.warnings, ui);
    report(args, &checkpoint, &converted, started, ui)?;
    Ok(ExitStatus::Success)
}

fn warn_of_non_finite(warnings: &[NonFinite], ui: &Ui) {
    for NonFinite { tensor, count, .. } in warnings {
        ui.warn(&format!(
            "tensor `{tensor}` holds {count} values that are NaN or infinite"
        ));
    }
}

/// Stands for a SHA-256 that is not known yet.
const UNKNOWN_DIGEST: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Says of a folder whether an unfinished conversion is in it.
fn is_resumable(folder: &Path) -> bool {
    folder.join(JOURNAL_FILE).is_file()
}

fn open(args: &Convert) -> Result<Checkpoint, CommandError> {
    model_input::open_input(
        &args.input,
        &InputOptions {
            neox_config: args.neox_config.clone(),
            master_weights: args.master_weights,
            key_map: args.key_map.clone(),
        },
    )
}

fn to_gguf(
    args: &Convert,
    checkpoint: &Checkpoint,
    tokenizer: Option<&Companion>,
    mut ledger: Ledger,
    started: Instant,
    ui: &Ui,
) -> Result<ExitStatus, CommandError> {
    if args.existing.resume {
        let what = anyhow!("a GGUF file is written in one go");
        return Err(CommandError::usage(what).hint("leave out --resume"));
    }
    if args.no_sync {
        let what = anyhow!("a GGUF file is always on disk before it gets its name");
        return Err(CommandError::usage(what).hint("leave out --no-sync"));
    }
    let threads = settings::threads(args.threads)?;
    let (digest, warnings) = if args.dry_run {
        (UNKNOWN_DIGEST.to_owned(), Vec::new())
    } else {
        let matrices = convert_gguf::plain_dtype(args, checkpoint);
        let survey = stablelm_checkpoint::survey(checkpoint, matrices, threads);
        let survey = survey.map_err(CommandError::input)?;
        (survey.hashes.sha256, survey.warnings)
    };
    warn_of_non_finite(&warnings, ui);
    if let Some(NonFinite { tensor, count, nan }) = warnings.first()
        && args.verify
    {
        return Err(CommandError::failed(VerifyError::NonFinite {
            tensor: tensor.clone(),
            nan: *nan,
            infinite: count - nan,
        }));
    }
    record_change(
        &mut ledger,
        args,
        checkpoint,
        &digest,
        &settings::now_rfc3339()?,
    );
    let input = convert_gguf::Input {
        checkpoint,
        tokenizer,
        ledger: &ledger,
        warnings: &warnings,
    };
    convert_gguf::run(args, &input, started, ui)
}

/// What is converted and what goes beside it.
struct Conversion<'a> {
    args: &'a Convert,
    checkpoint: &'a Checkpoint,
    tokenizer: Option<&'a Companion>,
    ledger: &'a Ledger,
}

impl Conversion<'_> {
    /// Makes the record of changes and the texts of the headers.
    fn papers(
        &self,
        options: &ConvertOptions,
        digest: &str,
        when: &str,
    ) -> (Ledger, BTreeMap<String, String>) {
        let mut ledger = self.ledger.clone();
        record_change(&mut ledger, self.args, self.checkpoint, digest, when);
        let metadata = safetensors_metadata(&ledger, &self.facts(options));
        (ledger, metadata)
    }

    fn facts(&self, options: &ConvertOptions) -> ModelFacts {
        let dtype = options.dtype.or_else(|| self.checkpoint.dtype());
        let dtype = dtype.map_or_else(String::new, |dtype| dtype.to_string());
        let tokenizer = self.tokenizer.map_or("", |_| "tokenizer.json");
        papers::facts_of(self.checkpoint, &dtype, tokenizer)
    }

    /// Fills the folder, or completes it, and checks it where that was asked for.
    fn write(
        &self,
        options: &ConvertOptions,
        plan: &Plan,
        folder: &Path,
        ui: &Ui,
    ) -> Result<Converted, CommandError> {
        let now = settings::now_rfc3339()?;
        let journal = Journal::open(folder, plan, self.checkpoint, &now);
        let mut journal = journal.map_err(journal_error)?;
        let complete = journal.files().count();
        if complete > 0 {
            ui.status("Resuming", &format!("{complete} files are complete"));
        }
        let written =
            stablelm_checkpoint::convert(plan, self.checkpoint, folder, Some(&mut journal));
        let converted = written.map_err(CommandError::input)?;
        let (ledger, metadata) = self.papers(options, &converted.source_sha256, journal.started());
        stablelm_checkpoint::write_metadata(plan, folder, &metadata)
            .map_err(CommandError::input)?;
        papers::write_model_papers(folder, &ledger, &self.facts(options))?;
        let hashes = converted.hashes.to_json();
        output::write_staged(folder, TENSORS_FILE, hashes.as_bytes())?;
        if let Some(tokenizer) = self.tokenizer {
            output::write_staged(folder, "tokenizer.json", tokenizer.json.bytes())?;
            copy_companions(&tokenizer.path, folder)?;
        }
        if self.args.verify {
            self.verify(folder, ui)?;
        }
        journal.remove().map_err(CommandError::input)?;
        Ok(converted)
    }

    /// Reads the staged output as a user would and compares every tensor.
    fn verify(&self, folder: &Path, ui: &Ui) -> Result<(), CommandError> {
        let threads = settings::threads(self.args.threads)?;
        let written = stablelm_checkpoint::open_input(folder, &InputOptions::default());
        let written = written.map_err(CommandError::input)?;
        let list = folder.join(TENSORS_FILE);
        let hashes = std::fs::read(&list).ok();
        let hashes = hashes.and_then(|bytes| TensorHashes::from_json(&bytes));
        let hashes = hashes.ok_or_else(|| {
            CommandError::failed(anyhow!("`{}` is not what was written", list.display()))
        })?;
        let verified =
            stablelm_checkpoint::verify_hashed(self.checkpoint, &written, Some(&hashes), threads);
        let verified = verified.map_err(verify_error)?;
        ui.status(
            "Verified",
            &format!(
                "{} tensors, each read again and equal, {} parameters",
                verified.tensors, verified.parameters
            ),
        );
        if self.args.master_weights {
            self.verify_masters(ui)?;
        }
        Ok(())
    }

    /// The model's weights must be the optimizer's, rounded.
    fn verify_masters(&self, ui: &Ui) -> Result<(), CommandError> {
        let options = InputOptions {
            neox_config: self.args.neox_config.clone(),
            master_weights: false,
            key_map: self.args.key_map.clone(),
        };
        let Ok(model) = stablelm_checkpoint::open_input(&self.args.input, &options) else {
            ui.warn("the checkpoint holds no copy of the weights to compare the optimizer's with");
            return Ok(());
        };
        let threads = settings::threads(self.args.threads)?;
        stablelm_checkpoint::verify_hashed(self.checkpoint, &model, None, threads)
            .map_err(verify_error)
            .map_err(|error| {
                error.context("the optimizer's weights, rounded, are not those of the model")
            })?;
        ui.status(
            "Verified",
            "the model's weights are the optimizer's, rounded",
        );
        Ok(())
    }
}

fn verify_error(error: VerifyError) -> CommandError {
    match error {
        VerifyError::Read(_) | VerifyError::Inconsistent(_) | VerifyError::Threads(_) => {
            CommandError::input(error)
        }
        differs => CommandError::failed(differs),
    }
}

fn journal_error(error: JournalError) -> CommandError {
    let other = matches!(error, JournalError::Other { .. });
    let error = CommandError::input(error);
    if other {
        error.hint("begin anew by --overwrite")
    } else {
        error
    }
}

fn options(args: &Convert, checkpoint: &Checkpoint) -> Result<ConvertOptions, CommandError> {
    let target = match args.to {
        ConvertTo::Safetensors => Target::Safetensors {
            max_shard_size: args.max_shard_size.as_u64(),
        },
        ConvertTo::Neox => Target::Neox {
            tensor_parallel: args.tensor_parallel,
            layout: match args.layout {
                ConvertLayout::Layers => NeoxLayout::Layers,
                ConvertLayout::Single => NeoxLayout::Single,
            },
            step: checkpoint.details().step.unwrap_or(0),
        },
        ConvertTo::Gguf => unreachable!("GGUF files are written by `convert_gguf`"),
    };
    let dtype = match args.dtype {
        ConvertDtype::Keep => None,
        ConvertDtype::Bf16 => Some(Dtype::Bf16),
        ConvertDtype::F16 => Some(Dtype::F16),
        ConvertDtype::F32 => Some(Dtype::F32),
        ConvertDtype::Q8_0 | ConvertDtype::Q4K => {
            let what = anyhow!("blocks of 8 or 4 bits are written to GGUF files only");
            return Err(CommandError::usage(what).hint("give --to gguf"));
        }
    };
    Ok(ConvertOptions {
        target,
        dtype,
        allow_drop: args.allow_drop.clone(),
        metadata: BTreeMap::new(),
        sync: !args.no_sync,
        threads: settings::threads(args.threads)?,
    })
}

fn check_from(args: &Convert, checkpoint: &Checkpoint) -> Result<(), CommandError> {
    let expected = match args.from {
        ConvertFrom::Auto => return Ok(()),
        ConvertFrom::Neox => Format::Neox,
        ConvertFrom::Safetensors => Format::Safetensors,
    };
    if checkpoint.format() == expected {
        return Ok(());
    }
    let (found, expected) = (checkpoint.format().as_str(), expected.as_str());
    Err(CommandError::input(anyhow!(
        "`{}` is a {found} checkpoint, expected {expected}",
        args.input.display()
    )))
}

/// A tokenizer to put beside the weights.
pub(super) struct Companion {
    pub(super) path: PathBuf,
    pub(super) json: Tokenizer,
}

/// Loads the tokenizer given, or the one that stands with the checkpoint.
fn tokenizer(args: &Convert, checkpoint: &Checkpoint) -> Result<Option<Companion>, CommandError> {
    let path = args
        .tokenizer
        .clone()
        .or_else(|| model_input::find_tokenizer(&args.input));
    let Some(path) = path else { return Ok(None) };
    let tokenizer = model_input::load_tokenizer(&path)?;
    let (ids, rows) = (
        tokenizer.vocab_size(),
        checkpoint.config().padded_vocab_size,
    );
    if ids > rows {
        let error = anyhow!(
            "tokenizer `{}` has {ids} ids, the model has {rows} rows for them",
            path.display()
        );
        return Err(
            CommandError::input(error).hint("give the tokenizer that the model was trained with")
        );
    }
    Ok(Some(Companion {
        path,
        json: tokenizer,
    }))
}

/// Copies what Hugging Face keeps beside a tokenizer.json, where it is there.
fn copy_companions(tokenizer: &Path, folder: &Path) -> Result<(), CommandError> {
    const NAMES: [&str; 3] = [
        "tokenizer_config.json",
        "special_tokens_map.json",
        "chat_template.jinja",
    ];
    let from = if tokenizer.is_dir() {
        Some(tokenizer)
    } else {
        tokenizer.parent()
    };
    for name in NAMES {
        let Some(file) = from
            .map(|from| from.join(name))
            .filter(|file| file.is_file())
        else {
            continue;
        };
        let bytes = std::fs::read(&file).map_err(|error| {
            let what = format!("failed to read `{}`", file.display());
            CommandError::input(anyhow::Error::new(error).context(what))
        })?;
        output::write_staged(folder, name, &bytes)?;
    }
    Ok(())
}

fn record_change(
    ledger: &mut Ledger,
    args: &Convert,
    checkpoint: &Checkpoint,
    digest: &str,
    when: &str,
) {
    let target = match args.to {
        ConvertTo::Safetensors => "safetensors".to_owned(),
        ConvertTo::Neox => format!("GPT-NeoX, {} tensor-parallel ranks", args.tensor_parallel),
        ConvertTo::Gguf => "GGUF".to_owned(),
    };
    let mut change = |kind, detail| {
        ledger.record(NewChange {
            when: when.to_owned(),
            tool: "stablelm".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            kind,
            from_sha256: Some(digest.to_owned()),
            detail,
        });
    };
    let source = if args.master_weights {
        ", fp32 weights of the optimizer"
    } else {
        ""
    };
    let format = checkpoint.format().as_str();
    change(ChangeKind::Format, format!("{format}{source} to {target}"));
    if args.dtype != ConvertDtype::Keep {
        let from = checkpoint
            .dtype()
            .map_or_else(|| "mixed".to_owned(), |dtype| dtype.to_string());
        change(
            ChangeKind::Dtype,
            format!("{from} to {:?}", args.dtype).to_lowercase(),
        );
    }
}

fn dry_run(args: &Convert, plan: &Plan, ui: &Ui) -> Result<ExitStatus, CommandError> {
    if args.json.json {
        ui.json(plan)?;
    } else {
        ui.answer(&plan.to_string())?;
    }
    Ok(ExitStatus::Success)
}

fn report(
    args: &Convert,
    checkpoint: &Checkpoint,
    converted: &Converted,
    started: Instant,
    ui: &Ui,
) -> Result<(), CommandError> {
    let seconds = started.elapsed().as_secs_f64();
    if args.json.json {
        return ui.json(&json!({
            "input": {
                "path": args.input,
                "format": checkpoint.format().as_str(),
                "details": checkpoint.details(),
                "tensors_sha256": converted.source_sha256,
            },
            "output": {
                "path": args.output,
                "format": match args.to {
                    ConvertTo::Neox => "neox",
                    _ => "safetensors",
                },
                "tensors_sha256": converted.hashes.sha256,
            },
            "tensors": converted.tensors,
            "parameters": converted.parameters,
            "bytes": converted.bytes,
            "warnings": converted.warnings,
            "seconds": seconds,
            "peak_rss_bytes": settings::peak_rss_bytes(),
        }));
    }
    let size = bytesize::ByteSize(converted.bytes);
    ui.status(
        "Converted",
        &format!(
            "{} tensors, {} parameters, {size} to {} in {seconds:.1} s",
            converted.tensors,
            converted.parameters,
            args.output.display()
        ),
    );
    Ok(())
}
