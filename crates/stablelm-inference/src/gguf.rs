//! GGUF files: llama.cpp's names and metadata put into ours; and files that it reads.
//!
//! The file is mapped. Tensors of plain numbers and quantized blocks are given as the file holds them; blocks of formats
//! that products can't be made with (`q4_1`, `q5_0`, `q5_1`, `q2_k`, `q3_k`) are dequantized to f32 when they are read.
//!
//! Reads the architectures `stablelm` and `gptneox`. What llama.cpp's converter changed is changed back: per-head
//! normalizations are taken apart, and GPT-NeoX's fused rows go head by head again.

mod compare;
mod config;
mod header;
mod mapped;
mod names;
mod vocabulary;
mod write;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use candle_core::quantized::{GgmlDType, QStorage, QTensor};
use stablelm_model::{
    BlockFormat, Blocks, ConfigError, Dtype, ModelConfig, TensorInfo, TensorSource,
    TensorSourceError,
};

use crate::backend::BackendError;
pub use crate::gguf::compare::{TensorError, compare};
use crate::gguf::header::{Entry, Header, List, Storage, Value};
use crate::gguf::mapped::MappedFile;
use crate::gguf::names::Origin;
pub use crate::gguf::vocabulary::{Vocabulary, VocabularyError};
pub use crate::gguf::write::{GgufDtype, GgufMetadata, GgufPlan, GgufWriteError, plan};

pub use header::HeaderError;

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
        source: HeaderError,
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
    /// The metadata that are texts: name, license, and whatever else was put there.
    pub texts: BTreeMap<String, String>,
    /// The metadata that are lists.
    lists: BTreeMap<String, List>,
    tensors: BTreeMap<String, Tensor>,
    file: MappedFile,
}

/// How a file holds one of our tensors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAs {
    /// The number format: `f32`, `f16`, `bf16`, or blocks by their name in ggml in lower case, such as `q4_k`.
    pub dtype: &'static str,
    /// The sizes.
    pub shape: Vec<usize>,
    /// The bytes it takes; a share of them where several of our tensors are one in the file.
    pub byte_len: u64,
}

/// One of our tensors and what it comes from.
struct Tensor {
    origin: Origin,
    shape: Vec<usize>,
    entry: Entry,
}

/// Opens a GGUF file and reads its header; weights are read as they are asked for.
pub fn open(path: &Path) -> Result<GgufModel, GgufError> {
    let file = MappedFile::open(path).map_err(|source| GgufError::Open {
        path: path.to_owned(),
        source,
    })?;
    read(path, file)
}

/// Reads a file from memory; `path` is what errors call it.
#[cfg(fuzzing)]
pub fn from_bytes(path: &Path, bytes: Vec<u8>) -> Result<GgufModel, GgufError> {
    read(path, MappedFile::in_memory(bytes.into()))
}

fn read(path: &Path, file: MappedFile) -> Result<GgufModel, GgufError> {
    let header = Header::read(file.bytes()).map_err(|source| GgufError::Header {
        path: path.to_owned(),
        source,
    })?;
    let config = config::read(path, &header)?;
    let mut tensors = BTreeMap::new();
    for (name, entry) in &header.tensors {
        // Frequencies that llama.cpp computes itself.
        if name == "rope_freqs.weight" {
            continue;
        }
        let origins = names::from_llama(&config, name, &entry.shape);
        let origins = origins.map_err(|problem| problem.at(path, name, &entry.shape))?;
        for (hf_name, origin) in origins {
            let shape = match origin {
                Origin::Head { .. } => entry.shape[1..].to_vec(),
                Origin::Whole | Origin::Fused => entry.shape.clone(),
            };
            let entry = entry.clone();
            tensors.insert(
                hf_name,
                Tensor {
                    origin,
                    shape,
                    entry,
                },
            );
        }
    }
    let (mut texts, mut lists) = (BTreeMap::new(), BTreeMap::new());
    for (key, value) in header.metadata {
        match value {
            Value::Text(text) => drop(texts.insert(key, text)),
            Value::List(list) => drop(lists.insert(key, list)),
            _ => {}
        }
    }
    Ok(GgufModel {
        config,
        texts,
        lists,
        tensors,
        file,
    })
}

