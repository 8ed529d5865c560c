//! Co-training: a linear classifier of nodes on their unit rows, p = softmax(û W + c), and the cross-entropy −ln p of a node's label.
//! By the logits its gradient is p less 1 for the label, and so by W the product of rows and that, by rows that times Wᵀ. Rows feel it
//! times a weight; the classifier does not, whose steps are Adam's and of one length whatever the weight: at 0 it learns from rows
//! that know nothing of it. Nodes without a label, or without an interaction, do not count; what the classifier makes of those that have
//! one to be compared with is counted, and nobody learns from it.

use crate::graph::dense::{SHARE_ROWS, TOGETHER, tree};
use crate::graph::ops::{LabelSums, LabelsOp};
use kernels::random::ln;
use kernels::{Simd, cross, rotate, softmax, width_of};
use rayon::prelude::*;

/// The least probability that has a logarithm here.
const LEAST: f64 = 1e-37;

/// What is told of a share of rows behind the sums by the matrix: loss, right ones, all; of those that are only compared, right ones, all.
const TOLD: usize = 5;

/// The classifier as kernels take it: a square with zeros around it, and its transpose.
struct Squares {
    side: usize,
    matrix: Vec<f32>,
    transposed: Vec<f32>,
}

impl Squares {
    fn of(op: &LabelsOp, lines: &[f32]) -> Self {
        let (side, width) = (side(op), width_of(op.classes as usize));
        assert_eq!(lines.len(), op.columns as usize * width, "a line a column");
        let (mut matrix, mut transposed) = (vec![0.0; side * side], vec![0.0; side * side]);
        for (k, line) in lines.chunks_exact(width).enumerate() {
            matrix[k * side..][..width].copy_from_slice(line);
            for (c, &w) in line.iter().enumerate() {
                transposed[c * side + k] = w;
            }
        }
        Squares {
            side,
            matrix,
            transposed,
        }
    }
}

/// Columns of rows and of classes, the more of both.
fn side(op: &LabelsOp) -> usize {
    width_of(op.columns.max(op.classes) as usize)
}

/// Bytes that the labels of a block of rows take beside them.
pub fn labels_bytes(op: &LabelsOp, rows: usize, threads: usize) -> u64 {
    let side = side(op);
    let sums = op.columns as usize * width_of(op.classes as usize) + TOLD;
    let groups = rows.div_ceil(SHARE_ROWS * TOGETHER) + TOGETHER;
    let share = 3 * 4 * SHARE_ROWS * side + 12 * side * side;
    (8 * side * side + 8 * sums * groups + threads * share) as u64
}

/// What is read of a block: its embeddings, degrees and words of attributes, and the classifier.
#[derive(Clone, Copy)]
pub struct LabelRows<'a> {
    /// [by⁻¹ · û, ...] a row.
    pub embeddings: &'a [f32],
    /// A degree a row.
    pub degrees: &'a [f64],
    /// A word an attribute and row.
    pub words: &'a [u32],
    /// W, and c as its last line.
    pub matrix: &'a [f32],
}

impl LabelRows<'_> {
    /// The rows of a share that count, with their labels; behind those that are taught those that are only compared with, of which there
    /// are as many as the second number says.
    fn labelled(self, op: &LabelsOp, share: usize) -> (Vec<(usize, usize)>, usize) {
        let first = share * SHARE_ROWS;
        let rows = first..self.degrees.len().min(first + SHARE_ROWS);
        let (mut taught, mut compared) = (Vec::new(), Vec::new());
        for row in rows.filter(|&row| self.degrees[row] > 0.0) {
            let words = &self.words[row * op.attributes as usize..];
            let label = words[op.place as usize];
            let other = op.check.as_ref().and_then(|check| {
                let level = words[check.place as usize];
                check.classes.get(level as usize).copied()
            });
            if label < op.classes {
                taught.push((row, label as usize));
            } else if let Some(other) = other.filter(|&other| other < op.classes) {
                compared.push((row, other as usize));
            }
        }
        let count = compared.len();
        taught.append(&mut compared);
        (taught, count)
    }
}

