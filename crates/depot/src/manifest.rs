//! What a manifest says: a committed state, by name, length and hash of everything it is made of.

use crate::codec;
use tensor::{DataSet, Digest, Grid, Mode, ObjectKey, SealedRef, View};

/// The create-only record of a committed state.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// Its number; the first is 1.
    pub number: u64,
    /// The term of the coordinator that wrote it.
    pub term: u64,
    /// Hash of manifest `number - 1`.
    pub predecessor: Option<Digest>,
    /// What it records.
    pub body: Body,
}

/// [`Checkpoint::program`] of an ingest. What it keeps counts until it is followed by another ingest's, or by a data set.
pub const INGEST: &str = "ingest";

/// What a manifest records.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// A coordinator claimed the next term, for a run if it names one.
    Term {
        /// The run key.
        run: Option<Digest>,
    },
    /// A sealed data set.
    DataSet(Box<DataSet>),
    /// A view of a data set.
    View(ViewOf),
    /// The state of a run at the end of an epoch.
    Checkpoint(Checkpoint),
    /// A finished model.
    Model(Model),
    /// Earlier manifests are withdrawn.
    Withdrawal(Withdrawal),
}

/// The end of what some earlier manifests name, since it held users who are to be forgotten: it is not to be found any more, and
/// what nothing else names is collected. The manifests themselves stay, for the chain; they hold no ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Withdrawal {
    /// Their numbers, rising.
    pub manifests: Vec<u64>,
    /// The rows of all users who were forgotten, rising.
    pub rows: Vec<u32>,
    /// The manifests, of models, that are of these users and hold nothing at their rows.
    pub cleared: Vec<u64>,
}

/// A view, and of what.
#[derive(Clone, Debug, PartialEq)]
pub struct ViewOf {
    /// Lineage of the data set.
    pub lineage: Digest,
    /// Hash of the view's spec, as its maker computes it: the name under which it is looked up.
    pub spec_hash: Digest,
    /// The view.
    pub view: View,
}

/// The state of a run, from which it can be resumed.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// The run key.
    pub run: Digest,
    /// The epoch it closes.
    pub epoch: u32,
    /// Kind of the program that `state` belongs to.
    pub program: String,
    /// The program's encoded state.
    pub state: Vec<u8>,
    /// The durable bytes of every object that the restored program reads.
    pub objects: Vec<CheckpointObject>,
    /// Whether the run ended here.
    pub finished: bool,
}

/// An object of a run in durable form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointObject {
    /// Its name in the run.
    pub key: ObjectKey,
    /// The sealed object that holds its bytes.
    pub object: SealedRef,
    /// The bytes of one row.
    pub row_bytes: u32,
}

/// Bytes that only their maker opens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Versioned {
    /// The version of the maker's encoding.
    pub version: u32,
    /// The encoded thing.
    pub bytes: Vec<u8>,
}

/// A finished model: tables, a scorer, settings, and what it was made from.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// The run that made it.
    pub run: Digest,
    /// `als`, ...
    pub kind: String,
    /// How scores come from the tables.
    pub scorer: Versioned,
    /// The settings of the run.
    pub settings: Versioned,
    /// The tables, in the order of modes.
    pub tables: Vec<ModelTable>,
    /// Lineage of the data set.
    pub lineage: Digest,
    /// The digest of the factors (DESIGN 3.10).
    pub factors: Digest,
}

/// A table of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelTable {
    /// Its name: `U`.
    pub name: String,
    /// The mode of its rows.
    pub mode: Mode,
    /// Numbers of a row that count.
    pub rank: u32,
    /// Numbers of a row as stored, padding included.
    pub width: u32,
    /// The grid of its rows.
    pub grid: Grid,
    /// One sealed object a block: rows of `width` f32.
    pub blocks: Vec<SealedRef>,
}

impl Manifest {
    /// Its bytes, as they lie in a depot.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// What bytes say, whoever wrote them.
    ///
    /// # Errors
    /// The reason for which they are no manifest.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        codec::decode(bytes)
    }
}

impl Body {
    /// Every object that it names.
    pub fn objects(&self) -> Vec<SealedRef> {
        let partitions = |parts: &tensor::Partitions| -> Vec<SealedRef> {
            parts
                .user_major
                .iter()
                .chain(&parts.product_major)
                .map(|partition| partition.object)
                .collect()
        };
        match self {
            Body::Term { .. } | Body::Withdrawal(_) => Vec::new(),
            Body::DataSet(data) => {
                let dictionaries = [&data.user, &data.product]
                    .into_iter()
                    .flat_map(|axis| axis.dictionary.clone());
                let contexts = data.context.iter().flat_map(|axis| axis.dictionary());
                dictionaries
                    .chain(contexts.copied())
                    .chain(data.partitions().map(|one| one.object))
                    .chain(
                        data.attributes
                            .values()
                            .flat_map(|known| known.blocks.clone()),
                    )
                    .chain(
                        data.edges
                            .values()
                            .flat_map(|edges| edges.partitions().map(|one| one.object)),
                    )
                    .collect()
            }
            Body::View(view) => partitions(&view.view.partitions),
            Body::Checkpoint(checkpoint) => checkpoint
                .objects
                .iter()
                .map(|object| object.object)
                .collect(),
            Body::Model(model) => model
                .tables
                .iter()
                .flat_map(|table| table.blocks.clone())
                .collect(),
        }
    }
}
