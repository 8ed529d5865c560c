//! The filter as plain factors: the best approximation of a rank over all cells, by randomized subspace iteration with the filter.
//!
//! Every epoch iterates with the adjacency for the low-pass part, and with the filter that has this part so far.

use super::Settings;
use crate::graph::spectral::schedule::{Layout, Part};
use crate::graph::spectral::{self, Iterated, Iteration, Rounds, SettingsError};
use crate::graph::steps::Input;
use crate::training::Epochs;

/// The filter.
pub struct Filter {
    low_pass: spectral::Settings,
    whole: spectral::Settings,
    input: Input,
}

/// The filter as plain factors.
pub type Distilled = Epochs<Iteration<Filter>>;

impl Distilled {
    /// A program that has not begun.
    ///
    /// # Errors
    /// Settings that cannot be honoured.
    pub fn new(settings: &Settings, input: Input) -> Result<Self, SettingsError> {
        settings.check()?;
        Ok(Epochs::of(Iteration::of(Filter {
            low_pass: settings.low_pass(),
            whole: settings.whole(),
            input,
        })))
    }
}

impl Iterated for Filter {
    const KIND: &'static str = "filter";

    fn settings(&self) -> &spectral::Settings {
        &self.whole
    }

    fn with<T>(&self, of: impl FnOnce(&dyn Rounds) -> T) -> T {
        let part = Layout {
            settings: &self.low_pass,
            input: &self.input,
            part: Part::Below,
        };
        of(&Layout {
            settings: &self.whole,
            input: &self.input,
            part: Part::Above(&part),
        })
    }
}
