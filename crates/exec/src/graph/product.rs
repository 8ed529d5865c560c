//! A block of the adjacency times a table: pieces in, the block of the product and its Gram partial out.

use crate::als::gather::{Gather, Planned};
use crate::als::objects::{
    Numbers, bad_partition, block_written, held, held_gram, key_at, numbers, partition, read_at,
};
use crate::work::{Fetched, Need, Output, Part, Room, Want, Work};
use model::graph::ProductOp;
use model::graph::product::Product;
use plan::Failure;
use store::AlignedBuf;
use store::partition::Partition;
use tensor::{ObjectKey, Task};

/// A [`ProductOp`] in progress.
pub(super) struct ProductWork {
    op: ProductOp,
    width: usize,
    rows: u32,
    room: Room,
    writes: Vec<ObjectKey>,
    partition_key: ObjectKey,
    degrees_key: ObjectKey,
    gather: Gather,
    started: Option<Started>,
    planned: Option<Planned>,
    pieces: u64,
    cut_rows: u64,
}

/// What there is once the first fetch came.
struct Started {
    partition: Partition,
    degrees: Numbers,
    product: Product,
    out: AlignedBuf,
    next: u64,
}

impl ProductWork {
    /// A task that has fetched nothing.
    ///
    /// # Errors
    /// Where the budget is too small, or the task's keys are not those of its op.
    pub(super) fn new(task: &Task, op: ProductOp, room: &Room) -> Result<Self, Failure> {
        let block = block_written(task)?;
        let width = op.columns.next_multiple_of(16) as usize;
        let rows = op.rows.rows[block.0 as usize];
        // Offsets, degree and sums of a row.
        let row_bytes = 16 + 4 * width as u64;
        let gather = Gather::new(
            &op.others,
            read_at(task, 1)?,
            width,
            u64::from(rows) * row_bytes + Product::bytes(width),
            Product::piece_bytes(width),
            room.budget_bytes,
        )?;
        Ok(ProductWork {
            op,
            width,
            rows,
            room: room.clone(),
            writes: task.writes.clone(),
            partition_key: key_at(task, 0)?,
            degrees_key: key_at(task, 2)?,
            gather,
            started: None,
            planned: None,
            pieces: 0,
            cut_rows: 0,
        })
    }

    fn start(&mut self, fetched: Vec<Fetched>) -> Result<(), Failure> {
        let mut fetched = fetched.into_iter();
        let mut next = || fetched.next().expect("one answer per want");
        let partition = partition(next(), self.partition_key)?;
        let degrees = numbers(next(), Some(self.degrees_key))?;
        self.gather.take_first(fetched)?;
        if partition.rows() != self.rows {
            let what = format!("has {} rows instead of {}", partition.rows(), self.rows);
            return Err(bad_partition(&what));
        }
        let mut out = self.room.buffers.take(self.rows as usize * self.width * 4);
        out.bytes_mut().fill(0);
        self.started = Some(Started {
            partition,
            degrees,
            product: Product::new(self.room.simd, self.op.edges, self.width),
            out,
            next: 0,
        });
        if !self.gather.fetches_rows() {
            while self.plan()?.is_some() {
                self.piece(Vec::new())?;
            }
        }
        Ok(())
    }

    /// Plans the next piece; `None` at the end of the partition.
    fn plan(&mut self) -> Result<Option<Vec<Want>>, Failure> {
        let started = self.started.as_ref().expect("the partition came first");
        if started.next == started.partition.interactions() {
            return Ok(None);
        }
        let (planned, wants) = self.gather.plan(&started.partition, started.next)?;
        self.room.soon(&started.partition, planned.range.clone());
        self.planned = Some(planned);
        Ok(Some(wants))
    }

    fn piece(&mut self, fetched: Vec<Fetched>) -> Result<(), Failure> {
        let planned = self.planned.take().expect("a piece was planned");
        let Started {
            partition,
            product,
            out,
            next,
            ..
        } = self.started.as_mut().expect("started");
        let gather = &self.gather;
        self.room.pool.install(|| {
            gather.with_piece(partition, &planned, fetched, |csr, first_row, others| {
                product.piece(csr, first_row as usize, others, out.typed_mut());
            })
        })?;
        self.pieces += 1;
        self.cut_rows += u64::from(
            partition
                .offsets()
                .binary_search(&planned.range.end)
                .is_err(),
        );
        *next = planned.range.end;
        self.room.done_for_now(partition, planned.range);
        Ok(())
    }
}

impl Work for ProductWork {
    fn next_need(&mut self) -> Result<Need, Failure> {
        if self.started.is_some() {
            return Ok(self.plan()?.map_or(Need::Nothing, Need::Fetch));
        }
        let own = [self.partition_key, self.degrees_key];
        let mut wants = own.map(|key| Want::Object(key, Part::Whole)).to_vec();
        wants.extend(self.gather.first_wants());
        Ok(Need::Fetch(wants))
    }

    fn compute(&mut self, fetched: Vec<Fetched>) -> Result<(), Failure> {
        if self.started.is_some() {
            self.piece(fetched)
        } else {
            self.start(fetched)
        }
    }

    fn finish(self: Box<Self>) -> Result<Output, Failure> {
        let (room, width, scales) = (&self.room, self.width, self.op.scales);
        let Started {
            degrees, mut out, ..
        } = self.started.expect("everything is computed");
        let gram_key = self.writes.get(1);
        let gram = room.pool.install(|| {
            scales.apply(width, degrees.typed(), out.typed_mut(), |rows| {
                gram_key.map(|&key| (key, held_gram(room, width, rows)))
            })
        });
        let block = (self.writes[0], held(out, 4 * width));
        Ok(Output {
            objects: std::iter::once(block).chain(gram).collect(),
            pieces: self.pieces,
            cut_rows: self.cut_rows,
            ..Output::default()
        })
    }
}
