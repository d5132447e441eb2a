//! Repositories of the hub.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use stablelm_testkit::http_server::{Asked, Server, Told, file, told};

use super::{Place, bytes, fetch_one, quick, text};
use crate::hash;
use crate::remote::{RemoteError, RemoteOptions, Remotes};

const TOKEN: &str = "hf_test";

fn remotes(server: &Server, token: bool) -> Remotes {
    Remotes::new(RemoteOptions {
        hf_endpoint: Some(server.url("")),
        hf_token: token.then(|| TOKEN.to_owned()),
        ..quick()
    })
}

fn entry(path: &str, data: &[u8], is_lfs: bool) -> String {
    let sha256 = hash::to_hex(&hash::sha256(data));
    let size = data.len();
    let lfs = format!(r#","lfs":{{"oid":"{sha256}","size":{size},"pointerSize":134}}"#);
    let lfs = if is_lfs { &lfs } else { "" };
    format!(r#"{{"type":"file","oid":"git{size}","size":{size},"path":"{path}"{lfs}}}"#)
}

const FOLDER: &str = r#"{"type":"directory","oid":"d","size":0,"path":"data/more"}"#;

/// A hub with two pages of files, whose large files lie on another server.
fn hub() -> (Server, Server, Vec<u8>) {
    let data = bytes(4500);
    let stored = data.clone();
    let cdn = Server::new(move |asked| {
        assert_eq!(
            asked.header("authorization"),
            "",
            "the token went to another host"
        );
        // Its versions are not those of the hub.
        file(asked, &stored, "cdn")
    });
    let (large, cdn_url) = (data.clone(), cdn.url("/blob?signature=secret"));
    let server = Server::new(move |asked| {
        assert_eq!(asked.header("authorization"), format!("Bearer {TOKEN}"));
        let host = asked.header("host");
        match &*asked.target {
            "/api/datasets/org/name/tree/main/data?recursive=true" => {
                let next = format!("http://{host}/api/datasets/org/name/tree/main/data?cursor=2");
                let page = [entry("data/z.parquet", &large, true), FOLDER.to_owned()];
                told(200, format!("[{}]", page.join(",")))
                    .with("link", format!("<{next}>; rel=\"next\""))
            }
            "/api/datasets/org/name/tree/main/data?cursor=2" => {
                let page = [
                    entry("data/more/a b#1.parquet", &large, true),
                    entry("data/more/read.me", b"small", false),
                ];
                told(200, format!("[{}]", page.join(",")))
            }
            "/api/datasets/org/name/tree/main/data/more?recursive=false" => told(
                200,
                format!("[{}]", entry("data/more/read.me", b"small", false)),
            ),
            "/datasets/org/name/resolve/main/data/z.parquet"
            | "/datasets/org/name/resolve/main/data/more/a%20b%231.parquet" => told(302, "")
                .with("location", &cdn_url)
                .with(
                    "x-linked-etag",
                    format!("\"{}\"", hash::to_hex(&hash::sha256(&large))),
                )
                .with("x-linked-size", large.len()),
            "/datasets/org/name/resolve/main/data/more/read.me" => file(asked, b"small", "git5"),
            _ => told(404, "").with("x-error-code", "EntryNotFound"),
        }
    });
    (server, cdn, data)
}

#[test]
fn pages_are_read_to_the_end_and_files_come_from_elsewhere() {
    let (server, cdn, data) = hub();
    let remotes = remotes(&server, true);
    let files = remotes
        .expand("hf://datasets/org/name/data/**/*.parquet")
        .unwrap();
    let urls: Vec<_> = files.iter().map(|file| &*file.url).collect();
    let folder = "hf://datasets/org/name/data";
    assert_eq!(
        urls,
        [
            format!("{folder}/more/a b#1.parquet"),
            format!("{folder}/z.parquet")
        ]
    );
    for file in &files {
        assert_eq!(file.size, 4500);
        assert_eq!(
            file.sha256.as_deref(),
            Some(&*hash::to_hex(&hash::sha256(&data)))
        );
        let place = Place::new();
        remotes.fetch(file, &place.to(), &|_| {}).unwrap();
        assert!(std::fs::read(place.to()).unwrap() == data);
    }
    assert_eq!(cdn.log().len(), 10);
}

#[test]
fn a_named_file_is_found_in_its_folder() {
    let (server, cdn, _) = hub();
    let remotes = remotes(&server, true);
    let place = Place::new();
    let url = "hf://datasets/org/name/data/more/read.me";
    let file = fetch_one(&remotes, url, &place).unwrap();
    assert_eq!((file.etag.as_deref(), file.sha256), (Some("git5"), None));
    assert_eq!(std::fs::read(place.to()).unwrap(), b"small");
    assert!(cdn.log().is_empty());
    let error = remotes
        .expand("hf://datasets/org/name/data/more/no.json")
        .unwrap_err();
    assert!(matches!(error, RemoteError::NotFound { .. }), "{error:?}");
    let error = remotes
        .expand("hf://datasets/org/name/none/*.json")
        .unwrap_err();
    assert!(matches!(error, RemoteError::NotFound { .. }), "{error:?}");
    assert_eq!(
        remotes
            .expand("hf://datasets/org/name/data/**/*.gz")
            .unwrap(),
        []
    );
}

/// Lists one file, then serves it as told.
fn single(expected: &[u8], resolve: impl Fn(&Asked) -> Told + Send + Sync + 'static) -> Server {
    let list = format!("[{}]", entry("x.bin", expected, true));
    Server::new(move |asked| {
        if asked.target.starts_with("/api/") {
            told(200, list.clone())
        } else {
            resolve(asked)
        }
    })
}

#[test]
fn an_address_that_ran_out_is_asked_for_again() {
    let data = bytes(9000);
    let stored = data.clone();
    let cdn = Server::new(move |asked| match asked.before {
        // Each signature is good for three requests.
        0..3 => file(asked, &stored, ""),
        _ => told(403, "expired"),
    });
    let cdn = Arc::new(cdn);
    let number = AtomicUsize::new(0);
    let at = Arc::clone(&cdn);
    let server = single(&data, move |_| {
        let number = number.fetch_add(1, Ordering::Relaxed);
        told(302, "").with("location", at.url(&format!("/blob?signature={number}")))
    });
    let place = Place::new();
    let options = RemoteOptions {
        hf_endpoint: Some(server.url("")),
        ..quick()
    };
    let mut options = options;
    options.transfer.ranges = 1;
    fetch_one(&Remotes::new(options), "hf://org/name/x.bin", &place).unwrap();
    assert!(std::fs::read(place.to()).unwrap() == data);
    let resolved = server
        .log()
        .iter()
        .filter(|asked| asked.target.contains("/resolve/"))
        .count();
    assert_eq!(resolved, 3);
}

#[test]
fn models_revisions_and_mirrors_have_their_paths() {
    let server = Server::new(|_| told(404, "").with("x-error-code", "RevisionNotFound"));
    let options = RemoteOptions {
        hf_endpoint: Some(server.url("/mirror/")),
        ..quick()
    };
    let remotes = Remotes::new(options);
    for (path, target) in [
        (
            "hf://o/n/*.bin",
            "/mirror/api/models/o/n/tree/main?recursive=false",
        ),
        (
            "hf://datasets/o/n@v1/a/b.bin",
            "/mirror/api/datasets/o/n/tree/v1/a?recursive=false",
        ),
        (
            "hf://datasets/o/n@refs/convert/parquet/**",
            "/mirror/api/datasets/o/n/tree/refs%2Fconvert%2Fparquet?recursive=true",
        ),
    ] {
        let error = remotes.expand(path).unwrap_err();
        let RemoteError::NotFound { what, .. } = error else {
            panic!("{error:?}");
        };
        assert_eq!(what, "revision");
        assert_eq!(server.log().last().unwrap().target, target);
    }
}

#[test]
fn gated_repositories_say_where_to_go() {
    for (status, has_token) in [(401, false), (403, true)] {
        let refuse = move |_: &Asked| {
            told(status, "{}")
                .with("x-error-code", "GatedRepo")
                .with("x-error-message", "Access to it is restricted.")
        };
        let listing = Server::new(refuse);
        let files = single(b"abc", refuse);
        for server in [&listing, &files] {
            let remotes = remotes(server, has_token);
            let place = Place::new();
            let error = fetch_one(&remotes, "hf://datasets/org/name/x.bin", &place).unwrap_err();
            let text = text(&error);
            let page = server.url("/datasets/org/name");
            assert!(
                text.contains(&format!("accept its terms at {page} and")),
                "{text}"
            );
            assert!(text.ends_with("Access to it is restricted."), "{text}");
            assert_eq!(text.contains("none was given"), !has_token, "{text}");
            assert!(!text.contains(TOKEN), "{text}");
        }
    }
}

#[test]
fn files_that_changed_since_they_were_listed_are_refused() {
    let data = bytes(1500);
    let cdn = Arc::new(Server::new(move |asked| file(asked, &bytes(1500), "")));
    let at = Arc::clone(&cdn);
    let server = single(&data, move |_| {
        told(302, "")
            .with("location", at.url("/x"))
            .with("x-linked-etag", "\"other\"")
    });
    let error = fetch_one(&remotes(&server, false), "hf://o/n/x.bin", &Place::new()).unwrap_err();
    assert!(matches!(error, RemoteError::Changed { .. }), "{error:?}");
    // And one that says nothing has other bytes.
    let at = Arc::clone(&cdn);
    let server = single(&vec![7; 1500], move |_| {
        told(302, "").with("location", at.url("/x"))
    });
    let error = fetch_one(&remotes(&server, false), "hf://o/n/x.bin", &Place::new()).unwrap_err();
    assert!(matches!(error, RemoteError::Checksum { .. }), "{error:?}");
}

#[test]
fn lists_that_are_none_are_refused() {
    let server = Server::new(|_| told(200, "<html>"));
    let error = remotes(&server, false)
        .expand("hf://o/n/x.bin")
        .unwrap_err();
    assert!(matches!(error, RemoteError::Answer { .. }), "{error:?}");
    let error = Remotes::new(RemoteOptions {
        hf_endpoint: Some("huggingface".to_owned()),
        ..quick()
    });
    let error = error.expand("hf://o/n/x.bin").unwrap_err();
    assert!(matches!(error, RemoteError::Address { .. }), "{error:?}");
}
