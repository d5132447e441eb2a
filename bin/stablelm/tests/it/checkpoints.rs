//! `stablelm convert`, `inspect`, `compare` on good checkpoints and on bad ones.

use std::process::Command;

use crate::runner::{Runner, copy_tree, fixture, fixtures};

/// Copies the fixture checkpoint, so that a test can damage it.
fn checkpoint(runner: &Runner) -> &'static str {
    copy_tree(&fixtures().join("model"), &runner.path().join("checkpoint"));
    "checkpoint"
}

fn layer(runner: &Runner, name: &str) -> std::path::PathBuf {
    let step = std::fs::read_to_string(runner.path().join("checkpoint/latest")).unwrap();
    runner
        .path()
        .join("checkpoint")
        .join(step.trim())
        .join(name)
}

#[test]
fn a_checkpoint_goes_to_safetensors_and_back_bit_by_bit() {
    let runner = Runner::new();
    let (input, tokenizer) = (fixture("model"), fixture("tokenizer"));
    let args = [
        "convert",
        &input,
        "hf",
        "--tokenizer",
        &tokenizer,
        "--verify",
        "--json",
    ];
    let answer = runner.json(&args);
    assert_eq!(answer["input"]["format"], "neox");
    assert_eq!(answer["parameters"], 1_067_264);
    for name in [
        "model.safetensors",
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "README.md",
        "LICENSE",
        "NOTICE",
        "CHANGES.json",
        "CITATION.cff",
        "ledger.json",
    ] {
        assert!(runner.path().join("hf").join(name).is_file(), "{name}");
    }
    for (ranks, folder) in [("1", "neox1"), ("2", "neox2"), ("4", "neox4")] {
        let args = [
            "convert",
            "hf",
            folder,
            "--to",
            "neox",
            "--tensor-parallel",
            ranks,
            "--verify",
            "-q",
        ];
        runner.ok(&args);
        runner.ok(&["compare", folder, &input]);
        runner.ok(&["convert", folder, &format!("{folder}-hf"), "-q"]);
        runner.ok(&["compare", &format!("{folder}-hf"), "hf"]);
    }
    let tensors = |folder: &str| runner.json(&["inspect", folder, "--json"])["tensors"].clone();
    assert_eq!(tensors("neox4-hf"), tensors("hf"));
}

#[test]
fn shards_have_an_index_and_hold_the_same() {
    let runner = Runner::new();
    runner.ok(&[
        "convert",
        &fixture("model"),
        "hf",
        "--max-shard-size",
        "700KB",
        "-q",
    ]);
    assert!(
        runner
            .path()
            .join("hf/model.safetensors.index.json")
            .is_file()
    );
    assert!(
        runner
            .path()
            .join("hf/model-00004-of-00004.safetensors")
            .is_file()
    );
    runner.ok(&["compare", "hf", &fixture("model")]);
}

#[test]
fn the_change_record_grows_with_each_conversion() {
    let runner = Runner::new();
    runner.ok(&["convert", &fixture("model"), "a", "-q"]);
    runner.ok(&["convert", "a", "b", "--dtype", "f32", "-q"]);
    let changes = |folder: &str| -> Vec<serde_json::Value> {
        let bytes = std::fs::read(runner.path().join(folder).join("CHANGES.json")).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        value
            .as_array()
            .or_else(|| value["changes"].as_array())
            .unwrap()
            .clone()
    };
    let (first, second) = (changes("a"), changes("b"));
    assert_eq!(
        second[..first.len()],
        first,
        "earlier records stay as they are"
    );
    assert_eq!(
        second.len(),
        first.len() + 2,
        "one for the format, one for the dtype"
    );
}

#[test]
fn naming_the_component_does_not_forget_what_was_done_before() {
    let runner = Runner::new();
    let args = [
        "convert",
        &fixture("model"),
        "model",
        "--component",
        "stablelm-3b-4e1t",
        "-q",
    ];
    runner.ok(&args);
    let shown = runner.json(&["license", "show", "model", "--json"]);
    assert_eq!(shown["subject"]["id"], "stablelm-3b-4e1t");
    assert_eq!(shown["ledger"]["changes"].as_array().unwrap().len(), 2);
}

