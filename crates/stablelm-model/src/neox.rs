//! The architecture part of a GPT-NeoX configuration (`*.yml`), read and written.
//!
//! GPT-NeoX files are YAML that people write like JSON: comments, trailing commas, `955_000`, keys with `-` or `_`.
//! Sizes that the file only implies (padded vocabulary, MLP width) are in [`NeoxSizes`]: tensors tell them for certain,
//! the formulas here only where there is no tensor to ask.

use serde_json::{Map, Value, json};

use crate::config::{Activation, Architecture, ConfigError, Fields, ModelConfig, unsupported};
use crate::dtype::Dtype;

/// What a GPT-NeoX configuration says about the network. Fields are named as in the file.
#[derive(Clone, Debug, PartialEq)]
pub struct NeoxSettings {
    /// Number of decoder layers.
    pub num_layers: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Number of query heads.
    pub num_attention_heads: usize,
    /// Number of key and value heads, if the file says so.
    pub num_kv_heads: Option<usize>,
    /// Longest context, in tokens.
    pub max_position_embeddings: usize,
    /// Share of each head that is rotated.
    pub rotary_pct: f64,
    /// Base of the rotary frequencies.
    pub rotary_emb_base: f64,
    /// Added to the variance in every normalization.
    pub layernorm_epsilon: f64,
    /// Whether attention and MLP are added together.
    pub gpt_j_residual: bool,
    /// Whether they also share one normalization.
    pub gpt_j_tied: bool,
    /// Whether the head has a matrix of its own.
    pub no_weight_tying: bool,
    /// The activation's name.
    pub activation: String,
    /// The MLP's kind in versions that name it (`llama`, `regular`).
    pub mlp_type: Option<String>,
    /// The MLP's width as the file states it; not Hugging Face's number for gated MLPs.
    pub intermediate_size: Option<usize>,
    /// Rounding of the MLP's width.
    pub mlp_multiple_of: Option<usize>,
    /// Rounding of the vocabulary.
    pub make_vocab_size_divisible_by: usize,
    /// Number of tensor-parallel ranks.
    pub model_parallel_size: usize,
    /// Number of pipeline stages; 0 keeps the whole model in one module.
    pub pipe_parallel_size: usize,
    /// The dtype trained in.
    pub dtype: Option<Dtype>,
}

/// The sizes that a GPT-NeoX file does not state outright.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeoxSizes {
    /// Width inside the MLP, as Hugging Face counts it.
    pub intermediate_size: usize,
    /// Rows of the embedding matrix.
    pub padded_vocab_size: usize,
    /// Whether q, k and v have biases.
    pub use_qkv_bias: bool,
    /// Whether the MLP is gated (three matrices).
    pub gated_mlp: bool,
    /// Whether there is no head matrix.
    pub tied: bool,
}

impl NeoxSettings {
    /// Reads one or more GPT-NeoX files; where two set the same key, the later one holds.
    pub fn parse(files: &[&str]) -> Result<Self, ConfigError> {
        let mut map = Map::new();
        for text in files {
            let value: Value =
                serde_saphyr::from_str(text).map_err(|error| ConfigError::Yaml(Box::new(error)))?;
            let Value::Object(keys) = value else {
                return Err(ConfigError::NotAMapping);
            };
            map.extend(
                keys.into_iter()
                    .map(|(key, value)| (key.replace('-', "_"), value)),
            );
        }
        Self::from_fields(&Fields { map: &map })
    }

