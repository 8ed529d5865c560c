//! Poisson bootstrap over users: counter-based weights, sums per replicate, percentile intervals.
//!
//! A replicate weighs every user by an independent draw of Poisson(1) instead of drawing users with replacement,
//! so users can be met in any block and on any worker (Chamandy et al., "Estimating uncertainty for massive data
//! streams", 2012). The same weights serve all rankers, so differences between them are paired.
//!
//! **Invariant:** a weight depends on (seed, hash of the user's original id, replicate) and on nothing else, and
//! the sums of a replicate add users in the order in which they are given.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// P(X <= n) of Poisson(1) for n = 0, 1, ..., in units of 2^-32.
const CUMULATIVE: [u32; 12] = [
    1_580_030_169,
    3_160_060_337,
    3_950_075_422,
    4_213_413_783,
    4_279_248_374,
    4_292_415_292,
    4_294_609_778,
    4_294_923_276,
    4_294_962_463,
    4_294_966_817,
    4_294_967_253,
    4_294_967_292,
];

/// A lower and an upper bound.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval(pub f64, pub f64);

/// A Poisson(1) draw from 32 uniform bits, by inversion.
fn poisson(bits: u32) -> u32 {
    CUMULATIVE
        .iter()
        .take_while(|&&bound| bits >= bound)
        .count() as u32
}

/// How often a replicate draws a user.
pub fn weight(seed: u64, user_hash: u64, replicate: u32) -> u32 {
    let key = mix(seed ^ mix(user_hash ^ 0x9e37_79b9_7f4a_7c15));
    poisson(
        (mix(key.wrapping_add(u64::from(replicate).wrapping_mul(0xd1b5_4a32_d192_ed03))) >> 32)
            as u32,
    )
}

/// The finaliser of MurmurHash3: every input bit flips every output bit with probability one half.
pub fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    bits = (bits ^ (bits >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    bits ^ (bits >> 33)
}

/// Adds `rows` (one vector of `width` figures a user, hashes beside them) to the weighted sums of every replicate:
/// `sums` is replicates x width.
pub fn accumulate(seed: u64, hashes: &[u64], rows: &[f64], width: usize, sums: &mut [f64]) {
    assert_eq!(
        hashes.len() * width,
        rows.len(),
        "one row of figures a user"
    );
    sums.par_chunks_mut(width)
        .enumerate()
        .for_each(|(replicate, sums)| {
            for (&hash, row) in hashes.iter().zip(rows.chunks_exact(width)) {
                match weight(seed, hash, replicate as u32) {
                    0 => {}
                    times => sums
                        .iter_mut()
                        .zip(row)
                        .for_each(|(sum, figure)| *sum += f64::from(times) * figure),
                }
            }
        });
}

/// The percentile interval of a statistic over replicates; those in which it is not defined (NaN) are left out.
/// `None` where fewer than two are left.
pub fn interval(mut samples: Vec<f64>, level: f64) -> Option<Interval> {
    samples.retain(|sample| !sample.is_nan());
    if samples.len() < 2 {
        return None;
    }
    samples.sort_unstable_by(f64::total_cmp);
    let quantile = |share: f64| {
        let place = share * (samples.len() - 1) as f64;
        let (below, above) = (place.floor() as usize, place.ceil() as usize);
        samples[below] + (samples[above] - samples[below]) * (place - place.floor())
    };
    let tail = (1.0 - level) / 2.0;
    Some(Interval(quantile(tail), quantile(1.0 - tail)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_have_mean_and_variance_one() {
        let draws: Vec<f64> = (0..200_000_u64)
            .map(|user| f64::from(weight(7, mix(user), (user % 500) as u32)))
            .collect();
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        let variance = draws.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / draws.len() as f64;
        assert!((mean - 1.0).abs() < 0.01, "{mean}");
        assert!((variance - 1.0).abs() < 0.02, "{variance}");
        assert_eq!((poisson(0), poisson(u32::MAX)), (0, 12));
        assert_eq!((poisson(1_580_030_168), poisson(1_580_030_169)), (0, 1));
    }

    #[test]
    fn the_interval_of_a_mean_is_that_of_the_normal_approximation() {
        // Figures 0 or 1 with p = 0.3 over 2,000 users: standard error sqrt(.3 * .7 / 2000).
        let users = 2000_u64;
        let hashes: Vec<u64> = (0..users).map(mix).collect();
        let rows: Vec<f64> = (0..users)
            .flat_map(|u| [1.0, f64::from(u8::from(u % 10 < 3))])
            .collect();
        let mut sums = vec![0.0; 1000 * 2];
        accumulate(3, &hashes, &rows, 2, &mut sums);
        let found = interval(sums.chunks_exact(2).map(|s| s[1] / s[0]).collect(), 0.95).unwrap();
        let error = 1.96 * (0.3_f64 * 0.7 / users as f64).sqrt();
        assert!((found.0 - (0.3 - error)).abs() < 0.15 * error, "{found:?}");
        assert!((found.1 - (0.3 + error)).abs() < 0.15 * error, "{found:?}");
    }

    #[test]
    fn cutting_the_users_changes_no_bit() {
        let hashes: Vec<u64> = (0..100).map(mix).collect();
        let rows: Vec<f64> = (0..300).map(|i| f64::from(i).sqrt()).collect();
        let (mut whole, mut cut) = (vec![0.0; 30], vec![0.0; 30]);
        accumulate(1, &hashes, &rows, 3, &mut whole);
        accumulate(1, &hashes[..37], &rows[..111], 3, &mut cut);
        accumulate(1, &hashes[37..], &rows[111..], 3, &mut cut);
        assert_eq!(whole, cut);
    }

    #[test]
    fn an_interval_needs_two_samples() {
        assert_eq!(interval(vec![f64::NAN, 1.0], 0.95), None);
        assert_eq!(
            interval(vec![3.0, 1.0, 2.0, f64::NAN], 0.0),
            Some(Interval(2.0, 2.0))
        );
    }
}
