//! Derived partitions: a part, a range of bins, a range of hashes, with small modes or collapsed. One task derives a few
//! partitions; the program asks for all of them and gathers the views.

use crate::combine::{Built, Combined, PartitionBuild};
use crate::error::TablesError;
use crate::ingest::{UNITS_PER_TASK, collected, refuse};
use crate::op::{self, Forgets, Op, RowsKept, SealReport, ViewOp, ViewUnit};
use crate::split::{interaction_hash, is_in};
use crate::staged::Staged;
use crate::tiles;
use store::{Cache, Sealed};
use tensor::{
    BlockId, DataSet, DepotId, Duplicates, Grid, Mode, PartialSpec, PartitionRef, Partitions,
    Program, ProgramError, Read, Reduced, Small, SplitPart, Step, StepId, Task, TaskId, Turn, View,
    ViewSpec,
};

/// Derives one partition from those of its block.
///
/// # Errors
/// Where a source is damaged, the disk is full, or a combined value overflows.
pub fn derive(
    op: &ViewOp,
    unit: &ViewUnit,
    sources: Vec<Sealed>,
    cache: &Cache,
    budget_bytes: u64,
) -> Result<Built, TablesError> {
    let (spec, duplicates) = (&op.spec, op.duplicates);
    let staged = Staged::open(sources)?;
    if staged.rows() > unit.rows {
        return Err(TablesError::Malformed("a partition of other rows"));
    }
    let mut build = PartitionBuild::new(
        cache,
        unit.orientation,
        unit.block,
        unit.rows,
        kept(spec, staged.has()),
        duplicates,
        "value",
    )?
    .netting(op.nets);
    let first = (unit.orientation, unit.first_row);
    let reading = Reading {
        spec,
        duplicates,
        forgets: &op.forgets,
        rows_kept: unit.rows_kept,
        budget_bytes,
    };
    if reorders(spec, staged.has()) {
        let mut pairs = Pairs::new(duplicates);
        reading.each_kept(&staged, first, |row, column, small, value| {
            if pairs.ends((row, column)) {
                pairs.close(&mut build)?;
            }
            pairs.push((row, column), small, value);
            Ok(())
        })?;
        pairs.close(&mut build)?;
    } else {
        reading.each_kept(&staged, first, |row, column, small, value| {
            build.push(row, column, small, value)
        })?;
    }
    build.seal()
}

fn keeps_bin(spec: &ViewSpec) -> bool {
    spec.decay.is_some_and(|decay| decay.keeps_bin)
}

/// The small modes that a view of partitions with these keeps.
pub(crate) fn kept(spec: &ViewSpec, has: Small<bool>) -> Small<bool> {
    Small {
        time: has.time && (!spec.collapse_time || keeps_bin(spec)),
        context: has.context && !spec.collapse_context,
    }
}

/// Whether the interactions of one pair come in another order than they are combined in: by bin, and not by context
/// alone or by the bin that decides.
pub(crate) fn reorders(spec: &ViewSpec, has: Small<bool>) -> bool {
    let combines = has.time && spec.collapse_time;
    keeps_bin(spec) || (combines && kept(spec, has).context)
}

/// Combines the interactions of one (row, column), which come in the order of their bins, context by context, and keeps
/// the bin of the one that decides: the newest, and with the rule `Max` the largest, of equals the newest.
struct Pairs {
    rule: Duplicates,
    pair: Option<(u32, u32)>,
    /// Contexts, rising; there are few of them in a pair.
    open: Vec<(Small<u32>, Combined)>,
}

impl Pairs {
    fn new(rule: Duplicates) -> Self {
        Pairs {
            rule,
            pair: None,
            open: Vec::new(),
        }
    }

    /// Whether another pair ends the open one.
    fn ends(&self, pair: (u32, u32)) -> bool {
        self.pair.is_some_and(|open| open != pair)
    }

    fn push(&mut self, pair: (u32, u32), small: Small<u32>, value: f64) {
        self.pair = Some(pair);
        let place = self
            .open
            .binary_search_by_key(&small.context, |(small, _)| small.context);
        match place {
            Ok(place) => {
                let (kept, combined) = &mut self.open[place];
                if self.rule != Duplicates::Max || value >= combined.exact() {
                    kept.time = small.time;
                }
                combined.add(value);
            }
            Err(place) => {
                let combined = Combined::new(self.rule, value);
                self.open.insert(place, (small, combined));
            }
        }
    }

