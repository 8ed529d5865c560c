//! A worker that computes something else than others: the real one, whose memory turns a bit of what it pulls of its peers, or loses
//! some of it, after all checks.

use exec::{Held, Simd, SpareBuffers};
use futures::future::BoxFuture;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use store::{AlignedBuf, Cache, IoMode};
use tokio::runtime::Runtime;
use wire::settings::{server, service};
use wire::{Peer, Pull};
use worker::grpc::{GrpcDialer, Service, tcp};
use worker::receiving::Receiving;
use worker::{Dialer, PeerLink, PullError, Settings, Threads, Worker};

/// What becomes of what is pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// A bit of it is turned: most ops compute with it.
    Turned,
    /// It ends within its second number: ops panic at it.
    Torn,
}

/// A dialer whose pulls end with other bytes than came.
pub struct Lying<D>(pub D, pub Lie);

struct LyingLink(Arc<dyn PeerLink>, Lie);

impl<D: Dialer> Dialer for Lying<D> {
    fn receiving(&self) -> Option<&Receiving> {
        self.0.receiving()
    }

    fn peer(&self, peer: &Peer) -> Arc<dyn PeerLink> {
        Arc::new(LyingLink(self.0.peer(peer), self.1))
    }
}

impl PeerLink for LyingLink {
    fn pull(
        &self,
        pull: Pull,
        spare: &Arc<SpareBuffers>,
    ) -> BoxFuture<'static, Result<Held, PullError>> {
        let (pulling, lie) = (self.0.pull(pull, spare), self.1);
        Box::pin(async move {
            let held = pulling.await?;
            Ok(match lie {
                Lie::Turned => turned(held),
                Lie::Torn => torn(held),
            })
        })
    }
}

/// With a bit of its first number turned; numbers have four bytes.
fn turned(held: Held) -> Held {
    let width = held.row_bytes() as usize / 4;
    let bytes = held.whole().expect("what came is in memory");
    let mut values: Vec<f32> = bytes
        .as_chunks()
        .0
        .iter()
        .map(|bytes| f32::from_le_bytes(*bytes))
        .collect();
    let Some(first) = values.first_mut().filter(|_| width > 0) else {
        return held;
    };
    *first = f32::from_bits(first.to_bits() ^ (1 << 20));
    Held::from_rows(&values, width)
}

/// The first six of its bytes.
fn torn(held: Held) -> Held {
    let bytes = held.whole().expect("what came is in memory");
    Held::Memory {
        buffer: Arc::new(AlignedBuf::copy_of(&bytes[..bytes.len().min(6)])),
        row_bytes: held.row_bytes(),
    }
}

/// A lying worker that listens in this process until it is dropped.
pub struct Liar {
    /// Where it listens.
    pub address: String,
    runtime: Option<Runtime>,
}

impl Liar {
    /// Starts it with its cache in a folder.
    ///
    /// # Panics
    /// Where it cannot listen.
    pub fn start(data: &Path, memory_bytes: u64, lie: Lie) -> Liar {
        let runtime = Runtime::new().expect("a runtime");
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address: SocketAddr = free.local_addr().expect("it has one");
        drop(free);
        let cache = Cache::open_unsynced(data, 1 << 30, IoMode::Pread).expect("a cache");
        let settings = Settings {
            threads: 1,
            memory_bytes,
            lanes: 2,
            simd: Simd::detect(),
        };
        let serving = async move {
            let dialer = Lying(GrpcDialer::new(tcp(), memory_bytes), lie);
            let threads = Threads::start(1, 2).expect("threads");
            let worker = Worker::new(
                settings,
                Arc::new(cache),
                Arc::new(threads),
                Arc::new(dialer),
            );
            let served = server()
                .add_service(service(Service::new(worker)))
                .serve(address);
            served.await.expect("it serves");
        };
        runtime.spawn(serving);
        Liar {
            address: address.to_string(),
            runtime: Some(runtime),
        }
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
