//! Writes the fixture corpus as JSON lines: `write_corpus OUTPUT.jsonl`.

use std::error::Error;
use std::fs::File;
use std::io::{BufWriter, Write as _};

use stablelm_testkit::corpus;

/// The corpus that the fixture tokenizer and the fixture model were trained on.
const SEED: u64 = 1234;
const DOCUMENTS: usize = 800;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args_os()
        .nth(1)
        .ok_or("usage: write_corpus OUTPUT.jsonl")?;
    let mut file = BufWriter::new(File::create(path)?);
    for document in corpus(SEED, DOCUMENTS) {
        let row = serde_json::json!({ "title": document.title, "text": document.text });
        writeln!(file, "{row}")?;
    }
    Ok(file.flush()?)
}
