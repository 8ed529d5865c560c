//! Side information: what is known of a row beside its interactions, as a term of its equations.
//!
//! A row i has a vector x_i over the columns of the attributes: a number has one, an attribute of levels one a level, of
//! which one is 1. Over the observed attributes the objective has λ1 (‖Aᵀu_i − x_i‖² + λ2 ‖A‖²) more, so a row's
//! equations have λ1 Σ a aᵀ and λ1 Σ a x more, summed over the columns of what is observed of it. Rows of which the same
//! is observed share the matrix. Linear terms of a row's bias (see [`super::linear`]) add to its right-hand side alone.
//!
//! **Invariant:** what a row is given depends on its own words and on the maps alone.

use super::biases::Biases;
use super::dense::{cholesky, lower_len, substitute};
use super::gram::block_gram;
use super::linear::{LinearSums, linear_len, terms_of};
use super::non_negative::descend;
use super::ops::{Columns, FailedRow, HalfStepOp, SideOp};
use super::shared::Common;
use kernels::{Simd, gram, upper_index, upper_len};
use rayon::prelude::*;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use tensor::attributes::MISSING;

/// Matrices of so many sets of observed attributes are kept, those of most rows; others are made for each row.
const KEPT: usize = 16;

/// The observed attributes of a row, a bit each.
type Observed = Vec<u64>;

/// The side information of one block.
pub struct Side {
    simd: Simd,
    rank: usize,
    width: usize,
    weight: f64,
    attributes: Vec<Columns>,
    /// The first column of each attribute.
    starts: Vec<usize>,
    /// A word for each row and attribute.
    words: Vec<u32>,
    maps: Option<Maps>,
    linear: bool,
    /// The linear terms of columns.
    terms: Option<Vec<f64>>,
}

/// A, as rows use it.
struct Maps {
    /// A row of factors a column.
    rows: Vec<f32>,
    /// λ1 Σ a aᵀ of each attribute, upper triangles.
    grams: Vec<Vec<f64>>,
}

impl Maps {
    /// `base` + λ1 Σ a aᵀ over the observed attributes, an upper triangle.
    fn matrix(&self, observed: &Observed, mut base: Vec<f64>) -> Vec<f64> {
        for (place, gram) in self.grams.iter().enumerate() {
            if observed[place / 64] >> (place % 64) & 1 == 1 {
                base.iter_mut().zip(gram).for_each(|(sum, m)| *sum += m);
            }
        }
        base
    }
}

impl Side {
    /// Of a block's words and, where there are some yet, the maps and the linear terms.
    ///
    /// # Panics
    /// Where lengths are not those of the op.
    pub fn new(
        simd: Simd,
        rank: u32,
        op: &SideOp,
        words: &[u32],
        maps: Option<&[f32]>,
        terms: Option<&[f32]>,
    ) -> Self {
        let width = rank.next_multiple_of(16) as usize;
        assert!(
            words.len().is_multiple_of(op.attributes.len()),
            "a word for each row and attribute"
        );
        let starts = op.starts();
        let maps = maps.map(|rows| {
            assert_eq!(rows.len(), op.columns() * width, "a row a column");
            let of = |(columns, &start): (&Columns, &usize)| {
                let rows = &rows[start * width..][..columns.count() * width];
                let (mut chunk, mut sum) =
                    (vec![0.0; upper_len(width)], vec![0.0; upper_len(width)]);
                gram(simd, width, rows, &mut chunk, &mut sum);
                scale(&mut sum, op.weight);
                sum
            };
            Maps {
                rows: rows.to_vec(),
                grams: op.attributes.iter().zip(&starts).map(of).collect(),
            }
        });
        Side {
            simd,
            rank: rank as usize,
            width,
            weight: op.weight,
            attributes: op.attributes.clone(),
            starts,
            words: words.to_vec(),
            maps,
            linear: op.linear,
            terms: terms.map(terms_of),
        }
    }

    /// Bytes of the side information of `rows` rows, with all that a half-step makes of it.
    pub fn bytes(op: &SideOp, width: usize, rows: u64, threads: usize) -> u64 {
        let attributes = op.attributes.len();
        let kept = KEPT + 2 * threads;
        // The words as they came and their copy; which rows have an attribute; the rows that have it.
        rows * (12 * attributes + 4 * width) as u64
            + (8 * op.columns() * width) as u64
            + 8 * ((attributes + 2) * upper_len(width) + side_len(width, op) + op.columns()) as u64
            + (kept * (12 * upper_len(width) + 8 * width * width)) as u64
    }

    fn row(&self, row: usize) -> &[u32] {
        &self.words[row * self.attributes.len()..][..self.attributes.len()]
    }

