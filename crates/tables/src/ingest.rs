//! Ingest as a program of four phases: scan, dictionary, shuffle, seal. A lost object starts it again from its last checkpoint,
//! or from the files.

use crate::dictionary::grid_of;
use crate::error::TablesError;
use crate::op::{
    self, Blocks, DictionaryOp, DictionaryReport, IdRunPlace, Op, RecordRun, ScanOp, ScanReport,
    SealOp, SealUnit, ShuffleOp, ShuffleReport, ShuffleSegment,
};
use crate::spec::{BadReason, OnBadRow, ScanSpec};
use crate::survey::Survey;
use crate::view::gather;
use crate::waves::Course;
use std::collections::{BTreeMap, BTreeSet};
use tensor::{
    Axis, BlockId, ContextAxis, DataSet, Grid, IdKind, KeyRange, Mode, ObjectKey, PartialSpec,
    ProgramError, Read, Reduced, SplitPart, Step, StepId, TableId, Task, TaskId, TimeAxis, Turn,
};

/// Runs of user ids, by split; rows are bytes.
pub const USER_IDS: TableId = TableId(0);
/// Runs of product ids, by split; rows are bytes.
pub const PRODUCT_IDS: TableId = TableId(1);
/// Records with local ranks, by split.
pub const RECORDS: TableId = TableId(2);
/// The rows of all users' runs, in one block of u32.
pub const USER_ROWS: TableId = TableId(3);
/// The rows of all products' runs.
pub const PRODUCT_ROWS: TableId = TableId(4);
/// Records in the order of users, by split.
pub const USER_MAJOR: TableId = TableId(5);
/// Records in the order of products, by split.
pub const PRODUCT_MAJOR: TableId = TableId(6);
/// Runs of contexts, by split, where they are ids; rows are bytes.
pub const CONTEXT_IDS: TableId = TableId(7);
/// The rows of all contexts' runs.
pub const CONTEXT_ROWS: TableId = TableId(8);

/// Partitions that one task seals or derives, on as many threads as there are.
pub const UNITS_PER_TASK: usize = 4;
/// The most time bins: more are a mistake in the data.
pub(crate) const BINS_MAX: u64 = 1 << 24;

pub(crate) const SCAN: StepId = StepId(0);
pub(crate) const DICTIONARY: StepId = StepId(1);
pub(crate) const SHUFFLE: StepId = StepId(2);
pub(crate) const SEAL: StepId = StepId(3);

/// The ingest of surveyed files.
pub struct Ingest {
    pub(crate) survey: Survey,
    spec: ScanSpec,
    pub(crate) scans: Vec<ScanReport>,
    pub(crate) axes: Option<Axes>,
    pub(crate) course: Course,
    data: Option<DataSet>,
}

/// What is known once the dictionaries are.
pub(crate) struct Axes {
    pub(crate) user: Axis,
    pub(crate) product: Axis,
    pub(crate) time: Option<TimeAxis>,
    pub(crate) context: Option<ContextAxis>,
    pub(crate) first_bin: i64,
}

/// A mode of which the input has ids.
pub(crate) struct Ids<'a> {
    pub(crate) mode: Mode,
    pub(crate) column: &'a str,
    pub(crate) kind: IdKind,
    /// Where its runs and their rows stand.
    pub(crate) runs: TableId,
    pub(crate) rows: TableId,
    pub(crate) run: fn(&op::Segment) -> op::IdRun,
}

/// An error of ours as the end of a program.
pub(crate) fn refuse(error: TablesError) -> ProgramError {
    ProgramError {
        sentence: error.to_string(),
    }
}

/// The collected partials of a step.
pub(crate) fn collected(reduced: Reduced) -> Result<Vec<Vec<u8>>, TablesError> {
    match reduced {
        Reduced::Collect(partials) => Ok(partials),
        _ => Err(TablesError::Malformed("a step was reduced in another way")),
    }
}

