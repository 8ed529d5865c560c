//! Factors of 0 or more: the equations of a row are descended, coordinate by coordinate, from its last factors, instead of
//! being solved. What one row adds to an objective never rises that way, so neither does the whole.

/// Sweeps over the columns of a row and half-step. The factors of two epochs lie near each other, so that few are enough, and
/// at rank 64 eight cost about as much as one Cholesky.
pub(super) const SWEEPS: usize = 8;

/// Improves x ≥ 0 by sweeps over the columns of A x = b, in f64: see [`kernels::non_negative`] for the method.
///
/// # Errors
/// The first column whose diagonal is not a positive number.
pub(super) fn descend(a: &[f64], b: &[f64], x: &mut [f64]) -> Result<(), usize> {
    let n = b.len();
    for _ in 0..SWEEPS {
        for k in 0..n {
            let row = &a[k * n..][..n];
            if !(row[k] > 0.0 && row[k] < f64::INFINITY) {
                return Err(k);
            }
            let product: f64 = row.iter().zip(&*x).map(|(a, x)| a * x).sum();
            let best = x[k] - (product - b[k]) / row[k];
            x[k] = if best < 0.0 { 0.0 } else { best };
        }
    }
    Ok(())
}
