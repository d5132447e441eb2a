//! Sources behind http, from a server on this machine.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use stablelm_testkit::http_server::{Asked, Server, Told, file, told};

use crate::runner::{Runner, fixture};

/// The inputs of the fixture recipe, by path on the server and below `fixtures/data`.
const FILES: [&str; 3] = [
    "pile/00.jsonl.zst",
    "falcon-refinedweb/part-00000.parquet",
    "notes/notes.jsonl",
];

/// Serves the inputs as they are, but for what `trouble` makes of an answer.
fn server(trouble: impl Fn(&Asked, Told) -> Told + Send + Sync + 'static) -> Server {
    let files = FILES.map(|name| (format!("/{name}"), read(fixture(&format!("data/{name}")))));
    Server::new(move |asked| {
        let path = asked.target.split('?').next();
        let found = files.iter().find(|(name, _)| Some(&**name) == path);
        found.map_or_else(
            || told(404, ""),
            |(_, bytes)| trouble(asked, file(asked, bytes, "v1")),
        )
    })
}

fn read(path: impl AsRef<Path>) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

/// The fixture recipe with `place` before the name of each input.
fn recipe(place: &str) -> String {
    let mut text = std::fs::read_to_string(fixture("data/recipe.toml")).unwrap();
    text = text.replace("../tokenizer/tokenizer.json", &fixture("tokenizer"));
    for name in FILES {
        let (folder, file) = name.split_once('/').unwrap();
        let (_, ending) = file.split_once('.').unwrap();
        let pattern = format!("\"{folder}/*.{ending}\"");
        assert!(text.contains(&pattern), "{pattern}");
        text = text.replace(&pattern, &format!("\"{place}{name}\""));
    }
    text
}

/// Prepares a recipe; returns names and bytes of all token files.
fn tokens(runner: &Runner, recipe: &str, output: &str) -> Vec<(String, Vec<u8>)> {
    runner.ok(&["data", "prepare", recipe, "--output", output, "-q"]);
    token_files(runner, output)
}

fn token_files(runner: &Runner, output: &str) -> Vec<(String, Vec<u8>)> {
    let folder = runner.path().join(output).join("tokens");
    let entries = std::fs::read_dir(&folder).unwrap();
    let mut files: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        // The tables beside them name the inputs.
        .filter(|name| !name.ends_with(".parquet"))
        .map(|name| (name.clone(), read(folder.join(name))))
        .collect();
    files.sort();
    files
}

/// What is left in the folder besides `expected`.
#[track_caller]
fn expect_only(runner: &Runner, expected: &[&str]) {
    let entries = std::fs::read_dir(runner.path()).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, expected);
}

#[test]
fn remote_files_give_the_same_tokens_as_local_ones_however_often_connections_break() {
    let runner = Runner::online();
    let expected = tokens(&runner, &fixture("data/recipe.toml"), "local");
    assert_eq!(expected.len(), 3 * 3 * 2);

    let good = server(|_, answer| answer);
    runner.write("good.toml", recipe(&good.url("/")));
    assert!(tokens(&runner, "good.toml", "good") == expected);

    // The first answer with a file ends after a tenth, the second before its first byte.
    let bad = server(|asked, answer| {
        let len = answer.body.len();
        match (&*asked.method, asked.before) {
            ("GET", 0 | 1) => answer.cut(len / 10),
            ("GET", 2) => answer.cut(0),
            _ => answer,
        }
    });
    runner.write("bad.toml", recipe(&bad.url("/")));
    assert!(tokens(&runner, "bad.toml", "bad") == expected);
    for name in FILES {
        let asked = bad.log().into_iter();
        let asked = asked.filter(|asked| asked.target[1..] == *name && asked.method == "GET");
        let starts: Vec<_> = asked.map(|asked| asked.range(usize::MAX)).collect();
        assert!(starts.len() >= 3, "{name}: {starts:?}");
        assert!(
            starts.windows(2).any(|pair| pair[0] < pair[1]),
            "{name}: {starts:?}"
        );
    }
    expect_only(&runner, &["bad", "bad.toml", "good", "good.toml", "local"]);
}

