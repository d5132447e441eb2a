//! Safetensors: from transformers to GPT-NeoX and back, shards, and files that are not what they say.

use stablelm_checkpoint::{Format, OpenOptions, Target, convert, open, plan, verify};

use crate::support::{assert_equal, chain, converted, neox, open_at, options, oracle, safetensors};

#[test]
fn models_of_transformers_come_back_from_gpt_neox_unchanged() {
    for name in ["3b-4e1t", "2-1_6b", "alpha-neox", "vocab-50304"] {
        let Some(folder) = oracle("inference").map(|folder| folder.join(name)) else {
            return;
        };
        let input = open_at(&folder);
        assert_eq!(input.format(), Format::Safetensors);
        let (_first, split, _) = converted(&input, &neox(2));
        assert_equal(&input, &split);
        verify(&input, &split).unwrap();
        let (_second, back, _) = converted(&split, &safetensors());
        assert_equal(&input, &back);
        verify(&input, &back).unwrap();
    }
}

#[test]
fn shards_hold_the_same_tensors_and_any_thread_count_the_same_bytes() {
    let Some(folder) = oracle("inference/3b-4e1t") else {
        return;
    };
    let input = open_at(&folder);
    let mut sharded = options(Target::Safetensors {
        max_shard_size: 100_000,
    });
    sharded
        .metadata
        .insert("license".to_owned(), "x".to_owned());
    let (folder, output, first) = converted(&input, &sharded);
    assert!(folder.path().join("model.safetensors.index.json").is_file());
    assert!(!folder.path().join("model.safetensors").exists());
    assert_equal(&input, &output);
    assert_eq!(output.metadata()["format"], "pt");
    assert_eq!(output.metadata()["license"], "x");

    sharded.threads = std::num::NonZeroUsize::MIN;
    let (again, _, second) = converted(&input, &sharded);
    assert_eq!(first, second);
    for file in output.files() {
        let name = file.file_name().unwrap();
        let other = std::fs::read(again.path().join(name)).unwrap();
        assert_eq!(std::fs::read(file).unwrap(), other, "{}", name.display());
    }
}

#[test]
fn the_plan_lists_every_file_and_byte() {
    let Some(folder) = oracle("inference/3b-4e1t") else {
        return;
    };
    let input = open_at(&folder);
    for options in [safetensors(), neox(2)] {
        let plan = plan(&input, &options).unwrap();
        let output = tempfile::tempdir().unwrap();
        convert(&plan, &input, output.path(), None).unwrap();
        for file in plan.files() {
            let len = std::fs::metadata(output.path().join(&file.path))
                .unwrap()
                .len();
            assert!(len >= file.bytes, "{}", file.path.display());
        }
        let text = plan.to_string();
        assert!(text.lines().count() > plan.files().len(), "{text}");
        let json = serde_json::to_value(&plan).unwrap();
        assert_eq!(json["parameters"], input.config().num_parameters());
    }
}

#[test]
fn the_mode_of_files_follows_the_mask_of_the_user() {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let Some(folder) = oracle("inference/3b-4e1t") else {
            return;
        };
        let (folder, _, _) = converted(&open_at(&folder), &safetensors());
        let ordinary = folder.path().join("ordinary");
        std::fs::write(&ordinary, b"").unwrap();
        let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode();
        let weights = folder.path().join("model.safetensors");
        assert_eq!(mode(&weights), mode(&ordinary));
    }
}

#[test]
fn what_is_no_checkpoint_is_said_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let check = |path: &std::path::Path, expected: &str| {
        let error = chain(&open(path, &OpenOptions::default()).unwrap_err());
        assert!(error.contains(expected), "{error}");
    };
    check(folder.path(), "is not a checkpoint");
    check(&path("none"), "failed to read");
    std::fs::write(path("model.safetensors"), b"").unwrap();
    check(folder.path(), "header is not valid");
    std::fs::write(path("model.safetensors"), [0xff; 64]).unwrap();
    check(folder.path(), "header is not valid");
    std::fs::write(path("model.safetensors"), b"\x02\0\0\0\0\0\0\0{}rest").unwrap();
    check(folder.path(), "safetensors");
    std::fs::write(path("model.safetensors"), b"\x02\0\0\0\0\0\0\0{}").unwrap();
    check(folder.path(), "config.json` is missing");
    std::fs::write(
        path("config.json"),
        br#"{"model_type": "stablelm", "vocab_size": 8, "hidden_size": 4, "intermediate_size": 4,
            "num_hidden_layers": 1, "num_attention_heads": 1}"#,
    )
    .unwrap();
    check(
        folder.path(),
        "tensor `model.embed_tokens.weight` is missing",
    );
    std::fs::remove_file(path("model.safetensors")).unwrap();
    std::fs::write(
        path("model.safetensors.index.json"),
        br#"{"weight_map": {"a": "../b"}}"#,
    )
    .unwrap();
    check(folder.path(), "plain name");
    std::fs::write(path("latest"), b"../elsewhere").unwrap();
    check(folder.path(), "plain name of a folder");
    std::fs::write(path("latest"), b"global_step1\n").unwrap();
    check(folder.path(), "global_step1` is missing");
    std::fs::create_dir(path("global_step1")).unwrap();
    check(folder.path(), "no GPT-NeoX configuration");
}
