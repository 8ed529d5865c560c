//! Decoding one split through byte ranges: sides, (user, time), (product, value) and, where contexts are ids, (context),
//! that may advance on threads of their own, and the rows that they make together.
//!
//! **Invariant:** segments depend on the file alone: they end between batches of fixed length.

use crate::columns::{Events, Reals, Times};
use crate::error::TablesError;
use crate::intern::Interner;
use crate::op::{ScanOp, ScanReport};
use crate::reader::{BATCH_ROWS, GroupReader};
use crate::rows::{Batch, Closed, Rows, Rules};
use crate::spec::EventRule;
use crate::survey::{arrow_metadata, parse_footer};
use arrow::array::{Array, ArrayRef};
use bytes::Bytes;
use std::ops::Range;

/// One id column and the small columns beside it.
pub struct Side {
    ids: GroupReader,
    beside: Option<GroupReader>,
    events: Option<GroupReader>,
    interner: Interner,
    locals: Vec<u32>,
    beside_array: Option<ArrayRef>,
    event_array: Option<ArrayRef>,
}

impl Side {
    fn readers(&mut self) -> impl Iterator<Item = &mut GroupReader> {
        std::iter::once(&mut self.ids)
            .chain(&mut self.beside)
            .chain(&mut self.events)
    }

    /// Decodes the next batch; `false` where the row group has no more.
    ///
    /// # Errors
    /// Where a page is damaged.
    pub fn advance(&mut self) -> Result<bool, TablesError> {
        self.locals.clear();
        let next = |column: &mut Option<GroupReader>| match column {
            Some(column) => column.next_column(),
            None => Ok(None),
        };
        self.beside_array = next(&mut self.beside)?;
        self.event_array = next(&mut self.events)?;
        let Some(ids) = self.ids.next_column()? else {
            return Ok(false);
        };
        let mut beside = self.beside_array.iter().chain(&self.event_array);
        if beside.any(|array| array.len() != ids.len()) {
            let reason = "its columns have different numbers of rows";
            return Err(TablesError::corrupt(self.ids.file(), reason));
        }
        self.interner.intern(&ids, &mut self.locals)?;
        Ok(true)
    }
}

/// A split in the course of its scan.
pub struct SplitScan {
    /// Users and times.
    pub user_side: Side,
    /// Products and values.
    pub product_side: Side,
    /// Contexts, where they are ids.
    pub context_side: Option<Side>,
    rows: Rows,
    events: Option<EventRule>,
    /// The time of all rows, where the folder tells it.
    time: Option<i64>,
    split_rows: u64,
    file: String,
}

impl SplitScan {
    /// `footer` are the bytes of `op.input.footer`.
    ///
    /// # Errors
    /// Where the footer is not the one that the survey saw.
    pub fn new(op: &ScanOp, footer: &[u8]) -> Result<Self, TablesError> {
        let file = &op.input.name;
        let metadata = arrow_metadata(file, parse_footer(file, footer)?)?;
        let groups = metadata.metadata().num_row_groups();
        if op.split.row_groups.end as usize > groups {
            return Err(TablesError::corrupt(
                file,
                "it has changed since it was surveyed",
            ));
        }
        let groups = op.split.row_groups.clone();
        let column = |name: &str| GroupReader::new(file, &metadata, groups.clone(), &[name]);
        let beside = |name: Option<&str>| name.map(column).transpose();
        let side = |name: &str, kind, other: Option<&str>, events: Option<&str>| {
            Ok::<_, TablesError>(Side {
                ids: column(name)?,
                beside: beside(other)?,
                events: beside(events)?,
                interner: Interner::new(kind),
                locals: Vec::new(),
                beside_array: None,
                event_array: None,
            })
        };
        let spec = &op.spec;
        let value = spec.value.as_deref().filter(|_| spec.reads_values());
        let event = spec.event.as_ref().map(|rule| rule.column.as_str());
        let rules = Rules {
            bin: spec.time_bin,
            first_bin: op.first_bin,
            time: op.kinds.time,
            values: spec.value_rule,
            on_bad_row: spec.on_bad_row,
            cycle: spec.cycle(),
            shape: spec.shape(),
            span: op.span,
        };
        let time = op.input.time.map(|folder| folder.number);
        let times = spec.time.as_deref().filter(|_| time.is_none());
        let context = spec.context_column().zip(op.kinds.context);
        Ok(SplitScan {
            user_side: side(&spec.user, op.kinds.user, times, None)?,
            product_side: side(&spec.product, op.kinds.product, value, event)?,
            context_side: context
                .map(|(column, kind)| side(column, kind, None, None))
                .transpose()?,
            events: spec.event.clone(),
            time,
            rows: Rows::new(rules, op.split.first_row),
            split_rows: op.split.rows,
            file: file.clone(),
        })
    }

