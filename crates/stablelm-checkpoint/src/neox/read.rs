//! A GPT-NeoX checkpoint read: files opened, and what is in them named.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use stablelm_model::{ModelConfig, NeoxSettings};

use crate::mapped::MappedFile;
use crate::neox::discover::{NeoxLayout, StepFiles, layer_file_name, rank_file_name};
use crate::neox::masters;
use crate::neox::names::{MlpNaming, full_name};
use crate::neox::pickle::Pickle;
use crate::neox::place::Placer;
use crate::neox::source::{Located, NeoxSource};
use crate::neox::torch_file::{TorchFile, TorchFileError};
use crate::open::{InputOptions, OpenError};

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
    pub(super) padded_vocab_size: Option<usize>,
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
