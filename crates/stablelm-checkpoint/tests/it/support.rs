//! What the tests share: places of checkpoints, and conversions in one line.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use stablelm_checkpoint::{
    Checkpoint, ConvertOptions, Converted, NeoxLayout, OpenOptions, Target, compare, convert, open,
    plan,
};
use stablelm_testkit::shared_oracles;

/// A folder of golden checkpoints, or `None` with a printed reason.
pub(crate) fn oracle(name: &str) -> Option<PathBuf> {
    let folder = shared_oracles().map(|oracles| oracles.join(name));
    let found = folder.filter(|folder| folder.exists());
    if found.is_none() {
        eprintln!("skipped: `{name}` is not beside the repository");
    }
    found
}

pub(crate) fn options(target: Target) -> ConvertOptions {
    ConvertOptions {
        target,
        dtype: None,
        allow_drop: Vec::new(),
        metadata: BTreeMap::new(),
        sync: true,
        threads: NonZeroUsize::new(2).unwrap(),
    }
}

pub(crate) fn safetensors() -> ConvertOptions {
    options(Target::Safetensors {
        max_shard_size: 5_000_000_000,
    })
}

pub(crate) fn neox(tensor_parallel: usize) -> ConvertOptions {
    options(Target::Neox {
        tensor_parallel: NonZeroUsize::new(tensor_parallel).unwrap(),
        layout: NeoxLayout::Layers,
        step: 4,
    })
}

pub(crate) fn open_at(path: &Path) -> Checkpoint {
    open(path, &OpenOptions::default()).unwrap()
}

/// Converts into a new folder, which lives as long as the first value.
pub(crate) fn converted(
    input: &Checkpoint,
    options: &ConvertOptions,
) -> (tempfile::TempDir, Checkpoint, Converted) {
    let folder = tempfile::tempdir().unwrap();
    let plan = plan(input, options).unwrap();
    let converted = convert(&plan, input, folder.path(), None).unwrap();
    assert_eq!(converted.bytes, plan.byte_len());
    let output = open_at(folder.path());
    (folder, output, converted)
}

/// Fails unless two checkpoints hold the same bytes under the same names.
#[track_caller]
pub(crate) fn assert_equal(a: &Checkpoint, b: &Checkpoint) {
    let comparison = compare(a, b, 0.0).unwrap();
    let differences: Vec<_> = comparison.differences().collect();
    assert!(comparison.equal(), "{differences:#?}");
}

/// Copies a folder with everything in it.
pub(crate) fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_folder(&path, &target);
        } else {
            // Not `fs::copy`: the originals may be read only.
            std::fs::write(&target, std::fs::read(&path).unwrap()).unwrap();
        }
    }
}

/// SHA-256 in lower-case hexadecimal.
pub(crate) fn digest(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in Sha256::digest(bytes) {
        write!(text, "{byte:02x}").unwrap();
    }
    text
}

/// All of an error's messages, outermost first.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str("; ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
