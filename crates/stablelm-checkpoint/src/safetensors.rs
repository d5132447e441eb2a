//! Safetensors: one file, or shards with an index.

pub(crate) mod index;
pub(crate) mod read;
pub(crate) mod write;
