//! `stablelm run`

use crate::runner::{Runner, fixture};

fn model(runner: &Runner) {
    let (input, tokenizer) = (fixture("model"), fixture("tokenizer"));
    runner.ok(&["convert", &input, "model", "--tokenizer", &tokenizer, "-q"]);
}

#[test]
fn the_same_seed_gives_the_same_text_and_another_seed_another() {
    let runner = Runner::new();
    model(&runner);
    let run = |seed: &str| {
        runner.ok(&[
            "run",
            "--model",
            "model",
            "The keeper lit the lamp",
            "--seed",
            seed,
            "-q",
        ])
    };
    assert_eq!(run("7"), run("7"));
    assert_ne!(run("7"), run("8"));
}

#[test]
fn text_streams_to_stdout_and_attribution_goes_to_stderr() {
    let runner = Runner::new();
    model(&runner);
    let args = [
        "run",
        "--model",
        "model",
        "The keeper lit the lamp",
        "--greedy",
        "--max-new-tokens",
        "24",
        "--echo",
    ];
    insta::assert_snapshot!(runner.snapshot(&args));
}

#[test]
fn a_checkpoint_runs_as_it_is_and_says_the_same() {
    let runner = Runner::new();
    model(&runner);
    let run = |model: &str| {
        let tokenizer = fixture("tokenizer");
        runner.ok(&[
            "run",
            "--model",
            model,
            "--tokenizer",
            &tokenizer,
            "The keeper lit the lamp",
            "--greedy",
            "-q",
        ])
    };
    assert_eq!(run("model"), run(&fixture("model")));
}

#[test]
fn json_says_what_was_generated_and_how_likely() {
    let runner = Runner::new();
    model(&runner);
    let args = [
        "run",
        "--model",
        "model",
        "The keeper lit the lamp",
        "--greedy",
        "--max-new-tokens",
        "5",
        "--json",
        "--echo",
    ];
    let answer = runner.json(&[&args[..], &["--logprobs", "3"]].concat());
    let ids = answer["ids"].as_array().unwrap();
    assert_eq!(ids.len(), 5);
    assert_eq!(answer["finish_reason"], "length");
    assert_eq!(answer["device"], "cpu");
    assert_eq!(answer["dtype"], "bf16");
    let logprobs = answer["logprobs"].as_array().unwrap();
    for (id, logprob) in ids.iter().zip(logprobs) {
        assert_eq!(&logprob["id"], id);
        assert_eq!(&logprob["top"][0][0], id, "greedy takes the likeliest");
        assert_eq!(logprob["top"].as_array().unwrap().len(), 3);
    }
    let prompt = answer["prompt_logprobs"].as_array().unwrap();
    assert_eq!(prompt.len(), answer["prompt_ids"].as_array().unwrap().len());
    assert!(prompt[0].is_null() && prompt[1]["logprob"].as_f64().unwrap() < 0.0);
    let none = runner.json(&[
        "run",
        "--model",
        "model",
        "x",
        "--max-new-tokens",
        "0",
        "--json",
    ]);
    assert_eq!(none["ids"], serde_json::json!([]));
}

/// Runs a model greedily and returns what `--json` prints.
fn greedy(runner: &Runner, model: &str, options: &[&str]) -> serde_json::Value {
    let args = [
        "run",
        "--model",
        model,
        "The keeper lit the lamp  ",
        "--greedy",
        "--json",
        "-q",
    ];
    serde_json::from_str(&runner.ok(&[&args[..], options].concat())).unwrap()
}

#[test]
fn a_gguf_file_alone_brings_its_tokenizer_and_its_chat_template() {
    let runner = Runner::new();
    model(&runner);
    let template = "{{ eos_token }}{% for message in messages %}{{ message.content }}{% endfor %}";
    runner.write("model/chat_template.jinja", template);
    runner.ok(&["convert", "model", "files/model.gguf", "--to", "gguf", "-q"]);
    runner.ok(&["convert", "model", "lonely.gguf", "--to", "gguf", "-q"]);
    let [beside, alone] = ["model", "lonely.gguf"].map(|model| greedy(&runner, model, &[]));
    for key in ["prompt_ids", "ids", "text"] {
        assert_eq!(alone[key], beside[key], "{key}");
    }
    let [beside, alone] = ["model", "lonely.gguf"].map(|model| greedy(&runner, model, &["--chat"]));
    assert_eq!(alone["prompt_ids"][0], 0);
    assert_eq!(
        alone["prompt_ids"].as_array().unwrap()[1..],
        beside["prompt_ids"].as_array().unwrap()[..]
    );
}

