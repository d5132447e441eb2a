//! `stablelm license ...`

use crate::runner::{Runner, fixture};

#[test]
fn the_registry_lists_the_family_and_its_data() {
    let list = Runner::new().ok(&["license", "show"]);
    for id in ["stablelm-3b-4e1t", "falcon-refinedweb", "pes2o", "books3"] {
        assert!(list.contains(id), "{id}");
    }
}

#[test]
fn the_3b_is_shown_with_every_claim_and_its_source() {
    insta::assert_snapshot!(Runner::new().snapshot(&[
        "license",
        "show",
        "stabilityai/stablelm-3b-4e1t"
    ]));
}

#[test]
fn the_notice_of_the_3b_credits_links_and_disclaims() {
    let notice = Runner::new().ok(&["license", "notice", "stabilityai/stablelm-3b-4e1t"]);
    for needed in [
        "Stability AI",
        "https://creativecommons.org/licenses/by-sa/4.0/",
        "https://huggingface.co/stabilityai/stablelm-3b-4e1t",
    ] {
        assert!(notice.contains(needed), "{needed}");
    }
}

#[test]
fn citations_come_in_two_formats() {
    let runner = Runner::new();
    insta::assert_snapshot!(
        "bibtex",
        runner.snapshot(&["license", "cite", "stablelm-3b-4e1t"])
    );
    insta::assert_snapshot!(
        "cff",
        runner.snapshot(&["license", "cite", "stablelm-3b-4e1t", "--format", "cff"])
    );
}

#[test]
fn a_converted_model_says_what_it_is_and_what_was_changed() {
    let runner = Runner::new();
    runner.ok(&["convert", &fixture("model"), "model", "-q"]);
    let shown = runner.json(&["license", "show", "model", "--json"]);
    assert_eq!(shown["subject"]["license"], "CC-BY-SA-4.0");
    assert_eq!(shown["ledger"]["changes"].as_array().unwrap().len(), 2);
    let notice = runner.ok(&["license", "notice", "model"]);
    assert_eq!(
        notice,
        std::fs::read_to_string(runner.path().join("model/NOTICE")).unwrap()
    );
    let card = runner.ok(&["license", "card", "model"]);
    assert!(card.starts_with("---\nlicense: cc-by-sa-4.0\n"), "{card}");
}

#[test]
fn an_edited_change_record_is_found() {
    let runner = Runner::new();
    runner.ok(&["convert", &fixture("model"), "model", "-q"]);
    let ledger = std::fs::read_to_string(runner.path().join("model/ledger.json")).unwrap();
    runner.write(
        "model/ledger.json",
        ledger.replace("to safetensors", "to nothing at all"),
    );
    insta::assert_snapshot!(runner.snapshot(&["license", "show", "model"]));
}

#[test]
fn a_file_is_written_once() {
    let runner = Runner::new();
    runner.ok(&[
        "license",
        "notice",
        "stablelm-3b-4e1t",
        "--output",
        "NOTICE",
        "-q",
    ]);
    insta::assert_snapshot!(runner.snapshot(&[
        "license",
        "notice",
        "stablelm-3b-4e1t",
        "--output",
        "NOTICE"
    ]));
}

#[test]
fn an_unknown_subject_gets_a_suggestion() {
    insta::assert_snapshot!(Runner::new().snapshot(&["license", "show", "stablelm-3b-4e1"]));
}

