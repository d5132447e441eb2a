//! Rows that are no documents are kept apart, and files that can't be read are named.

use std::error::Error;
use std::sync::Arc;

use arrow::array::StringArray;
use stablelm_data::{PrepareError, ReadError};

use crate::scratch::{Scratch, column, read_table};

fn line(text: &str) -> String {
    format!("{{\"text\": \"{text}\"}}\n")
}

/// Text that no compressor shortens much, so that damage hits a frame of its own.
fn noise(lines: u64) -> String {
    let mut state = 1_u64;
    let mut word = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        format!("{:x}", state >> 20)
    };
    (0..lines)
        .map(|_| line(&[word(), word(), word(), word()].join(" ")))
        .collect()
}

#[test]
fn broken_lines_are_quarantined_and_the_run_goes_on() {
    let scratch = Scratch::new();
    let mut bytes = b"\xef\xbb\xbf".to_vec();
    bytes.extend(line("one").as_bytes());
    bytes.extend(
        b"{\"text\": \"tw\n\r\n{\"text\": [1]}\r\n{\"id\": 1}\n{\"text\": \"\xff\"}\n[1]\n",
    );
    bytes.extend(line("").as_bytes());
    bytes.extend(line("two").as_bytes());
    scratch.write("in.jsonl.bz2", {
        let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        std::io::Write::write_all(&mut encoder, &bytes).unwrap();
        encoder.finish().unwrap()
    });
    let recipe = scratch.recipe("jsonl", "*.bz2", "");
    let prepared = scratch.prepare(&recipe, "out").unwrap();

    let source = &prepared.report.sources[0];
    assert_eq!(
        (
            source.documents_in,
            source.documents_kept,
            source.quarantined
        ),
        (8, 2, 5)
    );
    let reasons: Vec<_> = source.stages[0]
        .reasons
        .iter()
        .map(|(name, n)| (name.as_str(), *n))
        .collect();
    let expected = [
        "bad_json",
        "empty",
        "invalid_utf8",
        "missing_text",
        "not_an_object",
        "wrong_type",
    ];
    assert_eq!(reasons, expected.map(|name| (name, 1)));
    let rows = read_table(&scratch.path("out/quarantine/src.parquet"));
    assert_eq!(column(&rows, "row"), ["1", "3", "4", "5", "6"]);
    assert!(
        column(&rows, "path")
            .iter()
            .all(|path| *path == "in.jsonl.bz2")
    );
    assert_eq!(rows[0]["raw"], "{\"text\": \"tw");
    assert_eq!(rows[1]["raw"], "{\"text\": [1]}");
    assert_eq!(rows[3]["raw"], "{\"text\": \"\u{fffd}\"}");
    assert!(rows[3]["error"].contains("byte 10"), "{rows:?}");
    let dropped = read_table(&scratch.path("out/dropped/src.parquet"));
    assert_eq!(
        (column(&dropped, "stage"), column(&dropped, "reason")),
        (vec!["read"], vec!["empty"])
    );
}

#[test]
fn a_damaged_frame_loses_only_the_rest_of_its_file() {
    let scratch = Scratch::new();
    let mut bytes = zstd::encode_all(noise(100).as_bytes(), 1).unwrap();
    let first = bytes.len();
    bytes.extend(zstd::encode_all(noise(100).as_bytes(), 1).unwrap());
    bytes[first + 40..first + 60].fill(0xaa);
    let whole = bytes.len();
    scratch.write("a.jsonl.zst", &bytes);
    scratch.write("b.jsonl", line("the next file is read"));
    let cut = zstd::encode_all(noise(100).as_bytes(), 1).unwrap();
    scratch.write("c.jsonl.zst", &cut[..cut.len() - 10]);
    let recipe = scratch.recipe("jsonl", "*.jsonl*", "");
    let prepared = scratch.prepare(&recipe, "out").unwrap();

    let source = &prepared.report.sources[0];
    assert_eq!(source.quarantined, 2);
    assert_eq!(source.stages[0].reasons["damaged_stream"], 2);
    let rows = read_table(&scratch.path("out/quarantine/src.parquet"));
    assert_eq!(
        (rows[0]["path"].as_str(), rows[0]["row"].as_str()),
        ("a.jsonl.zst", "100")
    );
    assert!(rows[0]["error"].contains("damaged after"), "{rows:?}");
    assert_eq!(rows[1]["path"], "c.jsonl.zst");
    assert!(source.documents_kept > 100);
    // The input is hashed to its end all the same.
    assert_eq!(prepared.inputs[0].bytes, whole as u64);
}

fn failure(kind: &str, path: &str, fill: impl FnOnce(&Scratch)) -> PrepareError {
    let scratch = Scratch::new();
    fill(&scratch);
    let recipe = scratch.recipe(kind, path, "");
    scratch.prepare(&recipe, "out").unwrap_err()
}

#[test]
fn a_missing_column_names_file_and_columns() {
    let error = failure("falcon-refinedweb", "in.parquet", |scratch| {
        let strings = || Arc::new(StringArray::from(vec!["a"]));
        scratch.write_table("in.parquet", vec![("text", strings()), ("url", strings())]);
    });
    let message = error.to_string();
    assert!(
        message.contains("in.parquet` has no column `content`"),
        "{message}"
    );
    assert!(
        message.contains("its columns are `text`, `url`"),
        "{message}"
    );
}

#[test]
fn files_of_another_format_are_refused() {
    let error = failure("pile", "in.parquet", |scratch| {
        let strings = || Arc::new(StringArray::from(vec!["a"]));
        scratch.write_table("in.parquet", vec![("text", strings())]);
    });
    assert!(
        matches!(error, PrepareError::Read(ReadError::NotJsonLines { .. })),
        "{error}"
    );
    let error = failure("parquet", "in.jsonl", |scratch| {
        scratch.write("in.jsonl", line("a"));
    });
    assert!(
        matches!(error, PrepareError::Read(ReadError::Parquet { .. })),
        "{error}"
    );
    assert!(error.source().is_some());
}

#[test]
fn a_pattern_needs_a_file_and_none_of_books3() {
    let error = failure("jsonl", "none/*.jsonl", |_| {});
    assert!(error.to_string().contains("none/*.jsonl"), "{error}");
    let error = failure("jsonl", "data/*.jsonl", |scratch| {
        scratch.write("data/Books_3.jsonl", line("a"));
    });
    assert!(
        matches!(error, PrepareError::Books3Refused { .. }),
        "{error}"
    );
}

#[test]
fn special_tokens_end_the_run_where_that_is_asked_for() {
    let scratch = Scratch::new();
    scratch.write("in.jsonl", line("fine") + &line("a <|endoftext|> b"));
    let recipe = scratch.recipe("jsonl", "in.jsonl", "special_tokens_in_text = 'error'");
    let error = scratch.prepare(&recipe, "out").unwrap_err();
    assert!(
        matches!(&error, PrepareError::Encode { row: 1, path, .. } if path == "in.jsonl"),
        "{error}"
    );
}
