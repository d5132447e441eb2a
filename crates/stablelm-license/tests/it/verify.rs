//! What official validators let through, one mutation at a time, and folders that do not agree.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;
use serde_json::{Value, json};
use stablelm_license::verify::{Verification, VerifyOptions, verify, verify_document};
use stablelm_license::{
    ChangeKind, Ledger, Release, ReleaseFile, Severity, cite_cff, license_text, model_card, notice,
    safetensors_metadata,
};

use crate::samples::{change, converted, facts, sha256};

/// A model, a data set it was trained on, their makers and licenses, as the profiles ask for them.
fn spdx3() -> Value {
    let id = |name: &str| format!("https://example.org/spdx#{name}");
    let relation = |name: &str, kind: &str, from: &str, to: &str| {
        json!({"type": "Relationship", "spdxId": id(name), "creationInfo": "_:ci",
               "relationshipType": kind, "from": id(from), "to": [id(to)]})
    };
    let license = |name: &str, expression: &str| {
        json!({"type": "simplelicensing_LicenseExpression", "spdxId": id(name), "creationInfo": "_:ci",
               "simplelicensing_licenseExpression": expression,
               "simplelicensing_licenseListVersion": "3.29.0"})
    };
    json!({"@context": "https://spdx.org/rdf/3.0.1/spdx-context.jsonld", "@graph": [
        {"type": "CreationInfo", "@id": "_:ci", "specVersion": "3.0.1",
         "created": "2026-11-23T00:00:00Z", "createdBy": [id("maker")]},
        {"type": "Organization", "spdxId": id("maker"), "name": "Stability AI", "creationInfo": "_:ci"},
        {"type": "ai_AIPackage", "spdxId": id("model"), "name": "StableLM-3B-4E1T",
         "creationInfo": "_:ci", "suppliedBy": id("maker"), "releaseTime": "2023-09-29T00:00:00Z",
         "software_packageVersion": "1", "software_primaryPurpose": "model",
         "software_downloadLocation": "https://huggingface.co/stabilityai/stablelm-3b-4e1t",
         "software_attributionText": ["CC BY-SA 4.0 (https://creativecommons.org/licenses/by-sa/4.0/)."]},
        {"type": "dataset_DatasetPackage", "spdxId": id("data"), "name": "Falcon RefinedWeb",
         "creationInfo": "_:ci", "originatedBy": [id("maker")], "builtTime": "2023-08-23T00:00:00Z",
         "releaseTime": "2023-08-23T00:00:00Z", "dataset_datasetType": ["text"],
         "software_primaryPurpose": "data",
         "software_downloadLocation": "https://huggingface.co/datasets/tiiuae/falcon-refinedweb"},
        license("by-sa", "CC-BY-SA-4.0"), license("odc", "ODC-By-1.0"), license("cc0", "CC0-1.0"),
        relation("r1", "hasDeclaredLicense", "model", "by-sa"),
        relation("r2", "hasConcludedLicense", "model", "by-sa"),
        relation("r3", "hasDeclaredLicense", "data", "odc"),
        relation("r4", "hasConcludedLicense", "data", "odc"),
        relation("r5", "trainedOn", "model", "data"),
        {"type": "software_Sbom", "spdxId": id("sbom"), "creationInfo": "_:ci",
         "rootElement": [id("model")], "software_sbomType": ["analyzed"]},
        {"type": "SpdxDocument", "spdxId": id("doc"), "creationInfo": "_:ci",
         "rootElement": [id("sbom")], "dataLicense": id("cc0")},
    ]})
}

fn cyclonedx() -> Value {
    json!({"bomFormat": "CycloneDX", "specVersion": "1.7", "version": 1,
        "metadata": {"component": {
            "type": "machine-learning-model", "bom-ref": "model", "name": "StableLM-3B-4E1T",
            "supplier": {"name": "Stability AI"},
            "licenses": [{"license": {"id": "CC-BY-SA-4.0", "acknowledgement": "declared",
                "url": "https://creativecommons.org/licenses/by-sa/4.0/"}}],
            "externalReferences": [{"type": "license",
                "url": "https://creativecommons.org/licenses/by-sa/4.0/legalcode"}],
            "modelCard": {"modelParameters": {"datasets": [{"ref": "data"}]}}}},
        "components": [{"type": "data", "bom-ref": "data", "name": "Falcon RefinedWeb",
            "licenses": [{"expression": "ODC-By-1.0"}]}],
        "dependencies": [{"ref": "model", "dependsOn": ["data"]}]})
}

