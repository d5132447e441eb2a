//! The rules over folders of ours, which keep them, and over the same folders with one thing wrong.

use stablelm_license::{
    ChangeKind, ChangeRecord, Component, ComponentKind, CroissantFile, Ledger, ObligationState,
    Registry, Release, ReleaseFile, RemovalRequest, Severity, Violation, attribution_markdown,
    audit, cite_cff, croissant, duties, is_prefix, license_text, model_card, notice, obligations,
    outcomes, rule, rules, safetensors_metadata,
};

use crate::samples::{change, converted, dataset, facts, mixture};

/// A folder as `convert` writes it.
fn model_release(ledger: Ledger) -> Release {
    let mut release = Release::default();
    let license = ledger
        .subject()
        .map_or("", |subject| subject.license.as_str());
    let stub = format!("SPDX-License-Identifier: {license}\n");
    let texts = [
        ("README.md", model_card(&ledger, &facts())),
        ("NOTICE", notice(&ledger)),
        ("CHANGES.json", ledger.changes_json()),
        ("CITATION.cff", cite_cff(&ledger)),
        ("ledger.json", ledger.to_json()),
        ("LICENSE", license_text(license).map_or(stub, str::to_owned)),
    ];
    for (name, text) in texts {
        add_text(&mut release, name, &text);
    }
    add_file(&mut release, "tokenizer.json");
    add_file(&mut release, "model.safetensors");
    release.metadata.insert(
        "model.safetensors".to_owned(),
        safetensors_metadata(&ledger, &facts()),
    );
    release.ledger = Some(ledger);
    release
}

/// A folder as `data prepare` writes it.
fn data_release(ledger: Ledger) -> Release {
    let mut release = Release::default();
    let exclusion = &ledger.exclusions[0];
    let report = format!(
        "{{\"books3\": {{\"documents_excluded\": {}, \"remaining\": {}, \"quarantined\": {}}}}}",
        exclusion.documents_excluded, exclusion.remaining, exclusion.quarantined
    );
    let mut described = dataset();
    described.files.push(CroissantFile {
        name: "web_train_text_document.documents.parquet".to_owned(),
        ..described.files[0].clone()
    });
    let texts = [
        ("ATTRIBUTION.md", attribution_markdown(&ledger)),
        ("croissant.json", croissant(&ledger, &described).to_string()),
        ("ledger.json", ledger.to_json()),
        ("report.json", report),
    ];
    for (name, text) in texts {
        add_text(&mut release, name, &text);
    }
    for name in [
        "tokens/web.bin",
        "tokens/web_train_text_document.documents.parquet",
    ] {
        add_file(&mut release, name);
    }
    release.ledger = Some(ledger);
    release
}

fn add_file(release: &mut Release, name: &str) {
    let file = ReleaseFile {
        size: 1,
        sha256: "0".repeat(64),
    };
    release.files.insert(name.to_owned(), file);
}

fn add_text(release: &mut Release, name: &str, text: &str) {
    add_file(release, name);
    release.texts.insert(name.to_owned(), text.to_owned());
}

fn edit(release: &mut Release, name: &str, from: &str, to: &str) {
    let text = release.texts.get_mut(name).expect("the file is there");
    assert!(text.contains(from), "{name} has no `{from}` to replace");
    *text = text.replace(from, to);
}

fn errors(release: &Release) -> Vec<String> {
    audit(release)
        .into_iter()
        .filter(|finding| finding.severity == Severity::Error)
        .map(|finding| format!("{} {:?}: {}", finding.rule, finding.file, finding.reason))
        .collect()
}

fn fixture_model() -> Ledger {
    let registry = Registry::builtin();
    let mut ledger = Ledger::for_model(registry.get("fixture-model").expect("known"));
    ledger.record(change(ChangeKind::Format, "x to y"));
    ledger
}

#[test]
fn every_rule_is_told_in_full_and_named_once() {
    let mut ids = Vec::new();
    for rule in rules() {
        for text in [rule.id, rule.clause, rule.title, rule.help, rule.source] {
            assert!(!text.is_empty(), "{rule:?}");
        }
        assert!(!ids.contains(&rule.id), "{} twice", rule.id);
        ids.push(rule.id);
    }
    let numbered = |prefix: &str, last: usize| {
        for number in 1..=last {
            let id = format!("{prefix}-{number:02}");
            assert!(rule(&id).is_some(), "{id}");
        }
    };
    numbered("SA", 17);
    numbered("OB", 6);
    numbered("TS", 3);
    numbered("B3", 3);
    numbered("AP", 4);
    numbered("MB", 2);
    assert!(rule("XX-01").is_none());
}