    fn readers(&mut self) -> impl Iterator<Item = &mut GroupReader> {
        let sides = [&mut self.user_side, &mut self.product_side];
        sides
            .into_iter()
            .chain(&mut self.context_side)
            .flat_map(Side::readers)
    }

    /// The ranges of the file that the next row group lacks, none where it is open; `None` where there is none.
    ///
    /// # Errors
    /// Where the metadata are damaged.
    pub fn open(&mut self) -> Result<Option<Vec<Range<u64>>>, TablesError> {
        if self.rows.is_rejected() {
            return Ok(None);
        }
        let mut wants = Vec::new();
        let mut finished = 0;
        let mut readers = 0;
        for reader in self.readers() {
            reader.open()?;
            wants.extend(reader.wants().iter().cloned());
            finished += usize::from(reader.is_finished());
            readers += 1;
        }
        if finished == readers {
            return Ok(None);
        }
        if finished > 0 {
            return Err(TablesError::corrupt(
                &self.file,
                "its columns have different row groups",
            ));
        }
        Ok(Some(wants))
    }

    /// Takes the bytes that [`SplitScan::open`] asked for, in its order.
    ///
    /// # Errors
    /// Where they are of another length.
    pub fn push(&mut self, data: Vec<Bytes>) -> Result<(), TablesError> {
        let mut data = data.into_iter();
        for reader in self.readers() {
            let count = reader.wants().len();
            if count > 0 {
                reader.push(data.by_ref().take(count).collect())?;
            }
        }
        Ok(())
    }

    /// To be called before the sides advance: ends the segment where the next batch may be too much for it.
    pub fn close_if_full(&mut self) -> Option<Closed> {
        if self.rows.is_full(&self.interners(), BATCH_ROWS) {
            self.close()
        } else {
            None
        }
    }

    fn interners(&self) -> Vec<&Interner> {
        let sides = [&self.user_side, &self.product_side].into_iter();
        let sides = sides.chain(&self.context_side);
        sides.map(|side| &side.interner).collect()
    }

    fn close(&mut self) -> Option<Closed> {
        let contexts = self.context_side.as_mut().map(|side| &mut side.interner);
        self.rows.close(
            &mut self.user_side.interner,
            &mut self.product_side.interner,
            contexts,
        )
    }

    /// Joins what both sides decoded; `false` where nothing more need be decoded.
    ///
    /// # Errors
    /// Where their lengths differ.
    pub fn combine(&mut self) -> Result<bool, TablesError> {
        let (users, products) = (&mut self.user_side, &mut self.product_side);
        let contexts = self.context_side.as_ref().map(|side| &side.locals[..]);
        let lengths = [Some(&products.locals[..]), contexts];
        let differs = |locals: &[u32]| locals.len() != users.locals.len();
        if lengths.into_iter().flatten().any(differs) {
            let reason = "its columns have different numbers of rows";
            return Err(TablesError::corrupt(&self.file, reason));
        }
        let batch = Batch {
            users: &users.locals,
            products: &products.locals,
            contexts,
            times: match self.time {
                Some(number) => Some(Times::all(number, users.locals.len())),
                None => users
                    .beside_array
                    .take()
                    .map(|array| Times::of(&array))
                    .transpose()?,
            },
            values: products
                .beside_array
                .take()
                .map(|array| Reals::of(&array))
                .transpose()?,
            events: products
                .event_array
                .take()
                .zip(self.events.as_ref())
                .map(|(array, rule)| Events::of(&array, rule))
                .transpose()?,
        };
        self.rows.push(&batch);
        Ok(!self.rows.is_rejected())
    }

