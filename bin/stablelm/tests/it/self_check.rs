//! `stablelm run --self-check`

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::runner::{Runner, copy_tree, fixture};

#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn oracles() -> Option<PathBuf> {
    let found = stablelm_testkit::shared_oracles();
    if found.is_none() {
        eprintln!("skipped: no shared oracles beside the repository");
    }
    Some(found?.join("inference"))
}

fn check(
    runner: &Runner,
    model: &Path,
    reference: &Path,
    options: &[&str],
) -> (Option<i32>, Value) {
    let [model, reference] = [model, reference].map(|path| path.to_str().unwrap());
    let args = [
        "run",
        "--model",
        model,
        "--self-check",
        reference,
        "--json",
        "-q",
    ];
    let output = runner.output(&[&args[..], options].concat());
    let report = serde_json::from_slice(&output.stdout);
    (output.status.code(), report.unwrap_or_default())
}

#[test]
fn every_reference_model_passes_its_own_check_in_every_dtype() {
    let Some(oracles) = oracles() else {
        return;
    };
    let runner = Runner::new();
    for model in ["3b-4e1t", "2-1_6b", "alpha-neox", "vocab-50304"] {
        for (dtype, kv_dtype) in [
            ("auto", "auto"),
            ("f32", "auto"),
            ("bf16", "auto"),
            ("auto", "f8"),
        ] {
            let folder = oracles.join(model);
            let options = ["--dtype", dtype, "--kv-dtype", kv_dtype];
            let (code, report) = check(&runner, &folder, &folder, &options);
            assert_eq!(code, Some(0), "{model} {dtype} {kv_dtype}: {report:#}");
            assert_eq!(report["passed"], true);
            let prompts = report["prompts"].as_array().unwrap();
            assert_eq!(prompts.len(), 4);
            let tolerance = report["tolerance"].as_f64().unwrap();
            assert!(dtype != "f32" || (tolerance - 1e-3).abs() < 1e-9);
            for prompt in prompts {
                assert!(prompt["worst_logprob_difference"].as_f64().unwrap() <= tolerance);
                assert!(dtype != "f32" || prompt["first_divergence"].is_null());
            }
        }
    }
}

#[test]
fn a_rope_theta_that_got_lost_is_found() {
    let Some(oracles) = oracles() else {
        return;
    };
    let runner = Runner::new();
    let original = oracles.join("3b-4e1t");
    let changed = runner.path().join("changed");
    copy_tree(&original, &changed);
    let config = std::fs::read(changed.join("config.json")).unwrap();
    let mut config: Value = serde_json::from_slice(&config).unwrap();
    config["rope_theta"] = json!(1_000_000.0);
    runner.write("changed/config.json", config.to_string());
    let (code, report) = check(&runner, &changed, &original, &[]);
    assert_eq!((code, &report["passed"]), (Some(1), &json!(false)));
    let prompts = report["prompts"].as_array().unwrap();
    // A prompt of one token stands at position 0, where nothing turns.
    assert_eq!(prompts[0]["mean_nll_difference"], Value::Null);
    assert_eq!(prompts[3]["passed"], false);
    assert!(prompts[3]["worst_logprob_difference"].as_f64().unwrap() > 0.3);
    let folder = original.to_str().unwrap();
    let people = runner.output(&["run", "--model", "changed", "--self-check", folder, "-q"]);
    let text = String::from_utf8(people.stdout).unwrap();
    assert_eq!(people.status.code(), Some(1));
    assert!(
        text.contains("FAILED") && text.contains("are not as in the reference"),
        "{text}"
    );
}

#[test]
fn a_saved_check_passes_on_the_weights_it_was_made_of_and_in_other_files() {
    let runner = Runner::new();
    let (input, tokenizer) = (fixture("model"), fixture("tokenizer"));
    runner.ok(&["convert", &input, "model", "--tokenizer", &tokenizer, "-q"]);
    runner.write(
        "prompts.jsonl",
        "{\"prompt\": \"The keeper lit the lamp\"}\n{\"prompt_ids\": [7]}\n",
    );
    let save = [
        "run",
        "--model",
        "model",
        "--prompts",
        "prompts.jsonl",
        "--max-new-tokens",
        "20",
        "--dtype",
        "f32",
    ];
    runner.ok(&[&save[..], &["--save-check", "reference", "-q"]].concat());
    for model in ["model", &input] {
        for (dtype, tolerance) in [("auto", "0.05"), ("f32", "0.001"), ("f16", "0.05")] {
            let (model, reference) = (runner.path().join(model), runner.path().join("reference"));
            let options = ["--dtype", dtype, "--tolerance", tolerance];
            let (code, report) = check(&runner, &model, &reference, &options);
            assert_eq!(code, Some(0), "{report:#}");
            assert_eq!(report["prompts"][0]["greedy_tokens"], 20);
            assert!(report["prompts"][1]["mean_nll_difference"].is_null());
        }
    }
    let again = runner.snapshot(&[&save[..], &["--save-check", "reference", "-q"]].concat());
    insta::assert_snapshot!("the_reference_exists", again);
}

#[test]
fn what_is_no_reference_is_refused() {
    let runner = Runner::new();
    let model = fixture("model");
    let refused = |name: &str| {
        let output = runner.snapshot(&["run", "--model", &model, "--self-check", name, "-q"]);
        output.replace(&model, "[FIXTURES]/model")
    };
    insta::assert_snapshot!("no_reference", refused("none"));
    runner.write(
        "broken/golden.json",
        "{\"prompts\": [{\"ids\": [1], \"greedy\": [2]}]}",
    );
    insta::assert_snapshot!("a_reference_without_log_probabilities", refused("broken"));
    runner.write(
        "other/golden.json",
        "{\"prompts\": [{\"ids\": [1, 99999]}]}",
    );
    insta::assert_snapshot!("a_reference_of_another_model", refused("other"));
}
