//! Graph convolution as an algorithm of epochs.

use super::given::Matrices;
use super::schedule::Layout;
use super::settings::Settings;
use crate::graph;
use crate::graph::batches::{Batched, InBatches, Pace, Schedule};
use crate::graph::spectral::SettingsError;
use crate::training::Epochs;
use std::collections::BTreeMap;
use tensor::{Attributes, Mode};

/// What a graph convolution is trained on.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// The graph.
    pub graph: graph::Input,
    /// What is known of its nodes.
    pub attributes: BTreeMap<Mode, Attributes>,
    /// Matrices of an earlier model.
    pub matrices: Option<Matrices>,
}

/// What graph convolution does with an epoch.
pub struct Convolution {
    settings: Settings,
    input: Input,
}

/// Graph convolution.
pub type Gcn = Epochs<InBatches<Convolution>>;

impl Gcn {
    /// A program that has not begun.
    ///
    /// # Errors
    /// Settings that cannot be honoured.
    pub fn new(settings: Settings, input: Input) -> Result<Self, SettingsError> {
        settings.check()?;
        if settings.reads_attributes() && input.attributes.is_empty() {
            let problem = "reads attributes, and the data set has none: name tables with `input.user_attributes` or \
                           `input.product_attributes` and ingest again, or use \"embeddings\"";
            return Err(SettingsError {
                key: "features",
                problem: problem.to_owned(),
            });
        }
        if settings.epochs == 0 && (input.matrices.is_none() || settings.learns_rows()) {
            let problem = "is 0, which leaves a model as it begins: name an earlier one with `initial_weights` and read \
                           `features` = \"attributes\", or train";
            return Err(SettingsError {
                key: "epochs",
                problem: problem.to_owned(),
            });
        }
        Ok(Epochs::of(InBatches::of(Convolution { settings, input })))
    }
}

impl Batched for Convolution {
    const KIND: &'static str = "gcn";

    fn pace(&self) -> Pace {
        Pace {
            epochs: self.settings.epochs,
            tolerance: self.settings.tolerance,
            learning: self.settings.learning,
        }
    }

    fn schedule(&self) -> impl Schedule {
        Layout {
            settings: &self.settings,
            input: &self.input.graph,
            attributes: &self.input.attributes,
            matrices: self.input.matrices.as_ref(),
            drops: false,
        }
    }
}
