//! A table of a run at one version.

use serde::{Deserialize, Serialize};
use tensor::{BlockId, Grid, KeyRange, Mode, ObjectKey, TableId};

/// What the rows of a table are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Holds {
    /// The factors of the rows of its mode.
    #[default]
    Factors,
    /// The maps of the columns of its mode's attributes.
    Maps,
    /// The linear terms of the columns of its mode's attributes.
    Terms,
    /// The mean of its mode's factors by their interactions in training, in one row.
    Mean,
    /// The matrices of layers that its mode goes through, a block a layer.
    Weights,
    /// The classifier of its mode's labels.
    Labels,
}

/// One version of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableVersion {
    /// Its number in the run.
    pub id: TableId,
    /// Its mode.
    pub mode: Mode,
    /// What its rows are.
    pub holds: Holds,
    /// Columns in use.
    pub rank: u32,
    /// Floats of a stored row; those beyond the rank are zero.
    pub width: u32,
    /// The cut into blocks.
    pub grid: Grid,
    /// The version of every block.
    pub version: u64,
}

impl TableVersion {
    /// Its name in a model: for factors that of the mode.
    pub fn name(&self) -> String {
        match self.holds {
            Holds::Factors => self.mode.name().to_owned(),
            Holds::Maps => format!("{}_attributes", self.mode),
            Holds::Terms => format!("{}_terms", self.mode),
            Holds::Mean => format!("{}_mean", self.mode),
            Holds::Weights => format!("{}_weights", self.mode),
            Holds::Labels => format!("{}_labels", self.mode),
        }
    }

    /// All blocks.
    pub fn keys(&self) -> KeyRange {
        KeyRange::Blocks {
            table: self.id,
            first: 0,
            count: self.grid.blocks(),
            version: self.version,
        }
    }

    /// Some consecutive blocks.
    pub fn some(&self, first: u32, count: u32) -> KeyRange {
        KeyRange::Blocks {
            table: self.id,
            first,
            count,
            version: self.version,
        }
    }

    /// One block.
    pub fn block(&self, block: u32) -> ObjectKey {
        ObjectKey::Block {
            table: self.id,
            block: BlockId(block),
            version: self.version,
        }
    }
}
