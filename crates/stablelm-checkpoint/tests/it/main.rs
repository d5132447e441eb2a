//! The crate's public face, against checkpoints that GPT-NeoX and Hugging Face transformers wrote.

#![expect(
    clippy::unwrap_used,
    reason = "what the tests share may panic like the tests"
)]
#![expect(clippy::print_stderr, reason = "a skipped test says why")]

mod damaged;
mod masters;
mod neox;
mod other_models;
mod resume;
mod safetensors;
mod support;
