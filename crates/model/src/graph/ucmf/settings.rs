//! The settings of unitized factorization: text, checked together, then passed by value.

use crate::graph::learning::Learning;
use crate::graph::ops::Head;
use crate::graph::spectral::settings::{RANK_MAX, SettingsError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tensor::Mode;

/// The weight of a pair where a job does not say. Less than that of models whose rows may be short: a row of length 1 cannot lower its
/// scores of all pairs together, only the biases can. On validation of the bundled purchases the best of 0.1, 0.3, 1 and 3.
pub const ALPHA_0: f64 = 0.3;

/// All settings. Absent keys take their defaults; [`Settings::check`] refuses what cannot be honoured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Columns of unit rows; tables have one more.
    pub rank: u32,
    /// Passes over the interactions.
    pub epochs: u32,
    /// How it learns.
    #[serde(flatten)]
    pub learning: Learning,
    /// What the cosines of rows are divided by to be scores.
    pub temperature: f64,
    /// The attribute that is the label of the rows of a mode.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<Mode, String>,
    /// An attribute whose levels a mode's classifier is compared with, and not taught.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub checks: BTreeMap<Mode, String>,
    /// What the mean loss of labels weighs beside that of interactions.
    pub cotraining: f64,
    /// The length of the first rows, about.
    pub init_scale: f64,
    /// Stop when an epoch lowers the objective by less than this share; 0: never.
    pub tolerance: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl Settings {
    /// What a job leaves open.
    pub const DEFAULT: Self = Settings {
        rank: 64,
        epochs: 10,
        learning: Learning::DEFAULT,
        temperature: 1.0,
        labels: BTreeMap::new(),
        checks: BTreeMap::new(),
        cotraining: 0.01,
        init_scale: 0.1,
        tolerance: 0.0,
    };

    /// Columns of tables: those of rows and the biases'.
    pub fn columns(&self) -> u32 {
        self.rank + 1
    }

    /// What it says of its loss, and what it means where it is silent.
    pub fn learning(&self) -> Learning {
        Learning {
            alpha0: self.learning.alpha0.or(Some(ALPHA_0)),
            ..self.learning
        }
    }

    /// Parts of an epoch.
    pub fn batches(&self) -> u32 {
        self.learning().batches()
    }

    /// The length of Adam's steps.
    pub fn rate(&self) -> f64 {
        self.learning().rate()
    }

    /// The head of a batch.
    pub fn head(&self) -> Head {
        self.learning().head()
    }

    /// By what unit rows are multiplied as they are scored, on both sides: 1 / √t.
    pub fn by(&self) -> f32 {
        (1.0 / self.temperature.sqrt()) as f32
    }

    /// Checks all settings together.
    ///
    /// # Errors
    /// The first that cannot be honoured.
    pub fn check(&self) -> Result<(), SettingsError> {
        // Tables have a column more.
        let counts = [("rank", self.rank, 1, RANK_MAX - 1)];
        let reals = [("cotraining", self.cotraining)];
        for (key, value) in [("temperature", self.temperature), ("init", self.init_scale)] {
            if !(value > 0.0 && value.is_finite()) {
                let problem = format!("is {value}: give a number above 0");
                return Err(SettingsError { key, problem });
            }
        }
        self.learning()
            .check(self.rank, (self.epochs, 1), &counts, &reals, self.tolerance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_is_refused_by_its_key() {
        let key = |change: fn(&mut Settings)| {
            let mut settings = Settings::default();
            change(&mut settings);
            settings.check().err().map(|error| error.key)
        };
        assert_eq!(key(|_| ()), None);
        assert_eq!(key(|s| s.rank = 0), Some("rank"));
        assert_eq!(key(|s| s.rank = 512), Some("rank"));
        assert_eq!(key(|s| s.learning.batches = Some(0)), Some("batches"));
        assert_eq!(key(|s| s.learning.decay = 1.5), Some("decay"));
        assert_eq!(key(|s| s.temperature = 0.0), Some("temperature"));
        assert_eq!(key(|s| s.init_scale = 0.0), Some("init"));
        assert_eq!(key(|s| s.cotraining = f64::NAN), Some("cotraining"));
        assert_eq!(key(|s| s.tolerance = 1.0), Some("tolerance"));
    }
}
