//! The settings of the spectral model: text, checked together, then passed by value.

pub use crate::als::settings::{RANK_MAX, SettingsError};
use crate::graph::normalization::Normalization;
use crate::graph::ops::Edges;
use crate::graph::steps::Input;
use kernels::width_of;
use serde::{Deserialize, Serialize};
use tensor::{Mode, ModeEdges};

/// The most steps of a walk that count.
pub const WALK_MAX: u32 = 3;

/// Columns beyond the rank at least, where the job leaves them open and the width has room.
const OVERSAMPLING: u32 = 8;

/// All settings. Absent keys take their defaults; [`Settings::check`] refuses what cannot be honoured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Singular triplets.
    pub rank: u32,
    /// Iterations.
    pub epochs: u32,
    /// Columns that are iterated beyond the rank. Absent: [`Settings::columns`].
    pub oversampling: Option<u32>,
    /// What the adjacency is divided by.
    pub normalization: Normalization,
    /// What an interaction weighs.
    pub edges: Edges,
    /// What an edge between users counts beside an interaction, where there are any.
    pub user_edge_weight: f64,
    /// The same between products.
    pub product_edge_weight: f64,
    /// Walks up to this length count: A, A + A² or A + A² + A³.
    pub walk_length: u32,
    /// By which all scores are multiplied.
    pub weight: f64,
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
            oversampling: None,
            normalization: Normalization::None,
            edges: Edges::Binary,
            user_edge_weight: 1.0,
            product_edge_weight: 1.0,
            walk_length: 1,
            weight: 1.0,
            seed: 0,
            tolerance: 0.0,
        }
    }
}

impl Settings {
    /// Columns that are iterated: where the job leaves it open, the whole vectors that hold 8 more than the rank.
    pub fn columns(&self) -> u32 {
        match self.oversampling {
            Some(more) => self.rank + more,
            None => (width_of((self.rank + OVERSAMPLING) as usize) as u32).min(RANK_MAX),
        }
    }

    /// What an edge between rows of a mode counts beside an interaction.
    pub fn edge_weight(&self, mode: Mode) -> f64 {
        if mode == Mode::User {
            self.user_edge_weight
        } else {
            self.product_edge_weight
        }
    }

    /// The edges that count.
    pub fn linked<'a>(&self, input: &'a Input) -> impl Iterator<Item = (Mode, &'a ModeEdges)> {
        let weights = [Mode::User, Mode::Product].map(|mode| (mode, self.edge_weight(mode)));
        let linked = |(mode, weight)| Some((mode, input.linked(mode, weight)?));
        weights.into_iter().filter_map(linked)
    }

    /// Whether walks of length 3 count, the only ones beyond the first from users to products.
    pub fn cubes(&self) -> bool {
        self.walk_length >= 3
    }

    /// Checks all settings together.
    ///
    /// # Errors
    /// The first that cannot be honoured.
    pub fn check(&self) -> Result<(), SettingsError> {
        let refuse = |key, problem: String| Err(SettingsError { key, problem });
        if !(1..=RANK_MAX).contains(&self.rank) {
            return refuse("rank", format!("is {}: give 1 to {RANK_MAX}", self.rank));
        }
        if self.columns() > RANK_MAX {
            let problem = format!(
                "is {}: with the rank {} give at most {}",
                self.columns() - self.rank,
                self.rank,
                RANK_MAX - self.rank
            );
            return refuse("oversampling", problem);
        }
        if self.epochs == 0 {
            return refuse("epochs", "is 0: give at least 1".to_owned());
        }
        if !(1..=WALK_MAX).contains(&self.walk_length) {
            let problem = format!("is {}: give 1 to {WALK_MAX}", self.walk_length);
            return refuse("walk_length", problem);
        }
        for (key, weight) in [
            ("user_edge_weight", self.user_edge_weight),
            ("product_edge_weight", self.product_edge_weight),
        ] {
            if !(weight >= 0.0 && weight.is_finite()) {
                return refuse(key, format!("is {weight}: give 0 or more"));
            }
        }
        if !(self.tolerance >= 0.0 && self.tolerance < 1.0) {
            let problem = format!("is {}: give 0 or more, below 1", self.tolerance);
            return refuse("tolerance", problem);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_fill_vectors_and_what_cannot_be_is_refused() {
        let columns = |rank, oversampling| {
            Settings {
                rank,
                oversampling,
                ..Settings::default()
            }
            .columns()
        };
        assert_eq!(
            [1, 8, 9, 64, 505, 512].map(|rank| columns(rank, None)),
            [16, 16, 32, 80, 512, 512]
        );
        assert_eq!(columns(64, Some(0)), 64);
        let key = |settings: Settings| settings.check().err().map(|error| error.key);
        let base = Settings::default();
        assert_eq!(key(base.clone()), None);
        assert_eq!(
            key(Settings {
                rank: 0,
                ..base.clone()
            }),
            Some("rank")
        );
        assert_eq!(
            key(Settings {
                oversampling: Some(449),
                ..base.clone()
            }),
            Some("oversampling")
        );
        assert_eq!(
            key(Settings {
                epochs: 0,
                ..base.clone()
            }),
            Some("epochs")
        );
        assert_eq!(
            key(Settings {
                walk_length: 4,
                ..base.clone()
            }),
            Some("walk_length")
        );
        assert_eq!(
            key(Settings {
                user_edge_weight: -1.0,
                ..base.clone()
            }),
            Some("user_edge_weight")
        );
        assert_eq!(
            key(Settings {
                tolerance: f64::NAN,
                ..base
            }),
            Some("tolerance")
        );
    }
}
