//! What the fuzz targets share: tokenizers made from the fixture, and how ids are compared.

use std::sync::{LazyLock, Mutex, PoisonError};

use serde_json::{Value, json};
use stablelm_tokenizer::{Encoder, SpecialTokensInText, Tokenizer};
use tokenizers::normalizers::NFC;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{NormalizedString, Normalizer as _, PaddingParams, TruncationParams};

/// The fixture tokenizer's file.
pub const FIXTURE: &[u8] = include_bytes!("../../../../fixtures/tokenizer/tokenizer.json");

/// Both ways in which special tokens in a text are kept, and what the library calls them.
pub const POLICIES: [(SpecialTokensInText, bool); 2] = [
    (SpecialTokensInText::Encode, false),
    (SpecialTokensInText::Escape, true),
];

/// A tokenizer as ours and as the library's.
pub struct Pair {
    /// Ours.
    pub ours: Tokenizer,
    /// Whether text is brought into NFC.
    has_nfc: bool,
    /// Whether added tokens that are not special are cut out before.
    has_plain: bool,
    library: Mutex<tokenizers::Tokenizer>,
}

/// The fixture, and what else the fast engine knows: text as it is, spaces that are no tokens, added
/// tokens that are not special, and merges that tell where a text was split.
static PAIRS: LazyLock<[Pair; 5]> = LazyLock::new(|| {
    let without_nfc = |file: &mut Value| file["normalizer"] = Value::Null;
    let without_runs = |file: &mut Value| {
        let added = file["added_tokens"].as_array_mut().expect("a list");
        added.truncate(2);
    };
    let with_plain = |file: &mut Value| {
        let added = file["added_tokens"].as_array_mut().expect("a list");
        for (text, is_normalized) in [("<b>", false), ("ệ", false), ("'s'", true), ("lamp", true)]
        {
            added.push(json!({
                "id": null, "content": text, "normalized": is_normalized, "special": false,
                "single_word": false, "lstrip": false, "rstrip": false,
            }));
        }
    };
    [
        Pair::new(|_| {}),
        Pair::new(without_nfc),
        Pair::new(without_runs),
        Pair::new(with_plain),
        Pair::new(merge_any_two),
    ]
});

/// Makes a token of any two bytes, where the fixture has few that a text split elsewhere would lack.
fn merge_any_two(file: &mut Value) {
    let is_common = |byte: u8| byte >= 0x80 || b" \t\n\r'strevmldx017._-<|>\0".contains(&byte);
    let mut alphabet: Vec<_> = ByteLevel::alphabet()
        .into_iter()
        .filter(|&character| is_common(byte_of(character)))
        .collect();
    alphabet.sort_unstable();
    let (mut merges, mut next_id) = (Vec::new(), 258);
    let model = file["model"].as_object_mut().expect("a map");
    let vocab = model["vocab"].as_object_mut().expect("a map");
    vocab.retain(|_, id| id.as_u64() < Some(258));
    for left in &alphabet {
        for right in &alphabet {
            vocab.insert(format!("{left}{right}"), json!(next_id));
            merges.push(json!(format!("{left} {right}")));
            next_id += 1;
        }
    }
    model["merges"] = json!(merges);
}

/// Gives added tokens the ids that the library would: those after the vocabulary, or that in it.
pub fn number_added_tokens(file: &mut Value) {
    let vocab = file["model"]["vocab"].as_object().cloned();
    let vocab = vocab.unwrap_or_default();
    let mut next_id = vocab.len();
    for token in file["added_tokens"].as_array_mut().into_iter().flatten() {
        let known = token["content"].as_str().and_then(|text| vocab.get(text));
        let id = known.cloned().unwrap_or_else(|| json!(next_id));
        next_id += usize::from(known.is_none());
        if let Some(token) = token.as_object_mut() {
            token.insert("id".to_owned(), id);
        }
    }
}

/// Returns the byte that a character of the byte alphabet stands for.
fn byte_of(character: char) -> u8 {
    match u32::from(character) {
        point @ 0x100..=0x120 => u8::try_from(point - 0x100).expect("a byte"),
        point @ 0x121..=0x142 => u8::try_from(point - 0x121 + 0x7F).expect("a byte"),
        0x143 => 0xAD,
        point => u8::try_from(point).expect("a byte"),
    }
}

/// Returns all tokenizers.
pub fn pairs() -> &'static [Pair] {
    &*PAIRS
}

/// Returns the tokenizer that a number stands for.
pub fn pair(choice: u8) -> &'static Pair {
    &PAIRS[usize::from(choice) % PAIRS.len()]
}

impl Pair {
    fn new(edit: impl FnOnce(&mut Value)) -> Self {
        let mut file = serde_json::from_slice(FIXTURE).expect("the fixture is JSON");
        edit(&mut file);
        number_added_tokens(&mut file);
        let is_plain = |token: &Value| token["special"] == false && token["normalized"] == false;
        let added = file["added_tokens"].as_array().expect("a list");
        let has_plain = added.iter().any(is_plain);
        let bytes = file.to_string().into_bytes();
        let ours = Tokenizer::from_bytes(&bytes).expect("the fixture can be read");
        assert_eq!(ours.engine(), "stablelm", "{:?}", ours.why_not_fast());
        Self {
            has_nfc: !file["normalizer"].is_null(),
            has_plain,
            library: Mutex::new(library(&bytes).expect("the library reads it, too")),
            ours,
        }
    }

    /// Returns the ids that the library gives.
    pub fn expected(&self, text: &str, encodes_special: bool) -> Vec<u32> {
        let mut library = self.library.lock().unwrap_or_else(PoisonError::into_inner);
        expected(&mut library, text, encodes_special)
    }

    /// Returns what the ids of a text decode to, special tokens taken as text: the text in NFC.
    ///
    /// There is no simple answer when parts of it are brought into NFC on their own.
    pub fn decoded(&self, text: &str) -> Option<String> {
        let mut normalized = NormalizedString::from(text);
        if self.has_nfc {
            NFC.normalize(&mut normalized).expect("NFC never fails");
        }
        (!self.has_plain).then(|| normalized.get().to_owned())
    }
}

/// Reads what the library makes of a `tokenizer.json`, less what cuts ids off or adds some;
/// `None` if it refuses the file.
pub fn library(bytes: &[u8]) -> Option<tokenizers::Tokenizer> {
    let mut library = tokenizers::Tokenizer::from_bytes(bytes).ok()?;
    library
        .with_truncation(None::<TruncationParams>)
        .expect("nothing to set")
        .with_padding(None::<PaddingParams>);
    Some(library)
}

/// Returns the ids that a tokenizer of the library gives.
pub fn expected(
    library: &mut tokenizers::Tokenizer,
    text: &str,
    encodes_special: bool,
) -> Vec<u32> {
    library.set_encode_special_tokens(encodes_special);
    let encoding = library.encode_fast(text, false);
    encoding.expect("every byte has a token").get_ids().to_vec()
}

/// Returns the ids that an encoder of ours gives.
pub fn found(encoder: &mut Encoder<'_>, text: &str, special: SpecialTokensInText) -> Vec<u32> {
    let mut ids = vec![7];
    let result = encoder.encode_into(text, special, &mut ids);
    result.expect("every byte has a token");
    assert_eq!(ids.remove(0), 7, "what was there stays");
    ids
}
