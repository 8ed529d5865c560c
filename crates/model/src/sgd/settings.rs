//! The settings of stochastic gradient descent: text, checked together, then passed by value.

pub use crate::als::settings::{RANK_MAX, SettingsError};
use serde::{Deserialize, Serialize};

/// What is minimised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loss {
    /// ½ (x − y)², y the value; drawn negatives have the value 0.
    Squared,
    /// log(1 + eˣ) − x y: interactions are 1, drawn negatives 0.
    Logistic,
    /// The same with negatives as LINE draws them (Tang et al., 2015), whatever the user had; products rank by
    /// u · v + log P_n, since u · v alone estimates a shifted pointwise mutual information.
    Line,
    /// P(interaction) = 1 − e⁻ˣ over all cells, factors of at least 0.
    BernoulliPoisson,
    /// y ~ Poisson(x) over all cells, factors of at least 0.
    Poisson,
    /// Bayesian personalised ranking (Rendle et al., 2009): what a user had before what he had not.
    Bpr,
}

impl Loss {
    /// Whether every cell counts, observed or not, exactly: no negatives are drawn.
    pub fn covers_all_cells(self) -> bool {
        matches!(self, Loss::BernoulliPoisson | Loss::Poisson)
    }

    /// Whether a drawn negative that the user had is drawn again.
    pub fn spares_positives(self) -> bool {
        self != Loss::Line
    }
}

/// How long steps are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Optimizer {
    /// `rate` over the root of the sum of a row's mean squared gradients.
    Adagrad,
    /// `rate` as it is.
    Sgd,
}

/// All settings. Absent keys take their defaults; [`Settings::check`] refuses what cannot be honoured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Columns of factors.
    pub rank: u32,
    /// Passes over all tiles.
    pub epochs: u32,
    /// What is minimised.
    pub loss: Loss,
    /// Negatives drawn for an interaction. Absent: that of [`Settings::negatives`].
    pub negatives: Option<u32>,
    /// Negatives are drawn in proportion to this power of a product's count. Absent: that of
    /// [`Settings::noise_power`].
    pub noise_power: Option<f64>,
    /// How long steps are.
    pub optimizer: Optimizer,
    /// The length of a step.
    pub rate: f64,
    /// What the rate is multiplied by after every epoch.
    pub decay: f64,
    /// λ: every sample adds λ |row|² / 2 for each of its rows.
    pub regularization: f64,
    /// Whether users and products have biases.
    pub biases: bool,
    /// Whether bins of time have factors.
    pub time: bool,
    /// The standard deviation of first factors times the root of the rank; where all cells count, their mean against the
    /// one by which scores have the mean of the cells.
    pub init_scale: f64,
    /// The seed of everything random.
    pub seed: u64,
    /// Stop when an epoch lowers the objective by less than this share; 0: never.
    pub tolerance: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            rank: 64,
            epochs: 10,
            loss: Loss::Logistic,
            negatives: None,
            noise_power: None,
            optimizer: Optimizer::Adagrad,
            rate: 0.1,
            decay: 1.0,
            regularization: 0.03,
            biases: false,
            time: false,
            init_scale: 0.1,
            seed: 0,
            tolerance: 0.0,
        }
    }
}

impl Settings {
    /// Checks all settings together.
    ///
    /// # Errors
    /// The first that cannot be honoured.
    pub fn check(&self) -> Result<(), SettingsError> {
        let refuse = |key, problem: String| Err(SettingsError { key, problem });
        if !(1..=RANK_MAX).contains(&self.rank) {
            return refuse("rank", format!("is {}: give 1 to {RANK_MAX}", self.rank));
        }
        if self.epochs == 0 {
            return refuse("epochs", "is 0: give 1 or more".to_owned());
        }
        let positive = [("rate", self.rate), ("init_scale", self.init_scale)];
        if let Some((key, value)) = positive
            .into_iter()
            .find(|&(_, value)| !(value > 0.0 && value < 1e30))
        {
            return refuse(key, format!("is {value}: give a number above 0"));
        }
        if !(self.decay > 0.0 && self.decay <= 1.0) {
            return refuse(
                "decay",
                format!("is {}: give 1 (none) or less, above 0", self.decay),
            );
        }
        let shares = [
            ("regularization", self.regularization),
            ("tolerance", self.tolerance),
        ];
        if let Some((key, value)) = shares
            .into_iter()
            .find(|&(_, value)| !(0.0..1e30).contains(&value))
        {
            return refuse(key, format!("is {value}: give 0 or more"));
        }
        if !(0.0..=2.0).contains(&self.noise_power()) {
            return refuse(
                "noise_power",
                format!("is {}: give 0 to 2", self.noise_power()),
            );
        }
        if self.loss.covers_all_cells() {
            let why = |what| format!("{what}: this loss covers every cell exactly");
            if self.negatives.is_some_and(|negatives| negatives > 0) {
                return refuse("negatives", why("must be 0 or absent"));
            }
            if self.biases {
                return refuse("biases", why("must be false"));
            }
        } else if self.loss != Loss::Squared && self.negatives() == 0 {
            let problem = "is 0: with positives alone this loss has no minimum, give 1 or more";
            return refuse("negatives", problem.to_owned());
        }
        if self.negatives() > 1000 {
            return refuse(
                "negatives",
                format!("is {}: give at most 1000", self.negatives()),
            );
        }
        if self.time && !self.fits_values() {
            let problem = "cannot be \"factor\" with this loss: only \"squared\" without negatives is descended on in a tensor";
            return refuse("time", problem.to_owned());
        }
        if self.loss == Loss::Line && self.biases {
            let problem = "must be false with the loss `line`, whose products rank by their share of the noise";
            return refuse("biases", problem.to_owned());
        }
        Ok(())
    }

