//! Looks a finished folder over: is every file accounted for, does every document read, do they
//! agree with the ledger and with one another, and do they hold what official validators let
//! through.
//!
//! Nothing here opens a file; [`Release`] holds what the caller read. Findings have stable ids.

mod account;
mod croissant;
mod cross;
mod cyclonedx;
mod papers;
mod problems;
mod reuse;
mod spdx3;
mod toml;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::finding::{Finding, Severity};
use crate::ledger::Ledger;
use crate::oms::{Difference, SignedManifest};
use crate::release::Release;
use account::Accounts;
use problems::{Check, Problems};

/// What a folder is compared with besides itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct VerifyOptions<'a> {
    /// The ledger of what the folder was made from.
    pub parent: Option<&'a Ledger>,
    /// What a signature over the folder lists.
    pub signed: Option<&'a SignedManifest>,
    /// How the folder differs from that list; from [`SignedManifest::differences`].
    pub differences: &'a [Difference],
    /// The path of the signature's own file, when it lies in the folder.
    pub signature: Option<&'a str>,
}

/// What came of looking a folder over.
#[derive(Clone, Debug, Serialize)]
pub struct Verification {
    /// True when there is no error and every document reads.
    pub passed: bool,
    /// What was found, errors first.
    pub findings: Vec<Finding>,
    /// Documents that can't be read as what they are.
    pub unreadable: Vec<Unreadable>,
    /// Every file, and what vouches for it.
    pub files: BTreeMap<String, Account>,
    /// The documents that were read and compared.
    pub documents: Vec<String>,
}

/// A document that can't be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unreadable {
    /// The file, relative to the folder.
    pub file: String,
    /// Why.
    pub reason: String,
}

/// What vouches for a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Account {
    /// Its SHA-256.
    pub sha256: String,
    /// The documents that state this very hash.
    pub hashed_by: Vec<String>,
    /// What else says that the file belongs here: a document that names it, or its role.
    pub known_as: Option<&'static str>,
}

const SIGNATURE: &str = "https://github.com/ossf/model-signing-spec/blob/main/spec/v1.0.md";

/// Looks a folder over.
pub fn verify(release: &Release, options: &VerifyOptions<'_>) -> Verification {
    let mut problems = Problems::default();
    let mut accounts = Accounts::new(release, options.signature);
    signature(options, &mut accounts, &mut problems);
    papers::run(release, &mut accounts, &mut problems);
    for (path, text) in &release.texts {
        let name = path.rsplit('/').next().unwrap_or(path);
        if name.ends_with(".spdx3.json") {
            spdx3::check_document(path, text, release, &mut accounts, &mut problems);
        } else if is_cyclonedx(name) {
            cyclonedx::check_document(path, text, release, &mut accounts, &mut problems);
        } else if name == "croissant.json" || name.ends_with(".croissant.json") {
            croissant::check_document(path, text, release, &mut accounts, &mut problems);
        }
    }
    reuse::check(release, &mut accounts, &mut problems);
    cross::check(release, options.parent, &mut problems);
    if release.ledger.is_some() || !release.metadata.is_empty() {
        // The clauses of the licenses themselves.
        problems.findings.extend(crate::rules::audit(release));
    }
    accounts.judge(&mut problems);
    let Problems {
        mut findings,
        unreadable,
        documents,
    } = problems;
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    let has_error = findings
        .iter()
        .any(|finding| finding.severity == Severity::Error);
    Verification {
        passed: !has_error && unreadable.is_empty(),
        findings,
        unreadable,
        files: accounts.into_files(),
        documents,
    }
}

/// Returns what is wrong with a single bill of materials, Croissant file, card or citation, by its
/// name; nothing when it is none of these or all is well.
///
/// ```
/// let found = stablelm_license::verify::verify_document("x.cdx.json", "{\"bomFormat\": \"CycloneDX\",
///     \"specVersion\": \"1.6\", \"components\": [{\"type\": \"data\", \"name\": \"d\", \"licenses\": []}]}");
/// assert!(found.findings.iter().any(|finding| finding.rule == "CDX-LICENSES-EMPTY"));
/// ```
pub fn verify_document(name: &str, text: &str) -> DocumentFindings {
    let release = Release::default();
    let mut problems = Problems::default();
    let mut accounts = Accounts::new(&release, None);
    if name.ends_with(".spdx3.json") {
        spdx3::check_document(name, text, &release, &mut accounts, &mut problems);
    } else if is_cyclonedx(name) {
        cyclonedx::check_document(name, text, &release, &mut accounts, &mut problems);
    } else if name.ends_with("croissant.json") {
        croissant::check_document(name, text, &release, &mut accounts, &mut problems);
    } else if crate::lint::Document::of_name(name).is_some() {
        papers::linted(name, text, &mut problems);
    }
    DocumentFindings {
        findings: problems.findings,
        unreadable: problems.unreadable,
    }
}

/// What is wrong with one document.
#[derive(Clone, Debug, Default, Serialize)]
pub struct DocumentFindings {
    /// What was found.
    pub findings: Vec<Finding>,
    /// Whether it reads at all.
    pub unreadable: Vec<Unreadable>,
}

/// `bom.cdx.json`, `bom.cdx1.6.json` and `bom.json`.
fn is_cyclonedx(name: &str) -> bool {
    name == "bom.json"
        || name
            .strip_suffix(".json")
            .is_some_and(|stem| stem.contains(".cdx"))
}

fn signature(options: &VerifyOptions<'_>, accounts: &mut Accounts<'_>, problems: &mut Problems) {
    let check = |id| Check {
        id,
        clause: "OpenSSF Model Signing 1.0",
        source: SIGNATURE,
    };
    let file = options.signature.unwrap_or("the signature");
    if let Some(signed) = options.signed {
        for resource in &signed.resources {
            let path = resource.name.split(':').next().unwrap_or_default();
            accounts.hashed(path, file);
        }
    }
    for difference in options.differences {
        let (id, name, reason) = match difference {
            Difference::Missing { name } => (
                "FILE-MISSING",
                name,
                format!("`{name}` was signed and is not there"),
            ),
            Difference::Extra { name } => (
                "FILE-EXTRA",
                name,
                format!("`{name}` is there and was not signed"),
            ),
            Difference::Changed {
                name,
                expected,
                found,
            } => (
                "FILE-CHANGED",
                name,
                format!(
                    "`{name}` is not what was signed: expected sha256 {expected}, found {found}"
                ),
            ),
        };
        let path = name.split(':').next().unwrap_or(name);
        accounts.told(path);
        problems.error(
            check(id),
            path,
            reason,
            "get the folder again from where it came",
        );
    }
}
