//! The configuration out of GGUF metadata.

use std::path::Path;

use serde_json::{Map, Value as Json, json};
use stablelm_model::ModelConfig;

use crate::gguf::GgufError;
use crate::gguf::header::{Header, Value};

/// Rotary base of a file that does not name one, as llama.cpp takes it.
const DEFAULT_ROPE_THETA: f64 = 10_000.0;

/// Reads the metadata by way of a `config.json`, so that there is one set of rules for what makes a model.
pub(crate) fn read(path: &Path, header: &Header) -> Result<ModelConfig, GgufError> {
    let metadata = Metadata::new(path, header)?;
    let heads = metadata.size("attention.head_count")?;
    let hidden_size = metadata.size("embedding_length")?;
    let mut map = Map::new();
    let mut put = |key: &str, value: Json| map.insert(key.to_owned(), value);
    put("model_type", json!(metadata.model_type));
    put("hidden_size", json!(hidden_size));
    put(
        "intermediate_size",
        json!(metadata.size("feed_forward_length")?),
    );
    put("num_hidden_layers", json!(metadata.layers()?));
    put("num_attention_heads", json!(heads));
    let key_heads = metadata.optional_size("attention.head_count_kv")?;
    put("num_key_value_heads", json!(key_heads.unwrap_or(heads)));
    put(
        "max_position_embeddings",
        json!(metadata.size("context_length")?),
    );
    put("vocab_size", json!(metadata.embedding_rows()?));
    let epsilon = metadata.optional_float("attention.layer_norm_epsilon")?;
    put("layer_norm_eps", json!(epsilon.unwrap_or(1e-5)));
    let theta = metadata.optional_float("rope.freq_base")?.unwrap_or_else(|| {
        tracing::warn!(
            path = %path.display(),
            "the file does not say `rope.freq_base`; 10000 is assumed, which is wrong for stable-code: another can be given with \
             --rope-theta"
        );
        DEFAULT_ROPE_THETA
    });
    let rotary_ndims = metadata.optional_size("rope.dimension_count")?;
    let share = share(rotary_ndims, hidden_size, heads);
    let parallel = metadata.flag("use_parallel_residual")?;
    let has = |name: &str| header.tensors.contains_key(name);
    if metadata.model_type == "gpt_neox" {
        put("rotary_emb_base", json!(theta));
        put("rotary_pct", json!(share));
        put("use_parallel_residual", json!(parallel.unwrap_or(true)));
        put("attention_bias", json!(has("blk.0.attn_qkv.bias")));
    } else {
        put("rope_theta", json!(theta));
        put("partial_rotary_factor", json!(share));
        // Files of StableLM 2 12B say it by the absence of a second normalization only.
        put(
            "use_parallel_residual",
            json!(!has("blk.0.ffn_norm.weight")),
        );
        put("use_qkv_bias", json!(has("blk.0.attn_q.bias")));
        put("qk_layernorm", json!(has("blk.0.attn_q_norm.weight")));
    }
    put("tie_word_embeddings", json!(!has("output.weight")));
    let token = |key| metadata.global_size(key);
    put("bos_token_id", json!(token("tokenizer.ggml.bos_token_id")?));
    put("eos_token_id", json!(token("tokenizer.ggml.eos_token_id")?));
    let json = Json::Object(map).to_string();
    ModelConfig::from_config_json(json.as_bytes()).map_err(|source| GgufError::Config {
        path: path.to_owned(),
        source,
    })
}

/// Returns the share of a head that has `rotary_ndims` dimensions, such that the way back does not round them down.
fn share(rotary_ndims: Option<usize>, hidden_size: usize, heads: usize) -> f64 {
    let head_dim = hidden_size.checked_div(heads).unwrap_or(0).max(1);
    let ndims = rotary_ndims.unwrap_or(head_dim) as f64;
    let head_dim = head_dim as f64;
    let share = ndims / head_dim;
    if (head_dim * share).floor() < ndims {
        (ndims + 0.5) / head_dim
    } else {
        share
    }
}

struct Metadata<'a> {
    path: &'a Path,
    header: &'a Header,
    /// The prefix of the model's own keys.
    prefix: &'static str,
    model_type: &'static str,
}

impl<'a> Metadata<'a> {
    fn new(path: &'a Path, header: &'a Header) -> Result<Self, GgufError> {
        let found = header.metadata.get("general.architecture");
        let (prefix, model_type) = match found {
            Some(Value::Text(name)) if name == "stablelm" => ("stablelm", "stablelm"),
            Some(Value::Text(name)) if name == "gptneox" => ("gptneox", "gpt_neox"),
            Some(Value::Text(name)) => {
                return Err(GgufError::Architecture {
                    path: path.to_owned(),
                    found: name.clone(),
                });
            }
            other => {
                let expected = "the name of an architecture";
                return Err(wrong(path, "general.architecture", other, expected));
            }
        };
        Ok(Self {
            path,
            header,
            prefix,
            model_type,
        })
    }

