//! Requests and answers: redirects, the token, and faults told apart.
//!
//! Every request of every kind of source goes through here.

use std::error::Error;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, RANGE};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, NoProxy, Proxy, Request, Response, StatusCode, Url};

use super::patience::{Fault, GaveUp, Hope, Patience, is_passing, pause_asked};
use super::{RemoteError, RemoteOptions, TransferError, TransferOptions};

/// Longest answer that is held in memory, apart from the files themselves.
const MAX_ANSWER_LEN: usize = 64 << 20;
const MAX_REDIRECTS: usize = 10;

/// The network client.
#[derive(Debug)]
pub(super) struct Transport {
    client: Client,
    pub(super) options: TransferOptions,
    token: Option<Token>,
    /// Whether any host has answered yet.
    was_reached: AtomicBool,
}

#[derive(Debug)]
struct Token {
    endpoint: Url,
    header: HeaderValue,
}

/// A request for a file or a part of it.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) range: Option<Range<u64>>,
}

impl Ask {
    pub(super) fn get(url: Url) -> Self {
        Self {
            method: Method::GET,
            url,
            range: None,
        }
    }
}

/// The head of an answer; its body is still to come.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) response: Response,
    /// Where it came from in the end.
    pub(super) url: Url,
    /// Version of the file as the hub says it where it redirects to the bytes.
    pub(super) linked_etag: Option<String>,
}

impl Answer {
    pub(super) fn status(&self) -> StatusCode {
        self.response.status()
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok()
    }
}

/// A whole answer.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Transport {
    /// Sets up the client; `endpoint` is the only origin that the token goes to.
    pub(super) fn new(options: &RemoteOptions, endpoint: &Url) -> Result<Self, RemoteError> {
        let set_up = |error: reqwest::Error| RemoteError::Client(error.into());
        // Fails when the process has a provider already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = Client::builder()
            .user_agent(concat!("stablelm-data/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .retry(reqwest::retry::never())
            .connect_timeout(options.transfer.connect_timeout)
            .read_timeout(options.transfer.idle_timeout)
            // Otherwise the proxies of the environment would be used.
            .no_proxy();
        if let Some(url) = options.setting("proxy_url") {
            let excludes = options.setting("proxy_excludes").unwrap_or_default();
            let proxy = Proxy::all(url).map_err(set_up)?;
            builder = builder.proxy(proxy.no_proxy(NoProxy::from_string(excludes)));
        }
        let token = options
            .hf_token
            .as_deref()
            .filter(|token| !token.is_empty());
        let token = token.and_then(|token| {
            // A token that fits in no header is as good as none.
            let mut header = HeaderValue::from_str(&format!("Bearer {}", token.trim())).ok()?;
            header.set_sensitive(true);
            let endpoint = endpoint.clone();
            Some(Token { endpoint, header })
        });
        Ok(Self {
            client: builder.build().map_err(set_up)?,
            options: options.transfer.clone(),
            token,
            was_reached: AtomicBool::new(false),
        })
    }

    pub(super) fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// Sends a request once and follows redirects; statuses that will not pass are answers.
    pub(super) async fn ask(&self, ask: &Ask) -> Result<Answer, Fault> {
        let mut url = ask.url.clone();
        let mut linked_etag = None;
        for _ in 0..=MAX_REDIRECTS {
            // The builder turns a name and password in the address into a header.
            let request = self.client.request(ask.method.clone(), url.clone()).build();
            let mut request = request.map_err(|error| self.fault(error))?;
            if let Some(token) = &self.token
                && token.endpoint.origin() == url.origin()
            {
                request
                    .headers_mut()
                    .insert(AUTHORIZATION, token.header.clone());
            }
            if let Some(range) = &ask.range {
                let value = format!("bytes={}-{}", range.start, range.end.saturating_sub(1));
                let value = HeaderValue::from_str(&value).expect("digits fit in a header");
                request.headers_mut().insert(RANGE, value);
            }
            let response = self.send(request).await?;
            if !is_redirect(response.status()) {
                return Ok(Answer {
                    response,
                    url,
                    linked_etag,
                });
            }
            let headers = response.headers();
            let linked = headers
                .get("x-linked-etag")
                .and_then(|etag| etag.to_str().ok());
            linked_etag = linked_etag.or_else(|| linked.map(str::to_owned));
            url = redirect_target(&url, headers)
                .map_err(|what| Fault::lasting(TransferError::Redirect { what }))?;
        }
        let what = "more than ten times";
        Err(Fault::lasting(TransferError::Redirect { what }))
    }

    /// Sends a request until an answer begins.
    pub(super) async fn open(&self, ask: &Ask) -> Result<Answer, GaveUp> {
        let mut patience = Patience::new(&self.options);
        loop {
            match self.ask(ask).await {
                Ok(answer) => return Ok(answer),
                Err(fault) => patience.wait(fault).await?,
            }
        }
    }

    /// Sends a request until a whole answer is there.
    pub(super) async fn whole(&self, ask: &Ask) -> Result<Reply, GaveUp> {
        let mut patience = Patience::new(&self.options);
        loop {
            let reply = match self.ask(ask).await {
                Ok(answer) => self.read(answer.response).await,
                Err(fault) => Err(fault),
            };
            match reply {
                Ok(reply) => return Ok(reply),
                Err(fault) => patience.wait(fault).await?,
            }
        }
    }

    /// Sends a request as it stands, once: no redirects, no token.
    pub(super) async fn send(&self, request: Request) -> Result<Response, Fault> {
        let sent = self.client.execute(request).await;
        let response = sent.map_err(|error| self.fault(error))?;
        self.was_reached.store(true, Ordering::Relaxed);
        if is_passing(response.status()) {
            return Err(status_fault(response).await);
        }
        Ok(response)
    }

    pub(super) async fn read(&self, mut response: Response) -> Result<Reply, Fault> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.fault(error))? {
            if body.len() + chunk.len() > MAX_ANSWER_LEN {
                let expected = MAX_ANSWER_LEN as u64;
                return Err(Fault::lasting(TransferError::TooLong { expected }));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Reply {
            status: response.status(),
            headers: response.headers().clone(),
            body,
        })
    }

    /// Tells apart what may pass from what won't.
    pub(super) fn fault(&self, error: reqwest::Error) -> Fault {
        let was_reached = self.was_reached.load(Ordering::Relaxed);
        let hope = if error.is_builder() || is_tls(&error) {
            Hope::None
        } else if error.is_connect() && !was_reached {
            Hope::Little
        } else {
            Hope::Good
        };
        let cause = if error.is_timeout() {
            let limit = if error.is_connect() {
                self.options.connect_timeout
            } else {
                self.options.idle_timeout
            };
            TransferError::TimedOut { limit }
        } else {
            TransferError::Connection(error.into())
        };
        let pause = None;
        Fault { cause, hope, pause }
    }
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

fn redirect_target(from: &Url, headers: &HeaderMap) -> Result<Url, &'static str> {
    let location = headers.get(LOCATION).and_then(|value| value.to_str().ok());
    let location = location.ok_or("without saying where to")?;
    let target = from
        .join(location)
        .map_err(|_| "to an unreadable address")?;
    match (from.scheme(), target.scheme()) {
        ("https", "http") => Err("from https to http"),
        (_, "http" | "https") => Ok(target),
        _ => Err("to something that is not http"),
    }
}