    fn observed(&self, row: usize) -> Observed {
        let mut bits = vec![0; self.attributes.len().div_ceil(64)];
        for (place, &word) in self.row(row).iter().enumerate() {
            bits[place / 64] |= u64::from(word != MISSING) << (place % 64);
        }
        bits
    }

    /// The columns of the observed attributes that are not 0, each with its value.
    fn entries(&self, row: usize) -> impl Iterator<Item = (usize, f64)> {
        entries(&self.attributes, &self.starts, self.row(row))
    }

    /// What the attributes of a row come to in its bias: Σ x w.
    fn term(&self, row: usize) -> f64 {
        let Some(terms) = &self.terms else {
            return 0.0;
        };
        self.entries(row).map(|(column, x)| terms[column] * x).sum()
    }

    /// Whether rows are solved with any of it.
    fn is_used(&self) -> bool {
        self.maps.is_some() || self.terms.is_some()
    }

    /// λ1 Σ a x; and, where the row's bias is held to its term by `ridge`, that.
    fn right_hand_side(&self, row: usize, ridge: f64, biases: Biases) -> Vec<f64> {
        let mut sum = vec![0.0; self.width];
        if let Some(maps) = &self.maps {
            for (column, x) in self.entries(row) {
                let map = &maps.rows[column * self.width..][..self.width];
                for (sum, &a) in sum.iter_mut().zip(map) {
                    *sum += f64::from(a) * x;
                }
            }
            scale(&mut sum, self.weight);
        }
        if self.terms.is_some() {
            sum[biases.own()] += ridge * self.term(row);
        }
        sum
    }

    /// What `make` gives for the sets of observed attributes that most of some rows have.
    fn kept<T>(
        &self,
        rows: impl Iterator<Item = usize>,
        make: impl Fn(&Observed) -> T,
    ) -> BTreeMap<Observed, T> {
        let mut counts: BTreeMap<Observed, usize> = BTreeMap::new();
        for row in rows {
            *counts.entry(self.observed(row)).or_default() += 1;
        }
        let mut counts: Vec<(Observed, usize)> = counts.into_iter().collect();
        counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        let most = counts.into_iter().take(KEPT);
        most.map(|(observed, _)| {
            let made = make(&observed);
            (observed, made)
        })
        .collect()
    }

    /// Solves the rows without interactions from their attributes alone, and leaves those at zero of which nothing is
    /// known. `offsets` are those of the block's partition. No other row depends on them. They are held like rows of one
    /// interaction.
    ///
    /// # Errors
    /// The first row whose matrix has no positive pivot; `first_id` is the id of the block's first.
    pub fn read_out(
        &self,
        op: &HalfStepOp,
        offsets: &[u64],
        first_id: u32,
        out: &mut [f32],
    ) -> Result<(), FailedRow> {
        if !self.is_used() {
            return Ok(());
        }
        let rank = self.rank;
        let ridge = f64::from(op.formula.row_regularization(1, op.cells()));
        let is_cold = |row: usize| offsets[row] == offsets[row + 1];
        // The matrix for descent, its factor for solving; and what held columns move to the right-hand side.
        let matrix = |observed: &Observed| -> Result<(Vec<f64>, Vec<f64>), usize> {
            let mut upper = vec![0.0; upper_len(self.width)];
            if let Some(maps) = &self.maps {
                upper = maps.matrix(observed, upper);
            }
            let mut moved = vec![0.0; self.width];
            let take = |column: usize, share: f64| moved[column] += share;
            op.biases.detach(self.width, &mut upper, take);
            if op.non_negative {
                let mut matrix = square(self.width, rank, &upper);
                (0..rank).for_each(|k| matrix[k * rank + k] += ridge);
                return Ok((matrix, moved));
            }
            let mut lower = lower(self.width, rank, &upper, ridge);
            cholesky(rank, &mut lower)?;
            Ok((lower, moved))
        };
        let cold = (0..offsets.len() - 1).filter(|&row| is_cold(row));
        let kept = self.kept(cold, matrix);
        let solve = |row: usize, out: &mut [f32]| -> Result<(), usize> {
            let observed = self.observed(row);
            if observed.iter().all(|&bits| bits == 0) {
                return Ok(());
            }
            let matrix = match kept.get(&observed) {
                Some(kept) => Cow::Borrowed(kept),
                None => Cow::Owned(matrix(&observed)),
            };
            let (matrix, moved) = matrix.as_ref().as_ref().map_err(|&pivot| pivot)?;
            let mut x = self.right_hand_side(row, ridge, op.biases);
            x.iter_mut().zip(moved).for_each(|(x, share)| *x -= share);
            if op.non_negative {
                let rhs = std::mem::replace(&mut x, vec![0.0; rank]);
                descend(matrix, &rhs[..rank], &mut x)?;
            } else {
                substitute(rank, matrix, &mut x[..rank]);
            }
            out.iter_mut()
                .zip(&x[..rank])
                .for_each(|(out, &x)| *out = x as f32);
            Ok(())
        };
        let rows = out.par_chunks_exact_mut(self.width).enumerate();
        let failed = rows
            .filter(|(row, _)| is_cold(*row))
            .filter_map(|(row, out)| {
                let pivot = solve(row, out).err()? as u32;
                let row = first_id + row as u32;
                Some(FailedRow { row, pivot })
            });
        failed.min_by_key(|failed| failed.row).map_or(Ok(()), Err)
    }

