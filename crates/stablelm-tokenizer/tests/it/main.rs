//! The tokenizer as other crates see it, on our own fixture and on golden values from outside.

#![expect(
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "the lints let tests print and panic, but not the functions that tests share"
)]

mod engines;
mod fixture;
mod hostile;
mod inputs;
mod oracle;
mod special;
mod stream;
mod unicode_tables;