#[test]
fn licenses_that_do_not_go_together_fail_with_clause_and_source() {
    let runner = Runner::new();
    let check = |args: &[&str], code: i32, verdict: &str| {
        let args = [&["license", "check", "--json"], args].concat();
        let output = runner.output(&args);
        assert_eq!(output.status.code(), Some(code), "{args:?}");
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(answer["verdict"], verdict, "{args:?}: {answer:#}");
        for finding in answer["findings"].as_array().unwrap() {
            for key in ["rule", "clause", "severity", "reason", "source"] {
                assert!(finding[key].is_string(), "{key} of {finding:#}");
            }
        }
    };
    let model = "stabilityai/stablelm-3b-4e1t";
    let adapt = ["--base", model, "--context", "adapt", "--outbound"];
    check(&[&adapt[..], &["CC-BY-SA-4.0"]].concat(), 0, "OK");
    check(&[&adapt[..], &["apache-2.0"]].concat(), 1, "CONFLICT");
    check(&[&adapt[..], &["GPL-3.0-or-later"]].concat(), 0, "REVIEW");
    check(
        &[&adapt[..], &["GPL-3.0-or-later", "--strict"]].concat(),
        1,
        "REVIEW",
    );
    check(&[&adapt[..], &["other"]].concat(), 0, "UNKNOWN");
    check(&[&adapt[..], &["other", "--strict"]].concat(), 1, "UNKNOWN");
    check(
        &[&adapt[..], &["MIT", "--owner", "Stability AI"]].concat(),
        0,
        "OK",
    );
    check(
        &[&adapt[..], &["MIT", "--owner", "Somebody"]].concat(),
        1,
        "CONFLICT",
    );
    let train = ["--context", "train", "--outbound", "CC-BY-SA-4.0", "--base"];
    check(
        &[&train[..], &["CC-BY-SA-4.0", "--with", "cc0-1.0"]].concat(),
        0,
        "OK",
    );
    check(
        &[&train[..], &[model, "--with", "pes2o"]].concat(),
        0,
        "OBLIGATIONS",
    );
    check(&[&train[..], &["CC-BY-NC-4.0"]].concat(), 1, "CONFLICT");
    check(
        &[&train[..], &["CC-BY-NC-4.0", "--posture", "permissive"]].concat(),
        0,
        "REVIEW",
    );
    check(
        &[&train[..], &["books3", "--posture", "permissive"]].concat(),
        1,
        "CONFLICT",
    );
    let data = [
        "--context",
        "data",
        "--outbound",
        "ODC-By-1.0",
        "--base",
        "odc-by",
        "--with",
    ];
    check(&[&data[..], &["CC-BY-SA-4.0"]].concat(), 1, "CONFLICT");
    check(
        &[&data[..], &["contents:CC-BY-SA-3.0"]].concat(),
        0,
        "OBLIGATIONS",
    );
    check(
        &["--context", "agg", "--base", model, "--with", "Apache-2.0"],
        0,
        "OK",
    );
    check(&["--context", "private", "--base", model], 0, "OK");
}

#[test]
fn a_malformed_license_is_told_with_its_place() {
    let output = Runner::new().output(&[
        "license",
        "check",
        "--base",
        "MIT AND",
        "--outbound",
        "MIT",
        "--context",
        "adapt",
    ]);
    assert_eq!(output.status.code(), Some(3));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.contains("`MIT AND`") && stderr.contains("column 8"),
        "{stderr}"
    );
}

