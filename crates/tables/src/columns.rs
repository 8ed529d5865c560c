//! The columns of a file in their roles: which types will do, and how decoded arrays become ids, bins and values.

use crate::error::TablesError;
use crate::range::FolderTime;
use crate::spec::{BadReason, EventRule, ScanSpec};
use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type, Schema, TimeUnit, UInt64Type};
use serde::{Deserialize, Serialize};
use tensor::{Cycle, IdKind};

/// How a column of times is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TimeKind {
    /// Days.
    Date,
    /// Moments.
    Timestamp,
    /// Seconds, or bin numbers.
    Integer,
}

impl TimeKind {
    /// The precision of the column in seconds: a last bin is whole when the last datum fills it to this precision.
    pub fn unit_seconds(self) -> i64 {
        if self == TimeKind::Date { 86_400 } else { 1 }
    }
}

/// The kinds of the columns in use; the same in every file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ColumnKinds {
    /// Users' ids.
    pub user: IdKind,
    /// Products' ids.
    pub product: IdKind,
    /// Times, where there are any.
    pub time: Option<TimeKind>,
    /// Contexts' ids, where they have a column.
    pub context: Option<IdKind>,
}

pub(crate) fn id_kind(found: &DataType) -> Option<IdKind> {
    match found {
        DataType::UInt64 => Some(IdKind::UInt64),
        integer if integer.is_integer() => Some(IdKind::Int64),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Some(IdKind::Utf8),
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => Some(IdKind::Binary),
        DataType::Dictionary(_, value) => id_kind(value),
        _ => None,
    }
}

pub(crate) fn time_kind(found: &DataType) -> Option<TimeKind> {
    match found {
        DataType::Date32 | DataType::Date64 => Some(TimeKind::Date),
        DataType::Timestamp(..) => Some(TimeKind::Timestamp),
        integer if integer.is_integer() => Some(TimeKind::Integer),
        DataType::Dictionary(_, value) => time_kind(value),
        _ => None,
    }
}

pub(crate) fn is_value(found: &DataType) -> bool {
    match found {
        DataType::Dictionary(_, value) => is_value(value),
        other => other.is_numeric(),
    }
}

pub(crate) fn id_word(kind: IdKind) -> &'static str {
    match kind {
        IdKind::Int64 => "an integer",
        IdKind::UInt64 => "an unsigned 64-bit integer",
        IdKind::Utf8 => "text",
        IdKind::Binary => "binary",
    }
}

fn time_word(kind: TimeKind) -> &'static str {
    match kind {
        TimeKind::Date => "a date",
        TimeKind::Timestamp => "a timestamp",
        TimeKind::Integer => "an integer",
    }
}

impl ColumnKinds {
    /// Checks the columns of one file against the spec; the time of all its rows may be told by its folder instead.
    ///
    /// # Errors
    /// The first column that is missing, ambiguous, told twice or of a wrong type, with the file's name.
    pub fn of(
        file: &str,
        schema: &Schema,
        spec: &ScanSpec,
        folder: Option<FolderTime>,
    ) -> Result<Self, TablesError> {
        let typed = |role: &'static str, column: &str| data_type(file, schema, role, column);
        let wrong = |role, column: &str, found: &DataType, expected| TablesError::WrongType {
            file: file.to_owned(),
            column: column.to_owned(),
            role,
            found: found.to_string(),
            expected,
        };
        let id = |role, column: &str| {
            let found = typed(role, column)?;
            id_kind(found)
                .ok_or_else(|| wrong(role, column, found, "an integer, text or binary column"))
        };
        let kinds = ColumnKinds {
            user: id("user", &spec.user)?,
            product: id("product", &spec.product)?,
            time: match (&spec.time, folder) {
                (None, _) => None,
                (Some(column), Some(folder)) => {
                    if schema.fields().iter().any(|field| field.name() == column) {
                        let sentence = format!(
                            "{file} has a column `{column}`, and its folder tells one too: rename the column of the files or the folders"
                        );
                        return Err(TablesError::Folder(sentence));
                    }
                    Some(folder.kind)
                }
                (Some(column), None) => {
                    let found = typed("time", column)?;
                    let expected = "a date, timestamp or integer column";
                    Some(time_kind(found).ok_or_else(|| wrong("time", column, found, expected))?)
                }
            },
            context: spec
                .context_column()
                .map(|column| id("context", column))
                .transpose()?,
        };
        if let (Some(TimeKind::Date), Some(Cycle::HourOfDay), Some(column)) =
            (kinds.time, spec.cycle(), &spec.time)
        {
            let expected = "a timestamp or integer column, of which \"hour-of-day\" can be told";
            let found = folder.map_or_else(|| typed("time", column), |_| Ok(&DataType::Date32))?;
            return Err(wrong("time", column, found, expected));
        }
        if let Some(rule) = &spec.event {
            let found = typed("event", &rule.column)?;
            if !matches!(id_kind(found), Some(kind) if kind != IdKind::Binary) {
                let expected = "a text or integer column";
                return Err(wrong("event", &rule.column, found, expected));
            }
        }
        if let Some(column) = &spec.value {
            let found = typed("value", column)?;
            if !is_value(found) {
                return Err(wrong(
                    "value",
                    column,
                    found,
                    "an integer, float or decimal column",
                ));
            }
        }
        Ok(kinds)
    }

