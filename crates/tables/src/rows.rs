//! The rows of a segment: validity, time bins, values; and the segment as sorted runs of ids and records.

use crate::columns::{Events, Reals, TimeKind, Times};
use crate::intern::{Interner, NULL};
use crate::op::{IdRun, ScanReport, Segment, Shape};
use crate::range::Span;
use crate::spec::{BadReason, OnBadRow, ValueRule};
use crate::survey::SEGMENT_ROWS;
use tensor::{Cycle, TimeBin};

/// Bytes of ids of one mode beyond which a segment ends early.
const SEGMENT_ID_BYTES: usize = 16 << 20;

/// The rules that a row is examined by.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// The width of a bin.
    pub bin: TimeBin,
    /// The first bin that times may lie in, where there is one.
    pub first_bin: Option<i64>,
    /// The kind of times, where there are any.
    pub time: Option<TimeKind>,
    /// Legal values.
    pub values: ValueRule,
    /// What becomes of bad rows.
    pub on_bad_row: OnBadRow,
    /// The cycle whose places are the contexts.
    pub cycle: Option<Cycle>,
    /// The shape of a record.
    pub shape: Shape,
    /// The times that are wanted, where not all are.
    pub span: Option<Span>,
}

/// A decoded batch: local ids, times, values.
pub struct Batch<'a> {
    /// Local numbers of users.
    pub users: &'a [u32],
    /// Local numbers of products.
    pub products: &'a [u32],
    /// Local numbers of contexts, where they are ids.
    pub contexts: Option<&'a [u32]>,
    /// Times.
    pub times: Option<Times>,
    /// Values.
    pub values: Option<Reals>,
    /// What events count.
    pub events: Option<Events>,
}

/// What is used of a row beside its user and its product.
struct Usable {
    bin: i32,
    context: u32,
    value: f64,
}

/// Usable rows of the open segment, and what is known of all rows so far.
pub struct Rows {
    rules: Rules,
    users: Vec<u32>,
    products: Vec<u32>,
    bins: Vec<i32>,
    contexts: Vec<u32>,
    values: Vec<f64>,
    next_row: u64,
    last_time: Option<(i64, Result<i32, BadReason>)>,
    /// What is to be reported.
    pub report: ScanReport,
}

/// A closed segment, encoded.
#[derive(Debug)]
pub struct Closed {
    /// Its place in the directory.
    pub segment: Segment,
    /// The run of users.
    pub users: Vec<u8>,
    /// The run of products.
    pub products: Vec<u8>,
    /// The run of contexts, where they are ids.
    pub contexts: Vec<u8>,
    /// The records.
    pub records: Vec<u32>,
}

impl Rows {
    /// None yet; `first_row` is the number in the file of the first that will come.
    pub fn new(rules: Rules, first_row: u64) -> Self {
        Rows {
            rules,
            users: Vec::new(),
            products: Vec::new(),
            bins: Vec::new(),
            contexts: Vec::new(),
            values: Vec::new(),
            next_row: first_row,
            last_time: None,
            report: ScanReport::default(),
        }
    }

    /// Whether the scan need not go on: a bad row was found and bad rows are rejected.
    pub fn is_rejected(&self) -> bool {
        self.rules.on_bad_row == OnBadRow::Reject && self.report.first_bad.is_some()
    }

    /// Whether the segment should end before the next batch.
    pub fn is_full(&self, ids: &[&Interner], batch_rows: usize) -> bool {
        self.users.len() + batch_rows > SEGMENT_ROWS as usize
            || ids.iter().any(|ids| ids.id_bytes() > SEGMENT_ID_BYTES)
    }

