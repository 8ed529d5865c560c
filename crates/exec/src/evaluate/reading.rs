//! What the runners of evaluation and recommendation read: tasks' reads in order, bytes that came, rows of partitions.

use crate::trouble::failure_of;
use crate::work::{Fetched, Held, Part, Want};
use bytemuck::AnyBitPattern;
use plan::{Failure, Refusal};
use std::ops::Range;
use std::sync::Arc;
use store::dictionary::{Dictionary, IdRef};
use store::partition::{Partition, PartitionValues, Piece};
use store::{AlignedBuf, Sealed, Section, StoreError};
use tensor::csr::CsrRef;
use tensor::{DepotId, Grid, KeyRange, ObjectKey, Small, Task};

/// A task's reads, taken one after the other.
pub(crate) struct Reads<'a> {
    task: &'a Task,
    next: usize,
}

impl<'a> Reads<'a> {
    pub(crate) fn of(task: &'a Task) -> Self {
        Reads { task, next: 0 }
    }

    /// The next read.
    pub(crate) fn range(&mut self) -> Result<KeyRange, Failure> {
        let read = self.task.reads.get(self.next);
        self.next += 1;
        let missing = || {
            bug(format!(
                "task {} has fewer reads than its op needs",
                self.task.id
            ))
        };
        read.map(|read| read.keys).ok_or_else(missing)
    }

    /// The next read, of one object.
    pub(crate) fn one(&mut self) -> Result<ObjectKey, Failure> {
        let range = self.range()?;
        range
            .keys()
            .next()
            .ok_or_else(|| bug(format!("task {} reads an empty range", self.task.id)))
    }
}

/// Our bug, as a failure.
pub(crate) fn bug(sentence: String) -> Failure {
    Failure::Refused {
        refusal: Refusal::Bug,
        sentence,
    }
}

/// All of an object.
pub(crate) fn whole(key: ObjectKey) -> Want {
    Want::Object(key, Part::Whole)
}

/// Rows that came, whole or packed.
#[derive(Clone, Debug)]
pub(crate) enum RowBytes {
    Buffer(Arc<AlignedBuf>),
    Section(Arc<Section>),
}

impl RowBytes {
    pub(crate) fn of(fetched: Fetched) -> Result<Self, Failure> {
        match fetched {
            Fetched::Rows(buffer) | Fetched::Held(Held::Memory { buffer, .. }) => {
                Ok(RowBytes::Buffer(buffer))
            }
            Fetched::Held(Held::File { file, .. }) | Fetched::Sealed(file) => {
                let section = file
                    .section(0..file.len())
                    .map_err(|error| trouble(&file, error))?;
                Ok(RowBytes::Section(Arc::new(section)))
            }
            Fetched::Bytes(_) => Err(bug(
                "an input file came where rows were asked for".to_owned()
            )),
        }
    }

    /// Of rows that were computed.
    pub(crate) fn from(rows: Vec<f32>) -> Self {
        RowBytes::Buffer(Arc::new(AlignedBuf::copy_of(bytemuck::cast_slice(&rows))))
    }

    pub(crate) fn typed<T: AnyBitPattern>(&self) -> &[T] {
        match self {
            RowBytes::Buffer(buffer) => buffer.typed(),
            RowBytes::Section(section) => bytemuck::cast_slice(section),
        }
    }
}

/// A partition that came.
pub(crate) fn partition(fetched: Option<Fetched>) -> Result<Partition, Failure> {
    match fetched {
        Some(Fetched::Sealed(file)) => {
            Partition::open(file.clone()).map_err(|error| trouble(&file, error))
        }
        _ => Err(bug(
            "no sealed partition came where one was asked for".to_owned()
        )),
    }
}

/// A dictionary that came.
pub(crate) fn dictionary(fetched: Option<Fetched>) -> Result<Dictionary, Failure> {
    match fetched {
        Some(Fetched::Sealed(file)) => {
            Dictionary::open(file.clone()).map_err(|error| trouble(&file, error))
        }
        _ => Err(bug(
            "no sealed dictionary came where one was asked for".to_owned()
        )),
    }
}