    /// Checks that a further file agrees with the first.
    ///
    /// # Errors
    /// The first column of another kind.
    pub fn agree(
        &self,
        first: &str,
        other: &Self,
        file: &str,
        spec: &ScanSpec,
    ) -> Result<(), TablesError> {
        let words = |kinds: &Self| {
            [
                (Some(spec.user.as_str()), Some(id_word(kinds.user))),
                (Some(spec.product.as_str()), Some(id_word(kinds.product))),
                (spec.time.as_deref(), kinds.time.map(time_word)),
                (spec.context_column(), kinds.context.map(id_word)),
            ]
        };
        for ((column, expected), (_, found)) in words(self).into_iter().zip(words(other)) {
            if let (Some(column), Some(expected), Some(found)) = (column, expected, found)
                && expected != found
            {
                return Err(TablesError::SchemaDiffers {
                    file: file.to_owned(),
                    column: column.to_owned(),
                    found,
                    first: first.to_owned(),
                    expected,
                });
            }
        }
        Ok(())
    }
}

pub(crate) fn data_type<'a>(
    file: &str,
    schema: &'a Schema,
    role: &'static str,
    column: &str,
) -> Result<&'a DataType, TablesError> {
    let mut fields = schema
        .fields()
        .iter()
        .filter(|field| field.name() == column);
    match (fields.next(), fields.next()) {
        (Some(field), None) => Ok(field.data_type()),
        (Some(_), Some(_)) => Err(TablesError::AmbiguousColumn {
            file: file.to_owned(),
            column: column.to_owned(),
            role,
        }),
        (None, _) => {
            let names: Vec<String> = schema
                .fields()
                .iter()
                .map(|field| format!("`{}`", field.name()))
                .collect();
            Err(TablesError::MissingColumn {
                file: file.to_owned(),
                column: column.to_owned(),
                role,
                known: if names.is_empty() {
                    "no columns".to_owned()
                } else {
                    names.join(", ")
                },
            })
        }
    }
}

/// An integer id as a number whose order is that of the ids.
pub fn ordered_from_i64(id: i64) -> u64 {
    id.cast_unsigned() ^ (1 << 63)
}

/// The integer id behind [`ordered_from_i64`].
pub fn i64_from_ordered(ordered: u64) -> i64 {
    (ordered ^ (1 << 63)).cast_signed()
}

/// Calls `sink` with every integer id as an ordered number, `None` for null.
///
/// # Errors
/// Where the decoder gave another type than the schema promised.
pub fn integers(
    array: &ArrayRef,
    kind: IdKind,
    mut sink: impl FnMut(Option<u64>),
) -> Result<(), TablesError> {
    if kind == IdKind::UInt64 {
        let array = cast_to(array, &DataType::UInt64)?;
        array.as_primitive::<UInt64Type>().iter().for_each(sink);
    } else {
        let array = cast_to(array, &DataType::Int64)?;
        let typed = array.as_primitive::<Int64Type>();
        if typed.null_count() == 0 {
            typed
                .values()
                .iter()
                .for_each(|&id| sink(Some(ordered_from_i64(id))));
        } else {
            typed.iter().for_each(|id| sink(id.map(ordered_from_i64)));
        }
    }
    Ok(())
}

/// Calls `sink` with the bytes of every text or binary id, `None` for null.
///
/// # Errors
/// Where the decoder gave another type than the schema promised.
pub fn texts(array: &ArrayRef, sink: impl FnMut(Option<&[u8]>)) -> Result<(), TablesError> {
    match array.data_type() {
        DataType::Utf8 => {
            array
                .as_string::<i32>()
                .iter()
                .map(|id| id.map(str::as_bytes))
                .for_each(sink);
        }
        DataType::LargeUtf8 => {
            array
                .as_string::<i64>()
                .iter()
                .map(|id| id.map(str::as_bytes))
                .for_each(sink);
        }
        DataType::Utf8View => {
            array
                .as_string_view()
                .iter()
                .map(|id| id.map(str::as_bytes))
                .for_each(sink);
        }
        DataType::Binary => array.as_binary::<i32>().iter().for_each(sink),
        DataType::LargeBinary => array.as_binary::<i64>().iter().for_each(sink),
        DataType::BinaryView => array.as_binary_view().iter().for_each(sink),
        DataType::FixedSizeBinary(_) => array.as_fixed_size_binary().iter().for_each(sink),
        DataType::Dictionary(_, value) => return texts(&cast_to(array, value)?, sink),
        _ => return Err(TablesError::Malformed("a column changed its type")),
    }
    Ok(())
}

