//! Users for a report: some on a plane, and a few with their lists. Which ones follows from the grid alone, so that a report of the
//! same model shows the same.

use super::data::Views;
use super::engine::{Engine, Stage, failed, key_of};
use super::ids;
use super::stored_model::StoredModel;
use crate::failure::Failure;
use crate::output::page::{Example, Had, LISTED, Map, MapGroup, Product, Recommended};
use model::plane::plane;
use model::recommend::{self, Recommend};
use plan::Refusal;
use std::collections::{BTreeMap, BTreeSet};
use store::partition::Partition;
use tables::out::ids::Ids;
use tensor::csr::Values;
use tensor::{
    Attribute, AttributeKind, BlockId, DataSet, DepotId, Duplicates, Mode, ObjectKey, PartitionRef,
    Partitions, SealedRef,
};

/// Users of the map.
const MAPPED: u32 = 1500;
/// Blocks that they are taken from, at the least: each has busy and quiet rows alike.
const BLOCKS_MIN: u32 = 4;
/// Groups of the map; rarer levels are one of them.
const GROUPS: usize = 5;
/// Where users with lists stand in their blocks, the busiest row first.
const STANDING: [f64; 4] = [0.02, 0.25, 0.5, 0.8];
/// Interactions that such a user has in training.
const INTERACTIONS_MIN: u64 = 5;

fn unreadable(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(Refusal::Io, error.to_string())
}

/// Words of a row of a sealed object of equal rows.
async fn words(
    engine: &Engine<'_>,
    depot: DepotId,
    object: SealedRef,
    row: u32,
    width: usize,
) -> Result<Vec<u32>, Failure> {
    let depot = engine.depot(depot)?;
    let file = depot.fetch(object, &engine.cache).await.map_err(failed)?;
    let mut bytes = vec![0; 4 * width];
    file.read_into(4 * width as u64 * u64::from(row), &mut bytes)
        .map_err(|error| unreadable(&error))?;
    let words = bytes.as_chunks::<4>().0.iter();
    Ok(words.map(|word| u32::from_le_bytes(*word)).collect())
}

/// Rows of users, evenly taken from blocks that lie evenly apart: block, place, and how far down the block.
fn sample(data: &DataSet) -> Vec<(BlockId, u32, f64)> {
    let grid = &data.user.grid;
    let (blocks, rows) = (grid.blocks(), grid.rows_total());
    let each = (rows / u64::from(blocks)).max(1);
    let wanted = (2 * u64::from(MAPPED)).div_ceil(each);
    let wanted = (wanted as u32).clamp(BLOCKS_MIN.min(blocks), blocks);
    let mut found = Vec::new();
    for number in 0..wanted {
        let block = BlockId((u64::from(number) * u64::from(blocks) / u64::from(wanted)) as u32);
        let rows = grid.rows[block.0 as usize];
        let take = rows.min(MAPPED.div_ceil(wanted));
        for place in 0..take {
            let row = (u64::from(place) * u64::from(rows) / u64::from(take)) as u32;
            found.push((block, row, f64::from(row) / f64::from(rows)));
        }
    }
    found
}

/// What tells groups of users apart.
enum By<'a> {
    /// A level of an attribute: its place in a row of words.
    Level(&'a Attribute, usize),
    /// How busy they are.
    Standing,
}