#[test]
fn manifest_and_tables_name_remote_files_by_address() {
    let runner = Runner::online();
    let server = server(|_, answer| answer);
    runner.write("recipe.toml", recipe(&server.url("/")));
    runner.ok(&["data", "prepare", "recipe.toml", "--output", "out", "-q"]);
    let manifest: serde_json::Value =
        serde_json::from_slice(&read(runner.path().join("out/manifest.json"))).unwrap();
    let inputs = manifest["inputs"].as_array().unwrap();
    assert_eq!(inputs.len(), FILES.len());
    for (input, name) in inputs.iter().zip(FILES) {
        assert_eq!(input["path"], server.url(&format!("/{name}")));
        let bytes = read(fixture(&format!("data/{name}")));
        assert_eq!(input["bytes"], bytes.len());
    }
}

#[test]
fn a_run_that_lost_its_server_goes_on_with_addresses_signed_anew() {
    let runner = Runner::online();
    let expected = tokens(&runner, &fixture("data/recipe.toml"), "local");
    // 0: the last file can't be fetched; 1: as it was; 2: as 1, and it is another version.
    let state = Arc::new(AtomicUsize::new(0));
    let now = Arc::clone(&state);
    let server = server(move |asked, mut answer| match now.load(Ordering::Relaxed) {
        0 if asked.target.starts_with("/notes") && asked.method == "GET" => told(404, ""),
        2 => {
            answer.headers.retain(|(name, _)| name != "etag");
            answer.with("etag", "\"v2\"")
        }
        _ => answer,
    });
    let signed = |signature: &str| {
        let recipe = recipe(&server.url("/"));
        recipe.replace(".jsonl\"", &format!(".jsonl?signature={signature}\""))
    };
    let args = ["data", "prepare", "recipe.toml", "--output", "out", "-q"];
    let resume = [&args[..], &["--resume"]].concat();
    runner.write("recipe.toml", signed("secret-1"));
    assert_eq!(runner.output(&args).status.code(), Some(3));

    state.store(2, Ordering::Relaxed);
    let output = runner.output(&resume);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    assert!(stderr.contains("--overwrite"), "{stderr}");

    state.store(1, Ordering::Relaxed);
    let log = server.log().len();
    runner.write("recipe.toml", signed("secret-2"));
    runner.ok(&resume);
    let later = server.log().split_off(log);
    let fetched = later.iter().filter(|asked| asked.method == "GET");
    let fetched: Vec<_> = fetched.map(|asked| &*asked.target).collect();
    assert_eq!(fetched, ["/notes/notes.jsonl?signature=secret-2"]);
    assert!(token_files(&runner, "out") == expected);
    for name in [
        "manifest.json",
        "report.json",
        "report.html",
        "croissant.json",
    ] {
        let text = String::from_utf8(read(runner.path().join("out").join(name))).unwrap();
        assert!(!text.contains("secret"), "{name}");
    }
}

