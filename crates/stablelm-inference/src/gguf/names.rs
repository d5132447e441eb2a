//! llama.cpp's tensor names and ours.

use std::path::Path;

use stablelm_model::{Architecture, ModelConfig, Parameter, ParameterPart, ParameterRole};

use crate::gguf::GgufError;

/// Which part of one of llama.cpp's tensors one of ours is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A tensor as it is.
    Whole,
    /// One row of a tensor that holds all heads.
    Head { head: usize },
    /// GPT-NeoX's fused rows: all of q, then all of k, then all of v.
    Fused,
}

/// What is wrong with a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    Unknown,
    Shape(&'static str),
}

impl Problem {
    pub(crate) fn at(self, path: &Path, name: &str, shape: &[usize]) -> GgufError {
        let (path, name) = (path.to_owned(), name.to_owned());
        match self {
            Self::Unknown => GgufError::UnknownTensor { path, name },
            Self::Shape(expected) => GgufError::Shape {
                path,
                name,
                found: shape.to_vec(),
                expected,
            },
        }
    }
}

/// Returns the tensors of ours that one of llama.cpp's holds.
pub(crate) fn from_llama(
    config: &ModelConfig,
    name: &str,
    shape: &[usize],
) -> Result<Vec<(String, Origin)>, Problem> {
    let whole = |hf_name: String| Ok(vec![(hf_name, Origin::Whole)]);
    let (base, part) = name.rsplit_once('.').ok_or(Problem::Unknown)?;
    if !matches!(part, "weight" | "bias") {
        return Err(Problem::Unknown);
    }
    let neox = config.architecture == Architecture::GptNeoX;
    let outside = match (base, neox) {
        ("token_embd", false) => Some("model.embed_tokens"),
        ("output_norm", false) => Some("model.norm"),
        ("output", false) => Some("lm_head"),
        ("token_embd", true) => Some("gpt_neox.embed_in"),
        ("output_norm", true) => Some("gpt_neox.final_layer_norm"),
        ("output", true) => Some("embed_out"),
        _ => None,
    };
    if let Some(outside) = outside {
        return whole(format!("{outside}.{part}"));
    }
    let (layer, base) = layer_of(base).ok_or(Problem::Unknown)?;
    if neox {
        let base = neox_name(base).ok_or(Problem::Unknown)?;
        let hf_name = format!("gpt_neox.layers.{layer}.{base}.{part}");
        if base != "attention.query_key_value" {
            return whole(hf_name);
        }
        if shape.first() != Some(&(3 * config.hidden_size)) {
            return Err(Problem::Shape("three times the hidden size in rows"));
        }
        return Ok(vec![(hf_name, Origin::Fused)]);
    }
    let head_norm = match base {
        "attn_q_norm" => Some(("q_layernorm", config.num_attention_heads)),
        "attn_k_norm" => Some(("k_layernorm", config.num_key_value_heads)),
        _ => None,
    };
    let Some((norm, heads)) = head_norm else {
        let base = stablelm_name(base).ok_or(Problem::Unknown)?;
        return whole(format!("model.layers.{layer}.{base}.{part}"));
    };
    if shape != [heads, config.head_dim()] || part != "weight" {
        return Err(Problem::Shape("[heads, head_dim]"));
    }
    let head = |head| {
        let name = format!("model.layers.{layer}.self_attn.{norm}.norms.{head}.weight");
        (name, Origin::Head { head })
    };
    Ok((0..heads).map(head).collect())
}

/// Splits `blk.3.attn_q` into 3 and `attn_q`.
fn layer_of(base: &str) -> Option<(usize, &str)> {
    let (layer, base) = base.strip_prefix("blk.")?.split_once('.')?;
    Some((layer.parse().ok()?, base))
}

fn stablelm_name(base: &str) -> Option<&'static str> {
    Some(match base {
        "attn_norm" => "input_layernorm",
        "attn_q" => "self_attn.q_proj",
        "attn_k" => "self_attn.k_proj",
        "attn_v" => "self_attn.v_proj",
        "attn_output" => "self_attn.o_proj",
        "ffn_norm" => "post_attention_layernorm",
        "ffn_gate" => "mlp.gate_proj",
        "ffn_up" => "mlp.up_proj",
        "ffn_down" => "mlp.down_proj",
        _ => return None,
    })
}

fn neox_name(base: &str) -> Option<&'static str> {
    Some(match base {
        "attn_norm" => "input_layernorm",
        "attn_qkv" => "attention.query_key_value",
        "attn_output" => "attention.dense",
        "ffn_norm" => "post_attention_layernorm",
        "ffn_up" => "mlp.dense_h_to_4h",
        "ffn_down" => "mlp.dense_4h_to_h",
        _ => return None,
    })
}

/// Puts rows that go all of q, all of k, all of v into the order q, k, v of head 0, then of head 1, and so on.
///
/// `items` may be the rows' numbers or their bytes.
pub(crate) fn head_by_head<T: Copy>(config: &ModelConfig, items: &[T]) -> Vec<T> {
    let heads = config.num_attention_heads;
    let run = items.len() / (3 * heads);
    let runs = (0..heads).flat_map(|head| (0..3).map(move |part| part * heads + head));
    runs.flat_map(|index| &items[index * run..][..run])
        .copied()
        .collect()
}

