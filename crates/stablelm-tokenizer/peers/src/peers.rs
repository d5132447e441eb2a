//! Measurements in processes of their own: ours for what is linked in, Python for wheels.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::args::Compare;
use crate::encoders::{self, Linked};
use crate::{measure, packages};

/// Whoever can be timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// Linked in.
    Linked(Linked),
    /// A Python wheel of this name.
    Wheel(&'static str),
}

impl Peer {
    /// Everyone, in the order of the tables: ours, the reference, the others.
    pub(crate) const ALL: [Self; 5] = [
        Self::Linked(Linked::Ours),
        Self::Linked(Linked::Hf),
        Self::Linked(Linked::HfRc),
        Self::Wheel("gigatoken"),
        Self::Wheel("fastokens"),
    ];
}

impl fmt::Display for Peer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Linked(Linked::Ours) => "stablelm",
            Self::Linked(Linked::Hf) => "tokenizers 0.23.2 `encode_fast`",
            Self::Linked(Linked::HfRc) => "tokenizers 1.0.0-rc.3 `encode_into`",
            Self::Wheel(name) => name,
        })
    }
}

/// What a measurement gave.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    /// CPU seconds of each pass; the first with a fresh encoder.
    pub(crate) seconds: Vec<f64>,
    /// Bytes of text in a pass.
    pub(crate) bytes: f64,
    /// Ids of a pass.
    pub(crate) tokens: u64,
    /// SHA-256 of the ids as little-endian `u16`s.
    pub(crate) sha256: String,
    /// Seconds that reading the tokenizer took; 0 where it isn't known.
    pub(crate) load_seconds: f64,
    /// Seconds that making the encoder took after that; 0 where it isn't known.
    pub(crate) start_seconds: f64,
}

impl Measured {
    /// Reads what a measuring process printed.
    pub(crate) fn read(value: &Value) -> Result<Self> {
        let seconds = value["seconds"].as_array().context("no `seconds`")?;
        Ok(Self {
            seconds: seconds.iter().filter_map(Value::as_f64).collect(),
            bytes: value["bytes"].as_f64().context("no `bytes`")?,
            tokens: value["tokens"].as_u64().context("no `tokens`")?,
            sha256: value["sha256"].as_str().context("no `sha256`")?.to_owned(),
            load_seconds: value["load_seconds"].as_f64().unwrap_or(0.0),
            start_seconds: value["start_seconds"].as_f64().unwrap_or(0.0),
        })
    }

    /// Returns the MB of text a second of a pass.
    pub(crate) fn rate(&self, pass: usize) -> f64 {
        self.bytes / 1e6 / self.seconds[pass]
    }

    /// Takes the times that are better in another measurement of the same.
    pub(crate) fn keep_best(&mut self, other: &Self) {
        for (best, seconds) in self.seconds.iter_mut().zip(&other.seconds) {
            *best = best.min(*seconds);
        }
    }
}

/// Times a peer over the first `limit` bytes of a file of documents, pinned to one core.
pub(crate) fn measure(
    peer: Peer,
    compare: &Compare,
    documents: &Path,
    passes: usize,
    limit: usize,
) -> Result<Measured> {
    let (passes, limit) = (passes.to_string(), limit.to_string());
    let mut command = match peer {
        Peer::Linked(linked) => {
            let mut command = Command::new(std::env::current_exe()?);
            command
                .args(["measure", &linked.to_string()])
                .arg(documents)
                .args(["--passes", &passes, "--limit", &limit])
                .arg("--tokenizer")
                .arg(&compare.tokenizer);
            command
        }
        Peer::Wheel(name) => {
            let mut command = Command::new(python(&compare.folder));
            command
                .arg(beside_manifest("peers.py"))
                .arg(name)
                .arg(encoders::file(&compare.tokenizer))
                .arg(documents)
                .args([passes, limit]);
            command
        }
    };
    measure::pin(&[compare.core])?;
    Measured::read(&answer(&mut command)?)
}

/// Runs a command and reads the JSON that it prints.
pub(crate) fn answer(command: &mut Command) -> Result<Value> {
    let output = command.output()?;
    ensure!(
        output.status.success(),
        "{command:?} failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Makes the Python environment with the wheels, if it isn't there yet.
pub(crate) fn install_wheels(folder: &Path) -> Result<()> {
    if python(folder).exists() {
        return Ok(());
    }
    let beside = folder.join("venv.part");
    packages::run(Command::new("python3").args(["-m", "venv"]).arg(&beside))?;
    packages::run(
        Command::new(beside.join("bin/python"))
            .args(["-m", "pip", "install", "--quiet", "--requirement"])
            .arg(beside_manifest("requirements.txt")),
    )?;
    Ok(std::fs::rename(beside, folder.join("venv"))?)
}

fn python(folder: &Path) -> PathBuf {
    folder.join("venv/bin/python")
}

fn beside_manifest(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}
