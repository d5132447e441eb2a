//! GGUF files written here and read again; llama.cpp's own reading of them is a script's work (`peers/`).

use std::path::PathBuf;

use stablelm_inference::gguf::{self, GgufDtype, GgufMetadata, GgufModel};
use stablelm_inference::{LoadOptions, load};
use stablelm_model::{ModelConfig, TensorSource};

use crate::source::{Weights, config, prompt};

fn written(name: &str, config: &ModelConfig, weights: &Weights, dtype: GgufDtype) -> GgufModel {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("inference-gguf-write");
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join(format!("{name}.gguf"));
    let metadata = GgufMetadata {
        name: Some("Lamp".to_owned()),
        texts: vec![("general.license".to_owned(), "cc-by-sa-4.0".to_owned())],
        ..GgufMetadata::default()
    };
    let plan = gguf::plan(config, weights, dtype, &metadata).unwrap();
    let mut bytes = Vec::new();
    plan.write(&mut bytes).unwrap();
    assert_eq!(bytes.len() as u64, plan.file_len());
    std::fs::write(&path, bytes).unwrap();
    gguf::open(&path).unwrap()
}

#[track_caller]
fn check_round_trip(name: &str, fields: &str) {
    let config = config(fields);
    let weights = Weights::random(&config, 5);
    let file = written(name, &config, &weights, GgufDtype::F32);
    let expected = ModelConfig {
        dtype: file.config.dtype,
        ..config.clone()
    };
    assert_eq!(file.config, expected);
    assert_eq!(file.names(), weights.names());
    assert_eq!(file.texts["general.license"], "cc-by-sa-4.0");
    for name in weights.names() {
        assert_eq!(file.info(name), weights.info(name), "{name}");
        assert_eq!(
            file.bytes(name).unwrap(),
            weights.bytes(name).unwrap(),
            "{name}"
        );
    }
}

#[test]
fn what_is_written_in_f32_is_what_is_read() {
    let eos = r#""bos_token_id": null, "eos_token_id": [], "partial_rotary_factor": 0.5"#;
    check_round_trip(
        "sequential",
        &format!(r#""model_type": "stablelm", "rope_theta": 1e6, {eos}"#),
    );
    check_round_trip(
        "parallel",
        &format!(
            r#""model_type": "stablelm", "qk_layernorm": true, "use_parallel_residual": true,
                "num_key_value_heads": 2, "use_qkv_bias": true, {eos}"#
        ),
    );
    check_round_trip(
        "neox",
        &format!(r#""model_type": "gpt_neox", "rotary_pct": 0.5, {eos}"#),
    );
    let tied = r#""model_type": "stablelm", "tie_word_embeddings": true"#;
    check_round_trip("tied", &format!("{tied}, {eos}"));
}

#[track_caller]
fn check_stray(dtype: GgufDtype, stray: f32) {
    let config = config(
        r#""model_type": "stablelm", "hidden_size": 256, "intermediate_size": 512, "num_attention_heads": 4"#,
    );
    let weights = Weights::random(&config, 6);
    let file = written(&format!("{dtype:?}"), &config, &weights, dtype);
    let logits = |source: &dyn TensorSource| {
        let model = load(&config, source, &LoadOptions::default()).unwrap();
        model.logits(&prompt(20)).unwrap().concat()
    };
    let expected = logits(&weights);
    let found = logits(&file);
    let squares =
        |values: &mut dyn Iterator<Item = f32>| values.map(|value| value * value).sum::<f32>();
    let error = squares(&mut found.iter().zip(&expected).map(|(a, b)| a - b));
    let error = (error / squares(&mut expected.iter().copied())).sqrt();
    assert!(error < stray && error > stray / 20.0, "{dtype:?}: {error}");
}

#[test]
fn narrower_formats_stray_as_far_as_their_bits() {
    check_stray(GgufDtype::F16, 0.004);
    check_stray(GgufDtype::Bf16, 0.03);
    check_stray(GgufDtype::Q8_0, 0.15);
    check_stray(GgufDtype::Q4K, 1.0);
}
