//! Models and tokenizers by hub id: `org/name` or `org/name@revision`, kept in the cache of the Hugging Face hub.
//!
//! `hf-hub` knows the protocol and the layout of the cache. What it leaves open is here: which files make a model, that
//! all of them are of one commit, that bytes are what the hub says they are, and what a refusal means.

mod download;
mod id;

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use hf_hub::Cache;

use crate::error::CommandError;
use crate::hub::download::Download;
pub(crate) use crate::hub::id::HubId;

/// How the hub is reached.
#[derive(Clone, Debug)]
pub(crate) struct HubSettings {
    /// The address, without a slash at its end.
    pub(crate) endpoint: String,
    /// Who asks.
    pub(crate) token: Option<String>,
    /// The folder that keeps what was fetched.
    pub(crate) cache: PathBuf,
    /// Whether only what is in that folder may be used.
    pub(crate) offline: bool,
}

/// What is wanted of a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Configuration, weights, tokenizer, license.
    Model,
    /// `tokenizer.json` alone.
    Tokenizer,
}

/// Files that belong to a model, as far as a repository has them.
const COMPANIONS: [&str; 11] = [
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "README.md",
    "LICENSE",
    "LICENSE.md",
    "LICENSE.txt",
    "NOTICE",
    "NOTICE.md",
];
const CONFIG: &str = "config.json";
const INDEX: &str = "model.safetensors.index.json";
const WEIGHTS: &str = "model.safetensors";
const TOKENIZER: &str = "tokenizer.json";

/// Returns the local path of a model or tokenizer: the path itself where something is there, else what the hub has.
pub(crate) fn resolve(
    path: &Path,
    wanted: Wanted,
    settings: &HubSettings,
) -> Result<PathBuf, CommandError> {
    if path.exists() {
        return Ok(path.to_owned());
    }
    match path.to_str().and_then(HubId::parse) {
        Some(id) => fetch(&id, wanted, settings),
        None => Err(CommandError::input(anyhow!(
            "there is no file or folder `{}`",
            path.display()
        ))),
    }
}

/// Returns the folder of a repository's files in the cache, after fetching those that are not there.
fn fetch(id: &HubId, wanted: Wanted, settings: &HubSettings) -> Result<PathBuf, CommandError> {
    if settings.offline {
        return cached(id, wanted, settings).ok_or_else(|| {
            let text = format!("`{id}` is not in the cache, and the network is off");
            CommandError::input(anyhow!(text)).hint(format!(
                "fetch it once without --offline; the cache is `{}`",
                settings.cache.display()
            ))
        });
    }
    let download = Download::new(id, settings)?;
    let commit = match download.commit() {
        Ok(commit) => commit,
        Err(error) if error.status() == crate::exit_status::ExitStatus::Environment => {
            let Some(folder) = cached(id, wanted, settings) else {
                return Err(error);
            };
            tracing::warn!("the hub can't be reached; `{id}` is taken from the cache as it was");
            return Ok(folder);
        }
        Err(error) => return Err(error),
    };
    let names: Vec<&str> = match wanted {
        Wanted::Tokenizer => vec![TOKENIZER],
        Wanted::Model => download.model_files(&commit)?,
    };
    for name in names {
        download.file(&commit, name)?;
    }
    if wanted == Wanted::Model && commit.has(INDEX) {
        let index = download.file(&commit, INDEX)?;
        for shard in shards(&index)? {
            download.file(&commit, &shard)?;
        }
    }
    download.remember(&commit)
}

/// Returns the folder of the commit that was fetched last, if everything wanted is there.
fn cached(id: &HubId, wanted: Wanted, settings: &HubSettings) -> Option<PathBuf> {
    let repo = Cache::new(settings.cache.clone()).repo(id.repo());
    if wanted == Wanted::Tokenizer {
        return Some(repo.get(TOKENIZER)?.parent()?.to_owned());
    }
    let config = repo.get(CONFIG)?;
    let folder = config.parent()?;
    let whole = match repo.get(INDEX) {
        Some(index) => shards(&index)
            .ok()?
            .iter()
            .all(|shard| folder.join(shard).exists()),
        None => folder.join(WEIGHTS).exists(),
    };
    whole.then(|| folder.to_owned())
}

/// Returns the files that an index of shards names, each a plain name.
fn shards(index: &Path) -> Result<Vec<String>, CommandError> {
    let bad = |what: &str| CommandError::input(anyhow!("`{}`: {what}", index.display()));
    let bytes = std::fs::read(index).map_err(|error| bad(&error.to_string()))?;
    let value: serde_json::Value =
        serde_json::from_slice(&bytes).map_err(|_| bad("not valid JSON"))?;
    let map = value.get("weight_map").and_then(|map| map.as_object());
    let map = map.ok_or_else(|| bad("no `weight_map` that says which tensor is in which file"))?;
    let mut shards = std::collections::BTreeSet::new();
    for file in map.values() {
        let name = file.as_str().filter(|name| is_plain_name(name));
        let name = name.ok_or_else(|| bad(&format!("{file} is not the name of a file")))?;
        shards.insert(name.to_owned());
    }
    Ok(shards.into_iter().collect())
}

/// Whether a name stays in its folder.
fn is_plain_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    !name.is_empty() && !name.starts_with('.') && name.bytes().all(plain)
}
