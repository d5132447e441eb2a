//! What the micro-benchmarks call, in the shape of `StableLM-3B-4E1T`: no part of the interface.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::backend::{HeadShape, Nonlinearity};
use crate::cpu::Rows;
use crate::cpu::attend::attend;
use crate::cpu::cache::HeadCaches;
use crate::cpu::elementwise::{Factors, activate, add_rows, normalize, rotate};
use crate::cpu::level::Level;
use crate::cpu::pool::{Pool, ThreadsError};
use crate::kv_cache::KvDtype;
use crate::rotary::{Angles, Rotary};

const HIDDEN: usize = 2560;
const INTERMEDIATE: usize = 6912;
const SHAPE: HeadShape = HeadShape {
    num_heads: 32,
    num_key_value_heads: 32,
    head_dim: 80,
};

fn rows(count: usize, width: usize) -> Rows {
    let value = |i: usize| (i * 7919 % 1009) as f32 / 504.5 - 1.0;
    Rows {
        width,
        values: (0..count * width).map(value).collect(),
    }
}

/// A pool whose threads meet and do nothing.
pub struct Sections {
    pool: Pool,
    threads: usize,
}

impl Sections {
    /// Starts the threads.
    pub fn new(threads: NonZeroUsize) -> Result<Self, ThreadsError> {
        Ok(Self {
            pool: Pool::new(threads)?,
            threads: threads.get(),
        })
    }

    /// Opens a section, waits in it until every thread is there, and closes it.
    pub fn run(&self) {
        let there = AtomicUsize::new(0);
        self.pool.run(self.threads, |_| {
            there.fetch_add(1, Ordering::Relaxed);
            while there.load(Ordering::Relaxed) < self.threads {
                thread::yield_now();
            }
        });
    }
}

/// The attention of the last positions of a context, in as many layers as it takes to keep none in the caches.
pub struct Attention {
    pool: Pool,
    level: Level,
    caches: Vec<HeadCaches>,
    queries: Rows,
    layer: usize,
}

impl Attention {
    /// Fills caches of halves with `context` positions.
    pub fn new(
        threads: NonZeroUsize,
        context: usize,
        positions: usize,
        layers: usize,
    ) -> Result<Self, ThreadsError> {
        let (pool, level) = (Pool::new(threads)?, Level::detect());
        let new = rows(context, HIDDEN);
        let cache = |_| {
            let mut cache = HeadCaches::new(SHAPE, KvDtype::F16, context);
            cache.append(&pool, level, &new, &new);
            cache
        };
        Ok(Self {
            caches: (0..layers).map(cache).collect(),
            pool,
            level,
            queries: rows(positions, HIDDEN),
            layer: 0,
        })
    }

    /// Attends in the next layer.
    pub fn run(&mut self) -> f32 {
        self.layer = (self.layer + 1) % self.caches.len();
        let cache = &self.caches[self.layer];
        let output = attend(&self.pool, self.level, &self.queries, cache, SHAPE);
        output.values[0]
    }
}

/// All that a layer does to some positions beside its products and its attention.
pub struct Layer {
    pool: Pool,
    level: Level,
    stream: Rows,
    inner: Rows,
    factors: Vec<f32>,
    angles: Angles,
}

impl Layer {
    /// Takes some positions.
    pub fn new(threads: NonZeroUsize, positions: usize) -> Result<Self, ThreadsError> {
        Ok(Self {
            pool: Pool::new(threads)?,
            level: Level::detect(),
            stream: rows(positions, HIDDEN),
            inner: rows(positions, INTERMEDIATE),
            factors: vec![1.0; HIDDEN],
            angles: Rotary::new(20, 10_000.0).angles(5..5 + positions),
        })
    }

    /// Normalizes twice, rotates queries and keys, multiplies by the gate and adds twice.
    pub fn run(&mut self) {
        let (pool, level) = (&self.pool, self.level);
        let factors = Factors {
            weight: &self.factors,
            bias: Some(&self.factors),
        };
        for _ in 0..2 {
            let mut normed = normalize(pool, level, &self.stream, HIDDEN, 1e-5, factors);
            rotate(pool, &mut normed, SHAPE.head_dim, &self.angles);
            add_rows(pool, &mut self.stream.values, &normed.values);
        }
        let mut inner = self.inner.clone();
        let factor = Some(self.inner.values.as_slice());
        activate(pool, level, &mut inner.values, Nonlinearity::Silu, factor);
        std::hint::black_box(inner);
    }
}
