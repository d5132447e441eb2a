//! The plan of a conversion: every output file, every tensor in it, and where its bytes come from. Holds no weights.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};
use stablelm_model::{Dtype, TensorInfo, parameters};

use crate::cast::can_cast;
use crate::convert::target;
use crate::convert::{ConvertError, ConvertOptions, Target};
use crate::glob;
use crate::neox::names::NeoxTensor;
use crate::open::Checkpoint;

/// What [`convert`](crate::convert()) is going to do.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    files: Vec<PlannedFile>,
    dropped: Vec<DroppedTensor>,
    tensors: usize,
    parameters: u64,
    bytes: u64,
    #[serde(skip)]
    pub(crate) groups: Vec<Group>,
    #[serde(skip)]
    pub(crate) small_files: Vec<(PathBuf, Vec<u8>)>,
    #[serde(skip)]
    pub(crate) threads: usize,
}

/// A file to be written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlannedFile {
    /// Its path in the output folder.
    pub path: PathBuf,
    /// The bytes of its tensors, or of all of it when it holds none.
    pub bytes: u64,
    /// Its tensors in order.
    pub tensors: Vec<PlannedTensor>,
}

/// A tensor to be written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlannedTensor {
    /// Its name in the output.
    pub name: String,
    /// Its dtype in the output.
    #[serde(serialize_with = "dtype_name")]
    pub dtype: Dtype,
    /// Its sizes in the output.
    pub shape: Vec<usize>,
}

/// A stored tensor that the output will not have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DroppedTensor {
    /// Its name in the input.
    pub name: String,
    /// Why.
    pub reason: &'static str,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
pub(crate) fn dtype_name<S: Serializer>(dtype: &Dtype, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(dtype.as_str())
}

/// Files written together: one of safetensors, or all ranks of a layer.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    /// Paths with what each file begins with: a safetensors header or a pickle.
    pub(crate) files: Vec<(PathBuf, Vec<u8>)>,
    pub(crate) kind: GroupKind,
    pub(crate) moves: Vec<Move>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GroupKind {
    Safetensors,
    Torch,
}

/// One tensor's way from input to output.
#[derive(Clone, Debug)]
pub(crate) struct Move {
    /// The name in the output.
    pub(crate) name: String,
    /// Parameters to read, each with its dtype and byte length as stored.
    pub(crate) inputs: Vec<Input>,
    pub(crate) dtype: Dtype,
    /// How to split over ranks; `None` writes the one input as it is.
    pub(crate) split: Option<NeoxTensor>,
}

#[derive(Clone, Debug)]
pub(crate) struct Input {
    pub(crate) parameter: String,
    pub(crate) info: TensorInfo,
}

impl Plan {
    /// Returns the files in the order they are written.
    pub fn files(&self) -> &[PlannedFile] {
        &self.files
    }

    /// Returns the number of parameters that are tensors of their own in Hugging Face transformers.
    pub fn num_tensors(&self) -> usize {
        self.tensors
    }

    /// Returns the number of numbers in them.
    pub fn num_parameters(&self) -> u64 {
        self.parameters
    }

    /// Returns the bytes of all tensors to be written.
    pub fn byte_len(&self) -> u64 {
        self.bytes
    }

    /// Returns what is left out.
    pub fn dropped(&self) -> &[DroppedTensor] {
        &self.dropped
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.files.len();
        writeln!(
            formatter,
            "{} parameters in {} tensors, {} bytes, {count} files",
            self.parameters, self.tensors, self.bytes
        )?;
        for file in &self.files {
            writeln!(formatter, "{}  {} bytes", file.path.display(), file.bytes)?;
            for tensor in &file.tensors {
                let PlannedTensor { name, dtype, shape } = tensor;
                writeln!(formatter, "  {name}  {dtype}  {shape:?}")?;
            }
        }
        for dropped in &self.dropped {
            writeln!(
                formatter,
                "left out: {}  ({})",
                dropped.name, dropped.reason
            )?;
        }
        Ok(())
    }
}

