//! Rows that are no documents are kept apart, and files that can't be read are named.

use std::error::Error;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use stablelm_data::{PrepareError, ReadError};

use crate::scratch::{Scratch, column, prepare, read_folder, read_table};

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

/// Row groups of 40 rows, the middle one damaged.
fn damaged_table() -> Vec<u8> {
    let text = |row| format!("row {row:03} has a text");
    let texts = StringArray::from_iter_values((0..120).map(text));
    let batch = RecordBatch::try_from_iter([("text", Arc::new(texts) as ArrayRef)]).unwrap();
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(40))
        .set_dictionary_enabled(false);
    let mut bytes = Vec::new();
    let mut writer =
        ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties.build())).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let place = |row| memchr::memmem::find(&bytes, text(row).as_bytes()).unwrap();
    // The last text of a group, its page header and the first text of the next group.
    let (end, start) = (place(39) + text(39).len(), place(40) - 4);
    bytes[end..start].fill(0xff);
    bytes
}

#[test]
fn a_damaged_row_group_loses_its_rows_and_the_run_goes_on() {
    let scratch = Scratch::new();
    scratch.write("a.parquet", damaged_table());
    scratch.write_table(
        "b.parquet",
        vec![("text", Arc::new(StringArray::from(vec!["the next file"])))],
    );
    let recipe = scratch.recipe("parquet", "*.parquet", "");
    let prepared = scratch.prepare(&recipe, "out").unwrap();

    let source = &prepared.report.sources[0];
    assert_eq!(
        (
            source.documents_in,
            source.documents_kept,
            source.quarantined
        ),
        (82, 81, 1)
    );
    assert_eq!(source.stages[0].reasons["damaged_rows"], 1);
    let rows = read_table(&scratch.path("out/quarantine/src.parquet"));
    assert_eq!(
        (rows[0]["path"].as_str(), rows[0]["row"].as_str()),
        ("a.parquet", "40")
    );
    assert!(
        rows[0]["error"].starts_with("40 rows from this one on can't be decoded: "),
        "{rows:?}"
    );
    let kept = read_table(&scratch.path("out/tokens/src_train_text_document.documents.parquet"));
    let numbers = (0..40).chain(80..120).chain([0]);
    let numbers: Vec<_> = numbers.map(|row: u64| row.to_string()).collect();
    assert_eq!(column(&kept, "row"), numbers);

    let memory = 1 << 28;
    prepare(&recipe, &scratch.tokenizer, &scratch.path("one"), 1, memory).unwrap();
    let folder = |name| read_folder(&scratch.path(name));
    assert!(folder("one") == folder("out"), "threads change the output");
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
    let error = failure("jsonl", "in.parquet", |scratch| {
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
