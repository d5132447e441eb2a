//! Every parameter's name, shape and order: the truth that readers, writers and runners check against.

use crate::config::{Architecture, ModelConfig};

/// What a parameter does in the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ParameterRole {
    /// Token id to hidden state.
    EmbedTokens,
    /// Normalization before attention (and, with one norm for both branches, before the MLP).
    InputNorm,
    /// Query projection.
    Query,
    /// Key projection.
    Key,
    /// Value projection.
    Value,
    /// GPT-NeoX: query, key and value in one matrix, head by head.
    FusedQueryKeyValue,
    /// Per-head normalization of queries.
    QueryNorm,
    /// Per-head normalization of keys.
    KeyNorm,
    /// Attention output projection.
    AttentionOutput,
    /// Normalization before the MLP.
    PostAttentionNorm,
    /// Gate projection of a gated MLP.
    Gate,
    /// Up projection (GPT-NeoX: `dense_h_to_4h`).
    Up,
    /// Down projection (GPT-NeoX: `dense_4h_to_h`).
    Down,
    /// Normalization after the last layer.
    FinalNorm,
    /// Hidden state to logits.
    LmHead,
}

/// Whether a parameter multiplies or is added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ParameterPart {
    /// The factor.
    Weight,
    /// The summand.
    Bias,
}

/// A named tensor of the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// The name in Hugging Face transformers.
    pub name: String,
    /// The sizes; matrices are `[out, in]`.
    pub shape: Vec<usize>,
    /// What it does.
    pub role: ParameterRole,
    /// Weight or bias.
    pub part: ParameterPart,
    /// The decoder layer, or `None` outside of layers.
    pub layer: Option<usize>,
    /// The attention head, for per-head normalization only.
    pub head: Option<usize>,
}

