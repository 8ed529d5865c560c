//! Checkpoints (DESIGN 3.7): a step of `persist` tasks while training goes on, then the manifest, then
//! the plan learns what is durable. Never two at once; the last one always.

use super::Commit;
use plan::{Failure, Refusal};
use std::collections::BTreeMap;
use std::time::Duration;
use tensor::{
    Checkpoint, Digest, ObjectKey, Op, PartialSpec, Read, SealedRef, Step, StepId, Task, TaskId,
};

/// Ids of persist steps have the top bit set: programs number theirs from 0.
const PERSIST: u64 = 1 << 63;
/// The cost of persisting, in interactions, whatever the size: not worth moving between workers.
const PERSIST_COST: u64 = 1_000;

/// An object with its durable copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredObject {
    /// As the program knows it.
    pub key: ObjectKey,
    /// As the depot of the model knows it.
    pub sealed: SealedRef,
    /// The bytes of one row.
    pub row_bytes: u32,
}

/// A durable state of a program.
#[derive(Clone, Debug, PartialEq)]
pub struct Resume {
    /// What the manifest says.
    pub checkpoint: Checkpoint,
    /// Its objects.
    pub objects: Vec<StoredObject>,
}

/// When the next checkpoint is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// After so many epochs at the earliest; 0 for the last one only.
    pub every_epochs: u32,
    /// At most this part of the time passes while one is made, in percent.
    pub percent: u32,
    /// At least so much passes before one, since the run began or since the one before.
    pub rest: Duration,
}

impl Pace {
    /// None but the last.
    pub const LAST_ONLY: Pace = Pace {
        every_epochs: 0,
        percent: 100,
        rest: Duration::ZERO,
    };
}

/// Which checkpoints are made, and how.
pub struct Checkpoints<'a> {
    /// When.
    pub pace: Pace,
    /// Writes the manifest.
    pub commit: &'a mut Commit<'a>,
}

/// A persist step on its way.
struct Persisting {
    checkpoint: Checkpoint,
    /// Objects that an earlier checkpoint has made durable.
    known: Vec<StoredObject>,
    /// The objects of its tasks, in order.
    keys: Vec<ObjectKey>,
}

/// What is durable, and what is about to be.
pub(super) struct Ledger {
    /// The last durable state.
    pub durable: Option<Resume>,
    next: u64,
    persisting: BTreeMap<StepId, Persisting>,
    /// Persisted, and waiting for their manifests.
    persisted: BTreeMap<StepId, Resume>,
    /// A manifest is being written.
    pub committing: bool,
    last_epoch: u32,
    /// When the last one was begun, since the run began.
    begun: Duration,
    /// What all of them took.
    taken: Duration,
    /// When the next one may begin.
    rested: Duration,
}

impl Ledger {
    pub(super) fn new(resume: Option<Resume>) -> Self {
        let last_epoch = resume.as_ref().map_or(0, |resume| resume.checkpoint.epoch);
        Ledger {
            durable: resume,
            next: PERSIST,
            persisting: BTreeMap::new(),
            persisted: BTreeMap::new(),
            committing: false,
            last_epoch,
            begun: Duration::ZERO,
            taken: Duration::ZERO,
            rested: Duration::ZERO,
        }
    }

    /// Whether a checkpoint is in the making.
    pub(super) fn busy(&self) -> bool {
        self.committing || !self.persisting.is_empty() || !self.persisted.is_empty()
    }

