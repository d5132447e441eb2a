//! How far a long run is, told at most ten times a second.

use std::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_millis(100);

/// Emits progress events; a total of 0 means that nobody knows it.
pub(crate) struct Progress {
    stage: &'static str,
    total: u64,
    last: Option<Instant>,
}

impl Progress {
    pub(crate) fn new(stage: &'static str, total: u64) -> Self {
        Self {
            stage,
            total,
            last: None,
        }
    }

    /// Tells how many bytes are done, unless that was told just now.
    pub(crate) fn bytes(&mut self, done: u64) {
        let finished = self.total > 0 && done >= self.total;
        if finished || self.last.is_none_or(|last| last.elapsed() >= INTERVAL) {
            self.last = Some(Instant::now());
            tracing::info!(
                target: "progress",
                stage = self.stage,
                done,
                total = self.total,
                unit = "bytes"
            );
        }
    }
}
