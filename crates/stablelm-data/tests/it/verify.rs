//! A prepared folder that is sound passes; whatever is changed in it is named.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use stablelm_data::{
    Recipe, Verification, VerifyError, VerifyOptions, parse_recipe, verify, write_manifest,
};
use stablelm_tokenizer::Tokenizer;

use crate::scratch::{Scratch, prepare};

/// The fixtures, prepared into a folder.
struct Prepared {
    folder: tempfile::TempDir,
    inputs: PathBuf,
}

impl Prepared {
    fn new() -> Self {
        let path = stablelm_testkit::fixtures().join("data/recipe.toml");
        let recipe = parse_recipe(&std::fs::read_to_string(&path).unwrap(), &path).unwrap();
        let tokenizer = Tokenizer::from_file(&recipe.tokenizer_path()).unwrap();
        Self::of(&recipe, &tokenizer)
    }

    fn of(recipe: &Recipe, tokenizer: &Tokenizer) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let prepared = prepare(recipe, tokenizer, folder.path(), 2, 1 << 28).unwrap();
        write_manifest(folder.path(), &prepared).unwrap();
        Self {
            folder,
            inputs: recipe.folder.clone(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn verify(&self) -> Verification {
        check(self.folder.path(), &self.inputs, 2).unwrap()
    }

    /// Changes the bytes of a file.
    fn change(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = std::fs::read(self.path(name)).unwrap();
        change(&mut bytes);
        std::fs::write(self.path(name), bytes).unwrap();
    }

    /// Changes a text in a JSON file.
    fn replace(&self, name: &str, from: &str, to: &str) {
        let text = std::fs::read_to_string(self.path(name)).unwrap();
        assert!(text.contains(from), "{from} in {text}");
        std::fs::write(self.path(name), text.replacen(from, to, 1)).unwrap();
    }
}

fn check(folder: &Path, inputs: &Path, threads: usize) -> Result<Verification, VerifyError> {
    verify(&VerifyOptions {
        folder,
        inputs,
        threads: NonZeroUsize::new(threads).unwrap(),
        remote: None,
    })
}

/// Findings as lines, without those about hashes of files.
fn found(verification: &Verification) -> Vec<String> {
    let findings = verification.findings.iter();
    let told = findings.filter(|finding| finding.place != "SHA-256");
    told.map(|finding| {
        let stablelm_data::Finding {
            check,
            file,
            place,
            expected,
            found,
        } = finding;
        format!("{check} {file} [{place}] {expected} != {found}")
    })
    .collect()
}

#[test]
fn the_fixtures_pass_with_any_number_of_threads() {
    let prepared = Prepared::new();
    let verification = prepared.verify();
    assert!(verification.passed, "{:#?}", verification.findings);
    assert_eq!(verification.not_checked, []);
    let checked = &verification.checked;
    assert_eq!((checked.datasets, checked.documents), (9, 302 + 249 + 250));
    assert_eq!((checked.inputs, checked.input_rows), (3, 322 + 250 + 250));
    let books3 = &verification.books3;
    assert_eq!((books3.documents_excluded, books3.remaining), (12, 0));
    assert_eq!(books3.by_rule["subset_name"], 12);
    let again = check(prepared.folder.path(), &prepared.inputs, 1).unwrap();
    assert_eq!(again, verification);
}

#[test]
fn files_that_changed_or_came_or_went_are_named() {
    let prepared = Prepared::new();
    std::fs::write(prepared.path("tokens/stranger.bin"), "x").unwrap();
    std::fs::remove_file(prepared.path("neox.yml")).unwrap();
    prepared.change("report.html", |bytes| bytes.push(b'\n'));
    let verification = prepared.verify();
    assert!(!verification.passed);
    let lines = found(&verification);
    assert_eq!(lines.len(), 3, "{lines:#?}");
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("files neox.yml []"))
    );
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("files report.html [size in bytes]"))
    );
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("files tokens/stranger.bin []"))
    );
    assert_eq!(verification.findings.len(), 4);
}

