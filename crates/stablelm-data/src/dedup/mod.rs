//! Rules that need to have seen other documents.

pub(crate) mod exact;