#[test]
fn files_that_go_with_the_tokenizer_are_copied() {
    let runner = Runner::new();
    copy_tree(
        &fixtures().join("tokenizer"),
        &runner.path().join("tokenizer"),
    );
    runner.write("tokenizer/tokenizer_config.json", "{}");
    runner.ok(&[
        "convert",
        &fixture("model"),
        "model",
        "--tokenizer",
        "tokenizer",
        "-q",
    ]);
    assert!(runner.path().join("model/tokenizer_config.json").is_file());
    assert!(runner.path().join("model/tokenizer.json").is_file());
}

#[test]
fn a_dry_run_prints_the_plan_and_writes_nothing() {
    let runner = Runner::new();
    let plan = runner.ok(&["convert", &fixture("model"), "hf", "--dry-run"]);
    assert!(plan.contains("model.safetensors"), "{plan}");
    assert!(!runner.path().join("hf").exists());
}

#[test]
fn different_checkpoints_exit_with_one_and_say_where() {
    let runner = Runner::new();
    runner.ok(&["convert", &fixture("model"), "a", "-q"]);
    runner.ok(&["convert", "a", "b", "--dtype", "f16", "-q"]);
    let output = runner.output(&["compare", "a", "b"]);
    assert_eq!(output.status.code(), Some(1));
    let output = runner.output(&["compare", "a", "b", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(serde_json::from_slice::<serde_json::Value>(&output.stdout).is_ok());
}

#[test]
fn a_truncated_file_is_named_and_nothing_is_written() {
    let runner = Runner::new();
    checkpoint(&runner);
    let path = layer(&runner, "layer_02-model_01-model_states.pt");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    insta::assert_snapshot!(runner.snapshot(&["convert", "checkpoint", "out"]));
    assert!(!runner.path().join("out").exists());
}

#[test]
fn a_pickle_with_a_callable_is_refused_and_nothing_is_executed() {
    let runner = Runner::new();
    checkpoint(&runner);
    let name = "layer_00-model_00-model_states.pt";
    std::fs::copy(fixtures().join("hostile").join(name), layer(&runner, name)).unwrap();
    insta::assert_snapshot!(runner.snapshot(&["convert", "checkpoint", "out"]));
    assert!(!runner.path().join("out").exists());
    assert!(!runner.path().join("STABLELM_PWNED_MARKER").exists());
}

#[test]
fn a_missing_rank_is_named() {
    let runner = Runner::new();
    checkpoint(&runner);
    std::fs::remove_file(layer(&runner, "layer_03-model_01-model_states.pt")).unwrap();
    insta::assert_snapshot!(runner.snapshot(&["convert", "checkpoint", "out"]));
}

#[test]
fn a_configuration_that_disagrees_with_the_tensors_is_refused() {
    let runner = Runner::new();
    checkpoint(&runner);
    let config = layer(&runner, "configs");
    let path = std::fs::read_dir(config)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(
        &path,
        text.replace("\"hidden_size\": 128", "\"hidden_size\": 256"),
    )
    .unwrap();
    insta::assert_snapshot!("neox", runner.snapshot(&["convert", "checkpoint", "out"]));

    runner.ok(&["convert", &fixture("model"), "hf", "-q"]);
    let config = std::fs::read_to_string(runner.path().join("hf/config.json")).unwrap();
    let wrong = config.replace("\"intermediate_size\": 352", "\"intermediate_size\": 344");
    assert_ne!(config, wrong);
    runner.write("hf/config.json", wrong);
    insta::assert_snapshot!(
        "safetensors",
        runner.snapshot(&["convert", "hf", "neox", "--to", "neox"])
    );
    insta::assert_snapshot!(
        "run",
        runner.snapshot(&["run", "--model", "hf", "--prompt-ids", "1,2"])
    );
}

#[test]
fn ranks_that_do_not_divide_the_heads_are_refused() {
    let runner = Runner::new();
    runner.ok(&["convert", &fixture("model"), "hf", "-q"]);
    let args = [
        "convert",
        "hf",
        "neox",
        "--to",
        "neox",
        "--tensor-parallel",
        "3",
    ];
    insta::assert_snapshot!(runner.snapshot(&args));
}

#[test]
fn an_existing_output_is_left_alone() {
    let runner = Runner::new();
    runner.write("out/precious", "");
    insta::assert_snapshot!(runner.snapshot(&["convert", &fixture("model"), "out"]));
}

#[test]
fn a_path_that_is_not_there_is_named_and_a_hub_id_explained() {
    let runner = Runner::new();
    insta::assert_snapshot!("path", runner.snapshot(&["inspect", "./nothing/here"]));
    insta::assert_snapshot!(
        "hub",
        runner.snapshot(&["inspect", "stabilityai/stablelm-3b-4e1t"])
    );
}

#[test]
fn checkpoints_written_by_gpt_neox_convert_to_what_transformers_has() {
    let Some(oracles) = stablelm_testkit::shared_oracles() else {
        eprintln!("skipped: no shared oracles beside the repository");
        return;
    };
    let runner = Runner::new();
    for variant in ["a_w123_pp1_tp2_bf16", "b_pythia_pp1_tp2_fp16"] {
        let folder = oracles.join("neox").join(variant);
        let input = folder.join("checkpoint");
        runner.ok(&["convert", input.to_str().unwrap(), variant, "-q"]);
        runner.ok(&["compare", variant, folder.join("hf").to_str().unwrap()]);
    }
}

#[test]
fn a_second_writer_of_the_same_output_is_refused() {
    let runner = Runner::new();
    // Hold the staging folder's lock from another process.
    std::fs::create_dir(runner.path().join(".out.partial")).unwrap();
    let lock = Command::new("flock")
        .args(["-x", ".out.partial", "sleep", "20"])
        .current_dir(runner.path())
        .spawn();
    let Ok(mut lock) = lock else {
        eprintln!("skipped: there is no flock command");
        return;
    };
    std::thread::sleep(std::time::Duration::from_millis(500));
    insta::assert_snapshot!(runner.snapshot(&["convert", &fixture("model"), "out"]));
    lock.kill().unwrap();
    lock.wait().unwrap();
}

#[test]
fn gguf_files_say_what_the_weights_say() {
    let runner = Runner::new();
    let (input, tokenizer) = (fixture("model"), fixture("tokenizer"));
    let convert = |output: &str, dtype: &str| {
        let args = [
            "convert",
            &input,
            output,
            "--to",
            "gguf",
            "--dtype",
            dtype,
            "--tokenizer",
            &tokenizer,
            "--verify",
            "-q",
        ];
        runner.ok(&args);
    };
    convert("lamp.gguf", "keep");
    convert("lamp", "f32");
    for file in ["README.md", "LICENSE", "NOTICE", "CHANGES.json"] {
        assert!(runner.path().join("lamp").join(file).is_file(), "{file}");
    }
    let run = |model: &str| {
        let prompt = "The keeper lit the lamp";
        let args = [
            "run",
            "--model",
            model,
            "--tokenizer",
            &tokenizer,
            prompt,
            "--greedy",
            "-q",
        ];
        runner.ok(&args)
    };
    let expected = run(&input);
    assert_eq!(run("lamp.gguf"), expected);
    let args = [
        "run",
        "--model",
        "lamp.gguf",
        "--prompt-ids",
        "7",
        "--greedy",
    ];
    let stderr = String::from_utf8(runner.output(&args).stderr).unwrap();
    assert!(
        stderr.contains("CC BY-SA 4.0") || stderr.contains("CC-BY-SA-4.0"),
        "{stderr}"
    );
    assert_eq!(run("lamp/model.gguf"), expected);
    let plan = [
        "convert",
        &input,
        "other.gguf",
        "--to",
        "gguf",
        "--dtype",
        "q8_0",
        "--dry-run",
    ];
    assert!(runner.ok(&plan).contains("blk.0.attn_q.weight"));
    assert!(!runner.path().join("other.gguf").exists());
}

/// Before, a GGUF file of weights that are not numbers was written without a word.
#[test]
fn nan_is_a_warning_of_a_gguf_file_too_and_an_error_of_its_check() {
    let runner = Runner::new();
    runner.ok(&["convert", &fixture("model"), "model", "-q"]);
    let path = runner.path().join("model/model.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    // The last number of the last tensor, whatever its width.
    bytes.splice(bytes.len() - 4.., [0xff; 4]);
    std::fs::write(&path, bytes).unwrap();
    for (options, expected) in [
        (&["--to", "safetensors"][..], 0),
        (&["--to", "gguf"], 0),
        (&["--to", "gguf", "--dtype", "q8_0"], 0),
        (&["--to", "gguf", "--verify"], 1),
    ] {
        let args = [&["convert", "model", "out", "--overwrite"], options].concat();
        let output = runner.output(&args);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(expected), "{args:?}: {stderr}");
        assert!(stderr.contains("are NaN or infinite"), "{args:?}: {stderr}");
        assert_eq!(
            stderr.contains("error: tensor `"),
            expected == 1,
            "{stderr}"
        );
    }
}

#[test]
fn numbers_that_f16_has_no_room_for_are_a_warning_of_a_gguf_file_too() {
    let runner = Runner::new();
    runner.ok(&[
        "convert",
        &fixture("model"),
        "model",
        "--dtype",
        "f32",
        "-q",
    ]);
    let path = runner.path().join("model/model.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    // The last number of a matrix, by its place in the header.
    let (len, rest) = bytes.split_first_chunk().unwrap();
    let len = usize::try_from(u64::from_le_bytes(*len)).unwrap();
    let header: serde_json::Value = serde_json::from_slice(&rest[..len]).unwrap();
    let end = header["lm_head.weight"]["data_offsets"][1]
        .as_u64()
        .unwrap();
    let end = 8 + len + usize::try_from(end).unwrap();
    let mut bytes = bytes;
    bytes.splice(end - 4..end, 1e6f32.to_le_bytes());
    std::fs::write(&path, bytes).unwrap();
    for (dtype, warns) in [("f16", true), ("bf16", false), ("keep", false)] {
        let args = [
            "convert",
            "model",
            "out.gguf",
            "--overwrite",
            "--to",
            "gguf",
        ];
        let output = runner.output(&[&args[..], &["--dtype", dtype]].concat());
        assert!(output.status.success());
        let stderr = String::from_utf8(output.stderr).unwrap();
        let expected = "tensor `lm_head.weight` holds 1 values that are NaN or infinite";
        assert_eq!(stderr.contains(expected), warns, "{dtype}: {stderr}");
    }
}

#[test]
fn blocks_are_for_gguf_only() {
    let runner = Runner::new();
    let output = runner.output(&["convert", &fixture("model"), "out", "--dtype", "q4_k"]);
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("--to gguf"), "{stderr}");
}

/// Every file below a folder with its bytes, sorted.
fn tree(folder: &std::path::Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_owned();
                files.push((name, std::fs::read(&path).unwrap()));
            }
        }
    }
    files.sort();
    files
}

