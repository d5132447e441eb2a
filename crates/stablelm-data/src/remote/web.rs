//! Files behind http: looked at, and read range by range.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, LAST_MODIFIED};
use reqwest::{Method, StatusCode, Url};

use super::patience::{Fault, Patience};
use super::transport::{Answer, Ask, Reply, Transport, read_refusal};
use super::{RemoteError, RemoteFile, TransferError};

/// Where a file's version is said by a date alone.
const BY_DATE: &str = "modified ";

/// A file behind http that is being read.
#[derive(Debug)]
pub(super) struct WebFile {
    pub(super) transport: Arc<Transport>,
    pub(super) url: Url,
    pub(super) file: RemoteFile,
    /// Where a repository's terms are, for a file of the hub.
    pub(super) visit: Option<String>,
    /// Where the bytes were found after a redirect: signed, and valid for a while.
    pub(super) target: Mutex<Option<Url>>,
}

/// Why a range did not arrive.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The server sends the whole file whatever is asked for.
    RangeIgnored,
    /// For now.
    Fault(Fault),
    /// For good.
    Error(RemoteError),
}

impl From<Fault> for Trouble {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<RemoteError> for Trouble {
    fn from(error: RemoteError) -> Self {
        Self::Error(error)
    }
}

/// Looks at one file, which must be there.
pub(super) async fn look(
    transport: &Transport,
    url: &Url,
    name: &str,
) -> Result<RemoteFile, RemoteError> {
    let shown = super::shown(name);
    let mut ask = Ask {
        method: Method::HEAD,
        ..Ask::get(url.clone())
    };
    let listing = |gave_up: super::patience::GaveUp| RemoteError::List {
        url: shown.clone(),
        tries: gave_up.tries,
        source: gave_up.cause,
    };
    let mut answer = transport.open(&ask).await.map_err(listing)?;
    let has_length = answer.header(CONTENT_LENGTH.as_str()).is_some();
    // Signed addresses are often good for GET alone, and some servers don't know HEAD.
    if !answer.status().is_success() && answer.status() != StatusCode::NOT_FOUND || !has_length {
        ask.method = Method::GET;
        ask.range = Some(0..1);
        answer = transport.open(&ask).await.map_err(listing)?;
    }
    let status = answer.status();
    let size = match status {
        StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => {
            answer.header(CONTENT_RANGE.as_str()).and_then(total_size)
        }
        _ => number(answer.header(CONTENT_LENGTH.as_str())),
    };
    let etag = version(&answer);
    if !status.is_success() && status != StatusCode::RANGE_NOT_SATISFIABLE {
        let reply = read_refusal(answer.response).await;
        return Err(refusal(&reply, &shown, None, transport.has_token()));
    }
    Ok(RemoteFile {
        url: name.to_owned(),
        size: size.ok_or(RemoteError::Answer {
            url: shown,
            what: "the server does not say how long the file is",
        })?,
        etag,
        sha256: None,
    })
}

impl WebFile {
    /// Reads one range, however often that takes.
    pub(super) async fn read(&self, range: Range<u64>) -> Result<Vec<u8>, Trouble> {
        let len = usize::try_from(range.end - range.start).expect("a range fits in memory");
        let mut bytes = Vec::with_capacity(len);
        let mut patience = Patience::new(&self.transport.options);
        while bytes.len() < len {
            let before = bytes.len();
            let outcome = self.read_once(&range, &mut bytes).await;
            let progressed = bytes.len() > before;
            self.settle(
                outcome,
                range.start + bytes.len() as u64,
                progressed,
                &mut patience,
            )
            .await?;
        }
        Ok(bytes)
    }

    /// Reads everything from `at` on, without asking for ranges.
    pub(super) async fn read_whole(
        &self,
        mut at: u64,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), RemoteError>,
    ) -> Result<(), Trouble> {
        let mut patience = Patience::new(&self.transport.options);
        while at < self.file.size {
            let before = at;
            let outcome = self.read_whole_once(&mut at, sink).await;
            self.settle(outcome, at, at > before, &mut patience).await?;
        }
        Ok(())
    }

