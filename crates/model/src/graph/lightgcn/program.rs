//! LightGCN as an algorithm of epochs.

use super::schedule::Layout;
use super::settings::Settings;
use crate::graph::batches::{Batched, InBatches, Role};
use crate::graph::ops::Head;
use crate::graph::spectral::SettingsError;
use crate::graph::steps::Input;
use crate::training::{Epochs, TableVersion};
use tensor::{KeyRange, Mode, Step};

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
        let layout = Layout {
            settings: &settings,
            input: &input,
        };
        let linked = [Mode::User, Mode::Product].map(|mode| layout.edges(mode).is_some());
        settings.normalization.check(linked.contains(&true))?;
        Ok(Epochs::of(InBatches::of(Propagation { settings, input })))
    }
}

impl Propagation {
    fn layout(&self) -> Layout<'_> {
        Layout {
            settings: &self.settings,
            input: &self.input,
        }
    }
}

impl Batched for Propagation {
    const KIND: &'static str = "lightgcn";

    fn epochs(&self) -> u32 {
        self.settings.epochs
    }

    fn batches(&self) -> u32 {
        self.settings.batches()
    }

    fn head(&self) -> Head {
        self.settings.head()
    }

    fn tolerance(&self) -> f64 {
        self.settings.tolerance
    }

    fn first_stage(&self, first: u64) -> Vec<(Step, Role)> {
        self.layout().first_stage(first)
    }

    fn epoch(&self, first: u64, epoch: u32) -> Vec<(Step, Role)> {
        self.layout().epoch(first, epoch)
    }

    fn tables(&self, epoch: u32) -> Vec<TableVersion> {
        self.layout().tables(epoch)
    }

    fn kept(&self, epoch: u32) -> Vec<KeyRange> {
        self.layout().kept(epoch)
    }
}
