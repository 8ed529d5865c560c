//! Blocks arranged by ranges of columns, and their product with a table, range by range: where the table does not fit the budget, the
//! rows of one range are there at a time.

use super::product::Made;
use crate::objects::{
    Numbers, bad_partition, block_written, bug, fits, held, key_at, numbers, partition, read_at,
};
use crate::trouble::failure_of;
use crate::work::{Fetched, Need, Output, Part, Room, Want, Work};
use model::als::Rows;
use model::graph::tiles::{Long, Sizes, Span, Tiles, add_range, close, spans};
use model::graph::{ArrangeOp, Edges, RangesOp};
use plan::Failure;
use store::AlignedBuf;
use tensor::{ByteSize, CsrRef, KeyRange, ObjectKey, Task};

/// Bytes of an interaction while a block is arranged: column, time, context and value.
const INTERACTION_BYTES: u64 = 16;

/// An [`ArrangeOp`] in progress.
pub(super) struct ArrangeWork {
    op: ArrangeOp,
    room: Room,
    key: ObjectKey,
    write: ObjectKey,
    out: Option<AlignedBuf>,
}

impl ArrangeWork {
    /// A task that has fetched nothing.
    ///
    /// # Errors
    /// Where the task's keys are not those of its op.
    pub(super) fn new(task: &Task, op: ArrangeOp, room: &Room) -> Result<Self, Failure> {
        block_written(task)?;
        Ok(ArrangeWork {
            op,
            room: room.clone(),
            key: key_at(task, 0)?,
            write: task.writes[0],
            out: None,
        })
    }
}

impl Work for ArrangeWork {
    fn next_need(&mut self) -> Result<Need, Failure> {
        Ok(match self.out {
            None => Need::Fetch(vec![Want::Object(self.key, Part::Whole)]),
            Some(_) => Need::Nothing,
        })
    }

