//! The numbers of a model, read from any of the `config.json` dialects in circulation.
//!
//! Three spellings describe the same architecture: `stablelm_epoch` (first uploads: `rope_pct`, `norm_eps`),
//! `stablelm` (transformers 4: `partial_rotary_factor`, `rope_theta`) and transformers 5 (`rope_parameters`, `dtype`);
//! GPT-NeoX models add `rotary_pct` and `rotary_emb_base`. One reading accepts them all.

use serde_json::{Map, Value, json};

use crate::dtype::Dtype;
use crate::params::parameters;

/// The family of networks a model belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Architecture {
    /// StableLM 3B-4E1T, zephyr, stable-code and StableLM 2: gated MLP, no biases but those of q, k and v.
    StableLm,
    /// StableLM-alpha and Pythia: fused q, k and v, biases everywhere, GELU.
    GptNeoX,
}

impl Architecture {
    /// Returns the class name in Hugging Face transformers.
    pub fn class_name(self) -> &'static str {
        match self {
            Self::StableLm => "StableLmForCausalLM",
            Self::GptNeoX => "GPTNeoXForCausalLM",
        }
    }

    /// Returns `model_type` as Hugging Face transformers 4 and 5 write it.
    pub fn model_type(self) -> &'static str {
        match self {
            Self::StableLm => "stablelm",
            Self::GptNeoX => "gpt_neox",
        }
    }
}

/// The nonlinearity of the MLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Activation {
    /// `x * sigmoid(x)`.
    Silu,
    /// Exact GELU, with the error function.
    Gelu,
    /// GELU approximated with the hyperbolic tangent.
    GeluTanh,
}

impl Activation {
    /// Returns the name in `config.json`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Silu => "silu",
            Self::Gelu => "gelu",
            Self::GeluTanh => "gelu_pytorch_tanh",
        }
    }
}

/// Everything about a model that is not a weight. Fields are named as in `config.json`.
#[derive(Clone, Debug, PartialEq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "they are the switches of config.json, each read on its own"
)]
pub struct ModelConfig {
    /// The family.
    pub architecture: Architecture,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width inside the MLP.
    pub intermediate_size: usize,
    /// Number of decoder layers.
    pub num_hidden_layers: usize,
    /// Number of query heads.
    pub num_attention_heads: usize,
    /// Number of key and value heads; fewer than query heads means grouped queries.
    pub num_key_value_heads: usize,
    /// Rows of the embedding matrix, padding included (`vocab_size` in `config.json`).
    pub padded_vocab_size: usize,
    /// Longest context, in tokens.
    pub max_position_embeddings: usize,
    /// Share of each head that is rotated.
    pub partial_rotary_factor: f64,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// Added to the variance in every normalization.
    pub layer_norm_eps: f64,
    /// Nonlinearity of the MLP.
    pub hidden_act: Activation,
    /// Whether q, k and v have biases (StableLM 2 1.6B).
    pub use_qkv_bias: bool,
    /// Whether queries and keys are normalized per head (StableLM 2 12B).
    pub qk_layernorm: bool,
    /// Whether attention and MLP read the same residual and are added together.
    pub use_parallel_residual: bool,
    /// Whether GPT-NeoX attention has biases.
    pub attention_bias: bool,
    /// Whether the head is the embedding matrix.
    pub tie_word_embeddings: bool,
    /// The dtype that `config.json` names, if any.
    pub dtype: Option<Dtype>,
    /// Token that begins a sequence, if any.
    pub bos_token_id: Option<u32>,
    /// Tokens that end a sequence.
    pub eos_token_ids: Vec<u32>,
}

