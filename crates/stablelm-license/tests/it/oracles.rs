//! Comparison with documents and a schema that come from outside this repository.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use stablelm_license::{
    CycloneDxVersion, Ledger, Registry, bom_cyclonedx, bom_spdx3, croissant, hub_license_id,
    ledger_from_card, license_text, model_card,
};

use crate::samples::{context, converted, dataset, facts, mixture};

#[expect(clippy::print_stderr, reason = "a skipped test has to say so")]
pub(crate) fn folder() -> Option<PathBuf> {
    let folder = stablelm_testkit::shared_oracles().map(|oracles| oracles.join("license"));
    if folder.is_none() {
        eprintln!("skipped: the folder of golden values is not beside the repository");
    }
    folder
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|cause| panic!("{}: {cause}", path.display()))
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&read(path)).expect("it is JSON")
}

/// The top-level keys of a card's front matter and the values after them, as our cards write them.
fn front_matter(card: &str) -> Vec<(String, Vec<String>)> {
    let header = card
        .strip_prefix("---\n")
        .and_then(|rest| rest.split_once("\n---\n"));
    let mut entries: Vec<(String, Vec<String>)> = Vec::new();
    for line in header.expect("a card starts with front matter").0.lines() {
        if let Some(item) = line.strip_prefix("- ") {
            entries
                .last_mut()
                .expect("a list has a key")
                .1
                .push(unquoted(item));
        } else {
            let (key, value) = line.split_once(':').expect("a key");
            let value = value.trim();
            entries.push((
                key.to_owned(),
                if value.is_empty() {
                    vec![]
                } else {
                    vec![unquoted(value)]
                },
            ));
        }
    }
    entries
}

fn unquoted(text: &str) -> String {
    text.trim_matches('"').to_owned()
}

#[test]
fn front_matter_keeps_to_the_schema_of_the_hub() {
    let Some(folder) = folder() else { return };
    let schema = json(&folder.join("hf/modelcard-frontmatter.schema.json"));
    let licenses = schema["properties"]["license"]["oneOf"][0]["enum"].clone();
    let licenses: Vec<&str> = licenses
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(Value::as_str)
        .collect::<Vec<_>>();
    let registry = Registry::builtin();
    let ledgers = registry.components().map(Ledger::for_model).chain([
        converted(),
        mixture(),
        Ledger::for_unknown("No: \"license\" [known]"),
    ]);
    for ledger in ledgers {
        let entries = front_matter(&model_card(&ledger, &facts()));
        for key in schema["required"].as_array().expect("a list") {
            assert!(
                entries
                    .iter()
                    .any(|(name, _)| name == key.as_str().expect("a key")),
                "{key}"
            );
        }
        for (key, values) in &entries {
            assert!(
                schema["properties"].get(key).is_some(),
                "{key} is unknown to the schema"
            );
            assert!(!values.is_empty(), "{key} has no value");
            if key == "license" {
                assert!(licenses.contains(&values[0].as_str()), "{values:?}");
            }
        }
        let has = |key: &str| entries.iter().any(|(name, _)| name == key);
        let is_other = entries[0].1[0] == "other";
        assert_eq!(has("license_name"), is_other);
        assert_eq!(has("license_link"), is_other);
    }
}

#[test]
fn every_hub_id_we_write_is_one_of_the_hub() {
    let Some(folder) = folder() else { return };
    let ids = json(&folder.join("hf/hf-license-ids.json"));
    let ids: Vec<_> = ids
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    for component in Registry::builtin().components() {
        if let Some(id) = hub_license_id(&component.license) {
            assert!(ids.contains(&id), "{id}");
        }
    }
}

#[test]
fn license_texts_are_those_of_the_sample_release() {
    let Some(folder) = folder() else { return };
    for id in ["Apache-2.0", "CC-BY-SA-4.0", "CC0-1.0"] {
        let expected = read(&folder.join(format!("reuse/release/LICENSES/{id}.txt")));
        assert!(license_text(id) == Some(&expected), "{id} differs");
    }
}

