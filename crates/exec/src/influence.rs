//! Runs the ops of influencers: what all rows are comes whole, a partition is passed over in pieces.

use crate::evaluate::reading::walk;
use crate::objects::{Numbers, bad_partition, fits, held};
use crate::whole::{Came, Whole};
use crate::work::{Output, Room, Work};
use model::evaluate::op::collected;
use model::facts::Pairs;
use model::influence::ops::{ReachedOp, Scored, ScoresOp};
use model::influence::{
    InfluenceOp, Neighbours, Others, best, reached, scores, strengths, through,
};
use plan::Failure;
use store::AlignedBuf;
use store::partition::Partition;
use tensor::{CsrRef, Grid, ObjectKey, Task};

/// Interactions that are read together.
const PIECE: u64 = 1 << 18;

/// Opens a task of influencers.
///
/// # Errors
/// Where the task's writes are not those of its op.
pub(crate) fn begin(task: &Task, op: InfluenceOp, room: &Room) -> Result<Box<dyn Work>, Failure> {
    let writes = usize::from(!matches!(op, InfluenceOp::Scores(_)));
    Whole::begin(task, writes, room, move |came, writes, room| {
        run(&op, came, writes, room)
    })
}

fn run(
    op: &InfluenceOp,
    mut came: Came,
    writes: &[ObjectKey],
    room: &Room,
) -> Result<Output, Failure> {
    Ok(match op {
        InfluenceOp::Edges(op) => {
            let ties = neighbours(&mut came, op.first, op.partitions, room)?;
            wrote(writes[0], &ties.strengths())
        }
        InfluenceOp::Counts => {
            let partition = came.partition()?;
            let mut out = zeros(&partition, room)?;
            let mut pairs = Pairs::default();
            pass(&partition, |csr, first| {
                through(&mut pairs, csr, first, None, &mut out)
            })?;
            wrote(writes[0], &out)
        }
        InfluenceOp::Strengths(op) => {
            let partition = came.partition()?;
            let mut out = zeros(&partition, room)?;
            let (came, mut pairs) = (came.rest()?, Pairs::default());
            let counts = others(&op.columns, &came);
            pass(&partition, |csr, first| {
                strengths(&mut pairs, csr, first, &counts, &mut out)
            })?;
            wrote(writes[0], &out)
        }
        InfluenceOp::Through(op) => {
            let partition = came.partition()?;
            let mut out = zeros(&partition, room)?;
            let (came, mut pairs) = (came.rest()?, Pairs::default());
            let all = others(&op.columns, &came);
            pass(&partition, |csr, first| {
                through(&mut pairs, csr, first, Some(&all), &mut out)
            })?;
            wrote(writes[0], &out)
        }
        InfluenceOp::Scores(op) => {
            let scored = scored(op, &mut came, room)?;
            Output {
                partial: collected(&best(scored, op.top)),
                ..Output::default()
            }
        }
        InfluenceOp::Reached(op) => {
            let found = reaches(op, &mut came, room)?;
            let buffer = AlignedBuf::copy_of(bytemuck::cast_slice(&found));
            Output {
                objects: vec![(writes[0], held(buffer, 8))],
                ..Output::default()
            }
        }
    })
}

fn scored(op: &ScoresOp, came: &mut Came, room: &Room) -> Result<Vec<Scored>, Failure> {
    if op.edges {
        let ties = neighbours(came, op.first, op.partitions, room)?;
        let came = came.rest()?;
        return ties.scores(&others(&op.columns, &came)).map_err(lacks);
    }
    let partition = came.partition()?;
    let own = came.numbers()?;
    let (came, mut pairs) = (came.rest()?, Pairs::default());
    let (own, all) = (own.typed::<[f64; 2]>(), others(&op.columns, &came));
    fits(
        own.len() as u64 * size_of::<Scored>() as u64,
        room.budget_bytes,
    )?;
    same_rows(&partition, own.len())?;
    let mut out = vec![0.0; own.len()];
    pass(&partition, |csr, first| {
        scores(&mut pairs, csr, first, (&all, own), &mut out)
    })?;
    let rows = out.into_iter().zip(own).zip(op.first..);
    let rows = rows.map(|((score, own), row)| Scored {
        row,
        score,
        strength: own[0],
        ties: own[1] as u64,
    });
    Ok(rows.collect())
}

