//! Plain HTTP as a prober speaks it, over a socket of its own for each request.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// As in 200.
    pub code: u16,
    /// Lines, lower case.
    pub headers: Vec<String>,
    /// What it says.
    pub body: String,
}

impl Answer {
    /// Whether a header has a value.
    pub fn has(&self, name: &str, value: &str) -> bool {
        let line = format!("{name}: {value}");
        self.headers.contains(&line)
    }
}

/// Ports below those that systems give to connections, so that no connection takes one before its listener is there.
const PORTS: Range<u32> = 20_000..32_000;
/// How many were given out.
static GIVEN: AtomicU32 = AtomicU32::new(0);

/// A port that nobody listens on, on the loopback, given out once.
///
/// # Panics
/// Where there is none.
pub fn free_address() -> String {
    let first = std::process::id().wrapping_mul(97);
    let mut ports = PORTS.map(|_| {
        let port = first.wrapping_add(GIVEN.fetch_add(1, Relaxed));
        format!("127.0.0.1:{}", PORTS.start + port % PORTS.len() as u32)
    });
    let free = ports.find(|address| TcpListener::bind(address).is_ok());
    free.expect("a free port")
}

fn connected(address: &str) -> Option<TcpStream> {
    let stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    Some(stream)
}

/// Asks, and reads to the end. `None`: nobody listens, or the answer breaks off.
pub fn ask(address: &str, method: &str, path: &str, more: &str) -> Option<Answer> {
    let mut stream = connected(address)?;
    let request = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\n{more}\r\n");
    // A server that says no early may close before it has read all.
    let _ = stream.write_all(request.as_bytes());
    let mut text = Vec::new();
    let _ = stream.read_to_end(&mut text);
    let text = String::from_utf8_lossy(&text).into_owned();
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let code = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    Some(Answer {
        code,
        headers: lines.map(str::to_lowercase).collect(),
        body: body.to_owned(),
    })
}

/// `GET`.
pub fn get(address: &str, path: &str) -> Option<Answer> {
    ask(address, "GET", path, "")
}

/// The `data:` lines of a stream of events, as they come, until it ends.
pub fn events(address: &str, path: &str) -> Option<impl Iterator<Item = String> + use<>> {
    let mut stream = connected(address)?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let lines = BufReader::new(stream).lines().map_while(Result::ok);
    Some(lines.filter_map(|line| line.strip_prefix("data: ").map(str::to_owned)))
}