#[test]
fn another_rope_theta_changes_what_is_said_and_must_be_a_base() {
    let runner = Runner::new();
    model(&runner);
    let [as_it_is, same, other] = [&[][..], &["--rope-theta", "10000"], &["--rope-theta", "3"]]
        .map(|options| greedy(&runner, "model", &[options, &["--logprobs", "0"]].concat()));
    assert_eq!(as_it_is["logprobs"], same["logprobs"]);
    assert_ne!(as_it_is["logprobs"], other["logprobs"]);
    let args = ["run", "--model", "model", "x", "--rope-theta", "0"];
    insta::assert_snapshot!(runner.snapshot(&args));
}

#[test]
fn keys_and_values_of_8_bits_stray_as_their_rounding_does_and_wider_ones_are_as_by_default() {
    let runner = Runner::new();
    model(&runner);
    let tale = stablelm_testkit::corpus(1234, 1).remove(0).text;
    let start: String = tale.split_inclusive('\n').take(2).collect();
    let logprobs = |options: &[&str]| -> Vec<f64> {
        let args = ["run", "--model", "model", &start, "--max-new-tokens", "0"];
        let said = ["--echo", "--logprobs", "0", "--json", "-q"];
        let answer = runner.json(&[&args[..], &said, options].concat());
        let logprobs = answer["prompt_logprobs"].as_array().unwrap()[1..].iter();
        logprobs
            .map(|token| token["logprob"].as_f64().unwrap())
            .collect()
    };
    let [by_default, f32, f16, f8] = [
        &[][..],
        &["--kv-dtype", "f32"],
        &["--kv-dtype", "f16"],
        &["--kv-dtype", "f8"],
    ]
    .map(logprobs);
    assert_eq!(by_default, f16);
    let mean_stray = |found: &[f64]| {
        let differences = found.iter().zip(&f32);
        let sum: f64 = differences.map(|(found, f32)| (found - f32).abs()).sum();
        sum / f32.len() as f64
    };
    // Numbers of 4 bits are rounded 2^7 times as coarsely as those of 11; how that adds up varies.
    let coarser = mean_stray(&f8) / mean_stray(&f16);
    assert!((32.0..512.0).contains(&coarser), "{coarser}");
    let singles = logprobs(&["--dtype", "f32"]);
    assert_eq!(singles, logprobs(&["--dtype", "f32", "--kv-dtype", "f32"]));
}

