//! A prepared folder checked against itself, against its inputs and against Books3.
//!
//! Everything is computed again from the bytes: hashes, the index of every dataset, each token, each
//! row of provenance, the sums of the report, and the rules of Books3 over the inputs that can still
//! be read and over the tokens themselves. What can't be checked is listed, not passed over.

mod files;
mod inputs;
mod manifest;
mod table;
mod tokens;
mod totals;

use std::collections::BTreeMap;
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use serde::Serialize;
use stablelm_tokenizer::{Tokenizer, TokenizerError};

use crate::books3::{Books3ListError, Books3Rules};
use crate::pipeline::{ThreadsError, Workers};
use crate::remote::RemoteOptions;
use crate::report::Report;
use manifest::ManifestFile;

/// Findings that are told one by one; the others are only counted.
const MAX_FINDINGS: usize = 1000;
/// Bytes of documents that are judged at once.
const BATCH_BYTES: usize = 8 << 20;

/// What [`verify`] works with.
#[derive(Clone, Copy)]
pub struct VerifyOptions<'a> {
    /// The prepared folder.
    pub folder: &'a Path,
    /// Where relative paths of inputs and lists start: the folder of the recipe.
    pub inputs: &'a Path,
    /// Threads to work on; they never change the outcome.
    pub threads: NonZeroUsize,
    /// How to fetch remote inputs; without it they are not checked.
    pub remote: Option<RemoteInputs<'a>>,
}

/// How [`verify`] gets at remote inputs.
#[derive(Clone, Copy, Debug)]
pub struct RemoteInputs<'a> {
    /// How they are reached.
    pub options: &'a RemoteOptions,
    /// An existing folder for the one that is being checked, which is deleted afterwards.
    pub folder: &'a Path,
}

/// What was checked and what was found.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Verification {
    /// The folder.
    pub folder: PathBuf,
    /// Hash of the run, as its manifest says.
    pub run_hash: String,
    /// Whether nothing was found.
    pub passed: bool,
    /// What is off, in the order of the checks; at most a thousand.
    pub findings: Vec<Finding>,
    /// Findings beyond those.
    pub more_findings: u64,
    /// How much was looked at.
    pub checked: Checked,
    /// What the rules say today.
    pub books3: Books3Verification,
    /// What could not be checked, and why.
    pub not_checked: Vec<NotChecked>,
}

/// One thing that is off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// `files`, `index`, `tokens`, `provenance`, `totals` or `books3`.
    pub check: &'static str,
    /// The file, below the prepared folder or as the manifest names an input.
    pub file: String,
    /// The place in it; empty for the whole file.
    pub place: String,
    /// What should be there.
    pub expected: String,
    /// What is there.
    pub found: String,
}

/// How much was looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// Files whose size and hash were computed.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Datasets whose index was read.
    pub datasets: u64,
    /// Documents in them.
    pub documents: u64,
    /// Tokens in them.
    pub tokens: u64,
    /// Inputs that were read again.
    pub inputs: u64,
    /// Rows of those.
    pub input_rows: u64,
}

/// What the rules of Books3 say of inputs and tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Books3Verification {
    /// SHA-256 of the lists that were used, in hex.
    pub lists_sha256: String,
    /// Documents of the inputs that were judged.
    pub documents_checked: u64,
    /// Those that a rule excludes.
    pub documents_excluded: u64,
    /// The same a rule.
    pub by_rule: BTreeMap<String, u64>,
    /// Documents in the token files that a rule excludes, by their source rows or by their tokens.
    pub remaining: u64,
}

/// Something that could not be checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NotChecked {
    /// What: an input, a list, or the counts of a rule.
    pub what: String,
    /// Why not.
    pub why: String,
}

