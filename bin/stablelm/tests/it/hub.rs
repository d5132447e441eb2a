//! Models by hub id, from a server on this machine that plays the hub.

use std::collections::BTreeMap;
use std::path::Path;

use crate::hub_server::{COMMIT, Hub, HubServer};
use crate::runner::{Runner, fixture};

const ID: &str = "keeper/lamp";

/// Starts a server that has a small model in two shards, and a runner that asks it.
fn start(change: impl FnOnce(&mut Hub)) -> (HubServer, Runner) {
    let mut runner = Runner::new();
    let (input, tokenizer) = (fixture("model"), fixture("tokenizer"));
    runner.ok(&[
        "convert",
        &input,
        "model",
        "--tokenizer",
        &tokenizer,
        "--max-shard-size",
        "300kB",
        "-q",
    ]);
    let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for entry in std::fs::read_dir(runner.path().join("model")).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        files.insert(name, std::fs::read(entry.path()).unwrap());
    }
    assert!(files.contains_key("model.safetensors.index.json"));
    files.insert("pytorch_model.bin".to_owned(), vec![0; 10]);
    let mut hub = Hub::default();
    hub.repositories.insert(ID.to_owned(), files);
    change(&mut hub);
    let server = HubServer::start(hub);
    runner.set("HF_ENDPOINT", &server.endpoint);
    runner.set("HF_HUB_OFFLINE", "0");
    (server, runner)
}

fn generate(runner: &Runner, model: &str) -> String {
    let prompt = "The keeper lit the lamp";
    runner.ok(&["run", "--model", model, prompt, "--greedy", "-q"])
}

fn snapshot_folder(runner: &Runner) -> std::path::PathBuf {
    let cache = runner.path().join("hf-home/hub/models--keeper--lamp");
    cache.join("snapshots").join(COMMIT)
}

#[test]
fn a_model_is_fetched_once_and_runs_without_the_network_afterwards() {
    let (server, runner) = start(|_| {});
    let expected = generate(&runner, "model");
    assert_eq!(generate(&runner, ID), expected);
    let folder = snapshot_folder(&runner);
    assert!(folder.join("tokenizer.json").is_file());
    assert!(!folder.join("pytorch_model.bin").exists());
    let requests = |server: &HubServer| server.hub().requests.len();
    let before = requests(&server);
    assert_eq!(generate(&runner, "keeper/lamp@main"), expected);
    assert_eq!(
        requests(&server),
        before + 1,
        "only the commit is asked for"
    );
    let model = ["run", "--offline", "--model", ID, "lamp", "--greedy", "-q"];
    runner.ok(&model);
    assert_eq!(requests(&server), before + 1);
}

#[test]
fn dropped_connections_and_a_busy_server_are_waited_out_and_nothing_is_fetched_twice() {
    let (server, runner) = start(|hub| {
        hub.drops = 2;
        hub.refusals = 1;
    });
    let expected = generate(&runner, "model");
    assert_eq!(generate(&runner, ID), expected);
    let resumed = |request: &String| request.starts_with("/large/") && !request.ends_with("from 0");
    let requests = &server.hub().requests;
    assert!(requests.iter().any(resumed), "{requests:#?}");
}

#[test]
fn a_download_that_was_cut_short_goes_on_where_it_stopped() {
    let (server, runner) = start(|hub| hub.drops = usize::MAX);
    let output = runner.output(&["inspect", ID, "-q"]);
    assert_eq!(output.status.code(), Some(5));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.contains("what was fetched so far is kept"),
        "{stderr}"
    );
    server.hub().drops = 0;
    server.hub().requests.clear();
    runner.ok(&["inspect", ID, "-q"]);
    let resumed = |request: &String| request.starts_with("/large/") && !request.ends_with("from 0");
    let requests = &server.hub().requests;
    assert!(requests.iter().any(resumed), "{requests:#?}");
}