    /// Hands the open pair on, in canonical order.
    fn close(&mut self, build: &mut PartitionBuild) -> Result<(), TablesError> {
        self.open.sort_by_key(|(small, _)| *small);
        if let Some((row, column)) = self.pair.take() {
            for (small, combined) in self.open.drain(..) {
                build.push(row, column, small, combined.exact())?;
            }
        }
        Ok(())
    }
}

/// How the partitions of a block are read for a view.
pub(crate) struct Reading<'a> {
    pub(crate) spec: &'a ViewSpec,
    pub(crate) duplicates: Duplicates,
    pub(crate) forgets: &'a Forgets,
    pub(crate) rows_kept: RowsKept,
    pub(crate) budget_bytes: u64,
}

impl Reading<'_> {
    /// Hands over what the view keeps of a block, in canonical order: row, column, time and context (0 where they are
    /// collapsed and no bin is kept), value, faded where values fade.
    /// `first` is the mode and the row id of its first row.
    pub(crate) fn each_kept(
        &self,
        staged: &Staged,
        first: (Mode, u32),
        mut take: impl FnMut(u32, u32, Small<u32>, f64) -> Result<(), TablesError>,
    ) -> Result<(), TablesError> {
        let spec = self.spec;
        let kept = kept(spec, staged.has());
        let fading = spec.decay.filter(|decay| !decay.keeps_bin);
        let fades = fading.map_or_else(Vec::new, |decay| decay.fades());
        staged.each(
            self.duplicates,
            self.budget_bytes,
            |row, column, small, value| {
                let wanted = match self.rows_kept {
                    RowsKept::All => true,
                    RowsKept::OfLast(sources) => staged.last_have(sources, row),
                };
                if !wanted {
                    return Ok(());
                }
                let forgotten = self.forgets.covers(first.0, first.1 + row, column);
                if forgotten || !keeps(spec, first, row, column, small) {
                    return Ok(());
                }
                let fade = fades.get(small.time as usize).copied().unwrap_or(1.0);
                let small = small.zip(kept).map(|(id, kept)| if kept { id } else { 0 });
                take(row, column, small, f64::from(value) * fade)
            },
        )
    }
}

fn keeps(spec: &ViewSpec, first: (Mode, u32), local: u32, column: u32, small: Small<u32>) -> bool {
    let bins = spec.bins.as_ref();
    if bins.is_some_and(|bins| !bins.contains(&small.time)) {
        return false;
    }
    if spec.hash.is_none() && spec.newcomers.is_none() {
        return true;
    }
    let (orientation, first_row) = first;
    let row = first_row + local;
    let (user, product) = if orientation == Mode::User {
        (row, column)
    } else {
        (column, row)
    };
    let newcomers = spec.newcomers.as_ref();
    if newcomers.is_some_and(|of| !of.keeps(user, product, small.time)) {
        return false;
    }
    let hash = spec.hash.as_ref();
    hash.is_none_or(|(seed, range)| is_in(range, interaction_hash(*seed, user, product, small)))
}

/// The program that builds views of a data set, one step each. A view that keeps everything of partitions that are all there
/// is is the data set itself.
pub struct BuildViews {
    data: DataSet,
    specs: Vec<ViewSpec>,
    built: Vec<Option<View>>,
}

impl BuildViews {
    /// Of these specs, in this order.
    pub fn new(data: DataSet, specs: Vec<ViewSpec>) -> Self {
        let built = specs.iter().map(|_| None).collect();
        BuildViews { data, specs, built }
    }

    /// The views, in the order of the specs, once the program is finished.
    pub fn into_views(self) -> Option<Vec<View>> {
        self.built.into_iter().collect()
    }

    /// What was ingested of the part that a view is of.
    fn source(&self, spec: &ViewSpec) -> Result<&Partitions, ProgramError> {
        let found = self.data.parts.iter().find(|(part, _)| *part == spec.part);
        found
            .map(|(_, partitions)| partitions)
            .ok_or_else(|| ProgramError {
                sentence: format!(
                    "the data set has no {:?} part: give files for it, or split by bins or by hash",
                    spec.part
                )
                .to_lowercase(),
            })
    }

    fn is_whole(&self, spec: &ViewSpec) -> bool {
        let collapses = (spec.collapse_time && self.data.time.is_some())
            || (spec.collapse_context && self.data.context.is_some());
        let bends = collapses
            || !self.data.is_settled(spec.part)
            || self.data.nets
            || spec.tiles.is_some()
            || spec.decay.is_some()
            || spec.newcomers.is_some();
        spec.bins.is_none() && spec.hash.is_none() && !bends
    }

