//! Brings rows of a mode together by their factors, and says what the segments are.

use super::data::Views;
use super::engine::{Engine, Stage, key_of};
use super::ids;
use super::stored_model::StoredModel;
use crate::failure::Failure;
use crate::output::segments::{
    AgreementReport, BoughtReport, ComparedReport, LevelReport, ProbeReport, SegmentReport,
    SegmentsReport, TriedReport,
};
use kernels::random::ln;
use model::recommend::{self, Recommend};
use model::segments::compare::lift;
use model::segments::ops::Bought;
use model::segments::{Found, Input, LABELS, NO_SEGMENT, Segments, Settings};
use plan::Refusal;
use std::collections::{BTreeMap, BTreeSet};
use tables::out::ids::Ids;
use tables::out::{SegmentsWriter, publish_text};
use tensor::{Attribute, AttributeKind, Axis, DataSet, Mode, ObjectKey, Recommended};

fn io(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(Refusal::Io, error.to_string())
}

fn refused(sentence: String) -> plan::Failure {
    plan::Failure::Refused {
        refusal: Refusal::Io,
        sentence,
    }
}

/// Takes what the program delivers: silhouettes of the sample, then the segments of all rows.
struct Sink {
    axis: Axis,
    writer: Option<SegmentsWriter>,
    silhouettes: BTreeMap<u32, f32>,
    /// The segment of each row of the sample.
    sampled: BTreeMap<u32, u32>,
    left_out: u64,
}

impl Sink {
    fn take(&mut self, key: ObjectKey, words: &[u32]) -> Result<(), String> {
        let ObjectKey::Block { table, block, .. } = key else {
            return Err(format!("{key} is no block of segments"));
        };
        if table != LABELS {
            let rows = words.chunks_exact(2);
            self.silhouettes = rows.map(|row| (row[0], f32::from_bits(row[1]))).collect();
            return Ok(());
        }
        let rows = self.axis.grid.row_ids(block);
        for (row, label) in rows.clone().zip(words.chunks_exact(2)) {
            self.left_out += u64::from(label[0] == NO_SEGMENT);
            if label[0] != NO_SEGMENT && self.silhouettes.contains_key(&row) {
                self.sampled.insert(row, label[0]);
            }
        }
        match &mut self.writer {
            Some(writer) => writer
                .write(rows, words, NO_SEGMENT, &self.silhouettes)
                .map_err(|error| error.to_string()),
            None => Ok(()),
        }
    }
}

/// Writes or tells the segments.
///
/// # Errors
/// Where the files cannot be written; nothing is left of the first then.
pub async fn segments(
    engine: &Engine<'_>,
    data: &DataSet,
    views: &Views,
    model: &StoredModel,
) -> Result<SegmentsReport, Failure> {
    let wish = &engine.settings.output.segments;
    let users = wish.of == Mode::User;
    let (axis, partitions) = if users {
        (&data.user, &views.train.user_major)
    } else {
        (&data.product, &views.train.product_major)
    };
    let (table, (columns, width)) = model.rows_of(wish.of)?;
    let input = Input {
        grid: axis.grid.clone(),
        table,
        columns,
        width,
        partitions: partitions.clone(),
        attributes: data.attributes.get(&wish.of).cloned(),
        of_products: !users,
        products: data.product.grid.clone(),
        product_partitions: views.train.product_major.clone(),
        product_attributes: data.attributes.get(&Mode::Product).cloned(),
    };
    let settings = Settings {
        k: wish.k.clone(),
        sample: wish.sample,
        directions: wish.directions,
        iterations: wish.iterations,
        count_min: wish.least_buyers,
        top: wish.top,
        seed: wish.seed,
    };
    let products = ids::of_axis(engine, &data.product).await?;
    let writer = match &wish.file {
        Some(file) => {
            let ids = ids::of_axis(engine, axis).await?;
            Some(SegmentsWriter::create(file, ids).map_err(|error| io(&error))?)
        }
        None => None,
    };
    let mut sink = Sink {
        axis: axis.clone(),
        writer,
        silhouettes: BTreeMap::new(),
        sampled: BTreeMap::new(),
        left_out: 0,
    };
    let mut program = Segments::new(settings, input);
    let take = |key: ObjectKey, held: exec::Held| {
        let bytes = held.whole().map_err(|error| refused(error.to_string()))?;
        let words = bytes.chunks_exact(4);
        let words = words.map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]));
        sink.take(key, &words.collect::<Vec<u32>>())
            .map_err(refused)
    };
    let run = key_of(&[b"segments", &model.manifest.run.0]);
    let stage = Stage {
        stored: model.objects(),
        sink: Some(Box::new(take)),
        ..Stage::plain("segments", run, 0)
    };
    engine.run(&mut program, stage).await?;
    let found = program.found();
    let agreement = if users && !sink.sampled.is_empty() {
        let agreement = agreement(engine, (data, views, model), found, &sink.sampled);
        Some(agreement.await?)
    } else {
        None
    };
    let mut report = report(found, data, wish.of, &products);
    let distance = if wish.directions {
        "cosine"
    } else {
        "euclidean"
    };
    distance.clone_into(&mut report.distance);
    report.left_out = sink.left_out;
    report.agreement = agreement;
    if let (Some(writer), Some(file)) = (sink.writer, &wish.file) {
        let facts = file.with_extension("json");
        report.files = vec![file.clone(), facts.clone()];
        let text = serde_json::to_string_pretty(&report).map_err(|error| io(&error))?;
        writer.finish().map_err(|error| io(&error))?;
        publish_text(&facts, &(text + "\n")).map_err(|error| io(&error))?;
    }
    Ok(report)
}

