//! The laws of a run as small checkers, fed by whoever watches one. Each says why it holds and is tested
//! on planted breaches below.

use crate::inline::reduce;
use depot::{Body, Manifest};
use std::collections::{BTreeMap, BTreeSet};
use tensor::{Digest, ObjectKey, PartialSpec, Reduced, Step, StepId, TaskId, WorkerId};

/// A law was broken: what was seen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Breach(String);

fn breach<T>(sentence: String) -> Result<T, Breach> {
    Err(Breach(sentence))
}

/// **No key ever has two contents.** Replays, copies and durable copies of one key are interchangeable
/// only because of this.
#[derive(Debug, Default)]
pub struct Contents(BTreeMap<(ObjectKey, String), Digest>);

impl Contents {
    /// Somebody saw this part of an object.
    ///
    /// # Errors
    /// Where it was seen with other bytes before.
    pub fn saw(&mut self, key: ObjectKey, part: String, bytes: &[u8]) -> Result<(), Breach> {
        self.is(key, part, Digest(*blake3::hash(bytes).as_bytes()))
    }

    /// Somebody sealed the object under this hash.
    ///
    /// # Errors
    /// As [`Contents::saw`].
    pub fn is(&mut self, key: ObjectKey, part: String, found: Digest) -> Result<(), Breach> {
        let known = *self.0.entry((key, part)).or_insert(found);
        if known == found {
            Ok(())
        } else {
            breach(format!("{key} was {known} and is {found}"))
        }
    }

    /// Parts seen.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing was seen.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// **Each task's result is taken once per step**, whatever was assigned again, came late or came twice;
/// what is reduced is what one worker each reported.
#[derive(Debug, Default)]
pub struct Results {
    /// How often a worker was given a task under an attempt, less how often it reported it.
    owed: BTreeMap<(WorkerId, TaskId, u32), u32>,
    /// Attempts of the present course.
    attempts: BTreeSet<(TaskId, u32)>,
    partials: BTreeMap<TaskId, Vec<u8>>,
    /// Steps of the present course that are not whole.
    open: BTreeMap<StepId, (usize, PartialSpec)>,
}

impl Results {
    /// A task was sent to a worker.
    ///
    /// # Errors
    /// Where it was sent before under this attempt: a late result could be taken for a new one.
    pub fn assigned(&mut self, to: WorkerId, task: TaskId, attempt: u32) -> Result<(), Breach> {
        if !self.attempts.insert((task, attempt)) {
            return breach(format!(
                "task {task} was assigned twice as attempt {attempt}"
            ));
        }
        *self.owed.entry((to, task, attempt)).or_default() += 1;
        Ok(())
    }

    /// A task was asked back from a worker.
    ///
    /// # Errors
    /// Where the worker was never sent it: it has no answer, and the plan would wait for one for ever.
    pub fn revoked(&self, from: WorkerId, task: TaskId, attempt: u32) -> Result<(), Breach> {
        if self.owed.contains_key(&(from, task, attempt)) {
            return Ok(());
        }
        breach(format!(
            "task {task} ({attempt}) is asked back from {from}, which was never sent it"
        ))
    }

    /// A worker reported a result.
    ///
    /// # Errors
    /// Where it was not asked for, was reported before, or differs from that of another attempt.
    pub fn done(
        &mut self,
        by: WorkerId,
        task: TaskId,
        attempt: u32,
        partial: &[u8],
    ) -> Result<(), Breach> {
        match self.owed.get_mut(&(by, task, attempt)) {
            Some(owed) if *owed > 0 => *owed -= 1,
            _ => {
                return breach(format!(
                    "{by} reports task {task} ({attempt}), which it does not owe"
                ));
            }
        }
        let known = self
            .partials
            .entry(task)
            .or_insert_with(|| partial.to_vec());
        if known != partial {
            return breach(format!(
                "two attempts of task {task} gave different results"
            ));
        }
        Ok(())
    }

    /// The program yielded a step.
    pub fn submitted(&mut self, step: &Step) {
        self.open.insert(step.id, (step.tasks.len(), step.partial));
    }

    /// The program went back: what it yielded is void, and attempts are counted anew.
    pub fn restarted(&mut self) {
        self.open.clear();
        self.attempts.clear();
    }

    /// Another coordinator leads, in sessions of its own. It numbers the steps that no program yields, of the upper
    /// half, anew; what tasks of a program report is the same for ever.
    pub fn replaced(&mut self) {
        self.restarted();
        self.owed.clear();
        self.partials.retain(|task, _| task.step.0 >> 63 == 0);
    }

