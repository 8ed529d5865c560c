//! The ops of ingest and views as they travel, and the reports that their tasks return as partials.

use crate::attributes::Column;
use crate::columns::ColumnKinds;
use crate::combine::Built;
use crate::error::TablesError;
use crate::numbered::Numbered;
use crate::range::Span;
use crate::spec::{BadReason, ScanSpec};
use crate::survey::{InputFile, Split};
use crate::vectors::{Form, VectorSpec};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use store::Sealed;
use tensor::{
    Attribute, Duplicates, Grid, IdKind, Mode, OpFamily, PartitionRef, SealedRef, Small, ViewSpec,
};

/// The version of the encoding.
pub const VERSION: u16 = 3;

/// What a task of ingest or of a view does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Op {
    /// Decodes a split. Writes its runs of user ids, of product ids, its records and, where they are ids, its runs of contexts.
    Scan(ScanOp),
    /// Merges all runs of ids of a mode. Writes the rows of each run's ids; seals the dictionary.
    Dictionary(DictionaryOp),
    /// Brings a split's records to row ids, sorted in both orientations. Writes both.
    Shuffle(ShuffleOp),
    /// Merges the records of some blocks and seals their partitions.
    Seal(SealOp),
    /// Derives partitions of a view from those of the data set.
    View(ViewOp),
    /// Derives the tiles of a user super-block.
    Tiles(TilesOp),
    /// Learns what the columns of a table of attributes come to.
    Learn(LearnOp),
    /// Seals the words of some blocks.
    Words(WordsOp),
    /// Reads the vectors of some blocks.
    Vectors(VectorsOp),
    /// Brings the ids of edges to rows of their mode.
    Match(MatchOp),
    /// Brings the ids of an update to rows of their mode, new ones to new rows. Writes the rows of each run's ids; seals the
    /// dictionaries of the blocks that grow.
    Grow(GrowOp),
    /// Takes over rows of an earlier model. Writes the rows of each block, the first float of one that the model does not know being
    /// no number.
    Carry(CarryOp),
}

/// Row groups of a table of attributes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttributeSplit {
    /// The file.
    pub input: InputFile,
    /// What of it; its file is the number of an input of the session.
    pub split: Split,
}

/// See [`Op::Learn`]. Reads nothing but the input file; returns a [`crate::attributes::LearnReport`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LearnOp {
    /// What of which file.
    pub split: AttributeSplit,
    /// The column of ids.
    pub id: String,
    /// The columns in use.
    pub columns: Vec<Column>,
}

/// See [`Op::Words`]. Reads the dictionaries of its blocks, and the input files; returns a
/// [`crate::attributes::WordsReport`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WordsOp {
    /// All splits of the tables.
    pub splits: Vec<AttributeSplit>,
    /// The column of ids.
    pub id: String,
    /// Their type.
    pub id_kind: IdKind,
    /// The columns in use.
    pub columns: Vec<Column>,
    /// What they came to.
    pub attributes: Vec<Attribute>,
    /// Rows of the blocks.
    pub rows: u64,
}

/// See [`Op::Vectors`]. Reads the dictionaries of its blocks, and the input files; writes the rows of each block, the first
/// float of one that the files do not have being no number; returns a [`tensor::Imported`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VectorsOp {
    /// All splits of the tables.
    pub splits: Vec<AttributeSplit>,
    /// The column of ids.
    pub id: String,
    /// What they tell.
    pub ids: RowIds,
    /// Where vectors stand.
    pub form: Form,
    /// What they may be.
    pub spec: VectorSpec,
    /// Floats of a row that is written.
    pub width: u32,
    /// Rows of each block.
    pub rows: Vec<u32>,
}

/// What a column tells of rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RowIds {
    /// Original ids of this type, which stand in dictionaries.
    Original(IdKind),
    /// Rows of a small mode without a dictionary.
    Numbered(Numbered),
}

/// See [`Op::Scan`]. Reads nothing but the input file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScanOp {
    /// The file.
    pub input: InputFile,
    /// What of it.
    pub split: Split,
    /// Which columns, by which rules.
    pub spec: ScanSpec,
    /// Their kinds.
    pub kinds: ColumnKinds,
    /// The times that are wanted, where not all are.
    pub span: Option<Span>,
    /// The first absolute bin that times may lie in, where there is one.
    pub first_bin: Option<i64>,
}

/// One sorted run of ids, within the object of a split.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdRun {
    /// Ids.
    pub ids: u32,
    /// Bytes.
    pub bytes: u64,
}

/// One segment of a split's objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Records.
    pub records: u32,
    /// Its users.
    pub users: IdRun,
    /// Its products.
    pub products: IdRun,
    /// Its contexts, where they are ids.
    pub contexts: IdRun,
}

