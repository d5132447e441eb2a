//! What differs between two ledgers or bills of materials, the pinned sources, the user's registry
//! and SARIF.

use serde_json::json;
use stablelm_license::{
    ChangeKind, DifferenceKind, Finding, Ledger, Obligation, ObligationState, Registry,
    RegistryError, Severity, SourcesError, SourcesLock, diff_boms, diff_ledgers, sarif,
};

use crate::oracles::folder;
use crate::samples::{change, converted, mixture};

fn kinds(before: &Ledger, after: &Ledger) -> Vec<DifferenceKind> {
    diff_ledgers(before, after)
        .into_iter()
        .filter(|found| found.drift)
        .map(|found| found.kind)
        .collect()
}

#[test]
fn a_ledger_does_not_differ_from_itself() {
    assert_eq!(diff_ledgers(&converted(), &converted()), []);
    assert_eq!(diff_ledgers(&mixture(), &mixture()), []);
}

#[test]
fn each_kind_of_drift_is_found() {
    let check = |change: &dyn Fn(&mut Ledger), expected: &[DifferenceKind]| {
        let mut after = converted();
        change(&mut after);
        assert_eq!(kinds(&converted(), &after), expected);
    };
    check(
        &|it| "MIT".clone_into(&mut it.components[0].license),
        &[DifferenceKind::License],
    );
    check(
        &|it| "mit".clone_into(&mut it.components[0].claims[0].value),
        &[DifferenceKind::Claim],
    );
    check(
        &|it| it.components[0].claims[0].evidence_sha256 = Some("ab".repeat(32)),
        &[DifferenceKind::Claim],
    );
    check(
        &|it| it.components[0].creators.clear(),
        &[DifferenceKind::Attribution],
    );
    check(&|it| it.components[0].gate = None, &[DifferenceKind::State]);
    check(
        &|it| drop(it.components.pop()),
        &[DifferenceKind::Component],
    );
    check(
        &|it| "x".clone_into(&mut it.title),
        &[DifferenceKind::Subject],
    );
    check(&|it| drop(it.changes.remove(0)), &[DifferenceKind::Change]);
    check(
        &|it| {
            it.obligations.push(Obligation {
                rule: "SA-01".to_owned(),
                state: ObligationState::Open,
                evidence: String::new(),
            });
        },
        &[DifferenceKind::Obligation],
    );
    let mut after = mixture();
    after.sources[0].documents += 1;
    assert_eq!(kinds(&mixture(), &after), [DifferenceKind::Source]);
}

#[test]
fn a_change_that_was_appended_is_no_drift() {
    let mut after = converted();
    after.record(change(ChangeKind::Dtype, "bf16 to f16"));
    let found = diff_ledgers(&converted(), &after);
    assert_eq!(found.len(), 1);
    assert!(!found[0].drift);
    assert_eq!(kinds(&after, &converted()), [DifferenceKind::Change]);
}

fn cyclonedx(license: &serde_json::Value, version: &str) -> Vec<u8> {
    let document = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "metadata": {"component": {
            "type": "machine-learning-model", "name": "model", "version": version,
            "licenses": [license], "hashes": [{"alg": "SHA-256", "content": "AB"}],
        }},
        "components": [{"type": "data", "name": "web", "licenses": [{"license": {"id": "ODC-By-1.0"}}]}],
    });
    document.to_string().into_bytes()
}

fn spdx3(license: &str) -> Vec<u8> {
    let document = json!({
        "@context": "https://spdx.org/rdf/3.0.1/spdx-context.jsonld",
        "@graph": [
            {"type": "ai_AIPackage", "spdxId": "urn:m", "name": "model", "software_packageVersion": "1",
             "verifiedUsing": [{"type": "Hash", "algorithm": "sha256", "hashValue": "ab"}]},
            {"type": "dataset_DatasetPackage", "spdxId": "urn:d", "name": "web"},
            {"type": "simplelicensing_LicenseExpression", "spdxId": "urn:l",
             "simplelicensing_licenseExpression": license},
            {"type": "simplelicensing_LicenseExpression", "spdxId": "urn:o",
             "simplelicensing_licenseExpression": "ODC-By-1.0"},
            {"type": "Relationship", "spdxId": "urn:r1", "relationshipType": "hasConcludedLicense",
             "from": "urn:m", "to": ["urn:l"]},
            {"type": "Relationship", "spdxId": "urn:r2", "relationshipType": "hasDeclaredLicense",
             "from": "urn:d", "to": ["urn:o"]},
        ],
    });
    document.to_string().into_bytes()
}

