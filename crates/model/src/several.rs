//! Small tasks of a step as one: where a block has little to compute, handing its task out, waking threads for it and telling that it
//! is done take longer than the task. The tasks stay what they are; a worker runs those of one bundle side by side.
//!
//! **Invariant:** what is bundled follows from a step alone, and no task of it reads what another one writes.

use crate::op::Op;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Range;
use tensor::{KeyRange, ObjectKey, PartialSpec, Read, Reduced, Step, Task, TaskId};

/// What a bundle costs at most, in interactions: some milliseconds of one thread.
const MOST_COST: u64 = 100_000;

/// Tasks of a bundle at most, so that there is something for every worker.
const MOST_TASKS: usize = 16;

/// Tasks as one. Reads what they read, each range once, and neighbouring blocks of a table as one range: who hands tasks out keeps a
/// note of every range of a task that waits, and of 16 blocks of each of three tables that was most of its work. Writes what they write, one task's after the other's. Returns their
/// partials ([`told`]), or nothing where none of them returns one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Several {
    ops: Vec<tensor::Op>,
    parts: Vec<Part>,
}

/// One of the tasks, by places in what they share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Part {
    op: u32,
    reads: Vec<Place>,
    writes: u32,
}

/// A read of a task among those of its bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    at: u32,
    /// Which block of that read, counted from its first; all of it where there is none.
    block: Option<u32>,
}

impl Place {
    fn read(self, reads: &[Read]) -> Option<Read> {
        let read = *reads.get(self.at as usize)?;
        let keys = match self.block {
            None => read.keys,
            Some(block) => KeyRange::One(read.keys.keys().nth(block as usize)?),
        };
        Some(Read { keys, ..read })
    }
}

/// The reads of a bundle in the making.
#[derive(Default)]
struct Reads {
    all: Vec<Read>,
    /// Where a range was put.
    places: BTreeMap<(KeyRange, bool), u32>,
    /// Where the last run of a table's blocks was put, by table and version.
    runs: BTreeMap<(u16, u64, bool), u32>,
}

impl Reads {
    fn place(&mut self, read: Read) -> Place {
        let next = self.all.len() as u32;
        let KeyRange::One(ObjectKey::Block {
            table,
            block,
            version,
        }) = read.keys
        else {
            let at = self.places.entry((read.keys, read.rows_only));
            let at = *at.or_insert(next);
            if at == next {
                self.all.push(read);
            }
            return Place { at, block: None };
        };
        let run = (table.0, version, read.rows_only);
        if let Some(&at) = self.runs.get(&run) {
            let keys = &mut self.all[at as usize].keys;
            let (first, count) = match *keys {
                KeyRange::One(ObjectKey::Block { block, .. }) => (block.0, 1),
                KeyRange::Blocks { first, count, .. } => (first, count),
                KeyRange::One(_) => unreachable!("a run is of blocks"),
            };
            if let Some(within) = block.0.checked_sub(first).filter(|&within| within <= count) {
                if within == count {
                    *keys = KeyRange::Blocks {
                        table,
                        first,
                        count: count + 1,
                        version,
                    };
                }
                let block = Some(within);
                return Place { at, block };
            }
        }
        self.runs.insert(run, next);
        self.all.push(read);
        Place {
            at: next,
            block: Some(0),
        }
    }
}

impl Several {
    fn of(tasks: &[Task], id: TaskId) -> Task {
        let mut several = Several {
            ops: Vec::new(),
            parts: Vec::with_capacity(tasks.len()),
        };
        let mut reads = Reads::default();
        for task in tasks {
            // Tasks of a kind follow each other.
            if several.ops.last() != Some(&task.op) {
                several.ops.push(task.op.clone());
            }
            let places = task.reads.iter().map(|&read| reads.place(read));
            several.parts.push(Part {
                op: several.ops.len() as u32 - 1,
                reads: places.collect(),
                writes: task.writes.len() as u32,
            });
        }
        Task {
            id,
            op: Op::Several(several).encode(),
            reads: reads.all,
            writes: tasks.iter().flat_map(|task| task.writes.clone()).collect(),
            after: Vec::new(),
            chain: None,
            cost: tasks.iter().map(|task| task.cost).sum(),
        }
    }

