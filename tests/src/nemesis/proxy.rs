//! A network that misbehaves on demand: stands before one listener, so that everybody who reaches that listener reaches it through
//! here, and does to the bytes what the weather says. It knows no protocol: what passes may be cut, held or flipped anywhere.
//!
//! **Invariant:** under a clear sky every byte passes, in order; what was held under another weather passes when the sky clears, as TCP
//! delivers after a partition what it could not deliver in it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::time::sleep;

/// Bytes that are read at once.
const PART_BYTES: usize = 64 << 10;

/// What happens to the bytes of every connection, those that are open and new ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    /// They pass.
    Clear,
    /// Each part waits for so long before it passes.
    Delay(Duration),
    /// So many bytes pass in a second, each way of each connection.
    Throttle(u64),
    /// New connections are accepted and nothing is said on them; open ones say nothing more.
    HalfOpen,
    /// What the client says does not come through; answers do.
    NoRequests,
    /// What the server says does not come through; requests do.
    NoAnswers,
    /// The first way of a connection over which so many bytes have passed since the weather began is the end of it, by a reset.
    Reset(u64),
    /// After so many bytes since the weather began one bit is the other one, once for each way of each connection.
    Flip(u64),
}

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    ToServer,
    ToClient,
}

#[derive(Default)]
struct Counts {
    bytes: AtomicU64,
    resets: AtomicU64,
    flips: AtomicU64,
}

/// Stands before a listener until dropped.
pub struct Proxy {
    /// Where it listens.
    pub address: String,
    target: Arc<Mutex<String>>,
    sky: watch::Sender<(u64, Weather)>,
    counts: Arc<Counts>,
    /// Its connections end with it.
    _runtime: Runtime,
}

