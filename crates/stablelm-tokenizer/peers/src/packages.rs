//! Debian packages as folders of files: fetched and unpacked, never installed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// Unpacks packages into `folder`, each in a folder of its own name, and fetches those not there.
pub(crate) fn unpack(folder: &Path, packages: &BTreeSet<&str>) -> Result<()> {
    for package in packages {
        let unpacked = folder.join(package);
        if unpacked.exists() {
            continue;
        }
        eprintln!("fetching {package}");
        let beside = folder.join(format!("{package}.part"));
        fs::create_dir_all(&beside)?;
        run(Command::new("apt-get")
            .args(["download", "-q", package])
            .current_dir(&beside))
        .context("`apt-get update` may be what is missing")?;
        let archive = files(&beside)?
            .pop()
            .with_context(|| format!("`{package}` was fetched, but is not there"))?;
        run(Command::new("dpkg-deb")
            .arg("-x")
            .arg(&archive)
            .arg(&beside))?;
        fs::remove_file(archive)?;
        fs::rename(beside, unpacked)?;
    }
    Ok(())
}

/// Runs a command and shows what it printed only when it fails.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let output = command
        .output()
        .with_context(|| format!("failed to run {command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?} failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// Returns every regular file below a folder, sorted by path.
pub(crate) fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut folders = vec![folder.to_owned()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let file_type = entry.file_type()?;
            if file_type.is_dir() {
                folders.push(entry.path());
            } else if file_type.is_file() {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    Ok(files)
}