    /// The program offers a state: the step that makes its objects durable, if it is due.
    pub(super) fn offer(
        &mut self,
        checkpoint: Checkpoint,
        pace: Pace,
        now: Duration,
        last: bool,
    ) -> Option<Step> {
        let every = pace.every_epochs;
        let due = every > 0
            && checkpoint.epoch >= self.last_epoch.saturating_add(every)
            && now >= self.rested.max(pace.rest)
            && !self.busy();
        if !due && !last {
            return None;
        }
        (self.last_epoch, self.begun) = (checkpoint.epoch, now);
        let before = self.durable.iter().flat_map(|durable| &durable.objects);
        let before: BTreeMap<ObjectKey, StoredObject> =
            before.map(|object| (object.key, *object)).collect();
        let all = checkpoint.objects.iter().flat_map(|range| range.keys());
        let (known, keys): (Vec<ObjectKey>, Vec<ObjectKey>) =
            all.partition(|key| before.contains_key(key));
        let known = known.iter().map(|key| before[key]).collect();
        let id = StepId(self.next);
        self.next += 1;
        let task = |(index, key): (usize, &ObjectKey)| Task {
            id: TaskId {
                step: id,
                index: index as u32,
            },
            op: Op::persist(),
            reads: vec![Read::whole(*key)],
            writes: Vec::new(),
            after: Vec::new(),
            chain: None,
            cost: PERSIST_COST,
        };
        let tasks = keys.iter().enumerate().map(task).collect();
        self.persisting.insert(
            id,
            Persisting {
                checkpoint,
                known,
                keys,
            },
        );
        Some(Step {
            id,
            name: "checkpoint".to_owned(),
            tasks,
            partial: PartialSpec::Collect,
            frees: Vec::new(),
        })
    }

    /// Whether this is a step of ours.
    pub(super) fn owns(step: StepId) -> bool {
        step.0 >= PERSIST
    }

    /// A persist step is whole.
    pub(super) fn persisted(&mut self, step: StepId, partials: &[Vec<u8>]) -> Result<(), Failure> {
        let Some(Persisting {
            checkpoint,
            known: mut objects,
            keys,
        }) = self.persisting.remove(&step)
        else {
            return Ok(());
        };
        for (key, partial) in keys.into_iter().zip(partials) {
            objects.push(stored(key, partial)?);
        }
        objects.sort_unstable_by_key(|object| object.key);
        let resume = Resume {
            checkpoint,
            objects,
        };
        self.persisted.insert(step, resume);
        Ok(())
    }

    /// The next state whose manifest can be written: in the order of the offers. The last checkpoint does not wait
    /// for the one before it, and may be persisted first.
    pub(super) fn next_ready(&mut self) -> Option<Resume> {
        let first = *self.persisted.first_key_value()?.0;
        let earlier = self.persisting.first_key_value();
        if earlier.is_some_and(|(open, _)| *open < first) {
            return None;
        }
        self.persisted.remove(&first)
    }

    /// What the checkpoint that was begun last took up to now.
    pub(super) fn took(&self, now: Duration) -> Duration {
        now.saturating_sub(self.begun)
    }

    /// A state has become durable. Whatever it took while training went on counts as time for it: a bound, and the
    /// better one, since a slow store deserves to be asked less.
    pub(super) fn became_durable(&mut self, resume: Resume, pace: Pace, now: Duration) {
        let took = self.took(now);
        self.taken += took;
        // The last one, which nothing keeps from coming, may take as long as this one.
        let is_within = (self.taken + took) * 100 <= now * pace.percent;
        self.rested = now + rest_after(took, pace.percent, is_within).max(pace.rest);
        self.durable = Some(resume);
    }

    /// The steps that were on their way are forgotten: the program rolls back.
    pub(super) fn forget(&mut self) {
        self.persisting.clear();
        self.persisted.clear();
        self.last_epoch = self
            .durable
            .as_ref()
            .map_or(0, |durable| durable.checkpoint.epoch);
    }
}

/// How long none is made after one: what keeps the share, or, where the first and the last, which are made whatever they cost, are not made
/// up for yet, four fifths of it.
fn rest_after(took: Duration, percent: u32, is_within: bool) -> Duration {
    let share = match percent {
        100.. => return Duration::ZERO,
        percent if is_within => 5 * percent.max(1),
        percent => 4 * percent.max(1),
    };
    took * (500 - share) / share
}

