//! Digests of files and of tensors.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The name of the list of digests beside converted weights.
pub const TENSORS_FILE: &str = "tensors.json";

/// A file that could not be hashed.
#[derive(Debug, thiserror::Error)]
#[error("failed to read `{}` to hash it", path.display())]
pub struct HashError {
    /// The file.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub source: io::Error,
}

/// The SHA-256 of every tensor under its name in Hugging Face transformers, and one digest of them all.
///
/// They don't depend on how the tensors are spread over files and ranks: the same weights have the same digests in
/// every format.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorHashes {
    /// Lower-case hexadecimal SHA-256 over one line a tensor, sorted by name: name, dtype, sizes with `x` between, and
    /// SHA-256, with a zero byte between them and a line feed at the end.
    pub sha256: String,
    /// Each tensor.
    pub tensors: BTreeMap<String, TensorHash>,
}

/// One tensor's digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorHash {
    /// The dtype, as `bf16`.
    pub dtype: String,
    /// The sizes.
    pub shape: Vec<usize>,
    /// Lower-case hexadecimal SHA-256 of the bytes: little endian, in C order.
    pub sha256: String,
}

impl TensorHashes {
    pub(crate) fn new(tensors: BTreeMap<String, TensorHash>) -> Self {
        let sha256 = Self::whole(&tensors);
        Self { sha256, tensors }
    }

    /// Reads the list that a conversion writes; `None` when it is not one, or its digest of the whole does not hold.
    pub fn from_json(bytes: &[u8]) -> Option<Self> {
        let read: Self = serde_json::from_slice(bytes).ok()?;
        (read.sha256 == Self::whole(&read.tensors)).then_some(read)
    }

    /// Returns the list as it is written.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("a list of digests always prints");
        text.push('\n');
        text
    }

    fn whole(tensors: &BTreeMap<String, TensorHash>) -> String {
        let mut hasher = Sha256::new();
        for (name, tensor) in tensors {
            let shape: Vec<String> = tensor.shape.iter().map(ToString::to_string).collect();
            let (dtype, shape) = (&tensor.dtype, shape.join("x"));
            hasher.update(format!("{name}\0{dtype}\0{shape}\0{}\n", tensor.sha256));
        }
        hexadecimal(&hasher.finalize())
    }
}

/// Returns one lower-case hexadecimal SHA-256 for a set of files: over name, size and SHA-256 of each, sorted by name.
///
/// Folders don't count, so a checkpoint that was moved keeps its digest. Every byte is read.
pub fn sha256_of_files(files: &[PathBuf]) -> Result<String, HashError> {
    let mut lines = Vec::with_capacity(files.len());
    for path in files {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let (size, digest) = sha256_of_file(path).map_err(|source| HashError {
            path: path.clone(),
            source,
        })?;
        lines.push(format!("{name}\0{size}\0{digest}\n"));
    }
    lines.sort();
    let mut hasher = Sha256::new();
    for line in &lines {
        hasher.update(line);
    }
    Ok(hexadecimal(&hasher.finalize()))
}

fn sha256_of_file(path: &Path) -> io::Result<(u64, String)> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 1 << 20];
    let mut hasher = Sha256::new();
    let mut size = 0;
    loop {
        let num_read = file.read(&mut buffer)?;
        if num_read == 0 {
            return Ok((size, hexadecimal(&hasher.finalize())));
        }
        hasher.update(&buffer[..num_read]);
        size += num_read as u64;
    }
}

pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        write!(text, "{byte:02x}").expect("writing to a string can't fail");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_ignores_order_and_folder_but_not_content() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, content).unwrap();
            path
        };
        let (a, b) = (file("x/a", "one"), file("x/b", "two"));
        let (c, d) = (file("y/a", "one"), file("y/b", "three"));
        let first = sha256_of_files(&[a, b.clone()]).unwrap();
        assert_eq!(first, sha256_of_files(&[b, c.clone()]).unwrap());
        assert_ne!(first, sha256_of_files(&[c, d]).unwrap());
        assert!(sha256_of_files(&[folder.path().join("none")]).is_err());
    }
}
