//! Every tensor that was found in its place in the model, and the sizes of all held against each other.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use stablelm_model::{Dtype, ModelConfig, NeoxSettings, NeoxSizes};

use crate::neox::discover::{NeoxLayout, layer_file_name, rank_file_name};
use crate::neox::names::{
    MlpNaming, NeoxTensor, full_name, head_module, layer_module, layout, norm_module,
    reason_to_drop,
};
use crate::neox::partitions::Rule;
use crate::neox::read::{RankState, Reader};
use crate::neox::source::{Located, NeoxSource, Unplaced};
use crate::neox::torch_file::TorchFile;
use crate::open::OpenError;

/// Gives every tensor found its place in the model.
pub(super) struct Placer<'a> {
    pub(super) folder: &'a Path,
    pub(super) layout: NeoxLayout,
    pub(super) settings: &'a NeoxSettings,
    pub(super) num_ranks: usize,
    pub(super) state: &'a RankState,
}

impl Placer<'_> {
    pub(super) fn place(
        &self,
        reader: Reader,
    ) -> Result<(NeoxSource, ModelConfig, MlpNaming), OpenError> {
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
