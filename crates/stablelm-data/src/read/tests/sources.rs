//! The schemas of the card's sources, row by row.

use super::*;
use crate::document::{BookShape, RowError};

/// What is shown of a row: its fields that are there, or the name of what is wrong.
fn show(row: &Row) -> String {
    let document = match row {
        Ok(document) => document,
        Err(broken) => return broken.error.name().to_owned(),
    };
    let Document {
        row: _,
        id,
        subset,
        url,
        title,
        file,
        language,
        license,
        book,
        text,
    } = document;
    let mut shown = text.clone();
    for (name, value) in [
        ("id", id),
        ("subset", subset),
        ("url", url),
        ("title", title),
        ("file", file),
        ("language", language),
        ("license", license),
    ] {
        if let Some(value) = value {
            shown.push_str(&format!(" {name}={value}"));
        }
    }
    match book {
        Some(BookShape::Pg19) => shown.push_str(" pg19"),
        Some(BookShape::Books3) => shown.push_str(" books3"),
        None => {}
    }
    shown
}

/// Reads a file of one row.
fn check(kind: SourceKind, name: &str, line: &str, expected: &str) {
    let file = lines_file(name, &[line]);
    let rows = read(&file.path, kind).unwrap();
    let shown: Vec<_> = rows.iter().map(show).collect();
    assert_eq!(shown, [expected], "{name}: {line}");
}

