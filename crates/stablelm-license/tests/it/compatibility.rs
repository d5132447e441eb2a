//! The matrix, row by row, in both readings; expressions; the owner; what a ledger brings.

use proptest::prelude::*;
use stablelm_license::{
    CheckInput, CheckOptions, CheckReport, ComponentKind, Context, Ledger, LicenseExpression,
    Posture, Registry, Severity, Verdict, check,
};

use Context::{Adapt, Agg, Data, Private, Train};
use Verdict::{Conflict, Obligations, Ok as Fine, Review, Unknown};

use crate::samples::{converted, mixture};

fn license(text: &str) -> LicenseExpression {
    LicenseExpression::parse(text).expect("the tables hold expressions")
}

fn options(context: Context, outbound: &str, posture: Posture) -> CheckOptions {
    CheckOptions {
        context,
        outbound: (!outbound.is_empty()).then(|| license(outbound)),
        posture,
        owner: None,
        recipe_only: false,
    }
}

/// Reads what the command line would: `contents:` marks the contents of a database.
fn input(text: &str) -> CheckInput {
    match text.strip_prefix("contents:") {
        Some(text) => CheckInput {
            is_contents: true,
            ..CheckInput::from_expression(license(text))
        },
        None => CheckInput::from_expression(license(text)),
    }
}

fn judge(inputs: &[&str], context: Context, outbound: &str, posture: Posture) -> CheckReport {
    let inputs: Vec<_> = inputs.iter().map(|text| input(text)).collect();
    check(&inputs, &options(context, outbound, posture))
}

