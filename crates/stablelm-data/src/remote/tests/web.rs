//! Files behind http.

use std::io::Write as _;
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use stablelm_testkit::http_server::{Asked, Server, Told, file, told};

use super::{Place, bytes, fetch_one, quick, text};
use crate::remote::{RemoteError, RemoteFile, Remotes, TransferError};

/// Fetches `/file` of a server and compares it.
#[track_caller]
fn check(expected: &[u8], handler: impl Fn(&Asked) -> Told + Send + Sync + 'static) -> Server {
    let server = Server::new(handler);
    let place = Place::new();
    fetch_one(&Remotes::new(quick()), &server.url("/file"), &place).unwrap();
    assert!(
        std::fs::read(place.to()).unwrap() == expected,
        "other bytes"
    );
    assert_eq!(place.names(), ["file"]);
    server
}

/// Fetches `/file` of a server, which fails.
fn fail(handler: impl Fn(&Asked) -> Told + Send + Sync + 'static) -> (RemoteError, Place) {
    let server = Server::new(handler);
    let place = Place::new();
    let error = fetch_one(&Remotes::new(quick()), &server.url("/file"), &place).unwrap_err();
    assert!(!place.to().exists());
    (error, place)
}

#[test]
fn files_of_all_lengths_arrive() {
    for len in [0, 1, 999, 1000, 1001, 4000, 12_345] {
        let data = bytes(len);
        let sent = data.clone();
        let server = check(&data, move |asked| file(asked, &sent, "v1"));
        let gets = server
            .log()
            .iter()
            .filter(|asked| asked.method == "GET")
            .count();
        assert_eq!(gets, len.div_ceil(1000));
    }
}

#[test]
fn progress_ends_with_the_size() {
    let data = bytes(5500);
    let sent = data.clone();
    let server = Server::new(move |asked| file(asked, &sent, "v1"));
    let remotes = Remotes::new(quick());
    let found = remotes.expand(&server.url("/file")).unwrap().remove(0);
    let place = Place::new();
    let last = AtomicU64::new(0);
    let progress = |bytes| assert!(last.swap(bytes, Ordering::Relaxed) <= bytes);
    remotes.fetch(&found, &place.to(), &progress).unwrap();
    assert_eq!(last.load(Ordering::Relaxed), 5500);
}

#[test]
fn dropped_connections_are_continued_where_they_broke() {
    let data = bytes(5000);
    let sent = data.clone();
    // Every answer breaks off after 300 bytes.
    let server = check(&data, move |asked| file(asked, &sent, "v1").cut(300));
    let log = server.log();
    assert!(
        log.iter()
            .any(|asked| asked.header("range") == "bytes=300-999")
    );
    assert!(
        log.iter()
            .any(|asked| asked.header("range") == "bytes=4900-4999")
    );
}

#[test]
fn connections_dropped_before_any_byte_are_given_up() {
    let data = bytes(2500);
    let (error, place) = fail(move |asked| match asked.range(data.len()) {
        Some((first, _)) if first >= 1000 => file(asked, &data, "v1").cut(0),
        _ => file(asked, &data, "v1"),
    });
    assert!(
        matches!(
            error,
            RemoteError::Fetch {
                byte: 1000,
                tries: 4,
                ..
            }
        ),
        "{error:?}"
    );
    let text = text(&error);
    assert!(
        text.contains("/file` at byte 1000 (try 4): the connection failed: "),
        "{text}"
    );
    assert_eq!(std::fs::metadata(place.part()).unwrap().len(), 1000);
}

#[test]
fn servers_in_trouble_are_asked_again() {
    for status in [408, 425, 429, 500, 502, 503, 504] {
        let data = bytes(3000);
        let sent = data.clone();
        check(&data, move |asked| match asked.before % 5 {
            1 | 3 => told(status, "try again"),
            _ => file(asked, &sent, "v1"),
        });
    }
    let (error, _) = fail(|_| told(503, "busy\nindeed"));
    let text = text(&error);
    assert!(
        text.contains("(try 4): the server answered with status 503"),
        "{text}"
    );
}

