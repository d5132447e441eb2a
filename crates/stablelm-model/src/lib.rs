//! What a StableLM model is: numbers and names, and the seam through which its tensors come.
//!
//! This crate opens no file, knows no device and starts no thread. Readers of checkpoints implement
//! [`TensorSource`]; runners and converters take one, so that neither knows the other.
//!
//! ```
//! use stablelm_model::{ModelConfig, parameters};
//!
//! let config = ModelConfig::from_config_json(
//!     br#"{"model_type": "stablelm", "vocab_size": 50304, "hidden_size": 2560,
//!          "intermediate_size": 6912, "num_hidden_layers": 32, "num_attention_heads": 32}"#,
//! )?;
//! assert_eq!(config.head_dim(), 80);
//! assert_eq!(config.num_parameters(), 2_795_443_200);
//! assert_eq!(parameters(&config).next().expect("never empty").name, "model.embed_tokens.weight");
//! # Ok::<(), stablelm_model::ConfigError>(())
//! ```

mod blocks;
mod config;
mod dtype;
mod neox;
mod params;
mod source;

pub use blocks::{BlockFormat, Blocks};
pub use config::{Activation, Architecture, ConfigError, ModelConfig};
pub use dtype::{Dtype, UnknownDtype};
pub use neox::{NeoxSettings, NeoxSizes};
pub use params::{Parameter, ParameterPart, ParameterRole, parameters};
pub use source::{TensorInfo, TensorSource, TensorSourceError};
