//! A server on this machine that plays the Hugging Face hub: redirects to another path for large files, ranges, gated
//! repositories, connections that drop.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use sha2::{Digest as _, Sha256};

/// The commit that every repository is at.
pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// What the server has and how it behaves.
#[derive(Default)]
pub(crate) struct Hub {
    /// Files by `org/name` and by name.
    pub(crate) repositories: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
    /// Repositories whose files need this token.
    pub(crate) gated: BTreeMap<String, String>,
    /// How often a large file's connection is still to be dropped half way.
    pub(crate) drops: usize,
    /// How often an answer is still to be "503 Service Unavailable".
    pub(crate) refusals: usize,
    /// Whether ranges of large files are ignored, as some proxies do.
    pub(crate) ignores_ranges: bool,
    /// Whether large files come with a bit flipped.
    pub(crate) damages: bool,
    /// Every request line so far, with its range.
    pub(crate) requests: Vec<String>,
}

/// A running server.
pub(crate) struct HubServer {
    pub(crate) endpoint: String,
    hub: Arc<Mutex<Hub>>,
}

impl HubServer {
    pub(crate) fn start(hub: Hub) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let hub = Arc::new(Mutex::new(hub));
        let shared = Arc::clone(&hub);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                // A client that goes away in the middle is part of the play.
                thread::spawn(move || drop(serve(stream, &shared)));
            }
        });
        Self { endpoint, hub }
    }

    pub(crate) fn hub(&self) -> MutexGuard<'_, Hub> {
        self.hub.lock().unwrap()
    }
}

/// What a client asks for.
#[derive(Default)]
struct Request {
    path: String,
    host: String,
    token: Option<String>,
    start: usize,
    end: Option<usize>,
}

fn read_request(stream: &TcpStream) -> std::io::Result<Request> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    let mut request = Request {
        path: first.split(' ').nth(1).unwrap_or("/").to_owned(),
        ..Request::default()
    };
    for line in lines {
        let line = line?;
        let Some((name, value)) = line.split_once(": ") else {
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "host" => value.clone_into(&mut request.host),
            "authorization" => {
                request.token = value.strip_prefix("Bearer ").map(str::to_owned);
            }
            "range" => {
                let range = value.strip_prefix("bytes=").unwrap_or("0-");
                let (start, end) = range.split_once('-').unwrap();
                request.start = start.parse().unwrap();
                request.end = end.parse().ok();
            }
            _ => {}
        }
    }
    Ok(request)
}

fn serve(mut stream: TcpStream, hub: &Mutex<Hub>) -> std::io::Result<()> {
    let request = read_request(&stream)?;
    let answer = {
        let mut hub = hub.lock().unwrap();
        let Request { path, start, .. } = &request;
        hub.requests.push(format!("{path} from {start}"));
        hub.answer(&request)
    };
    stream.write_all(answer.head.as_bytes())?;
    stream.write_all(&answer.body)
}

/// What goes back; `head` may promise more than `body` holds.
struct Answer {
    head: String,
    body: Vec<u8>,
}

impl Hub {
    fn answer(&mut self, request: &Request) -> Answer {
        if self.refusals > 0 {
            self.refusals -= 1;
            return status("503 Service Unavailable");
        }
        if let Some(rest) = request.path.strip_prefix("/api/models/") {
            let repository = rest.split("/revision/").next().unwrap();
            return self.describe(repository);
        }
        if let Some(rest) = request.path.strip_prefix("/large/") {
            let (repository, file) = rest.rsplit_once('/').unwrap();
            return self.large(repository, file, request);
        }
        let Some((repository, rest)) = request.path[1..].split_once("/resolve/") else {
            return status("404 Not Found");
        };
        let file = rest.rsplit('/').next().unwrap();
        let Some(bytes) = self
            .repositories
            .get(repository)
            .and_then(|files| files.get(file))
        else {
            return status("404 Not Found");
        };
        if let Some(needed) = self.gated.get(repository) {
            match &request.token {
                None => return status("401 Unauthorized"),
                Some(token) if token != needed => return status("403 Forbidden"),
                Some(_) => {}
            }
        }
        let mut headers = format!("X-Repo-Commit: {COMMIT}\r\n");
        if file.ends_with(".safetensors") {
            let hash = Sha256::digest(bytes)
                .iter()
                .fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
            write!(
                headers,
                "X-Linked-Etag: \"{hash}\"\r\nX-Linked-Size: {}\r\nLocation: http://{}/large/{repository}/{file}\r\n",
                bytes.len(),
                request.host,
            )
            .unwrap();
            return Answer {
                head: format!(
                    "HTTP/1.1 302 Found\r\n{headers}Content-Length: 0\r\nConnection: close\r\n\r\n"
                ),
                body: Vec::new(),
            };
        }
        write!(headers, "ETag: \"{:040x}\"\r\n", bytes.len()).unwrap();
        partial(bytes, request, &headers)
    }

    fn describe(&self, repository: &str) -> Answer {
        let Some(files) = self.repositories.get(repository) else {
            return status("401 Unauthorized");
        };
        let siblings: Vec<_> = files
            .keys()
            .map(|name| serde_json::json!({ "rfilename": name }))
            .collect();
        let body = serde_json::json!({ "sha": COMMIT, "siblings": siblings }).to_string();
        Answer {
            head: format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            ),
            body: body.into_bytes(),
        }
    }

    fn large(&mut self, repository: &str, file: &str, request: &Request) -> Answer {
        let mut bytes = self.repositories[repository][file].clone();
        if self.damages {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
        }
        // The first byte alone is how a client asks for the size.
        let asks_size = request.end == Some(0);
        let mut answer = if self.ignores_ranges && !asks_size {
            Answer {
                head: format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    bytes.len()
                ),
                body: bytes,
            }
        } else {
            partial(&bytes, request, "")
        };
        if self.drops > 0 && !asks_size {
            self.drops -= 1;
            answer.body.truncate(answer.body.len() / 2);
        }
        answer
    }
}

fn partial(bytes: &[u8], request: &Request, headers: &str) -> Answer {
    let last = bytes.len() - 1;
    let end = request.end.unwrap_or(last).min(last);
    let Some(body) = bytes.get(request.start..=end) else {
        return status("416 Range Not Satisfiable");
    };
    Answer {
        head: format!(
            "HTTP/1.1 206 Partial Content\r\n{headers}Content-Range: bytes {}-{end}/{}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            request.start,
            bytes.len(),
            body.len()
        ),
        body: body.to_vec(),
    }
}

fn status(status: &str) -> Answer {
    Answer {
        head: format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
        body: Vec::new(),
    }
}