#[test]
fn a_server_that_starts_over_instead_of_going_on_does_no_harm() {
    let (_server, runner) = start(|hub| {
        hub.drops = 1;
        hub.ignores_ranges = true;
    });
    let expected = generate(&runner, "model");
    assert_eq!(generate(&runner, ID), expected);
}

#[test]
fn bytes_that_are_not_those_of_the_hub_are_not_kept() {
    let (_server, runner) = start(|hub| hub.damages = true);
    let output = runner.output(&["inspect", ID, "-q"]);
    assert_eq!(output.status.code(), Some(3));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("does not have the SHA-256"), "{stderr}");
    let blobs = runner.path().join("hf-home/hub/models--keeper--lamp/blobs");
    let largest = std::fs::read_dir(blobs)
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .max();
    assert!(largest.unwrap() < 200_000, "{largest:?}");
}

#[track_caller]
fn check_refused(runner: &Runner, id: &str, expected: [&str; 2]) {
    let output = runner.output(&["inspect", id, "-q"]);
    assert_eq!(output.status.code(), Some(3));
    let stderr = String::from_utf8(output.stderr).unwrap();
    for text in expected {
        assert!(stderr.contains(text), "{stderr}");
    }
}

#[test]
fn a_gated_repository_says_where_to_ask_and_opens_with_the_token() {
    let (_server, mut runner) = start(|hub| {
        hub.gated.insert(ID.to_owned(), "hf_secret".to_owned());
    });
    let terms = "accept the terms, then set HF_TOKEN";
    check_refused(&runner, ID, ["is gated", terms]);
    runner.set("HF_TOKEN", "hf_other");
    let access = "your token has no access";
    check_refused(&runner, ID, [access, "/keeper/lamp and ask for access"]);
    // The token that `hf auth login` leaves in a file.
    runner.set("HF_TOKEN", "");
    runner.write("hf-home/token", "hf_secret\n");
    runner.ok(&["inspect", ID, "-q"]);
}

#[test]
fn what_is_not_there_is_named() {
    let (_server, runner) = start(|hub| {
        let files = BTreeMap::from([
            ("config.json".to_owned(), b"{}".to_vec()),
            ("pytorch_model.bin".to_owned(), vec![0; 10]),
        ]);
        hub.repositories.insert("keeper/old".to_owned(), files);
    });
    let none = "no file, folder or public repository `keeper/none`";
    check_refused(&runner, "keeper/none", [none, "set HF_TOKEN"]);
    let format = "has no `model.safetensors`";
    check_refused(&runner, "keeper/old", [format, "look for a revision"]);
    let output = runner.output(&["inspect", ID, "--offline", "-q"]);
    assert_eq!(output.status.code(), Some(3));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("is not in the cache"), "{stderr}");
}

#[test]
fn tokenizers_come_alone() {
    let (server, runner) = start(|_| {});
    runner.write("docs.jsonl", "{\"text\": \"The keeper lit the lamp.\"}\n");
    let tokenize = |tokenizer: &str, output: &str| {
        let args = [
            "data",
            "tokenize",
            "docs.jsonl",
            "--tokenizer",
            tokenizer,
            "--output",
            output,
            "-q",
        ];
        runner.ok(&args);
        std::fs::read(runner.path().join(format!("{output}_text_document.bin"))).unwrap()
    };
    let expected = tokenize(&fixture("tokenizer"), "local");
    assert_eq!(tokenize(ID, "remote"), expected);
    let large = |request: &String| request.starts_with("/large/");
    assert!(!server.hub().requests.iter().any(large));
    assert!(
        !Path::new(&snapshot_folder(&runner))
            .join("config.json")
            .exists()
    );
}

#[test]
fn names_that_lead_out_of_the_cache_are_refused() {
    let (_server, runner) = start(|hub| {
        let files = hub.repositories.get_mut(ID).unwrap();
        let index = br#"{"weight_map": {"model.norm.weight": "../../escape.safetensors"}}"#;
        files.insert("model.safetensors.index.json".to_owned(), index.to_vec());
    });
    let escape = "../../escape.safetensors";
    check_refused(&runner, ID, [escape, "is not the name of a file"]);
}
