//! The matrices of an earlier graph convolution, on their way into a job: found, compared with what the job says, and brought into its
//! own place of models, where workers read.

use super::describe::open;
use super::engine::{Engine, failed};
use super::stored_model::{Algorithm, StoredModel};
use crate::failure::Failure;
use model::graph::gcn::{Matrices, Reading, Settings};
use plan::Refusal;
use serde::Serialize;
use std::collections::BTreeMap;
use tensor::{Attribute, Attributes, DataSet, DepotId, Digest, Mode, SealedRef};

/// What a job takes over.
pub struct Earlier {
    /// The matrices.
    pub matrices: Matrices,
    /// The model that they are of.
    pub digest: Digest,
    /// The attributes that it knew.
    pub attributes: BTreeMap<Mode, Vec<Attribute>>,
}

/// The attributes of data as a model of this kind knows them.
pub fn known(
    data: &DataSet,
    settings: &Settings,
    earlier: Option<&Earlier>,
) -> BTreeMap<Mode, Attributes> {
    if !settings.reads_attributes() {
        return BTreeMap::new();
    }
    let known = data.attributes.iter().map(|(&mode, found)| {
        let mut found = found.clone();
        if let Some(knew) = earlier.and_then(|earlier| earlier.attributes.get(&mode)) {
            found.attributes.clone_from(knew);
        }
        (mode, found)
    });
    known.collect()
}

/// What the job names, where it does.
///
/// # Errors
/// Where there is no such model, or it is of another shape or other attributes.
pub async fn earlier(
    engine: &Engine<'_>,
    data: &DataSet,
    settings: &Settings,
) -> Result<Option<Earlier>, Failure> {
    let Some(location) = &engine.settings.model.initial_weights else {
        return Ok(None);
    };
    let refuse = |refusal, what: String| {
        let sentence = format!("`model.initial_weights`: {what}");
        Err(Failure::new(refusal, sentence))
    };
    if location.as_path().is_some_and(|path| !path.is_dir()) {
        let what = format!("there is no directory {location}: name the place of a trained model");
        return refuse(Refusal::Unavailable, what);
    }
    let from = open(location)?;
    let Some((_, manifest)) = from.latest_model(None).await.map_err(failed)? else {
        let what = format!("{location} holds no model: name the place of a trained one");
        return refuse(Refusal::Unavailable, what);
    };
    let found = StoredModel::of(manifest)?;
    let Algorithm::Gcn(knew) = &found.record.algorithm else {
        let kind = found.record.algorithm.kind();
        let what = format!("the model is of the kind \"{kind}\": name one of the kind \"gcn\"");
        return refuse(Refusal::Config, what);
    };
    if let Some((key, knew, said)) = difference(knew, settings) {
        let what =
            format!("the model was made with `{key}` = {knew}, the job says {said}: give the same");
        return refuse(Refusal::Config, what);
    }
    let taken = match of(&found, data, settings.reads_attributes()) {
        Ok(taken) => taken,
        Err(what) => return refuse(Refusal::Config, what),
    };
    let to = engine.depot(DepotId::MODEL)?;
    let all = taken.matrices.weights.values().flatten();
    let all = all.chain(taken.matrices.maps.values());
    let all: Vec<SealedRef> = all.copied().collect();
    for object in all {
        if !to.has(object).await.map_err(failed)? {
            to.put_stream(object, from.parts(object))
                .await
                .map_err(failed)?;
        }
    }
    Ok(Some(taken))
}

/// What a model of the kind lends to another of the same shape over other rows, which reads attributes or does not.
///
/// # Errors
/// Where the data have other attributes.
pub fn of(found: &StoredModel, data: &DataSet, reads: bool) -> Result<Earlier, String> {
    let mut matrices = Matrices::default();
    let mut attributes = BTreeMap::new();
    for table in &found.manifest.tables {
        let (mode, blocks) = (table.mode, &table.blocks);
        let name = table.name.strip_prefix(mode.name());
        if name == Some("_weights") {
            matrices.weights.insert(mode, blocks.clone());
        } else if name == Some("_attributes") && reads {
            matrices.maps.insert(mode, blocks[0]);
        }
    }
    for mode in [Mode::User, Mode::Product] {
        let have = data.attributes.get(&mode).filter(|_| reads);
        let have = have.map_or(&[][..], |have| &have.attributes);
        let knew = found.record.attributes.get(&mode);
        let knew = knew.filter(|_| reads);
        let knew = knew.map_or(&[][..], |knew| &knew[..]);
        let readings = match Reading::of(knew, have) {
            Ok(readings) => readings,
            Err(what) => {
                let what = format!(
                    "the attributes of {mode}s are others, {what}: name the same columns in [input.{mode}_attributes]"
                );
                return Err(what);
            }
        };
        if !knew.is_empty() {
            matrices.words.insert(mode, readings);
            attributes.insert(mode, knew.to_vec());
        }
    }
    Ok(Earlier {
        matrices,
        digest: found.manifest.factors,
        attributes,
    })
}

/// The first setting that decides what matrices mean and differs.
fn difference(knew: &Settings, said: &Settings) -> Option<(&'static str, String, String)> {
    fn shown(value: impl Serialize) -> String {
        serde_json::to_string(&value).unwrap_or_default()
    }
    let shape = |of: &Settings| {
        [
            ("rank", shown(of.rank)),
            ("layers", shown(of.layers)),
            ("readout", shown(of.readout)),
            ("self_weights", shown(of.self_weights)),
            ("weights", shown(of.weights)),
            ("activation", shown(of.activation)),
            ("normalization", shown(of.normalization)),
            ("self_loops", shown(of.self_loops)),
        ]
    };
    let pairs = shape(knew).into_iter().zip(shape(said));
    let mut pairs = pairs.map(|((key, knew), (_, said))| (key, knew, said));
    pairs.find(|(_, knew, said)| knew != said)
}
