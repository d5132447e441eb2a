//! Finds out what a path holds and opens it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};
use stablelm_model::{ConfigError, Dtype, ModelConfig, TensorSource, parameters};

use crate::neox::discover::{StepFiles, optimizer_place, plain_name};
use crate::neox::names::MlpNaming;
use crate::neox::read as neox_read;
use crate::neox::source::NeoxSource;
use crate::neox::torch_file::TorchFileError;
use crate::safetensors::index::{INDEX_FILE, IndexError, SINGLE_FILE};
use crate::safetensors::read::{SafetensorsError, SafetensorsSource};
use crate::stored::{Pieces, Placement};

/// What [`open`] needs besides the path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenOptions {
    /// A GPT-NeoX configuration to use in place of those in the checkpoint.
    pub neox_config: Option<PathBuf>,
}

/// What [`open_input`] needs besides the path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InputOptions {
    /// A GPT-NeoX configuration to use in place of those in the checkpoint.
    pub neox_config: Option<PathBuf>,
    /// Whether to take the weights that GPT-NeoX's optimizer holds in fp32, not their copies in the model.
    pub master_weights: bool,
    /// A JSON object that gives the names of tensors in GPT-NeoX's files, without the layer's number, those that are
    /// known here: `{"mlp.up_gate.weight": "mlp.linear1.weight"}`.
    pub key_map: Option<PathBuf>,
}

/// The kinds of checkpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Format {
    /// PyTorch files of GPT-NeoX.
    Neox,
    /// Safetensors under the names of Hugging Face transformers.
    Safetensors,
}

impl Format {
    /// Returns the name on our command line and in our JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Neox => "neox",
            Self::Safetensors => "safetensors",
        }
    }
}

/// How a checkpoint is stored, beyond its format.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Details {
    /// `layers` or `single` for GPT-NeoX, `file` or `sharded` for safetensors.
    pub layout: &'static str,
    /// Number of tensor-parallel ranks; 1 for safetensors.
    pub tensor_parallel: usize,
    /// The training step, where it is known.
    pub step: Option<u64>,
    /// The names of the MLP's matrices, for GPT-NeoX.
    pub naming: Option<MlpNaming>,
    /// Number of tensors of each dtype.
    #[serde(serialize_with = "by_name")]
    pub dtypes: BTreeMap<Dtype, usize>,
}

pub(crate) fn by_name<S: Serializer>(
    dtypes: &BTreeMap<Dtype, usize>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(dtypes.iter().map(|(dtype, count)| (dtype.as_str(), count)))
}

/// An open checkpoint: its configuration is known, and every tensor has its place and size checked against it.
#[derive(Debug)]
pub struct Checkpoint {
    root: PathBuf,
    config: ModelConfig,
    source: Source,
    files: Vec<PathBuf>,
    details: Details,
    dtype: Option<Dtype>,
}

#[derive(Debug)]
enum Source {
    Neox(NeoxSource),
    Safetensors(SafetensorsSource),
}

impl Checkpoint {
    /// Returns the kind of files.
    pub fn format(&self) -> Format {
        match self.source {
            Source::Neox(_) => Format::Neox,
            Source::Safetensors(_) => Format::Safetensors,
        }
    }

    /// Returns the model's configuration.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Returns the tensors, under the names of Hugging Face transformers.
    pub fn source(&self) -> &dyn TensorSource {
        match &self.source {
            Source::Neox(source) => source,
            Source::Safetensors(source) => source,
        }
    }

