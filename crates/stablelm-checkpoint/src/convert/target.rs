//! What each target format looks like on disk: which files, which tensors in each, and the small files beside them.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use stablelm_model::{Architecture, Dtype, ModelConfig, NeoxSettings, NeoxSizes, TensorInfo};

use crate::convert::plan::{Content, Fill, Frame, Output, Part};
use crate::convert::{ConvertError, ConvertOptions};
use crate::neox::discover::{NeoxLayout, layer_file_name, rank_file_name, step_folder_name};
use crate::neox::names::{MlpNaming, NeoxTensor, layout};
use crate::neox::partitions::Rule;
use crate::neox::write::{Plain, TorchLayout, TorchTensor, pickle_plain, pickle_tensors};
use crate::safetensors::index::{INDEX_FILE, shard_lens, shard_name, write_index};
use crate::safetensors::write::{header, sort_for_file};
use crate::stored::{Placement, Tile, Window};

type Files = (Vec<Output>, Vec<(PathBuf, Vec<u8>)>);

/// Lays out safetensors: shards in the model's order, tensors in a shard in the file's order.
pub(crate) fn safetensors(
    config: &ModelConfig,
    contents: &[Content],
    options: &ConvertOptions,
    max_shard_size: u64,
    dtype: Dtype,
) -> Files {
    let output = |content: &Content| TensorInfo {
        dtype: content.dtype,
        shape: content.info.shape.clone(),
    };
    let sizes: Vec<u64> = contents
        .iter()
        .map(|content| {
            let len = output(content).byte_len();
            len.expect("the tensor was found in a file") as u64
        })
        .collect();
    let metadata = with_format(&options.metadata);
    let lens = shard_lens(&sizes, max_shard_size);
    let mut weight_map = BTreeMap::new();
    let mut outputs = Vec::with_capacity(lens.len());
    let mut first = 0;
    for (nth, &len) in lens.iter().enumerate() {
        let file = shard_name(nth, lens.len());
        let shard = &contents[first..first + len];
        let places: HashMap<&str, usize> = shard
            .iter()
            .enumerate()
            .map(|(nth, content)| (content.parameter.as_str(), first + nth))
            .collect();
        let mut tensors: Vec<(String, TensorInfo)> = shard
            .iter()
            .map(|content| (content.parameter.clone(), output(content)))
            .collect();
        sort_for_file(&mut tensors);
        let header = header(&tensors, &metadata);
        let mut offset = header.len() as u64;
        let mut parts = Vec::with_capacity(len);
        for (name, info) in &tensors {
            weight_map.insert(name.clone(), file.clone());
            let part = Part {
                name: name.clone(),
                dtype: info.dtype,
                shape: info.shape.clone(),
                offset,
                fill: Fill::Whole,
                contents: vec![places[name.as_str()]],
            };
            offset += part.byte_len();
            parts.push(part);
        }
        outputs.push(Output {
            path: PathBuf::from(file),
            frame: Frame::Safetensors { tensors, header },
            parts,
        });
        first += len;
    }
    let mut small_files = Vec::new();
    let mut add = |name: &str, text: String| {
        small_files.push((PathBuf::from(name), text.into_bytes()));
    };
    if lens.len() > 1 {
        add(INDEX_FILE, write_index(&weight_map, sizes.iter().sum()));
    }
    add("config.json", config.to_config_json(dtype));
    add("generation_config.json", config.to_generation_config_json());
    (outputs, small_files)
}

/// Adds what Hugging Face transformers looks for.
pub(crate) fn with_format(metadata: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut metadata = metadata.clone();
    metadata
        .entry("format".to_owned())
        .or_insert_with(|| "pt".to_owned());
    metadata
}

/// A GPT-NeoX checkpoint to be laid out, under the current names.
pub(crate) struct Neox<'a> {
    pub(crate) config: &'a ModelConfig,
    pub(crate) contents: &'a [Content],
    pub(crate) dtype_asked: Option<Dtype>,
    /// The usual dtype.
    pub(crate) dtype: Dtype,
    pub(crate) num_ranks: usize,
    pub(crate) layout: NeoxLayout,
    pub(crate) step: u64,
}

