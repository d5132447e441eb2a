//! `neox.yml`: the prepared data, and the published settings of StableLM-3B-4E1T to train with.
//!
//! The settings are those of `configs/stablelm-3b-4e1t.yml` in Stability AI's repository, under the
//! names that GPT-NeoX knows today. The release came from a fork: its `mlp_type: gated` with
//! `silu` is `activation: swiglu` there, whose `intermediate_size` counts both halves and is cut by
//! a third, so that 20736 gives the published MLP of 6912. Keys that only the fork knows are
//! comments, since GPT-NeoX refuses keys it does not know.
//!
//! The file is YAML 1.1, where `3.2e-4` is a number but `3e-4` and `1e16` are strings: numbers are
//! written without exponents.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use crate::document::Split;
use crate::mixture::SEQ_LENGTH;
use crate::report::Mixture;

/// Steps of the published run.
const PUBLISHED_ITERATIONS: u64 = 955_000;
/// Tokens of a step: 256 GPUs with 4 sequences each.
const STEP_TOKENS: u64 = 256 * 4 * SEQ_LENGTH;
/// GPT-NeoX keeps the number of a data path in a byte (`megatron/data/blendable_dataset.py`).
const MAX_DATA_PATHS: usize = 254;

/// Whose list a split takes that has no tokens, the first that has some.
const LENDERS: [(Split, &[Split]); 3] = [
    (Split::Train, &[]),
    (Split::Valid, &[Split::Test, Split::Train]),
    (Split::Test, &[Split::Valid, Split::Train]),
];

/// What is different from one run to the next.
pub(crate) struct NeoxData<'d> {
    pub(crate) mixture: &'d Mixture,
    /// Tokens of the training run, where the recipe says how many.
    pub(crate) training_tokens: Option<u64>,
    /// The token files of each split, in the order of the recipe and of the shards.
    pub(crate) splits: BTreeMap<Split, Vec<NeoxFile>>,
    pub(crate) vocab_file: &'d str,
}

/// A token file: one shard of a source and split, or all of it.
#[derive(Clone, Debug)]
pub(crate) struct NeoxFile {
    /// Name of the source.
    pub(crate) source: String,
    /// Path of its `.bin` and `.idx` without the suffix.
    pub(crate) prefix: String,
    /// Tokens in it; without any it is left out, as GPT-NeoX can't sample from it.
    pub(crate) tokens: u64,
}

const MODEL: &str = r#"
  # The model.
  "pipe_parallel_size": 1,
  "model_parallel_size": 1,
  "num_layers": 32,
  "hidden_size": 2560,
  "num_attention_heads": 32,
  "seq_length": 4096,
  "max_position_embeddings": 4096,
  "norm": "layernorm",
  "layernorm_epsilon": 0.00001,
  "pos_emb": "rotary",
  "rotary_pct": 0.25,
  "rotary_emb_base": 10000,
  "no_weight_tying": true,
  "gpt_j_residual": false,
  "gpt_j_tied": false,
  "output_layer_parallelism": "column",
  # The fork: "mlp_type": "gated", "activation": "silu", "mlp_multiple_of": 256.
  "activation": "swiglu",
  "intermediate_size": 20736,
  "mlp_multiple_of": 256,
  "use_bias_in_norms": true,
  "use_bias_in_attn_linear": false,
  "use_bias_in_mlp": false,
  "attention_config": [[["flash"], 32]],
  "output_layer_init_method": "scaled_normal",
  # The fork only:
  # "attention_head_type": "multihead",
  # "rotary_interleaved": false,
  # "full_precision_lm_cross_entropy": true,
"#;

const TRAINING: &str = r#"  "optimizer": {
    "type": "Adam",
    "params": {"lr": 0.00032, "betas": [0.9, 0.95], "eps": 0.000001}
  },
  "min_lr": 0.0000128,
  "lr_decay_style": "cosine",
  "warmup": 0.005,
  "zero_optimization": {
    "stage": 1,
    "allgather_partitions": true,
    "allgather_bucket_size": 1260000000,
    "overlap_comm": true,
    "reduce_scatter": true,
    "reduce_bucket_size": 1260000000,
    "contiguous_gradients": true,
    "cpu_offload": false
  },
  # A step is 1,024 sequences on 256 GPUs; on fewer, raise the accumulation steps as much.
  "train_micro_batch_size_per_gpu": 4,
  "gradient_accumulation_steps": 1,
  "gradient_clipping": 1.0,
  "weight_decay": 0.1,
  "hidden_dropout": 0.0,
  "attention_dropout": 0.0,
  "bf16": {"enabled": true},
  "precision": "bfloat16",
  "checkpoint_activations": true,
  "checkpoint_num_layers": 1,
  "partition_activations": true,
  "synchronize_each_layer": true,
  "eval_interval": 5000,
  "num_workers": 2,
  "distributed_backend": "nccl",
  "checkpoint_factor": 2000,
  "extra_save_iters": [0],
  "log_interval": 10,
  "steps_per_print": 10,
  "wall_clock_breakdown": true
  # The fork only:
  # "eval_batch_size": 8,
  # "s3_sync_interval": 10000,
  # Of your cluster: "save", "load", "launcher", "deepspeed_slurm", "use_wandb".
}
"#;