    /// How many they are.
    pub fn len(&self) -> usize {
        self.parts.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// The tasks of a bundle, under its own id; none where the bundle does not read or write what they do.
    pub fn tasks(&self, bundle: &Task) -> Option<Vec<Task>> {
        let mut written = 0;
        let tasks = self.parts.iter().map(|part| {
            let writes = written..written + part.writes as usize;
            written = writes.end;
            let reads = part.reads.iter().map(|place| place.read(&bundle.reads));
            Some(Task {
                id: bundle.id,
                op: self.ops.get(part.op as usize)?.clone(),
                reads: reads.collect::<Option<_>>()?,
                writes: bundle.writes.get(writes)?.to_vec(),
                after: Vec::new(),
                chain: None,
                cost: 1,
            })
        });
        let tasks = tasks.collect::<Option<_>>()?;
        (written == bundle.writes.len()).then_some(tasks)
    }
}

/// Partials of a bundle as they travel.
///
/// # Panics
/// Never: they are plain values.
pub fn encode(partials: &[Vec<u8>]) -> Vec<u8> {
    if partials.iter().all(Vec::is_empty) {
        return Vec::new();
    }
    postcard::to_stdvec(partials).expect("plain values")
}

/// The step with its small tasks bundled, in their order.
///
/// # Panics
/// Where tasks wait for others by name or are added up by their places: bundles have places of their own.
#[must_use]
pub fn bundled(mut step: Step) -> Step {
    assert!(step.partial != PartialSpec::Sum, "places count in a sum");
    let tasks = std::mem::take(&mut step.tasks);
    for range in ranges(&tasks) {
        let id = TaskId {
            step: step.id,
            index: step.tasks.len() as u32,
        };
        let some = &tasks[range];
        step.tasks.push(match some {
            [one] => Task { id, ..one.clone() },
            some => Several::of(some, id),
        });
    }
    step
}

fn ranges(tasks: &[Task]) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    let mut cost = 0;
    for (at, task) in tasks.iter().enumerate() {
        assert!(
            task.after.is_empty() && task.chain.is_none(),
            "a task that waits for none by name"
        );
        cost += task.cost;
        match ranges.last_mut() {
            Some(last) if last.len() < MOST_TASKS && cost <= MOST_COST => last.end = at + 1,
            _ => {
                ranges.push(at..at + 1);
                cost = task.cost;
            }
        }
    }
    ranges
}

/// How many tasks stand behind each of a step whose partials are kept; one where a task is not a bundle.
pub fn counts(step: &Step) -> Vec<usize> {
    let count = |task: &Task| match Op::decode(&task.op) {
        Ok(Op::Several(several)) => several.len(),
        _ => 1,
    };
    match step.partial {
        PartialSpec::Collect => step.tasks.iter().map(count).collect(),
        PartialSpec::None | PartialSpec::Sum => Vec::new(),
    }
}

