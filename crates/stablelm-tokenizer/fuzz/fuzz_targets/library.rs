//! Our ids beside those of Hugging Face tokenizers.
//!
//! The first byte chooses the tokenizer, the others are a text.

#![no_main]

use libfuzzer_sys::fuzz_target;
use stablelm_tokenizer::EncoderOptions;
use stablelm_tokenizer_fuzz::{POLICIES, found, pair};

fuzz_target!(|data: &[u8]| {
    let Some((&choice, bytes)) = data.split_first() else {
        return;
    };
    let pair = pair(choice);
    let text = String::from_utf8_lossy(bytes);
    let mut encoder = pair.ours.encoder_with(EncoderOptions {
        cache_bytes: 1 << 16,
        instructions: None,
    });
    for (special, encodes_special) in POLICIES {
        let expected = pair.expected(&text, encodes_special);
        for pass in 0..2 {
            let ids = found(&mut encoder, &text, special);
            assert!(
                ids == expected,
                "{special}, pass {pass}: {text:?}\n{ids:?}\n{expected:?}"
            );
        }
    }
});
