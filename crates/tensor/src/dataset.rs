//! What a sealed data set is, as nouns: the axes, the sealed partitions, the views. `depot` writes these
//! into manifests, `tables` makes them, `model` names their objects in tasks.

use crate::attributes::Attributes;
use crate::decay::Decay;
use crate::digest::Digest;
use crate::edges::ModeEdges;
use crate::grid::Grid;
use crate::key::{DepotId, ObjectKey};
use crate::mode::{Mode, Small};
use crate::newcomers::Newcomers;
use crate::time::{Cycle, TimeBin};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Range;

/// A sealed object by content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SealedRef {
    /// BLAKE3 of the whole.
    pub digest: Digest,
    /// Length in bytes.
    pub bytes: u64,
}

impl SealedRef {
    /// The key under which tasks read it.
    pub fn key(self, depot: DepotId) -> ObjectKey {
        ObjectKey::Sealed {
            depot,
            digest: self.digest,
            bytes: self.bytes,
        }
    }
}

/// A sealed partition: the interactions of one block in one orientation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionRef {
    /// The file.
    pub object: SealedRef,
    /// Rows, as in the grid.
    pub rows: u32,
    /// Interactions.
    pub interactions: u64,
}

/// The partitions of a set of interactions, one a block, in both orientations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partitions {
    /// Rows are users, columns products.
    pub user_major: Vec<PartitionRef>,
    /// Rows are products, columns users.
    pub product_major: Vec<PartitionRef>,
    /// Interactions in all.
    pub interactions: u64,
    /// Interactions that came to 0 or less as values below 0 were taken off, and were left out ([`DataSet::nets`]).
    #[serde(default)]
    pub netted: u64,
}

/// What an update added: the partitions of the blocks that it touched, by block. Rows and columns are those of the data set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delta {
    /// Rows are users, columns products.
    pub user_major: BTreeMap<u32, PartitionRef>,
    /// Rows are products, columns users.
    pub product_major: BTreeMap<u32, PartitionRef>,
    /// Interactions in all.
    pub interactions: u64,
}

impl Delta {
    /// Its partitions, those of users first.
    pub fn partitions(&self) -> impl Iterator<Item = &PartitionRef> {
        self.user_major.values().chain(self.product_major.values())
    }

    /// Those of an orientation.
    pub fn side(&self, orientation: Mode) -> &BTreeMap<u32, PartitionRef> {
        match orientation {
            Mode::User => &self.user_major,
            _ => &self.product_major,
        }
    }
}

/// The type of original ids, kept end to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IdKind {
    /// Any signed integer column.
    Int64,
    /// An unsigned 64-bit column.
    UInt64,
    /// Text.
    Utf8,
    /// Bytes.
    Binary,
}

/// A mode whose rows are original ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Axis {
    /// The column of the input.
    pub column: String,
    /// The type of its ids.
    pub id_kind: IdKind,
    /// The frozen grid.
    pub grid: Grid,
    /// One sealed dictionary a block: the original id of each local row.
    pub dictionary: Vec<SealedRef>,
}

/// The time mode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeAxis {
    /// The column of the input.
    pub column: String,
    /// The width of a bin.
    pub bin: TimeBin,
    /// The absolute number ([`TimeBin::index`]) of bin 0.
    pub first_bin: i64,
    /// How many bins.
    pub bins: u32,
    /// Whether the last bin reaches past the last datum, and is therefore left out of splits.
    pub last_is_partial: bool,
}

impl TimeAxis {
    /// The bins that data fill to their end.
    pub fn whole_bins(&self) -> u32 {
        self.bins - u32::from(self.last_is_partial)
    }
}

/// The most contexts: a small mode has a system of equations for each in every partial.
pub const CONTEXTS_MAX: u32 = 1 << 16;

/// The context mode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContextAxis {
    /// Ids of a column, in one block, the most frequent first.
    Ids(Axis),
    /// The places of times in a cycle; rows are the places.
    Cycle {
        /// The column of times.
        column: String,
        /// The cycle.
        cycle: Cycle,
    },
}