impl GgufModel {
    /// Returns the tokenizer in the file as the text of a tokenizer.json; `None` where there is none.
    ///
    /// Only byte-level BPE that splits text as GPT-NeoX or StableLM 2 do is known.
    pub fn tokenizer_json(&self) -> Result<Option<String>, VocabularyError> {
        let Some(kind) = self.texts.get("tokenizer.ggml.model") else {
            return Ok(None);
        };
        if kind == "none" {
            return Ok(None);
        }
        let list = |key| self.lists.get(key);
        let bytes = self.file.bytes();
        let tokens = list("tokenizer.ggml.tokens").and_then(|list| list.texts(bytes));
        let types = list("tokenizer.ggml.token_type").and_then(|list| list.numbers(bytes));
        let merges = list("tokenizer.ggml.merges").and_then(|list| list.texts(bytes));
        let pre = self.texts.get("tokenizer.ggml.pre");
        vocabulary::tokenizer_json(
            kind,
            pre.map_or("default", String::as_str),
            &tokens.unwrap_or_default(),
            &types.unwrap_or_default(),
            &merges.unwrap_or_default(),
        )
        .map(Some)
    }

    /// Returns how the file holds a tensor, before anything is dequantized.
    pub fn stored_as(&self, name: &str) -> Option<StoredAs> {
        let tensor = self.tensors.get(name)?;
        let parts = match tensor.origin {
            Origin::Head { .. } => tensor.entry.shape.first().copied().unwrap_or(1).max(1),
            Origin::Whole | Origin::Fused => 1,
        };
        Some(StoredAs {
            dtype: match tensor.entry.storage {
                Storage::Plain(dtype) => dtype.as_str(),
                Storage::Blocks(format) => block_name(library_dtype(format)),
                Storage::Other(dtype) => block_name(dtype),
            },
            shape: tensor.shape.clone(),
            byte_len: (tensor.entry.place.len() / parts) as u64,
        })
    }

    fn tensor(&self, name: &str) -> Result<&Tensor, TensorSourceError> {
        let tensor = self.tensors.get(name);
        tensor.ok_or_else(|| TensorSourceError::Missing {
            name: name.to_owned(),
        })
    }

    /// Takes the part of an entry's bytes that is the tensor, in our order of rows.
    fn arrange<'a>(&self, tensor: &Tensor, bytes: Cow<'a, [u8]>) -> Cow<'a, [u8]> {
        match tensor.origin {
            Origin::Whole => bytes,
            Origin::Head { head } => {
                let len = bytes.len() / tensor.entry.shape[0];
                Cow::Owned(bytes[head * len..][..len].to_vec())
            }
            Origin::Fused => Cow::Owned(names::head_by_head(&self.config, &bytes)),
        }
    }
}

/// Returns the dtype as the tensor library calls it.
fn library_dtype(format: BlockFormat) -> GgmlDType {
    match format {
        BlockFormat::Q8_0 => GgmlDType::Q8_0,
        BlockFormat::Q4_0 => GgmlDType::Q4_0,
        BlockFormat::Q4K => GgmlDType::Q4K,
        BlockFormat::Q5K => GgmlDType::Q5K,
        BlockFormat::Q6K => GgmlDType::Q6K,
    }
}

/// Returns ggml's name of a format of blocks, in lower case.
fn block_name(dtype: GgmlDType) -> &'static str {
    match dtype {
        GgmlDType::F32 => "f32",
        GgmlDType::F16 => "f16",
        GgmlDType::BF16 => "bf16",
        GgmlDType::Q4_0 => "q4_0",
        GgmlDType::Q4_1 => "q4_1",
        GgmlDType::Q5_0 => "q5_0",
        GgmlDType::Q5_1 => "q5_1",
        GgmlDType::Q8_0 => "q8_0",
        GgmlDType::Q8_1 => "q8_1",
        GgmlDType::Q2K => "q2_k",
        GgmlDType::Q3K => "q3_k",
        GgmlDType::Q4K => "q4_k",
        GgmlDType::Q5K => "q5_k",
        GgmlDType::Q6K => "q6_k",
        GgmlDType::Q8K => "q8_k",
    }
}

