//! A program of probes that has everything a real one has: two-block tiles under a partial order, sums
//! reduced by the plan and by tasks, row subsets, a chain, checkpoints and deliveries.
//!
//! **Invariant:** its arithmetic depends on the order of what is read, so that a wrong order, a lost or a
//! doubled result, or a stale block changes the bits of what it ends with.

use exec::Probe;
use std::collections::BTreeMap;
use tensor::{
    BlockId, Checkpoint, KeyRange, News, ObjectKey, PartialSpec, Program, ProgramError, Read,
    Reduced, Step, StepId, TableId, Task, TaskId, Turn,
};

/// Blocks of the table.
pub const BLOCKS: u32 = 6;
/// Rows of a block.
const ROWS: u32 = 40;
/// Values of a row.
const WIDTH: u32 = 8;
/// Tiles of an epoch: each block is in two, and the last three read what the first three wrote.
const TILES: [(u32, u32); 6] = [(0, 1), (2, 3), (4, 5), (1, 2), (3, 4), (5, 0)];
/// Steps of an epoch.
const STEPS: u64 = 4;
const STIRRED: TableId = TableId(0);
const CHAINED: TableId = TableId(1);

/// The program.
#[derive(Debug)]
pub struct Stir {
    epochs: u64,
    epoch: u64,
    /// What the steps of all epochs came to.
    pub sums: Vec<f64>,
    whole: BTreeMap<u64, Vec<f64>>,
}

fn block(table: TableId, block: u32, version: u64) -> ObjectKey {
    ObjectKey::Block {
        table,
        block: BlockId(block),
        version,
    }
}

fn all(table: TableId, version: u64) -> KeyRange {
    KeyRange::Blocks {
        table,
        first: 0,
        count: BLOCKS,
        version,
    }
}

/// Reads in order, and the writes.
type Task2 = (Probe, Vec<Read>, Vec<ObjectKey>);

fn step(id: u64, name: &str, partial: PartialSpec, tasks: Vec<Task2>) -> Step {
    let task = |(index, (probe, reads, writes)): (usize, Task2)| Task {
        id: TaskId {
            step: StepId(id),
            index: index as u32,
        },
        op: probe.op(),
        reads,
        writes,
        after: Vec::new(),
        chain: None,
        cost: 1 + index as u64,
    };
    Step {
        id: StepId(id),
        name: name.to_owned(),
        tasks: tasks.into_iter().enumerate().map(task).collect(),
        partial,
        frees: Vec::new(),
    }
}

impl Stir {
    /// So many epochs.
    pub fn new(epochs: u64) -> Self {
        Stir {
            epochs,
            epoch: 0,
            sums: Vec::new(),
            whole: BTreeMap::new(),
        }
    }

    fn fill() -> Step {
        let task = |at| {
            let fill = Probe::Fill {
                rows: ROWS,
                width: WIDTH,
                seed: u64::from(at),
            };
            (fill, Vec::new(), vec![block(STIRRED, at, 0)])
        };
        step(
            0,
            "fill",
            PartialSpec::None,
            (0..BLOCKS).map(task).collect(),
        )
    }

    fn tiles(id: u64, epoch: u64) -> Step {
        let from = 2 * (epoch - 1);
        let task = |(at, (a, b)): (usize, (u32, u32))| {
            let version = from + u64::from(at >= TILES.len() / 2);
            let both = |version| [a, b].map(|at| block(STIRRED, at, version));
            let reads = both(version).map(Read::whole).to_vec();
            (Probe::Tile, reads, both(version + 1).to_vec())
        };
        let tasks = TILES.into_iter().enumerate().map(task).collect();
        let mut tiles = step(id, "tiles", PartialSpec::None, tasks);
        // An order beyond that of the blocks.
        tiles.tasks[5].after = vec![tiles.tasks[3].id];
        tiles.frees = vec![all(STIRRED, from), all(STIRRED, from + 1)];
        tiles
    }

    fn block_sums(id: u64, epoch: u64) -> Step {
        let key = |at| block(STIRRED, at, 2 * epoch);
        let whole = (0..BLOCKS).map(|at| (Probe::Sum, vec![Read::whole(key(at))], Vec::new()));
        let some = Probe::SumRows {
            rows: ROWS,
            step: 3,
        };
        let rows = (0..BLOCKS).map(|at| (some, vec![Read::rows(key(at))], Vec::new()));
        step(id, "sums", PartialSpec::Sum, whole.chain(rows).collect())
    }

