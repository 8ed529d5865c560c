//! Small dense systems in f64, for what is solved once and must be exact: few systems of a mode, none of a row.

use kernels::LANES;

/// The Cholesky factor L of a symmetric positive definite matrix of n rows, by rows, into its lower triangle; or the pivot
/// that failed.
pub(super) fn factor(n: usize, a: &mut [f64]) -> Result<(), usize> {
    for i in 0..n {
        let (above, row) = a.split_at_mut(i * n);
        let row = &mut row[..n];
        for j in 0..i {
            let other = &above[j * n..][..n];
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

/// Solves L Lᵀ x = b in place, with the L of [`factor`].
pub(super) fn substitute(n: usize, lower: &[f64], b: &mut [f64]) {
    for i in 0..n {
        let row = &lower[i * n..][..n];
        b[i] = (b[i] - dot(&row[..i], &b[..i])) / row[i];
    }
    for i in (0..n).rev() {
        b[i] /= lower[i * n + i];
        let x = b[i];
        b[..i]
            .iter_mut()
            .zip(&lower[i * n..][..i])
            .for_each(|(b, l)| *b -= l * x);
    }
}

/// x · y: 16 sums, then these in order, then the rest.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_systems_are_solved_and_singular_ones_named() {
        let (mut a, mut x) = (vec![4.0, 2.0, 2.0, 5.0], vec![10.0, 17.0]);
        factor(2, &mut a).unwrap();
        substitute(2, &a, &mut x);
        assert!(
            (x[0] - 1.0).abs() < 1e-15 && (x[1] - 3.0).abs() < 1e-15,
            "{x:?}"
        );
        assert_eq!(factor(2, &mut [1.0, 1.0, 1.0, 1.0]), Err(1));
    }
}
