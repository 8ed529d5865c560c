//! Unitized factorization as an algorithm of epochs.

use super::schedule::{Labels, Layout};
use super::settings::Settings;
use crate::graph;
use crate::graph::batches::{Batched, InBatches, Pace, Schedule};
use crate::graph::ops::LabelCheck;
use crate::graph::spectral::SettingsError;
use crate::training::Epochs;
use kernels::WIDTH_MAX;
use std::collections::BTreeMap;
use tensor::attributes::AttributeKind;
use tensor::{Attributes, Mode};

/// What it is trained on.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// The graph.
    pub graph: graph::Input,
    /// What is known of its nodes, labels among it.
    pub attributes: BTreeMap<Mode, Attributes>,
}

/// What unitized factorization does with an epoch.
pub struct Unitized {
    settings: Settings,
    input: Input,
    labels: BTreeMap<Mode, Labels>,
}

/// Unitized factorization.
pub type Ucmf = Epochs<InBatches<Unitized>>;

impl Ucmf {
    /// A program that has not begun.
    ///
    /// # Errors
    /// Settings that cannot be honoured.
    pub fn new(settings: Settings, input: Input) -> Result<Self, SettingsError> {
        settings.check()?;
        let mut labels = BTreeMap::new();
        for (&mode, name) in &settings.labels {
            let keys = match mode {
                Mode::User => ["user_label", "user_label_check"],
                _ => ["product_label", "product_label_check"],
            };
            let levels = |name: &str, key| {
                let found = levels_of(mode, name, input.attributes.get(&mode));
                found.map_err(|problem| SettingsError { key, problem })
            };
            let (place, classes) = levels(name, keys[0])?;
            let check = settings.checks.get(&mode).map(|name| levels(name, keys[1]));
            let check = check.transpose()?.map(|(place, levels)| {
                let class = |level: &String| classes.iter().position(|class| class == level);
                let class = |level| class(level).map_or(u32::MAX, |class| class as u32);
                let classes = levels.iter().map(class).collect();
                LabelCheck { place, classes }
            });
            let classes = classes.len() as u32;
            let found = Labels {
                place,
                classes,
                check,
            };
            labels.insert(mode, found);
        }
        Ok(Epochs::of(InBatches::of(Unitized {
            settings,
            input,
            labels,
        })))
    }
}

/// Which of a mode's attributes has a name, and its levels; or why it is none of levels.
pub(in crate::graph) fn levels_of<'a>(
    mode: Mode,
    name: &str,
    known: Option<&'a Attributes>,
) -> Result<(u32, &'a [String]), String> {
    let Some(known) = known else {
        return Err(format!(
            "is an attribute of {mode}s, and the data set has none: name tables with `input.{mode}_attributes` and ingest \
             again, or remove the key"
        ));
    };
    let mut attributes = known.attributes.iter();
    let Some(place) = attributes.position(|attribute| attribute.name == name) else {
        let names = known.attributes.iter().map(|attribute| &attribute.name[..]);
        return Err(format!(
            "is \"{name}\", which the data set does not know of {mode}s: give one of {}",
            names.collect::<Vec<_>>().join(", ")
        ));
    };
    match &known.attributes[place].kind {
        AttributeKind::Number { .. } => Err(format!(
            "is \"{name}\", which holds numbers: list it in `input.{mode}_attributes.categorical` and ingest again, or give an \
             attribute of levels"
        )),
        AttributeKind::Levels { levels, .. } if !(2..=WIDTH_MAX).contains(&levels.len()) => {
            Err(format!(
                "is \"{name}\", which has {} levels: give an attribute of 2 to {WIDTH_MAX}, or lower \
                 `input.{mode}_attributes.max_levels` and ingest again",
                levels.len()
            ))
        }
        AttributeKind::Levels { levels, .. } => Ok((place as u32, levels)),
    }
}

impl Batched for Unitized {
    const KIND: &'static str = "ucmf";

    fn pace(&self) -> Pace {
        Pace {
            epochs: self.settings.epochs,
            tolerance: self.settings.tolerance,
            learning: self.settings.learning(),
        }
    }

    fn schedule(&self) -> impl Schedule {
        Layout {
            settings: &self.settings,
            input: &self.input.graph,
            attributes: &self.input.attributes,
            labels: &self.labels,
        }
    }
}