pub(crate) fn key(table: TableId, block: u32) -> ObjectKey {
    ObjectKey::Block {
        table,
        block: BlockId(block),
        version: 0,
    }
}

impl Ingest {
    /// Of files that were surveyed with the same spec.
    pub fn new(survey: Survey, spec: ScanSpec) -> Self {
        Ingest {
            survey,
            spec,
            scans: Vec::new(),
            axes: None,
            course: Course::default(),
            data: None,
        }
    }

    /// Back to where nothing is known but the survey.
    pub(crate) fn forget(&mut self) {
        (self.scans, self.axes, self.data) = (Vec::new(), None, None);
        self.course = Course::default();
    }

    /// The data set, once the program is finished.
    pub fn into_data_set(self) -> Option<DataSet> {
        self.data
    }

    pub(crate) fn splits(&self) -> u32 {
        self.survey.splits.len() as u32
    }

    /// What scans write.
    pub(crate) fn scan_tables(&self) -> Vec<TableId> {
        let mut tables = vec![USER_IDS, PRODUCT_IDS, RECORDS];
        tables.extend(self.spec.context_column().map(|_| CONTEXT_IDS));
        tables
    }

    pub(crate) fn all_splits(&self, table: TableId) -> KeyRange {
        KeyRange::Blocks {
            table,
            first: 0,
            count: self.splits(),
            version: 0,
        }
    }