    /// The program was told that a step is whole.
    ///
    /// # Errors
    /// Where it is told twice, a task has no result, or a result was taken twice, not at all, or in another
    /// order than the law's tree.
    pub fn completed(&mut self, step: StepId, reduced: &Reduced) -> Result<(), Breach> {
        let Some((tasks, spec)) = self.open.remove(&step) else {
            return breach(format!("step {} is whole without being open", step.0));
        };
        let mut partials = Vec::new();
        for index in 0..tasks as u32 {
            match self.partials.get(&TaskId { step, index }) {
                Some(partial) => partials.push(partial.clone()),
                None => return breach(format!("step {} is whole without task {index}", step.0)),
            }
        }
        let expected = reduce(spec, partials);
        if expected == *reduced {
            Ok(())
        } else {
            breach(format!(
                "step {} came to {reduced:?}, not {expected:?}",
                step.0
            ))
        }
    }
}

/// **There is one chain of manifests and its terms rise**: a coordinator that was replaced cannot write, and
/// whoever resumes goes on from the newest.
///
/// # Errors
/// The first link that does not fit.
pub fn chain(manifests: &[(Manifest, Digest)]) -> Result<(), Breach> {
    let (mut term, mut epoch, mut before) = (0, 0, None);
    for ((manifest, hash), number) in manifests.iter().zip(1..) {
        if manifest.number != number || manifest.predecessor != before {
            return breach(format!(
                "manifest {number} does not follow from the one before"
            ));
        }
        let claims = matches!(manifest.body, Body::Term { .. });
        if (claims && manifest.term <= term) || (!claims && manifest.term != term) {
            return breach(format!(
                "manifest {number} is of term {} after term {term}",
                manifest.term
            ));
        }
        if let Body::Checkpoint(checkpoint) = &manifest.body {
            if checkpoint.epoch <= epoch {
                return breach(format!("manifest {number} goes back to epoch {epoch}"));
            }
            epoch = checkpoint.epoch;
        }
        (term, before) = (manifest.term, Some(*hash));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stir::Stir;
    use tensor::{BlockId, Program, TableId};

    const KEY: ObjectKey = ObjectKey::Block {
        table: TableId(0),
        block: BlockId(3),
        version: 7,
    };

    #[test]
    fn a_second_content_of_a_key_is_seen() {
        let mut contents = Contents::default();
        contents.saw(KEY, "whole".into(), b"one").unwrap();
        contents.saw(KEY, "whole".into(), b"one").unwrap();
        contents.saw(KEY, "row 1".into(), b"other").unwrap();
        assert!(contents.saw(KEY, "whole".into(), b"two").is_err());
    }

    /// A step of twelve sums and what its tasks report.
    fn sums() -> (Results, Step) {
        let step = Stir::new(1).start().unwrap().steps.remove(2);
        let mut results = Results::default();
        results.submitted(&step);
        (results, step)
    }

    fn report(results: &mut Results, step: &Step) -> Result<(), Breach> {
        for task in &step.tasks {
            results.assigned(WorkerId(0), task.id, 0)?;
            results.done(WorkerId(0), task.id, 0, &1.5_f64.to_le_bytes())?;
        }
        Ok(())
    }

    #[test]
    fn a_result_that_is_taken_twice_or_not_at_all_is_seen() {
        for (sum, sound) in [(18.0, true), (19.5, false), (16.5, false)] {
            let (mut results, step) = sums();
            report(&mut results, &step).unwrap();
            let told = results.completed(step.id, &Reduced::Sum(vec![sum]));
            assert_eq!(told.is_ok(), sound, "{sum}");
            let again = results.completed(step.id, &Reduced::Sum(vec![sum]));
            assert!(again.is_err(), "a step is told once");
        }
        let (mut results, step) = sums();
        assert!(
            results
                .completed(step.id, &Reduced::Sum(vec![18.0]))
                .is_err()
        );
    }

    #[test]
    fn reports_that_nobody_asked_for_or_that_differ_are_seen() {
        let (mut results, step) = sums();
        let task = step.tasks[0].id;
        let (one, two) = (WorkerId(1), WorkerId(2));
        results.assigned(one, task, 0).unwrap();
        assert!(
            results.assigned(two, task, 0).is_err(),
            "one attempt, two workers"
        );
        assert!(results.done(two, task, 0, b"a").is_err());
        assert!(results.done(one, task, 1, b"a").is_err());
        results.done(one, task, 0, b"a").unwrap();
        assert!(results.done(one, task, 0, b"a").is_err());
        results.revoked(one, task, 0).unwrap();
        assert!(results.revoked(two, task, 0).is_err());
        assert!(results.revoked(one, task, 1).is_err());
        results.assigned(two, task, 1).unwrap();
        assert!(results.done(two, task, 1, b"b").is_err());
    }

    fn manifests() -> Vec<(Manifest, Digest)> {
        let checkpoint = |epoch| {
            Body::Checkpoint(depot::Checkpoint {
                run: Digest([1; 32]),
                epoch,
                program: "stir".into(),
                state: Vec::new(),
                objects: Vec::new(),
                finished: false,
            })
        };
        let claim = Body::Term { run: None };
        [
            (1, claim.clone()),
            (1, checkpoint(1)),
            (2, claim),
            (2, checkpoint(3)),
        ]
        .into_iter()
        .zip(1..)
        .map(|((term, body), number)| {
            let predecessor = (number > 1).then(|| Digest([number as u8 - 1; 32]));
            let manifest = Manifest {
                number,
                term,
                predecessor,
                body,
            };
            (manifest, Digest([number as u8; 32]))
        })
        .collect()
    }

    #[test]
    fn a_fork_a_gap_an_old_term_and_an_old_epoch_are_seen() {
        chain(&manifests()).unwrap();
        type Plant = fn(&mut Vec<(Manifest, Digest)>);
        let plants: [Plant; 5] = [
            |chain| _ = chain.remove(1),
            |chain| chain[2].0.predecessor = Some(Digest([9; 32])),
            |chain| chain[3].0.term = 1,
            |chain| chain[2].0.term = 1,
            |chain| {
                let Body::Checkpoint(checkpoint) = &mut chain[3].0.body else {
                    panic!("a checkpoint")
                };
                checkpoint.epoch = 1;
            },
        ];
        for plant in plants {
            let mut planted = manifests();
            plant(&mut planted);
            assert!(chain(&planted).is_err());
        }
    }
}
