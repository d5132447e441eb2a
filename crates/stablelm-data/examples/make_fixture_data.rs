//! Writes `fixtures/data`: a few hundred documents of our own in the schemas of three sources.
//!
//! Run it again after a change here or in the corpus: `cargo run -p stablelm-data --example
//! make_fixture_data`. The same code writes the same bytes.

use std::error::Error;
use std::fmt::Write as _;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, ListBuilder, RecordBatch, StringArray, StringBuilder, TimestampSecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use serde_json::json;
use stablelm_testkit::{CorpusDocument, Genre, corpus};

const SEED: u64 = 1234;
/// Documents under Books3 names come from a corpus of their own: nothing else may hold their text.
const BOOKS3_SEED: u64 = 303;
const BOOKS3_NAMES: [&str; 12] = [
    "Books3",
    "books3",
    "BOOKS3",
    "Books-3",
    "books_3",
    "Books 3",
    "Bibliotik",
    "bibliotik",
    "BIBLIOTIK",
    "the_pile_books3",
    "The Pile Books3",
    "Books3",
];

fn main() -> Result<(), Box<dyn Error>> {
    let folder = stablelm_testkit::fixtures().join("data");
    for name in ["pile", "falcon-refinedweb", "notes"] {
        std::fs::create_dir_all(folder.join(name))?;
    }
    let documents = corpus(SEED, 800);
    let (pile, rest) = documents.split_at(300);
    let (falcon, notes) = rest.split_at(250);
    write_pile(&folder.join("pile/00.jsonl.zst"), pile)?;
    write_falcon(
        &folder.join("falcon-refinedweb/part-00000.parquet"),
        falcon,
        &pile[17],
    )?;
    write_notes(&folder.join("notes/notes.jsonl"), notes)?;
    std::fs::write(folder.join("recipe.toml"), RECIPE)?;
    std::fs::write(folder.join("README.md"), README)?;
    Ok(())
}

fn pile_set_name(genre: Genre) -> &'static str {
    match genre {
        Genre::Encyclopedia => "Wikipedia (en)",
        Genre::KeepersLog => "FreeLaw",
        Genre::Recipe => "Pile-CC",
        Genre::Letter => "Gutenberg (PG-19)",
        Genre::QuestionsAndAnswers => "StackExchange",
        Genre::HowTo => "OpenWebText2",
    }
}

/// JSON lines as The Pile has them: 300 good documents, and between them what a run must notice.
fn write_pile(path: &Path, documents: &[CorpusDocument]) -> Result<(), Box<dyn Error>> {
    let mut lines = String::new();
    let mut push = |text: &str, subset: &str| {
        let row = json!({"text": text, "meta": {"pile_set_name": subset}});
        writeln!(lines, "{row}")
    };
    let books = corpus(BOOKS3_SEED, BOOKS3_NAMES.len());
    let mut books = books.iter().zip(BOOKS3_NAMES);
    let bad = gopher_drops(&documents[0].text);
    let mut bad = bad.iter();
    for (index, document) in documents.iter().enumerate() {
        push(&document.text, pile_set_name(document.genre))?;
        if index % 25 == 12
            && let Some((book, name)) = books.next()
        {
            push(&book.text, name)?;
        }
        if index % 60 == 30
            && let Some(text) = bad.next()
        {
            push(text, "Pile-CC")?;
        }
        if [70, 140, 210, 280].contains(&index) {
            let again = &documents[index - 60];
            push(&again.text, pile_set_name(again.genre))?;
        }
        if index == 100 {
            push(
                &format!(
                    "{}\n\n<|endoftext|>\n\nThe log ends here.",
                    books_note(document)
                ),
                "FreeLaw",
            )?;
        }
        if index == 200 {
            push(&decomposed(&document.text), "Pile-CC")?;
        }
    }
    std::fs::write(path, zstd::encode_all(lines.as_bytes(), 19)?)?;
    Ok(())
}

/// A text that ends in a special token spelled out, as pages about language models do.
fn books_note(document: &CorpusDocument) -> String {
    format!("{} A clerk wrote the mark of the end below.", document.text)
}

/// Texts that the quality rules drop: too short, too many hashes, bullets, numbers.
fn gopher_drops(text: &str) -> Vec<String> {
    let words: Vec<_> = text.split_whitespace().collect();
    let bullets = words
        .chunks(6)
        .map(|line| format!("- {}\n", line.join(" ")));
    let hashes = words
        .chunks(3)
        .map(|words| format!("{} #tide ", words.join(" ")));
    let numbers = words
        .iter()
        .enumerate()
        .map(|(index, word)| match index % 2 {
            0 => format!("{word} "),
            _ => format!("{} ", 1000 + index),
        });
    vec![
        words[..20].join(" "),
        hashes.collect(),
        bullets.collect(),
        numbers.collect(),
    ]
}

/// The text with each `e` and `a` accented by a combining mark, which NFC joins to one character.
fn decomposed(text: &str) -> String {
    text.replace('e', "e\u{301}").replace('a', "a\u{308}")
}

