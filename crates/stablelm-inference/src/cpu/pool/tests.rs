use std::sync::Barrier;
use std::time::Duration;

use super::*;

/// Miri is a thousand times slower.
const ROUNDS: usize = if cfg!(miri) { 10 } else { 2000 };

fn pool(threads: usize) -> Pool {
    Pool::new(NonZeroUsize::new(threads).unwrap()).unwrap()
}

fn message(panic: &Panic) -> &str {
    panic.downcast_ref::<&str>().unwrap()
}

#[test]
fn every_task_runs_once() {
    for threads in [1, 2, 3, 8] {
        let pool = pool(threads);
        for round in 0..ROUNDS {
            let tasks = round % 40;
            let counts: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
            pool.run(tasks, |task| {
                counts[task].fetch_add(1, Ordering::Relaxed);
            });
            let counts: Vec<usize> = counts.into_iter().map(AtomicUsize::into_inner).collect();
            assert_eq!(counts, vec![1; tasks], "{threads} threads, round {round}");
        }
    }
}

#[test]
fn chunks_are_written_where_they_lie_and_seen_afterwards() {
    let pool = pool(3);
    let mut values = vec![0usize; 1000 + 7];
    for round in 1..=ROUNDS.min(200) {
        pool.for_each_chunk(&mut values, 100, |chunk, values| {
            for (i, value) in values.iter_mut().enumerate() {
                *value += chunk * 100 + i;
            }
        });
        let expected = |(i, value): (usize, &usize)| *value == i * round;
        assert!(values.iter().enumerate().all(expected));
    }
    pool.for_each_chunk(&mut [0u8; 0], 5, |_, _| panic!("there is no chunk"));
}

#[test]
fn sleeping_helpers_are_woken() {
    let pool = pool(2);
    for _ in 0..ROUNDS.min(20) {
        thread::sleep(Duration::from_millis(5));
        let both = Barrier::new(2);
        // Each task waits for the other one: a single thread would never come back.
        pool.run(2, |_| {
            both.wait();
        });
    }
}

#[test]
fn a_sleeping_caller_is_woken() {
    let pool = pool(2);
    let caller = thread::current().id();
    let both = Barrier::new(2);
    pool.run(2, |_| {
        both.wait();
        if thread::current().id() != caller {
            thread::sleep(Duration::from_millis(50));
        }
    });
}

#[test]
fn a_panic_reaches_the_caller_and_the_pool_goes_on() {
    for threads in [1, 2, 4] {
        let pool = pool(threads);
        for round in 0..ROUNDS.min(50) {
            let ran = AtomicUsize::new(0);
            let result = catch_unwind(AssertUnwindSafe(|| {
                pool.run(20, |task| {
                    ran.fetch_add(1, Ordering::Relaxed);
                    assert!(task != round % 20, "a task's own words");
                });
            }));
            assert_eq!(message(&result.unwrap_err()), "a task's own words");
            assert!(ran.into_inner() <= 20);
            let ran = AtomicUsize::new(0);
            pool.run(20, |_| {
                ran.fetch_add(1, Ordering::Relaxed);
            });
            assert_eq!(ran.into_inner(), 20);
        }
    }
}

#[test]
fn a_task_may_use_the_pool_it_runs_on() {
    let pool = pool(3);
    let sum = AtomicUsize::new(0);
    pool.run(6, |outer| {
        let thread = thread::current().id();
        pool.run(5, |inner| {
            assert_eq!(thread::current().id(), thread);
            sum.fetch_add(outer * inner, Ordering::Relaxed);
        });
    });
    assert_eq!(sum.into_inner(), 15 * 10);
}

#[test]
fn several_threads_may_use_one_pool() {
    let pool = pool(2);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..ROUNDS.min(500) {
                    let sum = AtomicUsize::new(0);
                    pool.run(10, |task| {
                        sum.fetch_add(task, Ordering::Relaxed);
                    });
                    assert_eq!(sum.into_inner(), 45);
                }
            });
        }
    });
}

#[test]
fn dropping_a_pool_ends_its_threads() {
    for _ in 0..ROUNDS.min(50) {
        let pool = pool(4);
        let shared = Arc::clone(&pool.shared);
        pool.run(4, |_| ());
        drop(pool);
        // Each helper holds one share until it ends.
        assert_eq!(Arc::strong_count(&shared), 1);
    }
}

#[test]
#[should_panic(expected = "range.end <= self.len")]
fn parts_stay_within_the_slice() {
    let mut values = [1, 2, 3];
    let parts = Parts::new(&mut values);
    // SAFETY: the only part.
    unsafe { parts.part(2..4) };
}