/// Whether it is the encryption that failed: a wrong certificate stays wrong.
fn is_tls(error: &reqwest::Error) -> bool {
    let mut cause: Option<&(dyn Error + 'static)> = error.source();
    while let Some(error) = cause {
        if error.is::<rustls::Error>() {
            return true;
        }
        cause = match error.downcast_ref::<std::io::Error>() {
            // It does not count what it holds as its cause.
            Some(error) => error.get_ref().map(|held| held as &(dyn Error + 'static)),
            None => error.source(),
        };
    }
    false
}

/// What a refusal that may pass says.
async fn status_fault(response: Response) -> Fault {
    let refusal = read_refusal(response).await;
    Fault {
        pause: pause_asked(&refusal.headers),
        ..Fault::passing(refusal.error())
    }
}

/// Reads the start of a refusal; a broken one is still a refusal.
pub(super) async fn read_refusal(mut response: Response) -> Reply {
    const MAX_LEN: usize = 4096;
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        body.extend_from_slice(&chunk[..chunk.len().min(MAX_LEN)]);
        if body.len() > MAX_LEN {
            break;
        }
    }
    Reply {
        status: response.status(),
        headers: response.headers().clone(),
        body,
    }
}

impl Reply {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// What a refusal says, in one line.
    pub(super) fn error(&self) -> TransferError {
        const MAX_LEN: usize = 300;
        let kind = self.header(CONTENT_TYPE.as_str()).unwrap_or_default();
        let body = String::from_utf8_lossy(&self.body);
        let message = match self.header("x-error-message") {
            Some(message) => message,
            // Pages are made for browsers.
            None if kind.starts_with("text/html") => "",
            None => body
                .lines()
                .find(|line| !line.trim().is_empty())
                .unwrap_or_default(),
        };
        // What is shown on a terminal has no control characters.
        let message = message.trim().chars().filter(|c| !c.is_control());
        TransferError::Status {
            status: self.status.as_u16(),
            message: message.take(MAX_LEN).collect(),
        }
    }
}
