//! A block of a model from rows in training: factors, then what the score needs beside them as columns.

use super::noise::weight;
use super::ops::{Beside, PublishOp};
use kernels::sgd::{BIAS, COUNT, row_len};
use tensor::Mode;

/// Fills published rows. A row without interactions is zeros.
///
/// # Panics
/// Where the lengths are not those of equally many rows.
pub fn publish(op: &PublishOp, trained: &[f32], out: &mut [f32]) {
    let (rank, width) = (op.rank as usize, kernels::width_of(op.rank as usize));
    assert_eq!(
        trained.len() / row_len(width),
        out.len() / op.width(),
        "a row for a row"
    );
    let total = kernels::random::ln(op.noise.max(f64::MIN_POSITIVE));
    let rows = trained.chunks_exact(row_len(width));
    for (trained, out) in rows.zip(out.chunks_exact_mut(op.width())) {
        let tail = &trained[width..];
        let count = tail[COUNT] as u64;
        if count == 0 {
            continue;
        }
        out[..rank].copy_from_slice(&trained[..rank]);
        match (op.beside, op.mode) {
            (Beside::Nothing, _) => {}
            (Beside::Biases, Mode::Time) => out[rank..rank + 2].fill(1.0),
            (Beside::Biases, Mode::User) => out[rank..rank + 2].copy_from_slice(&[tail[BIAS], 1.0]),
            (Beside::Biases, _) => out[rank..rank + 2].copy_from_slice(&[1.0, tail[BIAS]]),
            (Beside::Noise, Mode::User) => out[rank] = 1.0,
            (Beside::Noise, _) => {
                out[rank] = (kernels::random::ln(weight(count as f64, op.power)) - total) as f32;
            }
        }
    }
}
