//! One measurement in a process of its own: a fresh encoder over documents, pass after pass.
//!
//! Times are CPU seconds of the encoding thread, so that neighbors on the machine disturb little.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::encoders::{self, Encode, Fresh, Linked};

/// An id takes at least this many bytes of text, in nearly every text; beyond, the buffer grows.
const BYTES_PER_ID: usize = 2;

/// Lets this thread, and what it starts, run on these cores only.
pub(crate) fn pin(cores: &[usize]) -> Result<()> {
    let mut set = CpuSet::new();
    for core in cores {
        set.set(*core)?;
    }
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

/// Returns the CPU time of this thread.
pub(crate) fn thread_time() -> Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?.into())
}

/// Encodes the texts `passes` times with one encoder that was fresh before the first.
///
/// Returns what a peer in another language must print, too: `seconds` of each pass, `bytes`,
/// `tokens`, and `sha256` of the ids.
pub(crate) fn passes(
    which: Linked,
    tokenizer: &Path,
    texts: &[impl AsRef<str>],
    passes: usize,
) -> Result<Value> {
    let Fresh {
        mut encoder,
        load,
        start,
    } = encoders::fresh(which, tokenizer)?;
    let bytes: usize = texts.iter().map(|text| text.as_ref().len()).sum();
    encoder.reserve(bytes / BYTES_PER_ID);
    let mut seconds = Vec::new();
    for _ in 0..passes {
        encoder.clear();
        seconds.push(pass(encoder.as_mut(), texts)?.as_secs_f64());
    }
    let (tokens, sha256) = encoder.digest()?;
    Ok(json!({
        "seconds": seconds,
        "bytes": bytes,
        "tokens": tokens,
        "sha256": sha256,
        "load_seconds": load.as_secs_f64(),
        "start_seconds": start.as_secs_f64(),
    }))
}

fn pass(encoder: &mut dyn Encode, texts: &[impl AsRef<str>]) -> Result<Duration> {
    let begin = thread_time()?;
    for text in texts {
        encoder.encode(text.as_ref())?;
    }
    Ok(thread_time()?.saturating_sub(begin))
}
