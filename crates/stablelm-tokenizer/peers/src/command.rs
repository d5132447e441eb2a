//! The whole of `stablelm data tokenize`: reading, encoding, writing.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Result;
use nix::sys::resource::{UsageWho, getrusage};

use crate::args::Compare;
use crate::{measure, packages};

/// How long a run of the command took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Took {
    /// Seconds on the clock.
    pub(crate) wall: f64,
    /// Seconds of all its threads, in the system, too.
    pub(crate) cpu: f64,
}

/// Times the command on one core with one thread, or on two cores with two.
///
/// Takes the best of `rounds` runs: of those with the same number of threads, least CPU and wall
/// time on their own.
pub(crate) fn time(compare: &Compare, documents: &[PathBuf], threads: usize) -> Result<Took> {
    measure::pin(&[compare.core, compare.second_core][..threads])?;
    let mut best = Took {
        wall: f64::INFINITY,
        cpu: f64::INFINITY,
    };
    for _ in 0..compare.rounds {
        let took = run(compare, documents, threads)?;
        best.wall = best.wall.min(took.wall);
        best.cpu = best.cpu.min(took.cpu);
    }
    Ok(best)
}

fn run(compare: &Compare, documents: &[PathBuf], threads: usize) -> Result<Took> {
    let before = children_time()?;
    let begin = Instant::now();
    packages::run(
        Command::new(&compare.stablelm)
            .args(["data", "tokenize"])
            .args(documents)
            .arg("--output")
            .arg(compare.folder.join("tokenized"))
            .arg("--tokenizer")
            .arg(&compare.tokenizer)
            .args(["--append-eod", "--special-tokens", "encode", "--overwrite"])
            .args(["--threads", &threads.to_string(), "--quiet"]),
    )?;
    Ok(Took {
        wall: begin.elapsed().as_secs_f64(),
        cpu: (children_time()?.saturating_sub(before)).as_secs_f64(),
    })
}

fn children_time() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let micros = [usage.user_time(), usage.system_time()]
        .map(|time| u64::try_from(time.tv_sec() * 1_000_000 + time.tv_usec()).unwrap_or(0));
    Ok(Duration::from_micros(micros.iter().sum()))
}