#[test]
fn our_own_folders_break_no_rule() {
    let registry = Registry::builtin();
    let none: [String; 0] = [];
    assert_eq!(errors(&model_release(converted())), none);
    assert_eq!(errors(&model_release(fixture_model())), none);
    assert_eq!(errors(&data_release(mixture())), none);
    let is_model = |component: &&Component| component.kind == ComponentKind::Weights;
    for model in registry.components().filter(is_model) {
        let mut ledger = Ledger::for_model(model);
        assert_eq!(errors(&model_release(ledger.clone())), none, "{}", model.id);
        ledger.record(change(ChangeKind::Format, "NeoX to safetensors"));
        ledger.record(change(ChangeKind::Dtype, "bf16 to f16"));
        assert_eq!(errors(&model_release(ledger)), none, "{}", model.id);
    }
    assert_eq!(errors(&model_release(Ledger::for_unknown("x"))), none);
    assert_eq!(errors(&Release::default()), none);
}

#[test]
fn rules_that_are_kept_say_what_was_looked_at() {
    for release in [model_release(converted()), data_release(mixture())] {
        for outcome in outcomes(&release) {
            if outcome.state == ObligationState::NotApplicable {
                assert!(outcome.findings.is_empty());
            } else {
                assert!(!outcome.evidence.is_empty(), "{}", outcome.rule);
            }
        }
    }
    let state = |release: &Release, id: &str| {
        outcomes(release)
            .into_iter()
            .find(|outcome| outcome.rule == id)
            .expect("every rule has an outcome")
            .state
    };
    let model = model_release(converted());
    for id in [
        "SA-01", "SA-03", "SA-04", "SA-05", "SA-06", "SA-07", "SA-11", "SA-16", "OB-05",
    ] {
        assert_eq!(state(&model, id), ObligationState::Met, "{id}");
    }
    for id in ["SA-02", "SA-08", "SA-12", "B3-02", "OB-01"] {
        assert_eq!(state(&model, id), ObligationState::NotApplicable, "{id}");
    }
    let data = data_release(mixture());
    for id in [
        "OB-01", "OB-02", "OB-04", "OB-06", "TS-01", "B3-01", "B3-02", "B3-03",
    ] {
        assert_eq!(state(&data, id), ObligationState::Met, "{id}");
    }
    assert_eq!(state(&data, "TS-03"), ObligationState::Open);
    assert_eq!(
        state(&model_release(fixture_model()), "SA-02"),
        ObligationState::Met
    );
}

/// Changes one thing and expects the rule among the findings, as an error or not, in that file.
#[track_caller]
fn finds(
    mut release: Release,
    change: impl FnOnce(&mut Release),
    id: &str,
    severity: Severity,
    file: Option<&str>,
) {
    let before = audit(&release);
    change(&mut release);
    let new: Vec<_> = audit(&release)
        .into_iter()
        .filter(|finding| !before.contains(finding))
        .collect();
    let found = new.iter().any(|finding| {
        finding.rule == id && finding.severity == severity && finding.file.as_deref() == file
    });
    assert!(
        found,
        "expected {id} {severity:?} in {file:?}, found {new:#?}"
    );
    for finding in &new {
        assert!(!finding.clause.is_empty() && !finding.source.is_empty());
    }
}

#[track_caller]
fn model_breaks(id: &str, file: &str, change: impl FnOnce(&mut Release)) {
    finds(
        model_release(converted()),
        change,
        id,
        Severity::Error,
        Some(file),
    );
}

#[track_caller]
fn data_breaks(id: &str, file: &str, change: impl FnOnce(&mut Release)) {
    finds(
        data_release(mixture()),
        change,
        id,
        Severity::Error,
        Some(file),
    );
}

fn ledger(release: &mut Release) -> &mut Ledger {
    release.ledger.as_mut().expect("the folder has a ledger")
}

