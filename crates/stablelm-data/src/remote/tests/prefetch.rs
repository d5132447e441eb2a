//! Fetching ahead.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use stablelm_testkit::http_server::{Server, file, told};

use super::{Place, bytes, quick};
use crate::remote::{Prefetch, PrefetchLimits, RemoteError, RemoteFile, Remotes};

fn files(server: &Server, sizes: &[usize]) -> Vec<RemoteFile> {
    let named = sizes.iter().enumerate().map(|(number, size)| RemoteFile {
        url: server.url(&format!("/{number}/{size}.json?secret")),
        size: *size as u64,
        etag: None,
        sha256: None,
    });
    named.collect()
}

/// Serves as many bytes as the name says; `/3/...` fails.
fn server() -> Server {
    Server::new(|asked| {
        let mut parts = asked.target.split(['/', '.']).skip(1);
        let number = parts.next().unwrap();
        let size = parts.next().unwrap().parse().unwrap();
        if number == "3" {
            return told(404, "");
        }
        // The first ones take longest.
        let pause = if number == "0" { 60 } else { 5 };
        file(asked, &bytes(size), "").pause(Duration::from_millis(pause))
    })
}

fn begin(
    server: &Server,
    place: &Place,
    sizes: &[usize],
    files_on_disk: usize,
    bytes: u64,
) -> Prefetch {
    let limits = PrefetchLimits {
        files: files_on_disk,
        bytes,
    };
    let remotes = Arc::new(Remotes::new(quick()));
    Prefetch::new(remotes, files(server, sizes), place.folder.path(), limits).unwrap()
}

#[test]
fn files_come_in_order_and_within_limits() {
    let sizes = [2500, 10, 0, 10, 7000, 300, 300, 300, 300];
    for (num_files, num_bytes) in [(1, 1), (2, 3000), (3, 600), (100, 1 << 30)] {
        let server = server();
        let place = Place::new();
        let mut prefetch = begin(&server, &place, &sizes, num_files, num_bytes);
        let mut order = Vec::new();
        while let Some(next) = prefetch.next() {
            let on_disk = || {
                place
                    .names()
                    .iter()
                    .filter(|name| !name.contains(".part"))
                    .count()
            };
            assert!(on_disk() <= num_files);
            match next {
                Ok((file, path)) => {
                    assert_eq!(std::fs::metadata(&path).unwrap().len(), file.size);
                    assert_eq!(path.extension().unwrap(), "json");
                    order.push(file.size);
                    prefetch.release(&path);
                    assert!(!path.exists());
                }
                Err(error) => {
                    assert!(matches!(error, RemoteError::NotFound { .. }), "{error:?}");
                    order.push(999);
                }
            }
        }
        assert_eq!(order, [2500, 10, 0, 999, 7000, 300, 300, 300, 300]);
        assert_eq!(prefetch.bytes_fetched(), 10_710);
        drop(prefetch);
        assert!(
            place.names().iter().all(|name| name.contains(".part")),
            "{:?}",
            place.names()
        );
    }
}

#[test]
fn who_keeps_every_file_is_still_served() {
    let server = server();
    let place = Place::new();
    let mut prefetch = begin(&server, &place, &[100, 100, 100], 1, 100);
    let kept: Vec<PathBuf> = std::iter::from_fn(|| prefetch.next())
        .map(|next| next.unwrap().1)
        .collect();
    assert_eq!(kept.len(), 3);
    assert!(kept.iter().all(|path| path.exists()));
}

#[test]
fn what_was_not_asked_for_is_removed() {
    let server = server();
    let place = Place::new();
    let begun = Instant::now();
    let mut prefetch = begin(&server, &place, &[100, 100, 100, 100, 900_000], 9, 1 << 30);
    let (_, path) = prefetch.next().unwrap().unwrap();
    std::thread::sleep(Duration::from_millis(100));
    drop(prefetch);
    assert!(begun.elapsed() < Duration::from_secs(1));
    let left: Vec<_> = place
        .names()
        .into_iter()
        .filter(|name| !name.contains(".part"))
        .collect();
    assert_eq!(left, [path.file_name().unwrap().to_str().unwrap()]);
}

#[test]
fn equal_addresses_have_places_of_their_own() {
    let server = server();
    let place = Place::new();
    let twice = [files(&server, &[50]), files(&server, &[50])].concat();
    let limits = PrefetchLimits {
        files: 2,
        bytes: 100,
    };
    let remotes = Arc::new(Remotes::new(quick()));
    let mut prefetch = Prefetch::new(remotes, twice, place.folder.path(), limits).unwrap();
    let first = prefetch.next().unwrap().unwrap().1;
    let second = prefetch.next().unwrap().unwrap().1;
    assert_ne!(first, second);
    assert!(prefetch.next().is_none());
}
