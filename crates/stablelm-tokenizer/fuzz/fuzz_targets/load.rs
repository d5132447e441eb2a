//! A `tokenizer.json` changed in any way: it is read or refused, and when the fast engine takes it,
//! the ids are still those of the library.
//!
//! An input is the file itself when it starts with a brace. Otherwise its bytes say what to change
//! in a smaller copy of the fixture.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use stablelm_tokenizer::{EncoderOptions, Tokenizer};
use stablelm_tokenizer_fuzz::{FIXTURE, POLICIES, expected, found, library, number_added_tokens};
use tokenizers::ModelWrapper;

/// Tokens of the fixture that are kept: special tokens, bytes, and the first merges.
const NUM_TOKENS: u64 = 258 + NUM_MERGES as u64;
const NUM_MERGES: usize = 24;
/// Changes that one input makes.
const MAX_EDITS: usize = 6;

/// The fixture with fewer merges and runs, so that much of it can be reached and it is read fast.
static SMALL: LazyLock<Value> = LazyLock::new(|| {
    let mut file: Value = serde_json::from_slice(FIXTURE).expect("the fixture is JSON");
    let added = file["added_tokens"].as_array_mut().expect("a list");
    added.drain(2..added.len() - 3);
    let merges = file["model"]["merges"].as_array_mut().expect("a list");
    merges.truncate(NUM_MERGES);
    let vocab = file["model"]["vocab"].as_object_mut().expect("a map");
    vocab.retain(|_, id| id.as_u64() < Some(NUM_TOKENS));
    number_added_tokens(&mut file);
    let ours = Tokenizer::from_bytes(file.to_string().as_bytes()).expect("a tokenizer");
    assert_eq!(ours.engine(), "stablelm", "{:?}", ours.why_not_fast());
    file
});

const TEXTS: [&str; 5] = [
    "The keeper lit the lamp at dusk, and didn't sleep.\n\n  'Tis  late;   e\u{301}  1234",
    "<|endoftext|>a<|padding|> b <|endoftext|",
    "漢字 가\u{11A8} é\u{3000}x\u{85}'s\t's 's''s",
    "                                                                  x\n \n  y ",
    "\0\u{7F}\u{301}<b>aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
];

fuzz_target!(|data: &[u8]| {
    let file = if data.first() == Some(&b'{') {
        data.to_vec()
    } else {
        edited(data).to_string().into_bytes()
    };
    let Ok(ours) = Tokenizer::from_bytes(&file) else {
        return;
    };
    if ours.engine() != "stablelm" {
        return;
    }
    // Ours does not look at parts that have no influence on ids, such as padding.
    let Some(mut library) = library(&file) else {
        return;
    };
    // Ours leaves dropout out; the library's ids are random with it.
    if matches!(library.get_model(), ModelWrapper::BPE(model) if model.dropout.is_some()) {
        return;
    }
    let mut encoder = ours.encoder_with(EncoderOptions {
        cache_bytes: 1 << 12,
        instructions: None,
    });
    let mut texts: Vec<String> = TEXTS.map(str::to_owned).to_vec();
    texts.push(around_added_tokens(&library));
    for text in &texts {
        for (special, encodes_special) in POLICIES {
            let expected = expected(&mut library, text, encodes_special);
            let ids = found(&mut encoder, text, special);
            assert!(
                ids == expected,
                "{special} {text:?}\n{ids:?}\n{expected:?}\n{}",
                String::from_utf8_lossy(&file)
            );
        }
    }
});

/// Returns a text of every added token, between all that may change what they are.
fn around_added_tokens(library: &tokenizers::Tokenizer) -> String {
    let added = library.get_added_vocabulary().get_added_tokens_decoder();
    let mut tokens: Vec<&str> = added.values().map(|token| token.content.as_str()).collect();
    tokens.sort_unstable();
    let around = |token| {
        [
            "a",
            token,
            "b ",
            token,
            " ",
            token,
            token,
            "'s",
            token,
            "\u{301}\n",
        ]
    };
    tokens.into_iter().flat_map(around).collect()
}