fn header<'a>(release: &'a mut Release, key: &str) -> &'a mut String {
    release
        .metadata
        .get_mut("model.safetensors")
        .and_then(|entries| entries.get_mut(key))
        .expect("the header has the key")
}

#[test]
fn a_creator_that_is_missing() {
    model_breaks("SA-01", "NOTICE", |it| {
        edit(it, "NOTICE", "Stability AI", "somebody");
    });
    model_breaks("SA-01", "README.md", |it| {
        edit(it, "README.md", "Stability AI", "somebody");
    });
    model_breaks("SA-01", "model.safetensors", |it| {
        for value in it
            .metadata
            .get_mut("model.safetensors")
            .expect("there")
            .values_mut()
        {
            *value = value.replace("Stability AI", "somebody");
        }
    });
    data_breaks("SA-01", "ATTRIBUTION.md", |it| {
        edit(it, "ATTRIBUTION.md", "Wikipedia contributors", "people");
    });
}

#[test]
fn a_notice_that_was_removed() {
    for id in ["SA-01", "SA-03", "SA-04", "SA-05"] {
        model_breaks(id, "NOTICE", |it| {
            it.texts.remove("NOTICE");
            it.files.remove("NOTICE");
        });
    }
}

#[test]
fn a_part_of_the_notice_that_is_gone() {
    finds(
        model_release(fixture_model()),
        |it| edit(it, "NOTICE", "Copyright 2026", "(c) 2026"),
        "SA-02",
        Severity::Error,
        Some("NOTICE"),
    );
    model_breaks("SA-03", "NOTICE", |it| {
        edit(it, "NOTICE", "CC-BY-SA-4.0", "a license");
        edit(
            it,
            "NOTICE",
            "https://creativecommons.org/licenses/by-sa/4.0/",
            "somewhere",
        );
    });
    model_breaks("SA-04", "NOTICE", |it| {
        edit(it, "NOTICE", "disclaimer of warranties", "rest");
    });
    model_breaks("SA-05", "NOTICE", |it| {
        edit(
            it,
            "NOTICE",
            "https://huggingface.co/stabilityai/stablelm-3b-4e1t",
            "the hub",
        );
    });
}

#[test]
fn a_change_record_that_was_edited() {
    model_breaks("SA-06", "CHANGES.json", |it| {
        edit(it, "CHANGES.json", "GPT-NeoX checkpoint", "nothing");
    });
    model_breaks("SA-06", "CHANGES.json", |it| {
        it.texts.remove("CHANGES.json");
    });
    model_breaks("SA-06", "CHANGES.json", |it| {
        it.texts.insert("CHANGES.json".to_owned(), "{".to_owned());
    });
    model_breaks("SA-06", "ledger.json", |it| {
        "another story".clone_into(&mut ledger(it).changes[0].detail);
    });
    model_breaks("SA-06", "model.safetensors", |it| {
        let text = header(it, "stablelm.changes");
        *text = text.replace("GPT-NeoX checkpoint", "nothing");
    });
}

#[test]
fn a_change_record_that_does_not_go_on_from_the_earlier_one() {
    let restarted = || {
        let registry = Registry::builtin();
        let mut fresh = Ledger::for_model(registry.get("stablelm-3b-4e1t").expect("known"));
        fresh.record(change(ChangeKind::Format, "a clean start"));
        fresh
    };
    model_breaks("SA-06", "model.safetensors", |it| {
        let fresh = restarted();
        it.texts
            .insert("CHANGES.json".to_owned(), fresh.changes_json());
        it.ledger = Some(fresh);
    });
    model_breaks("SA-06", "CHANGES.json", |it| {
        it.texts
            .insert("CHANGES.json".to_owned(), restarted().changes_json());
    });
    // A ledger that goes on from the header is no error.
    let mut longer = model_release(converted());
    ledger(&mut longer).record(change(ChangeKind::Rename, "a new name"));
    let text = ledger(&mut longer).changes_json();
    longer.texts.insert("CHANGES.json".to_owned(), text);
    assert_eq!(errors(&longer), [""; 0]);

    let record: &[ChangeRecord] = &converted().changes;
    assert!(is_prefix(&record[..1], record) && is_prefix(&[], record));
    assert!(!is_prefix(record, &record[..1]) && !is_prefix(&record[1..], record));
}

