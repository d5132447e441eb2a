//! GGUF files: llama.cpp's names and metadata put into ours, weights dequantized to f32; and files that it reads.
//!
//! Reads the architectures `stablelm` and `gptneox`. What llama.cpp's converter changed is changed back: per-head
//! normalizations are taken apart, and GPT-NeoX's fused rows go head by head again.

mod compare;
mod config;
mod names;
mod vocabulary;
mod write;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use candle_core::quantized::gguf_file::Content;
use stablelm_model::{
    ConfigError, Dtype, ModelConfig, TensorInfo, TensorSource, TensorSourceError,
};

use crate::backend::BackendError;
pub use crate::gguf::compare::{TensorError, compare};
use crate::gguf::names::Origin;
pub use crate::gguf::vocabulary::{Vocabulary, VocabularyError};
pub use crate::gguf::write::{GgufDtype, GgufMetadata, GgufPlan, GgufWriteError, plan};

/// Why a GGUF file could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GgufError {
    /// The file could not be opened.
    #[error("failed to open `{path}`")]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The header is not that of a GGUF file, or is broken.
    #[error("failed to read the header of `{path}`")]
    Header {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: BackendError,
    },
    /// The file holds a model of another family.
    #[error("`{path}` holds a model of architecture `{found}`, expected `stablelm` or `gptneox`")]
    Architecture {
        /// The file.
        path: PathBuf,
        /// `general.architecture`.
        found: String,
    },
    /// A metadata key that the model can't do without is absent or of the wrong type.
    #[error("`{path}`: metadata key `{key}` is {found}, expected {expected}")]
    Metadata {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// The value as far as it can be shown, or that there is none.
        found: String,
        /// What would have been right.
        expected: &'static str,
    },
    /// A tensor's name is not one of llama.cpp's for this architecture.
    #[error("`{path}`: tensor `{name}` has no place in the architecture")]
    UnknownTensor {
        /// The file.
        path: PathBuf,
        /// The tensor in llama.cpp's naming.
        name: String,
    },
    /// A tensor's sizes are not those that the metadata implies.
    #[error("`{path}`: tensor `{name}` has shape {found:?}, expected {expected}")]
    Shape {
        /// The file.
        path: PathBuf,
        /// The tensor in llama.cpp's naming.
        name: String,
        /// Its shape.
        found: Vec<usize>,
        /// What would have been right.
        expected: &'static str,
    },
    /// The metadata do not make a model.
    #[error("the metadata of `{path}` do not describe a model")]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong with them.
        #[source]
        source: ConfigError,
    },
}

/// An open GGUF file: its configuration, and its tensors under the names of Hugging Face transformers.
pub struct GgufModel {
    /// The model's numbers, from the metadata and from which tensors there are.
    pub config: ModelConfig,
    tensors: BTreeMap<String, Tensor>,
    content: Content,
    file: Mutex<BufReader<File>>,
}

struct Tensor {
    origin: Origin,
    shape: Vec<usize>,
}

/// Opens a GGUF file and reads its header; weights are read and dequantized one by one as they are asked for.
pub fn open(path: &Path) -> Result<GgufModel, GgufError> {
    let file = File::open(path).map_err(|source| GgufError::Open {
        path: path.to_owned(),
        source,
    })?;
    let mut file = BufReader::new(file);
    let content = Content::read(&mut file).map_err(|error| GgufError::Header {
        path: path.to_owned(),
        source: error.into(),
    })?;
    let config = config::read(path, &content)?;
    let mut tensors = BTreeMap::new();
    for (name, info) in &content.tensor_infos {
        // Frequencies that llama.cpp computes itself.
        if name == "rope_freqs.weight" {
            continue;
        }
        let origins = names::from_llama(&config, name, info.shape.dims());
        let origins = origins.map_err(|problem| problem.at(path, name, info.shape.dims()))?;
        for (hf_name, origin) in origins {
            let shape = match origin {
                Origin::Head { .. } => info.shape.dims()[1..].to_vec(),
                Origin::Whole { .. } | Origin::Fused { .. } => info.shape.dims().to_vec(),
            };
            tensors.insert(hf_name, Tensor { origin, shape });
        }
    }
    Ok(GgufModel {
        config,
        tensors,
        content,
        file: Mutex::new(file),
    })
}

impl GgufModel {
    /// Reads and dequantizes a whole tensor.
    fn read(&self, llama_name: &str) -> Result<Vec<f32>, BackendError> {
        let device = candle_core::Device::Cpu;
        // A reader that panicked left nothing behind but a file position, which is set anew.
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let quantized = self.content.tensor(&mut *file, llama_name, &device)?;
        drop(file);
        let values = quantized.dequantize(&device)?.flatten_all()?;
        Ok(values.to_vec1::<f32>()?)
    }
}

impl TensorSource for GgufModel {
    fn names(&self) -> Vec<&str> {
        self.tensors.keys().map(String::as_str).collect()
    }

    fn info(&self, name: &str) -> Option<TensorInfo> {
        self.tensors.get(name).map(|tensor| TensorInfo {
            dtype: Dtype::F32,
            shape: tensor.shape.clone(),
        })
    }

    fn bytes(&self, name: &str) -> Result<Cow<'_, [u8]>, TensorSourceError> {
        let tensor = self
            .tensors
            .get(name)
            .ok_or_else(|| TensorSourceError::Missing {
                name: name.to_owned(),
            })?;
        let values = self
            .read(tensor.origin.llama_name())
            .map_err(|error| TensorSourceError::read(name, error))?;
        let values = match tensor.origin {
            Origin::Whole { .. } => values,
            Origin::Head { head, .. } => {
                let len = tensor.shape.iter().product::<usize>();
                values[head * len..][..len].to_vec()
            }
            Origin::Fused { .. } => names::head_by_head(&self.config, &values),
        };
        let bytes: Vec<u8> = values.into_iter().flat_map(f32::to_le_bytes).collect();
        Ok(Cow::Owned(bytes))
    }
}

impl std::fmt::Debug for GgufModel {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("GgufModel")
            .field("config", &self.config)
            .field("tensors", &self.tensors.len())
            .finish_non_exhaustive()
    }
}
