//! Derived partitions: a part, a range of bins, a range of hashes, with time or collapsed. One task derives a few
//! partitions; the program asks for all of them and gathers the views.

use crate::combine::{Combined, PartitionBuild};
use crate::error::TablesError;
use crate::ingest::{UNITS_PER_TASK, collected, refuse};
use crate::op::{self, Op, SealReport, ViewOp, ViewUnit};
use crate::split::{interaction_hash, is_in};
use crate::tiles;
use store::partition::Partition;
use store::{Cache, Sealed};
use tensor::{
    DataSet, DepotId, Duplicates, Grid, Mode, PartialSpec, PartitionRef, Partitions, Program,
    ProgramError, Read, Reduced, Step, StepId, Task, TaskId, Turn, View, ViewSpec,
};

/// Bytes of memory per interaction of a piece, where files are read by positioned reads: column, time, value.
const INTERACTION_BYTES: u64 = 12;

/// Derives one partition.
///
/// # Errors
/// Where the source is damaged, the disk is full, or a collapsed value overflows.
pub fn derive(
    op: &ViewOp,
    unit: &ViewUnit,
    source: Sealed,
    cache: &Cache,
    budget_bytes: u64,
) -> Result<(Sealed, PartitionRef), TablesError> {
    let (spec, duplicates) = (&op.spec, op.duplicates);
    let partition = Partition::open(source)?;
    let keeps_bin = spec.decay.is_some_and(|decay| decay.keeps_bin);
    let mut build = PartitionBuild::new(
        cache,
        unit.orientation,
        unit.block,
        partition.rows(),
        partition.has_time() && (!spec.collapse_time || keeps_bin),
        duplicates,
        "value",
    )?
    .netting(op.nets);
    let first = (unit.orientation, unit.first_row);
    if keeps_bin {
        let mut aged = Aged::new(duplicates);
        each_kept(
            spec,
            &partition,
            first,
            budget_bytes,
            |row, column, time, value| {
                let whole = aged.push((row, column), time, value);
                whole.map_or(Ok(()), |(row, column, time, value)| {
                    build.push(row, column, time, value)
                })
            },
        )?;
        if let Some((row, column, time, value)) = aged.close() {
            build.push(row, column, time, value)?;
        }
    } else {
        each_kept(
            spec,
            &partition,
            first,
            budget_bytes,
            |row, column, time, value| build.push(row, column, time, value),
        )?;
    }
    build.seal()
}

/// Combines the interactions of one (row, column), which come in the order of their bins, and keeps the bin of the one
/// that decides: the newest, and with the rule `Max` the largest, of equals the newest.
struct Aged {
    rule: Duplicates,
    open: Option<((u32, u32), u32, Combined)>,
}

/// Row, column, bin, value.
type Whole = (u32, u32, u32, f64);

impl Aged {
    fn new(rule: Duplicates) -> Self {
        Aged { rule, open: None }
    }

    /// Takes the next interaction; gives the one that is whole by it.
    fn push(&mut self, pair: (u32, u32), bin: u32, value: f64) -> Option<Whole> {
        if let Some((open, kept, combined)) = &mut self.open
            && *open == pair
        {
            if self.rule != Duplicates::Max || value >= combined.exact() {
                *kept = bin;
            }
            combined.add(value);
            return None;
        }
        let before = self.close();
        self.open = Some((pair, bin, Combined::new(self.rule, value)));
        before
    }

    /// The last one.
    fn close(&mut self) -> Option<Whole> {
        let ((row, column), bin, combined) = self.open.take()?;
        Some((row, column, bin, combined.exact()))
    }
}