impl ContextAxis {
    /// How many contexts.
    pub fn rows(&self) -> u32 {
        match self {
            ContextAxis::Ids(axis) => axis.grid.rows_total() as u32,
            ContextAxis::Cycle { cycle, .. } => cycle.places(),
        }
    }

    /// Its sealed dictionary, where it has one.
    pub fn dictionary(&self) -> &[SealedRef] {
        match self {
            ContextAxis::Ids(axis) => &axis.dictionary,
            ContextAxis::Cycle { .. } => &[],
        }
    }
}

/// What becomes of several rows of one (user, product, time bin, context).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Duplicates {
    /// Values are added, in f64 in the order (file, row).
    Sum,
    /// The largest value.
    Max,
    /// The value that comes last in the order (file, row).
    Last,
    /// The number of rows; collapsing counted interactions adds the counts.
    Count,
}

/// Which of the given files an interaction came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SplitPart {
    /// `files`.
    Train,
    /// `validation_files`.
    Validation,
    /// `test_files`.
    Test,
}

/// A sealed data set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataSet {
    /// Hash of all that decides its bytes: input files (names apart), columns, bins, rules, engine version.
    pub lineage: Digest,
    /// Users.
    pub user: Axis,
    /// Products.
    pub product: Axis,
    /// Time, where the data have it.
    pub time: Option<TimeAxis>,
    /// Context, where the data have it; boxed, since few have.
    pub context: Option<Box<ContextAxis>>,
    /// The column of values, where there is one.
    pub value_column: Option<String>,
    /// How duplicates were combined.
    pub duplicates: Duplicates,
    /// Whether values below 0 are in it, which every view takes off the others of their pair.
    pub nets: bool,
    /// The interactions. One entry, `Train`, unless parts were given as files.
    pub parts: Vec<(SplitPart, Partitions)>,
    /// Rows read.
    pub input_rows: u64,
    /// Rows left out, by reason.
    pub bad_rows: BTreeMap<String, u64>,
    /// What is known of users and products besides, where tables of it were given.
    pub attributes: BTreeMap<Mode, Attributes>,
    /// Edges between users and between products, where lists of them were given.
    pub edges: BTreeMap<Mode, ModeEdges>,
    /// The lineage of the first ingest, where updates followed it.
    pub first: Option<Digest>,
    /// Hashes of the files that it was made of ([`Digest`] of content, names apart); none where it is of a time that did not
    /// record them.
    pub inputs: Vec<Digest>,
    /// What updates added to the `Train` part since its partitions were written, the oldest first.
    pub deltas: Vec<Delta>,
    /// Users that were forgotten, where there are any.
    pub forgotten: Option<Forgotten>,
}

/// Users that a data set forgot. Their rows keep their places in grids and tables, so that no row of another user moves; they
/// have no id, no interaction and no edge, and nothing is known of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forgotten {
    /// Rows without an id, of all times that users were forgotten.
    pub users: u64,
    /// The lineage that the last of them found.
    pub before: Digest,
    /// The lineage that it made.
    pub after: Digest,
}

impl DataSet {
    /// The deltas of a part: updates add to what is trained on.
    pub fn deltas_of(&self, part: SplitPart) -> &[Delta] {
        match part {
            SplitPart::Train => &self.deltas,
            SplitPart::Validation | SplitPart::Test => &[],
        }
    }

    /// The grid of a mode that partitions have as rows.
    fn grid_of(&self, orientation: Mode) -> &Grid {
        match orientation {
            Mode::User => &self.user.grid,
            _ => &self.product.grid,
        }
    }

