//! Heads of graph models: products less their rivals, and a pass over a partition that makes the gradients of a block's rows.

use super::rows::{all_numbers, whole};
use crate::objects::{Numbers, bad_partition, block_written, fits, held, key_at, numbers, read_at};
use crate::pieces::{Gather, Pass, Passing};
use crate::work::{Fetched, Need, Output, Room, Work};
use model::als::Rows;
use model::graph::head::{Pull, add_pass, whole_bytes, whole_pull};
use model::graph::product::Sums;
use model::graph::{HeadOp, Loss, RivalsOp, Target};
use plan::Failure;
use store::AlignedBuf;
use store::partition::Partition;
use tensor::{BlockId, CsrRef, Mode, ObjectKey, Task};

/// A [`RivalsOp`] in progress, or its undoing.
pub(super) struct RivalsWork {
    op: RivalsOp,
    undoes: bool,
    block: BlockId,
    room: Room,
    keys: [ObjectKey; 4],
    write: ObjectKey,
    out: Option<AlignedBuf>,
}

impl RivalsWork {
    /// A task that has fetched nothing.
    ///
    /// # Errors
    /// Where the task's keys are not those of its op.
    pub(super) fn new(
        task: &Task,
        op: RivalsOp,
        undoes: bool,
        room: &Room,
    ) -> Result<Self, Failure> {
        Ok(RivalsWork {
            op,
            undoes,
            block: block_written(task)?,
            room: room.clone(),
            keys: [
                key_at(task, 0)?,
                key_at(task, 1)?,
                key_at(task, 2)?,
                key_at(task, 3)?,
            ],
            write: task.writes[0],
            out: None,
        })
    }

    fn width(&self) -> usize {
        self.op.columns.next_multiple_of(16) as usize
    }
}

impl Work for RivalsWork {
    fn next_need(&mut self) -> Result<Need, Failure> {
        Ok(match self.out {
            None => whole(&self.keys),
            Some(_) => Need::Nothing,
        })
    }

    fn compute(&mut self, fetched: Vec<Fetched>) -> Result<(), Failure> {
        let came = all_numbers(&self.keys, fetched)?;
        let (own, other) = (came[0].typed::<f32>(), came[1].typed::<f32>());
        let (degrees, other_degrees) = (came[2].typed(), came[3].typed());
        let (op, block, width) = (&self.op, self.block, self.width());
        fits(4 * own.len() as u64, self.room.budget_bytes)?;
        let mut out = self.room.buffers.take(4 * own.len());
        if self.undoes {
            let pairs = op.pairs(op.against(block), other_degrees, degrees);
            op.undo(&pairs, width, (own, other), out.typed_mut());
            op.power.scale(width, degrees, out.typed_mut());
        } else {
            let pairs = op.pairs(block, degrees, other_degrees);
            op.place(&pairs, width, (own, other), out.typed_mut());
        }
        self.out = Some(out);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Output, Failure> {
        let row_bytes = 4 * self.width();
        let out = self.out.expect("everything is computed");
        Ok(Output {
            objects: vec![(self.write, held(out, row_bytes))],
            pieces: 1,
            ..Output::default()
        })
    }
}

/// A [`HeadOp`] in progress.
pub(super) struct HeadPass {
    op: HeadOp,
    block: BlockId,
    width: usize,
    rows: u32,
    write: ObjectKey,
    /// Of degrees, of the block's rows, for all pairs of the other table's Gram, and of what another pass has made.
    keys: Vec<ObjectKey>,
    started: Option<Started>,
}

/// What there is once the first fetch came.
struct Started {
    /// What came of the keys.
    came: Vec<Numbers>,
    pull: Pull,
    out: AlignedBuf,
}

impl HeadPass {
    /// A task that has fetched nothing.
    ///
    /// # Errors
    /// Where the budget is too small, or the task's keys are not those of its op.
    pub(super) fn begin(task: &Task, op: HeadOp, room: &Room) -> Result<Passing<Self>, Failure> {
        let block = block_written(task)?;
        let width = op.columns.next_multiple_of(16) as usize;
        let rows = op.rows.rows[block.0 as usize];
        // Offsets, degree, row, gradient and, onto another pass, that of it.
        let row_bytes = 16 + 4 * width as u64 * (2 + u64::from(op.onto));
        let beside = if op.alpha0.is_some() {
            whole_bytes(width, room.pool.current_num_threads())
        } else {
            0
        };
        let gather = Gather::new(
            &op.others,
            read_at(task, 1)?,
            width,
            u64::from(rows) * row_bytes + Sums::bytes(width) + beside,
            // What of a batch is picked out is 4 bytes an interaction at most, and as many of its values.
            Sums::piece_bytes(width) + if op.target == Target::Value { 8 } else { 4 },
            room.budget_bytes,
        )?;
        let partition_key = key_at(task, 0)?;
        let places = 2..4 + usize::from(op.alpha0.is_some()) + usize::from(op.onto);
        let keys = places.map(|place| key_at(task, place));
        let keys = keys.collect::<Result<Vec<_>, _>>()?;
        let pass = HeadPass {
            op,
            block,
            width,
            rows,
            write: task.writes[0],
            keys: keys.clone(),
            started: None,
        };
        Ok(Passing::new(pass, room, partition_key, keys, gather))
    }
}

impl Pass for HeadPass {
    fn start(
        &mut self,
        room: &Room,
        partition: &Partition,
        came: Vec<Fetched>,
    ) -> Result<(), Failure> {
        if partition.rows() != self.rows {
            let what = format!("has {} rows instead of {}", partition.rows(), self.rows);
            return Err(bad_partition(&what));
        }
        let came = self.keys.iter().zip(came);
        let came = came.map(|(&key, came)| numbers(came, Some(key)));
        let mut out = room.buffers.take(self.rows as usize * self.width * 4);
        out.bytes_mut().fill(0);
        self.started = Some(Started {
            came: came.collect::<Result<_, _>>()?,
            pull: Pull::new(room.simd, &self.op, self.block),
            out,
        });
        Ok(())
    }

    fn piece(
        &mut self,
        ids: &[u32],
        csr: CsrRef<'_>,
        first_row: u32,
        others: Rows<'_>,
    ) -> Result<(), Failure> {
        let Started { came, pull, out } = self.started.as_mut().expect("started");
        let own = came[1].typed();
        pull.piece(csr, ids, first_row as usize, others, own, out.typed_mut());
        Ok(())
    }

    fn finish(self, room: &Room, _: &Partition) -> Result<Output, Failure> {
        let (op, width) = (&self.op, self.width);
        let Started {
            came,
            pull,
            mut out,
        } = self.started.expect("everything is computed");
        let (degrees, own) = (came[0].typed::<f64>(), came[1].typed::<f32>());
        let mut loss = pull.loss();
        room.pool.install(|| {
            if let Some(alpha0) = op.alpha0 {
                let (gram, out) = (came[2].typed(), out.typed_mut());
                loss += whole_pull(room.simd, alpha0, gram, width, own, out);
            }
            if let Some(so_far) = came.last().filter(|_| op.onto) {
                add_pass(so_far.typed(), out.typed_mut());
            }
            op.power.scale(width, degrees, out.typed_mut());
        });
        let partial = if op.mode == Mode::User {
            Loss(loss).encode()
        } else {
            Vec::new()
        };
        Ok(Output {
            objects: vec![(self.write, held(out, 4 * width))],
            partial,
            ..Output::default()
        })
    }
}
