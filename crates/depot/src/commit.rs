//! The chain of manifests: reading it, and adding to it by "put if absent".

use crate::again::again;
use crate::codec;
use crate::error::DepotError;
use crate::manifest::{Body, Checkpoint, Manifest, Model, ViewOf};
use crate::place::Depot;
use bytes::Bytes;
use object_store::path::Path;
use object_store::{Error, ObjectStore};
use std::collections::BTreeSet;
use tensor::{DataSet, Digest};

impl Depot {
    fn manifest_path(&self, number: u64) -> Path {
        self.root
            .clone()
            .join("manifests")
            .join(format!("{number:010}"))
    }

    /// The numbers of all manifests, rising.
    ///
    /// # Errors
    /// Where the place does not answer.
    pub async fn manifests(&self) -> Result<Vec<u64>, DepotError> {
        let prefix = self.root.clone().join("manifests");
        let found = self.listed(&prefix).await?;
        let number = |name: &str| {
            let digits = name.len() == 10 && name.bytes().all(|byte| byte.is_ascii_digit());
            if digits { name.parse().ok() } else { None }
        };
        let mut numbers: Vec<u64> = found
            .iter()
            .filter_map(|meta| meta.location.filename().and_then(number))
            .collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// One manifest and the hash of its bytes, which its successor names.
    ///
    /// # Errors
    /// [`DepotError::Manifest`] where it is missing, damaged or truncated.
    pub async fn manifest(&self, number: u64) -> Result<(Manifest, Digest), DepotError> {
        let path = self.manifest_path(number);
        let wrong = |reason: String| DepotError::Manifest {
            url: self.url.to_string(),
            number,
            reason,
        };
        let found = self.whole(&path).await?;
        let found = found.ok_or_else(|| wrong("it is missing".to_owned()))?;
        let manifest = codec::decode(&found).map_err(wrong)?;
        if manifest.number != number {
            return Err(wrong(format!(
                "it says that it is manifest {}",
                manifest.number
            )));
        }
        Ok((manifest, Digest(*blake3::hash(&found).as_bytes())))
    }

    /// The newest manifest and its hash.
    ///
    /// # Errors
    /// Where it is damaged.
    pub async fn latest(&self) -> Result<Option<(Manifest, Digest)>, DepotError> {
        match self.manifests().await?.last() {
            Some(&number) => self.manifest(number).await.map(Some),
            None => Ok(None),
        }
    }

    /// Records a state whose objects are durable, under the next number, and returns that. Where another got
    /// the number first, it looks again and takes the one after.
    ///
    /// # Errors
    /// [`DepotError::Superseded`] where a manifest of a later term is there.
    pub async fn commit(&self, term: u64, body: Body) -> Result<u64, DepotError> {
        loop {
            let latest = self.latest().await?;
            if let Some((newest, _)) = &latest
                && newest.term > term
            {
                return Err(DepotError::Superseded {
                    url: self.url.to_string(),
                    term,
                    current: newest.term,
                });
            }
            if let Some(number) = self.create_after(latest.as_ref(), term, &body).await? {
                return Ok(number);
            }
        }
    }

    /// Becomes the leader: commits the term after the newest one and returns it. Whoever leads until then can
    /// commit nothing more.
    ///
    /// # Errors
    /// Where the place refuses.
    pub async fn claim_term(&self, run: Option<Digest>) -> Result<u64, DepotError> {
        loop {
            let latest = self.latest().await?;
            let term = latest.as_ref().map_or(1, |(newest, _)| newest.term + 1);
            if self
                .create_after(latest.as_ref(), term, &Body::Term { run })
                .await?
                .is_some()
            {
                return Ok(term);
            }
        }
    }

    /// `None` where another has created that number.
    async fn create_after(
        &self,
        latest: Option<&(Manifest, Digest)>,
        term: u64,
        body: &Body,
    ) -> Result<Option<u64>, DepotError> {
        let number = latest.map_or(1, |(newest, _)| newest.number + 1);
        let predecessor = latest.map(|(_, hash)| *hash);
        let bytes = Bytes::from(codec::encode(&Manifest {
            number,
            term,
            predecessor,
            body: body.clone(),
        }));
        let path = self.manifest_path(number);
        let create = || {
            let bytes = bytes.clone().into();
            self.store.put_opts(&path, bytes, Depot::create())
        };
        match again(create).await {
            Ok(_) => Ok(Some(number)),
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => Ok(None),
            Err(error) => Err(self.failed(&path, "created")(error)),
        }
    }

    /// The newest manifest that is not withdrawn and of which `pick` makes something.
    async fn newest<T>(
        &self,
        pick: impl Fn(Body) -> Option<T>,
    ) -> Result<Option<(u64, T)>, DepotError> {
        let mut withdrawn = BTreeSet::new();
        for number in self.manifests().await?.into_iter().rev() {
            let (manifest, _) = self.manifest(number).await?;
            match manifest.body {
                Body::Withdrawal(withdrawal) => withdrawn.extend(withdrawal.manifests),
                _ if withdrawn.contains(&number) => {}
                body => {
                    if let Some(found) = pick(body) {
                        return Ok(Some((number, found)));
                    }
                }
            }
        }
        Ok(None)
    }

    /// All that is recorded and not withdrawn, the newest first.
    ///
    /// # Errors
    /// Where a manifest is damaged.
    pub async fn standing(&self) -> Result<Vec<(u64, Body)>, DepotError> {
        let (mut withdrawn, mut standing) = (BTreeSet::new(), Vec::new());
        for number in self.manifests().await?.into_iter().rev() {
            let (manifest, _) = self.manifest(number).await?;
            if let Body::Withdrawal(withdrawal) = &manifest.body {
                withdrawn.extend(withdrawal.manifests.iter().copied());
            }
            if !withdrawn.contains(&number) {
                standing.push((number, manifest.body));
            }
        }
        Ok(standing)
    }

    /// The lineages of all versions of a data set that there ever were, those withdrawn included, the newest first.
    ///
    /// # Errors
    /// Where a manifest is damaged.
    pub async fn lineages_of(&self, origin: Digest) -> Result<Vec<Digest>, DepotError> {
        let mut lineages = Vec::new();
        for number in self.manifests().await?.into_iter().rev() {
            let (manifest, _) = self.manifest(number).await?;
            if let Body::DataSet(data) = manifest.body
                && data.origin() == origin
                && !lineages.contains(&data.lineage)
            {
                lineages.push(data.lineage);
            }
        }
        Ok(lineages)
    }

    /// The newest data set and the number of its manifest; with a lineage, the newest of that lineage.
    ///
    /// # Errors
    /// Where a manifest on the way is damaged.
    pub async fn latest_data_set(
        &self,
        lineage: Option<Digest>,
    ) -> Result<Option<(u64, DataSet)>, DepotError> {
        self.newest(|body| match body {
            Body::DataSet(data) if lineage.is_none_or(|lineage| lineage == data.lineage) => {
                Some(*data)
            }
            _ => None,
        })
        .await
    }

    /// The newest view of a data set by the hash of its spec.
    ///
    /// # Errors
    /// Where a manifest on the way is damaged.
    pub async fn latest_view(
        &self,
        lineage: Digest,
        spec_hash: Digest,
    ) -> Result<Option<(u64, ViewOf)>, DepotError> {
        self.newest(|body| match body {
            Body::View(view) if view.lineage == lineage && view.spec_hash == spec_hash => {
                Some(view)
            }
            _ => None,
        })
        .await
    }

    /// The newest checkpoint of a run.
    ///
    /// # Errors
    /// Where a manifest on the way is damaged.
    pub async fn latest_checkpoint(
        &self,
        run: Digest,
    ) -> Result<Option<(u64, Checkpoint)>, DepotError> {
        self.newest(|body| match body {
            Body::Checkpoint(checkpoint) if checkpoint.run == run => Some(checkpoint),
            _ => None,
        })
        .await
    }

    /// The newest model; with a run key, the newest that this run made.
    ///
    /// # Errors
    /// Where a manifest on the way is damaged.
    pub async fn latest_model(
        &self,
        run: Option<Digest>,
    ) -> Result<Option<(u64, Model)>, DepotError> {
        self.newest_model(|model| run.is_none_or(|run| run == model.run))
            .await
    }

    /// The newest model of those that are `wanted`.
    ///
    /// # Errors
    /// Where a manifest on the way is damaged.
    pub async fn newest_model(
        &self,
        wanted: impl Fn(&Model) -> bool,
    ) -> Result<Option<(u64, Model)>, DepotError> {
        self.newest(|body| match body {
            Body::Model(model) if wanted(&model) => Some(model),
            _ => None,
        })
        .await
    }
}
