//! The files of `fixtures/sources`, and of every kind the one file of `fixtures/data`.

use std::collections::BTreeMap;

use super::*;

fn fixture(path: &str) -> PathBuf {
    stablelm_testkit::fixtures().join(path)
}

/// Counts the rows of a file by subset, by book or by what is wrong with them.
fn check(kind: SourceKind, path: &str, expected: &[(&str, usize)]) {
    let mut found: BTreeMap<String, usize> = BTreeMap::new();
    for row in read(&fixture(path), kind).unwrap() {
        let name = match row {
            Err(broken) => broken.error.name().to_owned(),
            Ok(document) => match document.book {
                Some(book) => format!("{book:?}"),
                None => document.subset.unwrap_or_default(),
            },
        };
        *found.entry(name).or_default() += 1;
    }
    let found: Vec<_> = found
        .iter()
        .map(|(name, &count)| (name.as_str(), count))
        .collect();
    assert_eq!(found, expected, "{path}");
}

#[test]
fn every_kind_of_source_is_read() {
    let red_pajama = |path: &str, expected: &[(&str, usize)]| {
        check(
            SourceKind::Redpajama,
            &format!("sources/redpajama/{path}"),
            expected,
        );
    };
    red_pajama("arxiv_0001.jsonl", &[("arxiv", 8)]);
    red_pajama("c4-train.00000-of-01024.jsonl", &[("c4", 8)]);
    red_pajama(
        "common_crawl/2019-30/en_head_0000.json.gz.dedup.classifier.jsonl.zst",
        &[("common_crawl", 8)],
    );
    red_pajama("github/filtered_0001.jsonl", &[("github", 8)]);
    red_pajama("stackexchange.jsonl", &[("stackexchange", 8)]);
    red_pajama("wiki.jsonl", &[("wikipedia", 8)]);
    red_pajama(
        "book.jsonl",
        &[("Books3", 3), ("Pg19", 4), ("unknown_book_row", 1)],
    );
    let subsets = [
        ("Books3", 1),
        ("Pg19", 1),
        ("arxiv", 1),
        ("c4", 1),
        ("common_crawl", 1),
        ("github", 1),
        ("stackexchange", 1),
        ("wikipedia", 1),
    ];
    red_pajama("hub/part-00000.jsonl", &subsets);
    check(
        SourceKind::Pilev2,
        "sources/pilev2/data/pubmed/PubMed_0.parquet",
        &[("PubMed", 6), ("bad_meta", 1), ("pubmed", 1)],
    );
    check(
        SourceKind::Starcoderdata,
        "sources/starcoderdata/rust/train-00000-of-00001.parquet",
        &[("rust", 8)],
    );
    let issues = "github-issues-filtered-structured";
    check(
        SourceKind::Starcoderdata,
        &format!("sources/starcoderdata/{issues}/train-00000-of-00001.parquet"),
        &[(issues, 8)],
    );
    check(
        SourceKind::Pes2o,
        "sources/pes2o/train-00000.json.gz",
        &[("s2ag/train", 4), ("s2orc/train", 4)],
    );
    check(SourceKind::Arrow, "sources/arrow/file.arrow", &[("", 8)]);
    check(SourceKind::Arrow, "sources/arrow/stream.arrow", &[("", 8)]);
    check(
        SourceKind::FalconRefinedweb,
        "data/falcon-refinedweb/part-00000.parquet",
        &[("", 250)],
    );
    check(SourceKind::Jsonl, "data/notes/notes.jsonl", &[("", 250)]);
    let pile = read(&fixture("data/pile/00.jsonl.zst"), SourceKind::Pile).unwrap();
    assert!(pile.iter().all(Result::is_ok));
    assert_eq!(pile.len(), 322);
}

#[test]
fn hostile_files_lose_only_what_is_wrong() {
    let names = |path: &str| -> Vec<_> {
        let rows = read(&fixture(path), SourceKind::Jsonl).unwrap();
        rows.iter()
            .map(|row| match row {
                Ok(document) => document.text.clone(),
                Err(broken) => broken.error.name().to_owned(),
            })
            .collect()
    };
    assert_eq!(
        names("sources/hostile/bomb.jsonl.zst"),
        ["too_long", "after the bomb"]
    );
    assert_eq!(
        names("sources/hostile/deep.jsonl"),
        ["wrong_type", "after the depths"]
    );
    // Lines before the wrong sum were read: nobody knew.
    let damaged = [
        "a whole member",
        "a member with a wrong sum",
        "damaged_stream",
    ];
    assert_eq!(names("sources/hostile/damaged.jsonl.gz"), damaged);
    for path in ["deep-schema.parquet", "cut.parquet"] {
        let path = fixture("sources/hostile").join(path);
        let error = read(&path, SourceKind::Parquet).unwrap_err();
        assert!(matches!(error, ReadError::Parquet { .. }), "{error}");
    }
}
