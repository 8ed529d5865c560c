//! Reading a partition: the structure is checked once at opening, then interactions are handed out by range.

use super::{FORMAT, WHAT, schema};
use crate::arrow_file::{self, malformed};
use crate::error::StoreError;
use crate::sealed::{Sealed, TypedSection};
use std::ops::Range;
use tensor::csr::Values;
use tensor::{BlockId, CsrError, CsrRef, Mode, Small};

/// An open partition. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Partition {
    file: Sealed,
    offsets: TypedSection<u64>,
    layout: Layout,
}

/// What opening finds out about a file, which keeps it for the next time: an epoch may open a partition of some hundred
/// interactions a thousand times.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    orientation: Mode,
    block: BlockId,
    offsets: Range<u64>,
    columns: u64,
    small: Small<Option<u64>>,
    values: ValuesAt,
    interactions: u64,
}

#[derive(Clone, Copy, Debug)]
enum ValuesAt {
    All(f32),
    Each(u64),
}

/// The values of a range of interactions.
#[derive(Clone, Debug)]
pub enum PartitionValues {
    /// Every interaction of the partition has this value.
    All(f32),
    /// One value each.
    Each(TypedSection<f32>),
}

impl PartitionValues {
    /// As kernels take them.
    pub fn as_values(&self) -> Values<'_> {
        match self {
            PartitionValues::All(value) => Values::All(*value),
            PartitionValues::Each(values) => Values::Each(values),
        }
    }
}

/// A contiguous range of the interactions of a partition, in canonical order.
#[derive(Clone, Debug)]
pub struct Piece {
    /// The position of the first in the block.
    pub base: u64,
    /// Column row ids.
    pub columns: TypedSection<u32>,
    /// Time bins and contexts, where the block has them.
    pub small: Small<Option<TypedSection<u32>>>,
    /// Values.
    pub values: PartitionValues,
}

impl Piece {
    /// Time bins and contexts, where the block has them.
    pub fn small_ids(&self) -> Small<Option<&[u32]>> {
        self.small.as_ref().map(Option::as_deref)
    }

    /// The piece as rows: `offsets` are those of the rows that it touches, as [`CsrRef::new`] wants them.
    ///
    /// # Errors
    /// The first fault of the structure.
    pub fn csr<'a>(
        &'a self,
        offsets: &'a [u64],
        column_limit: u64,
    ) -> Result<CsrRef<'a>, CsrError> {
        CsrRef::new(
            offsets,
            self.base,
            &self.columns,
            self.small_ids(),
            self.values.as_values(),
            Some(column_limit),
        )
    }
}