#[test]
fn tokens_are_checked_one_by_one() {
    const NAME: &str = "tokens/notes_train_text_document";
    let prepared = Prepared::new();
    let bin = format!("{NAME}.bin");
    // An id beyond the vocabulary, and an end of document inside of one.
    prepared.change(&bin, |bytes| bytes[..2].copy_from_slice(&[0xff, 0xff]));
    let lines = found(&prepared.verify());
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].starts_with(&format!("tokens {NAME} [document 0, token 0] an id below")));
    prepared.change(&bin, |bytes| bytes[..2].copy_from_slice(&[0, 0]));
    let lines = found(&prepared.verify());
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].contains("[document 0, token 0] no end of document"));
    // The last token of the last document.
    prepared.change(&bin, |bytes| {
        let len = bytes.len();
        bytes[len - 2..].copy_from_slice(&[5, 0]);
    });
    let lines = found(&prepared.verify());
    assert!(lines[1].contains("as last token != none"), "{lines:#?}");
}

#[test]
fn an_index_that_lies_is_named() {
    const NAME: &str = "tokens/notes_train_text_document";
    let prepared = Prepared::new();
    // Moves a token from the second document to the first: sound in itself, but not in the table.
    prepared.change(&format!("{NAME}.idx"), |bytes| {
        let sequences = u64::from_le_bytes(bytes[18..26].try_into().unwrap());
        bytes[34] += 1;
        bytes[38] -= 1;
        let pointer = 34 + 4 * usize::try_from(sequences).unwrap() + 8;
        let place = i64::from_le_bytes(bytes[pointer..pointer + 8].try_into().unwrap()) + 2;
        bytes[pointer..pointer + 8].copy_from_slice(&place.to_le_bytes());
    });
    let lines = found(&prepared.verify());
    let of = |what: &str| lines.iter().filter(|line| line.contains(what)).count();
    assert_eq!(
        (of("`num_tokens`"), of("as last token"), of("inside")),
        (2, 1, 1),
        "{lines:#?}"
    );
    prepared.change(&format!("{NAME}.idx"), |bytes| bytes[0] = b'X');
    let lines = found(&prepared.verify());
    assert!(lines[0].contains("a sound index"), "{lines:#?}");
}

#[test]
fn a_report_that_lies_is_named() {
    let prepared = Prepared::new();
    prepared.replace(
        "report.json",
        "\"documents_kept\": 801",
        "\"documents_kept\": 800",
    );
    // Once in the funnel, once in the proof.
    for _ in 0..2 {
        prepared.replace("report.json", "\"subset_name\": 12", "\"subset_name\": 11");
    }
    prepared.replace("manifest.json", "\"documents\": 302", "\"documents\": 303");
    let lines = found(&prepared.verify());
    assert_eq!(
        lines,
        [
            "totals report.json [documents_kept] 801 != 800",
            "totals report.json [source `pile`, stage `books3`, documents_out] 311 != 310",
            "totals manifest.json [source `pile`, documents] 302 != 303",
            "books3 report.json [books3.documents_excluded] 11 != 12",
            "books3 report.json [books3.by_rule.subset_name] 12 != 11",
        ]
    );
}

#[test]
fn inputs_that_changed_are_listed_and_not_trusted() {
    let scratch = Scratch::new();
    scratch.write(
        "in.jsonl",
        "{\"text\":\"One good line.\"}\n{\"text\":\"Another good line.\"}\n",
    );
    let prepared = Prepared::of(&scratch.recipe("jsonl", "in.jsonl", ""), &scratch.tokenizer);
    assert!(prepared.verify().passed);
    scratch.write(
        "in.jsonl",
        "{\"text\":\"One bad line..\"}\n{\"text\":\"Another good line.\"}\n",
    );
    let verification = prepared.verify();
    assert!(verification.passed);
    let why: Vec<_> = verification
        .not_checked
        .iter()
        .map(|not| not.what.as_str())
        .collect();
    assert_eq!(why, ["input `in.jsonl`", "counts of the rules"]);
    std::fs::remove_file(scratch.path("in.jsonl")).unwrap();
    assert_eq!(prepared.verify().not_checked.len(), 2);
}

#[test]
fn a_folder_without_a_manifest_is_no_prepared_folder() {
    let folder = tempfile::tempdir().unwrap();
    let error = check(folder.path(), folder.path(), 1).unwrap_err();
    assert!(matches!(error, VerifyError::NotPrepared { .. }), "{error}");
    std::fs::write(folder.path().join("manifest.json"), "{}").unwrap();
    let error = check(folder.path(), folder.path(), 1).unwrap_err();
    assert!(matches!(error, VerifyError::Damaged { .. }), "{error}");
}
