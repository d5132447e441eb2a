//! Sources on other machines: object stores, the Hugging Face hub, and files behind http.
//!
//! [`Remotes`] finds the files that a path names and fetches them to the local disk, where the
//! readers work; [`Prefetch`] fetches some ahead of them. Interrupted transfers are continued, and
//! what arrives is checked. All of it is synchronous outside; the network has threads of its own.
//!
//! Without the feature `remote` there is no network client, and every remote path is refused.

#[cfg(feature = "remote")]
mod address;
#[cfg(feature = "remote")]
mod client;
mod copy;
#[cfg(not(feature = "remote"))]
mod disabled;
mod error;
#[cfg(feature = "remote")]
mod fetch;
#[cfg(feature = "remote")]
mod hub;
mod options;
#[cfg(feature = "remote")]
mod part;
#[cfg(feature = "remote")]
mod patience;
mod prefetch;
#[cfg(feature = "remote")]
mod store;
#[cfg(feature = "remote")]
#[cfg(test)]
mod tests;
#[cfg(feature = "remote")]
mod transport;
#[cfg(feature = "remote")]
mod web;

#[cfg(feature = "remote")]
pub(crate) use client::Remotes;
pub(crate) use copy::FetchedCopy;
#[cfg(not(feature = "remote"))]
pub(crate) use disabled::Remotes;
pub use error::{ConnectionError, RemoteError, StoreError, TransferError};
pub use options::{RemoteOptions, TransferOptions};
pub(crate) use prefetch::{Prefetch, PrefetchLimits};

/// A remote file as it was listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RemoteFile {
    /// Its address; may hold secrets, see [`RemoteFile::shown`].
    pub(crate) url: String,
    /// Its length in bytes.
    pub(crate) size: u64,
    /// Which version of it was listed: its entity tag, or `modified` and its date.
    pub(crate) etag: Option<String>,
    /// Its published hash, in hex.
    pub(crate) sha256: Option<String>,
}

impl RemoteFile {
    /// The address without passwords and query string, to be shown and written down.
    pub(crate) fn shown(&self) -> String {
        shown(&self.url)
    }
}

/// Whether a path of a recipe is the address of something remote, rather than on a local disk.
pub fn is_remote(path: &str) -> bool {
    const SCHEMES: [&str; 10] = [
        "s3", "s3a", "gs", "az", "azure", "abfs", "abfss", "hf", "http", "https",
    ];
    path.split_once("://")
        .is_some_and(|(scheme, _)| SCHEMES.contains(&scheme))
}

/// The address without what may be secret: passwords, and signatures in query strings.
pub(crate) fn shown(text: &str) -> String {
    let is_http = text.starts_with("http://") || text.starts_with("https://");
    if !is_http {
        return text.to_owned();
    }
    let end = text.find(['?', '#']).unwrap_or(text.len());
    let text = &text[..end];
    let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
    let host_end = rest.find('/').unwrap_or(rest.len());
    match rest[..host_end].rfind('@') {
        Some(at) => format!("{scheme}://{}", &rest[at + 1..]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod path_tests {
    use super::{is_remote, shown};

    #[test]
    fn secrets_in_addresses_are_not_shown() {
        assert_eq!(
            shown("https://me:pass@h.org:1/x?sig=a#b"),
            "https://h.org:1/x"
        );
        assert_eq!(shown("https://h.org/@x"), "https://h.org/@x");
        assert_eq!(shown("s3://b/what?"), "s3://b/what?");
    }

    #[test]
    fn local_paths_are_not_remote() {
        assert!(is_remote("s3://b/x") && is_remote("hf://a/b/c") && is_remote("https://h/x"));
        assert!(!is_remote("pile/*.jsonl") && !is_remote("/s3://b") && !is_remote("C:\\x"));
    }
}
