//! `stablelm bench`

use crate::runner::{Runner, fixture};

fn model(runner: &Runner) {
    runner.ok(&["convert", &fixture("model"), "model", "-q"]);
}

fn bench(runner: &Runner, options: &[&str]) -> serde_json::Value {
    runner.json(&[&["bench", "--model", "model", "--json", "-q"][..], options].concat())
}

#[test]
fn figures_are_medians_of_the_runs_and_the_bandwidth_can_be_checked() {
    let runner = Runner::new();
    model(&runner);
    let options = ["--prompt-tokens", "24", "--new-tokens", "8"];
    let report = bench(&runner, &[&options[..], &["--repeat", "3"]].concat());
    for kind in ["prefill", "decode"] {
        let mut runs: Vec<f64> =
            serde_json::from_value(report[format!("{kind}_runs")].clone()).unwrap();
        assert_eq!(runs.len(), 3);
        runs.sort_by(f64::total_cmp);
        let figure = |name: &str| report[format!("{kind}_tokens_per_s{name}")].as_f64();
        assert_eq!(
            (figure(""), figure("_best")),
            (Some(runs[1]), Some(runs[2]))
        );
        assert!(runs[0] > 0.0);
    }
    assert_eq!(report["context"], 24);
    assert_eq!(report["dtype"], "bf16");
    assert_eq!(report["kv_dtype"], "f16");
    assert_eq!(report["device"], "cpu");
    // The embedding of the fixture model is not its head: a token reads one row of it.
    let inspected = runner.json(&["inspect", "model", "--json"]);
    let config = std::fs::read(runner.path().join("model/config.json")).unwrap();
    let config: serde_json::Value = serde_json::from_slice(&config).unwrap();
    let embedding =
        2 * config["vocab_size"].as_u64().unwrap() * config["hidden_size"].as_u64().unwrap();
    let whole = report["weight_bytes"].as_u64().unwrap();
    assert_eq!(report["weight_bytes_per_token"], whole - embedding);
    assert!(whole >= 2 * inspected["parameters"].as_u64().unwrap());
    let step = report["decode_fastest_step_s"].as_f64().unwrap();
    assert!(
        step > 0.0 && 1.0 / step >= report["decode_tokens_per_s_best"].as_f64().unwrap() * 0.99
    );
    let (load, first) = (&report["load_s"], &report["first_token_s"]);
    assert!(load.as_f64().unwrap() < first.as_f64().unwrap());
}

#[test]
fn either_half_can_be_left_out() {
    let runner = Runner::new();
    model(&runner);
    let few = ["--repeat", "1", "--new-tokens", "4"];
    let decode = bench(
        &runner,
        &[
            &few[..],
            &[
                "--prompt-tokens",
                "0",
                "--context",
                "100",
                "--kv-dtype",
                "f8",
            ],
        ]
        .concat(),
    );
    assert!(decode["prefill_tokens_per_s"].is_null());
    assert!(decode["decode_tokens_per_s"].as_f64().unwrap() > 0.0);
    assert_eq!(decode["context"], 100);
    assert_eq!(decode["kv_dtype"], "f8");
    let options = [
        "--repeat",
        "1",
        "--new-tokens",
        "0",
        "--prompt-tokens",
        "16",
    ];
    let prefill = bench(&runner, &options);
    assert!(prefill["decode_tokens_per_s"].is_null() && prefill["decode_fastest_step_s"].is_null());
    assert!(prefill["prefill_tokens_per_s"].as_f64().unwrap() > 0.0);
    let people = runner.ok(&[
        "bench",
        "--model",
        "model",
        "--prompt-tokens",
        "8",
        "--new-tokens",
        "2",
        "-q",
    ]);
    for word in [
        "prefill",
        "decode",
        "GB/s",
        "first token",
        "bf16 on cpu",
        "in f16",
    ] {
        assert!(people.contains(word), "{people}");
    }
}

#[test]
fn more_tokens_than_the_context_has_are_a_usage_error() {
    let runner = Runner::new();
    model(&runner);
    insta::assert_snapshot!(runner.snapshot(&[
        "bench",
        "--model",
        "model",
        "--context",
        "1000000"
    ]));
}
