//! Which tensors a GPT-NeoX checkpoint holds, under which names, and which parameters each of them carries.
//!
//! This table is the one truth of both directions: reading merges along it, writing splits along it. Layer files are
//! numbered as the network's modules: 0 the embedding, 1 nothing, 2 and on the decoder layers, then one more nothing,
//! the last norm and the head.

use std::collections::HashMap;

use serde::Serialize;
use stablelm_model::{
    Architecture, ModelConfig, Parameter, ParameterPart, ParameterRole, parameters,
};

use crate::neox::partitions::{RowPick, Rule};

/// How a generation of GPT-NeoX names the matrices of the MLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum MlpNaming {
    /// `w1`, `w3` and `w2`: gated MLPs of 2024 and older.
    W1W2W3,
    /// `linear1` and `linear2`: since September 2024, gated or not.
    Linear,
    /// `dense_h_to_4h` and `dense_4h_to_h`: plain MLPs of 2024 and older, and gated ones of some forks.
    Dense,
}

impl MlpNaming {
    /// Tells the naming from one layer's tensor names.
    pub(crate) fn detect(has: impl Fn(&str) -> bool) -> Option<Self> {
        [Self::W1W2W3, Self::Linear, Self::Dense]
            .into_iter()
            .find(|naming| has(&format!("mlp.{}.weight", naming.down())))
    }

    /// Name of the matrix that leads into the MLP; with `w1` and `w3` it is only half of it.
    pub(crate) fn up(self) -> &'static str {
        match self {
            Self::W1W2W3 => "w3",
            Self::Linear => "linear1",
            Self::Dense => "dense_h_to_4h",
        }
    }

    /// Name of the matrix that leads out of the MLP.
    pub(crate) fn down(self) -> &'static str {
        match self {
            Self::W1W2W3 => "w2",
            Self::Linear => "linear2",
            Self::Dense => "dense_4h_to_h",
        }
    }
}

/// One tensor of each rank.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NeoxTensor {
    /// Number of the layer file.
    pub(crate) module: usize,
    /// Name in that file.
    pub(crate) key: String,
    /// Sizes of one rank's tensor.
    pub(crate) shape: Vec<usize>,
    pub(crate) rule: Rule,
    /// The parameters in it; none only when the rule is to fill.
    pub(crate) slots: Vec<Slot>,
}

/// A parameter in a tensor.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Slot {
    /// Its name in Hugging Face transformers.
    pub(crate) parameter: String,
    /// Its sizes there.
    pub(crate) shape: Vec<usize>,
    /// Its rows in one rank's tensor.
    pub(crate) pick: RowPick,
}

impl NeoxTensor {
    /// The name with the module's number, as GPT-NeoX itself lists parameters.
    pub(crate) fn full_name(&self) -> String {
        full_name(self.module, &self.key)
    }

    pub(crate) fn rows(&self) -> usize {
        self.shape.first().copied().unwrap_or(1)
    }

    pub(crate) fn columns(&self) -> usize {
        self.shape.get(1).copied().unwrap_or(1)
    }
}

pub(crate) fn full_name(module: usize, key: &str) -> String {
    format!("{module}.{key}")
}

/// A number that can't be divided among the ranks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotDivisible {
    pub(crate) key: &'static str,
    pub(crate) value: usize,
}

/// Number of the layer file that holds a decoder layer.
pub(crate) fn layer_module(layer: usize) -> usize {
    layer + 2
}

/// Number of the layer file that holds the last norm.
pub(crate) fn norm_module(num_layers: usize) -> usize {
    num_layers + 3
}

/// Number of the layer file that holds the head.
pub(crate) fn head_module(num_layers: usize) -> usize {
    num_layers + 4
}

/// Returns every tensor of a model in the order of the layer files.
pub(crate) fn layout(
    config: &ModelConfig,
    naming: MlpNaming,
    num_ranks: usize,
) -> Result<Vec<NeoxTensor>, NotDivisible> {
    for (key, value) in [
        ("num_attention_heads", config.num_attention_heads),
        ("num_key_value_heads", config.num_key_value_heads),
        ("intermediate_size", config.intermediate_size),
        ("vocab_size", config.padded_vocab_size),
    ] {
        if !value.is_multiple_of(num_ranks) {
            return Err(NotDivisible { key, value });
        }
    }
    let mut by_place: HashMap<_, Vec<Parameter>> = HashMap::new();
    for parameter in parameters(config) {
        let place = (parameter.layer, parameter.role, parameter.part);
        by_place.entry(place).or_default().push(parameter);
    }
    let builder = Builder {
        config,
        naming,
        num_ranks,
        by_place,
    };
    Ok(builder.build())
}

