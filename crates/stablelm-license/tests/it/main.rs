//! The crate's public face: the data files, the documents and what they must hold.

mod detect;
mod documents;
mod lint;
mod metadata;
mod oms;
mod oracles;
mod registry;
mod samples;
mod verify;