#[test]
fn a_link_to_another_license() {
    let plain = "https://creativecommons.org/licenses/by/4.0/";
    let ours = "https://creativecommons.org/licenses/by-sa/4.0/";
    for name in ["README.md", "NOTICE", "CITATION.cff"] {
        model_breaks("SA-07", name, |it| {
            let text = it.texts.get_mut(name).expect("there");
            text.push_str(&format!("\nlicense: {plain}#\n"));
        });
    }
    model_breaks("SA-07", "README.md", |it| {
        edit(it, "README.md", ours, plain);
    });
    model_breaks("SA-07", "model.safetensors", |it| {
        plain.clone_into(header(it, "stablelm.license_url"));
    });
    model_breaks("SA-07", "README.md", |it| {
        edit(
            it,
            "README.md",
            "license: cc-by-sa-4.0",
            "license: cc-by-4.0",
        );
    });
    model_breaks("SA-07", "model.safetensors", |it| {
        "MIT".clone_into(header(it, "license"));
    });
    model_breaks("SA-07", "LICENSE", |it| {
        it.texts.remove("LICENSE");
        for name in ["README.md", "NOTICE", "CITATION.cff"] {
            let text = it.texts.get_mut(name).expect("there");
            *text = text.replace(ours, "somewhere");
        }
    });
}

#[test]
fn the_place_of_a_wrong_link_is_told() {
    let mut release = model_release(converted());
    let text = release.texts.get_mut("README.md").expect("there");
    let lines = text.lines().count();
    text.push_str("see [BY](https://creativecommons.org/licenses/by/4.0/)\n");
    let found = audit(&release);
    let found = found
        .iter()
        .find(|finding| finding.rule == "SA-07")
        .expect("it is found");
    assert_eq!((found.line, found.column), (Some(lines + 1), Some(18)));
}

#[test]
fn a_removal_request_is_followed() {
    let request = || RemovalRequest {
        component: "stablelm-3b-4e1t".to_owned(),
        text: "Stability AI".to_owned(),
        date: "2026-11-24".to_owned(),
        source: String::new(),
    };
    model_breaks("SA-08", "NOTICE", |it| {
        ledger(it).removal_requests.push(request());
    });
    let mut removed = model_release(converted());
    ledger(&mut removed).removal_requests.push(request());
    for text in removed.texts.values_mut() {
        *text = text.replace("Stability AI", "the licensor");
    }
    for value in removed
        .metadata
        .get_mut("model.safetensors")
        .expect("there")
        .values_mut()
    {
        *value = value.replace("Stability AI", "the licensor");
    }
    let broken: Vec<_> = audit(&removed)
        .into_iter()
        .filter(|finding| matches!(finding.rule.as_str(), "SA-01" | "SA-08"))
        .collect();
    assert_eq!(broken, []);
}

#[test]
fn words_of_endorsement_near_the_licensor() {
    for words in [
        "This model is endorsed by Stability AI.",
        "Made in partnership with Stability AI.",
        "The official conversion of Stability AI's model.",
    ] {
        finds(
            model_release(converted()),
            |it| {
                it.texts
                    .get_mut("README.md")
                    .expect("there")
                    .push_str(words);
            },
            "SA-09",
            Severity::Warning,
            Some("README.md"),
        );
    }
    finds(
        model_release(converted()),
        |it| add_file(it, "images/stability_logo.png"),
        "SA-09",
        Severity::Warning,
        Some("images/stability_logo.png"),
    );
}

