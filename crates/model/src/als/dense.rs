//! Small symmetric systems in f64: a bin has one, and there are few of them.
//!
//! **Invariant:** every sum has one order, whatever the threads; lanes run across columns or over the fixed positions of a
//! dot product.

use kernels::LANES;

/// Columns that are solved together: a row of them fills two registers.
pub(super) const STRIP: usize = 16;

/// The f64 of a lower triangle by rows: row i begins at i (i + 1) / 2.
pub(crate) const fn lower_len(n: usize) -> usize {
    n * (n + 1) / 2
}

pub(super) fn dot(x: &[f64], y: &[f64]) -> f64 {
    let mut sums = [0.0; LANES];
    let (x_whole, y_whole) = (x.chunks_exact(LANES), y.chunks_exact(LANES));
    let rest: f64 = x_whole
        .remainder()
        .iter()
        .zip(y_whole.remainder())
        .map(|(x, y)| x * y)
        .sum();
    for (x, y) in x_whole.zip(y_whole) {
        sums.iter_mut()
            .zip(x.iter().zip(y))
            .for_each(|(sum, (x, y))| *sum += x * y);
    }
    sums.iter().sum::<f64>() + rest
}

/// A = L Lᵀ in place, by rows of the lower triangle; or the pivot that failed.
pub(crate) fn cholesky(n: usize, a: &mut [f64]) -> Result<(), usize> {
    for i in 0..n {
        let (above, row) = a.split_at_mut(lower_len(i));
        for j in 0..i {
            let other = &above[lower_len(j)..][..=j];
            row[j] = (row[j] - dot(&row[..j], &other[..j])) / other[j];
        }
        let pivot = row[i] - dot(&row[..i], &row[..i]);
        if pivot.is_nan() || pivot <= 0.0 || pivot.is_infinite() {
            return Err(i);
        }
        row[i] = pivot.sqrt();
    }
    Ok(())
}

/// L Lᵀ x = b in place.
pub(crate) fn substitute(n: usize, l: &[f64], b: &mut [f64]) {
    for i in 0..n {
        let row = &l[lower_len(i)..][..=i];
        b[i] = (b[i] - dot(&row[..i], &b[..i])) / row[i];
    }
    for i in (0..n).rev() {
        let row = &l[lower_len(i)..][..=i];
        b[i] /= row[i];
        let x = b[i];
        b[..i].iter_mut().zip(row).for_each(|(b, l)| *b -= l * x);
    }
}

/// L Lᵀ X = B in place for [`STRIP`] columns, given as the rows of B.
pub(super) fn substitute_strip(n: usize, l: &[f64], b: &mut [[f64; STRIP]]) {
    for i in 0..n {
        let row = &l[lower_len(i)..][..=i];
        let (before, at) = b.split_at_mut(i);
        let at = &mut at[0];
        for (l, x) in row.iter().zip(before.iter()) {
            at.iter_mut().zip(x).for_each(|(b, x)| *b -= l * x);
        }
        for b in at.iter_mut() {
            *b /= row[i];
        }
    }
    for i in (0..n).rev() {
        let row = &l[lower_len(i)..][..=i];
        let (before, at) = b.split_at_mut(i);
        let at = &mut at[0];
        for b in at.iter_mut() {
            *b /= row[i];
        }
        for (l, b) in row.iter().zip(before.iter_mut()) {
            b.iter_mut().zip(at.iter()).for_each(|(b, x)| *b -= l * x);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_systems_are_solved_and_singular_ones_named() {
        let (mut l, mut x) = ([4.0, 2.0, 5.0], [10.0, 17.0]);
        cholesky(2, &mut l).unwrap();
        substitute(2, &l, &mut x);
        assert!(
            (x[0] - 1.0).abs() < 1e-15 && (x[1] - 3.0).abs() < 1e-15,
            "{x:?}"
        );
        let mut strip = [[10.0; STRIP], [17.0; STRIP]];
        substitute_strip(2, &l, &mut strip);
        for (one, many) in x.iter().zip(strip) {
            assert!(many.iter().all(|x| (x - one).abs() < 1e-15), "{many:?}");
        }
        assert_eq!(cholesky(2, &mut [1.0, 1.0, 1.0]), Err(1));
    }
}
