//! An update as a program of four steps, as an ingest is: scan, rows of ids, shuffle, seal. What it seals is a delta: the new
//! interactions of the blocks that they touch. Everything else of the data set stays the object that it was.

use crate::error::TablesError;
use crate::ingest::{
    Axes, BINS_MAX, DICTIONARY, Ids, Ingest, SCAN, SEAL, SHUFFLE, collected, id_runs, key, refuse,
    step, task,
};
use crate::op::{self, GrowOp, GrowReport, MatchOp, Op, SealReport, SealUnit};
use crate::spec::ScanSpec;
use crate::survey::Survey;
use std::collections::BTreeMap;
use tensor::{
    Axis, CONTEXTS_MAX, ContextAxis, DataSet, Delta, DepotId, Digest, Grid, Mode, PartitionRef,
    Program, ProgramError, Read, Reduced, SplitPart, StepId, TimeAxis, Turn,
};

/// New files on top of a data set.
pub struct Update {
    base: DataSet,
    lineage: Digest,
    inner: Ingest,
    /// The partitions that are sealed.
    touched: Vec<(Mode, u32)>,
    data: Option<DataSet>,
}

impl Update {
    /// Of files that were surveyed with this spec, which [`fits`] the data set; `lineage` is to be that of both.
    pub fn new(base: DataSet, survey: Survey, spec: ScanSpec, lineage: Digest) -> Self {
        Update {
            base,
            lineage,
            inner: Ingest::new(survey, spec),
            touched: Vec::new(),
            data: None,
        }
    }

    /// The data set with the new interactions, once the program is finished.
    pub fn into_data_set(self) -> Option<DataSet> {
        self.data
    }

    fn axis(&self, mode: Mode) -> Result<&Axis, TablesError> {
        match (mode, self.base.context.as_deref()) {
            (Mode::User, _) => Ok(&self.base.user),
            (Mode::Product, _) => Ok(&self.base.product),
            (Mode::Context, Some(ContextAxis::Ids(axis))) => Ok(axis),
            _ => Err(TablesError::Malformed("an update of another mode")),
        }
    }

    fn after_scan(&mut self, partials: &[Vec<u8>]) -> Result<Turn, TablesError> {
        self.inner.scanned(partials)?;
        let modes = self.inner.modes();
        let mut tasks = Vec::new();
        for (ids, index) in modes.iter().zip(0..) {
            let axis = self.axis(ids.mode)?;
            let room = match ids.mode {
                Mode::Context => u64::from(CONTEXTS_MAX),
                _ => 1 << axis.grid.stride_log2,
            };
            let op = Op::Grow(GrowOp {
                column: ids.column.to_owned(),
                known: MatchOp {
                    id_kind: ids.kind,
                    runs: id_runs(&self.inner.scans, ids.run),
                    rows: axis.grid.rows.clone(),
                    stride_log2: axis.grid.stride_log2,
                },
                room,
            });
            let mut reads = vec![Read::rows(self.inner.all_splits(ids.runs))];
            let dictionaries = axis.dictionary.iter();
            reads.extend(dictionaries.map(|known| Read::whole(known.key(DepotId::DATA))));
            let (writes, cost) = (vec![key(ids.rows, 0)], 1 + self.inner.interactions());
            tasks.push(task(DICTIONARY, index, &op, reads, writes, cost));
        }
        let frees = modes.iter().map(|ids| self.inner.all_splits(ids.runs));
        let frees = frees.collect();
        Ok(Turn {
            steps: vec![step(DICTIONARY, "ids", tasks, frees)],
            ..Turn::default()
        })
    }

    fn after_ids(&mut self, partials: &[Vec<u8>]) -> Result<Turn, TablesError> {
        let mut axes = BTreeMap::new();
        for (ids, report) in self.inner.modes().iter().zip(partials) {
            axes.insert(ids.mode, self.grown(ids, report)?);
        }
        let (Some(user), Some(product)) = (axes.remove(&Mode::User), axes.remove(&Mode::Product))
        else {
            return Err(TablesError::Malformed("rows of a mode are missing"));
        };
        let context = match (self.base.context.as_deref(), axes.remove(&Mode::Context)) {
            (Some(ContextAxis::Ids(_)), Some(axis)) => Some(ContextAxis::Ids(axis)),
            (cycle, _) => cycle.cloned(),
        };
        let time = self.base.time.as_ref();
        let time = time.map(|before| self.extended(before)).transpose()?;
        self.inner.axes = Some(Axes {
            user,
            product,
            first_bin: time.as_ref().map_or(0, |time| time.first_bin),
            time,
            context,
        });
        Ok(Turn {
            steps: vec![self.inner.shuffle_step()?],
            ..Turn::default()
        })
    }

