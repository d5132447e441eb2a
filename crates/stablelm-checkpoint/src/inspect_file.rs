//! What there is to know of a single file: one layer's, one rank's, an optimizer's, or safetensors without a
//! configuration.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use serde::Serialize;
use stablelm_model::{Dtype, TensorSource};

use crate::inspect::InspectedTensor;
use crate::mapped::MappedFile;
use crate::neox::discover::{layer_and_rank, optimizer_place, rank_of};
use crate::neox::pickle::{Pickle, TensorView, Value, ValueId};
use crate::neox::torch_file::TorchFile;
use crate::open::{OpenError, by_name};
use crate::safetensors::read::SafetensorsSource;

/// Containers inside containers that are looked into; what lies deeper is not listed.
const MAX_DEPTH: usize = 16;

/// A file in numbers and names.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FileInspection {
    /// `torch` or `safetensors`.
    pub format: &'static str,
    /// `zip` or `legacy` for PyTorch files, `file` for safetensors.
    pub layout: &'static str,
    /// What the file is going by its name: `layer`, `rank state`, `optimizer state` or `tensors`.
    pub kind: &'static str,
    /// The tensor-parallel rank going by the name; for states, GPT-NeoX counts pipeline stages in.
    pub rank: Option<usize>,
    /// The training step, where the file tells it.
    pub step: Option<u64>,
    /// Number of tensors of each dtype.
    #[serde(serialize_with = "by_name")]
    pub dtypes: BTreeMap<Dtype, usize>,
    /// Number of tensors.
    pub num_tensors: usize,
    /// Number of numbers in them.
    pub parameters: u64,
    /// Bytes of all tensors.
    pub bytes: u64,
    /// The `__metadata__` of safetensors.
    pub metadata: BTreeMap<String, String>,
    /// Every tensor, under its path through the file's dictionaries with dots between.
    pub tensors: Vec<InspectedTensor>,
}

/// Collects what is known of a file; reads no weights, and nothing in it is executed.
pub fn inspect_file(path: &Path) -> Result<FileInspection, OpenError> {
    if path.extension().is_some_and(|end| end == "safetensors") {
        return safetensors(path);
    }
    let mapped = MappedFile::open(path).map_err(|source| OpenError::io(path, source))?;
    let failed = |error| OpenError::torch_file(path, error);
    let file = TorchFile::new(path, mapped).map_err(failed)?;
    let pickle = file.pickle().map_err(failed)?;
    let mut tensors = Vec::new();
    for (name, view) in walk(&pickle) {
        file.check(&name, view).map_err(failed)?;
        tensors.push((name, view.dtype, view.shape.clone()));
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let (kind, rank) = if let Some((_, rank)) = layer_and_rank(&name) {
        ("layer", Some(rank))
    } else if let Some(rank) = rank_of(&name) {
        ("rank state", Some(rank))
    } else if let Some((rank, _)) = optimizer_place(&name) {
        ("optimizer state", Some(rank))
    } else {
        ("tensors", None)
    };
    let root = pickle.root();
    let step = pickle
        .get(root, "iteration")
        .or_else(|| pickle.get(root, "global_steps"));
    Ok(FileInspection {
        kind,
        rank,
        step: step.and_then(|id| pickle.size(id)).map(|step| step as u64),
        ..summary(
            "torch",
            if file.is_legacy() { "legacy" } else { "zip" },
            path,
            tensors,
        )
    })
}

fn safetensors(path: &Path) -> Result<FileInspection, OpenError> {
    let source = SafetensorsSource::open(&[path.to_owned()])?;
    let names = source.names().into_iter();
    let tensors = names.filter_map(|name| {
        let info = source.info(name)?;
        Some((name.to_owned(), info.dtype, info.shape))
    });
    Ok(FileInspection {
        metadata: source.metadata().clone(),
        ..summary("safetensors", "file", path, tensors.collect())
    })
}

fn summary(
    format: &'static str,
    layout: &'static str,
    path: &Path,
    tensors: Vec<(String, Dtype, Vec<usize>)>,
) -> FileInspection {
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    let mut dtypes = BTreeMap::new();
    let mut parameters = 0u64;
    let mut inspected = Vec::with_capacity(tensors.len());
    for (name, dtype, shape) in tensors {
        *dtypes.entry(dtype).or_insert(0) += 1;
        let sizes = shape.iter().map(|&size| size as u64);
        let num_elements = sizes.fold(1u64, u64::saturating_mul);
        parameters = parameters.saturating_add(num_elements);
        inspected.push(InspectedTensor {
            name,
            dtype,
            shape,
            bytes: num_elements.saturating_mul(dtype.width() as u64),
            file: file.to_string(),
        });
    }
    FileInspection {
        format,
        layout,
        kind: "tensors",
        rank: None,
        step: None,
        dtypes,
        num_tensors: inspected.len(),
        parameters,
        bytes: inspected
            .iter()
            .fold(0, |sum, tensor| tensor.bytes.saturating_add(sum)),
        metadata: BTreeMap::new(),
        tensors: inspected,
    }
}

/// Finds every tensor in nested containers, each value once however often it is referred to.
pub(crate) fn walk<'p>(pickle: &'p Pickle<'_>) -> Vec<(String, &'p TensorView)> {
    let mut seen = HashSet::new();
    let mut open: Vec<(String, ValueId, usize)> = vec![(String::new(), pickle.root(), 0)];
    let mut found = Vec::new();
    while let Some((path, id, depth)) = open.pop() {
        if !seen.insert(id) {
            continue;
        }
        let below = |key: &str| {
            if path.is_empty() {
                key.to_owned()
            } else {
                format!("{path}.{key}")
            }
        };
        match pickle.value(id) {
            Value::Tensor(view) => found.push((path, view)),
            _ if depth == MAX_DEPTH => {}
            Value::Dict(entries) => {
                for &(key, value) in entries.iter().rev() {
                    let key = match pickle.value(key) {
                        Value::Text(text) => (*text).to_owned(),
                        Value::Int(number) => number.to_string(),
                        _ => continue,
                    };
                    open.push((below(&key), value, depth + 1));
                }
            }
            Value::List(items) | Value::Tuple(items) => {
                for (nth, &item) in items.iter().enumerate().rev() {
                    open.push((below(&nth.to_string()), item, depth + 1));
                }
            }
            _ => {}
        }
    }
    found
}
