//! `sources.lock.json`: every statement about a license, pinned to where and when it was read.
//!
//! A license can change between two revisions of the same page, so a statement without revision,
//! day and hash of what was read proves nothing later.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::component::{ClaimKind, ClaimStatus, Component};
use crate::diff::{Difference, DifferenceKind};

/// The version of the lock file that this crate writes, and the highest it reads.
pub const SOURCES_LOCK_VERSION: u32 = 1;

/// The pinned statements.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourcesLock {
    /// The version of this form.
    pub version: u32,
    /// The statements, by component in the order of the registry.
    pub sources: Vec<PinnedSource>,
}

/// One pinned statement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinnedSource {
    /// The id of the component.
    pub component: String,
    /// Where the statement was read.
    pub source: String,
    /// Who makes it.
    pub kind: ClaimKind,
    /// What was said.
    pub value: String,
    /// The revision of the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// The day it was read, `YYYY-MM-DD`; empty when nobody noted it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub read: String,
    /// The SHA-256 of the source as it was read, in lower-case hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence_sha256: Option<String>,
    /// Whether the source itself was read.
    pub status: ClaimStatus,
}

/// Why bytes are not a lock file.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SourcesError {
    /// The bytes are not JSON of the lock file's form.
    #[error("failed to read the lock of license sources")]
    Json(#[source] serde_json::Error),
    /// The file is of a later version.
    #[error(
        "the lock of license sources is of version {found}, the highest known one is {supported}"
    )]
    Version {
        /// The file's version.
        found: u32,
        /// The highest version this crate reads.
        supported: u32,
    },
}

impl SourcesLock {
    /// Pins every statement about some components, as they stand.
    pub fn pin<'a>(components: impl IntoIterator<Item = &'a Component>) -> SourcesLock {
        let sources = components
            .into_iter()
            .flat_map(|component| {
                component.claims.iter().map(|claim| PinnedSource {
                    component: component.id.clone(),
                    source: claim.source.clone(),
                    kind: claim.kind,
                    value: claim.value.clone(),
                    revision: claim.revision.clone(),
                    read: claim.read.clone(),
                    evidence_sha256: claim.evidence_sha256.clone(),
                    status: claim.status,
                })
            })
            .collect();
        SourcesLock {
            version: SOURCES_LOCK_VERSION,
            sources,
        }
    }

    /// Reads a lock file.
    ///
    /// # Errors
    /// When the bytes are not of its form, or of a later version.
    pub fn from_json(bytes: &[u8]) -> Result<SourcesLock, SourcesError> {
        let lock: SourcesLock = serde_json::from_slice(bytes).map_err(SourcesError::Json)?;
        if lock.version > SOURCES_LOCK_VERSION {
            return Err(SourcesError::Version {
                found: lock.version,
                supported: SOURCES_LOCK_VERSION,
            });
        }
        Ok(lock)
    }

    /// Returns the lock as JSON, one field a line, always the same bytes.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self)
            .expect("a lock is made of strings and numbers, which always have a JSON form");
        text.push('\n');
        text
    }

    /// Notes the hash of a saved copy of a source and the day it was read; says how many
    /// statements were read there.
    pub fn add_evidence(&mut self, source: &str, sha256: &str, read: &str) -> usize {
        let mut count = 0;
        for pinned in self
            .sources
            .iter_mut()
            .filter(|pinned| pinned.source == source)
        {
            pinned.evidence_sha256 = Some(sha256.to_owned());
            read.clone_into(&mut pinned.read);
            pinned.status = ClaimStatus::Verified;
            count += 1;
        }
        count
    }

    /// Takes over newer statements, and returns what differs from the ones pinned before. The
    /// evidence of a statement that stayed the same is kept.
    pub fn update(&mut self, newer: SourcesLock) -> Vec<Difference> {
        let old = std::mem::replace(self, newer).sources;
        let mut is_used = vec![false; old.len()];
        let mut take = |fits: &dyn Fn(&PinnedSource) -> bool| {
            let found = (0..old.len()).find(|&at| !is_used[at] && fits(&old[at]))?;
            is_used[found] = true;
            Some(&old[found])
        };
        // One source may say several things, so what stayed the same is paired first.
        let same: Vec<Option<&PinnedSource>> = self
            .sources
            .iter()
            .map(|new| take(&|old| old.is_about(new) && old.says_the_same(new)))
            .collect();
        let mut found = Vec::new();
        for (new, same) in self.sources.iter_mut().zip(same) {
            let Some(before) = same else {
                let before = take(&|old| old.is_about(new));
                found.push(difference(new, before, Some(new)));
                continue;
            };
            if new.evidence_sha256.is_none() {
                new.evidence_sha256.clone_from(&before.evidence_sha256);
                new.status = before.status;
            }
            if new.read.is_empty() {
                new.read.clone_from(&before.read);
            }
            if before.evidence_sha256.is_some() && before.evidence_sha256 != new.evidence_sha256 {
                found.push(difference(new, Some(before), Some(new)));
            }
        }
        let gone = old.iter().zip(&is_used).filter(|(_, is_used)| !**is_used);
        found.extend(gone.map(|(before, _)| difference(before, Some(before), None)));
        found
    }
}

impl PinnedSource {
    fn is_about(&self, other: &PinnedSource) -> bool {
        self.component == other.component && self.source == other.source && self.kind == other.kind
    }

    fn says_the_same(&self, other: &PinnedSource) -> bool {
        self.value == other.value && self.revision == other.revision
    }

    fn text(&self) -> String {
        let mut text = self.value.clone();
        if let Some(revision) = &self.revision {
            text.push_str(&format!(" at {revision}"));
        }
        if let Some(hash) = &self.evidence_sha256 {
            text.push_str(&format!(" (sha256 {hash})"));
        }
        text
    }
}

fn difference(
    about: &PinnedSource,
    before: Option<&PinnedSource>,
    after: Option<&PinnedSource>,
) -> Difference {
    Difference {
        kind: DifferenceKind::Claim,
        name: format!("{}: {}", about.component, about.source),
        before: before.map(PinnedSource::text),
        after: after.map(PinnedSource::text),
        drift: true,
    }
}
