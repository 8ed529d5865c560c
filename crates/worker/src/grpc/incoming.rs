//! The connections of a worker: only so many at once, and a stranger who says nothing keeps nobody out.
//!
//! **Invariant:** accepting goes on whatever happens; a process that is short of files waits for better times.

use futures::stream::{self, Stream};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Sleep, sleep};
use tonic::transport::server::{Connected, TcpConnectInfo};
use wire::settings::{CONNECTIONS_MAX, PREFACE_TIMEOUT};

/// What every client of HTTP/2 says first has this length; a TLS greeting is longer.
const PREFACE_BYTES: usize = 24;
/// The pause after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The connections of a listener, without delay (the server's own setting does not reach them).
pub fn incoming(listener: TcpListener) -> impl Stream<Item = io::Result<Connection>> {
    limited(listener, CONNECTIONS_MAX, PREFACE_TIMEOUT)
}

/// As [`incoming`], with limits of the caller's.
pub fn limited(
    listener: TcpListener,
    connections_max: usize,
    preface_timeout: Duration,
) -> impl Stream<Item = io::Result<Connection>> {
    let door = Arc::new(Door {
        room: Arc::new(Semaphore::new(connections_max)),
        connections_max,
        preface_timeout,
        silent: Mutex::default(),
    });
    stream::unfold((listener, door), |(listener, door)| async move {
        let (stream, from) = accept(&listener).await;
        let connection = door.enter(stream, from).await;
        Some((Ok(connection), (listener, door)))
    })
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        let accepted = listener.accept().await;
        let undelayed = accepted.and_then(|(stream, from)| {
            stream.set_nodelay(true)?;
            Ok((stream, from))
        });
        match undelayed {
            Ok(accepted) => return accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Who is inside.
struct Door {
    room: Arc<Semaphore>,
    connections_max: usize,
    preface_timeout: Duration,
    silent: Mutex<Silent>,
}

/// Connections that have not said their preface, the oldest first.
#[derive(Default)]
struct Silent {
    next: u64,
    of: BTreeMap<u64, (SocketAddr, oneshot::Sender<()>)>,
}

impl Door {
    fn silent(&self) -> MutexGuard<'_, Silent> {
        self.silent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a connection in as soon as there is room. The longest silent of the others has to leave for it; where
    /// all of them talk, it waits, and those behind it wait in the backlog of the listener.
    async fn enter(self: &Arc<Self>, stream: TcpStream, from: SocketAddr) -> Connection {
        let room = if let Ok(room) = Arc::clone(&self.room).try_acquire_owned() {
            room
        } else {
            self.make_room(from);
            let room = Arc::clone(&self.room).acquire_owned().await;
            room.expect("nobody closes the semaphore")
        };
        let (turn_away, turned_away) = oneshot::channel();
        let mut silent = self.silent();
        let number = silent.next;
        silent.next += 1;
        silent.of.insert(number, (from, turn_away));
        drop(silent);
        Connection {
            stream,
            silence: Some(Silence {
                door: Arc::clone(self),
                number,
                from,
                turned_away,
                until: Box::pin(sleep(self.preface_timeout)),
                left: PREFACE_BYTES,
            }),
            _room: room,
        }
    }

    fn make_room(&self, newcomer: SocketAddr) {
        let open = self.connections_max;
        let oldest = self.silent().of.pop_first();
        if let Some((_, (from, turn_away))) = oldest {
            tracing::warn!(
                "{open} connections are open: the one from {from}, which has said nothing, is closed for {newcomer}"
            );
            // It may have ended by itself.
            let _ = turn_away.send(());
        } else {
            tracing::warn!(
                "{open} connections are open and in use: {newcomer} waits until one of them ends"
            );
        }
    }
}

/// What a connection is until it has said its preface.
struct Silence {
    door: Arc<Door>,
    number: u64,
    from: SocketAddr,
    turned_away: oneshot::Receiver<()>,
    until: Pin<Box<Sleep>>,
    /// Bytes of the preface that have not come.
    left: usize,
}

impl Silence {
    /// An error where it has lasted too long, or was ended for another's sake.
    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if Pin::new(&mut self.turned_away).poll(cx).is_ready() {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "turned away"));
        }
        if self.until.as_mut().poll(cx).is_ready() {
            let after = self.door.preface_timeout;
            tracing::info!(
                "the connection from {} has said nothing for {after:?}: closed",
                self.from
            );
            return Err(io::Error::new(io::ErrorKind::TimedOut, "nothing was said"));
        }
        Ok(())
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        self.door.silent().of.remove(&self.number);
    }
}

/// A connection that was let in; leaves its room to another when dropped.
pub struct Connection {
    stream: TcpStream,
    silence: Option<Silence>,
    _room: OwnedSemaphorePermit,
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(silence) = &mut self.silence {
            silence.check(cx)?;
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let came = buf.filled().len() - before;
        if let Some(silence) = &mut self.silence {
            silence.left = silence.left.saturating_sub(came);
            if silence.left == 0 {
                self.silence = None;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
