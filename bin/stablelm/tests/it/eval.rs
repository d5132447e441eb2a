//! `stablelm eval`

use serde_json::{Value, json};

use crate::runner::{Runner, fixture};

fn model(runner: &Runner) {
    let (input, tokenizer) = (fixture("model"), fixture("tokenizer"));
    runner.ok(&["convert", &input, "model", "--tokenizer", &tokenizer, "-q"]);
}

fn perplexity(runner: &Runner, model: &str, options: &[&str]) -> Value {
    runner.json(
        &[
            &["eval", "perplexity", "--model", model, "--json", "-q"],
            options,
        ]
        .concat(),
    )
}

#[track_caller]
fn check_close(found: &Value, expected: f64, tolerance: f64) {
    let found = found.as_f64().unwrap();
    assert!(
        (found - expected).abs() <= tolerance,
        "{found}, expected {expected}"
    );
}

#[test]
fn the_perplexity_of_every_reference_prompt_is_that_of_transformers() {
    let Some(oracles) = stablelm_testkit::shared_oracles() else {
        eprintln!("skipped: no shared oracles beside the repository");
        return;
    };
    let runner = Runner::new();
    for model in ["3b-4e1t", "2-1_6b", "alpha-neox", "vocab-50304"] {
        let folder = oracles.join("inference").join(model);
        let golden = std::fs::read(folder.join("golden.json")).unwrap();
        let golden: Value = serde_json::from_slice(&golden).unwrap();
        let prompts = golden["prompts"].as_array().unwrap();
        let mut sums = (0u64, 0f64);
        let mut lines = String::new();
        for prompt in prompts.iter().filter(|prompt| prompt["mean_nll"].is_f64()) {
            let line = json!({ "ids": prompt["ids"] }).to_string();
            runner.write("one.jsonl", &line);
            let exact = ["--dtype", "f32", "one.jsonl"];
            let found = perplexity(&runner, folder.to_str().unwrap(), &exact);
            let tokens = prompt["ids"].as_array().unwrap().len() as u64 - 1;
            let nll = prompt["mean_nll"].as_f64().unwrap();
            let expected = prompt["perplexity"].as_f64().unwrap();
            assert_eq!(found["tokens"], tokens);
            check_close(&found["nll"], nll, 1e-4);
            check_close(&found["perplexity"], expected, 1e-4 * expected);
            sums = (sums.0 + tokens, sums.1 + nll * tokens as f64);
            lines.push_str(&line);
            lines.push('\n');
        }
        runner.write("all.jsonl", lines);
        let exact = ["--dtype", "f32", "all.jsonl"];
        let all = perplexity(&runner, folder.to_str().unwrap(), &exact);
        assert_eq!(all["documents"], prompts.len() as u64 - 1);
        check_close(&all["nll"], sums.1 / sums.0 as f64, 1e-4);
    }
}

#[test]
fn windows_score_every_token_once_and_more_context_helps() {
    let runner = Runner::new();
    model(&runner);
    // What the model was trained on.
    let story = stablelm_testkit::corpus(1234, 1).remove(0).text;
    runner.write("story.txt", &story);
    let of = |options: &[&str]| perplexity(&runner, "model", &[&["story.txt"], options].concat());
    let whole = of(&[]);
    let short = of(&["--max-length", "8", "--stride", "7"]);
    let sliding = of(&["--max-length", "8", "--stride", "1"]);
    assert_eq!(whole["tokens"], short["tokens"]);
    assert_eq!(whole["tokens"], sliding["tokens"]);
    let nll = |report: &Value| report["nll"].as_f64().unwrap();
    assert!(nll(&sliding) < nll(&short));
    let bits = nll(&whole) * whole["tokens"].as_f64().unwrap() / 2f64.ln() / story.len() as f64;
    check_close(&whole["bits_per_byte"], bits, 1e-9);
    // In one window: what a run says of its prompt.
    let prompt = "The keeper lit the lamp.";
    runner.write("short.txt", prompt);
    let found = perplexity(&runner, "model", &["short.txt"]);
    let args = [
        "run",
        "--model",
        "model",
        prompt,
        "--max-new-tokens",
        "0",
        "--echo",
        "--logprobs",
        "0",
    ];
    let run = runner.json(&[&args[..], &["--json", "-q"]].concat());
    let logprobs = run["prompt_logprobs"].as_array().unwrap();
    let sum: f64 = logprobs[1..]
        .iter()
        .map(|token| token["logprob"].as_f64().unwrap())
        .sum();
    check_close(&found["nll"], -sum / (logprobs.len() - 1) as f64, 1e-5);
    // Keys and values of 8 bits cost little.
    let f8 = perplexity(&runner, "model", &["short.txt", "--kv-dtype", "f8"]);
    assert_eq!(
        (&found["kv_dtype"], &f8["kv_dtype"]),
        (&json!("f16"), &json!("f8"))
    );
    check_close(&f8["nll"], found["nll"].as_f64().unwrap(), 0.05);
}

#[test]
fn documents_come_from_a_field_of_each_line_and_bad_lines_are_named() {
    let runner = Runner::new();
    model(&runner);
    runner.write("a.txt", "The ferry left the harbor.");
    runner.write(
        "docs.jsonl",
        "{\"body\": \"The ferry left the harbor.\"}\n\n{\"body\": \"The lamp\"}\n",
    );
    let one = perplexity(&runner, "model", &["a.txt"]);
    let both = perplexity(&runner, "model", &["docs.jsonl", "--text-key", "body"]);
    assert_eq!(
        (&one["documents"], &both["documents"]),
        (&json!(1), &json!(2))
    );
    assert!(both["tokens"].as_u64().unwrap() > one["tokens"].as_u64().unwrap());
    let bad = |args: &[&str]| {
        runner.snapshot(&[&["eval", "perplexity", "--model", "model", "-q"], args].concat())
    };
    insta::assert_snapshot!("perplexity_no_text", bad(&["docs.jsonl"]));
    runner.write("ids.jsonl", "{\"ids\": [1, 2]}\n{\"ids\": [1, 99999]}\n");
    insta::assert_snapshot!("perplexity_id_out_of_range", bad(&["ids.jsonl"]));
    runner.write("empty.txt", "");
    insta::assert_snapshot!("perplexity_of_nothing", bad(&["empty.txt"]));
    insta::assert_snapshot!("perplexity_no_file", bad(&["none.txt"]));
    insta::assert_snapshot!(
        "perplexity_too_long",
        bad(&["a.txt", "--max-length", "5000"])
    );
}
