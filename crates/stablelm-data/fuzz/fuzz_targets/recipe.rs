//! A recipe: read or refused, and a refusal says why.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Err(error) = stablelm_data::parse_recipe(text, Path::new("recipe.toml")) {
        assert!(!error.to_string().is_empty());
    }
});