/// Why a model's description could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The text is not JSON.
    #[error("the configuration is not valid JSON")]
    Json(#[source] serde_json::Error),
    /// The text is not YAML.
    #[error("the GPT-NeoX configuration is not valid YAML")]
    Yaml(#[source] Box<serde_saphyr::Error>),
    /// The document is not a mapping of keys to values.
    #[error("the configuration is not a mapping of keys to values")]
    NotAMapping,
    /// A key that has no sensible default is absent.
    #[error("key `{key}` is missing")]
    Missing {
        /// The key.
        key: &'static str,
    },
    /// A key has a value of the wrong kind.
    #[error("key `{key}` is `{found}`, expected {expected}")]
    Invalid {
        /// The key.
        key: String,
        /// The value as JSON.
        found: String,
        /// What would have been right.
        expected: &'static str,
    },
    /// A key has a value that no code here implements.
    #[error("`{key}` = `{found}` is not supported, only {supported}")]
    Unsupported {
        /// The key.
        key: String,
        /// The value as JSON.
        found: String,
        /// What is supported.
        supported: &'static str,
    },
    /// Two numbers contradict each other.
    #[error("`{left}` = {left_value} is not a multiple of `{right}` = {right_value}")]
    NotAMultiple {
        /// The larger number's key.
        left: &'static str,
        /// The larger number.
        left_value: usize,
        /// The divisor's key.
        right: &'static str,
        /// The divisor.
        right_value: usize,
    },
}

impl ModelConfig {
    /// Reads a `config.json` in any of its dialects.
    pub fn from_config_json(bytes: &[u8]) -> Result<Self, ConfigError> {
        let value: Value = serde_json::from_slice(bytes).map_err(ConfigError::Json)?;
        let Value::Object(map) = value else {
            return Err(ConfigError::NotAMapping);
        };
        let fields = Fields { map: &map };
        let architecture = fields.architecture()?;
        let config = match architecture {
            Architecture::StableLm => stablelm_config(&fields)?,
            Architecture::GptNeoX => neox_config(&fields)?,
        };
        config.validate()?;
        Ok(config)
    }

    /// Returns the size of one attention head.
    pub fn head_dim(&self) -> usize {
        self.hidden_size / self.num_attention_heads
    }

    /// Returns how many leading dimensions of each head are rotated.
    ///
    /// Where the share makes an odd number, GPT-NeoX rotates one more: transformers makes frequencies for the odd number and
    /// rotates two dimensions by each. Its StableLM cannot run then; the last dimension is left as it is.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share between 0 and 1 of head_dim"
    )]
    pub fn rotary_ndims(&self) -> usize {
        let ndims = (self.head_dim() as f64 * self.partial_rotary_factor) as usize;
        match self.architecture {
            Architecture::StableLm => ndims - ndims % 2,
            Architecture::GptNeoX => ndims,
        }
    }

    /// Returns the number of parameters, padded vocabulary rows included.
    pub fn num_parameters(&self) -> u64 {
        parameters(self)
            .map(|parameter| parameter.num_elements() as u64)
            .sum()
    }

    /// Writes a `config.json` that Hugging Face transformers 4 and 5 load.
    pub fn to_config_json(&self, dtype: Dtype) -> String {
        let mut map = Map::new();
        let mut put = |key: &str, value: Value| {
            map.insert(key.to_owned(), value);
        };
        put("architectures", json!([self.architecture.class_name()]));
        put("model_type", json!(self.architecture.model_type()));
        put("bos_token_id", json!(self.bos_token_id));
        put("eos_token_id", self.eos_value());
        put("hidden_act", json!(self.hidden_act.as_str()));
        put("hidden_size", json!(self.hidden_size));
        put("initializer_range", json!(0.02));
        put("intermediate_size", json!(self.intermediate_size));
        put("layer_norm_eps", json!(self.layer_norm_eps));
        put(
            "max_position_embeddings",
            json!(self.max_position_embeddings),
        );
        put("num_attention_heads", json!(self.num_attention_heads));
        put("num_hidden_layers", json!(self.num_hidden_layers));
        match self.architecture {
            Architecture::StableLm => {
                put("num_key_value_heads", json!(self.num_key_value_heads));
                put("partial_rotary_factor", json!(self.partial_rotary_factor));
                put("qk_layernorm", json!(self.qk_layernorm));
                put("rope_theta", json!(self.rope_theta));
                put("use_qkv_bias", json!(self.use_qkv_bias));
            }
            Architecture::GptNeoX => {
                put("attention_bias", json!(self.attention_bias));
                put("rotary_emb_base", json!(self.rope_theta));
                put("rotary_pct", json!(self.partial_rotary_factor));
            }
        }
        put("tie_word_embeddings", json!(self.tie_word_embeddings));
        put("torch_dtype", json!(dtype.torch_name()));
        put("use_cache", json!(true));
        put("use_parallel_residual", json!(self.use_parallel_residual));
        put("vocab_size", json!(self.padded_vocab_size));
        pretty(&Value::Object(map))
    }

    /// Writes the `generation_config.json` that goes beside it.
    pub fn to_generation_config_json(&self) -> String {
        pretty(&json!({ "bos_token_id": self.bos_token_id, "eos_token_id": self.eos_value() }))
    }

    fn eos_value(&self) -> Value {
        match self.eos_token_ids.as_slice() {
            [] => Value::Null,
            [one] => json!(one),
            many => json!(many),
        }
    }

    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        for (key, value) in [
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("num_key_value_heads", self.num_key_value_heads),
            ("vocab_size", self.padded_vocab_size),
            ("max_position_embeddings", self.max_position_embeddings),
        ] {
            // The bound keeps every product of two sizes far from overflow.
            if value == 0 || value > 1 << 30 {
                let expected = "a whole number between 1 and 2^30";
                return Err(ConfigError::Invalid {
                    key: key.to_owned(),
                    found: value.to_string(),
                    expected,
                });
            }
        }
        let multiple = |left, left_value: usize, right, right_value: usize| {
            let error = ConfigError::NotAMultiple {
                left,
                left_value,
                right,
                right_value,
            };
            if left_value.is_multiple_of(right_value) {
                Ok(())
            } else {
                Err(error)
            }
        };
        let heads = self.num_attention_heads;
        multiple(
            "hidden_size",
            self.hidden_size,
            "num_attention_heads",
            heads,
        )?;
        multiple(
            "num_attention_heads",
            heads,
            "num_key_value_heads",
            self.num_key_value_heads,
        )?;
        if !(0.0..=1.0).contains(&self.partial_rotary_factor) {
            return Err(ConfigError::Invalid {
                key: "partial_rotary_factor".to_owned(),
                found: self.partial_rotary_factor.to_string(),
                expected: "a share between 0 and 1",
            });
        }
        if self.rotary_ndims().next_multiple_of(2) > self.head_dim() {
            return Err(ConfigError::Invalid {
                key: "partial_rotary_factor".to_owned(),
                found: self.partial_rotary_factor.to_string(),
                expected: "a share that rotates pairs of dimensions of each head",
            });
        }
        Ok(())
    }
}