    /// Returns every file that was opened: weights, then configuration.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Returns the `__metadata__` of safetensors files; empty for GPT-NeoX.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        static EMPTY: BTreeMap<String, String> = BTreeMap::new();
        match &self.source {
            Source::Neox(_) => &EMPTY,
            Source::Safetensors(source) => source.metadata(),
        }
    }

    /// Returns how the checkpoint is stored.
    pub fn details(&self) -> &Details {
        &self.details
    }

    /// Returns the dtype that most parameters have.
    pub fn dtype(&self) -> Option<Dtype> {
        self.dtype
    }

    /// Returns the path that was opened.
    pub fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn neox(&self) -> Option<&NeoxSource> {
        match &self.source {
            Source::Neox(source) => Some(source),
            Source::Safetensors(_) => None,
        }
    }

    /// Returns where a parameter's elements are stored.
    pub(crate) fn placement(&self, name: &str) -> Option<Placement> {
        match &self.source {
            Source::Neox(source) => source.placement(name),
            Source::Safetensors(source) => source.placement(name),
        }
    }

    /// Returns the bytes behind placements.
    pub(crate) fn pieces(&self) -> &dyn Pieces {
        match &self.source {
            Source::Neox(source) => source,
            Source::Safetensors(source) => source,
        }
    }

    /// Returns the file that a piece lies in.
    pub(crate) fn path_of(&self, file: usize) -> &Path {
        match &self.source {
            Source::Neox(source) => source.path_of(file),
            Source::Safetensors(source) => source.path_of(file),
        }
    }

    /// Returns the file that holds a tensor, or the first of its ranks.
    pub(crate) fn file_of(&self, name: &str) -> Option<&Path> {
        match &self.source {
            Source::Neox(source) => source.file_of(name),
            Source::Safetensors(source) => source.file_of(name),
        }
    }
}

/// Why a checkpoint could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// A file could not be read.
    #[error("failed to read `{}`", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file holds what the optimizer keeps.
    #[error(
        "`{}` holds the state of the optimizer, which is not converted; its fp32 weights can be taken from the folder it \
         is in",
        path.display()
    )]
    OptimizerState {
        /// The file.
        path: PathBuf,
    },
    /// There are no shards of an optimizer to take weights from.
    #[error(
        "`{}` holds no optimizer shards with fp32 weights (`zero_pp_rank_*_optim_states.pt`)",
        folder.display()
    )]
    NoMasterWeights {
        /// The folder of the saved step.
        folder: PathBuf,
    },
    /// The optimizer's shards don't have as many numbers as the parameters need.
    #[error(
        "the optimizer's fp32 weights end within `{tensor}`: `{}` lists parameters for more than the {found} numbers \
         there are",
        path.display()
    )]
    MasterLength {
        /// The file that lists the parameters.
        path: PathBuf,
        /// The first parameter that is not complete.
        tensor: String,
        /// Numbers in the group, padding included.
        found: usize,
    },
    /// Only GPT-NeoX checkpoints have weights with the optimizer, and names that can be mapped.
    #[error("`{}` is not a GPT-NeoX checkpoint, but {option} needs one", path.display())]
    NotNeox {
        /// The path.
        path: PathBuf,
        /// What was asked for.
        option: &'static str,
    },
    /// The list of names could not be read.
    #[error("`{}` is not a JSON object of names to names", path.display())]
    KeyMap {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The path holds nothing that looks like a checkpoint.
    #[error(
        "`{}` is not a checkpoint: expected a folder with `latest` or GPT-NeoX layer files, a folder with safetensors \
         files, or a .safetensors file",
        path.display()
    )]
    NotACheckpoint {
        /// The path.
        path: PathBuf,
    },
    /// `latest` does not hold the name of a folder beside it.
    #[error("`{}` names `{found}`, expected the plain name of a folder beside it", path.display())]
    LatestNotPlain {
        /// The file `latest`.
        path: PathBuf,
        /// Its content.
        found: String,
    },
    /// No GPT-NeoX configuration was found or given.
    #[error("found no GPT-NeoX configuration (`configs/*.yml`) in `{}`", folder.display())]
    NoNeoxConfig {
        /// The folder of the saved step.
        folder: PathBuf,
    },
    /// The configuration could not be used.
    #[error("failed to use the configuration of `{}`", path.display())]
    Config {
        /// The file, or the folder of the checkpoint.
        path: PathBuf,
        /// Why.
        #[source]
        source: ConfigError,
    },
    /// A file that should be there, going by the others, is not.
    #[error("`{}` is missing", path.display())]
    MissingFile {
        /// The file.
        path: PathBuf,
    },
    /// A tensor that the configuration calls for is not there.
    #[error("tensor `{tensor}` is missing from `{}`", path.display())]
    MissingTensor {
        /// The tensor, as the file would name it.
        tensor: String,
        /// The file where it should be.
        path: PathBuf,
    },
    /// A tensor has other sizes than the configuration calls for.
    #[error("tensor `{tensor}` in `{}` has shape {found:?}, expected {expected:?} by the configuration", path.display())]
    Shape {
        /// The tensor, as the file names it.
        tensor: String,
        /// The file.
        path: PathBuf,
        /// The sizes by the configuration.
        expected: Vec<usize>,
        /// The sizes in the file.
        found: Vec<usize>,
    },
    /// A tensor's ranks have different dtypes, or one that weights don't have.
    #[error("tensor `{tensor}` in `{}` has dtype {found}, expected {expected} as on the first rank, and a float", path.display())]
    TensorDtype {
        /// The tensor, as the file names it.
        tensor: String,
        /// The file.
        path: PathBuf,
        /// The first rank's dtype.
        expected: Dtype,
        /// This rank's dtype.
        found: Dtype,
    },
    /// Files and configuration disagree on a number.
    #[error("the files hold {found} by their names and tensors, but `{key}` is {expected}")]
    Count {
        /// The configuration's key.
        key: &'static str,
        /// What it says.
        expected: usize,
        /// What was found.
        found: usize,
    },
    /// A size of the model can't be spread over the ranks that are there.
    #[error("`{key}` = {value} is not a multiple of the {num_ranks} tensor-parallel ranks found")]
    NotDivisible {
        /// The size.
        key: &'static str,
        /// Its value.
        value: usize,
        /// The number of ranks.
        num_ranks: usize,
    },
    /// A PyTorch file could not be used.
    #[error("failed to read the PyTorch file `{}`", path.display())]
    TorchFile {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<TorchFileError>,
    },
    /// A safetensors file could not be used.
    #[error("failed to read the safetensors file `{}`", path.display())]
    Safetensors {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: SafetensorsError,
    },
    /// The index of shards could not be used.
    #[error("failed to read the index `{}`", path.display())]
    Index {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: IndexError,
    },
}

