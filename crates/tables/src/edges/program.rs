//! The ingest of edges as a program of four steps: scan, match, shuffle, seal.

use super::{EdgeSpec, EdgeSurvey};
use crate::error::TablesError;
use crate::ingest::{
    PRODUCT_IDS, PRODUCT_MAJOR, PRODUCT_ROWS, RECORDS, UNITS_PER_TASK, USER_IDS, USER_MAJOR,
    USER_ROWS, collected, id_runs, key, refuse, runs_of, scans, segments, step, task,
};
use crate::op::{
    self, Blocks, EdgeRule, IdRun, MatchOp, Op, ScanOp, ScanReport, SealOp, SealReport, SealUnit,
    Segment, ShuffleOp, ShuffleReport,
};
use crate::spec::{BadReason, OnBadRow};
use tensor::{
    Axis, DataSet, DepotId, KeyRange, Mode, ModeEdges, PartitionRef, Program, ProgramError, Read,
    Reduced, Step, StepId, TableId, Turn,
};

const SCAN: StepId = StepId(0);
const MATCH: StepId = StepId(1);
const SHUFFLE: StepId = StepId(2);
const SEAL: StepId = StepId(3);

/// The ingest of surveyed lists of edges of one mode.
pub struct IngestEdges {
    data: DataSet,
    survey: EdgeSurvey,
    scans: Vec<ScanReport>,
    edges: ModeEdges,
    finished: bool,
}

impl IngestEdges {
    /// Between the rows of a data set.
    pub fn new(data: DataSet, survey: EdgeSurvey) -> Self {
        IngestEdges {
            data,
            survey,
            scans: Vec::new(),
            edges: ModeEdges::default(),
            finished: false,
        }
    }

    /// The data set with its edges, once the program is finished.
    pub fn into_data_set(self) -> Option<DataSet> {
        self.finished.then_some(self.data)
    }

    fn spec(&self) -> &EdgeSpec {
        &self.survey.spec
    }

    fn axis(&self) -> &Axis {
        if self.spec().mode == Mode::User {
            &self.data.user
        } else {
            &self.data.product
        }
    }

    fn all_splits(&self, table: TableId) -> KeyRange {
        KeyRange::Blocks {
            table,
            first: 0,
            count: self.survey.splits.len() as u32,
            version: 0,
        }
    }

    fn scan_step(&self) -> Step {
        let spec = self.spec().scan();
        let splits = self.survey.splits.iter().zip(0..);
        let tasks = splits.map(|(split, index)| {
            let op = Op::Scan(ScanOp {
                input: self.survey.files[split.file as usize].clone(),
                split: split.clone(),
                spec: spec.clone(),
                kinds: self.survey.kinds(),
                span: None,
                first_bin: None,
            });
            let writes = [USER_IDS, PRODUCT_IDS, RECORDS].map(|table| key(table, index));
            task(SCAN, index, &op, vec![], writes.to_vec(), split.rows)
        });
        step(SCAN, "edges", tasks.collect(), vec![])
    }

    fn after_scan(&mut self, partials: &[Vec<u8>]) -> Result<Turn, TablesError> {
        self.scans = scans(partials)?;
        self.check_rows()?;
        for (reason, count) in self.scans.iter().flat_map(|scan| &scan.bad) {
            let reason = bad(*reason).0.to_owned();
            *self.edges.bad_rows.entry(reason).or_default() += count;
        }
        let axis = self.axis();
        let from: fn(&Segment) -> IdRun = |segment| segment.users;
        let to: fn(&Segment) -> IdRun = |segment| segment.products;
        let ends = [(USER_IDS, USER_ROWS, from), (PRODUCT_IDS, PRODUCT_ROWS, to)];
        let tasks = ends.into_iter().zip(0..).map(|((ids, rows, run), index)| {
            let op = Op::Match(MatchOp {
                id_kind: axis.id_kind,
                runs: id_runs(&self.scans, run),
                rows: axis.grid.rows.clone(),
                stride_log2: axis.grid.stride_log2,
            });
            let dictionaries = axis.dictionary.iter();
            let dictionaries = dictionaries.map(|known| Read::whole(known.key(DepotId::DATA)));
            let mut reads = vec![Read::rows(self.all_splits(ids))];
            reads.extend(dictionaries);
            let cost = 1 + self.survey.rows();
            task(MATCH, index, &op, reads, vec![key(rows, 0)], cost)
        });
        let tasks = tasks.collect();
        let frees = [USER_IDS, PRODUCT_IDS].map(|table| self.all_splits(table));
        Ok(Turn {
            steps: vec![step(MATCH, "ids of edges", tasks, frees.to_vec())],
            ..Turn::default()
        })
    }

