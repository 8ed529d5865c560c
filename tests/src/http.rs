//! Plain HTTP as a prober speaks it, over a socket of its own for each request.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
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
        self.headers.iter().any(|header| *header == line)
    }
}

/// A port that nobody listens on, on the loopback.
///
/// # Panics
/// Where there is none.
pub fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").to_string()
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
