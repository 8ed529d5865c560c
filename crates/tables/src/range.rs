//! Which times are wanted, and what of the files lies outside: folders, row groups, rows. And times that folders tell.
//!
//! **Invariant:** what is skipped is what reading would leave out; statistics that do not prove it skip nothing.

use crate::columns::TimeKind;
use crate::error::TablesError;
use arrow::datatypes::{DataType, Field, TimeUnit as ArrowUnit};
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use parquet::basic::{LogicalType, TimeUnit};
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::statistics::Statistics;
use serde::{Deserialize, Serialize};
use std::path::{Component, Path};
use tensor::TimeBin;
use tensor::time::{day_of_text, text_of_day};

const SECONDS_PER_DAY: i64 = 86_400;

/// An end of a range as a job gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Bound {
    /// The beginning of a day (from 1970-01-01) in UTC.
    Day(i32),
    /// A number of a column of integers.
    Number(i64),
}

impl Bound {
    /// Reads YYYY-MM-DD or an integer.
    pub fn of(text: &str) -> Option<Self> {
        let text = text.trim();
        let day = day_of_text(text).map(Bound::Day);
        day.or_else(|| text.parse().ok().map(Bound::Number))
    }
}

impl std::fmt::Display for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Bound::Day(day) => f.write_str(&text_of_day(*day)),
            Bound::Number(number) => number.fmt(f),
        }
    }
}

/// The times that are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeRange {
    /// Nothing before it.
    pub from: Option<Bound>,
    /// Nothing from it on.
    pub until: Option<Bound>,
}

impl std::fmt::Display for TimeRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.from, self.until) {
            (Some(from), Some(until)) => write!(f, "from {from} until {until}"),
            (Some(from), None) => write!(f, "from {from} on"),
            (None, Some(until)) => write!(f, "until {until}"),
            (None, None) => f.write_str("at any time"),
        }
    }
}

/// A range in the numbers of a column: seconds, or numbers of bins. The end is not in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// The first number in it.
    pub start: i64,
    /// The first behind it.
    pub end: i64,
}

impl Span {
    /// Whether a time is wanted.
    #[inline]
    pub fn holds(&self, number: i64) -> bool {
        (self.start..self.end).contains(&number)
    }
}

impl TimeRange {
    /// The range in the numbers of a column; `None` where every time is wanted.
    ///
    /// # Errors
    /// Where a bound is a number and the column holds dates, or the other way about.
    pub fn span(
        &self,
        column: &str,
        kind: TimeKind,
        bin: TimeBin,
    ) -> Result<Option<Span>, TablesError> {
        if self.from.is_none() && self.until.is_none() {
            return Ok(None);
        }
        let number = |name: &str, bound: Bound| match (bound, kind) {
            (Bound::Number(number), TimeKind::Integer) => Ok(number),
            (Bound::Day(_), TimeKind::Integer) if bin == TimeBin::None => {
                Err(TablesError::Range(format!(
                    "`input.{name}` is the day {bound}, but the column `{column}` holds numbers of bins: give a number"
                )))
            }
            (Bound::Day(day), _) => Ok(i64::from(day) * SECONDS_PER_DAY),
            (Bound::Number(_), _) => Err(TablesError::Range(format!(
                "`input.{name}` is the number {bound}, but the column `{column}` holds times: write YYYY-MM-DD"
            ))),
        };
        let end = |name: &str, bound: Option<Bound>, else_at: i64| {
            bound.map_or(Ok(else_at), |bound| number(name, bound))
        };
        Ok(Some(Span {
            start: end("from", self.from, i64::MIN)?,
            end: end("until", self.until, i64::MAX)?,
        }))
    }
}

/// The time of all rows of a file, told by a folder on its path, as in `day=2026-01-01`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FolderTime {
    /// A date or an integer.
    pub kind: TimeKind,
    /// Seconds, or the integer.
    pub number: i64,
}

impl FolderTime {
    /// Of a file, where one of its folders is named after the column.
    ///
    /// # Errors
    /// Where two are and differ, or the value is neither a date nor an integer.
    pub fn of(file: &Path, column: &str) -> Result<Option<Self>, TablesError> {
        let mut found: Option<(String, Self)> = None;
        let folders = file.parent().into_iter().flat_map(Path::components);
        for folder in folders {
            let Component::Normal(folder) = folder else {
                continue;
            };
            let folder = folder.to_string_lossy();
            let Some((name, value)) = folder.split_once('=') else {
                continue;
            };
            if name != column {
                continue;
            }
            let time = match Bound::of(value) {
                Some(Bound::Day(day)) => FolderTime {
                    kind: TimeKind::Date,
                    number: i64::from(day) * SECONDS_PER_DAY,
                },
                Some(Bound::Number(number)) => FolderTime {
                    kind: TimeKind::Integer,
                    number,
                },
                None => {
                    return Err(TablesError::Folder(format!(
                        "the folder `{folder}` of {} names no time: it must be {column}=YYYY-MM-DD or {column}=INTEGER; rename it, \
                         or leave it out of `input.files`",
                        file.display()
                    )));
                }
            };
            match &found {
                Some((other, earlier)) if *earlier != time => {
                    return Err(TablesError::Folder(format!(
                        "{} lies in two folders of different times, `{other}` and `{folder}`: name the column of one of them otherwise",
                        file.display()
                    )));
                }
                _ => found = Some((folder.into_owned(), time)),
            }
        }
        Ok(found.map(|(_, time)| time))
    }
}