    /// Ends the ingest where a bad row is rejected.
    fn check_rows(&self) -> Result<(), TablesError> {
        let bad_rows = self.scans.iter().zip(&self.survey.splits);
        let first = bad_rows
            .filter_map(|(scan, split)| scan.first_bad.map(|first| (split.file, first)))
            .min();
        let (OnBadRow::Reject, Some((file, (row, reason)))) = (self.spec().on_bad_row, first)
        else {
            return Ok(());
        };
        let column = match reason {
            BadReason::NullUser => &self.spec().from,
            BadReason::NullProduct => &self.spec().to,
            _ => self.spec().weight.as_ref().unwrap_or(&self.spec().to),
        };
        Err(TablesError::BadRow {
            file: self.survey.files[file as usize].name.clone(),
            row,
            column: column.clone(),
            fault: bad(reason).1,
        })
    }

    fn shuffle_step(&self) -> Step {
        let (spec, grid) = (self.spec(), &self.axis().grid);
        let shape = spec.scan().shape();
        let blocks = Blocks {
            count: grid.blocks(),
            stride_log2: grid.stride_log2,
        };
        let segments = segments(&self.scans).into_iter().zip(0..);
        let tasks = segments.map(|(segments, split)| {
            let records = segments.iter().map(|segment| u64::from(segment.records));
            let cost = 1 + records.sum::<u64>() * 2;
            let op = Op::Shuffle(ShuffleOp {
                segments,
                shape,
                user: blocks,
                product: blocks,
                first_bin: 0,
                bins: 1,
                edges: Some(if spec.directed {
                    EdgeRule::Directed
                } else {
                    EdgeRule::Both
                }),
            });
            let reads = [key(RECORDS, split), key(USER_ROWS, 0), key(PRODUCT_ROWS, 0)];
            let writes = self.sides().iter().map(|&table| key(table, split));
            let reads = reads.map(Read::rows).to_vec();
            task(SHUFFLE, split, &op, reads, writes.collect(), cost)
        });
        let tasks = tasks.collect();
        let rows = [USER_ROWS, PRODUCT_ROWS].map(|table| key(table, 0).into());
        let frees = std::iter::once(self.all_splits(RECORDS)).chain(rows);
        step(SHUFFLE, "shuffle edges", tasks, frees.collect())
    }

