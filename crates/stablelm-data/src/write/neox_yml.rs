//! `neox.yml`: the prepared data, and the published settings of StableLM-3B-4E1T to train with.
//!
//! The settings are those of `configs/stablelm-3b-4e1t.yml` in Stability AI's repository, under the
//! names that GPT-NeoX knows today. The release came from a fork: its `mlp_type: gated` with
//! `silu` is `activation: swiglu` there, whose `intermediate_size` counts both halves and is cut by
//! a third, so that 20736 gives the published MLP of 6912.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::document::Split;
use crate::report::Mixture;

/// What is different from one run to the next.
pub(crate) struct NeoxData<'d> {
    pub(crate) mixture: &'d Mixture,
    /// Source and prefix of the token files of each split.
    pub(crate) splits: BTreeMap<Split, Vec<(String, String)>>,
    pub(crate) vocab_file: &'d str,
}

const SETTINGS: &str = r#"
  # The model.
  "pipe_parallel_size": 1,
  "model_parallel_size": 1,
  "num_layers": 32,
  "hidden_size": 2560,
  "num_attention_heads": 32,
  "seq_length": 4096,
  "max_position_embeddings": 4096,
  "norm": "layernorm",
  "pos_emb": "rotary",
  "rotary_pct": 0.25,
  "no_weight_tying": true,
  "gpt_j_residual": false,
  "gpt_j_tied": false,
  "output_layer_parallelism": "column",
  "activation": "swiglu",
  "intermediate_size": 20736,
  "mlp_multiple_of": 256,
  "use_bias_in_norms": true,
  "use_bias_in_attn_linear": false,
  "use_bias_in_mlp": false,
  "attention_config": [[["flash"], 32]],
  "output_layer_init_method": "scaled_normal",

  # Training: 955,000 steps of 4 M tokens.
  "optimizer": {
    "type": "Adam",
    "params": {"lr": 0.00032, "betas": [0.9, 0.95], "eps": 0.000001}
  },
  "min_lr": 0.0000128,
  "train_iters": 955000,
  "lr_decay_iters": 955000,
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
  "eval_iters": 10,
  "num_workers": 2,
  "distributed_backend": "nccl",
  "checkpoint_factor": 2000,
  "extra_save_iters": [0],
  "log_interval": 10,
  "steps_per_print": 10,
  "wall_clock_breakdown": true
}
"#;

/// The text of the file. Paths are relative to its folder.
pub(crate) fn render(data: &NeoxData<'_>) -> String {
    let mut yml = String::from(
        "# Prepared data, with the published settings of StableLM-3B-4E1T.\n\
         # Paths are relative to this folder: run GPT-NeoX from here, or put the folder before them.\n\
         {\n  # The data.\n  \"data_impl\": \"mmap\",\n",
    );
    for (split, prefixes) in &data.splits {
        if prefixes.is_empty() {
            continue;
        }
        let paths: Vec<_> = prefixes.iter().map(|(_, prefix)| prefix).collect();
        let weights: Vec<_> = prefixes
            .iter()
            .map(|(source, _)| weight(data.mixture, source))
            .collect();
        line(&mut yml, &format!("{split}_data_paths"), &paths);
        line(&mut yml, &format!("{split}_data_weights"), &weights);
    }
    line(&mut yml, "tokenizer_type", &"HFTokenizer");
    line(&mut yml, "vocab_file", &data.vocab_file);
    yml.push_str(SETTINGS);
    yml
}

fn weight(mixture: &Mixture, source: &str) -> f64 {
    // A source too small to have a train split still counts in the others.
    let found = mixture.sources.iter().find(|entry| entry.name == source);
    found.map_or(1.0, |entry| entry.weight)
}

/// Values are written as JSON, which is YAML too.
fn line(yml: &mut String, key: &str, value: &impl serde::Serialize) {
    let value = serde_json::to_string(value).expect("names and finite numbers are JSON");
    writeln!(yml, "  \"{key}\": {value},").expect("writing to a string can't fail");
}