struct Builder<'a> {
    config: &'a ModelConfig,
    naming: MlpNaming,
    num_ranks: usize,
    by_place: HashMap<(Option<usize>, ParameterRole, ParameterPart), Vec<Parameter>>,
}

impl Builder<'_> {
    fn build(&self) -> Vec<NeoxTensor> {
        let mut tensors = Vec::new();
        let num_layers = self.config.num_hidden_layers;
        tensors.extend(self.whole(
            0,
            None,
            "word_embeddings",
            ParameterRole::EmbedTokens,
            Rule::Rows,
        ));
        for layer in 0..num_layers {
            self.layer(layer, &mut tensors);
        }
        let last = norm_module(num_layers);
        tensors.extend(self.whole(
            last,
            None,
            "norm",
            ParameterRole::FinalNorm,
            Rule::Replicated,
        ));
        let head = head_module(num_layers);
        tensors.extend(self.whole(
            head,
            None,
            "final_linear",
            ParameterRole::LmHead,
            Rule::Rows,
        ));
        tensors
    }

    fn layer(&self, layer: usize, tensors: &mut Vec<NeoxTensor>) {
        let module = layer_module(layer);
        let whole = |key: &str, role, rule| self.whole(module, Some(layer), key, role, rule);
        tensors.extend(whole(
            "input_layernorm",
            ParameterRole::InputNorm,
            Rule::Replicated,
        ));
        for part in [ParameterPart::Weight, ParameterPart::Bias] {
            tensors.extend(self.query_key_value(layer, part));
        }
        let output = whole(
            "attention.dense",
            ParameterRole::AttentionOutput,
            Rule::Columns,
        );
        tensors.extend(output);
        if self.config.architecture == Architecture::StableLm {
            if self.config.use_qkv_bias {
                // GPT-NeoX has one switch for the biases of all attention matrices.
                tensors.push(self.filler(module, "attention.dense.bias", 0.0));
            }
            if self.config.use_parallel_residual {
                // With one norm for both branches GPT-NeoX keeps the second one, unused.
                tensors.push(self.filler(module, "post_attention_layernorm.weight", 1.0));
                tensors.push(self.filler(module, "post_attention_layernorm.bias", 0.0));
            }
        }
        let role = ParameterRole::PostAttentionNorm;
        tensors.extend(whole("post_attention_layernorm", role, Rule::Replicated));
        self.mlp(layer, tensors);
    }

    /// `query_key_value`: query, key and value of each head in turn; with grouped queries, all of the rank's queries,
    /// then its keys, then its values.
    fn query_key_value(&self, layer: usize, part: ParameterPart) -> Option<NeoxTensor> {
        let module = layer_module(layer);
        let suffix = suffix(part);
        let key = format!("attention.query_key_value.{suffix}");
        let get = |role| self.find(Some(layer), role, part);
        if let Some(fused) = get(ParameterRole::FusedQueryKeyValue) {
            return Some(self.rows_of(module, key, &[fused]));
        }
        let (query, keys, values) = (
            get(ParameterRole::Query)?,
            get(ParameterRole::Key)?,
            get(ParameterRole::Value)?,
        );
        let head_dim = self.config.head_dim();
        if self.config.num_key_value_heads < self.config.num_attention_heads {
            return Some(self.rows_of(module, key, &[query, keys, values]));
        }
        let count = self.config.num_attention_heads / self.num_ranks;
        let turns = [query, keys, values].into_iter().enumerate();
        let slots = turns.map(|(nth, parameter)| {
            let pick = RowPick {
                start: nth * head_dim,
                len: head_dim,
                step: 3 * head_dim,
                count,
            };
            slot(parameter, pick)
        });
        let mut shape = query.shape.clone();
        shape[0] = 3 * head_dim * count;
        Some(NeoxTensor {
            module,
            key,
            shape,
            rule: Rule::Rows,
            slots: slots.collect(),
        })
    }

    fn mlp(&self, layer: usize, tensors: &mut Vec<NeoxTensor>) {
        let module = layer_module(layer);
        let whole = |name: &str, role, rule| {
            self.whole(module, Some(layer), &format!("mlp.{name}"), role, rule)
        };
        let up = self.find(Some(layer), ParameterRole::Up, ParameterPart::Weight);
        let gate = self.find(Some(layer), ParameterRole::Gate, ParameterPart::Weight);
        match (self.naming, up, gate) {
            (MlpNaming::W1W2W3, ..) => {
                tensors.extend(whole("w1", ParameterRole::Gate, Rule::Rows));
                tensors.extend(whole("w3", ParameterRole::Up, Rule::Rows));
            }
            (naming, Some(up), Some(gate)) => {
                let key = format!("mlp.{}.weight", naming.up());
                tensors.push(self.rows_of(module, key, &[up, gate]));
            }
            (naming, ..) => tensors.extend(whole(naming.up(), ParameterRole::Up, Rule::Rows)),
        }
        tensors.extend(whole(
            self.naming.down(),
            ParameterRole::Down,
            Rule::Columns,
        ));
    }

    /// Weight and bias of a parameter that has a tensor to itself.
    fn whole(
        &self,
        module: usize,
        layer: Option<usize>,
        name: &str,
        purpose: ParameterRole,
        spread: Rule,
    ) -> Vec<NeoxTensor> {
        let parts = [ParameterPart::Weight, ParameterPart::Bias].into_iter();
        let tensor = |part| {
            let parameter = self.find(layer, purpose, part)?;
            let rule = match (spread, part) {
                (Rule::Columns, ParameterPart::Bias) => self.row_bias_rule(),
                _ => spread,
            };
            let mut shape = parameter.shape.clone();
            match rule {
                Rule::Rows => shape[0] /= self.num_ranks,
                Rule::Columns => shape[1] /= self.num_ranks,
                _ => {}
            }
            Some(NeoxTensor {
                module,
                key: format!("{name}.{}", suffix(part)),
                rule,
                slots: vec![slot(parameter, RowPick::block(0, shape[0]))],
                shape,
            })
        };
        parts.filter_map(tensor).collect()
    }

    /// A tensor of several parameters, each with all of its rank's rows in one block.
    fn rows_of(&self, module: usize, key: String, parameters: &[&Parameter]) -> NeoxTensor {
        let mut slots = Vec::with_capacity(parameters.len());
        let mut shape = parameters[0].shape.clone();
        shape[0] = 0;
        for parameter in parameters {
            let rows = parameter.shape[0] / self.num_ranks;
            slots.push(slot(parameter, RowPick::block(shape[0], rows)));
            shape[0] += rows;
        }
        NeoxTensor {
            module,
            key,
            shape,
            rule: Rule::Rows,
            slots,
        }
    }

    /// The bias behind a matrix that is split by columns: in the parallel residual every rank adds its own before the
    /// sum over ranks, otherwise it is added once, after it.
    fn row_bias_rule(&self) -> Rule {
        if self.config.use_parallel_residual {
            Rule::Summed
        } else {
            Rule::Replicated
        }
    }

    fn filler(&self, module: usize, key: &str, value: f32) -> NeoxTensor {
        NeoxTensor {
            module,
            key: key.to_owned(),
            shape: vec![self.config.hidden_size],
            rule: Rule::Filled(value),
            slots: Vec::new(),
        }
    }

    fn find(
        &self,
        layer: Option<usize>,
        role: ParameterRole,
        part: ParameterPart,
    ) -> Option<&Parameter> {
        self.by_place.get(&(layer, role, part))?.first()
    }
}