#[test]
fn bills_of_materials_are_compared_across_formats() {
    let by_sa = json!({"license": {"id": "CC-BY-SA-4.0"}});
    let check = |a: &[u8], b: &[u8], expected: &[(DifferenceKind, &str)]| {
        let found = diff_boms(a, b).expect("both are known");
        let found: Vec<_> = found
            .iter()
            .map(|found| (found.kind, found.name.as_str()))
            .collect();
        assert_eq!(found, expected);
    };
    let bom = cyclonedx(&by_sa, "1");
    check(&bom, &bom, &[]);
    check(&bom, &spdx3("CC-BY-SA-4.0"), &[]);
    check(&bom, &spdx3("MIT"), &[(DifferenceKind::License, "model")]);
    check(
        &bom,
        &cyclonedx(&by_sa, "2"),
        &[(DifferenceKind::Version, "model")],
    );
    check(
        &bom,
        &cyclonedx(&json!({"expression": "MIT OR Apache-2.0"}), "1"),
        &[(DifferenceKind::License, "model")],
    );
    let empty = br#"{"bomFormat": "CycloneDX"}"#;
    check(
        empty,
        &bom,
        &[
            (DifferenceKind::Component, "model"),
            (DifferenceKind::Component, "web"),
        ],
    );
    assert!(diff_boms(b"{}", &bom).is_err());
    assert!(diff_boms(&bom, b"no").is_err());
}

#[test]
fn the_bills_of_other_makers_are_read() {
    let Some(folder) = folder() else {
        return;
    };
    let read = |path: &str| std::fs::read(folder.join(path)).expect("a sample is there");
    let cdx16 = read("cyclonedx/stablelm-3b-4e1t.cdx1.6.json");
    let cdx17 = read("cyclonedx/stablelm-3b-4e1t.cdx1.7.json");
    let spdx3 = read("spdx3/stablelm-3b-4e1t.spdx3.json");
    assert_eq!(diff_boms(&cdx16, &cdx17).expect("both are known"), []);
    // Where CycloneDX has free text for a license, the SPDX document asserts nothing.
    let found = diff_boms(&cdx16, &spdx3).expect("both are known");
    let names: Vec<_> = found
        .iter()
        .map(|found| (found.kind, found.name.as_str()))
        .collect();
    assert_eq!(
        names,
        [
            (DifferenceKind::License, "bigcode/starcoderdata"),
            (
                DifferenceKind::License,
                "togethercomputer/RedPajama-Data-1T"
            ),
        ]
    );
    let edited = String::from_utf8(spdx3.clone()).expect("text");
    let edited = edited.replace("\"ODC-By-1.0\"", "\"MIT\"");
    let found = diff_boms(&spdx3, edited.as_bytes()).expect("both are known");
    assert_eq!(found.len(), 2, "{found:#?}");
    assert_eq!(found[0].after.as_deref(), Some("MIT"));
}

