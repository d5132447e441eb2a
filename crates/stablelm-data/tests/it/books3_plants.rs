//! Rows that are Books3 in disguise, between rows that are not, with what a run must count.
//!
//! The books are stand-ins of our own, made of the testkit's corpus (CC0-1.0).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::num::NonZeroUsize;
use std::path::Path;

use serde_json::{Value, json};
use stablelm_data::{
    DEFAULT_BLOCK_LETTERS, FingerprintOptions, VerifyOptions, build_fingerprints, load_lists,
    parse_recipe, verify, write_manifest,
};
use stablelm_testkit::corpus;

use crate::scratch::Scratch;

/// Files for a run, and what it must count.
pub(crate) struct Plants {
    /// JSON lines of kind `pile`.
    pub(crate) pile: String,
    /// JSON lines of kind `redpajama`.
    pub(crate) redpajama: String,
    /// A list for `[books3] titles`.
    pub(crate) titles: String,
    /// JSON lines of the stand-in books, to make a list for `[books3] fingerprints`.
    pub(crate) books: String,
    /// Documents that each rule excludes, over both files.
    pub(crate) by_rule: BTreeMap<&'static str, u64>,
    /// Rows that must go into quarantine.
    pub(crate) quarantined: u64,
    /// Documents that no rule excludes, over both files.
    pub(crate) innocent: u64,
}

/// Names of the data set and of the library that it holds: plain, then in disguise.
const NAMES: [&str; 4] = [
    "Books3",
    "Bibliotik",
    "the_pile_books3",
    "Books3 (Bibliotik)",
];
const SPELLINGS: [&str; 5] = [
    "BOOKS-3",
    "B00ks 3",
    "Ｂｏｏｋｓ３",
    "Вооkѕ3",
    "Bo\u{200b}oks\u{b3}",
];
/// Subsets whose names only look like it.
const OTHERS: [&str; 5] = [
    "Pile-CC",
    "BookCorpus2",
    "Gutenberg (PG-19)",
    "Github",
    "FreeLaw",
];
const TITLES: &str = "# stand-ins\nThe Lamp at Low Tide\tAnn Miller\nThe Salt Road: A Novel\n";

/// Makes them; the same each time.
pub(crate) fn books3_plants() -> Plants {
    let books: Vec<String> = (0..3).map(|number| book(9001 + number)).collect();
    let mut by_rule = BTreeMap::new();
    let mut pile = Vec::new();
    let mut redpajama = Vec::new();
    let pages = corpus(77, 120);
    let mut pages = pages.iter().map(|document| document.text.clone());
    let mut page = || pages.next().unwrap();
    let mut innocent = 0;

    for subset in NAMES.into_iter().chain(SPELLINGS) {
        pile.push(pile_row(&page(), subset));
        *by_rule.entry("subset_name").or_default() += 1;
    }
    // A whole copy, the first half of one in capitals, and one under another name.
    let half = books[1].char_indices().nth(books[1].len() / 2).unwrap().0;
    let copies = [
        books[0].clone(),
        books[1][..half].to_uppercase(),
        books[2].replace(' ', "\n"),
    ];
    for (copy, subset) in copies.into_iter().zip(OTHERS) {
        pile.push(pile_row(&copy, subset));
        *by_rule.entry("fingerprint").or_default() += 1;
    }
    // An excerpt with other words, case and white space, inside of a web page.
    for (book, tenths) in books.iter().zip([1, 4, 7]) {
        let text = format!(
            "{}\n\n{}\n\n{}",
            page(),
            changed_excerpt(book, tenths),
            page()
        );
        pile.push(pile_row(&text, "Pile-CC"));
        *by_rule.entry("fingerprint").or_default() += 1;
    }
    for title in [
        "A Quiet Harbor",
        "04 Tides - The Long Pier - E. Moss (retail)",
    ] {
        redpajama.push(json!({"meta": {"title": title}, "text": page()}));
        *by_rule.entry("book_row").or_default() += 1;
    }
    for title in [
        "02 Harbor Tales - The Lamp at Low Tide - Ann Miller (retail)",
        "Miller, Ann - The Lamp at Low Tide",
        "The Salt Road, a novel",
    ] {
        redpajama.push(wikipedia_row(title, &page()));
        *by_rule.entry("title").or_default() += 1;
    }
    redpajama.push(json!({"meta": {"title": "x", "publisher": "y"}, "text": page()}));

    // What must stay: pages on Books3, quotes of a paragraph, rows of PG-19, titles like others.
    for subset in OTHERS {
        let about = format!(
            "{}\n\nBooks3 and Bibliotik are names of a data set.",
            page()
        );
        pile.push(pile_row(&about, subset));
        innocent += 1;
    }
    for book in &books {
        let words: Vec<&str> = book.split_whitespace().skip(300).take(140).collect();
        let quoting = format!("{}\n\n“{}”\n\n{}", page(), words.join(" "), page());
        pile.push(pile_row(&quoting, "Pile-CC"));
        innocent += 1;
    }
    let meta = json!({"short_book_title": "A Pier", "publication_date": 1899, "url": "http://x/1"});
    redpajama.push(json!({"meta": meta, "text": page()}));
    redpajama.push(wikipedia_row("The Lamp at Low Tide", &page()));
    redpajama.push(wikipedia_row("Books3", &page()));
    innocent += 3;
    let rows = books.iter().enumerate();
    let rows =
        rows.map(|(number, text)| json!({"title": format!("stand-in {number}"), "text": text}));
    Plants {
        pile: lines(&pile),
        redpajama: lines(&redpajama),
        titles: TITLES.to_owned(),
        books: lines(&rows.collect::<Vec<_>>()),
        by_rule,
        quarantined: 1,
        innocent,
    }
}