    fn step(&self, number: usize) -> Result<Step, ProgramError> {
        let spec = &self.specs[number];
        self.source(spec)?;
        if let Some(side) = spec.tiles {
            return Ok(tiles::step(number, &self.data, spec, side));
        }
        let name = format!("view {}", number + 1);
        let units = units(&self.data, spec.part);
        let id = StepId(number as u64);
        let whom = Forgets::default();
        Ok(step(
            id,
            name,
            &self.data,
            spec,
            (self.data.nets, &whom),
            &units,
        ))
    }
}

/// The step that derives partitions, a few a task; with what is left out.
pub(crate) fn step(
    id: StepId,
    name: String,
    data: &DataSet,
    spec: &ViewSpec,
    (nets, forgets): (bool, &Forgets),
    units: &[ViewUnit],
) -> Step {
    let task = |(index, units): (usize, &[ViewUnit])| {
        let op = Op::View(ViewOp {
            spec: spec.clone(),
            units: units.to_vec(),
            duplicates: data.duplicates,
            nets,
            forgets: forgets.clone(),
        });
        let sources = units.iter().flat_map(|unit| &unit.sources);
        Task {
            id: TaskId {
                step: id,
                index: index as u32,
            },
            op: op.encode(),
            reads: sources
                .clone()
                .map(|source| Read::whole(source.object.key(DepotId::DATA)))
                .collect(),
            writes: vec![],
            after: vec![],
            chain: None,
            cost: sources.map(|source| 1 + source.interactions).sum(),
        }
    };
    let tasks = units.chunks(UNITS_PER_TASK).enumerate().map(task);
    Step {
        id,
        name,
        tasks: tasks.collect(),
        partial: PartialSpec::Collect,
        frees: vec![],
    }
}

/// The partitions of a part, each from those of its block: those of users, then those of products.
pub(crate) fn units(data: &DataSet, part: SplitPart) -> Vec<ViewUnit> {
    let side = |orientation, grid: &Grid| {
        let unit = |block: BlockId| ViewUnit {
            orientation,
            block: block.0,
            first_row: grid.row_ids(block).start,
            rows: grid.rows[block.0 as usize],
            sources: data.sources(part, orientation, block.0),
            rows_kept: RowsKept::All,
        };
        grid.block_ids().map(unit).collect::<Vec<_>>()
    };
    let mut units = side(Mode::User, &data.user.grid);
    units.extend(side(Mode::Product, &data.product.grid));
    units
}

/// Partitions of both orientations from reports in the order of [`units`].
pub(crate) fn gather(reports: Vec<Vec<u8>>, user_blocks: u32) -> Result<Partitions, TablesError> {
    let (mut all, mut netted) = (Vec::new(), 0);
    for report in reports {
        let report: SealReport = op::decode(&report)?;
        all.extend(report.partitions);
        netted += report.netted;
    }
    if all.len() < user_blocks as usize {
        return Err(TablesError::Malformed("a partition is missing"));
    }
    let product_major = all.split_off(user_blocks as usize);
    let count = |side: &[PartitionRef]| side.iter().map(|one| one.interactions).sum::<u64>();
    let interactions = count(&all);
    if interactions != count(&product_major) {
        return Err(TablesError::Malformed(
            "the orientations differ in interactions",
        ));
    }
    Ok(Partitions {
        user_major: all,
        product_major,
        interactions,
        netted,
    })
}

impl Program for BuildViews {
    fn start(&mut self) -> Result<Turn, ProgramError> {
        let mut turn = Turn::default();
        for number in 0..self.specs.len() {
            let spec = &self.specs[number];
            if self.is_whole(spec) {
                let partitions = self.source(spec)?.clone();
                self.built[number] = Some(View {
                    spec: spec.clone(),
                    partitions,
                });
            } else {
                turn.steps.push(self.step(number)?);
            }
        }
        turn.finished = turn.steps.is_empty();
        Ok(turn)
    }

    fn completed(&mut self, step: StepId, reduced: Reduced) -> Result<Turn, ProgramError> {
        let number = step.0 as usize;
        let partitions = collected(reduced).and_then(|reports| {
            if self.specs[number].tiles.is_some() {
                tiles::gather(reports)
            } else {
                gather(reports, self.data.user.grid.blocks())
            }
        });
        let partitions = partitions.map_err(refuse)?;
        self.built[number] = Some(View {
            spec: self.specs[number].clone(),
            partitions,
        });
        Ok(Turn {
            finished: self.built.iter().all(Option::is_some),
            ..Turn::default()
        })
    }

    fn encode(&self) -> Vec<u8> {
        Vec::new()
    }

    fn restore(&mut self, _state: Option<&[u8]>) -> Result<(), ProgramError> {
        self.built.fill(None);
        Ok(())
    }
}