fn croissant() -> Value {
    json!({"@context": {"@vocab": "https://schema.org/"}, "@type": "sc:Dataset",
        "conformsTo": ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0"],
        "name": "demo", "description": "d", "license": ["https://spdx.org/licenses/ODC-By-1.0.html"],
        "url": "https://example.org/demo", "creator": {"@type": "sc:Organization", "name": "n"},
        "datePublished": "2026-11-23", "rai:dataCollection": "c",
        "distribution": [{"@type": "cr:FileObject", "@id": "a", "name": "a", "contentUrl": "a.jsonl",
            "encodingFormat": "application/jsonlines", "sha256": "ab".repeat(32)}]})
}

/// Returns the rules that a document breaks, errors only.
fn broken(name: &str, document: &Value) -> Vec<String> {
    let found = verify_document(name, &document.to_string());
    assert_eq!(found.unreadable, [], "{name}");
    let mut rules: Vec<String> = found
        .findings
        .into_iter()
        .filter(|finding| finding.severity == Severity::Error)
        .map(|finding| finding.rule)
        .collect();
    rules.dedup();
    rules
}

/// Removes a property from every element that has it.
fn drop_everywhere(document: &mut Value, property: &str) {
    match document {
        Value::Object(fields) => {
            fields.remove(property);
            fields
                .values_mut()
                .for_each(|inner| drop_everywhere(inner, property));
        }
        Value::Array(items) => items
            .iter_mut()
            .for_each(|inner| drop_everywhere(inner, property)),
        _ => {}
    }
}

fn drop_relations(document: &mut Value, kind: &str) {
    let graph = document["@graph"].as_array_mut().unwrap();
    let before = graph.len();
    graph.retain(|element| element["relationshipType"] != kind);
    assert!(graph.len() < before, "{kind} is there to be dropped");
}

#[test]
fn whole_documents_pass() {
    assert_eq!(broken("x.spdx3.json", &spdx3()), [""; 0]);
    assert_eq!(broken("x.cdx1.7.json", &cyclonedx()), [""; 0]);
    assert_eq!(broken("croissant.json", &croissant()), [""; 0]);
}

/// Changes a document.
type Mutation = Box<dyn Fn(&mut Value)>;

/// Mutations of an SPDX document that schema and SHACL rules accept, and what we say.
fn spdx_mutations() -> Vec<(&'static str, Mutation)> {
    let dropped = |property: &'static str| -> Mutation {
        Box::new(move |document| drop_everywhere(document, property))
    };
    let unrelated = |kind: &'static str| -> Mutation {
        Box::new(move |document| drop_relations(document, kind))
    };
    let replaced = |from: &'static str, to: &'static str| -> Mutation {
        Box::new(move |document| {
            let text = document.to_string();
            assert!(text.contains(from), "{from}");
            *document = serde_json::from_str(&text.replace(from, to)).unwrap();
        })
    };
    vec![
        ("SPDX3-DECLARED-LICENSE", unrelated("hasDeclaredLicense")),
        ("SPDX3-CONCLUDED-LICENSE", unrelated("hasConcludedLicense")),
        ("SPDX3-TRAINED-ON", unrelated("trainedOn")),
        ("SPDX3-SUPPLIED-BY", dropped("suppliedBy")),
        ("SPDX3-RELEASE-TIME", dropped("releaseTime")),
        ("SPDX3-PACKAGE-VERSION", dropped("software_packageVersion")),
        (
            "SPDX3-DOWNLOAD-LOCATION",
            dropped("software_downloadLocation"),
        ),
        ("SPDX3-PRIMARY-PURPOSE", dropped("software_primaryPurpose")),
        ("SPDX3-BUILT-TIME", dropped("builtTime")),
        ("SPDX3-ORIGINATED-BY", dropped("originatedBy")),
        ("SPDX3-ROOT-ELEMENT", dropped("rootElement")),
        ("SPDX3-DATASET-TYPE", dropped("dataset_datasetType")),
        (
            "SPDX3-LICENSE-EXPRESSION",
            replaced("ODC-By-1.0", "NOT ((( A"),
        ),
        (
            "SPDX3-LICENSE-EXPRESSION",
            replaced("\"CC-BY-SA-4.0\"", "\"cc-by-sa-4.0\""),
        ),
        (
            "SPDX3-LICENSE-URL",
            replaced("licenses/by-sa/4.0", "licenses/by/4.0"),
        ),
        ("SPDX3-LIST-VERSION", replaced("3.29.0", "3.29")),
        (
            "SPDX3-CREATED",
            replaced("2026-11-23T00:00:00Z", "2026-11-23T00:00:00.5Z"),
        ),
        (
            "SPDX3-REFERENCE",
            replaced(
                "\"to\":[\"https://example.org/spdx#odc\"]",
                "\"to\":[\"urn:x\"]",
            ),
        ),
    ]
}