    /// The modes of ids, in canonical order.
    pub(crate) fn modes(&self) -> Vec<Ids<'_>> {
        let (spec, kinds) = (&self.spec, self.survey.kinds);
        let mut modes = vec![
            Ids {
                mode: Mode::User,
                column: &spec.user,
                kind: kinds.user,
                runs: USER_IDS,
                rows: USER_ROWS,
                run: |segment| segment.users,
            },
            Ids {
                mode: Mode::Product,
                column: &spec.product,
                kind: kinds.product,
                runs: PRODUCT_IDS,
                rows: PRODUCT_ROWS,
                run: |segment| segment.products,
            },
        ];
        let context = spec.context_column().zip(kinds.context);
        modes.extend(context.map(|(column, kind)| Ids {
            mode: Mode::Context,
            column,
            kind,
            runs: CONTEXT_IDS,
            rows: CONTEXT_ROWS,
            run: |segment| segment.contexts,
        }));
        modes
    }

    pub(crate) fn interactions(&self) -> u64 {
        let segments = self.scans.iter().flat_map(|scan| &scan.segments);
        segments.map(|segment| u64::from(segment.records)).sum()
    }

    /// The scan of rows of which none may lie before `first_bin`.
    pub(crate) fn scan_step(&self, first_bin: Option<i64>) -> Step {
        // A scan need not know the parts of all files.
        let spec = ScanSpec {
            parts: vec![],
            ..self.spec.clone()
        };
        let task = |(index, split): (usize, &crate::survey::Split)| {
            let op = Op::Scan(ScanOp {
                input: self.survey.files[split.file as usize].clone(),
                split: split.clone(),
                spec: spec.clone(),
                kinds: self.survey.kinds,
                span: self.survey.span,
                first_bin,
            });
            let block = index as u32;
            let writes = self.scan_tables().into_iter();
            let writes = writes.map(|table| key(table, block));
            task(SCAN, block, &op, vec![], writes.collect(), split.rows)
        };
        let tasks = self.survey.splits.iter().enumerate().map(task).collect();
        step(SCAN, "scan", tasks, vec![])
    }

    /// Takes what the scans found.
    pub(crate) fn scanned(&mut self, partials: &[Vec<u8>]) -> Result<(), TablesError> {
        self.scans = scans(partials)?;
        self.check_rows()
    }

    fn dictionary_step(&self) -> Step {
        let interactions = self.interactions();
        let modes = self.modes();
        let tasks = modes.iter().enumerate().map(|(index, ids)| {
            let op = Op::Dictionary(DictionaryOp {
                mode: ids.mode,
                column: ids.column.to_owned(),
                id_kind: ids.kind,
                runs: id_runs(&self.scans, ids.run),
                interactions,
            });
            let reads = vec![Read::rows(self.all_splits(ids.runs))];
            let writes = vec![key(ids.rows, 0)];
            task(DICTIONARY, index as u32, &op, reads, writes, interactions)
        });
        let tasks = tasks.collect();
        let frees = modes.iter().map(|ids| self.all_splits(ids.runs)).collect();
        step(DICTIONARY, "dictionary", tasks, frees)
    }

    /// Ends the ingest where a bad row is rejected or no row is left.
    fn check_rows(&self) -> Result<(), TablesError> {
        let bad = self.scans.iter().zip(&self.survey.splits);
        let first = bad
            .filter_map(|(scan, split)| scan.first_bad.map(|first| (split.file, first)))
            .min();
        if let (OnBadRow::Reject, Some((file, (row, reason)))) = (self.spec.on_bad_row, first) {
            let file = self.survey.files[file as usize].name.clone();
            let unknown = self
                .scans
                .iter()
                .find_map(|scan| scan.unknown_event.clone());
            if let (BadReason::UnknownEvent, Some(event)) = (reason, unknown) {
                return Err(TablesError::UnknownEvent {
                    file,
                    row,
                    column: self.column_of(reason).to_owned(),
                    event,
                });
            }
            return Err(TablesError::BadRow {
                file,
                row,
                column: self.column_of(reason).to_owned(),
                fault: reason.fault(self.spec.value_rule),
            });
        }
        if self.interactions() == 0 {
            let reasons: Vec<String> = self
                .bad_rows()
                .into_iter()
                .map(|(reason, count)| format!("{reason}: {count}"))
                .collect();
            return Err(TablesError::NothingLeft {
                rows: self.survey.rows(),
                reasons: reasons.join(", "),
            });
        }
        Ok(())
    }

    fn column_of(&self, reason: BadReason) -> &str {
        match reason {
            BadReason::NullUser => &self.spec.user,
            BadReason::NullProduct => &self.spec.product,
            BadReason::NullTime | BadReason::TimeOutOfRange | BadReason::BeforeFirstBin => {
                self.spec.time.as_deref().unwrap_or("time")
            }
            BadReason::NullContext => self.spec.context_column().unwrap_or("context"),
            BadReason::NullEvent | BadReason::UnknownEvent => {
                let event = self.spec.event.as_ref();
                event.map_or("event", |rule| rule.column.as_str())
            }
            _ => self.spec.value.as_deref().unwrap_or("value"),
        }
    }

    pub(crate) fn bad_rows(&self) -> BTreeMap<String, u64> {
        let mut bad = BTreeMap::new();
        if self.survey.skipped_rows > 0 {
            bad.insert(
                BadReason::OutsideRange.key().to_owned(),
                self.survey.skipped_rows,
            );
        }
        for (reason, count) in self.scans.iter().flat_map(|scan| &scan.bad) {
            *bad.entry(reason.key().to_owned()).or_default() += count;
        }
        bad
    }

    fn after_dictionary(&mut self, partials: &[Vec<u8>]) -> Result<(), TablesError> {
        let (time, first_bin) = self.time_axis()?;
        let mut axes = BTreeMap::new();
        for (ids, report) in self.modes().iter().zip(partials) {
            axes.insert(ids.mode, self.axis(ids, report)?);
        }
        let (Some(user), Some(product)) = (axes.remove(&Mode::User), axes.remove(&Mode::Product))
        else {
            return Err(TablesError::Malformed("a dictionary is missing"));
        };
        let context = match (&self.spec.time, self.spec.cycle()) {
            (Some(column), Some(cycle)) => Some(ContextAxis::Cycle {
                column: column.clone(),
                cycle,
            }),
            _ => axes.remove(&Mode::Context).map(ContextAxis::Ids),
        };
        self.axes = Some(Axes {
            user,
            product,
            time,
            context,
            first_bin,
        });
        Ok(())
    }

    fn axis(&self, ids: &Ids<'_>, report: &[u8]) -> Result<Axis, TablesError> {
        let report: DictionaryReport = op::decode(report)?;
        Ok(Axis {
            column: ids.column.to_owned(),
            id_kind: ids.kind,
            grid: grid_of(ids.mode, ids.column, report.ids, self.interactions())?,
            dictionary: report.blocks,
        })
    }

    /// The bins of the scanned rows, and the first.
    pub(crate) fn time_axis(&self) -> Result<(Option<TimeAxis>, i64), TablesError> {
        let Some(column) = &self.spec.time else {
            return Ok((None, 0));
        };
        let bins = self.scans.iter().filter_map(|scan| scan.bins);
        let (first, last) = bins
            .reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
            .ok_or(TablesError::Malformed("usable rows have no time"))?;
        let count = (last - first) as u64 + 1;
        if count > BINS_MAX {
            return Err(TablesError::TooManyBins {
                column: column.clone(),
                bins: count,
                limit: BINS_MAX,
            });
        }
        let last_second = self
            .scans
            .iter()
            .filter_map(|scan| scan.last_second)
            .max()
            .unwrap_or(0);
        let unit = self
            .survey
            .kinds
            .time
            .map_or(1, crate::columns::TimeKind::unit_seconds);
        let axis = TimeAxis {
            column: column.clone(),
            bin: self.spec.time_bin,
            first_bin: first,
            bins: count as u32,
            last_is_partial: self.spec.time_bin.is_partial(last, last_second, unit),
        };
        Ok((Some(axis), first))
    }

    fn axes(&self) -> Result<&Axes, TablesError> {
        self.axes
            .as_ref()
            .ok_or(TablesError::Malformed("a step is done before its time"))
    }

    pub(crate) fn shuffle_step(&self) -> Result<Step, TablesError> {
        let axes = self.axes()?;
        let blocks = |grid: &Grid| Blocks {
            count: grid.blocks(),
            stride_log2: grid.stride_log2,
        };
        let mut tasks = Vec::new();
        for (split, segments) in segments(&self.scans).into_iter().enumerate() {
            let cost = segments
                .iter()
                .map(|segment| u64::from(segment.records))
                .sum::<u64>()
                * 2;
            let op = Op::Shuffle(ShuffleOp {
                segments,
                shape: self.spec.shape(),
                user: blocks(&axes.user.grid),
                product: blocks(&axes.product.grid),
                first_bin: axes.first_bin,
                bins: axes.time.as_ref().map_or(1, |time| time.bins),
                edges: None,
            });
            let split = split as u32;
            let rows = self.modes().into_iter().map(|ids| key(ids.rows, 0));
            let reads = std::iter::once(key(RECORDS, split)).chain(rows);
            let reads: Vec<Read> = reads.map(Read::rows).collect();
            let writes = vec![key(USER_MAJOR, split), key(PRODUCT_MAJOR, split)];
            tasks.push(task(SHUFFLE, split, &op, reads, writes, cost));
        }
        let rows = self.modes().into_iter().map(|ids| key(ids.rows, 0).into());
        let frees = std::iter::once(self.all_splits(RECORDS)).chain(rows);
        Ok(step(SHUFFLE, "shuffle", tasks, frees.collect()))
    }

    /// The parts that files were given for, in their order.
    fn parts(&self) -> Vec<SplitPart> {
        let files = self.survey.files.len();
        let parts: BTreeSet<SplitPart> = (0..files).map(|file| self.spec.part(file)).collect();
        parts.into_iter().collect()
    }

    fn seal_step_of(&self, partials: &[Vec<u8>]) -> Result<Step, TablesError> {
        let reports: Vec<ShuffleReport> = partials
            .iter()
            .map(|partial| op::decode(partial))
            .collect::<Result<_, _>>()?;
        let parts = self.parts().into_iter();
        let parts: Vec<Vec<SealUnit>> = parts
            .map(|part| self.units(part, &reports))
            .collect::<Result<_, _>>()?;
        Ok(self.seal_step(&parts))
    }

    /// The step of a phase, of which those before it are done.
    pub(crate) fn step_of(&mut self, phase: StepId) -> Result<Step, TablesError> {
        match phase {
            SCAN => Ok(self.scan_step(None)),
            DICTIONARY => {
                self.scanned(&self.course.partials(SCAN))?;
                Ok(self.dictionary_step())
            }
            SHUFFLE => {
                self.after_dictionary(&self.course.partials(DICTIONARY))?;
                self.shuffle_step()
            }
            _ => self.seal_step_of(&self.course.partials(SHUFFLE)),
        }
    }

    /// Seals the partitions of some parts, a few of a part in a task.
    pub(crate) fn seal_step(&self, parts: &[Vec<SealUnit>]) -> Step {
        let mut tasks = Vec::new();
        for units in parts.iter().flat_map(|units| units.chunks(UNITS_PER_TASK)) {
            let runs = units.iter().flat_map(|unit| &unit.runs);
            let records: u64 = runs.map(|run| run.records).sum();
            let op = Op::Seal(SealOp {
                units: units.to_vec(),
                shape: self.spec.shape(),
                duplicates: self.spec.duplicates,
                value_column: self.spec.value.clone().unwrap_or_default(),
            });
            let mut orientations: Vec<Mode> = units.iter().map(|unit| unit.orientation).collect();
            orientations.dedup();
            let table = |mode| {
                if mode == Mode::User {
                    USER_MAJOR
                } else {
                    PRODUCT_MAJOR
                }
            };
            let reads = orientations
                .into_iter()
                .map(|mode| Read::rows(self.all_splits(table(mode))));
            let (index, reads) = (tasks.len() as u32, reads.collect());
            tasks.push(task(SEAL, index, &op, reads, vec![], 1 + records));
        }
        let frees = vec![self.all_splits(USER_MAJOR), self.all_splits(PRODUCT_MAJOR)];
        step(SEAL, "seal", tasks, frees)
    }

    /// The partitions of a part: those of users, then those of products.
    pub(crate) fn units(
        &self,
        part: SplitPart,
        reports: &[ShuffleReport],
    ) -> Result<Vec<SealUnit>, TablesError> {
        let axes = self.axes()?;
        let mut units = Vec::new();
        for (orientation, grid) in [
            (Mode::User, &axes.user.grid),
            (Mode::Product, &axes.product.grid),
        ] {
            for block in 0..grid.blocks() {
                let mut runs = Vec::new();
                for (split, report) in reports.iter().enumerate() {
                    if self.spec.part(self.survey.splits[split].file as usize) != part {
                        continue;
                    }
                    let segments = match orientation {
                        Mode::User => &report.user_major,
                        _ => &report.product_major,
                    };
                    runs_of(segments, split as u32, block as usize, &mut runs);
                }
                units.push(SealUnit {
                    orientation,
                    block,
                    rows: grid.rows[block as usize],
                    stride_log2: grid.stride_log2,
                    runs,
                });
            }
        }
        Ok(units)
    }

    pub(crate) fn after_seal(&mut self, mut partials: Vec<Vec<u8>>) -> Result<Turn, TablesError> {
        let axes = self
            .axes
            .take()
            .ok_or(TablesError::Malformed("a step is done before its time"))?;
        let user_blocks = axes.user.grid.blocks();
        let tasks =
            (user_blocks + axes.product.grid.blocks()).div_ceil(UNITS_PER_TASK as u32) as usize;
        let mut parts = Vec::new();
        for part in self.parts() {
            let rest = partials.split_off(tasks.min(partials.len()));
            parts.push((
                part,
                gather(std::mem::replace(&mut partials, rest), user_blocks)?,
            ));
        }
        self.data = Some(DataSet {
            lineage: self.survey.lineage,
            user: axes.user,
            product: axes.product,
            time: axes.time,
            context: axes.context.map(Box::new),
            value_column: self.spec.value.clone(),
            duplicates: self.spec.duplicates,
            nets: self.spec.nets,
            parts,
            input_rows: self.survey.rows(),
            bad_rows: self.bad_rows(),
            attributes: BTreeMap::new(),
            edges: BTreeMap::new(),
            first: None,
            inputs: self.survey.digests.clone(),
            deltas: Vec::new(),
            forgotten: None,
        });
        Ok(Turn {
            finished: true,
            ..Turn::default()
        })
    }
}

