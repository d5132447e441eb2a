//! Writes `data/books3/stand-ins.fingerprints`: a small list for tests, made of books of our own.
//!
//! The three works are texts of the testkit's corpus (CC0-1.0) one after another. Run it again after a
//! change to the corpus or to the format: `cargo run -p stablelm-data --example
//! make_books3_stand_ins`. The same code writes the same bytes.

use std::error::Error;
use std::path::Path;

use stablelm_data::{DEFAULT_BLOCK_LETTERS, FingerprintOptions, build_fingerprints};
use stablelm_testkit::corpus;

fn main() -> Result<(), Box<dyn Error>> {
    let output = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/books3/stand-ins.fingerprints");
    let input = std::env::temp_dir().join(format!("stand-ins-{}.jsonl", std::process::id()));
    let mut lines = String::new();
    for seed in 9001..9004 {
        let texts = corpus(seed, 60);
        let texts: Vec<_> = texts
            .iter()
            .map(|document| document.text.as_str())
            .collect();
        let work = serde_json::json!({
            "title": format!("stand-in {seed}"),
            "text": texts.join("\n\n"),
        });
        lines.push_str(&format!("{work}\n"));
    }
    std::fs::write(&input, lines)?;
    let written = build_fingerprints(&FingerprintOptions {
        inputs: std::slice::from_ref(&input),
        output: &output,
        block_letters: DEFAULT_BLOCK_LETTERS,
    });
    std::fs::remove_file(&input)?;
    written?;
    Ok(())
}
