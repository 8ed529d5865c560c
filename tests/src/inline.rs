//! Runs a program in one process and one thread of control, without plan, wire or shells: the oracle that
//! the distributed course of the same program is compared with, and the bed for tests of algorithms.

use exec::{Fetched, Held, Need, Output, Part, Room, Want, Work};
use plan::Failure;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use store::{AlignedBuf, Sealed};
use tensor::{
    Digest, KeyRange, News, ObjectKey, PartialSpec, Program, ProgramError, ReadAt, Reduced, Step,
    Task, Turn,
};

/// Opens a task; tests pass `exec::begin`.
pub type Begin = dyn Fn(&Task, &Room) -> Result<Box<dyn Work>, Failure>;

/// Why an inline run ended.
#[derive(Debug, thiserror::Error)]
pub enum InlineError {
    /// A task failed.
    #[error("{0}")]
    Task(#[from] Failure),
    /// The program gave up.
    #[error("{0}")]
    Program(#[from] ProgramError),
}

/// Everything that exists.
pub struct World {
    /// Block versions and reduction nodes.
    pub objects: BTreeMap<ObjectKey, Held>,
    /// What tasks put into depots, by content; a test may add sealed files of its own.
    pub sealed: BTreeMap<Digest, Sealed>,
    /// The input files of ingest.
    pub inputs: Vec<Arc<dyn ReadAt>>,
    /// What tasks run in.
    pub room: Room,
    /// All that the program told.
    pub news: Vec<News>,
    /// What the program delivered, in order.
    pub delivered: Vec<(ObjectKey, Vec<u8>)>,
    /// Pieces over all tasks.
    pub pieces: u64,
    /// Rows cut inside over all tasks.
    pub cut_rows: u64,
    /// Runs the tasks of each step from the last to the first where their inputs allow it.
    pub backwards: bool,
}

impl World {
    /// An empty world.
    pub fn new(room: Room) -> Self {
        World {
            objects: BTreeMap::new(),
            sealed: BTreeMap::new(),
            inputs: Vec::new(),
            room,
            news: Vec::new(),
            delivered: Vec::new(),
            pieces: 0,
            cut_rows: 0,
            backwards: false,
        }
    }

    /// Runs a program from `start` to `finished`.
    ///
    /// # Errors
    /// The first failure of a task or of the program.
    ///
    /// # Panics
    /// Where the program breaks a contract: reads what nobody wrote, or stops without finishing.
    pub fn run(&mut self, program: &mut dyn Program, begin: &Begin) -> Result<(), InlineError> {
        let mut queue = VecDeque::new();
        let mut finished = self.take(program.start()?, &mut queue);
        while let Some(step) = queue.pop_front() {
            let reduced = self.run_step(&step, begin)?;
            finished |= self.take(program.completed(step.id, reduced)?, &mut queue);
        }
        assert!(finished, "the program yields no step and is not finished");
        Ok(())
    }

    fn take(&mut self, turn: Turn, queue: &mut VecDeque<Step>) -> bool {
        self.news.extend(turn.news);
        for key in turn.deliver {
            let held = self
                .objects
                .remove(&key)
                .unwrap_or_else(|| panic!("{key} is delivered but was never made"));
            self.delivered.push((key, all_bytes(&held)));
        }
        queue.extend(turn.steps);
        turn.finished
    }

    /// Runs one step: its tasks in order, or backwards where inputs and `after` allow.
    fn run_step(&mut self, step: &Step, begin: &Begin) -> Result<Reduced, InlineError> {
        let mut partials = vec![Vec::new(); step.tasks.len()];
        let mut waiting: Vec<&Task> = step.tasks.iter().collect();
        if self.backwards {
            waiting.reverse();
        }
        while !waiting.is_empty() {
            let next = waiting.iter().position(|task| self.ready(task, &waiting));
            let task = waiting
                .remove(next.unwrap_or_else(|| panic!("no task of `{}` can start", step.name)));
            let output = self.run_task(task, begin)?;
            partials[task.id.index as usize] = output.partial;
        }
        for range in &step.frees {
            range.keys().for_each(|key| drop(self.objects.remove(&key)));
        }
        Ok(reduce(step.partial, partials))
    }

    fn ready(&self, task: &Task, waiting: &[&Task]) -> bool {
        let exists = |key: ObjectKey| {
            matches!(key, ObjectKey::Sealed { .. }) || self.objects.contains_key(&key)
        };
        let before =
            |other: &&Task| task.chain.is_some() && other.chain == task.chain && other.id < task.id;
        task.reads.iter().all(|read| read.keys.keys().all(exists))
            && task
                .after
                .iter()
                .all(|after| waiting.iter().all(|other| other.id != *after))
            && !waiting.iter().any(before)
    }

    fn run_task(&mut self, task: &Task, begin: &Begin) -> Result<Output, InlineError> {
        let mut work = begin(task, &self.room)?;
        while let Need::Fetch(wants) = work.next_need()? {
            let fetched = wants.iter().map(|want| self.fetch(want)).collect();
            work.compute(fetched)?;
        }
        let mut output = work.finish()?;
        let written: Vec<ObjectKey> = output.objects.iter().map(|(key, _)| *key).collect();
        assert_eq!(
            written, task.writes,
            "task {} wrote other keys than it declared",
            task.id
        );
        self.objects.extend(output.objects.drain(..));
        self.sealed.extend(
            output
                .puts
                .drain(..)
                .map(|put| (put.file.digest(), put.file)),
        );
        self.pieces += output.pieces;
        self.cut_rows += output.cut_rows;
        Ok(output)
    }

    fn fetch(&self, want: &Want) -> Fetched {
        match want {
            Want::Object(ObjectKey::Sealed { digest, .. }, Part::Whole) => Fetched::Sealed(
                self.sealed
                    .get(digest)
                    .unwrap_or_else(|| panic!("no sealed {digest}"))
                    .clone(),
            ),
            Want::Object(key, part) => {
                let held = self
                    .objects
                    .get(key)
                    .unwrap_or_else(|| panic!("{key} does not exist"));
                match part {
                    Part::Whole => Fetched::Held(held.clone()),
                    Part::Rows(rows) => {
                        Fetched::Rows(pack(held, rows.iter().map(|&row| u64::from(row))))
                    }
                    Part::Span(span) => Fetched::Rows(pack_span(held, span)),
                }
            }
            Want::Input(file, range) => {
                let mut bytes = vec![0; (range.end - range.start) as usize];
                self.inputs[*file as usize]
                    .read_at(range.start, &mut bytes)
                    .expect("input files can be read");
                Fetched::Bytes(bytes.into())
            }
        }
    }

    /// The bytes of all blocks of a range, for comparisons.
    ///
    /// # Panics
    /// Where one does not exist.
    pub fn bytes_of(&self, range: KeyRange) -> Vec<u8> {
        range
            .keys()
            .flat_map(|key| all_bytes(&self.objects[&key]))
            .collect()
    }
}

fn row_bytes(held: &Held) -> usize {
    match held {
        Held::Memory { row_bytes, .. } | Held::File { row_bytes, .. } => *row_bytes as usize,
    }
}

fn all_bytes(held: &Held) -> Vec<u8> {
    match held {
        Held::Memory { buffer, .. } => buffer.bytes().to_vec(),
        Held::File { file, .. } => file
            .section(0..file.len())
            .expect("sealed files can be read")
            .to_vec(),
    }
}

fn pack_span(held: &Held, rows: &std::ops::Range<u64>) -> Arc<AlignedBuf> {
    let width = row_bytes(held) as u64;
    let range = rows.start * width..rows.end * width;
    Arc::new(match held {
        Held::Memory { buffer, .. } => {
            AlignedBuf::copy_of(&buffer.bytes()[range.start as usize..range.end as usize])
        }
        Held::File { file, .. } => {
            AlignedBuf::copy_of(&file.section(range).expect("sealed files can be read"))
        }
    })
}

fn pack(held: &Held, rows: impl Iterator<Item = u64>) -> Arc<AlignedBuf> {
    let (width, bytes) = (row_bytes(held), all_bytes(held));
    let packed: Vec<u8> = rows
        .flat_map(|row| bytes[row as usize * width..(row as usize + 1) * width].to_vec())
        .collect();
    Arc::new(AlignedBuf::copy_of(&packed))
}

/// The reduction that the scheduler promises, written naively.
pub fn reduce(spec: PartialSpec, partials: Vec<Vec<u8>>) -> Reduced {
    match spec {
        PartialSpec::None => Reduced::None,
        PartialSpec::Collect => Reduced::Collect(partials),
        PartialSpec::Sum => {
            let leaf = |bytes: &Vec<u8>| {
                let numbers = bytes
                    .chunks_exact(8)
                    .map(|b| f64::from_le_bytes(b.try_into().expect("8 bytes")));
                (!bytes.is_empty()).then(|| numbers.collect::<Vec<f64>>())
            };
            let mut level: Vec<Option<Vec<f64>>> = partials.iter().map(leaf).collect();
            level.resize(level.len().next_power_of_two(), None);
            while level.len() > 1 {
                level = level
                    .chunks(2)
                    .map(|pair| add(pair[0].clone(), pair[1].clone()))
                    .collect();
            }
            Reduced::Sum(level.pop().flatten().unwrap_or_default())
        }
    }
}

fn add(left: Option<Vec<f64>>, right: Option<Vec<f64>>) -> Option<Vec<f64>> {
    match (left, right) {
        (Some(left), Some(right)) => Some(left.iter().zip(&right).map(|(a, b)| a + b).collect()),
        (one, None) | (None, one) => one,
    }
}
