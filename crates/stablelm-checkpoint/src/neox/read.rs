//! A GPT-NeoX checkpoint as a source of tensors: files opened, names placed, sizes held against each other.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use stablelm_model::{
    Dtype, ModelConfig, NeoxSettings, NeoxSizes, TensorInfo, TensorSource, TensorSourceError,
};

use crate::mapped::MappedFile;
use crate::neox::discover::{NeoxLayout, StepFiles, layer_file_name, rank_file_name};
use crate::neox::names::{
    MlpNaming, NeoxTensor, Slot, full_name, head_module, layer_module, layout, norm_module,
    reason_to_drop,
};
use crate::neox::partitions::{Extent, Rule, merge};
use crate::neox::pickle::{Pickle, TensorView};
use crate::neox::torch_file::{TorchFile, TorchFileError};
use crate::open::OpenError;

/// Why a tensor of a GPT-NeoX checkpoint could not be put together.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NeoxReadError {
    /// The file is damaged.
    #[error("failed to read `{tensor}` from `{}`", path.display())]
    File {
        /// The tensor's name in GPT-NeoX.
        tensor: String,
        /// The file.
        path: PathBuf,
        /// What the reader says.
        #[source]
        source: Box<TorchFileError>,
    },
    /// Ranks hold different copies of what must be one tensor.
    #[error(
        "`{tensor}` is replicated over ranks but differs between `{}` and `{}`, expected equal bytes",
        first.display(),
        other.display()
    )]
    ReplicasDiffer {
        /// The tensor's name in GPT-NeoX.
        tensor: String,
        /// Rank 0's file.
        first: PathBuf,
        /// The file that differs.
        other: PathBuf,
    },
}

/// Every tensor of one saved step.
#[derive(Debug)]
pub(crate) struct NeoxSource {
    files: Vec<TorchFile>,
    /// Tensors that carry parameters, each with its ranks.
    tensors: Vec<(NeoxTensor, Vec<Located>)>,
    /// Index of a tensor and of the slot in it.
    by_parameter: BTreeMap<String, (usize, usize)>,
    unplaced: Vec<Unplaced>,
}

/// Where one rank's tensor lies.
#[derive(Clone, Debug)]
struct Located {
    file: usize,
    view: TensorView,
}

/// A stored tensor that the model has no place for.
#[derive(Debug)]
pub(crate) struct Unplaced {
    /// Module number and key.
    pub(crate) name: String,
    pub(crate) key: String,
    pub(crate) path: PathBuf,
    /// Why it may be left out unasked, if it may.
    pub(crate) reason: Option<&'static str>,
    ranks: Vec<Located>,
}

/// A checkpoint that was opened, and what was learned on the way.
pub(crate) struct Opened {
    pub(crate) source: NeoxSource,
    pub(crate) config: ModelConfig,
    pub(crate) files: Vec<PathBuf>,
    pub(crate) layout: NeoxLayout,
    pub(crate) num_ranks: usize,
    pub(crate) naming: MlpNaming,
    pub(crate) step: Option<u64>,
}

/// Opens a folder that holds one saved step.
pub(crate) fn open(folder: &Path, neox_config: Option<&Path>) -> Result<Opened, OpenError> {
    let files = StepFiles::list(folder).map_err(|source| OpenError::io(folder, source))?;
    let config_files = match neox_config {
        Some(path) => vec![path.to_owned()],
        None => files.configs.clone(),
    };
    let settings = read_settings(folder, &config_files)?;
    let num_ranks = num_ranks(folder, &files, &settings)?;

    let mut reader = Reader::default();
    let mut state = RankState::default();
    for path in files.ranks.values() {
        let found = reader.rank_file(path, files.layout(), &mut state)?;
        state.step = state.step.or(found);
    }
    if files.layout() == NeoxLayout::Layers {
        for (&(module, _), path) in &files.layers {
            reader.layer_file(path, module)?;
        }
    }
    let mut read_files: Vec<PathBuf> = files.layers.values().cloned().collect();
    read_files.extend(files.ranks.values().cloned());
    read_files.extend(config_files);

    let placer = Placer {
        folder,
        layout: files.layout(),
        settings: &settings,
        num_ranks,
        state: &state,
    };
    let (source, config, naming) = placer.place(reader)?;
    Ok(Opened {
        source,
        config,
        files: read_files,
        layout: files.layout(),
        num_ranks,
        naming,
        step: state.step.or(files.step),
    })
}

