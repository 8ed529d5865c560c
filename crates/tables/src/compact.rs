//! Compaction: the partitions of blocks that updates touched are sealed anew, each with its deltas merged in, and those that
//! do not know of later rows. What a view reads stays the same to the bit, so the data set keeps its lineage.
//!
//! Forgetting is a compaction that leaves users out: their rows stay, and are empty.

use crate::error::TablesError;
use crate::ingest::{collected, refuse};
use crate::op::{self, Forgets, RowsKept, SealReport, ViewUnit};
use crate::view::{step, units};
use tensor::{
    BlockId, DataSet, Mode, PartitionRef, Partitions, Program, ProgramError, Reduced, SplitPart,
    StepId, Turn, ViewSpec,
};

/// The compaction of a data set, a step for each part that needs one.
pub struct Compact {
    data: DataSet,
    /// The rows of users who are left out, rising.
    without: Vec<u32>,
    sealings: Vec<Sealing>,
}

/// What one step seals anew, and whether it is done.
struct Sealing {
    what: Sealed,
    units: Vec<ViewUnit>,
    done: bool,
}

/// What partitions are of.
#[derive(Clone, Copy)]
enum Sealed {
    /// A part of the interactions.
    Part(SplitPart),
    /// Edges between users.
    Edges {
        /// Their transpose.
        backward: bool,
    },
}

impl Compact {
    /// Of a data set.
    pub fn new(data: DataSet) -> Self {
        Self::without(data, Vec::new())
    }

    /// Of a data set without the interactions and edges of the users at these rows (rising).
    pub fn without(data: DataSet, rows: Vec<u32>) -> Self {
        let blocks: Vec<BlockId> = rows
            .iter()
            .map(|&row| data.user.grid.split(row).0)
            .collect();
        let touched = |unit: &ViewUnit| match unit.orientation {
            Mode::User => blocks.binary_search(&BlockId(unit.block)).is_ok(),
            _ => !blocks.is_empty(),
        };
        let stale =
            |unit: &ViewUnit| !matches!(&unit.sources[..], [only] if only.rows == unit.rows);
        let of_part = |(part, _): &(SplitPart, Partitions)| {
            let all = units(&data, *part).into_iter();
            let units = all.filter(|unit| stale(unit) || touched(unit)).collect();
            (Sealed::Part(*part), units)
        };
        let parts = data.parts.iter().map(of_part);
        let edges = if blocks.is_empty() {
            Vec::new()
        } else {
            edge_units(&data)
        };
        let sealing = |(what, units): (Sealed, Vec<ViewUnit>)| Sealing {
            what,
            done: units.is_empty(),
            units,
        };
        let sealings = parts.chain(edges).map(sealing).collect();
        Compact {
            data,
            without: rows,
            sealings,
        }
    }

    /// Partitions that are sealed anew.
    pub fn partitions(&self) -> usize {
        self.sealings
            .iter()
            .map(|sealing| sealing.units.len())
            .sum()
    }

    fn is_done(&self) -> bool {
        self.sealings.iter().all(|sealing| sealing.done)
    }

    /// The data set without deltas, once the program is finished.
    pub fn into_data_set(self) -> Option<DataSet> {
        self.is_done().then_some(DataSet {
            deltas: Vec::new(),
            ..self.data
        })
    }

    fn take(&mut self, number: usize, reports: Vec<Vec<u8>>) -> Result<(), TablesError> {
        let mut sealed = Vec::new();
        for report in reports {
            let report: SealReport = op::decode(&report)?;
            sealed.extend(report.partitions);
        }
        let Sealing { what, units, done } = &mut self.sealings[number];
        if sealed.len() != units.len() {
            return Err(TablesError::Malformed("a partition is missing"));
        }
        *done = true;
        let sealed = units.iter().zip(sealed);
        let part = match *what {
            Sealed::Part(part) => part,
            Sealed::Edges { backward } => {
                let edges = self.data.edges.get_mut(&Mode::User);
                let edges = edges.ok_or(TablesError::Malformed("there are no edges of users"))?;
                let side = if backward {
                    &mut edges.backward
                } else {
                    &mut edges.forward
                };
                sealed.for_each(|(unit, sealed)| side[unit.block as usize] = sealed);
                return Ok(());
            }
        };
        let mut parts = self.data.parts.iter_mut();
        let found = parts.find(|(other, _)| *other == part);
        let (_, partitions) = found.ok_or(TablesError::Malformed("there is no such part"))?;
        for (unit, sealed) in sealed {
            let side = match unit.orientation {
                Mode::User => &mut partitions.user_major,
                _ => &mut partitions.product_major,
            };
            side[unit.block as usize] = sealed;
        }
        let count = |side: &[PartitionRef]| side.iter().map(|one| one.interactions).sum::<u64>();
        partitions.interactions = count(&partitions.user_major);
        if partitions.interactions != count(&partitions.product_major) {
            return Err(TablesError::Malformed(
                "the orientations differ in interactions",
            ));
        }
        Ok(())
    }
}

/// All partitions of edges between users.
fn edge_units(data: &DataSet) -> Vec<(Sealed, Vec<ViewUnit>)> {
    let grid = &data.user.grid;
    let units = |side: &[PartitionRef]| {
        let unit = |(block, source): (BlockId, &PartitionRef)| ViewUnit {
            orientation: Mode::User,
            block: block.0,
            first_row: grid.row_ids(block).start,
            rows: grid.rows[block.0 as usize],
            sources: vec![*source],
            rows_kept: RowsKept::All,
        };
        grid.block_ids().zip(side).map(unit).collect()
    };
    let edges = data.edges.get(&Mode::User);
    let sides = edges.map(|edges| {
        let side = |backward, side| (Sealed::Edges { backward }, units(side));
        [side(false, &edges.forward), side(true, &edges.backward)]
    });
    sides.into_iter().flatten().collect()
}

impl Program for Compact {
    fn start(&mut self) -> Result<Turn, ProgramError> {
        let mut turn = Turn::default();
        for (number, sealing) in self.sealings.iter().enumerate() {
            if sealing.done {
                continue;
            }
            let (spec, edges) = match sealing.what {
                Sealed::Part(part) => (ViewSpec::whole(part), false),
                Sealed::Edges { .. } => (ViewSpec::whole(SplitPart::Train), true),
            };
            let whom = Forgets {
                users: self.without.clone(),
                edges,
            };
            // Values below 0 stay: a later update may bring what they are taken off.
            let left_out = (false, &whom);
            let (id, name) = (StepId(number as u64), "compact".to_owned());
            let step = step(id, name, &self.data, &spec, left_out, &sealing.units);
            turn.steps.push(step);
        }
        turn.finished = turn.steps.is_empty();
        Ok(turn)
    }

    fn completed(&mut self, step: StepId, reduced: Reduced) -> Result<Turn, ProgramError> {
        let taken = collected(reduced).and_then(|reports| self.take(step.0 as usize, reports));
        taken.map_err(refuse)?;
        Ok(Turn {
            finished: self.is_done(),
            ..Turn::default()
        })
    }

    fn encode(&self) -> Vec<u8> {
        Vec::new()
    }

    fn restore(&mut self, _state: Option<&[u8]>) -> Result<(), ProgramError> {
        *self = Compact::without(self.data.clone(), self.without.clone());
        Ok(())
    }
}