/// Inputs, outbound, the verdict of the conservative and of the permissive reading, and a word of
/// the clause that decides.
type Row<'a> = (&'a [&'a str], &'a str, Verdict, Verdict, &'a str);

#[track_caller]
fn check_rows(context: Context, rows: &[Row]) {
    for (inputs, outbound, conservative, permissive, clause) in rows {
        for (posture, expected) in [
            (Posture::Conservative, conservative),
            (Posture::Permissive, permissive),
        ] {
            let report = judge(inputs, context, outbound, posture);
            let what = format!("{context:?} {inputs:?} -> {outbound} ({posture:?}): {report:#?}");
            assert_eq!(report.verdict, *expected, "{what}");
            assert!(!report.findings.is_empty(), "{what}");
            for found in &report.findings {
                assert!(!found.finding.rule.is_empty(), "{what}");
                assert!(!found.finding.clause.is_empty(), "{what}");
                assert!(!found.finding.source.is_empty(), "{what}");
                assert!(!found.finding.reason.is_empty(), "{what}");
            }
            let decides = report
                .findings
                .iter()
                .find(|found| found.verdict == Some(*expected))
                .unwrap_or_else(|| panic!("no finding decides: {what}"));
            assert!(decides.finding.clause.contains(clause), "{clause}: {what}");
        }
    }
}

const BY_SA: &[&str] = &["CC-BY-SA-4.0"];

#[test]
fn outbound_of_weights_adapted_from_share_alike() {
    let row = |outbound, verdict, clause| (BY_SA, outbound, verdict, verdict, clause);
    check_rows(
        Adapt,
        &[
            row("CC-BY-SA-4.0", Fine, "3(b)(1)"),
            row("cc-by-sa-4.0", Fine, "3(b)(1)"),
            row("GPL-3.0-only", Fine, "3(b)(1)"),
            row("gpl-3.0", Fine, "3(b)(1)"),
            row("GPL-3.0-or-later", Review, "3(b)(1)"),
            row("LAL-1.3", Fine, "3(b)(1)"),
            row("CC-BY-SA-3.0", Conflict, "3(b)(1)"),
            row("CC-BY-4.0", Conflict, "3(b)(1)"),
            row("CC0-1.0", Conflict, "3(b)(1)"),
            row("MIT", Conflict, "3(b)(1)"),
            row("BSD-3-Clause", Conflict, "3(b)(1)"),
            row("Apache-2.0", Conflict, "3(b)(1)"),
            row("ODC-By-1.0", Conflict, "3(b)(1)"),
            row("ODbL-1.0", Conflict, "3(b)(1)"),
            row("MPL-2.0", Conflict, "3(b)(1)"),
            row("GPL-2.0-only", Conflict, "3(b)(1)"),
            row("AGPL-3.0-only", Conflict, "3(b)(1)"),
            row("CC-BY-NC-4.0", Conflict, "3(b)(3)"),
            row("CC-BY-ND-4.0", Conflict, "3(b)(3)"),
            row("CC-BY-NC-SA-4.0", Conflict, "3(b)(3)"),
            row("CC-BY-NC-ND-4.0", Conflict, "3(b)(3)"),
            row("openrail", Conflict, "2(a)(5)(C)"),
            row("openrail++", Conflict, "2(a)(5)(C)"),
            row("bigcode-openrail-m", Conflict, "2(a)(5)(C)"),
            row("llama3.1", Conflict, "2(a)(5)(C)"),
            row("gemma", Conflict, "2(a)(5)(C)"),
            row("LicenseRef-StabilityAI-Community", Conflict, "2(a)(5)(C)"),
            row("other", Unknown, "no license stated"),
            row("unknown", Unknown, "no license stated"),
            row("NOASSERTION", Unknown, "no license stated"),
            row("LicenseRef-nobody-knows", Unknown, "no license stated"),
            row("", Unknown, "no license stated"),
        ],
    );
}

#[test]
fn inbound_into_share_alike_weights() {
    let row = |inputs: &'static [&'static str], verdict, clause| {
        (inputs, "CC-BY-SA-4.0", verdict, verdict, clause)
    };
    check_rows(
        Adapt,
        &[
            row(&["CC-BY-SA-4.0", "CC0-1.0"], Fine, "3(b)(1)"),
            row(&["CC0-1.0"], Fine, "no conditions"),
            row(&["CC-BY-4.0"], Fine, "3(a)"),
            row(&["MIT"], Fine, "notice"),
            row(&["BSD-2-Clause"], Fine, "notice"),
            row(&["CC-BY-SA-3.0"], Fine, "4(b)"),
            row(&["CC-BY-SA-2.5"], Fine, "4(b)"),
            row(&["CC-BY-SA-1.0"], Review, "1.0 4(b)"),
            row(&["LAL-1.3"], Fine, "Free Art"),
            row(&["Apache-2.0"], Review, "Apache-2.0 4"),
            row(&["CC-BY-SA-4.0", "Apache-2.0"], Review, "Apache-2.0 4"),
            row(&["CC-BY-NC-4.0"], Conflict, "2(a)(1)"),
            row(&["CC-BY-NC-SA-4.0"], Conflict, "2(a)(1)"),
            row(&["CC-BY-ND-4.0"], Conflict, "2(a)(1)(B)"),
            row(&["creativeml-openrail-m"], Conflict, "use restrictions"),
            row(&["GPL-3.0-only"], Conflict, "5(c)"),
            row(
                &["CC-BY-SA-4.0", "NOASSERTION"],
                Unknown,
                "no license stated",
            ),
            row(&["NOASSERTION", "CC-BY-NC-4.0"], Conflict, "2(a)(1)"),
        ],
    );
    check_rows(
        Adapt,
        &[
            (
                &["CC-BY-SA-4.0", "GPL-3.0-only"],
                "GPL-3.0-only",
                Fine,
                Fine,
                "3(b)(1)",
            ),
            (
                &["CC-BY-SA-4.0", "Apache-2.0"],
                "GPL-3.0-only",
                Fine,
                Fine,
                "3(b)(1)",
            ),
        ],
    );
}

