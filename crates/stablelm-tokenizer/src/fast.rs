//! The fast engine: ids equal to those of the library, for the family of GPT-2 and GPT-NeoX.
//!
//! A text goes through five stages, explained with an example in `docs/concepts/tokenizer.md`:
//! added tokens are cut out (`model`), a piece is split into pretokens (`split`, `stages`), NFC is
//! made when a character asks for it (`unicode`), each pretoken is looked up among those seen
//! before (`cache`, `memory`), and what is new is merged (`bpe`). `worker` holds them together.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::inline_always,
    reason = "words are taken apart on purpose, and vector code is only as fast as what is compiled into it"
)]

mod bpe;
mod cache;
mod family;
mod file;
mod memory;
mod model;
mod split;
mod stages;
mod unicode;
mod worker;

pub(crate) use family::{Family, Foreign};
pub(crate) use file::File;
pub(crate) use model::Model;
pub use stages::Instructions;
pub(crate) use stages::{PORTABLE, stages};
pub(crate) use worker::Worker;
