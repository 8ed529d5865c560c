//! Merging the sorted records of a block, combining duplicates, and sealing its partition.

use crate::error::TablesError;
use crate::ingest::BINS_MAX;
use crate::op::{RecordRun, SealOp, SealUnit, Shape};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;
use store::partition::PartitionWriter;
use store::{Cache, Sealed};
use tensor::csr::Values;
use tensor::{BlockId, CONTEXTS_MAX, Duplicates, Mode, PartitionRef, Small};

const CHUNK_BYTES_MIN: u64 = 4 << 10;
const CHUNK_BYTES_MAX: u64 = 4 << 20;
/// Interactions handed to the writer together.
const BATCH: usize = 4 << 10;

/// The value of several rows of one (row, column, time, context), taken one by one in the order (file, row).
#[derive(Clone, Copy, Debug)]
pub struct Combined {
    rule: Duplicates,
    value: f64,
}

impl Combined {
    /// Of one value.
    pub fn new(rule: Duplicates, value: f64) -> Self {
        Combined { rule, value }
    }

    /// Takes another value. Counts are added, as sums are: each row of the input brings a 1.
    pub fn add(&mut self, value: f64) {
        self.value = match self.rule {
            Duplicates::Sum | Duplicates::Count => self.value + value,
            Duplicates::Max => self.value.max(value),
            Duplicates::Last => value,
        };
    }

    /// The value before it is rounded.
    pub fn exact(self) -> f64 {
        self.value
    }

    /// The value as it is stored; infinite where it leaves the range of f32.
    pub fn value(self) -> f32 {
        self.value as f32
    }
}

/// A partition that was built.
pub struct Built {
    /// Its file.
    pub file: Sealed,
    /// What it is.
    pub partition: PartitionRef,
    /// Interactions that came to 0 or less and were left out, where its rows are users: each is counted once.
    pub netted: u64,
}

/// Collects the interactions of a partition in canonical order, combines equal ones and hands them to the writer.
pub struct PartitionBuild {
    writer: PartitionWriter,
    duplicates: Duplicates,
    /// Whether what comes to 0 or less is left out.
    nets: bool,
    netted: u64,
    orientation: Mode,
    /// The column of values, for messages.
    value_column: String,
    rows: u32,
    row: u32,
    open: Option<(u32, u32, Small<u32>, Combined)>,
    columns: Vec<u32>,
    small: Small<Vec<u32>>,
    values: Vec<f32>,
}

impl PartitionBuild {
    /// Of a block of `rows` rows.
    ///
    /// # Errors
    /// Where the cache cannot be written.
    pub fn new(
        cache: &Cache,
        orientation: Mode,
        block: u32,
        rows: u32,
        has: Small<bool>,
        duplicates: Duplicates,
        value_column: &str,
    ) -> Result<Self, TablesError> {
        Ok(PartitionBuild {
            writer: PartitionWriter::create(cache, orientation, BlockId(block), has)?,
            duplicates,
            nets: false,
            netted: 0,
            orientation,
            value_column: value_column.to_owned(),
            rows,
            row: 0,
            open: None,
            columns: Vec::with_capacity(BATCH),
            small: Small::default().map(|()| Vec::with_capacity(BATCH)),
            values: Vec::with_capacity(BATCH),
        })
    }

    /// Leaves out what comes to 0 or less, where `nets` says so.
    #[must_use]
    pub fn netting(self, nets: bool) -> Self {
        PartitionBuild { nets, ..self }
    }

    /// Takes the next interaction in canonical order; equal ones are combined.
    ///
    /// # Errors
    /// Where a combined value overflows or the disk is full.
    pub fn push(
        &mut self,
        local: u32,
        column: u32,
        small: Small<u32>,
        value: f64,
    ) -> Result<(), TablesError> {
        if let Some((open_row, open_column, open_small, combined)) = &mut self.open {
            if (*open_row, *open_column, *open_small) == (local, column, small) {
                combined.add(value);
                return Ok(());
            }
            self.close()?;
        }
        let combined = Combined::new(self.duplicates, value);
        self.open = Some((local, column, small, combined));
        Ok(())
    }

    fn close(&mut self) -> Result<(), TablesError> {
        let Some((local, column, small, combined)) = self.open.take() else {
            return Ok(());
        };
        let value = combined.value();
        if value.is_infinite() {
            return Err(TablesError::ValueOverflow {
                column: self.value_column.clone(),
            });
        }
        if self.nets && value <= 0.0 {
            self.netted += u64::from(self.orientation == Mode::User);
            return Ok(());
        }
        self.rows_until(local)?;
        self.columns.push(column);
        self.small.time.push(small.time);
        self.small.context.push(small.context);
        self.values.push(value);
        if self.columns.len() == BATCH {
            self.flush()?;
        }
        Ok(())
    }

