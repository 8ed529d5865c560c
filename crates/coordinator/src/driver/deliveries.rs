//! Objects that leave the engine: pulled one after the other, in the order in which the program named them.

use plan::{Failure, Holder, Plan, Refusal};
use std::collections::{BTreeSet, VecDeque};
use tensor::{ObjectKey, WorkerId};

/// Pulls of one object that may fail before the run does.
const PULLS_MAX: u32 = 100;

/// What is to be delivered, and what was.
#[derive(Default)]
pub(super) struct Deliveries {
    queue: VecDeque<ObjectKey>,
    done: BTreeSet<ObjectKey>,
    failures: u32,
    /// After a failed pull the next one waits for time to pass.
    pub paused: bool,
}

impl Deliveries {
    /// Takes a delivery; `false` where it was made before a roll-back, so that it can be freed at once.
    pub(super) fn enqueue(&mut self, key: ObjectKey) -> bool {
        let new = !self.done.contains(&key);
        if new {
            self.queue.push_back(key);
        }
        new
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// The next object and one of its holders, if it exists.
    pub(super) fn next(&self, plan: &Plan) -> Result<Option<(ObjectKey, WorkerId)>, Failure> {
        let Some(key) = self.queue.front().filter(|_| !self.paused) else {
            return Ok(None);
        };
        if !plan.knows(key) {
            let sentence =
                format!("{key} is to be delivered, but nothing writes it: please report this");
            return Err(Failure::Refused {
                refusal: Refusal::Bug,
                sentence,
            });
        }
        let holders = plan.holders(key).into_iter();
        let mut workers = holders.filter_map(|holder| match holder {
            Holder::Worker(worker) => Some(worker),
            Holder::Durable { .. } => None,
        });
        Ok(workers.next().map(|worker| (*key, worker)))
    }

    /// The first of the queue was delivered.
    pub(super) fn delivered(&mut self) {
        self.failures = 0;
        self.done.extend(self.queue.pop_front());
    }

    /// A pull failed. The holder may be dead and not yet known to be: its lease decides, so try again later.
    pub(super) fn failed(&mut self, key: ObjectKey, holder: WorkerId) -> Result<(), Failure> {
        self.failures += 1;
        self.paused = true;
        if self.failures < PULLS_MAX {
            Ok(())
        } else {
            Err(Failure::Unreachable { key, holder })
        }
    }

    /// The program rolls back and will name what is left again.
    pub(super) fn forget(&mut self) {
        self.queue.clear();
    }
}