#[test]
fn a_killed_conversion_goes_on_and_ends_in_the_same_bytes() {
    let runner = Runner::new();
    let input = fixture("model");
    let targets: [&[&str]; 2] = [
        &["--max-shard-size", "60KB"],
        &["--to", "neox", "--tensor-parallel", "4"],
    ];
    for (nth, target) in targets.iter().enumerate() {
        let (whole, killed) = (format!("whole{nth}"), format!("killed{nth}"));
        let args = |output: &str, more: &[&str]| -> Vec<String> {
            let args = ["convert", &input, output, "--verify", "-q"];
            let all = args.iter().chain(*target).chain(more);
            all.map(ToString::to_string).collect()
        };
        let started = std::time::Instant::now();
        let undisturbed = args(&whole, &[]);
        runner.ok(&undisturbed.iter().map(String::as_str).collect::<Vec<_>>());
        let took = started.elapsed();
        for turn in 0..20u32 {
            let mut child = Command::new(env!("CARGO_BIN_EXE_stablelm"))
                .args(args(&killed, &["--resume"]))
                .current_dir(runner.path())
                .env("SOURCE_DATE_EPOCH", "1700000000")
                .stderr(std::process::Stdio::null())
                .spawn()
                .unwrap();
            std::thread::sleep(took * (turn * 7 % 20) / 20);
            child.kill().unwrap();
            let succeeded = child.wait().unwrap().success();
            // A process may be killed between giving the output its name and its end: what has the name is whole.
            let finished = runner.path().join(&killed).exists();
            assert!(finished || !succeeded, "{turn}");
            if finished || turn % 5 == 4 {
                if !finished {
                    let rest = args(&killed, &["--resume"]);
                    runner.ok(&rest.iter().map(String::as_str).collect::<Vec<_>>());
                }
                let (expected, found) = (
                    tree(&runner.path().join(&whole)),
                    tree(&runner.path().join(&killed)),
                );
                assert!(expected == found, "{turn}");
                std::fs::remove_dir_all(runner.path().join(&killed)).unwrap();
            }
        }
    }
}

