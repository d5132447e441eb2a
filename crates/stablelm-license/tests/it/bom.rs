//! Bills of materials: what each format asks for, and that nothing in a ledger can break one.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::Value;
use stablelm_license::{
    BomContext, CARD_BEGIN, CARD_END, CycloneDxVersion, Ledger, PageFormat, Registry, RelationKind,
    attribution_in, bom_cyclonedx, bom_spdx3, cite_bibtex, cite_cff, merged_card, model_card,
    notice, notice_in, notice_not_retained, reuse_layout,
};

use crate::samples::{context, converted, facts, mixture};

const NO_LICENSE: &str = "https://spdx.org/rdf/3.0.1/terms/ExpandedLicensing/NoAssertionLicense";

fn spdx3(ledger: &Ledger) -> Vec<Value> {
    let document: Value = serde_json::from_str(&bom_spdx3(ledger, &context())).expect("JSON");
    document["@graph"].as_array().expect("a graph").clone()
}

fn cyclonedx(ledger: &Ledger, version: CycloneDxVersion) -> Value {
    serde_json::from_str(&bom_cyclonedx(ledger, version, &context())).expect("JSON")
}

fn of_type<'g>(graph: &'g [Value], kind: &str) -> Vec<&'g Value> {
    graph.iter().filter(|one| one["type"] == kind).collect()
}

fn related<'g>(graph: &'g [Value], from: &Value, kind: &str) -> Vec<&'g str> {
    of_type(graph, "Relationship")
        .into_iter()
        .filter(|one| one["relationshipType"] == kind && one["from"] == from["spdxId"])
        .flat_map(|one| one["to"].as_array().expect("a list"))
        .filter_map(Value::as_str)
        .collect()
}

/// Every ledger that the registry can make, and the samples.
fn ledgers() -> Vec<Ledger> {
    let registry = Registry::builtin();
    registry
        .components()
        .filter(|component| component.takedown.is_none())
        .map(Ledger::for_model)
        .chain([converted(), mixture(), Ledger::for_unknown("x")])
        .collect()
}

#[test]
fn every_package_has_what_the_profiles_ask_for() {
    for ledger in ledgers() {
        let graph = spdx3(&ledger);
        let models = of_type(&graph, "ai_AIPackage");
        let data = of_type(&graph, "dataset_DatasetPackage");
        for package in models.iter().chain(&data) {
            let name = &package["name"];
            for key in [
                "releaseTime",
                "suppliedBy",
                "software_downloadLocation",
                "software_packageVersion",
                "software_primaryPurpose",
                "software_attributionText",
            ] {
                assert!(
                    package[key].is_string() || package[key].is_array(),
                    "{name}: {key}"
                );
            }
            for kind in ["hasDeclaredLicense", "hasConcludedLicense"] {
                assert_eq!(related(&graph, package, kind).len(), 1, "{name}: {kind}");
            }
        }
        for package in data {
            let name = &package["name"];
            assert!(package["builtTime"].is_string(), "{name}");
            assert_eq!(
                package["originatedBy"].as_array().map(Vec::len),
                Some(1),
                "{name}"
            );
            assert_eq!(
                package["dataset_datasetType"],
                serde_json::json!(["text"]),
                "{name}"
            );
        }
    }
}

#[test]
fn every_reference_leads_somewhere() {
    for ledger in ledgers() {
        let graph = spdx3(&ledger);
        let ids: Vec<&str> = graph
            .iter()
            .filter_map(|one| one["spdxId"].as_str())
            .collect();
        let mut once = ids.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), ids.len(), "an id is given twice");
        for relation in of_type(&graph, "Relationship") {
            let to = relation["to"].as_array().expect("a list");
            for id in to
                .iter()
                .chain([&relation["from"]])
                .filter_map(Value::as_str)
            {
                assert!(ids.contains(&id) || id == NO_LICENSE, "{id}");
            }
        }
    }
}

