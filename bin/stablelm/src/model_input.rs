//! From the path a user typed to an opened checkpoint, model or tokenizer.

use std::error::Error;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use stablelm_checkpoint::{ArchiveError, Checkpoint, InputOptions, OpenError, PickleError};
use stablelm_inference::gguf::{self, GgufModel};
use stablelm_inference::{GenerateError, find_non_finite};
use stablelm_license::Ledger;
use stablelm_model::{ModelConfig, TensorSource};
use stablelm_tokenizer::Tokenizer;

use crate::args::ModelArgs;
use crate::error::CommandError;
use crate::papers;

/// Opens a GPT-NeoX or safetensors checkpoint.
pub(crate) fn open_checkpoint(
    path: &Path,
    neox_config: Option<&Path>,
) -> Result<Checkpoint, CommandError> {
    let options = InputOptions {
        neox_config: neox_config.map(Path::to_owned),
        ..InputOptions::default()
    };
    open_input(path, &options)
}

/// Opens a GPT-NeoX or safetensors checkpoint with all there is to choose.
pub(crate) fn open_input(path: &Path, options: &InputOptions) -> Result<Checkpoint, CommandError> {
    require_path(path)?;
    stablelm_checkpoint::open_input(path, options).map_err(open_error)
}

/// Opens a GGUF file, when a path names one.
pub(crate) fn open_gguf(path: &Path) -> Result<Option<GgufModel>, CommandError> {
    require_path(path)?;
    let is_gguf = path
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("gguf"));
    if !is_gguf {
        return Ok(None);
    }
    gguf::open(path).map(Some).map_err(CommandError::input)
}

/// Says what to do about a checkpoint that cannot be opened.
fn open_error(error: OpenError) -> CommandError {
    let hint = match &error {
        OpenError::MissingFile { .. } => {
            Some("a checkpoint needs every layer and every rank: copy it again, whole")
        }
        OpenError::OptimizerState { .. } => {
            Some("give the folder, with --master-weights for the optimizer's fp32 weights")
        }
        OpenError::NoMasterWeights { .. } => {
            Some("leave out --master-weights, or copy the optimizer's shards to the folder")
        }
        OpenError::NoNeoxConfig { .. } => {
            Some("give the .yml that the training was started with as --neox-config")
        }
        OpenError::Shape { .. } | OpenError::Count { .. } | OpenError::MissingTensor { .. } => {
            Some("check that the configuration belongs to these weights")
        }
        other => causes(other).find_map(hint_of_cause),
    };
    let error = CommandError::input(error);
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let current = next?;
        next = current.source();
        Some(current)
    })
}