/// The partial of a scan.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ScanReport {
    /// Rows read.
    pub rows: u64,
    /// Rows left out, by reason.
    pub bad: BTreeMap<BadReason, u64>,
    /// The first bad row, counted in the file.
    pub first_bad: Option<(u64, BadReason)>,
    /// The first event without a weight.
    pub unknown_event: Option<String>,
    /// The first and the last absolute bin of usable rows.
    pub bins: Option<(i64, i64)>,
    /// The last second of usable rows.
    pub last_second: Option<i64>,
    /// The segments.
    pub segments: Vec<Segment>,
}

/// Where a run of ids lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdRunPlace {
    /// The object, by split.
    pub split: u32,
    /// Its first byte there.
    pub start: u64,
    /// The run.
    pub run: IdRun,
}

/// See [`Op::Dictionary`]. Reads the runs of ids of all splits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DictionaryOp {
    /// The mode.
    pub mode: Mode,
    /// Its column, for messages.
    pub column: String,
    /// The type of its ids.
    pub id_kind: IdKind,
    /// Every segment's run, in order.
    pub runs: Vec<IdRunPlace>,
    /// Usable rows, which decide the number of blocks.
    pub interactions: u64,
}

/// The partial of a dictionary.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DictionaryReport {
    /// Distinct ids.
    pub ids: u64,
    /// The sealed dictionary of each block.
    pub blocks: Vec<SealedRef>,
}

/// See [`Op::Match`]. Reads the runs of ids of all splits, and the dictionaries of all blocks. Writes a number for each id of each
/// run, one run after the other: one more than its row, or 0 where no block has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MatchOp {
    /// The type of the ids.
    pub id_kind: IdKind,
    /// Every segment's run, in order.
    pub runs: Vec<IdRunPlace>,
    /// Rows of each block.
    pub rows: Vec<u32>,
    /// log2 of the row ids that a block owns.
    pub stride_log2: u8,
}

/// See [`Op::Grow`]. Reads the runs of ids of all splits, and the dictionaries of all blocks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrowOp {
    /// The column of the ids, for messages.
    pub column: String,
    /// How they are looked up.
    pub known: MatchOp,
    /// The most rows that a block may have.
    pub room: u64,
}

/// The partial of [`Op::Grow`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrowReport {
    /// Rows of each block, the new ones included.
    pub rows: Vec<u32>,
    /// The new dictionaries of the blocks that grew.
    pub dictionaries: Vec<(u32, SealedRef)>,
}

/// See [`Op::Carry`]. Reads the sealed blocks of the model's table; returns a [`tensor::Imported`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarryOp {
    /// Floats of a row, there and here.
    pub width: u32,
    /// Rows of each block.
    pub rows: Vec<u32>,
    /// Rows of the whole table.
    pub total: u64,
}

/// What records of edges stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EdgeRule {
    /// The edge from the first row to the second.
    Directed,
    /// Also the one back; once where both rows are the same.
    Both,
}

/// A segment to be shuffled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShuffleSegment {
    /// Records.
    pub records: u32,
    /// Place of its users' rows in the object of all users' rows, and their number.
    pub users: (u64, u32),
    /// Likewise its products.
    pub products: (u64, u32),
    /// Likewise its contexts, where they are ids.
    pub contexts: (u64, u32),
}

/// The shape of records after the scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// Whether they carry a time bin and a context.
    pub small: Small<bool>,
    /// Whether they carry a value.
    pub value: bool,
}

impl Shape {
    /// 32-bit words of a record: user or row, product or column, time, context, value (two, f64).
    pub fn words(self) -> usize {
        self.value_at() + 2 * usize::from(self.value)
    }

    /// The word at which the value begins.
    pub fn value_at(self) -> usize {
        2 + self.small.count()
    }

    /// The time and the context of a record, 0 where it has none; `None` where it ends before them.
    pub fn small_of(self, record: &[u32]) -> Option<Small<u32>> {
        let mut words = record.get(2..self.value_at())?.iter().copied();
        Some(
            self.small
                .map(|has| if has { words.next().unwrap_or(0) } else { 0 }),
        )
    }

    /// Bytes of a record.
    pub fn row_bytes(self) -> u32 {
        4 * self.words() as u32
    }
}

/// The blocks of a mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blocks {
    /// How many.
    pub count: u32,
    /// log2 of the row ids that each owns.
    pub stride_log2: u8,
}

/// See [`Op::Shuffle`]. Reads the split's records, the rows of all users, the rows of all products and, where they are
/// ids, the rows of all contexts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShuffleOp {
    /// Its segments.
    pub segments: Vec<ShuffleSegment>,
    /// The shape of a record.
    pub shape: Shape,
    /// Blocks of users.
    pub user: Blocks,
    /// Blocks of products.
    pub product: Blocks,
    /// The absolute number of bin 0.
    pub first_bin: i64,
    /// How many bins.
    pub bins: u32,
    /// Where records are edges of one mode: what they stand for. Then rows are those of [`MatchOp`], records of unknown ones are
    /// left out, and only directed ones are written in the second orientation.
    pub edges: Option<EdgeRule>,
}