#[test]
fn each_spdx_mutation_that_validators_accept_is_named() {
    for (rule, mutate) in spdx_mutations() {
        let mut document = spdx3();
        mutate(&mut document);
        let found = broken("x.spdx3.json", &document);
        assert!(found.contains(&rule.to_owned()), "{rule}: {found:?}");
    }
}

#[test]
fn each_cyclonedx_mutation_that_validators_accept_is_named() {
    type Plain = fn(&mut Value);
    let mutations: [(&str, Plain); 9] = [
        ("CDX-LICENSE-EXPRESSION", |it| {
            it["components"][0]["licenses"][0]["expression"] = json!("NOT ((( A");
        }),
        ("CDX-LICENSES-EMPTY", |it| {
            it["components"][0]["licenses"] = json!([]);
        }),
        ("CDX-LICENSES-EMPTY", |it| {
            it["metadata"]["component"]["licenses"] = json!([]);
        }),
        ("CDX-LICENSE-MISSING", |it| {
            it["metadata"]["component"]
                .as_object_mut()
                .unwrap()
                .remove("licenses");
        }),
        ("CDX-LICENSE-URL", |it| {
            it["metadata"]["component"]["licenses"][0]["license"]["url"] =
                json!("https://creativecommons.org/licenses/by/4.0/");
        }),
        ("CDX-LICENSE-URL", |it| {
            it["metadata"]["component"]["externalReferences"][0]["url"] =
                json!("https://creativecommons.org/licenses/by/4.0/legalcode");
        }),
        ("CDX-LICENSE-ID", |it| {
            it["metadata"]["component"]["licenses"][0]["license"]["id"] = json!("cc-by-sa-4.0");
        }),
        ("CDX-REFERENCE", |it| {
            it["dependencies"][0]["dependsOn"] = json!(["gone"]);
        }),
        ("CDX-LICENSES-MIXED", |it| {
            it["specVersion"] = json!("1.6");
            it["components"][0]["licenses"] =
                json!([{"expression": "MIT"}, {"license": {"id": "MIT"}}]);
        }),
    ];
    for (rule, mutate) in mutations {
        let mut document = cyclonedx();
        mutate(&mut document);
        let found = broken("bom.cdx.json", &document);
        assert!(found.contains(&rule.to_owned()), "{rule}: {found:?}");
    }
}

#[test]
fn each_croissant_mutation_that_validators_accept_is_named() {
    let remove = |property: &str| {
        let mut document = croissant();
        document.as_object_mut().unwrap().remove(property).unwrap();
        document
    };
    let set = |property: &str, value: Value| {
        let mut document = croissant();
        document[property] = value;
        document
    };
    let cases = [
        ("CROISSANT-LICENSE-MISSING", remove("license")),
        ("CROISSANT-NAME", remove("name")),
        ("CROISSANT-CREATOR", remove("creator")),
        ("CROISSANT-DESCRIPTION", remove("description")),
        ("CROISSANT-URL", remove("url")),
        ("CROISSANT-DATE", remove("datePublished")),
        (
            "CROISSANT-LICENSE",
            set("license", json!("total garbage licence")),
        ),
        ("CROISSANT-RAI", set("rai:dataColection", json!("c"))),
        ("CROISSANT-RAI", set("rai:useCases", json!("c"))),
        ("CROISSANT-DATE", set("datePublished", json!("yesterday"))),
        ("CROISSANT-FORM", set("conformsTo", json!("something"))),
        (
            "CROISSANT-FILE",
            set(
                "distribution",
                json!([{"@type": "cr:FileObject", "name": "a"}]),
            ),
        ),
    ];
    for (rule, document) in cases {
        let found = broken("croissant.json", &document);
        assert!(found.contains(&rule.to_owned()), "{rule}: {found:?}");
    }
    let found = verify_document(
        "croissant.json",
        &set("rai:dataColection", json!("c")).to_string(),
    );
    let step = found.findings[0].next_step.as_deref();
    assert_eq!(step, Some("was `rai:dataCollection` meant?"));
}

