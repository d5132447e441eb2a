//! One file from its source to the disk: ranges side by side, written in order.

use std::ops::Range;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::{StreamExt, stream};
use tokio::task::JoinHandle;

use super::part::Part;
use super::store::StoreFile;
use super::web::{Trouble, WebFile};
use super::{RemoteError, RemoteFile, TransferOptions};

/// A file that can be read range by range.
#[derive(Debug)]
pub(super) enum Source {
    Web(WebFile),
    Store(StoreFile),
}

impl Source {
    async fn read(&self, range: Range<u64>) -> Result<Vec<u8>, Trouble> {
        match self {
            Self::Web(file) => file.read(range).await,
            Self::Store(file) => Ok(file.read(range).await?),
        }
    }
}

/// Fetches a file to `to`; `progress` is told how many of its bytes are there.
pub(super) async fn fetch(
    source: Arc<Source>,
    file: &RemoteFile,
    to: &Path,
    options: &TransferOptions,
    progress: &dyn Fn(u64),
) -> Result<(), RemoteError> {
    let mut part = Part::open(file, to)?;
    progress(part.len());
    let was_resumed = part.was_resumed;
    if let Err(error) = fill(&source, file, &mut part, options, progress).await {
        if matches!(
            error,
            RemoteError::Changed { .. } | RemoteError::Size { .. }
        ) {
            part.discard();
        }
        return Err(error);
    }
    match part.finish(to) {
        // What an earlier run left may have been damaged on disk; once more, from the start.
        Err(RemoteError::Checksum { .. }) if was_resumed => {
            let mut part = Part::open(file, to)?;
            progress(0);
            fill(&source, file, &mut part, options, progress).await?;
            part.finish(to)
        }
        outcome => outcome,
    }
}

/// Appends all that is missing.
async fn fill(
    source: &Arc<Source>,
    file: &RemoteFile,
    part: &mut Part<'_>,
    options: &TransferOptions,
    progress: &dyn Fn(u64),
) -> Result<(), RemoteError> {
    let range_len = options.range_len();
    let start = part.len();
    let num_ranges = (file.size - start).div_ceil(range_len);
    let ranges = (0..num_ranges).map(|index| {
        let start = start + index * range_len;
        let end = file.size.min(start + range_len);
        let source = Arc::clone(source);
        // A task of its own goes on while the bytes before it are written.
        async move { Task(tokio::spawn(async move { source.read(start..end).await })).await }
    });
    let mut ranges = stream::iter(ranges).buffered(options.ranges());
    let mut ignores_ranges = false;
    while let Some(bytes) = ranges.next().await {
        match bytes {
            Ok(bytes) => {
                part.append(&bytes)?;
                progress(part.len());
            }
            Err(Trouble::RangeIgnored) => {
                ignores_ranges = true;
                break;
            }
            Err(other) => return Err(final_error(other)),
        }
    }
    drop(ranges);
    match &**source {
        Source::Web(web) if ignores_ranges => {
            let at = part.len();
            let mut sink = |bytes: &[u8]| {
                part.append(bytes)?;
                progress(part.len());
                Ok(())
            };
            web.read_whole(at, &mut sink).await.map_err(final_error)
        }
        _ => Ok(()),
    }
}

fn final_error(trouble: Trouble) -> RemoteError {
    match trouble {
        Trouble::Error(error) => error,
        Trouble::RangeIgnored | Trouble::Fault(_) => {
            unreachable!("faults are waited out, and a whole file has no ranges")
        }
    }
}

/// A spawned range that stops when nobody waits for it.
struct Task(JoinHandle<Result<Vec<u8>, Trouble>>);

impl Future for Task {
    type Output = Result<Vec<u8>, Trouble>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0)
            .poll(context)
            .map(|joined| match joined {
                Ok(outcome) => outcome,
                Err(error) => match error.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    Err(_) => unreachable!("a task is only stopped when nobody waits for it"),
                },
            })
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}