impl Proxy {
    /// Listens on a free loopback port and passes on to an address.
    ///
    /// # Panics
    /// Where it cannot listen.
    pub fn before(target: &str) -> Proxy {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a thread");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"));
        let listener = listener.expect("a free port");
        let address: SocketAddr = listener.local_addr().expect("it is bound");
        let target = Arc::new(Mutex::new(target.to_owned()));
        let (sky, seen) = watch::channel((0, Weather::Clear));
        let counts = Arc::new(Counts::default());
        runtime.spawn(accept(
            listener,
            Arc::clone(&target),
            seen,
            Arc::clone(&counts),
        ));
        Proxy {
            address: address.to_string(),
            target,
            sky,
            counts,
            _runtime: runtime,
        }
    }

    /// New connections go to another address.
    pub fn retarget(&self, target: &str) {
        target.clone_into(&mut self.target.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Another weather begins.
    pub fn set(&self, weather: Weather) {
        self.sky.send_modify(|(number, now)| {
            *number += 1;
            *now = weather;
        });
    }

    /// Bytes that passed.
    pub fn bytes(&self) -> u64 {
        self.counts.bytes.load(Relaxed)
    }

    /// Ways that were reset.
    pub fn resets(&self) -> u64 {
        self.counts.resets.load(Relaxed)
    }

    /// Bits that were flipped.
    pub fn flips(&self) -> u64 {
        self.counts.flips.load(Relaxed)
    }
}

async fn accept(
    listener: TcpListener,
    target: Arc<Mutex<String>>,
    mut sky: watch::Receiver<(u64, Weather)>,
    counts: Arc<Counts>,
) {
    while let Ok((client, _)) = listener.accept().await {
        let target = target
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let (sky, counts) = (sky.clone(), Arc::clone(&counts));
        tokio::spawn(connect(client, target, sky, counts));
    }
    // Nobody can be let in any more; those inside go on until the proxy is dropped.
    let _ = sky.changed().await;
}

async fn connect(
    client: TcpStream,
    target: String,
    mut sky: watch::Receiver<(u64, Weather)>,
    counts: Arc<Counts>,
) {
    let half_open = |(_, weather): &(u64, Weather)| *weather == Weather::HalfOpen;
    if sky.wait_for(|now| !half_open(now)).await.is_err() {
        return;
    }
    let Ok(server) = TcpStream::connect(&target).await else {
        // As a machine without a listener says.
        let _ = client.set_zero_linger();
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let pump = |from, to, way| Pump {
        from,
        to,
        way,
        sky: sky.clone(),
        counts: Arc::clone(&counts),
        number: sky.borrow().0,
        passed: 0,
        flipped: false,
    };
    let up = pump(from_client, to_server, Way::ToServer).run();
    let down = pump(from_server, to_client, Way::ToClient).run();
    tokio::select! {
        ended = up => drop(ended),
        ended = down => drop(ended),
    }
}

/// One way of a connection. When it ends, the whole connection does.
struct Pump {
    from: OwnedReadHalf,
    to: OwnedWriteHalf,
    way: Way,
    sky: watch::Receiver<(u64, Weather)>,
    counts: Arc<Counts>,
    /// Of the weather, since when.
    number: u64,
    passed: u64,
    flipped: bool,
}

impl Pump {
    fn weather(&mut self) -> Weather {
        let (number, weather) = *self.sky.borrow_and_update();
        if number != self.number {
            (self.number, self.passed, self.flipped) = (number, 0, false);
        }
        weather
    }

    /// Whether nothing passes this way.
    fn is_held(&self, weather: Weather) -> bool {
        match weather {
            Weather::HalfOpen => true,
            Weather::NoRequests => self.way == Way::ToServer,
            Weather::NoAnswers => self.way == Way::ToClient,
            _ => false,
        }
    }

    async fn run(mut self) -> std::io::Result<()> {
        let mut part = vec![0; PART_BYTES];
        loop {
            // Whoever waits to be sent is not read before the sky clears: a window that is full stays so.
            let got = self.from.read(&mut part).await?;
            if got == 0 {
                return self.to.shutdown().await;
            }
            let weather = loop {
                let weather = self.weather();
                if !self.is_held(weather) {
                    break weather;
                }
                if self.sky.changed().await.is_err() {
                    return Ok(());
                }
            };
            let part = &mut part[..got];
            match weather {
                Weather::Delay(pause) => sleep(pause).await,
                Weather::Throttle(rate) => {
                    let seconds = got as f64 / rate.max(1) as f64;
                    sleep(Duration::from_secs_f64(seconds)).await;
                }
                Weather::Reset(after) if self.passed + got as u64 > after => {
                    let keep = (after.saturating_sub(self.passed) as usize).min(got);
                    self.to.write_all(&part[..keep]).await?;
                    self.counts.resets.fetch_add(1, Relaxed);
                    let _ = self.to.as_ref().set_zero_linger();
                    let _ = self.from.as_ref().set_zero_linger();
                    return Ok(());
                }
                Weather::Flip(after) if !self.flipped && self.passed + got as u64 > after => {
                    let at = (after.saturating_sub(self.passed) as usize).min(got - 1);
                    part[at] ^= 1 << (after % 8);
                    self.flipped = true;
                    self.counts.flips.fetch_add(1, Relaxed);
                }
                _ => {}
            }
            self.to.write_all(part).await?;
            self.passed += got as u64;
            self.counts.bytes.fetch_add(got as u64, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::time::Instant;

    const SOON: Duration = Duration::from_secs(20);
    const SHORT: Duration = Duration::from_millis(150);

    /// Answers what it hears, for each connection.
    fn echo() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                std::thread::spawn(move || {
                    let mut out = stream.try_clone().unwrap();
                    let _ = std::io::copy(&mut &stream, &mut out);
                });
            }
        });
        address
    }

    fn connected(proxy: &Proxy) -> TcpStream {
        let stream = TcpStream::connect(&proxy.address).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream
    }

    fn said(stream: &mut TcpStream, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
        stream.write_all(bytes)?;
        let mut answer = vec![0; bytes.len()];
        stream.read_exact(&mut answer)?;
        Ok(answer)
    }

    #[test]
    fn bytes_pass_wait_and_pass_again() {
        let proxy = Proxy::before(&echo());
        let mut stream = connected(&proxy);
        assert_eq!(said(&mut stream, b"one").unwrap(), b"one");
        for held in [Weather::HalfOpen, Weather::NoRequests, Weather::NoAnswers] {
            proxy.set(held);
            stream.set_read_timeout(Some(SHORT)).unwrap();
            stream.write_all(b"two").unwrap();
            assert!(stream.read_exact(&mut [0; 3]).is_err(), "{held:?}");
            proxy.set(Weather::Clear);
            stream.set_read_timeout(Some(SOON)).unwrap();
            let mut late = [0; 3];
            stream.read_exact(&mut late).unwrap();
            assert_eq!(&late, b"two", "{held:?}");
        }
    }

    #[test]
    fn slow_is_slow() {
        let proxy = Proxy::before(&echo());
        let mut stream = connected(&proxy);
        for slow in [
            Weather::Delay(Duration::from_millis(60)),
            Weather::Throttle(1000),
        ] {
            proxy.set(slow);
            let began = Instant::now();
            assert_eq!(said(&mut stream, &[7; 60]).unwrap(), [7; 60]);
            assert!(began.elapsed() > Duration::from_millis(115), "{slow:?}");
        }
    }

    #[test]
    fn one_bit_is_flipped_each_way_and_one_connection_is_reset() {
        let proxy = Proxy::before(&echo());
        let mut stream = connected(&proxy);
        proxy.set(Weather::Flip(5));
        let answer = said(&mut stream, &[0; 64]).unwrap();
        // The same bit of the request and of the answer: one flip undoes the other where both are at one place.
        assert_eq!((answer, proxy.flips()), (vec![0; 64], 2));
        proxy.set(Weather::Flip(70));
        assert_eq!(said(&mut stream, &[0; 64]).unwrap(), [0; 64]);
        proxy.set(Weather::Reset(100));
        assert_eq!(said(&mut stream, &[1; 64]).unwrap(), [1; 64]);
        assert!(said(&mut stream, &[1; 64]).is_err());
        assert_eq!(proxy.resets(), 1);
        proxy.set(Weather::Clear);
        assert_eq!(said(&mut connected(&proxy), b"new").unwrap(), b"new");
    }
}
