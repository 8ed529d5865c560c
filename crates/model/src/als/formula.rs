//! What one interaction, and the count of a row, mean in the normal equations (DESIGN 5.1).

use super::biases::Biases;
use super::settings::{Preset, Scaling, Settings};
use kernels::{Simd, linear_confidence, system_len};
use serde::{Deserialize, Serialize};
use tensor::csr::Values;
use tensor::{Decay, Mode};

/// The settings that decide the equations, frozen for a run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Formula {
    /// Columns in use of every row: factors, then biases.
    pub rank: u32,
    /// Those of biases.
    pub bias_columns: u32,
    /// Weights and targets.
    pub preset: Preset,
    /// α.
    pub alpha: f64,
    /// How weights grow.
    pub scaling: Scaling,
    /// ε.
    pub epsilon: f64,
    /// p.
    pub power: f64,
    /// α0, the weight of unobserved cells.
    pub alpha0: f64,
    /// What is taken off explicit targets.
    pub offset: f32,
    /// λ.
    pub regularization: f64,
    /// ν.
    pub nu: f64,
    /// How the weights of interactions fade by the bins beside them; `None`: they do not, or their values did.
    pub decay: Option<Decay>,
}

/// What one interaction adds: `weight · z zᵀ` to the matrix, `target · z` to the right-hand side.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Term {
    /// w.
    pub weight: f32,
    /// b y.
    pub target: f32,
    /// b y², what the interaction adds to the objective when all factors are zero.
    pub constant: f64,
}

impl Formula {
    /// The formula of checked settings, with nothing taken off the targets yet.
    pub fn of(settings: &Settings) -> Self {
        Formula {
            rank: settings.columns(),
            bias_columns: settings.bias_columns(),
            preset: settings.preset,
            alpha: settings.alpha,
            scaling: settings.scaling,
            epsilon: settings.epsilon,
            power: settings.power,
            alpha0: settings.alpha0(),
            offset: 0.0,
            regularization: settings.regularization,
            nu: settings.nu,
            decay: None,
        }
    }

    /// What w and b are multiplied by, by bin; empty where nothing fades.
    pub fn fades(&self) -> Vec<f32> {
        let fades = self.decay.map_or_else(Vec::new, |decay| decay.fades());
        fades.into_iter().map(|fade| fade as f32).collect()
    }

    /// Floats of a stored row: the rank padded to a multiple of 16.
    pub fn width(&self) -> usize {
        self.rank.next_multiple_of(16) as usize
    }

    /// Numbers that the interactions of a row add up to: a system or, where they weigh nothing, its right-hand side alone.
    pub fn sum_len(&self) -> usize {
        if self.is_weightless() {
            self.width()
        } else {
            system_len(self.width())
        }
    }

    /// The biases among the columns of a mode's rows.
    pub fn biases(&self, mode: Mode) -> Biases {
        Biases::new(self.rank, self.bias_columns, mode)
    }

    /// Whether unobserved cells count, so that Gram matrices are needed.
    pub fn has_base(&self) -> bool {
        self.alpha0 > 0.0
    }

    /// Whether every interaction has the weight 0, so that it adds to the right-hand side alone.
    pub fn is_weightless(&self) -> bool {
        self.preset == Preset::Full
    }

    /// What an interaction of this value adds.
    #[inline]
    pub fn term(&self, value: f32) -> Term {
        match self.preset {
            Preset::Explicit => {
                let target = value - self.offset;
                Term {
                    weight: 1.0,
                    target,
                    constant: f64::from(target) * f64::from(target),
                }
            }
            Preset::Full => Term {
                weight: 0.0,
                target: value,
                constant: f64::from(value) * f64::from(value),
            },
            Preset::Rendle => Term {
                weight: 1.0,
                target: 1.0,
                constant: 1.0,
            },
            Preset::Hu => {
                let value = f64::from(value);
                let above = match self.scaling {
                    Scaling::Linear => self.alpha * value,
                    Scaling::Log => self.alpha * ln(1.0 + value / self.epsilon),
                    Scaling::Power => self.alpha * power(value, self.power),
                };
                let weight = above as f32;
                let target = (self.alpha0 + above) as f32;
                Term {
                    weight,
                    target,
                    constant: f64::from(target),
                }
            }
        }
    }

    /// Weights and targets of consecutive interactions, `weights.len()` of them from `start` on: [`Formula::term`] for
    /// each, with the choice of the preset outside of the loop.
    pub fn terms(
        &self,
        simd: Simd,
        values: Values<'_>,
        start: usize,
        weights: &mut [f32],
        targets: &mut [f32],
    ) {
        let values = match values {
            Values::All(value) => {
                let term = self.term(value);
                weights.fill(term.weight);
                targets.fill(term.target);
                return;
            }
            Values::Each(values) => &values[start..start + weights.len()],
        };
        match (self.preset, self.scaling) {
            (Preset::Rendle, _) => {
                weights.fill(1.0);
                targets.fill(1.0);
            }
            (Preset::Full, _) => {
                weights.fill(0.0);
                targets.copy_from_slice(values);
            }
            (Preset::Explicit, _) => {
                weights.fill(1.0);
                for (target, value) in targets.iter_mut().zip(values) {
                    *target = value - self.offset;
                }
            }
            (Preset::Hu, Scaling::Linear) => {
                linear_confidence(simd, values, self.alpha, self.alpha0, weights, targets);
            }
            (Preset::Hu, Scaling::Log | Scaling::Power) => {
                for ((weight, target), &value) in weights.iter_mut().zip(targets).zip(values) {
                    let term = self.term(value);
                    (*weight, *target) = (term.weight, term.target);
                }
            }
        }
    }