    fn from_fields(fields: &Fields<'_>) -> Result<Self, ConfigError> {
        let size = |key: &'static str| {
            fields
                .optional_size(key)?
                .ok_or(ConfigError::Missing { key })
        };
        let size_or = |key: &str, default| {
            Ok::<_, ConfigError>(fields.optional_size(key)?.unwrap_or(default))
        };
        let text = |key: &str| fields.get(key).and_then(Value::as_str).map(str::to_owned);
        for (key, default, only) in [
            ("pos_emb", "learned", "rotary"),
            ("norm", "layernorm", "layernorm"),
        ] {
            let found = text(key).unwrap_or_else(|| default.to_owned());
            if found != only {
                let supported = if key == "norm" { "layernorm" } else { "rotary" };
                return Err(unsupported(key, &json!(found), supported));
            }
        }
        let num_attention_heads = size("num_attention_heads")?;
        Ok(Self {
            num_layers: size("num_layers")?,
            hidden_size: size("hidden_size")?,
            num_attention_heads,
            num_kv_heads: fields.optional_size("num_kv_heads")?,
            max_position_embeddings: size("max_position_embeddings")?,
            rotary_pct: fields.float(&["rotary_pct"], 1.0)?,
            rotary_emb_base: fields.float(&["rotary_emb_base"], 10_000.0)?,
            layernorm_epsilon: fields.float(&["layernorm_epsilon"], 1e-5)?,
            gpt_j_residual: fields.flag("gpt_j_residual", false)?,
            gpt_j_tied: fields.flag("gpt_j_tied", false)?,
            no_weight_tying: fields.flag("no_weight_tying", false)?,
            activation: text("activation").unwrap_or_else(|| "gelu".to_owned()),
            mlp_type: text("mlp_type"),
            intermediate_size: fields.optional_size("intermediate_size")?,
            mlp_multiple_of: fields.optional_size("mlp_multiple_of")?,
            make_vocab_size_divisible_by: size_or("make_vocab_size_divisible_by", 128)?,
            model_parallel_size: size_or("model_parallel_size", 1)?,
            pipe_parallel_size: size_or("pipe_parallel_size", 0)?,
            dtype: dtype(fields),
        })
    }

    /// Computes the sizes as GPT-NeoX would, for a vocabulary of `vocab_size` ids.
    ///
    /// The gated width follows the two generations of GPT-NeoX: `mlp_type: llama` (2024 and older) and gated
    /// activations (`swiglu`, `geglu`; megatron/model/transformer.py, `ParallelMLP`).
    pub fn sizes(&self, vocab_size: usize) -> NeoxSizes {
        let rounding = self.make_vocab_size_divisible_by * self.model_parallel_size;
        NeoxSizes {
            intermediate_size: self.derived_intermediate_size(),
            padded_vocab_size: vocab_size.next_multiple_of(rounding.max(1)),
            use_qkv_bias: false,
            gated_mlp: self.is_gated(),
            tied: !self.no_weight_tying,
        }
    }

    fn is_gated(&self) -> bool {
        self.mlp_type.as_deref() == Some("llama")
            || matches!(self.activation.as_str(), "swiglu" | "geglu")
    }

    fn derived_intermediate_size(&self) -> usize {
        let hidden = self.hidden_size;
        if self.mlp_type.as_deref() == Some("llama") {
            return (8 * hidden / 3).next_multiple_of(self.mlp_multiple_of.unwrap_or(256).max(1));
        }
        let width = self.intermediate_size.unwrap_or(4 * hidden);
        if self.is_gated() {
            // GPT-NeoX takes two thirds for both halves together, then half of that for one.
            (2 * width / 3 / 2).next_multiple_of(self.mlp_multiple_of.unwrap_or(1).max(1))
        } else {
            width
        }
    }

    /// Makes the model's configuration out of the file and of sizes found in tensors.
    pub fn model_config(&self, sizes: NeoxSizes) -> Result<ModelConfig, ConfigError> {
        let architecture = if sizes.gated_mlp {
            Architecture::StableLm
        } else {
            Architecture::GptNeoX
        };
        let one_norm = self.gpt_j_residual && self.gpt_j_tied;
        match architecture {
            Architecture::StableLm if self.gpt_j_residual && !self.gpt_j_tied => {
                return Err(unsupported(
                    "gpt_j_residual",
                    &json!(true),
                    "with `gpt_j_tied` in a gated model",
                ));
            }
            Architecture::GptNeoX if one_norm => {
                return Err(unsupported(
                    "gpt_j_tied",
                    &json!(true),
                    "false without a gated MLP",
                ));
            }
            _ => {}
        }
        let config = ModelConfig {
            architecture,
            hidden_size: self.hidden_size,
            intermediate_size: sizes.intermediate_size,
            num_hidden_layers: self.num_layers,
            num_attention_heads: self.num_attention_heads,
            num_key_value_heads: self.num_kv_heads.unwrap_or(self.num_attention_heads),
            padded_vocab_size: sizes.padded_vocab_size,
            max_position_embeddings: self.max_position_embeddings,
            partial_rotary_factor: self.rotary_pct,
            rope_theta: self.rotary_emb_base,
            layer_norm_eps: self.layernorm_epsilon,
            hidden_act: self.hidden_act()?,
            use_qkv_bias: sizes.use_qkv_bias && architecture == Architecture::StableLm,
            qk_layernorm: false,
            use_parallel_residual: self.gpt_j_residual,
            attention_bias: sizes.use_qkv_bias && architecture == Architecture::GptNeoX,
            tie_word_embeddings: sizes.tied,
            dtype: self.dtype,
            bos_token_id: Some(0),
            eos_token_ids: vec![0],
        };
        config.validate()?;
        Ok(config)
    }

    fn hidden_act(&self) -> Result<Activation, ConfigError> {
        match self.activation.as_str() {
            "silu" | "swiglu" => Ok(Activation::Silu),
            "gelu" | "geglu" => Ok(Activation::Gelu),
            other => Err(unsupported(
                "activation",
                &json!(other),
                "silu, swiglu, gelu and geglu",
            )),
        }
    }

    /// Writes a GPT-NeoX file for a model that is to be split over `tensor_parallel` ranks, one file a layer.
    ///
    /// It names the architecture only; data, optimizer and schedule are the trainer's to add.
    pub fn yml_for(config: &ModelConfig, tensor_parallel: usize, dtype: Dtype) -> String {
        let gated = config.architecture == Architecture::StableLm;
        let mut map = Map::new();
        let mut put = |key: &str, value: Value| {
            map.insert(key.to_owned(), value);
        };
        put("num_layers", json!(config.num_hidden_layers));
        put("hidden_size", json!(config.hidden_size));
        put("num_attention_heads", json!(config.num_attention_heads));
        if config.num_key_value_heads != config.num_attention_heads {
            put("num_kv_heads", json!(config.num_key_value_heads));
        }
        put("seq_length", json!(config.max_position_embeddings));
        put(
            "max_position_embeddings",
            json!(config.max_position_embeddings),
        );
        put("norm", json!("layernorm"));
        put("layernorm_epsilon", json!(config.layer_norm_eps));
        put("pos_emb", json!("rotary"));
        put("rotary_pct", json!(config.partial_rotary_factor));
        put("rotary_emb_base", json!(config.rope_theta));
        put("no_weight_tying", json!(!config.tie_word_embeddings));
        put("gpt_j_residual", json!(config.use_parallel_residual));
        put("gpt_j_tied", json!(config.use_parallel_residual && gated));
        if gated {
            put("activation", json!("swiglu"));
            // GPT-NeoX halves two thirds of this number.
            put("intermediate_size", json!(3 * config.intermediate_size));
            put("mlp_multiple_of", json!(1));
            put("use_bias_in_mlp", json!(false));
            put("use_bias_in_attn_linear", json!(config.use_qkv_bias));
        } else {
            put("activation", json!("gelu"));
            put("intermediate_size", json!(config.intermediate_size));
        }
        put(
            "make_vocab_size_divisible_by",
            json!(config.padded_vocab_size / tensor_parallel.max(1)),
        );
        put("model_parallel_size", json!(tensor_parallel));
        put("pipe_parallel_size", json!(1));
        match dtype {
            Dtype::Bf16 => {
                put("precision", json!("bfloat16"));
                put("bf16", json!({ "enabled": true }));
            }
            Dtype::F16 => put("fp16", json!({ "enabled": true })),
            _ => put("precision", json!("fp32")),
        }
        let mut text =
            serde_json::to_string_pretty(&Value::Object(map)).expect("a JSON value always prints");
        text.push('\n');
        text
    }
}

fn dtype(fields: &Fields<'_>) -> Option<Dtype> {
    let enabled = |key: &str| {
        fields.get(key).and_then(|section| section.get("enabled")) == Some(&json!(true))
    };
    match fields.get("precision").and_then(Value::as_str) {
        Some("bfloat16") => Some(Dtype::Bf16),
        Some("fp16") => Some(Dtype::F16),
        Some("fp32") => Some(Dtype::F32),
        _ if enabled("bf16") || enabled("bfloat16") => Some(Dtype::Bf16),
        _ if fields.get("fp16").and_then(|section| section.get("type"))
            == Some(&json!("bfloat16")) =>
        {
            Some(Dtype::Bf16)
        }
        _ if enabled("fp16") => Some(Dtype::F16),
        _ => None,
    }
}
