//! The weights of a folder against the list of digests beside them.

use std::fs;
use std::num::NonZeroUsize;
use std::path::Path;

use stablelm_checkpoint::{OpenOptions, TENSORS_FILE, TensorHashes};
use stablelm_license::verify::Unreadable;
use stablelm_license::{Finding, Severity};

/// Hashes every tensor again and says which are not as `tensors.json` has them.
pub(super) fn check(
    folder: &Path,
    threads: NonZeroUsize,
    extra: &mut Vec<Finding>,
    unreadable: &mut Vec<Unreadable>,
) {
    let Ok(bytes) = fs::read(folder.join(TENSORS_FILE)) else {
        return;
    };
    let Some(listed) = TensorHashes::from_json(&bytes) else {
        let reason = "it is no list of digests, or its digest of the whole does not hold";
        extra.push(finding("TENSORS-LIST", TENSORS_FILE, reason.to_owned()));
        return;
    };
    let found = match hashes(folder, threads) {
        Ok(found) => found,
        Err(error) => {
            unreadable.push(Unreadable {
                file: ".".to_owned(),
                reason: format!("the weights can't be read: {error:#}"),
            });
            return;
        }
    };
    for (name, tensor) in &listed.tensors {
        let reason = match found.tensors.get(name) {
            Some(found) if found == tensor => continue,
            Some(_) => format!("tensor `{name}` is not as it was written"),
            None => format!("tensor `{name}` is gone"),
        };
        extra.push(finding("TENSOR-CHANGED", TENSORS_FILE, reason));
    }
    for name in found.tensors.keys() {
        if !listed.tensors.contains_key(name) {
            let reason = format!("tensor `{name}` was added");
            extra.push(finding("TENSOR-CHANGED", TENSORS_FILE, reason));
        }
    }
}

fn hashes(folder: &Path, threads: NonZeroUsize) -> anyhow::Result<TensorHashes> {
    let checkpoint = stablelm_checkpoint::open(folder, &OpenOptions { neox_config: None })?;
    Ok(stablelm_checkpoint::survey(&checkpoint, None, threads)?.hashes)
}

fn finding(rule: &str, file: &str, reason: String) -> Finding {
    Finding {
        rule: rule.to_owned(),
        clause: "every tensor is as it was written".to_owned(),
        severity: Severity::Error,
        reason,
        source: "docs/concepts/checkpoints.md".to_owned(),
        file: Some(file.to_owned()),
        line: None,
        column: None,
        next_step: Some("get the weights again from where they came, or convert again".to_owned()),
    }
}