impl OpenError {
    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            source,
        }
    }

    pub(crate) fn torch_file(path: &Path, source: TorchFileError) -> Self {
        Self::TorchFile {
            path: path.to_owned(),
            source: Box::new(source),
        }
    }
}

/// Opens a checkpoint of any supported format: maps its files, reads their headers, and checks names and sizes.
///
/// No weight is read, and nothing that a file holds is executed.
pub fn open(path: &Path, options: &OpenOptions) -> Result<Checkpoint, OpenError> {
    let options = InputOptions {
        neox_config: options.neox_config.clone(),
        ..InputOptions::default()
    };
    open_input(path, &options)
}

/// Does what [`open`] does, with more to choose for GPT-NeoX.
pub fn open_input(path: &Path, options: &InputOptions) -> Result<Checkpoint, OpenError> {
    let checkpoint = open_any(path, options)?;
    let option = match options {
        InputOptions {
            master_weights: true,
            ..
        } => "taking the optimizer's weights",
        InputOptions {
            key_map: Some(_), ..
        } => "a list of names",
        _ => return Ok(checkpoint),
    };
    if checkpoint.format() == Format::Neox {
        return Ok(checkpoint);
    }
    Err(OpenError::NotNeox {
        path: path.to_owned(),
        option,
    })
}

fn open_any(path: &Path, options: &InputOptions) -> Result<Checkpoint, OpenError> {
    let metadata = fs::metadata(path).map_err(|source| OpenError::io(path, source))?;
    if metadata.is_file() {
        if path.extension().is_some_and(|end| end == "safetensors") {
            return open_safetensors(
                path,
                SafetensorsSource::open(&[path.to_owned()])?,
                path.parent(),
            );
        }
        let name = path.file_name().and_then(|name| name.to_str());
        let path = path.to_owned();
        return Err(match name.and_then(optimizer_place) {
            Some(_) => OpenError::OptimizerState { path },
            None => OpenError::NotACheckpoint { path },
        });
    }
    let latest = path.join("latest");
    if latest.is_file() {
        return open_neox(path, &step_folder(&latest)?, options);
    }
    for name in [SINGLE_FILE, INDEX_FILE] {
        let file = path.join(name);
        if file.is_file() {
            let source = match name {
                SINGLE_FILE => SafetensorsSource::open(&[file])?,
                _ => SafetensorsSource::open_index(&file)?,
            };
            return open_safetensors(path, source, Some(path));
        }
    }
    let files = StepFiles::list(path).map_err(|source| OpenError::io(path, source))?;
    if files.is_empty() {
        return Err(OpenError::NotACheckpoint {
            path: path.to_owned(),
        });
    }
    open_neox(path, path, options)
}