#[expect(clippy::print_stderr, reason = "a skipped test has to say so")]
fn oracles() -> Option<PathBuf> {
    let folder = stablelm_testkit::shared_oracles().map(|oracles| oracles.join("license"));
    if folder.is_none() {
        eprintln!("skipped: the folder of golden values is not beside the repository");
    }
    folder
}

#[test]
fn documents_from_outside_pass_and_their_mutations_do_not() {
    let Some(folder) = oracles() else { return };
    let read = |name: &str| -> Value {
        serde_json::from_str(&fs::read_to_string(folder.join(name)).unwrap()).unwrap()
    };
    let whole = read("spdx3/stablelm-3b-4e1t.spdx3.json");
    assert_eq!(broken("x.spdx3.json", &whole), [""; 0]);
    for (rule, property) in [
        ("SPDX3-SUPPLIED-BY", "suppliedBy"),
        ("SPDX3-RELEASE-TIME", "releaseTime"),
        ("SPDX3-PACKAGE-VERSION", "software_packageVersion"),
        ("SPDX3-DOWNLOAD-LOCATION", "software_downloadLocation"),
        ("SPDX3-PRIMARY-PURPOSE", "software_primaryPurpose"),
        ("SPDX3-BUILT-TIME", "builtTime"),
        ("SPDX3-ORIGINATED-BY", "originatedBy"),
        ("SPDX3-ROOT-ELEMENT", "rootElement"),
    ] {
        let mut document = whole.clone();
        drop_everywhere(&mut document, property);
        let found = broken("x.spdx3.json", &document);
        assert!(found.contains(&rule.to_owned()), "{rule}: {found:?}");
    }
    for (rule, kind) in [
        ("SPDX3-DECLARED-LICENSE", "hasDeclaredLicense"),
        ("SPDX3-CONCLUDED-LICENSE", "hasConcludedLicense"),
        ("SPDX3-TRAINED-ON", "trainedOn"),
    ] {
        let mut document = whole.clone();
        drop_relations(&mut document, kind);
        let found = broken("x.spdx3.json", &document);
        assert!(found.contains(&rule.to_owned()), "{rule}: {found:?}");
    }
    for version in ["1.6", "1.7"] {
        let name = format!("cyclonedx/stablelm-3b-4e1t.cdx{version}.json");
        assert_eq!(broken("x.cdx.json", &read(&name)), [""; 0], "{name}");
    }
    let whole = read("croissant/full.croissant1.1.json");
    assert_eq!(broken("croissant.json", &whole), [""; 0]);
}

/// A folder as `convert` writes it, with weights of a few bytes.
struct Folder {
    texts: BTreeMap<String, String>,
    weights: Vec<u8>,
    metadata: BTreeMap<String, String>,
    ledger: Ledger,
}

impl Folder {
    fn new() -> Folder {
        let ledger = converted();
        let texts = [
            ("README.md", model_card(&ledger, &facts())),
            ("NOTICE", notice(&ledger)),
            ("CHANGES.json", ledger.changes_json()),
            ("CITATION.cff", cite_cff(&ledger)),
            ("ledger.json", ledger.to_json()),
            ("LICENSE", license_text("CC-BY-SA-4.0").unwrap().to_owned()),
            ("config.json", "{}".to_owned()),
            ("tokenizer.json", "{}".to_owned()),
        ];
        Folder {
            texts: texts.map(|(name, text)| (name.to_owned(), text)).into(),
            weights: b"weights".to_vec(),
            metadata: safetensors_metadata(&ledger, &facts()),
            ledger,
        }
    }

    fn edit(&mut self, name: &str, from: &str, to: &str) {
        let text = self.texts.get_mut(name).unwrap();
        assert!(text.contains(from), "{name} holds {from}");
        *text = text.replace(from, to);
    }

