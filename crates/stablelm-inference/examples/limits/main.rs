//! Measures what this machine can do at most, to judge an engine by: reading memory and multiplying, by threads.
//!
//! ```sh
//! cargo run --release -p stablelm-inference --example limits -- [THREADS...]
//! ```
//!
//! Prints one JSON document: for each number of threads (1 and 2 without THREADS) the bytes read a second from memory
//! that no cache holds, and the operations a second (a multiplication and an addition count as two) of f32, bf16 and
//! 8-bit dot products with 512-bit registers, or `null` where the processor lacks the instruction. Each number is the
//! best of many short rounds, because neighbors can only slow a round down.

#![expect(clippy::print_stdout, reason = "a program for people who time engines")]

use std::env;
use std::error::Error;
use std::hint::black_box;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// How long one number is looked for. Rounds take milliseconds, so some fall between the neighbors' turns.
const PATIENCE: Duration = Duration::from_millis(1500);

mod multiply;
mod read;

fn main() -> Result<(), Box<dyn Error>> {
    let mut counts = env::args()
        .skip(1)
        .map(|count| count.parse())
        .collect::<Result<Vec<usize>, _>>()?;
    if counts.is_empty() {
        counts = vec![1, 2];
    }
    let limits: Vec<Value> = counts
        .into_iter()
        .map(|threads| {
            json!({
                "threads": threads,
                "read_bytes_per_s": read_rate(threads),
                "f32_ops_per_s": multiply_rate(threads, multiply::f32_kernel()),
                "bf16_ops_per_s": multiply_rate(threads, multiply::bf16_kernel()),
                "int8_ops_per_s": multiply_rate(threads, multiply::int8_kernel()),
            })
        })
        .collect();
    println!("{}", json!({ "limits": limits }));
    Ok(())
}

/// Returns the most bytes a second that threads read together, each from memory of its own.
fn read_rate(threads: usize) -> f64 {
    const LEN: usize = 512 << 20;
    // Short, to fall between the neighbors' turns; each round reads another piece, so that no cache has it.
    const PIECE: usize = 64 << 20;
    let memory: Vec<Vec<u64>> = (0..threads)
        .map(|thread| vec![thread as u64 + 1; LEN / 8])
        .collect();
    let seconds = best(threads, |thread, turn| {
        let start = turn % (LEN / PIECE) * (PIECE / 8);
        let piece = &memory[thread][start..start + PIECE / 8];
        black_box(read::sum(black_box(piece)));
    });
    (threads * PIECE) as f64 / seconds
}

/// Returns the most operations a second of a kernel on several threads.
fn multiply_rate(threads: usize, kernel: Option<multiply::Kernel>) -> Option<f64> {
    const STEPS: usize = 200_000;
    let kernel = kernel?;
    let seconds = best(threads, |_, _| {
        black_box((kernel.run)(black_box(STEPS)));
    });
    Some((threads * STEPS * kernel.ops_per_step) as f64 / seconds)
}

/// Runs `work` on every thread at once, round after round, and returns the seconds of the fastest round.
///
/// `work` is given the thread and the number of the round.
fn best(threads: usize, work: impl Fn(usize, usize) + Sync) -> f64 {
    let started = Instant::now();
    let mut fastest = f64::INFINITY;
    let mut turn = 0;
    while started.elapsed() < PATIENCE {
        fastest = fastest.min(round(threads, &|thread| work(thread, turn)));
        turn += 1;
    }
    fastest
}

/// Returns the seconds from the first start to the last end.
fn round(threads: usize, work: &(impl Fn(usize) + Sync)) -> f64 {
    let barrier = &Barrier::new(threads);
    let spans: Vec<(Instant, Instant)> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads)
            .map(|thread| {
                scope.spawn(move || {
                    barrier.wait();
                    let begin = Instant::now();
                    work(thread);
                    (begin, Instant::now())
                })
            })
            .collect();
        handles
            .into_iter()
            .map(|handle| handle.join().expect("the work does not panic"))
            .collect()
    });
    let begin = spans.iter().map(|span| span.0).min();
    let end = spans.iter().map(|span| span.1).max();
    match (begin, end) {
        (Some(begin), Some(end)) => (end - begin).as_secs_f64(),
        _ => f64::INFINITY,
    }
}
