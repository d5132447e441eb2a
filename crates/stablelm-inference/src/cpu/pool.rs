//! The threads of one model: the only file that starts any.
//!
//! A token passes through a few hundred parallel sections of some ten or a hundred microseconds each, so that meeting
//! has to be cheap. A section is open to whoever comes: the caller starts on its tasks at once, helpers join as they
//! notice, each takes the next task from a counter, and the caller waits only for helpers that have joined. A helper
//! that the system keeps from running is therefore never waited for, however busy the machine is. Whoever waits spins
//! for some microseconds, then offers its processor to others, then sleeps.

use std::any::Any;
use std::cell::UnsafeCell;
use std::io;
use std::marker::PhantomData;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

#[cfg(test)]
mod tests;

/// The system gives no threads.
#[derive(Debug, thiserror::Error)]
#[error("failed to start {threads} threads")]
pub struct ThreadsError {
    /// How many were asked for.
    pub threads: NonZeroUsize,
    #[source]
    source: io::Error,
}

/// The threads of one model: the caller's and as many helpers as make up the number. What is computed does not depend
/// on it.
pub(crate) struct Pool {
    shared: Arc<Shared>,
    helpers: Vec<JoinHandle<()>>,
    /// Whether a section is open; whoever finds it so does its work alone.
    busy: AtomicBool,
}

impl Pool {
    /// Starts all threads but the caller's.
    pub(crate) fn new(threads: NonZeroUsize) -> Result<Self, ThreadsError> {
        let error = |source| ThreadsError { threads, source };
        let processors = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let shared = Arc::new(Shared {
            // Where threads outnumber processors, the one that is waited for needs the processor that spins.
            spins: if threads <= processors { SPINS } else { 0 },
            ..Shared::default()
        });
        let mut pool = Self {
            shared,
            helpers: Vec::new(),
            busy: AtomicBool::new(false),
        };
        for number in 1..threads.get() {
            let shared = Arc::clone(&pool.shared);
            let helper = thread::Builder::new()
                .name(format!("stablelm-{number}"))
                .spawn(move || shared.help())
                .map_err(error)?;
            pool.helpers.push(helper);
        }
        Ok(pool)
    }

    /// Calls `work` with each number below `tasks`, on all threads, in no certain order.
    ///
    /// A panic of a task is the caller's, once no task runs any more; those not begun are left out. Inside of a task,
    /// and while another thread uses the pool, everything runs on the calling thread.
    pub(crate) fn run<F: Fn(usize) + Sync>(&self, tasks: usize, work: F) {
        let alone = tasks <= 1 || self.helpers.is_empty();
        if alone || self.busy.swap(true, Ordering::Acquire) {
            (0..tasks).for_each(work);
            return;
        }
        let job = Job::new(tasks, &work);
        // SAFETY: `busy` was false and is true, so no other thread is between here and the end of this function: the
        // section is closed and without helpers. `work` outlives this call.
        let panic = unsafe { self.shared.hold(job) };
        self.busy.store(false, Ordering::Release);
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }

    /// Calls `work` with each chunk's number and values, on all threads.
    ///
    /// Chunks do not depend on the number of threads, so neither does the result. A single chunk stays on this thread.
    pub(crate) fn for_each_chunk<T: Send>(
        &self,
        values: &mut [T],
        chunk_len: usize,
        work: impl Fn(usize, &mut [T]) + Sync,
    ) {
        let len = values.len();
        let parts = Parts::new(values);
        self.run(len.div_ceil(chunk_len), |task| {
            let start = task * chunk_len;
            // SAFETY: each task runs once and has a range of its own.
            let chunk = unsafe { parts.part(start..len.min(start + chunk_len)) };
            work(task, chunk);
        });
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        self.shared.helpers.wake();
        for helper in self.helpers.drain(..) {
            // A helper catches the panics of tasks and has none of its own.
            let _ = helper.join();
        }
    }
}

