//! Files that claim what is not so: an error or a broken row, never a panic or their memory.

use std::io::Write;

use arrow::array::{ArrayRef, Decimal128Array, StringArray, StringDictionaryBuilder};
use arrow::datatypes::Int32Type;
use arrow::ipc::CompressionType;
use proptest::test_runner::Config as ProptestConfig;

use super::*;
use crate::read::thrift;

#[test]
fn a_bomb_of_one_line_is_quarantined() {
    let zeros = vec![b'0'; 200 << 20];
    let bomb = [zeros.as_slice(), b"\n{\"text\": \"after\"}\n"].concat();
    drop(zeros);
    let file = scratch("a.jsonl.zst");
    std::fs::write(&file.path, zstd::encode_all(bomb.as_slice(), 1).unwrap()).unwrap();
    let rows = read(&file.path, SourceKind::Jsonl).unwrap();
    let broken = rows[0].as_ref().unwrap_err();
    assert_eq!(
        (broken.error.name(), broken.len),
        ("too_long", (200 << 20) + 1)
    );
    assert_eq!(rows[1].as_ref().unwrap().text, "after");
    assert_eq!(rows.len(), 2);
}

#[test]
fn a_long_text_of_a_table_is_quarantined() {
    let long = "x".repeat(40 << 20);
    let batch = [batch(vec![("text", strings(&["a", &long, "b"]))])];
    let file = scratch("a.parquet");
    write_parquet(&file.path, &batch, WriterProperties::default());
    let parquet = read(&file.path, SourceKind::Parquet).unwrap();
    write_arrow_file(&file.path, &batch, IpcWriteOptions::default());
    for rows in [parquet, read(&file.path, SourceKind::Arrow).unwrap()] {
        assert_eq!(rows[0].as_ref().unwrap().text, "a");
        assert_eq!(rows[1].as_ref().unwrap_err().error.name(), "too_long");
        assert_eq!(rows[2].as_ref().unwrap().text, "b");
    }
}

#[test]
fn deeply_nested_json_is_no_danger() {
    for depth in [100, 1000, 1_000_000] {
        let nested = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let objects = format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
        let python = format!("\"{}{}\"", "(".repeat(depth), ")".repeat(depth));
        let mut lines = Vec::new();
        for value in [&nested, &objects, &python] {
            for key in ["meta", "n", "license", "text"] {
                lines.push(format!("{{\"{key}\": {value}, \"text\": \"t\"}}"));
            }
        }
        let lines: Vec<_> = lines.iter().map(String::as_str).collect();
        let file = lines_file("a.jsonl", &lines);
        for kind in [SourceKind::Jsonl, SourceKind::Redpajama, SourceKind::Pile] {
            assert_eq!(read(&file.path, kind).unwrap().len(), 12);
        }
    }
}

#[test]
fn a_schema_that_is_nested_too_deeply_is_refused() {
    for depth in [100_usize, 50_000, 1_000_000] {
        let mut footer = vec![0x15, 2, 0x19, 0xfc];
        let mut len = depth;
        while len >= 0x80 {
            footer.push(u8::try_from(len & 0x7f).unwrap() | 0x80);
            len >>= 7;
        }
        footer.push(u8::try_from(len).unwrap());
        footer.extend([0x48, 1, b'a', 0x15, 2, 0].repeat(depth));
        footer.extend([0x16, 0, 0x19, 0x0c, 0]);
        assert!(!thrift::schema_is_sane(&footer));
        let length = u32::try_from(footer.len()).unwrap().to_le_bytes();
        let bytes = [b"PAR1".as_slice(), &footer, &length, b"PAR1"].concat();
        let file = scratch("a.parquet");
        std::fs::write(&file.path, bytes).unwrap();
        let error = read(&file.path, SourceKind::Parquet).unwrap_err();
        assert!(matches!(error, ReadError::Parquet { .. }), "{error}");
    }
}

