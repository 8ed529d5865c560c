//! Tables of vectors: reading those of some blocks.

use super::attributes::{bytes, dictionaries, need, sealed};
use super::{bug, failure};
use crate::objects::{fits, held};
use crate::{Fetched, Need, Output, Part, Room, Want, Work};
use plan::Failure;
use tables::attributes::TableScan;
use tables::op::{self, RowIds, VectorsOp};
use tables::vectors::Vectors;
use tensor::{ObjectKey, Task};

/// A [`VectorsOp`] in progress.
pub(super) struct VectorsWork {
    op: VectorsOp,
    dictionaries: Vec<ObjectKey>,
    writes: Vec<ObjectKey>,
    scan: TableScan,
    vectors: Option<Vectors>,
    pieces: u64,
}

impl VectorsWork {
    pub(super) fn new(op: VectorsOp, task: &Task, room: &Room) -> Result<Self, Failure> {
        let (dictionaries, known) = dictionaries(&task.reads)?;
        let needed = TableScan::bytes(&op.splits) + Vectors::bytes(&op, known);
        fits(needed, room.budget_bytes)?;
        let scan = Vectors::scan(&op);
        // Rows of small modes are told by numbers: no dictionary has to come.
        let vectors = match &op.ids {
            RowIds::Original(_) => None,
            RowIds::Numbered(_) => Some(Vectors::new(op.clone(), Vec::new()).map_err(failure)?),
        };
        Ok(VectorsWork {
            scan,
            op,
            dictionaries,
            writes: task.writes.clone(),
            vectors,
            pieces: 0,
        })
    }
}

impl Work for VectorsWork {
    fn next_need(&mut self) -> Result<Need, Failure> {
        if self.vectors.is_none() {
            let wants = self.dictionaries.iter();
            let wants = wants.map(|&key| Want::Object(key, Part::Whole));
            return Ok(Need::Fetch(wants.collect()));
        }
        Ok(need(&self.scan))
    }

    fn compute(&mut self, fetched: Vec<Fetched>) -> Result<(), Failure> {
        let Some(vectors) = &mut self.vectors else {
            let files = sealed(fetched)?;
            self.vectors = Some(Vectors::new(self.op.clone(), files).map_err(failure)?);
            return Ok(());
        };
        self.pieces += 1;
        let taken = self
            .scan
            .take(bytes(fetched)?, |batch| vectors.batch(&batch));
        taken.map_err(failure)
    }

    fn finish(self: Box<Self>) -> Result<Output, Failure> {
        let vectors = self
            .vectors
            .ok_or_else(|| bug("a table of vectors ends before it began"))?;
        let (blocks, report) = vectors.finish();
        let row_bytes = 4 * self.op.width as usize;
        let blocks = blocks.into_iter().map(|block| held(block, row_bytes));
        Ok(Output {
            objects: self.writes.into_iter().zip(blocks).collect(),
            partial: op::encode(&report),
            pieces: self.pieces,
            ..Output::default()
        })
    }
}
