//! Tasks that are computed twice to compare: a share of them, drawn by step and task.
//!
//! **Invariant:** the result of such a task counts when two workers came to the same bytes, or when nobody was there to compute
//! it again. Of three results the one that stands alone is wrong, and who gave it is of the run no more; to panic where two came to
//! the same is such a result.

use crate::action::{Action, Dismissal};
use crate::event::Wrote;
use crate::failure::Refusal;
use crate::plan::Plan;
use tensor::{Task, TaskId, WorkerId};

/// The whole of what a share is a part of.
const WHOLE: u64 = 1_000_000;

/// A result that waits for another to compare it with.
pub(crate) struct Claim {
    pub worker: WorkerId,
    pub partial: Vec<u8>,
    pub wrote: Vec<Wrote>,
}

impl Claim {
    /// Whether two workers came to the same.
    fn agrees(&self, other: &Claim) -> bool {
        self.partial == other.partial && self.wrote == other.wrote
    }
}

/// Whether a task is of the share, in millionths, that is computed twice: by its number alone (SplitMix64's finalizer), so that
/// no order of events decides it.
pub(crate) fn is_drawn(task: &Task, share: u32) -> bool {
    let word = task.id.step.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(task.id.index);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (word ^ (word >> 31)) % WHOLE < u64::from(share)
}

impl Plan {
    /// A worker has a result of a task that is computed twice.
    pub(crate) fn claimed(
        &mut self,
        worker: WorkerId,
        id: TaskId,
        partial: Vec<u8>,
        mut wrote: Vec<Wrote>,
    ) {
        let Some(entry) = self.tasks.get_mut(&id) else {
            return;
        };
        wrote.sort_unstable_by_key(|wrote| wrote.key);
        let claim = Claim {
            worker,
            partial,
            wrote,
        };
        // It was given it again, since nobody else is there.
        let alone = entry.claims.iter().any(|other| other.worker == worker);
        entry.claims.retain(|other| other.worker != worker);
        entry.claims.push(claim);
        let claims = &entry.claims;
        let agreed = claims
            .iter()
            .position(|claim| claims.iter().filter(|other| claim.agrees(other)).count() > 1);
        let panicked = entry.panicked;
        let another = self.workers.iter().any(|(id, state)| {
            let claimed = claims.iter().any(|claim| claim.worker == *id);
            state.takes_tasks() && !claimed && panicked != Some(*id)
        });
        let (count, first) = (claims.len(), claims[0].worker);
        match agreed {
            Some(place) => self.agreed(id, place),
            None if count == 1 && (alone || !another) => self.agreed(id, 0),
            None if count < 3 && another && !alone => {
                if count == 2 {
                    self.out.push(Action::Differ(id, [first, worker]));
                }
                self.requeue(id);
            }
            None => self.stop_as(
                Refusal::Io,
                format!(
                    "the {count} workers that computed task {id} came to different results, and which of them is wrong cannot be \
                     told: check the memory and the processors of their machines, and run again with three workers or more"
                ),
            ),
        }
    }

    /// A result counts; whoever came to another is of the run no more, and what it holds is as good as lost.
    fn agreed(&mut self, id: TaskId, place: usize) {
        let Some(entry) = self.tasks.get_mut(&id) else {
            return;
        };
        let mut claims = std::mem::take(&mut entry.claims);
        let panicked = entry.panicked;
        let counts = claims.swap_remove(place);
        let (agree, differ): (Vec<Claim>, Vec<Claim>) =
            claims.into_iter().partition(|claim| claim.agrees(&counts));
        let mut holders = vec![counts.worker];
        holders.extend(agree.iter().map(|claim| claim.worker));
        self.counts(&holders, id, counts.partial, &counts.wrote);
        let differ = differ.iter().map(|claim| claim.worker);
        // Where two came to the same, a panic is another result.
        let panicked = panicked.filter(|_| holders.len() > 1);
        for worker in differ.chain(panicked) {
            if self.workers.contains_key(&worker) {
                self.dismiss(worker, Dismissal::Disagreed);
            }
        }
    }

    /// The claims of a worker that is lost are void: nobody has what it wrote.
    pub(crate) fn void_claims(&mut self, worker: WorkerId) {
        let mut void = Vec::new();
        for (id, entry) in &mut self.tasks {
            let before = entry.claims.len();
            entry.claims.retain(|claim| claim.worker != worker);
            if entry.claims.len() < before {
                void.push(*id);
            }
        }
        for id in void {
            self.unlist(id);
            self.requeue(id);
        }
    }
}