fn reaches(op: &ReachedOp, came: &mut Came, room: &Room) -> Result<Vec<[u32; 2]>, Failure> {
    let Some(columns) = &op.columns else {
        return Ok(neighbours(came, op.first, op.partitions, room)?.reached(op));
    };
    let partition = came.partition()?;
    let own = came.numbers()?;
    let all: Vec<Numbers> = (0..columns.blocks())
        .map(|_| came.numbers())
        .collect::<Result<_, _>>()?;
    let marks = came.rest()?;
    let marks = marks.iter().flat_map(Numbers::typed::<[u32; 2]>);
    let mut marks: Vec<[u32; 2]> = marks.copied().collect();
    marks.sort_unstable();
    let (all, mut found) = (others(columns, &all), Vec::new());
    let own = own.typed::<[f64; 2]>();
    same_rows(&partition, own.len())?;
    // Rows that are nearly isolated have few interactions: one at a time is little.
    for row in 0..own.len() {
        let range = partition.offsets()[row]..partition.offsets()[row + 1];
        if own[row][1] == 0.0 || own[row][1] > f64::from(op.ties_max) {
            continue;
        }
        let piece = crate::evaluate::reading::RowsOf::read(&partition, row..row + 1, false)?;
        let csr = piece.csr(&partition, 1 << 32)?;
        fits(16 * (range.end - range.start), room.budget_bytes)?;
        found.extend(reached(op, row, &csr, own, &all, &marks));
    }
    Ok(found)
}

/// Ties by edges, of one partition or of both directions.
fn neighbours(
    came: &mut Came,
    first: u32,
    partitions: u32,
    room: &Room,
) -> Result<Neighbours, Failure> {
    let partitions: Vec<Partition> = (0..partitions)
        .map(|_| came.partition())
        .collect::<Result<_, _>>()?;
    let rows = partitions.first().map_or(0, |of| of.rows() as usize);
    let edges: u64 = partitions.iter().map(Partition::interactions).sum();
    fits(edges * Neighbours::EDGE_BYTES, room.budget_bytes)?;
    let mut ties = Neighbours::new(first, rows);
    for partition in &partitions {
        same_rows(partition, rows)?;
        walk(partition, PIECE, 1 << 32, true, |csr, first| {
            ties.absorb(csr, first);
        })?;
    }
    Ok(ties)
}

/// Hands over all pieces of a partition.
fn pass(
    partition: &Partition,
    mut of: impl FnMut(&CsrRef<'_>, usize) -> Result<(), u32>,
) -> Result<(), Failure> {
    let mut found = Ok(());
    walk(partition, PIECE, 1 << 32, false, |csr, first| {
        if found.is_ok() {
            found = of(csr, first);
        }
    })?;
    found.map_err(lacks)
}

fn lacks(row: u32) -> Failure {
    bad_partition(&format!("names row {row}, which its data set lacks"))
}

fn same_rows(partition: &Partition, rows: usize) -> Result<(), Failure> {
    if partition.rows() as usize == rows {
        return Ok(());
    }
    let what = format!("has {} rows instead of {rows}", partition.rows());
    Err(bad_partition(&what))
}

fn others<'a>(grid: &'a Grid, blocks: &'a [Numbers]) -> Others<'a> {
    Others::new(grid, blocks.iter().map(Numbers::typed).collect())
}

fn zeros(partition: &Partition, room: &Room) -> Result<Vec<[f64; 2]>, Failure> {
    let rows = partition.rows();
    // Once here, once as an object.
    fits(32 * u64::from(rows), room.budget_bytes)?;
    Ok(vec![[0.0; 2]; rows as usize])
}

/// Two f64 a row as an object.
fn wrote(key: ObjectKey, rows: &[[f64; 2]]) -> Output {
    let buffer = AlignedBuf::copy_of(bytemuck::cast_slice(rows));
    Output {
        objects: vec![(key, held(buffer, 16))],
        ..Output::default()
    }
}
