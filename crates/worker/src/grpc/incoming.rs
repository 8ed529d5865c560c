//! The connections of a worker: only so many at once, only so many new ones a second, and a stranger who says nothing keeps nobody out.
//!
//! **Invariant:** accepting goes on whatever happens; a process that is short of files waits for better times.

use super::admission::{Admission, Seldom, Visits};
use super::lively::{Lively, Patience};
use futures::stream::{self, Stream};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Sleep, sleep};
use tonic::transport::server::{Connected, TcpConnectInfo};
use wire::settings::{CONNECTIONS_MAX, NEW_CONNECTIONS_A_SECOND, PREFACE_TIMEOUT};

/// What every client of HTTP/2 says first has this length; a TLS greeting is longer.
const PREFACE_BYTES: usize = 24;
/// The shortest pause of one that leaves connections in the backlog: a few of them are then taken at once.
const BACKLOG_PAUSE: Duration = Duration::from_millis(10);
/// The pause after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a listener bears with.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once.
    pub connections: usize,
    /// New ones that one address may make in a second.
    pub a_second: u32,
    /// How long one may say nothing before its preface.
    pub preface: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections: CONNECTIONS_MAX,
            a_second: NEW_CONNECTIONS_A_SECOND,
            preface: PREFACE_TIMEOUT,
        }
    }
}

/// The connections of a listener, without delay (the server's own setting does not reach them).
pub fn incoming(
    listener: TcpListener,
    limits: Limits,
    visits: Arc<Visits>,
) -> impl Stream<Item = io::Result<Connection>> {
    let door = Arc::new(Door {
        room: Arc::new(Semaphore::new(limits.connections)),
        limits,
        silent: Mutex::default(),
        visits,
    });
    let hall = Hall {
        listener,
        admission: Admission::new(limits.a_second),
        told: Seldom::default(),
        door,
    };
    stream::unfold(hall, |mut hall| async move {
        let (stream, from) = hall.admitted().await;
        let connection = hall.door.enter(stream, from).await;
        Some((Ok(connection), hall))
    })
}

/// Where those stand who have come and are not yet let in.
struct Hall {
    listener: TcpListener,
    admission: Admission,
    told: Seldom,
    door: Arc<Door>,
}

impl Hall {
    /// The next one within the budget.
    async fn admitted(&mut self) -> (TcpStream, SocketAddr) {
        let visits = Arc::clone(&self.door.visits);
        loop {
            let pause = self.admission.pause();
            if !pause.is_zero() {
                Visits::count(&visits.put_off);
                sleep(pause.max(BACKLOG_PAUSE)).await;
            }
            let (stream, from) = accept(&self.listener).await;
            if self.admission.admits(from.ip()) {
                Visits::count(&visits.admitted);
                return (stream, from);
            }
            Visits::count(&visits.refused);
            // By a reset: an orderly end would cost the kernel a minute's memory.
            let _ = stream.set_zero_linger();
            if let Some(more) = self.told.now() {
                let most = self.door.limits.a_second;
                tracing::warn!(
                    "{} makes more than {most} connections a second: those beyond are closed at once{more}",
                    from.ip()
                );
            }
        }
    }
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
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
    limits: Limits,
    silent: Mutex<Silent>,
    visits: Arc<Visits>,
}

/// Connections that have not said their preface, the oldest first.
#[derive(Default)]
struct Silent {
    next: u64,
    of: BTreeMap<u64, (SocketAddr, oneshot::Sender<()>)>,
    told: Seldom,
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
        // Who is gone already is told so when he is read.
        let _ = stream.set_nodelay(true);
        self.visits.open.fetch_add(1, Relaxed);
        let (turn_away, turned_away) = oneshot::channel();
        let mut silent = self.silent();
        let number = silent.next;
        silent.next += 1;
        silent.of.insert(number, (from, turn_away));
        drop(silent);
        Connection {
            stream: Lively::new(stream, Patience::OfSessions),
            silence: Some(Silence {
                door: Arc::clone(self),
                number,
                from,
                turned_away,
                until: Box::pin(sleep(self.limits.preface)),
                left: PREFACE_BYTES,
            }),
            door: Arc::clone(self),
            _room: room,
        }
    }

    fn make_room(&self, newcomer: SocketAddr) {
        let open = self.limits.connections;
        let mut silent = self.silent();
        let (oldest, told) = (silent.of.pop_first(), silent.told.now());
        drop(silent);
        if let Some((_, (from, turn_away))) = oldest {
            if let Some(more) = told {
                tracing::warn!(
                    "{open} connections are open: the one from {from}, which has said nothing, is closed for {newcomer}{more}"
                );
            }
            // It may have ended by itself.
            let _ = turn_away.send(());
        } else if let Some(more) = told {
            tracing::warn!(
                "{open} connections are open and in use: {newcomer} waits until one of them ends{more}"
            );
        }
    }

    /// Tells of a stranger, unless others were just told of.
    fn tell(&self, what: impl FnOnce() -> String) {
        let told = self.silent().told.now();
        if let Some(more) = told {
            tracing::info!("{}{more}", what());
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
            let (from, after) = (self.from, self.door.limits.preface);
            let said =
                || format!("the connection from {from} has said nothing for {after:?}: closed");
            self.door.tell(said);
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
    stream: Lively<TcpStream>,
    silence: Option<Silence>,
    door: Arc<Door>,
    _room: OwnedSemaphorePermit,
}

impl Connection {
    /// Where to tell what became of it, once it is no more.
    pub(super) fn teller(&self) -> Teller {
        Teller(Arc::clone(&self.door))
    }
}

/// Tells the log of strangers, of a few at the most.
pub(super) struct Teller(Arc<Door>);

impl Teller {
    pub(super) fn tell(&self, what: impl FnOnce() -> String) {
        self.0.tell(what);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.door.visits.open.fetch_sub(1, Relaxed);
    }
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.stream.stream().connect_info()
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
