//! The crate's public face: the data files, the documents and what they must hold.

mod bom;
mod compatibility;
mod detect;
mod documents;
mod drift;
mod lint;
mod metadata;
mod oms;
mod oracles;
mod registry;
mod rules;
mod samples;
mod verify;
