//! A small HTTP/1.1 server on this machine that fails as it is told to.
//!
//! It knows `HEAD` and `GET` without bodies, keeps connections open, and hands every request to a
//! function, which may let the answer break off or come late.
//!
//! ```
//! use std::io::{Read, Write};
//! use stablelm_testkit::http_server::{Server, file};
//!
//! let server = Server::new(|asked| file(asked, b"text", "v1"));
//! let address = server.url("").replace("http://", "");
//! let mut stream = std::net::TcpStream::connect(address).unwrap();
//! stream.write_all(b"GET /x HTTP/1.1\r\nrange: bytes=1-2\r\n\r\n").unwrap();
//! stream.shutdown(std::net::Shutdown::Write).unwrap();
//! let mut answer = String::new();
//! stream.read_to_string(&mut answer).unwrap();
//! assert!(answer.ends_with("content-range: bytes 1-2/4\r\ncontent-length: 2\r\n\r\nex"));
//! assert_eq!(server.log()[0].target, "/x");
//! ```

use std::collections::HashMap;
use std::fmt::Display;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    /// `GET` or `HEAD`.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// By names in lower case.
    pub headers: HashMap<String, String>,
    /// How many requests for this very target came before.
    pub before: usize,
}

impl Asked {
    /// A header by its name in lower case; empty when it did not come.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// The range asked for, cut to the length of the file.
    pub fn range(&self, len: usize) -> Option<(usize, usize)> {
        let (first, last) = self
            .header("range")
            .strip_prefix("bytes=")?
            .split_once('-')?;
        let last = last.parse().unwrap_or(usize::MAX);
        Some((first.parse().ok()?, len.min(last.saturating_add(1))))
    }
}

/// An answer, and what goes wrong with it.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Told {
    /// The status code.
    pub status: u16,
    /// Headers in order; the length is added where it is not among them.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// Breaks the connection off after so many bytes of the body.
    pub cut: Option<usize>,
    /// Stays silent before the body.
    pub pause: Duration,
}

/// An answer without headers and without trouble.
pub fn told(status: u16, body: impl Into<Vec<u8>>) -> Told {
    Told {
        status,
        body: body.into(),
        ..Told::default()
    }
}

impl Told {
    /// The same with a header.
    pub fn with(mut self, name: &str, value: impl Display) -> Self {
        self.headers.push((name.to_owned(), format!("{value}")));
        self
    }

    /// The same, broken off after so many bytes of the body.
    pub fn cut(mut self, after: usize) -> Self {
        self.cut = Some(after);
        self
    }

    /// The same after a silence.
    pub fn pause(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }
}

/// A file as a good server gives it, in ranges; an empty `etag` is left out.
pub fn file(asked: &Asked, bytes: &[u8], etag: &str) -> Told {
    let (status, range) = match asked.range(bytes.len()) {
        None => (200, (0, bytes.len())),
        Some((first, _)) if first >= bytes.len() => {
            return told(416, "").with("content-range", format!("bytes */{}", bytes.len()));
        }
        Some(range) => (206, range),
    };
    let mut answer = told(status, &bytes[range.0..range.1]);
    if !etag.is_empty() {
        answer = answer.with("etag", format!("\"{etag}\""));
    }
    if status == 206 {
        let value = format!("bytes {}-{}/{}", range.0, range.1 - 1, bytes.len());
        answer = answer.with("content-range", value);
    }
    answer
}

type Handler = dyn Fn(&Asked) -> Told + Send + Sync;

/// The server; it takes no more connections once it is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    log: Arc<Mutex<Vec<Asked>>>,
    is_stopped: Arc<AtomicBool>,
}

impl Server {
    /// Starts a server on a free port that answers as `handler` says.
    pub fn new(handler: impl Fn(&Asked) -> Told + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("this machine has free ports");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let handler: Arc<Handler> = Arc::new(handler);
        let (log, is_stopped) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let server = Self {
            address,
            log: Arc::clone(&log),
            is_stopped: Arc::clone(&is_stopped),
        };
        thread::spawn(move || {
            for stream in listener.incoming() {
                if is_stopped.load(Ordering::Relaxed) {
                    break;
                }
                let (handler, log) = (Arc::clone(&handler), Arc::clone(&log));
                // A client that goes away ends its connection, nothing else.
                thread::spawn(move || serve(&stream?, &*handler, &log));
            }
        });
        server
    }

    /// The address of `path`, which begins with a slash.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Every request so far.
    pub fn log(&self) -> Vec<Asked> {
        lock(&self.log).clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.is_stopped.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

/// A handler that panics, as a failed assertion does, ends its own connection.
fn lock(log: &Mutex<Vec<Asked>>) -> MutexGuard<'_, Vec<Asked>> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(stream: &TcpStream, handler: &Handler, log: &Mutex<Vec<Asked>>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    let mut writer = stream;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let mut words = line.split(' ').map(str::to_owned);
        let (Some(method), Some(target)) = (words.next(), words.next()) else {
            return Err(std::io::ErrorKind::InvalidData.into());
        };
        let mut headers = HashMap::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            match line.trim().split_once(':') {
                Some((name, value)) => {
                    headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
                }
                None => break,
            }
        }
        let asked = {
            let mut log = lock(log);
            let before = log
                .iter()
                .filter(|earlier| earlier.target == target)
                .count();
            let asked = Asked {
                method,
                target,
                headers,
                before,
            };
            log.push(asked.clone());
            asked
        };
        let answer = handler(&asked);
        let mut head = format!("HTTP/1.1 {} -\r\n", answer.status);
        for (name, value) in &answer.headers {
            head += &format!("{name}: {value}\r\n");
        }
        if !answer
            .headers
            .iter()
            .any(|(name, _)| name == "content-length")
        {
            head += &format!("content-length: {}\r\n", answer.body.len());
        }
        writer.write_all(format!("{head}\r\n").as_bytes())?;
        thread::sleep(answer.pause);
        if asked.method == "HEAD" {
            continue;
        }
        let end = answer
            .cut
            .map_or(answer.body.len(), |cut| cut.min(answer.body.len()));
        writer.write_all(&answer.body[..end])?;
        if answer.cut.is_some() {
            return stream.shutdown(std::net::Shutdown::Both);
        }
    }
}