    fn verify(&self, options: &VerifyOptions<'_>) -> Verification {
        let mut release = Release {
            texts: self.texts.clone(),
            ..Release::default()
        };
        for (name, text) in &self.texts {
            let file = ReleaseFile {
                size: text.len() as u64,
                sha256: sha256(text.as_bytes()),
            };
            release.files.insert(name.clone(), file);
        }
        let file = ReleaseFile {
            size: self.weights.len() as u64,
            sha256: sha256(&self.weights),
        };
        release.files.insert("model.safetensors".to_owned(), file);
        release
            .metadata
            .insert("model.safetensors".to_owned(), self.metadata.clone());
        release.ledger = self
            .texts
            .get("ledger.json")
            .and_then(|text| Ledger::from_json(text.as_bytes()).ok());
        verify(&release, options)
    }

    /// Returns the rules broken and the file each is about.
    fn errors(&self) -> Vec<(String, String)> {
        errors(&self.verify(&VerifyOptions::default()))
    }
}

fn errors(verification: &Verification) -> Vec<(String, String)> {
    verification
        .findings
        .iter()
        .filter(|finding| finding.severity == Severity::Error)
        .map(|finding| {
            (
                finding.rule.clone(),
                finding.file.clone().unwrap_or_default(),
            )
        })
        .collect()
}

#[track_caller]
fn names(found: &[(String, String)], rule: &str, file: &str) {
    let wanted = (rule.to_owned(), file.to_owned());
    assert!(found.contains(&wanted), "{rule} {file}: {found:?}");
}

#[test]
fn an_untouched_folder_passes() {
    let found = Folder::new().verify(&VerifyOptions::default());
    assert!(found.passed, "{:?} {:?}", found.findings, found.unreadable);
    assert_eq!(found.files.len(), 9);
    assert!(found.documents.contains(&"NOTICE".to_owned()));
}

/// One edit of one file: the file, what is replaced by what, and which rule names which file.
type Edit = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
);

const EDITS: [Edit; 12] = [
    (
        "CHANGES.json",
        "to safetensors",
        "to gold",
        "CHANGES-CHAIN",
        "CHANGES.json",
    ),
    (
        "CHANGES.json",
        "to safetensors",
        "to gold",
        "CHANGES-DIFFER",
        "CHANGES.json",
    ),
    (
        "ledger.json",
        "to safetensors",
        "to gold",
        "CHANGES-CHAIN",
        "ledger.json",
    ),
    (
        "ledger.json",
        "to safetensors",
        "to gold",
        "META-CHANGES",
        "model.safetensors",
    ),
    (
        "NOTICE",
        "to safetensors",
        "to gold",
        "NOTICE-CHANGE",
        "NOTICE",
    ),
    (
        "NOTICE",
        "Stability AI",
        "Nobody",
        "NOTICE-CREATOR",
        "NOTICE",
    ),
    (
        "NOTICE",
        "Warranties",
        "Warranty",
        "NOTICE-CHANGED",
        "NOTICE",
    ),
    (
        "README.md",
        "license: cc-by-sa-4.0",
        "license: mit",
        "CARD-LEDGER-LICENSE",
        "README.md",
    ),
    (
        "README.md",
        "licenses/by-sa/4.0",
        "licenses/by/4.0",
        "CARD-CC-LINK",
        "README.md",
    ),
    (
        "README.md",
        "Stability AI",
        "Nobody",
        "CARD-CREATOR",
        "README.md",
    ),
    (
        "CITATION.cff",
        "license: CC-BY-SA-4.0",
        "license: MIT",
        "CFF-LEDGER-LICENSE",
        "CITATION.cff",
    ),
    (
        "LICENSE",
        "irrevocable license to",
        "license to",
        "LICENSE-MODIFIED",
        "LICENSE",
    ),
];

#[test]
fn each_disagreement_is_named_with_its_file() {
    for (name, from, to, rule, file) in EDITS {
        let mut folder = Folder::new();
        folder.edit(name, from, to);
        names(&folder.errors(), rule, file);
    }
}

#[test]
fn a_header_that_says_something_else_is_named() {
    let check = |key: &str, value: &str, rule: &str| {
        let mut folder = Folder::new();
        folder.metadata.insert(key.to_owned(), value.to_owned());
        names(&folder.errors(), rule, "model.safetensors");
    };
    check("license", "MIT", "META-LICENSE");
    let link = "https://creativecommons.org/licenses/by/4.0/";
    check("stablelm.license_url", link, "META-LICENSE-URL");
    check("stablelm.attribution", "by nobody", "META-CREATOR");
    check("stablelm.changes", "[]x", "CHANGES-CHAIN");
}

