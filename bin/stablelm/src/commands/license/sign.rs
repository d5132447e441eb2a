//! `stablelm license sign`

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use serde_json::json;
use stablelm_license::oms::{self, SignedManifest, SigningKey};

use super::contents;
use crate::args::LicenseSign;
use crate::error::CommandError;
use crate::exit_status::ExitStatus;
use crate::output;
use crate::ui::Ui;

/// What a signature is called in its folder.
pub(super) const SIGNATURE: &str = "model.sig";

pub(super) fn run(args: &LicenseSign, ui: &Ui) -> Result<ExitStatus, CommandError> {
    let key = fs::read(&args.key)
        .map_err(anyhow::Error::new)
        .and_then(|pem| Ok(SigningKey::from_pem(&pem)?))
        .with_context(|| format!("failed to read the key `{}`", args.key.display()));
    let key = key.map_err(|error| {
        CommandError::input(error).hint(
            "make one: openssl ecparam -name prime256v1 -genkey -noout -out key.pem; \
             openssl ec -in key.pem -pubout -out key.pub.pem",
        )
    })?;
    let target = args
        .output
        .clone()
        .unwrap_or_else(|| args.folder.join(SIGNATURE));
    output::refuse_existing(&target, args.overwrite)?;
    let found = contents::read(&args.folder)?;
    if let Some(link) = found.links.first() {
        let error = anyhow!("`{link}` is a link, and a signature is over files");
        return Err(CommandError::input(error).hint("put the file itself in its place"));
    }
    if let Some(own) = inside(&args.folder, &args.key) {
        let error = anyhow!("the private key `{own}` lies in the folder to be signed");
        return Err(
            CommandError::input(error).hint("keep it elsewhere: whoever gets the folder gets it")
        );
    }
    let ignored = inside(&args.folder, &target);
    let files = found
        .release
        .files
        .iter()
        .map(|(path, file)| (path.as_str(), file.sha256.as_str()));
    let ignored: Vec<&str> = ignored.as_deref().into_iter().collect();
    let manifest = SignedManifest::of_files(&name_of(&args.folder), files, &ignored);
    output::write_file(&target, oms::sign(&manifest, &key).as_bytes())?;
    let public = key.verification_key();
    if args.json.json {
        ui.json(&json!({
            "signature": target.display().to_string(),
            "files": manifest.resources.len(),
            "key": public.hint(),
            "curve": public.curve(),
        }))?;
    } else {
        ui.status(
            "Signed",
            &format!("{} files: {}", manifest.resources.len(), target.display()),
        );
    }
    Ok(ExitStatus::Success)
}

/// Returns the path of a file relative to a folder, when it lies there.
pub(super) fn inside(folder: &Path, file: &Path) -> Option<String> {
    let folder = fs::canonicalize(folder).ok()?;
    let parent = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let parent = fs::canonicalize(parent).ok()?;
    let file = parent.join(file.file_name()?);
    let path = file.strip_prefix(&folder).ok()?;
    path.to_str().map(str::to_owned)
}

fn name_of(folder: &Path) -> String {
    let absolute = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
    absolute.file_name().map_or_else(
        || "model".to_owned(),
        |name| name.to_string_lossy().into_owned(),
    )
}