fn pretty(value: &Value) -> String {
    let mut text = serde_json::to_string_pretty(value).expect("a JSON value always prints");
    text.push('\n');
    text
}

fn stablelm_config(fields: &Fields<'_>) -> Result<ModelConfig, ConfigError> {
    let num_attention_heads = fields.size("num_attention_heads")?;
    Ok(ModelConfig {
        num_key_value_heads: fields.size_or("num_key_value_heads", num_attention_heads)?,
        partial_rotary_factor: fields.rotary(
            "partial_rotary_factor",
            &["partial_rotary_factor", "rope_pct"],
            0.25,
        )?,
        rope_theta: fields.rotary("rope_theta", &["rope_theta"], 10_000.0)?,
        layer_norm_eps: fields.float(&["layer_norm_eps", "norm_eps"], 1e-5)?,
        max_position_embeddings: fields.size_or("max_position_embeddings", 4096)?,
        hidden_act: fields.activation(Activation::Silu)?,
        use_qkv_bias: fields.flag("use_qkv_bias", false)?,
        qk_layernorm: fields.flag("qk_layernorm", false)?,
        use_parallel_residual: fields.flag("use_parallel_residual", false)?,
        attention_bias: false,
        ..common(fields, Architecture::StableLm, num_attention_heads)?
    })
}

fn neox_config(fields: &Fields<'_>) -> Result<ModelConfig, ConfigError> {
    common(
        fields,
        Architecture::GptNeoX,
        fields.size("num_attention_heads")?,
    )
}

