//! The network once more, straight from its formulas: scalar f64, no cache, every position from the beginning.
//!
//! Slow and plain on purpose. It shares nothing with the crate but the configuration.

use stablelm_model::{Activation, Architecture, ModelConfig};

use crate::source::Weights;

/// Returns the logits of every position.
pub(crate) fn logits(config: &ModelConfig, weights: &Weights, ids: &[u32]) -> Vec<Vec<f64>> {
    let network = Network { config, weights };
    let neox = config.architecture == Architecture::GptNeoX;
    let (embed, layers, norm, head) = if neox {
        (
            "gpt_neox.embed_in",
            "gpt_neox.layers",
            "gpt_neox.final_layer_norm",
            "embed_out",
        )
    } else {
        (
            "model.embed_tokens",
            "model.layers",
            "model.norm",
            "lm_head",
        )
    };
    let head = if config.tie_word_embeddings {
        embed
    } else {
        head
    };
    let table = network.tensor(&format!("{embed}.weight")).unwrap();
    let width = config.hidden_size;
    let mut stream: Vec<Vec<f64>> = ids
        .iter()
        .map(|id| table[*id as usize * width..][..width].to_vec())
        .collect();
    for layer in 0..config.num_hidden_layers {
        let prefix = format!("{layers}.{layer}");
        let first = network.norms(&format!("{prefix}.input_layernorm"), &stream);
        let attended = network.attention(&prefix, &first);
        let second = format!("{prefix}.post_attention_layernorm");
        let fed_from = match (config.use_parallel_residual, neox) {
            (false, _) => {
                let sum = add(&stream, &attended);
                network.norms(&second, &sum)
            }
            (true, true) => network.norms(&second, &stream),
            (true, false) => first,
        };
        let fed: Vec<Vec<f64>> = fed_from.iter().map(|x| network.mlp(&prefix, x)).collect();
        stream = add(&add(&stream, &attended), &fed);
    }
    let normed = network.norms(norm, &stream);
    normed.iter().map(|x| network.linear(head, x)).collect()
}

struct Network<'a> {
    config: &'a ModelConfig,
    weights: &'a Weights,
}

