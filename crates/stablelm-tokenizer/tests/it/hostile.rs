//! Files that are no good: an error, never a panic.

use proptest::prelude::*;
use serde_json::{Value, json};
use stablelm_tokenizer::{SpecialTokensInOutput, SpecialTokensInText, Tokenizer, TokenizerError};

use crate::inputs::{FIXTURE, metaspace};

fn check_parse_error(bytes: &[u8]) {
    let error = Tokenizer::from_bytes(bytes).unwrap_err();
    assert!(matches!(error, TokenizerError::Parse { .. }), "{error:?}");
}

#[test]
fn what_is_no_tokenizer_is_refused() {
    for bytes in [
        &b""[..],
        b"null",
        b"{}",
        b"[1]",
        b"\xFF\xFE",
        b"{\"version\":\"2.0\"}",
    ] {
        check_parse_error(bytes);
    }
}

#[test]
fn an_absurd_id_is_refused_before_tables_are_made() {
    let mut file = metaspace();
    file["model"]["vocab"]["▁far"] = json!(u32::MAX);
    let error = Tokenizer::from_bytes(file.to_string().as_bytes()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "expected token ids up to 16777215, found 4294967295"
    );
}

#[test]
fn an_empty_vocabulary_is_refused() {
    let mut file = metaspace();
    file["added_tokens"] = json!([]);
    file["model"]["vocab"] = json!({});
    let error = Tokenizer::from_bytes(file.to_string().as_bytes()).unwrap_err();
    assert!(matches!(error, TokenizerError::NoTokens), "{error:?}");
}

#[test]
fn a_merge_of_unknown_tokens_is_refused() {
    let mut file: Value = serde_json::from_slice(FIXTURE.bytes()).unwrap();
    file["model"]["merges"][0] = json!("no such");
    check_parse_error(file.to_string().as_bytes());
}

#[test]
fn a_merge_that_makes_no_token_is_refused() {
    // Found by fuzzing: the library reads over the end of a buffer.
    let file = |prefix: Value, merge: Value| {
        json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
            "normalizer": null, "pre_tokenizer": null, "post_processor": null, "decoder": null,
            "model": {
                "type": "BPE", "continuing_subword_prefix": prefix,
                "vocab": { "a": 0, "b": 1 }, "merges": [merge],
            },
        })
    };
    for (prefix, merge) in [
        (Value::Null, json!("a b")),
        (Value::Null, json!(["a", "b"])),
        (json!("##"), json!(["a", "b"])),
    ] {
        check_parse_error(file(prefix, merge).to_string().as_bytes());
    }
}

#[test]
fn broken_json_inside_the_decoder_is_refused() {
    let file = metaspace().to_string();
    let start = file.find("\"decoder\":{").unwrap() + "\"decoder\":{".len();
    check_parse_error(&file.as_bytes()[..start + 5]);
    check_parse_error(
        file.replacen("\"decoder\":{", "\"decoder\":{,", 1)
            .as_bytes(),
    );
}

#[test]
fn a_broken_character_map_is_refused() {
    for map in [json!(7), json!("!!"), json!("AAAA"), json!("/////w==")] {
        let part = json!({ "type": "Precompiled", "precompiled_charsmap": map });
        for normalizer in [
            part.clone(),
            json!({ "type": "Sequence", "normalizers": [part] }),
        ] {
            let mut file = metaspace();
            file["normalizer"] = normalizer;
            check_parse_error(file.to_string().as_bytes());
        }
    }
}

#[test]
fn dropout_is_left_out() {
    let mut file: Value = serde_json::from_slice(FIXTURE.bytes()).unwrap();
    file["model"]["dropout"] = json!(0.9);
    let tokenizer = Tokenizer::from_bytes(file.to_string().as_bytes()).unwrap();
    let text = "The keeper lit the lamp at dusk and wound the clock.";
    let policy = SpecialTokensInText::Escape;
    assert_eq!(
        tokenizer.encode(text, policy).unwrap(),
        FIXTURE.encode(text, policy).unwrap()
    );
}

/// Any byte, and more often one that leaves the file readable as text.
fn byte() -> impl Strategy<Value = u8> {
    prop_oneof![any::<u8>(), 0x20..0x7F_u8]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn damaged_files_are_read_or_refused(
        changes in prop::collection::vec((any::<prop::sample::Index>(), byte()), 1..4),
        end in any::<prop::sample::Index>(),
        is_cut in any::<bool>(),
    ) {
        let mut bytes = FIXTURE.bytes().to_vec();
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if is_cut {
            bytes.truncate(end.index(bytes.len()));
        }
        // Whether it is read depends on the change; both are fine.
        if let Ok(tokenizer) = Tokenizer::from_bytes(&bytes) {
            let _ = tokenizer.encode("The lamp  burns.", SpecialTokensInText::Encode);
            let _ = tokenizer.decode(&[5, 400, 990], SpecialTokensInOutput::Keep);
        }
    }
}