/// More than any scan reads or finds; sums of less over all scans are numbers.
const SCANNED_MAX: u64 = 1 << 40;

/// The reports of scans.
///
/// # Errors
/// Where one is none.
pub(crate) fn scans(partials: &[Vec<u8>]) -> Result<Vec<ScanReport>, TablesError> {
    let report = |partial: &Vec<u8>| {
        let report: ScanReport = op::decode(partial)?;
        let rows = report.bad.values().copied().chain([report.rows]);
        let runs = |segment: &op::Segment| [segment.users, segment.products, segment.contexts];
        let bytes = report.segments.iter().flat_map(runs).map(|run| run.bytes);
        let sum = rows.chain(bytes).try_fold(0_u64, u64::checked_add);
        match sum {
            Some(0..SCANNED_MAX) => Ok(report),
            _ => Err(TablesError::Malformed("the report of a scan")),
        }
    };
    partials.iter().map(report).collect()
}

/// Where the runs of ids of a mode lie.
pub(crate) fn id_runs(
    scans: &[ScanReport],
    run_of: fn(&op::Segment) -> op::IdRun,
) -> Vec<IdRunPlace> {
    let mut places = Vec::new();
    for (split, scan) in scans.iter().enumerate() {
        let mut start = 0;
        for segment in &scan.segments {
            let run = run_of(segment);
            places.push(IdRunPlace {
                split: split as u32,
                start,
                run,
            });
            start += run.bytes;
        }
    }
    places
}

