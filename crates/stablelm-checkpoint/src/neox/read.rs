//! A GPT-NeoX checkpoint as a source of tensors: files opened, names placed, sizes held against each other.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use stablelm_model::{
    Dtype, ModelConfig, NeoxSettings, NeoxSizes, TensorInfo, TensorSource, TensorSourceError,
};

use crate::mapped::MappedFile;
use crate::neox::discover::{NeoxLayout, StepFiles, layer_file_name, rank_file_name};
use crate::neox::masters;
use crate::neox::names::{
    MlpNaming, NeoxTensor, Slot, full_name, head_module, layer_module, layout, norm_module,
    reason_to_drop,
};
use crate::neox::partitions::{Extent, Rule, filled, merge};
use crate::neox::pickle::{Pickle, TensorView};
use crate::neox::torch_file::{TorchFile, TorchFileError, record_name};
use crate::open::{InputOptions, OpenError};
use crate::stored::{Chunks, Piece, Pieces, Placement, Stored, Tile, matrix};

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

impl NeoxReadError {
    /// Says which tensor was being read when a record of its file failed.
    pub(crate) fn named(self, name: &str) -> Self {
        match self {
            Self::File { path, source, .. } => Self::File {
                tensor: name.to_owned(),
                path,
                source,
            },
            other @ Self::ReplicasDiffer { .. } => other,
        }
    }
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
    /// The dtype of tensors that are in no file.
    dtype: Dtype,
}

/// Where one rank's tensor lies.
#[derive(Clone, Debug)]
pub(crate) struct Located {
    /// The file, or the first of them.
    pub(crate) file: usize,
    pub(crate) view: TensorView,
    pub(crate) stored: Arc<Stored>,
    /// Whether it is out of an optimizer's run of numbers.
    pub(crate) is_master: bool,
}

impl Located {
    fn new(file: usize, name: &str, view: TensorView) -> Self {
        let piece = Piece {
            file,
            record: record_name(&view),
            start: 0,
            num_elements: view.storage_len,
        };
        let stored = Arc::new(Stored {
            name: name.to_owned(),
            dtype: view.dtype,
            pieces: vec![piece],
        });
        Self {
            file,
            view,
            stored,
            is_master: false,
        }
    }

