//! The crate's public face: the data files, the documents and what they must hold.

mod compatibility;
mod documents;
mod drift;
mod metadata;
mod oracles;
mod registry;
mod rules;
mod samples;
