//! Runners of the ops of graph facts: folds over a few objects, one at a time, and one pass with notes gathered.

use crate::evaluate::reading::{trouble, walk};
use crate::objects::{
    bad_partition, block_written, bug, fits, held, key_at, numbers, partition, read_at,
};
use crate::pieces::{Gather, Pass, Passing};
use crate::work::{Fetched, Need, Output, Part, Room, Want, Work};
use bytemuck::NoUninit;
use model::als::Rows;
use model::evaluate::op::collected;
use model::facts::ops::{
    Branch, DegreesOp, EqualsOp, ForestOp, GrovesOp, LinksOp, MarksOp, Note, NotesOp, Print,
    WalksOp,
};
use model::facts::{FactsOp, Forest, Pairs, Places, Walks, equal, groves, marked, note, tally};
use plan::Failure;
use std::collections::VecDeque;
use store::AlignedBuf;
use store::partition::Partition;
use tensor::{BlockId, CsrRef, Mode, ObjectKey, Task};

/// Interactions that are read together.
const PIECE: u64 = 1 << 18;

/// Opens a task of graph facts.
///
/// # Errors
/// Where the task's reads and writes are not those of its op, or the budget is too small.
pub(crate) fn begin(task: &Task, op: FactsOp, room: &Room) -> Result<Box<dyn Work>, Failure> {
    let budget = room.budget_bytes;
    Ok(match op {
        FactsOp::Degrees(op) => {
            let block = block_written(task)?;
            let rows = u64::from(op.grid.rows[block.0 as usize]);
            // Prints are copied as they are sorted, and rows written.
            fits(rows * 3 * model::facts::ROW_BYTES, budget)?;
            Folding::over(
                task,
                DegreesFold {
                    op,
                    block,
                    writes: task.writes.clone(),
                    output: Output::default(),
                },
            )?
        }
        FactsOp::Marks(op) => Folding::over(
            task,
            MarksFold {
                op,
                write: written(task)?,
                budget,
                marks: Vec::new(),
            },
        )?,
        FactsOp::Notes(op) => {
            let block = block_written(task)?;
            let rows = op.grid.rows[block.0 as usize] as usize;
            fits((rows * size_of::<Note>()) as u64, budget)?;
            let fold = NotesFold {
                op,
                block,
                write: written(task)?,
                counted: false,
                notes: vec![[0; 16]; rows],
            };
            Folding::over(task, fold)?
        }
        FactsOp::Walks(op) => Box::new(WalksPass::begin(task, op, room)?),
        FactsOp::Forest(op) => {
            let places = Places::new(&op.nodes);
            let fold = ForestFold {
                places: Some(places),
                forest: forest(&op, budget)?,
                write: written(task)?,
            };
            Folding::over(task, fold)?
        }
        FactsOp::Join(op) => {
            let fold = ForestFold {
                places: None,
                forest: forest(&op, budget)?,
                write: written(task)?,
            };
            Folding::over(task, fold)?
        }
        FactsOp::Trees(op) => {
            fits(op.nodes.rows_total() * 8, budget)?;
            Folding::over(
                task,
                TreesFold {
                    op,
                    output: Output::default(),
                },
            )?
        }
        FactsOp::Equals(op) => equals(task, &op, budget)?,
        FactsOp::Links(op) => {
            let nodes = op.grids.iter().map(tensor::Grid::rows_total).sum::<u64>();
            fits(nodes * Forest::NODE_BYTES, budget)?;
            let fold = LinksFold {
                op,
                forest: Forest::of(nodes as u32),
                write: written(task)?,
            };
            Folding::over(task, fold)?
        }
        FactsOp::Groves(op) => {
            fits(u64::from(op.nodes) * 8, budget)?;
            Folding::over(
                task,
                GrovesFold {
                    op,
                    output: Output::default(),
                },
            )?
        }
    })
}

fn written(task: &Task) -> Result<ObjectKey, Failure> {
    match task.writes[..] {
        [write] => Ok(write),
        _ => Err(bug(task, "writes more or less than one object")),
    }
}

