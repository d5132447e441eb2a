//! Where the tests' tokenizers and texts come from.

use std::path::PathBuf;
use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::{Value, json};
use stablelm_tokenizer::{SpecialTokensInText, Tokenizer};
use tokenizers::normalizers::NFC;
use tokenizers::{NormalizedString, Normalizer as _};

pub(crate) fn fixture_path() -> PathBuf {
    stablelm_testkit::fixtures().join("tokenizer/tokenizer.json")
}

/// The tokenizer trained on our own corpus.
pub(crate) static FIXTURE: LazyLock<Tokenizer> =
    LazyLock::new(|| Tokenizer::from_file(&fixture_path()).unwrap());

/// The folder of golden values and the real GPT-NeoX-20B tokenizer; says so when there is none.
pub(crate) fn oracle() -> Option<(PathBuf, Tokenizer)> {
    let Some(oracles) = stablelm_testkit::shared_oracles() else {
        eprintln!("skipped: no folder of golden values beside the repository");
        return None;
    };
    let folder = oracles.join("tokenizer");
    let tokenizer = Tokenizer::from_file(&folder.join("gpt-neox-20b.tokenizer.json")).unwrap();
    Some((folder, tokenizer))
}

/// The text in NFC, by the tables that tokenizers use (Unicode 9).
pub(crate) fn nfc(text: &str) -> String {
    let mut normalized = NormalizedString::from(text);
    NFC.normalize(&mut normalized).unwrap();
    normalized.get().to_owned()
}

/// The ids alone.
pub(crate) fn ids(tokenizer: &Tokenizer, text: &str, special: SpecialTokensInText) -> Vec<u32> {
    tokenizer.encode(text, special).unwrap().ids
}

/// Texts made of pieces that tokenizers get wrong, and of any characters.
pub(crate) fn texts() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        " ",
        "  ",
        "   ",
        "\n",
        "\t",
        "\r\n",
        "keeper",
        " lamp",
        "'s",
        "'S",
        "é",
        "e\u{301}",
        "\u{1112}\u{1161}",
        "漢字",
        "👩\u{200D}🚀",
        "\u{FFFD}",
        "\u{0}",
        "123",
        "<|",
        "|>",
        "<|endoftext|>",
        "<|padding|>",
        "endoftext",
        "\u{A0}",
        "\u{3000}",
        "                         ",
    ]);
    let piece = prop_oneof![4 => pieces.prop_map(str::to_owned), 1 => any::<String>()];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

/// A `tokenizer.json` of a word-level model that joins words as `SentencePiece` does, and so has to
/// be decoded by the library.
pub(crate) fn metaspace() -> Value {
    let metaspace = json!({
        "type": "Metaspace",
        "replacement": "▁",
        "prepend_scheme": "always",
        "split": true,
    });
    json!({
        "version": "1.0",
        "truncation": { "max_length": 1, "stride": 0, "strategy": "LongestFirst", "direction": "Right" },
        "padding": null,
        "added_tokens": [{
            "id": 0, "content": "[UNK]", "special": true,
            "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
        }],
        "normalizer": null,
        "pre_tokenizer": metaspace,
        "post_processor": null,
        "decoder": metaspace,
        "model": {
            "type": "WordLevel",
            "vocab": { "[UNK]": 0, "▁the": 1, "▁lamp": 2, "▁burns": 3 },
            "unk_token": "[UNK]",
        },
    })
}