/// Returns blocks as little-endian f32.
fn dequantize(dtype: GgmlDType, shape: &[usize], bytes: &[u8]) -> Result<Vec<u8>, BackendError> {
    let device = candle_core::Device::Cpu;
    if shape.contains(&0) {
        return Ok(Vec::new());
    }
    let storage = QStorage::from_data(Cow::Borrowed(bytes), &device, dtype)?;
    let values = QTensor::new(storage, shape)?.dequantize(&device)?;
    let values = values.flatten_all()?.to_vec1::<f32>()?;
    Ok(values.into_iter().flat_map(f32::to_le_bytes).collect())
}

impl TensorSource for GgufModel {
    fn names(&self) -> Vec<&str> {
        self.tensors.keys().map(String::as_str).collect()
    }

    fn info(&self, name: &str) -> Option<TensorInfo> {
        self.tensors.get(name).map(|tensor| TensorInfo {
            dtype: match tensor.entry.storage {
                Storage::Plain(dtype) => dtype,
                Storage::Blocks(_) | Storage::Other(_) => Dtype::F32,
            },
            shape: tensor.shape.clone(),
        })
    }

    fn bytes(&self, name: &str) -> Result<Cow<'_, [u8]>, TensorSourceError> {
        let tensor = self.tensor(name)?;
        let bytes = &self.file.bytes()[tensor.entry.place.clone()];
        let dtype = match tensor.entry.storage {
            Storage::Plain(_) => return Ok(self.arrange(tensor, Cow::Borrowed(bytes))),
            Storage::Blocks(format) => library_dtype(format),
            Storage::Other(dtype) => dtype,
        };
        let values = dequantize(dtype, &tensor.entry.shape, bytes)
            .map_err(|error| TensorSourceError::read(name, error))?;
        Ok(self.arrange(tensor, Cow::Owned(values)))
    }

    fn rows(&self, name: &str, rows: Range<usize>) -> Result<Cow<'_, [u8]>, TensorSourceError> {
        let tensor = self.tensor(name)?;
        let dtype = match tensor.entry.storage {
            Storage::Plain(_) => None,
            Storage::Blocks(format) => Some(library_dtype(format)),
            Storage::Other(dtype) => Some(dtype),
        };
        let (Some(dtype), Origin::Whole, &[num_rows, columns]) =
            (dtype, tensor.origin, tensor.shape.as_slice())
        else {
            let bytes = self.bytes(name)?;
            let num_rows = tensor.shape.first().copied().unwrap_or(1);
            let row_len = bytes.len() / num_rows.max(1);
            let range = rows.start * row_len..rows.end * row_len;
            return Ok(match bytes {
                Cow::Borrowed(bytes) => Cow::Borrowed(&bytes[range]),
                Cow::Owned(bytes) => Cow::Owned(bytes[range].to_vec()),
            });
        };
        let bytes = &self.file.bytes()[tensor.entry.place.clone()];
        let row_len = bytes.len() / num_rows.max(1);
        let blocks = &bytes[rows.start * row_len..rows.end * row_len];
        let values = dequantize(dtype, &[rows.len(), columns], blocks);
        let values = values.map_err(|error| TensorSourceError::read(name, error))?;
        Ok(Cow::Owned(values))
    }

    fn shared(&self, name: &str) -> Result<Bytes, TensorSourceError> {
        let tensor = self.tensor(name)?;
        match (tensor.entry.storage, tensor.origin) {
            (Storage::Plain(_), Origin::Whole) => Ok(self.file.share(tensor.entry.place.clone())),
            _ => Ok(Bytes::from(self.bytes(name)?.into_owned())),
        }
    }

    fn blocks(&self, name: &str) -> Result<Option<Blocks>, TensorSourceError> {
        let tensor = self.tensor(name)?;
        let (Storage::Blocks(format), &[rows, columns]) =
            (tensor.entry.storage, tensor.shape.as_slice())
        else {
            return Ok(None);
        };
        let bytes = match tensor.origin {
            Origin::Whole => self.file.share(tensor.entry.place.clone()),
            Origin::Fused | Origin::Head { .. } => {
                let bytes = &self.file.bytes()[tensor.entry.place.clone()];
                Bytes::from(self.arrange(tensor, Cow::Borrowed(bytes)).into_owned())
            }
        };
        Ok(Some(Blocks {
            format,
            rows,
            columns,
            bytes,
        }))
    }

    fn release(&self, name: &str) {
        if let Some(tensor) = self.tensors.get(name) {
            self.file.release(tensor.entry.place.clone());
        }
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
