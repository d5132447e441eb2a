//! Steps as CUDA graphs: queued kernel by kernel once, captured the next time, and replayed from then on.

use std::sync::Arc;

use cudarc::driver::{CudaGraph, CudaStream, sys};

use crate::backend::BackendError;
use crate::cuda::driver::failed;

/// The kinds of steps that have run, each with its graph from the second run on: the first one loads the kernels.
pub(super) struct Graphs<K>(Vec<(K, Option<CudaGraph>)>);

impl<K> Default for Graphs<K> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: PartialEq> Graphs<K> {
    /// Queues a step of a kind: `queue` puts its kernels on the stream, the same ones each time.
    pub(super) fn run(
        &mut self,
        stream: &Arc<CudaStream>,
        kind: K,
        queue: impl Fn() -> Result<(), BackendError>,
    ) -> Result<(), BackendError> {
        let decode = |error| failed("decode a token", error);
        let Some((_, graph)) = self.0.iter_mut().find(|(known, _)| *known == kind) else {
            queue()?;
            self.0.push((kind, None));
            return Ok(());
        };
        if graph.is_none() {
            let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
            stream.begin_capture(mode).map_err(decode)?;
            let queued = queue();
            // A capture is ended in any case; otherwise the stream would be of no more use.
            let captured = stream.end_capture(sys::CUgraphInstantiate_flags(0));
            queued?;
            *graph = captured.map_err(decode)?;
        }
        match graph {
            Some(graph) => graph.launch().map_err(decode),
            None => queue(),
        }
    }
}
