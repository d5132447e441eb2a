//! Kinds of models that no golden checkpoint covers, made here: there and back must be the identity.

use std::collections::HashMap;
use std::error::Error;
use std::fs;
use std::path::Path;

use safetensors::{Dtype as StoredDtype, tensor::TensorView};
use stablelm_checkpoint::{
    ConvertError, InputOptions, NeoxLayout, Target, compare, open_input, plan, verify,
};
use stablelm_model::{Dtype, ModelConfig, parameters};

use crate::support::{assert_equal, converted, neox, open_at, safetensors};

/// Writes a model with numbers from a fixed sequence, none of them special.
fn make(folder: &Path, config: &str, extra: &[(&str, usize)]) {
    let config = format!(
        r#"{{"vocab_size": 24, "hidden_size": 16, "intermediate_size": 12, "num_hidden_layers": 2,
            "num_attention_heads": 4, "torch_dtype": "float16", {config}}}"#
    );
    let config = ModelConfig::from_config_json(config.as_bytes()).unwrap();
    let mut state = 1u32;
    let mut bytes = |num_elements: usize| -> Vec<u8> {
        let mut bytes = Vec::with_capacity(2 * num_elements);
        for _ in 0..num_elements {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // Between 2^-7 and 2 in size, so that halves of it stay exact.
            let [low, high, sign, _] = state.to_le_bytes();
            bytes.extend([low, 0x20 | (high & 0x1f) | (sign & 0x80)]);
        }
        bytes
    };
    let mut tensors = HashMap::new();
    for parameter in parameters(&config) {
        let content = bytes(parameter.num_elements());
        tensors.insert(parameter.name, (parameter.shape, content));
    }
    for (name, len) in extra {
        tensors.insert((*name).to_owned(), (vec![*len], bytes(*len)));
    }
    let views = tensors.iter().map(|(name, (shape, content))| {
        let view = TensorView::new(StoredDtype::F16, shape.clone(), content);
        (name.as_str(), view.unwrap())
    });
    let path = folder.join("model.safetensors");
    safetensors::serialize_to_file(views, None, &path).unwrap();
    std::fs::write(
        folder.join("config.json"),
        config.to_config_json(Dtype::F16),
    )
    .unwrap();
}

#[track_caller]
fn check(config: &str, tensor_parallel: usize) {
    let folder = tempfile::tempdir().unwrap();
    make(folder.path(), config, &[]);
    let input = open_at(folder.path());
    let (_first, split, _) = converted(&input, &neox(tensor_parallel));
    assert_equal(&input, &split);
    verify(&input, &split).unwrap();
    let (_second, back, _) = converted(&split, &safetensors());
    assert_equal(&input, &back);
    let (_third, other, _) = converted(&split, &neox(1));
    assert_equal(&input, &other);
    // From ranks to another number of ranks, and from one layout to the other.
    let mut single = neox(2);
    if let Target::Neox { layout, .. } = &mut single.target {
        *layout = NeoxLayout::Single;
    }
    let (_fourth, single, _) = converted(&split, &single);
    assert_eq!(single.details().layout, "single");
    assert_equal(&input, &single);
    let (_fifth, again, _) = converted(&single, &neox(tensor_parallel));
    assert_equal(&input, &again);
}

#[track_caller]
fn check_refused(config: &str, expected: &str) {
    let folder = tempfile::tempdir().unwrap();
    make(folder.path(), config, &[]);
    match plan(&open_at(folder.path()), &neox(1)).unwrap_err() {
        ConvertError::NotExpressible { key } => assert_eq!(key, expected),
        other => panic!("{other}"),
    }
}

