//! A GGUF file: a model or an error; a small model also loads or is refused, and runs.

#![no_main]

use std::num::NonZeroUsize;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use stablelm_inference::{LoadOptions, gguf, load};
use stablelm_model::TensorSource;

/// So many weights are computed with soon enough.
const SMALL: u64 = 200_000;

fuzz_target!(|bytes: &[u8]| {
    let Ok(file) = gguf::from_bytes(Path::new("fuzzed.gguf"), bytes.to_vec()) else {
        return;
    };
    for name in file.names() {
        let info = file.info(name).expect("a tensor that is named is there");
        let bytes = file.bytes(name).expect("the header has been checked");
        assert_eq!(Some(bytes.len()), info.byte_len(), "{name}");
        if let Some(blocks) = file.blocks(name).expect("the header has been checked") {
            assert_eq!(blocks.bytes.len(), blocks.rows * blocks.row_bytes(), "{name}");
        }
    }
    let options = LoadOptions {
        threads: Some(NonZeroUsize::MIN),
        ..LoadOptions::default()
    };
    if file.config.num_parameters() > SMALL {
        return;
    }
    if let Ok(model) = load(&file.config, &file, &options) {
        // Numbers may be anything, infinite ones too; that they come is enough.
        let _ = model.logits(&[0, 1]);
    }
});