    /// The partitions that hold a block of a part, in the order in which they came: that of the ingest or the last compaction,
    /// then those of updates. None where there is no such part or block.
    pub fn sources(&self, part: SplitPart, orientation: Mode, block: u32) -> Vec<PartitionRef> {
        let found = self.parts.iter().find(|(other, _)| *other == part);
        let written = found.and_then(|(_, partitions)| {
            let side = match orientation {
                Mode::User => &partitions.user_major,
                _ => &partitions.product_major,
            };
            side.get(block as usize).copied()
        });
        let added = self.deltas_of(part).iter();
        let added = added.filter_map(|delta| delta.side(orientation).get(&block).copied());
        written.into_iter().chain(added).collect()
    }

    /// Whether the partitions of a part are all of it, with a row for each row of the grid.
    pub fn is_settled(&self, part: SplitPart) -> bool {
        [Mode::User, Mode::Product].into_iter().all(|mode| {
            let rows = self.grid_of(mode).rows.iter();
            (0..)
                .zip(rows)
                .all(|(block, &rows)| match self.sources(part, mode, block)[..] {
                    [only] => only.rows == rows,
                    _ => false,
                })
        })
    }

    /// Interactions of all parts and deltas; one that an update repeats counts as often as it stands there.
    pub fn interactions(&self) -> u64 {
        let parts = self.parts.iter().map(|(_, part)| part.interactions);
        let deltas = self.deltas.iter().map(|delta| delta.interactions);
        parts.chain(deltas).sum()
    }

    /// Every partition that holds interactions.
    pub fn partitions(&self) -> impl Iterator<Item = &PartitionRef> {
        let parts = self.parts.iter();
        let parts = parts.flat_map(|(_, part)| part.user_major.iter().chain(&part.product_major));
        parts.chain(self.deltas.iter().flat_map(Delta::partitions))
    }

    /// Users that have an id: forgotten ones are not counted.
    pub fn users(&self) -> u64 {
        let forgotten = self.forgotten.map_or(0, |forgotten| forgotten.users);
        self.user.grid.rows_total() - forgotten
    }

    /// The lineage of the first ingest.
    pub fn origin(&self) -> Digest {
        self.first.unwrap_or(self.lineage)
    }

    /// Bins and contexts; 0 where there are none.
    pub fn small(&self) -> Small<u32> {
        Small {
            time: self.time.as_ref().map_or(0, |time| time.bins),
            context: self.context.as_ref().map_or(0, |context| context.rows()),
        }
    }
}

/// Which interactions a view keeps, and in what shape. Hashed (postcard) into the view's name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewSpec {
    /// The part of the data set it reads.
    pub part: SplitPart,
    /// Bins kept; `None`: all. Times in the view stay those of the data set.
    pub bins: Option<Range<u32>>,
    /// Interactions kept by hash: those whose 64-bit hash of (seed, user row, product row, time bin, context) lies in the range
    /// (end exclusive; the last range ends at `u64::MAX` and includes it).
    pub hash: Option<(u64, Range<u64>)>,
    /// Whether time is collapsed, by the duplicates rule of the data set.
    pub collapse_time: bool,
    /// Whether contexts are collapsed, by the same rule.
    #[serde(default)]
    pub collapse_context: bool,
    /// Whether it is cut into tiles of so many super-blocks a side ([`crate::SuperBlocks`]). Then `user_major` holds the tiles,
    /// those of the first users first; rows and columns are numbered within super-blocks, and there is no
    /// other orientation.
    pub tiles: Option<u32>,
    /// How interactions fade where time is collapsed; `None`: not at all.
    #[serde(default)]
    pub decay: Option<Decay>,
    /// Rows that are held out as if they were new, where there are any.
    #[serde(default)]
    pub newcomers: Option<Newcomers>,
}

impl ViewSpec {
    /// Everything of a part, as it is.
    pub fn whole(part: SplitPart) -> Self {
        ViewSpec {
            part,
            bins: None,
            hash: None,
            collapse_time: false,
            collapse_context: false,
            tiles: None,
            decay: None,
            newcomers: None,
        }
    }
}

/// A view that was built: sealed derived partitions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// What it keeps.
    pub spec: ViewSpec,
    /// The partitions.
    pub partitions: Partitions,
}
