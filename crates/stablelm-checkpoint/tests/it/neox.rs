//! Checkpoints that gpt-neox trained and saved, against the same weights as Hugging Face transformers names them.

use stablelm_checkpoint::{
    ConvertError, Format, TensorHashes, inspect, plan, sha256_of_files, survey, verify,
    verify_hashed,
};
use stablelm_model::{Dtype, ModelConfig, TensorSource};

use crate::support::{
    assert_equal, converted, copy_folder, digest, neox, open_at, oracle, safetensors,
};

const VARIANTS: [&str; 5] = [
    "a_w123_pp1_tp2_bf16",
    "a_lin_pp0_tp1_bf16",
    "a_lin_pp0_tp2_bf16_dp2",
    "b_pythia_pp1_tp2_fp16",
    "b_dense4h_tied_pp0_tp1_bf16",
];

/// Compares every tensor with the digests an independent mapping gave.
#[track_caller]
fn check_digests(source: &dyn TensorSource, variant: &std::path::Path) {
    let text = std::fs::read(variant.join("hf/tensors.sha256.json")).unwrap();
    let expected: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let expected = expected.as_object().unwrap();
    assert_eq!(source.names().len(), expected.len());
    for (name, facts) in expected {
        let info = source.info(name).unwrap();
        assert_eq!(facts["shape"], serde_json::json!(info.shape), "{name}");
        let dtype = info.dtype.as_str().to_uppercase();
        assert_eq!(facts["dtype"], dtype.as_str(), "{name}");
        assert_eq!(
            facts["sha256"],
            digest(&source.bytes(name).unwrap()).as_str(),
            "{name}"
        );
    }
}

/// Compares what a conversion noted with the digests an independent mapping gave.
#[track_caller]
fn check_noted(hashes: &TensorHashes, expected: &std::path::Path) {
    let expected: serde_json::Value =
        serde_json::from_slice(&std::fs::read(expected).unwrap()).unwrap();
    let expected = expected.as_object().unwrap();
    assert_eq!(hashes.tensors.len(), expected.len());
    for (name, facts) in expected {
        assert_eq!(
            facts["sha256"],
            hashes.tensors[name].sha256.as_str(),
            "{name}"
        );
    }
    let json = hashes.to_json();
    assert_eq!(
        TensorHashes::from_json(json.as_bytes()).as_ref(),
        Some(hashes)
    );
    assert!(TensorHashes::from_json(json.replace("64", "65").as_bytes()).is_none());
}

#[test]
fn every_tensor_equals_the_reference_mapping() {
    for name in VARIANTS {
        let Some(variant) = oracle("neox").map(|folder| folder.join(name)) else {
            return;
        };
        let input = open_at(&variant.join("checkpoint"));
        assert_eq!(input.format(), Format::Neox);
        check_digests(input.source(), &variant);

        let (_folder, output, report) = converted(&input, &safetensors());
        check_digests(output.source(), &variant);
        check_noted(&report.hashes, &variant.join("hf/tensors.sha256.json"));
        assert_eq!(report.source_sha256, report.hashes.sha256);
        let threads = std::num::NonZeroUsize::new(2).unwrap();
        assert_eq!(survey(&input, None, threads).unwrap().hashes, report.hashes);
        verify_hashed(&input, &output, Some(&report.hashes), threads).unwrap();
        assert_equal(&input, &output);
        verify(&input, &output).unwrap();
        if variant.join("hf/model.safetensors").exists() {
            assert_equal(&output, &open_at(&variant.join("hf")));
        }
        let expected = std::fs::read(variant.join("hf/config.json")).unwrap();
        let expected = ModelConfig::from_config_json(&expected).unwrap();
        assert_eq!(output.config(), &expected, "{name}");
    }
}

#[test]
fn the_way_back_is_bit_equal_at_any_number_of_ranks() {
    for name in VARIANTS {
        let Some(variant) = oracle("neox").map(|folder| folder.join(name)) else {
            return;
        };
        let input = open_at(&variant.join("checkpoint"));
        for tensor_parallel in [1, 2, 4] {
            let (_first, back, report) = converted(&input, &neox(tensor_parallel));
            assert_eq!(back.details().tensor_parallel, tensor_parallel);
            assert_eq!(back.details().step, Some(4));
            assert_equal(&input, &back);
            verify(&input, &back).unwrap();
            check_noted(&report.hashes, &variant.join("hf/tensors.sha256.json"));
            let (_second, again, _) = converted(&back, &safetensors());
            check_digests(again.source(), &variant);
        }
    }
}

#[test]
fn the_files_of_each_rank_are_those_of_gpt_neox() {
    // Same naming, layout and number of ranks: the tensors in every file must be gpt-neox's own.
    let Some(variant) = oracle("neox/b_pythia_pp1_tp2_fp16") else {
        return;
    };
    let input = open_at(&variant.join("checkpoint"));
    let (folder, _, _) = converted(&input, &neox(2));
    let names = |root: &std::path::Path| -> Vec<String> {
        let entries = std::fs::read_dir(root.join("global_step4")).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names(folder.path()), names(&variant.join("checkpoint")));
    assert_eq!(
        std::fs::read(folder.path().join("latest")).unwrap(),
        b"global_step4"
    );
}