    fn rows_until(&mut self, local: u32) -> Result<(), TablesError> {
        while self.row < local {
            self.flush()?;
            self.writer.end_row()?;
            self.row += 1;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), TablesError> {
        if !self.columns.is_empty() {
            let small = self.small.as_ref().map(Vec::as_slice);
            self.writer
                .push_all(&self.columns, small, Values::Each(&self.values))?;
            self.columns.clear();
            self.small.time.clear();
            self.small.context.clear();
            self.values.clear();
        }
        Ok(())
    }

    /// Seals the partition.
    ///
    /// # Errors
    /// As [`PartitionBuild::push`].
    pub fn seal(mut self) -> Result<Built, TablesError> {
        self.close()?;
        self.rows_until(self.rows)?;
        let (file, partition) = self.writer.seal()?;
        Ok(Built {
            file,
            partition,
            netted: self.netted,
        })
    }
}

/// Bits of a run and of a context in a key; a bin has those that are left of 64.
const RUN_BITS: u32 = 24;
const CONTEXT_BITS: u32 = CONTEXTS_MAX.trailing_zeros();
const _: () = assert!(BINS_MAX <= 1 << (u64::BITS - RUN_BITS - CONTEXT_BITS));

/// A key in canonical order, then by run.
fn pack(row: u32, column: u32, small: Small<u32>, run: u32) -> u128 {
    let high = u64::from(row) << 32 | u64::from(column);
    let low = u64::from(small.time) << CONTEXT_BITS | u64::from(small.context);
    u128::from(high) << 64 | u128::from(low << RUN_BITS | u64::from(run))
}

struct Cursor {
    run: RecordRun,
    asked: u64,
    words: Vec<u32>,
    at: usize,
}

impl Cursor {
    fn left(&self) -> u64 {
        self.run.records - self.asked
    }
}

/// The merge of one block's records.
pub struct UnitMerge {
    unit: SealUnit,
    shape: Shape,
    chunk: u64,
    cursors: Vec<Cursor>,
    /// (row, column, time, context, run), packed: see [`pack`].
    heap: BinaryHeap<Reverse<u128>>,
    starved: Vec<u32>,
    build: PartitionBuild,
}

impl UnitMerge {
    /// Nothing merged yet; the buffers take about `budget_bytes`.
    ///
    /// # Errors
    /// Where the cache cannot be written.
    pub fn new(
        unit: SealUnit,
        op: &SealOp,
        cache: &Cache,
        budget_bytes: u64,
    ) -> Result<Self, TablesError> {
        assert!(unit.runs.len() < 1 << RUN_BITS, "a run of each segment");
        let build = PartitionBuild::new(
            cache,
            unit.orientation,
            unit.block,
            unit.rows,
            op.shape.small,
            op.duplicates,
            &op.value_column,
        )?;
        let share = budget_bytes / (3 * unit.runs.len().max(1) as u64);
        let bytes = share.clamp(CHUNK_BYTES_MIN, CHUNK_BYTES_MAX);
        let cursor = |run: &RecordRun| Cursor {
            run: *run,
            asked: 0,
            words: Vec::new(),
            at: 0,
        };
        let starved =
            (0..unit.runs.len() as u32).filter(|&run| unit.runs[run as usize].records > 0);
        Ok(UnitMerge {
            starved: starved.collect(),
            cursors: unit.runs.iter().map(cursor).collect(),
            chunk: bytes / u64::from(op.shape.row_bytes()),
            shape: op.shape,
            heap: BinaryHeap::new(),
            build,
            unit,
        })
    }

    /// What to fetch next: the run, the split whose object holds it, the records there. Empty: all is merged.
    pub fn wants(&mut self) -> Vec<(usize, u32, Range<u64>)> {
        if self.starved.is_empty() {
            return Vec::new();
        }
        let mut wants = Vec::new();
        let words = self.shape.words();
        for (number, cursor) in self.cursors.iter_mut().enumerate() {
            let kept = ((cursor.words.len() - cursor.at) / words) as u64;
            if cursor.left() == 0 || kept * 2 > self.chunk {
                continue;
            }
            let more = self.chunk.min(cursor.left());
            let start = cursor.run.start + cursor.asked;
            wants.push((number, cursor.run.split, start..start + more));
            cursor.asked += more;
        }
        wants
    }

    /// Takes what [`UnitMerge::wants`] asked of a run.
    pub fn feed(&mut self, run: usize, words: &[u32]) {
        let cursor = &mut self.cursors[run];
        cursor.words.drain(..cursor.at);
        cursor.at = 0;
        cursor.words.extend_from_slice(words);
    }

    /// The key of the record that a cursor stands at; `None` where it has none.
    fn key(&self, run: u32) -> Option<u128> {
        let cursor = &self.cursors[run as usize];
        let record = cursor.words.get(cursor.at..)?;
        let (&row, &column) = (record.first()?, record.get(1)?);
        Some(pack(row, column, self.shape.small_of(record)?, run))
    }