/// The text of the file. Paths are relative to its folder.
pub(crate) fn render(data: &NeoxData<'_>) -> String {
    let mut yml = String::from(
        "# Prepared data, with the published settings of StableLM-3B-4E1T.\n\
         # Paths are relative to this folder: run GPT-NeoX from here, or put the folder before them.\n\
         {\n  # The data.\n  \"data_impl\": \"mmap\",\n",
    );
    let evaluates = write_splits(&mut yml, data);
    line(&mut yml, "tokenizer_type", &"HFTokenizer");
    line(&mut yml, "vocab_file", &data.vocab_file);
    comment(&mut yml, "50,277 ids of the NeoX tokenizer become 50,304.");
    line(&mut yml, "make_vocab_size_divisible_by", &128);
    yml.push_str(MODEL);
    write_length(&mut yml, data);
    if !evaluates {
        comment(&mut yml, "Published: 10.");
    }
    line(&mut yml, "eval_iters", if evaluates { &10 } else { &0 });
    yml.push_str(TRAINING);
    yml
}

/// Writes paths and weights; returns whether any split is there to evaluate on.
///
/// GPT-NeoX wants the paths of all three splits or of none, and weights above 0, so a split
/// without tokens borrows those of another one.
fn write_splits(yml: &mut String, data: &NeoxData<'_>) -> bool {
    let files = |split: Split| -> Vec<&NeoxFile> {
        let files = data.splits.get(&split).into_iter().flatten();
        files.filter(|file| file.tokens > 0).collect()
    };
    if files(Split::Train).is_empty() {
        comment(yml, "No source has tokens to train on.");
        return false;
    }
    let evaluates = [Split::Valid, Split::Test]
        .into_iter()
        .any(|split| !files(split).is_empty());
    for (split, others) in LENDERS {
        let own = files(split);
        let borrowed = others.iter().find(|other| !files(**other).is_empty());
        let files = match borrowed.filter(|_| own.is_empty()) {
            None => own,
            Some(&other) => {
                let why = if evaluates {
                    format!(
                        "No documents in {split}: GPT-NeoX wants a list, so it is that of {other}."
                    )
                } else {
                    format!("No documents in {split}: GPT-NeoX wants a list; `eval_iters` is 0.")
                };
                comment(yml, &why);
                files(other)
            }
        };
        if files.len() > MAX_DATA_PATHS {
            let many = format!(
                "{} paths: GPT-NeoX blends at most {MAX_DATA_PATHS}; prepare with a larger `shard_tokens`.",
                files.len()
            );
            comment(yml, &many);
        }
        let paths: Vec<_> = files.iter().map(|file| &file.prefix).collect();
        line(yml, &format!("{split}_data_paths"), &paths);
        let weights = weights(data.mixture, &files).join(",");
        writeln!(yml, "  \"{split}_data_weights\": [{weights}],").expect(STRING);
    }
    evaluates
}

/// The weight of each file: its source's, shared among its shards by their tokens.
fn weights(mixture: &Mixture, files: &[&NeoxFile]) -> Vec<String> {
    let mut tokens: BTreeMap<&str, u64> = BTreeMap::new();
    for file in files {
        *tokens.entry(&file.source).or_default() += file.tokens;
    }
    let all_weights: f64 = mixture.sources.iter().map(|source| source.weight).sum();
    let all_tokens: u64 = mixture
        .sources
        .iter()
        .map(|source| source.train_tokens)
        .sum();
    let weight = |file: &NeoxFile| {
        let of_source = tokens[file.source.as_str()];
        let planned = mixture
            .sources
            .iter()
            .find(|source| source.name == file.source)
            .map(|source| source.weight);
        // A source without a train split has no weight there; its tokens then count like others'.
        let weight =
            planned.unwrap_or_else(|| of_source as f64 * all_weights / (all_tokens.max(1) as f64));
        weight * (file.tokens as f64 / of_source as f64)
    };
    files.iter().map(|file| number(weight(file))).collect()
}

/// Writes how long to train: as long as the recipe plans, or as published.
fn write_length(yml: &mut String, data: &NeoxData<'_>) {
    yml.push_str("\n  # Training.\n");
    let planned = data.mixture.training_tokens;
    let steps = planned.div_ceil(STEP_TOKENS);
    let iterations = if data.training_tokens.is_some() {
        let text = format!(
            "{planned} tokens, as the recipe plans, in steps of {STEP_TOKENS}. Published: {PUBLISHED_ITERATIONS} steps."
        );
        comment(yml, &text);
        steps
    } else {
        let text = format!(
            "As published, about 4.0 T tokens in steps of {STEP_TOKENS}. The {planned} tokens that the mixture is planned for are {steps} steps."
        );
        comment(yml, &text);
        PUBLISHED_ITERATIONS
    };
    line(yml, "train_iters", &iterations);
    line(yml, "lr_decay_iters", &iterations);
}