fn suffix(part: ParameterPart) -> &'static str {
    match part {
        ParameterPart::Weight => "weight",
        ParameterPart::Bias => "bias",
    }
}

fn slot(parameter: &Parameter, pick: RowPick) -> Slot {
    Slot {
        parameter: parameter.name.clone(),
        shape: parameter.shape.clone(),
        pick,
    }
}

/// Why a tensor without a place in the model may be left out unasked.
pub(crate) fn reason_to_drop(config: &ModelConfig, key: &str) -> Option<&'static str> {
    let one_norm = config.architecture == Architecture::StableLm && config.use_parallel_residual;
    match key {
        "attention.rotary_emb.inv_freq" => Some("computed from the configuration, exactly"),
        "post_attention_layernorm.weight" | "post_attention_layernorm.bias" if one_norm => {
            Some("not used by the network")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(extra: &str) -> ModelConfig {
        let text = format!(
            r#"{{"vocab_size": 12, "hidden_size": 8, "intermediate_size": 6, "num_hidden_layers": 1,
                "num_attention_heads": 4, {extra}}}"#
        );
        ModelConfig::from_config_json(text.as_bytes()).unwrap()
    }

    #[track_caller]
    fn check(extra: &str, naming: MlpNaming, num_ranks: usize, expected: &str) {
        let found: Vec<String> = match layout(&config(extra), naming, num_ranks) {
            Ok(tensors) => tensors
                .iter()
                .map(|tensor| format!("{} {:?}", tensor.full_name(), tensor.shape))
                .collect(),
            Err(error) => vec![format!("{} {}", error.key, error.value)],
        };
        let expected: Vec<&str> = expected
            .lines()
            .map(str::trim)
            .filter(|l| !l.is_empty())
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_gated_model_has_the_names_of_each_generation() {
        let before = "0.word_embeddings.weight [6, 8]\n2.input_layernorm.weight [8]\n2.input_layernorm.bias [8]
            2.attention.query_key_value.weight [12, 8]\n2.attention.dense.weight [8, 4]
            2.post_attention_layernorm.weight [8]\n2.post_attention_layernorm.bias [8]";
        let after = "4.norm.weight [8]\n4.norm.bias [8]\n5.final_linear.weight [6, 8]";
        for (naming, mlp) in [
            (
                MlpNaming::W1W2W3,
                "2.mlp.w1.weight [3, 8]\n2.mlp.w3.weight [3, 8]\n2.mlp.w2.weight [8, 3]",
            ),
            (
                MlpNaming::Linear,
                "2.mlp.linear1.weight [6, 8]\n2.mlp.linear2.weight [8, 3]",
            ),
            (
                MlpNaming::Dense,
                "2.mlp.dense_h_to_4h.weight [6, 8]\n2.mlp.dense_4h_to_h.weight [8, 3]",
            ),
        ] {
            let expected = format!("{before}\n{mlp}\n{after}");
            check(r#""model_type": "stablelm""#, naming, 2, &expected);
        }
    }

    #[test]
    fn what_the_ranks_cannot_share_is_named() {
        let stablelm = r#""model_type": "stablelm""#;
        check(stablelm, MlpNaming::Linear, 3, "num_attention_heads 4");
        check(stablelm, MlpNaming::Linear, 4, "intermediate_size 6");
        let grouped = r#""model_type": "stablelm", "num_key_value_heads": 1"#;
        check(grouped, MlpNaming::Linear, 2, "num_key_value_heads 1");
    }

    #[test]
    fn heads_take_turns_unless_queries_are_grouped() {
        let picks = |extra: &str| -> Vec<RowPick> {
            let tensors = layout(&config(extra), MlpNaming::Linear, 2).unwrap();
            let fused = tensors
                .iter()
                .find(|t| t.key == "attention.query_key_value.weight");
            fused.unwrap().slots.iter().map(|slot| slot.pick).collect()
        };
        let pick = |start| RowPick {
            start,
            len: 2,
            step: 6,
            count: 2,
        };
        assert_eq!(
            picks(r#""model_type": "stablelm""#),
            [pick(0), pick(2), pick(4)]
        );
        assert_eq!(
            picks(r#""model_type": "stablelm", "num_key_value_heads": 2"#),
            [
                RowPick::block(0, 4),
                RowPick::block(4, 2),
                RowPick::block(6, 2)
            ]
        );
        assert_eq!(
            picks(r#""model_type": "gpt_neox""#),
            [RowPick::block(0, 12)]
        );
    }

    #[test]
    fn the_residual_decides_about_biases_behind_split_columns() {
        let rule = |extra: &str| {
            let tensors = layout(&config(extra), MlpNaming::Linear, 2).unwrap();
            tensors
                .iter()
                .find(|t| t.key == "attention.dense.bias")
                .map(|t| t.rule)
        };
        assert_eq!(rule(r#""model_type": "gpt_neox""#), Some(Rule::Summed));
        let sequential = r#""model_type": "gpt_neox", "use_parallel_residual": false"#;
        assert_eq!(rule(sequential), Some(Rule::Replicated));
        assert_eq!(rule(r#""model_type": "stablelm""#), None);
        let biased = r#""model_type": "stablelm", "use_qkv_bias": true"#;
        assert_eq!(rule(biased), Some(Rule::Filled(0.0)));
    }
}
