//! The sealed dictionary of a block: the original id of each local row, as an Arrow IPC file of one column, `id`.

use crate::arrow_file::{self, malformed};
use crate::cache::Cache;
use crate::error::StoreError;
use crate::sealed::{Sealed, Section, TypedSection};
use crate::spool::Spool;
use arrow::datatypes::{DataType, Field, Schema};
use std::collections::HashMap;
use std::fmt;
use tensor::IdKind;

const WHAT: &str = "sealed dictionary";
const FORMAT: &str = "strata-dictionary-1";

/// An original id, borrowed. Ids of one kind compare as typed values: integers by number, text and binary by bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IdRef<'a> {
    /// A signed integer.
    Int64(i64),
    /// An unsigned integer.
    UInt64(u64),
    /// Text.
    Utf8(&'a str),
    /// Bytes.
    Binary(&'a [u8]),
}

impl IdRef<'_> {
    /// Its kind.
    pub fn kind(&self) -> IdKind {
        match self {
            IdRef::Int64(_) => IdKind::Int64,
            IdRef::UInt64(_) => IdKind::UInt64,
            IdRef::Utf8(_) => IdKind::Utf8,
            IdRef::Binary(_) => IdKind::Binary,
        }
    }
}

impl fmt::Display for IdRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IdRef::Int64(id) => id.fmt(f),
            IdRef::UInt64(id) => id.fmt(f),
            IdRef::Utf8(id) => id.fmt(f),
            IdRef::Binary(id) => {
                f.write_str("0x")?;
                id.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    }
}

fn schema(kind: IdKind) -> Schema {
    let data_type = match kind {
        IdKind::Int64 => DataType::Int64,
        IdKind::UInt64 => DataType::UInt64,
        // With 64-bit offsets: the ids of a block may be longer than 2 GiB together.
        IdKind::Utf8 => DataType::LargeUtf8,
        IdKind::Binary => DataType::LargeBinary,
    };
    let metadata = HashMap::from([("format".to_owned(), FORMAT.to_owned())]);
    Schema::new_with_metadata(vec![Field::new("id", data_type, false)], metadata)
}

/// A dictionary in the making.
#[derive(Debug)]
pub struct DictionaryWriter {
    cache: Cache,
    kind: IdKind,
    offsets: Spool,
    data: Spool,
    rows: u64,
}

impl DictionaryWriter {
    /// Begins the dictionary of a block.
    ///
    /// # Errors
    /// Where the cache cannot be written.
    pub fn create(cache: &Cache, kind: IdKind) -> Result<Self, StoreError> {
        let mut offsets = Spool::new(cache);
        offsets.push(&0_u64.to_le_bytes())?;
        Ok(DictionaryWriter {
            cache: cache.clone(),
            kind,
            offsets,
            data: Spool::new(cache),
            rows: 0,
        })
    }

    /// Adds the id of the next row.
    ///
    /// # Errors
    /// Where the disk is full.
    ///
    /// # Panics
    /// Where the id is of another kind: a bug of ours.
    pub fn push(&mut self, id: IdRef<'_>) -> Result<(), StoreError> {
        assert_eq!(id.kind(), self.kind, "a dictionary has ids of one kind");
        self.rows += 1;
        let bytes = match id {
            IdRef::Int64(id) => return self.data.push(&id.to_le_bytes()),
            IdRef::UInt64(id) => return self.data.push(&id.to_le_bytes()),
            IdRef::Utf8(id) => id.as_bytes(),
            IdRef::Binary(id) => id,
        };
        self.data.push(bytes)?;
        self.offsets.push(&self.data.len().to_le_bytes())
    }

    /// Rows so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Seals the dictionary.
    ///
    /// # Errors
    /// Where the disk is full.
    pub fn seal(self) -> Result<Sealed, StoreError> {
        let mut out = self.cache.writer()?;
        let buffers = match self.kind {
            IdKind::Int64 | IdKind::UInt64 => vec![None, Some(&self.data)],
            IdKind::Utf8 | IdKind::Binary => vec![None, Some(&self.offsets), Some(&self.data)],
        };
        arrow_file::write(&mut out, &schema(self.kind), &[self.rows], &buffers)?;
        out.seal()
    }
}

/// An open dictionary. With [`crate::IoMode::Pread`] it holds the whole of it in memory.
#[derive(Clone, Debug)]
pub struct Dictionary {
    file: Sealed,
    ids: Ids,
}

#[derive(Clone, Debug)]
enum Ids {
    Int64(TypedSection<i64>),
    UInt64(TypedSection<u64>),
    Utf8(TypedSection<u64>, Section),
    Binary(TypedSection<u64>, Section),
}

