//! Parameter lists of the real models.
//!
//! The counts are those of Hugging Face transformers 5.23 for the same configurations, models built on the `meta`
//! device; `tests/peer_counts.py` prints them. The one of StableLM-3B-4E1T is also on its model card.

use std::collections::BTreeSet;

use stablelm_model::{ModelConfig, parameters};

const STABLELM_3B_4E1T: &str = r#"{"model_type": "stablelm_epoch", "vocab_size": 50304, "hidden_size": 2560,
    "intermediate_size": 6912, "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 32,
    "rope_pct": 0.25, "rope_theta": 10000, "norm_eps": 1e-05, "max_position_embeddings": 4096}"#;
const STABLELM_2_1_6B: &str = r#"{"model_type": "stablelm", "vocab_size": 100352, "hidden_size": 2048,
    "intermediate_size": 5632, "num_hidden_layers": 24, "num_attention_heads": 32, "num_key_value_heads": 32,
    "use_qkv_bias": true}"#;
const STABLELM_2_12B: &str = r#"{"model_type": "stablelm", "vocab_size": 100352, "hidden_size": 5120,
    "intermediate_size": 13824, "num_hidden_layers": 40, "num_attention_heads": 32, "num_key_value_heads": 8,
    "qk_layernorm": true, "use_parallel_residual": true}"#;
const STABLELM_ALPHA_3B: &str = r#"{"model_type": "gpt_neox", "vocab_size": 50688, "hidden_size": 4096,
    "intermediate_size": 16384, "num_hidden_layers": 16, "num_attention_heads": 32}"#;

#[track_caller]
fn check(config: &str, expected: u64) {
    let config = ModelConfig::from_config_json(config.as_bytes()).unwrap();
    assert_eq!(config.num_parameters(), expected);
    let names: Vec<String> = parameters(&config)
        .map(|parameter| parameter.name)
        .collect();
    assert_eq!(
        names.iter().collect::<BTreeSet<_>>().len(),
        names.len(),
        "a name twice"
    );
}

#[test]
fn the_3b_has_the_number_of_parameters_on_its_card() {
    check(STABLELM_3B_4E1T, 2_795_443_200);
}

#[test]
fn the_rest_of_the_family_has_what_transformers_counts() {
    check(STABLELM_2_1_6B, 1_644_515_328);
    check(STABLELM_2_12B, 12_143_185_920);
    check(STABLELM_ALPHA_3B, 3_637_321_728);
}