/// Follows `latest`, but never out of its folder.
fn step_folder(latest: &Path) -> Result<PathBuf, OpenError> {
    let text = fs::read_to_string(latest).map_err(|source| OpenError::io(latest, source))?;
    let name = text.trim_end_matches(['\n', '\r']);
    let folder = plain_name(name).and_then(|name| Some(latest.parent()?.join(name)));
    folder.ok_or_else(|| OpenError::LatestNotPlain {
        path: latest.to_owned(),
        found: name.to_owned(),
    })
}

fn open_neox(root: &Path, folder: &Path, options: &InputOptions) -> Result<Checkpoint, OpenError> {
    if !folder.is_dir() {
        return Err(OpenError::MissingFile {
            path: folder.to_owned(),
        });
    }
    let opened = neox_read::open(folder, options)?;
    let (dtypes, dtype) = count_dtypes(&opened.source);
    let mut config = opened.config;
    config.dtype = dtype;
    Ok(Checkpoint {
        root: root.to_owned(),
        config,
        source: Source::Neox(opened.source),
        files: opened.files,
        details: Details {
            layout: opened.layout.as_str(),
            tensor_parallel: opened.num_ranks,
            step: opened.step,
            naming: Some(opened.naming),
            dtypes,
        },
        dtype,
    })
}

fn open_safetensors(
    root: &Path,
    source: SafetensorsSource,
    folder: Option<&Path>,
) -> Result<Checkpoint, OpenError> {
    let config_path = folder.unwrap_or(Path::new("")).join("config.json");
    if !config_path.is_file() {
        return Err(OpenError::MissingFile { path: config_path });
    }
    let bytes = fs::read(&config_path).map_err(|error| OpenError::io(&config_path, error))?;
    let config = ModelConfig::from_config_json(&bytes).map_err(|error| OpenError::Config {
        path: config_path.clone(),
        source: error,
    })?;
    check_parameters(root, &config, &source)?;
    let (dtypes, dtype) = count_dtypes(&source);
    let mut files: Vec<PathBuf> = source.paths().cloned().collect();
    let layout = if files.len() == 1 { "file" } else { "sharded" };
    let index = root.join(INDEX_FILE);
    if layout == "sharded" && index.is_file() {
        files.push(index);
    }
    files.push(config_path);
    Ok(Checkpoint {
        root: root.to_owned(),
        config,
        source: Source::Safetensors(source),
        files,
        details: Details {
            layout,
            tensor_parallel: 1,
            step: None,
            naming: None,
            dtypes,
        },
        dtype,
    })
}

/// Makes sure that every parameter is there, with the sizes the configuration gives it.
fn check_parameters(
    root: &Path,
    config: &ModelConfig,
    source: &SafetensorsSource,
) -> Result<(), OpenError> {
    for parameter in parameters(config) {
        let Some(info) = source.info(&parameter.name) else {
            return Err(OpenError::MissingTensor {
                tensor: parameter.name,
                path: root.to_owned(),
            });
        };
        let path = source.file_of(&parameter.name).unwrap_or(root).to_owned();
        if info.shape != parameter.shape {
            return Err(OpenError::Shape {
                tensor: parameter.name,
                path,
                expected: parameter.shape,
                found: info.shape,
            });
        }
        if !info.dtype.is_float() {
            return Err(OpenError::TensorDtype {
                tensor: parameter.name,
                path,
                expected: config.dtype.unwrap_or(Dtype::F32),
                found: info.dtype,
            });
        }
    }
    Ok(())
}

/// Counts tensors by dtype and finds the one with the most elements.
fn count_dtypes(source: &dyn TensorSource) -> (BTreeMap<Dtype, usize>, Option<Dtype>) {
    let mut dtypes = BTreeMap::new();
    let mut num_elements: BTreeMap<Dtype, usize> = BTreeMap::new();
    for info in source
        .names()
        .into_iter()
        .filter_map(|name| source.info(name))
    {
        *dtypes.entry(info.dtype).or_insert(0) += 1;
        let total = num_elements.entry(info.dtype).or_insert(0);
        *total = total.saturating_add(info.num_elements().unwrap_or(0));
    }
    let most = num_elements.into_iter().max_by_key(|&(_, count)| count);
    (dtypes, most.map(|(dtype, _)| dtype))
}
