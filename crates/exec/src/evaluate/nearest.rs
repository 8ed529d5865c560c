//! Finds the products nearest to each of a block: for as many at a time as the budget holds counts of, all users pass by in pieces.

use crate::evaluate::reading::{bug, limit_of, malformed, read_range};
use crate::evaluate::stretches::short_by;
use crate::objects::Numbers;
use crate::whole::{Came, Whole};
use crate::work::{Held, Output, Room, Work};
use model::evaluate::ProductRow;
use model::graph::filter::nearest::{Baskets, Starts};
use model::graph::filter::{Near, NearestOp};
use plan::Failure;
use rayon::prelude::*;
use std::ops::Range;
use std::sync::Arc;
use store::AlignedBuf;
use store::partition::Partition;
use tensor::{ObjectKey, Task};

/// Interactions of a piece, where no user has more.
const PIECE: u64 = 1 << 18;

/// Counts of some products at a time take no more than this, unless all users take more: reading these again is the price of less.
const COUNTS_BYTES: u64 = 128 << 20;

/// Opens the task.
///
/// # Errors
/// Where it writes more than a block.
pub(crate) fn begin(task: &Task, op: NearestOp, room: &Room) -> Result<Box<dyn Work>, Failure> {
    Whole::begin(task, 1, room, move |came, writes, room| {
        run(&op, came, writes[0], room)
    })
}

fn run(op: &NearestOp, mut came: Came, write: ObjectKey, room: &Room) -> Result<Output, Failure> {
    let ObjectKey::Block { block, .. } = write else {
        return Err(bug("the nearest products are no block".to_owned()));
    };
    let described = op.products.block_ids().map(|_| came.numbers());
    let described = described.collect::<Result<Vec<Numbers>, Failure>>()?;
    let described: Vec<&[ProductRow]> = described.iter().map(Numbers::typed).collect();
    let users = (0..came.left()).map(|_| came.partition());
    let users = users.collect::<Result<Vec<Partition>, Failure>>()?;
    let starts = Starts::of(&op.products);
    let width = op.products.rows_total() as usize;
    let rows = op.products.rows[block.0 as usize];
    let first = starts.block(block.0);
    let (keep, nearest) = (op.nearest.count as usize, op.nearest);

    let piece = users.iter().map(longest_piece).max().unwrap_or(0);
    let threads = room.pool.current_num_threads() as u64;
    // The rows that are found are made once and copied once into the object.
    let fixed = 4 * width as u64
        + Baskets::bytes(piece)
        + threads * nearest.scratch_bytes()
        + 2 * u64::from(rows) * u64::from(nearest.count) * size_of::<Near>() as u64;
    let (budget, row_bytes) = (room.budget_bytes, 4 * width as u64);
    let short = || short_by(fixed + row_bytes, budget);
    let left = budget.checked_sub(fixed).ok_or_else(short)?;
    if left < row_bytes {
        return Err(short());
    }
    let interactions = users.iter().map(Partition::interactions).sum::<u64>();
    let enough = COUNTS_BYTES.max(4 * interactions).max(row_bytes);
    let together = (left.min(enough) / row_bytes.max(1)).min(rows.into()) as u32;

    let mut found = vec![Near::NONE; rows as usize * keep];
    let mut alone = vec![0_u32; width];
    let mut baskets = Baskets::default();
    let mut all_counts = vec![0_u32; together as usize * width];
    let mut start = 0;
    while start < rows {
        let end = rows.min(start + together);
        let pass = first + start..first + end;
        let counts = &mut all_counts[..pass.len() * width];
        for partition in &users {
            for range in pieces(partition) {
                let taken = take(partition, range, op, |csr| baskets.fill(&starts, csr));
                taken?;
                if start == 0 {
                    baskets.count_users(&mut alone);
                }
                let count = || baskets.count_pairs(pass.clone(), width, counts);
                room.pool.install(count);
            }
        }
        let out = &mut found[start as usize * keep..end as usize * keep];
        let each = out.par_chunks_mut(keep).zip(counts.par_chunks_mut(width));
        let each = each.zip(pass.clone().into_par_iter());
        room.pool.install(|| {
            each.for_each(|((out, counts), place)| {
                let with = (counts, &alone[..]);
                nearest.of(&op.products, place as usize, with, &described, out);
            });
        });
        start = end;
    }
    let held = Held::Memory {
        buffer: Arc::new(AlignedBuf::copy_of(bytemuck::cast_slice(&found))),
        row_bytes: (keep * size_of::<Near>()) as u32,
    };
    Ok(Output {
        objects: vec![(write, held)],
        ..Output::default()
    })
}

/// Whole rows of a partition together: about [`PIECE`] interactions, or a single row.
fn pieces(partition: &Partition) -> impl Iterator<Item = Range<usize>> {
    let offsets = partition.offsets();
    let rows = offsets.len() - 1;
    let mut start = 0;
    std::iter::from_fn(move || {
        if start == rows {
            return None;
        }
        let most = offsets[start] + PIECE;
        let end = offsets.partition_point(|&offset| offset <= most) - 1;
        let end = end.clamp(start + 1, rows);
        let piece = start..end;
        start = end;
        Some(piece)
    })
}

fn longest_piece(partition: &Partition) -> u64 {
    let offsets = partition.offsets();
    let of = pieces(partition).map(|rows| offsets[rows.end] - offsets[rows.start]);
    of.max().unwrap_or(0)
}

fn take(
    partition: &Partition,
    rows: Range<usize>,
    op: &NearestOp,
    of: impl FnOnce(tensor::CsrRef<'_>),
) -> Result<(), Failure> {
    let offsets = &partition.offsets()[rows.start..=rows.end];
    let range = offsets[0]..offsets[offsets.len() - 1];
    let limit = limit_of(&op.products);
    let piece = read_range(partition, range.clone(), false)?;
    let known = partition.knows_columns(range.clone(), limit);
    let csr = tensor::CsrRef::new(
        offsets,
        range.start,
        &piece.columns,
        piece.small_ids(),
        piece.values.as_values(),
        (!known).then_some(limit),
    );
    of(csr.map_err(|error| malformed(partition, &error))?);
    if !known {
        partition.know_columns(range, limit);
    }
    Ok(())
}
