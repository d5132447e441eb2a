//! Writes `fixtures/sources`: a few documents of our own in the schema of every source of the card,
//! and files that claim what is not so.
//!
//! Run it again after a change here or in the corpus: `cargo run -p stablelm-data --example
//! make_source_fixtures`. The same code writes the same bytes.

use std::error::Error;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::ipc::writer::{FileWriter, StreamWriter};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use serde_json::{Value, json};
use stablelm_testkit::{CorpusDocument, corpus};

const SEED: u64 = 2718;
/// Documents of each file.
const ROWS: usize = 8;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let folder = stablelm_testkit::fixtures().join("sources");
    let documents = corpus(SEED, 14 * ROWS);
    let mut parts = documents.chunks(ROWS);
    let mut next = || parts.next().ok_or("too few documents");
    red_pajama(&folder.join("redpajama"), &mut next)?;
    pilev2(&folder.join("pilev2/data/pubmed/PubMed_0.parquet"), next()?)?;
    starcoderdata(&folder.join("starcoderdata"), next()?, next()?)?;
    pes2o(&folder.join("pes2o/train-00000.json.gz"), next()?)?;
    arrow(&folder.join("arrow"), next()?)?;
    hostile(&folder.join("hostile"))?;
    std::fs::write(folder.join("README.md"), README)?;
    Ok(())
}

fn create(path: &Path) -> Result<File> {
    let folder = path.parent().ok_or("a file has a folder")?;
    std::fs::create_dir_all(folder)?;
    Ok(File::create(path)?)
}

fn lines(rows: impl IntoIterator<Item = Value>) -> String {
    rows.into_iter()
        .fold(String::new(), |lines, row| lines + &row.to_string() + "\n")
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    Ok(create(path)?.write_all(bytes)?)
}

/// Rows of each subset as the raw files have them, and a file of the hub's copy.
fn red_pajama<'d>(
    folder: &Path,
    next: &mut impl FnMut() -> std::result::Result<&'d [CorpusDocument], &'static str>,
) -> Result<()> {
    let url = |row: usize| format!("https://coast.example/{row}");
    let time = "2023-03-29T00:00:00";
    let raw = |documents: &[CorpusDocument], meta: &dyn Fn(usize, &CorpusDocument) -> Value| {
        let rows = documents.iter().enumerate();
        lines(
            rows.map(|(row, document)| json!({"text": document.text, "meta": meta(row, document)})),
        )
    };
    let arxiv = |row, _: &CorpusDocument| {
        json!({"timestamp": time, "yymm": "2303", "arxiv_id": format!("2303.{row:05}"),
            "language": "en", "url": url(row), "source": "arxiv"})
    };
    let c4 = |row, _: &CorpusDocument| json!({"timestamp": time, "url": url(row), "language": "en", "source": "c4"});
    let github = |row, document: &CorpusDocument| {
        json!({"content_hash": format!("{row:032x}"), "timestamp": "", "source": "github",
            "line_count": document.text.lines().count(), "max_line_length": 90,
            "avg_line_length": 45.5, "alnum_prop": 0.75, "repo_name": "coast/lamps",
            "id": format!("{row:040x}"), "path": format!("docs/{row}.md"), "license": "mit",
            "language": [{"bytes": "100", "name": "Markdown"}]})
    };
    let stackexchange = |row, _: &CorpusDocument| {
        json!({"language": "en", "url": url(row), "timestamp": time,
            "source": "stackexchange", "question_score": "3"})
    };
    let wikipedia = |row, document: &CorpusDocument| json!({"title": document.title, "url": url(row), "language": "en", "timestamp": "20230320"});
    // PG-19 comes first, then what has the keys of Books3, and last what is neither.
    let book = |row, document: &CorpusDocument| match row {
        0..4 => {
            json!({"short_book_title": document.title, "publication_date": 1890, "url": url(row)})
        }
        4..7 => json!({"title": document.title}),
        _ => json!({"title": document.title, "author": "a keeper"}),
    };
    write(
        &folder.join("arxiv_0001.jsonl"),
        raw(next()?, &arxiv).as_bytes(),
    )?;
    write(
        &folder.join("c4-train.00000-of-01024.jsonl"),
        raw(next()?, &c4).as_bytes(),
    )?;
    write(
        &folder.join("github/filtered_0001.jsonl"),
        raw(next()?, &github).as_bytes(),
    )?;
    write(
        &folder.join("stackexchange.jsonl"),
        raw(next()?, &stackexchange).as_bytes(),
    )?;
    write(
        &folder.join("wiki.jsonl"),
        raw(next()?, &wikipedia).as_bytes(),
    )?;
    write(&folder.join("book.jsonl"), raw(next()?, &book).as_bytes())?;
    let crawl = next()?.iter().enumerate().map(|(row, document)| {
        json!({"pred_label": "__label__wiki", "pred_label_prob": 0.75, "wiki_prob": 0.75,
            "text": document.text,
            "source": format!("cc/2019-30/en_head_0000.json.gz/line{row}")})
    });
    let crawl = zstd::encode_all(lines(crawl).as_bytes(), 19)?;
    write(
        &folder.join("common_crawl/2019-30/en_head_0000.json.gz.dedup.classifier.jsonl.zst"),
        &crawl,
    )?;
    let hub = next()?.iter().enumerate().map(|(row, document)| {
        let (subset, meta) = match row {
            0 => ("arxiv", arxiv(row, document).to_string()),
            1 => ("c4", c4(row, document).to_string()),
            2 => ("common_crawl", "{'pred_label': '__label__wiki', 'wiki_prob': 0.75, 'source': 'cc/2019-30/x/line2'}".to_owned()),
            3 => ("github", github(row, document).to_string()),
            4 => ("stackexchange", stackexchange(row, document).to_string()),
            5 => ("wikipedia", wikipedia(row, document).to_string()),
            6 => ("book", book(0, document).to_string()),
            _ => ("book", "{'title': \"The Keeper's Lamp\"}".to_owned()),
        };
        json!({"text": document.text, "meta": meta, "red_pajama_subset": subset})
    });
    write(&folder.join("hub/part-00000.jsonl"), lines(hub).as_bytes())
}

