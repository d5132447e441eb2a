//! What the crate promises to others: recipes, prepared folders, token files, inspections.

#![expect(
    clippy::unwrap_used,
    reason = "what the tests share may panic like the tests"
)]

mod books3_plants;
mod broken_input;
mod inspect;
mod neox_bytes;
mod prepare;
mod recipe;
mod remove;
mod scratch;
mod tokenize;
mod verify;
