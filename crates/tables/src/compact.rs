//! Compaction: the partitions of blocks that updates touched are sealed anew, each with its deltas merged in, and those that
//! do not know of later rows. What a view reads stays the same to the bit, so the data set keeps its lineage.

use crate::error::TablesError;
use crate::ingest::{collected, refuse};
use crate::op::{self, SealReport, ViewUnit};
use crate::view::{step, units};
use tensor::{
    DataSet, Mode, PartitionRef, Partitions, Program, ProgramError, Reduced, SplitPart, StepId,
    Turn, ViewSpec,
};

/// The compaction of a data set, a step for each part that needs one.
pub struct Compact {
    data: DataSet,
    /// What is sealed anew of each part, and whether it is done.
    parts: Vec<(SplitPart, Vec<ViewUnit>, bool)>,
}

impl Compact {
    /// Of a data set.
    pub fn new(data: DataSet) -> Self {
        let of_part = |(part, _): &(SplitPart, Partitions)| {
            let stale =
                |unit: &ViewUnit| !matches!(&unit.sources[..], [only] if only.rows == unit.rows);
            let units: Vec<ViewUnit> = units(&data, *part).into_iter().filter(stale).collect();
            let done = units.is_empty();
            (*part, units, done)
        };
        let parts = data.parts.iter().map(of_part).collect();
        Compact { data, parts }
    }

    /// Partitions that are sealed anew.
    pub fn partitions(&self) -> usize {
        self.parts.iter().map(|(_, units, _)| units.len()).sum()
    }

    /// The data set without deltas, once the program is finished.
    pub fn into_data_set(self) -> Option<DataSet> {
        let done = self.parts.iter().all(|(.., done)| *done);
        done.then_some(DataSet {
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
        let (_, units, done) = &mut self.parts[number];
        if sealed.len() != units.len() {
            return Err(TablesError::Malformed("a partition is missing"));
        }
        let (_, partitions) = &mut self.data.parts[number];
        for (unit, sealed) in units.iter().zip(sealed) {
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
        *done = true;
        Ok(())
    }
}

impl Program for Compact {
    fn start(&mut self) -> Result<Turn, ProgramError> {
        let mut turn = Turn::default();
        for (number, (part, units, done)) in self.parts.iter().enumerate() {
            if !done {
                let spec = ViewSpec::whole(*part);
                // Values below 0 stay: a later update may bring what they are taken off.
                let nets = false;
                let id = StepId(number as u64);
                let name = "compact".to_owned();
                turn.steps
                    .push(step(id, name, &self.data, &spec, nets, units));
            }
        }
        turn.finished = turn.steps.is_empty();
        Ok(turn)
    }

    fn completed(&mut self, step: StepId, reduced: Reduced) -> Result<Turn, ProgramError> {
        let taken = collected(reduced).and_then(|reports| self.take(step.0 as usize, reports));
        taken.map_err(refuse)?;
        Ok(Turn {
            finished: self.parts.iter().all(|(.., done)| *done),
            ..Turn::default()
        })
    }

    fn encode(&self) -> Vec<u8> {
        Vec::new()
    }

    fn restore(&mut self, _state: Option<&[u8]>) -> Result<(), ProgramError> {
        *self = Compact::new(self.data.clone());
        Ok(())
    }
}
