//! What the graph of a data set is, beside what `inspect` tells of it anyway.

use super::data;
use super::describe;
use super::engine::{Engine, Stage, failed, key_of};
use crate::failure::Failure;
use crate::job::settings::Location;
use crate::output::{VerbOutput, graph};
use model::facts::{GraphFacts, Input};
use plan::Refusal;
use serde_json::json;
use tensor::{DepotId, SplitPart};

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
    let interactions = data::whole(engine, &data, SplitPart::Train).await?;
    let mut program = GraphFacts::new(Input {
        user: data.user.grid,
        product: data.product.grid,
        interactions: interactions.unwrap_or_default(),
        edges: data.edges,
    });
    let run = key_of(&[b"graph", &data.lineage.0]);
    engine
        .run(&mut program, Stage::plain("graph", run, 0))
        .await?;
    let found = program.found();
    let found = found.ok_or_else(|| Failure::new(Refusal::Bug, "no fact was found"))?;
    lines.extend(graph::lines(found));
    fields.insert("graph".to_owned(), json!(found));
    Ok(VerbOutput::Described { fields, lines })
}