/// Plans a conversion and makes every check that can be made before any byte is written.
///
/// Of the weights, only tensors that must be equal on all ranks are read.
pub fn plan(checkpoint: &Checkpoint, options: &ConvertOptions) -> Result<Plan, ConvertError> {
    let dropped = dropped(checkpoint, &options.allow_drop)?;
    if let Some(neox) = checkpoint.neox() {
        neox.check_replicas().map_err(ConvertError::Inconsistent)?;
    }
    let config = checkpoint.config();
    let mut inputs = Vec::new();
    for parameter in parameters(config) {
        let info = checkpoint.source().info(&parameter.name);
        let info = info.expect("opening found every parameter");
        let to = options.dtype.unwrap_or(info.dtype);
        if !can_cast(info.dtype, to) {
            return Err(ConvertError::Cast {
                tensor: parameter.name,
                from: info.dtype,
                to,
            });
        }
        inputs.push(Input {
            parameter: parameter.name,
            info,
        });
    }
    let dtype = options.dtype.or(checkpoint.dtype()).unwrap_or(Dtype::F32);
    let tensors = inputs.len();
    let (groups, small_files) = match options.target {
        Target::Safetensors { max_shard_size } => {
            target::safetensors(config, inputs, options, max_shard_size, dtype)
        }
        Target::Neox {
            tensor_parallel,
            step,
        } => target::neox(
            config,
            inputs,
            options.dtype,
            tensor_parallel.get(),
            step,
            dtype,
        )?,
    };
    let mut files: Vec<PlannedFile> = groups.iter().flat_map(planned_files).collect();
    let bytes = files.iter().map(|file| file.bytes).sum();
    files.extend(small_files.iter().map(|(path, content)| PlannedFile {
        path: path.clone(),
        bytes: content.len() as u64,
        tensors: Vec::new(),
    }));
    Ok(Plan {
        files,
        dropped,
        tensors,
        parameters: config.num_parameters(),
        bytes,
        groups,
        small_files,
        threads: options.threads.get(),
    })
}

fn planned_files(group: &Group) -> impl Iterator<Item = PlannedFile> + '_ {
    group.files.iter().map(|(path, _)| {
        let tensors: Vec<PlannedTensor> = group.moves.iter().map(Move::planned).collect();
        let lens = tensors.iter().map(|tensor| {
            let num_elements: usize = tensor.shape.iter().product();
            (num_elements * tensor.dtype.width()) as u64
        });
        PlannedFile {
            path: path.clone(),
            bytes: lens.sum(),
            tensors,
        }
    })
}

impl Move {
    /// The tensor as each of the group's files holds it.
    pub(crate) fn planned(&self) -> PlannedTensor {
        let shape = match &self.split {
            Some(tensor) => &tensor.shape,
            None => &self.inputs[0].info.shape,
        };
        PlannedTensor {
            name: self.name.clone(),
            dtype: self.dtype,
            shape: shape.clone(),
        }
    }
}

/// Finds what the target has no place for, and refuses to lose what was not given up.
fn dropped(
    checkpoint: &Checkpoint,
    allow_drop: &[String],
) -> Result<Vec<DroppedTensor>, ConvertError> {
    let mut dropped = Vec::new();
    let allowed = |names: [&str; 2]| {
        let by_pattern = |pattern: &String| names.iter().any(|name| glob::matches(pattern, name));
        allow_drop
            .iter()
            .any(by_pattern)
            .then_some("allowed by a pattern")
    };
    let mut settle = |name: &str, path: &Path, reason: Option<&'static str>| match reason {
        Some(reason) => {
            dropped.push(DroppedTensor {
                name: name.to_owned(),
                reason,
            });
            Ok(())
        }
        None => Err(ConvertError::NoPlace {
            tensor: name.to_owned(),
            path: path.to_owned(),
        }),
    };
    if let Some(neox) = checkpoint.neox() {
        for unplaced in neox.unplaced() {
            let mut reason = unplaced
                .reason
                .or_else(|| allowed([&unplaced.name, &unplaced.key]));
            if reason.is_none() {
                let is_zero = neox
                    .is_zero_bias(unplaced)
                    .map_err(ConvertError::Inconsistent)?;
                reason = is_zero.then_some("holds only zeros");
            }
            settle(&unplaced.name, &unplaced.path, reason)?;
        }
        return Ok(dropped);
    }
    let placed: std::collections::HashSet<String> = parameters(checkpoint.config())
        .map(|parameter| parameter.name)
        .collect();
    for name in checkpoint.source().names() {
        if !placed.contains(name) {
            let path = checkpoint.file_of(name).unwrap_or(checkpoint.root());
            let reason = buffer_reason(checkpoint, name)?.or_else(|| allowed([name, name]));
            settle(name, path, reason)?;
        }
    }
    Ok(dropped)
}

/// Why a tensor that older versions of transformers saved may be left out unasked.
fn buffer_reason(
    checkpoint: &Checkpoint,
    name: &str,
) -> Result<Option<&'static str>, ConvertError> {
    if name.ends_with(".rotary_emb.inv_freq") {
        return Ok(Some("computed from the configuration, exactly"));
    }
    if name.ends_with(".attention.masked_bias") || name.ends_with(".attention.bias") {
        return Ok(Some("a constant mask"));
    }
    let head_of = [
        ("lm_head.weight", "model.embed_tokens.weight"),
        ("embed_out.weight", "gpt_neox.embed_in.weight"),
    ];
    let source = checkpoint.source();
    for (head, embedding) in head_of {
        if name == head && source.info(embedding).is_some() {
            let read = |name| source.bytes(name).map_err(ConvertError::Read);
            if read(head)? == read(embedding)? {
                return Ok(Some("equal to the embedding it is tied to"));
            }
        }
    }
    Ok(None)
}
