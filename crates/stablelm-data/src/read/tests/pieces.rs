//! Where files are cut, and going on from there.

use std::io::Write;

use arrow::ipc::CompressionType;

use super::*;

const SMALL: PieceLimits = PieceLimits {
    piece_len: 300,
    max_line_len: 2000,
};

/// Lines of many lengths, among them blank ones, broken ones and one that is too long.
fn text() -> String {
    let mut text = "\u{feff}".to_owned();
    for row in 0..200_usize {
        match row % 10 {
            3 => text.push('\n'),
            5 => text.push_str("{\"text\": 1}\r\n"),
            _ => {
                let len = if row == 77 { 3000 } else { row * row % 700 };
                text.push_str(&format!("{{\"text\": \"{row} {}\"}}\n", "x".repeat(len)));
            }
        }
    }
    text.push_str("{\"text\": \"last\"}");
    text
}

fn compressed(text: &str) -> Vec<(&'static str, Vec<u8>)> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(text.as_bytes()).unwrap();
    vec![
        ("a.jsonl", text.as_bytes().to_vec()),
        ("a.jsonl.gz", gzip.finish().unwrap()),
        ("a.jsonl.zst", zstd::encode_all(text.as_bytes(), 1).unwrap()),
    ]
}

/// Reads all of a file, and from each of its pieces on: the rest is the same, cut the same.
fn check_resuming(path: &Path, schema: &Schema, limits: PieceLimits) -> Vec<Row> {
    let (rows, ends) = read_from(path, schema, Position::default(), limits).unwrap();
    assert!(ends.len() > 5, "{}", ends.len());
    for (at, (num_rows, position)) in ends.iter().enumerate() {
        let json = serde_json::to_string(position).unwrap();
        let position = serde_json::from_str(&json).unwrap();
        let (rest, rest_ends) = read_from(path, schema, position, limits).unwrap();
        assert_eq!(rest, rows[*num_rows..], "from {position:?}");
        let later = ends[at + 1..].iter().map(|(_, position)| *position);
        let rest_ends = rest_ends.iter().map(|(_, position)| *position);
        assert!(later.eq(rest_ends), "from {position:?}");
    }
    rows
}

#[test]
fn lines_go_on_where_they_stopped() {
    let mut all = Vec::new();
    for (name, bytes) in compressed(&text()) {
        let file = scratch(name);
        std::fs::write(&file.path, bytes).unwrap();
        all.push(check_resuming(
            &file.path,
            &schema(SourceKind::Jsonl),
            SMALL,
        ));
    }
    let rows = &all[0];
    assert!(all.iter().all(|other| other == rows));
    assert_eq!(rows.len(), 181);
    let numbers: Vec<_> = rows
        .iter()
        .map(|row| {
            row.as_ref()
                .map_or_else(|broken| broken.row, |document| document.row)
        })
        .collect();
    assert!(numbers.is_sorted() && numbers[0] == 0 && numbers[180] == 200);
    let broken: Vec<_> = rows.iter().filter_map(|row| row.as_ref().err()).collect();
    assert_eq!(broken.len(), 21);
    let long = broken.iter().find(|broken| broken.row == 77).unwrap();
    assert_eq!(long.error.name(), "too_long");
    assert!(long.raw.starts_with("{\"text\": \"77 xxx"));
    assert_eq!(long.len, 3016);
}

#[test]
fn a_damaged_stream_is_told_once() {
    let (_, bytes) = compressed(&text()).remove(1);
    let file = scratch("a.jsonl.gz");
    let mut bad = bytes.clone();
    let at = bad.len() - 4;
    bad[at] ^= 1;
    for bytes in [&bytes[..bytes.len() / 2], &bad] {
        std::fs::write(&file.path, bytes).unwrap();
        let rows = check_resuming(&file.path, &schema(SourceKind::Jsonl), SMALL);
        let last = rows.last().unwrap().as_ref().unwrap_err();
        assert_eq!(last.error.name(), "damaged_stream");
    }
}

#[test]
fn a_file_that_became_shorter_is_an_error() {
    let file = scratch("a.jsonl.gz");
    std::fs::write(&file.path, &compressed("{\"text\": \"a\"}\n")[1].1).unwrap();
    let start = Position {
        row: 3,
        byte: 1000,
        at_end: false,
    };
    let error = read_from(&file.path, &schema(SourceKind::Jsonl), start, SMALL).unwrap_err();
    assert!(matches!(error, ReadError::Shorter { .. }), "{error}");
}

fn batches() -> Vec<RecordBatch> {
    let text = |row: usize| format!("{row} {}", "x".repeat(row * row % 700));
    let batch_of = |rows: std::ops::Range<usize>| {
        let texts: Vec<_> = rows.clone().map(text).collect();
        let ids: Vec<_> = rows.map(|row| i64::try_from(row).unwrap()).collect();
        batch(vec![
            (
                "id",
                Arc::new(arrow::array::Int64Array::from(ids)) as ArrayRef,
            ),
            ("text", Arc::new(arrow::array::StringArray::from(texts))),
        ])
    };
    vec![batch_of(0..50), batch_of(50..51), batch_of(51..200)]
}

fn check_table(path: &Path, kind: SourceKind) {
    let rows = check_resuming(path, &schema(kind), SMALL);
    assert_eq!(rows.len(), 200);
    for (number, row) in rows.iter().enumerate() {
        let document = row.as_ref().unwrap();
        assert_eq!(document.row, number as u64);
        assert_eq!(document.id.as_deref(), Some(number.to_string().as_str()));
        assert!(document.text.starts_with(&format!("{number} ")));
    }
}

#[test]
fn tables_go_on_where_they_stopped() {
    for group_rows in [7, 64, 1000] {
        let file = scratch("a.parquet");
        let properties = WriterProperties::builder().set_max_row_group_row_count(Some(group_rows));
        write_parquet(&file.path, &batches(), properties.build());
        check_table(&file.path, SourceKind::Parquet);
    }
    for compression in [
        None,
        Some(CompressionType::LZ4_FRAME),
        Some(CompressionType::ZSTD),
    ] {
        let options = || {
            IpcWriteOptions::default()
                .try_with_compression(compression)
                .unwrap()
        };
        let file = scratch("a.arrow");
        write_arrow_file(&file.path, &batches(), options());
        check_table(&file.path, SourceKind::Arrow);
        write_arrow_stream(&file.path, &batches(), options());
        check_table(&file.path, SourceKind::Arrow);
    }
}
