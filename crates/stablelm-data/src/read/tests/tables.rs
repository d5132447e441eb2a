//! Columns of tables: their types, and those that are missing.

use ::parquet::basic::{Compression, GzipLevel, ZstdLevel};
use arrow::array::{
    BinaryArray, DictionaryArray, Int32Array, Int64Array, LargeStringArray, ListBuilder,
    StringArray, StringBuilder, StringDictionaryBuilder, StringViewArray, StructArray,
};
use arrow::datatypes::{DataType, Field, Int8Type, Int32Type};

use super::*;

/// Text and id of each row, in all three formats.
fn check(columns: Vec<(&str, ArrayRef)>, expected: &[(Option<&str>, Option<&str>)]) {
    let batch = [batch(columns)];
    let file = scratch("a.parquet");
    write_parquet(&file.path, &batch, WriterProperties::default());
    let parquet = read(&file.path, SourceKind::Parquet).unwrap();
    write_arrow_file(&file.path, &batch, IpcWriteOptions::default());
    let arrow = read(&file.path, SourceKind::Arrow).unwrap();
    write_arrow_stream(&file.path, &batch, IpcWriteOptions::default());
    let stream = read(&file.path, SourceKind::Arrow).unwrap();
    for rows in [parquet, arrow, stream] {
        let found: Vec<_> = rows
            .iter()
            .map(|row| match row {
                Ok(document) => (Some(document.text.as_str()), document.id.as_deref()),
                Err(_) => (None, None),
            })
            .collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn every_kind_of_string_column_is_read() {
    let text = vec![Some("one"), None, Some("three is longer than a view")];
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![Some(7), Some(8), None]));
    let mut dictionary = StringDictionaryBuilder::<Int8Type>::new();
    dictionary.extend(text.clone());
    let arrays: [ArrayRef; 4] = [
        Arc::new(StringArray::from(text.clone())),
        Arc::new(LargeStringArray::from(text.clone())),
        Arc::new(StringViewArray::from(text)),
        Arc::new(dictionary.finish()),
    ];
    for array in arrays {
        let expected = [
            (Some("one"), Some("7")),
            (None, None),
            (Some("three is longer than a view"), None),
        ];
        check(
            vec![("id", ids.clone()), ("more", ids.clone()), ("text", array)],
            &expected,
        );
    }
}

#[test]
fn a_null_behind_a_key_is_a_null() {
    let values: ArrayRef = Arc::new(StringArray::from(vec![Some("one"), None]));
    let keys = Int32Array::from(vec![Some(0), Some(1), None]);
    let text = DictionaryArray::<Int32Type>::try_new(keys, values).unwrap();
    let columns = vec![("text", Arc::new(text) as ArrayRef)];
    check(columns, &[(Some("one"), None), (None, None), (None, None)]);
}

#[test]
fn a_table_without_ids_is_read_unless_they_were_asked_for() {
    check(vec![("text", strings(&["one"]))], &[(Some("one"), None)]);
    let file = scratch("a.parquet");
    let batch = [batch(vec![("content", strings(&["one"]))])];
    write_parquet(&file.path, &batch, WriterProperties::default());
    let error = read(&file.path, SourceKind::FalconRefinedweb).unwrap_err();
    assert!(matches!(error, ReadError::MissingColumn { column, .. } if column == "url"));
}

#[test]
fn a_missing_column_names_the_ones_that_are_there() {
    let file = scratch("a.parquet");
    let columns = vec![("content", strings(&["one"])), ("url", strings(&["u"]))];
    write_parquet(&file.path, &[batch(columns)], WriterProperties::default());
    let message = read(&file.path, SourceKind::Parquet)
        .unwrap_err()
        .to_string();
    let expected = "no column `text`; its columns are `content`, `url`";
    assert!(message.contains(expected), "{message}");
}

#[test]
fn bytes_are_not_text() {
    let bytes: ArrayRef = Arc::new(BinaryArray::from(vec![b"one".as_slice()]));
    let file = scratch("a.parquet");
    write_parquet(
        &file.path,
        &[batch(vec![("text", bytes)])],
        WriterProperties::default(),
    );
    let error = read(&file.path, SourceKind::Parquet).unwrap_err();
    assert!(matches!(error, ReadError::ColumnType { .. }), "{error}");
}

#[test]
fn a_meta_may_have_columns_of_its_own() {
    let field = |name: &str| Arc::new(Field::new(name, DataType::Utf8, true));
    let column = |values: Vec<Option<&str>>| Arc::new(StringArray::from(values)) as ArrayRef;
    let meta = StructArray::from(vec![
        (field("title"), column(vec![Some("B"), None, Some("C")])),
        (
            field("short_book_title"),
            column(vec![None, Some("P"), None]),
        ),
        (field("url"), column(vec![None, Some("u"), Some("v")])),
    ]);
    let subsets = strings(&["book", "book", "book"]);
    let file = scratch("a.parquet");
    let batch = [batch(vec![
        ("meta", Arc::new(meta)),
        ("red_pajama_subset", subsets),
        ("text", strings(&["1", "2", "3"])),
    ])];
    write_parquet(&file.path, &batch, WriterProperties::default());
    let parquet = read(&file.path, SourceKind::Redpajama).unwrap();
    write_arrow_stream(&file.path, &batch, IpcWriteOptions::default());
    for rows in [parquet, read(&file.path, SourceKind::Redpajama).unwrap()] {
        let books: Vec<_> = rows
            .iter()
            .map(|row| match row {
                Ok(document) => format!("{:?}", document.book.unwrap()),
                Err(broken) => broken.error.to_string(),
            })
            .collect();
        let unknown = "a book row of unknown shape, with the keys title, url";
        assert_eq!(books, ["Books3", "Pg19", unknown]);
    }
}

