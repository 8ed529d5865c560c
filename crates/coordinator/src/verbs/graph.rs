//! What the graph of a data set is, beside what `inspect` tells of it anyway.

use super::data;
use super::describe;
use super::engine::{Engine, Stage, failed, key_of};
use crate::failure::Failure;
use crate::job::settings::Location;
use crate::output::{VerbOutput, graph};
use model::facts::{Facts, GraphFacts, Input};
use plan::Refusal;
use serde_json::json;
use tensor::{DataSet, DepotId, SplitPart};

/// Tells what a data set is, and facts about its graph: of the training files, where parts were given.
///
/// # Errors
/// Where the place holds no data set.
pub async fn inspect(engine: &Engine<'_>, at: &Location) -> Result<VerbOutput, Failure> {
    let (mut fields, mut lines) = describe::look(at).await?;
    let depot = engine.depot(DepotId::DATA)?;
    let found = depot.latest_data_set(None).await.map_err(failed)?;
    let (_, data) = found.ok_or_else(|| {
        let sentence = format!(
            "{at} holds no data set: `--graph` tells of the graph of one, name that of `output.data`"
        );
        Failure::new(Refusal::Unavailable, sentence)
    })?;
    let found = facts(engine, &data).await?;
    lines.extend(graph::lines(&found));
    fields.insert("graph".to_owned(), json!(found));
    Ok(VerbOutput::Described { fields, lines })
}

/// Facts about the graph of a data set: of the training files, where parts were given.
///
/// # Errors
/// Where its interactions cannot be read.
pub async fn facts(engine: &Engine<'_>, data: &DataSet) -> Result<Facts, Failure> {
    let interactions = data::whole(engine, data, SplitPart::Train).await?;
    let mut program = GraphFacts::new(Input {
        user: data.user.grid.clone(),
        product: data.product.grid.clone(),
        interactions: interactions.unwrap_or_default(),
        edges: data.edges.clone(),
    });
    let run = key_of(&[b"graph", &data.lineage.0]);
    engine
        .run(&mut program, Stage::plain("graph", run, 0))
        .await?;
    let found = program.found().cloned();
    found.ok_or_else(|| Failure::new(Refusal::Bug, "no fact was found"))
}
