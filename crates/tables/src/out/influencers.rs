//! Influencers as a Parquet file: a row each, with whom it reaches and what to offer as lists.

use crate::out::OutError;
use crate::out::columns::Columns;
use crate::out::ids::Ids;
use arrow::array::{ArrayRef, Float64Array, ListArray, UInt32Array, UInt64Array};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field};
use std::path::Path;
use std::sync::Arc;

/// A row of the file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InfluencerRow {
    /// Its row.
    pub row: u32,
    /// Its score.
    pub score: f64,
    /// Its strength.
    pub strength: f64,
    /// Neighbours, or what it shares.
    pub ties: u64,
    /// Nearly isolated rows that it reaches.
    pub reached: Vec<u32>,
    /// Products to offer, the first first, and how many of the reached would have each.
    pub offers: Vec<(u32, u32)>,
}

fn lists(values: ArrayRef, lengths: impl Iterator<Item = usize>) -> ArrayRef {
    let entry = Arc::new(Field::new_list_field(values.data_type().clone(), false));
    Arc::new(ListArray::new(
        entry,
        OffsetBuffer::from_lengths(lengths),
        values,
        None,
    ))
}

/// Writes the file; gives its rows.
///
/// # Errors
/// Where a row is not of the data set or the file cannot be written; nothing is left of it then.
pub fn write_influencers(
    path: &Path,
    (ids, products): (&Ids, &Ids),
    rows: &[InfluencerRow],
) -> Result<u64, OutError> {
    let list = |name: &str, of: DataType| {
        let entry = Arc::new(Field::new_list_field(of, false));
        Field::new(name, DataType::List(entry), false)
    };
    let fields = vec![
        Field::new(ids.column(), ids.data_type(), false),
        Field::new("rank", DataType::UInt32, false),
        Field::new("score", DataType::Float64, false),
        Field::new("ties", DataType::UInt64, false),
        Field::new("strength", DataType::Float64, false),
        list("reached", ids.data_type()),
        list("offers", products.data_type()),
        list("wanted", DataType::UInt32),
    ];
    let mut columns = Columns::create(path, fields)?;
    let reached = rows.iter().flat_map(|row| row.reached.iter().copied());
    let offers = rows.iter().flat_map(|row| row.offers.iter());
    let wanted: UInt32Array = offers.clone().map(|offer| Some(offer.1)).collect();
    let lengths = || rows.iter().map(|row| row.offers.len());
    columns.write(vec![
        ids.array(rows.iter().map(|row| row.row))?,
        Arc::new(UInt32Array::from_iter_values(1..=rows.len() as u32)),
        Arc::new(Float64Array::from_iter_values(
            rows.iter().map(|row| row.score),
        )),
        Arc::new(UInt64Array::from_iter_values(
            rows.iter().map(|row| row.ties),
        )),
        Arc::new(Float64Array::from_iter_values(
            rows.iter().map(|row| row.strength),
        )),
        lists(
            ids.array(reached)?,
            rows.iter().map(|row| row.reached.len()),
        ),
        lists(products.array(offers.map(|offer| offer.0))?, lengths()),
        lists(Arc::new(wanted), lengths()),
    ])?;
    columns.finish()
}
