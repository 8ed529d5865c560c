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
#[derive(Clone, Copy, Debug)]
pub struct Learning {
    /// What is minimised.
    pub loss: HeadName,
    /// Parts of an epoch.
    pub batches: Option<u32>,
    /// The length of Adam's steps.
    pub rate: Option<f64>,
    /// All pairs: the weight of a pair.
    pub alpha0: Option<f64>,
    /// Rivals of an interaction.
    pub negatives: Option<u32>,
    /// They are drawn in proportion to this power of a product's degree.
    pub noise_power: f64,
    /// The seed of everything random.
    pub seed: u64,
}

impl Learning {
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
        if !(0.0..1.0).contains(&tolerance) {
            let problem = format!("is {tolerance}: give 0 or more, below 1");
            return refuse("tolerance", problem);
        }
        Ok(())
    }
}
