//! Fetching files of one commit into the cache.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use hf_hub::api::sync::{Api, ApiBuilder, ApiError, ApiRepo, Metadata};
use hf_hub::api::{Progress, RepoInfo};
use hf_hub::{Cache, Repo};
use sha2::{Digest as _, Sha256};

use super::{COMPANIONS, CONFIG, HubId, HubSettings, INDEX, WEIGHTS, is_plain_name};
use crate::error::CommandError;

/// How often a request is made again after a broken connection or a server that is out of order.
const RETRIES: usize = 4;

/// Time before the first repetition; doubled for each.
const PATIENCE: Duration = Duration::from_millis(200);

/// One repository that is being fetched.
pub(super) struct Download<'a> {
    id: &'a HubId,
    settings: &'a HubSettings,
    api: Api,
    cache: Cache,
}

/// The state of a repository that all files are taken from.
pub(super) struct Commit {
    info: RepoInfo,
    repo: Repo,
}

impl Commit {
    /// Returns whether the repository has a file.
    pub(super) fn has(&self, name: &str) -> bool {
        self.info.siblings.iter().any(|file| file.rfilename == name)
    }
}

impl<'a> Download<'a> {
    pub(super) fn new(id: &'a HubId, settings: &'a HubSettings) -> Result<Self, CommandError> {
        let cache = Cache::new(settings.cache.clone());
        let api = ApiBuilder::from_cache(cache.clone())
            .with_endpoint(settings.endpoint.clone())
            .with_token(settings.token.clone())
            // Its own repetitions ask for the beginning again after a connection that brought nothing; ours go on.
            .with_retries(0)
            .with_progress(false)
            .with_user_agent("stablelm", env!("CARGO_PKG_VERSION"))
            .build()
            .map_err(CommandError::environment)?;
        Ok(Self {
            id,
            settings,
            api,
            cache,
        })
    }

    /// Asks which commit the id stands for, and which files it has.
    pub(super) fn commit(&self) -> Result<Commit, CommandError> {
        let repo = self.api.repo(self.id.repo());
        let info = patiently(|| repo.info()).map_err(|error| self.explain(error, None))?;
        if !is_plain_name(&info.sha) {
            return Err(self.nonsense("a commit", &info.sha));
        }
        let repo = self.id.repo_at(&info.sha);
        Ok(Commit { info, repo })
    }