#[test]
fn terms_beside_the_license() {
    let prompt =
        "\nextra_gated_prompt: >-\n  You agree not to use the model commercially.\nlicense:";
    model_breaks("SA-10", "README.md", |it| {
        edit(it, "README.md", "\nlicense:", prompt);
    });
    finds(
        model_release(converted()),
        |it| {
            edit(
                it,
                "README.md",
                "\nlicense:",
                "\nextra_gated_prompt: \"Please say hello.\"\nlicense:",
            );
        },
        "SA-10",
        Severity::Review,
        Some("README.md"),
    );
    model_breaks("SA-10", "README.md", |it| {
        edit(
            it,
            "README.md",
            "\nlicense:",
            "\nextra_gated_eu_disallowed: true\nlicense:",
        );
    });
    model_breaks("SA-10", "EULA.txt", |it| {
        add_text(it, "EULA.txt", "You accept everything.");
    });
    model_breaks("SA-10", "docs/EULA.pdf", |it| add_file(it, "docs/EULA.pdf"));
    model_breaks("SA-10", "USE_POLICY.md", |it| {
        add_text(it, "USE_POLICY.md", "Be nice.");
    });
    model_breaks("SA-10", "LICENSE", |it| {
        edit(
            it,
            "LICENSE",
            "You must:",
            "You must, for NonCommercial purposes only:",
        );
    });
    model_breaks("SA-10", "LICENSE-RAIL", |it| {
        add_text(
            it,
            "LICENSE-RAIL",
            "BigScience OpenRAIL-M\nUse-based restrictions apply.",
        );
    });
    model_breaks("SA-10", "README.md", |it| {
        it.texts
            .get_mut("README.md")
            .expect("there")
            .push_str("\nFor research purposes only.\n");
    });
    model_breaks("SA-10", "model.safetensors.gpg", |it| {
        it.files.remove("model.safetensors");
        add_file(it, "model.safetensors.gpg");
    });
}

#[test]
fn coarser_numbers_are_to_be_looked_at() {
    finds(
        model_release(converted()),
        |it| ledger(it).record(change(ChangeKind::Quantize, "to 4 bits")),
        "SA-11",
        Severity::Review,
        None,
    );
}

/// A fine-tune by somebody else, under a license of its own.
fn fine_tune(license: &str) -> Ledger {
    let registry = Registry::builtin();
    let mut tune = registry.get("stablelm-zephyr-3b").expect("known").clone();
    "my-tune".clone_into(&mut tune.id);
    "My tune".clone_into(&mut tune.name);
    license.clone_into(&mut tune.license);
    tune.license_url = None;
    tune.creators = vec!["Me".to_owned()];
    "My tune by Me.".clone_into(&mut tune.attribution);
    let mut ledger = Ledger::for_model(&tune);
    ledger.record(change(ChangeKind::Finetune, "on chats"));
    ledger
}

#[test]
fn adapted_material_stays_share_alike() {
    let has = |license: &str, severity: Severity| {
        audit(&model_release(fine_tune(license)))
            .iter()
            .any(|finding| finding.rule == "SA-12" && finding.severity == severity)
    };
    assert!(!has("CC-BY-SA-4.0", Severity::Error));
    assert!(!has("GPL-3.0-only", Severity::Error));
    assert!(has("GPL-3.0-or-later", Severity::Review));
    for license in [
        "Apache-2.0",
        "CC-BY-NC-SA-4.0",
        "LicenseRef-mine",
        "CC-BY-4.0",
    ] {
        assert!(has(license, Severity::Error), "{license}");
    }
    let registry = Registry::builtin();
    let zephyr = Ledger::for_model(registry.get("stablelm-zephyr-3b").expect("known"));
    let owner = outcomes(&model_release(zephyr))
        .into_iter()
        .find(|outcome| outcome.rule == "SA-12")
        .expect("every rule has an outcome");
    assert_eq!(owner.state, ObligationState::Met);
    assert!(owner.evidence.contains("OK-OWNER"));
}

#[test]
fn a_fine_tune_without_a_record_of_it() {
    let mut silent = fine_tune("CC-BY-SA-4.0");
    silent.changes.clear();
    let found = audit(&model_release(silent));
    assert!(
        found.iter().any(|finding| finding.rule == "SA-06"),
        "{found:#?}"
    );
}

#[test]
fn the_text_of_the_adapters_license_is_included() {
    finds(
        model_release(fine_tune("CC-BY-SA-4.0")),
        |it| {
            it.texts.remove("LICENSE");
            for name in ["README.md", "NOTICE", "CITATION.cff"] {
                let text = it.texts.get_mut(name).expect("there");
                *text = text.replace("https://creativecommons.org/licenses/by-sa/4.0/", "there");
            }
        },
        "SA-13",
        Severity::Error,
        Some("LICENSE"),
    );
}

