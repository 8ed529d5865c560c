//! Names of everything a task may read or write.
//!
//! Keys are relative to a run: the session a message belongs to carries the run key.

use crate::Digest;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A block of rows of one mode; the unit of storage, transfer, scheduling, retry and checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BlockId(pub u32);

/// A named matrix of a run. Programs number their own tables and keep the names beside them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TableId(pub u16);

/// One of the places of durable objects that a session knows: see [`DepotId::DATA`], [`DepotId::MODEL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DepotId(pub u8);

impl DepotId {
    /// The data set: partitions, views, dictionaries.
    pub const DATA: DepotId = DepotId(0);
    /// The model: checkpoints and factors.
    pub const MODEL: DepotId = DepotId(1);
}

/// A worker as the coordinator numbers it; a worker that comes back gets a new number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct WorkerId(pub u32);

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "w{}", self.0)
    }
}

/// The name of an immutable object. The same key always means the same bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ObjectKey {
    /// One version of one block of a table. The version is the program's write number for that block,
    /// never an attempt or a worker, so a replay makes the same keys.
    Block {
        /// The table.
        table: TableId,
        /// The block of the table's mode.
        block: BlockId,
        /// The program's write number for this block.
        version: u64,
    },
    /// A node of a reduction tree that is too large to travel inline.
    Partial {
        /// The program's number of this reduction, unique in the run.
        reduction: u64,
        /// 0 for what tasks write themselves, rising to the root.
        level: u8,
        /// Position within the level.
        index: u32,
    },
    /// A sealed object, named by its content, to be had from a depot or from any cache.
    Sealed {
        /// Where the durable copy lies.
        depot: DepotId,
        /// BLAKE3 of the whole object.
        digest: Digest,
        /// Length in bytes.
        bytes: u64,
    },
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ObjectKey::Block {
                table,
                block,
                version,
            } => write!(f, "t{}b{}v{version}", table.0, block.0),
            ObjectKey::Partial {
                reduction,
                level,
                index,
            } => write!(f, "p{reduction}l{level}i{index}"),
            ObjectKey::Sealed { digest, .. } => write!(f, "s{}", digest.short()),
        }
    }
}

/// One key, or a run of neighbouring blocks of one table at one version (so that a task that reads a
/// whole table of 64 blocks names it once).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum KeyRange {
    /// Exactly this object.
    One(ObjectKey),
    /// The blocks `first .. first + count` of a table.
    Blocks {
        /// The table.
        table: TableId,
        /// The first block.
        first: u32,
        /// How many blocks.
        count: u32,
        /// The version of each of them.
        version: u64,
    },
}

impl KeyRange {
    /// Every key in the range, in block order.
    pub fn keys(self) -> impl Iterator<Item = ObjectKey> {
        let count = match self {
            KeyRange::One(_) => 1,
            KeyRange::Blocks { count, .. } => count,
        };
        (0..count).map(move |i| match self {
            KeyRange::One(key) => key,
            KeyRange::Blocks {
                table,
                first,
                version,
                ..
            } => ObjectKey::Block {
                table,
                block: BlockId(first + i),
                version,
            },
        })
    }
}

impl From<ObjectKey> for KeyRange {
    fn from(key: ObjectKey) -> Self {
        KeyRange::One(key)
    }
}
