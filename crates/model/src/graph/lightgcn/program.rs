//! LightGCN as an algorithm of epochs.

use super::schedule::Layout;
use super::settings::Settings;
use crate::graph::batches::{Batched, InBatches, Pace, Schedule};
use crate::graph::spectral::SettingsError;
use crate::graph::steps::Input;
use crate::training::Epochs;

/// What LightGCN does with an epoch.
pub struct Propagation {
    settings: Settings,
    input: Input,
}

/// LightGCN.
pub type LightGcn = Epochs<InBatches<Propagation>>;

impl LightGcn {
    /// A program that has not begun.
    ///
    /// # Errors
    /// Settings that cannot be honoured.
    pub fn new(settings: Settings, input: Input) -> Result<Self, SettingsError> {
        settings.check()?;
        Ok(Epochs::of(InBatches::of(Propagation { settings, input })))
    }
}

impl Batched for Propagation {
    const KIND: &'static str = "lightgcn";

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
            input: &self.input,
        }
    }
}
