//! Token ids in, token ids out: the StableLM and GPT-NeoX decoders and sampling.
//!
//! [`load`] takes weights from any [`TensorSource`](stablelm_model::TensorSource) onto a device, after checking that
//! they are those of the configuration; [`generate`] continues a prompt, one token at a time; a [`Session`] does so
//! again and again, and reads only what is new; a [`Batch`] continues several side by side. Texts, files and the terminal stay outside; [`gguf`] is the one reader
//! here, because the tensor library brings it along.
//!
//! ```
//! use std::borrow::Cow;
//! use std::ops::ControlFlow;
//!
//! use stablelm_inference::{GenerateOptions, LoadOptions, Sampling, generate, load};
//! use stablelm_model::{
//!     Dtype, ModelConfig, Parameter, TensorInfo, TensorSource, TensorSourceError, parameters,
//! };
//!
//! /// A model whose weights are all one half.
//! struct Halves(Vec<Parameter>);
//!
//! impl TensorSource for Halves {
//!     fn names(&self) -> Vec<&str> {
//!         self.0.iter().map(|parameter| parameter.name.as_str()).collect()
//!     }
//!     fn info(&self, name: &str) -> Option<TensorInfo> {
//!         let parameter = self.0.iter().find(|parameter| parameter.name == name)?;
//!         Some(TensorInfo { dtype: Dtype::F32, shape: parameter.shape.clone() })
//!     }
//!     fn bytes(&self, name: &str) -> Result<Cow<'_, [u8]>, TensorSourceError> {
//!         let len = self.info(name).and_then(|info| info.num_elements()).unwrap_or(0);
//!         Ok(Cow::Owned(0.5f32.to_le_bytes().repeat(len)))
//!     }
//! }
//!
//! let config = ModelConfig::from_config_json(
//!     br#"{"model_type": "stablelm", "hidden_size": 8, "intermediate_size": 16, "vocab_size": 32,
//!         "num_hidden_layers": 1, "num_attention_heads": 2}"#,
//! )?;
//! let weights = Halves(parameters(&config).collect());
//! let model = load(&config, &weights, &LoadOptions::default())?;
//! let options = GenerateOptions {
//!     max_new_tokens: 3,
//!     sampling: Sampling::greedy(),
//!     eos_token_ids: vec![],
//!     vocab_size: 32,
//!     logprobs: None,
//!     prompt_logprobs: false,
//! };
//! let generation = generate(&model, &[1, 2], &options, &mut |_| ControlFlow::Continue(()))?;
//! assert_eq!(generation.ids, [0, 0, 0]); // every token is as likely: ties go to the lowest id
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod attention;
mod backend;
mod batch;
#[doc(hidden)]
pub mod bench_support;
mod broken;
mod check;
mod cpu;
mod cuda;
mod decoder;
mod device;
mod draw;
mod exp;
mod f8;
mod generate;
pub mod gguf;
mod kv_cache;
mod logprobs;
mod mlp;
mod model;
mod norm;
#[doc(hidden)]
pub mod packed_bench;
mod random;
mod rotary;
mod sample;
mod score;
mod session;
mod stored;
mod weights;

pub use backend::BackendError;
pub use batch::{Batch, Finished};
pub use broken::{NonFiniteTensor, find_non_finite};
pub use check::{LoadError, TensorMismatch};
#[doc(hidden)]
pub use cpu::bench;
pub use cpu::pool::ThreadsError;
pub use device::{Device, DeviceError};
pub use generate::{
    FinishReason, GenerateError, GenerateOptions, GeneratedToken, Generation, Timings, generate,
};
pub use kv_cache::KvDtype;
pub use logprobs::TokenLogprobs;
pub use model::{LoadOptions, Model, load};
pub use sample::{Sampling, SamplingError, distribution};
pub use score::score;
pub use session::Session;
pub use stored::{UnknownWeightDtype, WeightDtype};
