//! The steps of a stage in the making, as every graph model writes them: a task a block.

use crate::reduce::Reduction;
use crate::training::TableVersion;
use tensor::{
    DepotId, KeyRange, ObjectKey, PartialSpec, PartitionRef, Read, Step, StepId, Task, TaskId,
};

/// What a step's reduced partials are to a program.
pub trait StageRole: Copy + PartialEq {
    /// Nothing.
    const SILENT: Self;
}

/// The steps of one stage. Ids rise from the one it was begun with.
pub struct Stage<R> {
    first: u64,
    /// Steps in order.
    pub steps: Vec<(Step, R)>,
}

/// Op, reads, writes and cost.
pub type Draft = (tensor::Op, Vec<Read>, Vec<ObjectKey>, u64);

impl<R: StageRole> Stage<R> {
    /// One without a step.
    pub const fn new(first: u64) -> Self {
        Stage {
            first,
            steps: Vec::new(),
        }
    }

    fn next(&self) -> StepId {
        StepId(self.first + self.steps.len() as u64)
    }

    /// A step of a task a draft.
    pub fn push(
        &mut self,
        name: &str,
        role: R,
        drafts: impl Iterator<Item = Draft>,
        frees: Vec<KeyRange>,
    ) {
        let id = self.next();
        let tasks = drafts
            .zip(0..)
            .map(|((op, reads, writes, cost), index)| Task {
                id: TaskId { step: id, index },
                op,
                reads,
                writes,
                after: Vec::new(),
                chain: None,
                cost: cost.max(1),
            });
        let step = Step {
            id,
            name: name.to_owned(),
            tasks: tasks.collect(),
            partial: if role == R::SILENT {
                PartialSpec::None
            } else {
                PartialSpec::Collect
            },
            frees,
        };
        self.steps.push((step, role));
    }

    /// The steps of a reduction.
    pub fn reduce(&mut self, name: &str, reduction: Reduction) {
        let steps = reduction.steps(self.next(), name);
        self.steps
            .extend(steps.into_iter().map(|step| (step, R::SILENT)));
    }

    /// The last step is also the last to read these.
    pub fn push_frees(&mut self, keys: Vec<KeyRange>) {
        if let Some((step, _)) = self.steps.last_mut() {
            step.frees.extend(keys);
        }
    }
}

/// The cost of a task on the rows of a block.
pub fn rows(table: &TableVersion, block: u32) -> u64 {
    u64::from(table.grid.rows[block as usize]) / 4
}

/// A partition, to be read.
pub fn sealed(partition: &PartitionRef) -> Read {
    Read::whole(partition.object.key(DepotId::DATA))
}
