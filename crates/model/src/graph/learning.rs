//! What the settings of models that learn in batches share: losses by name, what each leaves open, and the bounds of numbers.

use super::ops::Head;
use super::spectral::settings::{RANK_MAX, SettingsError};
use serde::{Deserialize, Serialize};

/// The most rivals of an interaction: each costs a pass.
const NEGATIVES_MAX: u32 = 100;

/// What is minimised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HeadName {
    /// Products that users had above others.
    Bpr,
    /// 1 for interactions against 0 for all pairs.
    AllPairs,
    /// The odds of interactions against those of drawn rivals.
    Logistic,
    /// The values of interactions, and 0 for drawn rivals where there are some.
    Squared,
}

impl HeadName {
    /// Whether it knows rivals by number.
    pub fn draws(self) -> bool {
        matches!(self, HeadName::Logistic | HeadName::Squared)
    }
}

/// What a job says of a loss, and leaves open.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Learning {
    /// Parts of an epoch, each with a step of its own. Absent: [`Learning::batches`].
    pub batches: Option<u32>,
    /// What is minimised.
    pub loss: HeadName,
    /// All pairs: the weight of a pair. Absent: 1, of `ucmf` less.
    pub alpha0: Option<f64>,
    /// Rivals of an interaction, of losses that draw some. Absent: [`Learning::negatives`].
    pub negatives: Option<u32>,
    /// They are drawn in proportion to this power of a product's degree; 0: each about once.
    pub noise_power: f64,
    /// The length of Adam's steps. Absent: [`Learning::rate`].
    pub rate: Option<f64>,
    /// What that is multiplied by after every epoch.
    pub decay: f64,
    /// The seed of everything random.
    pub seed: u64,
}

impl Default for Learning {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl Learning {
    /// What a job leaves open.
    pub const DEFAULT: Self = Learning {
        batches: None,
        loss: HeadName::AllPairs,
        alpha0: None,
        negatives: None,
        noise_power: 0.0,
        rate: None,
        decay: 1.0,
        seed: 0,
    };

    /// Parts of an epoch. Rivals are dealt once a step, and need many; all pairs are whole in one.
    pub fn batches(self) -> u32 {
        self.batches.unwrap_or(match self.loss {
            HeadName::Bpr | HeadName::Logistic => 20,
            HeadName::AllPairs | HeadName::Squared => 4,
        })
    }

    /// The length of Adam's steps: the more of them, the shorter.
    pub fn rate(self) -> f64 {
        self.rate.unwrap_or(match self.loss {
            HeadName::Bpr | HeadName::Logistic => 0.01,
            HeadName::AllPairs | HeadName::Squared => 0.05,
        })
    }

    /// What is left of the rate at a step, counted from 1 over all epochs.
    pub fn left_at(self, step: u32) -> f64 {
        // A product in order: `powi` is the machine's own.
        (0..(step - 1) / self.batches()).fold(1.0, |left, _| left * self.decay)
    }

    /// Rivals of an interaction: of the odds one, of values none.
    pub fn negatives(self) -> u32 {
        self.negatives
            .unwrap_or(u32::from(self.loss == HeadName::Logistic))
    }

    /// The head of a batch.
    pub fn head(self) -> Head {
        let negatives = self.negatives();
        match self.loss {
            HeadName::Bpr => Head::Bpr,
            HeadName::AllPairs => Head::AllPairs {
                alpha0: self.alpha0.unwrap_or(1.0) / f64::from(self.batches()),
            },
            HeadName::Logistic => Head::Logistic { negatives },
            HeadName::Squared => Head::Squared { negatives },
        }
    }

    /// Whether the model is one of values, to be judged by their errors, and not of rankings.
    pub fn fits_values(self) -> bool {
        self.head() == Head::Squared { negatives: 0 }
    }

    /// Checks it with the numbers of a model: its epochs and their least, counts of at least and at most so many, numbers of 0 or more.
    ///
    /// # Errors
    /// The first that cannot be honoured.
    pub fn check(
        self,
        rank: u32,
        (epochs, least_epochs): (u32, u32),
        counts: &[(&'static str, u32, u32, u32)],
        reals: &[(&'static str, f64)],
        tolerance: f64,
    ) -> Result<(), SettingsError> {
        let refuse = |key, problem: String| Err(SettingsError { key, problem });
        let own = [
            ("rank", rank, 1, RANK_MAX),
            ("epochs", epochs, least_epochs, u32::MAX),
            ("batches", self.batches(), 1, 10_000),
            ("negatives", self.negatives(), 0, NEGATIVES_MAX),
        ];
        for &(key, value, least, most) in own.iter().chain(counts) {
            if !(least..=most).contains(&value) {
                return refuse(key, format!("is {value}: give {least} to {most}"));
            }
        }
        if self.head() == (Head::Logistic { negatives: 0 }) {
            let problem = "is 0: with interactions alone this loss has no minimum, give 1 or more";
            return refuse("negatives", problem.to_owned());
        }
        let own = [
            ("alpha0", self.alpha0.unwrap_or(0.0)),
            ("rate", self.rate()),
            ("noise_power", self.noise_power),
        ];
        for &(key, value) in own.iter().chain(reals) {
            if !(value >= 0.0 && value.is_finite()) {
                return refuse(key, format!("is {value}: give 0 or more"));
            }
        }
        if !(self.decay > 0.0 && self.decay <= 1.0) {
            let problem = format!("is {}: give 1 (none) or less, above 0", self.decay);
            return refuse("decay", problem);
        }
        if !(0.0..1.0).contains(&tolerance) {
            let problem = format!("is {tolerance}: give 0 or more, below 1");
            return refuse("tolerance", problem);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_shorten_by_epochs() {
        let learning = Learning {
            batches: Some(2),
            decay: 0.5,
            ..Learning::DEFAULT
        };
        let left = [1, 2, 3, 4, 5, 7].map(|step| learning.left_at(step));
        assert_eq!(left, [1.0, 1.0, 0.5, 0.5, 0.25, 0.125]);
        assert_eq!(Learning::DEFAULT.left_at(4_000), 1.0);
    }
}