    /// Examines the rows of a batch and keeps the usable ones.
    pub fn push(&mut self, batch: &Batch<'_>) {
        for row in 0..batch.users.len() {
            match self.examine(batch, row) {
                Ok(Usable {
                    bin,
                    context,
                    value,
                }) => {
                    self.users.push(batch.users[row]);
                    self.products.push(batch.products[row]);
                    let shape = self.rules.shape;
                    if shape.small.time {
                        self.bins.push(bin);
                    }
                    if shape.small.context {
                        self.contexts.push(context);
                    }
                    if shape.value {
                        self.values.push(value);
                    }
                }
                Err(BadReason::OutsideRange) => {
                    *self.report.bad.entry(BadReason::OutsideRange).or_default() += 1;
                }
                Err(reason) => {
                    if reason == BadReason::UnknownEvent && self.report.unknown_event.is_none() {
                        let unknown = batch.events.as_ref().and_then(Events::unknown);
                        self.report.unknown_event = unknown.map(str::to_owned);
                    }
                    *self.report.bad.entry(reason).or_default() += 1;
                    self.report
                        .first_bad
                        .get_or_insert((self.next_row + row as u64, reason));
                }
            }
        }
        self.next_row += batch.users.len() as u64;
        self.report.rows += batch.users.len() as u64;
    }

    /// What is used of a row, or why it is bad.
    fn examine(&mut self, batch: &Batch<'_>, row: usize) -> Result<Usable, BadReason> {
        if let (Some(span), Some(times)) = (&self.rules.span, &batch.times)
            && times.at(row).is_some_and(|number| !span.holds(number))
        {
            return Err(BadReason::OutsideRange);
        }
        if batch.users[row] == NULL {
            return Err(BadReason::NullUser);
        }
        if batch.products[row] == NULL {
            return Err(BadReason::NullProduct);
        }
        let mut time = None;
        let mut bin = 0;
        if let Some(times) = &batch.times {
            let number = times.at(row).ok_or(BadReason::NullTime)?;
            bin = self.bin(number)?;
            time = Some(number);
        }
        let context = match (batch.contexts, self.rules.cycle, time) {
            (Some(contexts), ..) if contexts[row] == NULL => return Err(BadReason::NullContext),
            (Some(contexts), ..) => contexts[row],
            (None, Some(cycle), Some(number)) => cycle.place(number),
            _ => 0,
        };
        let weight = batch.events.as_ref().map(|events| events.at(row));
        let weight = weight.transpose()?;
        let mut value = 1.0;
        if let Some(values) = &batch.values {
            value = values.at(row).ok_or(BadReason::NullValue)?;
            check_value(value, self.rules.values)?;
        }
        if let Some(weight) = weight {
            value *= weight;
            check_value(value, self.rules.values)?;
        }
        if let Some(number) = time {
            let bin = i64::from(bin);
            let (first, last) = self.report.bins.unwrap_or((bin, bin));
            self.report.bins = Some((first.min(bin), last.max(bin)));
            self.report.last_second = self.report.last_second.max(Some(number));
        }
        Ok(Usable {
            bin,
            context,
            value,
        })
    }

    /// The absolute bin of a time. Files are often sorted by it, so the last answer is kept.
    fn bin(&mut self, number: i64) -> Result<i32, BadReason> {
        match self.last_time {
            Some((last, bin)) if last == number => bin,
            _ => {
                let bin = absolute_bin(number, self.rules.bin, self.rules.time);
                let first = self.rules.first_bin;
                let bin = bin.and_then(|bin| match first {
                    Some(first) if i64::from(bin) < first => Err(BadReason::BeforeFirstBin),
                    _ => Ok(bin),
                });
                self.last_time = Some((number, bin));
                bin
            }
        }
    }

    /// Ends the segment: ids by order, records by local rank of ids, in row order. Nothing where no row is usable.
    /// `contexts` where they are ids.
    pub fn close(
        &mut self,
        users: &mut Interner,
        products: &mut Interner,
        contexts: Option<&mut Interner>,
    ) -> Option<Closed> {
        let closed = (!self.users.is_empty()).then(|| {
            let (user_run, user_bytes) = encode_ids(users, &mut self.users);
            let (product_run, product_bytes) = encode_ids(products, &mut self.products);
            let (context_run, context_bytes) = match contexts.as_deref() {
                Some(contexts) => encode_ids(contexts, &mut self.contexts),
                None => (IdRun::default(), Vec::new()),
            };
            let segment = Segment {
                records: self.users.len() as u32,
                users: user_run,
                products: product_run,
                contexts: context_run,
            };
            self.report.segments.push(segment);
            Closed {
                segment,
                users: user_bytes,
                products: product_bytes,
                contexts: context_bytes,
                records: self.records(),
            }
        });
        self.users.clear();
        self.products.clear();
        self.bins.clear();
        self.contexts.clear();
        self.values.clear();
        [Some(users), Some(products), contexts]
            .into_iter()
            .flatten()
            .for_each(Interner::clear);
        closed
    }

