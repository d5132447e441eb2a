//! Two encoding threads against one, each with its own core and its own encoder.

use std::path::Path;
use std::sync::Barrier;
use std::thread;
use std::time::Instant;

use anyhow::Result;
use stablelm_tokenizer::{SpecialTokensInText, Tokenizer};

use crate::{encoders, measure};

/// How often each number of threads is timed; the best counts.
const ROUNDS: usize = 5;

/// How long encoding took: the slowest thread where there are two.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Took {
    /// Seconds on the clock; neighbors on the machine show.
    pub(crate) clock: f64,
    /// Seconds of CPU.
    pub(crate) cpu: f64,
}

impl Took {
    fn with(self, other: Self, choose: fn(f64, f64) -> f64) -> Self {
        Self {
            clock: choose(self.clock, other.clock),
            cpu: choose(self.cpu, other.cpu),
        }
    }
}

/// A first pass, with a fresh encoder, and a second.
type Passes = [Took; 2];

/// Returns the times of one thread over all texts, and of two threads over every second text each.
pub(crate) fn compare(
    tokenizer: &Path,
    texts: &[String],
    cores: [usize; 2],
) -> Result<[Passes; 2]> {
    let tokenizer = encoders::ours(tokenizer)?;
    let never = Took {
        clock: f64::INFINITY,
        cpu: f64::INFINITY,
    };
    let mut best = [[never; 2]; 2];
    for _ in 0..ROUNDS {
        for (best, cores) in best.iter_mut().zip([&cores[..1], &cores]) {
            for (best, took) in best.iter_mut().zip(time(&tokenizer, texts, cores)?) {
                *best = best.with(took, f64::min);
            }
        }
    }
    Ok(best)
}

fn time(tokenizer: &Tokenizer, texts: &[String], cores: &[usize]) -> Result<Passes> {
    let together = &Barrier::new(cores.len());
    thread::scope(|scope| {
        let workers: Vec<_> = cores
            .iter()
            .enumerate()
            .map(|(worker, core)| {
                let share = texts.iter().skip(worker).step_by(cores.len());
                let share: Vec<&str> = share.map(String::as_str).collect();
                scope.spawn(move || {
                    measure::pin(&[*core])?;
                    work(tokenizer, &share, together)
                })
            })
            .collect();
        let mut slowest = [Took {
            clock: 0.0,
            cpu: 0.0,
        }; 2];
        for worker in workers {
            let passes = worker.join().expect("an encoder doesn't panic")?;
            for (slowest, took) in slowest.iter_mut().zip(passes) {
                *slowest = slowest.with(took, f64::max);
            }
        }
        Ok(slowest)
    })
}

/// Encodes a thread's share twice, each time together with the other thread.
fn work(tokenizer: &Tokenizer, share: &[&str], together: &Barrier) -> Result<Passes> {
    let mut encoder = tokenizer.encoder();
    let mut ids = vec![1_u16; share.iter().map(|text| text.len()).sum::<usize>() / 2];
    let mut pass = || -> Result<Took> {
        ids.clear();
        together.wait();
        let (begin, cpu) = (Instant::now(), measure::thread_time()?);
        for text in share {
            encoder.encode_into(text, SpecialTokensInText::Encode, &mut ids)?;
        }
        Ok(Took {
            clock: begin.elapsed().as_secs_f64(),
            cpu: measure::thread_time()?.saturating_sub(cpu).as_secs_f64(),
        })
    };
    Ok([pass()?, pass()?])
}