/// Puts a NaN into a tensor of [`model`].
fn break_tensor(runner: &Runner, name: &str) {
    let path = runner.path().join("model/model.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    let header = usize::try_from(u64::from_le_bytes(bytes[..8].try_into().unwrap())).unwrap();
    let names: serde_json::Value = serde_json::from_slice(&bytes[8..8 + header]).unwrap();
    let start = names[name]["data_offsets"][0].as_u64().unwrap();
    let at = 8 + header + usize::try_from(start).unwrap();
    assert_eq!(names[name]["dtype"], "BF16");
    bytes[at + 10..at + 12].copy_from_slice(&0x7fc0u16.to_le_bytes());
    std::fs::write(&path, bytes).unwrap();
}

#[test]
fn weights_that_are_no_numbers_are_named() {
    let runner = Runner::new();
    model(&runner);
    break_tensor(&runner, "model.layers.1.mlp.down_proj.weight");
    insta::assert_snapshot!(runner.snapshot(&["run", "--model", "model", "The keeper"]));
}

#[test]
fn keys_and_values_of_8_bits_hide_no_broken_weight() {
    for name in ["k_proj", "v_proj"] {
        let runner = Runner::new();
        model(&runner);
        let name = format!("model.layers.0.self_attn.{name}.weight");
        break_tensor(&runner, &name);
        let args = ["run", "--model", "model", "The keeper", "--kv-dtype", "f8"];
        let said = runner.snapshot(&args);
        assert!(said.contains("exit code: 3"), "{said}");
        assert!(said.contains(&format!("tensor `{name}`")), "{said}");
    }
}

#[test]
fn a_stop_string_ends_the_text_before_it() {
    let runner = Runner::new();
    model(&runner);
    let args = [
        "run",
        "--model",
        "model",
        "The keeper lit the lamp",
        "--greedy",
        "-q",
    ];
    let whole = runner.ok(&args);
    let word = whole.split_whitespace().nth(4).unwrap();
    let cut = runner.json(&[&args[..], &["--stop", word, "--json"]].concat());
    assert_eq!(cut["finish_reason"], "stop");
    let text = cut["text"].as_str().unwrap();
    assert!(
        whole.starts_with(text) && !text.contains(word),
        "{text:?} of {whole:?}"
    );
}

#[test]
fn the_prompt_can_be_piped_or_in_a_file() {
    let runner = Runner::new();
    model(&runner);
    let args = ["run", "--model", "model", "--greedy", "-q"];
    let expected = runner.ok(&[&args[..], &["The keeper lit the lamp"]].concat());
    let piped = runner.output_with_stdin(&args, "The keeper lit the lamp\n");
    assert_eq!(String::from_utf8(piped.stdout).unwrap(), expected);
    runner.write("prompt.txt", "The keeper lit the lamp");
    assert_eq!(
        runner.ok(&[&args[..], &["--prompt-file", "prompt.txt"]].concat()),
        expected
    );
}

#[test]
fn a_prompt_over_the_context_is_an_error_with_both_numbers() {
    let runner = Runner::new();
    model(&runner);
    runner.write("long.txt", "The keeper lit the lamp. ".repeat(200));
    insta::assert_snapshot!(runner.snapshot(&[
        "run",
        "--model",
        "model",
        "--prompt-file",
        "long.txt",
        "-q"
    ]));
}

/// Machines with a driver say another thing than those without: the number is one that none has.
#[test]
fn a_gpu_that_is_not_there_is_the_machine_s_fault_and_says_what_to_do() {
    let runner = Runner::new();
    model(&runner);
    let arguments = ["run", "--model", "model", "x", "--device", "cuda:4000000"];
    let output = runner.snapshot(&arguments);
    assert!(output.contains("exit code: 5"), "{output}");
    assert!(output.contains("hint: "), "{output}");
    assert!(
        output.contains("was not found")
            || output.contains("CUDA driver")
            || output.contains("`cuda:4000000`"),
        "{output}"
    );
}

#[test]
fn wrong_asks_say_what_is_wrong() {
    let runner = Runner::new();
    model(&runner);
    let device = runner.snapshot(&["run", "--model", "model", "x", "--device", "tpu"]);
    insta::assert_snapshot!("no_such_device", device);
    let id = runner.snapshot(&["run", "--model", "model", "--prompt-ids", "1,5000", "-q"]);
    insta::assert_snapshot!("id_out_of_range", id);
    let empty = runner.snapshot_with_stdin(&["run", "--model", "model", "-q"], "");
    insta::assert_snapshot!("empty_prompt", empty);
    std::fs::remove_file(runner.path().join("model/tokenizer.json")).unwrap();
    let no_tokenizer = runner.snapshot(&["run", "--model", "model", "x", "-q"]);
    insta::assert_snapshot!("no_tokenizer", no_tokenizer);
}

#[test]
fn every_reference_model_gives_its_greedy_path_and_log_probabilities() {
    let Some(oracles) = stablelm_testkit::shared_oracles() else {
        eprintln!("skipped: no shared oracles beside the repository");
        return;
    };
    let runner = Runner::new();
    for model in ["3b-4e1t", "2-1_6b", "alpha-neox", "vocab-50304"] {
        let folder = oracles.join("inference").join(model);
        let golden = std::fs::read(folder.join("golden.json")).unwrap();
        let golden: serde_json::Value = serde_json::from_slice(&golden).unwrap();
        for prompt in golden["prompts"].as_array().unwrap() {
            let ids: Vec<String> = prompt["ids"]
                .as_array()
                .unwrap()
                .iter()
                .map(ToString::to_string)
                .collect();
            let answer = runner.json(&[
                "run",
                "--model",
                folder.to_str().unwrap(),
                "--prompt-ids",
                &ids.join(","),
                "--greedy",
                "--ignore-eos",
                "--dtype",
                "f32",
                "--kv-dtype",
                "f32",
                "--logprobs",
                "1",
                "--json",
                "-q",
            ]);
            assert_eq!(
                answer["ids"],
                prompt["greedy"],
                "{model}, prompt of {}",
                ids.len()
            );
            let found = answer["logprobs"].as_array().unwrap();
            for (found, expected) in found
                .iter()
                .zip(prompt["greedy_logprob"].as_array().unwrap())
            {
                let difference = found["logprob"].as_f64().unwrap() - expected.as_f64().unwrap();
                assert!(difference.abs() < 1e-3, "{model}: {difference}");
            }
        }
    }
}
