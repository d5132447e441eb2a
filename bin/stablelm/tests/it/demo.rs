//! `stablelm demo`

use crate::runner::{Runner, fixtures};

#[test]
fn the_demo_goes_the_whole_way() {
    let runner = Runner::new();
    let shown = runner.ok(&["demo", "-q"]);
    for command in [
        "data prepare",
        "data inspect",
        "convert",
        "compare",
        "run",
        "license show",
        "license notice",
        "license bom",
        "license verify",
    ] {
        assert!(
            shown.contains(&format!("$ stablelm {command}")),
            "{command}"
        );
    }
    assert!(shown.contains("The keeper lit the lamp"), "{shown}");
    for path in [
        "prepared/manifest.json",
        "prepared/tokens",
        "model/model.safetensors",
        "model/REUSE.toml",
        "model/LICENSES/CC-BY-SA-4.0.txt",
        "model/bom.spdx3.json",
        "model/bom-1.6.cdx.json",
        "model/bom-1.7.cdx.json",
        "NOTICE",
    ] {
        assert!(
            runner.path().join("demo-output").join(path).exists(),
            "{path}"
        );
    }
    let again = runner.output(&["demo", "-q"]);
    assert_eq!(
        again.status.code(),
        Some(3),
        "an earlier demo is not overwritten unasked"
    );
}

#[test]
fn the_built_in_files_are_the_fixtures() {
    let runner = Runner::new();
    runner.ok(&["demo", "-q"]);
    for folder in ["data", "tokenizer", "model"] {
        let different = std::process::Command::new("diff")
            .args(["-r", "--exclude=README.md", "--exclude=*.py"])
            .arg(fixtures().join(folder))
            .arg(runner.path().join("demo-output/input").join(folder))
            .output()
            .unwrap();
        assert!(
            different.status.success(),
            "{}",
            String::from_utf8_lossy(&different.stdout)
        );
    }
}
