//! A server that speaks as much of the S3 interface as reading needs.

use stablelm_testkit::http_server::{Asked, Server, Told, file, told};

use super::{Place, bytes, fetch_one, quick, text};
use crate::remote::{RemoteError, RemoteOptions, Remotes};

fn remotes(server: &Server, allow_http: bool) -> Remotes {
    let option = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    Remotes::new(RemoteOptions {
        store_options: vec![
            option("AWS_ACCESS_KEY_ID", "key"),
            option("AWS_SECRET_ACCESS_KEY", "secret"),
            option("AWS_REGION", "eu-central-1"),
            option("AWS_ENDPOINT_URL", &server.url("")),
            option("AWS_PAGER", "unknown to any store"),
            option("allow_http", if allow_http { "true" } else { "false" }),
        ],
        ..quick()
    })
}

fn page(contents: &[(&str, usize)], more: Option<&str>) -> Told {
    let contents: Vec<String> = contents
        .iter()
        .map(|(key, size)| {
            format!(
                "<Contents><Key>{key}</Key><LastModified>2024-01-01T00:00:00.000Z</LastModified>\
                 <ETag>&quot;v1&quot;</ETag><Size>{size}</Size>\
                 <StorageClass>STANDARD</StorageClass></Contents>"
            )
        })
        .collect();
    let contents = contents.concat();
    let more = match more {
        None => "<IsTruncated>false</IsTruncated>".to_owned(),
        Some(token) => format!(
            "<IsTruncated>true</IsTruncated><NextContinuationToken>{token}</NextContinuationToken>"
        ),
    };
    let xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ListBucketResult \
         xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>bucket</Name>{more}{contents}\
         </ListBucketResult>"
    );
    told(200, xml).with("content-type", "application/xml")
}

/// A bucket with objects on two pages; every second request fails first.
fn bucket(data: Vec<u8>) -> Server {
    let dated = |answer: Told| answer.with("last-modified", "Mon, 01 Jan 2024 00:00:00 GMT");
    Server::new(move |asked| {
        assert!(
            asked
                .header("authorization")
                .starts_with("AWS4-HMAC-SHA256 Credential=key/")
        );
        if asked.before == 0 {
            return told(503, "<Error><Code>SlowDown</Code></Error>");
        }
        let (path, query) = asked.target.split_once('?').unwrap_or((&asked.target, ""));
        match path {
            "/bucket" if query.contains("continuation-token=two") => page(
                &[("in/b.json", data.len()), ("in/more/c.json", data.len())],
                None,
            ),
            "/bucket" => page(
                &[("in/.a.json", 3), ("in/a.json", 1), ("in/a.txt", 2)],
                Some("two"),
            ),
            "/bucket/in/b.json" if asked.before == 2 => dated(file(asked, &data, "v1")).cut(99),
            "/bucket/in/b.json" => dated(file(asked, &data, "v1")),
            "/bucket/in/changed.json" => {
                let is_head = asked.method == "HEAD";
                dated(file(asked, &data, if is_head { "v1" } else { "v2" }))
            }
            "/bucket/in/private.json" => told(403, "<Error><Code>AccessDenied</Code></Error>"),
            _ => told(404, "<Error><Code>NoSuchKey</Code></Error>"),
        }
    })
}

#[test]
fn objects_are_listed_page_by_page_and_fetched() {
    let data = bytes(4321);
    let server = bucket(data.clone());
    let remotes = remotes(&server, true);
    let urls = |pattern: &str| -> Vec<String> {
        let files = remotes.expand(pattern).unwrap();
        files.into_iter().map(|file| file.url).collect()
    };
    assert_eq!(
        urls("s3://bucket/in/*.json"),
        ["s3://bucket/in/a.json", "s3://bucket/in/b.json"]
    );
    assert_eq!(
        urls("s3://bucket/**/*.json"),
        [
            "s3://bucket/in/a.json",
            "s3://bucket/in/b.json",
            "s3://bucket/in/more/c.json"
        ]
    );
    assert_eq!(urls("s3://bucket/out/*"), [""; 0]);
    let place = Place::new();
    let file = fetch_one(&remotes, "s3://bucket/in/b.json", &place).unwrap();
    assert_eq!((file.size, file.etag.as_deref()), (4321, Some("v1")));
    assert!(std::fs::read(place.to()).unwrap() == data);
    let is_checked = |asked: &Asked| asked.header("if-match") == "\"v1\"";
    assert!(server.log().iter().any(is_checked));
}