#[test]
fn other_bases() {
    let row = |base: &'static [&'static str], outbound, verdict, clause| {
        (base, outbound, verdict, verdict, clause)
    };
    check_rows(
        Adapt,
        &[
            row(&["Apache-2.0"], "Apache-2.0", Fine, "Apache-2.0 4"),
            row(&["Apache-2.0"], "MIT", Obligations, "Apache-2.0 4"),
            row(&["Apache-2.0"], "GPL-3.0-or-later", Fine, "GPL-3.0 7"),
            row(&["Apache-2.0"], "GPL-2.0-only", Conflict, "GPL-2.0 6"),
            row(&["Apache-2.0"], "CC-BY-4.0", Review, "Apache-2.0 4"),
            row(&["MIT"], "CC-BY-NC-4.0", Fine, "notice"),
            row(&["MIT"], "CC0-1.0", Obligations, "notice"),
            row(&["MIT"], "other", Unknown, "no license stated"),
            row(&["CC-BY-4.0"], "CC-BY-SA-4.0", Fine, "3(a)"),
            row(&["CC-BY-4.0"], "Apache-2.0", Obligations, "3(a)(4)"),
            row(&["CC-BY-4.0"], "CC0-1.0", Conflict, "3(a)(4)"),
            row(&["CC-BY-4.0"], "gemma", Review, "3(a)(4)"),
            row(&["CC0-1.0"], "llama2", Fine, "no conditions"),
            row(&["GPL-3.0-only"], "GPL-3.0-only", Fine, "5(c)"),
            row(&["GPL-3.0-only"], "Apache-2.0", Conflict, "5(c)"),
            row(&["GPL-2.0-or-later"], "GPL-3.0-only", Fine, "GPL-2.0 9"),
            row(&["MPL-2.0"], "MIT", Review, "copyleft"),
            row(&["CC-BY-NC-4.0"], "CC-BY-NC-SA-4.0", Fine, "2(a)(1)"),
            row(&["CC-BY-NC-4.0"], "Apache-2.0", Conflict, "2(a)(1)"),
            row(&["CC-BY-NC-SA-4.0"], "CC-BY-NC-4.0", Conflict, "3(b)(1)"),
            row(&["CC-BY-ND-4.0"], "CC-BY-ND-4.0", Conflict, "2(a)(1)(B)"),
            row(
                &["LicenseRef-StabilityAI-Community"],
                "LicenseRef-StabilityAI-Community",
                Review,
                "use restrictions",
            ),
            row(
                &["LicenseRef-StabilityAI-Community"],
                "Apache-2.0",
                Conflict,
                "use restrictions",
            ),
            row(
                &["LicenseRef-StabilityAI-NC-Research-Community"],
                "MIT",
                Conflict,
                "2(a)(1)",
            ),
            row(&["ODC-By-1.0"], "CC-BY-SA-4.0", Review, "4.2(a)"),
            row(&["ODbL-1.0"], "MIT", Conflict, "4.4"),
            row(
                &["Watcom-1.0"],
                "Watcom-1.0",
                Review,
                "terms of the license",
            ),
        ],
    );
}

#[test]
fn from_data_into_a_share_alike_model() {
    let row = |input: &'static [&'static str], conservative, permissive, clause| {
        (input, "CC-BY-SA-4.0", conservative, permissive, clause)
    };
    check_rows(
        Train,
        &[
            row(&["CC0-1.0"], Fine, Fine, "no conditions"),
            row(&["PDDL-1.0"], Fine, Fine, "no conditions"),
            row(&["ODC-By-1.0"], Obligations, Obligations, "4.3"),
            row(&["odc-by"], Obligations, Obligations, "4.3"),
            row(&["CC-BY-4.0"], Obligations, Fine, "3(a)"),
            row(&["CC-BY-SA-2.5"], Obligations, Fine, "3(b)(1)"),
            row(&["CC-BY-SA-3.0"], Obligations, Fine, "3(b)(1)"),
            row(&["CC-BY-SA-4.0"], Obligations, Fine, "3(b)(1)"),
            row(
                &["CC-BY-SA-2.5 AND CC-BY-SA-3.0 AND CC-BY-SA-4.0"],
                Obligations,
                Fine,
                "3(b)(1)",
            ),
            row(&["CC-BY-NC-4.0"], Conflict, Review, "2(a)(1)"),
            row(&["CC-BY-NC-SA-4.0"], Conflict, Review, "2(a)(1)"),
            row(&["CC-BY-ND-4.0"], Conflict, Review, "2(a)(1)"),
            row(&["MIT"], Obligations, Fine, "notice"),
            row(&["BSD-3-Clause"], Obligations, Fine, "notice"),
            row(&["Apache-2.0"], Obligations, Fine, "notice"),
            row(
                &["LicenseRef-TheStack-ToU"],
                Obligations,
                Obligations,
                "The Stack",
            ),
            row(&["LicenseRef-CommonCrawl-ToU"], Review, Review, "site"),
            row(
                &["LicenseRef-arXiv-mixed"],
                Unknown,
                Unknown,
                "no license stated",
            ),
            row(&["NOASSERTION"], Unknown, Unknown, "no license stated"),
            row(&["NONE"], Unknown, Unknown, "no license stated"),
            row(&["other"], Unknown, Unknown, "no license stated"),
            row(&["llama3"], Conflict, Review, "use restrictions"),
            row(&["ODbL-1.0"], Review, Obligations, "4.3"),
            row(&["GPL-3.0-only"], Review, Review, "terms of the license"),
        ],
    );
    check_rows(
        Train,
        &[
            (BY_SA, "Apache-2.0", Conflict, Review, "3(b)(1)"),
            (&["CC-BY-NC-4.0"], "CC-BY-NC-4.0", Review, Review, "2(a)(1)"),
            (
                &["CC0-1.0"],
                "NOASSERTION",
                Unknown,
                Unknown,
                "no license stated",
            ),
        ],
    );
}