/// Writes the list of fingerprints of the stand-in books.
pub(crate) fn write_fingerprints(plants: &Plants, folder: &Path, name: &str) {
    let input = folder.join("stand-ins.jsonl");
    std::fs::write(&input, &plants.books).unwrap();
    let summary = build_fingerprints(&FingerprintOptions {
        inputs: std::slice::from_ref(&input),
        output: &folder.join(name),
        block_letters: DEFAULT_BLOCK_LETTERS,
    });
    assert_eq!(summary.unwrap().works, 3);
    std::fs::remove_file(input).unwrap();
}

fn book(seed: u64) -> String {
    let chapters = corpus(seed, 60);
    let chapters = chapters
        .iter()
        .map(|chapter| format!("{}\n\n{}", chapter.title, chapter.text));
    chapters.collect::<Vec<_>>().join("\n\n")
}

/// At least 2,400 characters from so many tenths into the book, one word in twenty changed.
fn changed_excerpt(book: &str, tenths: usize) -> String {
    let words: Vec<&str> = book.split_whitespace().collect();
    let first = words.len() * tenths / 10;
    let mut excerpt = String::new();
    for (number, word) in words[first..].iter().enumerate() {
        match number % 20 {
            7 => excerpt.push_str("something"),
            3 | 11 => excerpt.push_str(&word.to_uppercase()),
            _ => excerpt.push_str(word),
        }
        excerpt.push_str(if number % 9 == 0 { " \n\t" } else { " " });
        if excerpt.len() > 2600 {
            break;
        }
    }
    excerpt
}

fn pile_row(text: &str, subset: &str) -> Value {
    json!({"text": text, "meta": {"pile_set_name": subset}})
}

fn wikipedia_row(title: &str, text: &str) -> Value {
    let meta = json!({"title": title, "url": "https://en.wikipedia.org/wiki/x", "language": "en", "timestamp": "20230320"});
    json!({"text": text, "meta": meta, "red_pajama_subset": "wikipedia"})
}

fn lines(rows: &[Value]) -> String {
    let mut lines = String::new();
    for row in rows {
        writeln!(lines, "{row}").unwrap();
    }
    lines
}

#[test]
fn the_plants_are_as_many_as_they_say() {
    let plants = books3_plants();
    let rows = plants.pile.lines().count() + plants.redpajama.lines().count();
    let excluded: u64 = plants.by_rule.values().sum();
    assert_eq!(rows as u64, excluded + plants.quarantined + plants.innocent);
    assert_eq!(plants.by_rule.len(), 4);
    assert!(plants.titles.contains('\t'));
    let folder = tempfile::tempdir().unwrap();
    write_fingerprints(&plants, folder.path(), "stand-ins.fingerprints");
    assert!(folder.path().join("stand-ins.fingerprints").is_file());
}

/// Books3 in six disguises, through a whole run: what comes out is clean, and each rule has its count.
#[test]
fn a_run_over_disguised_books_comes_out_clean() {
    let scratch = Scratch::new();
    let plants = books3_plants();
    scratch.write("pile.jsonl", &plants.pile);
    scratch.write("redpajama.jsonl", &plants.redpajama);
    scratch.write("titles.txt", &plants.titles);
    write_fingerprints(&plants, &scratch.path(""), "stand-ins.fingerprints");
    let recipe = "name = 'test'\nseed = 1\n[tokenizer]\nsource = 'tokenizer.json'\n\
        [[sources]]\nname = 'pile'\nkind = 'pile'\npaths = ['pile.jsonl']\n\
        [[sources]]\nname = 'red'\nkind = 'redpajama'\npaths = ['redpajama.jsonl']\n\
        [books3]\ntitles = ['titles.txt']\nfingerprints = ['stand-ins.fingerprints']\n";
    let mut recipe = parse_recipe(recipe, &scratch.path("recipe.toml")).unwrap();
    load_lists(&mut recipe).unwrap();
    assert_eq!(recipe.lists.len(), 2);
    let prepared = scratch.prepare(&recipe, "out").unwrap();
    let report = &prepared.report;
    let by_rule: BTreeMap<&str, u64> = report
        .books3
        .by_rule
        .iter()
        .map(|(rule, count)| (rule.as_str(), *count))
        .collect();
    assert_eq!(by_rule, plants.by_rule);
    assert_eq!(
        report.books3.documents_excluded,
        by_rule.values().sum::<u64>()
    );
    assert_eq!(report.books3.remaining, 0);
    assert_eq!(report.books3.quarantined, plants.quarantined);
    assert_eq!(report.documents_kept, plants.innocent);
    assert_eq!(report.books3.fingerprints, 3);

    write_manifest(&scratch.path("out"), &prepared).unwrap();
    let verification = verify(&VerifyOptions {
        folder: &scratch.path("out"),
        inputs: &scratch.path(""),
        threads: NonZeroUsize::MIN,
        remote: None,
    });
    let verification = verification.unwrap();
    assert!(verification.passed, "{:?}", verification.findings);
    assert_eq!(verification.books3.remaining, 0);
    let excluded = report.books3.documents_excluded;
    assert_eq!(verification.books3.documents_excluded, excluded);
}