    /// Negatives drawn for an interaction: as given, else 5 for `line`, 4 for `logistic`, 1 for `bpr`, none for the others.
    pub fn negatives(&self) -> u32 {
        self.negatives.unwrap_or(match self.loss {
            Loss::Line => 5,
            Loss::Logistic => 4,
            Loss::Bpr => 1,
            Loss::Squared | Loss::BernoulliPoisson | Loss::Poisson => 0,
        })
    }

    /// The power of a product's count by which negatives are drawn: as given, else ¾ for `line`, ½ for `logistic`, 0 for
    /// the others.
    pub fn noise_power(&self) -> f64 {
        self.noise_power.unwrap_or(match self.loss {
            Loss::Line => 0.75,
            // Chosen on validation of the bundled purchases: recall@20 .0268, with 0 .0255.
            Loss::Logistic => 0.5,
            _ => 0.0,
        })
    }

    /// Whether the model is one of values, to be judged by their errors, and not of rankings.
    pub fn fits_values(&self) -> bool {
        self.loss == Loss::Squared && self.negatives() == 0
    }

    /// Floats of the factors of a row in training: the rank padded to a multiple of 16.
    pub fn width(&self) -> usize {
        kernels::width_of(self.rank as usize)
    }

    /// Columns of a published row: the factors, and what is ranked by beside them.
    pub fn columns(&self) -> u32 {
        self.rank + self.published().columns()
    }

    /// What published rows hold beside factors.
    pub fn published(&self) -> super::ops::Beside {
        use super::ops::Beside;
        if self.biases {
            Beside::Biases
        } else if self.loss == Loss::Line {
            Beside::Noise
        } else {
            Beside::Nothing
        }
    }

    /// The rate of an epoch, from 1.
    pub fn rate_of(&self, epoch: u32) -> f32 {
        // A product in order: `powi` is the machine's own.
        (1..epoch).fold(self.rate, |rate, _| rate * self.decay) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_loss_can_be_honoured_by_default() {
        for loss in [
            Loss::Squared,
            Loss::Logistic,
            Loss::Line,
            Loss::BernoulliPoisson,
            Loss::Poisson,
            Loss::Bpr,
        ] {
            let settings = Settings {
                loss,
                ..Settings::default()
            };
            assert_eq!(settings.check(), Ok(()));
        }
    }

    #[test]
    fn what_cannot_be_honoured_is_named() {
        type Spoil = fn(&mut Settings);
        let cases: [(&str, Spoil); 14] = [
            ("rank", |s| s.rank = 0),
            ("epochs", |s| s.epochs = 0),
            ("rate", |s| s.rate = 0.0),
            ("init_scale", |s| s.init_scale = f64::NAN),
            ("decay", |s| s.decay = 1.5),
            ("regularization", |s| s.regularization = -1.0),
            ("tolerance", |s| s.tolerance = f64::INFINITY),
            ("noise_power", |s| s.noise_power = Some(-1.0)),
            ("negatives", |s| s.negatives = Some(0)),
            ("negatives", |s| {
                (s.loss, s.negatives) = (Loss::Poisson, Some(1));
            }),
            ("biases", |s| (s.loss, s.biases) = (Loss::Poisson, true)),
            ("biases", |s| (s.loss, s.biases) = (Loss::Line, true)),
            ("time", |s| s.time = true),
            ("time", |s| {
                (s.loss, s.negatives, s.time) = (Loss::Squared, Some(1), true);
            }),
        ];
        for (key, spoil) in cases {
            let mut settings = Settings::default();
            spoil(&mut settings);
            assert_eq!(settings.check().unwrap_err().key, key);
        }
    }

    #[test]
    fn rates_decay_by_epochs() {
        let settings = Settings {
            rate: 0.5,
            decay: 0.5,
            ..Settings::default()
        };
        assert_eq!(
            [1, 2, 4].map(|epoch| settings.rate_of(epoch)),
            [0.5, 0.25, 0.0625]
        );
    }
}