fn hint_of_cause(cause: &(dyn Error + 'static)) -> Option<&'static str> {
    if let Some(PickleError::Refused { .. }) = cause.downcast_ref() {
        return Some("do not load it with PyTorch either; ask whoever trained it for a clean copy");
    }
    match cause.downcast_ref()? {
        ArchiveError::Zip(_)
        | ArchiveError::OutOfFile { .. }
        | ArchiveError::Checksum { .. }
        | ArchiveError::Inflate { .. }
        | ArchiveError::Legacy { .. } => {
            Some("the file is not as it was written: copy it again and compare the sizes")
        }
        _ => None,
    }
}

/// Returns an error when there is nothing at a path.
pub(crate) fn require_path(path: &Path) -> Result<(), CommandError> {
    if path.exists() {
        return Ok(());
    }
    let what = anyhow!("there is no file or folder `{}`", path.display());
    Err(CommandError::input(what))
}

/// Loads a tokenizer.json, or the one in a folder.
pub(crate) fn load_tokenizer(path: &Path) -> Result<Tokenizer, CommandError> {
    require_path(path)?;
    Tokenizer::from_file(path).map_err(CommandError::input)
}

/// Finds the tokenizer that belongs to a model: beside its weights, or beside a GPT-NeoX checkpoint.
pub(crate) fn find_tokenizer(model: &Path) -> Option<PathBuf> {
    let folder = folder(model);
    let above = folder.and_then(Path::parent);
    let candidates = [folder, above]
        .into_iter()
        .flatten()
        .map(|folder| folder.join("tokenizer.json"));
    candidates.into_iter().find(|path| path.is_file())
}

/// Returns the folder that holds a model's files.
pub(crate) fn folder(model: &Path) -> Option<&Path> {
    if model.is_dir() {
        Some(model)
    } else {
        model.parent()
    }
}

/// Something that `run` can run.
pub(crate) struct ModelInput {
    path: PathBuf,
    files: Files,
    config: ModelConfig,
    eos_token_ids: Vec<u32>,
}

enum Files {
    Checkpoint(Box<Checkpoint>),
    Gguf(Box<GgufModel>),
}

impl ModelInput {
    /// Opens a folder, a checkpoint or a GGUF file.
    pub(crate) fn open(args: &ModelArgs) -> Result<Self, CommandError> {
        let path = &args.model;
        let (files, mut config) = if let Some(model) = open_gguf(path)? {
            let config = model.config.clone();
            (Files::Gguf(Box::new(model)), config)
        } else {
            let checkpoint = open_checkpoint(path, None)?;
            let config = checkpoint.config().clone();
            (Files::Checkpoint(Box::new(checkpoint)), config)
        };
        if let Some(theta) = args.rope_theta {
            if !(theta > 0.0 && theta.is_finite()) {
                let what = anyhow!("--rope-theta is {theta}, expected more than 0");
                return Err(CommandError::usage(what));
            }
            config.rope_theta = theta;
        }
        let eos_token_ids = match generation_eos(path)? {
            Some(ids) => ids,
            None => config.eos_token_ids.clone(),
        };
        Ok(Self {
            path: path.clone(),
            files,
            config,
            eos_token_ids,
        })
    }

    /// Returns the model's numbers.
    pub(crate) fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Returns the model's tensors.
    pub(crate) fn source(&self) -> &dyn TensorSource {
        match &self.files {
            Files::Checkpoint(checkpoint) => checkpoint.source(),
            Files::Gguf(model) => model.as_ref(),
        }
    }

    /// Returns the tokens that end a text: those of `generation_config.json`, else those of `config.json`.
    pub(crate) fn eos_token_ids(&self) -> &[u32] {
        &self.eos_token_ids
    }

    /// Returns the tokenizer given, the one that stands with the model, or the one in a GGUF file.
    pub(crate) fn tokenizer(
        &self,
        given: Option<&Path>,
    ) -> Result<Option<Tokenizer>, CommandError> {
        let beside = given
            .map(Path::to_owned)
            .or_else(|| find_tokenizer(&self.path));
        if let Some(path) = beside {
            return load_tokenizer(&path).map(Some);
        }
        let Files::Gguf(model) = &self.files else {
            return Ok(None);
        };
        let unusable = |error: anyhow::Error| {
            let path = self.path.display();
            CommandError::input(error.context(format!("the tokenizer in `{path}` can't be used")))
                .hint("give the model's tokenizer.json with --tokenizer")
        };
        let json = model
            .tokenizer_json()
            .map_err(|error| unusable(error.into()))?;
        json.map(|json| {
            Tokenizer::from_bytes(json.as_bytes()).map_err(|error| unusable(error.into()))
        })
        .transpose()
    }

    /// Returns the chat template in a GGUF file.
    pub(crate) fn chat_template(&self) -> Option<&str> {
        match &self.files {
            Files::Gguf(model) => model
                .texts
                .get("tokenizer.chat_template")
                .map(String::as_str),
            Files::Checkpoint(_) => None,
        }
    }

    /// Adds to an error about logits which weights are broken.
    pub(crate) fn explain(&self, error: CommandError) -> CommandError {
        let cause = error.cause::<GenerateError>();
        if !matches!(cause, Some(GenerateError::NonFinite { .. })) {
            return error;
        }
        match find_non_finite(self.source()).as_deref() {
            Ok([first, rest @ ..]) => {
                let others = match rest.len() {
                    0 => String::new(),
                    more => format!(", and {more} more tensors hold some"),
                };
                error.hint(format!(
                    "tensor `{}` in `{}` holds {} values that are NaN or infinite{others}; get the file again, or \
                     convert the checkpoint again with --verify",
                    first.name,
                    self.path.display(),
                    first.count
                ))
            }
            Ok([]) => error.hint(
                "every weight is a number: numbers grow too large on the way; try --dtype f32",
            ),
            Err(_) => error,
        }
    }

    /// Returns what the model is, where something says so.
    pub(crate) fn ledger(&self) -> Result<Option<Ledger>, CommandError> {
        match &self.files {
            Files::Checkpoint(checkpoint) => {
                papers::ledger_of_checkpoint(checkpoint, None).map(Some)
            }
            Files::Gguf(model) => papers::ledger_of_texts(&model.texts, &self.path),
        }
    }
}

/// Reads `eos_token_id` from the `generation_config.json` of a model folder: an id, a list, or nothing.
fn generation_eos(model: &Path) -> Result<Option<Vec<u32>>, CommandError> {
    let path = model.join("generation_config.json");
    let Ok(bytes) = std::fs::read(&path) else {
        return Ok(None);
    };
    let bad = |what: &str| CommandError::input(anyhow!("`{}`: {what}", path.display()));
    let value: serde_json::Value =
        serde_json::from_slice(&bytes).map_err(|_| bad("not valid JSON"))?;
    let id = |value: &serde_json::Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
    let ids = match value.get("eos_token_id") {
        None | Some(serde_json::Value::Null) => return Ok(None),
        Some(serde_json::Value::Array(list)) => list.iter().map(id).collect::<Option<Vec<_>>>(),
        Some(one) => id(one).map(|id| vec![id]),
    };
    ids.map(Some)
        .ok_or_else(|| bad("`eos_token_id` is neither a token id nor a list of them"))
}