impl Network<'_> {
    fn tensor(&self, name: &str) -> Option<Vec<f64>> {
        let (_, values) = self.weights.tensors.get(name)?;
        Some(values.iter().map(|value| f64::from(*value)).collect())
    }

    fn linear(&self, name: &str, x: &[f64]) -> Vec<f64> {
        let weight = self.tensor(&format!("{name}.weight")).unwrap();
        let bias = self.tensor(&format!("{name}.bias"));
        let rows = weight.chunks_exact(x.len()).enumerate();
        rows.map(|(row, weights)| dot(weights, x) + bias.as_ref().map_or(0.0, |bias| bias[row]))
            .collect()
    }

    fn norms(&self, name: &str, rows: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let weight = self.tensor(&format!("{name}.weight")).unwrap();
        let bias = self.tensor(&format!("{name}.bias")).unwrap();
        let epsilon = self.config.layer_norm_eps;
        let norm = |x: &Vec<f64>| add_rows(&norm(x, &weight, epsilon), &bias);
        rows.iter().map(norm).collect()
    }

    fn attention(&self, prefix: &str, rows: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let config = self.config;
        let head_dim = config.head_dim();
        let heads = config.num_attention_heads;
        let group = heads / config.num_key_value_heads;
        let projected: Vec<[Vec<Vec<f64>>; 3]> = rows
            .iter()
            .enumerate()
            .map(|(position, x)| self.heads(prefix, x, position))
            .collect();
        let name = match config.architecture {
            Architecture::StableLm => "self_attn.o_proj",
            Architecture::GptNeoX => "attention.dense",
        };
        (0..rows.len())
            .map(|position| {
                let mut joined = Vec::new();
                for head in 0..heads {
                    let query = &projected[position][0][head];
                    let scores: Vec<f64> = (0..=position)
                        .map(|other| {
                            dot(query, &projected[other][1][head / group])
                                / (head_dim as f64).sqrt()
                        })
                        .collect();
                    let total: f64 = scores.iter().map(|score| score.exp()).sum();
                    let value = |dim: usize| {
                        let weighted = scores.iter().zip(&projected);
                        weighted
                            .map(|(score, at)| score.exp() / total * at[2][head / group][dim])
                            .sum::<f64>()
                    };
                    joined.extend((0..head_dim).map(value));
                }
                self.linear(&format!("{prefix}.{name}"), &joined)
            })
            .collect()
    }

    /// Returns the heads of queries, keys and values of one position, rotated.
    fn heads(&self, prefix: &str, x: &[f64], position: usize) -> [Vec<Vec<f64>>; 3] {
        let head_dim = self.config.head_dim();
        let split = |row: Vec<f64>| {
            row.chunks_exact(head_dim)
                .map(<[f64]>::to_vec)
                .collect::<Vec<_>>()
        };
        let mut parts = match self.config.architecture {
            Architecture::StableLm => ["q_proj", "k_proj", "v_proj"]
                .map(|name| split(self.linear(&format!("{prefix}.self_attn.{name}"), x))),
            Architecture::GptNeoX => {
                let fused = split(self.linear(&format!("{prefix}.attention.query_key_value"), x));
                [0, 1, 2].map(|part| fused.iter().skip(part).step_by(3).cloned().collect())
            }
        };
        for (part, name) in parts.iter_mut().zip(["q_layernorm", "k_layernorm"]) {
            for (head, values) in part.iter_mut().enumerate() {
                let name = format!("{prefix}.self_attn.{name}.norms.{head}.weight");
                if let Some(weight) = self.tensor(&name) {
                    *values = norm(values, &weight, self.config.layer_norm_eps);
                }
                *values = self.rotate(values, position);
            }
        }
        parts
    }

    fn rotate(&self, head: &[f64], position: usize) -> Vec<f64> {
        let ndims = self.config.rotary_ndims();
        let mut rotated = head.to_vec();
        let pairs = ndims.div_ceil(2);
        for i in 0..pairs {
            let exponent = 2.0 * i as f64 / ndims as f64;
            let angle = position as f64 / self.config.rope_theta.powf(exponent);
            let (a, b) = (head[i], head[i + pairs]);
            rotated[i] = a * angle.cos() - b * angle.sin();
            rotated[i + pairs] = b * angle.cos() + a * angle.sin();
        }
        rotated
    }

    fn mlp(&self, prefix: &str, x: &[f64]) -> Vec<f64> {
        let act = |x: f64| match self.config.hidden_act {
            Activation::Silu => x / (1.0 + (-x).exp()),
            Activation::Gelu => 0.5 * x * (1.0 + erf(x / std::f64::consts::SQRT_2)),
            Activation::GeluTanh => {
                let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x * x * x);
                0.5 * x * (1.0 + inner.tanh())
            }
            other => panic!("no formula for {other:?}"),
        };
        match self.config.architecture {
            Architecture::StableLm => {
                let gate = self.linear(&format!("{prefix}.mlp.gate_proj"), x);
                let up = self.linear(&format!("{prefix}.mlp.up_proj"), x);
                let inner: Vec<f64> = gate
                    .iter()
                    .zip(&up)
                    .map(|(gate, up)| act(*gate) * up)
                    .collect();
                self.linear(&format!("{prefix}.mlp.down_proj"), &inner)
            }
            Architecture::GptNeoX => {
                let inner = self.linear(&format!("{prefix}.mlp.dense_h_to_4h"), x);
                let inner: Vec<f64> = inner.into_iter().map(act).collect();
                self.linear(&format!("{prefix}.mlp.dense_4h_to_h"), &inner)
            }
        }
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn add(a: &[Vec<f64>], b: &[Vec<f64>]) -> Vec<Vec<f64>> {
    a.iter().zip(b).map(|(a, b)| add_rows(a, b)).collect()
}

fn add_rows(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}

fn norm(x: &[f64], weight: &[f64], epsilon: f64) -> Vec<f64> {
    let mean = x.iter().sum::<f64>() / x.len() as f64;
    let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / x.len() as f64;
    let scale = 1.0 / (variance + epsilon).sqrt();
    x.iter()
        .zip(weight)
        .map(|(x, weight)| (x - mean) * scale * weight)
        .collect()
}

/// The error function by its Maclaurin series, which is exact enough up to 5; beyond, it is 1.
fn erf(x: f64) -> f64 {
    if x.abs() > 5.0 {
        return x.signum();
    }
    let (mut term, mut sum) = (x, x);
    for n in 1..200 {
        let n = f64::from(n);
        term *= -x * x / n;
        sum += term / (2.0 * n + 1.0);
    }
    sum * std::f64::consts::FRAC_2_SQRT_PI
}