fn properties() -> Result<WriterProperties> {
    Ok(WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(19)?))
        .set_created_by("stablelm fixtures".to_owned())
        .build())
}

fn write_parquet(path: &Path, batch: &RecordBatch) -> Result<()> {
    let mut writer = ArrowWriter::try_new(create(path)?, batch.schema(), Some(properties()?))?;
    writer.write(batch)?;
    writer.close()?;
    Ok(())
}

fn texts(documents: &[CorpusDocument]) -> ArrayRef {
    let texts = documents.iter().map(|document| document.text.as_str());
    Arc::new(StringArray::from_iter_values(texts))
}

fn strings(value: impl Fn(usize) -> String) -> ArrayRef {
    Arc::new(StringArray::from_iter_values((0..ROWS).map(value)))
}

/// A `meta` as Python prints a dictionary; the last one can't be read.
fn pilev2(path: &Path, documents: &[CorpusDocument]) -> Result<()> {
    let meta = strings(|row| match row {
        0 => "{'source': 'PubMed', 'title': \"The Keeper's Lamp\", 'year': 1890}".to_owned(),
        1 => r#"{'source': 'PubMed', 'title': 'The "old" keeper\'s lamp', 'tags': ('a', 'b')}"#
            .to_owned(),
        2 => r"{'title': 'Two\nlines \u2014 and a dash', 'source': 'PubMed', 'score': None}"
            .to_owned(),
        3 => "{'year': 1890}".to_owned(),
        7 => "{'source': datetime.date(1890, 1, 1)}".to_owned(),
        _ => format!("{{'source': 'PubMed', 'n': {row}}}"),
    });
    write_parquet(
        path,
        &RecordBatch::try_from_iter([("text", texts(documents)), ("meta", meta)])?,
    )
}

/// A folder of a language, and one of the four with other columns.
fn starcoderdata(folder: &Path, code: &[CorpusDocument], issues: &[CorpusDocument]) -> Result<()> {
    let marked = code.iter().enumerate().map(|(row, document)| match row {
        0 => format!(
            "<reponame>coast/lamps<filename>src/0.rs<gh_stars>10-100\n{}",
            document.text
        ),
        _ => document.text.clone(),
    });
    let stars: ArrayRef = Arc::new(
        (0..8_i64)
            .map(|row| (row != 3).then_some(row))
            .collect::<Int64Array>(),
    );
    let columns: Vec<(&str, ArrayRef)> = vec![
        (
            "max_stars_repo_path",
            strings(|row| format!("src/{row}.rs")),
        ),
        ("max_stars_repo_name", strings(|_| "coast/lamps".to_owned())),
        ("max_stars_count", stars),
        ("id", strings(|row| row.to_string())),
        ("content", Arc::new(StringArray::from_iter_values(marked))),
    ];
    let batch = RecordBatch::try_from_iter_with_nullable(
        columns
            .into_iter()
            .map(|(name, column)| (name, column, true)),
    )?;
    write_parquet(&folder.join("rust/train-00000-of-00001.parquet"), &batch)?;
    let columns = [
        ("repo", strings(|_| "coast/lamps".to_owned())),
        ("issue_id", strings(|row| row.to_string())),
        ("text", texts(issues)),
    ];
    let path = "github-issues-filtered-structured/train-00000-of-00001.parquet";
    write_parquet(&folder.join(path), &RecordBatch::try_from_iter(columns)?)
}