    /// Merges until a run lacks records or all are at their end.
    ///
    /// # Errors
    /// Where a combined value overflows or the disk is full.
    pub fn advance(&mut self) -> Result<(), TablesError> {
        for run in std::mem::take(&mut self.starved) {
            let key = self
                .key(run)
                .ok_or(TablesError::Malformed("a run of records ends early"))?;
            self.heap.push(Reverse(key));
        }
        let words = self.shape.words();
        while self.starved.is_empty()
            && let Some(&Reverse(key)) = self.heap.peek()
        {
            let run = key as u32 & ((1 << RUN_BITS) - 1);
            self.take(key, run)?;
            let cursor = &mut self.cursors[run as usize];
            cursor.at += words;
            if let Some(next) = self.key(run) {
                if let Some(mut top) = self.heap.peek_mut() {
                    *top = Reverse(next);
                }
            } else {
                self.heap.pop();
                if self.cursors[run as usize].left() > 0 {
                    self.starved.push(run);
                }
            }
        }
        Ok(())
    }

    /// Hands the record with this key to the partition.
    fn take(&mut self, key: u128, run: u32) -> Result<(), TablesError> {
        let cursor = &self.cursors[run as usize];
        let value = if self.shape.value {
            let at = cursor.at + self.shape.value_at();
            let bits = u64::from(cursor.words[at]) | u64::from(cursor.words[at + 1]) << 32;
            f64::from_bits(bits)
        } else {
            1.0
        };
        let row = (key >> 96) as u32;
        let local = (u64::from(row) & ((1_u64 << self.unit.stride_log2) - 1)) as u32;
        let low = key as u64 >> RUN_BITS;
        let small = Small {
            time: (low >> CONTEXT_BITS) as u32,
            context: low as u32 & (CONTEXTS_MAX - 1),
        };
        self.build.push(local, (key >> 64) as u32, small, value)
    }

    /// Seals the partition, once nothing is wanted.
    ///
    /// # Errors
    /// As [`UnitMerge::advance`].
    pub fn finish(self) -> Result<Built, TablesError> {
        self.build.seal()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use store::IoMode;
    use store::partition::Partition;

    #[test]
    fn each_rule_combines_in_order() {
        for (rule, expected) in [
            (Duplicates::Sum, 6.5),
            (Duplicates::Count, 6.5),
            (Duplicates::Max, 4.0),
            (Duplicates::Last, 0.5),
        ] {
            let mut combined = Combined::new(rule, 2.0);
            combined.add(4.0);
            combined.add(0.5);
            assert_eq!(combined.value(), expected, "{rule:?}");
        }
    }

    #[test]
    fn sums_run_in_f64() {
        let mut combined = Combined::new(Duplicates::Sum, 16_777_216.0);
        combined.add(1.0);
        combined.add(1.0);
        assert_eq!(combined.value(), 16_777_218.0);
    }

    #[test]
    fn runs_are_merged_in_order_a_chunk_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::open_unsynced(directory.path(), 1 << 30, IoMode::Pread).unwrap();
        let shape = Shape {
            small: Small {
                time: true,
                context: true,
            },
            value: true,
        };
        // Two runs of the same 8 rows x 200 columns; `Last` keeps what the second run says.
        let run = |value: f64| -> Vec<u32> {
            let bits = value.to_bits();
            let record = |i: u32| {
                [
                    32 + i / 200,
                    i % 200,
                    3,
                    9,
                    bits as u32,
                    (bits >> 32) as u32,
                ]
            };
            (0..1600).flat_map(record).collect()
        };
        let runs = [run(1.5), run(2.5)];
        let places = [0, 1].map(|split| RecordRun {
            split,
            start: 0,
            records: 1600,
        });
        let unit = SealUnit {
            orientation: Mode::Product,
            block: 2,
            rows: 10,
            stride_log2: 4,
            runs: places.to_vec(),
        };
        for (duplicates, expected) in [(Duplicates::Last, 2.5), (Duplicates::Sum, 4.0)] {
            let op = SealOp {
                units: vec![],
                shape,
                duplicates,
                value_column: "v".into(),
            };
            let mut merge = UnitMerge::new(unit.clone(), &op, &cache, 1).unwrap();
            let mut fetches = 0;
            loop {
                let wants = merge.wants();
                if wants.is_empty() {
                    break;
                }
                fetches += wants.len();
                for (run, split, range) in wants {
                    let words = range.start as usize * 6..range.end as usize * 6;
                    merge.feed(run, &runs[split as usize][words]);
                }
                merge.advance().unwrap();
            }
            assert!(fetches > 10, "{fetches} fetches");
            let built = merge.finish().unwrap();
            let reference = built.partition;
            assert_eq!((reference.rows, reference.interactions), (10, 1600));
            let partition = Partition::open(built.file).unwrap();
            assert_eq!(partition.constant_value(), Some(expected));
            assert_eq!(partition.offsets()[8], 1600);
            assert_eq!(&partition.columns(198..202).unwrap()[..], [198, 199, 0, 1]);
            let small = partition.small(7..8).unwrap();
            assert_eq!(
                small.map(|ids| ids.unwrap()[0]),
                Small {
                    time: 3,
                    context: 9
                }
            );
        }
    }
}
