//! The record of what was done to the licensed material: append only, each entry tied to the last.
//!
//! An entry's `sha256` is taken over its canonical JSON without that field: keys sorted, no
//! white space, UTF-8. Its `previous` is the hash of the entry before it, so removing or editing
//! an old entry breaks every later one. The hash tells that the record was altered; only a
//! signature could tell by whom.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

/// `previous` of the first entry.
const NO_PREVIOUS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// What kind of change was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// The file format, with the same numbers.
    Format,
    /// The type the numbers are stored in.
    Dtype,
    /// How the tensors are divided over files.
    Reshard,
    /// Names of tensors or files.
    Rename,
    /// Numbers replaced by coarser ones.
    Quantize,
    /// Further training.
    Finetune,
    /// Combination with another model.
    Merge,
    /// Parts or documents left out.
    Filter,
}

impl ChangeKind {
    /// Returns the name used in records.
    pub fn name(self) -> &'static str {
        match self {
            ChangeKind::Format => "format",
            ChangeKind::Dtype => "dtype",
            ChangeKind::Reshard => "reshard",
            ChangeKind::Rename => "rename",
            ChangeKind::Quantize => "quantize",
            ChangeKind::Finetune => "finetune",
            ChangeKind::Merge => "merge",
            ChangeKind::Filter => "filter",
        }
    }
}

/// A change about to be recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewChange {
    /// When it was made: RFC 3339, UTC, whole seconds.
    pub when: String,
    /// The program that made it.
    pub tool: String,
    /// That program's version.
    pub version: String,
    /// What kind of change it is.
    pub kind: ChangeKind,
    /// The SHA-256 of what was changed, where it is known.
    pub from_sha256: Option<String>,
    /// What was done, in a sentence.
    pub detail: String,
}

/// A change as recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeRecord {
    /// When it was made: RFC 3339, UTC, whole seconds.
    pub when: String,
    /// The program that made it.
    pub tool: String,
    /// That program's version.
    pub version: String,
    /// What kind of change it is.
    pub kind: ChangeKind,
    /// The SHA-256 of what was changed, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_sha256: Option<String>,
    /// What was done, in a sentence.
    pub detail: String,
    /// The `sha256` of the record before this one; zeros for the first.
    pub previous: String,
    /// The hash of this record's canonical JSON without this field.
    pub sha256: String,
}

/// How a chain of change records can be broken. Positions count from zero.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ChainError {
    /// A record does not name the one before it.
    #[error("change record {index} follows `{found}`, but the record before it is `{expected}`")]
    Broken {
        /// The record's position.
        index: usize,
        /// The hash of the record before it.
        expected: String,
        /// What it says.
        found: String,
    },
    /// A record is not what was hashed.
    #[error("change record {index} was altered: its hash is `{expected}`, it says `{found}`")]
    Altered {
        /// The record's position.
        index: usize,
        /// The hash of what the record holds now.
        expected: String,
        /// The hash it carries.
        found: String,
    },
}

/// Appends a change to a chain.
pub(crate) fn append(chain: &mut Vec<ChangeRecord>, change: NewChange) {
    let previous = chain
        .last()
        .map_or_else(|| NO_PREVIOUS.to_owned(), |last| last.sha256.clone());
    let mut record = ChangeRecord {
        when: change.when,
        tool: change.tool,
        version: change.version,
        kind: change.kind,
        from_sha256: change.from_sha256,
        detail: change.detail,
        previous,
        sha256: String::new(),
    };
    record.sha256 = hash(&record);
    chain.push(record);
}

/// Checks every link and every hash of a chain.
pub(crate) fn verify(chain: &[ChangeRecord]) -> Result<(), ChainError> {
    let mut previous = NO_PREVIOUS;
    for (index, record) in chain.iter().enumerate() {
        if record.previous != previous {
            return Err(ChainError::Broken {
                index,
                expected: previous.to_owned(),
                found: record.previous.clone(),
            });
        }
        let expected = hash(record);
        if record.sha256 != expected {
            return Err(ChainError::Altered {
                index,
                expected,
                found: record.sha256.clone(),
            });
        }
        previous = &record.sha256;
    }
    Ok(())
}

/// Returns a chain as a JSON list, one field a line.
pub(crate) fn to_json(chain: &[ChangeRecord]) -> String {
    let mut text = serde_json::to_string_pretty(chain)
        .expect("records are made of strings, which always have a JSON form");
    text.push('\n');
    text
}

/// Returns the SHA-256 of bytes in lower-case hexadecimal.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    Sha256::digest(bytes)
        .iter()
        .fold(String::with_capacity(64), |mut text, byte| {
            write!(text, "{byte:02x}").expect("writing to a string can't fail");
            text
        })
}

/// Returns the hash of a record's canonical JSON without `sha256`.
fn hash(record: &ChangeRecord) -> String {
    let mut fields = BTreeMap::from([
        ("when", record.when.as_str()),
        ("tool", &record.tool),
        ("version", &record.version),
        ("kind", record.kind.name()),
        ("detail", &record.detail),
        ("previous", &record.previous),
    ]);
    if let Some(from_sha256) = &record.from_sha256 {
        fields.insert("from_sha256", from_sha256);
    }
    let canonical = serde_json::to_vec(&fields).expect("a map of strings always has a JSON form");
    sha256_hex(&canonical)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(kind: ChangeKind, detail: &str) -> NewChange {
        NewChange {
            when: "2026-11-23T12:00:00Z".to_owned(),
            tool: "stablelm".to_owned(),
            version: "0.1.0".to_owned(),
            kind,
            from_sha256: None,
            detail: detail.to_owned(),
        }
    }

    fn chain() -> Vec<ChangeRecord> {
        let mut chain = Vec::new();
        append(&mut chain, change(ChangeKind::Format, "one"));
        append(&mut chain, change(ChangeKind::Dtype, "two"));
        append(&mut chain, change(ChangeKind::Reshard, "three"));
        chain
    }

    #[test]
    fn the_hash_is_that_of_the_sorted_compact_json() {
        // Made with Python: json.dumps(sort_keys=True, separators=(',', ':'), ensure_ascii=False).
        let mut chain = Vec::new();
        append(&mut chain, change(ChangeKind::Format, "é \"x\"\n"));
        assert_eq!(chain[0].sha256, EXPECTED_HASH);
    }

    const EXPECTED_HASH: &str = "fbec80134a1cc351c6cbb9376cb8270dfeaeb3a4bada68d1faaef103115358e4";

    #[test]
    fn an_untouched_chain_holds() {
        assert_eq!(verify(&[]), Ok(()));
        assert_eq!(verify(&chain()), Ok(()));
    }

    #[test]
    fn an_edited_record_is_named() {
        let mut chain = chain();
        "something else".clone_into(&mut chain[1].detail);
        assert!(matches!(
            verify(&chain),
            Err(ChainError::Altered { index: 1, .. })
        ));
    }

    #[test]
    fn a_removed_record_is_named() {
        let mut chain = chain();
        chain.remove(0);
        assert!(matches!(
            verify(&chain),
            Err(ChainError::Broken { index: 0, .. })
        ));
        let mut chain = self::chain();
        chain.remove(1);
        assert!(matches!(
            verify(&chain),
            Err(ChainError::Broken { index: 1, .. })
        ));
    }
}