#[test]
fn croissant_has_the_context_and_the_shapes_of_the_sample() {
    let Some(folder) = folder() else { return };
    let sample = json(&folder.join("croissant/basic.croissant1.1.json"));
    let ours = croissant(&mixture(), &dataset());
    for key in ["@context", "@type", "conformsTo"] {
        assert_eq!(ours[key], sample[key], "{key}");
    }
    assert_eq!(
        ours["@context"],
        json(&folder.join("croissant/context-1.1.json"))
    );
    for key in sample
        .as_object()
        .expect("an object")
        .keys()
        .filter(|key| *key != "recordSet")
    {
        assert!(ours.get(key).is_some(), "{key}");
    }
    let file = &sample["distribution"][0];
    for key in file.as_object().expect("an object").keys() {
        assert!(
            ours["distribution"][0].get(key).is_some(),
            "distribution: {key}"
        );
    }
}

#[test]
fn the_sample_card_is_a_copy_of_the_published_model() {
    let Some(folder) = folder() else { return };
    let ledger = ledger_from_card(&read(&folder.join("hf/README.md")), &Registry::builtin());
    assert_eq!(
        ledger.expect("it has front matter").subject.as_deref(),
        Some("stablelm-3b-4e1t")
    );
}

/// Every key that a sample's object has, ours has too.
fn has_keys_of(ours: &Value, sample: &Value, what: &str) {
    for key in sample.as_object().expect("an object").keys() {
        assert!(ours.get(key).is_some(), "{what}: {key}");
    }
}

#[test]
fn spdx_elements_have_the_fields_of_the_sample() {
    let Some(folder) = folder() else { return };
    let sample = json(&folder.join("spdx3/stablelm-3b-4e1t.spdx3.json"));
    let text = bom_spdx3(&converted(), &context());
    let ours: Value = serde_json::from_str(&text).expect("it is JSON");
    assert_eq!(ours["@context"], sample["@context"]);
    let ours = ours["@graph"].as_array().expect("a list");
    for element in sample["@graph"].as_array().expect("a list") {
        let kind = match element["type"].as_str().expect("a type") {
            // The sample claims to know that each maker is an organization.
            "Organization" => "Agent",
            kind => kind,
        };
        // The sample says of each data set how to get it; ours only where a gate is known.
        let same = |key: &str| {
            ours.iter()
                .any(|one| one["type"] == kind && one.get(key).is_some())
        };
        for key in element.as_object().expect("an object").keys() {
            assert!(same(key), "{kind}: {key}");
        }
    }
    let kinds = |graph: &[Value]| -> std::collections::BTreeSet<String> {
        let relations = graph
            .iter()
            .filter_map(|one| one["relationshipType"].as_str());
        relations.map(str::to_owned).collect()
    };
    let theirs = kinds(sample["@graph"].as_array().expect("a list"));
    assert!(kinds(ours).is_superset(&theirs), "{theirs:?}");
}

#[test]
fn cyclonedx_components_have_the_fields_of_the_sample() {
    let Some(folder) = folder() else { return };
    for (name, version) in [
        ("1.6", CycloneDxVersion::V1_6),
        ("1.7", CycloneDxVersion::V1_7),
    ] {
        let sample = json(&folder.join(format!("cyclonedx/stablelm-3b-4e1t.cdx{name}.json")));
        let read = |ledger: &Ledger| -> Value {
            serde_json::from_str(&bom_cyclonedx(ledger, version, &context())).expect("JSON")
        };
        let mut ours = read(&converted());
        has_keys_of(&ours, &sample, name);
        // The sample gives a changed copy the address of what it is a copy of; ours has it in the pedigree.
        let ancestor = ours["metadata"]["component"]["pedigree"]["ancestors"][0].take();
        let theirs = &sample["metadata"]["component"];
        assert_eq!(ancestor["purl"], theirs["purl"]);
        assert_eq!(ancestor["group"], theirs["group"]);
        let model = &mut ours["metadata"]["component"];
        model["purl"] = theirs["purl"].clone();
        has_keys_of(model, theirs, "the model");
        let parameters = ["modelCard", "modelParameters"];
        let inner = |value: &Value| value[parameters[0]][parameters[1]].clone();
        has_keys_of(&inner(model), &inner(theirs), "the model's parameters");
        assert_eq!(
            model["licenses"][0]["license"]["id"],
            theirs["licenses"][0]["license"]["id"]
        );
        let part = ours["components"]
            .as_array()
            .expect("a list")
            .iter()
            .find(|part| part["name"] == "peS2o")
            .expect("it is trained on it");
        let theirs = &sample["components"][4];
        has_keys_of(part, theirs, "a dataset");
        has_keys_of(
            &part["data"][0],
            &theirs["data"][0],
            "the data of a dataset",
        );
        assert_eq!(part["licenses"][0]["license"]["id"], "ODC-By-1.0");
    }
}
