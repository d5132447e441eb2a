//! What the caller says about remote sources: whom to ask, with what right, and how patiently.

use std::fmt;
use std::time::Duration;

/// How remote sources are reached.
///
/// The library reads no environment: keys, endpoints and tokens are given here.
#[derive(Clone, Default)]
pub struct RemoteOptions {
    /// Where the Hugging Face API is; `https://huggingface.co` when not given.
    pub hf_endpoint: Option<String>,
    /// The token sent to that endpoint and to no other host.
    pub hf_token: Option<String>,
    /// Refuses every remote path instead of going to the network.
    pub offline: bool,
    /// Settings of object stores by the names of their environment variables, in any letter case
    /// (`AWS_REGION`, `GOOGLE_SERVICE_ACCOUNT`, `AZURE_STORAGE_ACCOUNT_NAME`), and for all of them
    /// `allow_http`, `proxy_url` and `proxy_excludes`. Names that no store knows are ignored.
    pub store_options: Vec<(String, String)>,
    /// Patience and pace.
    pub transfer: TransferOptions,
}

impl RemoteOptions {
    /// The last value given for a setting that holds for every store.
    #[cfg(feature = "remote")]
    pub(super) fn setting(&self, name: &str) -> Option<&str> {
        let named = |(key, _): &&(String, String)| key.eq_ignore_ascii_case(name);
        let found = self.store_options.iter().rev().find(named);
        found.map(|(_, value)| value.as_str())
    }
}

impl fmt::Debug for RemoteOptions {
    /// Shows the names of settings, never a value: many of them are secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.store_options.iter().map(|(key, _)| &**key).collect();
        f.debug_struct("RemoteOptions")
            .field("hf_endpoint", &self.hf_endpoint)
            .field("hf_token", &self.hf_token.as_ref().map(|_| "..."))
            .field("offline", &self.offline)
            .field("store_options", &names)
            .field("transfer", &self.transfer)
            .finish()
    }
}

/// How patiently a file is fetched, and in what pieces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransferOptions {
    /// Tries without any progress before a request is given up; at least one is made.
    pub tries: u32,
    /// Pause before the second try; each later one is twice as long.
    pub first_delay: Duration,
    /// Longest such pause.
    pub max_delay: Duration,
    /// Longest pause that a server may ask for; one that asks for more is given up.
    pub max_wait: Duration,
    /// Time to reach a host.
    pub connect_timeout: Duration,
    /// Time that a server may stay silent.
    pub idle_timeout: Duration,
    /// Bytes asked for at once; at most [`TransferOptions::MAX_RANGE_LEN`] are.
    pub range_len: u64,
    /// Ranges of one file that are on their way together, from 1 to [`TransferOptions::MAX_RANGES`].
    pub ranges: usize,
}

impl TransferOptions {
    /// Longest range, so that what is on its way stays below 40 MiB.
    pub const MAX_RANGE_LEN: u64 = 8 << 20;
    /// Most ranges at a time.
    pub const MAX_RANGES: usize = 4;

    #[cfg(feature = "remote")]
    pub(super) fn range_len(&self) -> u64 {
        self.range_len.clamp(1, Self::MAX_RANGE_LEN)
    }

    #[cfg(feature = "remote")]
    pub(super) fn ranges(&self) -> usize {
        self.ranges.clamp(1, Self::MAX_RANGES)
    }
}

impl Default for TransferOptions {
    fn default() -> Self {
        Self {
            tries: 8,
            first_delay: Duration::from_millis(500),
            max_delay: Duration::from_secs(30),
            // The hub counts requests in windows of five minutes.
            max_wait: Duration::from_secs(6 * 60),
            connect_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(30),
            range_len: Self::MAX_RANGE_LEN,
            ranges: Self::MAX_RANGES,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let options = RemoteOptions {
            hf_token: Some("hf_secret".to_owned()),
            store_options: vec![("AWS_SECRET_ACCESS_KEY".to_owned(), "secret".to_owned())],
            ..RemoteOptions::default()
        };
        let shown = format!("{options:?}");
        assert!(!shown.contains("secret\""), "{shown}");
        assert!(!shown.contains("hf_secret"), "{shown}");
        assert!(shown.contains("AWS_SECRET_ACCESS_KEY"), "{shown}");
    }
}