/// A table with every column of Falcon RefinedWeb. Its last row repeats a document of The Pile.
fn write_falcon(
    path: &Path,
    documents: &[CorpusDocument],
    repeated: &CorpusDocument,
) -> Result<(), Box<dyn Error>> {
    let rows = documents.len();
    let mut texts: Vec<&str> = documents
        .iter()
        .map(|document| document.text.as_str())
        .collect();
    texts[rows - 1] = &repeated.text;
    let urls = (0..rows).map(|row| {
        format!(
            "https://coast.example/{}/{row}",
            documents[row].genre.as_str()
        )
    });
    let mut images = ListBuilder::new(ListBuilder::new(StringBuilder::new()));
    for row in 0..rows {
        if row % 3 == 0 {
            images
                .values()
                .values()
                .append_value(format!("https://coast.example/{row}.png"));
            images.values().values().append_value("a lighthouse");
            images.values().append(true);
        }
        images.append(true);
    }
    let images = images.finish();
    let first_second = 1_370_000_000;
    let seconds = (0_i64..).take(rows).map(|row| first_second + 3600 * row);
    let dumps = StringArray::from_iter_values(
        (0..rows).map(|row| format!("CC-MAIN-2013-{}", 20 + row % 2 * 28)),
    );
    let segments =
        StringArray::from_iter_values((0..rows).map(|row| format!("1368{:09}", row % 7)));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("content", Arc::new(StringArray::from(texts))),
        ("url", Arc::new(StringArray::from_iter_values(urls))),
        (
            "timestamp",
            Arc::new(TimestampSecondArray::from_iter_values(seconds)),
        ),
        ("dump", Arc::new(dumps)),
        ("segment", Arc::new(segments)),
        ("image_urls", Arc::new(images)),
    ];
    let field = |(name, column): &(&str, ArrayRef)| match column.data_type() {
        DataType::Timestamp(..) => {
            Field::new(*name, DataType::Timestamp(TimeUnit::Second, None), true)
        }
        other => Field::new(*name, other.clone(), true),
    };
    let schema = Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()));
    let batch = RecordBatch::try_new(
        schema.clone(),
        columns.into_iter().map(|(_, column)| column).collect(),
    )?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(19)?))
        .set_created_by("stablelm fixtures".to_owned())
        .build();
    let mut writer = ArrowWriter::try_new(File::create(path)?, schema, Some(properties))?;
    writer.write(&batch)?;
    writer.close()?;
    Ok(())
}

/// Plain JSON lines with ids.
fn write_notes(path: &Path, documents: &[CorpusDocument]) -> Result<(), Box<dyn Error>> {
    let mut lines = String::new();
    for (index, document) in documents.iter().enumerate() {
        let row = json!({"id": format!("note-{index:04}"), "text": document.text});
        writeln!(lines, "{row}")?;
    }
    std::fs::write(path, lines)?;
    Ok(())
}

const RECIPE: &str = r#"# Three small sources to tokens. See README.md for what is in them.
name = "fixtures"
seed = 1234

[tokenizer]
source = "../tokenizer/tokenizer.json"
append_eod = true
special_tokens_in_text = "escape"

[split]
train = 0.9
valid = 0.05
test = 0.05

[[sources]]
name = "pile"
kind = "pile"
paths = ["pile/*.jsonl.zst"]
weight = 2.0
[[sources.filters]]
name = "gopher-quality"
words = "whitespace"

[[sources]]
name = "refinedweb"
kind = "falcon-refinedweb"
paths = ["falcon-refinedweb/*.parquet"]
weight = 1.0
[[sources.filters]]
name = "gopher-quality"
words = "whitespace"

[[sources]]
name = "notes"
kind = "jsonl"
paths = ["notes/*.jsonl"]
weight = 1.0

[dedup]
exact = true
"#;

const README: &str = r"# Documents to prepare

A few hundred documents in the schemas of three sources, and a recipe for them.

- `pile/00.jsonl.zst`: as The Pile has them (`text`, `meta.pile_set_name`). 300 documents; between
  them 12 rows under names of Books3, whose text is ours like all the rest, 4 documents that the
  quality rules drop, 4 exact duplicates, 1 with a literal `<|endoftext|>` and 1 in decomposed
  Unicode.
- `falcon-refinedweb/part-00000.parquet`: as Falcon RefinedWeb has them (`content`, `url`,
  `timestamp`, `dump`, `segment`, `image_urls`). 250 rows, the last of which repeats a document of
  `pile`.
- `notes/notes.jsonl`: plain JSON lines (`id`, `text`). 250 rows.
- `recipe.toml`: turns them into tokens with the tokenizer in `../tokenizer`.

Origin: every text is made by our own grammar in `crates/stablelm-testkit`. No text of the named
sources is in here, nor of Books3. License: CC0-1.0.

Remake all of it with `cargo run -p stablelm-data --example make_fixture_data`.
";