/// The hash of an original id; 0 where it was erased: such a row is in no list.
pub(crate) fn hash_of(id: Option<IdRef<'_>>) -> u64 {
    use model::evaluate::id_hash;
    match id {
        Some(IdRef::Int64(id)) => id_hash(&id.to_le_bytes()),
        Some(IdRef::UInt64(id)) => id_hash(&id.to_le_bytes()),
        Some(IdRef::Utf8(id)) => id_hash(id.as_bytes()),
        Some(IdRef::Binary(id)) => id_hash(id),
        None => 0,
    }
}

/// One more than the largest row id of a grid.
pub(crate) fn limit_of(grid: &Grid) -> u64 {
    u64::from(grid.blocks()) << grid.stride_log2
}

/// Interactions of whole rows of a partition; times and contexts are not read.
pub(crate) struct RowsOf {
    piece: Piece,
    offsets: Vec<u64>,
}

impl RowsOf {
    pub(crate) fn read(
        partition: &Partition,
        rows: Range<usize>,
        with_values: bool,
    ) -> Result<Self, Failure> {
        let offsets = partition.offsets()[rows.start..=rows.end].to_vec();
        let range = offsets[0]..offsets[offsets.len() - 1];
        read_range(partition, range, with_values).map(|piece| RowsOf { piece, offsets })
    }

    pub(crate) fn csr(&self, partition: &Partition, limit: u64) -> Result<CsrRef<'_>, Failure> {
        self.piece
            .csr(&self.offsets, limit)
            .map_err(|error| malformed(partition, &error))
    }
}

/// The columns of a range of interactions, and their values where they are wanted.
pub(crate) fn read_range(
    partition: &Partition,
    range: Range<u64>,
    with_values: bool,
) -> Result<Piece, Failure> {
    let read = || {
        let values = if with_values {
            partition.values(range.clone())?
        } else {
            PartitionValues::All(1.0)
        };
        Ok(Piece {
            base: range.start,
            columns: partition.columns(range.clone())?,
            small: Small::default(),
            values,
        })
    };
    read().map_err(|error| trouble(partition.file(), error))
}

/// What an error of a sealed file of the data set means: damage names the object, so that another copy is fetched.
pub(crate) fn trouble(file: &Sealed, error: StoreError) -> Failure {
    failure_of(error, Some(file.reference().key(DepotId::DATA)))
}

/// Walks a partition in pieces of at most `interactions_max`: `of` gets each piece and the block's row of its first row.
pub(crate) fn walk(
    partition: &Partition,
    interactions_max: u64,
    limit: u64,
    with_values: bool,
    mut of: impl FnMut(&CsrRef<'_>, usize),
) -> Result<u64, Failure> {
    let (mut start, mut pieces) = (0, 0);
    while start < partition.interactions() {
        let end = partition
            .interactions()
            .min(start + interactions_max.max(1));
        let rows = partition.rows_of(start..end);
        let piece = read_range(partition, start..end, with_values)?;
        let csr = piece
            .csr(&partition.offsets()[rows.start..=rows.end], limit)
            .map_err(|error| malformed(partition, &error))?;
        of(&csr, rows.start);
        partition.drop_behind(start..end);
        (start, pieces) = (end, pieces + 1);
    }
    Ok(pieces)
}

/// What a partition of other rows than its data set is.
pub(crate) fn malformed(partition: &Partition, error: &tensor::CsrError) -> Failure {
    let path = partition.file().path().display();
    Failure::Refused {
        refusal: Refusal::BadData,
        sentence: format!("partition {path}: {error}"),
    }
}

/// Numbers as a partial.
pub(crate) fn partial(numbers: &[f64]) -> Vec<u8> {
    numbers
        .iter()
        .flat_map(|number| number.to_le_bytes())
        .collect()
}