#[test]
fn a_pause_that_is_asked_for_is_made() {
    let data = bytes(10);
    let sent = data.clone();
    let begin = Instant::now();
    check(&data, move |asked| match (&*asked.method, asked.before) {
        ("GET", 1) => told(429, "").with("retry-after", 1),
        _ => file(asked, &sent, "v1"),
    });
    assert!(begin.elapsed() >= Duration::from_secs(1));
    let (error, _) = fail(|_| told(429, "").with("retry-after", 3600));
    let text = text(&error);
    assert!(
        text.contains("status 429 and asks for a pause of 3600 s"),
        "{text}"
    );
}

#[test]
fn refusals_that_stay_are_not_repeated() {
    let server = Server::new(|_| told(404, "gone"));
    let error = Remotes::new(quick())
        .expand(&server.url("/file"))
        .unwrap_err();
    assert!(matches!(error, RemoteError::NotFound { .. }), "{error:?}");
    assert_eq!(server.log().len(), 1);
    let (error, _) = fail(|_| told(401, "who are you?"));
    assert!(matches!(error, RemoteError::Denied { .. }), "{error:?}");
    assert!(
        text(&error).ends_with("status 401: who are you?"),
        "{}",
        text(&error)
    );
    let (error, _) = fail(|_| told(418, "<p>tea</p>").with("content-type", "text/html"));
    assert!(text(&error).ends_with("status 418"), "{}", text(&error));
}

#[test]
fn servers_without_head_are_asked_for_a_byte() {
    for status in [403, 405, 501] {
        let data = bytes(1500);
        let sent = data.clone();
        check(&data, move |asked| match &*asked.method {
            "HEAD" => told(status, ""),
            _ => file(asked, &sent, "v1"),
        });
    }
}

#[test]
fn servers_that_ignore_ranges_send_everything() {
    let data = bytes(8500);
    let sent = data.clone();
    let whole = move |asked: &Asked| {
        file(
            &Asked {
                headers: [].into(),
                ..asked.clone()
            },
            &sent,
            "v1",
        )
    };
    let server = check(&data, whole.clone());
    assert!(
        server
            .log()
            .iter()
            .any(|asked| asked.method == "GET" && asked.header("range").is_empty())
    );
    // Also when the connection breaks: what is there is skipped.
    check(&data, move |asked| match asked.before {
        before @ 0..9 => whole(asked).cut(1000 * before),
        _ => whole(asked),
    });
}

#[test]
fn a_small_file_is_taken_from_a_server_that_ignores_ranges() {
    let data = bytes(700);
    let sent = data.clone();
    let server = check(&data, move |asked| {
        let whole = file(
            &Asked {
                headers: [].into(),
                ..asked.clone()
            },
            &sent,
            "v1",
        );
        if asked.before == 1 {
            whole.cut(200)
        } else {
            whole
        }
    });
    assert_eq!(server.log().len(), 3);
}

#[test]
fn answers_of_the_wrong_length_are_not_taken() {
    let data = bytes(3000);
    let sent = data.clone();
    // Fewer and more bytes than the range, and another range.
    check(&data, move |asked| {
        let good = file(asked, &sent, "v1");
        match asked.range(sent.len()) {
            Some((1000, 2000)) => Told {
                body: good.body[..10].to_vec(),
                ..good
            },
            Some((1010, 2000)) if asked.before % 2 == 0 => Told {
                body: bytes(2000),
                ..good
            },
            Some((0, _)) if asked.before < 4 => {
                let other = file(asked, &sent, "v1");
                let headers = vec![("content-range".to_owned(), "bytes 7-999/3000".to_owned())];
                Told { headers, ..other }
            }
            _ => good,
        }
    });
    let data = bytes(3000);
    let (error, place) = fail(move |asked| match &*asked.method {
        "HEAD" => file(asked, &data, "v1").with("content-length", 2999),
        _ => file(asked, &data, "v1"),
    });
    assert!(
        matches!(
            error,
            RemoteError::Size {
                expected: 2999,
                found: 3000,
                ..
            }
        ),
        "{error:?}"
    );
    assert!(place.names().is_empty());
}

