//! `stablelm convert`

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::anyhow;
use serde_json::json;
use stablelm_checkpoint::{
    Checkpoint, ConvertOptions, Converted, Format, OpenOptions, Plan, Target, VerifyError,
};
use stablelm_license::{ChangeKind, Ledger, NewChange, safetensors_metadata};
use stablelm_model::Dtype;
use stablelm_tokenizer::Tokenizer;

use super::convert_gguf;
use crate::args::{Convert, ConvertDtype, ConvertFrom, ConvertTo};
use crate::error::CommandError;
use crate::exit_status::ExitStatus;
use crate::model_input;
use crate::output::{self, StagedDir};
use crate::papers;
use crate::settings;
use crate::ui::Ui;

pub(crate) fn run(args: &Convert, ui: &Ui) -> Result<ExitStatus, CommandError> {
    let started = Instant::now();
    let checkpoint = model_input::open_checkpoint(&args.input, args.neox_config.as_deref())?;
    check_from(args, &checkpoint)?;
    if !args.dry_run {
        output::refuse_existing(&args.output, args.overwrite)?;
    }
    let tokenizer = tokenizer(args, &checkpoint)?;
    let mut ledger = papers::ledger_of_checkpoint(&checkpoint, args.component.as_deref())?;
    if !args.notice.i_am_the_licensor {
        papers::keep_notice(&mut ledger, checkpoint.root())?;
    }
    if args.to == ConvertTo::Gguf {
        record_change(&mut ledger, args, &checkpoint)?;
        let input = convert_gguf::Input {
            checkpoint: &checkpoint,
            tokenizer: tokenizer.as_ref(),
            ledger: &ledger,
        };
        return convert_gguf::run(args, &input, started, ui);
    }
    let mut options = options(args, &checkpoint)?;
    // Planned twice: every check comes before the input is hashed, and only the hash completes the metadata.
    let plan = stablelm_checkpoint::plan(&checkpoint, &options).map_err(CommandError::input)?;
    if args.dry_run {
        return dry_run(args, &plan, ui);
    }
    if papers::is_unlicensed(&ledger) {
        ui.warn("no license is known for these weights; say which they are with --component ID");
    }
    record_change(&mut ledger, args, &checkpoint)?;
    let dtype = options.dtype.or_else(|| checkpoint.dtype());
    let dtype = dtype.map_or_else(String::new, |dtype| dtype.to_string());
    let facts = papers::facts_of(
        &checkpoint,
        &dtype,
        tokenizer.as_ref().map_or("", |_| "tokenizer.json"),
    );
    options.metadata = safetensors_metadata(&ledger, &facts);
    let plan = stablelm_checkpoint::plan(&checkpoint, &options).map_err(CommandError::input)?;

    let staged = StagedDir::create(&args.output, args.overwrite)?;
    let converted = stablelm_checkpoint::convert(&plan, &checkpoint, staged.path())
        .map_err(CommandError::input)?;
    papers::write_model_papers(staged.path(), &ledger, &facts)?;
    if let Some(tokenizer) = &tokenizer {
        output::write_file(
            &staged.path().join("tokenizer.json"),
            tokenizer.json.bytes(),
        )?;
        copy_companions(&tokenizer.path, staged.path())?;
    }
    if args.verify {
        verify(&checkpoint, &staged, ui)?;
    }
    staged.commit()?;
    for warning in &converted.warnings {
        ui.warn(&format!(
            "tensor `{}` holds {} values that are NaN or infinite",
            warning.tensor, warning.count
        ));
    }
    report(args, &checkpoint, &converted, started, ui)?;
    Ok(ExitStatus::Success)
}

fn options(args: &Convert, checkpoint: &Checkpoint) -> Result<ConvertOptions, CommandError> {
    let target = match args.to {
        ConvertTo::Safetensors => Target::Safetensors {
            max_shard_size: args.max_shard_size.as_u64(),
        },
        ConvertTo::Neox => Target::Neox {
            tensor_parallel: args.tensor_parallel,
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
        metadata: std::collections::BTreeMap::default(),
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
        output::write_file(&folder.join(name), &bytes)?;
    }
    Ok(())
}

fn record_change(
    ledger: &mut Ledger,
    args: &Convert,
    checkpoint: &Checkpoint,
) -> Result<(), CommandError> {
    let digest =
        stablelm_checkpoint::sha256_of_files(checkpoint.files()).map_err(CommandError::input)?;
    let target = match args.to {
        ConvertTo::Safetensors => "safetensors".to_owned(),
        ConvertTo::Neox => format!("GPT-NeoX, {} tensor-parallel ranks", args.tensor_parallel),
        ConvertTo::Gguf => "GGUF".to_owned(),
    };
    let mut change = |kind, detail| -> Result<(), CommandError> {
        ledger.record(NewChange {
            when: settings::now_rfc3339()?,
            tool: "stablelm".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            kind,
            from_sha256: Some(digest.clone()),
            detail,
        });
        Ok(())
    };
    change(
        ChangeKind::Format,
        format!("{} to {target}", checkpoint.format().as_str()),
    )?;
    if args.dtype != ConvertDtype::Keep {
        let from = checkpoint
            .dtype()
            .map_or_else(|| "mixed".to_owned(), |dtype| dtype.to_string());
        change(
            ChangeKind::Dtype,
            format!("{from} to {:?}", args.dtype).to_lowercase(),
        )?;
    }
    Ok(())
}

fn dry_run(args: &Convert, plan: &Plan, ui: &Ui) -> Result<ExitStatus, CommandError> {
    if args.json.json {
        ui.json(plan)?;
    } else {
        ui.answer(&plan.to_string())?;
    }
    Ok(ExitStatus::Success)
}

/// Reads the staged output as a user would and compares every tensor.
fn verify(checkpoint: &Checkpoint, staged: &StagedDir, ui: &Ui) -> Result<(), CommandError> {
    let written = stablelm_checkpoint::open(staged.path(), &OpenOptions { neox_config: None });
    let written = written.map_err(CommandError::input)?;
    stablelm_checkpoint::verify(checkpoint, &written).map_err(|error| match error {
        VerifyError::Read(_) => CommandError::input(error),
        differs => CommandError::failed(differs),
    })?;
    ui.status(
        "Verified",
        &format!(
            "{} tensors, each read again and equal",
            written.source().names().len()
        ),
    );
    Ok(())
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
            "input": { "path": args.input, "format": checkpoint.format().as_str(), "details": checkpoint.details() },
            "output": { "path": args.output, "tensor_bytes_sha256": converted.tensor_bytes_sha256 },
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
