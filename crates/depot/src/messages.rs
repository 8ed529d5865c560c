//! The manifest as it is stored: protobuf messages. Tags are never reused; a field that is added later must have a
//! meaning when it is absent.

use prost::Message;

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ManifestMessage {
    #[prost(uint64, tag = "1")]
    pub number: u64,
    #[prost(uint64, tag = "2")]
    pub term: u64,
    #[prost(bytes = "vec", tag = "3")]
    pub predecessor: Vec<u8>,
    #[prost(oneof = "BodyMessage", tags = "10, 11, 12, 13, 14, 15, 16")]
    pub body: Option<BodyMessage>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum BodyMessage {
    #[prost(message, tag = "10")]
    Term(TermMessage),
    #[prost(message, tag = "11")]
    DataSet(DataSetMessage),
    #[prost(message, tag = "12")]
    View(ViewMessage),
    #[prost(message, tag = "13")]
    Checkpoint(CheckpointMessage),
    #[prost(message, tag = "14")]
    Model(ModelMessage),
    /// A data set with deltas: versions that do not merge them know nothing of this body, and so do not read the rest
    /// as if it were all.
    #[prost(message, tag = "15")]
    UpdatedDataSet(DataSetMessage),
    #[prost(message, tag = "16")]
    Withdrawal(WithdrawalMessage),
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct WithdrawalMessage {
    #[prost(uint64, repeated, tag = "1")]
    pub manifests: Vec<u64>,
    #[prost(uint32, repeated, tag = "2")]
    pub rows: Vec<u32>,
    #[prost(uint64, repeated, tag = "3")]
    pub cleared: Vec<u64>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TermMessage {
    #[prost(bytes = "vec", tag = "1")]
    pub run: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct SealedMessage {
    #[prost(bytes = "vec", tag = "1")]
    pub digest: Vec<u8>,
    #[prost(uint64, tag = "2")]
    pub bytes: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct PartitionMessage {
    #[prost(message, optional, tag = "1")]
    pub object: Option<SealedMessage>,
    #[prost(uint32, tag = "2")]
    pub rows: u32,
    #[prost(uint64, tag = "3")]
    pub interactions: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct PartitionsMessage {
    #[prost(message, repeated, tag = "1")]
    pub user_major: Vec<PartitionMessage>,
    #[prost(message, repeated, tag = "2")]
    pub product_major: Vec<PartitionMessage>,
    #[prost(uint64, tag = "3")]
    pub interactions: u64,
    #[prost(uint64, tag = "4")]
    pub netted: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct GridMessage {
    #[prost(uint32, tag = "1")]
    pub stride_log2: u32,
    #[prost(uint32, repeated, tag = "2")]
    pub rows: Vec<u32>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct AxisMessage {
    #[prost(string, tag = "1")]
    pub column: String,
    #[prost(uint32, tag = "2")]
    pub id_kind: u32,
    #[prost(message, optional, tag = "3")]
    pub grid: Option<GridMessage>,
    #[prost(message, repeated, tag = "4")]
    pub dictionary: Vec<SealedMessage>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TimeAxisMessage {
    #[prost(string, tag = "1")]
    pub column: String,
    #[prost(uint32, tag = "2")]
    pub bin: u32,
    #[prost(sint64, tag = "3")]
    pub first_bin: i64,
    #[prost(uint32, tag = "4")]
    pub bins: u32,
    #[prost(bool, tag = "5")]
    pub last_is_partial: bool,
}

/// Ids where it has an axis, else the places in a cycle.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ContextAxisMessage {
    #[prost(message, optional, tag = "1")]
    pub ids: Option<AxisMessage>,
    #[prost(string, tag = "2")]
    pub column: String,
    #[prost(uint32, tag = "3")]
    pub cycle: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct PartMessage {
    #[prost(uint32, tag = "1")]
    pub part: u32,
    #[prost(message, optional, tag = "2")]
    pub partitions: Option<PartitionsMessage>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct BadRowsMessage {
    #[prost(string, tag = "1")]
    pub reason: String,
    #[prost(uint64, tag = "2")]
    pub rows: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct DataSetMessage {
    #[prost(bytes = "vec", tag = "1")]
    pub lineage: Vec<u8>,
    #[prost(message, optional, tag = "2")]
    pub user: Option<AxisMessage>,
    #[prost(message, optional, tag = "3")]
    pub product: Option<AxisMessage>,
    #[prost(message, optional, tag = "4")]
    pub time: Option<TimeAxisMessage>,
    #[prost(string, optional, tag = "5")]
    pub value_column: Option<String>,
    #[prost(uint32, tag = "6")]
    pub duplicates: u32,
    #[prost(message, repeated, tag = "7")]
    pub parts: Vec<PartMessage>,
    #[prost(uint64, tag = "8")]
    pub input_rows: u64,
    #[prost(message, repeated, tag = "9")]
    pub bad_rows: Vec<BadRowsMessage>,
    #[prost(message, repeated, tag = "10")]
    pub attributes: Vec<AttributesMessage>,
    #[prost(bool, tag = "11")]
    pub nets: bool,
    #[prost(message, optional, boxed, tag = "12")]
    pub context: Option<Box<ContextAxisMessage>>,
    #[prost(message, repeated, tag = "13")]
    pub edges: Vec<EdgesMessage>,
    #[prost(bytes = "vec", tag = "14")]
    pub first: Vec<u8>,
    #[prost(bytes = "vec", repeated, tag = "15")]
    pub inputs: Vec<Vec<u8>>,
    #[prost(message, repeated, tag = "16")]
    pub deltas: Vec<DeltaMessage>,
    #[prost(message, optional, tag = "17")]
    pub forgotten: Option<ForgottenMessage>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ForgottenMessage {
    #[prost(uint64, tag = "1")]
    pub users: u64,
    #[prost(bytes = "vec", tag = "2")]
    pub before: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    pub after: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct DeltaMessage {
    #[prost(message, repeated, tag = "1")]
    pub user_major: Vec<BlockPartitionMessage>,
    #[prost(message, repeated, tag = "2")]
    pub product_major: Vec<BlockPartitionMessage>,
    #[prost(uint64, tag = "3")]
    pub interactions: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct BlockPartitionMessage {
    #[prost(uint32, tag = "1")]
    pub block: u32,
    #[prost(message, optional, tag = "2")]
    pub partition: Option<PartitionMessage>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct EdgesMessage {
    #[prost(uint32, tag = "1")]
    pub mode: u32,
    #[prost(string, tag = "2")]
    pub from: String,
    #[prost(string, tag = "3")]
    pub to: String,
    #[prost(string, optional, tag = "4")]
    pub weight: Option<String>,
    #[prost(bool, tag = "5")]
    pub directed: bool,
    #[prost(message, repeated, tag = "6")]
    pub forward: Vec<PartitionMessage>,
    #[prost(message, repeated, tag = "7")]
    pub backward: Vec<PartitionMessage>,
    #[prost(uint64, tag = "8")]
    pub input_rows: u64,
    #[prost(message, repeated, tag = "9")]
    pub bad_rows: Vec<BadRowsMessage>,
    #[prost(uint64, tag = "10")]
    pub unknown: u64,
    #[prost(uint64, tag = "11")]
    pub loops: u64,
}

/// A number where it has moments, else one of levels.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct AttributeMessage {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(message, optional, tag = "2")]
    pub moments: Option<MomentsMessage>,
    #[prost(string, repeated, tag = "3")]
    pub levels: Vec<String>,
    #[prost(bool, tag = "4")]
    pub others: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct MomentsMessage {
    #[prost(double, tag = "1")]
    pub mean: f64,
    #[prost(double, tag = "2")]
    pub deviation: f64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct AttributesMessage {
    #[prost(uint32, tag = "1")]
    pub mode: u32,
    #[prost(string, tag = "2")]
    pub column: String,
    #[prost(message, repeated, tag = "3")]
    pub attributes: Vec<AttributeMessage>,
    #[prost(message, repeated, tag = "4")]
    pub blocks: Vec<SealedMessage>,
    #[prost(uint64, tag = "5")]
    pub described: u64,
    #[prost(uint64, tag = "6")]
    pub unknown: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct BinsMessage {
    #[prost(uint32, tag = "1")]
    pub start: u32,
    #[prost(uint32, tag = "2")]
    pub end: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct HashMessage {
    #[prost(uint64, tag = "1")]
    pub seed: u64,
    #[prost(uint64, tag = "2")]
    pub start: u64,
    #[prost(uint64, tag = "3")]
    pub end: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ViewMessage {
    #[prost(bytes = "vec", tag = "1")]
    pub lineage: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub spec_hash: Vec<u8>,
    #[prost(uint32, tag = "3")]
    pub part: u32,
    #[prost(message, optional, tag = "4")]
    pub bins: Option<BinsMessage>,
    #[prost(message, optional, tag = "5")]
    pub hash: Option<HashMessage>,
    #[prost(bool, tag = "6")]
    pub collapse_time: bool,
    #[prost(message, optional, tag = "7")]
    pub partitions: Option<PartitionsMessage>,
    #[prost(uint32, optional, tag = "8")]
    pub tiles: Option<u32>,
    #[prost(message, optional, tag = "9")]
    pub decay: Option<DecayMessage>,
    #[prost(bool, tag = "10")]
    pub collapse_context: bool,
    #[prost(message, optional, tag = "11")]
    pub newcomers: Option<NewcomersMessage>,
}

/// The limits of rows are three lists side by side.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct NewcomersMessage {
    #[prost(uint32, tag = "1")]
    pub mode: u32,
    #[prost(uint32, tag = "2")]
    pub kept: u32,
    #[prost(uint64, tag = "3")]
    pub seed: u64,
    #[prost(uint32, repeated, tag = "4")]
    pub rows: Vec<u32>,
    #[prost(uint32, repeated, tag = "5")]
    pub bins: Vec<u32>,
    #[prost(fixed64, repeated, tag = "6")]
    pub hashes: Vec<u64>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct DecayMessage {
    #[prost(double, tag = "1")]
    pub half_life: f64,
    #[prost(uint32, tag = "2")]
    pub last_bin: u32,
    #[prost(bool, tag = "3")]
    pub keeps_bin: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct BlockKeyMessage {
    #[prost(uint32, tag = "1")]
    pub table: u32,
    #[prost(uint32, tag = "2")]
    pub block: u32,
    #[prost(uint64, tag = "3")]
    pub version: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct PartialKeyMessage {
    #[prost(uint64, tag = "1")]
    pub reduction: u64,
    #[prost(uint32, tag = "2")]
    pub level: u32,
    #[prost(uint32, tag = "3")]
    pub index: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct SealedKeyMessage {
    #[prost(uint32, tag = "1")]
    pub depot: u32,
    #[prost(message, optional, tag = "2")]
    pub object: Option<SealedMessage>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum KeyMessage {
    #[prost(message, tag = "10")]
    Block(BlockKeyMessage),
    #[prost(message, tag = "11")]
    Partial(PartialKeyMessage),
    #[prost(message, tag = "12")]
    Sealed(SealedKeyMessage),
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct CheckpointObjectMessage {
    #[prost(message, optional, tag = "1")]
    pub object: Option<SealedMessage>,
    #[prost(uint32, tag = "2")]
    pub row_bytes: u32,
    #[prost(oneof = "KeyMessage", tags = "10, 11, 12")]
    pub key: Option<KeyMessage>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct CheckpointMessage {
    #[prost(bytes = "vec", tag = "1")]
    pub run: Vec<u8>,
    #[prost(uint32, tag = "2")]
    pub epoch: u32,
    #[prost(string, tag = "3")]
    pub program: String,
    #[prost(bytes = "vec", tag = "4")]
    pub state: Vec<u8>,
    #[prost(message, repeated, tag = "5")]
    pub objects: Vec<CheckpointObjectMessage>,
    #[prost(bool, tag = "6")]
    pub finished: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct VersionedMessage {
    #[prost(uint32, tag = "1")]
    pub version: u32,
    #[prost(bytes = "vec", tag = "2")]
    pub bytes: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TableMessage {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(uint32, tag = "2")]
    pub mode: u32,
    #[prost(uint32, tag = "3")]
    pub rank: u32,
    #[prost(uint32, tag = "4")]
    pub width: u32,
    #[prost(message, optional, tag = "5")]
    pub grid: Option<GridMessage>,
    #[prost(message, repeated, tag = "6")]
    pub blocks: Vec<SealedMessage>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ModelMessage {
    #[prost(bytes = "vec", tag = "1")]
    pub run: Vec<u8>,
    #[prost(string, tag = "2")]
    pub kind: String,
    #[prost(message, optional, tag = "3")]
    pub scorer: Option<VersionedMessage>,
    #[prost(message, optional, tag = "4")]
    pub settings: Option<VersionedMessage>,
    #[prost(message, repeated, tag = "5")]
    pub tables: Vec<TableMessage>,
    #[prost(bytes = "vec", tag = "6")]
    pub lineage: Vec<u8>,
    #[prost(bytes = "vec", tag = "7")]
    pub factors: Vec<u8>,
}