fn read_settings(folder: &Path, paths: &[PathBuf]) -> Result<NeoxSettings, OpenError> {
    let Some(last) = paths.last() else {
        return Err(OpenError::NoNeoxConfig {
            folder: folder.to_owned(),
        });
    };
    let read = |path: &PathBuf| fs::read_to_string(path).map_err(|e| OpenError::io(path, e));
    let texts = paths.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    NeoxSettings::parse(&texts).map_err(|source| OpenError::Config {
        path: last.clone(),
        source,
    })
}

/// Counts the tensor-parallel ranks and makes sure that no file of any is missing.
fn num_ranks(
    folder: &Path,
    files: &StepFiles,
    settings: &NeoxSettings,
) -> Result<usize, OpenError> {
    let highest = files.weight_ranks().last().copied().unwrap_or(0);
    let num_ranks = (highest + 1).max(settings.model_parallel_size);
    let missing = |name: String| OpenError::MissingFile {
        path: folder.join(name),
    };
    match files.layout() {
        NeoxLayout::Layers => {
            let modules: BTreeSet<usize> = files.layers.keys().map(|&(module, _)| module).collect();
            for module in modules {
                for rank in 0..num_ranks {
                    if !files.layers.contains_key(&(module, rank)) {
                        return Err(missing(layer_file_name(module, rank)));
                    }
                }
            }
        }
        NeoxLayout::Single => {
            for rank in 0..num_ranks {
                if !files.ranks.contains_key(&rank) {
                    return Err(missing(rank_file_name(rank)));
                }
            }
        }
    }
    Ok(num_ranks)
}

/// What `mp_rank` files tell besides weights.
#[derive(Debug, Default)]
struct RankState {
    step: Option<u64>,
    padded_vocab_size: Option<usize>,
    model_parallel_size: Option<usize>,
}

impl RankState {
    fn read(&mut self, pickle: &Pickle<'_>) -> Option<u64> {
        let get = |dict, key| pickle.get(dict, key);
        if let Some(arguments) = get(pickle.root(), "args") {
            let size = |key| get(arguments, key).and_then(|id| pickle.size(id));
            self.padded_vocab_size = self.padded_vocab_size.or(size("padded_vocab_size"));
            self.model_parallel_size = self.model_parallel_size.or(size("model_parallel_size"));
        }
        let step = get(pickle.root(), "iteration").or_else(|| get(pickle.root(), "global_steps"));
        step.and_then(|id| pickle.size(id)).map(|step| step as u64)
    }
}

/// Files opened so far and the tensors found in them, by module and key, one for each rank in turn.
#[derive(Default)]
struct Reader {
    files: Vec<TorchFile>,
    found: BTreeMap<(usize, String), Vec<Located>>,
    /// Names of another kind, in the layout of one file a rank.
    foreign: Vec<(String, Located)>,
}

impl Reader {
    fn layer_file(&mut self, path: &Path, module: usize) -> Result<(), OpenError> {
        let file = open_torch_file(path)?;
        let tensors = {
            let pickle = file.pickle().map_err(|e| OpenError::torch_file(path, e))?;
            file.tensors(&pickle, pickle.root())
                .map_err(|e| OpenError::torch_file(path, e))?
        };
        let index = self.files.len();
        self.files.push(file);
        for (key, view) in tensors {
            let located = Located { file: index, view };
            self.found.entry((module, key)).or_default().push(located);
        }
        Ok(())
    }

    /// Reads a rank's file and returns the step it names.
    fn rank_file(
        &mut self,
        path: &Path,
        layout: NeoxLayout,
        state: &mut RankState,
    ) -> Result<Option<u64>, OpenError> {
        let file = open_torch_file(path)?;
        let failed = |error| OpenError::torch_file(path, error);
        let (step, tensors) = {
            let pickle = file.pickle().map_err(failed)?;
            let step = state.read(&pickle);
            if layout == NeoxLayout::Layers {
                return Ok(step);
            }
            let module = pickle.get(pickle.root(), "module");
            let module = module.filter(|&id| pickle.entries(id).is_some());
            let module = module.ok_or(failed(TorchFileError::Content {
                expected: "weights under `module`, and there are no layer files beside it",
            }))?;
            (step, file.tensors(&pickle, module).map_err(failed)?)
        };
        let index = self.files.len();
        self.files.push(file);
        for (name, view) in tensors {
            let located = Located { file: index, view };
            match sequential_name(&name) {
                Some(place) => self.found.entry(place).or_default().push(located),
                None => self.foreign.push((name, located)),
            }
        }
        Ok(step)
    }
}