fn forest(op: &ForestOp, budget: u64) -> Result<Forest, Failure> {
    fits(op.nodes.rows_total() * Forest::NODE_BYTES, budget)?;
    Ok(Forest::new(&op.nodes))
}

/// What an op makes of objects that come one at a time.
trait Fold: Send {
    /// Takes the next.
    fn add(&mut self, key: ObjectKey, came: Fetched) -> Result<(), Failure>;
    /// Hands over the results.
    fn finish(self: Box<Self>) -> Output;
}

/// A [`Fold`] in progress.
struct Folding<F> {
    fold: Box<F>,
    wants: VecDeque<Want>,
    now: Option<ObjectKey>,
    pieces: u64,
}

impl<F: Fold + 'static> Folding<F> {
    /// Over all that a task reads.
    fn over(task: &Task, fold: F) -> Result<Box<dyn Work>, Failure> {
        let keys: Vec<ObjectKey> = (0..task.reads.len())
            .map(|place| key_at(task, place))
            .collect::<Result<_, _>>()?;
        let wants = keys.into_iter().map(|key| Want::Object(key, Part::Whole));
        Ok(Self::of(wants, fold))
    }

    fn of(wants: impl Iterator<Item = Want>, fold: F) -> Box<dyn Work> {
        Box::new(Folding {
            fold: Box::new(fold),
            wants: wants.collect(),
            now: None,
            pieces: 0,
        })
    }
}

impl<F: Fold> Work for Folding<F> {
    fn next_need(&mut self) -> Result<Need, Failure> {
        let Some(want) = self.wants.pop_front() else {
            return Ok(Need::Nothing);
        };
        self.now = match &want {
            Want::Object(key, _) => Some(*key),
            Want::Input(..) => None,
        };
        Ok(Need::Fetch(vec![want]))
    }

    fn compute(&mut self, fetched: Vec<Fetched>) -> Result<(), Failure> {
        let came = fetched.into_iter().next().expect("one answer per want");
        self.pieces += 1;
        self.fold
            .add(self.now.take().expect("an object was wanted"), came)
    }

    fn finish(self: Box<Self>) -> Result<Output, Failure> {
        Ok(Output {
            pieces: self.pieces,
            ..self.fold.finish()
        })
    }
}

/// Rows as an object.
fn object<T: NoUninit>(key: ObjectKey, rows: &[T]) -> (ObjectKey, crate::work::Held) {
    let bytes = AlignedBuf::copy_of(bytemuck::cast_slice(rows));
    (key, held(bytes, size_of::<T>()))
}

/// A partial alone.
fn told(partial: Vec<u8>) -> Output {
    Output {
        partial,
        ..Output::default()
    }
}

/// A [`DegreesOp`] in progress.
struct DegreesFold {
    op: DegreesOp,
    block: BlockId,
    writes: Vec<ObjectKey>,
    output: Output,
}

impl Fold for DegreesFold {
    fn add(&mut self, key: ObjectKey, came: Fetched) -> Result<(), Failure> {
        let partition = partition(came, key)?;
        let mut rows = tally(self.op.clone(), self.block);
        same_rows(&partition, self.op.grid.rows[self.block.0 as usize])?;
        walk(&partition, PIECE, 1 << 32, false, |csr, first| {
            rows.absorb(csr, first);
        })?;
        let (degrees, prints, tally) = rows.finish(partition.interactions());
        self.output = told(collected(&tally));
        self.output.objects = vec![
            object(self.writes[0], &degrees),
            object(self.writes[1], &prints),
        ];
        Ok(())
    }

    fn finish(self: Box<Self>) -> Output {
        self.output
    }
}

fn same_rows(partition: &Partition, rows: u32) -> Result<(), Failure> {
    if partition.rows() == rows {
        return Ok(());
    }
    let what = format!("has {} rows instead of {rows}", partition.rows());
    Err(bad_partition(&what))
}

/// A [`MarksOp`] in progress.
struct MarksFold {
    op: MarksOp,
    write: ObjectKey,
    budget: u64,
    marks: Vec<[u32; 2]>,
}