#[test]
fn an_unfinished_conversion_is_not_gone_on_with_unasked_or_with_other_options() {
    let runner = Runner::new();
    let input = fixture("model");
    let journal = ".out.partial/convert.journal";
    runner.write(journal, "");
    let output = runner.output(&["convert", &input, "out"]);
    assert_eq!(output.status.code(), Some(3));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.contains("--resume") && stderr.contains("--overwrite"),
        "{stderr}"
    );
    let other = "{\"conversion\":{\"key\":\"00\",\"started\":\"then\"}}\n";
    runner.write(journal, other);
    let output = runner.output(&["convert", &input, "out", "--resume"]);
    assert_eq!(output.status.code(), Some(3));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("another conversion"), "{stderr}");
    assert!(!runner.path().join("out").exists());
    runner.ok(&["convert", &input, "out", "--overwrite", "-q"]);
    assert!(!runner.path().join("out/convert.journal").exists());
}

#[test]
fn files_of_every_kind_are_inspected_and_compared() {
    let runner = Runner::new();
    let input = fixture("model");
    runner.ok(&["convert", &input, "hf", "-q"]);
    for dtype in ["keep", "q8_0"] {
        let file = format!("{dtype}.gguf");
        runner.ok(&[
            "convert", &input, &file, "--to", "gguf", "--dtype", dtype, "-q",
        ]);
    }
    let inspected = runner.json(&["inspect", "q8_0.gguf", "--json"]);
    assert_eq!(inspected["format"], "gguf");
    assert_eq!(inspected["parameters"], 1_067_264);
    assert!(inspected["dtypes"]["q8_0"].as_u64().unwrap() > 0);
    assert!(
        runner
            .ok(&["inspect", "q8_0.gguf"])
            .contains("model.embed_tokens.weight")
    );
    let step = std::fs::read_to_string(std::path::Path::new(&input).join("latest")).unwrap();
    let layer = format!("{input}/{}/layer_02-model_01-model_states.pt", step.trim());
    let inspected = runner.json(&["inspect", &layer, "--json"]);
    assert_eq!(
        (&inspected["kind"], &inspected["rank"]),
        (&"layer".into(), &1.into())
    );
    std::fs::copy(
        runner.path().join("hf/model.safetensors"),
        runner.path().join("alone.safetensors"),
    )
    .unwrap();
    assert_eq!(
        runner.json(&["inspect", "alone.safetensors", "--json"])["layout"],
        "file"
    );
    let whole = runner.json(&["inspect", "hf/model.safetensors", "--json"]);
    assert_eq!(whole["architecture"], "StableLmForCausalLM");

    // The vectors are f32 in GGUF files, so only a tolerance makes them equal.
    runner.ok(&["compare", "hf", "keep.gguf", "--tolerance", "1e-9"]);
    runner.ok(&["compare", "q8_0.gguf", &input, "--tolerance", "0.05"]);
    let output = runner.output(&["compare", "q8_0.gguf", "hf", "--tolerance", "1e-9"]);
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn both_layouts_of_gpt_neox_and_their_digests_are_written() {
    let runner = Runner::new();
    let input = fixture("model");
    let args = [
        "convert", &input, "single", "--to", "neox", "--layout", "single",
    ];
    let ranks = ["--tensor-parallel", "4", "--verify", "--json"];
    let first = runner.json(&[&args[..], &ranks[..]].concat());
    let folder = runner.path().join("single");
    let step = std::fs::read_to_string(folder.join("latest")).unwrap();
    assert!(
        folder
            .join(&step)
            .join("mp_rank_03_model_states.pt")
            .is_file()
    );
    assert!(
        !folder
            .join(&step)
            .join("layer_00-model_00-model_states.pt")
            .exists()
    );
    runner.ok(&["compare", "single", &input]);
    let second = runner.json(&["convert", "single", "hf", "--verify", "--json"]);
    // The same weights have the same digest, however they are stored.
    let digest = &first["input"]["tensors_sha256"];
    for answer in [&first["output"], &second["input"], &second["output"]] {
        assert_eq!(&answer["tensors_sha256"], digest);
    }
    let list = std::fs::read(runner.path().join("hf/tensors.json")).unwrap();
    let list: serde_json::Value = serde_json::from_slice(&list).unwrap();
    assert_eq!(&list["sha256"], digest);
    let ledger = std::fs::read_to_string(runner.path().join("hf/ledger.json")).unwrap();
    assert!(ledger.contains(digest.as_str().unwrap()));
}