impl By<'_> {
    fn of(data: &DataSet) -> By<'_> {
        let known = data.attributes.get(&Mode::User);
        let mut named = known
            .iter()
            .flat_map(|known| known.attributes.iter().enumerate());
        let found = named.find(|(_, attribute)| {
            matches!(&attribute.kind, AttributeKind::Levels { levels, .. } if levels.len() > 1)
        });
        found.map_or(By::Standing, |(place, attribute)| {
            By::Level(attribute, place)
        })
    }

    fn words(&self) -> String {
        match self {
            By::Level(attribute, _) => format!("by {}", attribute.name),
            By::Standing => "by how many interactions they have".to_owned(),
        }
    }

    async fn group(
        &self,
        engine: &Engine<'_>,
        data: &DataSet,
        (block, row, standing): (BlockId, u32, f64),
    ) -> Result<String, Failure> {
        let (By::Level(attribute, place), Some(known)) = (self, data.attributes.get(&Mode::User))
        else {
            let thirds = [
                "the busiest third",
                "the middle third",
                "the quietest third",
            ];
            return Ok(thirds[((3.0 * standing) as usize).min(2)].to_owned());
        };
        let object = known.blocks[block.0 as usize];
        let words = words(engine, DepotId::DATA, object, row, known.attributes.len()).await?;
        Ok(level(attribute, words[*place]).unwrap_or_else(|| "unknown".to_owned()))
    }
}

/// The level that a word means; `None` where it is missing, a number, or one of the rare.
fn level(attribute: &Attribute, word: u32) -> Option<String> {
    match &attribute.kind {
        AttributeKind::Levels { levels, .. } => levels.get(word as usize).cloned(),
        AttributeKind::Number { .. } => None,
    }
}

/// Users on the plane in which their factors differ most.
///
/// # Errors
/// Where they cannot be read.
pub async fn map(
    engine: &Engine<'_>,
    data: &DataSet,
    model: &StoredModel,
) -> Result<Option<Map>, Failure> {
    let mut tables = model.manifest.tables.iter();
    let Some(table) = tables.find(|table| table.name == Mode::User.name()) else {
        return Ok(None);
    };
    let columns = model.record.algorithm.factor_columns(table.rank) as usize;
    let by = By::of(data);
    let (mut rows, mut names) = (Vec::new(), Vec::new());
    for user in sample(data) {
        let (block, row, _) = user;
        // A model may be of a time when there were fewer rows.
        let rows_then = table.grid.rows.get(block.0 as usize).copied().unwrap_or(0);
        if row >= rows_then {
            continue;
        }
        let object = table.blocks[block.0 as usize];
        let found = words(engine, DepotId::MODEL, object, row, table.width as usize).await?;
        let factors = found[..columns].iter().map(|&word| f32::from_bits(word));
        // A user without interactions is all zeros, and like nobody.
        if factors.clone().all(|factor| factor == 0.0) {
            continue;
        }
        rows.extend(factors);
        names.push(by.group(engine, data, user).await?);
    }
    let plane = (columns > 0).then(|| plane(&rows, columns)).flatten();
    Ok(plane.map(|plane| Map {
        by: by.words(),
        groups: grouped(names, plane.points),
        share: plane.share,
        users: data.user.grid.rows_total(),
    }))
}

/// The largest groups, the largest first, and one of all others.
fn grouped(names: Vec<String>, points: Vec<[f64; 2]>) -> Vec<MapGroup> {
    let mut groups: BTreeMap<String, Vec<[f64; 2]>> = BTreeMap::new();
    for (name, point) in names.into_iter().zip(points) {
        groups.entry(name).or_default().push(point);
    }
    let mut groups: Vec<MapGroup> = groups
        .into_iter()
        .map(|(name, points)| MapGroup { name, points })
        .collect();
    groups.sort_by(|a, b| {
        b.points
            .len()
            .cmp(&a.points.len())
            .then(a.name.cmp(&b.name))
    });
    if groups.len() > GROUPS + 1 {
        let rest = groups.split_off(GROUPS);
        groups.push(MapGroup {
            name: format!("{} others", rest.len()),
            points: rest.into_iter().flat_map(|group| group.points).collect(),
        });
    }
    groups
}

/// What a user has in a view: value and number of interactions by product.
fn had(partition: &Partition, row: u32) -> Result<(BTreeMap<u32, f64>, u64), Failure> {
    let offsets = partition.offsets();
    let range = offsets[row as usize]..offsets[row as usize + 1];
    let count = range.end - range.start;
    let piece = partition.piece(range).map_err(|error| unreadable(&error))?;
    let values = piece.values.as_values();
    let mut found: BTreeMap<u32, f64> = BTreeMap::new();
    for (place, &product) in piece.columns.iter().enumerate() {
        let value = match values {
            Values::All(value) => value,
            Values::Each(values) => values[place],
        };
        *found.entry(product).or_default() += f64::from(value);
    }
    Ok((found, count))
}

