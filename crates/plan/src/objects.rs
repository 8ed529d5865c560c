//! Which objects there are and who has them. Copies that workers pull are not tracked.
//!
//! **Invariant:** an object has an entry from the moment a task that writes it is submitted (or it is
//! said to be durable) until it is dropped.

use crate::action::Holder;
use std::collections::BTreeMap;
use std::sync::Arc;
use tensor::{Digest, ObjectKey, Task, WorkerId};

/// One object.
#[derive(Default)]
pub(crate) struct Object {
    /// Workers that made it and still hold it.
    pub holders: Vec<WorkerId>,
    /// Workers that made it and are suspected: it cannot be had of them for now.
    pub aside: Vec<WorkerId>,
    /// Its copy in a depot.
    pub durable: Option<(Digest, u64, u32)>,
    /// The task that writes it: it can be run again while its reads are not freed.
    pub writer: Option<Arc<Task>>,
    /// Its length, once it was written.
    pub bytes: u64,
    /// Freed: to be dropped as soon as no submitted task reads it.
    pub doomed: bool,
    /// The shell waits for it, to deliver it.
    pub wanted: bool,
}

impl Object {
    /// Whether a task that reads it could start.
    pub(crate) fn exists(&self) -> bool {
        !self.holders.is_empty() || self.durable.is_some()
    }

    /// Where it can be had. The depot is named only where no worker has it: a depot's copy has a name
    /// of its own for each block, which would keep neighbours from being joined into one source.
    pub(crate) fn sources(&self) -> Vec<Holder> {
        match self.durable {
            Some((digest, bytes, row_bytes)) if self.holders.is_empty() => {
                vec![Holder::Durable {
                    digest,
                    bytes,
                    row_bytes,
                }]
            }
            _ => self
                .holders
                .iter()
                .map(|&worker| Holder::Worker(worker))
                .collect(),
        }
    }
}

/// All objects of a run.
#[derive(Default)]
pub(crate) struct Objects {
    map: BTreeMap<ObjectKey, Object>,
}

impl Objects {
    pub(crate) fn get(&self, key: &ObjectKey) -> Option<&Object> {
        self.map.get(key)
    }

    pub(crate) fn get_mut(&mut self, key: &ObjectKey) -> Option<&mut Object> {
        self.map.get_mut(key)
    }

    pub(crate) fn entry(&mut self, key: ObjectKey) -> &mut Object {
        self.map.entry(key).or_default()
    }

    pub(crate) fn remove(&mut self, key: &ObjectKey) -> Option<Object> {
        self.map.remove(key)
    }

    pub(crate) fn len(&self) -> usize {
        self.map.len()
    }

    /// Whether a task that reads it could start, as far as this key goes.
    pub(crate) fn exists(&self, key: &ObjectKey) -> bool {
        matches!(key, ObjectKey::Sealed { .. }) || self.map.get(key).is_some_and(Object::exists)
    }

    /// What this worker holds.
    pub(crate) fn held_by(&self, worker: WorkerId) -> Vec<ObjectKey> {
        let held = self
            .map
            .iter()
            .filter(|(_, object)| object.holders.contains(&worker));
        held.map(|(key, _)| *key).collect()
    }

    /// What this worker holds and cannot give, since it is suspected.
    pub(crate) fn aside_of(&self, worker: WorkerId) -> Vec<ObjectKey> {
        let aside = self
            .map
            .iter()
            .filter(|(_, object)| object.aside.contains(&worker));
        aside.map(|(key, _)| *key).collect()
    }

    /// A worker is gone: what it held aside is, too.
    pub(crate) fn forget_aside(&mut self, worker: WorkerId) {
        for object in self.map.values_mut() {
            object.aside.retain(|holder| *holder != worker);
        }
    }

    /// Forgets everything that is not durable, and returns it.
    pub(crate) fn forget(&mut self) -> Vec<ObjectKey> {
        let gone: Vec<ObjectKey> = self
            .map
            .extract_if(.., |_, object| object.durable.is_none())
            .map(|(key, _)| key)
            .collect();
        for object in self.map.values_mut() {
            (object.writer, object.doomed, object.wanted) = (None, false, false);
        }
        gone
    }
}