#[test]
fn what_was_taken_down_is_a_conflict_in_every_context_and_reading() {
    let registry = Registry::builtin();
    let books3 = registry.get("books3").expect("known");
    let books3 = CheckInput::from_component(books3).expect("an expression");
    for context in [Agg, Adapt, Train, Data, Private] {
        for posture in [Posture::Conservative, Posture::Permissive] {
            for recipe_only in [false, true] {
                let options = CheckOptions {
                    recipe_only,
                    owner: Some("anybody".to_owned()),
                    ..options(context, "CC-BY-SA-4.0", posture)
                };
                let report = check(std::slice::from_ref(&books3), &options);
                assert_eq!(report.verdict, Conflict, "{context:?} {posture:?}");
                assert_eq!(report.findings[0].finding.rule, "TD-01");
            }
        }
    }
}

#[test]
fn merged_data_published_again() {
    let row = |inputs: &'static [&'static str], outbound, verdict, clause| {
        (inputs, outbound, verdict, verdict, clause)
    };
    check_rows(
        Data,
        &[
            row(&["ODC-By-1.0", "ODC-By-1.0"], "ODC-By-1.0", Fine, "4.2(a)"),
            row(
                &["ODC-By-1.0", "CC-BY-SA-4.0"],
                "ODC-By-1.0",
                Conflict,
                "4(b)",
            ),
            row(
                &["ODC-By-1.0", "CC-BY-SA-4.0"],
                "CC-BY-SA-4.0",
                Conflict,
                "4.2(a)",
            ),
            row(
                &["ODC-By-1.0", "contents:CC-BY-SA-3.0"],
                "ODC-By-1.0",
                Obligations,
                "2.4",
            ),
            row(
                &["ODC-By-1.0", "LicenseRef-TheStack-ToU"],
                "ODC-By-1.0",
                Obligations,
                "The Stack",
            ),
            row(
                &["ODC-By-1.0", "NOASSERTION"],
                "ODC-By-1.0",
                Unknown,
                "no license stated",
            ),
            row(&["ODC-By-1.0"], "MIT", Conflict, "4.2(a)"),
            row(&["CC0-1.0"], "CC-BY-4.0", Fine, "no conditions"),
            row(&["CC-BY-SA-3.0"], "CC-BY-SA-4.0", Fine, "4(b)"),
            row(&["CC-BY-4.0"], "ODC-By-1.0", Obligations, "3(a)"),
            row(&["CC-BY-NC-4.0"], "ODC-By-1.0", Conflict, "2(a)(1)"),
            row(&["CC-BY-ND-4.0"], "CC-BY-ND-4.0", Conflict, "2(a)(1)(B)"),
            row(&["MIT"], "ODC-By-1.0", Obligations, "notice"),
            row(
                &["LicenseRef-CommonCrawl-ToU"],
                "ODC-By-1.0",
                Review,
                "site",
            ),
        ],
    );
}

#[test]
fn a_recipe_without_text_can_always_be_published() {
    for inputs in [&["NOASSERTION"][..], &["ODC-By-1.0", "CC-BY-NC-ND-4.0"]] {
        let inputs: Vec<_> = inputs.iter().map(|text| input(text)).collect();
        let options = CheckOptions {
            recipe_only: true,
            ..options(Data, "CC0-1.0", Posture::Conservative)
        };
        assert_eq!(check(&inputs, &options).verdict, Fine);
    }
}

