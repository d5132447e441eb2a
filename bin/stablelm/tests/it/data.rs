//! `stablelm data ...` on good input and on bad.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::runner::{Runner, fixture, fixtures};

/// Words enough for Gopher quality, and no two documents alike.
fn text(number: usize) -> String {
    let sentence = "The keeper of the north light wrote down the hour of the tide and the height of the sea that day";
    format!("{sentence}, and in the book of the harbor it is entry {number}. ").repeat(4)
}

fn recipe(sources: &str) -> String {
    let tokenizer = fixture("tokenizer/tokenizer.json");
    format!(
        "name = \"test\"\nseed = 1\n[tokenizer]\nsource = \"{tokenizer}\"\nappend_eod = true\n\
         [split]\ntrain = 0.8\nvalid = 0.1\ntest = 0.1\n{sources}"
    )
}

fn jsonl_source(path: &str) -> String {
    format!("[[sources]]\nname = \"docs\"\nkind = \"jsonl\"\npaths = [\"{path}\"]\n")
}

fn json_lines(count: usize) -> String {
    let line = |number| format!("{{\"id\": \"{number}\", \"text\": \"{}\"}}", text(number));
    (0..count)
        .map(line)
        .chain([String::new()])
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn the_fixture_recipe_gives_the_same_bytes_for_any_number_of_threads() {
    let runner = Runner::new();
    let recipe = fixture("data/recipe.toml");
    for threads in ["1", "4"] {
        runner.ok(&[
            "data",
            "prepare",
            &recipe,
            "--output",
            threads,
            "--threads",
            threads,
            "-q",
        ]);
    }
    let different = Command::new("diff")
        .args(["-r", "1", "4"])
        .current_dir(runner.path())
        .output()
        .unwrap();
    assert!(
        different.status.success(),
        "{}",
        String::from_utf8_lossy(&different.stdout)
    );
}

#[test]
fn the_fixture_recipe_leaves_books3_out_and_says_so() {
    let runner = Runner::new();
    let report = runner.json(&[
        "data",
        "prepare",
        &fixture("data/recipe.toml"),
        "--output",
        "out",
        "--json",
        "-q",
    ]);
    assert_eq!(report["books3"]["documents_excluded"], 12);
    assert_eq!(report["books3"]["remaining"], 0);
    let written = std::fs::read(runner.path().join("out/report.json")).unwrap();
    assert_eq!(
        serde_json::from_slice::<serde_json::Value>(&written).unwrap(),
        report
    );
    let kept: u64 = report["sources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s["documents_kept"].as_u64().unwrap())
        .sum();
    assert_eq!(report["documents_kept"], kept);
    for name in [
        "manifest.json",
        "report.html",
        "neox.yml",
        "ATTRIBUTION.md",
        "croissant.json",
        "ledger.json",
    ] {
        assert!(runner.path().join("out").join(name).is_file(), "{name}");
    }
    let attribution = std::fs::read_to_string(runner.path().join("out/ATTRIBUTION.md")).unwrap();
    assert!(attribution.contains("Falcon RefinedWeb") && attribution.contains("Books3"));
}

#[test]
fn every_output_file_is_in_the_manifest() {
    let runner = Runner::new();
    runner.ok(&[
        "data",
        "prepare",
        &fixture("data/recipe.toml"),
        "--output",
        "out",
        "-q",
    ]);
    let manifest = std::fs::read(runner.path().join("out/manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    let listed = manifest["outputs"].as_array().unwrap();
    let mut names: Vec<&str> = listed
        .iter()
        .map(|file| file["path"].as_str().unwrap())
        .collect();
    names.push("manifest.json");
    names.sort_unstable();
    assert_eq!(names, files(&runner.path().join("out")));
}

fn files(folder: &Path) -> Vec<String> {
    fn walk(folder: &Path, prefix: &str, names: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
            if entry.path().is_dir() {
                walk(&entry.path(), &format!("{name}/"), names);
            } else {
                names.push(name);
            }
        }
    }
    let mut names = Vec::new();
    walk(folder, "", &mut names);
    names.sort();
    names
}

#[test]
fn a_dry_run_writes_nothing() {
    let runner = Runner::new();
    let recipe = fixture("data/recipe.toml");
    let plan = runner.json(&[
        "data",
        "prepare",
        &recipe,
        "--output",
        "out",
        "--dry-run",
        "--sample",
        "50",
        "--json",
    ]);
    assert_eq!(plan["sources"].as_array().unwrap().len(), 3);
    assert_eq!(files(runner.path()), Vec::<String>::new());
}

#[test]
fn an_unknown_recipe_key_is_refused_with_the_nearest_one() {
    let runner = Runner::new();
    runner.write(
        "recipe.toml",
        recipe(&jsonl_source("docs.jsonl").replace("paths", "pahts")),
    );
    insta::assert_snapshot!(runner.snapshot(&[
        "data",
        "prepare",
        "recipe.toml",
        "--output",
        "out"
    ]));
}

#[test]
fn a_recipe_that_asks_for_books3_is_refused() {
    let runner = Runner::new();
    runner.write(
        "recipe.toml",
        recipe(&jsonl_source("the_pile/Books3/*.jsonl")),
    );
    insta::assert_snapshot!(runner.snapshot(&[
        "data",
        "prepare",
        "recipe.toml",
        "--output",
        "out"
    ]));
}

#[test]
fn a_missing_column_names_the_file_and_the_columns_there_are() {
    let runner = Runner::new();
    let parquet = fixture("data/falcon-refinedweb/part-00000.parquet");
    let source = format!(
        "[[sources]]\nname = \"web\"\nkind = \"parquet\"\npaths = [\"{parquet}\"]\ntext = \"body\"\n"
    );
    runner.write("recipe.toml", recipe(&source));
    insta::assert_snapshot!(runner.snapshot(&[
        "data",
        "prepare",
        "recipe.toml",
        "--output",
        "out"
    ]));
    assert_eq!(files(runner.path()), ["recipe.toml"]);
}

#[test]
fn no_file_behind_a_pattern_is_an_error() {
    let runner = Runner::new();
    runner.write("recipe.toml", recipe(&jsonl_source("nothing/*.jsonl")));
    insta::assert_snapshot!(runner.snapshot(&[
        "data",
        "prepare",
        "recipe.toml",
        "--output",
        "out"
    ]));
}

#[test]
fn broken_rows_in_the_middle_are_quarantined_and_counted_and_the_run_goes_on() {
    let runner = Runner::new();
    let mut lines: Vec<String> = json_lines(30).lines().map(str::to_owned).collect();
    lines.insert(10, "{\"id\": \"broken\", \"text\": \"no end".to_owned());
    lines.insert(20, "{\"id\": \"number\", \"text\": 7}".to_owned());
    runner.write("docs.jsonl", lines.join("\n"));
    zstd(&runner, "docs.jsonl");
    runner.write("recipe.toml", recipe(&jsonl_source("docs.jsonl.zst")));
    let report = runner.json(&[
        "data",
        "prepare",
        "recipe.toml",
        "--output",
        "out",
        "--json",
        "-q",
    ]);
    assert_eq!(report["documents_in"], 32);
    assert_eq!(report["documents_kept"], 30);
    assert_eq!(report["sources"][0]["quarantined"], 2);
    insta::assert_snapshot!(runner.snapshot(&[
        "data",
        "inspect",
        "out/quarantine/docs.parquet",
        "--document",
        "0"
    ]));
}

fn zstd(runner: &Runner, name: &str) {
    let bytes = std::fs::read(runner.path().join(name)).unwrap();
    runner.write(
        &format!("{name}.zst"),
        zstd::encode_all(bytes.as_slice(), 3).unwrap(),
    );
}

#[test]
fn an_existing_output_is_left_alone() {
    let runner = Runner::new();
    runner.write("docs.jsonl", json_lines(3));
    runner.write("recipe.toml", recipe(&jsonl_source("docs.jsonl")));
    runner.write("out/precious", "");
    insta::assert_snapshot!(runner.snapshot(&[
        "data",
        "prepare",
        "recipe.toml",
        "--output",
        "out"
    ]));
    runner.ok(&[
        "data",
        "prepare",
        "recipe.toml",
        "--output",
        "out",
        "--overwrite",
    ]);
    assert!(!runner.path().join("out/precious").exists());
}

/// Runs the command where `small` is a tiny file system; `None` where a test can't have one.
fn output_on_small_disk(runner: &Runner, args: &str) -> Option<std::process::Output> {
    std::fs::create_dir(runner.path().join("small")).unwrap();
    // A tmpfs of our own, in a user namespace: no privileges needed where the system allows those.
    let script = format!(
        "mount -t tmpfs -o size=256k tmpfs small || exit 99; {} {args}; code=$?; ls -A small >&2; exit $code",
        env!("CARGO_BIN_EXE_stablelm")
    );
    let output = Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-c", &script])
        .current_dir(runner.path())
        .stdin(Stdio::null())
        .output();
    output
        .ok()
        .filter(|output| output.status.code() != Some(99))
        .filter(|output| {
            let stderr = String::from_utf8_lossy(&output.stderr);
            !stderr.contains("unshare:") && !stderr.contains("unshare failed")
        })
}

#[test]
fn a_full_disk_is_named_and_leaves_nothing() {
    let runner = Runner::new();
    runner.write("docs.jsonl", json_lines(20_000));
    runner.write("recipe.toml", recipe(&jsonl_source("docs.jsonl")));
    let args = "data prepare recipe.toml --output small/out -q";
    let Some(output) = output_on_small_disk(&runner, args) else {
        eprintln!("skipped: this system does not let a test mount a small tmpfs");
        return;
    };
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(5), "{stderr}");
    let stderr: Vec<&str> = stderr
        .lines()
        .filter(|line| !line.starts_with("error: failed to write"))
        .collect();
    insta::assert_snapshot!(stderr.join("\n"));
}

#[test]
fn tokenize_names_a_full_disk_and_leaves_nothing() {
    let runner = Runner::new();
    runner.write("docs.jsonl", json_lines(20_000));
    let args = format!(
        "data tokenize docs.jsonl --output small/out --tokenizer {} --threads 2 -q",
        fixture("tokenizer")
    );
    let Some(output) = output_on_small_disk(&runner, &args) else {
        eprintln!("skipped: this system does not let a test mount a small tmpfs");
        return;
    };
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(5), "{stderr}");
    assert!(stderr.starts_with("error: failed to write"), "{stderr}");
    // The list of what lies on the small disk comes last, and is empty.
    assert!(stderr.ends_with("write to another disk\n"), "{stderr}");
}

/// Tokenizes as gpt-neox does; returns the summary.
fn tokenize_as_neox(runner: &Runner, input: &Path, threads: &str) -> serde_json::Value {
    let oracles = stablelm_testkit::shared_oracles().unwrap();
    let tokenizer = oracles.join("tokenizer/gpt-neox-20b.tokenizer.json");
    runner.json(&[
        "data",
        "tokenize",
        input.to_str().unwrap(),
        "--tokenizer",
        tokenizer.to_str().unwrap(),
        "--output",
        threads,
        "--append-eod",
        "--special-tokens",
        "encode",
        "--threads",
        threads,
        "--json",
    ])
}

fn sha256(path: &Path) -> String {
    let sum = Command::new("sha256sum").arg(path).output().unwrap();
    let sum = String::from_utf8(sum.stdout).unwrap();
    sum.split(' ').next().unwrap().to_owned()
}

#[test]
fn tokenize_is_byte_equal_to_gpt_neox() {
    let Some(oracles) = stablelm_testkit::shared_oracles() else {
        eprintln!("skipped: no shared oracles beside the repository");
        return;
    };
    let expected = std::fs::read(oracles.join("data/neox_indexed_dataset.json")).unwrap();
    let expected: serde_json::Value = serde_json::from_slice(&expected).unwrap();
    let runner = Runner::new();
    for threads in ["1", "2"] {
        let summary = tokenize_as_neox(&runner, &oracles.join("data/docs.jsonl.gz"), threads);
        assert_eq!(summary["documents"], expected["documents"]);
        assert_eq!(summary["tokens"], expected["tokens_with_eod"]);
        for kind in ["bin", "idx"] {
            let name = format!("{threads}_text_document.{kind}");
            let found = sha256(&runner.path().join(&name));
            assert_eq!(expected[format!("{kind}_sha256")], found, "{name}");
        }
    }
}

#[test]
fn tokenize_gives_the_ids_of_hugging_face_on_prose_and_code() {
    let Some(oracles) = stablelm_testkit::shared_oracles() else {
        eprintln!("skipped: no shared oracles beside the repository");
        return;
    };
    let expected = std::fs::read(oracles.join("tokenizer/expected.json")).unwrap();
    let expected: serde_json::Value = serde_json::from_slice(&expected).unwrap();
    let files = expected["files"].as_object().unwrap();
    assert!(!files.is_empty());
    for (name, expected) in files {
        let runner = Runner::new();
        let input = oracles.join(format!("tokenizer/{name}.gz"));
        for threads in ["1", "2"] {
            let summary = tokenize_as_neox(&runner, &input, threads);
            assert_eq!(summary["documents"], expected["documents"], "{name}");
            assert_eq!(summary["tokens"], expected["tokens_with_eod"], "{name}");
            assert_eq!(summary["bytes_in"], expected["text_bytes_utf8"], "{name}");
            let bin = format!("{threads}_text_document.bin");
            let found = sha256(&runner.path().join(bin));
            assert_eq!(expected["sha256_u16le_eod"], found, "{name}");
        }
    }
}

#[test]
fn tokenize_says_how_fast_each_phase_was() {
    let runner = Runner::new();
    runner.write("docs.jsonl", json_lines(50));
    let tokenizer = fixture("tokenizer");
    let args = [
        "data",
        "tokenize",
        "docs.jsonl",
        "--output",
        "docs",
        "--tokenizer",
        &tokenizer,
        "--stats",
        "--json",
    ];
    let output = runner.output(&args);
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    for phase in ["read", "parse", "encode", "write"] {
        assert!(summary["seconds"][phase].as_f64().unwrap() > 0.0, "{phase}");
        assert!(stderr.contains(&format!(" · {phase} ")), "{stderr}");
    }
    let wall = summary["seconds"]["wall"].as_f64().unwrap();
    assert!(wall > summary["seconds"]["write"].as_f64().unwrap());
    assert!(stderr.contains("MB of text"), "{stderr}");
}

#[test]
fn tokenize_reads_standard_input_and_inspect_decodes() {
    let runner = Runner::new();
    let tokenizer = fixture("tokenizer");
    let args = [
        "data",
        "tokenize",
        "-",
        "--output",
        "t/docs",
        "--tokenizer",
        &tokenizer,
        "--append-eod",
        "-q",
    ];
    let output = runner.output_with_stdin(&args, &json_lines(3));
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(
        files(&runner.path().join("t")),
        ["docs_text_document.bin", "docs_text_document.idx"]
    );
    let args = [
        "data",
        "inspect",
        "t/docs_text_document",
        "--document",
        "1",
        "--tokenizer",
        &tokenizer,
    ];
    assert!(runner.ok(&args).contains("entry 1"));
    insta::assert_snapshot!(runner.snapshot(&["data", "inspect", "t/docs_text_document.idx"]));
    insta::assert_snapshot!(runner.snapshot(&[
        "data",
        "inspect",
        "t/docs_text_document.idx",
        "--document",
        "3"
    ]));
}

#[test]
fn tokenize_names_the_line_it_cannot_read() {
    let runner = Runner::new();
    runner.write("docs.jsonl", format!("{}{{\"text\": 1}}\n", json_lines(2)));
    let tokenizer = fixture("tokenizer");
    let args = [
        "data",
        "tokenize",
        "docs.jsonl",
        "--output",
        "docs",
        "--tokenizer",
        &tokenizer,
    ];
    insta::assert_snapshot!(runner.snapshot(&args));
    assert_eq!(files(runner.path()), ["docs.jsonl"]);
}

#[test]
fn inspect_shows_a_prepared_folder_and_where_a_document_came_from() {
    let runner = Runner::new();
    runner.ok(&[
        "data",
        "prepare",
        &fixture("data/recipe.toml"),
        "--output",
        "out",
        "-q",
    ]);
    assert!(fixtures().join("data").is_dir());
    let tokenizer = fixture("tokenizer");
    let shown = runner.ok(&[
        "data",
        "inspect",
        "out",
        "--document",
        "0",
        "--tokenizer",
        &tokenizer,
    ]);
    assert!(
        shown.contains("pile") && shown.contains("sha256"),
        "{shown}"
    );
}
