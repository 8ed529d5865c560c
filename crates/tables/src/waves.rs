//! Ingest in waves: the tasks of a phase are handed out as steps of some tasks each, all at once, and what is done of them is a state
//! from which a new program goes on.
//!
//! **Invariant:** the cut into waves follows from the number of tasks alone, and no byte of the data set from the cut.

use crate::error::TablesError;
use crate::ingest::{
    DICTIONARY, Ingest, PRODUCT_MAJOR, RECORDS, SCAN, SEAL, SHUFFLE, USER_MAJOR, collected, key,
    refuse,
};
use crate::op::{self, DictionaryReport, SealReport};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tensor::{
    Checkpoint, KeyRange, Program, ProgramError, Reduced, SealedRef, Step, StepId, TableId, Task,
    TaskId, Turn,
};

/// Waves of a phase, about: each is a place to go on at, and costs a barrier to nobody.
const WAVES: usize = 16;
/// The fewest tasks of a wave.
const WAVE_TASKS_MIN: usize = 8;
/// The most: so much is done again after a fall.
const WAVE_TASKS_MAX: usize = 256;

/// The version of [`State`].
const VERSION: u32 = 1;

/// What the waves returned that are done: by phase and wave, the partials of the tasks.
type Done = BTreeMap<(u64, u64), Vec<Vec<u8>>>;

/// How far an ingest is.
#[derive(Default)]
pub(crate) struct Course {
    phase: u64,
    done: Done,
    /// Of each phase that was begun, how many waves it has, and how many tasks each of them but the last.
    cuts: BTreeMap<u64, (u64, usize)>,
    /// What the shuffle reads goes with the first wave of the phase behind it: a checkpoint in its midst reads it, too.
    held: Vec<KeyRange>,
    /// What the seal reads, each for itself: once the partitions of users are made, their runs need no room.
    sealed_from: Vec<Readers>,
}

/// The waves that read a range.
struct Readers {
    range: KeyRange,
    waves: Vec<u64>,
    /// With this one done it goes, as soon as the others are done, too.
    last: u64,
}

/// A course as bytes.
#[derive(Serialize, Deserialize)]
struct State {
    version: u32,
    done: Done,
}

fn decoded(state: &[u8]) -> Result<Done, TablesError> {
    let foreign = TablesError::Malformed("a state of ingest of another version");
    match op::decode::<State>(state) {
        Ok(State {
            version: VERSION,
            done,
        }) => Ok(done),
        _ => Err(foreign),
    }
}

impl Course {
    fn waves(&self, phase: StepId) -> u64 {
        self.cuts.get(&phase.0).map_or(0, |(waves, _)| *waves)
    }

    /// The step of a wave: those of the phases before come first.
    fn step(&self, phase: StepId, wave: u64) -> StepId {
        let before = self.cuts.range(..phase.0);
        StepId(before.map(|(_, (waves, _))| waves).sum::<u64>() + wave)
    }

    fn is_done(&self, phase: StepId, wave: u64) -> bool {
        self.done.contains_key(&(phase.0, wave))
    }

    fn is_whole(&self, phase: StepId) -> bool {
        (0..self.waves(phase)).all(|wave| self.is_done(phase, wave))
    }

    /// What the tasks of a phase that is whole returned, in their order.
    pub(crate) fn partials(&self, phase: StepId) -> Vec<Vec<u8>> {
        let done = self.done.range((phase.0, 0)..(phase.0 + 1, 0));
        done.flat_map(|(_, partials)| partials.clone()).collect()
    }

    fn tasks(&self) -> u32 {
        self.done.values().map(|of| of.len() as u32).sum()
    }

    /// Cuts a phase, and gives the waves of it that are not done.
    fn cut(&mut self, phase: StepId, step: Step) -> Vec<Step> {
        let tasks = step.tasks.len();
        let size = (tasks / WAVES).clamp(WAVE_TASKS_MIN, WAVE_TASKS_MAX);
        let count = tasks.div_ceil(size) as u64;
        self.cuts.insert(phase.0, (count, size));
        let mut rest = step.tasks.into_iter();
        let mut waves = Vec::new();
        if phase == SEAL {
            self.sealed_from = step.frees.iter().map(|&range| Readers::of(range)).collect();
        }
        for wave in 0..count {
            let id = self.step(phase, wave);
            let mut tasks: Vec<Task> = rest.by_ref().take(size).collect();
            let done = self.is_done(phase, wave);
            for readers in &mut self.sealed_from {
                readers.wave(wave, done, &tasks);
            }
            if done {
                continue;
            }
            for (index, task) in (0..).zip(&mut tasks) {
                task.id = TaskId { step: id, index };
            }
            waves.push(Step {
                id,
                name: step.name.clone(),
                tasks,
                partial: step.partial,
                frees: Vec::new(),
            });
        }
        if let Some(first) = waves.first_mut() {
            first.frees.append(&mut self.held);
        }
        match phase {
            SHUFFLE => self.held = step.frees,
            SEAL => {
                for readers in &self.sealed_from {
                    let id = self.step(phase, readers.last);
                    let last = waves.iter_mut().find(|wave| wave.id == id);
                    if let Some(last) = last {
                        last.frees.push(readers.range);
                    }
                }
            }
            _ => {
                if let Some(last) = waves.last_mut() {
                    last.frees.extend(step.frees);
                }
            }
        }
        waves
    }

