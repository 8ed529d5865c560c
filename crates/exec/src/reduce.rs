//! A node of a reduction tree: up to eight objects of f64 are added, some rows at a time where they do not fit.

use crate::objects::{bug, fits, held, key_at, numbers};
use crate::work::{Fetched, Need, Output, Part, Room, Want, Work};
use model::reduce::{FAN_IN, ReduceOp, tree_add};
use plan::Failure;
use store::AlignedBuf;
use tensor::{ObjectKey, Task};

/// A [`ReduceOp`] in progress.
pub struct ReduceWork {
    op: ReduceOp,
    keys: Vec<ObjectKey>,
    write: ObjectKey,
    /// Rows that are added at a time.
    span: u64,
    out: Option<AlignedBuf>,
    next: u64,
    pieces: u64,
}

impl ReduceWork {
    /// A task that has fetched nothing.
    ///
    /// # Errors
    /// Where the budget is too small, or the task's keys are not those of its op.
    pub fn new(task: &Task, op: ReduceOp, room: &Room) -> Result<Self, Failure> {
        let keys: Vec<ObjectKey> = (0..task.reads.len())
            .map(|place| key_at(task, place))
            .collect::<Result<_, _>>()?;
        let [write] = task.writes[..] else {
            return Err(bug(task, "writes more or less than one sum"));
        };
        if keys.is_empty() || keys.len() > FAN_IN as usize {
            return Err(bug(task, "adds no objects, or too many"));
        }
        // What comes, and its copy while it is added up.
        let row = u64::from(op.row_bytes);
        let out = op.rows * row;
        let span_bytes = 2 * keys.len() as u64 * row;
        fits(out + span_bytes, room.budget_bytes)?;
        let span = ((room.budget_bytes - out) / span_bytes.max(1)).clamp(1, op.rows.max(1));
        Ok(ReduceWork {
            op,
            keys,
            write,
            span,
            out: None,
            next: 0,
            pieces: 0,
        })
    }
}

impl Work for ReduceWork {
    fn next_need(&mut self) -> Result<Need, Failure> {
        if self.next == self.op.rows {
            return Ok(Need::Nothing);
        }
        let end = self.op.rows.min(self.next + self.span);
        let part = if self.span == self.op.rows {
            Part::Whole
        } else {
            Part::Span(self.next..end)
        };
        Ok(Need::Fetch(
            self.keys
                .iter()
                .map(|&key| Want::Object(key, part.clone()))
                .collect(),
        ))
    }

    fn compute(&mut self, fetched: Vec<Fetched>) -> Result<(), Failure> {
        let end = self.op.rows.min(self.next + self.span);
        let numbers_of_row = self.op.row_bytes as usize / 8;
        let range = self.next as usize * numbers_of_row..end as usize * numbers_of_row;
        let mut leaves: Vec<Vec<f64>> = Vec::with_capacity(fetched.len());
        for (&key, fetched) in self.keys.iter().zip(fetched) {
            leaves.push(numbers(fetched, Some(key))?.typed::<f64>().to_vec());
        }
        let mut slices: Vec<&mut [f64]> = leaves.iter_mut().map(Vec::as_mut_slice).collect();
        tree_add(&mut slices);
        let bytes = (self.op.rows * u64::from(self.op.row_bytes)) as usize;
        let out = self.out.get_or_insert_with(|| AlignedBuf::zeroed(bytes));
        out.typed_mut::<f64>()[range].copy_from_slice(&leaves[0]);
        self.next = end;
        self.pieces += 1;
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Output, Failure> {
        let out = self.out.unwrap_or_else(|| AlignedBuf::zeroed(0));
        let objects = vec![(self.write, held(out, self.op.row_bytes as usize))];
        Ok(Output {
            objects,
            pieces: self.pieces,
            ..Output::default()
        })
    }
}
