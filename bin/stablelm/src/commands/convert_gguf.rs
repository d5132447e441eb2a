//! `stablelm convert --to gguf`

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::anyhow;
use bytesize::ByteSize;
use serde_json::json;
use stablelm_checkpoint::{Checkpoint, NonFinite};
use stablelm_inference::gguf::{self, GgufDtype, GgufMetadata, GgufPlan, Vocabulary};
use stablelm_license::{Ledger, NOASSERTION, safetensors_metadata};
use stablelm_model::Dtype;

use super::convert::Companion;
use crate::args::{Convert, ConvertDtype};
use crate::error::CommandError;
use crate::exit_status::ExitStatus;
use crate::output::{StagedDir, StagedPrefix};
use crate::papers;
use crate::settings;
use crate::ui::{Align, Table, Ui};

/// What a file is made of.
pub(super) struct Input<'a> {
    pub(super) checkpoint: &'a Checkpoint,
    pub(super) tokenizer: Option<&'a Companion>,
    pub(super) ledger: &'a Ledger,
    /// Tensors that hold NaN or infinity.
    pub(super) warnings: &'a [NonFinite],
}

/// Where it goes: a file alone, or a folder with its papers.
enum Staged {
    File(StagedPrefix),
    Folder(StagedDir),
}

impl Staged {
    fn create(output: &Path, overwrite: bool) -> Result<Self, CommandError> {
        let is_file = output
            .extension()
            .is_some_and(|extension| extension.eq_ignore_ascii_case("gguf"));
        if is_file {
            StagedPrefix::create(output, &[""], overwrite).map(Self::File)
        } else {
            StagedDir::create(output, overwrite).map(Self::Folder)
        }
    }

    fn path(&self) -> PathBuf {
        match self {
            Self::File(file) => file.path(),
            Self::Folder(folder) => folder.path().join("model.gguf"),
        }
    }
}

pub(super) fn run(
    args: &Convert,
    input: &Input<'_>,
    started: Instant,
    ui: &Ui,
) -> Result<ExitStatus, CommandError> {
    let dtype = dtype(args, input.checkpoint);
    let metadata = metadata(input, dtype)?;
    let (config, source) = (input.checkpoint.config(), input.checkpoint.source());
    let plan = gguf::plan(config, source, dtype, &metadata).map_err(CommandError::input)?;
    if args.dry_run {
        return dry_run(args, &plan, ui);
    }
    if papers::is_unlicensed(input.ledger) {
        ui.warn("no license is known for these weights; say which they are with --component ID");
    }
    if input.tokenizer.is_none() {
        ui.warn("no tokenizer is at hand: llama.cpp will take token ids only; give one with --tokenizer");
    }
    let staged = Staged::create(&args.output, args.existing.overwrite)?;
    write(&plan, &staged.path())?;
    if args.verify {
        verify(input, &staged.path(), ui)?;
    }
    match staged {
        Staged::File(file) => file.commit()?,
        Staged::Folder(folder) => {
            let facts = papers::facts_of(input.checkpoint, name(dtype), "");
            papers::write_model_papers(folder.path(), input.ledger, &facts)?;
            folder.commit()?;
        }
    }
    report(args, input, &plan, started, ui)?;
    Ok(ExitStatus::Success)
}

/// Returns the number format asked for, or that of the weights.
fn dtype(args: &Convert, checkpoint: &Checkpoint) -> GgufDtype {
    match args.dtype {
        ConvertDtype::Bf16 => GgufDtype::Bf16,
        ConvertDtype::F16 => GgufDtype::F16,
        ConvertDtype::F32 => GgufDtype::F32,
        ConvertDtype::Q8_0 => GgufDtype::Q8_0,
        ConvertDtype::Q4K => GgufDtype::Q4K,
        ConvertDtype::Keep => match checkpoint.dtype() {
            Some(Dtype::Bf16) => GgufDtype::Bf16,
            Some(Dtype::F16) => GgufDtype::F16,
            _ => GgufDtype::F32,
        },
    }
}

/// Returns what matrices are rounded to, if that is plain numbers with less room than f32.
pub(super) fn plain_dtype(args: &Convert, checkpoint: &Checkpoint) -> Option<Dtype> {
    match dtype(args, checkpoint) {
        GgufDtype::F16 => Some(Dtype::F16),
        GgufDtype::Bf16 => Some(Dtype::Bf16),
        GgufDtype::F32 | GgufDtype::Q8_0 | GgufDtype::Q4K => None,
    }
}

fn name(dtype: GgufDtype) -> &'static str {
    match dtype {
        GgufDtype::F32 => "f32",
        GgufDtype::F16 => "f16",
        GgufDtype::Bf16 => "bf16",
        GgufDtype::Q8_0 => "q8_0",
        GgufDtype::Q4K => "q4_k",
    }
}

