//! Rules that need to have seen other documents.
//!
//! Each document has a number, in the order of the recipe. Keys of documents are collected in any
//! order and in any number of parts, and sorted on disk; what comes out depends on the documents
//! alone.

mod components;
mod error;
mod exact_keys;
pub(crate) mod minhash;
mod near;
mod pairs;
pub(crate) mod simplify;
mod sort;

pub use error::DedupError;
pub(crate) use exact_keys::ExactKeys;
pub(crate) use near::BandKeys;
pub(crate) use pairs::{PairReader, Pairs};
