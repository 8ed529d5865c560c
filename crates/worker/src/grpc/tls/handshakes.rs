//! The handshakes of a listener, side by side, so that a slow stranger keeps nobody waiting.

use super::Credentials;
use crate::grpc::incoming::Connection;
use futures::{Stream, StreamExt};
use std::io;
use std::pin::pin;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;
use wire::settings::HANDSHAKE_TIMEOUT;

/// Connections whose other end has shown a certificate of the authority.
pub fn handshakes(
    connections: impl Stream<Item = io::Result<Connection>> + Send + 'static,
    credentials: Credentials,
) -> impl Stream<Item = io::Result<TlsStream<Connection>>> {
    let (done, ready) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut connections = pin!(connections);
        loop {
            let connection = tokio::select! {
                next = connections.next() => next,
                () = done.closed() => None,
            };
            let Some(connection) = connection else { return };
            if let Ok(connection) = connection {
                let acceptor = TlsAcceptor::from(credentials.now().server);
                tokio::spawn(handshake(connection, acceptor, done.clone()));
            }
        }
    });
    ReceiverStream::new(ready)
}

async fn handshake(
    connection: Connection,
    acceptor: TlsAcceptor,
    done: mpsc::Sender<io::Result<TlsStream<Connection>>>,
) {
    let from = connection.connect_info().remote_addr();
    let from = from.map_or_else(|| "somewhere".to_owned(), |from| from.to_string());
    let log = connection.teller();
    match timeout(HANDSHAKE_TIMEOUT, acceptor.accept(connection)).await {
        Ok(Ok(stream)) => {
            // The server may be at its end.
            let _ = done.send(Ok(stream)).await;
        }
        Ok(Err(error)) => log.tell(|| format!("the connection from {from} is not let in: {error}")),
        Err(_) => log.tell(|| {
            format!(
                "the connection from {from} has not shown who it is in {HANDSHAKE_TIMEOUT:?}: closed"
            )
        }),
    }
}