#[test]
fn share_alike_databases_and_odc_by_do_not_merge() {
    let mut merged = mixture();
    for component in &mut merged.components {
        component.part_of = None;
    }
    let found = audit(&data_release(merged));
    assert!(
        found.iter().any(|finding| finding.rule == "SA-14"),
        "{found:#?}"
    );
}

#[test]
fn what_follows_from_a_broken_term_is_told() {
    let termination = |release: &Release| {
        audit(release)
            .into_iter()
            .find(|finding| finding.rule == "SA-15")
            .map(|finding| finding.reason)
    };
    let mut release = model_release(converted());
    assert_eq!(termination(&release), None);
    release.texts.remove("NOTICE");
    assert!(
        termination(&release)
            .expect("a term is broken")
            .contains("30 days")
    );
    ledger(&mut release).violations.push(Violation {
        rule: "SA-03".to_owned(),
        discovered: "2026-11-20".to_owned(),
        cured: None,
    });
    assert!(
        termination(&release)
            .expect("a term is broken")
            .contains("2026-11-20")
    );
}

#[test]
fn databases_under_odc_by_keep_its_terms() {
    let url = "https://opendatacommons.org/licenses/by/1-0/";
    data_breaks("OB-01", "croissant.json", |it| {
        edit(it, "croissant.json", "ODC-By-1.0", "MIT");
        let text = it.texts.get_mut("croissant.json").expect("there");
        *text = text.replace(url, "");
    });
    data_breaks("OB-02", "ATTRIBUTION.md", |it| {
        edit(it, "ATTRIBUTION.md", url, "there");
        edit(it, "ATTRIBUTION.md", "ODC-By-1.0", "a license");
    });
    data_breaks("OB-05", "ATTRIBUTION.md", |it| {
        edit(
            it,
            "ATTRIBUTION.md",
            "Contains information from Falcon",
            "From Falcon",
        );
    });
    data_breaks("OB-06", "ATTRIBUTION.md", |it| {
        edit(it, "ATTRIBUTION.md", "not the web pages in it", "all of it");
    });
    model_breaks("OB-05", "NOTICE", |it| {
        edit(
            it,
            "NOTICE",
            "Contains information from peS2o",
            "From peS2o",
        );
    });
    data_breaks("OB-03", "NOTICE", |it| {
        let web = ledger(it)
            .components
            .iter_mut()
            .find(|found| found.id == "falcon-refinedweb");
        web.expect("used").copyright.push("(c) TII".to_owned());
    });
    finds(
        data_release(mixture()),
        |it| {
            it.texts.remove("ATTRIBUTION.md");
        },
        "OB-04",
        Severity::Error,
        None,
    );
}

#[test]
fn the_terms_of_the_stack_are_kept() {
    finds(
        data_release(mixture()),
        |it| it.files.retain(|path, _| !path.ends_with(".parquet")),
        "TS-01",
        Severity::Error,
        None,
    );
    data_breaks("TS-01", "ATTRIBUTION.md", |it| {
        edit(
            it,
            "ATTRIBUTION.md",
            "Contains source code from The Stack",
            "Code",
        );
    });
    let open = |release: &Release, id: &str| audit(release).iter().any(|found| found.rule == id);
    let mut release = data_release(mixture());
    assert!(open(&release, "TS-02") && open(&release, "TS-03"));
    let stack = ledger(&mut release)
        .components
        .iter_mut()
        .find(|found| found.id == "starcoderdata");
    stack.expect("used").claims[0].revision = Some("v1.2".to_owned());
    add_text(&mut release, "TERMS_OF_USE.md", "The Stack Terms of Use");
    assert!(!open(&release, "TS-02") && !open(&release, "TS-03"));
}