/// Reads what both families spell alike, with GPT-NeoX's defaults for the rest.
fn common(
    fields: &Fields<'_>,
    architecture: Architecture,
    num_heads: usize,
) -> Result<ModelConfig, ConfigError> {
    fields.refuse_rope_scaling()?;
    Ok(ModelConfig {
        architecture,
        hidden_size: fields.size("hidden_size")?,
        intermediate_size: fields.size("intermediate_size")?,
        num_hidden_layers: fields.size("num_hidden_layers")?,
        num_attention_heads: num_heads,
        num_key_value_heads: num_heads,
        padded_vocab_size: fields.size("vocab_size")?,
        max_position_embeddings: fields.size_or("max_position_embeddings", 2048)?,
        partial_rotary_factor: fields.rotary(
            "partial_rotary_factor",
            &["rotary_pct", "partial_rotary_factor"],
            0.25,
        )?,
        rope_theta: fields.rotary("rope_theta", &["rotary_emb_base", "rope_theta"], 10_000.0)?,
        layer_norm_eps: fields.float(&["layer_norm_eps"], 1e-5)?,
        hidden_act: fields.activation(Activation::Gelu)?,
        use_qkv_bias: false,
        qk_layernorm: false,
        use_parallel_residual: fields.flag("use_parallel_residual", true)?,
        attention_bias: fields.flag("attention_bias", true)?,
        tie_word_embeddings: fields.flag("tie_word_embeddings", false)?,
        dtype: fields.dtype()?,
        bos_token_id: fields.token_ids("bos_token_id")?.first().copied(),
        eos_token_ids: fields.token_ids("eos_token_id")?,
    })
}

/// A JSON object with the questions that configurations are asked.
pub(crate) struct Fields<'a> {
    pub(crate) map: &'a Map<String, Value>,
}

