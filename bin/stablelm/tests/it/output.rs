//! Outputs appear complete or not at all, also when the process is killed.

use std::process::{Command, Stdio};
use std::time::Duration;

use crate::runner::{Runner, fixture};

#[test]
fn a_killed_run_leaves_the_output_untouched_and_the_next_run_cleans_up() {
    let runner = Runner::new();
    let recipe = fixture("data/recipe.toml");
    let mut child = Command::new(env!("CARGO_BIN_EXE_stablelm"))
        .args(["data", "prepare", &recipe, "--output", "out", "-q"])
        .current_dir(runner.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while !runner.path().join(".out.partial").exists() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(
        !runner.path().join("out").exists() || runner.path().join("out/manifest.json").exists()
    );
    runner.ok(&[
        "data",
        "prepare",
        &recipe,
        "--output",
        "out",
        "--overwrite",
        "-q",
    ]);
    assert!(runner.path().join("out/manifest.json").exists());
    assert_eq!(
        std::fs::read_dir(runner.path()).unwrap().count(),
        1,
        "nothing is left beside the output"
    );
}