/// Puts together what the file says of itself: license and changes, tokenizer, chat template.
fn metadata(input: &Input<'_>, dtype: GgufDtype) -> Result<GgufMetadata, CommandError> {
    let facts = papers::facts_of(input.checkpoint, name(dtype), "");
    let subject = input.ledger.subject();
    let mut texts: Vec<(String, String)> = Vec::new();
    let license = subject.map_or(NOASSERTION, |subject| subject.license.as_str());
    if license != NOASSERTION {
        texts.push(("general.license".to_owned(), license.to_lowercase()));
    }
    if let Some(subject) = subject {
        texts.push(("general.author".to_owned(), subject.creators_phrase()));
        if let Some(address) = subject.license_address() {
            texts.push(("general.license.link".to_owned(), address));
        }
    }
    let of_files = safetensors_metadata(input.ledger, &facts);
    // What is only about safetensors, or is there already.
    let other = |key: &String| key != "format" && key != "license";
    texts.extend(of_files.into_iter().filter(|(key, _)| other(key)));
    let rows = input.checkpoint.config().padded_vocab_size;
    let vocabulary = input.tokenizer.map(|tokenizer| {
        Vocabulary::from_tokenizer_json(tokenizer.json.bytes(), rows).map_err(|error| {
            CommandError::input(error).context(format!(
                "tokenizer `{}` can't go into a GGUF file",
                tokenizer.path.display()
            ))
        })
    });
    Ok(GgufMetadata {
        name: Some(input.ledger.title.clone()),
        texts,
        vocabulary: vocabulary.transpose()?,
        chat_template: input
            .tokenizer
            .and_then(|tokenizer| chat_template(&tokenizer.path)),
    })
}

/// Finds the chat template beside a tokenizer.
fn chat_template(tokenizer: &Path) -> Option<String> {
    let folder = if tokenizer.is_dir() {
        tokenizer
    } else {
        tokenizer.parent()?
    };
    if let Ok(template) = std::fs::read_to_string(folder.join("chat_template.jinja")) {
        return Some(template);
    }
    let config = std::fs::read(folder.join("tokenizer_config.json")).ok()?;
    let config: serde_json::Value = serde_json::from_slice(&config).ok()?;
    config.get("chat_template")?.as_str().map(str::to_owned)
}

fn write(plan: &GgufPlan<'_>, path: &Path) -> Result<(), CommandError> {
    let write = || -> anyhow::Result<()> {
        let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
        plan.write(&mut file)?;
        file.flush()?;
        Ok(())
    };
    write().map_err(|error| {
        CommandError::input(error.context(format!("failed to write `{}`", path.display())))
    })
}

/// Reads the staged file as a user would and compares it with the weights.
fn verify(input: &Input<'_>, path: &Path, ui: &Ui) -> Result<(), CommandError> {
    let written = gguf::open(path).map_err(CommandError::input)?;
    let found = gguf::compare(input.checkpoint.source(), &written);
    let found = found.map_err(CommandError::input)?;
    if let Some(wrong) = found.iter().find(|tensor| !tensor.is_within_format()) {
        return Err(CommandError::failed(anyhow!(
            "tensor `{}` strays by {:.2e} of its size from the weights it was made of",
            wrong.name,
            wrong.relative_error
        )));
    }
    let worst = found.iter().map(|tensor| tensor.relative_error);
    ui.status(
        "Verified",
        &format!(
            "{} tensors, each read again; the worst strays by {:.2e} of its size",
            found.len(),
            worst.fold(0f64, f64::max)
        ),
    );
    Ok(())
}

fn dry_run(args: &Convert, plan: &GgufPlan<'_>, ui: &Ui) -> Result<ExitStatus, CommandError> {
    if args.json.json {
        let tensors: Vec<_> = plan
            .tensors()
            .map(|(name, shape, bytes)| json!({ "name": name, "shape": shape, "bytes": bytes }))
            .collect();
        ui.json(&json!({ "bytes": plan.file_len(), "tensors": tensors }))?;
        return Ok(ExitStatus::Success);
    }
    let mut table = Table::new(&[
        ("tensor", Align::Left),
        ("shape", Align::Left),
        ("bytes", Align::Right),
    ]);
    for (name, shape, bytes) in plan.tensors() {
        table.row(vec![
            name.to_owned(),
            format!("{shape:?}"),
            bytes.to_string(),
        ]);
    }
    let total = ByteSize(plan.file_len());
    ui.answer(&format!("{}{total} in all\n", table.render()))?;
    Ok(ExitStatus::Success)
}

fn report(
    args: &Convert,
    input: &Input<'_>,
    plan: &GgufPlan<'_>,
    started: Instant,
    ui: &Ui,
) -> Result<(), CommandError> {
    let seconds = started.elapsed().as_secs_f64();
    let parameters = input.checkpoint.config().num_parameters();
    let (tensors, bytes) = (plan.tensors().count(), plan.file_len());
    if args.json.json {
        return ui.json(&json!({
            "input": {
                "path": args.input,
                "format": input.checkpoint.format().as_str(),
                "details": input.checkpoint.details(),
            },
            "output": { "path": args.output, "format": "gguf" },
            "tensors": tensors,
            "parameters": parameters,
            "bytes": bytes,
            "warnings": input.warnings,
            "seconds": seconds,
            "peak_rss_bytes": settings::peak_rss_bytes(),
        }));
    }
    let (size, output) = (ByteSize(bytes), args.output.display());
    ui.status(
        "Converted",
        &format!(
            "{tensors} tensors, {parameters} parameters, {size} to {output} in {seconds:.1} s"
        ),
    );
    Ok(())
}