    /// Waits after what may pass, and passes on what won't.
    async fn settle(
        &self,
        outcome: Result<(), Trouble>,
        byte: u64,
        progressed: bool,
        patience: &mut Patience<'_>,
    ) -> Result<(), Trouble> {
        if progressed {
            patience.progressed();
        }
        match outcome {
            Ok(()) => Ok(()),
            Err(Trouble::Fault(fault)) => patience.wait(fault).await.map_err(|gave_up| {
                Trouble::Error(RemoteError::Fetch {
                    url: self.shown(),
                    byte,
                    tries: gave_up.tries,
                    source: gave_up.cause,
                })
            }),
            Err(other) => Err(other),
        }
    }

    async fn read_once(&self, range: &Range<u64>, bytes: &mut Vec<u8>) -> Result<(), Trouble> {
        let start = range.start + bytes.len() as u64;
        let mut answer = self.open(Some(start..range.end)).await?;
        let mut skip = 0;
        if answer.status() == StatusCode::OK {
            if range.start != 0 || range.end != self.file.size {
                return Err(Trouble::RangeIgnored);
            }
            skip = start;
        } else {
            let value = answer.header(CONTENT_RANGE.as_str()).unwrap_or_default();
            let found = first_byte(value).unwrap_or(start);
            if found != start {
                let expected = start;
                return Err(Fault::passing(TransferError::WrongRange { expected, found }).into());
            }
        }
        let len = range.end - range.start;
        let mut chunks = Chunks {
            skip,
            left: range.end - start,
        };
        while let Some(chunk) = self.chunk(&mut answer).await? {
            bytes.extend_from_slice(chunks.take(&chunk)?);
        }
        chunks.finish(len)
    }

    async fn read_whole_once(
        &self,
        at: &mut u64,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), RemoteError>,
    ) -> Result<(), Trouble> {
        let mut answer = self.open(None).await?;
        let mut chunks = Chunks {
            skip: *at,
            left: self.file.size - *at,
        };
        while let Some(chunk) = self.chunk(&mut answer).await? {
            let part = chunks.take(&chunk)?;
            sink(part)?;
            *at += part.len() as u64;
        }
        chunks.finish(self.file.size)
    }

    async fn chunk(&self, answer: &mut Answer) -> Result<Option<impl AsRef<[u8]> + use<>>, Fault> {
        let chunk = answer.response.chunk().await;
        chunk.map_err(|error| self.transport.fault(error))
    }

    /// Sends one request for the file and checks that the answer is about the file listed.
    async fn open(&self, range: Option<Range<u64>>) -> Result<Answer, Trouble> {
        let known = self.lock_target().clone();
        let mut ask = Ask {
            range,
            ..Ask::get(known.clone().unwrap_or_else(|| self.url.clone()))
        };
        let mut answer = self.transport.ask(&ask).await?;
        let mut is_direct = known.is_none();
        if known.is_some() && matches!(answer.status().as_u16(), 400..=404 | 410) {
            // The signature ran out.
            *self.lock_target() = None;
            ask.url = self.url.clone();
            answer = self.transport.ask(&ask).await?;
            is_direct = true;
        }
        match answer.status() {
            StatusCode::OK | StatusCode::PARTIAL_CONTENT => {}
            StatusCode::RANGE_NOT_SATISFIABLE => {
                let found = answer.header(CONTENT_RANGE.as_str()).and_then(total_size);
                return Err(self.wrong_size(found.unwrap_or(0)).into());
            }
            _ => {
                let reply = read_refusal(answer.response).await;
                let has_token = self.transport.has_token();
                let visit = self.visit.as_deref();
                return Err(refusal(&reply, &self.shown(), visit, has_token).into());
            }
        }
        self.check(&answer, is_direct)?;
        if self.visit.is_some() && answer.url != self.url {
            *self.lock_target() = Some(answer.url.clone());
        }
        Ok(answer)
    }

    fn check(&self, answer: &Answer, is_direct: bool) -> Result<(), RemoteError> {
        let is_elsewhere = answer.url.origin() != self.url.origin();
        let found = match (&answer.linked_etag, self.visit.is_some()) {
            (Some(etag), _) => Some(bare_etag(etag)),
            // The bytes of the hub lie on another host, which has versions of its own.
            (None, true) if !is_direct || is_elsewhere => None,
            _ => version(answer),
        };
        if let (Some(expected), Some(found)) = (&self.file.etag, found)
            && expected.starts_with(BY_DATE) == found.starts_with(BY_DATE)
            && *expected != found
        {
            return Err(RemoteError::Changed {
                url: self.shown(),
                expected: expected.clone(),
                found,
            });
        }
        let size = if answer.status() == StatusCode::PARTIAL_CONTENT {
            answer.header(CONTENT_RANGE.as_str()).and_then(total_size)
        } else {
            number(answer.header(CONTENT_LENGTH.as_str()))
        };
        match size {
            Some(found) if found != self.file.size => Err(self.wrong_size(found)),
            _ => Ok(()),
        }
    }

    fn wrong_size(&self, found: u64) -> RemoteError {
        RemoteError::Size {
            url: self.shown(),
            expected: self.file.size,
            found,
        }
    }

    fn shown(&self) -> String {
        super::shown(&self.file.url)
    }

    fn lock_target(&self) -> std::sync::MutexGuard<'_, Option<Url>> {
        self.target.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is still to come of a body.