/// Reads the partial of a persist task: digest, length and row length.
fn stored(key: ObjectKey, partial: &[u8]) -> Result<StoredObject, Failure> {
    let bad = || Failure::Refused {
        refusal: Refusal::Bug,
        sentence: format!(
            "a worker persisted {key} with a receipt of {} bytes: please report this",
            partial.len()
        ),
    };
    let (digest, rest) = partial.split_first_chunk::<32>().ok_or_else(bad)?;
    let (bytes, rest) = rest.split_first_chunk::<8>().ok_or_else(bad)?;
    let row_bytes: [u8; 4] = rest.try_into().map_err(|_| bad())?;
    let sealed = SealedRef {
        digest: Digest(*digest),
        bytes: u64::from_le_bytes(*bytes),
    };
    Ok(StoredObject {
        key,
        sealed,
        row_bytes: u32::from_le_bytes(row_bytes),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace {
        every_epochs: 1,
        percent: 5,
        rest: Duration::ZERO,
    };

    fn state(epoch: u32) -> Checkpoint {
        Checkpoint {
            epoch,
            state: Vec::new(),
            objects: Vec::new(),
        }
    }

    fn offer(ledger: &mut Ledger, epoch: u32, last: bool) -> Option<StepId> {
        let step = ledger.offer(state(epoch), PACE, Duration::ZERO, last);
        step.map(|step| step.id)
    }

    /// A run in which one is offered every tenth of a second, and each takes one: when they began, in tenths.
    fn begun(percent: u32, tenths: u64) -> Vec<u64> {
        let pace = Pace { percent, ..PACE };
        let mut ledger = Ledger::new(None);
        let mut begun = Vec::new();
        for at in 1..=tenths {
            let now = Duration::from_millis(100 * at);
            let Some(step) = ledger.offer(state(at as u32), pace, now, at == tenths) else {
                continue;
            };
            begun.push(at);
            ledger.persisted(step.id, &[]).expect("no receipts");
            let resume = ledger.next_ready().expect("it is persisted");
            ledger.became_durable(resume, pace, now + Duration::from_millis(100));
        }
        begun
    }

    #[test]
    fn all_of_them_keep_the_share_the_first_and_the_last_too() {
        let made = begun(5, 1000);
        assert_eq!(
            made[..4],
            [1, 26, 51, 76],
            "the first at once, then four in a hundred"
        );
        assert!(made.windows(2).all(|two| two[1] - two[0] <= 25), "{made:?}");
        for tenths in [200, 300, 1000, 1003, 5000] {
            let made = begun(5, tenths).len() as u64;
            let share = 100 * made;
            assert!(
                (4 * tenths..=5 * tenths + 100).contains(&share),
                "{made} in {tenths}"
            );
        }
        let made = begun(5, 5000);
        assert!(made.len() <= 250, "the first and the last too: {made:?}");
        let gaps: Vec<u64> = made.windows(2).map(|two| two[1] - two[0]).collect();
        assert!(gaps[50..gaps.len() - 1].contains(&20), "{gaps:?}");
        assert_eq!(
            begun(100, 4),
            [1, 2, 3, 4],
            "each, where all the time may go"
        );
    }

    #[test]
    fn a_run_that_is_shorter_than_the_rest_makes_none() {
        let rest = Duration::from_mins(1);
        let pace = Pace {
            percent: 100,
            rest,
            ..PACE
        };
        let mut ledger = Ledger::new(None);
        let mut due = |epoch, seconds| {
            let now = Duration::from_secs(seconds);
            let step = ledger.offer(state(epoch), pace, now, false)?;
            ledger.persisted(step.id, &[]).expect("no receipts");
            let resume = ledger.next_ready().expect("it is persisted");
            ledger.became_durable(resume, pace, now);
            Some(epoch)
        };
        let made = [(1, 59), (2, 60), (3, 119), (4, 120)];
        let made = made.map(|(epoch, seconds)| due(epoch, seconds));
        assert_eq!(made, [None, Some(2), None, Some(4)]);
    }

    /// A manifest of an older epoch once followed a newer one: the last checkpoint was persisted first.
    #[test]
    fn manifests_follow_the_order_of_the_offers() {
        let mut ledger = Ledger::new(None);
        let before = offer(&mut ledger, 5, false).expect("it is due");
        assert_eq!(offer(&mut ledger, 6, false), None, "one at a time");
        let last = offer(&mut ledger, 6, true).expect("the last one always");
        ledger.persisted(last, &[]).expect("no receipts");
        assert_eq!(ledger.next_ready(), None);
        ledger.persisted(before, &[]).expect("no receipts");
        let epochs = std::iter::from_fn(|| ledger.next_ready());
        let epochs: Vec<u32> = epochs.map(|resume| resume.checkpoint.epoch).collect();
        assert_eq!(epochs, [5, 6]);
        assert!(!ledger.busy());
    }
}