/// A number as YAML 1.1 reads it, as a float and with all its digits.
fn number(number: f64) -> String {
    let text = number.to_string();
    if text.contains('.') {
        text
    } else {
        text + ".0"
    }
}

const STRING: &str = "writing to a string can't fail";

fn comment(yml: &mut String, text: &str) {
    writeln!(yml, "  # {text}").expect(STRING);
}

/// Values are written as JSON, which is YAML too.
fn line(yml: &mut String, key: &str, value: &impl Serialize) {
    let value = serde_json::to_string(value).expect("names and whole numbers are JSON");
    writeln!(yml, "  \"{key}\": {value},").expect(STRING);
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::mixture;
    use crate::recipe::Sampling;

    fn files(names: &[(&str, &str, u64)]) -> Vec<NeoxFile> {
        let file = |&(source, prefix, tokens): &(&str, &str, u64)| NeoxFile {
            source: source.to_owned(),
            prefix: prefix.to_owned(),
            tokens,
        };
        names.iter().map(file).collect()
    }

    /// The settings, read as JSON once comment lines are gone.
    fn check(
        training_tokens: Option<u64>,
        splits: &[(Split, Vec<NeoxFile>)],
        expected: &[(&str, Value)],
    ) -> String {
        let sources = [
            ("web", Sampling::Weight(3.0), 3000),
            ("books", Sampling::Weight(1.0), 1000),
        ];
        let yml = render(&NeoxData {
            mixture: &mixture::plan(&sources, training_tokens),
            training_tokens,
            splits: splits.iter().cloned().collect(),
            vocab_file: "tokenizer.json",
        });
        let json: String = yml
            .lines()
            .filter(|line| !line.trim_start().starts_with('#'))
            .collect();
        let settings: Value = serde_json::from_str(&json).unwrap();
        for (key, value) in expected {
            assert_eq!(&settings[key], value, "{key} in {yml}");
        }
        yml
    }

    fn train() -> Vec<NeoxFile> {
        files(&[("web", "w", 3000), ("books", "b", 1000)])
    }

    #[test]
    fn shards_share_the_weight_of_their_source() {
        let shards = files(&[
            ("web", "w_00000", 2000),
            ("web", "w_00001", 1000),
            ("books", "b", 1000),
            ("empty", "e", 0),
        ]);
        check(
            None,
            &[(Split::Train, shards)],
            &[
                ("train_data_paths", json!(["w_00000", "w_00001", "b"])),
                ("train_data_weights", json!([2.0, 1.0, 1.0])),
            ],
        );
    }

    #[test]
    fn a_split_without_tokens_borrows_the_list_of_another() {
        let valid = files(&[("books", "bv", 10)]);
        let yml = check(
            None,
            &[(Split::Train, train()), (Split::Valid, valid)],
            &[
                ("valid_data_paths", json!(["bv"])),
                ("test_data_paths", json!(["bv"])),
                ("test_data_weights", json!([1.0])),
                ("eval_iters", json!(10)),
            ],
        );
        assert!(yml.contains("  # No documents in test: "), "{yml}");
        check(
            None,
            &[(Split::Train, train())],
            &[
                ("valid_data_paths", json!(["w", "b"])),
                ("test_data_weights", json!([3.0, 1.0])),
                ("eval_iters", json!(0)),
            ],
        );
    }

    #[test]
    fn nothing_to_train_on_names_no_paths() {
        let valid = files(&[("web", "w", 10)]);
        let yml = check(None, &[(Split::Valid, valid)], &[("eval_iters", json!(0))]);
        assert!(!yml.contains("data_paths"), "{yml}");
    }

    #[test]
    fn a_budget_sets_the_number_of_steps() {
        let splits = [(Split::Train, train())];
        let published = ("train_iters", json!(955_000));
        check(None, &splits, std::slice::from_ref(&published));
        check(Some(4_005_560_320_000), &splits, &[published]);
        let budget = Some(2 * STEP_TOKENS + 1);
        let three = [("train_iters", json!(3)), ("lr_decay_iters", json!(3))];
        check(budget, &splits, &three);
    }

    #[test]
    fn numbers_are_floats_without_exponents() {
        for (value, expected) in [
            (1.0, "1.0"),
            (0.25, "0.25"),
            (1e-7, "0.0000001"),
            (3e16, "30000000000000000.0"),
        ] {
            assert_eq!(number(value), expected);
        }
    }
}