    /// What the block adds to the equations of the maps: for each attribute the Gram of the rows that have it (upper
    /// triangle); for each column Σ u x; for each attribute the count of these rows and Σ x². Behind that stand the sums for
    /// linear terms. Rows without interactions are left out, and are zeros in `rows`.
    ///
    /// # Panics
    /// Where lengths disagree.
    pub fn partial(&self, op: &HalfStepOp, rows: &[f32], offsets: &[u64], out: &mut [f64]) {
        let width = self.width;
        assert_eq!(rows.len(), (offsets.len() - 1) * width, "rows of the block");
        let side = op.side.as_ref().expect("an op with side information");
        let (maps, linear) = out.split_at_mut(maps_len(width, side));
        if !maps.is_empty() {
            self.map_sums(rows, offsets, maps);
        }
        if self.linear {
            let mut sums = LinearSums::new(side.columns(), linear);
            let mut entries = Vec::new();
            for (row, ends) in offsets.windows(2).enumerate() {
                let count = ends[1] - ends[0];
                if count > 0 {
                    entries.clear();
                    entries.extend(self.entries(row));
                    let lambda = op.formula.row_regularization(count, op.cells());
                    let bias = rows[row * width + op.biases.own()];
                    let words = self.row(row).iter().enumerate();
                    let observed = words.filter(|(_, word)| **word != MISSING);
                    let observed = observed.map(|(place, _)| place);
                    sums.add(f64::from(lambda), f64::from(bias), &entries, observed);
                }
            }
        }
    }

    fn map_sums(&self, rows: &[f32], offsets: &[u64], out: &mut [f64]) {
        let (width, upper) = (self.width, upper_len(self.width));
        let (grams, rest) = out.split_at_mut(self.attributes.len() * upper);
        let columns = self.starts.last().map_or(0, |start| {
            start + self.attributes.last().map_or(0, |last| last.count())
        });
        let (sums, counts) = rest.split_at_mut(columns * width);
        let having: Vec<Vec<u32>> = (0..self.attributes.len())
            .into_par_iter()
            .map(|place| self.rows_having(place, offsets))
            .collect();
        // Attributes are often missing together.
        let mut made: BTreeMap<&[u32], usize> = BTreeMap::new();
        for (place, having) in having.iter().enumerate() {
            let at = place * upper;
            if let Some(&same) = made.get(&having[..]) {
                grams.copy_within(same * upper..(same + 1) * upper, at);
            } else {
                let picked: Vec<f32> = having
                    .iter()
                    .flat_map(|&row| &rows[row as usize * width..][..width])
                    .copied()
                    .collect();
                grams[at..at + upper].copy_from_slice(&block_gram(self.simd, width, &picked));
                made.insert(having, place);
            }
        }
        let mut parts = Vec::new();
        let mut rest = sums;
        for (place, columns) in self.attributes.iter().enumerate() {
            let part;
            (part, rest) = rest.split_at_mut(columns.count() * width);
            parts.push((place, part));
        }
        let counts = counts.par_chunks_exact_mut(2);
        parts
            .into_par_iter()
            .zip(counts)
            .for_each(|((place, part), counts)| {
                for &row in &having[place] {
                    let row = row as usize;
                    let word = self.row(row)[place];
                    let (column, x) = match self.attributes[place] {
                        Columns::Number => (0, f64::from(f32::from_bits(word))),
                        Columns::Levels(_) => (word as usize, 1.0),
                    };
                    let sum = &mut part[column * width..][..width];
                    for (sum, &u) in sum.iter_mut().zip(&rows[row * width..][..width]) {
                        *sum += f64::from(u) * x;
                    }
                    counts[0] += 1.0;
                    counts[1] += x * x;
                }
            });
    }

    /// The rows with interactions of which an attribute is observed.
    fn rows_having(&self, place: usize, offsets: &[u64]) -> Vec<u32> {
        (0..offsets.len() - 1)
            .filter(|&row| offsets[row] < offsets[row + 1] && self.row(row)[place] != MISSING)
            .map(|row| row as u32)
            .collect()
    }
}