struct Chunks {
    /// Bytes that are there already.
    skip: u64,
    left: u64,
}

impl Chunks {
    /// The part of a chunk that is new.
    fn take<'c>(&mut self, chunk: &'c impl AsRef<[u8]>) -> Result<&'c [u8], Fault> {
        let chunk = chunk.as_ref();
        let skipped = usize::try_from(self.skip).map_or(chunk.len(), |skip| skip.min(chunk.len()));
        self.skip -= skipped as u64;
        let part = &chunk[skipped..];
        let expected = self.left;
        let left = self.left.checked_sub(part.len() as u64);
        self.left = left.ok_or_else(|| Fault::passing(TransferError::TooLong { expected }))?;
        Ok(part)
    }

    fn finish(&self, expected: u64) -> Result<(), Trouble> {
        if self.left == 0 {
            return Ok(());
        }
        let found = expected - self.left;
        Err(Fault::passing(TransferError::TooShort { expected, found }).into())
    }
}

/// What a refusal means for the file.
pub(super) fn refusal(
    reply: &Reply,
    shown: &str,
    visit: Option<&str>,
    has_token: bool,
) -> RemoteError {
    let url = shown.to_owned();
    let source = reply.error();
    match (reply.status.as_u16(), visit) {
        (401 | 403, Some(visit)) => RemoteError::Gated {
            url,
            visit: visit.to_owned(),
            has_token,
            source,
        },
        (401 | 403, None) => RemoteError::Denied { url, source },
        (404 | 410, _) => RemoteError::NotFound {
            url,
            what: match reply.header("x-error-code") {
                Some("RepoNotFound") => "repository",
                Some("RevisionNotFound") => "revision",
                _ => "file or folder",
            },
        },
        _ => RemoteError::Refused { url, source },
    }
}

/// The version of a file by its entity tag, or else by its date.
fn version(answer: &Answer) -> Option<String> {
    if let Some(etag) = answer.header(ETAG.as_str()) {
        return Some(bare_etag(etag));
    }
    let date = answer.header(LAST_MODIFIED.as_str())?;
    Some(format!("{BY_DATE}{date}"))
}

/// An entity tag without quotes, and without the mark of a weak one.
pub(super) fn bare_etag(etag: &str) -> String {
    let etag = etag.trim();
    let etag = etag.strip_prefix("W/").unwrap_or(etag);
    etag.trim_matches('"').to_owned()
}

fn number(text: Option<&str>) -> Option<u64> {
    text?.trim().parse().ok()
}

/// The total of a `Content-Range`, such as `bytes 0-1/9` or `bytes */9`.
fn total_size(value: &str) -> Option<u64> {
    number(value.rsplit_once('/').map(|(_, total)| total))
}

fn first_byte(value: &str) -> Option<u64> {
    let (first, _) = value.trim().strip_prefix("bytes")?.split_once('-')?;
    number(Some(first))
}