#[test]
fn side_by_side_each_file_keeps_its_license() {
    let row = |inputs: &'static [&'static str], outbound, verdict, clause| {
        (inputs, outbound, verdict, verdict, clause)
    };
    check_rows(
        Agg,
        &[
            row(&["CC-BY-SA-4.0", "Apache-2.0"], "", Fine, "3(a)"),
            row(
                &["CC-BY-SA-4.0", "Apache-2.0"],
                "CC-BY-SA-4.0",
                Fine,
                "3(a)",
            ),
            row(
                &["CC-BY-SA-4.0", "CC-BY-NC-4.0", "GPL-3.0-only", "ODC-By-1.0"],
                "",
                Fine,
                "3(a)",
            ),
            row(&["CC-BY-SA-4.0", "gemma"], "", Fine, "3(a)"),
            row(
                &["CC-BY-SA-4.0", "NOASSERTION"],
                "",
                Unknown,
                "no license stated",
            ),
            row(&["LicenseRef-TheStack-ToU"], "", Obligations, "The Stack"),
        ],
    );
}

#[test]
fn internal_use_is_not_sharing() {
    let row = |inputs: &'static [&'static str], outbound, verdict, clause| {
        (inputs, outbound, verdict, verdict, clause)
    };
    check_rows(
        Private,
        &[
            row(BY_SA, "", Fine, "1(k)"),
            row(BY_SA, "Apache-2.0", Fine, "1(k)"),
            row(&["CC-BY-NC-4.0"], "", Review, "limits on use"),
            row(&["gemma"], "", Review, "limits on use"),
            row(&["NOASSERTION"], "", Unknown, "no license stated"),
        ],
    );
    let report = judge(BY_SA, Private, "Apache-2.0", Posture::Conservative);
    let outlook = report
        .findings
        .iter()
        .find(|found| found.finding.rule == "SA-12")
        .expect("what sharing would come to is told");
    assert_eq!(outlook.finding.severity, Severity::Info);
}

#[test]
fn an_expression_is_judged_by_its_parts() {
    let verdict =
        |text: &str, outbound: &str| judge(&[text], Adapt, outbound, Posture::Conservative).verdict;
    let by_sa = "CC-BY-SA-4.0";
    assert_eq!(verdict("MIT AND Apache-2.0", by_sa), Review);
    assert_eq!(verdict("MIT OR Apache-2.0", by_sa), Fine);
    assert_eq!(verdict("GPL-3.0-only OR MIT", by_sa), Fine);
    assert_eq!(
        verdict("(GPL-3.0-only OR MIT) AND CC-BY-NC-4.0", by_sa),
        Conflict
    );
    assert_eq!(
        verdict("GPL-3.0-only OR MIT AND CC-BY-NC-4.0", by_sa),
        Conflict
    );
    assert_eq!(verdict("MIT AND NOASSERTION", by_sa), Unknown);
    assert_eq!(
        verdict("Apache-2.0 WITH LLVM-exception", "Apache-2.0"),
        Fine
    );
    assert_eq!(verdict("MIT WITH AdditionRef-secret", by_sa), Unknown);
    assert_eq!(verdict("MPL-2.0+", "MPL-2.0"), Fine);
    // Recipients may pick any license that goes out, so each has to be allowed.
    assert_eq!(verdict(by_sa, "CC-BY-SA-4.0 OR GPL-3.0-only"), Fine);
    assert_eq!(verdict(by_sa, "CC-BY-SA-4.0 OR MIT"), Conflict);
}

#[test]
fn a_choice_lists_only_the_side_that_was_taken() {
    let report = judge(
        &["CC-BY-NC-4.0 OR CC0-1.0"],
        Adapt,
        "MIT",
        Posture::Conservative,
    );
    assert_eq!(report.verdict, Fine);
    let clauses: Vec<_> = report
        .findings
        .iter()
        .map(|found| found.finding.clause.as_str())
        .collect();
    assert_eq!(clauses, ["no conditions"]);
}