impl Partition {
    /// Opens a sealed file as a partition, after one pass over its structure: schema, lengths, row pointers.
    /// Column ids are compared with their limit where a piece becomes a [`CsrRef`].
    ///
    /// # Errors
    /// [`StoreError::Malformed`] names the fault.
    pub fn open(file: Sealed) -> Result<Self, StoreError> {
        if let Some(layout) = file.layout().get() {
            let offsets = file.typed(layout.offsets.clone())?;
            let layout = layout.clone();
            return Ok(Partition {
                file,
                offsets,
                layout,
            });
        }
        let wrong = |reason: &str| malformed(&file, WHAT, reason);
        let found = arrow_file::read(&file, WHAT)?;
        let metadata = |key: &str| found.schema.metadata().get(key).cloned();
        if metadata("format").as_deref() != Some(FORMAT) {
            return Err(wrong("its format is not one that this version reads"));
        }
        let orientation = Mode::ALL
            .into_iter()
            .find(|mode| Some(mode.name()) == metadata("orientation").as_deref())
            .ok_or_else(|| wrong("it names no orientation"))?;
        let block = metadata("block")
            .and_then(|block| block.parse().ok())
            .map(BlockId);
        let block = block.ok_or_else(|| wrong("it names no block"))?;
        let constant = match metadata("value") {
            None => None,
            Some(text) => {
                let value = text.parse::<f32>().ok().filter(|value| value.is_finite());
                Some(value.ok_or_else(|| wrong("its common value is no number"))?)
            }
        };
        let both = [true, false].into_iter();
        let each = both.flat_map(|time| [true, false].map(|context| Small { time, context }));
        let has = each.into_iter().find(|&has| {
            schema(orientation, block, has, constant).fields() == found.schema.fields()
        });
        let has = has.ok_or_else(|| wrong("its columns are not those of a partition"))?;

        let fields = 3 + has.count() + usize::from(constant.is_none());
        // Validity and row pointers of the list, validity of the struct, validity and data of each column.
        if found.lengths.len() != fields || found.buffers.len() != 3 + 2 * (fields - 2) {
            return Err(wrong("its batch does not have the fields of its schema"));
        }
        if found.nulls.iter().any(|&nulls| nulls != 0) {
            return Err(wrong("it has nulls"));
        }
        let (rows, interactions) = (found.lengths[0], found.lengths[1]);
        let pointers = found.buffers[1].clone();
        let expected = rows.checked_add(1).and_then(|count| count.checked_mul(8));
        if u32::try_from(rows).is_err() || expected != Some(pointers.end - pointers.start) {
            return Err(wrong("its row pointers do not fit its rows"));
        }
        let mut starts = Vec::new();
        for field in 2..fields {
            let data = &found.buffers[4 + 2 * (field - 2)];
            if found.lengths[field] != interactions
                || Some(data.end - data.start) != interactions.checked_mul(4)
            {
                return Err(wrong("a column does not have one entry an interaction"));
            }
            starts.push(data.start);
        }
        let offsets: TypedSection<u64> = file.typed(pointers.clone())?;
        let rises =
            offsets[0] == 0 && offsets.is_sorted() && offsets[rows as usize] == interactions;
        if !rises {
            return Err(wrong(
                "its row pointers do not rise from 0 to the number of interactions",
            ));
        }
        let values = match constant {
            Some(value) => ValuesAt::All(value),
            None => ValuesAt::Each(starts[starts.len() - 1]),
        };
        let mut next = starts[1..].iter().copied();
        let small = has.map(|has| if has { next.next() } else { None });
        let layout = Layout {
            orientation,
            block,
            offsets: pointers,
            columns: starts[0],
            small,
            values,
            interactions,
        };
        let layout = file.layout().get_or_init(|| layout).clone();
        Ok(Partition {
            file,
            offsets,
            layout,
        })
    }

    /// Rows of the block.
    pub fn rows(&self) -> u32 {
        (self.offsets.len() - 1) as u32
    }

    /// Interactions of the block.
    pub fn interactions(&self) -> u64 {
        self.layout.interactions
    }

    /// The mode of its rows.
    pub fn orientation(&self) -> Mode {
        self.layout.orientation
    }

    /// Which block.
    pub fn block(&self) -> BlockId {
        self.layout.block
    }

    /// Whether its interactions have times, and contexts.
    pub fn has(&self) -> Small<bool> {
        self.layout.small.map(|start| start.is_some())
    }

    /// The value that all interactions have, if they do.
    pub fn constant_value(&self) -> Option<f32> {
        match self.layout.values {
            ValuesAt::All(value) => Some(value),
            ValuesAt::Each(_) => None,
        }
    }

    /// The sealed file.
    pub fn file(&self) -> &Sealed {
        &self.file
    }

    /// Bytes of file for each interaction.
    pub fn bytes_per_interaction(&self) -> u64 {
        self.spans(0..1).map(|span| span.end - span.start).sum()
    }

    /// The row pointers: row `i` owns the interactions `offsets[i] .. offsets[i + 1]`.
    pub fn offsets(&self) -> &[u64] {
        &self.offsets
    }

    /// The rows of which interactions lie in a range: whole or cut ones, and the empty ones between them.
    pub fn rows_of(&self, interactions: Range<u64>) -> Range<usize> {
        if interactions.is_empty() {
            return 0..0;
        }
        let first = self
            .offsets
            .partition_point(|&offset| offset <= interactions.start)
            - 1;
        let end = self
            .offsets
            .partition_point(|&offset| offset < interactions.end);
        first..end
    }

