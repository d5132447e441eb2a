//! `stablelm license verify`

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Context as _;
use serde::Serialize;
use stablelm_license::oms::{
    BundleError, Difference, SignatureBundle, SignedManifest, VerificationKey,
};
use stablelm_license::verify::{Unreadable, Verification, VerifyOptions, verify};
use stablelm_license::{Finding, Ledger, Severity};

use super::contents::{self, Contents};
use super::findings;
use super::sign::{SIGNATURE, inside};
use super::tensors;
use crate::args::{LicenseVerify, Threads};
use crate::error::CommandError;
use crate::exit_status::ExitStatus;
use crate::papers::LEDGER_FILE;
use crate::settings;
use crate::ui::Ui;

const SIGNING: &str = "https://github.com/ossf/model-signing-spec/blob/main/spec/v1.0.md";

#[derive(Serialize)]
struct Answer {
    #[serde(flatten)]
    verification: Verification,
    signature: Option<Signature>,
}

/// What came of the signature.
#[derive(Serialize)]
struct Signature {
    file: String,
    /// The hash of the key it says it is from.
    key: Option<String>,
    /// Whether the key given made it.
    verified: bool,
    #[serde(skip)]
    manifest: Option<SignedManifest>,
    #[serde(skip)]
    differences: Vec<Difference>,
}

pub(super) fn run(args: &LicenseVerify, ui: &Ui) -> Result<ExitStatus, CommandError> {
    let parent = args.parent.as_deref().map(parent_ledger).transpose()?;
    let found = contents::read(&args.folder)?;
    let mut extra = Vec::new();
    let mut unreadable = found.unreadable.clone();
    let signature = signature(args, &found, &mut extra, &mut unreadable)?;
    let own = signature
        .as_ref()
        .and_then(|signature| inside(&args.folder, Path::new(&signature.file)));
    let options = VerifyOptions {
        parent: parent.as_ref(),
        signed: signature.as_ref().and_then(|found| found.manifest.as_ref()),
        differences: signature
            .as_ref()
            .map_or(&[][..], |found| &found.differences),
        signature: own.as_deref(),
    };
    let mut verification = verify(&found.release, &options);
    links(&found, &mut extra);
    let threads = settings::threads(Threads { threads: None })?;
    tensors::check(&args.folder, threads, &mut extra, &mut unreadable);
    verification.findings.append(&mut extra);
    verification.unreadable.append(&mut unreadable);
    settle(&mut verification, args.strict);
    if let Some(file) = &args.sarif {
        findings::write_sarif(file, &verification.findings)?;
    }
    let status = if !verification.unreadable.is_empty() {
        ExitStatus::Input
    } else if verification.passed {
        ExitStatus::Success
    } else {
        ExitStatus::Failed
    };
    let answer = Answer {
        verification,
        signature,
    };
    if args.json.json {
        ui.json(&answer)?;
    } else {
        ui.answer(&text(&answer))?;
    }
    Ok(status)
}

/// Sorts the findings and says whether the folder passes.
fn settle(verification: &mut Verification, strict: bool) {
    verification
        .findings
        .sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    let (errors, warnings) = findings::count(verification.findings.iter());
    verification.passed =
        errors == 0 && verification.unreadable.is_empty() && (warnings == 0 || !strict);
}

fn parent_ledger(path: &Path) -> Result<Ledger, CommandError> {
    let file = if path.is_dir() {
        path.join(LEDGER_FILE)
    } else {
        path.to_owned()
    };
    let read = || -> anyhow::Result<Ledger> { Ok(Ledger::from_json(&fs::read(&file)?)?) };
    read()
        .with_context(|| format!("failed to read the parent's ledger `{}`", file.display()))
        .map_err(CommandError::input)
}

/// Reads the signature, if there is one or has to be one, and compares the folder with it.
fn signature(
    args: &LicenseVerify,
    found: &Contents,
    extra: &mut Vec<Finding>,
    unreadable: &mut Vec<Unreadable>,
) -> Result<Option<Signature>, CommandError> {
    let beside = args.folder.join(SIGNATURE);
    let file = args.signature.clone().unwrap_or(beside);
    let is_asked_for = args.signature.is_some() || args.key.is_some();
    if !file.exists() && !is_asked_for {
        return Ok(None);
    }
    let bytes = fs::read(&file)
        .with_context(|| format!("failed to read the signature `{}`", file.display()))
        .map_err(|error| {
            CommandError::input(error).hint("sign the folder: `stablelm license sign DIR --key K`")
        })?;
    let key = args.key.as_deref().map(public_key).transpose()?;
    let name = file.display().to_string();
    let bundle = match SignatureBundle::parse(&bytes) {
        Ok(bundle) => bundle,
        Err(error) => {
            unreadable.push(Unreadable {
                file: name,
                reason: chain(&error),
            });
            return Ok(None);
        }
    };
    let verified = key.as_ref().map(|key| bundle.verify(key));
    let mut signature = Signature {
        file: name,
        key: bundle.hint().map(str::to_owned),
        verified: matches!(verified, Some(Ok(_))),
        manifest: None,
        differences: Vec::new(),
    };
    signature.manifest = match verified {
        Some(Ok(manifest)) => Some(manifest),
        Some(Err(error)) => {
            extra.push(finding(
                &signature.file,
                Severity::Error,
                rule_of(&error),
                chain(&error),
            ));
            // What it lists still helps to find what else is wrong.
            bundle.unverified_manifest().ok()
        }
        None => {
            let reason = "no key was given, so nobody knows who signed".to_owned();
            extra.push(finding(
                &signature.file,
                Severity::Info,
                "SIGNATURE-UNVERIFIED",
                reason,
            ));
            match bundle.unverified_manifest() {
                Ok(manifest) => Some(manifest),
                Err(error) => {
                    extra.push(finding(
                        &signature.file,
                        Severity::Error,
                        rule_of(&error),
                        chain(&error),
                    ));
                    None
                }
            }
        }
    };
    if let Some(manifest) = &signature.manifest {
        signature.differences = differences(args, found, manifest, &file)?;
    }
    Ok(Some(signature))
}