    /// Where shuffled edges are: by `from`, and where they are directed also by `to`.
    fn sides(&self) -> &'static [TableId] {
        if self.spec().directed {
            &[USER_MAJOR, PRODUCT_MAJOR]
        } else {
            &[USER_MAJOR]
        }
    }

    fn after_shuffle(&mut self, partials: &[Vec<u8>]) -> Result<Turn, TablesError> {
        let reports = partials.iter().map(|partial| op::decode(partial));
        let reports: Vec<ShuffleReport> = reports.collect::<Result<_, _>>()?;
        self.edges.unknown = reports.iter().map(|report| report.unknown).sum();
        self.edges.loops = reports.iter().map(|report| report.loops).sum();
        self.check_some()?;
        let spec = self.spec();
        let mut tasks = Vec::new();
        for &side in self.sides() {
            let units = self.units(side, &reports);
            for units in units.chunks(UNITS_PER_TASK) {
                let runs = units.iter().flat_map(|unit| &unit.runs);
                let cost = 1 + runs.map(|run| run.records).sum::<u64>();
                let op = Op::Seal(SealOp {
                    units: units.to_vec(),
                    shape: spec.scan().shape(),
                    duplicates: spec.duplicates(),
                    value_column: spec.weight.clone().unwrap_or_default(),
                });
                let reads = vec![Read::rows(self.all_splits(side))];
                tasks.push(task(SEAL, tasks.len() as u32, &op, reads, vec![], cost));
            }
        }
        let sides = self.sides().iter();
        let frees = sides.map(|&table| self.all_splits(table)).collect();
        Ok(Turn {
            steps: vec![step(SEAL, "seal edges", tasks, frees)],
            ..Turn::default()
        })
    }

    /// Ends the ingest where no row is an edge.
    fn check_some(&self) -> Result<(), TablesError> {
        let (spec, edges, rows) = (self.spec(), &self.edges, self.survey.rows());
        if edges.unknown + edges.bad_rows.values().sum::<u64>() < rows {
            return Ok(());
        }
        Err(TablesError::BadEdges(format!(
            "none of the {rows} rows of `{section}` joins two {mode}s that have interactions ({} name an id that has none): check \
             that the columns `{}` and `{}` hold the ids of `{}`, or remove [{section}]",
            edges.unknown,
            spec.from,
            spec.to,
            self.axis().column,
            section = spec.section(),
            mode = spec.mode,
        )))
    }

    fn units(&self, side: TableId, reports: &[ShuffleReport]) -> Vec<SealUnit> {
        let grid = &self.axis().grid;
        let unit = |block: u32| {
            let mut runs = Vec::new();
            for (split, report) in reports.iter().enumerate() {
                let segments = if side == USER_MAJOR {
                    &report.user_major
                } else {
                    &report.product_major
                };
                runs_of(segments, split as u32, block as usize, &mut runs);
            }
            SealUnit {
                orientation: self.spec().mode,
                block,
                rows: grid.rows[block as usize],
                stride_log2: grid.stride_log2,
                runs,
            }
        };
        (0..grid.blocks()).map(unit).collect()
    }

    fn after_seal(&mut self, partials: &[Vec<u8>]) -> Result<Turn, TablesError> {
        let mut partitions: Vec<PartitionRef> = Vec::new();
        for partial in partials {
            partitions.extend(op::decode::<SealReport>(partial)?.partitions);
        }
        let blocks = self.axis().grid.blocks() as usize;
        if partitions.len() != blocks * self.sides().len() {
            return Err(TablesError::Malformed("a partition is missing"));
        }
        let (spec, backward) = (self.spec().clone(), partitions.split_off(blocks));
        let edges = ModeEdges {
            from: spec.from,
            to: spec.to,
            weight: spec.weight,
            directed: spec.directed,
            forward: partitions,
            backward,
            input_rows: self.survey.rows(),
            ..std::mem::take(&mut self.edges)
        };
        self.data.edges.insert(spec.mode, edges);
        self.finished = true;
        Ok(Turn {
            finished: true,
            ..Turn::default()
        })
    }
}

/// The key under which rows are counted that are bad for a reason, and the end of the sentence about one.
fn bad(reason: BadReason) -> (&'static str, &'static str) {
    let fault = reason.fault(Default::default());
    match reason {
        BadReason::NullUser => ("null_from", fault),
        BadReason::NullProduct => ("null_to", fault),
        BadReason::NullValue => ("null_weight", fault),
        BadReason::NanValue => ("nan_weight", fault),
        BadReason::InfiniteValue => ("infinite_weight", fault),
        BadReason::ForbiddenValue => ("negative_weight", "is negative: an edge weighs 0 or more"),
        _ => ("weight_out_of_range", fault),
    }
}

impl Program for IngestEdges {
    fn start(&mut self) -> Result<Turn, ProgramError> {
        Ok(Turn {
            steps: vec![self.scan_step()],
            ..Turn::default()
        })
    }

    fn completed(&mut self, step: StepId, reduced: Reduced) -> Result<Turn, ProgramError> {
        let turn = collected(reduced).and_then(|partials| match step {
            SCAN => self.after_scan(&partials),
            MATCH => Ok(Turn {
                steps: vec![self.shuffle_step()],
                ..Turn::default()
            }),
            SHUFFLE => self.after_shuffle(&partials),
            SEAL => self.after_seal(&partials),
            _ => Err(TablesError::Malformed("a step that ingest did not ask for")),
        });
        turn.map_err(refuse)
    }

    fn encode(&self) -> Vec<u8> {
        Vec::new()
    }

    fn restore(&mut self, _state: Option<&[u8]>) -> Result<(), ProgramError> {
        self.scans.clear();
        self.edges = ModeEdges::default();
        self.data.edges.remove(&self.survey.spec.mode);
        self.finished = false;
        Ok(())
    }
}
