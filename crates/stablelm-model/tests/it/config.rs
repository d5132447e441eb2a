//! `config.json` in every dialect.

use stablelm_model::{Architecture, ConfigError, Dtype, ModelConfig};
use stablelm_testkit::shared_oracles;

fn read(text: &str) -> Result<ModelConfig, ConfigError> {
    ModelConfig::from_config_json(text.as_bytes())
}

fn minimal(extra: &str) -> String {
    format!(
        r#"{{"model_type": "stablelm", "vocab_size": 128, "hidden_size": 64, "intermediate_size": 96,
            "num_hidden_layers": 2, "num_attention_heads": 4 {extra}}}"#
    )
}

#[test]
fn three_dialects_of_one_model_read_alike() {
    let Some(oracles) = shared_oracles() else {
        eprintln!("skipped: no shared oracles beside the repository");
        return;
    };
    for model in ["3b-4e1t", "2-1_6b", "alpha-neox"] {
        let folder = oracles.join("inference").join(model);
        let config = |name: &str| {
            let bytes = std::fs::read(folder.join(name)).unwrap();
            ModelConfig::from_config_json(&bytes).unwrap()
        };
        let expected = config("config.json");
        assert_eq!(config("config.v5.json"), expected, "{model}");
        if folder.join("config.epoch.json").exists() {
            assert_eq!(config("config.epoch.json"), expected, "{model}");
        }
    }
}

#[test]
fn what_is_written_reads_back_the_same() {
    for text in [
        minimal(""),
        minimal(
            r#", "use_qkv_bias": true, "qk_layernorm": true, "num_key_value_heads": 2, "eos_token_id": [3, 4]"#,
        ),
        minimal("").replace("stablelm", "gpt_neox"),
    ] {
        let mut config = read(&text).unwrap();
        config.dtype = Some(Dtype::Bf16);
        assert_eq!(read(&config.to_config_json(Dtype::Bf16)).unwrap(), config);
    }
}

#[test]
fn defaults_are_those_of_the_first_models() {
    let config = read(&minimal("")).unwrap();
    assert_eq!(config.num_key_value_heads, 4);
    assert_eq!(config.rotary_ndims(), 4);
    assert!(!config.use_parallel_residual && !config.use_qkv_bias && !config.tie_word_embeddings);
    let neox = read(&minimal("").replace("stablelm", "gpt_neox")).unwrap();
    assert_eq!(neox.architecture, Architecture::GptNeoX);
    assert!(neox.use_parallel_residual && neox.attention_bias);
}

#[track_caller]
fn check_error(text: &str, expected: &str) {
    assert_eq!(read(text).unwrap_err().to_string(), expected);
}

#[test]
fn an_error_names_the_key_and_both_values() {
    check_error(
        &minimal(r#", "partial_rotary_factor": 1.0"#)
            .replace("stablelm", "gpt_neox")
            .replace("64", "20"),
        "key `partial_rotary_factor` is `1`, expected a share that rotates pairs of dimensions of each head",
    );
    check_error("[]", "the configuration is not a mapping of keys to values");
    check_error("{}", "key `model_type` is missing");
    check_error(
        r#"{"model_type": "llama"}"#,
        "`model_type` = `llama` is not supported, only stablelm, stablelm_epoch and gpt_neox",
    );
    check_error(
        r#"{"model_type": "stablelm", "num_attention_heads": 4}"#,
        "key `hidden_size` is missing",
    );
    check_error(
        &minimal(r#", "vocab_size": "many""#),
        "key `vocab_size` is `\"many\"`, expected a whole number",
    );
    check_error(
        &minimal(r#", "vocab_size": 0"#),
        "key `vocab_size` is `0`, expected a whole number between 1 and 2^30",
    );
    check_error(
        &minimal(r#", "num_attention_heads": 5"#),
        "`hidden_size` = 64 is not a multiple of `num_attention_heads` = 5",
    );
    check_error(
        &minimal(r#", "rope_scaling": {"type": "linear", "factor": 2.0}"#),
        "`rope_type` = `\"linear\"` is not supported, only `default`: scaled rotary positions are not implemented",
    );
    check_error(
        &minimal(r#", "hidden_act": "relu""#),
        "`hidden_act` = `\"relu\"` is not supported, only silu, gelu, gelu_new, gelu_fast and gelu_pytorch_tanh",
    );
}
