//! A whole run, over the repository's fixtures and over hand-made rows.

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::path::Path;

use stablelm_data::{
    IndexedDataset, PlanOptions, Recipe, RemoteOptions, Report, Split, parse_recipe, plan,
    write_manifest,
};
use stablelm_tokenizer::{SpecialTokensInOutput, Tokenizer};

use crate::scratch::{Scratch, column, hex_sha256, license_of, prepare, read_folder, read_table};

fn fixture() -> (Recipe, Tokenizer) {
    let path = stablelm_testkit::fixtures().join("data/recipe.toml");
    let recipe = parse_recipe(&std::fs::read_to_string(&path).unwrap(), &path).unwrap();
    let tokenizer = Tokenizer::from_file(&recipe.tokenizer_path()).unwrap();
    (recipe, tokenizer)
}

#[test]
fn the_fixtures_give_the_counts_that_their_readme_promises() {
    let (recipe, tokenizer) = fixture();
    let folder = tempfile::tempdir().unwrap();
    let prepared = prepare(&recipe, &tokenizer, folder.path(), 2, 1 << 28).unwrap();
    let report = &prepared.report;
    // 300 good ones, 12 of Books3, 4 bad ones, 4 duplicates, 2 odd ones; then 250 and 250.
    assert_eq!(report.documents_in, 322 + 250 + 250);
    assert_eq!(report.documents_kept, 302 + 249 + 250);
    assert_eq!(report.special_tokens_found, 1);
    assert_eq!(report.books3.documents_excluded, 12);
    assert_eq!(report.books3.by_rule["subset_name"], 12);
    assert_eq!((report.books3.remaining, report.books3.quarantined), (0, 0));
    let pile = &report.sources[0];
    let stages: Vec<_> = pile
        .stages
        .iter()
        .map(|stage| (stage.name.as_str(), stage.documents_in, stage.documents_out))
        .collect();
    assert_eq!(
        stages,
        [
            ("read", 322, 322),
            ("books3", 322, 310),
            ("gopher-quality", 310, 306),
            ("tokenize", 306, 306),
            ("dedup", 306, 302),
        ]
    );
    let reasons: Vec<_> = pile.stages[2].reasons.keys().map(String::as_str).collect();
    assert_eq!(
        reasons,
        [
            "gopher_below_alpha_threshold",
            "gopher_short_doc",
            "gopher_too_many_bullets",
            "gopher_too_many_hashes",
        ]
    );
    assert_eq!(
        report.sources[1].stages.last().unwrap().reasons["exact_duplicate"],
        1
    );
    let mixture = &report.mixture.sources;
    assert!((mixture.iter().map(|source| source.share).sum::<f64>() - 1.0).abs() < 1e-12);
    assert!((mixture[0].share - 0.5).abs() < 1e-12);
    check_tokens(folder.path(), report, &tokenizer);
    check_tables(folder.path());
}

/// Every document ends with the token for it, and decodes to a text with the hash of its row.
fn check_tokens(folder: &Path, report: &Report, tokenizer: &Tokenizer) {
    let eod = tokenizer.end_of_document().unwrap();
    let (mut documents, mut tokens, mut changed) = (0, 0, 0);
    for source in &report.sources {
        for split in Split::ALL {
            let prefix = folder.join(format!("tokens/{}_{split}_text_document", source.name));
            let dataset = IndexedDataset::open(&prefix).unwrap();
            let table = folder.join(format!(
                "tokens/{}_{split}_text_document.documents.parquet",
                source.name
            ));
            let rows = read_table(&table);
            assert_eq!(rows.len() as u64, dataset.num_documents);
            assert_eq!(source.splits[&split].tokens, dataset.num_tokens);
            for (number, row) in rows.iter().enumerate() {
                assert_eq!(row["document"], number.to_string());
                let mut ids = dataset.read_document(number as u64).unwrap();
                assert_eq!(row["num_tokens"], ids.len().to_string());
                assert_eq!(ids.pop(), Some(eod));
                assert!(!ids.contains(&eod));
                let text = tokenizer.decode(&ids, SpecialTokensInOutput::Keep).unwrap();
                changed += u32::from(hex_sha256(text.as_bytes()) != row["text_sha256"]);
            }
            documents += dataset.num_documents;
            tokens += dataset.num_tokens;
        }
    }
    // The tokenizer composes the one decomposed text.
    assert_eq!(changed, 1);
    assert_eq!((documents, tokens), (report.documents_kept, report.tokens));
}