    fn grown(&self, ids: &Ids<'_>, report: &[u8]) -> Result<Axis, TablesError> {
        let report: GrowReport = op::decode(report)?;
        let before = self.axis(ids.mode)?;
        let mut dictionary = before.dictionary.clone();
        for (block, file) in report.dictionaries {
            dictionary[block as usize] = file;
        }
        let grid = match (ids.mode, &report.rows[..]) {
            (Mode::Context, &[rows]) => Grid::single(rows),
            _ => Grid {
                rows: report.rows,
                ..before.grid.clone()
            },
        };
        Ok(Axis {
            grid,
            dictionary,
            ..before.clone()
        })
    }

    /// The bins of both; a bin that was partial may be whole now.
    fn extended(&self, before: &TimeAxis) -> Result<TimeAxis, TablesError> {
        let (Some(new), first) = self.inner.time_axis()? else {
            return Err(TablesError::Malformed("an update without times"));
        };
        let last = |axis: &TimeAxis, first: i64| first + i64::from(axis.bins) - 1;
        let (old_last, new_last) = (last(before, before.first_bin), last(&new, first));
        let bins = (old_last.max(new_last) - before.first_bin) as u64 + 1;
        if bins > BINS_MAX {
            return Err(TablesError::TooManyBins {
                column: before.column.clone(),
                bins,
                limit: BINS_MAX,
            });
        }
        let last_is_partial = match old_last.cmp(&new_last) {
            std::cmp::Ordering::Less => new.last_is_partial,
            std::cmp::Ordering::Equal => before.last_is_partial && new.last_is_partial,
            std::cmp::Ordering::Greater => before.last_is_partial,
        };
        Ok(TimeAxis {
            bins: bins as u32,
            last_is_partial,
            ..before.clone()
        })
    }

    fn after_shuffle(&mut self, partials: &[Vec<u8>]) -> Result<Turn, TablesError> {
        let reports: Vec<op::ShuffleReport> = partials
            .iter()
            .map(|partial| op::decode(partial))
            .collect::<Result<_, _>>()?;
        let units = self.inner.units(SplitPart::Train, &reports)?;
        let touched = units.into_iter().filter(|unit| !unit.runs.is_empty());
        let units: Vec<SealUnit> = touched.collect();
        let blocks = units.iter().map(|unit| (unit.orientation, unit.block));
        self.touched = blocks.collect();
        Ok(Turn {
            steps: vec![self.inner.seal_step(&[units])],
            ..Turn::default()
        })
    }

    fn after_seal(&mut self, partials: &[Vec<u8>]) -> Result<Turn, TablesError> {
        let mut sealed = Vec::new();
        for partial in partials {
            let report: SealReport = op::decode(partial)?;
            sealed.extend(report.partitions);
        }
        if sealed.len() != self.touched.len() {
            return Err(TablesError::Malformed("a partition is missing"));
        }
        let mut delta = Delta::default();
        for (&(mode, block), partition) in self.touched.iter().zip(sealed) {
            let side = match mode {
                Mode::User => &mut delta.user_major,
                _ => &mut delta.product_major,
            };
            side.insert(block, partition);
        }
        let count = |side: &BTreeMap<u32, PartitionRef>| {
            side.values().map(|one| one.interactions).sum::<u64>()
        };
        delta.interactions = count(&delta.user_major);
        if delta.interactions != count(&delta.product_major) {
            return Err(TablesError::Malformed(
                "the orientations differ in interactions",
            ));
        }
        let axes = self.inner.axes.take();
        let axes = axes.ok_or(TablesError::Malformed("a step is done before its time"))?;
        let mut data = DataSet {
            lineage: self.lineage,
            user: axes.user,
            product: axes.product,
            time: axes.time,
            context: axes.context.map(Box::new),
            first: Some(self.base.origin()),
            ..self.base.clone()
        };
        data.input_rows += self.inner.survey.rows();
        for (reason, count) in self.inner.bad_rows() {
            *data.bad_rows.entry(reason).or_default() += count;
        }
        data.inputs.extend(&self.inner.survey.digests);
        data.deltas.push(delta);
        self.data = Some(data);
        Ok(Turn {
            finished: true,
            ..Turn::default()
        })
    }
}