/// Adds the gradients by the labels of a block to those by its embeddings; the gradients by the classifier, as many lines as it has, in
/// f64, and what is told.
///
/// # Panics
/// Where lengths are not those of equally many rows.
pub fn labels(
    simd: Simd,
    op: &LabelsOp,
    of: LabelRows<'_>,
    gradients: &mut [f32],
) -> (Vec<f64>, LabelSums) {
    let width = width_of(op.columns as usize);
    let squares = Squares::of(op, of.matrix);
    assert_eq!(gradients.len(), of.degrees.len() * width, "a degree a row");
    assert_eq!(of.embeddings.len(), gradients.len(), "as many rows");
    let share = SHARE_ROWS * width;
    let groups = gradients.chunks_mut(TOGETHER * share).enumerate();
    let groups = groups.filter_map(|(group, gradients)| {
        let shares = gradients.par_chunks_mut(share).enumerate();
        let sums = shares.map(|(at, gradients)| {
            let share = group * TOGETHER + at;
            of_share(simd, op, &squares, (of, share), gradients)
        });
        tree(sums.collect())
    });
    let sums = tree(groups.collect());
    let lines = op.columns as usize * width_of(op.classes as usize);
    let mut sums = sums.unwrap_or_else(|| vec![0.0; lines + TOLD]);
    let told = sums.split_off(lines);
    let told = LabelSums {
        loss: told[0],
        right: told[1] as u64,
        all: told[2] as u64,
        checked_right: told[3] as u64,
        checked: told[4] as u64,
    };
    (sums, told)
}

fn of_share(
    simd: Simd,
    op: &LabelsOp,
    squares: &Squares,
    (of, share): (LabelRows<'_>, usize),
    gradients: &mut [f32],
) -> Vec<f64> {
    let (rank, width, side) = (
        op.columns as usize - 1,
        width_of(op.columns as usize),
        squares.side,
    );
    let (labelled, compared) = of.labelled(op, share);
    let taught = labelled.len() - compared;
    let mut rows = vec![0.0; labelled.len() * side];
    for (row, &(at, _)) in rows.chunks_exact_mut(side).zip(&labelled) {
        let embedding = &of.embeddings[at * width..][..rank];
        for (x, e) in row.iter_mut().zip(embedding) {
            *x = op.by * e;
        }
        row[rank] = 1.0;
    }
    let mut slopes = vec![0.0; rows.len()];
    rotate(simd, side, &squares.matrix, &rows, &mut slopes);
    softmax(simd, side, op.classes as usize, &mut slopes);
    let (mut loss, mut right) = (0.0, [0.0; 2]);
    let probabilities = slopes.chunks_exact_mut(side).zip(&labelled);
    for (at, (p, &(_, label))) in probabilities.enumerate() {
        let is_right = first_most(&p[..op.classes as usize]) == label;
        right[usize::from(at >= taught)] += f64::from(u8::from(is_right));
        if at < taught {
            loss -= f64::from(op.weight) * ln(f64::from(p[label]).max(LEAST));
            p[label] -= 1.0;
        }
    }
    // Nobody learns from the others.
    rows.truncate(taught * side);
    slopes.truncate(taught * side);
    let (by, mut back) = (op.by * op.weight, vec![0.0; rows.len()]);
    rotate(simd, side, &squares.transposed, &slopes, &mut back);
    for (back, &(at, _)) in back.chunks_exact(side).zip(&labelled) {
        let gradient = &mut gradients[(at % SHARE_ROWS) * width..][..rank];
        for (g, b) in gradient.iter_mut().zip(back) {
            *g += by * b;
        }
    }
    let (mut chunk, mut square) = (vec![0.0; side * side], vec![0.0; side * side]);
    cross(simd, side, (&rows, &slopes), &mut chunk, &mut square);
    let lines = square.chunks_exact(side).take(op.columns as usize);
    let lines = lines.flat_map(|line| &line[..width_of(op.classes as usize)]);
    let told = [loss, right[0], taught as f64, right[1], compared as f64];
    lines.copied().chain(told).collect()
}

/// The place of the largest number, the first of equal ones.
fn first_most(numbers: &[f32]) -> usize {
    let mut most = 0;
    for (place, &x) in numbers.iter().enumerate() {
        if x > numbers[most] {
            most = place;
        }
    }
    most
}
