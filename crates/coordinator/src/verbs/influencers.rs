//! Finds influencers, whom they reach, and what those would buy.

use super::data::Views;
use super::engine::{Engine, Stage, key_of};
use super::ids;
use super::stored_model::StoredModel;
use crate::failure::Failure;
use crate::job::settings::TiesBy;
use crate::output::influencers::{InfluencerReport, InfluencersReport, OfferReport};
use model::bootstrap::mix;
use model::influence::{Influencers, Input, Settings, Ties};
use model::recommend::{self, Recommend};
use plan::Refusal;
use std::collections::BTreeMap;
use tables::out::ids::Ids;
use tables::out::{InfluencerRow, write_influencers};
use tensor::{Axis, DataSet, Mode, ObjectKey, Recommended};

/// Of those whom one reaches, as many as are asked what they would buy.
const ASKED_MAX: usize = 1_000;
/// Of those whom one reaches, as many as the report names.
const NAMED: usize = 20;

fn io(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(Refusal::Io, error.to_string())
}

fn words(held: &exec::Held) -> Result<Vec<u32>, plan::Failure> {
    let bytes = held.whole().map_err(|error| plan::Failure::Refused {
        refusal: Refusal::Io,
        sentence: error.to_string(),
    })?;
    let words = bytes.chunks_exact(4);
    let words = words.map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]));
    Ok(words.collect())
}

/// What ties the rows, and its name.
fn ties(
    by: TiesBy,
    of: Mode,
    data: &DataSet,
    views: &Views,
) -> Result<(Ties, &'static str), Failure> {
    let edges = data.edges.get(&of);
    if by == TiesBy::Edges && edges.is_none() {
        let sentence = format!(
            "`output.influencers.by` is \"edges\", and the data set has none between {of}s: name their lists with \
             `input.{of}_edges.files` and ingest, or set it to \"purchases\""
        );
        return Err(Failure::new(Refusal::Config, sentence));
    }
    if let Some(edges) = edges.filter(|_| by != TiesBy::Purchases) {
        let ties = Ties::Edges {
            forward: edges.forward.clone(),
            backward: edges.backward.clone(),
        };
        return Ok((ties, "edges"));
    }
    let train = &views.train;
    let (partitions, columns, column_partitions) = if of == Mode::User {
        (&train.user_major, &data.product, &train.product_major)
    } else {
        (&train.product_major, &data.user, &train.user_major)
    };
    let ties = Ties::Shared {
        partitions: partitions.clone(),
        columns: columns.grid.clone(),
        column_partitions: column_partitions.clone(),
    };
    Ok((ties, "purchases"))
}

/// Writes or tells them.
///
/// # Errors
/// Where there are no edges that are asked for, or the file cannot be written; nothing is left of it then.
pub async fn influencers(
    engine: &Engine<'_>,
    data: &DataSet,
    views: &Views,
    model: &StoredModel,
) -> Result<InfluencersReport, Failure> {
    let wish = &engine.settings.output.influencers;
    let axis: &Axis = if wish.of == Mode::User {
        &data.user
    } else {
        &data.product
    };
    let (ties, by) = ties(wish.by, wish.of, data, views)?;
    let settings = Settings {
        top: wish.top,
        ties_max: wish.most_ties,
        share: wish.share,
    };
    let input = Input {
        grid: axis.grid.clone(),
        ties,
    };
    let mut program = Influencers::new(settings, input);
    let mut reached: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    let take = |_: ObjectKey, held: exec::Held| {
        for pair in words(&held)?.chunks_exact(2) {
            reached.entry(pair[0]).or_default().push(pair[1]);
        }
        Ok(())
    };
    let run = key_of(&[b"influencers", &model.manifest.run.0]);
    let stage = Stage {
        sink: Some(Box::new(take)),
        ..Stage::plain("influencers", run, 0)
    };
    engine.run(&mut program, stage).await?;
    let found = program.found().influencers.iter().zip(0..);
    let mut rows: Vec<InfluencerRow> = found
        .map(|(one, place)| InfluencerRow {
            row: one.row,
            score: one.score,
            strength: one.strength,
            ties: one.ties,
            reached: reached.remove(&place).unwrap_or_default(),
            offers: Vec::new(),
        })
        .collect();
    if wish.of == Mode::User && wish.offers > 0 {
        offer(engine, (data, views, model), &mut rows).await?;
    }
    let (ids, products) = (
        ids::of_axis(engine, axis).await?,
        ids::of_axis(engine, &data.product).await?,
    );
    if let Some(file) = &wish.file {
        write_influencers(file, (&ids, &products), &rows).map_err(|error| io(&error))?;
    }
    Ok(InfluencersReport {
        of: wish.of.name().to_owned(),
        by,
        influencers: rows.iter().map(|row| told(row, &ids, &products)).collect(),
        file: wish.file.clone(),
    })
}