/// Lists of the sampled users, products that they had included, beside what most buy.
async fn agreement(
    engine: &Engine<'_>,
    (data, views, model): (&DataSet, &Views, &StoredModel),
    found: &Found,
    sampled: &BTreeMap<u32, u32>,
) -> Result<AgreementReport, Failure> {
    let k = engine.settings.output.segments.top;
    let input = recommend::Input {
        user: data.user.clone(),
        product: data.product.clone(),
        factors: model.factors(views.moments.map(|at| at.recommended))?,
        train: views.train.clone(),
        held_out: Vec::new(),
        alike: None,
    };
    let settings = recommend::Settings {
        k,
        exclude_train: false,
        exclude_held_out: false,
        users: Some(sampled.keys().copied().collect()),
        ..recommend::Settings::default()
    };
    let mut program = Recommend::new(settings, input)
        .map_err(|error| Failure::new(Refusal::Config, error.to_string()))?;
    let set = |list: &[Bought]| -> BTreeSet<u32> { list.iter().map(|of| of.product).collect() };
    let all = set(&found.popular);
    let own: Vec<BTreeSet<u32>> = found.segments.iter().map(|of| set(&of.popular)).collect();
    let (mut of_segment, mut of_all) = (0_u64, 0_u64);
    let take = |_: ObjectKey, held: exec::Held| {
        let bytes = held.whole().map_err(|error| refused(error.to_string()))?;
        for listed in Recommended::rows(&bytes) {
            let segment = sampled
                .get(&listed.user)
                .and_then(|&at| own.get(at as usize));
            of_segment += u64::from(segment.is_some_and(|own| own.contains(&listed.product)));
            of_all += u64::from(all.contains(&listed.product));
        }
        Ok(())
    };
    let run = key_of(&[b"segments and recommendations", &model.manifest.run.0]);
    let stage = Stage {
        stored: model.objects(),
        sink: Some(Box::new(take)),
        ..Stage::plain("agreement", run, 0)
    };
    engine.run(&mut program, stage).await?;
    let users = program.served().users;
    let places = (users * u64::from(k)).max(1) as f64;
    Ok(AgreementReport {
        users,
        k,
        segment: of_segment as f64 / places,
        all: of_all as f64 / places,
    })
}

