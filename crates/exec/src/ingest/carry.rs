//! Taking over the rows of an earlier model, where a block may have more rows by now.

use super::attributes::{dictionaries, sealed};
use super::{bug, failure};
use crate::objects::{fits, held};
use crate::{Fetched, Need, Output, Part, Room, Want, Work};
use plan::Failure;
use store::{AlignedBuf, Sealed};
use tables::TablesError;
use tables::op::{self, CarryOp};
use tensor::{Imported, ObjectKey, Task};

/// A [`CarryOp`] in progress.
pub(super) struct CarryWork {
    op: CarryOp,
    sources: Vec<ObjectKey>,
    writes: Vec<ObjectKey>,
    blocks: Vec<AlignedBuf>,
    known: u64,
}

impl CarryWork {
    pub(super) fn new(op: CarryOp, task: &Task, room: &Room) -> Result<Self, Failure> {
        let rows: u64 = op.rows.iter().map(|&rows| u64::from(rows)).sum();
        let (sources, bytes) = dictionaries(&task.reads)?;
        fits(rows * 4 * u64::from(op.width) + bytes, room.budget_bytes)?;
        Ok(CarryWork {
            op,
            sources,
            writes: task.writes.clone(),
            blocks: Vec::new(),
            known: 0,
        })
    }

    /// The rows of a block. A row of zeros had no interaction, and so is not known.
    fn carry(&mut self, file: &Sealed, rows: u32) -> Result<AlignedBuf, Failure> {
        let width = self.op.width as usize;
        let section = file.section(0..file.len());
        let section = section.map_err(|error| failure(TablesError::from(error)))?;
        let earlier = section.chunks_exact(4 * width);
        if !earlier.remainder().is_empty() || earlier.len() > rows as usize {
            return Err(bug("a model has other rows than its data set"));
        }
        let mut buffer = AlignedBuf::zeroed(rows as usize * width * 4);
        let mut now = buffer.typed_mut::<f32>().chunks_exact_mut(width);
        for (bytes, row) in earlier.zip(&mut now) {
            bytemuck::cast_slice_mut(row).copy_from_slice(bytes);
            if row.iter().all(|value| *value == 0.0) {
                row[0] = f32::NAN;
            } else {
                self.known += 1;
            }
        }
        now.for_each(|row| row[0] = f32::NAN);
        Ok(buffer)
    }
}

impl Work for CarryWork {
    fn next_need(&mut self) -> Result<Need, Failure> {
        if self.blocks.len() == self.writes.len() {
            return Ok(Need::Nothing);
        }
        let wants = self.sources.iter();
        let wants = wants.map(|&key| Want::Object(key, Part::Whole));
        Ok(Need::Fetch(wants.collect()))
    }

    fn compute(&mut self, fetched: Vec<Fetched>) -> Result<(), Failure> {
        let files = sealed(fetched)?;
        for (file, rows) in files.iter().zip(self.op.rows.clone()) {
            let block = self.carry(file, rows)?;
            self.blocks.push(block);
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Output, Failure> {
        let row_bytes = 4 * self.op.width as usize;
        let blocks = self.blocks.into_iter().map(|block| held(block, row_bytes));
        let report = Imported {
            rows: self.op.total,
            known: self.known,
        };
        Ok(Output {
            objects: self.writes.into_iter().zip(blocks).collect(),
            partial: op::encode(&report),
            pieces: 1,
            ..Output::default()
        })
    }
}