/// Hands over what a view keeps of a partition, in canonical order: row, column, time (0 where it is collapsed and no bin is
/// kept), value, faded where values fade.
/// `first` is the mode and the row id of its first row.
pub(crate) fn each_kept(
    spec: &ViewSpec,
    partition: &Partition,
    first: (Mode, u32),
    budget_bytes: u64,
    mut take: impl FnMut(u32, u32, u32, f64) -> Result<(), TablesError>,
) -> Result<(), TablesError> {
    let keeps_bin = spec.decay.is_some_and(|decay| decay.keeps_bin);
    let keeps_time = partition.has_time() && (!spec.collapse_time || keeps_bin);
    let fading = spec.decay.filter(|decay| !decay.keeps_bin);
    let fades = fading.map_or_else(Vec::new, |decay| decay.fades());
    let offsets = partition.offsets();
    let piece = (budget_bytes / (2 * INTERACTION_BYTES)).clamp(1 << 10, 1 << 20);
    let interactions = partition.interactions();
    let mut row = 0;
    let mut start = 0;
    while start < interactions {
        let range = start..interactions.min(start + piece);
        let found = partition.piece(range.clone())?;
        let times = found.times.as_deref();
        let values = found.values.as_values();
        for (at, &column) in found.columns.iter().enumerate() {
            while offsets[row + 1] <= start + at as u64 {
                row += 1;
            }
            let time = times.map_or(0, |times| times[at]);
            if keeps(spec, first, row as u32, column, time) {
                let fade = fades.get(time as usize).copied().unwrap_or(1.0);
                let time = if keeps_time { time } else { 0 };
                take(row as u32, column, time, f64::from(values.at(at)) * fade)?;
            }
        }
        partition.drop_behind(range.clone());
        start = range.end;
    }
    Ok(())
}

fn keeps(spec: &ViewSpec, first: (Mode, u32), local: u32, column: u32, time: u32) -> bool {
    if spec.bins.as_ref().is_some_and(|bins| !bins.contains(&time)) {
        return false;
    }
    let Some((seed, range)) = &spec.hash else {
        return true;
    };
    let (orientation, first_row) = first;
    let row = first_row + local;
    let (user, product) = if orientation == Mode::User {
        (row, column)
    } else {
        (column, row)
    };
    is_in(range, interaction_hash(*seed, user, product, time))
}

/// The program that builds views of a data set, one step each. A view that keeps everything is the data set itself.
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
        let collapses = spec.collapse_time && self.data.time.is_some();
        let bends = collapses || self.data.nets || spec.tiles.is_some() || spec.decay.is_some();
        spec.bins.is_none() && spec.hash.is_none() && !bends
    }

    fn step(&self, number: usize) -> Result<Step, ProgramError> {
        let spec = &self.specs[number];
        let source = self.source(spec)?;
        if let Some(side) = spec.tiles {
            return Ok(tiles::step(number, &self.data, source, spec, side));
        }
        let units = units(&self.data, source);
        let tasks = units
            .chunks(UNITS_PER_TASK)
            .enumerate()
            .map(|(index, units)| {
                let op = Op::View(ViewOp {
                    spec: spec.clone(),
                    units: units.to_vec(),
                    duplicates: self.data.duplicates,
                    nets: self.data.nets,
                });
                let reads = units
                    .iter()
                    .map(|unit| Read::whole(unit.source.object.key(DepotId::DATA)));
                Task {
                    id: TaskId {
                        step: StepId(number as u64),
                        index: index as u32,
                    },
                    op: op.encode(),
                    reads: reads.collect(),
                    writes: vec![],
                    after: vec![],
                    chain: None,
                    cost: units.iter().map(|unit| 1 + unit.source.interactions).sum(),
                }
            });
        Ok(Step {
            id: StepId(number as u64),
            name: format!("view {}", number + 1),
            tasks: tasks.collect(),
            partial: PartialSpec::Collect,
            frees: vec![],
        })
    }
}

fn units(data: &DataSet, source: &Partitions) -> Vec<ViewUnit> {
    let side = |orientation, grid: &Grid, partitions: &[PartitionRef]| {
        let unit = |(block, source): (usize, &PartitionRef)| ViewUnit {
            orientation,
            block: block as u32,
            first_row: ((block as u64) << grid.stride_log2) as u32,
            source: *source,
        };
        partitions.iter().enumerate().map(unit).collect::<Vec<_>>()
    };
    let mut units = side(Mode::User, &data.user.grid, &source.user_major);
    units.extend(side(
        Mode::Product,
        &data.product.grid,
        &source.product_major,
    ));
    units
}

/// Partitions of both orientations from reports in the order of [`units`].
pub(crate) fn gather(reports: Vec<Vec<u8>>, user_blocks: u32) -> Result<Partitions, TablesError> {
    let mut all = Vec::new();
    for report in reports {
        all.extend(op::decode::<SealReport>(&report)?.partitions);
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
