//! Writing GGUF files that llama.cpp reads.
//!
//! Keys and tensors are those of llama.cpp's own converter, and one that it leaves out for StableLM: the base of the
//! rotary frequencies, without which stable-code runs on wrong angles. The layout is that of the specification (ggml's
//! `docs/gguf.md`, version 3): header, metadata, tensor descriptions, then each tensor's bytes at a multiple of 32.

use std::borrow::Cow;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use bytes::Bytes;
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use rayon::prelude::*;
use stablelm_model::{
    Architecture, Dtype, ModelConfig, Parameter, ParameterRole, TensorSource, TensorSourceError,
    parameters,
};

use crate::backend::BackendError;
use crate::check::{LoadError, check};
use crate::gguf::names;
use crate::gguf::vocabulary::Vocabulary;
use crate::stored::{StoredDtype, StoredValues, floats};

/// Where tensors start: at multiples of this many bytes.
const ALIGNMENT: usize = 32;

/// How many weights a task converts.
const TASK: usize = 1 << 20;

/// How many tasks' results are held at most, for each thread.
const TASKS_HELD: usize = 4;

/// The number format of the matrices of a GGUF file; vectors are always f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GgufDtype {
    /// IEEE 754 single precision.
    F32,
    /// IEEE 754 half precision.
    F16,
    /// The upper half of a single.
    Bf16,
    /// 8 bits in blocks of 32; a matrix whose rows no block divides stays f16.
    Q8_0,
    /// 4 bits in blocks of 256, the head in 6; a matrix whose rows no such block divides is `Q8_0`.
    Q4K,
}

/// What goes into a GGUF file beside the weights.
#[derive(Clone, Debug, Default)]
pub struct GgufMetadata {
    /// `general.name`.
    pub name: Option<String>,
    /// Further keys with their texts, such as `general.license`.
    pub texts: Vec<(String, String)>,
    /// The tokenizer; without one, llama.cpp runs the file on ids only.
    pub vocabulary: Option<Vocabulary>,
    /// `tokenizer.chat_template`.
    pub chat_template: Option<String>,
}

/// Why a GGUF file could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GgufWriteError {
    /// The tensors are not those of the configuration.
    #[error(transparent)]
    Check(#[from] LoadError),
    /// The model has no rotary embedding that llama.cpp knows.
    #[error("{rotary_ndims} rotated dimensions of {head_dim} are not what llama.cpp can run")]
    Rotary {
        /// Rotated dimensions of a head.
        rotary_ndims: usize,
        /// Dimensions of a head.
        head_dim: usize,
    },
    /// A tensor could not be read.
    #[error(transparent)]
    Source(#[from] TensorSourceError),
    /// The tensor library failed to quantize.
    #[error("failed to quantize tensor `{name}`")]
    Quantize {
        /// The tensor.
        name: String,
        /// What the library says.
        #[source]
        source: BackendError,
    },
    /// The file could not be written.
    #[error("failed to write")]
    Write(#[source] io::Error),
}

/// A number format of ggml.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Plain(StoredDtype),
    Blocks(GgmlDType),
}

impl Format {
    /// ggml's number of the format (`enum ggml_type`).
    fn number(self) -> u32 {
        match self {
            Self::Plain(StoredDtype::F16) => 1,
            Self::Plain(StoredDtype::Bf16) => 30,
            Self::Blocks(GgmlDType::Q8_0) => 8,
            Self::Blocks(GgmlDType::Q4K) => 12,
            Self::Blocks(GgmlDType::Q6K) => 14,
            Self::Plain(_) | Self::Blocks(_) => 0,
        }
    }

    fn byte_len(self, num_elements: usize) -> usize {
        match self {
            Self::Plain(StoredDtype::F32) => num_elements * 4,
            Self::Plain(StoredDtype::Bf16 | StoredDtype::F16) => num_elements * 2,
            Self::Blocks(dtype) => num_elements / dtype.block_size() * dtype.type_size(),
        }
    }
}

/// One tensor of the file, made of one of ours or of one for each head.
struct Planned {
    name: String,
    parts: Vec<Parameter>,
    /// The sizes, outermost first.
    shape: Vec<usize>,
    format: Format,
}

impl Planned {
    fn num_elements(&self) -> usize {
        self.shape.iter().product()
    }

    fn byte_len(&self) -> usize {
        self.format.byte_len(self.num_elements())
    }
}

/// A GGUF file that is about to be written: everything but the weights is known.
pub struct GgufPlan<'a> {
    config: &'a ModelConfig,
    source: &'a dyn TensorSource,
    tensors: Vec<Planned>,
    header: Vec<u8>,
}

