//! A step of Adam on the rows of one block.

use super::rows::{all_numbers, whole};
use crate::objects::{Numbers, block_written, fits, held, held_gram, key_at};
use crate::work::{Fetched, Need, Output, Room, Work};
use model::graph::AdamOp;
use model::graph::adam::{Moved, adam};
use plan::Failure;
use store::AlignedBuf;
use tensor::{ObjectKey, Task};

/// An [`AdamOp`] in progress.
pub(super) struct AdamWork {
    op: AdamOp,
    room: Room,
    keys: Vec<ObjectKey>,
    writes: Vec<ObjectKey>,
    out: Option<[AlignedBuf; 3]>,
}

impl AdamWork {
    /// A task that has fetched nothing.
    ///
    /// # Errors
    /// Where the task's keys are not those of its op.
    pub(super) fn new(task: &Task, op: AdamOp, room: &Room) -> Result<Self, Failure> {
        block_written(task)?;
        let reads = if op.step > 1 { 5 } else { 3 };
        let keys = (0..reads).map(|place| key_at(task, place));
        Ok(AdamWork {
            op,
            room: room.clone(),
            keys: keys.collect::<Result<_, _>>()?,
            writes: task.writes.clone(),
            out: None,
        })
    }

    fn row_bytes(&self) -> usize {
        4 * self.op.columns.next_multiple_of(16) as usize
    }
}

impl Work for AdamWork {
    fn next_need(&mut self) -> Result<Need, Failure> {
        Ok(match self.out {
            None => whole(&self.keys),
            Some(_) => Need::Nothing,
        })
    }

    fn compute(&mut self, fetched: Vec<Fetched>) -> Result<(), Failure> {
        let came = all_numbers(&self.keys, fetched)?;
        let (room, degrees) = (&self.room, came[2].typed::<f64>());
        let bytes = degrees.len() * self.row_bytes();
        // The block's rows may be many: a budget for them is needed only here, where they are known.
        fits(3 * bytes as u64, room.budget_bytes)?;
        let copy = |of: Option<&[f32]>| {
            let mut out = room.buffers.take(bytes);
            match of {
                Some(of) => out.typed_mut::<f32>().copy_from_slice(of),
                None => out.bytes_mut().fill(0),
            }
            out
        };
        // Before the first step there are no means.
        let mut out = [0, 3, 4].map(|place| copy(came.get(place).map(Numbers::typed)));
        let [rows, means, squares] = &mut out;
        let moved = Moved {
            rows: rows.typed_mut(),
            means: means.typed_mut(),
            squares: squares.typed_mut(),
        };
        room.pool
            .install(|| adam(room.simd, &self.op, degrees, came[1].typed(), moved));
        self.out = Some(out);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Output, Failure> {
        let row_bytes = self.row_bytes();
        let out = self.out.expect("everything is computed");
        let wants_gram = self.writes.len() > out.len();
        let gram = wants_gram.then(|| held_gram(&self.room, row_bytes / 4, out[0].typed()));
        let made = out.map(|out| held(out, row_bytes)).into_iter().chain(gram);
        Ok(Output {
            objects: self.writes.into_iter().zip(made).collect(),
            pieces: 1,
            ..Output::default()
        })
    }
}
