//! A block of the adjacency times a table: pieces in, the block of the product and its Gram partial out.

use crate::objects::{
    Numbers, bad_partition, block_written, held, held_gram, key_at, numbers, read_at,
};
use crate::pieces::{Gather, Pass, Passing};
use crate::work::{Fetched, Held, Output, Room};
use model::als::Rows;
use model::graph::product::{Product, Sums, add};
use model::graph::{Onto, Power, ProductOp, Scales};
use plan::Failure;
use store::AlignedBuf;
use store::partition::Partition;
use tensor::{CsrRef, ObjectKey, Task};

/// A [`ProductOp`] in progress.
pub(super) struct ProductPass {
    op: ProductOp,
    width: usize,
    rows: u32,
    writes: Vec<ObjectKey>,
    degrees_key: ObjectKey,
    base_key: Option<ObjectKey>,
    own_key: Option<ObjectKey>,
    started: Option<Started>,
}

/// What there is once the first fetch came.
struct Started {
    degrees: Numbers,
    /// What the sums are added to.
    base: Option<Numbers>,
    /// What rows bring to themselves.
    own: Option<Numbers>,
    product: Product,
    out: AlignedBuf,
}

impl ProductPass {
    /// A task that has fetched nothing.
    ///
    /// # Errors
    /// Where the budget is too small, or the task's keys are not those of its op.
    pub(super) fn begin(task: &Task, op: ProductOp, room: &Room) -> Result<Passing<Self>, Failure> {
        let block = block_written(task)?;
        let width = op.columns.next_multiple_of(16) as usize;
        let rows = op.rows.rows[block.0 as usize];
        // Offsets, degree, sums of a row and, where there are such, the row they are added to and the row itself.
        let tables = 1 + u64::from(op.onto.is_some()) + u64::from(op.loops);
        let row_bytes = 16 + 4 * width as u64 * tables;
        let gather = Gather::new(
            &op.others,
            read_at(task, 1)?,
            width,
            u64::from(rows) * row_bytes + Sums::bytes(width),
            Sums::piece_bytes(width),
            room.budget_bytes,
        )?;
        let (partition_key, degrees_key) = (key_at(task, 0)?, key_at(task, 2)?);
        let base_key = op.onto.map(|_| key_at(task, 3)).transpose()?;
        let own_at = 3 + usize::from(op.onto.is_some());
        let own_key = op.loops.then(|| key_at(task, own_at)).transpose()?;
        let pass = ProductPass {
            op,
            width,
            rows,
            writes: task.writes.clone(),
            degrees_key,
            base_key,
            own_key,
            started: None,
        };
        let keys = std::iter::once(degrees_key).chain(base_key).chain(own_key);
        let keys = keys.collect();
        Ok(Passing::new(pass, room, partition_key, keys, gather))
    }
}

impl Pass for ProductPass {
    fn start(
        &mut self,
        room: &Room,
        partition: &Partition,
        came: Vec<Fetched>,
    ) -> Result<(), Failure> {
        let mut came = came.into_iter();
        let mut next = |key| numbers(came.next().expect("one answer per want"), Some(key));
        let degrees = next(self.degrees_key)?;
        let base = self.base_key.map(&mut next).transpose()?;
        let own = self.own_key.map(next).transpose()?;
        if partition.rows() != self.rows {
            let what = format!("has {} rows instead of {}", partition.rows(), self.rows);
            return Err(bad_partition(&what));
        }
        let mut out = room.buffers.take(self.rows as usize * self.width * 4);
        out.bytes_mut().fill(0);
        self.started = Some(Started {
            degrees,
            base,
            own,
            product: Product::new(room.simd, self.op.edges, self.width),
            out,
        });
        Ok(())
    }

    fn piece(
        &mut self,
        _ids: &[u32],
        csr: CsrRef<'_>,
        first_row: u32,
        others: Rows<'_>,
    ) -> Result<(), Failure> {
        let Started { product, out, .. } = self.started.as_mut().expect("started");
        product.piece(csr, first_row as usize, others, out.typed_mut());
        Ok(())
    }

    fn finish(self, room: &Room, _: &Partition) -> Result<Output, Failure> {
        let Started {
            degrees,
            base,
            own,
            out,
            ..
        } = self.started.expect("everything is computed");
        let made = Made {
            width: self.width,
            scales: self.op.scales,
            onto: self.op.onto,
        };
        Ok(Output {
            objects: made.objects(
                room,
                &self.writes,
                out,
                &degrees,
                (base.as_ref(), own.as_ref()),
            ),
            ..Output::default()
        })
    }
}

/// What becomes of the sums of a block.
pub(super) struct Made {
    pub width: usize,
    pub scales: Scales,
    pub onto: Option<Onto>,
}

impl Made {
    /// The block and, where there is a second key, the leaf of its Gram.
    pub(super) fn objects(
        &self,
        room: &Room,
        keys: &[ObjectKey],
        mut out: AlignedBuf,
        degrees: &Numbers,
        (base, own): (Option<&Numbers>, Option<&Numbers>),
    ) -> Vec<(ObjectKey, Held)> {
        let (width, mut scales) = (self.width, self.scales);
        let gram_key = keys.get(1);
        let gram = room.pool.install(|| {
            if let Some(own) = own {
                add(out.typed_mut(), own.typed());
            }
            if let (Some(onto), Some(base)) = (self.onto, base) {
                let (degrees, base) = (degrees.typed(), base.typed());
                onto.add(room.simd, scales.made, degrees, base, out.typed_mut());
                scales.made = Power(0);
            }
            scales.apply(width, degrees.typed(), out.typed_mut(), |rows| {
                gram_key.map(|&key| (key, held_gram(room, width, rows)))
            })
        });
        let block = (keys[0], held(out, 4 * width));
        std::iter::once(block).chain(gram).collect()
    }
}