#[test]
fn books3_rows_that_are_left() {
    data_breaks("B3-01", "ledger.json", |it| {
        ledger(it).exclusions[0].remaining = 2;
    });
    data_breaks("B3-01", "ledger.json", |it| {
        ledger(it).sources[2].subset = Some("Books3".to_owned());
    });
    data_breaks("B3-01", "ledger.json", |it| {
        let source = &mut ledger(it).sources[3];
        (source.kind, source.subset) = ("redpajama".to_owned(), Some("BOOKS3".to_owned()));
    });
    data_breaks("B3-01", "ledger.json", |it| {
        "the_pile_books3".clone_into(&mut ledger(it).sources[5].name);
    });
    data_breaks("B3-02", "ledger.json", |it| ledger(it).exclusions.clear());
    data_breaks("B3-02", "ledger.json", |it| {
        ledger(it).exclusions[0].by_rule.clear();
    });
    data_breaks("B3-03", "report.json", |it| {
        edit(it, "report.json", ": 9", ": 8");
    });
    data_breaks("B3-03", "report.json", |it| {
        edit(it, "report.json", "{", "[");
    });
    let registry = Registry::builtin();
    let books3 = Ledger::for_model(registry.get("books3").expect("known"));
    assert!(!errors(&model_release(books3)).is_empty());
    model_breaks("B3-01", "ledger.json", |it| {
        let edge = ledger(it).edges.iter_mut().find(|edge| edge.to == "books3");
        edge.expect("excluded").kind = stablelm_license::RelationKind::TrainedOn;
    });
}

/// A model under a license with a notice condition.
fn noticed(license: &str) -> Release {
    let mut ledger = Ledger::for_unknown("My model");
    let model = &mut ledger.components[0];
    license.clone_into(&mut model.license);
    model.copyright = vec!["Copyright 2024 Me".to_owned()];
    ledger.record(change(ChangeKind::Format, "x"));
    model_release(ledger)
}

#[test]
fn permissive_notices_are_kept() {
    let lost = |it: &mut Release| edit(it, "NOTICE", "Copyright 2024 Me", "");
    finds(
        noticed("MIT"),
        lost,
        "MB-01",
        Severity::Error,
        Some("NOTICE"),
    );
    finds(
        noticed("Apache-2.0"),
        lost,
        "AP-04",
        Severity::Error,
        Some("NOTICE"),
    );
    finds(
        noticed("Apache-2.0"),
        |it| drop(it.texts.remove("CHANGES.json")),
        "AP-03",
        Severity::Error,
        Some("CHANGES.json"),
    );
    finds(
        noticed("Apache-2.0"),
        |it| edit(it, "NOTICE", "My model", "A model"),
        "AP-02",
        Severity::Warning,
        Some("NOTICE"),
    );
    let open = |release: &Release, id: &str| audit(release).iter().any(|found| found.rule == id);
    let mut mit = noticed("MIT");
    assert!(open(&mit, "MB-02"));
    add_text(
        &mut mit,
        "LICENSES/MIT.txt",
        "Permission is hereby granted, free of charge",
    );
    assert!(!open(&mit, "MB-02"));
    // The tokenizer of the published model lies beside it, under Apache-2.0.
    let mut model = model_release(converted());
    assert!(open(&model, "AP-01"));
    let text = license_text("Apache-2.0").expect("it comes with the crate");
    add_text(&mut model, "LICENSES/Apache-2.0.txt", text);
    assert!(!open(&model, "AP-01"));
}

#[test]
fn obligations_can_be_kept_in_the_ledger() {
    let mut release = model_release(converted());
    release.texts.remove("CHANGES.json");
    let found = obligations(&release);
    let state = |id: &str| {
        found
            .iter()
            .find(|found| found.rule == id)
            .map(|found| found.state)
    };
    assert_eq!(state("SA-06"), Some(ObligationState::Broken));
    assert_eq!(state("SA-01"), Some(ObligationState::Met));
    assert_eq!(state("SA-08"), None);
    let mut ledger = converted();
    ledger.obligations = found;
    let read = Ledger::from_json(ledger.to_json().as_bytes()).expect("just written");
    assert_eq!(read, ledger);
    let named: Vec<_> = duties(&converted())
        .into_iter()
        .map(|duty| duty.rule)
        .collect();
    for id in ["SA-01", "SA-07", "OB-05", "SA-10"] {
        assert!(named.contains(&id.to_owned()), "{id} not in {named:?}");
    }
}

#[test]
fn a_folder_without_a_ledger_is_read_from_its_header_or_card() {
    let mut release = model_release(converted());
    release.ledger = None;
    assert_eq!(errors(&release), [""; 0]);
    release.metadata.clear();
    release.texts.remove("NOTICE");
    let broken = audit(&release);
    assert!(
        broken.iter().any(|finding| finding.rule == "SA-03"),
        "{broken:#?}"
    );
}
