//! Looking after a depot: hashing what is there again, and collecting what nothing needs.

use crate::error::DepotError;
use crate::manifest::{Body, INGEST};
use crate::objects::Listed;
use crate::place::Depot;
use object_store::ObjectStoreExt;
use std::collections::{BTreeMap, BTreeSet};
use tensor::{Digest, SealedRef};

/// What [`Depot::verify`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Manifests read.
    pub manifests: u64,
    /// Objects hashed and found sound.
    pub sound: u64,
    /// Their bytes.
    pub sound_bytes: u64,
    /// Objects that a manifest names and that are not there, with that manifest.
    pub missing: Vec<(SealedRef, u64)>,
    /// Objects whose bytes are not those of their name, with a manifest that names them.
    pub damaged: Vec<(SealedRef, u64)>,
    /// Manifests that cannot be read or do not follow from the one before, and why.
    pub damaged_manifests: Vec<(u64, String)>,
    /// Objects that no manifest needs: to be collected.
    pub unreferenced: Vec<SealedRef>,
    /// Those of them that a withdrawal meant to end.
    pub lingering: Vec<SealedRef>,
}

impl Report {
    /// Whether everything that is named is there as it was put, and nothing that was withdrawn.
    pub fn is_sound(&self) -> bool {
        let whole = self.missing.is_empty() && self.damaged.is_empty();
        whole && self.damaged_manifests.is_empty() && self.lingering.is_empty()
    }
}

/// What [`Depot::collect`] removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Objects removed.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Objects, each with the newest manifest that names it.
type Named = BTreeMap<Digest, (SealedRef, u64)>;

/// What manifests name.
#[derive(Default)]
struct Naming {
    /// What is in use.
    in_use: Named,
    /// What manifests name that were withdrawn.
    withdrawn: Named,
    /// What ingests kept until they went on or ended.
    ended: Named,
}

impl Depot {
    /// Hashes every object that the manifests need again. Of the checkpoints of a run only the newest counts:
    /// the others' objects may have been collected.
    ///
    /// # Errors
    /// Where the place does not answer; damage is no error but in the report.
    pub async fn verify(&self) -> Result<Report, DepotError> {
        let mut report = Report::default();
        let Naming {
            in_use, withdrawn, ..
        } = self.naming(&mut report).await?;
        let there: BTreeMap<Digest, u64> = self
            .list()
            .await?
            .iter()
            .map(|listed| (listed.object.digest, listed.object.bytes))
            .collect();
        for &(object, number) in in_use.values() {
            let hash = match there.get(&object.digest) {
                None => None,
                Some(&bytes) if bytes != object.bytes => Some(Digest::default()),
                Some(_) => self.hash(object).await?,
            };
            match hash {
                None => report.missing.push((object, number)),
                Some(hash) if hash != object.digest => report.damaged.push((object, number)),
                Some(_) => {
                    report.sound += 1;
                    report.sound_bytes += object.bytes;
                }
            }
        }
        report.unreferenced = there
            .into_iter()
            .filter(|(digest, _)| !in_use.contains_key(digest))
            .map(|(digest, bytes)| SealedRef { digest, bytes })
            .collect();
        let unreferenced = report.unreferenced.iter();
        let lingering = unreferenced.filter(|object| withdrawn.contains_key(&object.digest));
        report.lingering = lingering.copied().collect();
        Ok(report)
    }

    /// Removes objects that no manifest needs and that were put before a moment (seconds since 1970, by the clock of the
    /// store). That moment must lie before the first put whose manifest is still to come.
    ///
    /// # Errors
    /// [`DepotError::Superseded`] where `term` is not the newest; a damaged manifest, since what it names is unknown.
    pub async fn collect(&self, term: u64, before_seconds: i64) -> Result<Collected, DepotError> {
        let current = self.latest().await?.map_or(term, |(newest, _)| newest.term);
        if current > term {
            return Err(DepotError::Superseded {
                url: self.url.to_string(),
                term,
                current,
            });
        }
        let mut report = Report::default();
        let Naming { in_use, .. } = self.naming(&mut report).await?;
        if let Some((number, reason)) = report.damaged_manifests.pop() {
            return Err(DepotError::Manifest {
                url: self.url.to_string(),
                number,
                reason,
            });
        }
        self.remove(|listed| {
            listed.modified_seconds < before_seconds && !in_use.contains_key(&listed.object.digest)
        })
        .await
    }

    /// Removes what ingests kept to go on from, and need no more.
    ///
    /// # Errors
    /// Where the place refuses.
    pub async fn collect_ended(&self) -> Result<Collected, DepotError> {
        let Naming { in_use, ended, .. } = self.naming(&mut Report::default()).await?;
        if ended.is_empty() {
            return Ok(Collected::default());
        }
        self.remove(|listed| {
            let digest = &listed.object.digest;
            ended.contains_key(digest) && !in_use.contains_key(digest)
        })
        .await
    }

    async fn remove(&self, is_idle: impl Fn(&Listed) -> bool) -> Result<Collected, DepotError> {
        let mut collected = Collected::default();
        for listed in self.list().await? {
            if is_idle(&listed) {
                let path = self.object_path(listed.object.digest);
                self.store
                    .delete(&path)
                    .await
                    .map_err(self.failed(&path, "removed"))?;
                collected.objects += 1;
                collected.bytes += listed.object.bytes;
            }
        }
        if collected.objects > 0 {
            self.sync_removals().await?;
        }
        Ok(collected)
    }

    /// Reads the whole chain, the newest first.
    async fn naming(&self, report: &mut Report) -> Result<Naming, DepotError> {
        let mut naming = Naming::default();
        let mut withdrawn = BTreeSet::new();
        let mut runs = BTreeSet::new();
        let mut ingest_ended = false;
        let mut successor: Option<(u64, Option<Digest>)> = None;
        for number in self.manifests().await?.into_iter().rev() {
            let (manifest, hash) = match self.manifest(number).await {
                Ok(found) => found,
                Err(DepotError::Manifest { reason, .. }) => {
                    report.damaged_manifests.push((number, reason));
                    successor = None;
                    continue;
                }
                Err(error) => return Err(error),
            };
            report.manifests += 1;
            if let Some((later, predecessor)) = successor
                && (later != number + 1 || predecessor != Some(hash))
            {
                report
                    .damaged_manifests
                    .push((later, format!("it does not follow from manifest {number}")));
            }
            successor = Some((number, manifest.predecessor));
            if let Body::Withdrawal(withdrawal) = &manifest.body {
                withdrawn.extend(withdrawal.manifests.iter().copied());
            }
            let of_ingest = matches!(&manifest.body, Body::Checkpoint(checkpoint) if checkpoint.program == INGEST);
            let later_ended = ingest_ended;
            ingest_ended |= of_ingest || matches!(manifest.body, Body::DataSet(_));
            let named = if withdrawn.contains(&number) {
                &mut naming.withdrawn
            } else if of_ingest && later_ended {
                &mut naming.ended
            } else if matches!(&manifest.body, Body::Checkpoint(checkpoint) if !runs.insert(checkpoint.run))
            {
                continue;
            } else {
                &mut naming.in_use
            };
            for object in manifest.body.objects() {
                named.entry(object.digest).or_insert((object, number));
            }
        }
        if let Some((number, predecessor)) = successor
            && (number != 1 || predecessor.is_some())
        {
            report
                .damaged_manifests
                .push((number, "the manifests before it are missing".to_owned()));
        }
        Ok(naming)
    }
}
