//! The sealed dictionary of a block: the original id of each local row, as an Arrow IPC file of one column, `id`. It is null
//! where the id was erased: such a row keeps its place and is nobody's any more.

use crate::arrow_file::{self, ArrowFile, malformed};
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
/// Of one with erased ids.
const FORMAT_ERASED: &str = "strata-dictionary-2";

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

fn schema(kind: IdKind, erased: bool) -> Schema {
    let data_type = match kind {
        IdKind::Int64 => DataType::Int64,
        IdKind::UInt64 => DataType::UInt64,
        // With 64-bit offsets: the ids of a block may be longer than 2 GiB together.
        IdKind::Utf8 => DataType::LargeUtf8,
        IdKind::Binary => DataType::LargeBinary,
    };
    let format = if erased { FORMAT_ERASED } else { FORMAT };
    let metadata = HashMap::from([("format".to_owned(), format.to_owned())]);
    Schema::new_with_metadata(vec![Field::new("id", data_type, erased)], metadata)
}

/// A dictionary in the making.
#[derive(Debug)]
pub struct DictionaryWriter {
    cache: Cache,
    kind: IdKind,
    offsets: Spool,
    data: Spool,
    rows: u64,
    /// Rows without an id, rising.
    erased: Vec<u64>,
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
            erased: Vec::new(),
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

    /// Adds a row whose id was erased.
    ///
    /// # Errors
    /// Where the disk is full.
    pub fn push_erased(&mut self) -> Result<(), StoreError> {
        self.erased.push(self.rows);
        self.rows += 1;
        match self.kind {
            IdKind::Int64 | IdKind::UInt64 => self.data.push(&[0; 8]),
            IdKind::Utf8 | IdKind::Binary => self.offsets.push(&self.data.len().to_le_bytes()),
        }
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
        let validity = self.validity()?;
        let buffers = match self.kind {
            IdKind::Int64 | IdKind::UInt64 => vec![validity.as_ref(), Some(&self.data)],
            IdKind::Utf8 | IdKind::Binary => {
                vec![validity.as_ref(), Some(&self.offsets), Some(&self.data)]
            }
        };
        let schema = schema(self.kind, validity.is_some());
        let length = (self.rows, self.erased.len() as u64);
        arrow_file::write(&mut out, &schema, &[length], &buffers)?;
        out.seal()
    }

    /// The bitmap of rows that have an id, the first in the lowest bit; none where all have.
    fn validity(&self) -> Result<Option<Spool>, StoreError> {
        if self.erased.is_empty() {
            return Ok(None);
        }
        let mut validity = Spool::new(&self.cache);
        let mut erased = self.erased.iter().peekable();
        for first in (0..self.rows).step_by(8) {
            let last = self.rows.min(first + 8);
            let mut byte = ((1_u32 << (last - first)) - 1) as u8;
            while let Some(row) = erased.next_if(|&&row| row < last) {
                byte &= !(1 << (row - first));
            }
            validity.push(&[byte])?;
        }
        Ok(Some(validity))
    }
}

/// An open dictionary. With [`crate::IoMode::Pread`] it holds the whole of it in memory.
#[derive(Clone, Debug)]
pub struct Dictionary {
    file: Sealed,
    ids: Ids,
    /// The bitmap of rows that have an id; none where all have.
    validity: Option<Section>,
    erased: u64,
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
        let kinds = [IdKind::Int64, IdKind::UInt64, IdKind::Utf8, IdKind::Binary];
        let mut kinds = kinds
            .into_iter()
            .flat_map(|kind| [(kind, false), (kind, true)]);
        let known = kinds.find(|&(kind, erased)| schema(kind, erased) == found.schema);
        let (kind, has_erased) = known.ok_or_else(|| {
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
        let (validity, erased) = validity(&file, &found, has_erased)?;
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
        Ok(Dictionary {
            file,
            ids,
            validity,
            erased,
        })
    }

    /// Rows whose ids were erased.
    pub fn erased(&self) -> u64 {
        self.erased
    }

    /// Whether the id of a row in use was erased.
    pub fn is_erased(&self, local: u32) -> bool {
        let byte = self
            .validity
            .as_ref()
            .and_then(|bits| bits.get(local as usize / 8));
        byte.is_some_and(|byte| byte >> (local % 8) & 1 == 0) && (local as usize) < self.rows()
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

    /// The id of a local row; `None` where it was erased, and beyond the last.
    pub fn get(&self, local: u32) -> Option<IdRef<'_>> {
        if self.is_erased(local) {
            return None;
        }
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

    /// The id of every row in the order of local rows; `None` where it was erased.
    pub fn iter(&self) -> impl Iterator<Item = Option<IdRef<'_>>> {
        (0..self.rows() as u32).map(|local| self.get(local))
    }

    /// The sealed file.
    pub fn file(&self) -> &Sealed {
        &self.file
    }

    /// The anonymous memory it takes: none when mapped.
    pub fn anonymous_bytes(&self) -> u64 {
        let validity = self.validity.as_ref().map_or(0, Section::anonymous_bytes);
        validity
            + match &self.ids {
                Ids::Int64(ids) => ids.anonymous_bytes(),
                Ids::UInt64(ids) => ids.anonymous_bytes(),
                Ids::Utf8(offsets, data) | Ids::Binary(offsets, data) => {
                    offsets.anonymous_bytes() + data.anonymous_bytes()
                }
            }
    }
}

/// The bitmap of a file that says that it has one, and how many rows it erases.
fn validity(
    file: &Sealed,
    found: &ArrowFile,
    has_erased: bool,
) -> Result<(Option<Section>, u64), StoreError> {
    let (rows, nulls, place) = (found.lengths[0], found.nulls[0], found.buffers[0].clone());
    let amiss = || malformed(file, WHAT, "its erased ids are not those of its bitmap");
    if !has_erased {
        return if nulls == 0 {
            Ok((None, 0))
        } else {
            Err(amiss())
        };
    }
    if place.end - place.start != rows.div_ceil(8) {
        return Err(amiss());
    }
    let bits = file.section(place)?;
    let known: u64 = bits.iter().map(|byte| u64::from(byte.count_ones())).sum();
    // Bits beyond the last row are 0, as we write them.
    if rows.checked_sub(known) != Some(nulls) {
        return Err(amiss());
    }
    Ok((Some(bits), nulls))
}

fn bytes_of<'a>(offsets: &[u64], data: &'a [u8], row: usize) -> Option<&'a [u8]> {
    let (start, end) = (*offsets.get(row)?, *offsets.get(row + 1)?);
    data.get(start as usize..end as usize)
}
