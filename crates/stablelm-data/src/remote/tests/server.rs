//! A small HTTP/1.1 server on this machine that fails as it is told to.

use std::collections::HashMap;
use std::fmt::Display;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// A request as it came.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) method: String,
    /// Path and query.
    pub(super) target: String,
    /// By names in lower case.
    pub(super) headers: HashMap<String, String>,
    /// How many requests for this very target came before.
    pub(super) before: usize,
}

impl Asked {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// The range asked for, cut to the length of the file.
    pub(super) fn range(&self, len: usize) -> Option<(usize, usize)> {
        let (first, last) = self
            .header("range")
            .strip_prefix("bytes=")?
            .split_once('-')?;
        let last = last.parse().unwrap_or(usize::MAX);
        Some((first.parse().unwrap(), len.min(last.saturating_add(1))))
    }
}

/// An answer, and what goes wrong with it.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    /// Breaks the connection off after so many bytes of the body.
    pub(super) cut: Option<usize>,
    /// Stays silent before the body.
    pub(super) pause: Duration,
}

pub(super) fn told(status: u16, body: impl Into<Vec<u8>>) -> Told {
    Told {
        status,
        body: body.into(),
        ..Told::default()
    }
}

impl Told {
    pub(super) fn with(mut self, name: &str, value: impl Display) -> Self {
        self.headers.push((name.to_owned(), format!("{value}")));
        self
    }

    pub(super) fn cut(mut self, after: usize) -> Self {
        self.cut = Some(after);
        self
    }

    pub(super) fn pause(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }
}

/// A file as a good server gives it, in ranges.
pub(super) fn file(asked: &Asked, bytes: &[u8], etag: &str) -> Told {
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

/// The server; it stops when dropped.
pub(super) struct Server {
    address: SocketAddr,
    log: Arc<Mutex<Vec<Asked>>>,
    is_stopped: Arc<AtomicBool>,
}

impl Server {
    pub(super) fn new(handler: impl Fn(&Asked) -> Told + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
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
                thread::spawn(move || serve(&stream.unwrap(), &*handler, &log).ok());
            }
        });
        server
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(super) fn log(&self) -> Vec<Asked> {
        self.log.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.is_stopped.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
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
        let (method, target) = (words.next().unwrap(), words.next().unwrap());
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
            let mut log = log.lock().unwrap();
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