impl Fold for MarksFold {
    fn add(&mut self, key: ObjectKey, came: Fetched) -> Result<(), Failure> {
        let partition = partition(came, key)?;
        for &(row, place) in &self.op.rows {
            let row = row as usize;
            let range = partition.offsets()[row]..partition.offsets()[row + 1];
            // Marks, and their copy as they are written.
            let marks = self.marks.len() as u64 + range.end - range.start;
            fits(2 * 8 * marks, self.budget)?;
            let columns = partition.columns(range);
            let columns = columns.map_err(|error| trouble(partition.file(), error))?;
            self.marks.extend(marked(&columns, place));
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Output {
        Output {
            objects: vec![object(self.write, &self.marks)],
            ..Output::default()
        }
    }
}

/// A [`NotesOp`] in progress.
struct NotesFold {
    op: NotesOp,
    block: BlockId,
    write: ObjectKey,
    counted: bool,
    notes: Vec<Note>,
}

impl Fold for NotesFold {
    fn add(&mut self, key: ObjectKey, came: Fetched) -> Result<(), Failure> {
        let came = numbers(came, Some(key))?;
        if self.counted {
            note(&self.op.grid, self.block, came.typed(), &mut self.notes);
            return Ok(());
        }
        self.counted = true;
        for (note, &degree) in self.notes.iter_mut().zip(came.typed::<u32>()) {
            note[0] = degree;
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Output {
        Output {
            objects: vec![object(self.write, &self.notes)],
            ..Output::default()
        }
    }
}

/// A [`ForestOp`] in progress that grows a forest, of a partition where there are `places`, else of forests.
struct ForestFold {
    places: Option<Places>,
    forest: Forest,
    write: ObjectKey,
}

impl Fold for ForestFold {
    fn add(&mut self, key: ObjectKey, came: Fetched) -> Result<(), Failure> {
        let Some(places) = &self.places else {
            self.forest
                .absorb(numbers(came, Some(key))?.typed::<Branch>());
            return Ok(());
        };
        let partition = partition(came, key)?;
        let (mut pairs, mut open, mut lacks) = (Pairs::default(), None, None);
        walk(&partition, PIECE, 1 << 32, false, |csr, first| {
            pairs.each(csr, first, |row, column| {
                let Some(node) = places.of(column) else {
                    lacks = lacks.or(Some(column));
                    return;
                };
                match open {
                    Some((last, with)) if last == row => self.forest.join(with, node),
                    _ => {
                        open = Some((row, node));
                        self.forest.hang(node);
                    }
                }
            });
        })?;
        lacking(lacks)
    }

    fn finish(self: Box<Self>) -> Output {
        let branches = self.forest.branches();
        Output {
            objects: vec![object(self.write, &branches)],
            ..Output::default()
        }
    }
}

/// Refuses a row that a partition names and its data set has not.
fn lacking(row: Option<u32>) -> Result<(), Failure> {
    row.map_or(Ok(()), |id| {
        Err(bad_partition(&format!(
            "names row {id}, which its data set lacks"
        )))
    })
}

/// A [`LinksOp`] in progress.
struct LinksFold {
    op: LinksOp,
    forest: Forest,
    write: ObjectKey,
}

impl Fold for LinksFold {
    fn add(&mut self, key: ObjectKey, came: Fetched) -> Result<(), Failure> {
        let partition = partition(came, key)?;
        let grid = |mode| &self.op.grids[usize::from(mode == Mode::Product)];
        let first = |mode| match mode {
            Mode::Product => self.op.grids[0].rows_total() as u32,
            _ => 0,
        };
        let (rows, columns) = (grid(self.op.rows), Places::new(grid(self.op.columns)));
        same_rows(&partition, rows.rows[self.op.block as usize])?;
        let before: u32 = rows.rows[..self.op.block as usize].iter().sum();
        let (of_rows, of_columns) = (first(self.op.rows) + before, first(self.op.columns));
        let (mut pairs, mut lacks) = (Pairs::default(), None);
        walk(&partition, PIECE, 1 << 32, false, |csr, first| {
            pairs.each(csr, first, |row, column| match columns.of(column) {
                Some(place) => {
                    let ends = (of_rows + row as u32, of_columns + place);
                    if ends.0 != ends.1 {
                        self.forest.join(ends.0, ends.1);
                    }
                }
                None => lacks = lacks.or(Some(column)),
            });
        })?;
        lacking(lacks)
    }

    fn finish(self: Box<Self>) -> Output {
        let branches = self.forest.branches();
        Output {
            objects: vec![object(self.write, &branches)],
            ..Output::default()
        }
    }
}

/// A [`GrovesOp`] in progress.
struct GrovesFold {
    op: GrovesOp,
    output: Output,
}

impl Fold for GrovesFold {
    fn add(&mut self, key: ObjectKey, came: Fetched) -> Result<(), Failure> {
        let came = numbers(came, Some(key))?;
        self.output = told(collected(&groves(self.op, came.typed())));
        Ok(())
    }

    fn finish(self: Box<Self>) -> Output {
        self.output
    }
}

/// A [`ForestOp`] in progress that counts trees.
struct TreesFold {
    op: ForestOp,
    output: Output,
}

impl Fold for TreesFold {
    fn add(&mut self, key: ObjectKey, came: Fetched) -> Result<(), Failure> {
        let came = numbers(came, Some(key))?;
        self.output = told(collected(&Forest::trees(&self.op.nodes, came.typed())));
        Ok(())
    }

    fn finish(self: Box<Self>) -> Output {
        self.output
    }
}

/// Prints of a share.
struct EqualsFold(Vec<Print>);

fn equals(task: &Task, op: &EqualsOp, budget: u64) -> Result<Box<dyn Work>, Failure> {
    let rows: u64 = op
        .stretches
        .iter()
        .map(|&(start, end)| u64::from(end - start))
        .sum();
    fits(rows * 2 * size_of::<Print>() as u64, budget)?;
    let wants = read_at(task, 0)?.keys().zip(&op.stretches);
    let wants = wants.filter(|(_, (start, end))| start < end);
    let wants =
        wants.map(|(key, &(start, end))| Want::Object(key, Part::Span(start.into()..end.into())));
    Ok(Folding::of(
        wants.collect::<Vec<_>>().into_iter(),
        EqualsFold(Vec::new()),
    ))
}

impl Fold for EqualsFold {
    fn add(&mut self, key: ObjectKey, came: Fetched) -> Result<(), Failure> {
        self.0
            .extend_from_slice(numbers(came, Some(key))?.typed::<Print>());
        Ok(())
    }

    fn finish(self: Box<Self>) -> Output {
        told(collected(&equal(self.0)))
    }
}

/// A [`WalksOp`] in progress.
struct WalksPass {
    rows: u32,
    walks: Walks,
    /// The column of the last interaction.
    last: Option<u32>,
}

/// Floats of a note.
const NOTE_WIDTH: usize = size_of::<Note>() / 4;

impl WalksPass {
    /// A task that has fetched nothing.
    ///
    /// # Errors
    /// Where the budget is too small, or the task's keys are not those of its op.
    fn begin(task: &Task, op: WalksOp, room: &Room) -> Result<Passing<Self>, Failure> {
        let fixed = u64::from(op.rows) * Walks::BYTES;
        let notes = read_at(task, 1)?;
        let gather = Gather::new(&op.others, notes, NOTE_WIDTH, fixed, 0, room.budget_bytes)?;
        let pass = WalksPass {
            rows: op.rows,
            walks: Walks::new(op),
            last: None,
        };
        let partition_key = key_at(task, 0)?;
        Ok(Passing::new(pass, room, partition_key, Vec::new(), gather))
    }
}

impl Pass for WalksPass {
    fn start(&mut self, _: &Room, partition: &Partition, _: Vec<Fetched>) -> Result<(), Failure> {
        same_rows(partition, self.rows)
    }

    fn piece(
        &mut self,
        ids: &[u32],
        csr: CsrRef<'_>,
        first_row: u32,
        others: Rows<'_>,
    ) -> Result<(), Failure> {
        let continues = csr.row_start(0) > 0 && self.last == ids.first().copied();
        self.last = ids.last().copied();
        self.walks.piece(csr, first_row as usize, continues, others);
        Ok(())
    }

    fn finish(self, _: &Room, _: &Partition) -> Result<Output, Failure> {
        Ok(told(collected(&self.walks.finish())))
    }
}