    /// Returns the files of a model, shards excepted, or says why there is no model.
    pub(super) fn model_files(&self, commit: &Commit) -> Result<Vec<&'static str>, CommandError> {
        let missing = |what: &str, hint: &str| {
            let text = format!("the repository `{}` has no {what}", self.id);
            Err(CommandError::input(anyhow!(text)).hint(hint))
        };
        if !commit.has(CONFIG) {
            return missing(
                "`config.json`",
                "a model needs its configuration; check the id",
            );
        }
        let weights = match (commit.has(INDEX), commit.has(WEIGHTS)) {
            (true, _) => INDEX,
            (false, true) => WEIGHTS,
            (false, false) => {
                return missing(
                    "`model.safetensors`",
                    "weights in PyTorch's own format are not read from the hub: look for a revision with safetensors",
                );
            }
        };
        let companions = COMPANIONS.into_iter().filter(|name| commit.has(name));
        Ok([CONFIG]
            .into_iter()
            .chain(companions)
            .chain([weights])
            .collect())
    }

    /// Returns where a file of the commit lies in the cache, after fetching it if it was not there.
    pub(super) fn file(&self, commit: &Commit, name: &str) -> Result<PathBuf, CommandError> {
        if let Some(path) = self.cache.repo(commit.repo.clone()).get(name) {
            return Ok(path);
        }
        let repo = self.api.repo(commit.repo.clone());
        let metadata = patiently(|| self.api.metadata(&repo.url(name)));
        let metadata = metadata.map_err(|error| self.explain(error, Some(name)))?;
        for text in [metadata.etag(), metadata.commit_hash()] {
            // Both become names of files.
            if !is_plain_name(text) {
                return Err(self.nonsense("a name", text));
            }
        }
        let path = self.fetch(&repo, commit, name, &metadata)?;
        if is_intact(&path, &metadata).map_err(CommandError::input)? {
            return Ok(path);
        }
        // A server that ignores where to go on leaves a file that is made of two beginnings.
        self.forget(commit, &path, metadata.etag());
        let path = self.fetch(&repo, commit, name, &metadata)?;
        if is_intact(&path, &metadata).map_err(CommandError::input)? {
            return Ok(path);
        }
        self.forget(commit, &path, metadata.etag());
        let text = format!(
            "`{name}` of `{}` does not have the SHA-256 that the hub says",
            self.id
        );
        Err(CommandError::input(anyhow!(text)).hint("try again later; what was fetched is deleted"))
    }

    fn fetch(
        &self,
        repo: &ApiRepo,
        commit: &Commit,
        name: &str,
        metadata: &Metadata,
    ) -> Result<PathBuf, CommandError> {
        let blob = self
            .cache
            .repo(commit.repo.clone())
            .blob_path(metadata.etag());
        let part = blob.with_extension("part");
        loop {
            let before = len(&part);
            let fetched = patiently(|| repo.download_with_progress(name, Told::new(name)));
            match fetched {
                Ok(path) => return Ok(path),
                Err(ApiError::InvalidResume) => self.forget(commit, &blob, metadata.etag()),
                // As long as something comes, it goes on.
                Err(error) if may_pass(&error) && len(&part) > before => {}
                Err(error) => return Err(self.explain(error, Some(name))),
            }
        }
    }

    /// Deletes what was fetched of a file.
    fn forget(&self, commit: &Commit, path: &Path, etag: &str) {
        let blob = self.cache.repo(commit.repo.clone()).blob_path(etag);
        for path in [path, &blob, &blob.with_extension("part")] {
            drop(std::fs::remove_file(path));
        }
    }

    /// Notes the commit as that of the id, and returns the folder of its files.
    pub(super) fn remember(&self, commit: &Commit) -> Result<PathBuf, CommandError> {
        let noted = self.cache.repo(self.id.repo()).create_ref(&commit.info.sha);
        noted.map_err(CommandError::input)?;
        Ok(self
            .cache
            .repo(commit.repo.clone())
            .pointer_path(&commit.info.sha))
    }

    fn nonsense(&self, what: &str, found: &str) -> CommandError {
        let endpoint = &self.settings.endpoint;
        let text = format!("`{endpoint}` answers with `{found}` where {what} was expected");
        CommandError::input(anyhow!(text)).hint("check HF_ENDPOINT")
    }

    /// Says what a failure means, and what to do about it.
    fn explain(&self, error: ApiError, file: Option<&str>) -> CommandError {
        let (id, endpoint) = (self.id, &self.settings.endpoint);
        let page = format!("{endpoint}/{}", id.name());
        let status = match &error {
            ApiError::RequestError(error) => match error.as_ref() {
                ureq::Error::StatusCode(status) => Some(*status),
                _ => None,
            },
            _ => None,
        };
        let input = |text: String, hint: String| CommandError::input(anyhow!(text)).hint(hint);
        let has_token = self.settings.token.is_some();
        match (status, file) {
            (Some(401 | 403 | 404), None) if !has_token => input(
                format!("there is no file, folder or public repository `{id}`"),
                format!("check the id at {page}; for a private one, set HF_TOKEN"),
            ),
            (Some(401 | 403 | 404), None) => input(
                format!(
                    "there is no file or folder `{id}`, and no repository that your token may see"
                ),
                format!("check the id and the revision at {page}"),
            ),
            (Some(401), Some(_)) if !has_token => input(
                format!("`{id}` is gated: its owner wants to know who downloads it"),
                format!(
                    "visit {page}, accept the terms, then set HF_TOKEN to a token of yours ({endpoint}/settings/tokens)"
                ),
            ),
            (Some(401 | 403), Some(_)) => input(
                format!("`{id}` is gated, and your token has no access to it"),
                format!(
                    "visit {page} and ask for access; the token is that of HF_TOKEN or of `hf auth login`"
                ),
            ),
            (Some(404), Some(file)) => input(
                format!("the repository `{id}` has no `{file}`"),
                format!("look at what it has: {page}/tree/main"),
            ),
            _ => self.explain_failure(error, file),
        }
    }

    /// Says that the hub, or the way there, is out of order.
    fn explain_failure(&self, error: ApiError, file: Option<&str>) -> CommandError {
        let (id, endpoint) = (self.id, &self.settings.endpoint);
        let is_disk = matches!(error, ApiError::IoError(_)) && !may_pass(&error);
        let error = anyhow::Error::new(error);
        let Some(file) = file else {
            return CommandError::environment(error.context(format!(
                "there is no file or folder `{id}`, and {endpoint} could not be asked for it"
            )));
        };
        let error = error.context(format!(
            "failed to fetch `{file}` of `{id}` from {endpoint}"
        ));
        let hint = "run the same command again: what was fetched so far is kept";
        if is_disk {
            CommandError::input(error).hint(hint)
        } else {
            CommandError::environment(error).hint(hint)
        }
    }
}