/// The partial of a shuffle: of each segment, in each orientation, where the records of each block begin within it
/// (one entry more than there are blocks).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ShuffleReport {
    /// By user block.
    pub user_major: Vec<Vec<u32>>,
    /// By product block.
    pub product_major: Vec<Vec<u32>>,
    /// Edges of rows that are not known.
    pub unknown: u64,
    /// Edges of a row with itself.
    pub loops: u64,
}

/// Sorted records of one block within the object of a split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordRun {
    /// The object, by split.
    pub split: u32,
    /// The first record.
    pub start: u64,
    /// How many.
    pub records: u64,
}

/// A partition to be sealed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SealUnit {
    /// The mode of its rows.
    pub orientation: Mode,
    /// The block.
    pub block: u32,
    /// Its rows.
    pub rows: u32,
    /// log2 of the row ids that a block owns.
    pub stride_log2: u8,
    /// Its runs, in the order (file, row).
    pub runs: Vec<RecordRun>,
}

/// See [`Op::Seal`]. Reads the shuffled records of all splits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SealOp {
    /// The partitions.
    pub units: Vec<SealUnit>,
    /// The shape of a record.
    pub shape: Shape,
    /// How duplicates are combined.
    pub duplicates: Duplicates,
    /// The column of values, for messages.
    pub value_column: String,
}

/// See [`Op::View`]. Reads the sealed source partitions of its units, in order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ViewOp {
    /// What the view keeps.
    pub spec: ViewSpec,
    /// The partitions.
    pub units: Vec<ViewUnit>,
    /// How duplicates are combined.
    pub duplicates: Duplicates,
    /// Whether interactions that come to 0 or less are left out.
    pub nets: bool,
    /// Whose interactions are left out.
    pub forgets: Forgets,
}

/// Users whose interactions, or edges, are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forgets {
    /// Their rows, rising.
    pub users: Vec<u32>,
    /// Whether columns are users whatever rows are: edges between users.
    pub edges: bool,
}

impl Forgets {
    /// Whether a row and a column of partitions with rows of this mode are of one of them.
    pub fn covers(&self, orientation: Mode, row: u32, column: u32) -> bool {
        let covers = |user: u32| self.users.binary_search(&user).is_ok();
        match orientation {
            Mode::User if self.edges => covers(row) || covers(column),
            Mode::User => covers(row),
            _ => covers(column),
        }
    }
}

/// A partition to be derived.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewUnit {
    /// The mode of its rows.
    pub orientation: Mode,
    /// The block.
    pub block: u32,
    /// The row id of its first row.
    pub first_row: u32,
    /// Its rows.
    pub rows: u32,
    /// From what: the partitions of the block, the oldest first.
    pub sources: Vec<PartitionRef>,
    /// The rows that it keeps.
    pub rows_kept: RowsKept,
}

/// Rows of a partition that is derived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RowsKept {
    /// All.
    #[default]
    All,
    /// Those that one of so many last sources has interactions of.
    OfLast(u32),
}

/// See [`Op::Tiles`]. Reads the user-major partitions of the super-block's blocks, in order, of each block the oldest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TilesOp {
    /// What the view keeps, and the super-blocks of a side.
    pub spec: ViewSpec,
    /// Which super-block of users.
    pub super_block: u32,
    /// How many partitions each of its blocks has.
    pub sources: Vec<u32>,
    /// The grid of users.
    pub user: Grid,
    /// The grid of products.
    pub product: Grid,
    /// How duplicates are combined.
    pub duplicates: Duplicates,
    /// Whether interactions that come to 0 or less are left out.
    pub nets: bool,
}

/// The partial of a seal, view or tiles task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealReport {
    /// One a unit, or a tile.
    pub partitions: Vec<PartitionRef>,
    /// Interactions of user-major ones that came to 0 or less and were left out.
    pub netted: u64,
}

impl SealReport {
    /// Takes a partition, whose file is the caller's to put.
    pub fn take(&mut self, built: Built) -> Sealed {
        self.partitions.push(built.partition);
        self.netted += built.netted;
        built.file
    }
}

impl Op {
    /// As a task carries it.
    pub fn encode(&self) -> tensor::Op {
        tensor::Op {
            family: OpFamily::Tables,
            version: VERSION,
            body: Arc::from(encode(self)),
        }
    }

    /// Opens what [`Op::encode`] made.
    ///
    /// # Errors
    /// Where it is of another version or malformed.
    pub fn decode(op: &tensor::Op) -> Result<Self, TablesError> {
        if op.version != VERSION {
            return Err(TablesError::OpVersion { found: op.version });
        }
        decode(&op.body)
    }
}

/// Encodes a report.
///
/// # Panics
/// Never: the types of this module are all encodable.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_stdvec(value).expect("plain structs can be encoded")
}

/// Decodes a report.
///
/// # Errors
/// Where the bytes are not one.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, TablesError> {
    postcard::from_bytes(bytes).map_err(|_| TablesError::Malformed("an op or report"))
}
