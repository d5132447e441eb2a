//! Times our tokenizer beside its peers, on a corpus made of packages.
//!
//! `compare` does it all and prints the tables in Markdown. Every single measurement is taken in a
//! process of its own, pinned to one core: `measure` for what is linked in, `peers.py` for wheels.

mod adversarial;
mod args;
mod command;
mod compare;
mod corpus;
mod encoders;
mod extract;
mod measure;
mod packages;
mod peers;
mod report;
mod sources;
mod threads;

use anyhow::Result;
use clap::Parser as _;

fn main() -> Result<()> {
    match args::Args::parse().command {
        args::Command::Compare(compare) => compare::compare(&compare),
        args::Command::Measure(measure) => {
            let texts = corpus::read(&measure.documents, measure.limit)?;
            let passes = measure.passes;
            let value = measure::passes(measure.encoder, &measure.tokenizer, &texts, passes)?;
            println!("{value}");
            Ok(())
        }
    }
}
