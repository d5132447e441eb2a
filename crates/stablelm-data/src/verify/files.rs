//! Sizes and hashes of every file, files that are missing, and files that nobody announced.

use std::path::Path;

use crate::hash::sha256_file;
use crate::manifest::{MANIFEST, list_files};
use crate::verify::manifest::ManifestFile;
use crate::verify::{Run, VerifyError};

const CHECK: &str = "files";

pub(super) fn check(run: &mut Run<'_>, manifest: &ManifestFile) -> Result<(), VerifyError> {
    let folder = run.options.folder;
    let mut there =
        list_files(folder).map_err(|(path, source)| VerifyError::Io { path, source })?;
    there.remove(MANIFEST);
    let outputs: Vec<_> = manifest.outputs.iter().collect();
    let hashed = run.workers.map(outputs, |output| {
        (
            output,
            is_inside(&output.path).then(|| sha256_file(&folder.join(&output.path))),
        )
    });
    for (output, hash) in hashed {
        let path = output.path.as_str();
        there.remove(path);
        match hash {
            None => run.find(CHECK, MANIFEST, path, "a path below the folder", path),
            Some(Err(error)) => run.find(CHECK, path, "", "a file that can be read", error),
            Some(Ok((bytes, sha256))) => {
                run.verification.checked.files += 1;
                run.verification.checked.bytes += bytes;
                run.expect(CHECK, path, "size in bytes", &output.bytes, &bytes);
                run.expect(CHECK, path, "SHA-256", &output.sha256, &sha256);
            }
        }
    }
    for path in there {
        run.find(
            CHECK,
            &path,
            "",
            "no such file: the manifest has none",
            "a file",
        );
    }
    Ok(())
}

/// Whether a path of the manifest stays in the folder.
fn is_inside(path: &str) -> bool {
    let mut parts = Path::new(path).components();
    parts.all(|part| matches!(part, std::path::Component::Normal(_)))
}
