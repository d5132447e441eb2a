//! Repositories of the Hugging Face hub: their files, by its HTTP API.
//!
//! `GET /api/{datasets|models}/{repo}/tree/{revision}/{folder}` lists files, page by page; the
//! address of the next page is in the `Link` header. Files kept by LFS have their SHA-256 there.

use std::sync::{Arc, Mutex};

use reqwest::header::LINK;
use reqwest::{StatusCode, Url};
use serde::Deserialize;

use super::address::{KeyPattern, Repo, is_pattern};
use super::transport::{Ask, Transport};
use super::web::{self, WebFile};
use super::{RemoteError, RemoteFile};

const DEFAULT_ENDPOINT: &str = "https://huggingface.co";
const DEFAULT_REVISION: &str = "main";

#[derive(Debug, Deserialize)]
struct Entry {
    #[serde(rename = "type")]
    kind: String,
    path: String,
    #[serde(default)]
    size: u64,
    oid: Option<String>,
    lfs: Option<Lfs>,
}

#[derive(Debug, Deserialize)]
struct Lfs {
    oid: String,
    size: u64,
}

/// The hub, or a mirror of it.
#[derive(Debug)]
pub(super) struct Hub {
    endpoint: Url,
    transport: Arc<Transport>,
}

/// Reads the address of the hub.
pub(super) fn parse_endpoint(endpoint: Option<&str>) -> Result<Url, RemoteError> {
    let text = endpoint.unwrap_or(DEFAULT_ENDPOINT).trim();
    let url = Url::parse(text).ok();
    let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    url.ok_or_else(|| RemoteError::Address {
        url: super::shown(text),
        what: "expected the http address of a hub",
    })
}

impl Hub {
    pub(super) fn new(endpoint: Url, transport: Arc<Transport>) -> Self {
        Self {
            endpoint,
            transport,
        }
    }

    /// Lists the files that match a path, which may be a pattern.
    pub(super) async fn expand(
        &self,
        text: &str,
        repo: &Repo,
        path: &str,
    ) -> Result<Vec<RemoteFile>, RemoteError> {
        let pattern = if is_pattern(path) {
            KeyPattern::parse(text, path)?
        } else {
            // A file is looked up in the list of its folder.
            KeyPattern::literal(path)
        };
        let matches = |entry: &Entry| pattern.matches(&entry.path);
        let mut files = Vec::new();
        let mut next = Some(self.tree_url(repo, &pattern));
        while let Some(url) = next.take() {
            let (entries, following) = self.page(text, repo, &url).await?;
            let found = entries
                .into_iter()
                .filter(|entry| entry.kind == "file" && matches(entry));
            files.extend(found.map(|entry| remote_file(repo, entry)));
            next = following.filter(|following| *following != url);
        }
        if files.is_empty() && !is_pattern(path) {
            return Err(RemoteError::NotFound {
                url: text.to_owned(),
                what: "file",
            });
        }
        Ok(files)
    }

    /// A file of a repository, to be read.
    pub(super) fn file(&self, file: &RemoteFile, repo: &Repo, path: &str) -> WebFile {
        let kind = if repo.is_dataset {
            &["datasets"][..]
        } else {
            &[]
        };
        let mut url = self.endpoint.clone();
        extend(&mut url, kind.iter().copied().chain(repo.name.split('/')));
        let revision = repo.revision.as_deref().unwrap_or(DEFAULT_REVISION);
        extend(
            &mut url,
            ["resolve", revision].into_iter().chain(path.split('/')),
        );
        WebFile {
            transport: Arc::clone(&self.transport),
            url,
            file: file.clone(),
            visit: Some(self.page_of(repo)),
            target: Mutex::new(None),
        }
    }