    /// Column row ids of a range of interactions.
    ///
    /// # Errors
    /// Where the range leaves the partition or a chunk is damaged.
    pub fn columns(&self, interactions: Range<u64>) -> Result<TypedSection<u32>, StoreError> {
        self.typed(self.layout.columns, interactions)
    }

    /// Time bins and contexts of a range of interactions; `None` where there are none.
    ///
    /// # Errors
    /// As [`Partition::columns`].
    pub fn small(
        &self,
        interactions: Range<u64>,
    ) -> Result<Small<Option<TypedSection<u32>>>, StoreError> {
        let ids = |start: Option<u64>| {
            start
                .map(|start| self.typed(start, interactions.clone()))
                .transpose()
        };
        Ok(Small {
            time: ids(self.layout.small.time)?,
            context: ids(self.layout.small.context)?,
        })
    }

    /// Whether all columns of a range of interactions are known to be below a limit: whoever has the file open has held them
    /// against it ([`Partition::know_columns`]). The bytes of a sealed file stay what they were.
    pub fn knows_columns(&self, interactions: Range<u64>, limit: u64) -> bool {
        let (known, below) = self.file.known_columns().get();
        interactions.end <= known && below <= limit
    }

    /// Says that the columns of a range of interactions are below a limit.
    pub fn know_columns(&self, interactions: Range<u64>, limit: u64) {
        self.file.known_columns().add(interactions, limit);
    }

    /// Values of a range of interactions.
    ///
    /// # Errors
    /// As [`Partition::columns`].
    pub fn values(&self, interactions: Range<u64>) -> Result<PartitionValues, StoreError> {
        match self.layout.values {
            ValuesAt::All(value) => Ok(PartitionValues::All(value)),
            ValuesAt::Each(start) => self.typed(start, interactions).map(PartitionValues::Each),
        }
    }

    /// All columns of a range of interactions.
    ///
    /// # Errors
    /// As [`Partition::columns`].
    pub fn piece(&self, interactions: Range<u64>) -> Result<Piece, StoreError> {
        Ok(Piece {
            base: interactions.start,
            columns: self.columns(interactions.clone())?,
            small: self.small(interactions.clone())?,
            values: self.values(interactions)?,
        })
    }

    /// The whole partition.
    ///
    /// # Errors
    /// As [`Partition::columns`].
    pub fn whole(&self) -> Result<Piece, StoreError> {
        self.piece(0..self.layout.interactions)
    }

    /// These interactions will be read soon.
    pub fn prefetch(&self, interactions: Range<u64>) {
        self.spans(self.inside(interactions))
            .for_each(|span| self.file.prefetch(span));
    }

    /// These interactions will not be read again soon.
    pub fn drop_behind(&self, interactions: Range<u64>) {
        self.spans(self.inside(interactions))
            .for_each(|span| self.file.drop_behind(span));
    }

    fn inside(&self, interactions: Range<u64>) -> Range<u64> {
        interactions.start.min(self.layout.interactions)
            ..interactions.end.min(self.layout.interactions)
    }

    fn spans(&self, interactions: Range<u64>) -> impl Iterator<Item = Range<u64>> {
        let values = match self.layout.values {
            ValuesAt::All(_) => None,
            ValuesAt::Each(start) => Some(start),
        };
        let Small { time, context } = self.layout.small;
        let starts = [Some(self.layout.columns), time, context, values]
            .into_iter()
            .flatten();
        starts.map(move |start| start + 4 * interactions.start..start + 4 * interactions.end)
    }

    fn typed<T: bytemuck::AnyBitPattern>(
        &self,
        start: u64,
        interactions: Range<u64>,
    ) -> Result<TypedSection<T>, StoreError> {
        // A range beyond the partition would read the next buffer.
        if interactions.start > interactions.end || interactions.end > self.layout.interactions {
            return Err(StoreError::Beyond {
                file: self.file.path().to_owned(),
                start: interactions.start,
                end: interactions.end,
                len: self.layout.interactions,
            });
        }
        self.file
            .typed(start + 4 * interactions.start..start + 4 * interactions.end)
    }
}
