//! Runs the ops of segments: blocks of points come whole, and so does the sample.

use crate::evaluate::reading::{partial, walk};
use crate::objects::{Numbers, bad_partition, fits, held};
use crate::whole::{Came, Whole};
use crate::work::{Output, Room, Work};
use model::evaluate::op::collected;
use model::segments::{
    Profiling, SegmentsOp, assign, assign_bytes, contingency, labels, points, probe, sample, seed,
    silhouettes, update,
};
use plan::Failure;
use store::AlignedBuf;
use store::partition::Partition;
use tensor::{ObjectKey, Task};

/// Interactions that are read together.
const PIECE: u64 = 1 << 18;

/// Opens a task of segments.
///
/// # Errors
/// Where the task's writes are not those of its op.
pub(crate) fn begin(task: &Task, op: SegmentsOp, room: &Room) -> Result<Box<dyn Work>, Failure> {
    let writes = match op {
        SegmentsOp::Contingency(_) | SegmentsOp::Profile(_) | SegmentsOp::Probe(_) => 0,
        _ => 1,
    };
    Whole::begin(task, writes, room, move |came, writes, room| {
        run(&op, came, writes, room)
    })
}

/// Objects of u32 side by side.
fn words(blocks: &[Numbers]) -> Vec<&[u32]> {
    blocks.iter().map(Numbers::typed).collect()
}

/// An object of these rows.
fn wrote<T: bytemuck::NoUninit>(key: ObjectKey, rows: &[T], row: usize) -> Output {
    let buffer = AlignedBuf::copy_of(bytemuck::cast_slice(rows));
    Output {
        objects: vec![(key, held(buffer, row * size_of::<T>()))],
        ..Output::default()
    }
}

fn told(partial: Vec<u8>) -> Output {
    Output {
        partial,
        ..Output::default()
    }
}

fn run(
    op: &SegmentsOp,
    mut came: Came,
    writes: &[ObjectKey],
    room: &Room,
) -> Result<Output, Failure> {
    let (pool, simd) = (&room.pool, room.simd);
    Ok(match op {
        SegmentsOp::Points(op) => {
            let rows = came.numbers()?;
            let partition = came.partition()?;
            let rows: &[u8] = rows.typed();
            fits(rows.len() as u64, room.budget_bytes)?;
            same_rows(&partition, rows.len() / (4 * op.width as usize))?;
            let mut out = AlignedBuf::copy_of(rows);
            let count =
                pool.install(|| points(simd, *op, partition.offsets(), out.typed_mut::<f32>()));
            Output {
                objects: vec![(writes[0], held(out, 4 * op.width as usize))],
                partial: partial(&[count as f64]),
                ..Output::default()
            }
        }
        SegmentsOp::Sample(op) => {
            let points = came.numbers()?;
            let words = (op.attributes > 0).then(|| came.numbers()).transpose()?;
            let words = words.as_ref().map_or(&[][..], |words| words.typed());
            let taken = sample(*op, points.typed(), words);
            wrote(writes[0], &taken, (1 + op.width + op.attributes) as usize)
        }
        SegmentsOp::Seed(op) => {
            let sample = came.rest()?;
            let centres = pool.install(|| seed(simd, *op, &words(&sample)));
            wrote(writes[0], &centres, op.shape.width as usize)
        }
        SegmentsOp::Assign(op) => {
            let (points, centres) = (came.numbers()?, came.numbers()?);
            let points: &[f32] = points.typed();
            let rows = points.len() as u64 / u64::from(op.shape.width);
            fits(assign_bytes(op.shape, rows), room.budget_bytes)?;
            let sums = pool.install(|| assign(simd, op.shape, points, centres.typed()));
            wrote(writes[0], &sums, 1)
        }
        SegmentsOp::Update(op) => {
            let (sums, sample) = (came.numbers()?, came.rest()?);
            let sums: &[f64] = sums.typed();
            let centres = pool.install(|| update(simd, op.shape, sums, &words(&sample)));
            let (k, all) = (op.shape.k as usize, op.shape.sums());
            let told: Vec<f64> = std::iter::once(sums[all - 1])
                .chain(sums[all - 1 - k..all - 1].iter().copied())
                .collect();
            Output {
                partial: partial(&told),
                ..wrote(writes[0], &centres, op.shape.width as usize)
            }
        }
        SegmentsOp::Silhouettes(op) => {
            let (centres, sample) = (came.numbers()?, came.rest()?);
            let (rows, sums) =
                pool.install(|| silhouettes(simd, op.shape, &words(&sample), centres.typed()));
            Output {
                partial: partial(&sums),
                ..wrote(writes[0], &rows, 2)
            }
        }
        SegmentsOp::Label(op) => {
            let (points, centres) = (came.numbers()?, came.numbers()?);
            let found = pool.install(|| labels(simd, op, points.typed(), centres.typed()));
            wrote(writes[0], &found, 2)
        }
        SegmentsOp::Contingency(op) => {
            let (labels, words) = (came.numbers()?, came.numbers()?);
            told(partial(&contingency(op, labels.typed(), words.typed())))
        }
        SegmentsOp::Profile(op) => {
            let partition = came.partition()?;
            let words = (op.attributes > 0).then(|| came.numbers()).transpose()?;
            let words = words.as_ref().map_or(&[][..], |words| words.typed());
            let users = op.users.as_ref().map_or(0, tensor::Grid::rows_total);
            let counts = 4 * u64::from(partition.rows()) * op.sizes.len() as u64;
            // Lists of products are made of the counts.
            let needed = users * Profiling::USER_BYTES + 8 * counts;
            fits(needed, room.budget_bytes)?;
            let mut profiling = Profiling::new(op.clone(), partition.rows() as usize);
            let mut own = None;
            while came.left() > 0 {
                let labels = came.numbers()?;
                profiling.labels(labels.typed());
                own = Some(labels);
            }
            let own = own.as_ref().filter(|_| op.users.is_none());
            let own = own.map_or(&[][..], |labels| labels.typed());
            let mut lacks = None;
            walk(&partition, PIECE, 1 << 32, false, |csr, first| {
                lacks = lacks.or(profiling.absorb(csr, first, own));
            })?;
            if let Some(row) = lacks {
                let what = format!("names row {row}, which its data set lacks");
                return Err(bad_partition(&what));
            }
            told(collected(&profiling.finish(words)))
        }
        SegmentsOp::Probe(op) => {
            let sample = came.rest()?;
            told(collected(&pool.install(|| probe(op, &words(&sample)))))
        }
    })
}

fn same_rows(partition: &Partition, rows: usize) -> Result<(), Failure> {
    if partition.rows() as usize == rows {
        return Ok(());
    }
    let what = format!("has {} rows instead of {rows}", partition.rows());
    Err(bad_partition(&what))
}