/// Every byte of a file changed in several ways, and every way to cut it: rows or an error.
fn check_damage(bytes: &[u8], kind: SourceKind) {
    let file = scratch("a.table");
    let try_one = |bytes: &[u8]| {
        std::fs::File::create(&file.path)
            .unwrap()
            .write_all(bytes)
            .unwrap();
        let _ = read(&file.path, kind);
    };
    for len in (0..bytes.len()).step_by(17) {
        try_one(&bytes[..len]);
    }
    let mut changed = bytes.to_vec();
    for at in (0..bytes.len()).step_by(2) {
        for value in [0xff, bytes[at] ^ 0x81] {
            changed[at] = value;
            try_one(&changed);
        }
        changed[at] = bytes[at];
    }
}

#[test]
fn damaged_tables_are_errors_or_rows() {
    // What the libraries say when they give up is of no interest here.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let batch = [batch(vec![
        ("id", strings(&["1", "2"])),
        (
            "text",
            strings(&["a short text", "another, a little longer"]),
        ),
    ])];
    let file = scratch("a.table");
    write_parquet(&file.path, &batch, WriterProperties::default());
    check_damage(&std::fs::read(&file.path).unwrap(), SourceKind::Parquet);
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
        write_arrow_file(&file.path, &batch, options());
        check_damage(&std::fs::read(&file.path).unwrap(), SourceKind::Arrow);
        write_arrow_stream(&file.path, &batch, options());
        check_damage(&std::fs::read(&file.path).unwrap(), SourceKind::Arrow);
    }
    damaged_nulls_and_decimals();
    std::panic::set_hook(hook);
}

/// Fuzzing found assertions of the libraries about definition levels and the length of decimals.
fn damaged_nulls_and_decimals() {
    let texts = StringArray::from(vec![Some("one"), None, Some("two")]);
    let numbers = Decimal128Array::from(vec![1, 2, 3]);
    let columns: Vec<(&str, ArrayRef)> = vec![("id", Arc::new(numbers)), ("text", Arc::new(texts))];
    let batch = [batch(columns)];
    let file = scratch("a.table");
    write_parquet(&file.path, &batch, WriterProperties::default());
    check_damage(&std::fs::read(&file.path).unwrap(), SourceKind::Parquet);
    write_arrow_stream(&file.path, &batch, IpcWriteOptions::default());
    check_damage(&std::fs::read(&file.path).unwrap(), SourceKind::Arrow);
}

#[test]
fn a_truncated_file_is_an_error_that_names_it() {
    let file = scratch("table.parquet");
    let batch = [batch(vec![("text", strings(&["one"; 100]))])];
    write_parquet(&file.path, &batch, WriterProperties::default());
    let bytes = std::fs::read(&file.path).unwrap();
    for len in [0, 3, bytes.len() / 2, bytes.len() - 1] {
        std::fs::write(&file.path, &bytes[..len]).unwrap();
        let error = read(&file.path, SourceKind::Parquet).unwrap_err();
        assert!(error.to_string().contains("table.parquet"), "{error}");
    }
}

#[test]
fn a_value_that_a_dictionary_repeats_takes_no_memory_again() {
    // Four gigabytes, if each row had its own.
    let (len, rows) = (8 << 20, 500);
    let mut texts = StringDictionaryBuilder::<Int32Type>::new();
    let long = "x".repeat(len);
    (0..rows).for_each(|_| texts.append_value(&long));
    let batch = [batch(vec![("text", Arc::new(texts.finish()))])];
    let file = scratch("a.parquet");
    let properties = WriterProperties::builder().set_dictionary_page_size_limit(2 * len);
    write_parquet(&file.path, &batch, properties.build());
    let limits = PieceLimits::default();
    let schema = schema(SourceKind::Parquet);
    let mut reader =
        SourceFileReader::open(&file.path, &schema, Position::default(), limits).unwrap();
    let (mut piece, mut pieces) = (Piece::default(), 0);
    while reader.next_piece(&mut piece).unwrap() {
        pieces += 1;
    }
    assert_eq!(pieces, rows);
}

proptest::proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn no_bytes_make_a_reader_panic(bytes: Vec<u8>) {
        let file = scratch("a");
        for magic in [b"".as_slice(), b"PAR1", b"ARROW1\0\0", b"\xff\xff\xff\xff"] {
            std::fs::write(&file.path, [magic, &bytes].concat()).unwrap();
            let _ = read(&file.path, SourceKind::Redpajama);
        }
    }
}
