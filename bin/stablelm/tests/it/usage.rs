//! The command line itself: help, wrong words, completions.

use crate::runner::Runner;

#[test]
fn without_words_it_shows_what_there_is() {
    insta::assert_snapshot!(Runner::new().snapshot(&[]));
}

#[test]
fn a_wrong_option_says_which() {
    insta::assert_snapshot!(Runner::new().snapshot(&["convert", "a", "b", "--layuot", "single"]));
}

#[test]
fn a_number_out_of_range_is_a_usage_error() {
    insta::assert_snapshot!(
        Runner::new().snapshot(&["run", "--model", ".", "x", "--top-p", "1.5"])
    );
}

#[test]
fn every_help_page_has_a_short_first_line_and_examples() {
    let runner = Runner::new();
    for verb in [
        vec!["data", "prepare"],
        vec!["data", "tokenize"],
        vec!["data", "inspect"],
        vec!["convert"],
        vec!["inspect"],
        vec!["compare"],
        vec!["run"],
        vec!["bench"],
        vec!["eval", "perplexity"],
        vec!["license", "show"],
        vec!["license", "notice"],
        vec!["license", "card"],
        vec!["license", "cite"],
        vec!["demo"],
        vec!["completions"],
    ] {
        let words: Vec<&str> = verb.iter().copied().chain(["--help"]).collect();
        let help = runner.ok(&words);
        let first = help.lines().next().unwrap();
        assert!(
            first.len() < 80 && !first.ends_with('.'),
            "{verb:?}: {first}"
        );
        assert!(help.contains("Examples:"), "{verb:?} has no examples");
    }
}

#[test]
fn completions_are_written_for_every_shell() {
    let runner = Runner::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(
            runner.ok(&["completions", shell]).contains("prepare"),
            "{shell}"
        );
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let runner = Runner::new();
    let script = format!(
        "{} license show --json | head -c 1",
        env!("CARGO_BIN_EXE_stablelm")
    );
    let command = format!("set -o pipefail; {script}");
    let output = std::process::Command::new("bash")
        .args(["-c", &command])
        .current_dir(runner.path())
        .output()
        .unwrap();
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.stderr.is_empty());
}
