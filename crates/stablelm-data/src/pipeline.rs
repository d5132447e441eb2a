//! The one place that knows threads.
//!
//! Work on single documents is spread over a pool, and results come back in the order of their
//! inputs. The next batch is read while the current one is worked on. So the outcome is the same
//! for any number of threads.

use std::num::NonZeroUsize;

use rayon::iter::{IntoParallelIterator, ParallelIterator};

/// A pool of threads.
pub(crate) struct Workers {
    pool: rayon::ThreadPool,
}

/// The system gives no threads.
#[derive(Debug, thiserror::Error)]
#[error("failed to start {threads} threads")]
pub struct ThreadsError {
    threads: NonZeroUsize,
    #[source]
    source: rayon::ThreadPoolBuildError,
}

impl Workers {
    pub(crate) fn new(threads: NonZeroUsize) -> Result<Self, ThreadsError> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads.get())
            .thread_name(|index| format!("data-{index}"))
            .build()
            .map_err(|source| ThreadsError { threads, source })?;
        Ok(Self { pool })
    }

    /// Maps each item; results are in the order of the items.
    pub(crate) fn map<I, O>(&self, items: Vec<I>, map: impl Fn(I) -> O + Send + Sync) -> Vec<O>
    where
        I: Send,
        O: Send,
    {
        self.pool
            .install(|| items.into_par_iter().map(map).collect())
    }

    /// Consumes every batch in order, producing the next one meanwhile.
    pub(crate) fn read_ahead<B, E>(
        &self,
        mut produce: impl FnMut() -> Result<Option<B>, E> + Send,
        mut consume: impl FnMut(B) -> Result<(), E> + Send,
    ) -> Result<(), E>
    where
        B: Send,
        E: Send,
    {
        self.pool.install(|| {
            let mut current = produce()?;
            while let Some(batch) = current {
                let (next, done) = rayon::join(&mut produce, || consume(batch));
                done?;
                current = next?;
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_and_items_keep_their_order() {
        for threads in [1, 4] {
            let workers = Workers::new(NonZeroUsize::new(threads).unwrap()).unwrap();
            let mut left = 0..100_u64;
            let mut found = Vec::new();
            workers
                .read_ahead(
                    || Ok::<_, ()>(left.next().map(|first| vec![first; 10])),
                    |batch| {
                        found.extend(workers.map(batch, |item| item * 2));
                        Ok(())
                    },
                )
                .unwrap();
            let expected: Vec<_> = (0..100_u64).flat_map(|first| [first * 2; 10]).collect();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn the_first_failure_ends_the_run() {
        let workers = Workers::new(NonZeroUsize::MIN).unwrap();
        let mut left = 0..10;
        let result = workers.read_ahead(
            || {
                if left.start == 5 {
                    Err("read")
                } else {
                    Ok(left.next())
                }
            },
            |batch| if batch == 3 { Err("consume") } else { Ok(()) },
        );
        assert_eq!(result, Err("consume"));
    }
}