    /// The last segment, and what the scan learnt.
    ///
    /// # Errors
    /// Where the file gave fewer rows than its footer promised.
    pub fn finish(mut self) -> Result<(Option<Closed>, ScanReport), TablesError> {
        if self.rows.report.rows != self.split_rows && !self.rows.is_rejected() {
            let found = self.rows.report.rows;
            let reason = format!("{} rows were promised, {found} found", self.split_rows);
            return Err(TablesError::corrupt(&self.file, reason));
        }
        let last = self.close();
        Ok((last, self.rows.report))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{OnBadRow, ScanSpec, ValueRule};
    use crate::survey::{InMemory, survey};
    use arrow::array::{Float64Array, Int32Array, RecordBatch, StringArray};
    use parquet::arrow::ArrowWriter;
    use std::sync::Arc;
    use tensor::{Duplicates, ReadAt, TimeBin};

    fn spec() -> ScanSpec {
        ScanSpec {
            user: "u".into(),
            product: "p".into(),
            time: None,
            value: Some("v".into()),
            event: None,
            nets: false,
            time_bin: TimeBin::None,
            context: None,
            duplicates: Duplicates::Sum,
            on_bad_row: OnBadRow::Skip,
            value_rule: ValueRule::Finite,
            parts: vec![],
        }
    }

    fn file() -> Vec<u8> {
        let users: Int32Array = (0..500).map(|i| Some(i % 37)).collect();
        let products: StringArray = (0..500).map(|i| Some(format!("p{}", i % 11))).collect();
        let values: Float64Array = (0..500).map(|i| Some(f64::from(i))).collect();
        let columns: [(&str, ArrayRef); 3] = [
            ("u", Arc::new(users)),
            ("p", Arc::new(products)),
            ("v", Arc::new(values)),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let mut bytes = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        bytes
    }

    fn scan(bytes: Vec<u8>) -> Result<ScanReport, TablesError> {
        let bytes = Bytes::from(bytes);
        let files = vec![(
            "f".to_owned(),
            Arc::new(InMemory(bytes.clone())) as Arc<dyn ReadAt>,
        )];
        let found = survey(&files, &spec(), 1 << 30)?;
        let op = ScanOp {
            input: found.files[0].clone(),
            split: found.splits[0].clone(),
            spec: spec(),
            kinds: found.kinds,
            span: None,
            first_bin: None,
        };
        let slice = |range: &Range<u64>| bytes.slice(range.start as usize..range.end as usize);
        let mut scan = SplitScan::new(&op, &slice(&found.files[0].footer))?;
        while let Some(wants) = scan.open()? {
            scan.push(wants.iter().map(slice).collect())?;
            scan.open()?;
            while scan.user_side.advance()? | scan.product_side.advance()? {
                scan.combine()?;
            }
        }
        scan.finish().map(|(_, report)| report)
    }

    #[test]
    fn a_split_is_one_segment_of_its_rows() {
        let report = scan(file()).unwrap();
        assert_eq!((report.rows, report.segments.len()), (500, 1));
        let segment = report.segments[0];
        assert_eq!(
            (segment.records, segment.users.ids, segment.products.ids),
            (500, 37, 11)
        );
    }

    #[test]
    fn damage_is_an_error_or_other_values_and_never_a_panic() {
        let whole = file();
        for at in (0..whole.len()).step_by(5) {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x5a;
            if let Ok(report) = scan(damaged) {
                assert_eq!(report.rows, 500, "byte {at}");
            }
            let truncated = scan(whole[..at].to_vec()).unwrap_err().to_string();
            assert!(
                truncated.starts_with("f is not a whole Parquet file ("),
                "{truncated}"
            );
        }
    }
}