#[test]
fn addresses_that_only_differ_in_their_query_are_refused() {
    let runner = Runner::online();
    let server = server(|_, answer| answer);
    let url = server.url("/notes/notes.jsonl");
    let text = recipe(&server.url("/")).replace(
        &format!("\"{url}\""),
        &format!("\"{url}?id=1\", \"{url}?id=1\", \"{url}?id=2\""),
    );
    runner.write("recipe.toml", text);
    let output = runner.output(&["data", "prepare", "recipe.toml", "--output", "out"]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    assert!(
        stderr.contains(&format!(
            "source `notes` has two addresses that are `{url}`"
        )),
        "{stderr}"
    );
}

#[test]
fn verify_fetches_remote_inputs_when_asked_to() {
    let runner = Runner::online();
    // Once the folder is there, one file is another of the same length, and one is gone.
    let is_later = Arc::new(AtomicBool::new(false));
    let changes = Arc::clone(&is_later);
    let server = server(move |asked, mut answer| {
        match (&*asked.target, changes.load(Ordering::Relaxed)) {
            ("/notes/notes.jsonl", true) => answer.body.fill(b' '),
            ("/pile/00.jsonl.zst", true) => return told(404, ""),
            _ => {}
        }
        answer
    });
    runner.write("recipe.toml", recipe(&server.url("/")));
    runner.ok(&["data", "prepare", "recipe.toml", "--output", "out", "-q"]);

    let log = server.log().len();
    let checked = runner.json(&["data", "verify", "out", "--json"]);
    assert_eq!(checked["passed"], true);
    assert_eq!(checked["checked"]["inputs"], 0);
    let not = &checked["not_checked"][0];
    assert_eq!(
        not["what"],
        format!("input `{}`", server.url("/pile/00.jsonl.zst"))
    );
    assert_eq!(not["why"], "it is remote; `--remote` fetches and checks it");
    assert_eq!(server.log().len(), log);

    let checked = runner.json(&["data", "verify", "out", "--remote", "--json"]);
    assert_eq!(checked["passed"], true);
    assert_eq!(checked["not_checked"], serde_json::json!([]));
    assert_eq!(checked["checked"]["inputs"], 3);
    assert_eq!(checked["books3"]["documents_excluded"], 12);
    expect_only(&runner, &["out", "recipe.toml"]);

    is_later.store(true, Ordering::Relaxed);
    let checked = runner.json(&["data", "verify", "out", "--remote", "--json"]);
    assert_eq!(checked["checked"]["inputs"], 1);
    let why = |index: usize| checked["not_checked"][index]["why"].as_str().unwrap();
    assert!(why(0).contains("does not exist"), "{}", why(0));
    assert!(why(1).starts_with("its SHA-256 is "), "{}", why(1));
}

#[test]
fn a_dry_run_of_remote_files_estimates_what_one_of_local_files_does() {
    let runner = Runner::online();
    let server = server(|_, answer| answer);
    runner.write("remote.toml", recipe(&server.url("/")));
    let plan = |recipe: &str| {
        let args = [
            "data",
            "prepare",
            recipe,
            "--output",
            "a/out",
            "--dry-run",
            "--json",
        ];
        runner.json(&args)
    };
    let remote = plan("remote.toml");
    let local = plan(&fixture("data/recipe.toml"));
    for (index, name) in FILES.iter().enumerate() {
        let (remote, local) = (&remote["sources"][index], &local["sources"][index]);
        for key in [
            "name",
            "kind",
            "columns",
            "bytes",
            "sampled_rows",
            "kept_share",
            "dropped",
            "licenses",
        ] {
            assert_eq!(remote[key], local[key], "{key} of {name}");
        }
        for key in ["rows", "documents", "tokens", "bytes_out"] {
            assert_eq!(
                remote["estimate"][key], local["estimate"][key],
                "{key} of {name}"
            );
        }
        let (file, local_file) = (&remote["files"][0], &local["files"][0]);
        assert_eq!(file["path"], server.url(&format!("/{name}")));
        assert_eq!(
            (&file["remote"], &local_file["remote"]),
            (&true.into(), &false.into())
        );
        for key in ["bytes", "compression", "rows"] {
            assert_eq!(file[key], local_file[key], "{key} of {name}");
        }
        let fetched = serde_json::json!({"files": 1, "bytes": file["bytes"]});
        assert_eq!(remote["fetched"], fetched);
        assert_eq!(
            local["fetched"],
            serde_json::json!({"files": 0, "bytes": 0})
        );
    }
    expect_only(&runner, &["remote.toml"]);
}

#[test]
fn a_dry_run_fetches_no_more_files_than_its_sample_takes() {
    let runner = Runner::online();
    let line = |number| format!("{{\"text\": \"a short text with the number {number}\"}}\n");
    let file_of = move |rows| (0..rows).map(line).collect::<String>();
    // 10 rows, 30 rows, and one that nobody may ask for.
    let server = Server::new(move |asked| match &*asked.target {
        "/0.jsonl" => file(asked, file_of(10).as_bytes(), "v1"),
        "/1.jsonl" => file(asked, file_of(30).as_bytes(), "v1").cut(100 * asked.before),
        "/2.jsonl" if asked.method == "HEAD" => file(asked, &[b' '; 5000], "v1"),
        _ => told(404, ""),
    });
    let paths = ["/0.jsonl", "/1.jsonl", "/2.jsonl"].map(|path| format!("'{}'", server.url(path)));
    let recipe = format!(
        "name = 'test'\n[tokenizer]\nsource = '{}'\n[[sources]]\nname = 'docs'\nkind = 'jsonl'\npaths = [{}]\n",
        fixture("tokenizer"),
        paths.join(", ")
    );
    runner.write("recipe.toml", &recipe);
    let run = |sample: &str, form: &[&str]| {
        let args = [
            "data",
            "prepare",
            "recipe.toml",
            "--output",
            "out",
            "--dry-run",
            "--sample",
            sample,
        ];
        runner.ok(&[&args, form].concat())
    };
    let json = |sample: &str| -> serde_json::Value {
        let plan: serde_json::Value = serde_json::from_str(&run(sample, &["--json"])).unwrap();
        plan["sources"][0].clone()
    };
    let (first, second) = (file_of(10).len(), file_of(30).len());
    let plan = json("10");
    assert_eq!(
        plan["fetched"],
        serde_json::json!({"files": 1, "bytes": first})
    );
    let compressions = [0, 1, 2].map(|file| plan["files"][file]["compression"].as_str());
    assert_eq!(compressions, [Some("none"), None, None]);
    let rows = plan["estimate"]["rows"].as_f64().unwrap();
    let expected = 10.0 * (first + second + 5000) as f64 / first as f64;
    assert!((rows - expected).abs() < 1e-6, "{rows} {expected}");

    let plan = json("11");
    assert_eq!(
        plan["fetched"],
        serde_json::json!({"files": 2, "bytes": first + second})
    );
    assert_eq!(plan["sampled_rows"], 11);
    let text = run("11", &[]);
    let told = format!(
        "Fetched 2 of 3 remote files of `docs` for the sample: {} of {} bytes.\n",
        first + second,
        first + second + 5000
    );
    assert!(text.ends_with(&told), "{text}");

    let before = server.log().len();
    let plan = json("0");
    assert_eq!(plan["fetched"], serde_json::json!({"files": 0, "bytes": 0}));
    assert_eq!(plan["bytes"], first + second + 5000);
    assert!(
        server.log()[before..]
            .iter()
            .all(|asked| asked.method == "HEAD")
    );
    expect_only(&runner, &["recipe.toml"]);
}

#[test]
fn a_remote_file_that_is_not_there_or_has_no_text_is_named() {
    let runner = Runner::online();
    let server = server(|_, answer| answer);
    for (flag, path, key, expected) in [
        ("--dry-run", "/none.jsonl", "text", "does not exist"),
        (
            "--dry-run",
            "/falcon-refinedweb/part-00000.parquet",
            "body",
            "has no column `body`",
        ),
        (
            "--overwrite",
            "/falcon-refinedweb/part-00000.parquet",
            "body",
            "has no column `body`",
        ),
    ] {
        let url = server.url(path);
        let recipe = format!(
            "name = 'test'\n[tokenizer]\nsource = '{}'\n[[sources]]\nname = 'docs'\nkind = 'parquet'\n\
             text = '{key}'\npaths = ['{url}?signature=secret']\n",
            fixture("tokenizer")
        );
        runner.write("recipe.toml", &recipe);
        let output = runner.output(&["data", "prepare", "recipe.toml", "--output", "out", flag]);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(3), "{stderr}");
        assert!(stderr.contains(&format!("`{url}`")), "{stderr}");
        assert!(
            stderr.contains(expected) && !stderr.contains("secret"),
            "{stderr}"
        );
        expect_only(&runner, &["recipe.toml"]);
    }
}
