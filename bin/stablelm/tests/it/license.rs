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