#[test]
fn licenses_of_a_list_are_joined() {
    let mut licenses = ListBuilder::new(StringBuilder::new());
    licenses.append_value([Some("MIT"), Some("Apache-2.0")]);
    licenses.append_value([Some("MIT")]);
    licenses.append(false);
    let file = scratch("rust/train.parquet");
    let batch = [batch(vec![
        ("max_stars_repo_licenses", Arc::new(licenses.finish())),
        ("content", strings(&["a", "b", "c"])),
    ])];
    write_parquet(&file.path, &batch, WriterProperties::default());
    let rows = read(&file.path, SourceKind::Starcoderdata).unwrap();
    let found: Vec<_> = rows
        .iter()
        .map(|row| row.as_ref().unwrap().license.as_deref())
        .collect();
    assert_eq!(found, [Some("MIT AND Apache-2.0"), Some("MIT"), None]);
    assert_eq!(rows[0].as_ref().unwrap().language.as_deref(), Some("rust"));
}

/// The subset of each row, or what is wrong with it, in all three formats.
fn check_subsets(kind: SourceKind, columns: Vec<(&str, ArrayRef)>, expected: &[&str]) {
    let batch = [batch(columns)];
    let file = scratch("a.table");
    write_parquet(&file.path, &batch, WriterProperties::default());
    let parquet = read(&file.path, kind).unwrap();
    write_arrow_file(&file.path, &batch, IpcWriteOptions::default());
    let arrow = read(&file.path, kind).unwrap();
    write_arrow_stream(&file.path, &batch, IpcWriteOptions::default());
    for rows in [parquet, arrow, read(&file.path, kind).unwrap()] {
        let found: Vec<_> = rows
            .iter()
            .map(|row| match row {
                Ok(document) => document.subset.clone().unwrap_or_default(),
                Err(broken) => broken.error.to_string(),
            })
            .collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn every_usual_compression_of_parquet_is_read() {
    let file = scratch("a.parquet");
    let batch = [batch(vec![("text", strings(&["one"; 100]))])];
    for codec in [
        Compression::GZIP(GzipLevel::default()),
        Compression::LZ4,
        Compression::LZ4_RAW,
        Compression::SNAPPY,
        Compression::ZSTD(ZstdLevel::default()),
    ] {
        let properties = WriterProperties::builder().set_compression(codec);
        write_parquet(&file.path, &batch, properties.build());
        let rows = read(&file.path, SourceKind::Parquet).unwrap();
        assert!(rows.iter().all(Result::is_ok), "{codec}");
        assert_eq!(rows.len(), 100, "{codec}");
    }
}

#[test]
fn the_pile_may_be_a_table() {
    let text = || strings(&["a", "b", "c"]);
    let names = StringArray::from(vec![Some("Books3"), Some("ArXiv"), None]);
    let field = Arc::new(Field::new("pile_set_name", DataType::Utf8, true));
    let meta = StructArray::from(vec![(field, Arc::new(names.clone()) as ArrayRef)]);
    let unknown = "`meta` can't be read: it has no `pile_set_name`";
    let columns = vec![("meta", Arc::new(meta) as ArrayRef), ("text", text())];
    check_subsets(SourceKind::Pile, columns, &["Books3", "ArXiv", unknown]);

    let meta = strings(&[
        r#"{"pile_set_name": "Books3"}"#,
        "{'pile_set_name': 'ArXiv'}",
        "{}",
    ]);
    let columns = vec![("text", text()), ("meta", meta)];
    check_subsets(SourceKind::Pile, columns, &["Books3", "ArXiv", unknown]);

    let columns = vec![("text", text()), ("pile_set_name", Arc::new(names) as _)];
    let none = "`meta` can't be read: there is none";
    check_subsets(SourceKind::Pile, columns, &["Books3", "ArXiv", none]);
}

#[test]
fn pes2o_may_be_a_table() {
    let columns = || {
        vec![
            ("added", strings(&["2023-01-01", "2023-01-01"])),
            ("created", strings(&["2020-02-03", "2020-02-03"])),
            ("id", strings(&["7", "8"])),
            ("source", strings(&["s2orc/train", "s2ag/train"])),
            ("text", strings(&["a", "b"])),
            ("version", strings(&["v2", "v2"])),
        ]
    };
    check_subsets(SourceKind::Pes2o, columns(), &["s2orc/train", "s2ag/train"]);
    let file = scratch("a.parquet");
    let batch = [batch(columns())];
    write_parquet(&file.path, &batch, WriterProperties::default());
    let rows = read(&file.path, SourceKind::Pes2o).unwrap();
    assert_eq!(rows[1].as_ref().unwrap().id.as_deref(), Some("8"));
}