    fn tree(id: u64, epoch: u64) -> Step {
        let node = |level, index| ObjectKey::Partial {
            reduction: epoch,
            level,
            index,
        };
        let mixed = |reads: Vec<ObjectKey>, write| {
            let reads = reads.into_iter().map(Read::whole).collect();
            (Probe::Mix, reads, vec![write])
        };
        let leaf = |at| mixed(vec![block(STIRRED, at, 2 * epoch)], node(0, at));
        let pair = |at| mixed(vec![node(0, 2 * at), node(0, 2 * at + 1)], node(1, at));
        let mut tasks: Vec<Task2> = (0..BLOCKS).map(leaf).collect();
        tasks.extend((0..BLOCKS / 2).map(pair));
        tasks.push(mixed(
            (0..BLOCKS / 2).map(|at| node(1, at)).collect(),
            node(2, 0),
        ));
        let frees = tasks
            .iter()
            .map(|(_, _, writes)| writes[0].into())
            .collect();
        let mut tree = step(id, "tree", PartialSpec::Collect, tasks);
        tree.frees = frees;
        tree
    }

    fn chain(id: u64, epoch: u64) -> Step {
        let task = |at: u32| {
            let before = at.checked_sub(1).map(|at| block(CHAINED, at, epoch));
            let reads = before.into_iter().chain([block(STIRRED, at, 2 * epoch)]);
            let reads = reads.map(Read::whole).collect();
            (Probe::Mix, reads, vec![block(CHAINED, at, epoch)])
        };
        let mut chain = step(
            id,
            "chain",
            PartialSpec::Sum,
            (0..BLOCKS).map(task).collect(),
        );
        for task in &mut chain.tasks {
            task.chain = Some(epoch as u32);
        }
        chain.frees = vec![all(CHAINED, epoch)];
        chain
    }

    fn next_epoch(&self) -> Vec<Step> {
        let epoch = self.epoch + 1;
        let first = 1 + self.epoch * STEPS;
        vec![
            Self::tiles(first, epoch),
            Self::block_sums(first + 1, epoch),
            Self::tree(first + 2, epoch),
            Self::chain(first + 3, epoch),
        ]
    }
}

fn numbers(reduced: Reduced) -> Vec<f64> {
    match reduced {
        Reduced::None => Vec::new(),
        Reduced::Sum(sum) => sum,
        Reduced::Collect(partials) => partials
            .iter()
            .flat_map(|partial| partial.as_chunks().0)
            .map(|number| f64::from_le_bytes(*number))
            .collect(),
    }
}

impl Program for Stir {
    fn start(&mut self) -> Result<Turn, ProgramError> {
        let finished = self.epoch == self.epochs;
        let fill = (self.epoch == 0).then(Self::fill);
        let rest = if finished {
            Vec::new()
        } else {
            self.next_epoch()
        };
        Ok(Turn {
            steps: fill.into_iter().chain(rest).collect(),
            deliver: if finished {
                all(STIRRED, 2 * self.epochs).keys().collect()
            } else {
                Vec::new()
            },
            finished,
            ..Turn::default()
        })
    }

    fn completed(&mut self, step: StepId, reduced: Reduced) -> Result<Turn, ProgramError> {
        if step.0 == 0 {
            return Ok(Turn::default());
        }
        self.whole.insert(step.0, numbers(reduced));
        if self.whole.len() < STEPS as usize {
            return Ok(Turn::default());
        }
        self.sums
            .extend(std::mem::take(&mut self.whole).into_values().flatten());
        self.epoch += 1;
        let finished = self.epoch == self.epochs;
        let blocks = all(STIRRED, 2 * self.epoch);
        Ok(Turn {
            steps: if finished {
                Vec::new()
            } else {
                self.next_epoch()
            },
            news: vec![News::Epoch {
                epoch: self.epoch as u32,
                epochs: self.epochs as u32,
                objective: None,
                metrics: Vec::new(),
            }],
            deliver: if finished {
                blocks.keys().collect()
            } else {
                Vec::new()
            },
            checkpoint: Some(Checkpoint {
                epoch: self.epoch as u32,
                state: self.encode(),
                objects: vec![blocks],
            }),
            finished,
        })
    }

    fn encode(&self) -> Vec<u8> {
        let sums = self.sums.iter().map(|sum| sum.to_bits());
        std::iter::once(self.epoch)
            .chain(sums)
            .flat_map(u64::to_le_bytes)
            .collect()
    }

    fn restore(&mut self, state: Option<&[u8]>) -> Result<(), ProgramError> {
        let words = state.unwrap_or_default().as_chunks().0.iter();
        let mut words = words.map(|word| u64::from_le_bytes(*word));
        self.epoch = words.next().unwrap_or(0);
        self.sums = words.map(f64::from_bits).collect();
        self.whole.clear();
        Ok(())
    }
}