/// A user of whom lists are shown.
struct Chosen {
    row: u32,
    had: BTreeMap<u32, f64>,
    interactions: u64,
    /// What is new to him in the test part.
    then: Option<BTreeSet<u32>>,
}

async fn partition(
    engine: &Engine<'_>,
    partitions: &Partitions,
    block: BlockId,
) -> Result<Option<Partition>, Failure> {
    let Some(PartitionRef { object, .. }) = partitions.user_major.get(block.0 as usize) else {
        return Ok(None);
    };
    let depot = engine.depot(DepotId::DATA)?;
    let file = depot.fetch(*object, &engine.cache).await.map_err(failed)?;
    Partition::open(file)
        .map(Some)
        .map_err(|error| unreadable(&error))
}

/// The first user from a place of a block on who has something in training and, where something is held out, in the test.
async fn choose(
    engine: &Engine<'_>,
    data: &DataSet,
    views: &Views,
    (block, standing): (BlockId, f64),
) -> Result<Option<Chosen>, Failure> {
    let rows = data.user.grid.rows[block.0 as usize];
    let Some(train) = partition(engine, &views.train, block).await? else {
        return Ok(None);
    };
    let mut parts = Vec::new();
    for view in [&views.validation, &views.test] {
        parts.push(match view {
            Some(view) => partition(engine, view, block).await?,
            None => None,
        });
    }
    let first = (f64::from(rows) * standing) as u32;
    for local in first..rows.min(train.rows()) {
        let offsets = train.offsets();
        let count = offsets[local as usize + 1] - offsets[local as usize];
        if count < INTERACTIONS_MIN {
            continue;
        }
        let (products, interactions) = had(&train, local)?;
        let known = match &parts[0] {
            Some(validation) => had(validation, local)?.0,
            None => BTreeMap::new(),
        };
        let then = match &parts[1] {
            Some(test) => {
                let new = had(test, local)?.0.into_keys();
                let new = new.filter(|of| !products.contains_key(of) && !known.contains_key(of));
                Some(new.collect::<BTreeSet<u32>>())
            }
            None => None,
        };
        if then.as_ref().is_some_and(BTreeSet::is_empty) {
            continue;
        }
        return Ok(Some(Chosen {
            row: data.user.grid.row_ids(block).start + local,
            had: products,
            interactions,
            then,
        }));
    }
    Ok(None)
}

/// A few users from busy to quiet, with what they had and what they should like: as of the end of training where a test tells
/// what became of it.
///
/// # Errors
/// Where they cannot be read.
pub async fn examples(
    engine: &Engine<'_>,
    data: &DataSet,
    views: &Views,
    model: &StoredModel,
) -> Result<Vec<Example>, Failure> {
    let blocks = data.user.grid.blocks();
    let mut chosen: Vec<Chosen> = Vec::new();
    for (number, &standing) in STANDING.iter().enumerate() {
        let block = BlockId((number as u32 * blocks) / STANDING.len() as u32);
        chosen.extend(choose(engine, data, views, (block, standing)).await?);
    }
    chosen.sort_by(|a, b| b.interactions.cmp(&a.interactions).then(a.row.cmp(&b.row)));
    chosen.dedup_by_key(|user| user.row);
    if chosen.is_empty() {
        return Ok(Vec::new());
    }
    let lists = lists(engine, data, views, model, &chosen).await?;
    let users = ids::of_axis(engine, &data.user).await?;
    let products = ids::of_axis(engine, &data.product).await?;
    let mut examples = Vec::new();
    for user in chosen {
        let mut most: Vec<(u32, f64)> =
            user.had.iter().map(|(row, value)| (*row, *value)).collect();
        most.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        let mut had = Vec::new();
        for &(row, amount) in most.iter().take(LISTED) {
            let product = product(engine, data, &products, row).await?;
            had.push(Had { product, amount });
        }
        let mut recommended = Vec::new();
        for &row in lists.get(&user.row).into_iter().flatten() {
            recommended.push(Recommended {
                product: product(engine, data, &products, row).await?,
                hit: user.then.as_ref().is_some_and(|then| then.contains(&row)),
            });
        }
        examples.push(Example {
            user: users.shown(user.row).unwrap_or_default(),
            interactions: user.interactions,
            had,
            unit: match data.duplicates {
                Duplicates::Count => None,
                _ => data.value_column.clone(),
            },
            recommended,
            held_out: user.then.map(|then| then.len() as u64),
        });
    }
    Ok(examples)
}