#[test]
fn duties_come_with_a_good_verdict() {
    let report = judge(BY_SA, Adapt, "CC-BY-SA-4.0", Posture::Conservative);
    let duties: Vec<_> = report
        .findings
        .iter()
        .filter(|found| found.verdict.is_none())
        .map(|found| found.finding.rule.as_str())
        .collect();
    for rule in ["SA-01", "SA-06", "SA-07", "SA-13"] {
        assert!(duties.contains(&rule), "{rule}");
    }
    let report = judge(
        &["ODC-By-1.0"],
        Train,
        "CC-BY-SA-4.0",
        Posture::Conservative,
    );
    assert!(
        report
            .findings
            .iter()
            .any(|found| found.finding.rule == "OB-06")
    );
}

fn component(id: &str) -> CheckInput {
    let registry = Registry::builtin();
    CheckInput::from_component(registry.get(id).expect("known")).expect("an expression")
}

#[test]
fn the_licensor_is_not_bound_by_its_own_license() {
    let judge = |input: CheckInput, owner: &str, outbound: &str| {
        check(
            &[input],
            &CheckOptions {
                owner: Some(owner.to_owned()),
                ..options(Adapt, outbound, Posture::Conservative)
            },
        )
    };
    let model = || component("stablelm-3b-4e1t");
    let outbound = "LicenseRef-StabilityAI-NC-Research-Community";
    for owner in ["Stability AI", "stabilityai", "StabilityAI"] {
        let report = judge(model(), owner, outbound);
        assert_eq!(report.verdict, Fine, "{owner}");
        assert_eq!(report.findings[0].finding.rule, "OK-OWNER");
        assert!(report.findings[0].finding.reason.contains("OK-OWNER"));
    }
    for owner in ["Somebody Else", "", "stability"] {
        let report = judge(model(), owner, outbound);
        assert_eq!(report.verdict, Conflict, "{owner}");
        let said = report.findings.iter().any(|found| {
            found.finding.rule == "OK-OWNER" && found.finding.reason.contains("not proved")
        });
        assert!(said, "{report:#?}");
    }
    let bare = CheckInput::from_expression(license("CC-BY-SA-4.0"));
    assert_eq!(
        judge(bare, "Stability AI", "MIT").verdict,
        Conflict,
        "no proof"
    );
    let mut joint = model();
    joint.creators.push("A Partner".to_owned());
    assert_eq!(
        judge(joint, "Stability AI", "MIT").verdict,
        Conflict,
        "two creators"
    );
    assert_eq!(judge(model(), "Stability AI", "other").verdict, Unknown);
}

#[test]
fn a_ledger_brings_what_the_context_touches() {
    let labels = |ledger: &Ledger, context| -> Vec<String> {
        CheckInput::from_ledger(ledger, context)
            .expect("expressions")
            .into_iter()
            .map(|input| input.label)
            .collect()
    };
    let model = converted();
    assert_eq!(labels(&model, Adapt), ["stablelm-3b-4e1t"]);
    assert_eq!(
        labels(&model, Agg),
        ["stablelm-3b-4e1t", "gpt-neox-20b-tokenizer"]
    );
    let train = labels(&model, Train);
    assert!(train.contains(&"falcon-refinedweb".to_owned()), "{train:?}");
    assert!(
        train.contains(&"redpajama-c4".to_owned()),
        "a whole without a license brings its parts"
    );
    assert!(!train.contains(&"books3".to_owned()), "{train:?}");

    let data = CheckInput::from_ledger(&mixture(), Data).expect("expressions");
    let wikipedia = data
        .iter()
        .find(|input| input.label == "pile/Wikipedia (en)")
        .expect("used");
    assert!(wikipedia.is_contents);
    let report = check(&data, &options(Data, "ODC-By-1.0", Posture::Conservative));
    assert_eq!(report.verdict, Unknown);

    let mut left = mixture();
    left.exclusions[0].remaining = 3;
    let data = CheckInput::from_ledger(&left, Train).expect("expressions");
    let report = check(&data, &options(Train, "CC-BY-SA-4.0", Posture::Permissive));
    assert_eq!(report.verdict, Conflict);
}