/// Takes numbers from the front of an input, and zeros after its end.
struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    fn byte(&mut self) -> u8 {
        let Some((&byte, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        byte
    }

    fn is_odd(&mut self) -> bool {
        self.byte() % 2 == 1
    }

    fn below(&mut self, bound: usize) -> usize {
        let number = u16::from_le_bytes([self.byte(), self.byte()]);
        usize::from(number) % bound.max(1)
    }

    fn text(&mut self) -> String {
        let len = usize::from(self.byte() % 8).min(self.0.len());
        let (text, rest) = self.0.split_at(len);
        self.0 = rest;
        String::from_utf8_lossy(text).into_owned()
    }
}

fn edited(data: &[u8]) -> Value {
    let mut choices = Choices(data);
    let mut file = SMALL.clone();
    // Without this, most changes are left to the library because of an id.
    let has_numbers = choices.is_odd();
    for _ in 0..MAX_EDITS {
        if choices.0.is_empty() {
            break;
        }
        let value = value(&mut choices, &file);
        edit(&mut file, value, &mut choices);
    }
    if has_numbers {
        number_added_tokens(&mut file);
    }
    file
}

/// Returns a value to put somewhere: a plain one, or one that the file has elsewhere.
fn value(choices: &mut Choices<'_>, file: &Value) -> Value {
    match choices.byte() % 10 {
        0 => Value::Null,
        1 => json!(true),
        2 => json!(false),
        // No id that would only make large tables.
        3 => json!(choices.below(1 << 16)),
        4 => [json!(-1), json!(65_536), json!(u32::MAX), json!(0.5)][choices.below(4)].clone(),
        5 | 6 => json!(choices.text()),
        7 => part(choices),
        _ => {
            let mut at = file;
            for _ in 0..choices.byte() % 4 {
                let Some(inner) = children(at).nth(choices.below(num_children(at))) else {
                    break;
                };
                at = inner;
            }
            at.clone()
        }
    }
}

/// Returns a part of a tokenizer that the fixture does not have.
fn part(choices: &mut Choices<'_>) -> Value {
    let text = choices.text();
    let parts = [
        json!({ "type": "NFC" }),
        json!({ "type": "NFKC" }),
        json!({ "type": "Lowercase" }),
        json!({ "type": "Prepend", "prepend": text }),
        json!({ "type": "Sequence", "normalizers": [{ "type": "NFC" }] }),
        json!({ "type": "Replace", "pattern": { "String": text }, "content": "x" }),
        json!({ "type": "Sequence", "pretokenizers": [{ "type": "Whitespace" }] }),
        json!({ "type": "Split", "pattern": { "Regex": text }, "behavior": "Isolated", "invert": false }),
        json!({ "type": "Digits", "individual_digits": true }),
        json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true }),
        json!({ "type": "WordLevel", "vocab": { "a": 0 }, "unk_token": "a" }),
        json!({ "type": "Unigram", "unk_id": 0, "vocab": [["a", 0.0]], "byte_fallback": false }),
        json!({
            "id": choices.below(300), "content": text, "special": choices.is_odd(),
            "single_word": choices.byte() == 1, "lstrip": choices.byte() == 1,
            "rstrip": choices.byte() == 1, "normalized": choices.is_odd(),
        }),
        json!(format!("{text} {}", choices.text())),
        json!([text, choices.text()]),
    ];
    parts[choices.below(parts.len())].clone()
}

/// Goes to a place in the file, and removes what is there, replaces it, or adds to it.
fn edit(file: &mut Value, value: Value, choices: &mut Choices<'_>) {
    let mut at = file;
    for _ in 0..=choices.byte() % 3 {
        let place = choices.below(num_children(at));
        if num_children(at) == 0 {
            break;
        }
        at = match at {
            Value::Array(list) => &mut list[place],
            Value::Object(map) => map.values_mut().nth(place).expect("it was counted"),
            _ => break,
        };
    }
    let place = choices.below(num_children(at) + 1);
    match (choices.byte() % 4, at) {
        (0, Value::Array(list)) if place < list.len() => drop(list.remove(place)),
        (1, Value::Array(list)) => list.insert(place, value),
        (2, Value::Array(list)) if place < list.len() => {
            let end = list.len() - 1;
            list.swap(place, end);
        }
        (0, Value::Object(map)) => {
            let key = map.keys().nth(place).cloned();
            key.and_then(|key| map.shift_remove(&key));
        }
        (1, Value::Object(map)) => drop(map.insert(choices.text(), value)),
        (_, at) => *at = value,
    }
}

fn num_children(value: &Value) -> usize {
    match value {
        Value::Array(list) => list.len(),
        Value::Object(map) => map.len(),
        _ => 0,
    }
}

fn children(value: &Value) -> Box<dyn Iterator<Item = &Value> + '_> {
    match value {
        Value::Array(list) => Box::new(list.iter()),
        Value::Object(map) => Box::new(map.values()),
        _ => Box::new(std::iter::empty()),
    }
}