#[test]
fn a_converted_model_is_checked_compared_and_its_sources_pinned() {
    let runner = Runner::new();
    runner.ok(&["convert", &fixture("model"), "model", "-q"]);
    let shown = runner.ok(&["license", "show", "model"]);
    assert!(
        shown.contains("Obligations still open: none found"),
        "{shown}"
    );
    std::fs::remove_file(runner.path().join("model/NOTICE")).unwrap();
    let shown = runner.ok(&["license", "show", "model"]);
    assert!(
        shown.contains("SA-03  CC BY-SA 4.0 3(a)(1)(A)(iii)"),
        "{shown}"
    );

    let check = [
        "license",
        "check",
        "--base",
        "model",
        "--context",
        "adapt",
        "--outbound",
    ];
    runner.ok(&[&check[..], &["CC-BY-SA-4.0"]].concat());
    let text = runner.output(&[&check[..], &["MIT", "--sarif", "found.sarif"]].concat());
    let stdout = String::from_utf8(text.stdout).unwrap();
    assert!(
        stdout.starts_with("CONFLICT") && stdout.contains("not legal advice"),
        "{stdout}"
    );
    let sarif = std::fs::read(runner.path().join("found.sarif")).unwrap();
    let sarif: serde_json::Value = serde_json::from_slice(&sarif).unwrap();
    assert_eq!(sarif["runs"][0]["results"][0]["ruleId"], "SA-12");

    assert_eq!(
        runner.ok(&["license", "diff", "model", "model"]),
        "no difference\n"
    );
    let ledger = std::fs::read_to_string(runner.path().join("model/ledger.json")).unwrap();
    runner.write("other.json", ledger.replacen("CC-BY-SA-4.0", "MIT", 1));
    let drift = runner.output(&[
        "license",
        "diff",
        "model/ledger.json",
        "other.json",
        "--json",
    ]);
    assert_eq!(drift.status.code(), Some(1));
    let drift: serde_json::Value = serde_json::from_slice(&drift.stdout).unwrap();
    assert_eq!(drift["differences"][0]["kind"], "license", "{drift:#}");

    runner.write("page.html", "the page");
    let source = "https://stablelm.invalid/fixtures=page.html";
    let pin = ["license", "sources", "pin", "model", "--evidence", source];
    runner.ok(&pin);
    assert_eq!(
        runner.output(&pin).status.code(),
        Some(3),
        "an existing lock stays"
    );
    let update = ["license", "sources", "update", "model"];
    runner.ok(&update);
    runner.write(
        "model/ledger.json",
        ledger.replacen("\"value\": \"CC-BY-SA-4.0\"", "\"value\": \"MIT\"", 1),
    );
    let drift = runner.output(&update);
    assert_eq!(drift.status.code(), Some(1));
    assert!(String::from_utf8(drift.stdout).unwrap().contains("-> MIT"));
}

#[test]
fn a_registry_of_ones_own_is_asked_too() {
    let runner = Runner::new();
    runner.write(
        "mine.json",
        r#"{"components": [{"id": "my-data", "name": "My data", "kind": "dataset", "url": "",
            "license": "CC-BY-NC-4.0", "attribution": "My data by me.", "claims": []}]}"#,
    );
    let shown = runner.ok(&["license", "show", "my-data", "--registry", "mine.json"]);
    assert!(shown.contains("CC-BY-NC-4.0"), "{shown}");
    let output = runner.output(&[
        "license",
        "check",
        "--base",
        "my-data",
        "--outbound",
        "CC-BY-SA-4.0",
        "--context",
        "train",
        "--registry",
        "mine.json",
    ]);
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_bill_of_materials_is_the_same_twice_and_bears_the_date_that_is_set() {
    let mut runner = Runner::new();
    runner.set("SOURCE_DATE_EPOCH", "1795478400");
    for (format, date) in [
        ("spdx3", "\"created\": \"2026-11-24T00:00:00Z\""),
        ("cdx1.6", "\"timestamp\": \"2026-11-24T00:00:00Z\""),
        ("cdx1.7", "\"timestamp\": \"2026-11-24T00:00:00Z\""),
    ] {
        let words = ["license", "bom", "stablelm-3b-4e1t", "--format", format];
        let first = runner.ok(&words);
        assert!(first.contains(date), "{format}");
        assert!(first.contains("Falcon RefinedWeb"), "{format}");
        assert_eq!(first, runner.ok(&words), "{format}");
    }
}

#[test]
fn the_papers_of_a_model_are_written_beside_it_once() {
    let runner = Runner::new();
    runner.ok(&["convert", &fixture("model"), "model", "-q"]);
    let words = [
        "license", "bom", "model", "--format", "reuse", "--output", "model",
    ];
    runner.ok(&words);
    let toml = std::fs::read_to_string(runner.path().join("model/REUSE.toml")).unwrap();
    assert!(toml.contains("\"model.safetensors\""), "{toml}");
    assert!(
        runner
            .path()
            .join("model/LICENSES/CC-BY-SA-4.0.txt")
            .is_file()
    );
    let again = runner.output(&words);
    assert_eq!(again.status.code(), Some(3), "what is there stays");
    let bill = ["license", "bom", "model", "--format", "spdx3"];
    let first = runner.ok(&bill);
    assert!(first.contains("LICENSES/CC-BY-SA-4.0.txt"));
    let output = "model/bom.spdx3.json";
    runner.ok(&[&bill[..], &["--output", output]].concat());
    assert_eq!(runner.ok(&bill), first, "a bill does not list itself");
}

