//! The plan of a conversion: every output file, every tensor in it, and where its bytes come from. Holds no weights.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};
use stablelm_model::{Dtype, TensorInfo, parameters};

use crate::cast::can_cast;
use crate::convert::target;
use crate::convert::{ConvertError, ConvertOptions, Target};
use crate::glob;
use crate::hash::TensorHash;
use crate::neox::names::NeoxTensor;
use crate::neox::partitions::Rule;
use crate::neox::source::NeoxSource;
use crate::neox::write::TorchLayout;
use crate::open::Checkpoint;
use crate::stored::{NotCovered, Placement, Tile, check_cover, matrix};

/// What [`convert`](crate::convert()) is going to do.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    files: Vec<PlannedFile>,
    dropped: Vec<DroppedTensor>,
    tensors: usize,
    parameters: u64,
    bytes: u64,
    #[serde(skip)]
    pub(crate) contents: Vec<Content>,
    #[serde(skip)]
    pub(crate) outputs: Vec<Output>,
    #[serde(skip)]
    pub(crate) small_files: Vec<(PathBuf, Vec<u8>)>,
    #[serde(skip)]
    pub(crate) sync: bool,
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
    /// What it is made of; nothing where GPT-NeoX wants a tensor that the model has not.
    pub from: Vec<PlannedMove>,
}

/// A part of a stored tensor on its way into one of the output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlannedMove {
    /// The name of the file, or of the first of several; empty for what is computed.
    pub file: String,
    /// The tensor's name in that file.
    pub tensor: String,
    /// Number of rectangles that are taken from it.
    pub blocks: usize,
    /// Number of elements in them.
    pub elements: u64,
    /// `copied`, `cast`, `transposed`, `transposed and cast`, or `computed`: added up over ranks, or parted for them.
    pub how: &'static str,
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

/// A parameter on its way: where its elements are stored, and what they become.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    /// The name in Hugging Face transformers.
    pub(crate) parameter: String,
    /// As stored, ranks merged.
    pub(crate) info: TensorInfo,
    pub(crate) placement: Placement,
    /// The dtype in the output.
    pub(crate) dtype: Dtype,
}

impl Content {
    /// Returns the entry of a list of digests.
    pub(crate) fn hash(&self, dtype: Dtype, sha256: &str) -> TensorHash {
        TensorHash {
            dtype: dtype.as_str().to_owned(),
            shape: self.info.shape.clone(),
            sha256: sha256.to_owned(),
        }
    }
}

/// A file with tensors in it.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    pub(crate) path: PathBuf,
    pub(crate) frame: Frame,
    pub(crate) parts: Vec<Part>,
}

/// What is around the tensors of a file.
#[derive(Clone, Debug)]
pub(crate) enum Frame {
    /// A header, whose metadata may be replaced by others of the same length.
    Safetensors {
        tensors: Vec<(String, TensorInfo)>,
        header: Vec<u8>,
    },
    /// A pickle and a container.
    Torch {
        layout: TorchLayout,
        pickle: Vec<u8>,
    },
}

/// A tensor of a file.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    /// The name in the output.
    pub(crate) name: String,
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    /// Its first byte in the file.
    pub(crate) offset: u64,
    pub(crate) fill: Fill,
    /// The parameters in it, by their place in the plan's list.
    pub(crate) contents: Vec<usize>,
}

/// How a tensor of a file is made.
#[derive(Clone, Debug)]
pub(crate) enum Fill {
    /// It is the only parameter in it.
    Whole,
    /// Of rectangles of stored tensors.
    Tiles { tiles: Vec<Tile>, from: Dtype },
    /// In memory, from whole parameters: shares of a sum, or no parameter at all.
    Split {
        tensor: NeoxTensor,
        rank: usize,
        num_ranks: usize,
    },
}

