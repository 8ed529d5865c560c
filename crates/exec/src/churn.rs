//! Runs the ops of churn: partitions pass by in pieces, histories and factors of a block come whole, and so does the sample.

use crate::evaluate::reading::{bug, partial, trouble};
use crate::objects::{Numbers, bad_partition, fits, held};
use crate::whole::{Came, Whole};
use crate::work::{Output, Room, Work};
use bytemuck::NoUninit;
use model::churn::{ChurnOp, Histories, History, Moments, SCORE_WORDS, WORDS, fit, sample, scores};
use model::evaluate::op::collected;
use plan::Failure;
use store::AlignedBuf;
use store::partition::Partition;
use tensor::{ObjectKey, Task};

/// Interactions that are read together.
const PIECE: u64 = 1 << 18;

/// Opens a task of churn.
///
/// # Errors
/// Where the task's writes are not those of its op.
pub(crate) fn begin(task: &Task, op: ChurnOp, room: &Room) -> Result<Box<dyn Work>, Failure> {
    Whole::begin(task, 1, room, move |came, writes, room| {
        run(&op, came, writes[0], room)
    })
}

/// An object of these rows.
fn wrote<T: NoUninit>(key: ObjectKey, rows: &[T], row: usize) -> Output {
    let buffer = AlignedBuf::copy_of(bytemuck::cast_slice(rows));
    Output {
        objects: vec![(key, held(buffer, row * size_of::<T>()))],
        ..Output::default()
    }
}

fn run(op: &ChurnOp, mut came: Came, write: ObjectKey, room: &Room) -> Result<Output, Failure> {
    Ok(match op {
        ChurnOp::Histories(op) => {
            let partition = came.partition()?;
            let needed = Histories::bytes(op.moments, partition.rows().into());
            // Beside them the object that is made of them.
            fits(2 * needed, room.budget_bytes)?;
            let words = histories(op.moments, &partition)?;
            Output {
                partial: partial(&counts(&words)),
                ..wrote(write, &words, Moments::WORDS)
            }
        }
        ChurnOp::Sample(op) => {
            let histories = came.numbers()?;
            let factors = came.rest()?;
            let of = |place: usize| factors.get(place).map_or(&[][..], Numbers::typed);
            let rows = histories.typed::<u32>().len() / Moments::WORDS;
            same_rows(rows, op.factors.width, &factors)?;
            let taken = sample(*op, histories.typed(), [of(0), of(1)]);
            wrote(write, &taken, 1 + 2 * (WORDS + op.factors.columns as usize))
        }
        ChurnOp::Fit(op) => {
            let sample = came.rest()?;
            let words: Vec<&[u32]> = sample.iter().map(Numbers::typed).collect();
            let taken: usize = words.iter().map(|words| words.len()).sum();
            // Rows at both cuts as f64, once more standardized, and figures of each.
            fits(24 * taken as u64, room.budget_bytes)?;
            let (fitted, told) = room.pool.install(|| fit(op, &words));
            Output {
                partial: collected(&told),
                ..wrote(write, &fitted, fitted.len())
            }
        }
        ChurnOp::Score(op) => {
            let histories = came.numbers()?;
            let mut rest = came.rest()?;
            let Some(fitted) = rest.pop() else {
                return Err(bug("a task of scores reads no regression".to_owned()));
            };
            let words: &[u32] = histories.typed();
            let rows = words.len() / Moments::WORDS;
            same_rows(rows, op.factors.width, &rest)?;
            fits((8 * rows * SCORE_WORDS) as u64, room.budget_bytes)?;
            let factors = rest.first().map_or(&[][..], Numbers::typed);
            let scored = room
                .pool
                .install(|| scores(*op, words, factors, fitted.typed()));
            wrote(write, &scored, SCORE_WORDS)
        }
    })
}

/// The histories of the users of a partition.
fn histories(moments: Moments, partition: &Partition) -> Result<Vec<u32>, Failure> {
    let mut histories = Histories::new(moments, partition.rows() as usize);
    let offsets = partition.offsets();
    let mut start = 0;
    while start < partition.interactions() {
        let end = partition.interactions().min(start + PIECE);
        let small = partition.small(start..end);
        let small = small.map_err(|error| trouble(partition.file(), error))?;
        let Some(times) = small.time else {
            return Err(bad_partition("has no times"));
        };
        for row in partition.rows_of(start..end) {
            let of = offsets[row].max(start)..offsets[row + 1].min(end);
            for place in of {
                histories.add(row, times[(place - start) as usize]);
            }
        }
        partition.drop_behind(start..end);
        start = end;
    }
    Ok(histories.finish())
}

/// Users who are there at the first cut and the second, and those of each who churn.
fn counts(words: &[u32]) -> [f64; 4] {
    let mut counts = [0.0; 4];
    for user in words.chunks_exact(Moments::WORDS) {
        for cut in 0..2 {
            let history = History::of(&user[cut * WORDS..][..WORDS]);
            let there = history.interactions > 0;
            counts[cut] += f64::from(u8::from(there));
            counts[2 + cut] += f64::from(u8::from(there && history.churned));
        }
    }
    counts
}

fn same_rows(rows: usize, width: u32, factors: &[Numbers]) -> Result<(), Failure> {
    let fits = |factors: &Numbers| factors.typed::<f32>().len() == rows * width as usize;
    if factors.iter().all(fits) {
        return Ok(());
    }
    let sentence = format!("factors of other rows than the {rows} of their block");
    Err(bug(sentence))
}