#[test]
fn files_that_are_gone_or_too_many_are_named() {
    for name in [
        "NOTICE",
        "LICENSE",
        "README.md",
        "CHANGES.json",
        "ledger.json",
    ] {
        let mut folder = Folder::new();
        folder.texts.remove(name);
        names(&folder.errors(), "PAPER-MISSING", name);
    }
    let mut folder = Folder::new();
    folder.texts.insert("extra.txt".to_owned(), String::new());
    names(&folder.errors(), "FILE-UNACCOUNTED", "extra.txt");
    let mut folder = Folder::new();
    let apache = license_text("Apache-2.0").unwrap().to_owned();
    folder.texts.insert("LICENSE".to_owned(), apache);
    names(&folder.errors(), "LICENSE-OTHER", "LICENSE");
}

#[test]
fn another_license_of_the_tokenizer_is_named() {
    let mut folder = Folder::new();
    let mut ledger = folder.ledger.clone();
    let tokenizer = ledger
        .components
        .iter_mut()
        .find(|it| it.id == "gpt-neox-20b-tokenizer");
    "MIT".clone_into(&mut tokenizer.unwrap().license);
    folder
        .texts
        .insert("ledger.json".to_owned(), ledger.to_json());
    let found = folder.errors();
    names(&found, "TOKENIZER-LICENSE", "ledger.json");
    names(&found, "TOKENIZER-LICENSE", "NOTICE");
}

#[test]
fn what_a_bill_of_materials_lists_is_compared() {
    let mut folder = Folder::new();
    let bill = |weights: &str, other: &str| {
        json!({"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [
            {"type": "file", "name": "model.safetensors", "hashes": [{"alg": "SHA-256", "content": weights}]},
            {"type": "file", "name": other, "hashes": [{"alg": "SHA-256", "content": "ab".repeat(32)}]},
        ]})
        .to_string()
    };
    let other = "cd".repeat(32);
    folder
        .texts
        .insert("bom.cdx.json".to_owned(), bill(&other, "gone.bin"));
    let found = folder.errors();
    names(&found, "FILE-MISSING", "gone.bin");
    names(&found, "FILE-CHANGED", "model.safetensors");
}

#[test]
fn documents_that_do_not_read_are_named() {
    for (name, text) in [
        ("ledger.json", "{"),
        ("CHANGES.json", "{}"),
        ("README.md", "---\na: [\n---\n"),
        ("CITATION.cff", "a: ["),
        ("config.json", "x"),
        ("bom.cdx.json", "{}"),
        ("x.spdx3.json", "{}"),
        ("croissant.json", "[]"),
        ("REUSE.toml", "path = ["),
    ] {
        let mut folder = Folder::new();
        folder.texts.insert(name.to_owned(), text.to_owned());
        let found = folder.verify(&VerifyOptions::default());
        assert!(!found.passed);
        let files: Vec<_> = found.unreadable.iter().map(|it| it.file.as_str()).collect();
        assert_eq!(files, [name]);
    }
}

#[test]
fn the_record_of_the_parent_has_to_come_first() {
    let folder = Folder::new();
    let mut parent = folder.ledger.clone();
    parent.changes.truncate(1);
    let with = |parent: &Ledger| {
        errors(&folder.verify(&VerifyOptions {
            parent: Some(parent),
            ..VerifyOptions::default()
        }))
    };
    assert_eq!(with(&parent), []);
    parent.record(change(ChangeKind::Filter, "something else"));
    names(&with(&parent), "PARENT-CHANGES", "ledger.json");
    let mut other = folder.ledger.clone();
    other.components[0]
        .creators
        .push("Somebody Else".to_owned());
    other.components[0]
        .copyright
        .push("(c) Somebody".to_owned());
    names(&with(&other), "PARENT-CREATOR", "ledger.json");
    names(&with(&other), "PARENT-COPYRIGHT", "ledger.json");
}