    /// What the seal still reads; nothing where some of it may be gone although a wave that reads it is not done.
    fn to_be_sealed(&self) -> Option<Vec<KeyRange>> {
        let mut ranges = Vec::new();
        for readers in &self.sealed_from {
            let waiting = readers.waves.iter().any(|wave| !self.is_done(SEAL, *wave));
            if waiting && self.is_done(SEAL, readers.last) {
                return None;
            }
            ranges.extend(waiting.then_some(readers.range));
        }
        Some(ranges)
    }

    /// The splits whose wave of a phase is done, or is not: first ones and counts.
    fn splits(&self, phase: StepId, done: bool, all: u32) -> Vec<(u32, u32)> {
        let size = self.cuts.get(&phase.0).map_or(1, |(_, size)| *size as u32);
        let waves = (0..).zip((0..all).step_by(size as usize));
        let waves = waves.filter(|(wave, _)| self.is_done(phase, *wave) == done);
        waves
            .map(|(_, first)| (first, size.min(all - first)))
            .collect()
    }
}

impl Readers {
    fn of(range: KeyRange) -> Self {
        Readers {
            range,
            waves: Vec::new(),
            last: 0,
        }
    }

    /// Takes note of a wave. The last one that is not done lets the range go.
    fn wave(&mut self, wave: u64, done: bool, tasks: &[Task]) {
        let reads = |task: &Task| task.reads.iter().any(|read| read.keys == self.range);
        if !tasks.iter().any(reads) {
            return;
        }
        self.waves.push(wave);
        if !done {
            self.last = wave;
        }
    }
}

impl Ingest {
    /// The steps that are to be done now: of the first phase that is not whole.
    fn go_on(&mut self, first: StepId) -> Result<Turn, TablesError> {
        let mut phase = first;
        loop {
            let step = self.step_of(phase)?;
            let steps = self.course.cut(phase, step);
            self.course.phase = phase.0;
            if !steps.is_empty() {
                return Ok(Turn {
                    steps,
                    ..Turn::default()
                });
            }
            if phase == SEAL {
                return self.after_seal(self.course.partials(SEAL));
            }
            phase = StepId(phase.0 + 1);
        }
    }

    fn done(&mut self, step: StepId, reduced: Reduced) -> Result<Turn, TablesError> {
        let phase = StepId(self.course.phase);
        let first = self.course.step(phase, 0);
        let wave = step.0.wrapping_sub(first.0);
        if wave >= self.course.waves(phase) {
            return Err(TablesError::Malformed("a step that ingest did not ask for"));
        }
        let partials = collected(reduced)?;
        self.course.done.insert((phase.0, wave), partials);
        let mut turn = match phase {
            _ if !self.course.is_whole(phase) => Turn::default(),
            SEAL => self.after_seal(self.course.partials(SEAL))?,
            _ => self.go_on(StepId(phase.0 + 1))?,
        };
        if !turn.finished {
            turn.checkpoint = self.checkpoint();
        }
        Ok(turn)
    }

    fn checkpoint(&self) -> Option<Checkpoint> {
        let course = &self.course;
        let all = self.splits();
        let blocks = |table: TableId, splits: &[(u32, u32)]| -> Vec<KeyRange> {
            let range = |&(first, count): &(u32, u32)| KeyRange::Blocks {
                table,
                first,
                count,
                version: 0,
            };
            splits.iter().map(range).collect()
        };
        let mut objects = Vec::new();
        match StepId(course.phase) {
            phase @ (SCAN | DICTIONARY) => {
                let whole = [(0, all)];
                let scanned = course.splits(SCAN, true, all);
                let scanned = if phase == SCAN { &scanned[..] } else { &whole };
                let tables = self.scan_tables().into_iter();
                objects.extend(tables.flat_map(|table| blocks(table, scanned)));
            }
            SHUFFLE => {
                let waiting = course.splits(SHUFFLE, false, all);
                objects.extend(blocks(RECORDS, &waiting));
                let modes = self.modes().into_iter();
                objects.extend(modes.map(|ids| KeyRange::One(key(ids.rows, 0))));
                let shuffled = course.splits(SHUFFLE, true, all);
                for table in [USER_MAJOR, PRODUCT_MAJOR] {
                    objects.extend(blocks(table, &shuffled));
                }
            }
            _ => objects = course.to_be_sealed()?,
        }
        Some(Checkpoint {
            epoch: course.tasks(),
            state: self.encode(),
            objects,
        })
    }

