//! Transfers from servers that fail in every way we know of.

mod hub;
mod prefetch;
mod store;
mod web;

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use stablelm_testkit::http_server::{Server, told};

use super::{RemoteError, RemoteFile, RemoteOptions, Remotes, TransferOptions};

/// Ranges of 1000 bytes, no pauses to speak of.
fn quick() -> RemoteOptions {
    RemoteOptions {
        transfer: TransferOptions {
            tries: 4,
            first_delay: Duration::from_millis(1),
            max_delay: Duration::from_millis(4),
            max_wait: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(2),
            idle_timeout: Duration::from_millis(250),
            range_len: 1000,
            ranges: 4,
        },
        ..RemoteOptions::default()
    }
}

/// Bytes that differ everywhere.
fn bytes(len: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..len).map(|_| next()).collect()
}

/// A folder with the place for one file.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn to(&self) -> PathBuf {
        self.folder.path().join("file")
    }

    fn part(&self) -> PathBuf {
        self.folder.path().join("file.part")
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path()).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

/// Finds one file and fetches it.
fn fetch_one(remotes: &Remotes, url: &str, place: &Place) -> Result<RemoteFile, RemoteError> {
    let file = remotes.expand(url)?.remove(0);
    remotes.fetch(&file, &place.to(), &|_| {})?;
    Ok(file)
}

/// An error with all its causes, as the command shows it.
fn text(error: &RemoteError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}

#[test]
fn offline_nothing_is_asked() {
    let server = Server::new(|_| told(200, "x"));
    let options = RemoteOptions {
        offline: true,
        ..quick()
    };
    let error = Remotes::new(options).expand(&server.url("/x")).unwrap_err();
    assert!(matches!(error, RemoteError::Offline { .. }));
    assert!(server.log().is_empty());
}

#[test]
fn a_host_that_is_not_there_is_soon_given_up() {
    // Nobody listens on a port that was just given back.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/x", listener.local_addr().unwrap());
    drop(listener);
    let error = Remotes::new(quick()).expand(&url).unwrap_err();
    assert!(
        matches!(error, RemoteError::List { tries: 3, .. }),
        "{error:?}"
    );
    assert!(text(&error).contains("refused"), "{}", text(&error));
}
