//! The maps of side information: for each column of the attributes the ridge regression of its values on the factors of
//! the rows that have it.

use super::dense::{cholesky, dot, substitute};
use super::ops::{MapTally, MapsOp};
use super::side::{lower, maps_len, square};
use crate::reduce::tree_sum;
use kernels::upper_len;
use rayon::prelude::*;

/// The equations of one attribute, and the rows of the maps of its columns.
struct Attribute<'a> {
    /// The Gram of the rows that have it, upper triangle.
    gram: &'a [f64],
    /// Σ u x of each column.
    sums: &'a [f64],
    count: f64,
    /// Σ x².
    squares: f64,
    last: Option<&'a [f32]>,
    out: &'a mut [f32],
}

/// Solves (Σ u uᵀ + λ2 n) a = Σ u x for every column; n is the count of rows that have the attribute. `sums` is the root of
/// those partials of [`super::side::Side::partial`] that maps are solved from, `last` the maps that the rows were solved with.
///
/// # Panics
/// Where lengths are not those of the op.
pub fn solve_maps(op: &MapsOp, sums: &[f64], last: Option<&[f32]>, out: &mut [f32]) -> MapTally {
    let (width, upper) = (op.width(), upper_len(op.width()));
    assert_eq!(sums.len(), maps_len(width, &op.side), "sums of the op");
    assert_eq!(out.len(), op.side.columns() * width, "a row a column");
    let (grams, rest) = sums.split_at(op.side.attributes.len() * upper);
    let (sums, counts) = rest.split_at(op.side.columns() * width);
    let mut attributes = Vec::new();
    let mut out = out;
    for (place, columns) in op.side.attributes.iter().enumerate() {
        let (start, floats) = (op.side.starts()[place] * width, columns.count() * width);
        let ours;
        (ours, out) = out.split_at_mut(floats);
        attributes.push(Attribute {
            gram: &grams[place * upper..][..upper],
            sums: &sums[start..][..floats],
            count: counts[2 * place],
            squares: counts[2 * place + 1],
            last: last.map(|last| &last[start..][..floats]),
            out: ours,
        });
    }
    let solved: Vec<Result<(f64, f64), usize>> = attributes
        .into_par_iter()
        .map(|attribute| solve_attribute(op, attribute))
        .collect();
    let failed = solved.iter().zip(0..).find_map(|(solved, attribute)| {
        let pivot = solved.err()?;
        Some((attribute, pivot as u32))
    });
    let notes: Vec<(f64, f64)> = solved.into_iter().map(Result::unwrap_or_default).collect();
    let sum = |of: fn(&(f64, f64)) -> f64| {
        op.side.weight * tree_sum(&notes.iter().map(of).collect::<Vec<_>>())
    };
    MapTally {
        loss: sum(|note| note.0),
        taken: sum(|note| note.1),
        failed,
    }
}

/// The loss of an attribute with its new maps, and what the last ones took off the loss of maps of zeros; or the pivot
/// that failed.
fn solve_attribute(op: &MapsOp, attribute: Attribute<'_>) -> Result<(f64, f64), usize> {
    let (width, rank) = (op.width(), op.rank as usize);
    if attribute.count == 0.0 {
        return Ok((0.0, 0.0));
    }
    let gram = square(width, rank, attribute.gram);
    let ridge = op.regularization * attribute.count;
    let mut lower = lower(width, rank, attribute.gram, ridge);
    cholesky(rank, &mut lower)?;
    // aᵀ G a − 2 a · Σ u x: what a map adds to Σ x².
    let change = |map: &[f32], sums: &[f64]| -> (f64, f64) {
        let map: Vec<f64> = map[..rank].iter().map(|&a| f64::from(a)).collect();
        let quadratic: f64 = map
            .iter()
            .zip(gram.chunks_exact(rank))
            .map(|(a, row)| a * dot(row, &map))
            .sum();
        (quadratic - 2.0 * dot(&map, &sums[..rank]), dot(&map, &map))
    };
    let (mut loss, mut taken) = (attribute.squares, 0.0);
    for (column, out) in attribute.out.chunks_exact_mut(width).enumerate() {
        let sums = &attribute.sums[column * width..][..width];
        let mut map = sums[..rank].to_vec();
        substitute(rank, &lower, &mut map);
        out.iter_mut()
            .zip(&map)
            .for_each(|(out, &a)| *out = a as f32);
        let (added, norm) = change(out, sums);
        loss += added + ridge * norm;
        if let Some(last) = attribute.last {
            taken -= change(&last[column * width..][..width], sums).0;
        }
    }
    Ok((loss, taken))
}