#[test]
fn data_that_must_be_absent_is_in_no_bill() {
    let mut ledger = converted();
    // Whatever a ledger says: what was taken down is not trained on.
    let mut edge = ledger.edges[0].clone();
    edge.kind = RelationKind::TrainedOn;
    "books3".clone_into(&mut edge.to);
    ledger.edges.push(edge);
    for ledger in [ledger, mixture()] {
        let graph = spdx3(&ledger);
        assert!(graph.iter().all(|one| one["name"] != "Books3"));
        for version in [CycloneDxVersion::V1_6, CycloneDxVersion::V1_7] {
            let bill = cyclonedx(&ledger, version);
            let parts = bill["components"].as_array().expect("a list");
            assert!(parts.iter().all(|part| part["name"] != "Books3"));
            assert!(!bill["dependencies"].to_string().contains("books3"));
            assert!(
                bill["metadata"].to_string().contains("Books3"),
                "it says that it is out"
            );
        }
    }
}

#[test]
fn the_model_is_trained_on_its_data_and_an_unknown_license_is_no_assertion() {
    let graph = spdx3(&converted());
    let model = of_type(&graph, "ai_AIPackage")[0];
    let data: Vec<&Value> = related(&graph, model, "trainedOn")
        .into_iter()
        .filter_map(|id| graph.iter().find(|one| one["spdxId"] == id))
        .collect();
    let names: Vec<_> = data.iter().filter_map(|one| one["name"].as_str()).collect();
    assert_eq!(
        names,
        [
            "Falcon RefinedWeb",
            "RedPajama-Data-1T",
            "CarperAI Pile v2 (dev)",
            "StarCoderData",
            "peS2o",
            "The Pile"
        ]
    );
    assert_eq!(
        related(&graph, data[2], "hasConcludedLicense"),
        [NO_LICENSE]
    );
    assert_eq!(related(&graph, data[2], "hasDeclaredLicense"), [NO_LICENSE]);
    let comment = data[2]["comment"]
        .as_str()
        .expect("it says what is not known");
    assert!(comment.starts_with("Not known: "), "{comment}");
    assert_eq!(data[3]["dataset_datasetAvailability"], "clickthrough");
}

#[test]
fn a_name_outside_the_list_comes_with_its_text() {
    let graph = spdx3(&converted());
    let expression = of_type(&graph, "simplelicensing_LicenseExpression")
        .into_iter()
        .find(|one| one["simplelicensing_licenseExpression"] == "LicenseRef-TheStack-ToU")
        .expect("StarCoderData is under it");
    let entry = &expression["simplelicensing_customIdToUri"][0];
    assert_eq!(entry["key"], "LicenseRef-TheStack-ToU");
    let text = graph.iter().find(|one| one["spdxId"] == entry["value"]);
    assert_eq!(
        text.expect("it is in the document")["type"],
        "simplelicensing_SimpleLicensingText"
    );
}

#[test]
fn files_are_listed_with_hash_and_license_and_bills_are_not() {
    let ledger = converted();
    let graph = spdx3(&ledger);
    let files = of_type(&graph, "software_File");
    let names: Vec<_> = files
        .iter()
        .filter_map(|one| one["name"].as_str())
        .collect();
    assert_eq!(names, ["NOTICE", "model.safetensors", "tokenizer.json"]);
    for (file, license) in files.iter().zip(["CC0-1.0", "CC-BY-SA-4.0", "Apache-2.0"]) {
        assert_eq!(file["verifiedUsing"][0]["algorithm"], "sha256");
        let id = related(&graph, file, "hasConcludedLicense")[0];
        let found = graph
            .iter()
            .find(|one| one["spdxId"] == id)
            .expect("it is there");
        assert_eq!(found["simplelicensing_licenseExpression"], license);
    }
    let without = BomContext {
        files: context()
            .files
            .into_iter()
            .filter(|(path, _)| path != "bom.spdx3.json")
            .collect::<BTreeMap<_, _>>(),
        ..context()
    };
    assert_eq!(bom_spdx3(&ledger, &context()), bom_spdx3(&ledger, &without));
}

