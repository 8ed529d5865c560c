//! Rows of one length, their gradients, and the labels that they learn to tell.

use super::dense::{Whole, as_many, width};
use super::rows::whole;
use crate::objects::{
    Numbers, bug, fits, held, held_gram, held_row, key_at, numbers, sealed_numbers,
};
use crate::work::{Fetched, Held, Need, Output, Room, Work};
use model::graph::ucmf::labels::{LabelRows, labels, labels_bytes};
use model::graph::ucmf::unit::{back, back_bytes, forward};
use model::graph::{LabelsOp, UnitBackOp, UnitOp};
use plan::Failure;
use tensor::{ObjectKey, Task};

impl Whole for UnitOp {
    const WRITES: usize = 1;

    fn reads(&self) -> usize {
        1
    }

    fn make(&self, room: &Room, came: &[Numbers], gram: bool) -> Result<Vec<Held>, Failure> {
        let (learnt, width) = (came[0].typed::<f32>(), width(self.columns));
        let bytes = 4 * learnt.len();
        // The block's rows may be many: a budget for them is needed only here, where they are known.
        fits(bytes as u64, room.budget_bytes)?;
        let mut out = room.buffers.take(bytes);
        let gram = room.pool.install(|| {
            forward(room.simd, self, learnt, out.typed_mut());
            gram.then(|| held_gram(room, width, out.typed()))
        });
        Ok(std::iter::once(held(out, 4 * width)).chain(gram).collect())
    }
}

impl Whole for UnitBackOp {
    const WRITES: usize = 1;

    fn reads(&self) -> usize {
        2
    }

    fn make(&self, room: &Room, came: &[Numbers], _: bool) -> Result<Vec<Held>, Failure> {
        let (learnt, gradients) = (came[0].typed::<f32>(), came[1].typed::<f32>());
        let bytes = 4 * gradients.len();
        let beside = back_bytes(self.columns, room.pool.current_num_threads());
        fits(bytes as u64 + beside, room.budget_bytes)?;
        let mut out = room.buffers.take(bytes);
        out.typed_mut::<f32>().copy_from_slice(gradients);
        room.pool
            .install(|| back(room.simd, self, learnt, out.typed_mut()));
        Ok(vec![held(out, 4 * width(self.columns))])
    }
}

/// A [`LabelsOp`] in progress.
pub(super) struct LabelsWork {
    op: LabelsOp,
    room: Room,
    keys: Vec<ObjectKey>,
    writes: Vec<ObjectKey>,
    made: Option<([Held; 2], Vec<u8>)>,
}

impl LabelsWork {
    /// A task that has fetched nothing.
    ///
    /// # Errors
    /// Where the task's keys are not those of its op.
    pub(super) fn new(task: &Task, op: LabelsOp, room: &Room) -> Result<Self, Failure> {
        if task.writes.len() != 2 {
            return Err(bug(task, "writes more or less than its op"));
        }
        let keys = (0..5).map(|place| key_at(task, place));
        Ok(LabelsWork {
            op,
            room: room.clone(),
            keys: keys.collect::<Result<_, _>>()?,
            writes: task.writes.clone(),
            made: None,
        })
    }
}

impl Work for LabelsWork {
    fn next_need(&mut self) -> Result<Need, Failure> {
        Ok(match self.made {
            None => whole(&self.keys),
            Some(_) => Need::Nothing,
        })
    }

    fn compute(&mut self, fetched: Vec<Fetched>) -> Result<(), Failure> {
        let came = self.keys.iter().zip(fetched);
        let came = came.map(|(&key, fetched)| match fetched {
            Fetched::Sealed(_) => sealed_numbers(fetched, key),
            made => numbers(made, Some(key)),
        });
        let came = came.collect::<Result<Vec<_>, _>>()?;
        let (op, room) = (&self.op, &self.room);
        let of = LabelRows {
            embeddings: came[0].typed(),
            degrees: came[2].typed(),
            words: came[3].typed(),
            matrix: came[4].typed(),
        };
        as_many(of.words, of.degrees.len() * op.attributes as usize)?;
        let gradients = came[1].typed::<f32>();
        let bytes = 4 * gradients.len();
        let threads = room.pool.current_num_threads();
        let beside = labels_bytes(op, of.degrees.len(), threads);
        fits(bytes as u64 + beside, room.budget_bytes)?;
        let mut out = room.buffers.take(bytes);
        out.typed_mut::<f32>().copy_from_slice(gradients);
        let made = room
            .pool
            .install(|| labels(room.simd, op, of, out.typed_mut()));
        let (sums, told) = made;
        let block = held(out, 4 * width(op.columns));
        self.made = Some(([block, held_row(&sums)], told.encode()));
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Output, Failure> {
        let (made, partial) = self.made.expect("everything is computed");
        Ok(Output {
            objects: self.writes.into_iter().zip(made).collect(),
            partial,
            pieces: 1,
            ..Output::default()
        })
    }
}
