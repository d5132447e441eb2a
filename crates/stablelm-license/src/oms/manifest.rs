//! What is signed: every file, or every piece of a file, with its hash.

use std::collections::BTreeMap;
use std::ops::Range;

use sha2::{Digest as _, Sha256};

use crate::changes::sha256_hex;

/// What version control keeps in a folder; never signed unless a signature says otherwise.
const GIT_PATHS: [&str; 4] = [".git", ".gitattributes", ".github", ".gitignore"];

/// The list of hashes that a signature is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedManifest {
    /// What the folder was called when it was signed.
    pub name: String,
    /// Everything that was signed, in the order of the signature.
    pub resources: Vec<Resource>,
    /// Whether files were hashed whole or in pieces.
    pub serialization: Serialization,
    /// Paths that were left out, with everything below them.
    pub ignored: Vec<String>,
    /// Whether links were followed when it was signed.
    pub allow_symlinks: bool,
}

/// How files became hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serialization {
    /// One hash a file.
    Files,
    /// One hash for each piece of at most this many bytes.
    Shards {
        /// Bytes in a piece; the last one of a file may be shorter.
        size: u64,
    },
}

/// One signed thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// A path relative to the folder; with pieces, `path:start:end`.
    pub name: String,
    /// The SHA-256 of its bytes, in lower-case hexadecimal.
    pub sha256: String,
}

/// Bytes to hash before a folder can be compared with a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// What the manifest calls it.
    pub name: String,
    /// The file, relative to the folder.
    pub path: String,
    /// The bytes of it.
    pub bytes: Range<u64>,
}

/// How a folder differs from what was signed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Difference {
    /// It was signed and is not there.
    Missing {
        /// What the manifest calls it.
        name: String,
    },
    /// It is there and was not signed.
    Extra {
        /// What the manifest would call it.
        name: String,
    },
    /// It is not what was signed.
    Changed {
        /// What the manifest calls it.
        name: String,
        /// The signed SHA-256.
        expected: String,
        /// The SHA-256 of what is there.
        found: String,
    },
}

impl SignedManifest {
    /// Makes the manifest of whole files, given by path and SHA-256.
    ///
    /// `ignored` are the paths left out besides those of version control; the signature's own file
    /// has to be among them when it lies in the folder.
    pub fn of_files<'a>(
        name: &str,
        files: impl IntoIterator<Item = (&'a str, &'a str)>,
        ignored: &[&str],
    ) -> SignedManifest {
        let mut all: Vec<String> = GIT_PATHS
            .iter()
            .chain(ignored)
            .map(|path| (*path).to_owned())
            .collect();
        all.sort();
        all.dedup();
        let mut manifest = SignedManifest {
            name: name.to_owned(),
            resources: Vec::new(),
            serialization: Serialization::Files,
            ignored: all,
            allow_symlinks: false,
        };
        let mut resources: Vec<Resource> = files
            .into_iter()
            .filter(|(path, _)| !manifest.ignores(path))
            .map(|(path, sha256)| Resource {
                name: path.to_owned(),
                sha256: sha256.to_owned(),
            })
            .collect();
        // The order of bytes is the order of code points, which the specification asks for.
        resources.sort_by(|a, b| a.name.cmp(&b.name));
        manifest.resources = resources;
        manifest
    }

    /// Says whether a path, or a folder it is in, was left out of the signature.
    pub fn ignores(&self, path: &str) -> bool {
        self.ignored.iter().any(|ignored| {
            path.strip_prefix(ignored.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }

    /// Returns the bytes to hash of a folder whose files have these lengths.
    pub fn pieces<'a>(&self, files: impl IntoIterator<Item = (&'a str, u64)>) -> Vec<Piece> {
        let mut pieces = Vec::new();
        for (path, len) in files {
            if self.ignores(path) {
                continue;
            }
            match self.serialization {
                Serialization::Files => pieces.push(Piece {
                    name: path.to_owned(),
                    path: path.to_owned(),
                    bytes: 0..len,
                }),
                Serialization::Shards { size } => {
                    let mut start = 0;
                    while start < len {
                        let end = start.saturating_add(size).min(len);
                        pieces.push(Piece {
                            name: format!("{path}:{start}:{end}"),
                            path: path.to_owned(),
                            bytes: start..end,
                        });
                        start = end;
                    }
                }
            }
        }
        pieces
    }

    /// Compares with what is there: the SHA-256 of each piece by its name.
    pub fn differences(&self, found: &BTreeMap<String, String>) -> Vec<Difference> {
        let expected: BTreeMap<&str, &str> = self
            .resources
            .iter()
            .map(|resource| (resource.name.as_str(), resource.sha256.as_str()))
            .collect();
        let mut differences: Vec<Difference> = expected
            .iter()
            .filter_map(|(name, expected)| match found.get(*name) {
                None => Some(Difference::Missing {
                    name: (*name).to_owned(),
                }),
                Some(found) if found != expected => Some(Difference::Changed {
                    name: (*name).to_owned(),
                    expected: (*expected).to_owned(),
                    found: found.clone(),
                }),
                Some(_) => None,
            })
            .collect();
        differences.extend(
            found
                .keys()
                .filter(|name| !expected.contains_key(name.as_str()))
                .map(|name| Difference::Extra { name: name.clone() }),
        );
        differences
    }

    /// Returns the SHA-256 over the raw digests, in the order of the list.
    pub(crate) fn root_digest(&self) -> String {
        let mut raw = Vec::with_capacity(self.resources.len() * 32);
        for resource in &self.resources {
            raw.extend(from_hex(&resource.sha256).unwrap_or_default());
        }
        sha256_hex(&raw)
    }
}

/// Reads an even number of hexadecimal digits.
pub(crate) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect();
    let digits = digits?;
    (digits.len() % 2 == 0).then(|| {
        digits
            .chunks_exact(2)
            .map(|pair| pair[0] << 4 | pair[1])
            .collect()
    })
}

/// True for the SHA-256 of something, as this crate writes it.
pub(crate) fn is_sha256(text: &str) -> bool {
    text.len() == Sha256::output_size() * 2
        && text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f'))
}