/// Checks the weights against the configuration and lays the file out.
pub fn plan<'a>(
    config: &'a ModelConfig,
    source: &'a dyn TensorSource,
    dtype: GgufDtype,
    metadata: &GgufMetadata,
) -> Result<GgufPlan<'a>, GgufWriteError> {
    check(config, source)?;
    let rotary_ndims = config.rotary_ndims();
    if rotary_ndims == 0 || !rotary_ndims.is_multiple_of(2) {
        let head_dim = config.head_dim();
        return Err(GgufWriteError::Rotary {
            rotary_ndims,
            head_dim,
        });
    }
    let mut tensors: Vec<Planned> = Vec::new();
    for parameter in parameters(config) {
        let name = names::to_llama(&parameter);
        match tensors.last_mut().filter(|last| last.name == name) {
            Some(last) => last.parts.push(parameter),
            None => tensors.push(Planned {
                name,
                shape: parameter.shape.clone(),
                format: format(&parameter, dtype),
                parts: vec![parameter],
            }),
        }
    }
    for tensor in &mut tensors {
        if tensor.parts[0].head.is_some() {
            tensor.shape.insert(0, tensor.parts.len());
        }
    }
    let header = header(config, &tensors, dtype, metadata);
    Ok(GgufPlan {
        config,
        source,
        tensors,
        header,
    })
}

fn format(parameter: &Parameter, dtype: GgufDtype) -> Format {
    let [_, columns] = parameter.shape[..] else {
        return Format::Plain(StoredDtype::F32);
    };
    let is_head = parameter.role == ParameterRole::LmHead;
    match dtype {
        GgufDtype::F32 => Format::Plain(StoredDtype::F32),
        GgufDtype::Bf16 => Format::Plain(StoredDtype::Bf16),
        GgufDtype::Q4K if columns % 256 == 0 && is_head => Format::Blocks(GgmlDType::Q6K),
        GgufDtype::Q4K if columns % 256 == 0 => Format::Blocks(GgmlDType::Q4K),
        GgufDtype::Q4K | GgufDtype::Q8_0 if columns % 32 == 0 => Format::Blocks(GgmlDType::Q8_0),
        GgufDtype::F16 | GgufDtype::Q4K | GgufDtype::Q8_0 => Format::Plain(StoredDtype::F16),
    }
}

impl GgufPlan<'_> {
    /// Returns the number of bytes of the file.
    pub fn file_len(&self) -> u64 {
        let lens = self.tensors.iter().map(|tensor| padded(tensor.byte_len()));
        (self.header.len() + lens.sum::<usize>()) as u64
    }

    /// Returns each tensor's name in llama.cpp, its sizes (outermost first) and its bytes.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, &[usize], u64)> {
        self.tensors.iter().map(|tensor| {
            (
                tensor.name.as_str(),
                tensor.shape.as_slice(),
                tensor.byte_len() as u64,
            )
        })
    }

    /// Writes the file; holds a few megabytes of weights a thread at a time.
    pub fn write(&self, output: &mut dyn Write) -> Result<(), GgufWriteError> {
        output
            .write_all(&self.header)
            .map_err(GgufWriteError::Write)?;
        let (mut done, total) = (0, self.file_len());
        let mut told = Instant::now();
        for tensor in &self.tensors {
            self.write_tensor(tensor, output)?;
            let len = tensor.byte_len();
            let zeros = &[0; ALIGNMENT][..padded(len) - len];
            output.write_all(zeros).map_err(GgufWriteError::Write)?;
            done += padded(len) as u64;
            if told.elapsed() >= Duration::from_millis(100) {
                told = Instant::now();
                tracing::info!(target: "progress", stage = "write", done, total, unit = "bytes");
            }
        }
        tracing::info!(target: "progress", stage = "write", done = total, total, unit = "bytes");
        Ok(())
    }

    fn write_tensor(&self, tensor: &Planned, output: &mut dyn Write) -> Result<(), GgufWriteError> {
        let columns = tensor.shape.last().copied().unwrap_or(1);
        for parameter in &tensor.parts {
            let info = self.source.info(&parameter.name);
            let from = info.map_or(Dtype::F32, |info| info.dtype);
            let parted = match parameter.role {
                ParameterRole::FusedQueryKeyValue => {
                    let bytes = self.source.bytes(&parameter.name)?;
                    let heads = self.config.num_attention_heads;
                    Some(names::part_by_part(heads, &bytes))
                }
                _ => None,
            };
            let task = TASK.next_multiple_of(columns) * from.width();
            let held = TASKS_HELD * rayon::current_num_threads();
            let (num_rows, row_len) = match parameter.shape.as_slice() {
                &[rows, columns] => (rows, columns * from.width()),
                _ => (1, parameter.num_elements() * from.width()),
            };
            let step = (task * held / row_len.max(1)).max(1);
            for start in (0..num_rows).step_by(step) {
                let rows = start..(start + step).min(num_rows);
                let group = match &parted {
                    Some(bytes) => Cow::Borrowed(&bytes[rows.start * row_len..rows.end * row_len]),
                    None if num_rows == 1 => self.source.bytes(&parameter.name)?,
                    None => self.source.rows(&parameter.name, rows)?,
                };
                let converted: Result<Vec<Vec<u8>>, BackendError> = group
                    .par_chunks(task)
                    .map(|bytes| convert(bytes, from, tensor.format, columns))
                    .collect();
                let converted = converted.map_err(|source| GgufWriteError::Quantize {
                    name: parameter.name.clone(),
                    source,
                })?;
                for bytes in converted {
                    output.write_all(&bytes).map_err(GgufWriteError::Write)?;
                }
            }
            self.source.release(&parameter.name);
        }
        Ok(())
    }
}