/// Times as seconds (or bin numbers); null where a time is null.
pub struct Times {
    numbers: Int64Array,
    /// Entries of `numbers` per second, or the seconds of one.
    per_second: i64,
    seconds_each: i64,
}

impl Times {
    /// One time for so many rows.
    pub fn all(number: i64, rows: usize) -> Self {
        Times {
            numbers: Int64Array::from_value(number, rows),
            per_second: 1,
            seconds_each: 1,
        }
    }

    /// Of a decoded column.
    ///
    /// # Errors
    /// Where the decoder gave another type than the schema promised.
    pub fn of(array: &ArrayRef) -> Result<Self, TablesError> {
        if let DataType::Dictionary(_, value) = array.data_type() {
            return Self::of(&cast_to(array, value)?);
        }
        let (per_second, seconds_each) = match array.data_type() {
            DataType::Date32 => (1, 86_400),
            DataType::Date64 | DataType::Timestamp(TimeUnit::Millisecond, _) => (1000, 1),
            DataType::Timestamp(TimeUnit::Microsecond, _) => (1_000_000, 1),
            DataType::Timestamp(TimeUnit::Nanosecond, _) => (1_000_000_000, 1),
            _ => (1, 1),
        };
        let numbers = match array.data_type() {
            DataType::Date32 => cast_to(&cast_to(array, &DataType::Int32)?, &DataType::Int64)?,
            _ => cast_to(array, &DataType::Int64)?,
        };
        let numbers = numbers.as_primitive::<Int64Type>().clone();
        Ok(Times {
            numbers,
            per_second,
            seconds_each,
        })
    }

    /// The seconds, or the bin number, of a row.
    pub fn at(&self, row: usize) -> Option<i64> {
        let numbers = &self.numbers;
        numbers.is_valid(row).then(|| {
            let number = numbers.value(row);
            if self.per_second == 1 {
                number * self.seconds_each
            } else {
                number.div_euclid(self.per_second)
            }
        })
    }
}

/// Values as f64; null where a value is null.
pub struct Reals(Float64Array);

impl Reals {
    /// Of a decoded column.
    ///
    /// # Errors
    /// Where the decoder gave another type than the schema promised.
    pub fn of(array: &ArrayRef) -> Result<Self, TablesError> {
        Ok(Reals(
            cast_to(array, &DataType::Float64)?
                .as_primitive::<Float64Type>()
                .clone(),
        ))
    }

    /// The value of a row.
    pub fn at(&self, row: usize) -> Option<f64> {
        self.0.is_valid(row).then(|| self.0.value(row))
    }
}

/// What the events of a batch count.
pub struct Events {
    weights: Vec<Result<f64, BadReason>>,
    /// The first that has no weight.
    unknown: Option<String>,
}

impl Events {
    /// Of a decoded column.
    ///
    /// # Errors
    /// Where the decoder gave another type than the schema promised.
    pub fn of(array: &ArrayRef, rule: &EventRule) -> Result<Self, TablesError> {
        let mut events = Events {
            weights: Vec::with_capacity(array.len()),
            unknown: None,
        };
        match id_kind(array.data_type()) {
            Some(IdKind::UInt64) => integers(array, IdKind::UInt64, |id| {
                events.take(rule, id.map(|id| id.to_string()).as_deref());
            })?,
            Some(IdKind::Int64) => integers(array, IdKind::Int64, |id| {
                let name = id.map(|id| i64_from_ordered(id).to_string());
                events.take(rule, name.as_deref());
            })?,
            _ => texts(array, |id| {
                let name = id.map(String::from_utf8_lossy);
                events.take(rule, name.as_deref());
            })?,
        }
        Ok(events)
    }

    fn take(&mut self, rule: &EventRule, name: Option<&str>) {
        let weight = name
            .ok_or(BadReason::NullEvent)
            .and_then(|name| rule.weight(name).ok_or(BadReason::UnknownEvent));
        if weight == Err(BadReason::UnknownEvent) && self.unknown.is_none() {
            self.unknown = name.map(str::to_owned);
        }
        self.weights.push(weight);
    }

    /// The weight of a row, or why it has none.
    ///
    /// # Errors
    /// That.
    pub fn at(&self, row: usize) -> Result<f64, BadReason> {
        self.weights[row]
    }

    /// The name of the first event that has no weight.
    pub fn unknown(&self) -> Option<&str> {
        self.unknown.as_deref()
    }
}

pub(crate) fn cast_to(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, TablesError> {
    if array.data_type() == to {
        return Ok(array.clone());
    }
    cast(array, to).map_err(|_| TablesError::Malformed("a column changed its type"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integer_ids_keep_their_order() {
        let ids = [i64::MIN, -5, -1, 0, 1, i64::MAX];
        let ordered: Vec<u64> = ids.iter().map(|&id| ordered_from_i64(id)).collect();
        assert!(ordered.is_sorted());
        assert!(
            ids.iter()
                .zip(&ordered)
                .all(|(&id, &o)| i64_from_ordered(o) == id)
        );
    }
}
