//! Trains the small tokenizer under `fixtures/tokenizer` on made text, always to the same bytes.
//!
//! The layout is that of GPT-NeoX-20B: NFC, byte-level BPE, two special tokens first, and 23 added
//! tokens for runs of spaces after the merged vocabulary. The library's own trainer breaks some
//! ties by hash order, which changes from run to run; with a thousand ids a plain loop is enough.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Map, Value, json};
use tokenizers::normalizers::NFC;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{
    Normalizer as _, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer as _,
};

const VOCAB_SIZE: usize = 1000;
const SPECIAL_TOKENS: [&str; 2] = ["<|endoftext|>", "<|padding|>"];
/// The longest run of spaces that is one token; the shortest is two.
const MAX_SPACES: usize = 24;
const SEED: u64 = 1234;
const NUM_DOCUMENTS: usize = 800;

/// A word as ids, and how often it occurs.
type Word = (Vec<usize>, u64);

fn main() -> Result<(), tokenizers::Error> {
    let path = std::env::args_os()
        .nth(1)
        .map(PathBuf::from)
        .ok_or("expected the path of the tokenizer.json to write")?;

    let mut alphabet: Vec<char> = ByteLevel::alphabet().into_iter().collect();
    alphabet.sort_unstable();
    let mut vocabulary: Vec<String> = SPECIAL_TOKENS.map(str::to_owned).to_vec();
    vocabulary.extend(alphabet.iter().map(char::to_string));

    let words = spelled(&count_words()?, &vocabulary);
    let num_merged = VOCAB_SIZE - (MAX_SPACES - 1);
    let merges = train(&mut vocabulary, words, num_merged);

    let mut file = serde_json::to_string_pretty(&tokenizer_json(&vocabulary, &merges))?;
    file.push('\n');
    std::fs::write(&path, file)?;
    Ok(())
}

/// Counts the words of the corpus, in the byte alphabet.
fn count_words() -> Result<BTreeMap<String, u64>, tokenizers::Error> {
    let splitter = ByteLevel::new(false, true, true);
    let mut words = BTreeMap::new();
    for document in stablelm_testkit::corpus(SEED, NUM_DOCUMENTS) {
        let mut text = PreTokenizedString::from(document.text.as_str());
        text.normalize(|piece| NFC.normalize(piece))?;
        splitter.pre_tokenize(&mut text)?;
        for (word, _, _) in text.get_splits(OffsetReferential::Normalized, OffsetType::None) {
            *words.entry(word.to_owned()).or_default() += 1;
        }
    }
    Ok(words)
}

/// Spells words as ids of single bytes.
fn spelled(words: &BTreeMap<String, u64>, vocabulary: &[String]) -> Vec<Word> {
    let ids: BTreeMap<&str, usize> = vocabulary
        .iter()
        .enumerate()
        .map(|(id, token)| (token.as_str(), id))
        .collect();
    words
        .iter()
        .map(|(word, &count)| {
            let spelling = word
                .chars()
                .map(|byte| ids[byte.to_string().as_str()])
                .collect();
            (spelling, count)
        })
        .collect()
}

/// Merges the most frequent pair, the one with the smallest ids of several, until there are
/// `num_tokens` tokens, and returns the merges.
fn train(
    vocabulary: &mut Vec<String>,
    mut words: Vec<Word>,
    num_tokens: usize,
) -> Vec<(usize, usize)> {
    let mut merges = Vec::new();
    while vocabulary.len() < num_tokens {
        let mut counts: BTreeMap<(usize, usize), u64> = BTreeMap::new();
        for (spelling, count) in &words {
            for pair in spelling.windows(2) {
                *counts.entry((pair[0], pair[1])).or_default() += count;
            }
        }
        let (&pair, _) = counts
            .iter()
            .max_by_key(|&(&pair, &count)| (count, std::cmp::Reverse(pair)))
            .expect("the corpus has more pairs than the vocabulary has room for");

        let token = format!("{}{}", vocabulary[pair.0], vocabulary[pair.1]);
        let known = vocabulary.iter().position(|other| *other == token);
        let id = known.unwrap_or(vocabulary.len());
        if known.is_none() {
            vocabulary.push(token);
        }
        merges.push(pair);
        for (spelling, _) in &mut words {
            merge(spelling, pair, id);
        }
    }
    merges
}

fn merge(spelling: &mut Vec<usize>, pair: (usize, usize), id: usize) {
    let mut at = 0;
    while at + 1 < spelling.len() {
        if (spelling[at], spelling[at + 1]) == pair {
            spelling[at] = id;
            spelling.remove(at + 1);
        }
        at += 1;
    }
}

fn tokenizer_json(vocabulary: &[String], merges: &[(usize, usize)]) -> Value {
    let added_token = |id: usize, content: &str, special: bool| {
        json!({
            "id": id,
            "special": special,
            "content": content,
            "single_word": false,
            "lstrip": false,
            "rstrip": false,
            "normalized": !special,
        })
    };
    let special_tokens = SPECIAL_TOKENS.iter().enumerate();
    let mut added_tokens: Vec<Value> = special_tokens
        .map(|(id, token)| added_token(id, token, true))
        .collect();
    for num_spaces in (2..=MAX_SPACES).rev() {
        let id = vocabulary.len() + MAX_SPACES - num_spaces;
        added_tokens.push(added_token(id, &" ".repeat(num_spaces), false));
    }

    let vocab: Map<String, Value> = vocabulary
        .iter()
        .enumerate()
        .map(|(id, token)| (token.clone(), json!(id)))
        .collect();
    let merges: Vec<String> = merges
        .iter()
        .map(|&(left, right)| format!("{} {}", vocabulary[left], vocabulary[right]))
        .collect();
    let byte_level = json!({
        "type": "ByteLevel",
        "add_prefix_space": false,
        "trim_offsets": true,
        "use_regex": true,
    });
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added_tokens,
        "normalizer": { "type": "NFC" },
        "pre_tokenizer": byte_level,
        "post_processor": byte_level,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": null,
            "unk_token": null,
            "continuing_subword_prefix": null,
            "end_of_word_suffix": null,
            "fuse_unk": false,
            "vocab": vocab,
            "merges": merges,
        },
    })
}