    /// The objects of the data set that a state has put already: who goes on from it needs them.
    ///
    /// # Errors
    /// Where the state is none of this version of the engine.
    pub fn put_by(state: &[u8]) -> Result<Vec<SealedRef>, TablesError> {
        let mut found = Vec::new();
        for ((phase, _), partials) in decoded(state)? {
            for partial in &partials {
                match StepId(phase) {
                    DICTIONARY => found.extend(op::decode::<DictionaryReport>(partial)?.blocks),
                    SEAL => {
                        let report: SealReport = op::decode(partial)?;
                        found.extend(report.partitions.iter().map(|one| one.object));
                    }
                    _ => {}
                }
            }
        }
        Ok(found)
    }
}

impl Program for Ingest {
    fn start(&mut self) -> Result<Turn, ProgramError> {
        self.go_on(SCAN).map_err(refuse)
    }

    fn completed(&mut self, step: StepId, reduced: Reduced) -> Result<Turn, ProgramError> {
        self.done(step, reduced).map_err(refuse)
    }

    fn encode(&self) -> Vec<u8> {
        op::encode(&State {
            version: VERSION,
            done: self.course.done.clone(),
        })
    }

    fn restore(&mut self, state: Option<&[u8]>) -> Result<(), ProgramError> {
        self.forget();
        if let Some(state) = state {
            self.course.done = decoded(state).map_err(refuse)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tensor::{PartialSpec, Read};

    fn range(table: TableId) -> KeyRange {
        KeyRange::Blocks {
            table,
            first: 0,
            count: 3,
            version: 0,
        }
    }

    /// A seal of 32 tasks, the first 20 of users: waves of eight, of which the third reads both.
    fn seal() -> Step {
        let task = |index: u32| Task {
            id: TaskId { step: SEAL, index },
            op: tensor::Op::persist(),
            reads: vec![Read::rows(range(if index < 20 {
                USER_MAJOR
            } else {
                PRODUCT_MAJOR
            }))],
            writes: Vec::new(),
            after: Vec::new(),
            chain: None,
            cost: 1,
        };
        Step {
            id: SEAL,
            name: "seal".to_owned(),
            tasks: (0..32).map(task).collect(),
            partial: PartialSpec::Collect,
            frees: [USER_MAJOR, PRODUCT_MAJOR].map(range).to_vec(),
        }
    }

    fn freed(waves: &[Step]) -> Vec<(u64, Vec<KeyRange>)> {
        let waves = waves.iter().filter(|wave| !wave.frees.is_empty());
        waves.map(|wave| (wave.id.0, wave.frees.clone())).collect()
    }

    #[test]
    fn runs_go_with_the_last_wave_that_reads_them() {
        let [users, products] = [USER_MAJOR, PRODUCT_MAJOR].map(range);
        let mut course = Course::default();
        let waves = course.cut(SEAL, seal());
        assert_eq!(freed(&waves), [(2, vec![users]), (3, vec![products])]);
        let mut expect = |done: u64, ranges: Option<&[KeyRange]>| {
            course.done.insert((SEAL.0, done), Vec::new());
            assert_eq!(course.to_be_sealed().as_deref(), ranges, "after {done}");
        };
        expect(0, Some(&[users, products]));
        // What the second wave reads may be gone at any time: no state to go on from.
        expect(2, None);
        expect(1, Some(&[products]));
        expect(3, Some(&[]));
    }

    #[test]
    fn who_goes_on_lets_go_with_the_last_wave_that_is_left() {
        let [users, products] = [USER_MAJOR, PRODUCT_MAJOR].map(range);
        let mut course = Course::default();
        course.done.insert((SEAL.0, 2), Vec::new());
        let waves = course.cut(SEAL, seal());
        assert_eq!(freed(&waves), [(1, vec![users]), (3, vec![products])]);
        assert_eq!(course.to_be_sealed(), Some(vec![users, products]));
        // Those of users are sealed, and their runs are no longer there.
        let mut course = Course::default();
        for wave in 0..3 {
            course.done.insert((SEAL.0, wave), Vec::new());
        }
        let waves = course.cut(SEAL, seal());
        assert_eq!(freed(&waves), [(3, vec![products])]);
    }
}
