//! A depot as a session serves it to workers.

use crate::cluster::Store;
use crate::failure::Failure;
use bytes::Bytes;
use depot::{Depot, DepotError};
use futures::future::BoxFuture;
use plan::Refusal;
use std::ops::Range;
use std::sync::Arc;
use store::{Cache, Receiver, Sealed};
use tensor::{Digest, SealedRef};

/// A depot, and the cache in which objects on their way to it are received.
pub struct Served {
    /// The depot.
    pub depot: Arc<Depot>,
    /// Where objects arrive first.
    pub cache: Arc<Cache>,
}

/// What a depot said, as the end of a run.
pub fn refused(error: &DepotError) -> plan::Failure {
    plan::Failure::Refused { refusal: kind(error), sentence: error.to_string() }
}

/// What a depot said, as the end of a verb.
pub fn failed(error: DepotError) -> Failure {
    Failure::new(kind(&error), error.to_string())
}

fn kind(error: &DepotError) -> Refusal {
    match error {
        DepotError::Url { .. } => Refusal::Config,
        DepotError::Superseded { .. } => Refusal::TryAgain,
        DepotError::Damaged { .. } | DepotError::Missing { .. } | DepotError::Manifest { .. } => Refusal::BadData,
        _ => Refusal::Io,
    }
}

impl Store for Served {
    fn url(&self) -> String {
        self.depot.url().to_owned()
    }

    fn is_shared(&self) -> bool {
        // Workers hold no credentials in this version: every depot is served by the coordinator.
        false
    }

    fn read(&self, object: Digest, range: Range<u64>) -> BoxFuture<'static, Result<Bytes, plan::Failure>> {
        let depot = Arc::clone(&self.depot);
        Box::pin(async move { depot.read(object, range).await.map_err(|error| refused(&error)) })
    }

    fn receive(&self, object: SealedRef) -> Result<Receiver, plan::Failure> {
        self.cache.receiver(object).map_err(|error| refused(&DepotError::Store(error)))
    }

    fn put(&self, object: Sealed) -> BoxFuture<'static, Result<(), plan::Failure>> {
        let depot = Arc::clone(&self.depot);
        Box::pin(async move { depot.put(&object).await.map_err(|error| refused(&error)) })
    }
}
