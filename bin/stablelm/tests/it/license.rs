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