fn public_key(path: &Path) -> Result<VerificationKey, CommandError> {
    let read =
        || -> anyhow::Result<VerificationKey> { Ok(VerificationKey::from_pem(&fs::read(path)?)?) };
    read()
        .with_context(|| format!("failed to read the key `{}`", path.display()))
        .map_err(|error| {
            CommandError::input(error)
                .hint("the public half of a key: openssl ec -in key.pem -pubout -out key.pub.pem")
        })
}

/// Hashes what a manifest lists, where it is not known yet, and compares.
fn differences(
    args: &LicenseVerify,
    found: &Contents,
    manifest: &SignedManifest,
    signature: &Path,
) -> Result<Vec<Difference>, CommandError> {
    let own = inside(&args.folder, signature);
    let files = found
        .release
        .files
        .iter()
        .filter(|(path, _)| Some(path.as_str()) != own.as_deref())
        .map(|(path, file)| (path.as_str(), file.size));
    let mut hashes = BTreeMap::new();
    for piece in manifest.pieces(files) {
        let known = &found.release.files[&piece.path];
        let is_whole = piece.bytes == (0..known.size);
        let sha256 = if is_whole {
            known.sha256.clone()
        } else {
            contents::sha256_of(&args.folder.join(&piece.path), piece.bytes)
                .with_context(|| format!("failed to read `{}`", piece.path))
                .map_err(CommandError::input)?
        };
        hashes.insert(piece.name, sha256);
    }
    Ok(manifest.differences(&hashes))
}

fn links(found: &Contents, extra: &mut Vec<Finding>) {
    for link in &found.links {
        let reason = format!("`{link}` is a link; what it leads to is not part of the folder");
        extra.push(finding(link, Severity::Error, "FILE-LINK", reason));
    }
}

fn rule_of(error: &BundleError) -> &'static str {
    match error {
        BundleError::OtherKey { .. } => "SIGNATURE-KEY",
        BundleError::OtherCurve { .. } => "SIGNATURE-CURVE",
        BundleError::Tampered { .. } => "SIGNATURE-TAMPERED",
        _ => "SIGNATURE-FORM",
    }
}

fn finding(file: &str, severity: Severity, rule: &str, reason: String) -> Finding {
    Finding {
        rule: rule.to_owned(),
        clause: "OpenSSF Model Signing 1.0".to_owned(),
        severity,
        reason,
        source: SIGNING.to_owned(),
        file: Some(file.to_owned()),
        line: None,
        column: None,
        next_step: None,
    }
}

/// Returns an error and its causes on one line.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

fn text(answer: &Answer) -> String {
    let verification = &answer.verification;
    let mut text = String::new();
    for document in &verification.unreadable {
        text.push_str(&format!(
            "{}: unreadable: {}\n",
            document.file, document.reason
        ));
    }
    for finding in &verification.findings {
        text.push_str(&findings::line(
            finding,
            finding.file.as_deref().unwrap_or_default(),
        ));
    }
    let hashed = verification
        .files
        .values()
        .filter(|account| !account.hashed_by.is_empty())
        .count();
    text.push_str(&format!(
        "{}, {hashed} of them by hash; {} read\n",
        findings::counted(verification.files.len(), "file"),
        findings::counted(verification.documents.len(), "document")
    ));
    text.push_str(match &answer.signature {
        Some(signature) if signature.verified => "signed by the key given\n",
        Some(_) => "signed, and not checked against a key\n",
        None => "not signed\n",
    });
    let (errors, warnings) = findings::count(verification.findings.iter());
    text.push_str(&format!(
        "{}, {}: {}\n",
        findings::counted(errors, "error"),
        findings::counted(warnings, "warning"),
        if verification.passed {
            "all in order"
        } else {
            "something is off"
        }
    ));
    text
}