fn pes2o(path: &Path, documents: &[CorpusDocument]) -> Result<()> {
    let rows = documents.iter().enumerate().map(|(row, document)| {
        json!({"added": "2023-01-01T00:00:00", "created": "1890-01-01T00:00:00",
            "id": row.to_string(), "source": if row % 2 == 0 { "s2orc/train" } else { "s2ag/train" },
            "text": document.text, "version": "v2"})
    });
    let mut encoder = flate2::write::GzEncoder::new(create(path)?, flate2::Compression::best());
    encoder.write_all(lines(rows).as_bytes())?;
    encoder.finish()?;
    Ok(())
}

fn arrow(folder: &Path, documents: &[CorpusDocument]) -> Result<()> {
    let batch = RecordBatch::try_from_iter([
        ("id", strings(|row| format!("note-{row}"))),
        ("text", texts(documents)),
    ])?;
    let mut writer = FileWriter::try_new(create(&folder.join("file.arrow"))?, &batch.schema())?;
    writer.write(&batch)?;
    writer.finish()?;
    let mut writer = StreamWriter::try_new(create(&folder.join("stream.arrow"))?, &batch.schema())?;
    writer.write(&batch)?;
    writer.finish()?;
    Ok(())
}

/// Files that must neither take memory for what they claim nor stop a run without saying why.
fn hostile(folder: &Path) -> Result<()> {
    let row = |text: &str| format!("{}\n", json!({"text": text}));
    // One line of 100 MB in a few kilobytes, and a good one after it.
    let mut bomb = zstd::stream::write::Encoder::new(Vec::new(), 19)?;
    for _ in 0..100 {
        bomb.write_all(&vec![b'0'; 1 << 20])?;
    }
    bomb.write_all(format!("\n{}", row("after the bomb")).as_bytes())?;
    write(&folder.join("bomb.jsonl.zst"), &bomb.finish()?)?;
    let deep = format!(
        "{{\"text\": {}1{}}}\n",
        "[".repeat(10_000),
        "]".repeat(10_000)
    );
    write(
        &folder.join("deep.jsonl"),
        (deep + &row("after the depths")).as_bytes(),
    )?;
    // The second of two members has a wrong byte.
    let member = |text: &str| -> Result<Vec<u8>> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(row(text).as_bytes())?;
        Ok(encoder.finish()?)
    };
    let mut damaged = member("a whole member")?;
    let mut second = member("a member with a wrong sum")?;
    let sum = second.len() - 6;
    second[sum] ^= 1;
    damaged.extend(second);
    write(&folder.join("damaged.jsonl.gz"), &damaged)?;
    // A schema of a thousand groups in one another, in Thrift's compact protocol.
    let mut footer = vec![0x15, 2, 0x19, 0xfc, 0xe8, 7];
    footer.extend([0x48, 1, b'a', 0x15, 2, 0].repeat(1000));
    footer.extend([0x16, 0, 0x19, 0x0c, 0]);
    let len = u32::try_from(footer.len())?.to_le_bytes();
    let deep = [b"PAR1".as_slice(), &footer, &len, b"PAR1"].concat();
    write(&folder.join("deep-schema.parquet"), &deep)?;
    let whole: PathBuf = folder.join("../pilev2/data/pubmed/PubMed_0.parquet");
    let whole = std::fs::read(whole)?;
    write(&folder.join("cut.parquet"), &whole[..whole.len() / 2])
}

const README: &str = r"# One file of each kind of source

Eight documents a file, in the schema of every source of the model card, for the readers' tests.

- `redpajama/`: the seven subsets as RedPajama's own code writes them, and in `hub/` as the copy on
  the Hugging Face hub has them (`meta` as a text, `red_pajama_subset`). `book.jsonl` has four rows
  with the keys of PG-19, three with those of Books3 and one with neither.
- `pilev2/`: parquet whose `meta` is a Python dictionary in a string; that of the last row is none.
- `starcoderdata/`: a folder of a language, and one of the four with other columns.
- `pes2o/`: gzip of JSON lines.
- `arrow/`: the same rows as an Arrow IPC file and as a stream.
- `hostile/`: a line of 100 MB in a few kilobytes (`bomb.jsonl.zst`), nested JSON (`deep.jsonl`), a
  wrong checksum (`damaged.jsonl.gz`), a schema nested a thousand deep (`deep-schema.parquet`) and
  half a table (`cut.parquet`).

Origin: every text is made by our own grammar in `crates/stablelm-testkit`. No text of the named
sources is in here, nor of Books3. License: CC0-1.0.

Remake all of it with `cargo run -p stablelm-data --example make_source_fixtures`.
";