#[test]
fn models_of_every_kind_come_back_unchanged() {
    let stablelm = |rest: &str| format!(r#""model_type": "stablelm"{rest}"#);
    let neox = |rest: &str| format!(r#""model_type": "gpt_neox"{rest}"#);
    for tensor_parallel in [1, 2, 4] {
        check(&stablelm(""), tensor_parallel);
        check(&stablelm(r#", "use_qkv_bias": true"#), tensor_parallel);
        check(
            &stablelm(r#", "use_parallel_residual": true"#),
            tensor_parallel,
        );
        check(
            &stablelm(r#", "tie_word_embeddings": true"#),
            tensor_parallel,
        );
        check(&neox(""), tensor_parallel);
        check(
            &neox(r#", "use_parallel_residual": false"#),
            tensor_parallel,
        );
        check(&neox(r#", "tie_word_embeddings": true"#), tensor_parallel);
    }
    for tensor_parallel in [1, 2] {
        let grouped =
            r#", "num_key_value_heads": 2, "use_qkv_bias": true, "use_parallel_residual": true"#;
        check(&stablelm(grouped), tensor_parallel);
    }
}

/// Writes the module of a GPT-NeoX layer again without some of its tensors, or under other names.
fn rewrite(folder: &Path, change: impl Fn(&str) -> Option<String>) {
    let step = folder.join("global_step4");
    for entry in std::fs::read_dir(&step).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !name.starts_with("layer_") {
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, renamed(&bytes, &change)).unwrap();
    }
}

/// Replaces keys in the pickle of a PyTorch file by others of the same length, so that nothing moves.
fn renamed(file: &[u8], change: &impl Fn(&str) -> Option<String>) -> Vec<u8> {
    let mut file = file.to_vec();
    let mut zip = zip::ZipArchive::new(std::io::Cursor::new(file.clone())).unwrap();
    let entry = zip.by_index(0).unwrap();
    let start = usize::try_from(entry.data_start().unwrap()).unwrap();
    let len = usize::try_from(entry.size()).unwrap();
    let crc = entry.crc32();
    drop(entry);
    let mut at = start;
    while at + 5 < start + len {
        let size = u32::from_le_bytes(file[at + 1..at + 5].try_into().unwrap()) as usize;
        if file[at] == b'X' && size < 80 && at + 5 + size <= start + len {
            let key = String::from_utf8_lossy(&file[at + 5..at + 5 + size]).into_owned();
            if let Some(new) = change(&key) {
                assert_eq!(new.len(), size);
                file[at + 5..at + 5 + size].copy_from_slice(new.as_bytes());
            }
        }
        at += 1;
    }
    let new = crc32fast::hash(&file[start..start + len]).to_le_bytes();
    let old = crc.to_le_bytes();
    let places: Vec<usize> = file
        .windows(4)
        .enumerate()
        .filter(|(_, window)| *window == old)
        .map(|(at, _)| at)
        .collect();
    for at in places {
        file[at..at + 4].copy_from_slice(&new);
    }
    file
}

#[test]
fn names_that_nobody_knows_are_mapped_by_a_list() {
    let folder = tempfile::tempdir().unwrap();
    make(folder.path(), r#""model_type": "stablelm""#, &[]);
    let input = open_at(folder.path());
    let (split, _, _) = converted(&input, &neox(2));
    rewrite(split.path(), |key| {
        (key == "mlp.linear1.weight").then(|| "mlp.up_gate.weight".to_owned())
    });
    let open = |key_map| {
        open_input(
            split.path(),
            &InputOptions {
                key_map,
                ..InputOptions::default()
            },
        )
    };
    let error = open(None).unwrap_err().to_string();
    assert!(error.contains("mlp.linear1.weight` is missing"), "{error}");
    let list = folder.path().join("names.json");
    std::fs::write(&list, r#"{"mlp.up_gate.weight": "mlp.linear1.weight"}"#).unwrap();
    assert_equal(&input, &open(Some(list.clone())).unwrap());
    std::fs::write(&list, "[]").unwrap();
    assert!(open(Some(list)).is_err());
}

#[test]
fn normalizations_without_biases_have_zeros() {
    let folder = tempfile::tempdir().unwrap();
    make(folder.path(), r#""model_type": "stablelm""#, &[]);
    let input = open_at(folder.path());
    let (split, _, _) = converted(&input, &neox(2));
    // Under another name they have no place, and none is left under theirs.
    let hide = |only: &'static str| {
        move |key: &str| {
            let is_bias = key.ends_with("norm.bias") && key.starts_with(only);
            is_bias.then(|| key.replace("norm.bias", "morn.bias"))
        }
    };
    rewrite(split.path(), hide("input"));
    let error =
        crate::support::chain(&open_input(split.path(), &InputOptions::default()).unwrap_err());
    assert!(
        error.contains("input_layernorm.bias` is missing"),
        "{error}"
    );
    rewrite(split.path(), hide(""));
    let without = open_at(split.path());
    let differences = compare(&input, &without, 0.0).unwrap();
    for tensor in &differences.tensors {
        let is_bias = tensor.name.ends_with("norm.bias");
        assert_eq!(tensor.outcome.is_equal(), !is_bias, "{}", tensor.name);
        if is_bias {
            let bytes = without.source().bytes(&tensor.name).unwrap();
            assert!(bytes.len() == 32 && bytes.iter().all(|&byte| byte == 0));
        }
    }
    let mut options = safetensors();
    options.allow_drop = vec!["*morn.bias".to_owned()];
    let (_folder, output, _) = converted(&without, &options);
    assert_equal(&without, &output);
}

#[test]
fn what_gpt_neox_has_no_setting_for_is_refused_by_name() {
    check_refused(
        r#""model_type": "stablelm", "qk_layernorm": true"#,
        "qk_layernorm",
    );
    check_refused(
        r#""model_type": "stablelm", "hidden_act": "gelu""#,
        "hidden_act",
    );
    check_refused(
        r#""model_type": "gpt_neox", "hidden_act": "gelu_new""#,
        "hidden_act",
    );
    check_refused(
        r#""model_type": "gpt_neox", "attention_bias": false"#,
        "attention_bias",
    );
}

#[test]
fn old_buffers_are_left_out_and_anything_else_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let buffer = "gpt_neox.layers.0.attention.rotary_emb.inv_freq";
    make(folder.path(), r#""model_type": "gpt_neox""#, &[(buffer, 2)]);
    let plan_of = |path: &Path| plan(&open_at(path), &safetensors());
    let found = plan_of(folder.path()).unwrap();
    assert_eq!(found.dropped().len(), 1);
    assert_eq!(found.dropped()[0].name, buffer);

    let unknown = "gpt_neox.layers.0.attention.sinks";
    make(
        folder.path(),
        r#""model_type": "gpt_neox""#,
        &[(unknown, 2)],
    );
    match plan_of(folder.path()).unwrap_err() {
        ConvertError::NoPlace { tensor, path } => {
            assert_eq!(tensor, unknown);
            assert!(path.ends_with("model.safetensors"));
        }
        other => panic!("{other}"),
    }
}

#[test]
fn rows_that_do_not_divide_evenly_are_an_error_that_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let config = r#""model_type": "stablelm", "vocab_size": 25"#;
    make(folder.path(), config, &[]);
    let error = plan(&open_at(folder.path()), &neox(2)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`vocab_size` = 25 is not a multiple of 2 tensor-parallel ranks"
    );
}

#[test]
fn a_damaged_tensor_is_an_error_and_not_a_difference() {
    let folder = tempfile::tempdir().unwrap();
    // An embedding of a megabyte, which is read in four chunks.
    let config = r#""model_type": "stablelm", "vocab_size": 32768"#;
    make(folder.path(), config, &[]);
    let input = open_at(folder.path());
    let (written, _, _) = converted(&input, &neox(1));
    let mut files = vec![written.path().to_owned()];
    let embedding = loop {
        let path = files.pop().expect("there is a file for the embedding");
        if path.is_dir() {
            files.extend(
                fs::read_dir(path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        } else if path.to_string_lossy().contains("layer_00-model_00") {
            break path;
        }
    };
    let mut bytes = fs::read(&embedding).unwrap();
    bytes[5_000] ^= 1;
    fs::write(&embedding, bytes).unwrap();
    let damaged = open_at(written.path());
    for (a, b) in [(&input, &damaged), (&damaged, &input)] {
        for text in [
            causes(&compare(a, b, 0.0).unwrap_err()),
            causes(&verify(a, b).unwrap_err()),
        ] {
            assert!(text.contains("CRC-32"), "{text}");
        }
    }
}

fn causes(error: &dyn Error) -> String {
    let cause = error.source().map(causes).unwrap_or_default();
    format!("{error}\n{cause}")
}
