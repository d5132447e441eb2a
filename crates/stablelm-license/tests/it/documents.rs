//! What the documents must hold, rule by rule.

use stablelm_license::{
    CroissantField, CroissantRecordSet, CroissantType, DISCLAIMER, Ledger, ModelFacts, RaiTerm,
    Registry, attribution_line, attribution_markdown, cite_bibtex, cite_cff, croissant,
    ledger_from_card, model_card, notice,
};

use crate::samples::{converted, dataset, facts, mixture};

/// The rules of CC BY-SA 4.0 section 3(a) that a document can be checked for by a string.
const SHARE_RULES: [(&str, &str); 5] = [
    ("SA-01", "Stability AI"),
    ("SA-03", "CC-BY-SA-4.0"),
    ("SA-04", "disclaimer of warranties"),
    (
        "SA-05",
        "https://huggingface.co/stabilityai/stablelm-3b-4e1t",
    ),
    ("SA-07", "https://creativecommons.org/licenses/by-sa/4.0/"),
];

fn holds(name: &str, text: &str, rule: &str, wanted: &str) {
    assert!(
        text.contains(wanted),
        "{name} breaks {rule}: no `{wanted}` in\n{text}"
    );
}

#[test]
fn notice_and_card_hold_what_share_alike_asks_for() {
    let ledger = converted();
    for (name, text) in [
        ("NOTICE", notice(&ledger)),
        ("README.md", model_card(&ledger, &facts())),
    ] {
        for (rule, wanted) in SHARE_RULES {
            holds(name, &text, rule, wanted);
        }
        for change in &ledger.changes {
            holds(name, &text, "SA-06", &change.detail);
            holds(name, &text, "SA-06", &change.when);
        }
        holds(name, &text, "SA-09", "Not endorsed by Stability AI.");
        assert!(
            !text.contains("licenses/by/4.0"),
            "{name} links a license without share-alike"
        );
        holds(name, &text, "disclaimer", DISCLAIMER);
    }
}

#[test]
fn a_copyright_notice_is_kept() {
    let registry = Registry::builtin();
    let ledger = Ledger::for_model(registry.get("fixture-model").expect("known"));
    holds(
        "NOTICE",
        &notice(&ledger),
        "SA-02",
        "\nCopyright 2026 The stablelm authors\n",
    );
}

#[test]
fn notice_names_every_component() {
    let ledger = converted();
    let text = notice(&ledger);
    for component in &ledger.components {
        let name = component.name.trim_start_matches("The Pile: ");
        holds("NOTICE", &text, "every component", name);
    }
}

#[test]
fn a_part_without_a_license_but_with_a_caveat_is_credited() {
    let text = notice(&converted());
    holds(
        "NOTICE",
        &text,
        "credit",
        "MIT, BSD and Apache-2.0 repositories on GitHub",
    );
}

#[test]
fn databases_under_odc_by_get_their_sentence() {
    let sentence = "Contains information from Falcon RefinedWeb \
        <https://huggingface.co/datasets/tiiuae/falcon-refinedweb> which is made available under \
        the ODC Attribution License <https://opendatacommons.org/licenses/by/1-0/>.";
    let ledger = converted();
    holds("NOTICE", &notice(&ledger), "OB-05", sentence);
    holds(
        "README.md",
        &model_card(&ledger, &facts()),
        "OB-05",
        sentence,
    );
    holds(
        "ATTRIBUTION.md",
        &attribution_markdown(&mixture()),
        "OB-05",
        sentence,
    );
    holds(
        "NOTICE",
        &notice(&ledger),
        "OB-06",
        "not the web pages in it",
    );
}

#[test]
fn a_mixture_is_listed_with_counts_and_exclusions() {
    let text = attribution_markdown(&mixture());
    let check = |wanted: &str| holds("ATTRIBUTION.md", &text, "content", wanted);
    check("| web |  | 1,200 | 120,000 | ODC-By-1.0 |");
    check("| pile | Wikipedia (en) | 30 | 3,000 | CC-BY-SA-3.0 |");
    check("| own |  | 7 | 700 | NOASSERTION |");
    check("No license is known for: pile (FreeLaw), own. Do not assume permission.");
    check(
        "Wikipedia contributors, CC BY-SA 3.0 <https://creativecommons.org/licenses/by-sa/3.0/>.",
    );
    check(
        "Books3 is excluded: documents removed: 9 (by rule: subset-name 9); set aside as undecided: 1; remaining: 0.",
    );
    assert_eq!(
        attribution_line(&mixture()),
        "demo mixture: 6 sources under ODC-By-1.0, CC-BY-SA-3.0, NOASSERTION, \
         LicenseRef-TheStack-ToU; see ATTRIBUTION.md."
    );
}

#[test]
fn a_changed_copy_names_its_base_and_its_data() {
    let card = model_card(&converted(), &facts());
    let check = |wanted: &str| holds("README.md", &card, "front matter", wanted);
    check(
        "---\nlicense: cc-by-sa-4.0\nlanguage:\n- en\nlibrary_name: transformers\npipeline_tag: text-generation\nbase_model: stabilityai/stablelm-3b-4e1t\ndatasets:\n- tiiuae/falcon-refinedweb\n- togethercomputer/RedPajama-Data-1T\n- CarperAI/pilev2-dev\n- bigcode/starcoderdata\n- allenai/peS2o\n",
    );
    check("- **Parameters:** 2,795,443,200\n");
    assert!(
        !card.contains("base_model_relation"),
        "a conversion is none of the hub's relations"
    );
}