/// Which files and times are read, beside what the spec says.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// The times that are wanted.
    pub range: TimeRange,
    /// Of each file the time that its folder tells; empty: none does.
    pub folders: Vec<Option<FolderTime>>,
}

/// Whether statistics prove that a row group has no row of a span.
pub(crate) fn lies_outside(
    span: Span,
    arrow: &ArrowReaderMetadata,
    group: &RowGroupMetaData,
    leaf: usize,
    field: &Field,
) -> bool {
    let Some(statistics) = group.column(leaf).statistics() else {
        return false;
    };
    // A null is a bad row, whatever the range.
    if statistics.null_count_opt() != Some(0) {
        return false;
    }
    let bounds = match statistics {
        Statistics::Int32(of) => of
            .min_opt()
            .zip(of.max_opt())
            .map(|(&min, &max)| (i64::from(min), i64::from(max))),
        Statistics::Int64(of) => of
            .min_opt()
            .zip(of.max_opt())
            .map(|(&min, &max)| (min, max)),
        _ => None,
    };
    let Some((min, max)) = bounds else {
        return false;
    };
    let logical = arrow.parquet_schema().column(leaf);
    let seconds = |number: i64| match (logical.logical_type_ref(), field.data_type()) {
        (Some(LogicalType::Date), DataType::Date32) => number.checked_mul(SECONDS_PER_DAY),
        (Some(LogicalType::Timestamp(timestamp)), DataType::Timestamp(..)) => {
            match timestamp.unit {
                TimeUnit::MILLIS => Some(number.div_euclid(1000)),
                TimeUnit::MICROS => Some(number.div_euclid(1_000_000)),
                TimeUnit::NANOS => Some(number.div_euclid(1_000_000_000)),
            }
        }
        // Parquet has no type for them: they are plain integers, and the schema of Arrow beside them says what they are.
        (None, DataType::Timestamp(ArrowUnit::Second, _)) => Some(number),
        (_, DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64) => Some(number),
        _ => None,
    };
    match (seconds(min), seconds(max)) {
        (Some(min), Some(max)) => max < span.start || min >= span.end,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_tell_times() {
        let of =
            |path: &str| FolderTime::of(Path::new(path), "day").map_err(|error| error.to_string());
        let date = |day: i64| FolderTime {
            kind: TimeKind::Date,
            number: day * SECONDS_PER_DAY,
        };
        assert_eq!(of("a/day=1970-01-03/x.parquet"), Ok(Some(date(2))));
        assert_eq!(of("/a/day=1970-01-03/store=7/x.parquet"), Ok(Some(date(2))));
        assert_eq!(
            of("a/day=1970-01-03/day=1970-01-03/x.parquet"),
            Ok(Some(date(2)))
        );
        let integer = FolderTime {
            kind: TimeKind::Integer,
            number: -17,
        };
        assert_eq!(of("a/day=-17/x.parquet"), Ok(Some(integer)));
        assert_eq!(of("a/days=3/x.parquet"), Ok(None));
        assert_eq!(of("a/b/day=3.parquet"), Ok(None), "a file is no folder");
        assert_eq!(
            of("a/day=__HIVE_DEFAULT_PARTITION__/x.parquet").unwrap_err(),
            "the folder `day=__HIVE_DEFAULT_PARTITION__` of a/day=__HIVE_DEFAULT_PARTITION__/x.parquet names no time: it must be \
             day=YYYY-MM-DD or day=INTEGER; rename it, or leave it out of `input.files`"
        );
        assert!(
            of("day=3/day=4/x")
                .unwrap_err()
                .contains("two folders of different times, `day=3` and `day=4`")
        );
    }

    #[test]
    fn bounds_must_suit_the_column() {
        let range = |from: &str, until: &str| TimeRange {
            from: Bound::of(from),
            until: Bound::of(until),
        };
        let span = |range: TimeRange, kind, bin| {
            range
                .span("t", kind, bin)
                .map_err(|error| error.to_string())
        };
        let days = range("1970-01-02", "1970-01-04");
        let expected = Span {
            start: 86_400,
            end: 3 * 86_400,
        };
        for kind in [TimeKind::Date, TimeKind::Timestamp, TimeKind::Integer] {
            assert_eq!(span(days, kind, TimeBin::Day), Ok(Some(expected)));
        }
        assert_eq!(days.to_string(), "from 1970-01-02 until 1970-01-04");
        let numbers = range("5", "x");
        let open = Span {
            start: 5,
            end: i64::MAX,
        };
        assert_eq!(
            span(numbers, TimeKind::Integer, TimeBin::None),
            Ok(Some(open))
        );
        assert_eq!(
            span(TimeRange::default(), TimeKind::Date, TimeBin::Week),
            Ok(None)
        );
        assert!(
            span(numbers, TimeKind::Date, TimeBin::Week)
                .unwrap_err()
                .contains("holds times: write YYYY-MM-DD")
        );
        assert!(
            span(days, TimeKind::Integer, TimeBin::None)
                .unwrap_err()
                .contains("holds numbers of bins: give a number")
        );
    }
}
