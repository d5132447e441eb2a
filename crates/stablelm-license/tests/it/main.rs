//! The crate's public face: the data files, the documents and what they must hold.

mod bom;
mod documents;
mod metadata;
mod oracles;
mod registry;
mod samples;
