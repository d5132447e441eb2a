//! The one place that knows threads.
//!
//! Work is spread over a pool, and results come back in the order of their inputs: documents one by
//! one, or whole chunks of a stream. So the outcome is the same
//! for any number of threads.

use std::collections::BTreeMap;
use std::io;
use std::num::NonZeroUsize;
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

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

    /// Works on the chunks of a stream on all threads and consumes the results in order.
    ///
    /// `produce` fills the next chunk, or says that there is none. `map` fills a result, with a state
    /// of its thread's own. A chunk and a result come back with what they last held, so that their
    /// memory serves again; no more than [`run_ahead`](Self::run_ahead) results wait for their turn.
    /// The failure that comes first in the stream ends the run.
    pub(crate) fn map_in_order<C, S, O, E>(
        &self,
        produce: impl FnMut(&mut C) -> Result<bool, E> + Send,
        state: impl Fn() -> S + Sync,
        map: impl Fn(&mut S, &mut C, &mut O) + Sync,
        consume: impl FnMut(&mut O) -> Result<(), E> + Send,
    ) -> Result<(), E>
    where
        C: Default,
        O: Default + Send,
        E: Send,
    {
        let source = Mutex::new(Source {
            produce,
            next: 0,
            ended: false,
        });
        let order = InOrder::new(consume, self.run_ahead() as u64);
        self.pool.broadcast(|_| {
            let _guard = StopOnPanic(&order);
            let mut chunk = C::default();
            let mut own = None;
            while let Some((index, found)) = take_next(&source, &order, &mut chunk) {
                let result = found.map(|()| {
                    let mut result = order.spare();
                    map(own.get_or_insert_with(&state), &mut chunk, &mut result);
                    result
                });
                order.give(index, result);
            }
        });
        order.finish()
    }

    /// Results that [`map_in_order`](Self::map_in_order) may hold beside the chunks in work.
    pub(crate) fn run_ahead(&self) -> usize {
        2 * self.pool.current_num_threads()
    }
}

/// Things that cost much to make, each used by one thread at a time.
pub(crate) struct Pool<T>(Mutex<Vec<T>>);

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Self(Mutex::new(Vec::new()))
    }
}

impl<T> Pool<T> {
    /// Works with one that nobody uses now, or with a new one.
    pub(crate) fn with<O>(&self, make: impl FnOnce() -> T, work: impl FnOnce(&mut T) -> O) -> O {
        let idle = lock(&self.0).pop();
        let mut thing = idle.unwrap_or_else(make);
        let outcome = work(&mut thing);
        lock(&self.0).push(thing);
        outcome
    }
}

/// A thread that waits for the system while the others work; asked too often, it skips.
pub(crate) struct Aside {
    asks: SyncSender<()>,
    thread: JoinHandle<io::Result<()>>,
}

impl Aside {
    /// Starts a thread that does the job whenever it is asked, until it fails.
    pub(crate) fn start(
        mut job: impl FnMut() -> io::Result<()> + Send + 'static,
    ) -> io::Result<Self> {
        let (asks, asked) = mpsc::sync_channel(1);
        let thread = std::thread::Builder::new().name("data-aside".to_owned());
        let thread = thread.spawn(move || asked.iter().try_for_each(|()| job()))?;
        Ok(Self { asks, thread })
    }

    pub(crate) fn ask(&self) {
        // It is asked already, or has failed, which `finish` tells.
        let _ = self.asks.try_send(());
    }

    /// Waits until the job is done; tells of a failure.
    pub(crate) fn finish(self) -> io::Result<()> {
        drop(self.asks);
        match self.thread.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

/// The stream that chunks come from.
struct Source<P> {
    produce: P,
    /// Number of the next chunk.
    next: u64,
    ended: bool,
}

/// Takes the next chunk, or the failure in its place; `None` when there is nothing more to do.
fn take_next<C, O, E, F, P>(
    source: &Mutex<Source<P>>,
    order: &InOrder<O, E, F>,
    chunk: &mut C,
) -> Option<(u64, Result<(), E>)>
where
    P: FnMut(&mut C) -> Result<bool, E>,
{
    let mut source = lock(source);
    if source.ended || !order.wait_for_room(source.next) {
        return None;
    }
    let found = (source.produce)(chunk);
    source.ended = !matches!(found, Ok(true));
    if matches!(found, Ok(false)) {
        return None;
    }
    let index = source.next;
    source.next += 1;
    Some((index, found.map(drop)))
}

/// Results on their way back into the order of the stream.
struct InOrder<O, E, F> {
    waiting: Mutex<Waiting<O, E>>,
    changed: Condvar,
    consume: Mutex<F>,
    run_ahead: u64,
}

struct Waiting<O, E> {
    results: BTreeMap<u64, Result<O, E>>,
    /// Number of the result that is consumed next.
    next: u64,
    /// Whether a thread is consuming.
    busy: bool,
    stopped: bool,
    failure: Option<E>,
    spare: Vec<O>,
}

impl<O, E, F> InOrder<O, E, F> {
    fn new(consume: F, run_ahead: u64) -> Self {
        Self {
            waiting: Mutex::new(Waiting {
                results: BTreeMap::new(),
                next: 0,
                busy: false,
                stopped: false,
                failure: None,
                spare: Vec::new(),
            }),
            changed: Condvar::new(),
            consume: Mutex::new(consume),
            run_ahead,
        }
    }

    /// Waits until chunk `index` may be worked on; false when the run is over.
    fn wait_for_room(&self, index: u64) -> bool {
        let mut waiting = lock(&self.waiting);
        while !waiting.stopped && index >= waiting.next + self.run_ahead {
            waiting = self
                .changed
                .wait(waiting)
                .unwrap_or_else(PoisonError::into_inner);
        }
        !waiting.stopped
    }

    fn stop(&self) {
        lock(&self.waiting).stopped = true;
        self.changed.notify_all();
    }

    fn finish(self) -> Result<(), E> {
        let waiting = self.waiting.into_inner();
        let waiting = waiting.unwrap_or_else(PoisonError::into_inner);
        waiting.failure.map_or(Ok(()), Err)
    }
}

impl<O: Default, E, F: FnMut(&mut O) -> Result<(), E>> InOrder<O, E, F> {
    /// A result that was consumed, or a new one.
    fn spare(&self) -> O {
        lock(&self.waiting).spare.pop().unwrap_or_default()
    }

    /// Takes a result; consumes what is next, unless another thread is at it.
    fn give(&self, index: u64, result: Result<O, E>) {
        let mut waiting = lock(&self.waiting);
        waiting.results.insert(index, result);
        if waiting.busy {
            return;
        }
        waiting.busy = true;
        while !waiting.stopped {
            let next = waiting.next;
            let Some(result) = waiting.results.remove(&next) else {
                break;
            };
            drop(waiting);
            let consumed = result.and_then(|mut result| {
                lock(&self.consume)(&mut result)?;
                Ok(result)
            });
            waiting = lock(&self.waiting);
            match consumed {
                Ok(result) => {
                    waiting.next += 1;
                    waiting.spare.push(result);
                }
                Err(failure) => {
                    waiting.failure = Some(failure);
                    waiting.stopped = true;
                }
            }
            self.changed.notify_all();
        }
        waiting.busy = false;
    }
}

/// Lets the other threads end when this one can't go on; the pool hands the panic to the caller.
struct StopOnPanic<'a, O, E, F>(&'a InOrder<O, E, F>);

impl<O, E, F> Drop for StopOnPanic<'_, O, E, F> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.stop();
        }
    }
}