#[test]
fn tokenizers_lie_beside_and_datasets_train() {
    let mut tokenizer = input("Apache-2.0");
    tokenizer.kind = Some(ComponentKind::Tokenizer);
    let report = check(
        &[tokenizer],
        &options(Adapt, "CC-BY-SA-4.0", Posture::Conservative),
    );
    assert_eq!(report.verdict, Fine);
    let mut data = input("MIT");
    data.kind = Some(ComponentKind::Dataset);
    let report = check(
        &[data],
        &options(Adapt, "CC-BY-SA-4.0", Posture::Conservative),
    );
    assert_eq!(report.verdict, Obligations);
}

#[test]
fn nothing_at_all_is_unknown() {
    assert_eq!(
        check(&[], &options(Agg, "", Posture::Permissive)).verdict,
        Unknown
    );
}

const NAMES: [&str; 22] = [
    "CC-BY-SA-4.0",
    "CC-BY-SA-3.0",
    "CC-BY-4.0",
    "CC0-1.0",
    "MIT",
    "Apache-2.0",
    "GPL-3.0-only",
    "MPL-2.0",
    "ODC-By-1.0",
    "ODbL-1.0",
    "CC-BY-NC-4.0",
    "CC-BY-ND-4.0",
    "LAL-1.3",
    "gemma",
    "LicenseRef-TheStack-ToU",
    "LicenseRef-CommonCrawl-ToU",
    "NOASSERTION",
    "other",
    "LicenseRef-x",
    "Watcom-1.0",
    "0BSD",
    "BSD-3-Clause",
];

const UNKNOWN_NAMES: [&str; 5] = [
    "NOASSERTION",
    "other",
    "LicenseRef-x",
    "nobody-knows-1.0",
    "cc",
];

fn any_context() -> impl Strategy<Value = Context> {
    prop::sample::select(vec![Agg, Adapt, Train, Data, Private])
}

fn any_posture() -> impl Strategy<Value = Posture> {
    prop::sample::select(vec![Posture::Conservative, Posture::Permissive])
}

fn any_name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(NAMES.to_vec())
}

proptest! {
    #[test]
    fn one_more_input_never_makes_it_better(
        names in prop::collection::vec(any_name(), 1..4),
        more in any_name(),
        outbound in any_name(),
        context in any_context(),
        posture in any_posture(),
    ) {
        let before = judge(&names, context, outbound, posture).verdict;
        let mut names = names;
        names.push(more);
        let after = judge(&names, context, outbound, posture).verdict;
        prop_assert!(after >= before, "{names:?} {before:?} {after:?}");
        let joined = names.join(" AND ");
        prop_assert_eq!(judge(&[&joined], context, outbound, posture).verdict, after);
    }

    #[test]
    fn the_unknown_never_gives_a_good_verdict(
        name in any_name(),
        unknown in prop::sample::select(UNKNOWN_NAMES.to_vec()),
        context in any_context(),
        posture in any_posture(),
    ) {
        for (inputs, outbound) in [
            (vec![name, unknown], "CC-BY-SA-4.0"),
            (vec![unknown], name),
            (vec![name], unknown),
        ] {
            let verdict = judge(&inputs, context, outbound, posture).verdict;
            prop_assert!(verdict >= Unknown, "{inputs:?} {outbound} {verdict:?}");
        }
    }

    #[test]
    fn the_permissive_reading_is_never_the_stricter_one(
        name in any_name(),
        outbound in any_name(),
        context in any_context(),
    ) {
        let verdict = |posture| judge(&[name], context, outbound, posture).verdict;
        prop_assert!(verdict(Posture::Permissive) <= verdict(Posture::Conservative));
    }

    #[test]
    fn any_text_is_read_or_refused_with_a_place(text in "(\\PC|MIT|AND|OR|WITH|\\(|\\)| ){0,20}") {
        if let Err(error) = LicenseExpression::parse(&text) {
            prop_assert!(error.column >= 1 && error.column <= text.chars().count() + 1);
        }
    }

    #[test]
    fn what_is_written_is_read_back(names in prop::collection::vec(any_name(), 1..5)) {
        let text = names.join(" OR ");
        let read = LicenseExpression::parse(&text).expect("names joined");
        let again = LicenseExpression::parse(&read.to_string()).expect("just written");
        prop_assert_eq!(read, again);
    }
}