#[test]
fn reuse_covers_every_file() {
    let toml = |weights: &str, tokenizer: &str| {
        format!(
            "version = 1\n[[annotations]]\npath = [\"model.safetensors\", \"config.json\"]\n\
             SPDX-FileCopyrightText = \"2023 Stability AI\"\nSPDX-License-Identifier = \"{weights}\"\n\
             [[annotations]]\npath = \"tokenizer.json\"\nSPDX-FileCopyrightText = \"EleutherAI\"\n\
             SPDX-License-Identifier = \"{tokenizer}\"\n\
             [[annotations]]\npath = [\"*.md\", \"NOTICE\", \"*.cff\", \"CHANGES.json\", \"ledger.json\"]\n\
             SPDX-FileCopyrightText = \"NONE\"\nSPDX-License-Identifier = \"CC0-1.0\"\n"
        )
    };
    let folder = |toml: String| {
        let mut folder = Folder::new();
        for id in ["CC-BY-SA-4.0", "Apache-2.0", "CC0-1.0"] {
            let text = license_text(id).unwrap().to_owned();
            folder.texts.insert(format!("LICENSES/{id}.txt"), text);
        }
        folder.texts.insert("REUSE.toml".to_owned(), toml);
        folder
    };
    let right = toml("CC-BY-SA-4.0", "Apache-2.0");
    assert_eq!(folder(right.clone()).errors(), []);
    let found = folder(toml("CC-BY-SA-4.0", "CC0-1.0")).errors();
    names(&found, "TOKENIZER-LICENSE", "tokenizer.json");
    names(&found, "REUSE-TEXT-UNUSED", "LICENSES/Apache-2.0.txt");
    let found = folder(toml("CC-BY-4.0", "Apache-2.0")).errors();
    names(&found, "REUSE-LEDGER-LICENSE", "model.safetensors");
    names(&found, "REUSE-TEXT-MISSING", "LICENSES/CC-BY-4.0.txt");
    let found = folder(right.replace("\"NOTICE\", ", "")).errors();
    names(&found, "REUSE-UNCOVERED", "NOTICE");
    let found = folder(toml("NOT ((( A", "Apache-2.0")).errors();
    names(&found, "REUSE-EXPRESSION", "REUSE.toml");
    let mut changed = folder(right);
    changed.edit(
        "LICENSES/CC-BY-SA-4.0.txt",
        "irrevocable license to",
        "license to",
    );
    names(
        &changed.errors(),
        "LICENSE-MODIFIED",
        "LICENSES/CC-BY-SA-4.0.txt",
    );
}

#[test]
fn a_later_change_is_in_the_ledger_before_it_is_in_the_header() {
    let mut folder = Folder::new();
    let mut ledger = folder.ledger.clone();
    ledger.record(change(ChangeKind::Finetune, "on our notes"));
    folder
        .texts
        .insert("ledger.json".to_owned(), ledger.to_json());
    folder
        .texts
        .insert("CHANGES.json".to_owned(), ledger.changes_json());
    folder.texts.insert("NOTICE".to_owned(), notice(&ledger));
    let found = folder.verify(&VerifyOptions::default());
    assert!(found.passed, "{:?}", found.findings);
    assert!(
        found
            .findings
            .iter()
            .any(|it| it.rule == "META-CHANGES-BEHIND")
    );
}

proptest! {
    #[test]
    fn any_document_is_read_without_panic(
        text in "(\\PC|[\\[\\]{}:,\"]|null|\"@graph\"|\"licenses\"|\"components\"|\n){0,80}",
        name in "(x.spdx3.json|x.cdx.json|croissant.json|README.md|CITATION.cff)",
    ) {
        let _ = verify_document(&name, &text);
    }

    #[test]
    fn any_value_in_any_place_is_read_without_panic(seed in any::<u64>(), kind in 0_usize..3) {
        let (name, mut document) = match kind {
            0 => ("x.spdx3.json", spdx3()),
            1 => ("x.cdx.json", cyclonedx()),
            _ => ("croissant.json", croissant()),
        };
        spoil(&mut document, seed);
        let _ = verify_document(name, &document.to_string());
    }
}

/// Replaces one value, chosen by a number, by one of another type.
fn spoil(document: &mut Value, seed: u64) {
    let choice = usize::try_from(seed % 8191).unwrap();
    match document {
        Value::Object(fields) if !fields.is_empty() && !seed.is_multiple_of(3) => {
            let index = choice % fields.len();
            let inner = fields.values_mut().nth(index).unwrap();
            spoil(inner, seed / 7);
        }
        Value::Array(items) if !items.is_empty() && !seed.is_multiple_of(5) => {
            let index = choice % items.len();
            spoil(&mut items[index], seed / 11);
        }
        other => {
            *other = [
                json!(null),
                json!([]),
                json!({}),
                json!("x"),
                json!(7),
                json!([[{"a": 1}]]),
            ][choice % 6]
                .clone();
        }
    }
}