/// What a panic leaves behind is not used: the run stops.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Doubles numbers below `count`, slowly where `slow` says so; returns what was consumed.
    fn doubled(
        threads: usize,
        count: u64,
        slow: fn(u64) -> bool,
        failing: fn(u64) -> Option<&'static str>,
    ) -> (Vec<u64>, Result<(), &'static str>) {
        let workers = Workers::new(NonZeroUsize::new(threads).unwrap()).unwrap();
        let mut next = 0;
        let mut found = Vec::new();
        let result = workers.map_in_order(
            |chunk: &mut u64| {
                *chunk = next;
                next += 1;
                match failing(*chunk) {
                    Some("produce") => Err("produce"),
                    _ => Ok(*chunk < count),
                }
            },
            || (),
            |(), chunk, result: &mut u64| {
                if slow(*chunk) {
                    std::thread::sleep(std::time::Duration::from_millis(5));
                }
                *result = *chunk;
            },
            |result| {
                if failing(*result) == Some("consume") {
                    return Err("consume");
                }
                found.push(*result * 2);
                Ok(())
            },
        );
        (found, result)
    }

    #[test]
    fn chunks_are_consumed_in_order_whichever_is_done_first() {
        for threads in [1, 2, 5] {
            let (found, result) = doubled(threads, 60, |chunk| chunk % 7 == 0, |_| None);
            assert_eq!(found, (0..60).map(|chunk| chunk * 2).collect::<Vec<_>>());
            assert_eq!(result, Ok(()));
            assert!(doubled(threads, 0, |_| false, |_| None).0.is_empty());
        }
    }

    #[test]
    fn the_failure_that_is_first_in_the_stream_is_reported() {
        for threads in [1, 2, 5] {
            let failing = |chunk| match chunk {
                3 => Some("consume"),
                4 => Some("produce"),
                _ => None,
            };
            let (found, result) = doubled(threads, 60, |chunk| chunk == 3, failing);
            assert_eq!((found, result), (vec![0, 2, 4], Err("consume")));
            let failing = |chunk| (chunk == 4).then_some("produce");
            let (found, result) = doubled(threads, 60, |chunk| chunk == 3, failing);
            assert_eq!((found, result), (vec![0, 2, 4, 6], Err("produce")));
        }
    }

    #[test]
    fn a_panic_in_a_thread_reaches_the_caller() {
        for threads in [1, 2, 5] {
            let panicked = std::panic::catch_unwind(|| {
                let slow = |chunk| {
                    assert!(chunk != 5, "chunk 5");
                    false
                };
                doubled(threads, 60, slow, |_| None)
            });
            assert!(panicked.is_err());
        }
    }

    #[test]
    fn a_thing_of_a_pool_is_used_again() {
        let pool = Pool::default();
        let next = || pool.with(|| 0, |thing| std::mem::replace(thing, *thing + 1));
        assert_eq!([next(), next(), next()], [0, 1, 2]);
        let nested = pool.with(|| 0, |outer| pool.with(|| 7, |inner| (*outer, *inner)));
        assert_eq!(nested, (3, 7));
    }

    #[test]
    fn what_fails_aside_is_told_at_the_end() {
        let aside = Aside::start(|| Ok(())).unwrap();
        aside.ask();
        aside.ask();
        assert!(aside.finish().is_ok());
        let aside = Aside::start(|| Err(io::Error::other("disk"))).unwrap();
        aside.ask();
        aside.ask();
        assert_eq!(aside.finish().unwrap_err().to_string(), "disk");
        assert!(
            Aside::start(|| Err(io::Error::other("disk")))
                .unwrap()
                .finish()
                .is_ok()
        );
    }
}