impl std::fmt::Debug for GgufPlan<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("GgufPlan")
            .field("tensors", &self.tensors.len())
            .field("file_len", &self.file_len())
            .finish_non_exhaustive()
    }
}

/// Converts whole rows.
fn convert(bytes: &[u8], from: Dtype, to: Format, columns: usize) -> Result<Vec<u8>, BackendError> {
    match to {
        Format::Plain(to) => {
            let values = StoredValues::from_bytes(Bytes::copy_from_slice(bytes), from, to);
            Ok(match values {
                Some(StoredValues::F32(values)) => little_endian(&values, f32::to_le_bytes),
                Some(StoredValues::Bf16(bits) | StoredValues::F16(bits)) => {
                    little_endian(&bits, u16::to_le_bytes)
                }
                None => {
                    unreachable!("`check` has seen that every tensor is of a floating point dtype")
                }
            })
        }
        Format::Blocks(dtype) => {
            let values = floats(bytes, from);
            let values =
                values.expect("`check` has seen that every tensor is of a floating point dtype");
            let rows = values.len() / columns;
            let tensor = Tensor::from_vec(values, (rows, columns), &Device::Cpu)?;
            let quantized = QTensor::quantize(&tensor, dtype)?;
            Ok(quantized.data()?.into_owned())
        }
    }
}

fn little_endian<T: Copy, const N: usize>(values: &[T], bytes: impl Fn(T) -> [u8; N]) -> Vec<u8> {
    values.iter().flat_map(|value| bytes(*value)).collect()
}

fn padded(len: usize) -> usize {
    len.next_multiple_of(ALIGNMENT)
}

/// Lays out everything before the weights.
fn header(
    config: &ModelConfig,
    tensors: &[Planned],
    dtype: GgufDtype,
    metadata: &GgufMetadata,
) -> Vec<u8> {
    let mut values = Values::default();
    general(&mut values, config, dtype, metadata);
    model(&mut values, config);
    tokenizer(&mut values, config, metadata);
    let mut header = b"GGUF".to_vec();
    header.extend(3u32.to_le_bytes());
    header.extend((tensors.len() as u64).to_le_bytes());
    header.extend(values.count.to_le_bytes());
    header.extend(values.bytes);
    let mut offset = 0;
    for tensor in tensors {
        text(&mut header, &tensor.name);
        header.extend(number(tensor.shape.len()).to_le_bytes());
        // Innermost first.
        for size in tensor.shape.iter().rev() {
            header.extend((*size as u64).to_le_bytes());
        }
        header.extend(tensor.format.number().to_le_bytes());
        header.extend(u64::to_le_bytes(offset));
        offset += padded(tensor.byte_len()) as u64;
    }
    header.resize(header.len().next_multiple_of(ALIGNMENT), 0);
    header
}