/// Returns llama.cpp's name of the tensor that one of our parameters is in.
pub(crate) fn to_llama(parameter: &Parameter) -> String {
    let base = match parameter.role {
        ParameterRole::EmbedTokens => "token_embd",
        ParameterRole::FinalNorm => "output_norm",
        ParameterRole::LmHead => "output",
        ParameterRole::InputNorm => "attn_norm",
        ParameterRole::Query => "attn_q",
        ParameterRole::Key => "attn_k",
        ParameterRole::Value => "attn_v",
        ParameterRole::FusedQueryKeyValue => "attn_qkv",
        ParameterRole::QueryNorm => "attn_q_norm",
        ParameterRole::KeyNorm => "attn_k_norm",
        ParameterRole::AttentionOutput => "attn_output",
        ParameterRole::PostAttentionNorm => "ffn_norm",
        ParameterRole::Gate => "ffn_gate",
        ParameterRole::Up => "ffn_up",
        ParameterRole::Down => "ffn_down",
        other => unreachable!("{other:?} is no role of a StableLM or GPT-NeoX parameter"),
    };
    let part = match parameter.part {
        ParameterPart::Weight => "weight",
        ParameterPart::Bias => "bias",
    };
    match parameter.layer {
        Some(layer) => format!("blk.{layer}.{base}.{part}"),
        None => format!("{base}.{part}"),
    }
}

/// Puts rows that go head by head (q, k, v of head 0, then of head 1) into the order all of q, all of k, all of v.
///
/// `items` may be the rows' numbers or their bytes.
pub(crate) fn part_by_part<T: Copy>(num_heads: usize, items: &[T]) -> Vec<T> {
    let run = items.len() / (3 * num_heads);
    let runs = (0..3).flat_map(|part| (0..num_heads).map(move |head| 3 * head + part));
    runs.flat_map(|index| &items[index * run..][..run])
        .copied()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(model_type: &str) -> ModelConfig {
        let json = format!(
            r#"{{"model_type": "{model_type}", "hidden_size": 8, "intermediate_size": 16, "vocab_size": 32,
                "num_hidden_layers": 1, "num_attention_heads": 2}}"#
        );
        ModelConfig::from_config_json(json.as_bytes()).unwrap()
    }

    #[track_caller]
    fn check(model_type: &str, name: &str, shape: &[usize], expected: Result<&[&str], Problem>) {
        let found = from_llama(&config(model_type), name, shape);
        let names = found.map(|found| found.into_iter().map(|(name, _)| name).collect::<Vec<_>>());
        let expected = expected.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
        assert_eq!(names, expected);
    }

    #[test]
    fn every_kind_of_name_is_translated() {
        check(
            "stablelm",
            "token_embd.weight",
            &[32, 8],
            Ok(&["model.embed_tokens.weight"]),
        );
        check(
            "stablelm",
            "blk.11.attn_q.bias",
            &[8],
            Ok(&["model.layers.11.self_attn.q_proj.bias"]),
        );
        check(
            "stablelm",
            "blk.0.attn_k_norm.weight",
            &[2, 4],
            Ok(&[
                "model.layers.0.self_attn.k_layernorm.norms.0.weight",
                "model.layers.0.self_attn.k_layernorm.norms.1.weight",
            ]),
        );
        check(
            "gpt_neox",
            "blk.0.attn_qkv.weight",
            &[24, 8],
            Ok(&["gpt_neox.layers.0.attention.query_key_value.weight"]),
        );
        check(
            "gpt_neox",
            "output.weight",
            &[32, 8],
            Ok(&["embed_out.weight"]),
        );
    }

    #[test]
    fn names_and_shapes_without_a_place_are_refused() {
        for name in [
            "blk.x.attn_q.weight",
            "blk.0.attn_q.scale",
            "blk.0.ssm.weight",
            "weight",
            "",
        ] {
            check("stablelm", name, &[8, 8], Err(Problem::Unknown));
        }
        let heads = Problem::Shape("[heads, head_dim]");
        check("stablelm", "blk.0.attn_q_norm.weight", &[3, 4], Err(heads));
        let fused = Problem::Shape("three times the hidden size in rows");
        check("gpt_neox", "blk.0.attn_qkv.weight", &[8, 8], Err(fused));
    }

    #[test]
    fn fused_rows_go_head_by_head_again() {
        let rows: Vec<f32> = (0..24u8).map(f32::from).collect();
        let order = head_by_head(&config("gpt_neox"), &rows);
        let starts: Vec<f32> = order.iter().step_by(4).copied().collect();
        assert_eq!(starts, [0.0, 8.0, 16.0, 4.0, 12.0, 20.0]);
    }

    #[test]
    fn names_go_there_and_back() {
        for model_type in ["stablelm", "gpt_neox"] {
            let config = config(model_type);
            for parameter in stablelm_model::parameters(&config) {
                let llama_name = to_llama(&parameter);
                let found = from_llama(&config, &llama_name, &parameter.shape).unwrap();
                assert_eq!(found[0].0, parameter.name);
            }
        }
    }

    #[test]
    fn fused_rows_go_there_and_back() {
        let config = config("gpt_neox");
        let rows: Vec<f32> = (0..24u8).map(f32::from).collect();
        assert_eq!(head_by_head(&config, &part_by_part(2, &rows)), rows);
    }
}