impl Fields<'_> {
    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    fn architecture(&self) -> Result<Architecture, ConfigError> {
        let model_type = self.get("model_type").and_then(Value::as_str);
        let class = self
            .get("architectures")
            .and_then(|list| list.get(0))
            .and_then(Value::as_str);
        match (model_type, class) {
            (Some("stablelm" | "stablelm_epoch"), _)
            | (None, Some("StableLmForCausalLM" | "StableLMEpochForCausalLM")) => {
                Ok(Architecture::StableLm)
            }
            (Some("gpt_neox"), _) | (None, Some("GPTNeoXForCausalLM")) => Ok(Architecture::GptNeoX),
            (None, None) => Err(ConfigError::Missing { key: "model_type" }),
            (found, class) => Err(ConfigError::Unsupported {
                key: "model_type".to_owned(),
                found: found.or(class).unwrap_or_default().to_owned(),
                supported: "stablelm, stablelm_epoch and gpt_neox",
            }),
        }
    }

    fn size(&self, key: &'static str) -> Result<usize, ConfigError> {
        self.optional_size(key)?.ok_or(ConfigError::Missing { key })
    }

    fn size_or(&self, key: &str, default: usize) -> Result<usize, ConfigError> {
        Ok(self.optional_size(key)?.unwrap_or(default))
    }

    pub(crate) fn optional_size(&self, key: &str) -> Result<Option<usize>, ConfigError> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        let size = value
            .as_u64()
            .or_else(|| loose_number(value).and_then(whole))
            .and_then(|n| usize::try_from(n).ok());
        size.map(Some)
            .ok_or_else(|| invalid(key, value, "a whole number"))
    }

    pub(crate) fn float(&self, keys: &[&str], default: f64) -> Result<f64, ConfigError> {
        let Some((key, value)) = keys.iter().find_map(|key| Some((*key, self.get(key)?))) else {
            return Ok(default);
        };
        loose_number(value)
            .filter(|number| number.is_finite())
            .ok_or_else(|| invalid(key, value, "a number"))
    }

    /// Reads a rotary setting: transformers 5 keeps it under `rope_parameters`.
    fn rotary(&self, nested: &str, keys: &[&str], default: f64) -> Result<f64, ConfigError> {
        if let Some(value) = self
            .get("rope_parameters")
            .and_then(|parameters| parameters.get(nested))
        {
            return loose_number(value).ok_or_else(|| invalid(nested, value, "a number"));
        }
        self.float(keys, default)
    }

    fn refuse_rope_scaling(&self) -> Result<(), ConfigError> {
        let scaling = self.get("rope_scaling");
        let parameters = self.get("rope_parameters");
        let kinds = [scaling, parameters].into_iter().flatten();
        for kind in kinds.filter_map(|value| value.get("rope_type").or_else(|| value.get("type"))) {
            if kind != "default" {
                return Err(unsupported(
                    "rope_type",
                    kind,
                    "`default`: scaled rotary positions are not implemented",
                ));
            }
        }
        match self.get("rotary_scaling_factor").and_then(loose_number) {
            Some(factor) if (factor - 1.0).abs() > f64::EPSILON => Err(unsupported(
                "rotary_scaling_factor",
                &json!(factor),
                "1.0: scaled rotary positions are not implemented",
            )),
            _ => Ok(()),
        }
    }

    pub(crate) fn flag(&self, key: &str, default: bool) -> Result<bool, ConfigError> {
        match self.get(key) {
            None => Ok(default),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(other) => Err(invalid(key, other, "true or false")),
        }
    }

    fn activation(&self, default: Activation) -> Result<Activation, ConfigError> {
        match self.get("hidden_act") {
            None => Ok(default),
            Some(value) => match value.as_str() {
                Some("silu" | "swish") => Ok(Activation::Silu),
                Some("gelu") => Ok(Activation::Gelu),
                Some("gelu_new" | "gelu_fast" | "gelu_pytorch_tanh") => Ok(Activation::GeluTanh),
                _ => Err(unsupported(
                    "hidden_act",
                    value,
                    "silu, gelu, gelu_new, gelu_fast and gelu_pytorch_tanh",
                )),
            },
        }
    }

    fn dtype(&self) -> Result<Option<Dtype>, ConfigError> {
        let Some(value) = self.get("torch_dtype").or_else(|| self.get("dtype")) else {
            return Ok(None);
        };
        let name = value
            .as_str()
            .ok_or_else(|| invalid("torch_dtype", value, "a dtype's name"))?;
        name.parse()
            .map(Some)
            .map_err(|_| unsupported("torch_dtype", value, "float32, float16 and bfloat16"))
    }

    /// Reads an id or a list of ids; negative ids (an old way to say "none") are left out.
    fn token_ids(&self, key: &str) -> Result<Vec<u32>, ConfigError> {
        let Some(value) = self.get(key) else {
            return Ok(Vec::new());
        };
        let items = value
            .as_array()
            .map_or_else(|| vec![value], |list| list.iter().collect());
        let read = |item: &Value| match item.as_i64() {
            Some(id) if id < 0 => Ok(None),
            Some(id) => u32::try_from(id)
                .map(Some)
                .map_err(|_| invalid(key, value, "a token id")),
            None => Err(invalid(key, value, "a token id or a list of token ids")),
        };
        items
            .into_iter()
            .map(read)
            .filter_map(Result::transpose)
            .collect()
    }
}

/// Reads a number, or a text that holds one, as YAML 1.1 leaves `1e-05` and `955_000`.
pub(crate) fn loose_number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.replace('_', "").parse().ok(),
        _ => None,
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked to be whole and in range"
)]
fn whole(number: f64) -> Option<u64> {
    (number.fract() == 0.0 && (0.0..9e15).contains(&number)).then_some(number as u64)
}

pub(crate) fn invalid(key: &str, value: &Value, expected: &'static str) -> ConfigError {
    ConfigError::Invalid {
        key: key.to_owned(),
        found: value.to_string(),
        expected,
    }
}

pub(crate) fn unsupported(key: &str, value: &Value, supported: &'static str) -> ConfigError {
    ConfigError::Unsupported {
        key: key.to_owned(),
        found: value.to_string(),
        supported,
    }
}