/// The columns of a row's observed attributes that are not 0, each with its value: `starts` are the first columns of attributes, `words` the
/// row's.
pub fn entries(
    attributes: &[Columns],
    starts: &[usize],
    words: &[u32],
) -> impl Iterator<Item = (usize, f64)> {
    let entry = |((columns, &start), &word): ((&Columns, &usize), &u32)| match columns {
        Columns::Number => (start, f64::from(f32::from_bits(word))),
        Columns::Levels(_) => (start + word as usize, 1.0),
    };
    attributes
        .iter()
        .zip(starts)
        .zip(words)
        .filter(|(_, word)| **word != MISSING)
        .map(entry)
}

fn scale(numbers: &mut [f64], by: f64) {
    for number in numbers {
        *number *= by;
    }
}

/// The f64 of [`Side::partial`].
pub fn side_len(width: usize, op: &SideOp) -> usize {
    maps_len(width, op) + linear_len(op)
}

/// Those of them that maps are solved from, which stand first.
pub fn maps_len(width: usize, op: &SideOp) -> usize {
    if op.holds_factors() {
        op.attributes.len() * (upper_len(width) + 2) + op.columns() * width
    } else {
        0
    }
}

/// An upper triangle in the kernels' form as a square of the rank.
pub(super) fn square(width: usize, rank: usize, upper: &[f64]) -> Vec<f64> {
    let entry = |i: usize, j: usize| upper[upper_index(width, i.min(j), i.max(j))];
    (0..rank * rank)
        .map(|i| entry(i / rank, i % rank))
        .collect()
}

/// The same as the lower triangle of an equation's matrix, by rows.
pub(super) fn lower(width: usize, rank: usize, upper: &[f64], ridge: f64) -> Vec<f64> {
    let mut lower = Vec::with_capacity(lower_len(rank));
    for i in 0..rank {
        lower.extend((0..=i).map(|j| upper[upper_index(width, j, i)]));
        lower[lower_len(i) + i] += ridge;
    }
    lower
}

/// Side information on top of what all rows of a half-step have in common.
pub(super) struct Above {
    side: Arc<Side>,
    /// The common base, which is that of rows where there are no maps.
    base: Bases,
    /// Whether the base is wanted as solvers on panels take it.
    panels: bool,
    biases: Biases,
    kept: BTreeMap<Observed, Bases>,
}

/// The base of the rows of which the same is observed.
#[derive(Clone)]
pub(super) struct Bases {
    pub(super) upper: Vec<f32>,
    pub(super) common: Option<Common>,
}

/// What side information makes of the equations of one row.
pub(super) struct Extra<'a> {
    pub(super) bases: Cow<'a, Bases>,
    /// Added to the right-hand side.
    pub(super) rhs: Vec<f32>,
}

impl Above {
    /// Nothing where there are no maps and no linear terms yet.
    pub(super) fn of(side: Arc<Side>, base: &[f32], panels: bool, biases: Biases) -> Option<Self> {
        if !side.is_used() {
            return None;
        }
        let base = Bases {
            upper: base.to_vec(),
            common: None,
        };
        let mut above = Above {
            side,
            base,
            panels,
            biases,
            kept: BTreeMap::new(),
        };
        if let Some(maps) = &above.side.maps {
            let rows = above.side.words.len() / above.side.attributes.len();
            let bases = |observed: &Observed| above.bases(maps, observed);
            above.kept = above.side.kept(0..rows, bases);
        }
        Some(above)
    }

    fn bases(&self, maps: &Maps, observed: &Observed) -> Bases {
        let base = self.base.upper.iter().map(|&x| f64::from(x)).collect();
        let upper = maps.matrix(observed, base);
        let upper: Vec<f32> = upper.into_iter().map(|x| x as f32).collect();
        let common = self
            .panels
            .then(|| Common::of(self.side.width, &upper, self.biases, false));
        Bases { upper, common }
    }

    /// Of a row of the block that is held by `ridge`; `None` where nothing of it is observed.
    pub(super) fn row(&self, row: u32, ridge: f32) -> Option<Extra<'_>> {
        let observed = self.side.observed(row as usize);
        if observed.iter().all(|&bits| bits == 0) {
            return None;
        }
        let bases = match (self.kept.get(&observed), &self.side.maps) {
            (Some(kept), _) => Cow::Borrowed(kept),
            (None, Some(maps)) => Cow::Owned(self.bases(maps, &observed)),
            (None, None) => Cow::Borrowed(&self.base),
        };
        let ridge = f64::from(ridge);
        let rhs = self.side.right_hand_side(row as usize, ridge, self.biases);
        Some(Extra {
            bases,
            rhs: rhs.into_iter().map(|x| x as f32).collect(),
        })
    }
}