fn open_torch_file(path: &Path) -> Result<TorchFile, OpenError> {
    let mapped = MappedFile::open(path).map_err(|source| OpenError::io(path, source))?;
    TorchFile::new(path, mapped).map_err(|source| OpenError::torch_file(path, source))
}

/// Reads `sequential.{module}.{key}`.
fn sequential_name(name: &str) -> Option<(usize, String)> {
    let (module, key) = name.strip_prefix("sequential.")?.split_once('.')?;
    Some((module.parse().ok()?, key.to_owned()))
}

/// Gives every tensor found its place in the model.
struct Placer<'a> {
    folder: &'a Path,
    layout: NeoxLayout,
    settings: &'a NeoxSettings,
    num_ranks: usize,
    state: &'a RankState,
}

impl Placer<'_> {
    fn place(&self, reader: Reader) -> Result<(NeoxSource, ModelConfig, MlpNaming), OpenError> {
        let Reader {
            files,
            mut found,
            foreign,
        } = reader;
        self.check_counts(&found)?;
        let (sizes, naming) = self.sizes(&found)?;
        let config_error = |source| OpenError::Config {
            path: self.folder.to_owned(),
            source,
        };
        let config = self.settings.model_config(sizes).map_err(config_error)?;
        let expected =
            layout(&config, naming, self.num_ranks).map_err(|error| OpenError::NotDivisible {
                key: error.key,
                value: error.value,
                num_ranks: self.num_ranks,
            })?;
        let mut tensors = Vec::with_capacity(expected.len());
        let mut by_parameter = BTreeMap::new();
        for tensor in expected {
            if tensor.slots.is_empty() {
                continue;
            }
            let place = (tensor.module, tensor.key.clone());
            let Some(ranks) = found.remove(&place) else {
                return Err(self.missing(tensor.module, &tensor.key));
            };
            self.check_ranks(&tensor, &ranks, &files)?;
            for (nth, slot) in tensor.slots.iter().enumerate() {
                by_parameter.insert(slot.parameter.clone(), (tensors.len(), nth));
            }
            tensors.push((tensor, ranks));
        }
        let unplaced = |(name, key, ranks): (String, String, Vec<Located>)| Unplaced {
            path: files[ranks[0].file].path().to_owned(),
            reason: reason_to_drop(&config, &key),
            name,
            key,
            ranks,
        };
        let numbered = found.into_iter().map(|((module, key), ranks)| {
            let name = full_name(module, &key);
            (name, key, ranks)
        });
        let foreign = foreign
            .into_iter()
            .map(|(name, located)| (name.clone(), name, vec![located]));
        let unplaced = numbered.chain(foreign).map(unplaced).collect();
        let source = NeoxSource {
            files,
            tensors,
            by_parameter,
            unplaced,
        };
        Ok((source, config, naming))
    }

    /// Compares the numbers of layers and ranks with what the configuration and the saved arguments say.
    fn check_counts(&self, found: &Found) -> Result<(), OpenError> {
        let attention = |key: &str| key == "attention.query_key_value.weight";
        let num_layers = found.keys().filter(|(_, key)| attention(key)).count();
        let expected = self.settings.num_layers;
        if num_layers != expected {
            // A gap between layers is a lost file; layers missing at the end may as well be a wrong number.
            let modules: BTreeSet<usize> = found
                .keys()
                .filter(|(_, key)| attention(key))
                .map(|&(module, _)| module)
                .collect();
            let last = modules.last().copied().unwrap_or(0);
            let gap = (layer_module(0)..last).find(|module| !modules.contains(module));
            if let (Some(module), NeoxLayout::Layers) = (gap, self.layout) {
                return Err(OpenError::MissingFile {
                    path: self.folder.join(layer_file_name(module, 0)),
                });
            }
            return Err(OpenError::Count {
                key: "num_layers",
                expected,
                found: num_layers,
            });
        }
        match self.state.model_parallel_size {
            Some(expected) if expected != self.num_ranks => Err(OpenError::Count {
                key: "model_parallel_size",
                expected,
                found: self.num_ranks,
            }),
            _ => Ok(()),
        }
    }

    /// Takes the sizes from the tensors: a configuration only implies them, and differently in each generation.
    fn sizes(&self, found: &Found) -> Result<(NeoxSizes, MlpNaming), OpenError> {
        let first = layer_module(0);
        let get = |module: usize, key: &str| found.get(&(module, key.to_owned()));
        let rows = |ranks: &Vec<Located>| {
            ranks
                .iter()
                .filter_map(|rank| rank.view.shape.first())
                .max()
                .copied()
                .unwrap_or(0)
        };
        let naming = MlpNaming::detect(|key| get(first, key).is_some())
            .ok_or_else(|| self.missing(first, "mlp.linear2.weight"))?;
        let up = format!("mlp.{}.weight", naming.up());
        let up = get(first, &up).ok_or_else(|| self.missing(first, &up))?;
        let down = format!("mlp.{}.weight", naming.down());
        let down = get(first, &down).ok_or_else(|| self.missing(first, &down))?;
        let width = down[0].view.shape.get(1).copied().unwrap_or(0);
        let embedding = "word_embeddings.weight";
        let embedding = get(0, embedding).ok_or_else(|| self.missing(0, embedding))?;
        let sizes = NeoxSizes {
            intermediate_size: width.saturating_mul(self.num_ranks),
            padded_vocab_size: self
                .state
                .padded_vocab_size
                .unwrap_or_else(|| rows(embedding).saturating_mul(self.num_ranks)),
            use_qkv_bias: get(first, "attention.query_key_value.bias").is_some(),
            gated_mlp: naming == MlpNaming::W1W2W3 || rows(up) == width.saturating_mul(2),
            tied: !self.settings.no_weight_tying
                && get(head_module(self.settings.num_layers), "final_linear.weight").is_none(),
        };
        Ok((sizes, naming))
    }

    fn missing(&self, module: usize, key: &str) -> OpenError {
        let name = match self.layout {
            NeoxLayout::Layers => layer_file_name(module, 0),
            NeoxLayout::Single => rank_file_name(0),
        };
        let path = self.folder.join(name);
        let is_whole_file = module == 0
            || module == norm_module(self.settings.num_layers)
            || module == head_module(self.settings.num_layers);
        if self.layout == NeoxLayout::Layers && is_whole_file && !path.exists() {
            return OpenError::MissingFile { path };
        }
        OpenError::MissingTensor {
            tensor: full_name(module, key),
            path,
        }
    }

    fn check_ranks(
        &self,
        tensor: &NeoxTensor,
        ranks: &[Located],
        files: &[TorchFile],
    ) -> Result<(), OpenError> {
        if ranks.len() != self.num_ranks {
            let holders: BTreeSet<usize> = ranks.iter().map(|rank| rank.file).collect();
            let without = (0..self.num_ranks)
                .map(|rank| match self.layout {
                    NeoxLayout::Layers => self.folder.join(layer_file_name(tensor.module, rank)),
                    NeoxLayout::Single => self.folder.join(rank_file_name(rank)),
                })
                .find(|path| !holders.iter().any(|&file| files[file].path() == path));
            return Err(OpenError::MissingTensor {
                tensor: tensor.full_name(),
                path: without.unwrap_or_else(|| self.folder.to_owned()),
            });
        }
        for rank in ranks {
            let view = &rank.view;
            let path = || files[rank.file].path().to_owned();
            if view.shape != tensor.shape {
                return Err(OpenError::Shape {
                    tensor: tensor.full_name(),
                    path: path(),
                    expected: tensor.shape.clone(),
                    found: view.shape.clone(),
                });
            }
            if view.dtype != ranks[0].view.dtype || !view.dtype.is_float() {
                return Err(OpenError::TensorDtype {
                    tensor: tensor.full_name(),
                    path: path(),
                    expected: ranks[0].view.dtype,
                    found: view.dtype,
                });
            }
        }
        Ok(())
    }
}