fn check_tables(folder: &Path) {
    let dropped = read_table(&folder.join("dropped/pile.parquet"));
    assert_eq!(dropped.len(), 12 + 4 + 4);
    let books: Vec<_> = dropped
        .iter()
        .filter(|row| row["stage"] == "books3")
        .collect();
    assert_eq!(books.len(), 12);
    assert!(
        books
            .iter()
            .all(|row| row["reason"] == "subset_name" && row["value"] == "null")
    );
    let short = dropped
        .iter()
        .find(|row| row["reason"] == "gopher_short_doc")
        .unwrap();
    assert_eq!(
        (short["value"].as_str(), short["threshold"].as_str()),
        ("20.0", "50.0")
    );
    let kept = read_table(&folder.join("tokens/pile_train_text_document.documents.parquet"));
    assert!(
        column(&kept, "subset")
            .iter()
            .all(|subset| !subset.to_lowercase().contains("book"))
    );
    let licenses: HashSet<_> = column(&kept, "license").into_iter().collect();
    assert_eq!(licenses, HashSet::from(["CC0-1.0", "NOASSERTION"]));
    let web = read_table(&folder.join("tokens/refinedweb_train_text_document.documents.parquet"));
    assert!(web[0]["id"].starts_with("https://"));
    assert!(read_table(&folder.join("quarantine/pile.parquet")).is_empty());
}

#[test]
fn threads_and_memory_change_no_byte() {
    let (recipe, tokenizer) = fixture();
    let folder = tempfile::tempdir().unwrap();
    let run = |name: &str, threads, memory| {
        let output = folder.path().join(name);
        let prepared = prepare(&recipe, &tokenizer, &output, threads, memory).unwrap();
        write_manifest(&output, &prepared).unwrap();
        read_folder(&output)
    };
    let one = run("one", 1, 1 << 30);
    for (name, threads, memory) in [("four", 4, 1 << 30), ("tiny", 3, 1)] {
        let other = run(name, threads, memory);
        assert_eq!(
            other.keys().collect::<Vec<_>>(),
            one.keys().collect::<Vec<_>>()
        );
        for (path, bytes) in &one {
            assert!(
                other[path] == *bytes,
                "`{path}` differs with {threads} threads"
            );
        }
    }
}

#[test]
fn the_manifest_names_every_file_with_its_hash() {
    let (recipe, tokenizer) = fixture();
    let folder = tempfile::tempdir().unwrap();
    let prepared = prepare(&recipe, &tokenizer, folder.path(), 2, 1 << 28).unwrap();
    std::fs::write(folder.path().join("ATTRIBUTION.md"), "ours").unwrap();
    write_manifest(folder.path(), &prepared).unwrap();
    let files = read_folder(folder.path());
    let manifest: serde_json::Value = serde_json::from_slice(&files["manifest.json"]).unwrap();
    assert_eq!(manifest["run_hash"], prepared.run_hash);
    assert_eq!(manifest["tool_version"], "1.2.3");
    let outputs = manifest["outputs"].as_array().unwrap();
    let named: Vec<_> = outputs
        .iter()
        .map(|output| output["path"].as_str().unwrap())
        .collect();
    let expected: Vec<_> = files
        .keys()
        .filter(|path| *path != "manifest.json")
        .collect();
    assert_eq!(named, expected);
    for output in outputs {
        let bytes = &files[output["path"].as_str().unwrap()];
        assert_eq!(output["bytes"], bytes.len());
        assert_eq!(output["sha256"].as_str().unwrap().len(), 64);
    }
    assert_eq!(manifest["inputs"].as_array().unwrap().len(), 3);
    assert_eq!(manifest["inputs"][0]["path"], "pile/00.jsonl.zst");
    assert_eq!(
        manifest["sources"][1]["licenses"][0]["license"],
        "ODC-By-1.0"
    );
    assert_eq!(
        manifest["recipe"]["sources"][0]["filters"][0]["min_doc_words"],
        50
    );
    assert!(named.contains(&"neox.yml") && named.contains(&"tokenizer.json"));
}

