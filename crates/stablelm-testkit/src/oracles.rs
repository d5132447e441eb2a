//! Where a test finds its inputs: the repository's fixtures, and golden values kept beside it.

use std::path::{Path, PathBuf};

/// The folder of golden values that lies beside the repository, where there is one.
///
/// The values come from other programs and are too large to keep in the repository, so a test that
/// needs them skips with a printed reason when this is `None`.
pub fn shared_oracles() -> Option<PathBuf> {
    let folder = repository().parent()?.join("shared").join("oracles");
    folder.is_dir().then_some(folder)
}

/// The repository's `fixtures` folder.
pub fn fixtures() -> PathBuf {
    repository().join("fixtures")
}

/// The repository's root: this crate lies two levels below it.
fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("the crate lies in `crates/` of the repository")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_root_holds_the_workspace_manifest() {
        assert!(repository().join("Cargo.toml").is_file());
        assert!(fixtures().starts_with(repository()));
    }
}
