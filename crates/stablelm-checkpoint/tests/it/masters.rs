//! The optimizer's fp32 weights, against those that an independent reading of the shards gave.

use std::path::Path;

use stablelm_checkpoint::{
    Checkpoint, InputOptions, OpenError, compare, inspect_file, open_input, verify,
};
use stablelm_model::Dtype;

use crate::support::{
    assert_equal, chain, converted, copy_folder, digest, neox, open_at, oracle, safetensors,
};

fn masters(path: &Path) -> Result<Checkpoint, OpenError> {
    let options = InputOptions {
        master_weights: true,
        ..InputOptions::default()
    };
    open_input(path, &options)
}

#[test]
fn every_fp32_weight_equals_the_reference_and_rounds_to_the_weight_of_the_model() {
    for name in ["a_lin_pp0_tp1_bf16", "a_lin_pp0_tp2_bf16_dp2"] {
        let Some(variant) = oracle("neox").map(|folder| folder.join(name)) else {
            return;
        };
        let input = masters(&variant.join("checkpoint")).unwrap();
        assert_eq!(input.dtype(), Some(Dtype::F32));
        let text = std::fs::read(variant.join("hf/fp32_master_tensors.sha256.json")).unwrap();
        let expected: serde_json::Value = serde_json::from_slice(&text).unwrap();
        let expected = expected.as_object().unwrap();
        assert_eq!(input.source().names().len(), expected.len());
        let (_folder, output, report) = converted(&input, &safetensors());
        for (name, facts) in expected {
            let bytes = input.source().bytes(name).unwrap();
            assert_eq!(facts["sha256"], digest(&bytes).as_str(), "{name}");
            assert_eq!(facts["sha256"], report.hashes.tensors[name].sha256.as_str());
        }
        assert_equal(&input, &output);
        // Every tensor of the model, which is in bf16, is the optimizer's after a cast.
        let model = open_at(&variant.join("checkpoint"));
        verify(&input, &model).unwrap();
        assert!(!compare(&input, &model, 0.0).unwrap().equal());
        let (_folder, split, _) = converted(&input, &neox(4));
        assert_equal(&input, &split);
    }
}

#[test]
fn what_is_missing_of_the_optimizer_is_named() {
    let Some(variant) = oracle("neox/a_lin_pp0_tp2_bf16_dp2") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    copy_folder(&variant.join("checkpoint"), folder.path());
    let step = folder.path().join("global_step4");
    let error = |folder: &Path| chain(&masters(folder).unwrap_err());

    let shard = step.join("bf16_zero_pp_rank_1_mp_rank_00_optim_states.pt");
    let bytes = std::fs::read(&shard).unwrap();
    std::fs::remove_file(&shard).unwrap();
    let expected = "bf16_zero_pp_rank_1_mp_rank_00_optim_states.pt` is missing";
    assert!(
        error(folder.path()).contains(expected),
        "{}",
        error(folder.path())
    );
    std::fs::write(&shard, &bytes[..bytes.len() / 2]).unwrap();
    assert!(error(folder.path()).contains("not a complete zip archive"));

    for name in std::fs::read_dir(&step).unwrap() {
        let path = name.unwrap().path();
        if path.to_string_lossy().ends_with("_optim_states.pt") {
            std::fs::remove_file(path).unwrap();
        }
    }
    assert!(error(folder.path()).contains("holds no optimizer shards"));

    let shard =
        variant.join("checkpoint/global_step4/bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt");
    let opened = stablelm_checkpoint::open(&shard, &stablelm_checkpoint::OpenOptions::default());
    assert!(matches!(
        opened.unwrap_err(),
        OpenError::OptimizerState { .. }
    ));
    let hf = oracle("inference/3b-4e1t").unwrap();
    assert!(matches!(
        masters(&hf).unwrap_err(),
        OpenError::NotNeox { .. }
    ));
}

#[test]
fn single_files_are_described() {
    let Some(variant) = oracle("neox/a_lin_pp0_tp2_bf16_dp2") else {
        return;
    };
    let step = variant.join("checkpoint/global_step4");
    let shard = step.join("bf16_zero_pp_rank_0_mp_rank_01_optim_states.pt");
    let found = inspect_file(&shard).unwrap();
    assert_eq!((found.kind, found.rank), ("optimizer state", Some(1)));
    let part = "optimizer_state_dict.single_partition_of_fp32_groups.0";
    let part = found.tensors.iter().find(|tensor| tensor.name == part);
    assert_eq!(part.unwrap().shape, [42_496]);
    let moments = |name: &str| {
        found
            .tensors
            .iter()
            .any(|tensor| tensor.name.ends_with(name))
    };
    assert!(moments("exp_avg") && moments("exp_avg_sq"));

    let found = inspect_file(&step.join("mp_rank_00_model_states.pt")).unwrap();
    assert_eq!((found.kind, found.step), ("rank state", Some(4)));
    assert!(found.tensors.iter().any(|tensor| {
        tensor.name == "module.sequential.0.word_embeddings.weight" && tensor.shape == [256, 64]
    }));
}