type Found = BTreeMap<(usize, String), Vec<Located>>;

impl NeoxSource {
    pub(crate) fn unplaced(&self) -> &[Unplaced] {
        &self.unplaced
    }

    /// Returns whether a tensor without a place is a bias of zeros on every rank, which changes nothing when left out.
    pub(crate) fn is_zero_bias(&self, unplaced: &Unplaced) -> Result<bool, NeoxReadError> {
        if unplaced.key.rsplit('.').next() != Some("bias") {
            return Ok(false);
        }
        for rank in &unplaced.ranks {
            let bytes = self.read(&unplaced.name, rank)?;
            if bytes.iter().any(|&byte| byte != 0) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Compares all replicated tensors; they are small.
    pub(crate) fn check_replicas(&self) -> Result<(), NeoxReadError> {
        for (tensor, ranks) in &self.tensors {
            if tensor.rule == Rule::Replicated && ranks.len() > 1 {
                self.merge(tensor, ranks, &tensor.slots[0])?;
            }
        }
        Ok(())
    }

    /// Returns the file that holds rank 0's part of a parameter.
    pub(crate) fn file_of(&self, parameter: &str) -> Option<&Path> {
        let &(tensor, _) = self.by_parameter.get(parameter)?;
        Some(self.files[self.tensors[tensor].1[0].file].path())
    }

    /// Returns the only rank's file of a parameter, or `None` where several ranks hold it.
    fn mapped(&self, parameter: &str) -> Option<&MappedFile> {
        let &(tensor, _) = self.by_parameter.get(parameter)?;
        match self.tensors[tensor].1.as_slice() {
            [rank] => Some(self.files[rank.file].mapped()),
            _ => None,
        }
    }

    fn read(&self, name: &str, rank: &Located) -> Result<Cow<'_, [u8]>, NeoxReadError> {
        let file = &self.files[rank.file];
        file.read(&rank.view).map_err(|source| NeoxReadError::File {
            tensor: name.to_owned(),
            path: file.path().to_owned(),
            source: Box::new(source),
        })
    }

    fn merge(
        &self,
        tensor: &NeoxTensor,
        ranks: &[Located],
        slot: &Slot,
    ) -> Result<Cow<'_, [u8]>, NeoxReadError> {
        let name = tensor.full_name();
        let bytes = ranks
            .iter()
            .map(|rank| self.read(&name, rank))
            .collect::<Result<_, _>>()?;
        let extent = Extent {
            rows: tensor.rows(),
            columns: tensor.columns(),
            dtype: ranks[0].view.dtype,
        };
        merge(tensor.rule, extent, slot.pick, bytes).map_err(|error| {
            NeoxReadError::ReplicasDiffer {
                tensor: name,
                first: self.files[ranks[0].file].path().to_owned(),
                other: self.files[ranks[error.rank].file].path().to_owned(),
            }
        })
    }

