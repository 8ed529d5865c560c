//! When products may be had: a Parquet file of windows, each a product, `from` and `to`.
//!
//! **Invariant:** products that the file does not name may be had at any time; a window that cannot be is refused by its row.

use crate::columns::{Times, id_kind, id_word, integers, texts, time_kind};
use crate::error::TablesError;
use crate::reader::each_batch;
use crate::survey::{arrow_metadata, read_footer};
use crate::wanted::Wanted;
use arrow::array::ArrayRef;
use arrow::record_batch::RecordBatch;
use std::collections::BTreeMap;
use tensor::{IdKind, ReadAt, TimeBin};

/// The windows, as far as they were read.
struct Windows<'a> {
    name: &'a str,
    kind: IdKind,
    /// Seconds since 1970, or a bin's number.
    moment: i64,
    /// By the bytes of an id, whether one of its windows holds the moment.
    open: BTreeMap<Vec<u8>, bool>,
    rows: u64,
}

/// The ids of a file of windows that cannot be had at `moment`: seconds since 1970-01-01 in UTC, or with [`TimeBin::None`] the number of a bin.
/// `column` is that of ids. Windows begin at `from` and end before `to`; an end that is null is open.
///
/// # Errors
/// Where the file cannot be read, lacks a column, has one of another type, or a window ends before it begins.
pub fn closed(
    (name, file): (&str, &dyn ReadAt),
    (column, kind): (&str, IdKind),
    (moment, bin): (i64, TimeBin),
) -> Result<Wanted, TablesError> {
    let (_, metadata) = read_footer(name, file)?;
    let metadata = arrow_metadata(name, metadata)?;
    let fields = metadata.schema().fields();
    let refused = |sentence: String| TablesError::BadIds(sentence);
    for wanted in [column, "from", "to"] {
        let field = fields.iter().find(|field| field.name() == wanted);
        let field = field.ok_or_else(|| {
            refused(format!(
                "{name} has no column `{wanted}`: windows are rows of `{column}`, `from` and `to`"
            ))
        })?;
        let found = field.data_type();
        if wanted == column {
            if id_kind(found) != Some(kind) {
                return Err(refused(format!(
                    "column `{column}` of {name} is {found}, but the ids of the data set are {}: write them with one type",
                    id_word(kind)
                )));
            }
        } else if time_kind(found).is_none() {
            return Err(refused(format!(
                "column `{wanted}` of {name} is {found}: it must be a date, a timestamp or an integer"
            )));
        } else if bin == TimeBin::None && !found.is_integer() {
            return Err(refused(format!(
                "column `{wanted}` of {name} is {found}, but the times of the data set are numbers of bins: write such numbers"
            )));
        }
    }
    let mut windows = Windows {
        name,
        kind,
        moment,
        open: BTreeMap::new(),
        rows: 0,
    };
    each_batch((name, file), &metadata, &[column, "from", "to"], |batch| {
        windows.take(batch, column)
    })?;
    let mut closed = Wanted::new(column, kind);
    let shut = windows.open.into_iter().filter(|(_, open)| !open);
    shut.for_each(|(key, _)| closed.add_key(key));
    Ok(closed)
}

impl Windows<'_> {
    fn take(&mut self, batch: &RecordBatch, column: &str) -> Result<(), TablesError> {
        let of = |wanted: &str| -> Result<&ArrayRef, TablesError> {
            let found = batch.column_by_name(wanted);
            found.ok_or(TablesError::Malformed("a column went away"))
        };
        let keys = self.keys(of(column)?)?;
        let (from, to) = (Times::of(of("from")?)?, Times::of(of("to")?)?);
        for (row, key) in keys.into_iter().enumerate() {
            self.rows += 1;
            let (from, to) = (from.at(row), to.at(row));
            if let (Some(from), Some(to)) = (from, to)
                && to <= from
            {
                return Err(TablesError::BadIds(format!(
                    "row {} of {}: `to` is not behind `from`, so the window holds no time: correct it",
                    self.rows, self.name
                )));
            }
            // A null is no product.
            let Some(key) = key else { continue };
            let begun = from.is_none_or(|from| from <= self.moment);
            let holds = begun && to.is_none_or(|to| self.moment < to);
            let open = self.open.entry(key).or_default();
            *open |= holds;
        }
        Ok(())
    }

    fn keys(&self, ids: &ArrayRef) -> Result<Vec<Option<Vec<u8>>>, TablesError> {
        let mut keys = Vec::with_capacity(ids.len());
        match self.kind {
            IdKind::Int64 | IdKind::UInt64 => integers(ids, self.kind, |id| {
                keys.push(id.map(|id| id.to_be_bytes().to_vec()));
            })?,
            IdKind::Utf8 | IdKind::Binary => {
                texts(ids, |id| keys.push(id.map(<[u8]>::to_vec)))?;
            }
        }
        Ok(keys)
    }
}
