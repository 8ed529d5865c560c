//! Objects that are gone: made again where what they were made of still exists, and a roll-back where not.

use crate::action::Action;
use crate::plan::{Mood, Plan};
use std::collections::BTreeMap;
use std::sync::Arc;
use tensor::{ObjectKey, Task, TaskId, WorkerId};

impl Plan {
    /// A worker no longer has these objects.
    pub(crate) fn bereave(&mut self, worker: WorkerId, keys: Vec<ObjectKey>) {
        let mut lost = Vec::new();
        for key in keys {
            let Some(object) = self.objects.get_mut(&key) else {
                continue;
            };
            object.holders.retain(|holder| *holder != worker);
            if object.exists() {
                self.watches.moved(key);
                continue;
            }
            let mut incomplete = Vec::new();
            self.watches.vanished(key, |task| incomplete.push(task));
            for task in incomplete {
                self.one_more(task);
            }
            lost.push(key);
        }
        for key in lost {
            let wanted = self.objects.get(&key).is_some_and(|object| object.wanted);
            if self.mood == Mood::Running && (wanted || self.watches.reads(key)) {
                self.recover(key);
            } else {
                self.drop_if_unread(key);
            }
        }
    }

    /// The shell waits for an object in order to deliver it.
    pub(crate) fn want(&mut self, key: ObjectKey) {
        if let Some(object) = self.objects.get_mut(&key) {
            object.wanted = true;
            self.recover(key);
        }
    }

    /// Sees to it that an object comes to exist: it does, or its task is under way, or that task is run again,
    /// and likewise for what that one reads. Where the chain of makers is broken the run rolls back.
    pub(crate) fn recover(&mut self, key: ObjectKey) {
        let Some(again) = self.makers(key) else {
            self.out.push(Action::RollBack(key));
            self.mood = Mood::RolledBack;
            return self.forget();
        };
        let mut absent = Vec::new();
        for task in again.values() {
            self.enter(task, true, &mut absent);
        }
        for id in again.into_keys() {
            self.requeue(id);
        }
    }

    /// The tasks to run again so that an object exists; `None` where something they read was dropped.
    fn makers(&self, key: ObjectKey) -> Option<BTreeMap<TaskId, Arc<Task>>> {
        let mut again: BTreeMap<TaskId, Arc<Task>> = BTreeMap::new();
        let mut open = vec![key];
        while let Some(key) = open.pop() {
            if self.objects.exists(&key) {
                continue;
            }
            let writer = self.objects.get(&key)?.writer.as_ref()?;
            if self.tasks.contains_key(&writer.id) || again.contains_key(&writer.id) {
                continue;
            }
            open.extend(writer.reads.iter().flat_map(|read| read.keys.keys()));
            again.insert(writer.id, Arc::clone(writer));
        }
        Some(again)
    }
}