/// A slice whose parts are written by different tasks.
pub(crate) struct Parts<'a, T> {
    start: *mut T,
    len: usize,
    slice: PhantomData<&'a mut [T]>,
}

// SAFETY: threads reach values through `part` alone, whose caller makes sure that no two reach the same one.
unsafe impl<T: Send> Sync for Parts<'_, T> {}

impl<'a, T> Parts<'a, T> {
    pub(crate) fn new(values: &'a mut [T]) -> Self {
        Self {
            start: values.as_mut_ptr(),
            len: values.len(),
            slice: PhantomData,
        }
    }

    /// Returns the values of `range`, which lies within the slice.
    ///
    /// # Safety
    /// While the part is used, no other part that is in use has a value in common with it.
    #[expect(clippy::mut_from_ref, reason = "the caller keeps parts apart")]
    pub(crate) unsafe fn part(&self, range: Range<usize>) -> &mut [T] {
        assert!(range.start <= range.end && range.end <= self.len);
        // SAFETY: the range lies within the slice, which is borrowed mutably for as long as `self` lives; the caller
        // makes sure that nobody else has these values.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }
}

/// How often a waiting thread looks before it offers its processor to others: for about 20 microseconds.
const SPINS: u32 = if cfg!(miri) { 2 } else { 2000 };

/// How often it does so before it sleeps.
const YIELDS: u32 = if cfg!(miri) { 2 } else { 50 };

/// What helpers and the caller have in common.
#[derive(Default)]
struct Shared {
    /// Whether the section is open ([`OPEN`]), how many helpers are in it (times [`HELPER`]), and the number of
    /// sections so far (times [`SECTION`], modulo 2^32).
    ///
    /// Written with a release and read with an acquire where one thread's writes are to be seen by another: what the
    /// caller prepared by helpers that join, what helpers did by the caller that waits for them to leave.
    gate: AtomicU64,
    job: JobCell,
    /// The next task.
    next: AtomicUsize,
    /// What the first task that panicked panicked with.
    panic: Mutex<Option<Panic>>,
    stopped: AtomicBool,
    helpers: Waiting,
    caller: Waiting,
    spins: u32,
}

type Panic = Box<dyn Any + Send>;

/// The section can be joined.
const OPEN: u64 = 1;
const HELPER: u64 = 1 << 1;
const SECTION: u64 = 1 << 32;

fn section(gate: u64) -> u64 {
    gate / SECTION
}

fn helpers_inside(gate: u64) -> u64 {
    gate % SECTION / HELPER
}

impl Shared {
    /// Opens a section, works in it, closes it and waits for its helpers to leave.
    ///
    /// # Safety
    /// No other thread holds a section, and what `job` points to lives until this returns.
    unsafe fn hold(&self, job: Job) -> Option<Panic> {
        // SAFETY: helpers read the job only after joining an open section and before leaving it. The section is closed
        // and empty: the last one ended in this function, which the acquire below has seen.
        unsafe { *self.job.0.get() = job };
        self.next.store(0, Ordering::Relaxed);
        self.gate.fetch_add(SECTION + OPEN, Ordering::SeqCst);
        self.helpers.wake();
        // SAFETY: the caller keeps what it points to alive.
        unsafe { self.work(job) };
        self.gate.fetch_and(!OPEN, Ordering::SeqCst);
        let is_empty = || helpers_inside(self.gate.load(Ordering::SeqCst)) == 0;
        self.caller.wait(self.spins, is_empty);
        let mut panic = self.panic.lock().unwrap_or_else(PoisonError::into_inner);
        panic.take()
    }