#[test]
fn what_is_not_known_of_a_model_is_left_out_of_its_card() {
    let card = model_card(&converted(), &ModelFacts::default());
    for label in ["library_name", "Parameters", "Context length", "Data type"] {
        assert!(!card.contains(label), "{label}");
    }
}

#[test]
fn a_license_unknown_to_the_hub_has_name_and_link() {
    let registry = Registry::builtin();
    let ledger = Ledger::for_model(registry.get("stablelm-2-1_6b").expect("known"));
    let card = model_card(&ledger, &facts());
    holds(
        "README.md",
        &card,
        "hub",
        "license: other\nlicense_name: stabilityai-community\nlicense_link: \"https://huggingface.co/stabilityai/stablelm-2-1_6b/blob/main/LICENSE.md\"\n",
    );
    let unknown = model_card(&Ledger::for_unknown("x"), &facts());
    holds("README.md", &unknown, "hub", "license: unknown\n");
}

#[test]
fn our_own_card_is_read_back() {
    let ledger = converted();
    let card = model_card(&ledger, &facts());
    let read = ledger_from_card(&card, &Registry::builtin()).expect("it has front matter");
    assert_eq!(read.subject, ledger.subject);
    assert_eq!(read.edges, ledger.edges);
}

#[test]
fn every_document_is_the_same_twice() {
    let documents = || {
        let (model, data) = (converted(), mixture());
        [
            notice(&model),
            notice(&data),
            attribution_markdown(&data),
            model_card(&model, &facts()),
            cite_bibtex(&model),
            cite_cff(&model),
            model.to_json(),
            model.changes_json(),
            croissant(&data, &dataset()).to_string(),
        ]
    };
    assert_eq!(documents(), documents());
}

#[test]
fn a_citation_has_a_year_and_a_clean_address() {
    let text = cite_bibtex(&converted());
    let check = |wanted: &str| holds("BibTeX", &text, "card defects", wanted);
    check(
        "@misc{StableLM-3B-4E1T,\n  author = {Tow, Jonathan and Bellagente, Marco and Mahan, Dakota and Riquelme, Carlos},\n",
    );
    check("  year = {2023},\n");
    check("  url = {https://huggingface.co/stabilityai/stablelm-3b-4e1t},\n");
    check("author = {{Together Computer}},");
}

#[test]
fn croissant_has_every_required_field() {
    let document = croissant(&mixture(), &dataset());
    for key in [
        "@context",
        "@type",
        "conformsTo",
        "name",
        "description",
        "license",
        "url",
        "creator",
        "datePublished",
        "distribution",
    ] {
        assert!(
            document.get(key).is_some_and(|value| !value.is_null()),
            "{key}"
        );
    }
    let licenses: Vec<_> = document["license"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|item| item.as_str())
        .collect();
    assert_eq!(
        licenses,
        [
            "https://spdx.org/licenses/ODC-By-1.0.html",
            "https://spdx.org/licenses/CC-BY-SA-3.0.html",
            "https://spdx.org/rdf/3.0.1/terms/ExpandedLicensing/NoAssertionLicense",
            "https://huggingface.co/datasets/bigcode/the-stack",
        ]
    );
    assert_eq!(
        document["distribution"][0]["sha256"].as_str().map(str::len),
        Some(64)
    );
}

#[test]
fn croissant_describes_tables_and_responsible_use() {
    let mut dataset = dataset();
    dataset.record_sets = vec![CroissantRecordSet {
        name: "web_train".to_owned(),
        description: "A row a document.".to_owned(),
        file: "web_train_text_document.documents.parquet".to_owned(),
        key: vec!["document"],
        fields: vec![CroissantField {
            name: "document",
            description: "Its number.",
            data_type: CroissantType::Integer,
        }],
    }];
    dataset.rai = vec![(RaiTerm::DataUseCases, vec!["Pretraining.".to_owned()])];
    dataset.generated_by = Some("stablelm data prepare 0.1.0".to_owned());
    let document = croissant(&mixture(), &dataset);
    assert_eq!(
        document["recordSet"],
        serde_json::json!([{
            "@type": "cr:RecordSet",
            "@id": "web_train",
            "name": "web_train",
            "description": "A row a document.",
            "key": [{"@id": "web_train/document"}],
            "field": [{
                "@type": "cr:Field",
                "@id": "web_train/document",
                "name": "document",
                "description": "Its number.",
                "dataType": "sc:Integer",
                "source": {
                    "fileObject": {"@id": "web_train_text_document.documents.parquet"},
                    "extract": {"column": "document"}
                }
            }]
        }])
    );
    assert_eq!(
        document["conformsTo"][1],
        "http://mlcommons.org/croissant/RAI/1.0"
    );
    assert_eq!(document["rai:dataUseCases"][0], "Pretraining.");
    let origins = document["prov:wasDerivedFrom"].to_string();
    assert!(
        origins.contains("falcon-refinedweb") && !origins.contains("books3"),
        "{origins}"
    );
}
