//! The real GPT-NeoX-20B tokenizer against ids that Hugging Face tokenizers 0.23.3 gave.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use flate2::read::GzDecoder;
use proptest::prelude::*;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use stablelm_tokenizer::{SpecialTokensInOutput, SpecialTokensInText, Tokenizer};

use crate::inputs::{ids, nfc, oracle, texts};

#[test]
fn the_vocabulary_is_the_real_one() {
    let Some((_, tokenizer)) = oracle() else {
        return;
    };
    assert_eq!(tokenizer.vocab_size(), 50_277);
    assert_eq!(tokenizer.end_of_document().unwrap(), 0);
    assert_eq!(tokenizer.special_tokens().len(), 2);
    assert_eq!(
        tokenizer.sha256(),
        "56ac4821e129d2c520fdaba60abd920fa852ada51b45c0dd52bbb6bd8c985ade"
    );
}

#[test]
fn edge_cases_have_the_ids_of_hugging_face() {
    let Some((folder, tokenizer)) = oracle() else {
        return;
    };
    let cases = fs::read_to_string(folder.join("edge_cases.jsonl")).unwrap();
    let mut num_cases = 0;
    for line in cases.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let text = case["text"].as_str().unwrap();
        let expected: Vec<u32> = serde_json::from_value(case["ids"].clone()).unwrap();
        assert_eq!(
            ids(&tokenizer, text, SpecialTokensInText::Encode),
            expected,
            "{} {text:?}",
            case["category"]
        );
        num_cases += 1;
    }
    assert_eq!(num_cases, 380);
}

#[test]
fn prose_has_the_ids_of_hugging_face() {
    check_sample("sample_prose.jsonl");
}

#[test]
fn code_has_the_ids_of_hugging_face() {
    check_sample("sample_code.jsonl");
}

fn check_sample(name: &str) {
    let Some((folder, tokenizer)) = oracle() else {
        return;
    };
    let expected: Value =
        serde_json::from_str(&fs::read_to_string(folder.join("expected.json")).unwrap()).unwrap();
    let expected = &expected["files"][name];

    let (mut hash, mut hash_eod) = (Sha256::new(), Sha256::new());
    let mut num_tokens = Vec::new();
    for text in sample_texts(&folder.join(format!("{name}.gz"))) {
        let stream = check_document(&tokenizer, &text);
        num_tokens.push(stream.len() / 2);
        hash.update(&stream);
        hash_eod.update(&stream);
        hash_eod.update([0, 0]);
    }
    assert_eq!(
        expected["tokens_per_document"],
        serde_json::json!(num_tokens)
    );
    assert_eq!(expected["sha256_u16le"], hex(&hash.finalize()));
    assert_eq!(expected["sha256_u16le_eod"], hex(&hash_eod.finalize()));
}

/// Returns the ids as 16-bit little-endian bytes, after checking that they decode to the text.
fn check_document(tokenizer: &Tokenizer, text: &str) -> Vec<u8> {
    let ids = ids(tokenizer, text, SpecialTokensInText::Encode);
    let decoded = tokenizer.decode(&ids, SpecialTokensInOutput::Keep).unwrap();
    assert_eq!(decoded, nfc(text));
    ids.iter()
        .flat_map(|&id| u16::try_from(id).unwrap().to_le_bytes())
        .collect()
}

fn sample_texts(path: &Path) -> impl Iterator<Item = String> {
    let lines = BufReader::new(GzDecoder::new(File::open(path).unwrap())).lines();
    lines.map(|line| {
        let document: Value = serde_json::from_str(&line.unwrap()).unwrap();
        document["text"].as_str().unwrap().to_owned()
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

#[test]
fn decoding_gives_back_the_text_in_nfc() {
    let Some((_, tokenizer)) = oracle() else {
        return;
    };
    proptest!(|(text in texts())| {
        let ids = ids(&tokenizer, &text, SpecialTokensInText::Escape);
        let decoded = tokenizer.decode(&ids, SpecialTokensInOutput::Keep).unwrap();
        prop_assert_eq!(decoded, nfc(&text));
    });
}