impl Neox<'_> {
    pub(crate) fn lay_out(&self) -> Result<Files, ConvertError> {
        let yml = self.yml();
        check_expressible(self.config, &yml)?;
        let tensors = layout(self.config, MlpNaming::Linear, self.num_ranks).map_err(|error| {
            ConvertError::NotDivisible {
                key: error.key,
                value: error.value,
                tensor_parallel: self.num_ranks,
            }
        })?;
        let places: HashMap<&str, usize> = self
            .contents
            .iter()
            .enumerate()
            .map(|(nth, content)| (content.parameter.as_str(), nth))
            .collect();
        let folder = PathBuf::from(step_folder_name(self.step));
        let mut small_files = Vec::new();
        let outputs = match self.layout {
            NeoxLayout::Layers => {
                let mut modules: BTreeMap<usize, Vec<&NeoxTensor>> = BTreeMap::new();
                for tensor in &tensors {
                    modules.entry(tensor.module).or_default().push(tensor);
                }
                let mut outputs = Vec::with_capacity(modules.len() * self.num_ranks);
                for (module, tensors) in modules {
                    for rank in 0..self.num_ranks {
                        let path = folder.join(layer_file_name(module, rank));
                        outputs.push(self.file(path, &tensors, rank, &places)?);
                    }
                }
                for rank in 0..self.num_ranks {
                    let name = rank_file_name(rank);
                    let pickle = pickle_plain(&self.rank_state(Plain::None));
                    let content = TorchLayout::small_file(stem(Path::new(&name)), &pickle);
                    small_files.push((folder.join(name), content));
                }
                outputs
            }
            NeoxLayout::Single => {
                let tensors: Vec<&NeoxTensor> = tensors.iter().collect();
                let ranks = (0..self.num_ranks).map(|rank| {
                    self.file(folder.join(rank_file_name(rank)), &tensors, rank, &places)
                });
                ranks.collect::<Result<_, _>>()?
            }
        };
        small_files.push((folder.join("configs").join("model.yml"), yml.into_bytes()));
        // Last, because it makes the rest count.
        let name = step_folder_name(self.step).into_bytes();
        small_files.push((PathBuf::from("latest"), name));
        Ok((outputs, small_files))
    }

    fn yml(&self) -> String {
        let yml = NeoxSettings::yml_for(self.config, self.num_ranks, self.dtype);
        if self.layout == NeoxLayout::Layers {
            return yml;
        }
        let mut value: Value = serde_json::from_str(&yml).expect("it was written as JSON");
        value["pipe_parallel_size"] = json!(0);
        let mut text = serde_json::to_string_pretty(&value).expect("a JSON value always prints");
        text.push('\n');
        text
    }

    /// Lays out one rank's file with some of the tensors in it.
    fn file(
        &self,
        path: PathBuf,
        tensors: &[&NeoxTensor],
        rank: usize,
        places: &HashMap<&str, usize>,
    ) -> Result<Output, ConvertError> {
        let mut parts = Vec::with_capacity(tensors.len());
        for tensor in tensors {
            parts.push(self.part(tensor, rank, places)?);
        }
        let described = parts.iter().map(|part| TorchTensor {
            name: part.name.clone(),
            dtype: part.dtype,
            shape: part.shape.clone(),
        });
        let described: Vec<TorchTensor> = described.collect();
        let pickle = match self.layout {
            NeoxLayout::Layers => pickle_tensors(&described),
            NeoxLayout::Single => pickle_plain(&self.rank_state(Plain::Tensors(described))),
        };
        let lens: Vec<u64> = parts.iter().map(Part::byte_len).collect();
        let layout = TorchLayout::new(stem(&path), &pickle, &lens);
        for (nth, part) in parts.iter_mut().enumerate() {
            part.offset = layout.storage_at(nth);
        }
        Ok(Output {
            path,
            frame: Frame::Torch { layout, pickle },
            parts,
        })
    }

    /// Says how one rank's tensor is made; its place in the file is not known yet.
    fn part(
        &self,
        tensor: &NeoxTensor,
        rank: usize,
        places: &HashMap<&str, usize>,
    ) -> Result<Part, ConvertError> {
        let contents: Vec<usize> = tensor
            .slots
            .iter()
            .map(|slot| places[slot.parameter.as_str()])
            .collect();
        let stored = contents
            .first()
            .map_or(self.dtype, |&nth| self.contents[nth].info.dtype);
        let dtype = self.dtype_asked.unwrap_or(stored);
        for &nth in &contents {
            let content = &self.contents[nth];
            if self.dtype_asked.is_none() && content.info.dtype != stored {
                return Err(ConvertError::MixedDtypes {
                    tensor: content.parameter.clone(),
                    expected: stored,
                    found: content.info.dtype,
                });
            }
        }
        let name = match self.layout {
            NeoxLayout::Layers => tensor.key.clone(),
            NeoxLayout::Single => format!("sequential.{}", tensor.full_name()),
        };
        Ok(Part {
            name,
            dtype,
            shape: tensor.shape.clone(),
            offset: 0,
            fill: self.fill(tensor, rank, &contents),
            contents,
        })
    }

    fn fill(&self, tensor: &NeoxTensor, rank: usize, contents: &[usize]) -> Fill {
        let is_whole = match tensor.rule {
            Rule::Rows => self.num_ranks == 1 && tensor.slots.len() == 1,
            Rule::Columns | Rule::Summed => self.num_ranks == 1,
            Rule::Replicated => true,
            Rule::Filled(_) => false,
        };
        if is_whole {
            return Fill::Whole;
        }
        let computed = Fill::Split {
            tensor: tensor.clone(),
            rank,
            num_ranks: self.num_ranks,
        };
        if !matches!(tensor.rule, Rule::Rows | Rule::Columns) {
            return computed;
        }
        let mut tiles: Vec<Tile> = Vec::new();
        let mut from = self.dtype;
        for (slot, &nth) in tensor.slots.iter().zip(contents) {
            let content = &self.contents[nth];
            let Placement::Tiles(stored) = &content.placement else {
                return computed;
            };
            if content.info.dtype != self.contents[contents[0]].info.dtype {
                return computed;
            }
            from = content.info.dtype;
            for window in windows(tensor, slot.pick, rank) {
                tiles.extend(stored.iter().filter_map(|tile| tile.through(&window)));
            }
        }
        Fill::Tiles { tiles, from }
    }

    /// The state file of one rank: the least that GPT-NeoX loads, and the numbers it compares.
    fn rank_state(&self, module: Plain) -> Plain {
        let config = self.config;
        let size = |value: usize| Plain::Int(value as u64);
        let arguments = Plain::Dict(vec![
            ("num_layers", size(config.num_hidden_layers)),
            ("hidden_size", size(config.hidden_size)),
            ("num_attention_heads", size(config.num_attention_heads)),
            (
                "max_position_embeddings",
                size(config.max_position_embeddings),
            ),
            ("padded_vocab_size", size(config.padded_vocab_size)),
            ("model_parallel_size", size(self.num_ranks)),
        ]);
        Plain::Dict(vec![
            ("module", module),
            ("dp_world_size", Plain::Int(1)),
            ("mp_world_size", size(self.num_ranks)),
            ("global_steps", Plain::Int(self.step)),
            ("global_samples", Plain::Int(0)),
            ("skipped_steps", Plain::Int(0)),
            ("iteration", Plain::Int(self.step)),
            ("args", arguments),
        ])
    }
}

