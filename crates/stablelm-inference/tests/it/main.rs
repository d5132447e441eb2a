//! The public face of `stablelm-inference`, checked against outside implementations and against plain formulas.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod architectures;
mod batch;
mod generate;
mod gguf;
mod gguf_write;
mod load;
mod oracles;
mod reference;
mod safetensors;
mod sampling;
mod session;
mod source;