    /// The rows of the segment as records.
    fn records(&self) -> Vec<u32> {
        let shape = self.rules.shape;
        let mut records = Vec::with_capacity(self.users.len() * shape.words());
        for row in 0..self.users.len() {
            records.extend_from_slice(&[self.users[row], self.products[row]]);
            if shape.small.time {
                records.push(self.bins[row].cast_unsigned());
            }
            if shape.small.context {
                records.push(self.contexts[row]);
            }
            if shape.value {
                let bits = self.values[row].to_bits();
                records.extend_from_slice(&[bits as u32, (bits >> 32) as u32]);
            }
        }
        records
    }
}

fn absolute_bin(number: i64, bin: TimeBin, kind: Option<TimeKind>) -> Result<i32, BadReason> {
    let index = match (bin, kind) {
        (TimeBin::None, Some(TimeKind::Integer)) => number,
        _ => bin.index(number),
    };
    i32::try_from(index).map_err(|_| BadReason::TimeOutOfRange)
}

fn check_value(value: f64, rule: ValueRule) -> Result<(), BadReason> {
    if value.is_nan() {
        return Err(BadReason::NanValue);
    }
    if value.is_infinite() {
        return Err(BadReason::InfiniteValue);
    }
    if (value as f32).is_infinite() {
        return Err(BadReason::ValueOutOfRange);
    }
    match rule {
        ValueRule::NonNegative if value < 0.0 => Err(BadReason::ForbiddenValue),
        ValueRule::Positive if value <= 0.0 => Err(BadReason::ForbiddenValue),
        _ => Ok(()),
    }
}

/// Writes the run of a mode's ids and turns the rows' local numbers into ranks in it.
fn encode_ids(ids: &Interner, locals: &mut [u32]) -> (IdRun, Vec<u8>) {
    let mut counts = vec![0_u32; ids.len()];
    for &local in locals.iter() {
        counts[local as usize] += 1;
    }
    let ordered = ids.ordered(&counts);
    let mut run = Vec::with_capacity(ids.id_bytes() + 8 * ordered.len());
    let mut ranks = vec![0_u32; ids.len()];
    for (rank, &local) in ordered.iter().enumerate() {
        ids.write_entry(local, counts[local as usize], &mut run);
        ranks[local as usize] = rank as u32;
    }
    for local in locals {
        *local = ranks[*local as usize];
    }
    (
        IdRun {
            ids: ordered.len() as u32,
            bytes: run.len() as u64,
        },
        run,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_told_apart_by_reason() {
        let cases = [
            (f64::NAN, ValueRule::Finite, Err(BadReason::NanValue)),
            (
                f64::NEG_INFINITY,
                ValueRule::Finite,
                Err(BadReason::InfiniteValue),
            ),
            (1e300, ValueRule::Finite, Err(BadReason::ValueOutOfRange)),
            (-1.0, ValueRule::Finite, Ok(())),
            (-1.0, ValueRule::NonNegative, Err(BadReason::ForbiddenValue)),
            (0.0, ValueRule::NonNegative, Ok(())),
            (0.0, ValueRule::Positive, Err(BadReason::ForbiddenValue)),
        ];
        for (value, rule, expected) in cases {
            assert_eq!(check_value(value, rule), expected, "{value} {rule:?}");
        }
    }

    #[test]
    fn integers_are_seconds_or_bins() {
        let integer = Some(TimeKind::Integer);
        assert_eq!(absolute_bin(-1, TimeBin::Day, integer), Ok(-1));
        assert_eq!(absolute_bin(17, TimeBin::None, integer), Ok(17));
        assert_eq!(absolute_bin(17, TimeBin::None, Some(TimeKind::Date)), Ok(0));
        assert_eq!(
            absolute_bin(1 << 40, TimeBin::None, integer),
            Err(BadReason::TimeOutOfRange)
        );
    }
}