#[test]
fn a_file_that_shrank_is_another_file() {
    let data = bytes(3000);
    let (error, _) = fail(move |asked| match &*asked.method {
        "HEAD" => file(asked, &data, ""),
        _ => file(asked, &data[..500], ""),
    });
    assert!(
        matches!(
            error,
            RemoteError::Size {
                expected: 3000,
                found: 500,
                ..
            }
        ),
        "{error:?}"
    );
}

#[test]
fn a_file_that_changes_meanwhile_is_an_error() {
    let data = bytes(3000);
    let (error, place) = fail(move |asked| match asked.range(data.len()) {
        Some((2000, _)) => file(asked, &data, "v2"),
        _ => file(asked, &data, "v1"),
    });
    assert!(
        text(&error).contains("expected the version v1, found v2"),
        "{}",
        text(&error)
    );
    assert!(place.names().is_empty());
}

/// A server that breaks off after 2000 bytes while `is_broken`.
fn interrupted(place: &Place, etag: &'static str) -> (Server, RemoteFile, Vec<u8>) {
    let data = bytes(5000);
    let sent = data.clone();
    let is_broken = AtomicBool::new(true);
    let server = Server::new(move |asked| match asked.range(sent.len()) {
        Some((first, _)) if first >= 2000 && is_broken.load(Ordering::Relaxed) => {
            // Whoever asks for the repair is given nothing else.
            told(400, "broken")
        }
        None if asked.target == "/repair" => {
            is_broken.store(false, Ordering::Relaxed);
            told(200, "done")
        }
        _ => file(asked, &sent, etag),
    });
    let remotes = Remotes::new(quick());
    let found = remotes.expand(&server.url("/file")).unwrap().remove(0);
    remotes.fetch(&found, &place.to(), &|_| {}).unwrap_err();
    assert_eq!(std::fs::metadata(place.part()).unwrap().len(), 2000);
    remotes.expand(&server.url("/repair")).unwrap();
    (server, found, data)
}

#[test]
fn an_interrupted_transfer_is_continued_by_the_next_run() {
    let place = Place::new();
    let (server, found, data) = interrupted(&place, "v1");
    let before = server.log().len();
    Remotes::new(quick())
        .fetch(&found, &place.to(), &|_| {})
        .unwrap();
    assert!(std::fs::read(place.to()).unwrap() == data);
    let log = &server.log()[before..];
    assert!(
        !log.iter()
            .any(|asked| asked.header("range").starts_with("bytes=0-"))
    );
    assert_eq!(log.len(), 3);
    assert_eq!(place.names(), ["file"]);
}

#[test]
fn a_part_of_another_version_is_not_continued() {
    // Without a version, nobody knows.
    for (etag, later) in [("v1", Some("v1")), ("v1", Some("v0")), ("", None)] {
        let place = Place::new();
        let (server, found, data) = interrupted(&place, etag);
        let before = server.log().len();
        let found = RemoteFile {
            etag: later.map(str::to_owned),
            ..found
        };
        let outcome = Remotes::new(quick()).fetch(&found, &place.to(), &|_| {});
        if later == Some("v0") {
            assert!(
                matches!(outcome, Err(RemoteError::Changed { .. })),
                "{outcome:?}"
            );
            continue;
        }
        outcome.unwrap();
        assert!(std::fs::read(place.to()).unwrap() == data);
        let from_start = server.log()[before..]
            .iter()
            .any(|asked| asked.header("range").starts_with("bytes=0-"));
        assert_eq!(from_start, etag.is_empty());
    }
}