fn stem(path: &Path) -> &str {
    let stem = path.file_stem().and_then(|stem| stem.to_str());
    stem.expect("the name was made here")
}

/// The rectangles of a parameter that one rank's tensor holds.
fn windows(
    tensor: &NeoxTensor,
    pick: crate::neox::partitions::RowPick,
    rank: usize,
) -> Vec<Window> {
    let columns = tensor.columns();
    if tensor.rule == Rule::Columns {
        return vec![Window {
            from: (0, rank * columns),
            to: (0, 0),
            rows: tensor.rows(),
            columns,
        }];
    }
    let before = rank * pick.num_rows();
    let blocks = pick.starts().enumerate();
    blocks
        .map(|(turn, start)| Window {
            from: (before + turn * pick.len, 0),
            to: (start, 0),
            rows: pick.len,
            columns,
        })
        .collect()
}

/// Reads the written configuration back: what does not come back the same, GPT-NeoX can't be told.
fn check_expressible(config: &ModelConfig, yml: &str) -> Result<(), ConvertError> {
    let settings = NeoxSettings::parse(&[yml]).map_err(ConvertError::Config)?;
    let gated = config.architecture == Architecture::StableLm;
    let sizes = NeoxSizes {
        intermediate_size: config.intermediate_size,
        padded_vocab_size: config.padded_vocab_size,
        use_qkv_bias: config.use_qkv_bias || config.attention_bias,
        gated_mlp: gated,
        tied: config.tie_word_embeddings,
    };
    let mut found = settings.model_config(sizes).map_err(ConvertError::Config)?;
    // These are not part of the network.
    found.bos_token_id = config.bos_token_id;
    found.eos_token_ids.clone_from(&config.eos_token_ids);
    let not_expressible = |key: &str| ConvertError::NotExpressible {
        key: key.to_owned(),
    };
    if !gated && !config.attention_bias {
        return Err(not_expressible("attention_bias"));
    }
    if settings.sizes(config.padded_vocab_size).intermediate_size != config.intermediate_size {
        return Err(not_expressible("intermediate_size"));
    }
    let fields = |config: &ModelConfig| -> Value {
        let text = config.to_config_json(Dtype::F32);
        serde_json::from_str(&text).expect("it was written as JSON")
    };
    let (expected, found) = (fields(config), fields(&found));
    let keys = expected.as_object().into_iter().flatten();
    match keys
        .map(|(key, _)| key)
        .find(|key| expected.get(key) != found.get(key))
    {
        Some(key) => Err(not_expressible(key)),
        None => Ok(()),
    }
}
