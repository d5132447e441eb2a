//! What can go wrong with a remote source.

use std::error::Error;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Why a remote file can't be found or fetched.
///
/// Addresses are shown without passwords and query strings, which may be secrets.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RemoteError {
    /// This build reads local files only.
    #[error("failed to read `{url}`: built without the feature `remote`")]
    NotBuilt {
        /// The path as given.
        url: String,
    },
    /// The network may not be used.
    #[error("failed to read `{url}`: remote sources are off (offline)")]
    Offline {
        /// The path as given.
        url: String,
    },
    /// The path is none that can be read.
    #[error("`{url}` is not a usable address: {what}")]
    Address {
        /// The path as given.
        url: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The pattern is malformed.
    #[error("`{url}` is not a usable pattern: {message}")]
    Pattern {
        /// The path as given.
        url: String,
        /// What the pattern parser says.
        message: &'static str,
    },
    /// A pattern where files can't be listed.
    #[error("`{url}` is a pattern, and files behind http can't be listed; name each of them")]
    NoListing {
        /// The path as given.
        url: String,
    },
    /// There is nothing at that address.
    #[error("`{url}` does not exist: no such {what}")]
    NotFound {
        /// The address.
        url: String,
        /// What is not there: a file, a repository, a revision.
        what: &'static str,
    },
    /// The repository wants its terms accepted, is private, or hides that it does not exist.
    #[error("`{url}` is gated, private or not there; accept its terms at {visit} and {}", if *has_token {
        "check that the token given is of that account and may read it"
    } else {
        "give a token of that account (none was given)"
    })]
    Gated {
        /// The address.
        url: String,
        /// The page where its terms are.
        visit: String,
        /// Whether a token was given.
        has_token: bool,
        /// What the server says.
        #[source]
        source: TransferError,
    },
    /// The server knows the file and won't give it.
    #[error("`{url}` may not be read with the credentials given")]
    Denied {
        /// The address.
        url: String,
        /// What the server says.
        #[source]
        source: TransferError,
    },
    /// Nobody said who is asking, and the machine can't say it either.
    #[error(
        "no credentials for `{url}` were given and this machine has none; give them, or set \
             `AWS_SKIP_SIGNATURE`, `GOOGLE_SKIP_SIGNATURE` or `AZURE_SKIP_SIGNATURE` to `true` for \
             what everybody may read"
    )]
    NoCredentials {
        /// The address.
        url: String,
        /// What the store's client says.
        #[source]
        source: StoreError,
    },
    /// The server refuses for another reason.
    #[error("`{url}` is refused")]
    Refused {
        /// The address.
        url: String,
        /// What the server says.
        #[source]
        source: TransferError,
    },
    /// The transfer failed for good.
    #[error("failed to fetch `{url}` at byte {byte} (try {tries})")]
    Fetch {
        /// The address.
        url: String,
        /// First byte that did not arrive.
        byte: u64,
        /// Tries since the last progress.
        tries: u32,
        /// The last thing that went wrong.
        #[source]
        source: TransferError,
    },
    /// Files can't be listed or looked at.
    #[error("failed to list `{url}` (try {tries})")]
    List {
        /// The address.
        url: String,
        /// Tries made.
        tries: u32,
        /// The last thing that went wrong.
        #[source]
        source: TransferError,
    },
    /// The server answers what its interface does not allow.
    #[error("`{url}` was answered with something else than expected: {what}")]
    Answer {
        /// The address.
        url: String,
        /// What is wrong with the answer.
        what: &'static str,
    },
    /// The file is another one than was listed.
    #[error("`{url}` changed: expected the version {expected}, found {found}")]
    Changed {
        /// The address.
        url: String,
        /// Its entity tag when it was listed.
        expected: String,
        /// Its entity tag now.
        found: String,
    },
    /// The file has another length than was listed.
    #[error("`{url}` has another size: expected {expected} bytes, found {found}")]
    Size {
        /// The address.
        url: String,
        /// Its size when it was listed.
        expected: u64,
        /// Its size now.
        found: u64,
    },
    /// The bytes are not the ones that were published.
    #[error("`{url}` is damaged: expected the SHA-256 {expected}, found {found}")]
    Checksum {
        /// The address.
        url: String,
        /// The published hash.
        expected: String,
        /// The hash of what arrived.
        found: String,
    },
    /// The file can't be written.
    #[error("failed to write `{}`, fetched from `{url}`", path.display())]
    Io {
        /// The address.
        url: String,
        /// The local file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// The settings of an object store don't fit together.
    #[error("failed to set up the object store of `{url}`")]
    Store {
        /// The address.
        url: String,
        /// What the store says.
        #[source]
        source: StoreError,
    },
    /// Neither threads nor TLS: nothing can be fetched at all.
    #[error("failed to set up the network client")]
    Client(#[source] ConnectionError),
    /// The caller wants no more.
    #[error("the transfer of `{url}` was cancelled")]
    Cancelled {
        /// The address.
        url: String,
    },
}

impl RemoteError {
    /// The address in question; empty when the client itself can't be set up.
    pub fn url(&self) -> &str {
        match self {
            Self::NotBuilt { url }
            | Self::Offline { url }
            | Self::Address { url, .. }
            | Self::Pattern { url, .. }
            | Self::NoListing { url }
            | Self::NotFound { url, .. }
            | Self::Gated { url, .. }
            | Self::Denied { url, .. }
            | Self::NoCredentials { url, .. }
            | Self::Refused { url, .. }
            | Self::Fetch { url, .. }
            | Self::List { url, .. }
            | Self::Answer { url, .. }
            | Self::Changed { url, .. }
            | Self::Size { url, .. }
            | Self::Checksum { url, .. }
            | Self::Io { url, .. }
            | Self::Store { url, .. }
            | Self::Cancelled { url } => url,
            Self::Client(_) => "",
        }
    }
}

/// Why one request failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransferError {
    /// The host can't be reached, or the connection broke.
    #[error("the connection failed")]
    Connection(#[source] ConnectionError),
    /// The server stayed silent.
    #[error("the server sent nothing for {} s", limit.as_secs_f32())]
    TimedOut {
        /// How long it was waited for.
        limit: Duration,
    },
    /// The server refused.
    #[error("the server answered with status {status}{}{message}", if message.is_empty() { "" } else { ": " })]
    Status {
        /// The HTTP status.
        status: u16,
        /// The first line of what it says.
        message: String,
    },
    /// The server refused and wants to be left alone for longer than allowed.
    #[error("the server answered with status {status} and asks for a pause of {} s", pause.as_secs())]
    Pause {
        /// The HTTP status.
        status: u16,
        /// The pause it asks for.
        pause: Duration,
    },
    /// Less arrived than the server had announced or was asked for.
    #[error("{found} of {expected} bytes arrived")]
    TooShort {
        /// Bytes asked for.
        expected: u64,
        /// Bytes that arrived.
        found: u64,
    },
    /// More arrived than was asked for.
    #[error("more than the {expected} bytes asked for arrived")]
    TooLong {
        /// Bytes asked for.
        expected: u64,
    },
    /// Another range arrived than was asked for.
    #[error("bytes from {found} arrived, expected bytes from {expected}")]
    WrongRange {
        /// First byte asked for.
        expected: u64,
        /// First byte that arrived.
        found: u64,
    },
    /// The server sends us somewhere we don't go.
    #[error("the server redirects {what}")]
    Redirect {
        /// Where to, or how.
        what: &'static str,
    },
    /// An address without encryption, where that was not allowed.
    #[error("plain http is not allowed (`allow_http`)")]
    PlainHttp,
    /// An object store's own failure.
    #[error(transparent)]
    Store(StoreError),
}

/// What the network client says.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct ConnectionError(Box<dyn Error + Send + Sync>);

/// What an object store's client says, in one line.
#[derive(Debug)]
pub struct StoreError(Box<dyn Error + Send + Sync>);

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MAX_LEN: usize = 500;
        // Each error of the client repeats its causes in its text, down to ours.
        let mut text = self.0.to_string();
        let mut cause = self.0.source();
        while let Some(error) = cause {
            let deeper = error.to_string();
            if !text.contains(&deeper) {
                text.push_str(": ");
                text.push_str(&deeper);
            }
            cause = error.source();
        }
        // Answers in XML have several lines.
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let shown: String = words
            .chars()
            .filter(|c| !c.is_control())
            .take(MAX_LEN)
            .collect();
        f.write_str(&shown)
    }
}

/// Its causes are in its text already.
impl Error for StoreError {}

#[cfg(feature = "remote")]
mod convert {
    use super::{ConnectionError, StoreError};

    impl From<reqwest::Error> for ConnectionError {
        fn from(error: reqwest::Error) -> Self {
            // Addresses after a redirect are signed: they would give the file away.
            Self(Box::new(error.without_url()))
        }
    }

    impl From<std::io::Error> for ConnectionError {
        fn from(error: std::io::Error) -> Self {
            Self(Box::new(error))
        }
    }

    impl From<object_store::Error> for StoreError {
        fn from(error: object_store::Error) -> Self {
            Self(Box::new(error))
        }
    }
}