#[test]
fn nothing_is_made_of_what_was_taken_down() {
    let output = Runner::new().output(&["license", "bom", "books3", "--format", "spdx3"]);
    assert_eq!(output.status.code(), Some(4));
}

#[test]
fn a_card_keeps_what_people_wrote() {
    let runner = Runner::new();
    runner.ok(&["convert", &fixture("model"), "model", "-q"]);
    let path = runner.path().join("model/README.md");
    let card = std::fs::read_to_string(&path).unwrap();
    let edited = format!("{card}\n## Our own words\n").replacen("---\n", "---\nwidget: ours\n", 1);
    std::fs::write(&path, &edited).unwrap();
    assert_eq!(runner.ok(&["license", "card", "model"]), edited);
    let words = ["license", "card", "model", "--output", "model/README.md"];
    assert_eq!(runner.output(&words).status.code(), Some(3), "not unasked");
    runner.ok(&[&words[..], &["--overwrite"]].concat());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), edited);
}

#[test]
fn a_notice_that_came_with_the_weights_goes_on_with_them() {
    let runner = Runner::new();
    runner.ok(&["convert", &fixture("model"), "first", "-q"]);
    let theirs = "Parts were made by Somebody Else.\n";
    runner.write("first/NOTICE", theirs);
    runner.ok(&["convert", "first", "second", "-q"]);
    runner.ok(&["convert", "second", "third", "-q"]);
    for folder in ["second", "third"] {
        let notice = std::fs::read_to_string(runner.path().join(folder).join("NOTICE")).unwrap();
        assert_eq!(notice.matches(theirs).count(), 1, "{notice}");
        assert_eq!(runner.ok(&["license", "notice", folder]), notice);
    }
    runner.ok(&["convert", "first", "own", "--i-am-the-licensor", "-q"]);
    let notice = std::fs::read_to_string(runner.path().join("own/NOTICE")).unwrap();
    assert!(!notice.contains(theirs), "{notice}");
}

#[test]
fn a_notice_that_cannot_go_on_stops_the_conversion() {
    let runner = Runner::new();
    runner.ok(&["convert", &fixture("model"), "first", "-q"]);
    runner.write("first/NOTICE", b"\xff\xfe not text");
    let output = runner.output(&["convert", "first", "second"]);
    assert_eq!(output.status.code(), Some(4));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains("is not UTF-8 text"), "{message}");
    assert!(message.contains("--i-am-the-licensor"), "{message}");
    assert!(!runner.path().join("second").exists());
    runner.ok(&["convert", "first", "second", "--i-am-the-licensor", "-q"]);
}

#[test]
fn prepared_data_says_who_made_it_only_where_that_is_known() {
    let runner = Runner::new();
    runner.ok(&[
        "data",
        "prepare",
        &fixture("data/recipe.toml"),
        "--output",
        "data",
        "-q",
    ]);
    let words = ["license", "bom", "data", "--format", "croissant1.1"];
    let written = std::fs::read_to_string(runner.path().join("data/croissant.json")).unwrap();
    assert_eq!(runner.ok(&words), written);
    assert!(
        !written.contains(".invalid") && !written.contains("\"unknown\""),
        "{written}"
    );
    let named = [
        "--creator",
        "Example Lab",
        "--url",
        "https://example.org/data",
    ];
    let named: serde_json::Value =
        serde_json::from_str(&runner.ok(&[&words[..], &named[..]].concat())).unwrap();
    assert_eq!(named["creator"]["name"], "Example Lab");
    assert_eq!(named["url"], "https://example.org/data");
    let card = runner.ok(&["license", "card", "data"]);
    assert!(card.contains("\nsize_categories:\n- \"n<1K\"\n"), "{card}");
    assert!(
        card.contains("\n  - split: train\n    path: \"tokens/*_train_*.documents.parquet\"\n"),
        "{card}"
    );
}
