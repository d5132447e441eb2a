//! A tokenizer.json as the lists that llama.cpp keeps in a GGUF file.
//!
//! The fields are those of the specification (ggml's `docs/gguf.md`, "Tokenizer"): tokens, their types and merges by
//! index; `tokenizer.ggml.pre` names the rule that splits text before merging (`llama-vocab.cpp`).

use serde_json::{Map, Value, json};

/// What llama.cpp needs to know of a byte-level BPE tokenizer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vocabulary {
    /// llama.cpp's name of the rule that splits text before merging.
    pub(crate) pre: &'static str,
    /// Every row of the embedding, in byte-level spelling.
    pub(crate) tokens: Vec<String>,
    /// What each is, as llama.cpp numbers it.
    pub(crate) types: Vec<i32>,
    /// Pairs to merge, first things first.
    pub(crate) merges: Vec<String>,
    /// The token that stands for what no other does, if any.
    pub(crate) unknown: Option<u32>,
}

/// Why a tokenizer can't be put into a GGUF file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VocabularyError {
    /// The text is not JSON.
    #[error("the tokenizer is not valid JSON")]
    Json(#[source] serde_json::Error),
    /// It is not byte-level BPE.
    #[error("the tokenizer has {found}, expected {expected}: only byte-level BPE is supported")]
    Unsupported {
        /// What it has.
        found: String,
        /// What would have been right.
        expected: &'static str,
    },
    /// It has more ids than the model has rows.
    #[error("token `{token}` has id {id}, but the model has {rows} rows")]
    TooManyIds {
        /// The token.
        token: String,
        /// Its id.
        id: u64,
        /// Rows of the embedding.
        rows: usize,
    },
}

/// llama.cpp's numbers of token types.
mod kind {
    pub(super) const NORMAL: i32 = 1;
    pub(super) const CONTROL: i32 = 3;
    pub(super) const USER_DEFINED: i32 = 4;
    pub(super) const UNUSED: i32 = 5;
}

/// How StableLM 2's tokenizer splits text, as its tokenizer.json spells it.
const STABLELM2_SPLIT: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

impl Vocabulary {
    /// Reads a tokenizer.json for a model with `rows` rows in its embedding; rows without a token become unused ones.
    pub fn from_tokenizer_json(json: &[u8], rows: usize) -> Result<Self, VocabularyError> {
        let value: Value = serde_json::from_slice(json).map_err(VocabularyError::Json)?;
        let model = &value["model"];
        if model["type"].as_str().is_some_and(|kind| kind != "BPE") || !model["vocab"].is_object() {
            let found = model["type"].as_str().unwrap_or("no model type");
            return Err(unsupported(found, "a model of type BPE"));
        }
        let mut vocabulary = Self {
            pre: pre(&value["pre_tokenizer"])?,
            tokens: (0..rows).map(|row| format!("[PAD{row}]")).collect(),
            types: vec![kind::UNUSED; rows],
            merges: merges(&model["merges"])?,
            unknown: None,
        };
        for (token, id) in model["vocab"].as_object().into_iter().flatten() {
            vocabulary.put(token, id, kind::NORMAL)?;
        }
        for token in value["added_tokens"].as_array().into_iter().flatten() {
            let kind = if token["special"] == true {
                kind::CONTROL
            } else {
                kind::USER_DEFINED
            };
            vocabulary.put(token["content"].as_str().unwrap_or(""), &token["id"], kind)?;
        }
        let unknown = model["unk_token"].as_str();
        vocabulary.unknown = unknown.and_then(|unknown| {
            let row = vocabulary
                .tokens
                .iter()
                .position(|token| token == unknown)?;
            u32::try_from(row).ok()
        });
        Ok(vocabulary)
    }

    fn put(&mut self, token: &str, id: &Value, kind: i32) -> Result<(), VocabularyError> {
        let id = id.as_u64().unwrap_or(u64::MAX);
        let row = usize::try_from(id).unwrap_or(usize::MAX);
        let rows = self.tokens.len();
        let Some(place) = self.tokens.get_mut(row) else {
            let token = token.to_owned();
            return Err(VocabularyError::TooManyIds { token, id, rows });
        };
        token.clone_into(place);
        self.types[row] = kind;
        Ok(())
    }
}

