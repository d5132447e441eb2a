//! One file a genre: its templates, and the order in which a document uses them.

pub(super) mod encyclopedia;
pub(super) mod how_to;
pub(super) mod keepers_log;
pub(super) mod letter;
pub(super) mod questions;
pub(super) mod recipe;
