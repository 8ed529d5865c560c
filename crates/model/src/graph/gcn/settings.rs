//! The settings of graph convolution: text, checked together, then passed by value.

use crate::graph::learning::Learning;
use crate::graph::normalization::Normalization;
use crate::graph::ops::{Activation, Edges, FirstNumbers, Head, Power};
use crate::graph::spectral::settings::SettingsError;
use serde::{Deserialize, Serialize};
use tensor::Mode;

/// The most layers. Each averages once more, so beyond three the rows of a component grow alike; a fourth is left to those who want to see it.
pub const LAYERS_MAX: u32 = 4;

/// What a row's own layer is multiplied with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SelfWeights {
    /// The matrix of its neighbours: f((Â H + H) W).
    Tied,
    /// One of its own: f(Â H W + H S).
    Free,
}

/// Whose matrices layers have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Weights {
    /// Users theirs and products theirs.
    Separate,
    /// The same.
    Shared,
}

/// What the first layer reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Features {
    /// A learnt row a node.
    Embeddings,
    /// Attributes times a learnt matrix.
    Attributes,
    /// The sum of both.
    Both,
}

/// What of the layers is scored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Readout {
    /// The last.
    Last,
    /// The mean of all, with what the first one reads.
    Mean,
}

/// All settings. Absent keys take their defaults; [`Settings::check`] refuses what cannot be honoured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Columns of every layer.
    pub rank: u32,
    /// Layers.
    pub layers: u32,
    /// What the sums of a layer go through; those of the last stay as they are.
    pub activation: Activation,
    /// The share of numbers between layers that are dropped in training.
    pub dropout: f64,
    /// What of the layers is scored.
    pub readout: Readout,
    /// What a row's own layer is multiplied with.
    pub self_weights: SelfWeights,
    /// Whose matrices layers have.
    pub weights: Weights,
    /// What the first layer reads.
    pub features: Features,
    /// Passes over the interactions.
    pub epochs: u32,
    /// How it learns.
    #[serde(flatten)]
    pub learning: Learning,
    /// λ: a learnt row is held by λ times its degree.
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
    /// The standard deviation of the first learnt rows times the root of the rank.
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
        layers: 1,
        activation: Activation::Identity,
        dropout: 0.0,
        readout: Readout::Mean,
        self_weights: SelfWeights::Tied,
        weights: Weights::Separate,
        features: Features::Embeddings,
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

    /// The length of Adam's steps. Where the matrix of attributes is all that moves, 0.05 led away from every optimum.
    pub fn rate(&self) -> f64 {
        let most = if self.learns_rows() { f64::MAX } else { 0.01 };
        let learning = self.learning;
        learning.rate.unwrap_or(learning.rate().min(most))
    }

    /// The length of steps on the matrix of attributes. Beside rows of their own it moves many of them together, as matrices of layers do:
    /// with steps as long as those of rows the objective of the bundled purchases rose in every second epoch.
    pub fn map_rate(&self) -> f64 {
        if self.learns_rows() {
            self.weight_rate()
        } else {
            self.rate()
        }
    }

    /// The length of steps on the matrices of layers, of which each moves all rows: a row comes as far by `rank` entries of one that
    /// go the same way as by one of its own.
    pub fn weight_rate(&self) -> f64 {
        self.rate() / f64::from(self.rank)
    }

    /// The head of a batch.
    pub fn head(&self) -> Head {
        self.learning.head()
    }

    /// What a layer counts in the mean of layers, where that is scored.
    pub fn share(&self) -> Option<f32> {
        let share = 1.0 / (self.layers + 1) as f32;
        (self.readout == Readout::Mean).then_some(share)
    }

    /// Matrices of a layer.
    pub fn parts(&self) -> u32 {
        match self.self_weights {
            SelfWeights::Tied => 1,
            SelfWeights::Free => 2,
        }
    }

    /// The activation of a layer, counted from 0.
    pub fn activation(&self, layer: u32) -> Activation {
        if layer + 1 == self.layers {
            Activation::Identity
        } else {
            self.activation
        }
    }

    /// What the matrices of a layer begin as. Half of the unit matrix: layers begin as the means of rows and their neighbours' sums.
    /// Behind ReLU rows have no negative numbers, and with that matrix all scores would be far above 0, from where steps lead to rows
    /// that let nothing through; so matrices are normal then, each its own, of the same size (Glorot and Bengio, 2010).
    pub fn first_weights(&self, mode: Mode, layer: u32) -> FirstNumbers {
        match self.activation {
            Activation::Identity | Activation::Tanh => FirstNumbers::Unit(0.5),
            Activation::Relu => FirstNumbers::Normal {
                seed: self.learning.seed,
                // 0 and 1 are those of attributes.
                stream: 2 + 2 * layer + u32::from(mode == Mode::User),
                by: (0.5 / f64::from(self.rank).sqrt()) as f32,
            },
        }
    }

    /// What an edge between rows of a mode counts beside an interaction; 0 where nothing goes along it.
    pub fn edge_weight(&self, mode: Mode) -> f64 {
        match mode {
            Mode::User => self.user_edge_weight,
            _ => self.product_edge_weight,
        }
    }

    /// Whether a row a node is learnt.
    pub fn learns_rows(&self) -> bool {
        self.features != Features::Attributes
    }

    /// Whether attributes are read.
    pub fn reads_attributes(&self) -> bool {
        self.features != Features::Embeddings
    }

    /// The power of degrees by which the rows that products read are multiplied.
    pub fn read_power(&self) -> Power {
        self.normalization.of_layers()[1]
    }

    /// That by which their sums are.
    pub fn made_power(&self) -> Power {
        self.normalization.of_layers()[0]
    }

    /// What of degrees an edge of a row to itself counts, where there are such.
    pub fn loops(&self) -> Option<Power> {
        let [made, read] = self.normalization.of_layers();
        self.self_loops.then_some(Power(made.0 + read.0))
    }

    /// The power of degrees by which learnt rows are multiplied as they are kept: that of the first layer, where they are it.
    pub fn kept_power(&self) -> Power {
        if self.reads_attributes() {
            Power(0)
        } else {
            self.read_power()
        }
    }

    /// Checks all settings together.
    ///
    /// # Errors
    /// The first that cannot be honoured.
    pub fn check(&self) -> Result<(), SettingsError> {
        let refuse = |problem: String| {
            Err(SettingsError {
                key: "dropout",
                problem,
            })
        };
        if !(0.0..1.0).contains(&self.dropout) {
            return refuse(format!("is {}: give 0 or more, below 1", self.dropout));
        }
        if self.dropout > 0.0 && self.layers == 1 {
            let problem =
                "is between layers, and there is one: give `layers` 2 or more, or remove the key";
            return refuse(problem.to_owned());
        }
        let counts = [("layers", self.layers, 1, LAYERS_MAX)];
        let reals = [
            ("regularization", self.regularization),
            ("user_edge_weight", self.user_edge_weight),
            ("product_edge_weight", self.product_edge_weight),
            ("init", self.init_scale),
        ];
        let (rank, epochs) = (self.rank, (self.epochs, 0));
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
        assert_eq!(key(|s| s.layers = 0), Some("layers"));
        assert_eq!(key(|s| s.layers = 5), Some("layers"));
        assert_eq!(key(|s| s.learning.batches = Some(0)), Some("batches"));
        assert_eq!(key(|s| s.learning.decay = 1.5), Some("decay"));
        assert_eq!(key(|s| s.learning.rate = Some(f64::NAN)), Some("rate"));
        assert_eq!(key(|s| s.init_scale = -1.0), Some("init"));
        assert_eq!(key(|s| s.tolerance = 1.0), Some("tolerance"));
        assert_eq!(key(|s| s.dropout = 0.5), Some("dropout"));
        assert_eq!(key(|s| (s.dropout, s.layers) = (0.5, 2)), None);
        assert_eq!(key(|s| (s.dropout, s.layers) = (1.0, 2)), Some("dropout"));
        assert_eq!(key(|s| s.learning.negatives = Some(101)), Some("negatives"));
        let positives = |s: &mut Settings| {
            (s.learning.loss, s.learning.negatives) = (HeadName::Logistic, Some(0));
        };
        assert_eq!(key(positives), Some("negatives"));
    }
}