    /// Takes tasks until there are none. Never unwinds.
    ///
    /// # Safety
    /// What `job` points to lives until this returns.
    unsafe fn work(&self, job: Job) {
        let tasks = || {
            loop {
                let task = self.next.fetch_add(1, Ordering::Relaxed);
                if task >= job.tasks {
                    return;
                }
                // SAFETY: `call` was made for the type behind `work`, which is alive.
                unsafe { (job.call)(job.work, task) };
            }
        };
        // Whatever a panic leaves half done is the business of the caller, who gets the panic.
        if let Err(panic) = catch_unwind(AssertUnwindSafe(tasks)) {
            self.next.store(job.tasks, Ordering::Relaxed);
            let mut first = self.panic.lock().unwrap_or_else(PoisonError::into_inner);
            first.get_or_insert(panic);
        }
    }

    /// Joins section after section until the pool is dropped.
    fn help(&self) {
        let mut seen = 0;
        let stopped = || self.stopped.load(Ordering::SeqCst);
        loop {
            let is_new = || section(self.gate.load(Ordering::SeqCst)) != seen;
            self.helpers.wait(self.spins, || is_new() || stopped());
            if stopped() {
                return;
            }
            seen = self.join();
        }
    }

    /// Works in the section if it is open still; returns its number.
    fn join(&self) -> u64 {
        let mut gate = self.gate.load(Ordering::Relaxed);
        while gate & OPEN != 0 {
            let joined = self.gate.compare_exchange_weak(
                gate,
                gate + HELPER,
                Ordering::Acquire,
                Ordering::Relaxed,
            );
            if let Err(now) = joined {
                gate = now;
                continue;
            }
            // SAFETY: the section was open, so the job was written before, and it is not written again, nor does what
            // it points to go away, before this thread has left.
            unsafe { self.work(*self.job.0.get()) };
            let before = self.gate.fetch_sub(HELPER, Ordering::SeqCst);
            if helpers_inside(before) == 1 && before & OPEN == 0 {
                self.caller.wake();
            }
            break;
        }
        section(gate)
    }
}

/// What a section does: `call(work, task)` for each task.
#[derive(Clone, Copy)]
struct Job {
    work: *const (),
    call: unsafe fn(*const (), usize),
    tasks: usize,
}

impl Job {
    fn new<F: Fn(usize) + Sync>(tasks: usize, work: &F) -> Self {
        /// # Safety
        /// `work` points to an `F`.
        unsafe fn call<F: Fn(usize)>(work: *const (), task: usize) {
            // SAFETY: the caller says so.
            let work = unsafe { &*work.cast::<F>() };
            work(task);
        }
        Self {
            work: ptr::from_ref(work).cast(),
            call: call::<F>,
            tasks,
        }
    }
}

struct JobCell(UnsafeCell<Job>);

impl Default for JobCell {
    fn default() -> Self {
        Self(UnsafeCell::new(Job::new(0, &|_| ())))
    }
}

// SAFETY: `Job::new` asks for work that threads may share; who may read and write the cell is said where it is done.
unsafe impl Sync for JobCell {}
// SAFETY: as above.
unsafe impl Send for JobCell {}

/// Threads that wait for something to become true.
#[derive(Default)]
struct Waiting {
    sleepers: AtomicUsize,
    lock: Mutex<()>,
    changed: Condvar,
}

impl Waiting {
    /// Waits for `ready`, which reads with [`Ordering::SeqCst`].
    fn wait(&self, spins: u32, ready: impl Fn() -> bool) {
        for turn in 0..spins + YIELDS {
            if ready() {
                return;
            }
            if turn < spins {
                std::hint::spin_loop();
            } else {
                thread::yield_now();
            }
        }
        let mut lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        while !ready() {
            let woken = self.changed.wait(lock);
            lock = woken.unwrap_or_else(PoisonError::into_inner);
        }
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
    }

    /// Wakes those that sleep, after a write with [`Ordering::SeqCst`] to what they wait for.
    ///
    /// In the one order of all such operations, either the sleeper counted itself before the look below, and is woken:
    /// it holds the lock from there until it sleeps; or it looked at what it waits for after the write, and saw it.
    fn wake(&self) {
        if self.sleepers.load(Ordering::SeqCst) > 0 {
            drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner));
            self.changed.notify_all();
        }
    }
}