/// Why nothing can be checked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The folder has no manifest or no report.
    #[error("`{}` is not a prepared folder: it has no `{missing}`", path.display())]
    NotPrepared {
        /// The folder.
        path: PathBuf,
        /// The file that is missing.
        missing: &'static str,
    },
    /// A file or folder can't be read.
    #[error("failed to read `{}`", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The manifest or the report is no such thing.
    #[error("`{}` is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        #[source]
        source: serde_json::Error,
    },
    /// The copy of the tokenizer can't be used.
    #[error("failed to load the tokenizer of `{}`", path.display())]
    Tokenizer {
        /// The folder.
        path: PathBuf,
        /// What the tokenizer says.
        #[source]
        source: TokenizerError,
    },
    /// The lists of Books3 that come with the program can't be loaded.
    #[error(transparent)]
    Lists(#[from] Books3ListError),
    /// The system gives no threads.
    #[error(transparent)]
    Threads(#[from] ThreadsError),
}

/// Checks a prepared folder; what is off becomes a [`Finding`], not an error.
pub fn verify(options: &VerifyOptions<'_>) -> Result<Verification, VerifyError> {
    let workers = Workers::new(options.threads)?;
    let manifest = manifest::read(options.folder)?;
    let report = manifest::read_report(options.folder)?;
    let mut run = Run {
        options,
        workers,
        verification: Verification {
            folder: options.folder.to_path_buf(),
            run_hash: manifest.run_hash.clone(),
            ..Verification::default()
        },
        kept: BTreeMap::new(),
        splits: BTreeMap::new(),
    };
    files::check(&mut run, &manifest)?;
    let rules = load_rules(&mut run, &manifest)?;
    rules
        .lists_sha256()
        .clone_into(&mut run.verification.books3.lists_sha256);
    let tokenizer = load_tokenizer(&mut run, &manifest)?;
    tokens::check(&mut run, &manifest, tokenizer.as_ref(), &rules);
    totals::check(&mut run, &manifest, &report);
    inputs::check(&mut run, &manifest, &rules);
    compare_books3(&mut run, &report);
    let mut verification = run.verification;
    verification.passed = verification.findings.is_empty();
    Ok(verification)
}

/// What the checks share.
struct Run<'a> {
    options: &'a VerifyOptions<'a>,
    workers: Workers,
    verification: Verification,
    /// Rows of each input (by source and path) that are in the token files, a bit a row.
    kept: BTreeMap<(String, String), RowSet>,
    /// Documents and tokens of each source and split, as they lie in the token files.
    splits: BTreeMap<(String, String), (u64, u64)>,
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "numbers, texts and errors are told alike, and most are made for it"
)]
impl Run<'_> {
    fn find(
        &mut self,
        check: &'static str,
        file: &str,
        place: impl Into<String>,
        expected: impl ToString,
        found: impl ToString,
    ) {
        let verification = &mut self.verification;
        if verification.findings.len() < MAX_FINDINGS {
            verification.findings.push(Finding {
                check,
                file: file.to_owned(),
                place: place.into(),
                expected: expected.to_string(),
                found: found.to_string(),
            });
        } else {
            verification.more_findings += 1;
        }
    }

    /// The same where both sides are known and may well be equal.
    fn expect<T: PartialEq + ToString>(
        &mut self,
        check: &'static str,
        file: &str,
        place: &str,
        expected: &T,
        found: &T,
    ) {
        if expected != found {
            self.find(check, file, place, expected.to_string(), found.to_string());
        }
    }

    fn skip(&mut self, what: impl Into<String>, why: impl ToString) {
        self.verification.not_checked.push(NotChecked {
            what: what.into(),
            why: why.to_string(),
        });
    }
}

/// Numbers of rows, a bit each.
#[derive(Clone, Debug, Default)]
struct RowSet(Vec<u64>);

impl RowSet {
    /// Rows beyond this are in no file that can be read here; a damaged table may name any.
    const MAX_ROW: u64 = 1 << 36;

    /// Adds a row; false when it was there already, or can't be.
    fn insert(&mut self, row: u64) -> bool {
        if row >= Self::MAX_ROW {
            return false;
        }
        let word = usize::try_from(row / 64).unwrap_or(usize::MAX);
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        let bit = 1 << (row % 64);
        let is_new = self.0[word] & bit == 0;
        self.0[word] |= bit;
        is_new
    }