    fn compute(&mut self, fetched: Vec<Fetched>) -> Result<(), Failure> {
        let fetched = fetched.into_iter().next().expect("one answer per want");
        let partition = partition(fetched, self.key)?;
        let spans = spans(&self.op.others, self.op.range_rows);
        let interactions = partition.interactions();
        let has_values = self.op.edges == Edges::Values;
        let rows = u64::from(partition.rows());
        let words = Sizes::words_at_most(interactions, rows, spans.len() as u64, has_values);
        fits(
            interactions * INTERACTION_BYTES + 4 * words,
            self.room.budget_bytes,
        )?;
        let piece = partition.piece(0..interactions);
        let piece = piece.map_err(|error| failure_of(error, Some(self.key)))?;
        let others = &self.op.others;
        let csr = CsrRef::new(
            partition.offsets(),
            0,
            &piece.columns,
            piece.small_ids(),
            piece.values.as_values(),
            Some(u64::from(others.blocks()) << others.stride_log2),
        );
        let csr =
            csr.map_err(|error| bad_partition(&format!("does not fit its data set ({error})")))?;
        let has_row = |&id: &u32| {
            let (block, local) = others.split(id);
            let rows = others.rows.get(block.0 as usize);
            rows.is_some_and(|&rows| local < rows)
        };
        if let Some(id) = csr.columns().iter().find(|id| !has_row(id)) {
            let what = format!("names row {id}, which its data set lacks");
            return Err(bad_partition(&what));
        }
        let edges = self.op.edges;
        self.out = Some(self.room.pool.install(|| {
            let sizes = Sizes::count(edges, csr, &spans);
            let mut out = self.room.buffers.take(4 * sizes.words());
            sizes.fill(edges, csr, &spans, out.typed_mut());
            out
        }));
        self.room.done_for_now(&partition, 0..interactions);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Output, Failure> {
        let out = self.out.expect("everything is computed");
        let row_bytes = out.len();
        Ok(Output {
            objects: vec![(self.write, held(out, row_bytes))],
            pieces: 1,
            ..Output::default()
        })
    }
}

/// A [`RangesOp`] in progress.
pub(super) struct RangesWork {
    op: RangesOp,
    width: usize,
    room: Room,
    tiles: KeyRange,
    others: Vec<ObjectKey>,
    degrees: KeyRange,
    base: Option<KeyRange>,
    own: Option<KeyRange>,
    writes: Vec<ObjectKey>,
    /// Rows of each block.
    rows: Vec<usize>,
    spans: Vec<Span>,
    takes_whole: bool,
    started: Option<Started>,
}

/// What there is once the first fetch came.
struct Started {
    tiles: Vec<Numbers>,
    degrees: Vec<Numbers>,
    base: Vec<Numbers>,
    own: Vec<Numbers>,
    outs: Vec<AlignedBuf>,
    long: Vec<Long>,
    next: usize,
}

impl RangesWork {
    /// A task that has fetched nothing.
    ///
    /// # Errors
    /// Where the budget is too small, or the task's keys are not those of its op.
    pub(super) fn new(task: &Task, op: RangesOp, room: &Room) -> Result<Self, Failure> {
        let first = block_written(task)?.0 as usize;
        let width = op.columns.next_multiple_of(16) as usize;
        let tiles = read_at(task, 0)?;
        let blocks = tiles.keys().count();
        let rows = op.rows.rows.get(first..first + blocks);
        let rows = rows.ok_or_else(|| bug(task, "writes blocks that its grid lacks"))?;
        if blocks == 0 || !task.writes.len().is_multiple_of(blocks) {
            return Err(bug(
                task,
                "does not write as much for each block that it reads",
            ));
        }
        let rows: Vec<usize> = rows.iter().map(|&rows| rows as usize).collect();
        let all: usize = rows.iter().sum();
        let spans = spans(&op.others, op.range_rows);
        let base = op.onto.map(|_| read_at(task, 3)).transpose()?;
        let own_at = 3 + usize::from(op.onto.is_some());
        let own = op.loops.then(|| read_at(task, own_at)).transpose()?;
        let row_bytes = 4 * width as u64;
        let tables = 1 + u64::from(op.onto.is_some()) + u64::from(op.loops);
        let fixed =
            all as u64 * (8 + tables * row_bytes) + Sizes::long_bytes(op.interactions, width);
        let table = op.others.rows_total() * row_bytes;
        let span = spans.iter().map(|span| span.end - u64::from(span.base));
        let range = span.max().unwrap_or(0) * row_bytes;
        let takes_whole = fixed + table <= room.budget_bytes;
        if !takes_whole && fixed + range > room.budget_bytes {
            let (needed, left) = (ByteSize(fixed + range), ByteSize(room.budget_bytes));
            return Err(Failure::Budget {
                needed,
                left,
                enough: needed,
            });
        }
        Ok(RangesWork {
            op,
            width,
            room: room.clone(),
            tiles,
            others: read_at(task, 1)?.keys().collect(),
            degrees: read_at(task, 2)?,
            base,
            own,
            writes: task.writes.clone(),
            rows,
            spans,
            takes_whole,
            started: None,
        })
    }

    fn start(&mut self, fetched: Vec<Fetched>) -> Result<(), Failure> {
        let mut fetched = fetched.into_iter();
        let mut take = |keys: KeyRange| {
            keys.keys()
                .map(|key| numbers(fetched.next().expect("one answer per want"), Some(key)))
                .collect::<Result<Vec<_>, _>>()
        };
        let (tiles, degrees) = (take(self.tiles)?, take(self.degrees)?);
        let base = self.base.map_or_else(|| Ok(Vec::new()), &mut take)?;
        let own = self.own.map_or_else(|| Ok(Vec::new()), &mut take)?;
        let shares = self.open(&tiles)?.iter().map(Tiles::shares).sum();
        let outs = self.rows.iter().map(|rows| {
            let mut out = self.room.buffers.take(rows * self.width * 4);
            out.bytes_mut().fill(0);
            out
        });
        self.started = Some(Started {
            outs: outs.collect(),
            tiles,
            degrees,
            base,
            own,
            long: vec![Long::new(); shares],
            next: 0,
        });
        if self.takes_whole {
            let keys = self.others.iter().zip(fetched);
            let whole = keys.map(|(&key, came)| numbers(came, Some(key)));
            let whole = whole.collect::<Result<Vec<_>, _>>()?;
            let blocks: Vec<&[f32]> = whole.iter().map(Numbers::typed).collect();
            let others = Rows::new(&blocks, self.op.others.stride_log2, self.width);
            for number in 0..self.spans.len() {
                self.range(others, self.spans[number].base)?;
            }
        }
        Ok(())
    }

