//! Losses of a score x with a target y: value and slope by x, in f32, with an exponential and a logarithm of our own.
//!
//! Only IEEE add, multiply and fused multiply-add (and one division a slope), so the bits are those of every machine.
//! The two losses of counts leave out their linear part Σ x over all cells, which SGD takes from column sums.

/// Scores below it are taken as lying on the tangent there, for the losses that have a pole at 0.
pub const FLOOR: f32 = 1e-4;

/// A loss by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Loss {
    /// ½ (x − y)².
    Squared,
    /// log(1 + eˣ) − x y, for y of 0 and 1: the negative log likelihood of a link of logistic shape.
    Logistic,
    /// −log(1 − e⁻ˣ) − x: what an observed cell adds to Σ x under P(observed) = 1 − e⁻ˣ (Yang and Leskovec,
    /// "Overlapping community detection at scale", 2013). The target is not looked at.
    BernoulliPoisson,
    /// −y log x: what an observed count adds to Σ x under y ~ Poisson(x).
    Poisson,
}

impl Loss {
    /// Value and slope.
    #[inline]
    pub fn at(self, x: f32, y: f32) -> (f32, f32) {
        match self {
            Loss::Squared => Squared.at(x, y),
            Loss::Logistic => Logistic.at(x, y),
            Loss::BernoulliPoisson => BernoulliPoisson.at(x, y),
            Loss::Poisson => Poisson.at(x, y),
        }
    }
}

/// A loss as a type: kernels are compiled for each.
pub(crate) trait Shape: Copy {
    /// Value and slope.
    fn at(self, x: f32, y: f32) -> (f32, f32);
}

#[derive(Clone, Copy)]
pub(crate) struct Squared;
#[derive(Clone, Copy)]
pub(crate) struct Logistic;
#[derive(Clone, Copy)]
pub(crate) struct BernoulliPoisson;
#[derive(Clone, Copy)]
pub(crate) struct Poisson;

impl Shape for Squared {
    #[inline(always)]
    fn at(self, x: f32, y: f32) -> (f32, f32) {
        let distance = x - y;
        (0.5 * distance * distance, distance)
    }
}

impl Shape for Logistic {
    /// With e = exp(−|x|), which cannot overflow: log(1 + eˣ) = max(x, 0) + log(1 + e).
    #[inline(always)]
    fn at(self, x: f32, y: f32) -> (f32, f32) {
        let e = exp(-x.abs());
        let share = 1.0 / (1.0 + e);
        let (above, probability) = if x >= 0.0 {
            (x, share)
        } else {
            (0.0, e * share)
        };
        (x.mul_add(-y, above) + ln(1.0 + e), probability - y)
    }
}

impl Shape for BernoulliPoisson {
    #[inline(always)]
    fn at(self, x: f32, _y: f32) -> (f32, f32) {
        let from = if x >= FLOOR { x } else { FLOOR };
        let observed = one_minus_exp(from);
        let slope = -1.0 / observed;
        ((x - from).mul_add(slope, -ln(observed) - from), slope)
    }
}

impl Shape for Poisson {
    #[inline(always)]
    fn at(self, x: f32, y: f32) -> (f32, f32) {
        let from = if x >= FLOOR { x } else { FLOOR };
        let slope = -y / from;
        ((x - from).mul_add(slope, -y * ln(from)), slope)
    }
}

/// 1 − e⁻ˣ for x ≥ 0; below ¼ by its series, since the difference would lose digits there.
#[inline(always)]
fn one_minus_exp(x: f32) -> f32 {
    if x >= 0.25 {
        return 1.0 - exp(-x);
    }
    let terms = [1.0 / 7.0, 1.0 / 6.0, 1.0 / 5.0, 1.0 / 4.0, 1.0 / 3.0, 0.5];
    let mut rest = 1.0_f32;
    for term in terms {
        rest = (-x * term).mul_add(rest, 1.0);
    }
    x * rest
}

/// eˣ: x = n log 2 + r with |r| ≤ ½ log 2 and a polynomial of degree 7 in r (Moshier's Cephes, `expf`), within two units
/// in the last place. Arguments beyond ±87 are taken as ±87, so the result is a normal number.
#[inline(always)]
#[allow(clippy::excessive_precision, reason = "the digits as published")]
pub fn exp(x: f32) -> f32 {
    /// Added and taken off again it rounds to a whole number.
    const ROUND: f32 = 12_582_912.0;
    const COEFFICIENTS: [f32; 6] = [
        1.987_569_150_0e-4,
        1.398_199_950_7e-3,
        8.333_451_907_3e-3,
        4.166_579_589_4e-2,
        1.666_666_545_9e-1,
        5.000_000_120_1e-1,
    ];
    let x = if x >= -87.0 { x } else { -87.0 };
    let x = if x <= 87.0 { x } else { 87.0 };
    let n = x.mul_add(std::f32::consts::LOG2_E, ROUND) - ROUND;
    let r = n.mul_add(-0.693_359_375, x);
    let r = n.mul_add(2.121_944_40e-4, r);
    let mut series = 0.0_f32;
    for c in COEFFICIENTS {
        series = series.mul_add(r, c);
    }
    let power = f32::from_bits(((n as i32 + 127) as u32) << 23);
    (series.mul_add(r * r, r) + 1.0) * power
}

