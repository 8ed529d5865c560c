//! Getting what a task names: from this worker, from peers, from a depot, from the user's files.

use crate::holding::{Holding, pack};
use crate::relay::Bounds;
use crate::seams::PullError;
use crate::session::Session;
use exec::{Fetched, Held, Part, Want, failure_of};
use futures::future::try_join_all;
use plan::{Assignment, Failure, Holder, Refusal};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use store::StoreError;
use tensor::{DepotId, KeyRange, ObjectKey, SealedRef, WorkerId};
use tokio::sync::Mutex as AsyncMutex;
use wire::{Pull, PullPart};

/// Two lanes that want one object fetch it once.
#[derive(Debug, Default)]
pub struct Flights(Mutex<BTreeMap<ObjectKey, Arc<AsyncMutex<()>>>>);

impl Flights {
    fn of(&self, key: ObjectKey) -> Arc<AsyncMutex<()>> {
        Arc::clone(
            self.0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .entry(key)
                .or_default(),
        )
    }

    fn landed(&self, key: ObjectKey) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&key);
    }
}

fn covers(range: KeyRange, key: ObjectKey) -> bool {
    match (range, key) {
        (KeyRange::One(one), key) => one == key,
        (
            KeyRange::Blocks {
                table,
                first,
                count,
                version,
            },
            ObjectKey::Block {
                table: t,
                block,
                version: v,
            },
        ) => t == table && v == version && block.0.checked_sub(first).is_some_and(|at| at < count),
        (KeyRange::Blocks { .. }, _) => false,
    }
}

impl Session {
    /// Everything wanted, in order; fetched side by side.
    pub(crate) async fn fetch(
        &self,
        assignment: &Assignment,
        wants: Vec<Want>,
    ) -> Result<Vec<Fetched>, Failure> {
        let mut came: Vec<Option<Fetched>> = wants.iter().map(|want| self.at_hand(want)).collect();
        let missing = came
            .iter_mut()
            .zip(wants)
            .filter(|(came, _)| came.is_none());
        try_join_all(missing.map(|(came, want)| async {
            *came = Some(self.fetch_one(assignment, want).await?);
            Ok(())
        }))
        .await?;
        Ok(came.into_iter().flatten().collect())
    }

    /// What needs no waiting: most of what a task reads, once its worker has read it in this epoch.
    fn at_hand(&self, want: &Want) -> Option<Fetched> {
        match *want {
            Want::Object(ObjectKey::Sealed { digest, .. }, Part::Whole) => {
                self.storage.cache.opened(digest).map(Fetched::Sealed)
            }
            Want::Object(key, Part::Whole) => self.holding.any(key).map(Fetched::Held),
            Want::Object(..) | Want::Input(..) => None,
        }
    }

    async fn fetch_one(&self, assignment: &Assignment, want: Want) -> Result<Fetched, Failure> {
        match want {
            Want::Input(input, range) => {
                Ok(Fetched::Bytes(self.storage.read_input(input, range).await?))
            }
            Want::Object(
                ObjectKey::Sealed {
                    depot,
                    digest,
                    bytes,
                },
                Part::Whole,
            ) => {
                let key = ObjectKey::Sealed {
                    depot,
                    digest,
                    bytes,
                };
                Ok(Fetched::Sealed(
                    self.sealed(key, depot, SealedRef { digest, bytes }).await?,
                ))
            }
            Want::Object(key @ ObjectKey::Sealed { .. }, _) => Err(Failure::Refused {
                refusal: Refusal::Bug,
                sentence: format!(
                    "rows of {key} were asked for, but a sealed object has no rows of its own"
                ),
            }),
            Want::Object(key, Part::Whole) => Ok(Fetched::Held(self.whole(assignment, key).await?)),
            Want::Object(key, Part::Rows(rows)) => {
                self.rows(assignment, key, PullPart::Rows(rows)).await
            }
            Want::Object(key, Part::Span(span)) => {
                self.rows(assignment, key, PullPart::Span(span)).await
            }
        }
    }

    async fn sealed(
        &self,
        key: ObjectKey,
        depot: DepotId,
        object: SealedRef,
    ) -> Result<store::Sealed, Failure> {
        let flight = self.flights.of(key);
        let _alone = flight.lock().await;
        let file = self.storage.sealed(depot, object).await;
        self.flights.landed(key);
        file
    }

    /// A whole object, kept for the next task that reads it.
    pub(crate) async fn whole(
        &self,
        assignment: &Assignment,
        key: ObjectKey,
    ) -> Result<Held, Failure> {
        if let Some(held) = self.holding.any(key) {
            return Ok(held);
        }
        let flight = self.flights.of(key);
        let _alone = flight.lock().await;
        if let Some(held) = self.holding.any(key) {
            return Ok(held);
        }
        let held = self.ask_holders(assignment, key, PullPart::Whole).await;
        self.flights.landed(key);
        let held = held?;
        self.holding.copied(key, held.clone());
        Ok(held)
    }

