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

/// The threads of one model. What is computed does not depend on their number.
pub(crate) struct Pool {
    threads: rayon::ThreadPool,
}

impl Pool {
    pub(crate) fn new(threads: NonZeroUsize) -> Result<Self, ThreadsError> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads.get())
            .build();
        Ok(Self {
            threads: pool.map_err(|source| ThreadsError { threads, source })?,
        })
    }

    /// Runs `work` with everything in it that uses the tensor library's threads on this pool.
    pub(crate) fn install<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.threads.install(work)
    }

    /// Calls `work` with each chunk's number and values, on all threads.
    ///
    /// Chunks do not depend on the number of threads, so neither does the result. A single chunk stays on this thread.
    pub(crate) fn for_each_chunk<T: Send>(
        &self,
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
        self.threads.install(|| {
            values
                .par_chunks_mut(chunk_len)
                .enumerate()
                .for_each(|(index, chunk)| work(index, chunk));
        });
    }
}