fn general(values: &mut Values, config: &ModelConfig, dtype: GgufDtype, metadata: &GgufMetadata) {
    values.text("general.architecture", prefix(config));
    if let Some(name) = &metadata.name {
        values.text("general.name", name);
    }
    for (key, value) in &metadata.texts {
        values.text(key, value);
    }
    // llama.cpp's `enum llama_ftype`.
    let file_type = match dtype {
        GgufDtype::F32 => 0,
        GgufDtype::F16 => 1,
        GgufDtype::Q8_0 => 7,
        GgufDtype::Q4K => 14,
        GgufDtype::Bf16 => 32,
    };
    values.u32("general.file_type", file_type);
    values.u32("general.quantization_version", 2);
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the format keeps these numbers as f32"
)]
fn model(values: &mut Values, config: &ModelConfig) {
    let prefix = prefix(config);
    let key = |name: &str| format!("{prefix}.{name}");
    for (name, size) in [
        ("vocab_size", config.padded_vocab_size),
        ("context_length", config.max_position_embeddings),
        ("embedding_length", config.hidden_size),
        ("block_count", config.num_hidden_layers),
        ("feed_forward_length", config.intermediate_size),
        ("rope.dimension_count", config.rotary_ndims()),
        ("attention.head_count", config.num_attention_heads),
        ("attention.head_count_kv", config.num_key_value_heads),
    ] {
        values.u32(&key(name), number(size));
    }
    values.bool(&key("use_parallel_residual"), config.use_parallel_residual);
    values.f32(
        &key("attention.layer_norm_epsilon"),
        config.layer_norm_eps as f32,
    );
    values.f32(&key("rope.freq_base"), config.rope_theta as f32);
}

fn tokenizer(values: &mut Values, config: &ModelConfig, metadata: &GgufMetadata) {
    let Some(vocabulary) = &metadata.vocabulary else {
        values.text("tokenizer.ggml.model", "no_vocab");
        return;
    };
    values.text("tokenizer.ggml.model", "gpt2");
    values.text("tokenizer.ggml.pre", vocabulary.pre);
    values.texts("tokenizer.ggml.tokens", &vocabulary.tokens);
    values.numbers("tokenizer.ggml.token_type", &vocabulary.types);
    values.texts("tokenizer.ggml.merges", &vocabulary.merges);
    for (key, id) in [
        ("tokenizer.ggml.bos_token_id", config.bos_token_id),
        (
            "tokenizer.ggml.eos_token_id",
            config.eos_token_ids.first().copied(),
        ),
        ("tokenizer.ggml.unknown_token_id", vocabulary.unknown),
    ] {
        if let Some(id) = id {
            values.u32(key, id);
        }
    }
    values.bool("tokenizer.ggml.add_bos_token", false);
    if let Some(template) = &metadata.chat_template {
        values.text("tokenizer.chat_template", template);
    }
}

fn prefix(config: &ModelConfig) -> &'static str {
    match config.architecture {
        Architecture::StableLm => "stablelm",
        Architecture::GptNeoX => "gptneox",
    }
}

fn number(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

fn text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend(text.as_bytes());
}

/// Metadata as they are laid out.
#[derive(Default)]
struct Values {
    count: u64,
    bytes: Vec<u8>,
}

impl Values {
    /// Begins a value of one of the specification's types.
    fn key(&mut self, key: &str, kind: u32) {
        self.count += 1;
        text(&mut self.bytes, key);
        self.bytes.extend(kind.to_le_bytes());
    }

    fn u32(&mut self, key: &str, value: u32) {
        self.key(key, 4);
        self.bytes.extend(value.to_le_bytes());
    }

    fn f32(&mut self, key: &str, value: f32) {
        self.key(key, 6);
        self.bytes.extend(value.to_le_bytes());
    }

    fn bool(&mut self, key: &str, value: bool) {
        self.key(key, 7);
        self.bytes.push(u8::from(value));
    }

    fn text(&mut self, key: &str, value: &str) {
        self.key(key, 8);
        text(&mut self.bytes, value);
    }

    fn texts(&mut self, key: &str, values: &[String]) {
        self.list(key, 8, values.len());
        for value in values {
            text(&mut self.bytes, value);
        }
    }

    fn numbers(&mut self, key: &str, values: &[i32]) {
        self.list(key, 5, values.len());
        for value in values {
            self.bytes.extend(value.to_le_bytes());
        }
    }

    fn list(&mut self, key: &str, kind: u32, len: usize) {
        self.key(key, 9);
        self.bytes.extend(kind.to_le_bytes());
        self.bytes.extend((len as u64).to_le_bytes());
    }
}