    async fn rows(
        &self,
        assignment: &Assignment,
        key: ObjectKey,
        part: PullPart,
    ) -> Result<Fetched, Failure> {
        let held = match self.holding.any(key) {
            Some(held) => self.packed(held, &part, key).await?,
            None => self.ask_holders(assignment, key, part).await?,
        };
        match held {
            Held::Memory { buffer, .. } => Ok(Fetched::Rows(buffer)),
            // Packed rows are always in memory.
            Held::File { .. } => Err(Failure::Corrupt { key, holder: None }),
        }
    }

    /// From the first holder that gives it.
    async fn ask_holders(
        &self,
        assignment: &Assignment,
        key: ObjectKey,
        part: PullPart,
    ) -> Result<Held, Failure> {
        let sources = assignment
            .sources
            .iter()
            .filter(|source| covers(source.keys, key));
        let mut failure = Failure::Unreachable {
            key,
            holder: self.me,
        };
        for holder in sources.flat_map(|source| &source.holders) {
            failure = match *holder {
                Holder::Worker(worker) if worker == self.me => match self.holding.any(key) {
                    Some(held) => return self.packed(held, &part, key).await,
                    None => Failure::Unreachable {
                        key,
                        holder: worker,
                    },
                },
                Holder::Worker(worker) => match self.pull(worker, key, part.clone()).await {
                    Ok(held) => return Ok(held),
                    Err(PullError::Corrupt) => Failure::Corrupt {
                        key,
                        holder: Some(worker),
                    },
                    Err(error) => {
                        tracing::info!(%key, %worker, %error, "a pull failed");
                        Failure::Unreachable {
                            key,
                            holder: worker,
                        }
                    }
                },
                Holder::Durable {
                    digest,
                    bytes,
                    row_bytes,
                } => {
                    let object = SealedRef { digest, bytes };
                    let sealed = ObjectKey::Sealed {
                        depot: DepotId::MODEL,
                        digest,
                        bytes,
                    };
                    match self.sealed(sealed, DepotId::MODEL, object).await {
                        Ok(file) => {
                            let held = Held::File { file, row_bytes };
                            return self.packed(held, &part, key).await;
                        }
                        Err(failure) => failure,
                    }
                }
            };
        }
        Err(failure)
    }

    /// The wanted part of what is at hand. The whole costs nothing; rows are copied, which may mean reading a
    /// file, and is nothing for the threads that heartbeats live on.
    async fn packed(&self, held: Held, part: &PullPart, key: ObjectKey) -> Result<Held, Failure> {
        if *part == PullPart::Whole {
            return Ok(held);
        }
        let part = part.clone();
        let packing = move || pack(&held, &part).map_err(|error| failure_of(error, Some(key)));
        self.storage.file(packing).await
    }

    /// From the peer itself, or, where it cannot be reached from here, through the coordinator.
    async fn pull(
        &self,
        worker: WorkerId,
        key: ObjectKey,
        part: PullPart,
    ) -> Result<Held, PullError> {
        let pull = Pull {
            run: self.run,
            term: self.term,
            token: self.token,
            key,
            puller: self.me,
            part,
        };
        let held = if self.detours.lead_to(worker) {
            self.relayed(worker, pull).await?
        } else {
            match self.pull_straight(worker, pull.clone()).await {
                Err(PullError::Unreachable(why)) if !self.dialer.here() => {
                    let held = self.relayed(worker, pull).await?;
                    if self.detours.open(worker) {
                        tracing::warn!(%worker, why, "a peer is reached through the coordinator alone");
                    }
                    held
                }
                pulled => {
                    self.detours.close(worker);
                    pulled?
                }
            }
        };
        self.counters.received(worker, held.bytes());
        Ok(held)
    }

    async fn pull_straight(&self, worker: WorkerId, pull: Pull) -> Result<Held, PullError> {
        let way = self.way(worker);
        let way = way.ok_or_else(|| PullError::Unreachable("it is not among the peers".into()))?;
        way.pull(pull, self.holding.spare()).await
    }

    async fn relayed(&self, worker: WorkerId, pull: Pull) -> Result<Held, PullError> {
        let served = self.storage.served().await;
        let served = served.map_err(|failure| PullError::Unreachable(failure.to_string()))?;
        let bounds = Bounds {
            memory_bytes: self.memory_bytes,
            receiving: self.dialer.receiving(),
            spare: self.holding.spare(),
        };
        served.relay(worker, pull, &bounds).await
    }
}

/// What this worker serves to a peer.
pub(crate) fn serve(holding: &Holding, pull: &Pull) -> Result<Held, PullError> {
    let held = holding.own(pull.key).ok_or(PullError::Missing)?;
    pack(&held, &pull.part).map_err(|error| match error {
        StoreError::Beyond { .. } => PullError::Missing,
        _ => PullError::Corrupt,
    })
}