#[test]
fn every_dataset_of_a_cyclonedx_bill_has_licenses() {
    for ledger in ledgers() {
        for version in [CycloneDxVersion::V1_6, CycloneDxVersion::V1_7] {
            let bill = cyclonedx(&ledger, version);
            let parts = bill["components"].as_array().into_iter().flatten();
            for part in parts.filter(|part| part["type"] == "data") {
                let licenses = part["licenses"].as_array().map_or(0, Vec::len);
                assert!(licenses > 0, "{}", part["name"]);
            }
        }
    }
}

#[test]
fn cyclonedx_says_what_a_copy_comes_from_and_who_claims_what() {
    let bill = cyclonedx(&converted(), CycloneDxVersion::V1_7);
    let model = &bill["metadata"]["component"];
    assert_eq!(model["licenses"][0]["license"]["id"], "CC-BY-SA-4.0");
    assert_eq!(model["hashes"][0]["alg"], "SHA-256");
    let pedigree = &model["pedigree"];
    assert_eq!(
        pedigree["ancestors"][0]["purl"],
        "pkg:huggingface/stabilityai/stablelm-3b-4e1t"
    );
    let notes = pedigree["notes"].as_str().expect("notes");
    assert!(
        notes.contains("GPT-NeoX checkpoint to safetensors"),
        "{notes}"
    );
    let citations = bill["citations"].as_array().expect("1.7 has citations");
    for citation in citations {
        let pointer = citation["pointers"][0].as_str().expect("a pointer");
        assert!(bill.pointer(pointer).is_some(), "{pointer} leads nowhere");
        let reference = citation["attributedTo"].as_str().expect("a reference");
        assert!(
            bill.to_string()
                .contains(&format!("\"bom-ref\":\"{reference}\"")),
            "{reference}"
        );
    }
    let notes: Vec<_> = citations
        .iter()
        .filter_map(|one| one["note"].as_str())
        .collect();
    assert!(
        notes
            .iter()
            .any(|note| note.starts_with("apache-2.0 (declared, verified): "))
    );
    assert!(
        cyclonedx(&converted(), CycloneDxVersion::V1_6)
            .get("citations")
            .is_none()
    );
}

#[test]
fn a_parents_notice_stays_and_is_not_doubled() {
    let theirs = "Portions of this model\nCopyright 2020 Somebody Else\n";
    let mut ledger = converted();
    assert_eq!(notice_not_retained(&ledger, theirs), Some(theirs));
    ledger.notices.push(theirs.to_owned());
    let made = notice(&ledger);
    assert!(made.contains("\nPortions of this model\nCopyright 2020 Somebody Else\n"));
    // The next conversion reads the ledger, or starts anew from the notice alone.
    assert_eq!(notice_not_retained(&ledger, &made), None);
    let lost = notice_not_retained(&converted(), &made).expect("a new ledger lacks it");
    assert_eq!(lost.trim(), theirs.trim());
}

/// Text that tries to leave its place in some format.
fn hostile() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\PC{0,20}",
        "[\\x00-\\x7f]{0,20}",
        Just("</script><script>alert(1)</script>".to_owned()),
        Just("--> <!-- stablelm:end generated -->".to_owned()),
        Just("\"\"\"\n[[annotations]]\npath = \"**\"\n".to_owned()),
        Just("x\n---\nlicense: mit\n".to_owned()),
        Just("```\n# Free of all terms\n".to_owned()),
        Just("\u{202e}\u{0}\u{1b}[31m".to_owned()),
        Just("MIT OR (".to_owned()),
        Just("https://a/\"><b>%zz[".to_owned()),
    ]
}

fn spoiled(texts: &[String]) -> Ledger {
    let mut ledger = converted();
    let mut next = texts.iter().cycle().cloned();
    let mut take = || next.next().expect("a cycle has no end");
    ledger.title = take();
    for component in ledger.components.iter_mut().take(4) {
        component.name = take();
        component.url = take();
        component.license = take();
        component.license_url = Some(take());
        component.attribution = take();
        component.creators = vec![take()];
        component.copyright = vec![take()];
        component.released = Some(take());
        component.contents_caveat = Some(take());
        for claim in &mut component.claims {
            claim.value = take();
            claim.source = take();
            claim.read = take();
        }
    }
    for change in &mut ledger.changes {
        change.when = take();
        change.detail = take();
    }
    ledger.notices = vec![take()];
    ledger
}