    /// Takes a row out; false when it was not there.
    fn remove(&mut self, row: u64) -> bool {
        let word = usize::try_from(row / 64).unwrap_or(usize::MAX);
        let bit = 1 << (row % 64);
        let Some(word) = self.0.get_mut(word).filter(|word| **word & bit != 0) else {
            return false;
        };
        *word &= !bit;
        true
    }

    fn len(&self) -> u64 {
        self.0.iter().map(|word| u64::from(word.count_ones())).sum()
    }
}

/// Loads the lists of the run; without one of its files, those that come with the program.
fn load_rules(run: &mut Run<'_>, manifest: &ManifestFile) -> Result<Books3Rules, VerifyError> {
    let folder = run.options.inputs;
    let read = |path: &str| std::fs::read(folder.join(path));
    match Books3Rules::load(&manifest.books3(), &read) {
        Ok(rules) => Ok(rules),
        Err(error) => {
            run.skip("lists of `[books3]`", chain(&error));
            Ok(Books3Rules::load(
                &crate::recipe::Books3Recipe::default(),
                &read,
            )?)
        }
    }
}

/// Loads the copy of the tokenizer, if it is there and the right one.
fn load_tokenizer(
    run: &mut Run<'_>,
    manifest: &ManifestFile,
) -> Result<Option<Tokenizer>, VerifyError> {
    let path = run.options.folder.join(manifest::TOKENIZER);
    if !path.is_file() {
        run.skip(
            "texts of tokens",
            format!("there is no `{}`", manifest::TOKENIZER),
        );
        return Ok(None);
    }
    let tokenizer = Tokenizer::from_file(&path).map_err(|source| VerifyError::Tokenizer {
        path: run.options.folder.to_path_buf(),
        source,
    })?;
    let (expected, found) = (&manifest.tokenizer.sha256, tokenizer.sha256().to_owned());
    run.expect(
        "files",
        manifest::TOKENIZER,
        "SHA-256 in `tokenizer`",
        expected,
        &found,
    );
    let (expected, found) = (manifest.tokenizer.vocab_size, tokenizer.vocab_size());
    run.expect("totals", "manifest.json", "vocab_size", &found, &expected);
    Ok(Some(tokenizer))
}

/// The report's proof beside what the rules say today.
fn compare_books3(run: &mut Run<'_>, report: &Report) {
    const FILE: &str = "report.json";
    let today = run.verification.books3.clone();
    let then = &report.books3;
    run.expect("books3", FILE, "books3.remaining", &0, &then.remaining);
    let sum: u64 = then.by_rule.values().sum();
    run.expect(
        "books3",
        FILE,
        "books3.documents_excluded",
        &sum,
        &then.documents_excluded,
    );
    let unread = run
        .verification
        .not_checked
        .iter()
        .any(|not| not.what.starts_with("input"));
    if unread {
        run.skip("counts of the rules", "not every input could be read again");
        return;
    }
    if !then.lists_sha256.is_empty() && then.lists_sha256 != today.lists_sha256 {
        let why = format!(
            "the run used the lists {}, today's are {}",
            then.lists_sha256, today.lists_sha256
        );
        run.skip("counts of the rules", why);
        return;
    }
    let rules = today.by_rule.keys().chain(then.by_rule.keys());
    for rule in rules.collect::<std::collections::BTreeSet<_>>() {
        let count = |counts: &BTreeMap<String, u64>| counts.get(rule).copied().unwrap_or(0);
        let place = format!("books3.by_rule.{rule}");
        run.expect(
            "books3",
            FILE,
            &place,
            &count(&today.by_rule),
            &count(&then.by_rule),
        );
    }
}

/// An error with everything that caused it, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_counted_once_and_taken_once() {
        let mut rows = RowSet::default();
        assert!(rows.insert(3) && rows.insert(200) && !rows.insert(3));
        assert!(!rows.insert(u64::MAX));
        assert_eq!(rows.len(), 2);
        assert!(rows.remove(200) && !rows.remove(200) && !rows.remove(u64::MAX));
        assert_eq!(rows.len(), 1);
    }
}
