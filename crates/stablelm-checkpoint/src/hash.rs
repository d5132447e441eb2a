//! Digests of files and of tensor bytes.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

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
