//! What a safetensors header says, and what is read back from it.

use std::collections::BTreeMap;

use stablelm_license::{
    ChangeKind, Ledger, Registry, ledger_from_safetensors_metadata, safetensors_metadata,
};

use crate::samples::{change, converted, facts};

#[test]
fn the_header_holds_what_loaders_and_the_license_ask_for() {
    let metadata = safetensors_metadata(&converted(), &facts());
    let check = |key: &str, expected: &str| {
        assert_eq!(
            metadata.get(key).map(String::as_str),
            Some(expected),
            "{key}"
        );
    };
    check("format", "pt");
    check("license", "CC-BY-SA-4.0");
    check("modelspec.sai_model_spec", "1.0.1");
    check("modelspec.architecture", "stablelm");
    check("modelspec.implementation", "transformers");
    check("modelspec.title", "StableLM-3B-4E1T");
    check("modelspec.data_format", "bf16");
    check("modelspec.author", "Stability AI");
    check("modelspec.license", "CC-BY-SA-4.0");
    check("stablelm.source", "stabilityai/stablelm-3b-4e1t");
    check(
        "stablelm.license_url",
        "https://creativecommons.org/licenses/by-sa/4.0/",
    );
    assert!(metadata["stablelm.attribution"].contains("Stability AI"));
    assert_eq!(metadata["stablelm.notice_sha256"].len(), 64);
    assert!(!metadata.contains_key("modelspec.hash_sha256"));
}

#[test]
fn a_known_model_is_read_back_whole_and_its_record_goes_on() {
    let ledger = converted();
    let metadata = safetensors_metadata(&ledger, &facts());
    let mut read = ledger_from_safetensors_metadata(&metadata).expect("we wrote it");
    assert_eq!(read, ledger);
    read.record(change(ChangeKind::Dtype, "bf16 to f32"));
    assert_eq!(read.verify_chain(), Ok(()));
    assert_eq!(read.changes[..2], ledger.changes[..]);
}

#[test]
fn an_unknown_model_keeps_its_credit_and_its_terms() {
    let mut ledger = Ledger::for_unknown("My model");
    "MIT".clone_into(&mut ledger.components[0].license);
    "My model by me.".clone_into(&mut ledger.components[0].attribution);
    ledger.components[0].creators = vec!["me".to_owned()];
    ledger.components[0].copyright = vec!["(c) me".to_owned(), "(c) you".to_owned()];
    ledger.record(change(ChangeKind::Format, "x"));
    let read = ledger_from_safetensors_metadata(&safetensors_metadata(&ledger, &facts()));
    let read = read.expect("we wrote it");
    let subject = read.subject().expect("it has a subject");
    assert_eq!(subject.license, "MIT");
    assert_eq!(subject.creators, ["me"]);
    assert_eq!(subject.copyright, ["(c) me", "(c) you"]);
    assert_eq!(subject.attribution, "My model by me.");
    assert_eq!(read.changes, ledger.changes);
}

#[test]
fn a_header_cannot_give_a_known_model_another_license() {
    let mut metadata = safetensors_metadata(&converted(), &facts());
    metadata.insert("license".to_owned(), "MIT".to_owned());
    let read = ledger_from_safetensors_metadata(&metadata).expect("we wrote most of it");
    let subject = read.subject().expect("it has a subject");
    assert_eq!(subject.license, "CC-BY-SA-4.0");
    assert!(subject.claims.iter().any(|claim| claim.value == "MIT"));
}

#[test]
fn a_record_edited_in_the_header_does_not_pass() {
    let mut metadata = safetensors_metadata(&converted(), &facts());
    let edited = metadata["stablelm.changes"].replace("GPT-NeoX", "no");
    metadata.insert("stablelm.changes".to_owned(), edited);
    let read = ledger_from_safetensors_metadata(&metadata).expect("we wrote most of it");
    assert!(read.verify_chain().is_err());
}

#[test]
fn an_unreadable_record_is_kept_and_does_not_pass() {
    let mut metadata = safetensors_metadata(&converted(), &facts());
    metadata.insert("stablelm.changes".to_owned(), "[{\"when\": 7".to_owned());
    let read = ledger_from_safetensors_metadata(&metadata).expect("we wrote most of it");
    assert!(read.changes[0].detail.ends_with("[{\"when\": 7"));
    assert!(read.verify_chain().is_err());
}

#[test]
fn the_file_of_another_tool_says_nothing_to_us() {
    let check = |metadata: &[(&str, &str)]| {
        let metadata: BTreeMap<_, _> = metadata
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        assert_eq!(ledger_from_safetensors_metadata(&metadata), None);
    };
    check(&[]);
    check(&[("format", "pt"), ("license", "MIT")]);
}

#[test]
fn every_model_of_the_registry_survives_its_header() {
    let registry = Registry::builtin();
    for model in registry.components() {
        let ledger = Ledger::for_model(model);
        let read = ledger_from_safetensors_metadata(&safetensors_metadata(&ledger, &facts()));
        assert_eq!(read, Some(ledger));
    }
}