/// The natural logarithm of a normal positive number, by Moshier's Cephes (`logf`): exponent apart, a polynomial in
/// m − 1 for m in [√½, √2); within two units in the last place of the larger part.
#[inline(always)]
#[allow(clippy::excessive_precision, reason = "the digits as published")]
pub fn ln(x: f32) -> f32 {
    const COEFFICIENTS: [f32; 9] = [
        7.037_683_629_2e-2,
        -1.151_461_031_0e-1,
        1.167_699_874_0e-1,
        -1.242_014_084_6e-1,
        1.424_932_278_7e-1,
        -1.666_805_766_5e-1,
        2.000_071_476_5e-1,
        -2.499_999_399_3e-1,
        3.333_333_117_4e-1,
    ];
    let bits = x.to_bits();
    let mut exponent = (bits >> 23) as i32 - 126;
    let mut m = f32::from_bits(bits & ((1 << 23) - 1) | 126 << 23);
    if m < std::f32::consts::FRAC_1_SQRT_2 {
        m += m;
        exponent -= 1;
    }
    let (m, e) = (m - 1.0, exponent as f32);
    let square = m * m;
    let mut series = 0.0_f32;
    for c in COEFFICIENTS {
        series = series.mul_add(m, c);
    }
    let small = (series * m).mul_add(square, e * -2.121_944_40e-4);
    let small = square.mul_add(-0.5, small);
    e.mul_add(0.693_359_375, m + small)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponential_and_logarithm_are_those_of_f64() {
        for i in -86_000..86_000 {
            let x = i as f32 * 1e-3;
            let exact = f64::from(x).exp();
            assert!(
                (f64::from(exp(x)) - exact).abs() <= 2.5e-7 * exact,
                "e^{x} = {}",
                exp(x)
            );
            let y = exact as f32;
            let exact = f64::from(y).ln();
            assert!(
                (f64::from(ln(y)) - exact).abs() <= 2e-7 * exact.abs().max(0.5),
                "ln {y} = {}",
                ln(y)
            );
        }
        assert_eq!((exp(0.0), ln(1.0)), (1.0, 0.0));
        assert!(exp(1e9).is_normal() && exp(-1e9).is_normal());
    }

    /// The losses in f64, as their definitions say.
    fn reference(loss: Loss, x: f64, y: f64) -> f64 {
        match loss {
            Loss::Squared => 0.5 * (x - y).powi(2),
            Loss::Logistic => x.exp().ln_1p() - x * y,
            Loss::BernoulliPoisson => -(-(-x).exp_m1()).ln() - x,
            Loss::Poisson => -y * x.ln(),
        }
    }

    #[test]
    fn values_are_the_definitions_and_slopes_their_differences() {
        let cases = [
            (Loss::Squared, -9.0, [0.0, 3.5]),
            (Loss::Logistic, -15.0, [0.0, 1.0]),
            (Loss::BernoulliPoisson, 2e-4, [1.0, 1.0]),
            (Loss::Poisson, 2e-4, [0.0, 4.0]),
        ];
        for (loss, least, targets) in cases {
            for step in 0..4000 {
                let x = least + (15.0 - least) * (f64::from(step) / 4000.0).powi(2);
                let x = f64::from(x as f32);
                for y in targets {
                    let (value, slope) = loss.at(x as f32, y as f32);
                    let h = 1e-5 * x.abs().max(1e-3);
                    let difference =
                        (reference(loss, x + h, y) - reference(loss, x - h, y)) / (2.0 * h);
                    let exact = reference(loss, x, y);
                    let near =
                        |a: f64, b: f64| (a - b).abs() <= 1e-6 * (1.0 + x.abs()).max(b.abs());
                    assert!(near(value.into(), exact), "{loss:?} at {x}, {y}: {value}");
                    assert!(
                        near(slope.into(), difference),
                        "{loss:?} at {x}, {y}: slope {slope}, not {difference}"
                    );
                }
            }
        }
    }

    #[test]
    fn below_the_floor_losses_go_on_as_their_tangent() {
        for loss in [Loss::BernoulliPoisson, Loss::Poisson] {
            let (value, slope) = loss.at(FLOOR, 1.0);
            let (below, same) = loss.at(0.0, 1.0);
            assert_eq!(slope, same);
            assert!((below - (value - FLOOR * slope)).abs() < 1e-5);
        }
    }

    #[test]
    fn far_scores_stay_finite() {
        for (x, y) in [(1e4, 0.0), (-1e4, 1.0), (f32::MAX / 2.0, 1.0)] {
            let (value, slope) = Loss::Logistic.at(x, y);
            assert!(value.is_finite() && (-1.0..=1.0).contains(&slope), "{x}");
        }
    }
}