impl Dictionary {
    /// Opens a sealed file as a dictionary, after one pass over it.
    ///
    /// # Errors
    /// [`StoreError::Malformed`] names the fault.
    pub fn open(file: Sealed) -> Result<Self, StoreError> {
        let wrong = |reason: &str| malformed(&file, WHAT, reason);
        let found = arrow_file::read(&file, WHAT)?;
        let kind = [IdKind::Int64, IdKind::UInt64, IdKind::Utf8, IdKind::Binary]
            .into_iter()
            .find(|&kind| schema(kind) == found.schema)
            .ok_or_else(|| {
                wrong("it is not one column of ids in a format that this version reads")
            })?;
        let buffers = if matches!(kind, IdKind::Int64 | IdKind::UInt64) {
            2
        } else {
            3
        };
        if found.lengths.len() != 1 || found.buffers.len() != buffers {
            return Err(wrong("its batch does not have the fields of its schema"));
        }
        let rows = found.lengths[0];
        let entries = if buffers == 2 {
            Some(rows)
        } else {
            rows.checked_add(1)
        };
        let first = found.buffers[1].clone();
        if entries.and_then(|entries| entries.checked_mul(8)) != Some(first.end - first.start) {
            return Err(wrong("its ids do not fit its rows"));
        }
        let ids = match kind {
            IdKind::Int64 => Ids::Int64(file.typed(first)?),
            IdKind::UInt64 => Ids::UInt64(file.typed(first)?),
            IdKind::Utf8 | IdKind::Binary => {
                let offsets: TypedSection<u64> = file.typed(first)?;
                let data = file.section(found.buffers[2].clone())?;
                let rises = offsets[0] == 0
                    && offsets.is_sorted()
                    && offsets[rows as usize] == data.len() as u64;
                if !rises {
                    return Err(wrong(
                        "its offsets do not rise from 0 to the length of its data",
                    ));
                }
                if kind == IdKind::Binary {
                    Ids::Binary(offsets, data)
                } else {
                    let text = str::from_utf8(&data).map_err(|error| wrong(&error.to_string()))?;
                    if !offsets
                        .iter()
                        .all(|&offset| text.is_char_boundary(offset as usize))
                    {
                        return Err(wrong("an id ends inside a character"));
                    }
                    Ids::Utf8(offsets, data)
                }
            }
        };
        Ok(Dictionary { file, ids })
    }

    /// The kind of its ids.
    pub fn kind(&self) -> IdKind {
        match self.ids {
            Ids::Int64(_) => IdKind::Int64,
            Ids::UInt64(_) => IdKind::UInt64,
            Ids::Utf8(..) => IdKind::Utf8,
            Ids::Binary(..) => IdKind::Binary,
        }
    }

    /// Rows of the block.
    pub fn rows(&self) -> usize {
        match &self.ids {
            Ids::Int64(ids) => ids.len(),
            Ids::UInt64(ids) => ids.len(),
            Ids::Utf8(offsets, _) | Ids::Binary(offsets, _) => offsets.len() - 1,
        }
    }

    /// The id of a local row; `None` beyond the last.
    pub fn get(&self, local: u32) -> Option<IdRef<'_>> {
        let row = local as usize;
        match &self.ids {
            Ids::Int64(ids) => ids.get(row).map(|&id| IdRef::Int64(id)),
            Ids::UInt64(ids) => ids.get(row).map(|&id| IdRef::UInt64(id)),
            Ids::Utf8(offsets, data) => str::from_utf8(bytes_of(offsets, data, row)?)
                .ok()
                .map(IdRef::Utf8),
            Ids::Binary(offsets, data) => bytes_of(offsets, data, row).map(IdRef::Binary),
        }
    }

    /// Every id in the order of local rows.
    pub fn iter(&self) -> impl Iterator<Item = IdRef<'_>> {
        (0..self.rows() as u32).filter_map(|local| self.get(local))
    }

    /// The sealed file.
    pub fn file(&self) -> &Sealed {
        &self.file
    }

    /// The anonymous memory it takes: none when mapped.
    pub fn anonymous_bytes(&self) -> u64 {
        match &self.ids {
            Ids::Int64(ids) => ids.anonymous_bytes(),
            Ids::UInt64(ids) => ids.anonymous_bytes(),
            Ids::Utf8(offsets, data) | Ids::Binary(offsets, data) => {
                offsets.anonymous_bytes() + data.anonymous_bytes()
            }
        }
    }
}

fn bytes_of<'a>(offsets: &[u64], data: &'a [u8], row: usize) -> Option<&'a [u8]> {
    let (start, end) = (*offsets.get(row)?, *offsets.get(row + 1)?);
    data.get(start as usize..end as usize)
}