    fn dtype(&self, tensor: usize) -> Dtype {
        self.tensors[tensor].1[0].view.dtype
    }
}

impl TensorSource for NeoxSource {
    fn names(&self) -> Vec<&str> {
        self.by_parameter.keys().map(String::as_str).collect()
    }

    fn info(&self, name: &str) -> Option<TensorInfo> {
        let &(tensor, slot) = self.by_parameter.get(name)?;
        Some(TensorInfo {
            dtype: self.dtype(tensor),
            shape: self.tensors[tensor].0.slots[slot].shape.clone(),
        })
    }

    fn bytes(&self, name: &str) -> Result<Cow<'_, [u8]>, TensorSourceError> {
        let Some(&(index, slot)) = self.by_parameter.get(name) else {
            return Err(TensorSourceError::Missing {
                name: name.to_owned(),
            });
        };
        let (tensor, ranks) = &self.tensors[index];
        self.merge(tensor, ranks, &tensor.slots[slot])
            .map_err(|error| TensorSourceError::read(name, error))
    }

    fn shared(&self, name: &str) -> Result<Bytes, TensorSourceError> {
        Ok(match (self.bytes(name)?, self.mapped(name)) {
            // Bytes of several ranks are put together, so borrowed ones are the only rank's.
            (Cow::Borrowed(bytes), Some(file)) => file.share(bytes),
            (bytes, _) => Bytes::from(bytes.into_owned()),
        })
    }

    fn release(&self, name: &str) {
        if let (Ok(Cow::Borrowed(bytes)), Some(file)) = (self.bytes(name), self.mapped(name)) {
            file.release(bytes);
        }
    }
}
