//! Who vouches for each file of a folder.

use std::collections::{BTreeMap, BTreeSet};

use super::Account;
use super::problems::{Check, Problems};
use crate::release::Release;

const fn check(id: &'static str) -> Check {
    Check {
        id,
        clause: "every file is accounted for",
        source: "docs/reference/cli.md",
    }
}

/// Files of a model folder, by what they are for.
const ROLES: [(&str, &str); 25] = [
    ("ATTRIBUTION.md", "attribution"),
    ("CHANGES.json", "change record"),
    ("CITATION.cff", "citation"),
    ("LICENSE", "license text"),
    ("LICENSE.txt", "license text"),
    ("NOTICE", "notice"),
    ("NOTICE.txt", "notice"),
    ("README.md", "card"),
    ("REUSE.toml", "license statement"),
    ("added_tokens.json", "tokenizer"),
    ("chat_template.jinja", "tokenizer"),
    ("config.json", "configuration"),
    ("croissant.json", "data description"),
    ("generation_config.json", "configuration"),
    ("latest", "checkpoint"),
    ("ledger.json", "ledger"),
    ("manifest.json", "manifest"),
    ("merges.txt", "tokenizer"),
    ("model.safetensors.index.json", "weights"),
    ("special_tokens_map.json", "tokenizer"),
    ("tensors.json", "hashes of tensors"),
    ("tokenizer.json", "tokenizer"),
    ("tokenizer.model", "tokenizer"),
    ("tokenizer_config.json", "tokenizer"),
    ("vocab.json", "tokenizer"),
];

/// What is known about the files so far.
pub(crate) struct Accounts<'a> {
    release: &'a Release,
    files: BTreeMap<String, Account>,
    /// Files about which a finding says enough already.
    told: BTreeSet<String>,
}

impl<'a> Accounts<'a> {
    pub(crate) fn new(release: &'a Release, signature: Option<&str>) -> Accounts<'a> {
        let files = release
            .files
            .iter()
            .map(|(path, file)| {
                let account = Account {
                    sha256: file.sha256.clone(),
                    hashed_by: Vec::new(),
                    known_as: if Some(path.as_str()) == signature {
                        Some("signature")
                    } else {
                        role(path)
                    },
                };
                (path.clone(), account)
            })
            .collect();
        Accounts {
            release,
            files,
            told: BTreeSet::new(),
        }
    }

    /// Notes that a document states the hash that a file has.
    pub(crate) fn hashed(&mut self, path: &str, document: &str) {
        if let Some(account) = self.files.get_mut(path)
            && !account.hashed_by.iter().any(|other| other == document)
        {
            account.hashed_by.push(document.to_owned());
        }
    }

    /// Notes that a document names a file, without a hash.
    pub(crate) fn named(&mut self, path: &str, role: &'static str) {
        if let Some(account) = self.files.get_mut(path) {
            account.known_as = account.known_as.or(Some(role));
        }
    }

    /// Notes that a finding names the file already.
    pub(crate) fn told(&mut self, path: &str) {
        self.told.insert(path.to_owned());
    }

    /// Compares what a document says about a file with the file.
    pub(crate) fn compare(
        &mut self,
        path: &str,
        sha256: &str,
        document: &str,
        problems: &mut Problems,
    ) {
        let step = "get the folder again from where it came, or make the document again";
        match self.release.files.get(path) {
            // A document about nothing but itself, not a folder.
            None if self.release.files.is_empty() => {}
            None => {
                let reason = format!("`{document}` lists `{path}`, which is not there");
                problems.error(check("FILE-MISSING"), path, reason, step);
            }
            Some(file) if file.sha256.eq_ignore_ascii_case(sha256) => self.hashed(path, document),
            Some(file) => {
                let reason = format!(
                    "`{path}` is not what `{document}` lists: expected sha256 {sha256}, found {}",
                    file.sha256
                );
                self.told(path);
                problems.error(check("FILE-CHANGED"), path, reason, step);
            }
        }
    }

    /// Compares a hash that stands for the weights, whichever file they are in.
    pub(crate) fn compare_weights(
        &mut self,
        sha256: &str,
        document: &str,
        problems: &mut Problems,
    ) {
        if self.release.files.is_empty() {
            return;
        }
        let path = self
            .release
            .files
            .iter()
            .find(|(_, file)| file.sha256.eq_ignore_ascii_case(sha256))
            .map(|(path, _)| path.clone());
        if let Some(path) = path {
            self.hashed(&path, document);
        } else {
            let reason =
                format!("`{document}` says the weights have sha256 {sha256}; no file here has");
            let step = "get the weights again, or make the document again";
            problems.error(check("FILE-CHANGED"), document, reason, step);
        }
    }

    /// Names the files that nothing vouches for.
    pub(crate) fn judge(&self, problems: &mut Problems) {
        for (path, account) in &self.files {
            let is_known = account.known_as.is_some() || !account.hashed_by.is_empty();
            if !is_known && !self.told.contains(path) {
                let reason = format!("nothing says what `{path}` is or where it came from");
                let step = "remove it, or list it in a bill of materials or a signature";
                problems.error(check("FILE-UNACCOUNTED"), path, reason, step);
            }
        }
    }

    pub(crate) fn into_files(self) -> BTreeMap<String, Account> {
        self.files
    }
}

/// Returns what a file is for, by its path.
fn role(path: &str) -> Option<&'static str> {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    if let Some((_, role)) = ROLES.iter().find(|(other, _)| *other == name)
        && (folder.is_empty() || folder.starts_with("global_step"))
    {
        return Some(role);
    }
    let ends = |ending: &str| name.ends_with(ending);
    match folder {
        "" if ends(".safetensors") || ends(".gguf") => Some("weights"),
        "" if ends(".spdx3.json") || ends(".spdx.json") => Some("bill of materials"),
        "" if super::is_cyclonedx(name) => Some("bill of materials"),
        "" if ends(".croissant.json") => Some("data description"),
        "" if ends(".sig") => Some("signature"),
        "" if ends(".yml") => Some("configuration"),
        "LICENSES" if ends(".txt") => Some("license text"),
        _ if folder.starts_with("global_step") && ends(".pt") => Some("weights"),
        _ if matches!(path.split('/').next(), Some(".git" | ".github")) => Some("version control"),
        "" if matches!(name, ".gitattributes" | ".gitignore") => Some("version control"),
        _ if ends(".license") => Some("license statement"),
        _ => None,
    }
}