    async fn page(
        &self,
        text: &str,
        repo: &Repo,
        url: &Url,
    ) -> Result<(Vec<Entry>, Option<Url>), RemoteError> {
        let ask = Ask::get(url.clone());
        let listing = |gave_up: super::patience::GaveUp| RemoteError::List {
            url: text.to_owned(),
            tries: gave_up.tries,
            source: gave_up.cause,
        };
        let reply = self.transport.whole(&ask).await.map_err(listing)?;
        if reply.status != StatusCode::OK {
            let visit = self.page_of(repo);
            let has_token = self.transport.has_token();
            return Err(web::refusal(&reply, text, Some(&visit), has_token));
        }
        let entries = serde_json::from_slice(&reply.body).map_err(|_| RemoteError::Answer {
            url: text.to_owned(),
            what: "the list of files is not the JSON that the hub sends",
        })?;
        let mut links = reply.headers.get_all(LINK).iter();
        let next = links.find_map(|link| next_page(link.to_str().ok()?));
        Ok((entries, next.and_then(|next| url.join(&next).ok())))
    }

    fn tree_url(&self, repo: &Repo, pattern: &KeyPattern) -> Url {
        let mut url = self.endpoint.clone();
        let kind = if repo.is_dataset {
            "datasets"
        } else {
            "models"
        };
        extend(
            &mut url,
            ["api", kind].into_iter().chain(repo.name.split('/')),
        );
        let revision = repo.revision.as_deref().unwrap_or(DEFAULT_REVISION);
        let folder = pattern.folder.split('/').filter(|part| !part.is_empty());
        extend(&mut url, ["tree", revision].into_iter().chain(folder));
        let is_recursive = if pattern.is_deep { "true" } else { "false" };
        url.query_pairs_mut().append_pair("recursive", is_recursive);
        url
    }

    /// The page where a person can see a repository and accept its terms.
    fn page_of(&self, repo: &Repo) -> String {
        let kind = if repo.is_dataset { "datasets/" } else { "" };
        let endpoint = super::shown(self.endpoint.as_str());
        format!("{}/{kind}{}", endpoint.trim_end_matches('/'), repo.name)
    }
}

fn remote_file(repo: &Repo, entry: Entry) -> RemoteFile {
    let url = format!("{repo}/{}", entry.path);
    match entry.lfs {
        Some(lfs) => RemoteFile {
            url,
            size: lfs.size,
            etag: Some(lfs.oid.clone()),
            sha256: Some(lfs.oid),
        },
        None => RemoteFile {
            url,
            size: entry.size,
            etag: entry.oid,
            sha256: None,
        },
    }
}

/// Appends parts to an address, each escaped.
fn extend<'p>(url: &mut Url, parts: impl Iterator<Item = &'p str>) {
    let mut path = url.path_segments_mut().expect("http addresses have paths");
    path.pop_if_empty().extend(parts);
}

/// The address of the next page in a `Link` header (RFC 8288): `<https://...>; rel="next"`.
fn next_page(link: &str) -> Option<String> {
    let mut rest = link;
    while let Some(start) = rest.find('<') {
        let (target, after) = rest[start + 1..].split_once('>')?;
        let parameters = &after[..after.find('<').unwrap_or(after.len())];
        let is_next = parameters
            .split([';', ','])
            .any(|parameter| matches!(parameter.trim(), "rel=\"next\"" | "rel=next"));
        if is_next {
            return Some(target.to_owned());
        }
        rest = after;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_found() {
        let cases = [
            (
                "<https://h/x?cursor=a>; rel=\"next\"",
                Some("https://h/x?cursor=a"),
            ),
            (
                "<https://h/1>; rel=\"prev\", <https://h/2>; rel=\"next\"",
                Some("https://h/2"),
            ),
            ("</x?cursor=b>; rel=next", Some("/x?cursor=b")),
            ("<https://h/1>; rel=\"prev\"", None),
            ("<https://h/1", None),
            ("", None),
        ];
        for (link, expected) in cases {
            assert_eq!(next_page(link).as_deref(), expected, "{link}");
        }
    }
}