#[test]
fn statements_are_pinned_and_drift_is_found() {
    let registry = Registry::builtin();
    let mut lock = SourcesLock::pin(registry.components());
    assert!(lock.sources.len() > 50);
    let text = lock.to_json();
    assert_eq!(
        SourcesLock::from_json(text.as_bytes()).expect("just written"),
        lock
    );
    assert_eq!(lock.update(SourcesLock::pin(registry.components())), []);

    let source = lock.sources[0].source.clone();
    assert!(lock.add_evidence(&source, &"ab".repeat(32), "2026-11-28") >= 1);
    assert_eq!(lock.add_evidence("https://nowhere.invalid", "", ""), 0);
    // What is known is kept when the registry says nothing new.
    assert_eq!(lock.update(SourcesLock::pin(registry.components())), []);
    assert_eq!(
        lock.sources[0].evidence_sha256.as_deref(),
        Some("ab".repeat(32).as_str())
    );
    assert_eq!(lock.sources[0].read, "2026-11-28");

    let mut newer = SourcesLock::pin(registry.components());
    "mit".clone_into(&mut newer.sources[0].value);
    newer.sources.remove(1);
    newer.sources[5].revision = Some("abc".to_owned());
    let found = lock.update(newer);
    assert_eq!(found.len(), 3, "{found:#?}");
    assert_eq!(found[0].after.as_deref(), Some("mit"));
    assert_eq!(found[2].after, None);
    assert!(matches!(
        SourcesLock::from_json(br#"{"version": 9, "sources": []}"#),
        Err(SourcesError::Version {
            found: 9,
            supported: 1
        })
    ));
}

#[test]
fn a_user_knows_more_components() {
    let mine = |id: &str| {
        format!(
            r#"{{"id": "{id}", "name": "Mine", "kind": "dataset", "url": "", "license": "MIT",
                "attribution": "", "claims": []}}"#
        )
    };
    let file =
        |parts: &[String]| format!(r#"{{"components": [{}]}}"#, parts.join(",")).into_bytes();
    let registry = Registry::builtin()
        .with_user(&file(&[mine("mine"), mine("pes2o"), mine("books3")]))
        .expect("a registry");
    let license = |id: &str| registry.get(id).map(|found| found.license.as_str());
    assert_eq!(license("mine"), Some("MIT"));
    assert_eq!(license("pes2o"), Some("MIT"));
    assert_eq!(license("falcon-refinedweb"), Some("ODC-By-1.0"));
    assert!(
        registry.get("books3").expect("known").takedown.is_some(),
        "nobody can bring back what was taken down"
    );
    let twice = Registry::empty().with_user(&file(&[mine("a"), mine("a")]));
    assert!(matches!(twice, Err(RegistryError::Twice(id)) if id == "a"));
    assert!(matches!(
        Registry::empty().with_user(b"{\"components\": 7}"),
        Err(RegistryError::Json(_))
    ));
}

fn finding(rule: &str, severity: Severity, file: Option<&str>) -> Finding {
    Finding {
        rule: rule.to_owned(),
        clause: "a clause".to_owned(),
        severity,
        reason: "something".to_owned(),
        source: "https://example.org/terms".to_owned(),
        file: file.map(str::to_owned),
        line: file.map(|_| 3),
        column: file.map(|_| 5),
        next_step: None,
    }
}

#[test]
fn findings_become_sarif() {
    let findings = [
        finding("SA-07", Severity::Error, Some("a b/README.md")),
        finding("XX-01", Severity::Info, None),
        finding("SA-01", Severity::Review, Some("NOTICE")),
        finding("SA-07", Severity::Obligation, None),
    ];
    let document = sarif(&findings, "0.1.0");
    assert_eq!(document, sarif(&findings, "0.1.0"));
    assert_eq!(document["version"], "2.1.0");
    let run = &document["runs"][0];
    assert_eq!(run["tool"]["driver"]["name"], "stablelm");
    assert_eq!(run["tool"]["driver"]["version"], "0.1.0");
    let rules = run["tool"]["driver"]["rules"].as_array().expect("a list");
    let ids: Vec<_> = rules
        .iter()
        .filter_map(|rule| rule["id"].as_str())
        .collect();
    assert_eq!(ids, ["SA-01", "SA-07", "XX-01"]);
    for rule in rules {
        for key in ["shortDescription", "fullDescription", "help"] {
            assert!(
                rule[key]["text"]
                    .as_str()
                    .is_some_and(|text| !text.is_empty()),
                "{rule}"
            );
        }
    }
    let clause = rules[1]["fullDescription"]["text"].as_str().expect("text");
    assert!(clause.starts_with("CC BY-SA 4.0 3(a)(1)(C)"), "{clause}");
    let results = run["results"].as_array().expect("a list");
    let levels: Vec<_> = results
        .iter()
        .map(|result| result["level"].as_str())
        .collect();
    assert_eq!(
        levels,
        [Some("error"), Some("note"), Some("warning"), Some("note")]
    );
    for (result, finding) in results.iter().zip(&findings) {
        let index = result["ruleIndex"].as_u64().expect("a number");
        assert_eq!(
            rules[usize::try_from(index).expect("small")]["id"],
            finding.rule.as_str()
        );
        assert_eq!(result["ruleId"], finding.rule.as_str());
    }
    assert_eq!(
        results[0]["locations"],
        json!([{"physicalLocation": {
            "artifactLocation": {"uri": "a%20b/README.md"},
            "region": {"startLine": 3, "startColumn": 5},
        }}])
    );
    assert!(results[1].get("locations").is_none());
}