#[test]
fn hashes_are_checked_and_damaged_parts_are_fetched_again() {
    let place = Place::new();
    let (_server, found, data) = interrupted(&place, "v1");
    let sha256 = Some(crate::hash::to_hex(&crate::hash::sha256(&data)));
    let found = RemoteFile { sha256, ..found };
    let remotes = Remotes::new(quick());
    // A part that looks right and is not.
    let note = |file: &RemoteFile| {
        let other = Place::new();
        let cancelled = AtomicBool::new(true);
        let outcome = remotes.fetch_unless(file, &other.to(), &|_| {}, &cancelled);
        if let Err(error) = outcome {
            assert!(matches!(error, RemoteError::Cancelled { .. }), "{error:?}");
        }
        std::fs::read(other.folder.path().join("file.part.of")).ok()
    };
    if let Some(note) = note(&found) {
        std::fs::write(place.folder.path().join("file.part.of"), note).unwrap();
        std::fs::write(place.part(), vec![0; 2000]).unwrap();
    }
    remotes.fetch(&found, &place.to(), &|_| {}).unwrap();
    assert!(std::fs::read(place.to()).unwrap() == data);
    std::fs::remove_file(place.to()).unwrap();
    let sha256 = Some("00".repeat(32));
    let found = RemoteFile { sha256, ..found };
    let error = remotes.fetch(&found, &place.to(), &|_| {}).unwrap_err();
    assert!(matches!(error, RemoteError::Checksum { .. }), "{error:?}");
    assert!(place.names().is_empty());
}

#[test]
fn silent_servers_are_given_up() {
    let data = bytes(1500);
    let begin = Instant::now();
    let (error, _) = fail(move |asked| match &*asked.method {
        "HEAD" => file(asked, &data, "v1"),
        _ => file(asked, &data, "v1").pause(Duration::from_secs(2)),
    });
    match error {
        RemoteError::Fetch {
            byte: 0,
            tries: 4,
            source,
            ..
        } => {
            assert!(
                matches!(source, TransferError::TimedOut { .. }),
                "{source:?}"
            );
        }
        other => panic!("{other:?}"),
    }
    assert!(begin.elapsed() < Duration::from_secs(3));
}

#[test]
fn redirects_are_followed_within_reason() {
    let data = bytes(2500);
    let sent = data.clone();
    let other = Server::new(move |asked| file(asked, &sent, "v1"));
    let target = other.url("/there?signature=secret");
    check(&data, move |_| told(302, "").with("location", &target));
    for (location, expected) in [
        ("/file", "redirects more than ten times"),
        (
            "ftp://127.0.0.1/x",
            "redirects to something that is not http",
        ),
        ("http://[", "redirects to an unreadable address"),
    ] {
        let (error, _) = fail(move |_| told(301, "").with("location", location));
        assert!(text(&error).contains(expected), "{}", text(&error));
    }
}

#[test]
fn secrets_in_the_address_stay_out_of_errors() {
    let server = Server::new(|_| told(403, ""));
    let url = server
        .url("/file?signature=secret")
        .replace("//", "//me:password@");
    let error = Remotes::new(quick()).expand(&url).unwrap_err();
    let text = text(&error);
    assert!(
        !text.contains("secret") && !text.contains("password"),
        "{text}"
    );
    assert!(
        server.log()[0]
            .header("authorization")
            .starts_with("Basic ")
    );
}

#[test]
fn failed_encryption_is_not_tried_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/file", listener.local_addr().unwrap());
    // Whoever speaks TLS does not understand this.
    let answer = thread::spawn(move || listener.accept().unwrap().0.write_all(b"HTTP/1.1 400 -"));
    let error = Remotes::new(quick()).expand(&url).unwrap_err();
    assert!(
        matches!(error, RemoteError::List { tries: 1, .. }),
        "{error:?}"
    );
    answer.join().unwrap().unwrap();
}

#[test]
fn patterns_need_a_listing() {
    let error = Remotes::new(quick())
        .expand("http://127.0.0.1:9/*.json")
        .unwrap_err();
    assert!(matches!(error, RemoteError::NoListing { .. }), "{error:?}");
}

#[test]
fn a_cancelled_transfer_stops() {
    let data = bytes(100_000);
    let server =
        Server::new(move |asked| file(asked, &data, "v1").pause(Duration::from_millis(100)));
    let remotes = Remotes::new(quick());
    let found = remotes.expand(&server.url("/file")).unwrap().remove(0);
    let place = Place::new();
    let cancelled = AtomicBool::new(false);
    let progress = |bytes| {
        if bytes > 0 {
            cancelled.store(true, Ordering::Relaxed);
        }
    };
    let error = remotes
        .fetch_unless(&found, &place.to(), &progress, &cancelled)
        .unwrap_err();
    assert!(matches!(error, RemoteError::Cancelled { .. }), "{error:?}");
    assert!(place.part().exists());
}
