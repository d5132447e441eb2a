//! Invariants of the data files.

use std::collections::BTreeSet;

use stablelm_license::{ClaimKind, NOASSERTION, Registry, license_text, license_url};

const KNOWN_LICENSES: [&str; 15] = [
    "Apache-2.0",
    "BSD-3-Clause",
    "CC-BY-NC-SA-4.0",
    "CC-BY-SA-2.5",
    "CC-BY-SA-3.0",
    "CC-BY-SA-4.0",
    "CC0-1.0",
    "LicenseRef-CommonCrawl-ToU",
    "LicenseRef-StabilityAI-Community",
    "LicenseRef-StabilityAI-NC-Research-Community",
    "LicenseRef-TheStack-ToU",
    "LicenseRef-arXiv-mixed",
    "MIT",
    NOASSERTION,
    "ODC-By-1.0",
];

#[test]
fn every_claim_has_a_source_and_one_with_a_day_a_revision() {
    for component in Registry::builtin().components() {
        assert!(!component.claims.is_empty(), "{}", component.id);
        for claim in &component.claims {
            assert!(
                claim.source.starts_with("https://"),
                "{}: {claim:?}",
                component.id
            );
            // A day stands only where somebody noted it; what was read that day is pinned, or ours.
            let ours = component.id.starts_with("fixture-");
            let dated = claim.read.len() == 10 && (ours || claim.revision.is_some());
            assert!(
                claim.read.is_empty() || dated,
                "{}: {claim:?}",
                component.id
            );
            assert!(!claim.value.is_empty(), "{}: {claim:?}", component.id);
        }
    }
}

#[test]
fn every_license_is_concluded_by_a_claim() {
    for component in Registry::builtin().components() {
        let concluded: Vec<_> = component
            .claims
            .iter()
            .filter(|claim| claim.kind == ClaimKind::Concluded)
            .map(|claim| &claim.value)
            .collect();
        assert_eq!(
            concluded.last(),
            Some(&&component.license),
            "{}",
            component.id
        );
    }
}

#[test]
fn every_license_is_one_we_know() {
    for component in Registry::builtin().components() {
        for id in component.license.split(" AND ") {
            assert!(KNOWN_LICENSES.contains(&id), "{}: {id}", component.id);
        }
    }
}

#[test]
fn every_name_belongs_to_one_component() {
    let registry = Registry::builtin();
    let mut seen = BTreeSet::new();
    for component in registry.components() {
        let names = [
            Some(&component.id),
            Some(&component.name),
            component.hf_id.as_ref(),
        ];
        let own: BTreeSet<_> = names
            .into_iter()
            .flatten()
            .chain(&component.aliases)
            .map(|name| name.to_ascii_lowercase())
            .collect();
        for name in own {
            assert!(seen.insert(name.clone()), "{name} names two components");
        }
    }
}

#[test]
fn every_relation_leads_to_a_component() {
    let registry = Registry::builtin();
    for component in registry.components() {
        let targets = component.relations.iter().map(|relation| &relation.to);
        for target in targets.chain(&component.part_of) {
            assert!(
                registry.components().any(|other| other.id == *target),
                "{target}"
            );
        }
    }
}

#[test]
fn a_share_alike_license_is_linked_as_share_alike() {
    for component in Registry::builtin().components() {
        if component.license.contains(" AND ") {
            continue;
        }
        if let Some(version) = component.license.strip_prefix("CC-BY-SA-") {
            let expected = format!("https://creativecommons.org/licenses/by-sa/{version}/");
            assert_eq!(
                component.license_url.as_deref(),
                Some(&*expected),
                "{}",
                component.id
            );
            assert!(
                component.attribution.contains(&expected),
                "{}",
                component.id
            );
        }
        assert!(
            !component.attribution.contains("/licenses/by/4.0"),
            "{}",
            component.id
        );
    }
    assert_eq!(
        license_url("CC-BY-SA-4.0").as_deref(),
        Some("https://creativecommons.org/licenses/by-sa/4.0/")
    );
}

#[test]
fn an_odc_by_database_carries_the_sentence_of_its_license() {
    let mut checked = 0;
    for component in Registry::builtin().components() {
        if component.license == "ODC-By-1.0" {
            assert!(
                component
                    .attribution
                    .starts_with("Contains information from ")
            );
            assert!(component.attribution.contains("> which is made available under the ODC Attribution License <https://opendatacommons.org/licenses/by/1-0/>."));
            assert!(component.contents_caveat.is_some(), "{}", component.id);
            checked += 1;
        }
    }
    assert_eq!(checked, 3);
}

#[test]
fn contradictions_are_kept() {
    let registry = Registry::builtin();
    let check = |id: &str, values: &[&str]| {
        let component = registry.get(id).expect("known");
        for value in values {
            assert!(
                component.claims.iter().any(|claim| claim.value == *value),
                "{id}: {value}"
            );
        }
    };
    check("stablelm-3b-4e1t", &["apache-2.0", "cc-by-sa-4.0"]);
    check("falcon-refinedweb", &["apache-2.0", "odc-by"]);
    check("books3", &["mit", NOASSERTION]);
    check("pes2o", &["odc-by", "Apache-2.0"]);
    check("stablelm-base-alpha-3b", &["cc-by-nc-4.0", "cc-by-sa-4.0"]);
}

#[test]
fn every_component_is_linked_on_the_web() {
    for component in Registry::builtin().components() {
        assert!(component.url.starts_with("https://"), "{}", component.id);
    }
}

#[test]
fn the_texts_in_the_crate_are_those_of_their_ids() {
    let check = |id: &str, length: usize, phrase: &str| {
        let text = license_text(id).expect("in the crate");
        assert_eq!(text.len(), length, "{id}");
        assert!(text.contains(phrase), "{id}");
    };
    check(
        "CC-BY-SA-4.0",
        18_375,
        "Attribution-ShareAlike 4.0 International",
    );
    check("Apache-2.0", 10_280, "Version 2.0, January 2004");
    check("CC0-1.0", 7048, "CC0 1.0 Universal");
    check(
        "ODC-By-1.0",
        19_808,
        "Contains information from DATABASE NAME which is made available under the ODC Attribution License.",
    );
    assert_eq!(license_text("MIT"), None);
}
