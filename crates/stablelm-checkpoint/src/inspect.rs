//! What there is to know of a checkpoint without reading its weights.

use std::collections::BTreeMap;

use serde::Serialize;
use stablelm_model::Dtype;

use crate::convert::plan::dtype_name;
use crate::open::{Checkpoint, Details, Format};

/// A checkpoint in numbers and names.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Inspection {
    /// The kind of files.
    pub format: Format,
    /// How they are laid out: layout, ranks, step, naming, dtypes with counts.
    #[serde(flatten)]
    pub details: Details,
    /// The class in Hugging Face transformers.
    pub architecture: &'static str,
    /// The configuration as `config.json` would have it.
    pub config: serde_json::Value,
    /// Number of tensors.
    pub num_tensors: usize,
    /// Number of parameters, padded vocabulary rows included.
    pub parameters: u64,
    /// Bytes of all tensors.
    pub bytes: u64,
    /// Number of files that were opened.
    pub num_files: usize,
    /// The `__metadata__` of safetensors files.
    pub metadata: BTreeMap<String, String>,
    /// Stored tensors that the model has no place for, as the files name them.
    pub unplaced: Vec<String>,
    /// Every tensor, sorted by name.
    pub tensors: Vec<InspectedTensor>,
}

/// A tensor in numbers and names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InspectedTensor {
    /// Its name in Hugging Face transformers.
    pub name: String,
    /// Its dtype.
    #[serde(serialize_with = "dtype_name")]
    pub dtype: Dtype,
    /// Its sizes, with ranks merged.
    pub shape: Vec<usize>,
    /// Its bytes, with ranks merged.
    pub bytes: u64,
    /// The name of the file that holds it, or the first rank's part of it.
    pub file: String,
}

/// Collects what is known of an open checkpoint; reads no weights.
pub fn inspect(checkpoint: &Checkpoint) -> Inspection {
    let source = checkpoint.source();
    let mut tensors = Vec::new();
    for name in source.names() {
        let Some(info) = source.info(name) else {
            continue;
        };
        let file = checkpoint.file_of(name).and_then(|path| path.file_name());
        tensors.push(InspectedTensor {
            name: name.to_owned(),
            dtype: info.dtype,
            bytes: info.byte_len().unwrap_or(0) as u64,
            shape: info.shape,
            file: file.unwrap_or_default().to_string_lossy().into_owned(),
        });
    }
    let config = checkpoint.config();
    let text = config.to_config_json(checkpoint.dtype().unwrap_or(Dtype::F32));
    let unplaced = checkpoint.neox().map_or(&[][..], |neox| neox.unplaced());
    Inspection {
        format: checkpoint.format(),
        details: checkpoint.details().clone(),
        architecture: config.architecture.class_name(),
        config: serde_json::from_str(&text).expect("it was written as JSON"),
        num_tensors: tensors.len(),
        parameters: config.num_parameters(),
        bytes: tensors.iter().map(|tensor| tensor.bytes).sum(),
        num_files: checkpoint.files().len(),
        metadata: checkpoint.metadata().clone(),
        unplaced: unplaced.iter().map(|tensor| tensor.name.clone()).collect(),
        tensors,
    }
}
