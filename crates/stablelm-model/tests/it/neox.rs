//! GPT-NeoX configurations, as gpt-neox itself saved them and as people write them.

use stablelm_model::{Architecture, Dtype, ModelConfig, NeoxSettings, NeoxSizes};
use stablelm_testkit::shared_oracles;

#[test]
fn the_dialect_people_write_is_read() {
    let text = r#"
        # StableLM-3B-4E1T
        {
          "num-layers": 32, "hidden_size": 2560, "num-attention-heads": 32,
          "max_position_embeddings": 4_096,
          "norm": "layernorm", "layernorm_epsilon": 1e-05,
          "pos_emb": "rotary", "rotary-pct": 0.25,
          "no_weight_tying": true, "mlp_type": "llama", "activation": "silu",
          "bf16": { "enabled": true }, # trailing commas too
        }
    "#;
    let settings = NeoxSettings::parse(&[text]).unwrap();
    assert_eq!(settings.dtype, Some(Dtype::Bf16));
    let config = settings.model_config(settings.sizes(50_257)).unwrap();
    assert_eq!(config.num_parameters(), 2_795_443_200);
}

#[test]
fn sizes_follow_both_generations_of_gpt_neox() {
    let base = r#""num_layers": 1, "hidden_size": 2560, "num_attention_heads": 32, "max_position_embeddings": 8,
        "pos_emb": "rotary""#;
    let width = |extra: &str| {
        let settings = NeoxSettings::parse(&[&format!("{{{base}, {extra}}}")]).unwrap();
        settings.sizes(100).intermediate_size
    };
    assert_eq!(width(r#""mlp_type": "llama""#), 6912);
    assert_eq!(
        width(r#""activation": "swiglu", "mlp_multiple_of": 256"#),
        3584
    );
    assert_eq!(
        width(r#""activation": "swiglu", "intermediate_size": 20736"#),
        6912
    );
    assert_eq!(width(r#""activation": "gelu""#), 10_240);
}

#[test]
fn a_later_file_overrides_an_earlier_one() {
    let first = "{num_layers: 1, hidden_size: 8, num_attention_heads: 2, max_position_embeddings: 8, pos_emb: rotary}";
    let settings = NeoxSettings::parse(&[first, "num-layers: 3"]).unwrap();
    assert_eq!(settings.num_layers, 3);
}

#[test]
fn what_is_not_implemented_is_refused_by_name() {
    let message = |text: &str| NeoxSettings::parse(&[text]).unwrap_err().to_string();
    assert_eq!(
        message("{pos_emb: learned}"),
        "`pos_emb` = `\"learned\"` is not supported, only rotary"
    );
    assert_eq!(
        message("{pos_emb: rotary, norm: rmsnorm}"),
        "`norm` = `\"rmsnorm\"` is not supported, only layernorm"
    );
    assert_eq!(
        message("- 1"),
        "the configuration is not a mapping of keys to values"
    );
}

#[test]
fn settings_saved_by_gpt_neox_give_the_architecture_that_transformers_has() {
    let Some(oracles) = shared_oracles() else {
        eprintln!("skipped: no shared oracles beside the repository");
        return;
    };
    for variant in [
        "a_w123_pp1_tp2_bf16",
        "a_lin_pp0_tp1_bf16",
        "b_pythia_pp1_tp2_fp16",
        "b_dense4h_tied_pp0_tp1_bf16",
    ] {
        let folder = oracles.join("neox").join(variant);
        let settings =
            NeoxSettings::parse(&[&std::fs::read_to_string(folder.join("conf.yml")).unwrap()])
                .unwrap();
        let expected = std::fs::read(folder.join("hf/config.json")).unwrap();
        let expected = ModelConfig::from_config_json(&expected).unwrap();
        let sizes = NeoxSizes {
            intermediate_size: expected.intermediate_size,
            padded_vocab_size: expected.padded_vocab_size,
            use_qkv_bias: expected.architecture == Architecture::GptNeoX,
            ..settings.sizes(380)
        };
        assert_eq!(
            sizes.padded_vocab_size,
            settings.sizes(380).padded_vocab_size,
            "{variant}"
        );
        let mut config = settings.model_config(sizes).unwrap();
        config.dtype = expected.dtype;
        assert_eq!(config, expected, "{variant}");
    }
}

#[test]
fn a_written_file_reads_back_to_the_same_model() {
    for extra in [
        "",
        r#", "use_parallel_residual": true, "num_key_value_heads": 2"#,
    ] {
        let text = format!(
            r#"{{"model_type": "stablelm", "vocab_size": 512, "hidden_size": 64, "intermediate_size": 96,
                "num_hidden_layers": 2, "num_attention_heads": 4, "bos_token_id": 0, "eos_token_id": 0,
                "torch_dtype": "bfloat16" {extra}}}"#
        );
        let config = ModelConfig::from_config_json(text.as_bytes()).unwrap();
        let settings =
            NeoxSettings::parse(&[&NeoxSettings::yml_for(&config, 2, Dtype::Bf16)]).unwrap();
        assert_eq!(settings.model_config(settings.sizes(512)).unwrap(), config);
        assert_eq!(settings.model_parallel_size, 2);
    }
}
