//! The settings of LightGCN: text, checked together, then passed by value.

use crate::graph::learning::Learning;
use crate::graph::normalization::Normalization;
use crate::graph::ops::{Edges, Head, Power};
use crate::graph::spectral::settings::SettingsError;
use serde::{Deserialize, Serialize};
use tensor::Mode;

/// The most layers: beyond them embeddings of a component grow alike.
pub const LAYERS_MAX: u32 = 4;

/// All settings. Absent keys take their defaults; [`Settings::check`] refuses what cannot be honoured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Columns of the embedding.
    pub rank: u32,
    /// Products with the graph that an embedding goes through; 0: none.
    pub layers: u32,
    /// Passes over the interactions.
    pub epochs: u32,
    /// How it learns.
    #[serde(flatten)]
    pub learning: Learning,
    /// λ: a row is held by λ times its degree.
    pub regularization: f64,
    /// What the adjacency is divided by.
    pub normalization: Normalization,
    /// Whether rows have edges to themselves.
    pub self_loops: bool,
    /// What an interaction weighs in the graph.
    pub edges: Edges,
    /// What an edge between users counts beside an interaction, where there are any.
    pub user_edge_weight: f64,
    /// The same between products.
    pub product_edge_weight: f64,
    /// The standard deviation of the first rows times the root of the rank.
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
        layers: 2,
        epochs: 10,
        learning: Learning::DEFAULT,
        regularization: 0.01,
        normalization: Normalization::Symmetric,
        self_loops: false,
        edges: Edges::Binary,
        user_edge_weight: 1.0,
        product_edge_weight: 1.0,
        init_scale: 0.1,
        tolerance: 0.0,
    };

    /// Parts of an epoch.
    pub fn batches(&self) -> u32 {
        self.learning.batches()
    }

    /// The length of Adam's steps.
    pub fn rate(&self) -> f64 {
        self.learning.rate()
    }

    /// The head of a batch.
    pub fn head(&self) -> Head {
        self.learning.head()
    }

    /// The powers of degrees by which the rows that layers make are divided, and those that they read.
    pub fn powers(&self) -> [Power; 2] {
        if self.layers == 0 {
            [Power(0); 2]
        } else {
            self.normalization.of_layers()
        }
    }

    /// What an edge between rows of a mode counts beside an interaction; 0 where nothing goes along it.
    pub fn edge_weight(&self, mode: Mode) -> f64 {
        match mode {
            _ if self.layers == 0 => 0.0,
            Mode::User => self.user_edge_weight,
            _ => self.product_edge_weight,
        }
    }

    /// Checks all settings together.
    ///
    /// # Errors
    /// The first that cannot be honoured.
    pub fn check(&self) -> Result<(), SettingsError> {
        let counts = [("layers", self.layers, 0, LAYERS_MAX)];
        let reals = [
            ("regularization", self.regularization),
            ("user_edge_weight", self.user_edge_weight),
            ("product_edge_weight", self.product_edge_weight),
            ("init", self.init_scale),
        ];
        let (rank, epochs) = (self.rank, (self.epochs, 1));
        self.learning
            .check(rank, epochs, &counts, &reals, self.tolerance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::learning::HeadName;

    #[test]
    fn what_cannot_be_is_refused_by_its_key() {
        let key = |change: fn(&mut Settings)| {
            let mut settings = Settings::default();
            change(&mut settings);
            settings.check().err().map(|error| error.key)
        };
        assert_eq!(key(|_| ()), None);
        assert_eq!(key(|s| s.rank = 0), Some("rank"));
        assert_eq!(key(|s| s.layers = 5), Some("layers"));
        assert_eq!(key(|s| s.layers = 0), None);
        assert_eq!(key(|s| s.epochs = 0), Some("epochs"));
        assert_eq!(key(|s| s.learning.batches = Some(0)), Some("batches"));
        assert_eq!(key(|s| s.learning.decay = 1.5), Some("decay"));
        assert_eq!(key(|s| s.learning.alpha0 = Some(-1.0)), Some("alpha0"));
        assert_eq!(key(|s| s.learning.rate = Some(f64::INFINITY)), Some("rate"));
        assert_eq!(key(|s| s.regularization = f64::NAN), Some("regularization"));
        assert_eq!(key(|s| s.tolerance = 1.0), Some("tolerance"));
        assert_eq!(key(|s| s.learning.negatives = Some(101)), Some("negatives"));
        let positives = |s: &mut Settings| {
            (s.learning.loss, s.learning.negatives) = (HeadName::Logistic, Some(0));
        };
        assert_eq!(key(positives), Some("negatives"));
    }
}
