//! The settings of the graph filter: text, checked together, then passed by value.

use super::{Links, Nearest};
use crate::graph::ops::Edges;
use crate::graph::spectral::{self, Normalization, SettingsError};
use serde::{Deserialize, Serialize};

/// All settings. Absent keys take their defaults; [`Settings::check`] refuses what cannot be honoured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Singular vectors that pass.
    pub rank: u32,
    /// Iterations by which they are found.
    pub epochs: u32,
    /// Columns that are iterated beyond the rank. Absent: [`spectral::Settings::columns`].
    pub oversampling: Option<u32>,
    /// What an interaction weighs.
    pub edges: Edges,
    /// β, of the low-pass part. 0: the linear part alone.
    pub weight: f64,
    /// Whether the linear part counts.
    pub linear: bool,
    /// Of every product so many others speak for it in the linear part. 0: all.
    pub nearest: u32,
    /// What similarities of few users are shrunk by, where only the nearest count.
    pub shrinkage: f64,
    /// Columns of plain factors that stand for the whole filter. 0: the filter scores itself.
    pub distill: u32,
    /// The seed of everything random.
    pub seed: u64,
    /// Stop when an epoch lowers the objective by less than this share; 0: never.
    pub tolerance: f64,
}

impl Default for Settings {
    fn default() -> Self {
        let spectral = spectral::Settings::default();
        Settings {
            rank: spectral.rank,
            epochs: spectral.epochs,
            oversampling: None,
            edges: spectral.edges,
            weight: 0.3,
            linear: true,
            nearest: 0,
            shrinkage: 0.0,
            distill: 0,
            seed: 0,
            tolerance: 0.0,
        }
    }
}

impl Settings {
    /// What makes the low-pass part: σ' / σ is 1 in both factors' product, so U Vᵀ is β R D_v^-½ V Vᵀ D_v^½.
    pub fn low_pass(&self) -> spectral::Settings {
        spectral::Settings {
            rank: self.rank,
            epochs: self.epochs,
            oversampling: self.oversampling,
            normalization: Normalization::Symmetric,
            edges: self.edges,
            user_edge_weight: 0.0,
            product_edge_weight: 0.0,
            walk_length: 1,
            weight: self.weight,
            seed: self.seed,
            tolerance: self.tolerance,
        }
    }

    /// What the linear part is, where it counts.
    pub fn scored_by(&self) -> Option<Links> {
        let scores = self.linear && self.distill == 0;
        let links = if self.nearest > 0 {
            Links::Nearest(Nearest {
                count: self.nearest,
                shrinkage: self.shrinkage,
            })
        } else {
            Links::Shared(self.edges)
        };
        scores.then_some(links)
    }

    /// What makes plain factors of the whole filter.
    pub fn whole(&self) -> spectral::Settings {
        spectral::Settings {
            rank: self.distill,
            normalization: Normalization::None,
            weight: 1.0,
            ..self.low_pass()
        }
    }

    /// Columns of the model's factors.
    pub fn columns(&self) -> u32 {
        if self.distill > 0 {
            self.distill
        } else {
            self.rank
        }
    }

    /// Checks all settings together.
    ///
    /// # Errors
    /// The first that cannot be honoured.
    pub fn check(&self) -> Result<(), SettingsError> {
        let refuse = |key, problem: String| Err(SettingsError { key, problem });
        if !(self.weight >= 0.0 && self.weight.is_finite()) {
            return refuse(
                "filter_weight",
                format!("is {}: give 0 or more", self.weight),
            );
        }
        if self.weight == 0.0 && !self.linear {
            let problem =
                "is 0, and `filter_linear` is off: nothing is left to score by".to_owned();
            return refuse("filter_weight", problem);
        }
        if self.distill > 0 && !self.linear {
            let problem = format!(
                "is {}, and `filter_linear` is off: what is left are plain factors, remove one of the keys",
                self.distill
            );
            return refuse("distill", problem);
        }
        self.nearest_ones()?;
        self.low_pass().check()?;
        if self.distill == 0 {
            return Ok(());
        }
        self.whole().check().map_err(|error| match error.key {
            "rank" => SettingsError {
                key: "distill",
                ..error
            },
            _ => error,
        })
    }

    fn nearest_ones(&self) -> Result<(), SettingsError> {
        let refuse = |key, problem: String| Err(SettingsError { key, problem });
        if !(self.shrinkage >= 0.0 && self.shrinkage.is_finite()) {
            let problem = format!("is {}: give 0 or more", self.shrinkage);
            return refuse("filter_shrinkage", problem);
        }
        let why = if self.nearest == 0 {
            return Ok(());
        } else if !self.linear {
            "`filter_linear` is off, of which they are"
        } else if self.distill > 0 {
            "`distill` makes plain factors of the whole filter"
        } else if self.edges != Edges::Binary {
            "`edges` = \"values\" is not for them: users are counted"
        } else {
            return Ok(());
        };
        refuse("filter_nearest", format!("is {}, and {why}", self.nearest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_of_nothing_is_refused() {
        let key = |weight, linear, rank| {
            let settings = Settings {
                rank,
                weight,
                linear,
                ..Settings::default()
            };
            settings.check().err().map(|error| error.key)
        };
        assert_eq!(key(0.3, true, 64), None);
        assert_eq!((key(0.0, true, 64), key(0.3, false, 64)), (None, None));
        assert_eq!(key(0.0, false, 64), Some("filter_weight"));
        assert_eq!(key(f64::NAN, true, 64), Some("filter_weight"));
        assert_eq!(key(0.3, true, 0), Some("rank"));
        let distilled = |distill, linear| {
            let settings = Settings {
                linear,
                distill,
                ..Settings::default()
            };
            (
                settings.check().err().map(|error| error.key),
                settings.scored_by(),
            )
        };
        assert_eq!(distilled(64, true), (None, None));
        assert_eq!(
            distilled(0, true),
            (None, Some(Links::Shared(Edges::Binary)))
        );
        assert_eq!(distilled(64, false).0, Some("distill"));
        assert_eq!(distilled(513, true).0, Some("distill"));
    }

    #[test]
    fn the_nearest_are_of_the_linear_part_of_users() {
        let near = Settings {
            nearest: 20,
            shrinkage: 5.0,
            ..Settings::default()
        };
        let expected = Nearest {
            count: 20,
            shrinkage: 5.0,
        };
        assert_eq!(near.scored_by(), Some(Links::Nearest(expected)));
        let key = |settings: Settings| settings.check().err().map(|error| error.key);
        assert_eq!(key(near.clone()), None);
        for refused in [
            Settings {
                linear: false,
                ..near.clone()
            },
            Settings {
                distill: 8,
                ..near.clone()
            },
            Settings {
                edges: Edges::Values,
                ..near.clone()
            },
        ] {
            assert_eq!(key(refused), Some("filter_nearest"));
        }
        let negative = Settings {
            shrinkage: -1.0,
            ..near
        };
        assert_eq!(key(negative), Some("filter_shrinkage"));
    }
}
