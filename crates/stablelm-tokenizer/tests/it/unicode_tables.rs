//! Writes `src/fast/unicode/tables.rs`, and fails when it is stale.
//!
//! `STABLELM_BLESS=1 cargo test -p stablelm-tokenizer` writes the file again. Categories are those
//! of Unicode 16 (crate `regex-syntax`), normalization is that of Unicode 9 (crate
//! `unicode-normalization-alignments`), because that is what Hugging Face tokenizers 0.23 does.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use regex_syntax::hir::{Class, HirKind};
use unicode_normalization_alignments::{
    IsNormalized, UNICODE_VERSION, char::canonical_combining_class, is_nfc_quick,
};

const HEAD: &str = "\
//! Which code points are letters, numbers or white space, and which matter to NFC.
//!
//! Written by `tests/it/unicode_tables.rs`; ranges are inclusive. Categories are of Unicode 16.0.0,
//! normalization is of Unicode 9.0.0.

";

/// A combining class that no character has: the character may change in NFC.
const NOT_STABLE: u8 = 255;

#[test]
fn the_tables_are_those_of_the_named_versions() {
    assert_eq!(UNICODE_VERSION, (9, 0, 0));
    let mut text = HEAD.to_owned();
    for (name, doc, pattern) in [
        ("LETTERS", "General category L: `\\p{L}`.", r"\p{L}"),
        ("NUMBERS", "General category N: `\\p{N}`.", r"\p{N}"),
        ("WHITE_SPACE", "Property `White_Space`: `\\s`.", r"\s"),
    ] {
        let ranges = category(pattern);
        let rows = ranges
            .iter()
            .map(|(first, last)| format!("(0x{first:04X}, 0x{last:04X})"));
        write_table(
            &mut text,
            name,
            doc,
            "(u32, u32)",
            &rows.collect::<Vec<_>>(),
        );
        text.push('\n');
    }
    let rows = combining()
        .iter()
        .map(|(first, last, class)| format!("(0x{first:04X}, 0x{last:04X}, {class})"))
        .collect::<Vec<_>>();
    let doc = "Canonical combining classes other than 0; 255 marks what NFC may change.";
    write_table(&mut text, "COMBINING", doc, "(u32, u32, u8)", &rows);

    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/fast/unicode/tables.rs");
    #[expect(
        clippy::disallowed_methods,
        reason = "tests write generated files when asked"
    )]
    if std::env::var_os("STABLELM_BLESS").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap();
    assert!(
        found == text,
        "{} is stale: run `just bless`",
        path.display()
    );
}

fn write_table(text: &mut String, name: &str, doc: &str, item: &str, rows: &[String]) {
    writeln!(text, "/// {doc}").unwrap();
    writeln!(text, "#[rustfmt::skip]").unwrap();
    writeln!(text, "pub(super) const {name}: &[{item}] = &[").unwrap();
    for row in rows.chunks(4) {
        writeln!(text, "    {},", row.join(", ")).unwrap();
    }
    writeln!(text, "];").unwrap();
}

fn category(pattern: &str) -> Vec<(u32, u32)> {
    let hir = regex_syntax::Parser::new().parse(pattern).unwrap();
    let HirKind::Class(Class::Unicode(class)) = hir.kind() else {
        panic!("{pattern} is a class");
    };
    class
        .ranges()
        .iter()
        .map(|range| (u32::from(range.start()), u32::from(range.end())))
        .collect()
}

fn combining() -> Vec<(u32, u32, u8)> {
    let mut ranges: Vec<(u32, u32, u8)> = Vec::new();
    for character in '\0'..=char::MAX {
        let class = match is_nfc_quick([character].into_iter()) {
            IsNormalized::Yes => canonical_combining_class(character),
            IsNormalized::No | IsNormalized::Maybe => NOT_STABLE,
        };
        let point = u32::from(character);
        match ranges.last_mut() {
            _ if class == 0 => {}
            Some((_, last, found)) if *last + 1 == point && *found == class => *last = point,
            _ => ranges.push((point, point, class)),
        }
    }
    ranges
}