/// True for a line as we write them, with whole strings in it: our strings are those of JSON too.
fn is_reuse_line(line: &str) -> bool {
    let is_json = |text: &str| serde_json::from_str::<Value>(text).is_ok();
    let value = [
        "    ",
        "SPDX-FileCopyrightText = ",
        "SPDX-License-Identifier = ",
        "precedence = ",
        "version = ",
    ]
    .iter()
    .find_map(|start| line.strip_prefix(start));
    match value {
        Some(value) => is_json(value.trim_end_matches(',')),
        None => line.starts_with('#') || ["", "[[annotations]]", "path = [", "]"].contains(&line),
    }
}

/// True when the tags of a page that we write are all there is.
fn has_only_our_tags(html: &str) -> bool {
    const TAGS: [&str; 20] = [
        "!DOCTYPE", "html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "ul", "li",
        "br", "a", "table", "tr", "th", "td", "pre", "h3",
    ];
    html.split('<').skip(1).all(|rest| {
        let name = rest.trim_start_matches('/');
        let end = name.find(|c: char| !c.is_ascii_alphanumeric() && c != '!');
        TAGS.contains(&&name[..end.unwrap_or(name.len())])
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_text_breaks_a_bill(texts in prop::collection::vec(hostile(), 5..24)) {
        let ledger = spoiled(&texts);
        let graph = spdx3(&ledger);
        prop_assert_eq!(of_type(&graph, "SpdxDocument").len(), 1);
        for version in [CycloneDxVersion::V1_6, CycloneDxVersion::V1_7] {
            let bill = cyclonedx(&ledger, version);
            prop_assert_eq!(&bill["bomFormat"], "CycloneDX");
        }
        let paths = ["model.safetensors", "README.md", &ledger.title];
        let layout = reuse_layout(&ledger, paths);
        let annotations = layout.toml.matches("\n[[annotations]]\n").count();
        prop_assert!(annotations <= 3, "{}", layout.toml);
        for line in layout.toml.lines() {
            prop_assert!(is_reuse_line(line), "{}", layout.toml);
        }
    }

    #[test]
    fn no_text_breaks_a_page(texts in prop::collection::vec(hostile(), 5..24)) {
        let ledger = spoiled(&texts);
        for page in [notice_in(&ledger, PageFormat::Html), attribution_in(&ledger, PageFormat::Html)] {
            prop_assert!(has_only_our_tags(&page), "{}", page);
            prop_assert!(page.ends_with("</body>\n</html>\n"));
        }
        for page in [notice_in(&ledger, PageFormat::Json), attribution_in(&ledger, PageFormat::Json)] {
            let read: Value = serde_json::from_str(&page).expect("JSON");
            prop_assert!(read["sections"].is_array());
        }
        let markdown = notice_in(&ledger, PageFormat::Markdown);
        prop_assert!(!markdown.contains("<script"), "{}", markdown);
    }

    #[test]
    fn no_text_breaks_a_card(texts in prop::collection::vec(hostile(), 5..24)) {
        let ledger = spoiled(&texts);
        let card = model_card(&ledger, &facts());
        let marks = card.lines().filter(|line| [CARD_BEGIN, CARD_END].contains(line));
        prop_assert_eq!(marks.count(), 2, "{}", &card);
        let edited = format!("{card}\nOurs.\n");
        prop_assert_eq!(merged_card(&card, &edited), edited);
        let cff = cite_cff(&ledger);
        prop_assert!(serde_saphyr::from_str::<Value>(&cff).is_ok(), "{}", cff);
        let braces = cite_bibtex(&ledger).chars().fold(0_i32, |depth, c| match c {
            '{' => depth + 1,
            '}' => depth - 1,
            _ => depth,
        });
        prop_assert_eq!(braces, 0);
    }
}
