//! A look at files and folders.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::ipc::writer::{FileWriter, StreamWriter};
use stablelm_data::{
    InspectError, InspectOptions, Inspection, ReadError, RowsInspection, inspect, write_manifest,
};

use crate::scratch::Scratch;

fn options(scratch: &Scratch, document: u64) -> InspectOptions<'_> {
    InspectOptions {
        document: Some(document),
        tokenizer: Some(&scratch.tokenizer),
    }
}

#[test]
fn json_lines_are_counted_and_one_is_shown() {
    let scratch = Scratch::new();
    scratch.write(
        "in.jsonl",
        "{\"text\": \"one\", \"id\": 1}\n{x\n\n{\"text\": \"three\", \"id\": \"b\"}\n",
    );
    let found = inspect(&scratch.path("in.jsonl"), &options(&scratch, 2)).unwrap();
    let Inspection::Rows(rows) = found else {
        panic!("{found:?}")
    };
    assert_eq!((rows.rows, rows.broken_rows, rows.format), (3, 1, "jsonl"));
    let columns: Vec<_> = rows
        .columns
        .iter()
        .map(|c| (c.name.as_str(), c.data_type.as_str()))
        .collect();
    assert_eq!(columns, [("id", "number or string"), ("text", "string")]);
    let lengths = rows.lengths.unwrap();
    assert_eq!(
        (lengths.min_bytes, lengths.max_bytes, lengths.texts),
        (3, 5, 2)
    );
    assert_eq!(rows.document.unwrap().text.as_deref(), Some("three"));
    let error = inspect(&scratch.path("in.jsonl"), &options(&scratch, 3)).unwrap_err();
    assert!(
        matches!(error, InspectError::NoDocument { documents: 3, .. }),
        "{error}"
    );
}

#[test]
fn tables_show_their_columns_and_a_row() {
    let scratch = Scratch::new();
    scratch.write_table(
        "in.parquet",
        vec![
            ("content", Arc::new(StringArray::from(vec!["one", "three"]))),
            ("n", Arc::new(Int64Array::from(vec![1, 3]))),
        ],
    );
    let found = inspect(&scratch.path("in.parquet"), &options(&scratch, 1)).unwrap();
    let Inspection::Rows(rows) = found else {
        panic!("{found:?}")
    };
    assert_eq!((rows.rows, rows.format), (2, "parquet"));
    let document = rows.document.unwrap();
    assert_eq!(document.text.as_deref(), Some("three"));
    assert_eq!(document.values.unwrap()["n"], 3);
}

fn inspect_rows(scratch: &Scratch, name: &str, document: u64) -> RowsInspection {
    let found = inspect(&scratch.path(name), &options(scratch, document)).unwrap();
    let Inspection::Rows(rows) = found else {
        panic!("{found:?}")
    };
    rows
}

#[test]
fn arrow_files_and_streams_show_their_columns_and_a_row() {
    let scratch = Scratch::new();
    let batch = |texts: Vec<Option<&str>>, n: Vec<i64>| {
        let texts = Arc::new(StringArray::from(texts)) as ArrayRef;
        let n = Arc::new(Int64Array::from(n)) as ArrayRef;
        RecordBatch::try_from_iter_with_nullable([("content", texts, true), ("n", n, false)])
            .unwrap()
    };
    let batches = [
        batch(vec![Some("one"), None], vec![1, 2]),
        batch(vec![Some("three"), Some("four")], vec![3, 4]),
    ];
    let schema = batches[0].schema();
    let mut file = FileWriter::try_new(Vec::new(), &schema).unwrap();
    let mut stream = StreamWriter::try_new(Vec::new(), &schema).unwrap();
    for batch in &batches {
        file.write(batch).unwrap();
        stream.write(batch).unwrap();
    }
    let mut bytes = file.into_inner().unwrap();
    scratch.write("file", &bytes);
    scratch.write("stream", stream.into_inner().unwrap());
    for name in ["file", "stream"] {
        let rows = inspect_rows(&scratch, name, 2);
        assert_eq!(rows.format, format!("arrow-{name}"));
        assert_eq!((rows.rows, rows.broken_rows), (4, 0));
        let columns: Vec<_> = rows
            .columns
            .iter()
            .map(|c| (c.name.as_str(), c.data_type.as_str()))
            .collect();
        assert_eq!(columns, [("content", "Utf8"), ("n", "Int64")]);
        let lengths = rows.lengths.unwrap();
        assert_eq!(
            (lengths.min_bytes, lengths.max_bytes, lengths.total_bytes),
            (3, 5, 12)
        );
        let document = rows.document.unwrap();
        assert_eq!(document.text.as_deref(), Some("three"));
        assert_eq!(document.values.unwrap()["n"], 3);
        let error = inspect(&scratch.path(name), &options(&scratch, 4)).unwrap_err();
        assert!(
            matches!(error, InspectError::NoDocument { documents: 4, .. }),
            "{error}"
        );
    }
    // No UTF-8 any more: the batch is lost, and its rows can't be shown.
    let at = memchr::memmem::find(&bytes, b"threefour").unwrap();
    bytes[at] = 0xff;
    scratch.write("bad", &bytes);
    let rows = inspect_rows(&scratch, "bad", 0);
    assert_eq!((rows.rows, rows.broken_rows), (4, 2));
    assert_eq!(rows.document.unwrap().text.as_deref(), Some("one"));
    let error = inspect(&scratch.path("bad"), &options(&scratch, 3)).unwrap_err();
    assert!(matches!(error, InspectError::Read(ReadError::Arrow { .. })));
}

#[test]
fn a_prepared_folder_shows_its_report_and_a_document_with_its_origin() {
    let scratch = Scratch::new();
    scratch.write(
        "in.jsonl",
        "{\"text\": \"one\", \"id\": \"a\"}\n{\"text\": \"two\", \"id\": \"b\"}\n",
    );
    let recipe = scratch.recipe("jsonl", "in.jsonl", "");
    let prepared = scratch.prepare(&recipe, "out").unwrap();
    write_manifest(&scratch.path("out"), &prepared).unwrap();

    let found = inspect(&scratch.path("out"), &options(&scratch, 1)).unwrap();
    let Inspection::Prepared(folder) = found else {
        panic!("{found:?}")
    };
    assert_eq!(folder.run_hash.as_deref(), Some(prepared.run_hash.as_str()));
    assert_eq!(folder.report, prepared.report);
    assert_eq!(folder.tokens[0].documents, 2);
    let document = folder.document.unwrap();
    assert_eq!(
        document.file.as_deref(),
        Some("tokens/src_train_text_document")
    );
    assert_eq!(document.text.as_deref(), Some("two<|endoftext|>"));
    let provenance = document.provenance.unwrap();
    assert_eq!(
        (&provenance["id"], &provenance["row"]),
        (&"b".into(), &1.into())
    );

    for name in [
        "src_train_text_document",
        "src_train_text_document.idx",
        "src_train_text_document.bin",
    ] {
        let path = scratch.path("out/tokens").join(name);
        let found = inspect(&path, &InspectOptions::default()).unwrap();
        assert!(matches!(found, Inspection::Tokens(tokens) if tokens.documents == 2));
    }
    let error = inspect(&scratch.path("out"), &options(&scratch, 2)).unwrap_err();
    assert!(
        matches!(error, InspectError::NoDocument { documents: 2, .. }),
        "{error}"
    );
    let error = inspect(&scratch.path("out/tokens"), &InspectOptions::default()).unwrap_err();
    assert!(matches!(error, InspectError::NotPrepared { .. }), "{error}");
}
