//! Findings in cards and citation files: what, where, and what the fixes do.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;
use serde_json::Value;
use stablelm_license::lint::{HUB_LICENSES, Lint, fix, fixed, is_hub_license, lint};
use stablelm_license::{Severity, cite_cff, model_card};

use crate::samples::{converted, facts};

/// A card with the defects that were measured on the published one, in words of our own.
const CARD: &str = "---
language:
- en
license: cc-by-sa-4.0
tags:
- causal-lm
datasets:
- tiiuae/falcon-refinedweb
- togethercomputer/RedPajama-Data-1T
- CarperAI/pilev2-dev
- bigcode/starcoderdata
- allenai/peS2o
extra_gated_fields:
  Name: text
  Email: text
  I agree to mails: checkbox
---
# `StableLM-3B-4E1T`

## Data

Open data from the hub: Falcon RefinedWeb extract ([Penedo et al.](https://huggingface.co/datasets/tiiuae/falcon-refinedweb)), RedPajama-Data and The Pile (Gao et al., 2020), both without the *Books3* subset, and StarCoder.

## Terms

* **License**: the checkpoints are under ([CC BY-SA-4.0](https://creativecommons.org/licenses/by-sa/4.0/)). Under this license you must give [credit](https://creativecommons.org/licenses/by/4.0/#) and [indicate if changes were made](https://creativecommons.org/licenses/by/4.0/#).

## Limits

\u{e2}\u{20ac}\u{2039}As a base model, this one needs tests.

```bibtex
@misc{StableLM-3B-4E1T,
      url={[https://huggingface.co/stabilityai/stablelm-3b-4e1t](https://huggingface.co/stabilityai/stablelm-3b-4e1t)},
      title={StableLM 3B 4E1T},
      author={Tow, Jonathan and Bellagente, Marco}
}
```
";

/// Returns the findings of a rule as `line:column`.
fn places(lints: &[Lint], rule: &str) -> Vec<String> {
    lints
        .iter()
        .filter(|lint| lint.finding.rule == rule)
        .map(|lint| {
            let finding = &lint.finding;
            format!("{}:{}", finding.line.unwrap(), finding.column.unwrap())
        })
        .collect()
}

/// Returns where a text begins, as a person counts: `line:column` from 1, in characters.
fn place_of(text: &str, part: &str, nth: usize) -> String {
    let (at, _) = text.match_indices(part).nth(nth).unwrap();
    let line = text[..at].matches('\n').count() + 1;
    let start = text[..at].rfind('\n').map_or(0, |at| at + 1);
    format!("{line}:{}", text[start..at].chars().count() + 1)
}

#[test]
fn the_defects_of_the_published_card_are_found_where_they_are() {
    let lints = lint("README.md", CARD.as_bytes());
    let check = |rule: &str, expected: &[String]| {
        assert_eq!(places(&lints, rule), expected, "{rule}");
    };
    // 1. Two of three links lead to plain CC BY.
    check(
        "CARD-CC-LINK",
        &[place_of(CARD, "by/4.0/#", 0), place_of(CARD, "by/4.0/#", 1)],
    );
    // 2. Datasets of the front matter that the text does not name, and the other way round.
    check(
        "CARD-DATASET-PROSE",
        &[
            place_of(CARD, "CarperAI/pilev2-dev", 0),
            place_of(CARD, "allenai/peS2o", 0),
        ],
    );
    check("CARD-DATASET-FRONT", &[place_of(CARD, "The Pile", 0)]);
    // 3. Markdown in the address of a citation, and no year.
    check(
        "CARD-BIBTEX-URL",
        &[place_of(CARD, "[https://huggingface.co/stab", 0)],
    );
    check("CARD-BIBTEX-YEAR", &[place_of(CARD, "@misc", 0)]);
    // 4. A zero width space that was read in the wrong encoding.
    check(
        "TEXT-MOJIBAKE",
        &[place_of(CARD, "\u{e2}\u{20ac}\u{2039}", 0)],
    );
    // 5. Keys that the hub reads and the card lacks.
    let missing: Vec<_> = lints
        .iter()
        .filter(|lint| lint.finding.rule == "CARD-KEY-MISSING")
        .map(|lint| lint.finding.reason.split('`').nth(1).unwrap())
        .collect();
    assert_eq!(
        missing,
        ["library_name", "pipeline_tag", "license_link", "base_model"]
    );
    // 6. Two wordings of the Books3 claim.
    check("CARD-BOOKS3", &[place_of(CARD, "Books3", 0)]);
    // 7. A gate that was lifted, and a claim without a revision.
    check(
        "CARD-GATE-LIFTED",
        &[place_of(CARD, "extra_gated_fields", 0)],
    );
    check("CARD-CLAIM-REVISION", &[place_of(CARD, "license:", 0)]);
}

#[test]
fn fixes_change_what_they_fix_and_nothing_else() {
    let new = fix("README.md", CARD);
    let expected = CARD
        .replace("licenses/by/4.0", "licenses/by-sa/4.0")
        .replace("\u{e2}\u{20ac}\u{2039}", "")
        .replace(
            "[https://huggingface.co/stabilityai/stablelm-3b-4e1t](https://huggingface.co/stabilityai/stablelm-3b-4e1t)",
            "https://huggingface.co/stabilityai/stablelm-3b-4e1t",
        );
    assert_eq!(new, expected);
    assert_eq!(fix("README.md", &new), new);
    let left = lint("README.md", new.as_bytes());
    assert!(left.iter().all(|lint| lint.fix.is_none()));
    for rule in ["CARD-CC-LINK", "CARD-BIBTEX-URL", "TEXT-MOJIBAKE"] {
        assert_eq!(places(&left, rule), [""; 0], "{rule}");
    }
}

/// Lints a card with this front matter and a short text.
fn front(lines: &str) -> Vec<Lint> {
    let card = format!("---\n{lines}\n---\n# X\n");
    lint("README.md", card.as_bytes())
}

#[test]
fn front_matter_is_held_against_what_the_hub_reads() {
    let check = |lines: &str, rule: &str, expected: &[&str]| {
        assert_eq!(places(&front(lines), rule), expected, "{lines}");
    };
    check("license: cc-by-sa-4.0", "CARD-LICENSE-ID", &[]);
    check("license: CC-BY-SA-4.0", "CARD-LICENSE-ID", &["2:10"]);
    check("license: ODC-By-1.0", "CARD-LICENSE-ID", &["2:10"]);
    check("license: my-own", "CARD-LICENSE-ID", &["2:10"]);
    check("license: [mit, Nonsense]", "CARD-LICENSE-ID", &["2:16"]);
    check("license: [mit, apache-2.0]", "CARD-LICENSE-LIST", &["2:1"]);
    check("license:", "CARD-LICENSE-MISSING", &["2:1"]);
    check("tags: [a]", "CARD-LICENSE-MISSING", &["2:1"]);
    check("license: other", "CARD-LICENSE-OTHER", &["2:10", "2:10"]);
    check(
        "license: other\nlicense_name: x-1.0\nlicense_link: LICENSE",
        "CARD-LICENSE-OTHER",
        &[],
    );
    check(
        "license: mit\nlicense_name: x",
        "CARD-LICENSE-NAME",
        &["3:1"],
    );
    check(
        "license: other\nlicense_name: My License\nlicense_link: x",
        "CARD-LICENSE-NAME",
        &["3:15"],
    );
    check("license: mit\nlicense: mit", "CARD-KEY-TWICE", &["3:1"]);
    check(
        "license: mit\nlanguage: english",
        "CARD-LANGUAGE",
        &["3:11"],
    );
    check(
        "license: mit\nlanguage: [en, deu, zh-Hans, code, multilingual]",
        "CARD-LANGUAGE",
        &[],
    );
    check("license: mit\nlanguage: [no]", "CARD-LANGUAGE", &[]);
    check("license: mit\ntags: {a: b}", "CARD-TYPE", &["3:7"]);
    check("license: mit\ntags: [a, 3]", "CARD-TYPE", &["3:11"]);
    check("license: mit\ndatasets: [a b]", "CARD-HUB-ID", &["3:12"]);
    check(
        "license: mit\ndatasets: [a/b, a/b]",
        "CARD-REPEATED",
        &["3:17"],
    );
    check(
        "license: mit\nbase_model_relation: converted",
        "CARD-RELATION",
        &["3:22"],
    );
    check(
        "license: mit\nextra_gated_fields:\n  Name: string",
        "CARD-GATE-TYPE",
        &["4:9"],
    );
    check(
        "license: mit\nextra_gated_fields:\n  Use:\n    type: select\n    options: [a]\n  Day: date_picker",
        "CARD-GATE-TYPE",
        &[],
    );
    check(
        "license: mit\nextra_gated_fields:\n  Use: {type: select}",
        "CARD-GATE-TYPE",
        &["4:8"],
    );
    check("license: mit\n bad: [", "CARD-YAML", &["3:5"]);
}

#[test]
fn a_card_without_front_matter_says_so() {
    let check = |card: &str, expected: &str| {
        let lints = lint("README.md", card.as_bytes());
        assert_eq!(places(&lints, "CARD-FRONT-MATTER"), [expected], "{card}");
    };
    check("# Title\n", "1:1");
    check("---\nlicense: mit\n", "1:1");
    check("---\n- a\n---\n", "2:1");
    check("", "1:1");
}

#[test]
fn links_are_judged_by_what_they_stand_beside() {
    let body = |text: &str| -> Vec<Lint> {
        let card = format!("---\nlicense: cc-by-sa-4.0\n---\n# X\n\n{text}\n");
        lint("README.md", card.as_bytes())
    };
    let severities = |text: &str, rule: &str| -> Vec<(Severity, bool)> {
        body(text)
            .iter()
            .filter(|lint| lint.finding.rule == rule)
            .map(|lint| (lint.finding.severity, lint.fix.is_some()))
            .collect()
    };
    let cc = |text: &str| severities(text, "CARD-CC-LINK");
    assert_eq!(
        cc("CC BY-SA 4.0: [terms](https://creativecommons.org/licenses/by/4.0/)"),
        [(Severity::Error, true)]
    );
    // Another work may be under another license, and the link says so.
    assert_eq!(
        cc("CC BY-SA 4.0. Data: [CC BY 4.0](https://creativecommons.org/licenses/by/4.0/)"),
        []
    );
    assert_eq!(
        cc("Data from X ([terms](https://creativecommons.org/licenses/by/4.0/))."),
        [(Severity::Warning, false)]
    );
    let http = |text: &str| severities(text, "LINK-HTTP");
    assert_eq!(http("http://arxiv.org/abs/1"), [(Severity::Warning, true)]);
    assert_eq!(
        http("http://example.org/ and http://localhost:80"),
        [(Severity::Warning, false)]
    );
    assert_eq!(http("```\nhttp://arxiv.org/abs/1\n```"), []);
    assert_eq!(
        severities("Books3 is part of the data.", "CARD-BOOKS3"),
        [(Severity::Error, false)]
    );
    assert_eq!(
        severities("Books3 is used. It is without Books3.", "CARD-BOOKS3"),
        [(Severity::Error, false)]
    );
    assert_eq!(severities("Books3 was removed.", "CARD-BOOKS3"), []);
}

#[test]
fn citation_files_are_held_against_version_1_2_0() {
    const HEAD: &str = "cff-version: 1.2.0\nmessage: m\ntitle: t\nauthors:\n  - name: n\n";
    let check = |text: &str, rule: &str, expected: &[&str]| {
        let lints = lint("CITATION.cff", text.as_bytes());
        assert_eq!(places(&lints, rule), expected, "{text}");
    };
    let more = |lines: &str| format!("{HEAD}{lines}\n");
    check(HEAD, "CFF-KEY-MISSING", &[]);
    check("title: t\n", "CFF-KEY-MISSING", &["1:1", "1:1", "1:1"]);
    check(&more("titel: x"), "CFF-KEY-UNKNOWN", &["6:1"]);
    check(&more("title: x"), "CFF-KEY-TWICE", &["6:1"]);
    check(&HEAD.replace("1.2.0", "1.1.0"), "CFF-VERSION", &["1:14"]);
    check(&more("type: model"), "CFF-TYPE", &["6:7"]);
    check(&more("type: dataset"), "CFF-TYPE", &[]);
    check(&more("license: cc-by-sa-4.0"), "CFF-LICENSE", &["6:10"]);
    check(
        &more("license: MIT AND Apache-2.0"),
        "CFF-LICENSE",
        &["6:10"],
    );
    check(&more("license: [MIT, Apache-2.0]"), "CFF-LICENSE", &[]);
    check(
        &more("license: [MIT, Apache-2.0]"),
        "CFF-LICENSE-OR",
        &["6:1"],
    );
    check(&more("date-released: 2023-13-01"), "CFF-DATE", &["6:16"]);
    check(&more("date-released: 2023-09-29"), "CFF-DATE", &[]);
    check(HEAD, "CFF-DATE-MISSING", &["1:1"]);
    check(&more("url: example.org"), "CFF-URL", &["6:6"]);
    check(&more("url: http://example.org"), "LINK-HTTP", &["6:6"]);
    check(
        &more("doi: https://doi.org/10.5281/zenodo.1"),
        "CFF-DOI",
        &["6:6"],
    );
    check(&more("version: 1.0"), "CFF-SHAPE", &[]);
    check(
        &more("title2: YourReferenceHere"),
        "CFF-PLACEHOLDER",
        &["6:9"],
    );
    check(
        &HEAD.replace("  - name: n", "  - n"),
        "CFF-AUTHOR",
        &["5:5"],
    );
    check(
        &HEAD.replace("  - name: n", "  - fullname: n"),
        "CFF-KEY-UNKNOWN",
        &["5:5"],
    );
    check(
        &HEAD.replace("  - name: n", "  - name: n\n    orcid: 0000-0001"),
        "CFF-ORCID",
        &["6:12"],
    );
    check(
        &more("references:\n  - type: thing\n    title: x"),
        "CFF-TYPE",
        &["7:11"],
    );
    check(
        &more("references:\n  - type: data\n    title: x"),
        "CFF-KEY-MISSING",
        &["7:5"],
    );
    check(
        &more("identifiers:\n  - type: doi\n    value: x"),
        "CFF-IDENTIFIER",
        &["7:5"],
    );
    check("a: [", "CFF-YAML", &["1:4"]);
    check("- a\n", "CFF-YAML", &["1:1"]);

    let text = more("license: cc-by-sa-4.0\ndoi: https://doi.org/10.5281/zenodo.1");
    let new = fix("CITATION.cff", &text);
    assert_eq!(new, more("license: CC-BY-SA-4.0\ndoi: 10.5281/zenodo.1"));
}

#[test]
fn our_own_documents_pass() {
    let serious = |name: &str, text: &str| {
        let found: Vec<String> = lint(name, text.as_bytes())
            .iter()
            .filter(|lint| lint.finding.severity > Severity::Info)
            .map(|lint| format!("{}: {}", lint.finding.rule, lint.finding.reason))
            .collect();
        assert_eq!(found, [""; 0], "{text}");
    };
    let ledger = converted();
    serious("README.md", &model_card(&ledger, &facts()));
    serious("CITATION.cff", &cite_cff(&ledger));
}

#[test]
fn bytes_that_are_no_text_are_a_finding() {
    let lints = lint("README.md", b"---\nlicense: \xff\n");
    assert_eq!(places(&lints, "TEXT-UTF8"), ["2:10"]);
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
fn documents_from_outside_have_no_errors() {
    let Some(folder) = oracles() else { return };
    for name in [
        "hf/README.md",
        "cff/CITATION.cff",
        "cff/CITATION.minimal.cff",
    ] {
        let bytes = fs::read(folder.join(name)).unwrap();
        let errors: Vec<_> = lint(name, &bytes)
            .into_iter()
            .filter(|lint| lint.finding.severity == Severity::Error)
            .collect();
        assert_eq!(errors, [], "{name}");
    }
}

#[test]
fn the_license_ids_are_those_of_the_hub() {
    let Some(folder) = oracles() else { return };
    let ids = fs::read(folder.join("hf/hf-license-ids.json")).unwrap();
    let ids: Vec<Value> = serde_json::from_slice(&ids).unwrap();
    assert_eq!(ids.len(), HUB_LICENSES);
    for id in &ids {
        let id = id.as_str().unwrap();
        assert!(is_hub_license(id), "{id}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_linted_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = lint("README.md", &bytes);
        let _ = lint("CITATION.cff", &bytes);
    }

    #[test]
    fn any_card_is_fixed_once_and_for_all(
        front in "((license|language|datasets|extra_gated_fields|tags): ?(CC-BY-SA-4.0|english|\\[a, b\\]|\\{x: text\\}|- x|\\PC{0,8})\n){0,4}",
        body in "(# X\n|http://arxiv.org/a|https://creativecommons.org/licenses/by/4.0/|\\[CC BY-SA 4.0\\]|@misc\\{a, url=\\{|\\[https://a.b\\]\\(https://a.b\\)|\\}|Books3|\u{e2}\u{20ac}\u{2039}|\u{c3}\u{a9}|\\PC|\n| ){0,40}",
    ) {
        for name in ["README.md", "CITATION.cff"] {
            let text = format!("---\n{front}---\n{body}");
            let lints = lint(name, text.as_bytes());
            let _ = fixed(&text, &lints);
            let once = fix(name, &text);
            prop_assert_eq!(fix(name, &once), once);
        }
    }
}
