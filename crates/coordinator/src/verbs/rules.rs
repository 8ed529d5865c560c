//! The rules of a job's lists, in rows of its data set.

use super::data;
use super::engine::Engine;
use super::ids;
use super::input;
use super::moments;
use crate::failure::Failure;
use crate::job::settings::{Location, Split};
use model::rules::{Cap, Rules};
use plan::Refusal;
use tables::Wanted;
use tensor::{AttributeKind, DataSet, Mode};

/// Unknown ids that are named at the most.
const NAMED_MAX: usize = 5;

/// For which lists rules are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lists {
    /// Recommendations.
    Recommended,
    /// Those of the test part.
    Tested,
}

fn config(sentence: String) -> Failure {
    Failure::new(Refusal::Config, sentence)
}

/// The rules that lists obey; none where the job has none.
///
/// # Errors
/// Where a file cannot be read or names no product, or the data set has no such attribute or no times.
pub async fn of(engine: &Engine<'_>, data: &DataSet, lists: Lists) -> Result<Rules, Failure> {
    let wish = &engine.settings.output.rules;
    let read = |location: &Location| {
        let file = input::open(engine, location)?;
        let mut wanted = Wanted::new(&data.product.column, data.product.id_kind);
        let name = location.to_string();
        wanted.read(&name, &*file).map_err(data::refused)?;
        if wanted.is_empty() {
            let sentence = format!("{name} names no product: give a file with ids");
            return Err(Failure::new(Refusal::BadData, sentence));
        }
        Ok(wanted)
    };
    let mut allow = wish.allow.as_ref().map(read).transpose()?;
    let mut deny = wish.deny.as_ref().map(read).transpose()?;
    let mut closed = match &wish.windows {
        Some(location) => Some(closed(engine, data, location, lists)?),
        None => None,
    };
    let mut barred = Vec::new();
    if allow.is_some() || deny.is_some() || closed.is_some() {
        let known = ids::of_axis(engine, &data.product).await?;
        let grid = &data.product.grid;
        for row in grid.block_ids().flat_map(|block| grid.row_ids(block)) {
            let Some(id) = known.get(row) else { continue };
            // All are asked, so that each learns which of its ids there are.
            let out = allow.as_mut().is_some_and(|allow| !allow.finds(id));
            let denied = deny.as_mut().is_some_and(|deny| deny.finds(id));
            let closed = closed.as_mut().is_some_and(|closed| closed.finds(id));
            if out || denied || closed {
                barred.push(row);
            }
        }
        for (file, ids) in [(&wish.allow, &allow), (&wish.deny, &deny)] {
            if let (Some(file), Some(ids)) = (file, ids) {
                note_unknown(engine, file, ids);
            }
        }
    }
    if barred.len() as u64 == data.product.grid.rows_total() {
        let sentence = "the rules of [output.rules] bar every product of the data set: no list would hold anything; correct `allow`, `deny` \
                        or `windows`";
        return Err(Failure::new(Refusal::BadData, sentence));
    }
    Ok(Rules {
        barred,
        cap: wish
            .most
            .zip(wish.most_by.as_deref())
            .map(|(most, by)| cap(data, most, by))
            .transpose()?,
        damping: wish.damping,
    })
}

fn note_unknown(engine: &Engine<'_>, file: &Location, ids: &Wanted) {
    let unknown = ids.unknown();
    if unknown.is_empty() {
        return;
    }
    let named: Vec<&str> = unknown.iter().take(NAMED_MAX).map(String::as_str).collect();
    let more = match unknown.len() - named.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    engine.console.observer().note(&format!(
        "{file} names {} ids that are no products of the data set: {}{more}",
        unknown.len(),
        named.join(", ")
    ));
}

/// What a file of windows closes at the moment of the lists.
fn closed(
    engine: &Engine<'_>,
    data: &DataSet,
    location: &Location,
    lists: Lists,
) -> Result<Wanted, Failure> {
    let Some(time) = &data.time else {
        let sentence = "`output.rules.windows` needs to know when lists are, but the data have no time: name the column under [input] \
                        `time`";
        return Err(config(sentence.to_owned()));
    };
    let bin = match (lists, &engine.settings.split) {
        (Lists::Recommended, _) => moments::recommended(engine.settings, time)?,
        (Lists::Tested, Split::Bins { test, .. }) => time.whole_bins().saturating_sub(*test),
        (Lists::Tested, _) => time.whole_bins().saturating_sub(1),
    };
    let number = time.first_bin + i64::from(bin);
    let moment = time.bin.start(number).unwrap_or(number);
    let file = input::open(engine, location)?;
    tables::closed(
        (&location.to_string(), &*file),
        (&data.product.column, data.product.id_kind),
        (moment, time.bin),
    )
    .map_err(data::refused)
}

/// The cap by the levels of an attribute.
fn cap(data: &DataSet, most: u32, by: &str) -> Result<Cap, Failure> {
    let known = data.attributes.get(&Mode::Product);
    let known = known.ok_or_else(|| {
        config(format!(
            "`output.rules.most_by` is \"{by}\", but the data set knows no attributes of products: name their tables with \
             `input.product_attributes.files` and ingest"
        ))
    })?;
    let levels = known
        .attributes
        .iter()
        .filter(|attribute| matches!(attribute.kind, AttributeKind::Levels { .. }))
        .map(|attribute| attribute.name.as_str());
    let found = known
        .attributes
        .iter()
        .position(|attribute| attribute.name == by);
    let place = found.ok_or_else(|| {
        config(format!(
            "`output.rules.most_by` is \"{by}\", which is no attribute of products; those with levels are {}",
            levels.collect::<Vec<_>>().join(", ")
        ))
    })?;
    match &known.attributes[place].kind {
        AttributeKind::Number { .. } => Err(config(format!(
            "`output.rules.most_by` is \"{by}\", which is a number: a cap needs an attribute with levels; name it in \
             `input.product_attributes.categorical` and ingest again"
        ))),
        AttributeKind::Levels { others: true, .. } => Err(config(format!(
            "`output.rules.most_by` is \"{by}\", whose rarer levels stand as one: a cap would count them together; raise \
             `input.product_attributes.max_levels` and ingest again"
        ))),
        AttributeKind::Levels { .. } => Ok(Cap {
            most,
            place: place as u32,
            attributes: known.attributes.len() as u32,
            words: known.blocks.clone(),
        }),
    }
}