fn unsupported(found: &str, expected: &'static str) -> VocabularyError {
    VocabularyError::Unsupported {
        found: format!("`{}`", found.chars().take(80).collect::<String>()),
        expected,
    }
}

/// Merges as `left right`; newer files have pairs instead.
fn merges(merges: &Value) -> Result<Vec<String>, VocabularyError> {
    let expected = "a list of merges";
    let list = merges.as_array();
    let list = list.ok_or_else(|| unsupported(&merges.to_string(), expected))?;
    let merge = |merge: &Value| match merge {
        Value::String(text) => Some(text.clone()),
        Value::Array(pair) => match pair.as_slice() {
            [Value::String(left), Value::String(right)] => Some(format!("{left} {right}")),
            _ => None,
        },
        _ => None,
    };
    list.iter()
        .map(|found| merge(found).ok_or_else(|| unsupported(&found.to_string(), expected)))
        .collect()
}

/// Returns llama.cpp's name of a tokenizer's splitting rule.
fn pre(pre_tokenizer: &Value) -> Result<&'static str, VocabularyError> {
    let steps: Vec<&Value> = match pre_tokenizer["type"].as_str() {
        Some("Sequence") => pre_tokenizer["pretokenizers"]
            .as_array()
            .into_iter()
            .flatten()
            .collect(),
        _ => vec![pre_tokenizer],
    };
    let has_own_split = |step: &Value| step["type"] == "ByteLevel" && step["use_regex"] != false;
    match steps.as_slice() {
        // The tokenizer of GPT-NeoX splits like that of GPT-2; llama.cpp knows it by the name of MPT, which has it too.
        [step] if has_own_split(step) => Ok("mpt"),
        [split, _] if split["pattern"]["Regex"] == STABLELM2_SPLIT => Ok("stablelm2"),
        _ => Err(unsupported(
            &pre_tokenizer.to_string(),
            "the splitting rule of GPT-NeoX, GPT-2 or StableLM 2",
        )),
    }
}

