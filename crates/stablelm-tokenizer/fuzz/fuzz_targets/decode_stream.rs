//! Any ids, decoded one by one and at once.
//!
//! The first byte chooses the decoder, each two others are an id, of which few are of no token.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use stablelm_tokenizer::{DecodeError, SpecialTokensInOutput, Tokenizer};
use stablelm_tokenizer_fuzz::{FIXTURE, pair};

/// The fixture with its decoder wrapped, so that the library decodes.
static BY_LIBRARY: LazyLock<Tokenizer> = LazyLock::new(|| {
    let mut file: Value = serde_json::from_slice(FIXTURE).expect("the fixture is JSON");
    file["decoder"] = json!({ "type": "Sequence", "decoders": [file["decoder"]] });
    Tokenizer::from_bytes(file.to_string().as_bytes()).expect("a decoder of the library")
});

fuzz_target!(|data: &[u8]| {
    let Some((&choice, bytes)) = data.split_first() else {
        return;
    };
    let tokenizer = match choice % 6 {
        0 => &BY_LIBRARY,
        other => &pair(other).ours,
    };
    let highest = u32::try_from(tokenizer.vocab_size()).expect("ids are this wide") + 8;
    let mut stream = tokenizer.decode_stream();
    let (mut known, mut text) = (Vec::new(), String::new());
    for two in bytes.as_chunks().0 {
        let id = u32::from(u16::from_le_bytes(*two)) % highest;
        match stream.push(id) {
            Ok(part) => {
                assert!(tokenizer.decode(&[id], SpecialTokensInOutput::Keep).is_ok());
                text.push_str(&part);
                known.push(id);
            }
            Err(DecodeError::UnknownId { id: unknown, .. }) => assert_eq!(unknown, id),
            Err(error) => panic!("{error}"),
        }
    }
    text.push_str(&stream.finish());
    let whole = tokenizer.decode(&known, SpecialTokensInOutput::Keep);
    assert_eq!(text, whole.expect("ids of tokens"), "{known:?}");
    assert_eq!(stream.finish(), "");
});