fn told(row: &InfluencerRow, ids: &Ids, products: &Ids) -> InfluencerReport {
    let shown = |ids: &Ids, row: u32| ids.shown(row).unwrap_or_else(|| format!("row {row}"));
    let first = row.reached.iter().take(NAMED);
    let offers = row.offers.iter().map(|&(product, wanted)| OfferReport {
        id: shown(products, product),
        wanted,
    });
    InfluencerReport {
        id: shown(ids, row.row),
        score: row.score,
        ties: row.ties,
        strength: row.strength,
        reached: row.reached.len() as u64,
        reached_ids: first.map(|&row| shown(ids, row)).collect(),
        offers: offers.collect(),
    }
}

/// What those who are reached would buy by the model and do not have: products by how many of their lists have them.
async fn offer(
    engine: &Engine<'_>,
    (data, views, model): (&DataSet, &Views, &StoredModel),
    rows: &mut [InfluencerRow],
) -> Result<(), Failure> {
    // Of very many the first by a hash, which knows nothing of them.
    let mut asked: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (place, row) in rows.iter().enumerate() {
        let mut reached = row.reached.clone();
        reached.sort_unstable_by_key(|&user| (mix(u64::from(user)), user));
        for user in reached.into_iter().take(ASKED_MAX) {
            asked.entry(user).or_default().push(place);
        }
    }
    if asked.is_empty() {
        return Ok(());
    }
    let offers = engine.settings.output.influencers.offers;
    let input = recommend::Input {
        user: data.user.clone(),
        product: data.product.clone(),
        factors: model.factors(views.moments.map(|at| at.recommended))?,
        train: views.train.clone(),
        held_out: [&views.validation, &views.test]
            .into_iter()
            .flatten()
            .cloned()
            .collect(),
        alike: None,
    };
    let settings = recommend::Settings {
        k: offers,
        users: Some(asked.keys().copied().collect()),
        ..recommend::Settings::default()
    };
    let mut program = Recommend::new(settings, input)
        .map_err(|error| Failure::new(Refusal::Config, error.to_string()))?;
    let mut wanted: Vec<BTreeMap<u32, (u32, f64)>> = vec![BTreeMap::new(); rows.len()];
    let take = |_: ObjectKey, held: exec::Held| {
        let bytes = held.whole().map_err(|error| plan::Failure::Refused {
            refusal: Refusal::Io,
            sentence: error.to_string(),
        })?;
        for listed in Recommended::rows(&bytes) {
            for &place in asked.get(&listed.user).into_iter().flatten() {
                let of = wanted[place].entry(listed.product).or_default();
                *of = (of.0 + 1, of.1 + f64::from(listed.score));
            }
        }
        Ok(())
    };
    let run = key_of(&[b"offers", &model.manifest.run.0]);
    let stage = Stage {
        stored: model.objects(),
        sink: Some(Box::new(take)),
        ..Stage::plain("offers", run, 0)
    };
    engine.run(&mut program, stage).await?;
    for (row, wanted) in rows.iter_mut().zip(wanted) {
        let mut wanted: Vec<(u32, (u32, f64))> = wanted.into_iter().collect();
        wanted.sort_by(|(x, of_x), (y, of_y)| {
            let order = of_y.0.cmp(&of_x.0).then(of_y.1.total_cmp(&of_x.1));
            order.then(x.cmp(y))
        });
        wanted.truncate(offers as usize);
        row.offers = wanted
            .into_iter()
            .map(|(product, of)| (product, of.0))
            .collect();
    }
    Ok(())
}
