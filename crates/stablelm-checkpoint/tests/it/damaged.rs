//! Hostile and broken checkpoints: each is refused for what it is, nothing runs, and nothing is written.

use std::path::Path;

use stablelm_checkpoint::{OpenOptions, convert, open, plan, verify};

use crate::support::{chain, copy_folder, open_at, oracle, safetensors};

/// What each case's error must name; empty for those that convert.
const CASES: [(&str, &[&str]); 16] = [
    ("deflated_storage", &[]),
    (
        "evil_in_mp_rank",
        &["mp_rank_00_model_states.pt", "nothing was executed"],
    ),
    (
        "evil_reduce_os_system",
        &["layer_02-model_00", "`os.system`"],
    ),
    (
        "huge_string_length",
        &["layer_02-model_00", "needs 4294967280 bytes"],
    ),
    ("latest_traversal", &["latest", "../../../../etc"]),
    ("legacy_tar_format", &[]),
    (
        "memo_bomb",
        &["layer_02-model_00", "nothing left on the stack"],
    ),
    (
        "missing_tp_rank",
        &["layer_04-model_01-model_states.pt` is missing"],
    ),
    (
        "nan_weight",
        &["model.layers.0.mlp.down_proj.weight", "85 NaN"],
    ),
    (
        "norm_differs_between_ranks",
        &[
            "2.input_layernorm.weight",
            "layer_02-model_00",
            "layer_02-model_01",
        ],
    ),
    ("one_shared_storage", &[]),
    (
        "short_storage",
        &["layer_02-model_00", "data/6", "mlp.w1.weight"],
    ),
    ("strided_weight", &[]),
    (
        "truncated_zip",
        &["layer_02-model_00", "not a complete zip archive"],
    ),
    ("unknown_key", &["layer_02-model_00", "no place"]),
    (
        "vocab_mismatch",
        &[
            "0.word_embeddings.weight",
            "layer_00-model_00",
            "[224, 64]",
            "[256, 64]",
        ],
    ),
];

/// Does what the command does: opens, plans, converts, verifies; returns the first error in full.
fn attempt(input: &Path, output: &Path) -> Result<(), String> {
    let checkpoint = open(input, &OpenOptions::default()).map_err(|e| chain(&e))?;
    let plan = plan(&checkpoint, &safetensors()).map_err(|e| chain(&e))?;
    convert(&plan, &checkpoint, output, None).map_err(|e| chain(&e))?;
    verify(&checkpoint, &open_at(output)).map_err(|e| chain(&e))?;
    Ok(())
}

/// Builds a case as its description says; `None` when a part of it is not here.
fn build(oracles: &Path, case: &Path, folder: &Path) -> Option<()> {
    let text = std::fs::read(case.join("case.json")).ok()?;
    let facts: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let base = oracles
        .join(facts["base"].as_str().unwrap())
        .join("checkpoint");
    if !base.is_dir() {
        return None;
    }
    copy_folder(&base, folder);
    let listed = |key: &str| -> Vec<String> {
        let names = facts[key].as_array().into_iter().flatten();
        names
            .map(|name| name.as_str().unwrap().to_owned())
            .collect()
    };
    for name in listed("remove") {
        std::fs::remove_file(folder.join(name)).unwrap();
    }
    for name in listed("overlay") {
        let bytes = std::fs::read(case.join("files").join(&name)).ok()?;
        std::fs::write(folder.join(name), bytes).unwrap();
    }
    Some(())
}

#[test]
fn every_damaged_checkpoint_is_refused_for_what_it_is() {
    let Some(oracles) = oracle("neox") else {
        return;
    };
    let known: Vec<&str> = CASES.iter().map(|(name, _)| *name).collect();
    for entry in std::fs::read_dir(oracles.join("damaged")).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        assert!(
            entry.path().is_file() || known.contains(&name.as_str()),
            "{name} is not tested"
        );
    }
    for (name, expected) in CASES {
        let (input, output) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        if build(&oracles, &oracles.join("damaged").join(name), input.path()).is_none() {
            eprintln!("skipped: not all files of `{name}` are here");
            continue;
        }
        let result = attempt(input.path(), output.path());
        match (result, expected) {
            (Ok(()), []) => {}
            (Ok(()), _) => panic!("{name}: converted"),
            (Err(error), expected) => {
                assert!(!expected.is_empty(), "{name}: {error}");
                for part in expected {
                    assert!(error.contains(part), "{name}: `{part}` not in: {error}");
                }
            }
        }
        // A NaN is found by reading the output again; everything else before the first byte is written.
        if name != "nan_weight" && !expected.is_empty() {
            assert_eq!(
                std::fs::read_dir(output.path()).unwrap().count(),
                0,
                "{name}"
            );
        }
        for folder in [input.path(), output.path(), Path::new(".")] {
            assert!(!folder.join("STABLELM_PWNED_MARKER").exists(), "{name}");
        }
    }
}

#[test]
fn cases_that_are_only_unusual_convert_to_the_healthy_bytes() {
    let Some(oracles) = oracle("neox") else {
        return;
    };
    let healthy = open_at(&oracles.join("a_w123_pp1_tp2_bf16/checkpoint"));
    for name in [
        "deflated_storage",
        "legacy_tar_format",
        "one_shared_storage",
        "strided_weight",
    ] {
        let folder = tempfile::tempdir().unwrap();
        if build(&oracles, &oracles.join("damaged").join(name), folder.path()).is_some() {
            crate::support::assert_equal(&healthy, &open_at(folder.path()));
        }
    }
}

#[test]
fn an_unknown_tensor_is_left_out_only_when_allowed() {
    let Some(oracles) = oracle("neox") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    if build(
        &oracles,
        &oracles.join("damaged/unknown_key"),
        folder.path(),
    )
    .is_none()
    {
        return;
    }
    let checkpoint = open_at(folder.path());
    let mut options = safetensors();
    options.allow_drop = vec!["nothing.*".to_owned()];
    let error = plan(&checkpoint, &options).unwrap_err().to_string();
    let name = error.split('`').nth(1).unwrap().to_owned();
    options.allow_drop = vec![name.clone()];
    let plan = plan(&checkpoint, &options).unwrap();
    assert_eq!(plan.dropped().len(), 1);
    assert_eq!(plan.dropped()[0].name, name);
    assert!(plan.to_string().contains(&format!("left out: {name}")));
}

#[test]
fn nan_is_a_warning_of_the_conversion() {
    let Some(oracles) = oracle("neox") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    if build(&oracles, &oracles.join("damaged/nan_weight"), folder.path()).is_none() {
        return;
    }
    let (_output, _, converted) =
        crate::support::converted(&open_at(folder.path()), &safetensors());
    assert_eq!(converted.warnings.len(), 1);
    let warning = &converted.warnings[0];
    assert_eq!((warning.count, warning.nan), (85, 85));
}