    fn get(&self, key: &str) -> (String, Option<&Value>) {
        let key = format!("{}.{key}", self.prefix);
        let value = self.header.metadata.get(&key);
        (key, value)
    }

    fn size(&self, key: &str) -> Result<usize, GgufError> {
        self.optional_size(key)?.ok_or_else(|| {
            let (key, found) = self.get(key);
            wrong(self.path, &key, found, "a whole number")
        })
    }

    /// Returns the number of layers, which must have tensors in the file: whoever lists the parameters of a model takes
    /// time for each of its layers.
    fn layers(&self) -> Result<usize, GgufError> {
        let layers = self.size("block_count")?;
        if layers <= self.header.tensors.len() {
            return Ok(layers);
        }
        let (key, found) = self.get("block_count");
        let expected = "no more layers than there are tensors";
        Err(wrong(self.path, &key, found, expected))
    }

    fn optional_size(&self, key: &str) -> Result<Option<usize>, GgufError> {
        let (key, _) = self.get(key);
        self.global_size(&key)
    }

    fn global_size(&self, key: &str) -> Result<Option<usize>, GgufError> {
        let Some(value) = self.header.metadata.get(key) else {
            return Ok(None);
        };
        let number = match value {
            Value::Unsigned(number) => Some(*number),
            Value::Signed(number) => u64::try_from(*number).ok(),
            _ => None,
        };
        let size = number.and_then(|number| usize::try_from(number).ok());
        size.map(Some)
            .ok_or_else(|| wrong(self.path, key, Some(value), "a whole number"))
    }

    fn optional_float(&self, key: &str) -> Result<Option<f64>, GgufError> {
        match self.get(key) {
            (_, None) => Ok(None),
            (_, Some(Value::F64(number))) if number.is_finite() => Ok(Some(*number)),
            // The shortest decimal that is this f32: 1e-5, not 9.99999974e-6.
            (_, Some(Value::F32(number))) if number.is_finite() => Ok(Some(
                number.to_string().parse().unwrap_or(f64::from(*number)),
            )),
            (key, found) => Err(wrong(
                self.path,
                &key,
                found,
                "a finite floating point number",
            )),
        }
    }

    fn flag(&self, key: &str) -> Result<Option<bool>, GgufError> {
        match self.get(key) {
            (_, None) => Ok(None),
            (_, Some(Value::Bool(flag))) => Ok(Some(*flag)),
            (key, found) => Err(wrong(self.path, &key, found, "true or false")),
        }
    }

    /// Returns the padded vocabulary size, which the metadata need not say.
    fn embedding_rows(&self) -> Result<usize, GgufError> {
        let tensor = self.header.tensors.get("token_embd.weight");
        let rows = tensor.and_then(|tensor| tensor.shape.first());
        rows.copied().ok_or_else(|| GgufError::Shape {
            path: self.path.to_owned(),
            name: "token_embd.weight".to_owned(),
            found: Vec::new(),
            expected: "a matrix",
        })
    }
}

fn wrong(path: &Path, key: &str, found: Option<&Value>, expected: &'static str) -> GgufError {
    let found = match found {
        None => "missing".to_owned(),
        Some(Value::Text(text)) => format!("`{}`", text.chars().take(40).collect::<String>()),
        Some(Value::List(list)) => format!("a list of {} items", list.len),
        Some(Value::Unsigned(number)) => format!("`{number}`"),
        Some(Value::Signed(number)) => format!("`{number}`"),
        Some(Value::F32(number)) => format!("`{number}`"),
        Some(Value::F64(number)) => format!("`{number}`"),
        Some(Value::Bool(flag)) => format!("`{flag}`"),
    };
    GgufError::Metadata {
        path: path.to_owned(),
        key: key.to_owned(),
        found,
        expected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotary_dimensions_survive_the_way_through_a_share() {
        for head_dim in 2..=256usize {
            for ndims in (2..=head_dim).step_by(2) {
                let share = share(Some(ndims), head_dim * 2, 2);
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "small"
                )]
                let back = (head_dim as f64 * share) as usize;
                assert_eq!(back - back % 2, ndims, "{ndims} of {head_dim}");
                assert!(share <= 1.0);
            }
        }
    }
}