    /// Whether the preset has no meaning for a value: weights may not be negative.
    pub fn forbids(&self, value: f32) -> bool {
        !value.is_finite() || (self.preset == Preset::Hu && value < 0.0)
    }

    /// λ_i = λ (n_i + α0 · cells)^ν of a row with `count` interactions among `cells` cells.
    pub fn row_regularization(&self, count: u64, cells: f64) -> f32 {
        let size = count as f64 + self.alpha0 * cells;
        (self.regularization * power(size, self.nu)) as f32
    }
}

/// x^y for x >= 0. The exponents that people use are exact.
fn power(x: f64, y: f64) -> f64 {
    if y == 0.0 {
        1.0
    } else if y == 1.0 || x == 0.0 {
        x
    } else if y == 0.5 {
        x.sqrt()
    } else {
        exp(y * ln(x))
    }
}

/// The natural logarithm of a finite x > 0, to some 2 units in the last place. Ours, since libraries differ:
/// x = m 2^e with m in [√½, √2), ln m = 2 artanh((m − 1)/(m + 1)) by its series.
fn ln(x: f64) -> f64 {
    let bits = x.to_bits();
    let mut exponent = ((bits >> 52) & 0x7ff) as i64 - 1023;
    let mut mantissa = f64::from_bits((bits & ((1 << 52) - 1)) | (1023 << 52));
    if mantissa > std::f64::consts::SQRT_2 {
        mantissa *= 0.5;
        exponent += 1;
    }
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let square = s * s;
    let series = (0..12).rev().fold(0.0, |sum: f64, k| {
        sum.mul_add(square, 1.0 / f64::from(2 * k + 1))
    });
    (exponent as f64).mul_add(std::f64::consts::LN_2, 2.0 * s * series)
}

/// e^x for |x| < 700: x = k ln 2 + r, e^r by its series.
fn exp(x: f64) -> f64 {
    // ln 2 in two parts, the first with trailing zeros so that k times it is exact.
    const LN2_HIGH: f64 = 0.693_147_180_369_123_8;
    const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;
    let k = (x * std::f64::consts::LOG2_E).round();
    let rest = (x - k * LN2_HIGH) - k * LN2_LOW;
    let series = (1..=14)
        .rev()
        .fold(1.0, |sum: f64, n| (rest / f64::from(n)).mul_add(sum, 1.0));
    series * f64::from_bits(((k as i64 + 1023) as u64) << 52)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_logarithm_and_power_agree_with_the_library() {
        for x in [1e-12, 0.3, 0.999, 1.0, 1.001, 1.5, 2.0, 41.0, 1e9] {
            assert!(
                (ln(x) - x.ln()).abs() <= 4e-16 * x.ln().abs().max(1e-3),
                "ln {x}"
            );
            for y in [0.0, 0.3, 0.5, 1.0, 1.7] {
                let (ours, theirs) = (power(x, y), x.powf(y));
                assert!(
                    (ours - theirs).abs() <= 1e-14 * theirs,
                    "{x}^{y}: {ours} {theirs}"
                );
            }
        }
    }

    #[test]
    fn many_terms_are_the_single_ones() {
        let values = [0.5, 1.0, 3.0, 0.1, 7.0];
        for preset in [Preset::Explicit, Preset::Hu, Preset::Rendle, Preset::Full] {
            for scaling in [Scaling::Linear, Scaling::Log, Scaling::Power] {
                let settings = Settings {
                    preset,
                    scaling,
                    alpha: 0.3,
                    power: 0.7,
                    ..Settings::default()
                };
                let formula = Formula {
                    offset: 0.7,
                    ..Formula::of(&settings)
                };
                for source in [Values::Each(&values), Values::All(0.3)] {
                    let (mut weights, mut targets) = ([0.0; 3], [0.0; 3]);
                    formula.terms(Simd::detect(), source, 1, &mut weights, &mut targets);
                    for e in 0..3 {
                        let term = formula.term(source.at(e + 1));
                        assert_eq!((weights[e], targets[e]), (term.weight, term.target));
                    }
                }
            }
        }
    }

    #[test]
    fn presets_are_the_published_objectives() {
        let formula = |preset| {
            Formula::of(&Settings {
                preset,
                alpha: 2.0,
                alpha0: None,
                ..Settings::default()
            })
        };
        let hu = formula(Preset::Hu).term(3.0);
        assert_eq!((hu.weight, hu.target, hu.constant), (6.0, 7.0, 7.0));
        let rendle = formula(Preset::Rendle).term(3.0);
        assert_eq!(
            (rendle.weight, rendle.target, rendle.constant),
            (1.0, 1.0, 1.0)
        );
        let explicit = Formula {
            offset: 1.0,
            ..formula(Preset::Explicit)
        }
        .term(3.0);
        assert_eq!(
            (explicit.weight, explicit.target, explicit.constant),
            (1.0, 2.0, 4.0)
        );
        let full = formula(Preset::Full).term(-3.0);
        assert_eq!((full.weight, full.target, full.constant), (0.0, -3.0, 9.0));
        let log = Formula {
            scaling: Scaling::Log,
            epsilon: 2.0,
            ..formula(Preset::Hu)
        }
        .term(6.0);
        assert_eq!(log.weight, (2.0 * 4f64.ln()) as f32);
        let root = Formula {
            scaling: Scaling::Power,
            power: 0.5,
            ..formula(Preset::Hu)
        };
        assert_eq!((root.term(9.0).weight, root.term(0.0).weight), (6.0, 0.0));
        assert!(formula(Preset::Hu).forbids(-1.0) && !formula(Preset::Explicit).forbids(-1.0));
    }
}