fn len(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |metadata| metadata.len())
}

/// Whether a file has the SHA-256 that is its name in the cache; small files go by another hash and are not looked at.
fn is_intact(path: &Path, metadata: &Metadata) -> io::Result<bool> {
    let mut file = File::open(path)?;
    if file.metadata()?.len() != metadata.size() as u64 {
        return Ok(false);
    }
    let etag = metadata.etag();
    if etag.len() != 64 || !etag.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(true);
    }
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            len => hasher.update(&buffer[..len]),
        }
    }
    let hash = hasher.finalize();
    let expected = (0..etag.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&etag[at..at + 2], 16));
    Ok(hash.iter().copied().map(Ok).eq(expected))
}

/// Makes a request again after failures that may pass.
fn patiently<T>(mut request: impl FnMut() -> Result<T, ApiError>) -> Result<T, ApiError> {
    let mut patience = PATIENCE;
    for _ in 0..RETRIES {
        match request() {
            Err(error) if may_pass(&error) => {
                tracing::debug!(%error, ?patience, "asking the hub again");
                thread::sleep(patience);
                patience *= 2;
            }
            result => return result,
        }
    }
    request()
}

fn may_pass(error: &ApiError) -> bool {
    match error {
        ApiError::RequestError(error) => match error.as_ref() {
            ureq::Error::StatusCode(status) => matches!(status, 408 | 429 | 500..=599),
            _ => true,
        },
        ApiError::TooManyRetries(error) => may_pass(error),
        ApiError::IoError(error) => matches!(
            error.kind(),
            io::ErrorKind::UnexpectedEof
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::TimedOut
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::Other
        ),
        _ => false,
    }
}

/// Tells how far one file is.
struct Told<'a> {
    name: &'a str,
    done: usize,
    total: usize,
    last: Instant,
}

impl<'a> Told<'a> {
    fn new(name: &'a str) -> Self {
        Self {
            name,
            done: 0,
            total: 0,
            last: Instant::now(),
        }
    }

    fn tell(&self) {
        let (done, total) = (self.done as u64, self.total as u64);
        let stage = format!("fetch {}", self.name);
        tracing::info!(target: "progress", stage, done, total, unit = "bytes");
    }
}

impl Progress for Told<'_> {
    fn init(&mut self, size: usize, _filename: &str) {
        self.total = size;
        self.done = 0;
    }

    fn update(&mut self, size: usize) {
        self.done += size;
        if self.last.elapsed() >= Duration::from_millis(100) {
            self.last = Instant::now();
            self.tell();
        }
    }

    fn finish(&mut self) {
        self.done = self.total;
        self.tell();
    }
}
