//! How far a long run is, told at most ten times a second.

use std::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_millis(100);

/// Emits progress events; a total of 0 means that nobody knows it.
pub(crate) struct Progress {
    stage: String,
    total: u64,
    done: u64,
    documents: Option<(u64, u64)>,
    last: Option<Instant>,
}

impl Progress {
    pub(crate) fn new(stage: &str, total: u64) -> Self {
        Self {
            stage: stage.to_owned(),
            total,
            done: 0,
            documents: None,
            last: None,
        }
    }

    /// Tells how many bytes are done, unless that was told just now.
    pub(crate) fn bytes(&mut self, done: u64) {
        self.done = done;
        let finished = self.total > 0 && done >= self.total;
        if finished || self.last.is_none_or(|last| last.elapsed() >= INTERVAL) {
            self.tell();
        }
    }

    /// Tells how many bytes are done, how many documents that was, and how many were kept.
    pub(crate) fn documents(&mut self, bytes: u64, documents: u64, kept: u64) {
        self.done = bytes;
        self.documents = Some((documents, kept));
        if self.last.is_none_or(|last| last.elapsed() >= INTERVAL) {
            self.tell();
        }
    }

    /// Tells that all is done.
    pub(crate) fn finish(&mut self) {
        self.done = self.total;
        self.tell();
    }

    fn tell(&mut self) {
        self.last = Some(Instant::now());
        let (documents, kept) = self.documents.unzip();
        tracing::info!(
            target: "progress",
            stage = self.stage,
            done = self.done,
            total = self.total,
            unit = "bytes",
            documents,
            kept,
        );
    }
}