#[test]
fn inspecting_tells_layout_ranks_and_step() {
    let Some(variant) = oracle("neox/a_w123_pp1_tp2_bf16") else {
        return;
    };
    let checkpoint = open_at(&variant.join("checkpoint"));
    let json = serde_json::to_value(inspect(&checkpoint)).unwrap();
    for (key, expected) in [
        ("format", serde_json::json!("neox")),
        ("layout", serde_json::json!("layers")),
        ("tensor_parallel", serde_json::json!(2)),
        ("step", serde_json::json!(4)),
        ("naming", serde_json::json!("w1_w2_w3")),
        ("architecture", serde_json::json!("StableLmForCausalLM")),
        ("dtypes", serde_json::json!({ "bf16": 37 })),
        (
            "parameters",
            serde_json::json!(checkpoint.config().num_parameters()),
        ),
    ] {
        assert_eq!(json[key], expected, "{key}");
    }
    assert_eq!(json["tensors"].as_array().unwrap().len(), 37);
    assert_eq!(checkpoint.files().len(), 12 + 2 + 1);
    assert_eq!(sha256_of_files(checkpoint.files()).unwrap().len(), 64);
}

#[test]
fn a_configuration_that_disagrees_with_the_tensors_is_refused() {
    let Some(variant) = oracle("neox/a_w123_pp1_tp2_bf16") else {
        return;
    };
    for (from, to, expected) in [
        (
            "\"hidden_size\": 64",
            "\"hidden_size\": 128",
            "has shape [256, 64], expected [256, 128]",
        ),
        (
            "\"num_layers\": 3",
            "\"num_layers\": 4",
            "`num_layers` is 4",
        ),
        (
            "\"num_layers\": 3",
            "\"num_layers\": 2",
            "`num_layers` is 2",
        ),
        (
            "\"model_parallel_size\": 2",
            "\"model_parallel_size\": 3",
            "model_02-model_states.pt` is missing",
        ),
        (
            "\"mlp_type\"",
            "\"norm\": \"rmsnorm\", \"mlp_type\"",
            "failed to use the configuration",
        ),
    ] {
        let text = std::fs::read_to_string(variant.join("conf.yml")).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("changed.yml");
        std::fs::write(&path, text.replace(from, to)).unwrap();
        let options = stablelm_checkpoint::OpenOptions {
            neox_config: Some(path),
        };
        let error = stablelm_checkpoint::open(&variant.join("checkpoint"), &options).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn what_the_ranks_cannot_share_is_an_error_before_any_file() {
    let Some(variant) = oracle("neox/a_w123_pp1_tp2_bf16") else {
        return;
    };
    let input = open_at(&variant.join("checkpoint"));
    let error = plan(&input, &neox(3)).unwrap_err();
    assert!(
        matches!(
            error,
            ConvertError::NotDivisible {
                key: "num_attention_heads",
                value: 4,
                tensor_parallel: 3
            }
        ),
        "{error}"
    );
}

#[test]
fn a_cast_is_planned_written_and_verified() {
    let Some(variant) = oracle("neox/a_w123_pp1_tp2_bf16") else {
        return;
    };
    let input = open_at(&variant.join("checkpoint"));
    let mut wide = safetensors();
    wide.dtype = Some(Dtype::F32);
    let (_folder, output, _) = converted(&input, &wide);
    assert_eq!(output.dtype(), Some(Dtype::F32));
    assert_eq!(output.config().dtype, Some(Dtype::F32));
    verify(&input, &output).unwrap();
    let mut narrow = neox(2);
    narrow.dtype = Some(Dtype::Bf16);
    let (_folder, back, _) = converted(&output, &narrow);
    assert_equal(&input, &back);
    wide.dtype = Some(Dtype::I32);
    assert!(matches!(
        plan(&input, &wide),
        Err(ConvertError::Cast { .. })
    ));
}

#[test]
fn a_folder_of_one_step_opens_without_latest() {
    let Some(variant) = oracle("neox/a_w123_pp1_tp2_bf16") else {
        return;
    };
    let checkpoint = open_at(&variant.join("checkpoint/global_step4"));
    assert_equal(&checkpoint, &open_at(&variant.join("checkpoint")));
}

#[test]
fn bytes_changed_at_random_never_panic() {
    let Some(variant) = oracle("neox/a_w123_pp1_tp2_bf16") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    copy_folder(&variant.join("checkpoint"), folder.path());
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % bound as u64).unwrap()
    };
    let mut outcomes = [0; 2];
    for file in [
        "layer_02-model_00-model_states.pt",
        "mp_rank_00_model_states.pt",
    ] {
        let path = folder.path().join("global_step4").join(file);
        let original = std::fs::read(&path).unwrap();
        for round in 0..400 {
            let mut bytes = original.clone();
            // Half of the rounds aim at the pickle, which comes first, or the directory, which comes last.
            let (start, len) = match round % 4 {
                0 => (0, 1100),
                1 => (original.len() - 1200, 1200),
                _ => (0, original.len()),
            };
            for _ in 0..=next(4) {
                bytes[start + next(len)] = next(256).try_into().unwrap();
            }
            if round % 16 == 15 {
                bytes.truncate(next(original.len()));
            }
            std::fs::write(&path, &bytes).unwrap();
            let opened = stablelm_checkpoint::open(
                folder.path(),
                &stablelm_checkpoint::OpenOptions::default(),
            );
            let read = opened.ok().map(|checkpoint| {
                let source = checkpoint.source();
                source
                    .names()
                    .into_iter()
                    .all(|name| source.bytes(name).is_ok())
            });
            outcomes[usize::from(read == Some(true))] += 1;
        }
        std::fs::write(&path, &original).unwrap();
    }
    // Most changes fall on bytes that a checksum covers.
    assert!(outcomes[0] > 200, "{outcomes:?}");
}