/// Partials as if nothing had been bundled; `None` where they cannot be decoded.
pub fn told(counts: &[usize], reduced: Reduced) -> Option<Reduced> {
    let Reduced::Collect(partials) = reduced else {
        return Some(reduced);
    };
    let mut all = Vec::with_capacity(counts.iter().sum());
    for (partial, &count) in partials.into_iter().zip(counts) {
        if count == 1 {
            all.push(partial);
        } else if partial.is_empty() {
            all.resize(all.len() + count, Vec::new());
        } else {
            let some: Vec<Vec<u8>> = postcard::from_bytes(&partial).ok()?;
            all.extend((some.len() == count).then_some(some)?);
        }
    }
    Some(Reduced::Collect(all))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tensor::{BlockId, OpFamily, StepId, TableId};

    fn block(table: u16, block: u32) -> ObjectKey {
        ObjectKey::Block {
            table: TableId(table),
            block: BlockId(block),
            version: 7,
        }
    }

    /// A task a block: all read one table, and a block of their own.
    fn step(partial: PartialSpec, costs: &[u64]) -> Step {
        let id = StepId(3);
        let op = |name: &[u8]| tensor::Op {
            family: OpFamily::Model,
            version: 1,
            body: name.into(),
        };
        let all = KeyRange::Blocks {
            table: TableId(0),
            first: 0,
            count: 4,
            version: 7,
        };
        let tasks = costs.iter().zip(0..).map(|(&cost, index)| Task {
            id: TaskId { step: id, index },
            op: op(if index % 5 < 3 { b"users" } else { b"products" }),
            reads: vec![Read::rows(all), Read::whole(block(1, index))],
            writes: vec![block(2, index), block(3, index)],
            after: Vec::new(),
            chain: None,
            cost,
        });
        Step {
            id,
            name: "layer".to_owned(),
            tasks: tasks.collect(),
            partial,
            frees: Vec::new(),
        }
    }

    fn unbundled(step: &Step) -> Vec<Task> {
        let open = |task: &Task| match Op::decode(&task.op) {
            Ok(Op::Several(several)) => several.tasks(task).unwrap(),
            _ => vec![task.clone()],
        };
        step.tasks.iter().flat_map(open).collect()
    }

    #[test]
    fn bundles_hold_the_tasks_that_were_put_in() {
        let costs: Vec<u64> = (0..40)
            .map(|i| if i == 20 { MOST_COST + 1 } else { 5 })
            .collect();
        let plain = step(PartialSpec::None, &costs);
        let bundled = bundled(plain.clone());
        let sizes: Vec<u64> = bundled.tasks.iter().map(|task| task.cost).collect();
        assert_eq!(sizes, [80, 20, MOST_COST + 1, 80, 15]);
        for (task, index) in bundled.tasks.iter().zip(0..) {
            assert_eq!(task.id.index, index);
        }
        // The table that all read is named once, and so are their own blocks.
        let own = KeyRange::Blocks {
            table: TableId(1),
            first: 0,
            count: MOST_TASKS as u32,
            version: 7,
        };
        let reads = &bundled.tasks[0].reads;
        assert_eq!(reads.len(), 2);
        assert_eq!(reads[1], Read::whole(own));
        for (was, is) in plain.tasks.iter().zip(unbundled(&bundled)) {
            assert_eq!(
                (&was.op, &was.reads, &was.writes),
                (&is.op, &is.reads, &is.writes)
            );
        }
    }

    /// Blocks that do not follow one another, one that is read twice, and one of which one task wants rows alone.
    #[test]
    fn reads_that_are_no_runs_stay_apart() {
        let mut plain = step(PartialSpec::None, &[5; 6]);
        let own = [4, 5, 5, 9, 4, 10];
        for (task, own) in plain.tasks.iter_mut().zip(own) {
            task.reads[1] = Read::whole(block(1, own));
        }
        plain.tasks[5].reads.push(Read::rows(block(1, 10)));
        let bundled = bundled(plain.clone());
        let [bundle] = &bundled.tasks[..] else {
            panic!("small tasks are a bundle");
        };
        let count = |read: &Read| read.keys.keys().count();
        let counts: Vec<usize> = bundle.reads.iter().map(count).collect();
        // All of the table; 4 and 5; 9; 4 again; 10; 10 by rows.
        assert_eq!(counts, [4, 2, 1, 1, 1, 1]);
        for (was, is) in plain.tasks.iter().zip(unbundled(&bundled)) {
            assert_eq!(was.reads, is.reads);
        }
    }

    #[test]
    fn partials_come_as_if_nothing_had_been_bundled() {
        let bundled = bundled(step(PartialSpec::Collect, &[5; 35]));
        let counts = counts(&bundled);
        assert_eq!(counts, [16, 16, 3]);
        let told_by = |index: u8| {
            if index.is_multiple_of(3) {
                Vec::new()
            } else {
                vec![index; 2]
            }
        };
        let all: Vec<Vec<u8>> = (0..35).map(told_by).collect();
        let partials = [encode(&all[..16]), Vec::new(), encode(&all[32..])].to_vec();
        let mut expected = all.clone();
        expected[16..32].fill(Vec::new());
        assert_eq!(
            told(&counts, Reduced::Collect(partials)),
            Some(Reduced::Collect(expected))
        );
        let short = [encode(&all[..15]), Vec::new(), Vec::new()].to_vec();
        assert_eq!(told(&counts, Reduced::Collect(short)), None);
        assert_eq!(told(&[], Reduced::None), Some(Reduced::None));
    }

    #[test]
    fn a_bundle_that_lacks_a_key_has_no_tasks() {
        let bundled = bundled(step(PartialSpec::None, &[5; 4]));
        let [mut task] = <[Task; 1]>::try_from(bundled.tasks).unwrap();
        let Ok(Op::Several(several)) = Op::decode(&task.op) else {
            panic!("four small tasks are a bundle");
        };
        task.writes.pop();
        assert_eq!(several.tasks(&task), None);
    }
}
