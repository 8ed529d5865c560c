//! How interactions fade with their age: by half with every half-life that lies between their bin and the last one.
//!
//! **Invariant:** ages come from the data, never from a clock, and the powers are ours, so that every machine has the same.

use serde::{Deserialize, Serialize};

/// A fading of interactions, as a view is named by it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decay {
    /// The age, in bins, at which an interaction counts half: a positive number.
    pub half_life: f64,
    /// The bin of age 0, the last that is trained on.
    pub last_bin: u32,
    /// Whether the view keeps values as they are, and beside each the bin of the interaction that decides its age. Otherwise
    /// values fade before they are combined.
    pub keeps_bin: bool,
}

/// Settings are checked: a half-life is a number.
impl Eq for Decay {}

impl Decay {
    /// 2^(−age / half-life) of every bin up to the last.
    pub fn fades(&self) -> Vec<f64> {
        let fade = |bin: u32| half_power(f64::from(self.last_bin - bin) / self.half_life);
        (0..=self.last_bin).map(fade).collect()
    }
}

/// 2^−x for x >= 0, to some units in the last place: the whole part exactly, the rest by the series of the exponential.
fn half_power(x: f64) -> f64 {
    let whole = x.floor();
    if whole > 1000.0 {
        return 0.0;
    }
    let rest = (whole - x) * std::f64::consts::LN_2;
    let series = (1..=18)
        .rev()
        .fold(1.0, |sum: f64, n| (rest / f64::from(n)).mul_add(sum, 1.0));
    series * f64::from_bits((1023 - whole as u64) << 52)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_half_life_halves() {
        let decay = Decay {
            half_life: 2.0,
            last_bin: 6,
            keeps_bin: false,
        };
        let fades = decay.fades();
        assert_eq!(fades.len(), 7);
        assert_eq!(
            (fades[6], fades[4], fades[2], fades[0]),
            (1.0, 0.5, 0.25, 0.125)
        );
        for x in [0.0, 1e-9, 0.3, 0.999, 1.5, 37.25, 900.1] {
            let (ours, theirs) = (half_power(x), (-x).exp2());
            assert!(
                (ours - theirs).abs() <= 1e-15 * theirs,
                "{x}: {ours} {theirs}"
            );
        }
        assert_eq!(half_power(1e9), 0.0);
    }
}