fn report(found: &Found, data: &DataSet, of: Mode, products: &Ids) -> SegmentsReport {
    let attribute = |mode, place: u32| {
        let known = data.attributes.get(&mode);
        known.and_then(|known| known.attributes.get(place as usize))
    };
    let name =
        |attribute: Option<&Attribute>| attribute.map_or_else(String::new, |of| of.name.clone());
    let total: u64 = found.segments.iter().map(|segment| segment.rows).sum();
    let bought = |rows: u64, list: &[Bought]| {
        let of = |bought: &Bought| BoughtReport {
            id: products
                .shown(bought.product)
                .unwrap_or_else(|| format!("row {}", bought.product)),
            buyers: bought.buyers,
            of: bought.all,
            lift: (of == Mode::User)
                .then(|| lift(bought.buyers.into(), rows, bought.all.into(), total))
                .flatten()
                .map(|(lift, _)| lift),
        };
        list.iter().map(of).collect()
    };
    let segments = found.segments.iter().zip(0..).map(|(segment, number)| {
        let levels = segment.levels.iter().map(|found| {
            let known = attribute(Mode::Product, found.attribute);
            LevelReport {
                attribute: name(known),
                level: level(known, found.level as usize),
                share: found.share,
                lift: found.lift,
            }
        });
        SegmentReport {
            segment: number,
            rows: segment.rows,
            share: segment.rows as f64 / total.max(1) as f64,
            silhouette: segment.silhouette,
            popular: bought(segment.rows, &segment.popular),
            own: bought(segment.rows, &segment.own),
            levels: levels.collect(),
            members: members(found, number, |place| attribute(of, place)),
        }
    });
    let compared = found.compared.iter().map(|(place, table)| {
        let known = attribute(of, *place);
        let of_level = |column: usize| {
            let rows = table.counts.chunks_exact(table.columns.max(1));
            let counts = rows.map(|row| row[column] as u64).collect();
            (level(known, column), counts)
        };
        ComparedReport {
            attribute: name(known),
            rows: table.counts.iter().sum::<f64>() as u64,
            adjusted_rand: table.adjusted_rand(),
            normalized_information: table.normalized_information(),
            contingency: (0..table.columns).map(of_level).collect(),
        }
    });
    let probes = found.probed.iter().map(|(place, probed)| {
        let known = attribute(of, *place);
        let number = known.is_some_and(|of| matches!(of.kind, AttributeKind::Number { .. }));
        ProbeReport {
            attribute: name(known),
            measure: if number { "r2" } else { "accuracy" },
            rows: probed.rows,
            value: probed.told,
            interval: probed.interval,
            base: probed.base,
            gain: probed.gain,
        }
    });
    let tried = found.tried.iter().map(|tried| TriedReport {
        k: tried.k,
        segments: tried.segments,
        silhouette: tried.silhouette,
        inertia: tried.inertia,
        iterations: tried.iterations,
    });
    let chosen = found.tried.get(found.chosen).copied().unwrap_or_default();
    SegmentsReport {
        of: of.name().to_owned(),
        rows: found.points,
        sample: found.sample,
        k: chosen.k,
        silhouette: chosen.silhouette,
        tried: tried.collect(),
        segments: segments.collect(),
        attributes: compared.collect(),
        probes: probes.collect(),
        ..SegmentsReport::default()
    }
}

/// Levels of the rows' own attributes that a segment has beyond their share, by what each adds to how far it is from all.
fn members<'a>(
    found: &Found,
    segment: u32,
    attribute: impl Fn(u32) -> Option<&'a Attribute>,
) -> Vec<LevelReport> {
    let mut members = Vec::new();
    for (place, table) in &found.compared {
        let rows = || table.counts.chunks_exact(table.columns.max(1));
        let total = table.counts.iter().sum::<f64>() as u64;
        let Some(own) = rows().nth(segment as usize) else {
            continue;
        };
        let all_own = own.iter().sum::<f64>() as u64;
        for (column, &count) in own.iter().enumerate() {
            let all = rows().map(|row| row[column]).sum::<f64>() as u64;
            let beyond = lift(count as u64, all_own, all, total);
            if let Some((lift, _)) = beyond.filter(|(_, lower)| *lower > 1.0) {
                let known = attribute(*place);
                members.push(LevelReport {
                    attribute: known.map_or_else(String::new, |of| of.name.clone()),
                    level: level(known, column),
                    share: count / all_own as f64,
                    lift,
                });
            }
        }
    }
    let tells = |of: &LevelReport| of.share * ln(of.lift);
    members.sort_by(|x, y| tells(y).total_cmp(&tells(x)));
    members
}

/// The name of a level.
fn level(attribute: Option<&Attribute>, place: usize) -> String {
    let levels = match attribute.map(|of| &of.kind) {
        Some(AttributeKind::Levels { levels, .. }) => levels.as_slice(),
        _ => &[],
    };
    levels
        .get(place)
        .cloned()
        .unwrap_or_else(|| "others".to_owned())
}
