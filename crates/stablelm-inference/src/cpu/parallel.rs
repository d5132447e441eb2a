//! The one file that knows of threads.

use std::num::NonZeroUsize;

use rayon::prelude::*;

/// The system gives no threads.
#[derive(Debug, thiserror::Error)]
#[error("failed to start {threads} threads")]
pub struct ThreadsError {
    /// How many were asked for.
    pub threads: NonZeroUsize,
    #[source]
    source: rayon::ThreadPoolBuildError,
}

/// Runs `work` on a pool of `threads` threads, on which everything in it that is parallel stays.
///
/// Outside of this, the global `rayon` pool is used. What is computed does not depend on the number of threads.
pub fn with_threads<T: Send>(
    threads: NonZeroUsize,
    work: impl FnOnce() -> T + Send,
) -> Result<T, ThreadsError> {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads.get())
        .build();
    let pool = pool.map_err(|source| ThreadsError { threads, source })?;
    Ok(pool.install(work))
}

/// Calls `work` with each chunk's number and values, on all threads of the current pool.
///
/// Chunks do not depend on the number of threads, so neither does the result. A single chunk stays on this thread.
pub(crate) fn for_each_chunk<T: Send>(
    values: &mut [T],
    chunk_len: usize,
    work: impl Fn(usize, &mut [T]) + Send + Sync,
) {
    if values.len() <= chunk_len {
        if !values.is_empty() {
            work(0, values);
        }
        return;
    }
    values
        .par_chunks_mut(chunk_len)
        .enumerate()
        .for_each(|(index, chunk)| work(index, chunk));
}

/// Calls `work` like [`for_each_chunk`] and returns the first error in the order of chunks.
pub(crate) fn try_for_each_chunk<T: Send, E: Send>(
    values: &mut [T],
    chunk_len: usize,
    work: impl Fn(usize, &mut [T]) -> Result<(), E> + Send + Sync,
) -> Result<(), E> {
    let results: Vec<Result<(), E>> = values
        .par_chunks_mut(chunk_len)
        .enumerate()
        .map(|(index, chunk)| work(index, chunk))
        .collect();
    results.into_iter().collect()
}
