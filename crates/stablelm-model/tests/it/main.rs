//! The public face of `stablelm-model`: configurations of the real family, checked against outside figures.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod config;
mod neox;
mod params;
