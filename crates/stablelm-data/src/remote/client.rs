//! The door to every remote source: paths in, files on disk out.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use reqwest::Url;
use tokio::runtime::{Builder, Runtime};

use super::address::Address;
use super::fetch::{self, Source};
use super::hub::{self, Hub};
use super::store::Stores;
use super::transport::Transport;
use super::web::{self, WebFile};
use super::{RemoteError, RemoteFile, RemoteOptions};

/// Threads that move bytes; hashing and writing are done by the caller's.
const NETWORK_THREADS: usize = 2;
/// How often somebody looks whether a transfer is still wanted.
const CANCEL_INTERVAL: Duration = Duration::from_millis(50);

/// Lists and fetches remote files; may be shared by threads.
///
/// Nothing is set up before it is needed. Not to be called from within an async runtime.
#[derive(Debug)]
pub(crate) struct Remotes {
    options: RemoteOptions,
    engine: OnceLock<Engine>,
}

#[derive(Debug)]
struct Engine {
    runtime: Runtime,
    transport: Arc<Transport>,
    hub: Hub,
    stores: Stores,
}

impl Remotes {
    pub(crate) fn new(options: RemoteOptions) -> Self {
        Self {
            options,
            engine: OnceLock::new(),
        }
    }

    /// Whether a path is remote, rather than on a local disk.
    pub(crate) fn is_remote(path: &str) -> bool {
        super::is_remote(path)
    }

    /// The files that a path or pattern names, sorted by address.
    ///
    /// A pattern may match nothing; a path without one must be there.
    pub(crate) fn expand(&self, pattern: &str) -> Result<Vec<RemoteFile>, RemoteError> {
        let address = Address::parse(pattern)?;
        let engine = self.engine(pattern)?;
        let listed = engine.runtime.block_on(async {
            match &address {
                Address::Http(url) if url.path().contains(['*', '[']) => {
                    Err(RemoteError::NoListing {
                        url: super::shown(pattern),
                    })
                }
                Address::Http(url) => {
                    let file = web::look(&engine.transport, url, pattern).await?;
                    Ok(vec![file])
                }
                Address::Hub { repo, path } => engine.hub.expand(pattern, repo, path).await,
                Address::Store { bucket, key } => engine.stores.expand(pattern, bucket, key).await,
            }
        });
        let mut files = listed?;
        files.sort_by(|one, other| one.url.cmp(&other.url));
        Ok(files)
    }

    /// Fetches a file to `to`; `progress` is told how many of its bytes are there.
    pub(crate) fn fetch(
        &self,
        file: &RemoteFile,
        to: &Path,
        progress: &dyn Fn(u64),
    ) -> Result<(), RemoteError> {
        self.fetch_unless(file, to, progress, &AtomicBool::new(false))
    }

    /// Fetches a file unless `cancelled` becomes true; what arrived by then is kept for later.
    pub(crate) fn fetch_unless(
        &self,
        file: &RemoteFile,
        to: &Path,
        progress: &dyn Fn(u64),
        cancelled: &AtomicBool,
    ) -> Result<(), RemoteError> {
        let engine = self.engine(&file.url)?;
        let transfer = &self.options.transfer;
        engine.runtime.block_on(async {
            let work = async {
                let source = Arc::new(engine.source(file).await?);
                fetch::fetch(source, file, to, transfer, progress).await
            };
            tokio::select! {
                outcome = work => outcome,
                () = until(cancelled) => Err(RemoteError::Cancelled { url: super::shown(&file.url) }),
            }
        })
    }

    /// The ranges that one file would have on their way, of [`Remotes::max_ranges`].
    pub(super) fn num_ranges(&self, file: &RemoteFile) -> usize {
        let ranges = file.size.div_ceil(self.options.transfer.range_len());
        usize::try_from(ranges).map_or(self.max_ranges(), |ranges| {
            ranges.clamp(1, self.max_ranges())
        })
    }

    pub(super) fn max_ranges(&self) -> usize {
        self.options.transfer.ranges()
    }

    fn engine(&self, url: &str) -> Result<&Engine, RemoteError> {
        if self.options.offline {
            return Err(RemoteError::Offline {
                url: super::shown(url),
            });
        }
        if let Some(engine) = self.engine.get() {
            return Ok(engine);
        }
        let engine = Engine::new(&self.options)?;
        Ok(self.engine.get_or_init(|| engine))
    }
}

impl Engine {
    fn new(options: &RemoteOptions) -> Result<Self, RemoteError> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(NETWORK_THREADS)
            .thread_name("network")
            .enable_all()
            .build()
            .map_err(|error| RemoteError::Client(error.into()))?;
        let endpoint = hub::parse_endpoint(options.hf_endpoint.as_deref())?;
        let transport = Arc::new(Transport::new(options, &endpoint)?);
        Ok(Self {
            runtime,
            hub: Hub::new(endpoint, Arc::clone(&transport)),
            stores: Stores::new(options, Arc::clone(&transport)),
            transport,
        })
    }

    async fn source(&self, file: &RemoteFile) -> Result<Source, RemoteError> {
        Ok(match Address::parse(&file.url)? {
            Address::Http(url) => Source::Web(self.web_file(url, file)),
            Address::Hub { repo, path } => Source::Web(self.hub.file(file, &repo, &path)),
            Address::Store { bucket, key } => {
                Source::Store(self.stores.file(file, &bucket, &key).await?)
            }
        })
    }

    fn web_file(&self, url: Url, file: &RemoteFile) -> WebFile {
        WebFile {
            transport: Arc::clone(&self.transport),
            url,
            file: file.clone(),
            visit: None,
            target: Mutex::new(None),
        }
    }
}

async fn until(cancelled: &AtomicBool) {
    while !cancelled.load(Ordering::Relaxed) {
        tokio::time::sleep(CANCEL_INTERVAL).await;
    }
}
