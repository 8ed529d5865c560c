//! The eigenbasis of a table's Gram, and blocks turned into it.

use crate::objects::{Numbers, bug, fits, held, held_row, key_at, numbers};
use crate::work::{Fetched, Need, Output, Part, Room, Want, Work};
use model::als::basis::{Basis, basis_len, basis_of, basis_scratch_bytes};
use model::als::{BasisOp, TurnOp};
use plan::Failure;
use store::AlignedBuf;
use tensor::{ObjectKey, Task};

/// A [`BasisOp`] in progress.
pub struct BasisWork {
    op: BasisOp,
    room: Room,
    grams: Vec<ObjectKey>,
    write: ObjectKey,
    basis: Option<Vec<f64>>,
}

impl BasisWork {
    /// A task that has fetched nothing.
    ///
    /// # Errors
    /// Where the budget is too small, or the task's keys are not those of its op.
    pub fn new(task: &Task, op: BasisOp, room: &Room) -> Result<Self, Failure> {
        let width = op.rank.next_multiple_of(16) as usize;
        let result = 2 * 8 * basis_len(width) as u64;
        fits(
            result + basis_scratch_bytes(op.rank as usize),
            room.budget_bytes,
        )?;
        Ok(BasisWork {
            op,
            room: room.clone(),
            grams: (0..task.reads.len())
                .map(|place| key_at(task, place))
                .collect::<Result<_, _>>()?,
            write: only_write(task)?,
            basis: None,
        })
    }
}

impl Work for BasisWork {
    fn next_need(&mut self) -> Result<Need, Failure> {
        Ok(match self.basis {
            None => Need::Fetch(
                self.grams
                    .iter()
                    .map(|&gram| Want::Object(gram, Part::Whole))
                    .collect(),
            ),
            Some(_) => Need::Nothing,
        })
    }

    fn compute(&mut self, fetched: Vec<Fetched>) -> Result<(), Failure> {
        let came = self.grams.iter().zip(fetched);
        let came: Vec<Numbers> = came
            .map(|(&key, fetched)| numbers(fetched, Some(key)))
            .collect::<Result<_, _>>()?;
        let grams: Vec<&[f64]> = came.iter().map(Numbers::typed).collect();
        let (simd, rank) = (self.room.simd, self.op.rank as usize);
        self.basis = Some(basis_of(simd, rank, self.op.biases, &grams));
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Output, Failure> {
        let basis = self.basis.expect("everything is computed");
        Ok(Output {
            objects: vec![(self.write, held_row(&basis))],
            pieces: 1,
            ..Output::default()
        })
    }
}

/// A [`TurnOp`] in progress.
pub struct TurnWork {
    op: TurnOp,
    room: Room,
    keys: [ObjectKey; 2],
    write: ObjectKey,
    turned: Option<AlignedBuf>,
}

impl TurnWork {
    /// A task that has fetched nothing.
    ///
    /// # Errors
    /// Where the task's keys are not those of its op.
    pub fn new(task: &Task, op: TurnOp, room: &Room) -> Result<Self, Failure> {
        Ok(TurnWork {
            op,
            room: room.clone(),
            keys: [key_at(task, 0)?, key_at(task, 1)?],
            write: only_write(task)?,
            turned: None,
        })
    }
}

impl Work for TurnWork {
    fn next_need(&mut self) -> Result<Need, Failure> {
        if self.turned.is_some() {
            return Ok(Need::Nothing);
        }
        let wants = self.keys.map(|key| Want::Object(key, Part::Whole));
        Ok(Need::Fetch(wants.to_vec()))
    }

    fn compute(&mut self, fetched: Vec<Fetched>) -> Result<(), Failure> {
        let came = self.keys.iter().zip(fetched);
        let came: Vec<Numbers> = came
            .map(|(&key, fetched)| numbers(fetched, Some(key)))
            .collect::<Result<_, _>>()?;
        let width = self.op.rank.next_multiple_of(16) as usize;
        let rows: &[f32] = came[0].typed();
        // The block's rows and their like may be large: a budget for them is needed only here, where they are known.
        let needed = 4 * rows.len() as u64 + Basis::bytes(width);
        fits(needed, self.room.budget_bytes)?;
        let basis = Basis::open(width, came[1].typed());
        let mut out = AlignedBuf::zeroed(4 * rows.len());
        self.room
            .pool
            .install(|| basis.turn(self.room.simd, rows, out.typed_mut()));
        self.turned = Some(out);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Output, Failure> {
        let width = self.op.rank.next_multiple_of(16) as usize;
        let turned = self.turned.expect("everything is computed");
        Ok(Output {
            objects: vec![(self.write, held(turned, 4 * width))],
            pieces: 1,
            ..Output::default()
        })
    }
}

fn only_write(task: &Task) -> Result<ObjectKey, Failure> {
    match task.writes[..] {
        [write] => Ok(write),
        _ => Err(bug(task, "writes more or less than one object")),
    }
}