#[test]
fn red_pajama_rows_of_the_hub_name_their_subset() {
    let check =
        |line: &str, expected: &str| check(SourceKind::Redpajama, "part.jsonl", line, expected);
    check(
        r#"{"text":"t","meta":"{\"timestamp\": \"x\", \"yymm\": \"2301\", \"arxiv_id\": \"2301.1\", \"language\": \"en\", \"url\": \"u\", \"source\": \"arxiv\"}","red_pajama_subset":"arxiv"}"#,
        "t id=2301.1 subset=arxiv url=u language=en",
    );
    check(
        r#"{"text":"t","meta":"{'pred_label': '__label__wiki', 'wiki_prob': 0.5, 'source': 'cc/2019-30/x/line3'}","red_pajama_subset":"common_crawl"}"#,
        "t id=cc/2019-30/x/line3 subset=common_crawl",
    );
    check(
        r#"{"text":"t","meta":"{\"short_book_title\": \"B\", \"publication_date\": 1890, \"url\": \"u\"}","red_pajama_subset":"book"}"#,
        "t subset=book url=u title=B pg19",
    );
    check(
        r#"{"text":"t","meta":"{\"title\": \"B\"}","red_pajama_subset":"book"}"#,
        "t subset=book title=B books3",
    );
    check(
        r#"{"text":"t","meta":"{'title': 'It\\'s \"B\"'}","red_pajama_subset":"book"}"#,
        "t subset=book title=It's \"B\" books3",
    );
    check(
        r#"{"text":"t","meta":{"title":"B","short_book_title":null,"url":null},"red_pajama_subset":"book"}"#,
        "t subset=book title=B books3",
    );
    for meta in [r#"{"title":"B","author":"A"}"#, "{}", "null", r#""{}""#] {
        let line = format!(r#"{{"text":"t","meta":{meta},"red_pajama_subset":"book"}}"#);
        check(&line, "unknown_book_row");
    }
    for meta in [r#""{""#, r#""""#, "3", "[]", "true", r#""{'a': f()}""#] {
        let line = format!(r#"{{"text":"t","meta":{meta},"red_pajama_subset":"c4"}}"#);
        check(&line, "bad_meta");
    }
    check(r#"{"text":"t","red_pajama_subset":"c4"}"#, "t subset=c4");
}

#[test]
fn raw_red_pajama_rows_are_known_by_their_keys() {
    let check =
        |name: &str, line: &str, expected: &str| check(SourceKind::Redpajama, name, line, expected);
    check(
        "x.jsonl",
        r#"{"text":"t","meta":{"timestamp":"x","url":"u","language":"en","source":"c4"}}"#,
        "t subset=c4 url=u language=en",
    );
    check(
        "x.jsonl",
        r#"{"text":"t","meta":{"content_hash":"h","source":"github","repo_name":"a/b","path":"c.py","license":"mit","language":[{"name":"Python","bytes":"1"}],"id":"7"}}"#,
        "t id=7 subset=github file=c.py license=mit",
    );
    check(
        "x.jsonl",
        r#"{"text":"t","meta":{"language":"en","url":"u","timestamp":"x","source":"stackexchange","question_score":"3"}}"#,
        "t subset=stackexchange url=u language=en",
    );
    check(
        "x.jsonl",
        r#"{"text":"t","meta":{"title":"T","url":"u","language":"de","timestamp":"x"}}"#,
        "t subset=wikipedia url=u title=T language=de",
    );
    check(
        "x.jsonl",
        r#"{"pred_label":"__label__wiki","pred_label_prob":0.6,"wiki_prob":0.6,"text":"t","source":"cc/2019-30/en_head_0000.json.gz/line1"}"#,
        "t id=cc/2019-30/en_head_0000.json.gz/line1 subset=common_crawl",
    );
    check(
        "x.jsonl",
        r#"{"text":"t","meta":{"title":"B"}}"#,
        "t subset=book title=B books3",
    );
    check(
        "x.jsonl",
        r#"{"text":"t","meta":{"title":"B","by":"A"}}"#,
        "unknown_book_row",
    );
    check(
        "book.jsonl",
        r#"{"text":"t","meta":{"url":"u"}}"#,
        "unknown_book_row",
    );
    check("book.jsonl", r#"{"text":"t"}"#, "unknown_book_row");
    check("x.jsonl", r#"{"text":"t"}"#, "bad_meta");
    check("x.jsonl", r#"{"text":"t","meta":{"url":"u"}}"#, "t url=u");
    check("arxiv_1.jsonl", r#"{"text":"t"}"#, "t subset=arxiv");
    check(
        "common_crawl/a.jsonl",
        r#"{"text":"t","meta":{}}"#,
        "t subset=common_crawl",
    );
}

#[test]
fn rows_of_the_pile_name_their_subset_or_are_kept_apart() {
    let check = |line: &str, expected: &str| check(SourceKind::Pile, "00.jsonl", line, expected);
    check(
        r#"{"text":"t","meta":{"pile_set_name":"Books3"}}"#,
        "t subset=Books3",
    );
    check(
        r#"{"text":"t","meta":"{'pile_set_name': 'Bibliotik'}"}"#,
        "t subset=Bibliotik",
    );
    check(
        r#"{"text":"t","pile_set_name":"Pile-CC"}"#,
        "t subset=Pile-CC",
    );
    for line in [
        r#"{"text":"t"}"#,
        r#"{"text":"t","meta":null}"#,
        r#"{"text":"t","meta":{}}"#,
        r#"{"text":"t","meta":"Pile-CC"}"#,
        r#"{"text":"t","meta":{"pile_set_name":["Books3"]}}"#,
    ] {
        check(line, "bad_meta");
    }
}

#[test]
fn pilev2_reads_python_and_falls_back_to_the_folder() {
    let name = "data/pubmed/PubMed_0.jsonl";
    let check = |line: &str, expected: &str| check(SourceKind::Pilev2, name, line, expected);
    check(
        r#"{"text":"t","meta":"{'source': 'PubMed', 'title': \"It's \\\"x\\\"\", 'n': None}"}"#,
        "t subset=PubMed title=It's \"x\"",
    );
    check(r#"{"text":"t","meta":"{'n': 1}"}"#, "t subset=pubmed");
    check(r#"{"text":"t"}"#, "t subset=pubmed");
    check(r#"{"text":"t","meta":"{'source': Books3}"}"#, "bad_meta");
}

#[test]
fn starcoderdata_says_repository_file_and_language() {
    let check = |name: &str, line: &str, expected: &str| {
        check(SourceKind::Starcoderdata, name, line, expected);
    };
    check(
        "rust/train-00000.jsonl",
        r#"{"max_stars_repo_path":"src/a.rs","max_stars_repo_name":"a/b","max_stars_count":null,"id":"9","content":"fn"}"#,
        "fn id=9 subset=rust title=a/b file=src/a.rs language=rust",
    );
    check(
        "c/train.jsonl",
        r#"{"content":"<reponame>a/b<filename>x.c<gh_stars>0\nint","max_stars_repo_licenses":["MIT","BSD-2-Clause"]}"#,
        "<reponame>a/b<filename>x.c<gh_stars>0\nint id=a/b subset=c title=a/b file=x.c language=c license=MIT AND BSD-2-Clause",
    );
    check(
        "github-issues-filtered-structured/train.jsonl",
        r#"{"text":"<issue_start>","id":1}"#,
        "<issue_start> id=1 subset=github-issues-filtered-structured",
    );
    check("c/train.jsonl", r#"{"id":"1"}"#, "missing_text");
}

#[test]
fn other_kinds_have_their_own_keys() {
    check(
        SourceKind::Pes2o,
        "a.json",
        r#"{"added":"x","created":"y","id":"5","source":"s2orc","text":"t","version":"v2"}"#,
        "t id=5 subset=s2orc",
    );
    check(
        SourceKind::FalconRefinedweb,
        "a.jsonl",
        r#"{"content":"t","url":"u","dump":"d"}"#,
        "t id=u url=u",
    );
    let check = |line: &str, expected: &str| check(SourceKind::Jsonl, "a.jsonl", line, expected);
    check(
        r#"{"id":7,"text":"t","title":"T","url":"u","lang":"en","license":"MIT"}"#,
        "t id=7 url=u title=T language=en license=MIT",
    );
    check(
        r#"{"text":"t","meta":{"pile_set_name":"Books3"}}"#,
        "t subset=Books3",
    );
    check(
        r#"{"text":"t","meta":"{'title': 'B'}","red_pajama_subset":"book"}"#,
        "t subset=book title=B books3",
    );
    check(r#"{"text":"t","meta":"anything"}"#, "t");
}

#[test]
fn every_way_to_be_broken_has_its_name() {
    let check = |line: &str, expected: &str| check(SourceKind::Jsonl, "a.jsonl", line, expected);
    check(r#"{"text": "a""#, "bad_json");
    check(r#"{"text": "a"} x"#, "bad_json");
    check("[1]", "not_an_object");
    check(r#"{"id": 1}"#, "missing_text");
    for value in ["null", "3.5", "0", "true", "[\"a\"]", "{\"a\": 1}"] {
        check(&format!("{{\"text\": {value}}}"), "wrong_type");
    }
    let file = scratch("a.jsonl");
    std::fs::write(&file.path, b"{\"text\": \"\xff\"}").unwrap();
    let rows = read(&file.path, SourceKind::Jsonl).unwrap();
    let error = &rows[0].as_ref().unwrap_err().error;
    assert_eq!(*error, RowError::InvalidUtf8 { byte: 10 });
}