impl Program for Update {
    fn start(&mut self) -> Result<Turn, ProgramError> {
        let first_bin = self.base.time.as_ref().map(|time| time.first_bin);
        Ok(Turn {
            steps: vec![self.inner.scan_step(first_bin)],
            ..Turn::default()
        })
    }

    fn completed(&mut self, step: StepId, reduced: Reduced) -> Result<Turn, ProgramError> {
        let turn = collected(reduced).and_then(|partials| match step {
            SCAN => self.after_scan(&partials),
            DICTIONARY => self.after_ids(&partials),
            SHUFFLE => self.after_shuffle(&partials),
            SEAL => self.after_seal(&partials),
            _ => Err(TablesError::Malformed(
                "a step that an update did not ask for",
            )),
        });
        turn.map_err(refuse)
    }

    fn encode(&self) -> Vec<u8> {
        Vec::new()
    }

    fn restore(&mut self, state: Option<&[u8]>) -> Result<(), ProgramError> {
        (self.touched, self.data) = (Vec::new(), None);
        self.inner.restore(state)
    }
}

/// Whether files that were surveyed with a spec are of the shape of a data set.
///
/// # Errors
/// Names the first setting or column that differs, and both sides of it.
pub fn fits(data: &DataSet, survey: &Survey, spec: &ScanSpec) -> Result<(), TablesError> {
    let differs = |key: &str, there: String, here: String| {
        Err(TablesError::OtherData(format!(
            "the data set was ingested with `{key}` = {there}, the job says {here}: an update keeps what the data set has"
        )))
    };
    let word = |text: Option<&str>| text.map_or("nothing".to_owned(), |text| format!("\"{text}\""));
    let lower = |value: &dyn std::fmt::Debug| format!("\"{value:?}\"").to_lowercase();
    let time = data.time.as_ref();
    let context_column = match data.context.as_deref() {
        Some(ContextAxis::Ids(axis)) => Some(axis.column.as_str()),
        _ => None,
    };
    let cycle = match data.context.as_deref() {
        Some(ContextAxis::Cycle { cycle, .. }) => Some(*cycle),
        _ => None,
    };
    let (time_there, time_here) = (time.map(|time| time.column.as_str()), spec.time.as_deref());
    for (key, there, here) in [
        (
            "input.user",
            Some(data.user.column.as_str()),
            Some(spec.user.as_str()),
        ),
        (
            "input.product",
            Some(data.product.column.as_str()),
            Some(spec.product.as_str()),
        ),
        ("input.time", time_there, time_here),
        ("input.context", context_column, spec.context_column()),
        (
            "input.value",
            data.value_column.as_deref(),
            spec.value.as_deref(),
        ),
    ] {
        if there != here {
            return differs(key, word(there), word(here));
        }
    }
    if let Some(time) = time.filter(|time| time.bin != spec.time_bin) {
        return differs("input.time_bin", lower(&time.bin), lower(&spec.time_bin));
    }
    if cycle != spec.cycle() {
        let name = |cycle: Option<tensor::Cycle>| cycle.map_or("nothing".into(), |one| lower(&one));
        return differs("input.context_cycle", name(cycle), name(spec.cycle()));
    }
    if data.duplicates != spec.duplicates {
        return differs(
            "input.duplicates",
            lower(&data.duplicates),
            lower(&spec.duplicates),
        );
    }
    if data.nets != spec.nets {
        let word = |nets: bool| if nets { "\"net\"" } else { "another" }.to_owned();
        return differs("input.negative", word(data.nets), word(spec.nets));
    }
    let kinds = survey.kinds;
    let context = match data.context.as_deref() {
        Some(ContextAxis::Ids(axis)) => kinds.context.map(|kind| (axis, kind)),
        _ => None,
    };
    let axes = [(&data.user, kinds.user), (&data.product, kinds.product)];
    for (axis, kind) in axes.into_iter().chain(context) {
        if axis.id_kind != kind {
            return Err(TablesError::OtherData(format!(
                "column `{}` is {} in {}, but {} in the data set: write the new files with the type of the first",
                axis.column,
                lower(&kind).trim_matches('"'),
                survey
                    .files
                    .first()
                    .map_or("the new files", |file| &file.name),
                lower(&axis.id_kind).trim_matches('"'),
            )));
        }
    }
    Ok(())
}
