//! What the adjacency of a graph is divided by.

use super::ops::Power;
use super::spectral::SettingsError;
use serde::{Deserialize, Serialize};
use tensor::Mode;

/// What the adjacency is divided by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Normalization {
    /// Nothing: B = R.
    None,
    /// B = `D_u`^-½ R `D_v`^-½.
    Symmetric,
    /// B = `D_u`⁻¹ R: the steps of a random walk from users.
    RandomWalk,
}

impl Normalization {
    /// The powers of degrees by which B differs from R.
    pub fn power(self, mode: Mode) -> Power {
        match (self, mode) {
            (Normalization::Symmetric, _) => Power(-1),
            (Normalization::RandomWalk, Mode::User) => Power(-2),
            _ => Power(0),
        }
    }

    /// Whether it says what becomes of edges of rows to themselves, where there are some.
    ///
    /// # Errors
    /// Where it does not.
    pub fn check_loops(self, loops: bool) -> Result<(), SettingsError> {
        if !loops || self != Normalization::RandomWalk {
            return Ok(());
        }
        let problem = "is on, and `normalization` = \"random-walk\" divides interactions by the degrees of users alone and says nothing of \
                       edges of rows to themselves: use \"symmetric\" or \"none\", or remove the key";
        Err(SettingsError {
            key: "self_loops",
            problem: problem.to_owned(),
        })
    }

    /// Whether it says what becomes of edges between rows of a mode, where there are some.
    ///
    /// # Errors
    /// Where it does not.
    pub fn check(self, linked: bool) -> Result<(), SettingsError> {
        if !linked || self != Normalization::RandomWalk {
            return Ok(());
        }
        let problem = "is \"random-walk\", which divides interactions by the degrees of users alone and says nothing of edges \
                       between rows of a mode: give \"symmetric\" or \"none\", or an edge weight of 0";
        Err(SettingsError {
            key: "normalization",
            problem: problem.to_owned(),
        })
    }
}