    /// A rectangle of this tensor: rows from `first` on and all columns, to be placed somewhere.
    fn tile(&self, first: usize, (rows, columns): (usize, usize), to: (usize, usize)) -> Tile {
        let stride = |nth: usize| self.view.strides.get(nth).copied().unwrap_or(1);
        Tile {
            stored: Arc::clone(&self.stored),
            row: to.0,
            column: to.1,
            rows,
            columns,
            start: self.view.offset + first * stride(0),
            row_stride: stride(0),
            column_stride: stride(1),
        }
    }
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
pub(crate) fn open(folder: &Path, options: &InputOptions) -> Result<Opened, OpenError> {
    let files = StepFiles::list(folder).map_err(|source| OpenError::io(folder, source))?;
    let config_files = match &options.neox_config {
        Some(path) => vec![path.clone()],
        None => files.configs.clone(),
    };
    let settings = read_settings(folder, &config_files)?;
    let mut reader = Reader::default();
    let mut state = RankState::default();
    let mut read_files: Vec<PathBuf>;
    let num_ranks = if options.master_weights {
        let size = settings.model_parallel_size;
        read_files = files.optimizers.values().cloned().collect();
        masters::read(folder, &files, size, &mut reader, &mut state)?
    } else {
        read_files = files.layers.values().cloned().collect();
        let num_ranks = num_ranks(folder, &files, &settings)?;
        for path in files.ranks.values() {
            let found = reader.rank_file(path, files.layout(), &mut state)?;
            state.step = state.step.or(found);
        }
        if files.layout() == NeoxLayout::Layers {
            for (&(module, _), path) in &files.layers {
                reader.layer_file(path, module)?;
            }
        }
        num_ranks
    };
    read_files.extend(files.ranks.values().cloned());
    read_files.extend(config_files);
    if let Some(path) = &options.key_map {
        reader.rename(&read_key_map(path)?);
    }

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

/// Reads a JSON object of the names in the files to the names that are known here.
fn read_key_map(path: &Path) -> Result<BTreeMap<String, String>, OpenError> {
    let bytes = fs::read(path).map_err(|source| OpenError::io(path, source))?;
    serde_json::from_slice(&bytes).map_err(|source| OpenError::KeyMap {
        path: path.to_owned(),
        source,
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
pub(crate) struct RankState {
    pub(crate) step: Option<u64>,
    padded_vocab_size: Option<usize>,
    pub(crate) model_parallel_size: Option<usize>,
}

impl RankState {
    pub(crate) fn read(&mut self, pickle: &Pickle<'_>) -> Option<u64> {
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
pub(crate) struct Reader {
    pub(crate) files: Vec<TorchFile>,
    pub(crate) found: BTreeMap<(usize, String), Vec<Located>>,
    /// Names of another kind, in the layout of one file a rank.
    pub(crate) foreign: Vec<(String, Located)>,
}

impl Reader {
    /// Gives tensors other names, by a list of the user's.
    fn rename(&mut self, names: &BTreeMap<String, String>) {
        let found = std::mem::take(&mut self.found).into_iter();
        let (mapped, rest): (Vec<_>, Vec<_>) =
            found.partition(|((_, key), _)| names.contains_key(key));
        self.found = rest.into_iter().collect();
        for ((module, key), ranks) in mapped {
            let place = (module, names[&key].clone());
            // Where two tensors would have one name, one of them stays without a place.
            let free = !self.found.contains_key(&place);
            let place = if free { place } else { (module, key) };
            self.found.insert(place, ranks);
        }
    }

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
            let located = Located::new(index, &full_name(module, &key), view);
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
            let located = Located::new(index, &name, view);
            match sequential_name(&name) {
                Some(place) => self.found.entry(place).or_default().push(located),
                None => self.foreign.push((name, located)),
            }
        }
        Ok(step)
    }
}

pub(crate) fn open_torch_file(path: &Path) -> Result<TorchFile, OpenError> {
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
        let fills = AbsentNorms::of(&found);
        let mut tensors = Vec::with_capacity(expected.len());
        let mut by_parameter = BTreeMap::new();
        for tensor in expected {
            if tensor.slots.is_empty() {
                continue;
            }
            let place = (tensor.module, tensor.key.clone());
            let (tensor, ranks) = match (found.remove(&place), fills.value_for(&tensor.key)) {
                (Some(ranks), _) => {
                    self.check_ranks(&tensor, &ranks, &files)?;
                    (tensor, ranks)
                }
                (None, Some(value)) => {
                    let rule = Rule::Filled(value);
                    (NeoxTensor { rule, ..tensor }, Vec::new())
                }
                (None, None) => return Err(self.missing(tensor.module, &tensor.key)),
            };
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
        let ranks = tensors.iter().find_map(|(_, ranks)| ranks.first());
        let source = NeoxSource {
            dtype: ranks.map_or(Dtype::F32, |rank| rank.view.dtype),
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

/// Parts that no normalization of a model has: `use_bias_in_norms: false` leaves them out, and then a weight counts as
/// one and a bias as zero.
struct AbsentNorms {
    weights: bool,
    biases: bool,
}

impl AbsentNorms {
    fn of(found: &Found) -> Self {
        let absent = |part: &str| {
            let is_norm = |key: &String| norm_part(key) == Some(part);
            !found.keys().any(|(_, key)| is_norm(key))
        };
        Self {
            weights: absent("weight"),
            biases: absent("bias"),
        }
    }

    fn value_for(&self, key: &str) -> Option<f32> {
        match norm_part(key)? {
            "weight" => self.weights.then_some(1.0),
            "bias" => self.biases.then_some(0.0),
            _ => None,
        }
    }
}

/// Returns which part of a normalization a tensor is, if it is one.
fn norm_part(key: &str) -> Option<&str> {
    let (norm, part) = key.rsplit_once('.')?;
    let norms = ["input_layernorm", "post_attention_layernorm", "norm"];
    norms.contains(&norm).then_some(part)
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
        let rank = self.tensors[tensor].1.first()?;
        Some(self.files[rank.file].path())
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
        let failed = |file: &TorchFile, source| NeoxReadError::File {
            tensor: name.to_owned(),
            path: file.path().to_owned(),
            source: Box::new(source),
        };
        if !rank.is_master {
            let file = &self.files[rank.file];
            return file.read(&rank.view).map_err(|error| failed(file, error));
        }
        let num_elements = rank.view.shape.iter().product();
        let run = Tile {
            row_stride: 1,
            ..rank.tile(0, (num_elements, 1), (0, 0))
        };
        let mut output = Vec::with_capacity(num_elements * rank.view.dtype.width());
        let mut buffer = Vec::new();
        let tiles = [run];
        let mut chunks = Chunks::new(self, &tiles, (num_elements, 1), rank.view.dtype);
        while let Some(bytes) = chunks.next(&mut buffer)? {
            output.extend_from_slice(&bytes);
        }
        Ok(Cow::Owned(output))
    }

    /// Returns where a parameter's elements are, or that they have to be added up.
    pub(crate) fn placement(&self, parameter: &str) -> Option<Placement> {
        let &(index, slot) = self.by_parameter.get(parameter)?;
        let (tensor, ranks) = &self.tensors[index];
        let pick = tensor.slots[slot].pick;
        let columns = tensor.columns();
        let whole = (tensor.rows(), columns);
        let tiles = match tensor.rule {
            Rule::Summed if ranks.len() > 1 => return Some(Placement::Computed),
            Rule::Rows => {
                let tiles = ranks.iter().enumerate().flat_map(|(nth, rank)| {
                    let before = nth * pick.num_rows();
                    pick.starts().enumerate().map(move |(turn, start)| {
                        rank.tile(start, (pick.len, columns), (before + turn * pick.len, 0))
                    })
                });
                tiles.collect()
            }
            Rule::Columns => {
                let tiles = ranks.iter().enumerate();
                tiles
                    .map(|(nth, rank)| rank.tile(0, whole, (0, nth * columns)))
                    .collect()
            }
            Rule::Filled(_) => return Some(Placement::Computed),
            Rule::Replicated | Rule::Summed => {
                vec![ranks[0].tile(0, whole, (0, 0))]
            }
        };
        Some(Placement::Tiles(tiles))
    }

    /// Returns the name and number of elements of every tensor that parameters are taken from, rank by rank.
    pub(crate) fn stored(&self) -> impl Iterator<Item = (&NeoxTensor, &Located)> {
        let tensors = self.tensors.iter();
        tensors.flat_map(|(tensor, ranks)| ranks.iter().map(move |rank| (tensor, rank)))
    }

    pub(crate) fn path_of(&self, file: usize) -> &Path {
        self.files[file].path()
    }

    fn merge(
        &self,
        tensor: &NeoxTensor,
        ranks: &[Located],
        slot: &Slot,
    ) -> Result<Cow<'_, [u8]>, NeoxReadError> {
        let name = tensor.full_name();
        if let Rule::Filled(value) = tensor.rule {
            let extent = Extent {
                rows: tensor.rows(),
                columns: tensor.columns(),
                dtype: self.dtype,
            };
            return Ok(Cow::Owned(filled(value, extent)));
        }
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
        let rank = self.tensors[tensor].1.first();
        rank.map_or(self.dtype, |rank| rank.view.dtype)
    }
}

impl Pieces for NeoxSource {
    fn piece(&self, piece: &Piece, end: usize) -> Result<&[u8], NeoxReadError> {
        let file = &self.files[piece.file];
        let bytes = file.record_for(&piece.record, piece.start.saturating_add(end));
        let bytes = bytes.map_err(|source| NeoxReadError::File {
            tensor: piece.record.clone(),
            path: file.path().to_owned(),
            source: Box::new(source),
        })?;
        Ok(&bytes[piece.start.min(bytes.len())..])
    }

    fn release(&self, file: usize, part: &[u8]) {
        self.files[file].mapped().release(part);
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

    fn rows(&self, name: &str, rows: Range<usize>) -> Result<Cow<'_, [u8]>, TensorSourceError> {
        let info = self.info(name);
        let (Some(info), Some(Placement::Tiles(tiles))) = (info, self.placement(name)) else {
            // Only vectors are computed.
            let bytes = self.bytes(name)?;
            let width = self.info(name).map_or(1, |info| info.dtype.width());
            let range = rows.start * width..rows.end * width;
            return Ok(Cow::Owned(bytes[range].to_vec()));
        };
        let extent = matrix(&info.shape);
        let mut output = Vec::with_capacity(rows.len() * extent.1 * info.dtype.width());
        let mut buffer = Vec::new();
        let mut chunks = Chunks::new(self, &tiles, extent, info.dtype).of_rows(rows);
        while let Some(bytes) = chunks
            .next(&mut buffer)
            .map_err(|error| TensorSourceError::read(name, error))?
        {
            output.extend_from_slice(&bytes);
        }
        Ok(Cow::Owned(output))
    }

    fn shared(&self, name: &str) -> Result<Bytes, TensorSourceError> {
        Ok(match (self.bytes(name)?, self.mapped(name)) {
            // Bytes of several ranks are put together, so borrowed ones are the only rank's.
            (Cow::Borrowed(bytes), Some(file)) => file.share(bytes),
            (bytes, _) => Bytes::from(bytes.into_owned()),
        })
    }

    fn release(&self, name: &str) {
        // What several ranks hold would have to be put together first, in memory.
        let Some(file) = self.mapped(name) else {
            return;
        };
        if let Ok(Cow::Borrowed(bytes)) = self.bytes(name) {
            file.release(bytes);
        }
    }
}