#[test]
fn refusals_of_a_bucket_are_told_apart() {
    let server = bucket(bytes(2000));
    let remotes = remotes(&server, true);
    let fetch = |url: &str| fetch_one(&remotes, url, &Place::new()).unwrap_err();
    let error = fetch("s3://bucket/in/none.json");
    assert!(matches!(error, RemoteError::NotFound { .. }), "{error:?}");
    let error = fetch("s3://bucket/in/private.json");
    assert!(matches!(error, RemoteError::Denied { .. }), "{error:?}");
    let error = fetch("s3://bucket/in/changed.json");
    assert!(matches!(error, RemoteError::Changed { .. }), "{error:?}");
    let error = fetch("s3://bucket/in//x.json");
    assert!(matches!(error, RemoteError::Address { .. }), "{error:?}");
    let error = fetch("s3://bucket/in/[x.json");
    assert!(matches!(error, RemoteError::Pattern { .. }), "{error:?}");
}

#[test]
fn a_store_in_trouble_is_given_up() {
    let server = Server::new(|_| told(500, "<Error><Code>InternalError</Code></Error>"));
    let error = remotes(&server, true)
        .expand("s3://bucket/in/*.json")
        .unwrap_err();
    assert!(
        matches!(error, RemoteError::List { tries: 4, .. }),
        "{error:?}"
    );
    assert!(text(&error).contains("status 500"), "{}", text(&error));
    assert!(!text(&error).contains("secret"), "{}", text(&error));
    assert_eq!(server.log().len(), 4);
}

#[test]
fn plain_http_has_to_be_allowed() {
    let server = Server::new(|_| told(200, ""));
    let error = remotes(&server, false)
        .expand("s3://bucket/in/*.json")
        .unwrap_err();
    assert!(text(&error).contains("allow_http"), "{}", text(&error));
    assert!(server.log().is_empty());
}

#[test]
fn google_and_azure_are_asked_in_their_ways() {
    let data = bytes(1234);
    let stored = data.clone();
    let server = Server::new(move |asked| {
        let dated = |answer: Told| answer.with("last-modified", "Mon, 01 Jan 2024 00:00:00 GMT");
        let (path, query) = asked.target.split_once('?').unwrap_or((&asked.target, ""));
        match path {
            "/bucket" if query.contains("list-type=2") => page(&[("in/a.json", 1234)], None),
            "/account/bucket" if query.contains("comp=list") => told(
                200,
                "<EnumerationResults><Blobs><Blob><Name>in/a.json</Name><Properties>\
                 <Last-Modified>Mon, 01 Jan 2024 00:00:00 GMT</Last-Modified><Etag>v1</Etag>\
                 <Content-Length>1234</Content-Length><Content-Type>-</Content-Type>\
                 </Properties></Blob></Blobs><NextMarker/></EnumerationResults>",
            ),
            "/bucket/in%2Fa%2Ejson" | "/account/bucket/in/a.json" => {
                dated(file(asked, &stored, "v1"))
            }
            other => panic!("{other}"),
        }
    });
    let option = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let options = RemoteOptions {
        store_options: vec![
            option("GOOGLE_BASE_URL", &server.url("")),
            option("GOOGLE_SKIP_SIGNATURE", "true"),
            option("AZURE_STORAGE_ACCOUNT_NAME", "account"),
            option("AZURE_STORAGE_ENDPOINT", &server.url("/account")),
            option("AZURE_SKIP_SIGNATURE", "true"),
            option("allow_http", "true"),
        ],
        ..quick()
    };
    let remotes = Remotes::new(options);
    for scheme in ["gs", "az", "abfs"] {
        let place = Place::new();
        let pattern = format!("{scheme}://bucket/in/*.json");
        let found = fetch_one(&remotes, &pattern, &place).unwrap();
        assert_eq!(found.url, format!("{scheme}://bucket/in/a.json"));
        assert!(std::fs::read(place.to()).unwrap() == data);
    }
}