impl Parameter {
    /// Returns the number of elements.
    pub fn num_elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// Returns every parameter of a model in the order of the network: embedding, layers, final norm, head.
pub fn parameters(config: &ModelConfig) -> impl Iterator<Item = Parameter> {
    let names = Names::of(config.architecture);
    let mut first = Section::new(None);
    first.matrix(
        names.embed,
        ParameterRole::EmbedTokens,
        config.padded_vocab_size,
        config.hidden_size,
    );
    let layers = (0..config.num_hidden_layers).flat_map(move |layer| match config.architecture {
        Architecture::StableLm => stablelm_layer(config, layer),
        Architecture::GptNeoX => neox_layer(config, layer),
    });
    let mut last = Section::new(None);
    last.norm(
        names.final_norm,
        ParameterRole::FinalNorm,
        config.hidden_size,
    );
    if !config.tie_word_embeddings {
        last.matrix(
            names.head,
            ParameterRole::LmHead,
            config.padded_vocab_size,
            config.hidden_size,
        );
    }
    first
        .parameters
        .into_iter()
        .chain(layers)
        .chain(last.parameters)
}

struct Names {
    embed: &'static str,
    final_norm: &'static str,
    head: &'static str,
}

impl Names {
    fn of(architecture: Architecture) -> Self {
        match architecture {
            Architecture::StableLm => Self {
                embed: "model.embed_tokens",
                final_norm: "model.norm",
                head: "lm_head",
            },
            Architecture::GptNeoX => Self {
                embed: "gpt_neox.embed_in",
                final_norm: "gpt_neox.final_layer_norm",
                head: "embed_out",
            },
        }
    }
}

fn stablelm_layer(config: &ModelConfig, layer: usize) -> Vec<Parameter> {
    let prefix = |name: &str| format!("model.layers.{layer}.{name}");
    let hidden = config.hidden_size;
    let queries = config.num_attention_heads * config.head_dim();
    let keys = config.num_key_value_heads * config.head_dim();
    let mut section = Section::new(Some(layer));
    section.norm(&prefix("input_layernorm"), ParameterRole::InputNorm, hidden);
    for (name, role, rows) in [
        ("self_attn.q_proj", ParameterRole::Query, queries),
        ("self_attn.k_proj", ParameterRole::Key, keys),
        ("self_attn.v_proj", ParameterRole::Value, keys),
    ] {
        section.linear(&prefix(name), role, rows, hidden, config.use_qkv_bias);
    }
    if config.qk_layernorm {
        for (name, role, heads) in [
            (
                "self_attn.q_layernorm",
                ParameterRole::QueryNorm,
                config.num_attention_heads,
            ),
            (
                "self_attn.k_layernorm",
                ParameterRole::KeyNorm,
                config.num_key_value_heads,
            ),
        ] {
            for head in 0..heads {
                section.head_norm(
                    &prefix(&format!("{name}.norms.{head}.weight")),
                    role,
                    head,
                    config.head_dim(),
                );
            }
        }
    }
    section.matrix(
        &prefix("self_attn.o_proj"),
        ParameterRole::AttentionOutput,
        hidden,
        queries,
    );
    if !config.use_parallel_residual {
        section.norm(
            &prefix("post_attention_layernorm"),
            ParameterRole::PostAttentionNorm,
            hidden,
        );
    }
    let inner = config.intermediate_size;
    section.matrix(&prefix("mlp.gate_proj"), ParameterRole::Gate, inner, hidden);
    section.matrix(&prefix("mlp.up_proj"), ParameterRole::Up, inner, hidden);
    section.matrix(&prefix("mlp.down_proj"), ParameterRole::Down, hidden, inner);
    section.parameters
}

fn neox_layer(config: &ModelConfig, layer: usize) -> Vec<Parameter> {
    let prefix = |name: &str| format!("gpt_neox.layers.{layer}.{name}");
    let (hidden, inner) = (config.hidden_size, config.intermediate_size);
    let bias = config.attention_bias;
    let mut section = Section::new(Some(layer));
    section.norm(&prefix("input_layernorm"), ParameterRole::InputNorm, hidden);
    section.linear(
        &prefix("attention.query_key_value"),
        ParameterRole::FusedQueryKeyValue,
        3 * hidden,
        hidden,
        bias,
    );
    section.linear(
        &prefix("attention.dense"),
        ParameterRole::AttentionOutput,
        hidden,
        hidden,
        bias,
    );
    section.norm(
        &prefix("post_attention_layernorm"),
        ParameterRole::PostAttentionNorm,
        hidden,
    );
    section.linear(
        &prefix("mlp.dense_h_to_4h"),
        ParameterRole::Up,
        inner,
        hidden,
        true,
    );
    section.linear(
        &prefix("mlp.dense_4h_to_h"),
        ParameterRole::Down,
        hidden,
        inner,
        true,
    );
    section.parameters
}

/// Parameters of one layer, or of what stands before or after the layers.
struct Section {
    layer: Option<usize>,
    parameters: Vec<Parameter>,
}

impl Section {
    fn new(layer: Option<usize>) -> Self {
        Self {
            layer,
            parameters: Vec::new(),
        }
    }

    fn push(&mut self, name: &str, role: ParameterRole, part: ParameterPart, shape: Vec<usize>) {
        let suffix = match part {
            ParameterPart::Weight => "weight",
            ParameterPart::Bias => "bias",
        };
        let name = format!("{name}.{suffix}");
        self.parameters.push(Parameter {
            name,
            shape,
            role,
            part,
            layer: self.layer,
            head: None,
        });
    }

    fn matrix(&mut self, name: &str, role: ParameterRole, rows: usize, columns: usize) {
        self.push(name, role, ParameterPart::Weight, vec![rows, columns]);
    }

    fn linear(&mut self, name: &str, role: ParameterRole, rows: usize, columns: usize, bias: bool) {
        self.matrix(name, role, rows, columns);
        if bias {
            self.push(name, role, ParameterPart::Bias, vec![rows]);
        }
    }

    fn norm(&mut self, name: &str, role: ParameterRole, size: usize) {
        self.push(name, role, ParameterPart::Weight, vec![size]);
        self.push(name, role, ParameterPart::Bias, vec![size]);
    }

    fn head_norm(&mut self, name: &str, role: ParameterRole, head: usize, size: usize) {
        let name = name.to_owned();
        let (part, layer) = (ParameterPart::Weight, self.layer);
        self.parameters.push(Parameter {
            name,
            shape: vec![size],
            role,
            part,
            layer,
            head: Some(head),
        });
    }
}