/// The segments of each split, as they are shuffled.
pub(crate) fn segments(scans: &[ScanReport]) -> Vec<Vec<ShuffleSegment>> {
    // Where the runs of the next segment begin among all of a mode.
    let mut starts = [0_u64; 3];
    let mut segment = |segment: &op::Segment| {
        let runs = [segment.users, segment.products, segment.contexts];
        let [users, products, contexts] = [0, 1, 2].map(|mode| (starts[mode], runs[mode].ids));
        for (start, run) in starts.iter_mut().zip(runs) {
            *start += u64::from(run.ids);
        }
        ShuffleSegment {
            records: segment.records,
            users,
            products,
            contexts,
        }
    };
    let of_scan = |scan: &ScanReport| scan.segments.iter().map(&mut segment).collect();
    scans.iter().map(of_scan).collect()
}

/// The runs of one block in the object of a split: a piece of each segment.
pub(crate) fn runs_of(segments: &[Vec<u32>], split: u32, block: usize, runs: &mut Vec<RecordRun>) {
    let mut first = 0;
    for starts in segments {
        let (Some(&start), Some(&end)) = (starts.get(block), starts.get(block + 1)) else {
            continue;
        };
        if end > start {
            let (start, records) = (first + u64::from(start), u64::from(end - start));
            runs.push(RecordRun {
                split,
                start,
                records,
            });
        }
        first += starts.last().map_or(0, |&last| u64::from(last));
    }
}

pub(crate) fn task(
    step: StepId,
    index: u32,
    op: &Op,
    reads: Vec<Read>,
    writes: Vec<ObjectKey>,
    cost: u64,
) -> Task {
    let id = TaskId { step, index };
    Task {
        id,
        op: op.encode(),
        reads,
        writes,
        after: vec![],
        chain: None,
        cost,
    }
}

pub(crate) fn step(id: StepId, name: &str, tasks: Vec<Task>, frees: Vec<KeyRange>) -> Step {
    Step {
        id,
        name: name.to_owned(),
        tasks,
        partial: PartialSpec::Collect,
        frees,
    }
}
