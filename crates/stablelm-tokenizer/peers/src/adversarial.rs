//! Texts that are hard on a tokenizer: one document of a megabyte each.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::json;

const LEN: usize = 1_000_000;

/// Writes every text into a file of its own; returns the names and files.
pub(crate) fn write(folder: &Path) -> Result<Vec<(&'static str, PathBuf)>> {
    fs::create_dir_all(folder)?;
    texts()
        .into_iter()
        .enumerate()
        .map(|(position, (name, text))| {
            let path = folder.join(format!("{position}.jsonl"));
            fs::write(&path, format!("{}\n", json!({ "text": text })))?;
            Ok((name, path))
        })
        .collect()
}

fn texts() -> Vec<(&'static str, String)> {
    let mut random = Random(0x5EED);
    vec![
        ("`a`", "a".repeat(LEN)),
        ("spaces", " ".repeat(LEN)),
        ("random CJK", fill(|| random.char_in(0x4E00, 0x9FFF))),
        ("random letters", fill(|| random.char_in(0x61, 0x7A))),
        ("`-`", "-".repeat(LEN)),
        ("random digits", fill(|| random.char_in(0x30, 0x39))),
        ("newlines", "\n".repeat(LEN)),
        ("`e` and accents", format!("e{}", "\u{301}".repeat(LEN / 2))),
        ("random Unicode", fill(|| random.char_in(0x80, 0x0002_FFFF))),
        ("unique random words", words(&mut random)),
    ]
}

fn fill(mut next: impl FnMut() -> char) -> String {
    let mut text = String::with_capacity(LEN + 4);
    while text.len() < LEN {
        text.push(next());
    }
    text
}

fn words(random: &mut Random) -> String {
    let mut text = String::with_capacity(LEN + 16);
    while text.len() < LEN {
        for _ in 0..random.up_to(9) + 3 {
            text.push(random.char_in(0x61, 0x7A));
        }
        text.push(' ');
    }
    text
}

/// A small generator of numbers, the same on every machine (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn up_to(&mut self, end: u32) -> u32 {
        u32::try_from(self.next() % u64::from(end)).expect("it is below a `u32`")
    }

    /// Returns one of the characters from `first` to `last`, surrogates left out.
    fn char_in(&mut self, first: u32, last: u32) -> char {
        loop {
            let code_point = first + self.up_to(last - first + 1);
            if let Some(character) = char::from_u32(code_point) {
                return character;
            }
        }
    }
}
