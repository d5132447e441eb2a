//! What each target format looks like on disk: which files, which tensors in each, and the small files beside them.

use std::collections::{BTreeMap, HashMap};
use std::io::Cursor;
use std::path::{Path, PathBuf};

use serde_json::Value;
use stablelm_model::{Architecture, Dtype, ModelConfig, NeoxSettings, NeoxSizes, TensorInfo};

use crate::convert::plan::{Group, GroupKind, Input, Move};
use crate::convert::{ConvertError, ConvertOptions};
use crate::neox::discover::{layer_file_name, rank_file_name, step_folder_name};
use crate::neox::names::{MlpNaming, NeoxTensor, layout};
use crate::neox::write::{Plain, TorchTensor, TorchWriter, pickle_plain, pickle_tensors};
use crate::safetensors::index::{INDEX_FILE, shard_lens, shard_name, write_index};
use crate::safetensors::write::{header, sort_for_file};

type Files = (Vec<Group>, Vec<(PathBuf, Vec<u8>)>);

/// Lays out safetensors: shards in the model's order, tensors in a shard in the file's order.
pub(crate) fn safetensors(
    config: &ModelConfig,
    inputs: Vec<Input>,
    options: &ConvertOptions,
    max_shard_size: u64,
    dtype: Dtype,
) -> Files {
    let output = |input: &Input| TensorInfo {
        dtype: options.dtype.unwrap_or(input.info.dtype),
        shape: input.info.shape.clone(),
    };
    let sizes: Vec<u64> = inputs
        .iter()
        .map(|input| {
            output(input)
                .byte_len()
                .expect("the tensor was found in a file") as u64
        })
        .collect();
    let mut metadata = options.metadata.clone();
    metadata
        .entry("format".to_owned())
        .or_insert_with(|| "pt".to_owned());
    let lens = shard_lens(&sizes, max_shard_size);
    let mut weight_map = BTreeMap::new();
    let mut groups = Vec::with_capacity(lens.len());
    let mut inputs = inputs.into_iter();
    for (nth, &len) in lens.iter().enumerate() {
        let name = shard_name(nth, lens.len());
        let mut by_name: HashMap<String, Input> = HashMap::new();
        let mut tensors = Vec::with_capacity(len);
        for input in inputs.by_ref().take(len) {
            tensors.push((input.parameter.clone(), output(&input)));
            weight_map.insert(input.parameter.clone(), name.clone());
            by_name.insert(input.parameter.clone(), input);
        }
        sort_for_file(&mut tensors);
        let begin = header(&tensors, &metadata);
        let moves = tensors.into_iter().filter_map(|(name, info)| {
            Some(Move {
                inputs: vec![by_name.remove(&name)?],
                name,
                dtype: info.dtype,
                split: None,
            })
        });
        groups.push(Group {
            moves: moves.collect(),
            files: vec![(PathBuf::from(name), begin)],
            kind: GroupKind::Safetensors,
        });
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
    (groups, small_files)
}

/// Lays out a GPT-NeoX checkpoint with one file a layer and rank, under the current names.
pub(crate) fn neox(
    config: &ModelConfig,
    inputs: Vec<Input>,
    dtype_asked: Option<Dtype>,
    tensor_parallel: usize,
    step: u64,
    dtype: Dtype,
) -> Result<Files, ConvertError> {
    let yml = NeoxSettings::yml_for(config, tensor_parallel, dtype);
    check_expressible(config, &yml)?;
    let tensors = layout(config, MlpNaming::Linear, tensor_parallel).map_err(|error| {
        ConvertError::NotDivisible {
            key: error.key,
            value: error.value,
            tensor_parallel,
        }
    })?;
    let mut by_name: HashMap<String, Input> = inputs
        .into_iter()
        .map(|input| (input.parameter.clone(), input))
        .collect();
    let folder = PathBuf::from(step_folder_name(step));
    let mut modules: BTreeMap<usize, Vec<Move>> = BTreeMap::new();
    for tensor in tensors {
        let module = tensor.module;
        let moved = neox_move(tensor, &mut by_name, dtype_asked, dtype)?;
        modules.entry(module).or_default().push(moved);
    }
    let groups = modules.into_iter().map(|(module, moves)| {
        let described: Vec<TorchTensor> = moves.iter().map(torch_tensor).collect();
        let pickle = pickle_tensors(&described);
        let files = (0..tensor_parallel)
            .map(|rank| (folder.join(layer_file_name(module, rank)), pickle.clone()));
        Group {
            files: files.collect(),
            kind: GroupKind::Torch,
            moves,
        }
    });
    let groups = groups.collect();
    let mut small_files = Vec::new();
    for rank in 0..tensor_parallel {
        let name = rank_file_name(rank);
        let content = rank_state(config, tensor_parallel, step, &name)?;
        small_files.push((folder.join(name), content));
    }
    small_files.push((folder.join("configs").join("model.yml"), yml.into_bytes()));
    // Last, because it makes the rest count.
    small_files.push((PathBuf::from("latest"), step_folder_name(step).into_bytes()));
    Ok((groups, small_files))
}

fn torch_tensor(moved: &Move) -> TorchTensor {
    let planned = moved.planned();
    TorchTensor {
        name: planned.name,
        dtype: planned.dtype,
        shape: planned.shape,
    }
}

fn neox_move(
    tensor: NeoxTensor,
    by_name: &mut HashMap<String, Input>,
    dtype_asked: Option<Dtype>,
    usual_dtype: Dtype,
) -> Result<Move, ConvertError> {
    let mut inputs = Vec::with_capacity(tensor.slots.len());
    for slot in &tensor.slots {
        let input = by_name.remove(&slot.parameter);
        inputs.push(input.expect("the layout names each parameter once"));
    }
    let stored = inputs
        .first()
        .map_or(usual_dtype, |input: &Input| input.info.dtype);
    let dtype = dtype_asked.unwrap_or(stored);
    for input in &inputs {
        if dtype_asked.is_none() && input.info.dtype != dtype {
            return Err(ConvertError::MixedDtypes {
                tensor: input.parameter.clone(),
                expected: dtype,
                found: input.info.dtype,
            });
        }
    }
    Ok(Move {
        name: tensor.key.clone(),
        inputs,
        dtype,
        split: Some(tensor),
    })
}

/// The state file of one rank: the least that GPT-NeoX loads, and the numbers it compares.
fn rank_state(
    config: &ModelConfig,
    tensor_parallel: usize,
    step: u64,
    name: &str,
) -> Result<Vec<u8>, ConvertError> {
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
        ("model_parallel_size", size(tensor_parallel)),
    ]);
    let state = Plain::Dict(vec![
        ("module", Plain::None),
        ("dp_world_size", Plain::Int(1)),
        ("mp_world_size", size(tensor_parallel)),
        ("global_steps", Plain::Int(step)),
        ("global_samples", Plain::Int(0)),
        ("skipped_steps", Plain::Int(0)),
        ("iteration", Plain::Int(step)),
        ("args", arguments),
    ]);
    let prefix = Path::new(name)
        .file_stem()
        .unwrap_or_default()
        .to_string_lossy();
    let write = || {
        let writer = TorchWriter::new(Cursor::new(Vec::new()), &prefix, &pickle_plain(&state))?;
        Ok(writer.finish()?.into_inner())
    };
    write().map_err(|source| ConvertError::Write {
        path: PathBuf::from(name),
        source,
    })
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
