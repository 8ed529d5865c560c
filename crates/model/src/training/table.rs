//! A table of a run at one version.

use serde::{Deserialize, Serialize};
use tensor::{BlockId, Grid, KeyRange, Mode, ObjectKey, TableId};

/// One version of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableVersion {
    /// Its number in the run.
    pub id: TableId,
    /// Its mode, which is its name.
    pub mode: Mode,
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
    /// All blocks.
    pub fn keys(&self) -> KeyRange {
        KeyRange::Blocks {
            table: self.id,
            first: 0,
            count: self.grid.blocks(),
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