#[test]
fn neox_yml_names_every_split_with_its_weights() {
    let (recipe, tokenizer) = fixture();
    let folder = tempfile::tempdir().unwrap();
    prepare(&recipe, &tokenizer, folder.path(), 2, 1 << 28).unwrap();
    let yml = std::fs::read_to_string(folder.path().join("neox.yml")).unwrap();
    assert!(
        yml.contains(
            "\"train_data_paths\": [\"tokens/pile_train_text_document\",\
         \"tokens/refinedweb_train_text_document\",\"tokens/notes_train_text_document\"],\n  \
         \"train_data_weights\": [2.0,1.0,1.0],"
        ),
        "{yml}"
    );
    assert!(yml.contains("\"valid_data_paths\"") && yml.contains("\"test_data_paths\""));
    assert!(yml.contains("\"vocab_file\": \"tokenizer.json\""));
    // It is JSON but for its comments.
    let json: String = yml
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .collect();
    let settings: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&settings["hidden_size"], &settings["data_impl"]),
        (&2560.into(), &"mmap".into())
    );
}

#[test]
fn a_plan_over_whole_sources_says_what_the_run_will_do() {
    let (recipe, tokenizer) = fixture();
    let planned = |sample| {
        plan(&PlanOptions {
            recipe: &recipe,
            recipe_path: &recipe.folder.join("recipe.toml"),
            tokenizer: &tokenizer,
            sample,
            threads: NonZeroUsize::new(2).unwrap(),
            remote: &RemoteOptions::default(),
            fetch_folder: None,
            license_of: &license_of,
        })
        .unwrap()
    };
    let folder = tempfile::tempdir().unwrap();
    let prepared = prepare(&recipe, &tokenizer, folder.path(), 2, 1 << 28).unwrap();
    let whole = planned(10_000);
    // Duplicates across sources are not looked for.
    assert!((whole.estimate.documents - prepared.report.documents_kept as f64 - 1.0).abs() < 1e-9);
    assert_eq!(whole.sources[0].dropped["books3/subset_name"], 12);
    let part = planned(100);
    assert!((part.estimate.tokens / prepared.report.tokens as f64 - 1.0).abs() < 0.5);
    assert!((part.sources[1].estimate.rows - 250.0).abs() < 1e-9);
    assert_eq!(part.sources[1].columns, ["content", "url"]);
}

#[test]
fn texts_of_kept_and_dropped_documents_are_written_when_asked_for() {
    let scratch = Scratch::new();
    let long = "a longer text ".repeat(3);
    scratch.write(
        "in.jsonl",
        format!("{{\"text\": \"{long}\"}}\n{{\"text\": \"short\"}}\n"),
    );
    let recipe = scratch.recipe(
        "jsonl",
        "in.jsonl",
        "[output]\ntext = true\ndropped_text = true\n[[sources.filters]]\nname = 'length'\nmin_characters = 9",
    );
    scratch.prepare(&recipe, "out").unwrap();
    assert_eq!(
        column(&read_table(&scratch.path("out/text/src.parquet")), "text"),
        [long]
    );
    let dropped = read_table(&scratch.path("out/dropped/src.parquet"));
    assert_eq!(column(&dropped, "text"), ["short"]);
    assert_eq!(column(&dropped, "reason"), ["too_short"]);
}

#[test]
fn the_first_of_equal_texts_is_kept_in_the_order_of_the_recipe() {
    let scratch = Scratch::new();
    scratch.write("a.jsonl", "{\"text\": \"same\"}\n{\"text\": \"one\"}\n");
    scratch.write("b.jsonl", "{\"text\": \"two\"}\n{\"text\": \"same\"}\n");
    let recipe = scratch.recipe("jsonl", "?.jsonl", "[dedup]\nexact = true");
    scratch.prepare(&recipe, "out").unwrap();
    let dropped = read_table(&scratch.path("out/dropped/src.parquet"));
    assert_eq!(column(&dropped, "path"), ["b.jsonl"]);
    assert_eq!(
        (column(&dropped, "stage"), column(&dropped, "row")),
        (vec!["dedup"], vec!["1"])
    );
}

#[test]
fn a_run_that_keeps_nothing_still_says_so() {
    let scratch = Scratch::new();
    scratch.write("in.jsonl", "");
    let recipe = scratch.recipe("jsonl", "in.jsonl", "[dedup]\nexact = true");
    let prepared = scratch.prepare(&recipe, "out").unwrap();
    assert_eq!(prepared.report.documents_in, 0);
    let files = read_folder(&scratch.path("out"));
    let names: Vec<_> = files.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "dropped/src.parquet",
            "neox.yml",
            "quarantine/src.parquet",
            "report.html",
            "report.json",
            "tokenizer.json"
        ]
    );
}
