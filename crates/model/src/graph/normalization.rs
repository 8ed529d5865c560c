//! What the adjacency of a graph is divided by.

use super::ops::Power;
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

    /// By which powers of degrees the layers of a graph convolution divide, whose Â goes from rows to rows of either mode: that of the row
    /// that is made, and that of those that are read. Of a random walk every row is the mean of its neighbours: Â = D⁻¹ A.
    pub fn of_layers(self) -> [Power; 2] {
        match self {
            Normalization::None => [Power(0); 2],
            Normalization::Symmetric => [Power(-1); 2],
            Normalization::RandomWalk => [Power(-2), Power(0)],
        }
    }
}