impl Part {
    pub(crate) fn byte_len(&self) -> u64 {
        let num_elements: usize = self.shape.iter().product();
        (num_elements * self.dtype.width()) as u64
    }
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
                let PlannedTensor {
                    name,
                    dtype,
                    shape,
                    from,
                } = tensor;
                writeln!(formatter, "  {name}  {dtype}  {shape:?}")?;
                for moved in from {
                    writeln!(formatter, "    {moved}")?;
                }
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

impl fmt::Display for PlannedMove {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            tensor,
            blocks,
            how,
            ..
        } = self;
        write!(formatter, "{how} from {tensor}")?;
        if !file.is_empty() {
            write!(formatter, " in {file}")?;
        }
        if *blocks > 1 {
            write!(formatter, ", {blocks} blocks")?;
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
    let contents = contents(checkpoint, options.dtype)?;
    let dtype = options.dtype.or(checkpoint.dtype()).unwrap_or(Dtype::F32);
    let (outputs, small_files) = match options.target {
        Target::Safetensors { max_shard_size } => {
            target::safetensors(config, &contents, options, max_shard_size, dtype)
        }
        Target::Neox {
            tensor_parallel,
            layout,
            step,
        } => {
            let neox = target::Neox {
                config,
                contents: &contents,
                dtype_asked: options.dtype,
                dtype,
                num_ranks: tensor_parallel.get(),
                layout,
                step,
            };
            neox.lay_out()?
        }
    };
    check_covered(checkpoint, &contents, &outputs)?;
    let mut files: Vec<PlannedFile> = outputs
        .iter()
        .map(|output| planned_file(checkpoint, &contents, output))
        .collect();
    let bytes = files.iter().map(|file| file.bytes).sum();
    files.extend(small_files.iter().map(|(path, content)| PlannedFile {
        path: path.clone(),
        bytes: content.len() as u64,
        tensors: Vec::new(),
    }));
    Ok(Plan {
        files,
        dropped,
        tensors: contents.len(),
        parameters: config.num_parameters(),
        bytes,
        contents,
        outputs,
        small_files,
        sync: options.sync,
        threads: options.threads.get(),
    })
}

/// Finds every parameter and makes sure that it can have the dtype asked for.
fn contents(checkpoint: &Checkpoint, dtype: Option<Dtype>) -> Result<Vec<Content>, ConvertError> {
    let mut contents = Vec::new();
    for parameter in parameters(checkpoint.config()) {
        let info = checkpoint.source().info(&parameter.name);
        let info = info.expect("opening found every parameter");
        let placement = checkpoint.placement(&parameter.name);
        let to = dtype.unwrap_or(info.dtype);
        if !can_cast(info.dtype, to) {
            return Err(ConvertError::Cast {
                tensor: parameter.name,
                from: info.dtype,
                to,
            });
        }
        contents.push(Content {
            parameter: parameter.name,
            placement: placement.expect("opening placed every parameter"),
            info,
            dtype: to,
        });
    }
    Ok(contents)
}

/// Makes sure that every element of the output is written once and every element of the input is used once.
fn check_covered(
    checkpoint: &Checkpoint,
    contents: &[Content],
    outputs: &[Output],
) -> Result<(), ConvertError> {
    let failed = |tensor: &str, wrong: NotCovered| ConvertError::NotCovered {
        tensor: tensor.to_owned(),
        expected: wrong.expected,
        found: wrong.found,
    };
    // Elements taken from each stored tensor, by its file and name.
    let mut taken: HashMap<(usize, &str), usize> = HashMap::new();
    for content in contents {
        let Placement::Tiles(tiles) = &content.placement else {
            continue;
        };
        let (rows, columns) = matrix(&content.info.shape);
        check_cover(tiles, rows, columns).map_err(|wrong| failed(&content.parameter, wrong))?;
        for tile in tiles {
            let stored = &tile.stored;
            let place = (stored.pieces[0].file, stored.name.as_str());
            *taken.entry(place).or_insert(0) += tile.num_elements();
        }
    }
    for (rule, located) in checkpoint.neox().into_iter().flat_map(NeoxSource::stored) {
        // Replicas were compared, and summands are added up.
        if !matches!(rule.rule, Rule::Rows | Rule::Columns) {
            continue;
        }
        let place = (located.file, located.stored.name.as_str());
        let found = taken.get(&place).copied().unwrap_or(0);
        let expected = located.view.shape.iter().product();
        if found != expected {
            return Err(failed(&located.stored.name, NotCovered { expected, found }));
        }
    }
    for part in outputs.iter().flat_map(|output| &output.parts) {
        if let Fill::Tiles { tiles, .. } = &part.fill {
            let (rows, columns) = matrix(&part.shape);
            check_cover(tiles, rows, columns).map_err(|wrong| failed(&part.name, wrong))?;
        }
    }
    Ok(())
}

fn planned_file(checkpoint: &Checkpoint, contents: &[Content], output: &Output) -> PlannedFile {
    let tensors = output.parts.iter().map(|part| PlannedTensor {
        name: part.name.clone(),
        dtype: part.dtype,
        shape: part.shape.clone(),
        from: moves(checkpoint, contents, part),
    });
    PlannedFile {
        path: output.path.clone(),
        bytes: output.parts.iter().map(Part::byte_len).sum(),
        tensors: tensors.collect(),
    }
}

/// Lists what a tensor is made of, one entry a stored tensor.
fn moves(checkpoint: &Checkpoint, contents: &[Content], part: &Part) -> Vec<PlannedMove> {
    let computed = |names: &mut dyn Iterator<Item = &String>| -> Vec<PlannedMove> {
        let moved = names.map(|name| PlannedMove {
            file: String::new(),
            tensor: name.clone(),
            blocks: 1,
            elements: part.shape.iter().product::<usize>() as u64,
            how: "computed",
        });
        moved.collect()
    };
    let mut parameters = part
        .contents
        .iter()
        .map(|&content| &contents[content].parameter);
    let (tiles, from) = match &part.fill {
        Fill::Tiles { tiles, from } => (tiles, *from),
        Fill::Whole => match &contents[part.contents[0]] {
            Content {
                placement: Placement::Tiles(tiles),
                info,
                ..
            } => (tiles, info.dtype),
            _ => return computed(&mut parameters),
        },
        Fill::Split { .. } => return computed(&mut parameters),
    };
    let mut moves: Vec<PlannedMove> = Vec::new();
    for tile in tiles {
        let path = checkpoint.path_of(tile.stored.pieces[0].file);
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        let how = match (from == part.dtype, tile.column_stride) {
            (true, 1) => "copied",
            (true, _) => "transposed",
            (false, 1) => "cast",
            (false, _) => "transposed and cast",
        };
        let (blocks, elements) = (1, tile.num_elements() as u64);
        let tensor = &tile.stored.name;
        let same = |moved: &&mut PlannedMove| {
            moved.file == file && moved.tensor == *tensor && moved.how == how
        };
        if let Some(moved) = moves.iter_mut().find(same) {
            moved.blocks += blocks;
            moved.elements += elements;
        } else {
            moves.push(PlannedMove {
                file: file.into_owned(),
                tensor: tensor.clone(),
                blocks,
                elements,
                how,
            });
        }
    }
    moves
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
            let equal = read(head)? == read(embedding)?;
            source.release(head);
            source.release(embedding);
            if equal {
                return Ok(Some("equal to the embedding it is tied to"));
            }
        }
    }
    Ok(None)
}
