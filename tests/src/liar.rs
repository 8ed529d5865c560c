//! A worker that computes something else than others: the real one, whose memory turns a bit of what it pulls of its peers
//! after all checks.

use exec::{Held, Simd, SpareBuffers};
use futures::future::BoxFuture;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use store::{Cache, IoMode};
use tokio::runtime::Runtime;
use wire::settings::{server, service};
use wire::{Peer, Pull};
use worker::grpc::{GrpcDialer, Service, tcp};
use worker::receiving::Receiving;
use worker::{Dialer, PeerLink, PullError, Settings, Threads, Worker};

/// A dialer whose pulls end with other bytes than came.
pub struct Lying<D>(pub D);

struct LyingLink(Arc<dyn PeerLink>);

impl<D: Dialer> Dialer for Lying<D> {
    fn receiving(&self) -> Option<&Receiving> {
        self.0.receiving()
    }

    fn peer(&self, peer: &Peer) -> Arc<dyn PeerLink> {
        Arc::new(LyingLink(self.0.peer(peer)))
    }
}

impl PeerLink for LyingLink {
    fn pull(
        &self,
        pull: Pull,
        spare: &Arc<SpareBuffers>,
    ) -> BoxFuture<'static, Result<Held, PullError>> {
        let pulling = self.0.pull(pull, spare);
        Box::pin(async move { Ok(turned(pulling.await?)) })
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
    pub fn start(data: &Path, memory_bytes: u64) -> Liar {
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
            let dialer = Lying(GrpcDialer::new(tcp(), memory_bytes));
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