/// Puts the lists of a GGUF file together to a tokenizer.json.
///
/// llama.cpp does not normalize text; the tokenizer of GPT-NeoX, the only one that splits as GPT-2 does among these
/// models, normalizes to NFC, and so does what is made here.
pub(crate) fn tokenizer_json(
    kind: &str,
    pre: &str,
    tokens: &[String],
    types: &[i32],
    merges: &[String],
) -> Result<String, VocabularyError> {
    if kind != "gpt2" {
        return Err(unsupported(kind, "a `tokenizer.ggml.model` of `gpt2`"));
    }
    if tokens.is_empty() || types.len() != tokens.len() || merges.is_empty() {
        let found = format!(
            "{} tokens, {} types, {} merges",
            tokens.len(),
            types.len(),
            merges.len()
        );
        return Err(unsupported(&found, "tokens, as many types, and merges"));
    }
    let byte_level = |use_regex: bool| {
        json!({
            "type": "ByteLevel",
            "add_prefix_space": false,
            "trim_offsets": true,
            "use_regex": use_regex,
        })
    };
    let (normalizer, pre_tokenizer) = match pre {
        // All of these split alike.
        "default" | "gpt-2" | "mpt" | "olmo" => (json!({ "type": "NFC" }), byte_level(true)),
        "stablelm2" => {
            let split = json!({
                "type": "Split",
                "pattern": { "Regex": STABLELM2_SPLIT },
                "behavior": "Removed",
                "invert": true,
            });
            let steps = json!([split, byte_level(false)]);
            (
                Value::Null,
                json!({ "type": "Sequence", "pretokenizers": steps }),
            )
        }
        other => return Err(unsupported(other, "a `tokenizer.ggml.pre` that is known")),
    };
    let mut vocab = Map::new();
    let mut added = Vec::new();
    for (id, (token, kind)) in tokens.iter().zip(types).enumerate() {
        if *kind == kind::UNUSED {
            continue;
        }
        vocab.insert(token.clone(), json!(id));
        if matches!(*kind, kind::CONTROL | kind::USER_DEFINED) {
            let special = *kind == kind::CONTROL;
            added.push(json!({
                "id": id,
                "content": token,
                "single_word": false,
                "lstrip": false,
                "rstrip": false,
                "normalized": !special,
                "special": special,
            }));
        }
    }
    Ok(json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": normalizer,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": null,
        "decoder": byte_level(true),
        "model": {
            "type": "BPE",
            "dropout": null,
            "unk_token": null,
            "continuing_subword_prefix": null,
            "end_of_word_suffix": null,
            "fuse_unk": false,
            "byte_fallback": false,
            "vocab": vocab,
            "merges": merges,
        },
    })
    .to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(model: &str, pre_tokenizer: &str) -> Vec<u8> {
        format!(
            r#"{{"model": {model}, "pre_tokenizer": {pre_tokenizer}, "added_tokens": [
                {{"id": 3, "content": "<|end|>", "special": true}}, {{"id": 4, "content": "   ", "special": false}}]}}"#
        )
        .into_bytes()
    }

    const BYTE_LEVEL: &str = r#"{"type": "ByteLevel", "add_prefix_space": false}"#;

    #[test]
    fn rows_have_their_tokens_and_padding_is_unused() {
        let model = r#"{"type": "BPE", "unk_token": "<|end|>", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": [["a", "b"]]}"#;
        let found = Vocabulary::from_tokenizer_json(&json(model, BYTE_LEVEL), 6).unwrap();
        assert_eq!(found.tokens, ["a", "b", "ab", "<|end|>", "   ", "[PAD5]"]);
        assert_eq!(found.types, [1, 1, 1, 3, 4, 5]);
        assert_eq!(
            (found.merges, found.unknown),
            (vec!["a b".to_owned()], Some(3))
        );
    }

    #[track_caller]
    fn check_refused(model: &str, pre_tokenizer: &str, expected: &str) {
        let error = Vocabulary::from_tokenizer_json(&json(model, pre_tokenizer), 4).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }

    #[test]
    fn what_llama_cpp_would_read_otherwise_is_refused() {
        let model = r#"{"type": "BPE", "vocab": {"a": 0}, "merges": ["a a"]}"#;
        check_refused(model, r#"{"type": "Metaspace"}"#, "Metaspace");
        check_refused(
            model,
            BYTE_LEVEL,
            "token `   ` has id 4, but the model has 4 rows",
        );
        check_refused(r#"{"type": "Unigram", "vocab": []}"#, BYTE_LEVEL, "Unigram");
        check_refused(
            r#"{"type": "BPE", "vocab": {"a": 0}, "merges": [1]}"#,
            BYTE_LEVEL,
            "`1`",
        );
    }

    #[test]
    fn a_tokenizer_survives_the_way_through_a_file() {
        let model = r#"{"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}"#;
        let there = Vocabulary::from_tokenizer_json(&json(model, BYTE_LEVEL), 6).unwrap();
        let file = |pre: &str, merges: &[String]| {
            tokenizer_json("gpt2", pre, &there.tokens, &there.types, merges)
        };
        let back = file(there.pre, &there.merges).unwrap();
        let again = Vocabulary::from_tokenizer_json(back.as_bytes(), 6).unwrap();
        assert_eq!(again, there);
        let back = file("stablelm2", &there.merges).unwrap();
        let again = Vocabulary::from_tokenizer_json(back.as_bytes(), 6).unwrap();
        assert_eq!(
            (again.pre, again.tokens),
            ("stablelm2", there.tokens.clone())
        );
        let refused = |result: Result<String, VocabularyError>, expected: &str| {
            let error = result.unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        refused(file("deepseek-llm", &there.merges), "deepseek-llm");
        refused(file("mpt", &[]), "0 merges");
        refused(tokenizer_json("llama", "default", &[], &[], &[]), "`llama`");
    }
}
