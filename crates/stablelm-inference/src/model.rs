//! A loaded model, whatever device it is on.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use stablelm_model::{ModelConfig, TensorSource};

use crate::backend::BackendError;
use crate::check::{LoadError, check};
use crate::cpu::Cpu;
use crate::cuda::Cuda;
use crate::cuda::decode::CudaNetwork;
use crate::decoder::{Network, PREFILL_CHUNK, Rows, Sequence, Sequences};
use crate::device::Device;
use crate::generate::{GenerateError, check_ids};
use crate::kv_cache::KvDtype;
use crate::stored::WeightDtype;
use crate::weights::{self, Kept};

/// Where and how weights, keys and values are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadOptions {
    /// Where the model runs.
    pub device: Device,
    /// What matrices are kept in; sums are made in f32 with any of them.
    pub dtype: WeightDtype,
    /// What keys and values are cached in; with `None`, f32 beside f32 weights, and else f16.
    pub kv_dtype: Option<KvDtype>,
    /// On how many threads the processor computes, or quantizes weights for another device; as many as it has where this
    /// is `None`. Results don't depend on it.
    pub threads: Option<NonZeroUsize>,
    /// Where kernels are kept that NVIDIA's run-time compiler makes for the GPU at hand, if it is installed; with `None`,
    /// and without it, those that come along are used.
    pub kernel_cache: Option<PathBuf>,
    /// Whether kernels on a GPU may begin before those that they follow have ended, where that gives the same logits.
    pub overlapping_launches: bool,
}

impl Default for LoadOptions {
    /// Returns the processor, with all its threads, and the file's own dtype.
    fn default() -> Self {
        Self {
            device: Device::Cpu,
            dtype: WeightDtype::Auto,
            kv_dtype: None,
            threads: None,
            kernel_cache: None,
            overlapping_launches: true,
        }
    }
}

/// Weights on a device, ready to continue prompts. It holds no sequence: any number of them can be read at once.
pub struct Model {
    config: ModelConfig,
    device: Device,
    dtype: &'static str,
    kv_dtype: KvDtype,
    weight_bytes: u64,
    weight_bytes_per_token: u64,
    network: Box<dyn Network>,
}

/// Loads a model, after checking that `source` holds every parameter of `config` in its shape, and nothing else.
///
/// Rotary and mask buffers of old checkpoints are passed over. Biases and normalizations are kept in f32; matrices
/// as `options.dtype` says, rounded to nearest where that is narrower than the file.
pub fn load(
    config: &ModelConfig,
    source: &dyn TensorSource,
    options: &LoadOptions,
) -> Result<Model, LoadError> {
    check(config, source)?;
    let (dtype, kv_dtype) = (options.dtype, options.kv_dtype);
    let (network, kept): (Box<dyn Network>, _) = match options.device {
        Device::Cpu => {
            let cpu = Cpu::new(options.threads)?;
            let (decoder, kept) = weights::load(cpu, config, source, dtype, kv_dtype)?;
            (Box::new(decoder), kept)
        }
        Device::Cuda(ordinal) => {
            let cuda = Cuda::new(
                ordinal,
                options.threads,
                options.kernel_cache.as_deref(),
                options.overlapping_launches,
            )?;
            let (decoder, kept) = weights::load(cuda, config, source, dtype, kv_dtype)?;
            (Box::new(CudaNetwork::new(decoder)), kept)
        }
    };
    let Kept {
        dtype,
        kv_dtype,
        weight_bytes,
        embedding_bytes,
    } = kept;
    // A token reads one row of the embedding, unless the embedding is the head as well.
    let rows_only = if config.tie_word_embeddings {
        0
    } else {
        embedding_bytes
    };
    tracing::debug!(
        device = %options.device,
        dtype,
        %kv_dtype,
        weight_bytes,
        "loaded the model"
    );
    Ok(Model {
        config: config.clone(),
        device: options.device,
        dtype,
        kv_dtype,
        weight_bytes,
        weight_bytes_per_token: weight_bytes - rows_only,
        network,
    })
}

impl Model {
    /// Returns the configuration that the model was loaded with.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Returns what most weights of matrices are kept in: `f32`, `bf16`, `f16`, or one of the formats of quantized blocks,
    /// such as `q8_0` and `q4_k`.
    pub fn dtype(&self) -> &'static str {
        self.dtype
    }

    /// Returns what keys and values are cached in.
    pub fn kv_dtype(&self) -> KvDtype {
        self.kv_dtype
    }

    /// Returns the device that the model is on.
    pub fn device(&self) -> Device {
        self.device
    }

    /// Returns the bytes that weights take on the device.
    pub fn weight_bytes(&self) -> u64 {
        self.weight_bytes
    }

    /// Returns the bytes of weights that each decoded token reads: all but an embedding that is not the head as well.
    pub fn weight_bytes_per_token(&self) -> u64 {
        self.weight_bytes_per_token
    }

    /// Returns the raw logits of every position, each as wide as the padded vocabulary.
    ///
    /// Takes four bytes for each position and vocabulary row; for tests and evaluation.
    pub fn logits(&self, ids: &[u32]) -> Result<Vec<Vec<f32>>, GenerateError> {
        check_ids(&self.config, ids)?;
        let mut sequence = self.start(ids.len())?;
        let mut rows = Vec::with_capacity(ids.len());
        for chunk in ids.chunks(PREFILL_CHUNK) {
            let logits = sequence.feed(chunk, Rows::All)?;
            rows.extend(
                logits
                    .chunks_exact(self.config.padded_vocab_size)
                    .map(<[f32]>::to_vec),
            );
        }
        Ok(rows)
    }

    pub(crate) fn start(&self, reserve: usize) -> Result<Box<dyn Sequence + '_>, BackendError> {
        self.network.start(reserve)
    }

    pub(crate) fn prefill_chunk(&self) -> usize {
        self.network.prefill_chunk()
    }

    pub(crate) fn start_many(&self) -> Box<dyn Sequences + '_> {
        self.network.start_many()
    }
}

impl std::fmt::Debug for Model {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Model")
            .field("config", &self.config)
            .field("device", &self.device)
            .field("dtype", &self.dtype)
            .field("kv_dtype", &self.kv_dtype)
            .field("weight_bytes", &self.weight_bytes)
            .finish_non_exhaustive()
    }
}