/// Rows of products by rows of users.
async fn lists(
    engine: &Engine<'_>,
    data: &DataSet,
    views: &Views,
    model: &StoredModel,
    chosen: &[Chosen],
) -> Result<BTreeMap<u32, Vec<u32>>, Failure> {
    let moment = |at: &super::moments::Moments| match views.test {
        Some(_) => at.test,
        None => at.recommended,
    };
    let input = recommend::Input {
        user: data.user.clone(),
        product: data.product.clone(),
        factors: model.factors(views.moments.as_ref().map(moment))?,
        train: views.train.clone(),
        held_out: views.validation.iter().cloned().collect(),
        alike: None,
    };
    let mut rows: Vec<u32> = chosen.iter().map(|user| user.row).collect();
    rows.sort_unstable();
    let settings = recommend::Settings {
        k: LISTED as u32,
        exclude_train: true,
        exclude_held_out: true,
        users: Some(rows),
        ..recommend::Settings::default()
    };
    let mut program = Recommend::new(settings, input)
        .map_err(|error| Failure::new(Refusal::Config, error.to_string()))?;
    let mut found: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    let sink = |_: ObjectKey, held: exec::Held| {
        let bytes = held.whole().map_err(|error| plan::Failure::Refused {
            refusal: Refusal::Io,
            sentence: error.to_string(),
        })?;
        for row in tensor::Recommended::rows(&bytes) {
            found.entry(row.user).or_default().push(row.product);
        }
        Ok(())
    };
    let run = key_of(&[b"examples", &model.manifest.run.0]);
    let stage = Stage {
        stored: model.objects(),
        sink: Some(Box::new(sink)),
        ..Stage::plain("examples", run, 0)
    };
    engine.run(&mut program, stage).await?;
    Ok(found)
}

/// A product by its id, and one thing that its table says of it.
async fn product(
    engine: &Engine<'_>,
    data: &DataSet,
    ids: &Ids,
    row: u32,
) -> Result<Product, Failure> {
    let id = ids.shown(row).unwrap_or_default();
    let Some(known) = data.attributes.get(&Mode::Product) else {
        return Ok(Product { id, about: None });
    };
    let (block, local) = data.product.grid.split(row);
    let object = known.blocks[block.0 as usize];
    let words = words(engine, DepotId::DATA, object, local, known.attributes.len()).await?;
    let mut levels = known.attributes.iter().zip(words);
    let about = levels.find_map(|(attribute, word)| level(attribute, word));
    Ok(Product { id, about })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rare_are_one_group() {
        let names: Vec<String> = (0..9)
            .flat_map(|group| std::iter::repeat_n(format!("g{group}"), 9 - group))
            .collect();
        let points = vec![[0.0, 1.0]; names.len()];
        let groups = grouped(names, points);
        let shown: Vec<(&str, usize)> = groups
            .iter()
            .map(|group| (group.name.as_str(), group.points.len()))
            .collect();
        let expected = [
            ("g0", 9),
            ("g1", 8),
            ("g2", 7),
            ("g3", 6),
            ("g4", 5),
            ("4 others", 10),
        ];
        assert_eq!(shown, expected);
    }
}