    fn open<'a>(&self, tiles: &'a [Numbers]) -> Result<Vec<Tiles<'a>>, Failure> {
        let tiles = tiles.iter().zip(&self.rows);
        let open = tiles.map(|(words, &rows)| {
            Tiles::new(words.typed(), rows, self.spans.len())
                .ok_or_else(|| bad_partition("was arranged for another product"))
        });
        open.collect()
    }

    /// Adds the next range, of which the ids count from `base`.
    fn range(&mut self, others: Rows<'_>, base: u32) -> Result<(), Failure> {
        let mut started = self.started.take().expect("started");
        let tiles = self.open(&started.tiles)?;
        let outs = started.outs.iter_mut().map(AlignedBuf::typed_mut);
        let blocks = tiles.into_iter().zip(outs);
        let at = (started.next, base);
        let simd = self.room.simd;
        let long = &mut started.long;
        self.room
            .pool
            .install(|| add_range(simd, others, at, blocks, long));
        started.next += 1;
        self.started = Some(started);
        Ok(())
    }

    /// What the next range is fetched as.
    fn span(&self) -> Option<Span> {
        let started = self.started.as_ref().filter(|_| !self.takes_whole)?;
        self.spans.get(started.next).copied()
    }
}

impl Work for RangesWork {
    fn next_need(&mut self) -> Result<Need, Failure> {
        let whole = |key| Want::Object(key, Part::Whole);
        if self.started.is_none() {
            let keys = self.tiles.keys().chain(self.degrees.keys());
            let beside = self.base.iter().chain(&self.own);
            let keys = keys.chain(beside.flat_map(|rows| rows.keys()));
            let others = self.others.iter().copied().filter(|_| self.takes_whole);
            return Ok(Need::Fetch(keys.chain(others).map(whole).collect()));
        }
        let Some(span) = self.span() else {
            return Ok(Need::Nothing);
        };
        let blocks = span.blocks(&self.op.others);
        let wants = blocks.map(|(block, rows)| Want::Object(self.others[block], Part::Span(rows)));
        Ok(Need::Fetch(wants.collect()))
    }

    fn compute(&mut self, fetched: Vec<Fetched>) -> Result<(), Failure> {
        if self.started.is_none() {
            return self.start(fetched);
        }
        let span = self.span().expect("a range was asked for");
        let came = fetched.into_iter().map(|rows| numbers(rows, None));
        let came = came.collect::<Result<Vec<_>, _>>()?;
        let mut blocks: Vec<&[f32]> = vec![&[]; self.others.len()];
        // A range that begins inside a block has no other: its rows count from there.
        let mut skipped = 0;
        for ((block, rows), came) in span.blocks(&self.op.others).zip(&came) {
            blocks[block] = came.typed();
            skipped += rows.start as u32;
        }
        let others = Rows::new(&blocks, self.op.others.stride_log2, self.width);
        self.range(others, span.base - skipped)
    }

    fn finish(mut self: Box<Self>) -> Result<Output, Failure> {
        let mut started = self.started.take().expect("everything is computed");
        let tiles = self.open(&started.tiles)?;
        let outs = started.outs.iter_mut().map(AlignedBuf::typed_mut);
        close(self.width, tiles.into_iter().zip(outs), started.long);
        let made = Made {
            width: self.width,
            scales: self.op.scales,
            onto: self.op.onto,
        };
        let keys = self.writes.chunks(self.writes.len() / self.rows.len());
        let blocks = started.outs.into_iter().zip(&started.degrees).zip(keys);
        let objects = blocks.enumerate().flat_map(|(at, ((out, degrees), keys))| {
            let beside = (started.base.get(at), started.own.get(at));
            made.objects(&self.room, keys, out, degrees, beside)
        });
        Ok(Output {
            objects: objects.collect(),
            pieces: self.spans.len() as u64,
            ..Output::default()
        })
    }
}
