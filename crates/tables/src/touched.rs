//! The view of the users that the last updates touched: all that each of them has, and nothing of anybody else. By users
//! alone: what is solved from it are their rows.

use crate::error::TablesError;
use crate::ingest::{collected, refuse};
use crate::op::{self, Forgets, RowsKept, SealReport};
use crate::view::{step, units};
use tensor::{
    DataSet, Mode, PartitionRef, Partitions, Program, ProgramError, Reduced, StepId, Turn, ViewSpec,
};

/// The view as a program of one step.
pub struct Touched {
    data: DataSet,
    spec: ViewSpec,
    /// The first delta that counts.
    since: usize,
    view: Option<Partitions>,
}

impl Touched {
    /// Of those whom deltas from `since` on touch, cut as `spec` says.
    pub fn new(data: DataSet, spec: ViewSpec, since: usize) -> Self {
        Touched {
            data,
            spec,
            since,
            view: None,
        }
    }

    /// The partitions by users, once the program is finished.
    pub fn into_view(self) -> Option<Partitions> {
        self.view
    }
}

impl Program for Touched {
    fn start(&mut self) -> Result<Turn, ProgramError> {
        let mut units = units(&self.data, self.spec.part);
        units.retain(|unit| unit.orientation == Mode::User);
        for unit in &mut units {
            let new = self.data.deltas.iter().skip(self.since);
            let touching = new.filter(|delta| delta.user_major.contains_key(&unit.block));
            unit.rows_kept = RowsKept::OfLast(touching.count() as u32);
        }
        let (name, whom) = ("touched".to_owned(), Forgets::default());
        let left_out = (self.data.nets, &whom);
        let step = step(StepId(0), name, &self.data, &self.spec, left_out, &units);
        Ok(Turn {
            steps: vec![step],
            ..Turn::default()
        })
    }

    fn completed(&mut self, _step: StepId, reduced: Reduced) -> Result<Turn, ProgramError> {
        let gathered = collected(reduced).and_then(|reports| {
            let (mut user_major, mut netted) = (Vec::<PartitionRef>::new(), 0);
            for report in reports {
                let report: SealReport = op::decode(&report)?;
                user_major.extend(report.partitions);
                netted += report.netted;
            }
            if user_major.len() != self.data.user.grid.rows.len() {
                return Err(TablesError::Malformed("a partition is missing"));
            }
            Ok(Partitions {
                interactions: user_major.iter().map(|one| one.interactions).sum(),
                user_major,
                product_major: Vec::new(),
                netted,
            })
        });
        self.view = Some(gathered.map_err(refuse)?);
        Ok(Turn {
            finished: true,
            ..Turn::default()
        })
    }

    fn encode(&self) -> Vec<u8> {
        Vec::new()
    }

    fn restore(&mut self, _state: Option<&[u8]>) -> Result<(), ProgramError> {
        self.view = None;
        Ok(())
    }
}
